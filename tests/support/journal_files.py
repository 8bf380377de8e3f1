"""Helpers for the tests of `SqliteJournal` and its file."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import anyio.lowlevel
import pytest
from attrs import evolve

from smspva_async import Event, JournalError, Lagged, SqliteJournal, WatchState
from smspva_async.journal.state import OrderTrack
from tests.support import PATIENCE
from tests.support.accounts import START, order
from tests.support.journals import events
from tests.support.processes import until

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

# -- a file ------------------------------------------------------------------------------------------------------------


async def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    await journal.open(None)
    return journal


async def filled(path: Path, last: int, **options: Any) -> SqliteJournal:
    """Return an open journal with events, added a few hundred at a time."""
    journal = await opened(path, **options)
    for newest in range(0, last, 500):
        upto = min(newest + 500, last)
        await journal.append(events(newest + 1, upto), WatchState(seq=upto), {})
    return journal


async def stored(path: Path) -> tuple[WatchState | None, list[Event], dict[str, int]]:
    """Return the state, events and places that a new run reads from a file."""
    journal = SqliteJournal(path)
    state = await journal.open(None)
    try:
        with contextlib.suppress(Lagged):
            return state, list(await journal.read(0, 1000)), dict(await journal.places())
        raise AssertionError("the oldest events are no longer kept")
    finally:
        await journal.aclose()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("smspva journal")]


def try_to_open(path: Path, pipe: Connection) -> None:
    async def main() -> None:
        journal = SqliteJournal(path)
        try:
            await journal.open(None)
        except JournalError as error:
            pipe.send((type(error).__name__, str(error)))
        else:
            await journal.aclose()
            pipe.send(None)

    asyncio.run(main())


# -- the thread that works on it --------------------------------------------------------------------------------------


class Gate:
    """Blocks a journal's thread, before or after its work, until it is opened or its context is left."""

    def __init__(self, journal: SqliteJournal, method: str, *, after: bool = False) -> None:
        work = getattr(journal._database, method)
        self._reached, self._open = threading.Event(), threading.Event()

        def held_up(*args: object) -> object:
            done = work(*args) if after else None
            self._reached.set()
            assert self._open.wait(PATIENCE)
            return done if after else work(*args)

        setattr(journal._database, method, held_up)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open()

    async def reached(self, *needed: asyncio.Task[Any]) -> None:
        """Wait until the thread is blocked. Fail at once if the task that uses it has ended."""
        await until(self._reached.is_set, *needed, interval=0)

    def open(self) -> None:
        self._open.set()


async def turns(count: int = 10) -> None:
    """Let the event loop run some iterations."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


# -- writes of polls ---------------------------------------------------------------------------------------------------


def newest_of(poll: int) -> int:
    return sum(1 + number % 4 for number in range(poll))


def state_of(poll: int) -> WatchState:
    """Return the state after a number of polls, which shows in each of its parts."""
    listed = {
        order_id: OrderTrack(
            order(order_id, services=(f"opt{poll}",)), START, counts={"text": poll, f"message {poll}": 1}
        )
        for order_id in range(poll, poll + 3)
    }
    removed = evolve(listed[poll], order=order(poll - 1), removed_at=START + timedelta(seconds=poll))
    return WatchState(
        seq=newest_of(poll),
        clock=poll / 8,
        since=START,
        tracks=listed,
        removed={poll - 1: removed},
        skipped=(f"{poll}",),
    )


def places_of(poll: int) -> dict[str, int]:
    return {"all": newest_of(poll), "half": newest_of(poll) // 2}


async def write_poll(journal: SqliteJournal, poll: int) -> None:
    await journal.append(events(newest_of(poll - 1) + 1, newest_of(poll)), state_of(poll), places_of(poll))


async def polls_in(path: Path) -> int:
    """Return the number of polls that a file has completely."""
    journal = SqliteJournal(path)
    state = await journal.open(None)
    poll = 0 if state is None else next(poll for poll in range(100_000) if newest_of(poll) == state.seq)
    assert state == (state_of(poll) if poll else None)
    assert await journal.places() == (places_of(poll) if poll else {})
    oldest = 0
    try:
        await journal.read(0, 1)
    except Lagged as lagged:
        oldest = lagged.resume
    assert await journal.read(oldest, 10_000) == events(oldest + 1, newest_of(poll))
    if poll:
        with pytest.raises(Lagged):
            await journal.read(newest_of(poll) + 1, 1)
    await journal.aclose()
    return poll
