"""Names: where each begins, and its place in the journal, which the next step or `ack` moves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from smspva_async import Event, Lagged, SmsReceived, Watcher
from tests.consumers import LONG, Disk, account_with, deliver, rest, step, take, until, waiting
from tests.watching import ORDERS, OUTAGE, kinds, polls, sms, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smspva_async import Subscription

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

both_ends = pytest.mark.parametrize("end", ["left", "killed"])


# -- where a name begins -----------------------------------------------------------------------------------------------


async def test_a_new_name_begins_after_the_baseline(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        early = watcher.events("early")
        await until(watcher, 3)
        late = watcher.events("late")
        for events in (early, late):
            assert events.cursor == 1
            assert await take(events, 2) == [2, 3]


@both_ends
async def test_taken_before_the_first_good_poll_it_waits_for_the_baseline(disk: Disk, end: str) -> None:
    account = account_with(0)
    account.failures[ORDERS] = OUTAGE
    async with disk.watching(account, end=end) as watcher:
        watcher.events("never read")
        events = watcher.events("name")
        async with anyio.create_task_group() as tasks:
            await waiting(events, tasks)
            account.failures.clear()
            await until(watcher, 3)
            account.messages[1] = [sms("one", 1000)]
        await until(watcher, 4)
    async with disk.watching(account) as watcher:
        for name in ("name", "never read"):
            assert texts([await step(watcher.events(name))]) == ["one"]
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
async def test_a_run_without_a_good_poll_leaves_the_baseline_to_the_next(disk: Disk, end: str) -> None:
    account = account_with(1)
    account.failures[ORDERS] = OUTAGE
    async with disk.watching(account, end=end) as watcher:
        watcher.events("name")
        await polls(2)
        assert watcher.cursor == 1
    account.failures.clear()
    async with disk.watching(account) as watcher:
        assert texts([await step(watcher.events("name"))]) == ["2"]


@both_ends
async def test_with_replay_it_begins_before_the_first_event(disk: Disk, end: str) -> None:
    account = account_with(2)
    async with disk.watching(account, end=end, start="replay") as watcher:
        watcher.events("never read")
        assert await take(watcher.events("name"), 3) == [1, 2, 3]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("never read"), 3) == [1, 2, 3]


async def test_with_a_journal_that_had_a_state_it_begins_before_the_first_event_of_the_run(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        await until(watcher, 2)
    deliver(account, 2)
    async with disk.watching(account) as watcher:
        await until(watcher, 4)
        assert await take(watcher.events("name"), 2) == [3, 4]


async def test_the_place_is_fixed_when_the_name_is_taken(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        await until(watcher, 2)
        events = watcher.events("name", after=watcher.cursor)
        deliver(account, 2)
        await until(watcher, 4)
        assert await take(events, 2) == [3, 4]


@pytest.mark.parametrize(("after", "first"), [(0, 1), (1, 2), (3, 4)])
async def test_a_new_name_begins_where_it_is_told_to(disk: Disk, after: int, first: int) -> None:
    async with disk.watching(account_with(4)) as watcher:
        await until(watcher, 5)
        assert await take(watcher.events("name", after=after), 2) == [first, first + 1]


# -- where a name begins, if nothing was read under it yet -------------------------------------------------------------


@both_ends
async def test_no_event_written_after_the_name_was_taken_is_lost_to_it(disk: Disk, end: str) -> None:
    account = account_with(0)
    async with disk.watching(account, end=end) as watcher:
        watcher.events("name")
        watcher.events("from now on", after=watcher.cursor)
        deliver(account, 3)
        await until(watcher, 4)
    deliver(account, 1)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        for name in ("name", "from now on"):
            assert await take(watcher.events(name), 4) == [2, 3, 4, 5]


async def test_a_name_that_was_never_read_is_kept_when_the_watcher_is_left(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account) as watcher:
        await until(watcher, 3)
        watcher.events("name", after=1)
    assert await disk.places() == {"name": 1}
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [2, 3]


async def test_a_name_is_kept_before_anything_is_given_under_it(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 3)
        assert await take(watcher.events("name", after=1, auto_ack=False), 1) == [2]
    assert await disk.places() == {"name": 1}
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [2, 3]


@both_ends
async def test_a_name_that_began_with_all_that_was_kept_is_not_told_of_what_was_gone_before(
    tmp_path: Path, end: str
) -> None:
    disk, account = Disk(tmp_path / "journal", keep=3), account_with(9)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 10)
        deliver(account, 1)
        await until(watcher, 11)
        assert await take(watcher.events("name", after=0), 1) == [9]
        deliver(account, 20)
        await until(watcher, 31)
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 23) == list(range(9, 32))


# -- `after` with a name that is known ---------------------------------------------------------------------------------


@both_ends
@pytest.mark.parametrize(("after", "first"), [(0, 3), (1, 3), (2, 3), (4, 5)])
async def test_after_is_the_larger_of_both(disk: Disk, after: int, first: int, end: str) -> None:
    account = account_with(5)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 6)
        assert await take(watcher.events("name"), 2) == [2, 3]  # 2 is done
        assert await take(watcher.events("name", after=after), 1) == [first]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name", after=after), 1) == [first]
        assert await take(watcher.events("name"), 1) == [3]  # it hasn't moved


async def test_after_is_the_larger_of_both_if_nothing_was_read_under_the_name(memory: Disk) -> None:
    async with memory.watching(account_with(5)) as watcher:
        await until(watcher, 6)
        for after, first in ((0, 2), (1, 2), (4, 5)):
            watcher.events(f"name {after}")
            assert await take(watcher.events(f"name {after}", after=after), 1) == [first]


@both_ends
@pytest.mark.parametrize("known", [True, False])
async def test_a_place_in_the_future_is_refused_and_does_no_harm(disk: Disk, known: bool, end: str) -> None:  # noqa: FBT001
    account = account_with(3)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 4)
        if known:
            assert await take(watcher.events("name"), 2) == [2, 3]
        with pytest.raises(Lagged) as caught:
            await step(watcher.events("name", after=1000))
        assert caught.value.resume == 4
        assert await disk.places() == ({"name": 2} if known else {})
        events = watcher.events("name", after=caught.value.resume)
        deliver(account, 1)
        await until(watcher, 5)
        assert await take(events, 1) == [5]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 1) == [3 if known else 5]


async def test_a_name_that_has_fallen_behind_goes_on_where_it_is_told() -> None:
    disk, account = Disk(None, keep=3), account_with(2)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", after=0)
        await until(watcher, 3)
        assert await take(events, 1) == [1]
        deliver(account, 6)
        await until(watcher, 9)
        for _ in range(2):  # it isn't passed over, however often it is asked
            with pytest.raises(Lagged) as caught:
                await step(events)
            assert caught.value.resume == 6
        assert await disk.places() == {"name": 1}
        assert await take(watcher.events("name", after=caught.value.resume), 2) == [7, 8]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [8, 9]


async def test_a_file_keeps_what_a_name_has_not_read(tmp_path: Path) -> None:
    disk, account = Disk(tmp_path / "journal", keep=2), account_with(1)
    async with disk.watching(account) as watcher:
        watcher.events("name")
        for seq in range(2, 12):
            await until(watcher, seq)
            deliver(account, 1)
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 10) == list(range(2, 12))


# -- the place moves with the next step --------------------------------------------------------------------------------


@both_ends
async def test_asking_for_the_next_event_acknowledges_the_one_before(disk: Disk, end: str) -> None:
    account = account_with(4)
    for first in (2, 3, 4):
        async with disk.watching(account, end=end) as watcher:
            assert await take(watcher.events("name"), 2) == [first, first + 1]


@both_ends
async def test_an_event_that_was_given_last_is_given_again(disk: Disk, end: str) -> None:
    account = account_with(3)
    given: list[Event] = []
    for _ in range(3):
        async with disk.watching(account, end=end) as watcher:
            given.append(await step(watcher.events("name")))
    assert given == given[:1] * 3
    assert isinstance(given[0], SmsReceived)


async def test_asking_in_vain_acknowledges_as_well(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        events = watcher.events("name")
        assert await take(events, 1) == [2]
    assert await rest(events) == []
    assert await disk.places() == {"name": 2}


async def test_a_loop_that_is_left_gives_its_last_event_again(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        async for event in watcher.events("name"):
            if event.seq == 3:
                break
        assert await take(watcher.events("name"), 2) == [3, 4]


# -- the place moves by `ack` ------------------------------------------------------------------------------------------


@both_ends
async def test_without_ack_the_place_stays(disk: Disk, end: str) -> None:
    account = account_with(3)
    for _ in range(2):
        async with disk.watching(account, end=end) as watcher:
            assert await take(watcher.events("name", auto_ack=False), 3) == [2, 3, 4]
    assert await disk.places() == {"name": 1}


@both_ends
@pytest.mark.parametrize("acked", [(2, 3, 4), (4, 3, 2), (3, 4, 2), (3, 4), (4, 2), (5, 3, 2)])
async def test_a_restart_goes_on_at_the_first_event_that_is_not_done(
    disk: Disk, acked: tuple[int, ...], end: str
) -> None:
    account = account_with(4)
    async with disk.watching(account, end=end) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = {event.seq: event for event in [await step(events) for _ in range(4)]}
        for seq in acked:
            await events.ack(given[seq])
    first = next(seq for seq in range(2, 7) if seq not in acked)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", auto_ack=False)
        again = [await step(events) for _ in range(first, 6)]
        assert again == [given[seq] for seq in range(first, 6)]


async def test_a_place_that_begins_with_after_moves_from_there(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        await take(watcher.events("name"), 1)
        events = watcher.events("name", after=3, auto_ack=False)
        await events.ack(await step(events))
        assert await disk.places() == {"name": 4}
        assert await take(watcher.events("name"), 1) == [5]


async def test_acknowledging_twice_changes_nothing(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(3)]
        for event in (given[0], given[0], given[2], given[2], given[0]):
            await events.ack(event)
        assert await disk.places() == {"name": 2}
        await events.ack(given[1])
        await events.ack(given[1])
        assert await disk.places() == {"name": 4}


async def test_an_event_that_was_not_given_cannot_be_acknowledged(memory: Disk) -> None:
    async with memory.watching(account_with(4)) as watcher:
        others = watcher.events(after=0)
        known = [await step(others) for _ in range(5)]
        events = watcher.events("name", after=2, auto_ack=False)
        for event in known:
            with pytest.raises(ValueError, match=f"event {event.seq} wasn't given"):
                await events.ack(event)
        await step(events)
        for event in (known[0], known[1], known[3]):
            with pytest.raises(ValueError, match=f"event {event.seq} wasn't given"):
                await events.ack(event)
        assert await memory.places() == {"name": 2}


async def test_without_a_name_there_is_nothing_to_acknowledge(memory: Disk) -> None:
    async with memory.watching(account_with(1)) as watcher:
        events = watcher.events()
        with pytest.raises(ValueError, match="with a name"):
            await events.ack(await step(events))
        with pytest.raises(ValueError, match="nothing to acknowledge"):
            watcher.events(auto_ack=False)


@both_ends
async def test_a_task_per_event_that_ends_in_any_order_loses_nothing(disk: Disk, end: str) -> None:
    account = account_with(12)
    done, acked = list[int](), set[int]()

    async def work(events: Subscription, event: Event, *, hangs: bool) -> None:
        await anyio.sleep(1 + event.seq * 5 % 7 if not hangs else LONG)
        done.append(event.seq)
        await events.ack(event)
        acked.add(event.seq)

    async def consume(watcher: Watcher, *hanging: int) -> None:
        events = watcher.events("name", auto_ack=False)
        async with anyio.create_task_group() as tasks:
            while events.cursor < 13:
                event = await step(events)
                tasks.start_soon(partial(work, events, event, hangs=event.seq in hanging))
            while not {*range(2, 14)} <= {*acked, *hanging}:
                await polls(1)
            tasks.cancel_scope.cancel()

    async with disk.watching(account, end=end) as watcher:
        await consume(watcher, 5, 9)
    assert sorted(done) == [2, 3, 4, 6, 7, 8, 10, 11, 12, 13]
    assert done != sorted(done)
    async with disk.watching(account) as watcher:
        await consume(watcher)
    assert {*done} == {*range(2, 14)}
    assert all(done.count(seq) == 1 for seq in (2, 3, 4))


async def test_several_tasks_acknowledge_at_once(disk: Disk) -> None:
    account = account_with(20)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            for event in [*given[::-2], *given[::2], *given[10:]]:
                tasks.start_soon(events.ack, event)
        assert await disk.places() == {"name": 21}


async def test_an_acknowledgement_returns_when_the_journal_has_it(memory: Disk) -> None:
    held, acked = anyio.Event(), list[int]()
    async with memory.watching(account_with(2)) as watcher, anyio.create_task_group() as tasks:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(2)]
        memory.journal.before["move"] = held.wait

        async def ack(event: Event) -> None:
            await events.ack(event)
            acked.append(event.seq)

        for event in (given[0], given[1], given[0]):
            tasks.start_soon(ack, event)
            await polls(1)
        assert acked == []
        held.set()
        await polls(1)
        assert sorted(acked) == [2, 2, 3]
        assert await memory.places() == {"name": 3}
