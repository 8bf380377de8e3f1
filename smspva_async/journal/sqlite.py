"""A journal in an SQLite file."""

from __future__ import annotations

import os
from collections import OrderedDict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import anyio

from smspva_async._concurrency import WorkerThread, finish
from smspva_async.errors import JournalError
from smspva_async.journal.database import Database, locked
from smspva_async.journal.memory import RingBuffer, check_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smspva_async.events import Event
    from smspva_async.journal.state import WatchState

__all__ = ["SqliteJournal"]

T = TypeVar("T")
Keep: TypeAlias = int | timedelta | tuple[int, timedelta] | None

_LOCKED_FOR = 60.0
"""Seconds for which a file that another program keeps locked is tried again."""
_TRY_AGAIN = 0.4
_IN_MEMORY = 1024
_PAGE = 256
_PAGES = 16


class SqliteJournal:
    """A journal in an SQLite file, which survives a restart, a kill and a power failure.

    Each poll is one transaction, written outside of the event loop. One watcher at a time may use the file, through
    whatever process; any other program may read it meanwhile::

        SELECT seq, event FROM events WHERE seq > 1000 ORDER BY seq   -- event: `event_to_dict` as JSON
        SELECT name, place FROM cursors                               -- place: the last `seq` that was acknowledged

    The file and those beside it (``-wal``, ``-shm``, ``-lock``) are made readable by their owner alone. It holds phone
    numbers and messages; of the key it has a fingerprint, by which it refuses another account.

    Args:
        path: The file; made if it isn't there.
        keep: How many events to keep (a number), how long (a timedelta, up to the newest), or both; None keeps all.
            What a named cursor has not read yet is always kept, see `forget`.

    Raises:
        ValueError: `keep` can't be right: fewer than one event, or no time at all.

    """

    def __init__(self, path: Path | str, *, keep: Keep = (1_000_000, timedelta(days=90))) -> None:
        if isinstance(keep, tuple) and len(keep) != 2:  # noqa: PLR2004
            raise ValueError(f"a journal keeps so many events, for so long: {keep!r}")
        most, age = (None, keep) if isinstance(keep, timedelta) else keep if isinstance(keep, tuple) else (keep, None)
        if most is not None and (type(most) is not int or most < 1):
            raise ValueError(f"a journal keeps one event at least: {most!r}")
        if age is not None and (not isinstance(age, timedelta) or age <= timedelta(0)):
            raise ValueError(f"a journal keeps events for some time, as a timedelta: {age!r}")
        self._path = Path(os.path.realpath(path))
        self._database = Database(self._path, most, age)
        self._worker = WorkerThread("smspva journal")
        self._ring = RingBuffer(_IN_MEMORY)
        # Parts of the past that somebody reads, by their number.
        self._pages: OrderedDict[int, Sequence[Event]] = OrderedDict()
        self._taken = False

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path}>"

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        """Take the journal for one watcher, and make its file if it isn't there; see `Journal.open`.

        Raises:
            JournalLocked: Another watcher has it, here or in another process.
            JournalError: The file can't be opened or made, is no journal, is of another account, or was written by a
                newer version of this library. Nothing was changed then.

        """
        if self._taken:
            raise locked(self._path)
        self._taken = True
        try:
            fingerprint = None if account is None else await self._do(account)
            opened = await self._write(partial(self._database.open, fingerprint, _IN_MEMORY))
        except BaseException:
            await self.aclose()
            raise
        self._ring = RingBuffer(_IN_MEMORY, opened.newest - len(opened.last))
        self._ring.extend(opened.last)
        self._pages.clear()
        return opened.state

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        """Add events, replace the state and move named cursors; see `Journal.append`.

        What brings events is on the disk when it returns; the rest may be lost by a power failure, and is found again.

        Raises:
            JournalError: It couldn't be written: the disk is full, for one. Nothing of it was.

        """
        before = self._database.newest
        try:
            await self._write(partial(self._database.append, events, state, dict(places)))
        finally:
            # Whoever is cancelled meanwhile has written nevertheless.
            if self._database.newest != before:
                self._ring.extend(events)

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a place; see `Journal.read`.

        Raises:
            Lagged: The first of them is no longer kept, or the place lies beyond the newest.
            JournalError: The file can't be read.

        """
        self._check(after)
        if after >= self._ring.oldest:
            return self._ring.after(after, limit)
        number = after // _PAGE
        page = self._pages.get(number)
        if page is None:
            page = await self._do(partial(self._database.read, number * _PAGE, _PAGE))
            self._check(after)  # what was dropped meanwhile isn't in it
            self._pages[number] = page
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(number)
        return [event for event in page if event.seq > after][:limit]

    async def places(self) -> Mapping[str, int]:
        """Return the place of each named cursor; see `Journal.places`.

        Raises:
            JournalError: The file can't be read.

        """
        return await self._do(self._database.places)

    async def move(self, places: Mapping[str, int]) -> None:
        """Move named cursors forward; see `Journal.move`.

        Raises:
            JournalError: The file can't be written.

        """
        await self._write(partial(self._database.move, dict(places)))

    async def forget(self, name: str) -> None:
        """Remove a named cursor that nobody uses any more, so that what it has not read may be dropped.

        It works without a watcher, and beside one in whatever process; see `Journal.forget`.

        Raises:
            JournalError: The file can't be written, or isn't there.

        """
        await self._write(partial(self._database.forget, name))

    async def aclose(self) -> None:
        """Give the file back; see `Journal.aclose`."""
        self._taken = False
        await finish(partial(self._do, self._database.close))

    def _check(self, place: int) -> None:
        # An append under way may have dropped more than is known here.
        check_place(place, min(self._database.oldest, self._ring.newest), self._ring.newest)

    async def _write(self, function: Callable[[], T]) -> T:
        """Run a function that writes, again and again for a minute while another program keeps the file locked."""
        deadline = anyio.current_time() + _LOCKED_FOR
        while True:
            try:
                return await self._do(function)
            except JournalError as error:
                is_busy = getattr(error.__cause__, "sqlite_errorname", "").startswith("SQLITE_BUSY")
                if not is_busy or anyio.current_time() >= deadline:
                    raise
            await anyio.sleep(_TRY_AGAIN)

    async def _do(self, function: Callable[[], T]) -> T:
        try:
            return await self._worker.run(function)
        finally:
            if not self._taken:
                self._worker.stop()
