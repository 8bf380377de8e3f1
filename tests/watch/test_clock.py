"""The server's clock: wrong dates have no lasting effect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given, strategies as st

from smspva_async import MemoryJournal, OrderAdded, OrderExpiring, Rows, SmsReceived, Watcher
from tests.support.accounts import START, Account, order, sms
from tests.support.backends import virtual_time
from tests.support.selection import mostly_slow
from tests.support.watching import INTERVAL, kinds, polls, so_far, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smspva_async import Sms

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

YEAR = timedelta(days=365)


class DatedAccount(Account):
    """An account whose answers all have the server's time.

    Attributes:
        date_error: A function of the number of an answer, which returns the error of its date, or the date itself.

    """

    def __init__(self, date_error: Callable[[int], timedelta | datetime | None]) -> None:
        super().__init__(order(1), order(2))
        self.date_error = date_error
        self.answers = 0
        self.started = anyio.current_time()
        self.clock = self.date

    def now(self) -> datetime:
        """Return the true time."""
        return START + timedelta(seconds=anyio.current_time() - self.started)

    def date(self) -> datetime:
        wrong = self.date_error(self.answers)
        self.answers += 1
        shown = wrong if isinstance(wrong, datetime) else self.now() + (wrong or timedelta(0))
        return shown.replace(microsecond=0)

    async def sms(self, order_id: int) -> Sequence[Sms]:
        return Rows(await super().sms(order_id), date=self.date())

    def deliver(self, order_id: int, text: str) -> None:
        self.messages[order_id].append(sms(text, (self.now() - START).total_seconds()))


def error(watcher: Watcher, account: DatedAccount) -> timedelta:
    """Return the error of the last poll's time, without the time that has passed since."""
    assert watcher.last_success is not None
    return watcher.last_success - account.now()


NEVER = [
    pytest.param(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), id="9999"),
    pytest.param(datetime(1970, 1, 1, tzinfo=UTC), id="1970"),
    pytest.param(datetime(1, 1, 1, tzinfo=UTC), id="1"),
    pytest.param(datetime(1999, 12, 31, tzinfo=UTC), id="1999"),
]


@pytest.mark.parametrize("date", NEVER)
async def test_with_only_impossible_dates_the_local_clock_is_used(date: datetime) -> None:
    account = DatedAccount(lambda _: date)
    async with Watcher(account) as watcher:
        for number in range(10):
            account.deliver(1, f"message {number}")
            await polls(1)
            assert abs(error(watcher, account)) < timedelta(seconds=INTERVAL + 2)
        await polls(1)
        events = await so_far(watcher)
        assert texts(events) == [f"message {number}" for number in range(10)]
        assert set(kinds(events)) == {"OrderAdded", "SmsReceived"}


@pytest.mark.parametrize("date", NEVER)
@pytest.mark.parametrize("count", [1, 5, 100])
async def test_impossible_dates_are_ignored(date: datetime, count: int) -> None:
    ahead = timedelta(hours=7)  # the server's clock is known already, and differs from the local one
    account = DatedAccount(lambda number: date if 10 <= number < 10 + count else ahead)
    async with Watcher(account) as watcher:
        await polls(1)
        for number in range(10):
            account.deliver(2, f"message {number}")
            await polls(1)
            assert abs(error(watcher, account) - ahead) < timedelta(seconds=INTERVAL + 2)
        await polls(1)
        events = await so_far(watcher)
        assert texts(events) == [f"message {number}" for number in range(10)]
        assert all(START + ahead - timedelta(seconds=2) <= event.at <= account.now() + ahead for event in events)


