"""A slow server, a busy client, unreliable flags: every message is still found in time."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from attrs import evolve

from smspva_async import (
    JournalError,
    JournalLocked,
    MemoryJournal,
    Order,
    OrderState,
    Pace,
    Rows,
    Sms,
    SmspvaClient,
    SqliteJournal,
    Watcher,
    WatcherClosed,
)
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.accounts import HANGS, ORDERS, OUTAGE, START, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.selection import slow
from tests.support.watching import INTERVAL, kinds, polls, so_far, texts, watching, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from smspva_async import Event
    from smspva_async.journal.state import WatchState
    from smspva_async.simulator import FaultName

pytestmark = pytest.mark.anyio


# -- slow `orders` answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [4, 35, HANGS])
async def test_messages_are_read_while_orders_are_slow(seconds: float) -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        await polls(1)
        account.seconds[ORDERS] = seconds
        account.messages[1] = [sms("late", None)]
        assert (await watcher.wait_for_sms(1, after=0, timeout=120)).sms.text == "late"


@pytest.mark.parametrize("fault", ["html", "refused", "hang"])
async def test_messages_are_read_while_the_orders_fail(fault: FaultName) -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        await polls(1)
        sim.faults.always("orders", fault)
        sim.deliver(order_id, "found")
        assert (await watcher.wait_for_sms(order_id, after=0, timeout=120)).sms.text == "found"


@on_both_backends
async def test_a_message_is_found_while_a_busy_pipeline_uses_the_same_client() -> None:
    sim = Simulator()
    order_id = sim.add_order().id

    async def keep_asking(client: SmspvaClient) -> None:
        while True:
            await client.countries()

    async with (
        SmspvaClient("key", transport=sim.transport()) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(25):
            tasks.start_soon(keep_asking, client)
        await polls(2)
        sim.deliver(order_id, "found")
        assert (await watcher.wait_for_sms(order_id, after=0, timeout=300)).sms.text == "found"
        tasks.cancel_scope.cancel()


async def test_an_interval_shorter_than_the_pace_leaves_room_for_messages() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client, interval=1) as watcher:
        sim.deliver(order_id, "found")
        assert texts(await within(20, watcher.events())) == ["found"]


@pytest.mark.parametrize(("interval", "gap"), [(1, 1.5), (5, 5), (5, 10), (30, 28), (30, 45)])
async def test_a_flag_is_read_if_the_pace_extends_the_interval(interval: float, gap: float) -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(gap=gap)) as client,
        Watcher(client, interval=interval) as watcher,
    ):
        await anyio.sleep(20 * gap)
        sim.deliver(order_id, "found")
        assert texts(await within(5 * gap, watcher.events())) == ["found"]


class Drifting(VirtualTimeLoop):
    """Virtual time in which computing takes time too, so that nothing is exactly on time."""

    def _run_once(self) -> None:
        self._virtual_selector.elapsed += 5e-5
        super()._run_once()  # type: ignore[misc]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": Drifting})], ids=["asyncio"])
@pytest.mark.parametrize("latency", [0.2, 1.5, 2.0, 2.9])
async def test_awaited_lists_are_read_while_orders_are_slow(latency: float) -> None:
    account = Account(order(1, has_new_sms=True), order(2), order(3))
    account.seconds = {ORDERS: latency}
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(watcher.wait_for_sms, 1, match=lambda _: False, timeout=1e5))
        await anyio.sleep(600)
        tasks.cancel_scope.cancel()
    assert all(len(account.times(order_id)) > 8 for order_id in (1, 2, 3))


@pytest.mark.parametrize(("method", "fault"), [("sms", "hang"), ("sms", "http_503"), ("orders", "http_503")])
@pytest.mark.parametrize("flags", ["up", "down"])
@pytest.mark.parametrize("ticks", [8, slow(20)])
async def test_failed_attempts_count_toward_the_polling_share(
    method: Literal["orders", "sms"], fault: FaultName, flags: str, ticks: int
) -> None:
    sim = Simulator()
    ids = [sim.add_order(always_active=True).id for _ in range(60)]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(watcher.wait_for_state, ids[0], OrderState.INACTIVE, timeout=1e5))
        await polls(4)
        for order_id in ids if flags == "up" else ():
            sim.deliver(order_id, "message")
        sim.faults.always(method, fault)
        await polls(ticks)
        tasks.cancel_scope.cancel()
    times = [asked.time for asked in sim.requests]
    most = max(bisect_left(times, time + 2 * INTERVAL - 1e-3) - place for place, time in enumerate(times))
    assert 20 <= most <= 30


# -- lists that compete for slots -----------------------------------------------------------------------------------


async def longest_unread(sim: Simulator, hours: float, *, awaited: int | None = None) -> dict[int, float]:
    """Watch for some hours; return each order's longest time without a reading, in seconds."""
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        begin = sim.requests[0].time
        if awaited is None:
            await anyio.sleep(3600 * hours)
        else:
            with pytest.raises(TimeoutError):
                await watcher.wait_for_sms(awaited, timeout=3600 * hours)
    longest: dict[int, float] = {}
    for known in sim.orders:
        reads = [asked.time for asked in sim.requests if asked.params.get("id") == str(known.id)]
        times = [begin, *reads, begin + 3600 * hours]
        longest[known.id] = max(later - earlier for earlier, later in pairwise(times))
    return longest


