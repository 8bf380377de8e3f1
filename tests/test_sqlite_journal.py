"""`SqliteJournal`: how much it keeps, and what it does off the event loop and when it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from smspva_async import JournalError, JournalLocked, Lagged, OrderRemoved, PollFailed, PollRecovered, SqliteJournal
from smspva_async._state import State
from tests.journal_files import beside, filled, opened, sql, state_of, stored, threads, try_to_open
from tests.journals import events
from tests.loops import on_asyncio
from tests.processes import told
from tests.watching import START, order

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# -- how much it keeps -----------------------------------------------------------------------------------------------


async def oldest_after(path: Path, keep: Any, last: int = 20, places: dict[str, int] | None = None) -> int:
    """Return the place before the oldest event that is kept of some, a second apart, each appended alone."""
    journal = await opened(path, keep=keep)
    for event in events(1, last):
        await journal.append([event], State(seq=event.seq), places or {})
    return await oldest_in(journal)


async def oldest_in(journal: SqliteJournal) -> int:
    try:
        await journal.read(0, 1)
    except Lagged as lagged:
        place = lagged.resume
    else:
        place = 0
    await journal.aclose()
    assert sql(journal._path, "SELECT min(seq) FROM events") == [(place + 1,)]
    return place


@pytest.mark.parametrize(
    ("keep", "oldest"),
    [
        (None, 0),
        (5, 15),
        (20, 0),
        (timedelta(seconds=3), 16),
        (timedelta(microseconds=1), 19),
        (timedelta(days=1), 0),
        (timedelta.max, 0),
        ((5, timedelta(seconds=3)), 16),
        ((2, timedelta(seconds=3)), 18),
        ((None, timedelta(seconds=3)), 16),
        ((5, None), 15),
        ((None, None), 0),
    ],
)
async def test_it_keeps_so_many_and_for_so_long(path: Path, keep: Any, oldest: int) -> None:
    assert await oldest_after(path, keep) == oldest


@pytest.mark.parametrize(
    "keep",
    [
        0,
        -1,
        1.5,
        True,
        "5",
        timedelta(0),
        timedelta(seconds=-1),
        (0, None),
        (5, 5),
        (timedelta(days=1), 5),
        (timedelta(days=1), timedelta(days=1)),
        (5,),
        (5, timedelta(days=1), 5),
        (),
    ],
)
def test_a_bound_that_cannot_be_meant(path: Path, keep: Any) -> None:
    with pytest.raises(ValueError, match="keeps"):
        SqliteJournal(path, keep=keep)
    assert beside(path) == set()


@pytest.mark.parametrize("keep", [5, timedelta(seconds=3)])
async def test_what_a_name_has_not_read_is_kept(path: Path, keep: Any) -> None:
    assert await oldest_after(path, keep, places={"slow": 2, "quick": 18}) == 2


async def test_what_a_name_has_read_or_is_forgotten_with_it_is_dropped_by_the_next_poll(path: Path) -> None:
    journal = await filled(path, 20, keep=5)
    assert await oldest_in(journal) == 15
    journal = await opened(path, keep=5)
    await journal.move({"slow": 17})
    await journal.append(events(21, 40), State(seq=40), {})
    assert await oldest_in(journal) == 17
    journal = await opened(path, keep=5)
    await journal.move({"slow": 20})
    await journal.append(events(41, 41), State(seq=41), {})
    assert await oldest_in(journal) == 20
    journal = await opened(path, keep=5)
    await journal.append(events(42, 42), State(seq=42), {"slow": 30})
    assert await oldest_in(journal) == 30
    journal = await opened(path, keep=5)
    await journal.forget("slow")
    await journal.append(events(43, 43), State(seq=43), {})
    assert await oldest_in(journal) == 38


async def test_what_was_dropped_while_somebody_waited_for_it_is_told_and_not_passed_over(path: Path) -> None:
    journal = await filled(path, 2000, keep=1500)
    assert await journal.read(500, 1) == events(501, 501)
    journal._pages.clear()
    gate = Gate(journal, "append")
    async with anyio.create_task_group() as group:
        group.start_soon(journal.append, events(2001, 2300), State(seq=2300), {})
        await gate.reached()

        async def read() -> None:
            with pytest.raises(Lagged) as caught:
                await journal.read(500, 10)
            assert caught.value.resume == 800

        group.start_soon(read)
        await turns()
        gate.open()
    await journal.aclose()


async def test_who_is_up_to_date_has_not_lagged_while_a_poll_is_written(path: Path) -> None:
    journal = await filled(path, 5, keep=1)
    gate = Gate(journal, "append", after=True)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.append, events(6, 9), State(seq=9), {})
        await gate.reached()
        with pytest.raises(Lagged) as caught:
            await journal.read(0, 10)
        assert await journal.read(caught.value.resume, 10) == []
        gate.open()
    await journal.aclose()


async def test_what_another_watcher_dropped_since_it_was_given_back_is_told(path: Path) -> None:
    journal = await filled(path, 2000, keep=None)
    await journal.aclose()
    other = await opened(path, keep=1500)
    await other.append(events(2001, 2300), State(seq=2300), {})
    await other.aclose()
    with pytest.raises(Lagged) as caught:
        await journal.read(600, 10)
    assert caught.value.resume == 800
    assert await journal.read(800, 1) == events(801, 801)


# -- off the event loop, and cancelled -------------------------------------------------------------------------------


class Gate:
    """Holds up a journal's thread, before or after its work."""

    def __init__(self, journal: SqliteJournal, method: str, *, after: bool = False) -> None:
        work = getattr(journal._database, method)
        self._reached, self._open = threading.Event(), threading.Event()

        def held_up(*args: object) -> object:
            done = work(*args) if after else None
            self._reached.set()
            assert self._open.wait(10)
            return done if after else work(*args)

        setattr(journal._database, method, held_up)

    async def reached(self) -> None:
        while not self._reached.is_set():
            await anyio.lowlevel.checkpoint()

    def open(self) -> None:
        self._open.set()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("method", ["open", "append", "move", "close"])
