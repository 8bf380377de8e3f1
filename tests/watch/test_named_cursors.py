"""Named consumers: the first place of a new, an unread and a known name, with and without `after`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import Lagged, MemoryJournal, SqliteJournal, Watcher
from tests.support.accounts import ORDERS, OUTAGE, Account, order, sms
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.consumers import WRITTEN, Disk, account_with, both_ends, deliver, step, take, until, waiting
from tests.support.watching import kinds, polls, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smspva_async import Event, Subscription

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]


# -- where a name begins -----------------------------------------------------------------------------------------------


async def test_a_new_name_begins_after_the_baseline(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        early = watcher.consumer("early")
        await until(watcher, 3)
        late = watcher.consumer("late")
        for events in (early, late):
            assert events.cursor == 1
            assert await take(events, 2) == [2, 3]


@both_ends
async def test_a_name_taken_before_the_first_good_poll_waits_for_the_baseline(disk: Disk, end: str) -> None:
    account = account_with(0)
    account.failures[ORDERS] = OUTAGE
    async with disk.watching(account, end=end) as watcher:
        watcher.consumer("never read")
        events = watcher.consumer("name")
        async with anyio.create_task_group() as tasks:
            await waiting(events, tasks)
            account.failures.clear()
            await until(watcher, 3)
            account.messages[1] = [sms("one", 1000)]
        await until(watcher, 4)
    async with disk.watching(account) as watcher:
        for name in ("name", "never read"):
            assert texts([await step(watcher.consumer(name))]) == ["one"]
        assert kinds([event async for event in so_far(watcher)]) == [
            "PollFailed",
            "PollRecovered",
            "OrderAdded",
            "SmsReceived",
        ]


async def so_far(watcher: Watcher) -> AsyncIterator[Event]:
    events = watcher.events(after=0)
    for _ in range(watcher.cursor):
        yield await step(events)


@both_ends
async def test_after_a_run_without_a_good_poll_the_next_run_has_the_baseline(disk: Disk, end: str) -> None:
    account = account_with(1)
    account.failures[ORDERS] = OUTAGE
    async with disk.watching(account, end=end) as watcher:
        watcher.consumer("name")
        await polls(2)
        assert watcher.cursor == 1
    account.failures.clear()
    async with disk.watching(account) as watcher:
        assert texts([await step(watcher.consumer("name"))]) == ["2"]


@both_ends
async def test_with_replay_a_new_name_begins_before_the_first_event(disk: Disk, end: str) -> None:
    account = account_with(2)
    async with disk.watching(account, end=end, start="replay") as watcher:
        watcher.consumer("never read")
        assert await take(watcher.consumer("name"), 3) == [1, 2, 3]
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("never read"), 3) == [1, 2, 3]


async def test_with_a_stored_state_a_new_name_begins_before_the_first_event_of_the_run(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        await until(watcher, 2)
    deliver(account, 2)
    async with disk.watching(account) as watcher:
        await until(watcher, 4)
        assert await take(watcher.consumer("name"), 2) == [3, 4]


async def test_a_new_name_begins_at_the_call_and_not_at_the_first_step(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        await until(watcher, 2)
        events = watcher.consumer("name", after=watcher.cursor)
        deliver(account, 2)
        await until(watcher, 4)
        assert await take(events, 2) == [3, 4]


@pytest.mark.parametrize(("after", "first"), [(0, 1), (1, 2), (3, 4)])
async def test_a_new_name_begins_after_the_given_event(disk: Disk, after: int, first: int) -> None:
    async with disk.watching(account_with(4)) as watcher:
        await until(watcher, 5)
        assert await take(watcher.consumer("name", after=after), 2) == [first, first + 1]


@pytest.mark.parametrize("name", ["", "caf\udce9", 7, b"name"])
async def test_a_name_that_cannot_be_written_is_rejected(name: Any) -> None:
    async with Watcher(Account(order())) as watcher:
        with pytest.raises(ValueError, match="expected a name"):
            watcher.consumer(name)


# -- where a name begins, if nothing was read under it yet -------------------------------------------------------------


@both_ends
async def test_a_new_name_misses_no_event_written_after_the_call(disk: Disk, end: str) -> None:
    account = account_with(0)
    async with disk.watching(account, end=end) as watcher:
        watcher.consumer("name")
        watcher.consumer("from now on", after=watcher.cursor)
        deliver(account, 3)
        await until(watcher, 4)
    deliver(account, 1)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        for name in ("name", "from now on"):
            assert await take(watcher.consumer(name), 4) == [2, 3, 4, 5]


async def test_a_name_that_was_never_read_is_kept_when_the_watcher_is_left(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account) as watcher:
        await until(watcher, 3)
        watcher.consumer("name", after=1)
    assert await disk.places() == {"name": 1}
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 2) == [2, 3]


async def test_a_name_is_written_before_its_first_event_is_delivered(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 3)
        assert await take(watcher.consumer("name", after=1, auto_ack=False), 1) == [2]
    assert await disk.places() == {"name": 1}
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 2) == [2, 3]


@both_ends
async def test_a_name_for_everything_kept_does_not_lag_because_of_older_events(tmp_path: Path, end: str) -> None:
    disk, account = Disk(tmp_path / "journal", keep=3), account_with(9)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 10)
        deliver(account, 1)
        await until(watcher, 11)
        assert await take(watcher.consumer("name", after=0), 1) == [9]
        deliver(account, 20)
        await until(watcher, 31)
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 23) == list(range(9, 32))


@on_asyncio
async def test_a_name_for_everything_kept_begins_with_the_oldest_after_a_kill_as_well(tmp_path: Path) -> None:
    account = Account(order())
    journal = SqliteJournal(tmp_path / "journal", keep=3)
    async with Watcher(account, journal=journal) as watcher:
        for number in range(10):
            account.messages[1].append(sms(f"message {number}", number + 60))
            await polls(1)
        watcher.consumer("name", after=0)
        oldest = watcher.cursor - 3
        account.messages[1].append(sms("the last", 600))
        await polls(1)  # which writes the name before its first step
        assert await journal.places() == {"name": oldest}


async def test_a_forgotten_name_is_written_again_with_its_next_consumer() -> None:
    account, journal = Account(order()), MemoryJournal()
    async with Watcher(account, journal=journal) as watcher:
        watcher.consumer("name")
        await polls(1)
        await journal.forget("name")
        watcher.consumer("name")
        account.messages[1].append(sms("one", None))
        account.change(1, has_new_sms=True)
        await polls(2)
        assert "name" in await journal.places()


# -- `after` with a name that is known ---------------------------------------------------------------------------------


@both_ends
@pytest.mark.parametrize(("after", "first"), [(0, 3), (1, 3), (2, 3), (4, 5)])
async def test_a_known_name_begins_at_the_later_of_its_place_and_after(
    disk: Disk, after: int, first: int, end: str
) -> None:
    account = account_with(5)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 6)
        assert await take(watcher.consumer("name"), 2) == [2, 3]  # 2 is done
        assert await take(watcher.consumer("name", after=after), 1) == [first]
        await anyio.sleep(WRITTEN)
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name", after=after), 1) == [first]
        assert await take(watcher.consumer("name"), 1) == [3]  # it hasn't moved


async def test_a_known_but_unread_name_begins_at_the_later_of_its_place_and_after(memory: Disk) -> None:
    async with memory.watching(account_with(5)) as watcher:
        await until(watcher, 6)
        for after, first in ((0, 2), (1, 2), (4, 5)):
            watcher.consumer(f"name {after}")
            assert await take(watcher.consumer(f"name {after}", after=after), 1) == [first]


@both_ends
@pytest.mark.parametrize("known", [True, False])
async def test_a_place_in_the_future_is_rejected_and_changes_nothing(disk: Disk, known: bool, end: str) -> None:  # noqa: FBT001
    account = account_with(3)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 4)
        if known:
            assert await take(watcher.consumer("name"), 2) == [2, 3]
            await anyio.sleep(WRITTEN)
        with pytest.raises(Lagged) as caught:
            await step(watcher.consumer("name", after=1000))
        assert caught.value.resume == 4
        assert await disk.places() == ({"name": 2} if known else {})
        events = watcher.consumer("name", after=caught.value.resume)
        deliver(account, 1)
        await until(watcher, 5)
        assert await take(events, 1) == [5]
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 1) == [3 if known else 5]


async def test_a_consumer_that_raised_lagged_continues_at_resume() -> None:
    disk, account = Disk(None, keep=3), account_with(2)
    async with disk.watching(account) as watcher:
        events = watcher.consumer("name", after=0)
        await until(watcher, 3)
        assert await take(events, 1) == [1]
        deliver(account, 6)
        await until(watcher, 9)
        for _ in range(2):  # it isn't skipped, whatever the number of steps
            with pytest.raises(Lagged) as caught:
                await step(events)
            assert caught.value.resume == 3  # all of the last reading is kept
        await anyio.sleep(WRITTEN)
        assert await disk.places() == {"name": 1}
        assert await take(watcher.consumer("name", after=caught.value.resume), 2) == [4, 5]
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 2) == [5, 6]


@pytest.mark.parametrize("count", [4, 20, 300])
@on_both_backends
async def test_a_waiting_consumer_never_lags_however_large_a_poll_is(count: int) -> None:
    disk, account = Disk(None, keep=3), account_with(0)
    async with disk.watching(account) as watcher, anyio.create_task_group() as tasks:
        given: dict[Subscription, list[int]] = {watcher.consumer("name"): [], watcher.events(): []}

        async def read(events: Subscription) -> None:
            async for event in events:
                given[events].append(event.seq)

        for events in given:
            tasks.start_soon(read, events)
        for times in (1, 2):
            deliver(account, count)
            await until(watcher, times * count + 1)
        assert [*given.values()] == [[*range(2, 2 * count + 2)]] * 2
        tasks.cancel_scope.cancel()


async def test_a_consumer_that_was_caught_up_before_a_large_poll_can_read_it_until_the_next_events() -> None:
    disk, account = Disk(None, keep=3), account_with(0)
    async with disk.watching(account) as watcher:
        both = (watcher.consumer("name"), watcher.events())
        await polls(2)
        deliver(account, 20)
        await until(watcher, 21)
        for events in both:
            for seq in range(2, 22):
                assert await take(events, 1) == [seq]
                await anyio.sleep(45)  # its work takes longer than the interval


async def test_a_file_keeps_events_that_a_name_has_not_read(tmp_path: Path) -> None:
    disk, account = Disk(tmp_path / "journal", keep=2), account_with(1)
    async with disk.watching(account) as watcher:
        watcher.consumer("name")
        for seq in range(2, 12):
            await until(watcher, seq)
            deliver(account, 1)
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 10) == list(range(2, 12))