@pytest.mark.parametrize("hours", [0.25, slow(1)])
async def test_an_awaited_order_does_not_take_the_turns_of_others(hours: float) -> None:
    sim = Simulator()
    sim.behavior.flag_rises = False
    awaited, *others = [sim.add_order().id for _ in range(4)]
    longest = await longest_unread(sim, hours, awaited=awaited)
    assert longest[awaited] <= 15
    assert all(longest[other] <= 3 * INTERVAL for other in others)


@pytest.mark.parametrize("hours", [0.25, slow(2)])
async def test_orders_whose_flags_stay_set_do_not_take_the_turns_of_others(hours: float) -> None:
    sim = Simulator()
    sim.behavior.read_clears_flag = False
    flagged = [sim.add_order().id for _ in range(25)]
    plain = [sim.add_order().id for _ in range(5)]
    for order_id in flagged:
        sim.deliver(order_id, "stuck")
    longest = await longest_unread(sim, hours)
    assert all(longest[order_id] <= 5 * INTERVAL for order_id in plain)


async def test_flagged_orders_that_cannot_be_read_do_not_take_the_turns_of_others() -> None:
    account = Account(*(order(number, has_new_sms=number > 5) for number in range(1, 31)))
    account.failures = {number: ValueError("broken") for number in range(6, 31)}
    async with Watcher(account):
        await polls(60)
    assert all(len(account.times(number)) > 10 for number in range(1, 6))


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_flagged_list_is_read_again_after_a_failed_reading(failures: int) -> None:
    account = Account(*map(order, range(1, 101)))
    async with Watcher(account) as watcher:
        await anyio.sleep(600)
        account.calls.clear()
        account.messages[50] = [sms("found", None)]
        account.change(50, has_new_sms=True)
        account.failures[50] = OUTAGE
        await anyio.sleep(failures * INTERVAL + 10)
        assert failures <= len(account.times(50)) <= failures + 1
        account.failures.clear()
        assert texts(await within(INTERVAL + 5, watcher.events(after=watcher.cursor))) == ["found"]


async def test_two_messages_between_two_polls_are_both_found_soon() -> None:
    sim = Simulator()
    sim.behavior.read_clears_flag = False
    ids = [sim.add_order(always_active=True).id for _ in range(100)]
    async with watching(sim) as watcher:
        await anyio.sleep(600)
        sim.deliver(ids[50], "one")
        assert (await watcher.wait_for_sms(ids[50], timeout=60)).sms.text == "one"
        with pytest.raises(TimeoutError):
            await watcher.wait_for_sms(ids[50], timeout=5)
        sim.deliver(ids[50], "two")
        assert (await watcher.wait_for_sms(ids[50], timeout=INTERVAL + 5)).sms.text == "two"