async def test_the_event_loop_goes_on_while_the_disk_is_slow(path: Path, method: str) -> None:
    journal = SqliteJournal(path)
    if method != "open":
        await journal.open(None)
    gate = Gate(journal, method)
    async with anyio.create_task_group() as group:
        group.start_soon(call, journal, method)
        await gate.reached()
        await turns()
        gate.open()
    await journal.aclose()


async def call(journal: SqliteJournal, method: str) -> None:
    if method == "open":
        await journal.open(None)
    elif method == "append":
        await journal.append(events(1, 3), State(seq=3), {"a": 2})
    elif method == "move":
        await journal.move({"a": 2})
    else:
        await journal.aclose()


async def all_or_nothing(journal: SqliteJournal, path: Path) -> bool:
    """Show that a journal has all of a poll or nothing, by its own account and in its file; tell which."""
    found = list(await journal.read(0, 10))
    await journal.aclose()
    assert threads() == []
    state, in_file, places = await stored(path)
    assert found == in_file
    assert (state, in_file, places) in [(None, [], {}), (State(seq=3), events(1, 3), {"a": 2})]
    return state is not None


@pytest.mark.parametrize("after", [False, True])
async def test_a_poll_whose_writing_is_cancelled_is_written_as_a_whole(path: Path, *, after: bool) -> None:
    journal = await opened(path)
    gate = Gate(journal, "append", after=after)
    async with anyio.create_task_group() as group:
        group.start_soon(call, journal, "append")
        await gate.reached()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await turns()
        gate.open()
    assert await all_or_nothing(journal, path)


async def test_a_poll_that_is_cancelled_beforehand_is_written_as_a_whole_or_not_at_all(path: Path) -> None:
    journal = await opened(path)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(journal, "append")
    await all_or_nothing(journal, path)


