"""The place of a name in the journal, and what moves it: the next step, or `ack`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import SmsReceived
from tests.support.backends import on_both_backends
from tests.support.consumers import LONG, Disk, account_with, both_ends, rest, step, take, until
from tests.support.watching import polls

if TYPE_CHECKING:
    from smspva_async import Event, Subscription, Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]


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


@on_both_backends
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


@on_both_backends
async def test_several_tasks_acknowledge_at_once(disk: Disk) -> None:
    account = account_with(20)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            for event in [*given[::-2], *given[::2], *given[10:]]:
                tasks.start_soon(events.ack, event)
        assert await disk.places() == {"name": 21}


@on_both_backends
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