GARBAGE = [
    {"id": 2**63},
    {"id": 10**5000},
    {"phone": object()},
    {"country": b"RU"},
    {"state": 7},
    {"can_prolong_days": float("nan")},
    {"can_prolong_days": 10**5000},
    {"raw_state": 10**5000},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda fields: next(iter(fields)))
async def test_a_source_that_returns_garbage_does_not_end_the_watch_or_corrupt_the_file(
    garbage: dict[str, Any], tmp_path: Path
) -> None:
    account = Account(order(1))
    for _ in range(2):
        async with Watcher(account, journal=SqliteJournal(tmp_path / "journal")) as watcher:
            await polls(1)
            account.listed.append(evolve(order(2), **garbage))
            await polls(2)
            assert kinds(await so_far(watcher))[-1] == "PollFailed"
            account.listed.pop()
            await polls(2)
            assert kinds(await so_far(watcher))[-1] == "PollRecovered"


async def test_messages_may_come_from_a_generator() -> None:
    class Generating(Account):
        async def sms(self, order_id: int) -> Any:
            return (message for message in await super().sms(order_id))

    account = Generating(order())
    account.messages[1] = [sms("found", None)]
    async with Watcher(account, start="replay") as watcher:
        await polls(1)
        assert texts(await so_far(watcher)) == ["found"]


@pytest.mark.parametrize("method", ["places", "append", "read", "move"])
async def test_a_journal_that_breaks_its_contract_raises_journal_error(method: str) -> None:
    async def fail(*_: Any) -> None:
        raise OSError("no route to the journal")

    async def watch() -> None:
        async with Watcher(account, journal=journal, start="replay") as watcher:
            async for _ in watcher.consumer("name", after=0):
                await anyio.sleep(10)

    account, journal = Account(order(1), order(2)), MemoryJournal()
    setattr(journal, method, fail)
    with pytest.raises(JournalError, match="no route to the journal"):
        await watch()


async def test_a_new_order_is_read_soon_while_others_are_awaited() -> None:
    sim = Simulator()
    waited = [sim.add_order().id for _ in range(3)]
    async with (
        SmspvaClient("key", transport=sim.transport()) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):

        async def wait(order_id: int) -> None:
            await watcher.wait_for_sms(order_id, timeout=10_000)

        for order_id in waited:
            tasks.start_soon(wait, order_id)
        await polls(10)
        fresh = sim.add_order().id
        await polls(2)
        assert any(asked.params.get("id") == str(fresh) for asked in sim.requests)
        tasks.cancel_scope.cancel()


async def test_a_single_wrong_date_does_not_delay_the_reading_of_any_order() -> None:
    account = Account(*map(order, range(1, 61)))
    ahead = timedelta(0)
    account.clock = lambda: START + ahead + timedelta(seconds=anyio.current_time())
    async with Watcher(account):
        await polls(1)
        ahead = timedelta(days=1)
        await polls(2)
        ahead = timedelta(0)
        await polls(1)
        account.calls.clear()
        await polls(30)
    assert all(account.times(number) for number in range(1, 61))


@pytest.mark.parametrize("works", [True, False])
async def test_during_many_waits_orders_are_polled_often_if_flags_work(*, works: bool) -> None:
    sim = Simulator()
    sim.behavior.flag_rises = works
    orders = [sim.add_order().id for _ in range(20)]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for order_id in orders[:3]:
            tasks.start_soon(partial(watcher.wait_for_sms, order_id, match=lambda _: False, timeout=1e5))
        for number in range(40):
            await anyio.sleep(17)
            sim.deliver(orders[number % 20], f"message {number}")
        sim.requests.clear()
        await anyio.sleep(60)
        times = [asked.time for asked in sim.requests if asked.method == "orders"]
        tasks.cancel_scope.cancel()
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < 3.4 if works else min(gaps) > 29


