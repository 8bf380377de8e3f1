"""`SqliteJournal` works off the event loop: with a slow disk, under cancellation, and when a write fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import evolve

from smspva_async import JournalError, JournalLocked, SqliteJournal, WatchState
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.journal_files import Gate, filled, opened, state_of, stored, threads, try_to_open, turns
from tests.support.journals import events
from tests.support.processes import run_worker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, on_both_backends]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.mark.parametrize("method", ["open", "append", "move", "close"])
async def test_a_slow_disk_does_not_block_the_event_loop(path: Path, method: str) -> None:
    journal = SqliteJournal(path)
    if method != "open":
        await journal.open(None)
    async with anyio.create_task_group() as group, Gate(journal, method) as gate:
        group.start_soon(call, journal, method)
        await gate.reached()
        await turns()
        gate.open()
    await journal.aclose()


async def call(journal: SqliteJournal, method: str) -> None:
    if method == "open":
        await journal.open(None)
    elif method == "append":
        await journal.append(events(1, 3), WatchState(seq=3), {"a": 2})
    elif method == "move":
        await journal.move({"a": 2})
    else:
        await journal.aclose()


async def all_or_nothing(journal: SqliteJournal, path: Path) -> bool:
    """Check that a journal, in memory and in its file, has all of a poll or nothing; return True for all."""
    found = list(await journal.read(0, 10))
    await journal.aclose()
    assert threads() == []
    state, in_file, places = await stored(path)
    assert found == in_file
    assert (state, in_file, places) in [(None, [], {}), (WatchState(seq=3), events(1, 3), {"a": 2})]
    return state is not None


@pytest.mark.parametrize("after", [False, True])
async def test_a_write_cancelled_in_progress_is_written_completely(path: Path, *, after: bool) -> None:
    journal = await opened(path)
    async with anyio.create_task_group() as group, Gate(journal, "append", after=after) as gate:
        group.start_soon(call, journal, "append")
        await gate.reached()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await turns()
        gate.open()
    assert await all_or_nothing(journal, path)


async def test_a_write_cancelled_before_it_begins_is_written_completely_or_not_at_all(path: Path) -> None:
    journal = await opened(path)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(journal, "append")
    await all_or_nothing(journal, path)


@pytest.mark.parametrize("beforehand", [False, True])
async def test_a_cancelled_open_leaves_nothing_locked(path: Path, *, beforehand: bool) -> None:
    journal = SqliteJournal(path)
    has_it = False

    async def take() -> None:
        nonlocal has_it
        await journal.open(None)
        has_it = True

    async with anyio.create_task_group() as group, Gate(journal, "open") as gate:
        if beforehand:
            gate.open()
            group.cancel_scope.cancel()
        group.start_soon(take)
        with anyio.CancelScope(shield=True):
            await turns(3) if beforehand else await gate.reached()
            group.cancel_scope.cancel()
            gate.open()
    if has_it:
        await journal.aclose()
    assert threads() == []
    assert await stored(path) == (None, [], {})


@pytest.mark.parametrize("beforehand", [False, True])
async def test_closing_is_finished_despite_cancellation(path: Path, *, beforehand: bool) -> None:
    journal = await filled(path, 3)
    if beforehand:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.aclose()
    else:
        async with anyio.create_task_group() as group, Gate(journal, "close") as gate:
            group.start_soon(journal.aclose)
            await gate.reached()
            group.cancel_scope.cancel()
            gate.open()
    assert threads() == []
    assert run_worker(try_to_open, path) is None
    assert await stored(path) == (WatchState(seq=3), events(1, 3), {})


@on_asyncio
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("method", ["open", "append", "close"])
async def test_a_cancelled_task_leaves_only_complete_writes_and_nothing_locked(
    path: Path, method: str, times: int
) -> None:
    journal = SqliteJournal(path)
    if method != "open":
        await journal.open(None)
    async with Gate(journal, method) as gate:
        task = asyncio.create_task(call(journal, method))
        await gate.reached(task)
        for _ in range(times):
            task.cancel()
            await turns()
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    if method == "append":
        assert await all_or_nothing(journal, path)
        return
    assert threads() == []
    assert run_worker(try_to_open, path) is None


@on_asyncio
async def test_a_write_that_fails_after_its_task_was_cancelled_logs_nothing(path: Path) -> None:
    journal = await opened(path)
    async with Gate(journal, "append") as gate:
        task = asyncio.create_task(journal.append([*events(1, 1), *events(1, 1)], WatchState(seq=1), {"a": 1}))
        await gate.reached(task)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await all_or_nothing(journal, path)


async def test_after_a_failed_write_the_next_one_is_complete(path: Path) -> None:
    journal = await opened(path)
    state = evolve(state_of(1), seq=1)
    with pytest.raises(JournalError):
        await journal.append([*events(1, 1), *events(1, 1)], state, {"a": 1})
    assert await journal.read(0, 10) == []
    assert await journal.places() == {}
    await journal.append(events(1, 1), state, {})
    await journal.aclose()
    assert await stored(path) == (state, events(1, 1), {})


def descriptors() -> set[int]:
    """Return the descriptors of the open files."""
    found = set[int]()
    for number in range(256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found


async def test_closing_leaves_no_thread_and_no_open_file(path: Path) -> None:
    before = descriptors()
    for _ in range(3):
        journal = await filled(path, 3) if not path.exists() else await opened(path)
        with pytest.raises(JournalLocked):
            await SqliteJournal(path).open(None)
        await journal.aclose()
        await journal.move({"a": 1})
        assert threads() == []
    assert descriptors() == before
