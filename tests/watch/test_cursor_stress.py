"""Named consumers under cancellations and failures, and in thousands."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import JournalError
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.consumers import (
    WRITTEN,
    Disk,
    account_with,
    both_ends,
    cancelled_after,
    deliver,
    seqs,
    step,
    take,
    until,
)
from tests.support.selection import slow
from tests.support.watching import polls

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async import Event

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]

BROKEN = JournalError("the journal can't be written: the disk is full")


# -- cancelling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_ack", [True, False])
@pytest.mark.parametrize("checkpoints", range(16))
async def test_a_step_cancelled_at_any_point_loses_nothing(
    memory: Disk,
    checkpoints: int,
    auto_ack: bool,  # noqa: FBT001
) -> None:
    account = account_with(6)
    given: list[Event] = []
    async with memory.watching(account) as watcher:
        events = watcher.consumer("name", auto_ack=auto_ack)

        async def one() -> None:
            given.append(await anext(events))

        for number in range(100):
            if number % 10 == 9:
                deliver(account, 1)
                await until(watcher, len(account.messages[1]) + 1)
            if number % 3 == 2:
                await anyio.sleep(0.25)  # the next step writes the place
            await cancelled_after(checkpoints, one)
            assert (await memory.places()).get("name", 1) <= (given[-1].seq if given and auto_ack else 1)
        given += [await step(events) for _ in range(len(account.messages[1]) - len(given))]
        last = len(account.messages[1]) + 1
        assert seqs(given) == [*range(2, last + 1)]
        await anyio.sleep(WRITTEN)
        assert (await memory.places())["name"] in ((last - 1, last) if auto_ack else (1,))


@pytest.mark.parametrize("checkpoints", range(10))
async def test_an_acknowledgement_cancelled_at_any_point_can_be_repeated(disk: Disk, checkpoints: int) -> None:
    async with disk.watching(account_with(2)) as watcher:
        events = watcher.consumer("name", auto_ack=False)
        event = await step(events)
        if await cancelled_after(checkpoints, partial(events.ack, event)):
            assert await disk.places() == {"name": 2}
        await events.ack(event)
        assert await disk.places() == {"name": 2}


@on_asyncio
@pytest.mark.parametrize("turns", range(8))
async def test_an_asyncio_task_cancelled_at_any_point_loses_nothing(disk: Disk, turns: int) -> None:
    account = account_with(5)
    async with disk.watching(account) as watcher:
        await until(watcher, 6)
        events = watcher.consumer("name")
        given: list[Event] = []

        async def one() -> None:
            given.append(await anext(events))

        for _ in range(10):
            task = asyncio.create_task(one())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.25)  # the next step writes the place
        given += [await step(events) for _ in range(5 - len(given))]
        assert seqs(given) == [2, 3, 4, 5, 6]
        await asyncio.sleep(WRITTEN)
        assert (await disk.places())["name"] in (5, 6)  # 6: if one more step was made


@on_asyncio
@pytest.mark.parametrize("seconds", [0, 1e-9, 0.5, 31])
async def test_waiting_with_a_timeout_loses_nothing(disk: Disk, seconds: float) -> None:
    account = account_with(0)
    async with disk.watching(account) as watcher:
        events = watcher.consumer("name")
        given: list[Event] = []
        for _ in range(20):
            if len(account.messages[1]) < 5:
                deliver(account, 1)
            with anyio.move_on_after(7):
                try:
                    given.append(await asyncio.wait_for(anext(events), seconds))
                except TimeoutError:
                    await anyio.sleep(3)
        given += [await step(events) for _ in range(5 - len(given))]
        assert seqs(given) == [2, 3, 4, 5, 6]


# -- a journal that fails ----------------------------------------------------------------------------------------------


async def test_a_place_that_cannot_be_written_raises_at_that_step_and_loses_nothing(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        disk.journal.broken = BROKEN
        await anyio.sleep(0.25)
        for _ in range(2):
            with pytest.raises(JournalError, match="disk is full"):
                await step(events)
        assert await disk.places() == {"name": 1}
        disk.journal.broken = None
        assert await take(events, 2) == [4, 5]
        assert await disk.places() == {"name": 3}


async def test_a_consumer_stops_fifty_events_ahead_of_a_place_that_cannot_be_written(disk: Disk) -> None:
    account = account_with(60)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 61)
        events = watcher.consumer("name")
        assert await take(events, 1) == [2]
        disk.journal.broken = BROKEN
        assert await take(events, 49) == [*range(3, 52)]
        for _ in range(2):
            with pytest.raises(JournalError, match="disk is full"):
                await step(events)
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 60) == [*range(2, 62)]


async def test_the_watcher_retries_a_place_that_it_cannot_write(disk: Disk) -> None:
    account, tries = account_with(4), list[float]()

    async def note() -> None:
        tries.append(anyio.current_time())

    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 5)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        disk.journal.broken, disk.journal.before["move"] = BROKEN, note
        await anyio.sleep(5 * WRITTEN)
        assert 5 <= len(tries) <= 10
        assert await disk.places() == {"name": 1}
        disk.journal.broken = None
        await anyio.sleep(WRITTEN)
        assert await disk.places() == {"name": 2}
        assert await take(events, 2) == [4, 5]
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 3) == [3, 4, 5]


@both_ends
async def test_events_after_a_place_that_was_never_written_are_delivered_again(disk: Disk, end: str) -> None:
    account = account_with(4)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 5)
        events = watcher.consumer("name")
        assert await take(events, 1) == [2]
        disk.journal.broken = BROKEN
        assert await take(events, 2) == [3, 4]
        await anyio.sleep(3 * WRITTEN)
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 4) == [2, 3, 4, 5]


async def test_an_acknowledgement_that_cannot_be_written_can_be_repeated(disk: Disk) -> None:
    account = account_with(3)
    async with disk.watching(account, end="killed") as watcher:
        events = watcher.consumer("name", auto_ack=False)
        given = [await step(events) for _ in range(3)]
        disk.journal.broken = BROKEN
        with pytest.raises(JournalError, match="disk is full"):
            await events.ack(given[0])
        assert await disk.places() == {"name": 1}
        disk.journal.broken = None
        await events.ack(given[0])
        assert await disk.places() == {"name": 2}
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 2) == [3, 4]


async def test_a_consumer_delivers_nothing_until_its_name_is_written(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        await until(watcher, 3)
        disk.journal.broken = BROKEN
        events = watcher.consumer("name", after=1)
        for _ in range(2):
            with pytest.raises(JournalError, match="disk is full"):
                await step(events)
        disk.journal.broken = None
        assert await take(events, 2) == [2, 3]


async def test_after_a_failed_write_a_takeover_keeps_the_place_and_a_kill_loses_it(disk: Disk) -> None:
    account = account_with(3)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 4)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        disk.journal.broken = BROKEN
        await anyio.sleep(0.25)
        with pytest.raises(JournalError):
            await step(events)
        new = watcher.consumer("name", auto_ack=False)
        event = await step(new)
        assert event.seq == 4
        with pytest.raises(JournalError):
            await new.ack(event)
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 2) == [2, 3]


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, slow(1000)])
async def test_many_names_get_the_same_events(memory: Disk, count: int) -> None:
    account = account_with(0)
    given: dict[str, list[int]] = {f"name {number}": [] for number in range(count)}
    async with memory.watching(account) as watcher, anyio.create_task_group() as tasks:

        async def consume(name: str) -> None:
            async for event in watcher.consumer(name):
                given[name].append(event.seq)

        for name in given:
            tasks.start_soon(consume, name)
        deliver(account, 3)
        await polls(3)
        assert [*given.values()] == [[2, 3, 4]] * count
        assert len(account.calls) <= 8  # they send no requests
        tasks.cancel_scope.cancel()
    assert await memory.places() == dict.fromkeys(given, 4)


async def test_a_thousand_new_names_are_one_write(tmp_path: Path) -> None:
    disk, account = Disk(tmp_path / "journal"), account_with(0)
    names = [f"name {number}" for number in range(1000)]
    async with disk.watching(account, end="killed") as watcher:
        for name in names:
            watcher.consumer(name)
        deliver(account, 1)
        await until(watcher, 2)
        assert disk.journal.written == 0
    assert await disk.places() == dict.fromkeys(names, 1)


async def test_many_events_acknowledged_in_reverse_move_the_place_in_one_write(memory: Disk) -> None:
    account = account_with(3000)
    async with memory.watching(account) as watcher:
        await until(watcher, 3001)
        events = watcher.consumer("name", after=2001, auto_ack=False)
        given = [await step(events) for _ in range(1000)]
        before = memory.journal.written
        for event in reversed(given):
            await events.ack(event)
        assert memory.journal.written == before + 1
        assert await memory.places() == {"name": 3001}