@on_both_backends
async def test_a_hanging_journal_does_not_pile_up_calls() -> None:
    class Hanging(MemoryJournal):
        async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
            if state.seq > 0 and any(track.is_read for track in state.tracks.values()):
                await released.wait()
            await super().append(events, state, places)

    released = anyio.Event()
    account = Account(*map(order, range(1, 11)))
    async with Watcher(account, journal=Hanging()):
        await polls(100)
        released.set()  # a write in progress is finished, also on leaving
    assert len(account.calls) <= 12


# -- sources that misbehave ------------------------------------------------------------------------------------------


async def test_an_answer_that_is_not_a_list_is_a_failed_poll() -> None:
    account: Any = Account(order())
    good = account.orders
    async with Watcher(account) as watcher:

        async def nothing() -> None:
            return None

        account.orders = nothing
        await polls(2)
        account.orders = good
        await polls(2)
        assert kinds(await so_far(watcher)) == ["OrderAdded", "PollFailed", "PollRecovered"]


@pytest.mark.asyncio
async def test_a_source_that_cancels_its_own_call_is_a_failed_poll() -> None:
    class Cancelled(Account):
        cancelled = True

        async def sms(self, order_id: int) -> Sequence[Sms]:
            if self.cancelled:
                raise asyncio.CancelledError(order_id)
            return await super().sms(order_id)

    account = Cancelled(order())
    async with Watcher(account) as watcher:
        await polls(2)
        account.cancelled = False
        await polls(2)
        assert kinds(await so_far(watcher)) == ["OrderAdded", "PollFailed", "PollRecovered"]


async def test_an_answer_with_other_objects_is_a_failed_poll() -> None:
    account: Any = Account(order())
    async with Watcher(account) as watcher:
        await anyio.sleep(5)
        account.listed, listed = ["no order"], account.listed
        await polls(2)
        account.listed = listed
        await polls(2)
        account.messages[1] = ["no message"]
        await polls(2)
        account.messages[1] = []
        await polls(2)
        assert kinds(await so_far(watcher)) == ["OrderAdded", *["PollFailed", "PollRecovered"] * 2]


async def test_a_watch_uses_the_overridden_calls_of_a_client() -> None:
    class OnlyRussian(SmspvaClient):
        async def orders(self) -> Rows[Order]:
            return Rows(known for known in await super().orders() if known.country == "RU")

    sim = Simulator()
    russian, _ = sim.add_order(country="RU"), sim.add_order(country="LT", service="opt20")
    async with OnlyRussian("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        assert list(watcher.orders) == [russian.id]


# -- callers that misbehave ------------------------------------------------------------------------------------------


async def test_a_wait_rejects_invalid_arguments() -> None:
    wrong: Any
    async with Watcher(Account(order())) as watcher:
        for wrong in ("1", 0, None, True):
            with pytest.raises(ValueError, match="id"):
                await watcher.wait_for_state(wrong, OrderState.ACTIVE, timeout=1)
            with pytest.raises(ValueError, match="id"):
                await watcher.wait_for_sms(wrong, timeout=1)
        wrong = 17
        with pytest.raises(ValueError, match="17"):
            await watcher.wait_for_state(1, wrong, timeout=1)
        wrong = 0
        assert (await watcher.wait_for_state(1, wrong, timeout=1)).id == 1


async def test_a_watcher_that_failed_to_enter_has_no_events() -> None:
    account, journal = Account(order()), MemoryJournal()
    async with Watcher(account, journal=journal):
        second = Watcher(account, journal=journal)
        with pytest.raises(JournalLocked):
            await second.__aenter__()
        with pytest.raises(WatcherClosed):
            second.events()
