"""The place of a named consumer: moved by the next step or by `ack`, and written to the journal in time."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import SmsReceived
from tests.support.backends import on_both_backends
from tests.support.consumers import LONG, WRITTEN, Disk, account_with, both_ends, deliver, rest, step, take, until
from tests.support.watching import polls

if TYPE_CHECKING:
    from smspva_async import Consumer, Event, Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]


# -- the place moves with the next step --------------------------------------------------------------------------------


@both_ends
async def test_the_next_step_acknowledges_the_previous_event(disk: Disk, end: str) -> None:
    account = account_with(4)
    for first in (2, 3, 4):
        async with disk.watching(account, end=end) as watcher:
            assert await take(watcher.consumer("name"), 2) == [first, first + 1]
            await anyio.sleep(WRITTEN)


@both_ends
async def test_the_last_event_is_delivered_again(disk: Disk, end: str) -> None:
    account = account_with(3)
    given: list[Event] = []
    for _ in range(3):
        async with disk.watching(account, end=end) as watcher:
            given.append(await step(watcher.consumer("name")))
            await anyio.sleep(WRITTEN)
    assert given == given[:1] * 3
    assert isinstance(given[0], SmsReceived)


async def test_a_step_without_a_new_event_acknowledges_too(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        events = watcher.consumer("name")
        assert await take(events, 1) == [2]
    assert await rest(events) == []
    assert await disk.places() == {"name": 2}


async def test_a_loop_that_is_left_gets_its_last_event_again(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        async for event in watcher.consumer("name"):
            if event.seq == 3:
                break
        assert await take(watcher.consumer("name"), 2) == [3, 4]


# -- when the journal has the place that steps move --------------------------------------------------------------------


@on_both_backends
async def test_fifty_events_are_written_at_the_next_step_without_time_passing(disk: Disk) -> None:
    async with disk.watching(account_with(160)) as watcher:
        await until(watcher, 161)
        now, events = anyio.current_time(), watcher.consumer("name")
        assert await take(events, 1) == [2]
        before = disk.journal.written
        for done in (51, 101, 151):
            assert await take(events, 49) == [*range(done - 48, done + 1)]
            assert await disk.places() == {"name": done - 50}
            assert await take(events, 1) == [done + 1]
            assert await disk.places() == {"name": done}
        assert disk.journal.written == before + 3
        assert anyio.current_time() == now


@on_both_backends
async def test_few_events_are_written_at_the_next_step_once_a_fifth_of_a_second_has_passed(disk: Disk) -> None:
    async with disk.watching(account_with(9)) as watcher:
        await until(watcher, 10)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        for done in (4, 7):
            await anyio.sleep(0.15)
            assert await take(events, 1) == [done]
            assert await disk.places() == {"name": done - 3}
            await anyio.sleep(0.1)
            assert await take(events, 1) == [done + 1]
            assert await disk.places() == {"name": done}
            assert await take(events, 1) == [done + 2]  # from here on the next ones are unwritten


@on_both_backends
async def test_an_unwritten_place_is_written_within_a_second_without_another_step(disk: Disk) -> None:
    async with disk.watching(account_with(9), end="killed") as watcher:
        await until(watcher, 10)
        one, other = watcher.consumer("one"), watcher.consumer("other")
        for first in (2, 5, 8):
            assert await take(one, 3) == [*range(first, first + 3)]
            await anyio.sleep(random.uniform(0, 0.1))
            assert await take(other, 2) == [*range(first, first + 2)]
            await anyio.sleep(WRITTEN)
            assert await disk.places() == {"one": first + 1, "other": first}
            assert await take(other, 1) == [first + 2]
            await anyio.sleep(random.uniform(WRITTEN, 3))
            assert await disk.places() == {"one": first + 1, "other": first + 1}


async def test_a_place_is_written_within_a_second_while_the_consumer_waits(disk: Disk) -> None:
    async with disk.watching(account_with(3), end="killed") as watcher, anyio.create_task_group() as tasks:
        await until(watcher, 4)
        tasks.start_soon(rest, watcher.consumer("name"))
        await anyio.sleep(WRITTEN)
        assert await disk.places() == {"name": 4}
        tasks.cancel_scope.cancel()


async def test_an_unwritten_place_is_written_on_leaving(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        assert await take(watcher.consumer("name"), 3) == [2, 3, 4]
        assert await disk.places() == {"name": 1}
    assert await disk.places() == {"name": 3}


async def test_a_poll_with_events_writes_the_unwritten_places_too(disk: Disk) -> None:
    account = account_with(3)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 4)
        assert await take(watcher.consumer("name"), 3) == [2, 3, 4]
        disk.journal.before["move"] = anyio.sleep_forever
        await polls(1)
        assert await disk.places() == {"name": 1}
        deliver(account, 1)
        await until(watcher, 5)
        assert await disk.places() == {"name": 3}


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 52, 75, 100, 101, 149])
async def test_after_a_kill_at_most_fifty_events_are_delivered_again(disk: Disk, count: int) -> None:
    account = account_with(150)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 151)
        assert await take(watcher.consumer("name"), count) == [*range(2, count + 2)]
    async with disk.watching(account) as watcher:
        first = (await step(watcher.consumer("name"))).seq
        # A multiple of fifty was written, and of these the last one wasn't done.
        assert first == (count - 1) // 50 * 50 + 2
        assert 1 <= count + 2 - first <= 50


@pytest.mark.parametrize("seed", range(10))
async def test_after_a_kill_only_events_of_the_last_second_and_at_most_fifty_are_delivered_again(
    memory: Disk, seed: int
) -> None:
    account, chance = account_with(400), random.Random(seed)
    last, older = 2, 1
    async with memory.watching(account) as watcher:
        await until(watcher, 401)
    while last < 300:
        async with memory.watching(account, end="killed") as watcher:
            events, done = watcher.consumer("name", after=1), list[tuple[float, int]]()
            first = (await step(events)).seq
            assert older < first <= last, "an event was lost, or a written one was repeated"
            assert last - first < 50
            last = first
            for _ in range(chance.randrange(100)):
                await anyio.sleep(chance.choice([0, 0, 0, 0.01, 0.15, 0.3]))
                assert await take(events, 1) == [last + 1]
                last += 1
                done.append((anyio.current_time(), last - 1))
            since = anyio.current_time() - WRITTEN
            older = max([first - 1, *(place for time, place in done if time < since)])


# -- the place moves by `ack` ------------------------------------------------------------------------------------------


@both_ends
async def test_without_ack_the_place_does_not_move(disk: Disk, end: str) -> None:
    account = account_with(3)
    for _ in range(2):
        async with disk.watching(account, end=end) as watcher:
            assert await take(watcher.consumer("name", auto_ack=False), 3) == [2, 3, 4]
    assert await disk.places() == {"name": 1}


@both_ends
@pytest.mark.parametrize("acked", [(2, 3, 4), (4, 3, 2), (3, 4, 2), (3, 4), (4, 2), (5, 3, 2)])
async def test_a_restart_continues_at_the_first_unacknowledged_event(
    disk: Disk, acked: tuple[int, ...], end: str
) -> None:
    account = account_with(4)
    async with disk.watching(account, end=end) as watcher:
        events = watcher.consumer("name", auto_ack=False)
        given = {event.seq: event for event in [await step(events) for _ in range(4)]}
        for seq in acked:
            await events.ack(given[seq])
    first = next(seq for seq in range(2, 7) if seq not in acked)
    async with disk.watching(account) as watcher:
        events = watcher.consumer("name", auto_ack=False)
        again = [await step(events) for _ in range(first, 6)]
        assert again == [given[seq] for seq in range(first, 6)]


async def test_the_place_of_a_consumer_with_after_moves_on_from_that_event(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        await take(watcher.consumer("name"), 1)
        events = watcher.consumer("name", after=3, auto_ack=False)
        await events.ack(await step(events))
        assert await disk.places() == {"name": 4}
        assert await take(watcher.consumer("name"), 1) == [5]


async def test_acknowledging_twice_changes_nothing(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        events = watcher.consumer("name", auto_ack=False)
        given = [await step(events) for _ in range(3)]
        for event in (given[0], given[0], given[2], given[2], given[0]):
            await events.ack(event)
        assert await disk.places() == {"name": 2}
        await events.ack(given[1])
        await events.ack(given[1])
        assert await disk.places() == {"name": 4}


async def test_only_events_of_this_consumer_can_be_acknowledged(memory: Disk) -> None:
    async with memory.watching(account_with(4)) as watcher:
        others = watcher.events(after=0)
        known = [await step(others) for _ in range(5)]
        events = watcher.consumer("name", after=2, auto_ack=False)
        for event in known:
            with pytest.raises(ValueError, match=f"did not return event {event.seq}"):
                await events.ack(event)
        await step(events)
        for event in (known[0], known[1], known[3]):
            with pytest.raises(ValueError, match=f"did not return event {event.seq}"):
                await events.ack(event)
        assert await memory.places() == {"name": 2}


@on_both_backends
@both_ends
async def test_a_task_per_event_that_ends_in_any_order_loses_nothing(disk: Disk, end: str) -> None:
    account = account_with(12)
    done, acked = list[int](), set[int]()

    async def work(events: Consumer, event: Event, *, hangs: bool) -> None:
        await anyio.sleep(1 + event.seq * 5 % 7 if not hangs else LONG)
        done.append(event.seq)
        await events.ack(event)
        acked.add(event.seq)

    async def consume(watcher: Watcher, *hanging: int) -> None:
        events = watcher.consumer("name", auto_ack=False)
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


@on_both_backends
async def test_several_tasks_can_acknowledge_at_the_same_time(disk: Disk) -> None:
    account = account_with(20)
    async with disk.watching(account) as watcher:
        events = watcher.consumer("name", auto_ack=False)
        given = [await step(events) for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            for event in [*given[::-2], *given[::2], *given[10:]]:
                tasks.start_soon(events.ack, event)
        assert await disk.places() == {"name": 21}


@on_both_backends
async def test_an_acknowledgement_returns_when_the_journal_has_it(memory: Disk) -> None:
    held, acked = anyio.Event(), list[int]()
    async with memory.watching(account_with(2)) as watcher, anyio.create_task_group() as tasks:
        events = watcher.consumer("name", auto_ack=False)
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