@pytest.mark.parametrize("beforehand", [False, True])
async def test_an_opening_that_is_cancelled_leaves_nothing_locked(path: Path, *, beforehand: bool) -> None:
    journal = SqliteJournal(path)
    gate = Gate(journal, "open")
    has_it = False

    async def take() -> None:
        nonlocal has_it
        await journal.open(None)
        has_it = True

    if beforehand:
        gate.open()
    async with anyio.create_task_group() as group:
        if beforehand:
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
async def test_giving_back_is_finished_whoever_cancels_it(path: Path, *, beforehand: bool) -> None:
    journal = await filled(path, 3)
    gate = Gate(journal, "close")
    if beforehand:
        gate.open()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.aclose()
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(journal.aclose)
            await gate.reached()
            group.cancel_scope.cancel()
            gate.open()
    assert threads() == []
    assert told(try_to_open, path) is None
    assert await stored(path) == (State(seq=3), events(1, 3), {})


@on_asyncio
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("method", ["open", "append", "close"])
async def test_a_task_that_is_cancelled_leaves_all_or_nothing_and_nothing_locked(
    path: Path, method: str, times: int
) -> None:
    journal = SqliteJournal(path)
    if method != "open":
        await journal.open(None)
    gate = Gate(journal, method)
    task = asyncio.create_task(call(journal, method))
    await gate.reached()
    for _ in range(times):
        task.cancel()
        await turns()
    assert not task.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    if method == "append":
        assert await all_or_nothing(journal, path)
        return
    assert threads() == []
    assert told(try_to_open, path) is None


@on_asyncio
async def test_a_write_that_fails_after_its_task_was_cancelled_says_nothing_at_the_end(path: Path) -> None:
    journal = await opened(path)
    gate = Gate(journal, "append")
    task = asyncio.create_task(journal.append([*events(1, 1), *events(1, 1)], State(seq=1), {"a": 1}))
    await gate.reached()
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await all_or_nothing(journal, path)


async def test_a_write_that_fails_has_written_nothing_and_the_next_is_as_if_it_had_not_been(path: Path) -> None:
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
    """Return the numbers of the files that are open."""
    found = set[int]()
    for number in range(256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found


async def test_it_leaves_no_thread_and_no_file_open(path: Path) -> None:
    before = descriptors()
    for _ in range(3):
        journal = await filled(path, 3) if not path.exists() else await opened(path)
        with pytest.raises(JournalLocked):
            await SqliteJournal(path).open(None)
        await journal.aclose()
        await journal.move({"a": 1})
        assert threads() == []
    assert descriptors() == before


@pytest.mark.parametrize("reopened", [False, True])
async def test_what_may_be_dated_by_the_local_clock_drops_nothing(path: Path, reopened: bool) -> None:  # noqa: FBT001
    year = START + timedelta(days=365)
    journal = await opened(path, keep=timedelta(days=2))
    await journal.append([PollRecovered(0.0, seq=1, id="1", at=START)], State(seq=1), {})
    if reopened:
        await journal.aclose()
        journal = await opened(path, keep=timedelta(days=2))
    for seq in (2, 4):
        failed = PollFailed("kind", "message", seq=seq, id=f"{seq}", at=year)
        removed = OrderRemoved(order(1), False, seq=seq + 1, id=f"{seq + 1}", at=year, order_id=1)  # noqa: FBT003
        await journal.append([failed, removed], State(seq=seq + 1), {})
    assert len(await journal.read(0, 100)) == 5
    await journal.aclose()


async def test_one_wrong_date_drops_nothing_and_keeps_nothing_for_ever(path: Path) -> None:
    journal = await opened(path, keep=timedelta(days=2))
    year = timedelta(days=365)

    async def append(seq: int, at: datetime, *, failed: bool = False) -> None:
        fields: dict[str, Any] = {"seq": seq, "id": str(seq), "at": at}
        event = PollFailed("kind", "message", **fields) if failed else PollRecovered(0.0, **fields)
        await journal.append([event], State(seq=seq), {})

    await append(1, START + year, failed=True)  # by the local clock
    for day in range(2):
        await append(2 + day, START + timedelta(days=day))
    await append(4, START + year)
    assert len(await journal.read(0, 100)) == 4
    for day in range(2, 9):
        await append(3 + day, START + timedelta(days=day))
    assert await oldest_in(journal) == 8