@pytest.mark.parametrize("off", [YEAR, -YEAR, timedelta(days=100), timedelta(minutes=-7), timedelta(days=365 * 900)])
@pytest.mark.parametrize("at", mostly_slow(range(3, 12), every=4))
async def test_one_wrong_date_changes_nothing(off: timedelta, at: int) -> None:
    account = DatedAccount(lambda number: off if number == at else None)
    account.listed = [order(1), order(2), order(3)]
    account.messages[3] = [sms("old", -86_400)]
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(watcher.wait_for_sms, 1, match=lambda found: found.text == "last", timeout=1e6))
        for number in range(15):
            account.deliver(1 + number % 2, f"message {number}")
            await polls(1)
            assert abs(error(watcher, account)) < timedelta(seconds=INTERVAL + 2)
        account.deliver(1, "last")
        await polls(1)  # the wait has succeeded: nothing is raised in its task
        events = await so_far(watcher)
        assert sorted(texts(events)) == sorted([*(f"message {number}" for number in range(15)), "last"])
        assert set(kinds(events)) == {"OrderAdded", "SmsReceived"}
        assert all(START - timedelta(seconds=2) <= event.at <= account.now() for event in events)
        for event in events:
            if isinstance(event, SmsReceived) and event.sms.text != "old":
                assert event.sms.received is not None
                assert timedelta(seconds=-2) <= event.at - event.sms.received <= timedelta(seconds=INTERVAL + 5)


async def test_one_wrong_date_does_not_forget_a_removed_order() -> None:
    wrong_at = -1
    account = DatedAccount(lambda number: YEAR if number == wrong_at else None)
    async with Watcher(account) as watcher:
        account.deliver(2, "message")
        await polls(2)
        account.drop(2)
        await polls(30)
        assert kinds(await so_far(watcher))[-1] == "OrderRemoved"
        wrong_at = account.answers
        await polls(2)
        account.listed.append(order(2))
        await polls(2)
        assert texts(await so_far(watcher)) == ["message"]


async def test_a_wrong_first_date_of_another_run_forgets_nothing() -> None:
    account, journal = DatedAccount(lambda _: None), MemoryJournal()
    async with Watcher(account, journal=journal) as watcher:
        account.deliver(2, "message")
        await polls(2)
        account.drop(2)
        await polls(30)
    first = account.answers
    account.date_error = lambda number: YEAR if number == first else None
    async with Watcher(account, journal=journal) as watcher:
        await polls(2)
        account.listed.append(order(2))
        await polls(2)
        events = await so_far(watcher)
        assert texts(events) == ["message"]
        assert len({event.id for event in events}) == len(events)


@pytest.mark.parametrize("off", [YEAR, -YEAR])
async def test_a_wrong_first_date_does_not_hide_the_end_of_a_rental(off: timedelta) -> None:
    account = DatedAccount(lambda number: off if number == 0 else None)
    account.listed = [order(1, until=START + timedelta(days=20))]
    async with Watcher(account, interval=3600) as watcher:
        await anyio.sleep(18 * 86_400)
        before = [event for event in await so_far(watcher) if isinstance(event, OrderExpiring)]
        await anyio.sleep(2 * 86_400)
        expiring = [event for event in await so_far(watcher) if isinstance(event, OrderExpiring)]
        assert len(expiring) == len(before) + 1
        assert timedelta(hours=22) < expiring[-1].left <= timedelta(days=1)


@pytest.mark.parametrize("off", [YEAR, -YEAR])
async def test_no_message_is_lost_if_only_sms_answers_are_dated_and_the_first_is_wrong(
    off: timedelta,
) -> None:
    account = DatedAccount(lambda number: off if number == 0 else None)
    account.clock = None
    async with Watcher(account) as watcher:
        account.deliver(1, "new")
        await polls(10)
        assert texts(await so_far(watcher)) == ["new"]


@pytest.mark.parametrize("off", [YEAR, -YEAR, timedelta(hours=1), timedelta(minutes=-2)])
async def test_a_jump_that_the_next_answer_confirms_is_followed(off: timedelta) -> None:
    jumps_from = 1000
    account = DatedAccount(lambda number: off if number >= jumps_from else None)
    async with Watcher(account) as watcher:
        await polls(3)
        jumps_from = account.answers
        await polls(1)
        assert account.answers >= jumps_from + 2
        account.listed.append(order(7))
        await polls(1)
        added = [event for event in await so_far(watcher) if isinstance(event, OrderAdded)][-1]
        assert abs(added.at - account.now() - off) < timedelta(seconds=INTERVAL + 2)
        assert kinds(await so_far(watcher)).count("OrderRemoved") == 0


