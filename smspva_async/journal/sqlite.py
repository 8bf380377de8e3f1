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
from smspva_async.journal.memory import RingBuffer, check_position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smspva_async.events import Event
    from smspva_async.journal.state import WatchState

T = TypeVar("T")
Keep: TypeAlias = int | timedelta | tuple[int, timedelta] | None

_LOCKED_FOR = 60.0
"""Seconds for which writing is retried while another program keeps the file locked."""
_RETRY_AFTER = 0.4
_IN_MEMORY = 1024
"""Newest events that are also kept in memory."""
_PAGE = 256
_PAGES = 16


def limits(keep: Keep) -> tuple[int | None, timedelta | None]:
    """Return the number of events to keep and the time for which to keep them; raise `ValueError` if it is invalid."""
    if isinstance(keep, tuple) and len(keep) != 2:  # noqa: PLR2004
        raise ValueError(f"keep must be a number of events, a timedelta or a pair of them, got {keep!r}")
    max_events, max_age = (
        (None, keep) if isinstance(keep, timedelta) else keep if isinstance(keep, tuple) else (keep, None)
    )
    if max_events is not None and (type(max_events) is not int or max_events < 1):
        raise ValueError(f"the number of events to keep must be an integer of 1 or more, got {max_events!r}")
    if max_age is not None and (not isinstance(max_age, timedelta) or max_age <= timedelta(0)):
        raise ValueError(f"the time to keep events must be a timedelta of more than 0, got {max_age!r}")
    return max_events, max_age


class SqliteJournal:
    """A journal in an SQLite file, which survives a restart, a kill and a power failure.

    Each poll is one transaction, written outside the event loop. One watcher at a time can use the file, in any
    process; other programs can read it meanwhile:

        SELECT seq, event FROM events WHERE seq > 1000 ORDER BY seq   -- event: `event_to_dict` as JSON
        SELECT name, place FROM cursors                               -- place: the last `seq` that was acknowledged

    The file and those beside it (``-wal``, ``-shm``, ``-lock``) are readable by their owner only. It holds phone
    numbers and messages, and a fingerprint of the key, so that it refuses another account.

    Args:
        path: The file; created if it doesn't exist.
        keep: The number of events to keep, the time for which to keep them (a timedelta, measured from the newest
            event), or both; None keeps all. Events that a named cursor has not read are always kept, see `forget`.

    Raises:
        ValueError: `keep` is invalid: fewer than one event, or no time at all.

    """

    def __init__(self, path: Path | str, *, keep: Keep = (1_000_000, timedelta(days=90))) -> None:
        max_events, max_age = limits(keep)
        self._path = Path(os.path.realpath(path))
        self._database = Database(self._path, max_events, max_age)
        self._worker = WorkerThread("smspva journal")
        self._ring = RingBuffer(_IN_MEMORY)
        self._pages: OrderedDict[int, Sequence[Event]] = OrderedDict()
        """A cache of older events: pages by number, the least recently used first."""
        self._is_open = False

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path}>"

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        """Open the journal for one watcher, and create its file if it doesn't exist; see `Journal.open`.

        Raises:
            JournalLocked: Another watcher uses it, here or in another process.
            JournalError: The file can't be opened or created, isn't a journal, belongs to another account, or was
                written by a newer version of this library. Nothing was changed.

        """
        if self._is_open:
            raise locked(self._path)
        self._is_open = True
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

        When it returns, events are on the disk. A power failure may lose a change without events, which the next watch
        finds again.

        Raises:
            JournalError: The file can't be written, for instance because the disk is full. Nothing was written.

        """
        before = self._database.newest
        try:
            await self._write(partial(self._database.append, events, state, dict(places)))
        finally:
            # The thread writes even if this task is cancelled meanwhile.
            if self._database.newest != before:
                self._ring.extend(events)

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a position; see `Journal.read`.

        Raises:
            Lagged: The first of them is no longer kept, or the position is after the newest event.
            JournalError: The file can't be read.

        """
        self._check(after)
        if after >= self._ring.oldest:
            return self._ring.after(after, limit)
        number = after // _PAGE
        page = self._pages.get(number)
        if page is None:
            page = await self._do(partial(self._database.read, number * _PAGE, _PAGE))
            self._check(after)  # the page lacks events that were dropped meanwhile
            self._pages[number] = page
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(number)
        return [event for event in page if event.seq > after][:limit]

    async def places(self) -> Mapping[str, int]:
        """Return the position of each named cursor; see `Journal.places`.

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
        """Remove a named cursor that is no longer used, so that events it has not read can be dropped.

        This works without a watcher, and beside one in any process; see `Journal.forget`.

        Raises:
            JournalError: The file can't be written, or doesn't exist.

        """
        await self._write(partial(self._database.forget, name))

    async def aclose(self) -> None:
        """Release the file for the next watcher; see `Journal.aclose`."""
        self._is_open = False
        await finish(partial(self._do, self._database.close))

    def _check(self, position: int) -> None:
        # An append in progress may have dropped events that the ring still has.
        check_position(position, min(self._database.oldest, self._ring.newest), self._ring.newest)

    async def _write(self, function: Callable[[], T]) -> T:
        """Run a function that writes; retry it for a minute while another program keeps the file locked."""
        deadline = anyio.current_time() + _LOCKED_FOR
        while True:
            try:
                return await self._do(function)
            except JournalError as error:
                is_busy = getattr(error.__cause__, "sqlite_errorname", "").startswith("SQLITE_BUSY")
                if not is_busy or anyio.current_time() >= deadline:
                    raise
            await anyio.sleep(_RETRY_AFTER)

    async def _do(self, function: Callable[[], T]) -> T:
        try:
            return await self._worker.run(function)
        finally:
            if not self._is_open:
                self._worker.stop()