@pytest.mark.parametrize("off", [YEAR, timedelta(hours=2)])
async def test_no_message_is_lost_if_two_wrong_dates_agree(off: timedelta) -> None:
    account = DatedAccount(lambda number: off if number in (3, 4, 5, 6) else None)
    account.listed = [order(number) for number in range(1, 9)]
    async with Watcher(account) as watcher:
        for number in range(1, 9):
            account.deliver(number, f"message {number}")
        await polls(5)
        assert sorted(texts(await so_far(watcher))) == [f"message {number}" for number in range(1, 9)]


async def test_two_different_wrong_dates_do_not_confirm_each_other() -> None:
    account = DatedAccount({10: YEAR, 11: -YEAR, 12: 2 * YEAR, 13: 3 * YEAR}.get)
    async with Watcher(account) as watcher:
        for _ in range(10):
            await polls(1)
            assert abs(error(watcher, account)) < timedelta(seconds=INTERVAL + 2)


async def test_a_clock_that_drifts_is_followed_without_a_second_date() -> None:
    account = DatedAccount(lambda number: timedelta(seconds=20 * number))
    async with Watcher(account) as watcher:
        await polls(10)
        assert error(watcher, account) > timedelta(seconds=20 * (account.answers - 4) - INTERVAL)


@pytest.mark.parametrize("off", [YEAR, -YEAR, timedelta(days=2), timedelta(hours=-1)])
@pytest.mark.parametrize("wrong", [1, 2])
@pytest.mark.parametrize("after", [0.01, 1.0, 3.0, 20.0])
async def test_no_message_is_lost_if_the_first_date_is_wrong(off: timedelta, wrong: int, after: float) -> None:
    # One answer may be wrong, and so may the first of each method. Two that agree are accepted.
    account = DatedAccount(lambda number: off * (-1) ** number if number < wrong else None)
    account.messages[1] = [sms("old", -86_400 * 10)]
    async with Watcher(account) as watcher:
        await anyio.sleep(after)
        account.deliver(1, "new")
        account.deliver(2, "also new")
        await polls(4)
        account.deliver(2, "newer")
        await polls(4)
        events = await so_far(watcher)
        assert set(texts(events)) - {"old"} == {"new", "also new", "newer"}
        assert set(kinds(events)) == {"OrderAdded", "SmsReceived"}
        assert abs(error(watcher, account)) < timedelta(seconds=INTERVAL + 2)


dates = st.one_of(
    st.none(),
    st.timedeltas(min_value=-3 * YEAR, max_value=3 * YEAR),
    st.timedeltas(min_value=timedelta(minutes=-2), max_value=timedelta(minutes=2)),
    st.datetimes(timezones=st.just(UTC)),
)


@given(off=st.lists(dates, max_size=20), again=st.booleans())
def test_no_sequence_of_dates_breaks_a_watch(off: list[timedelta | datetime | None], again: bool) -> None:  # noqa: FBT001
    async def watch() -> None:
        account = DatedAccount(lambda number: off[number % len(off)] if off and (again or number < len(off)) else None)
        async with Watcher(account) as watcher:
            # From the second reading on a message is new on any clock.
            await polls(2)
            for number in range(8):
                account.deliver(1 + number % 2, f"message {number}")
                await polls(1)
            await polls(2)
            events = await so_far(watcher)
            assert sorted(texts(events)) == [f"message {number}" for number in range(8)]
            assert set(kinds(events)) <= {"OrderAdded", "SmsReceived", "OrderExpiring"}
            assert set(watcher.orders) == {1, 2}
            assert watcher.statistics().failures == 0
            assert all(event.at.tzinfo is UTC for event in events)

    anyio.run(watch, backend_options=virtual_time("asyncio"))
