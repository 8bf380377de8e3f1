"""Event journals: the protocol, an in-memory implementation and an SQLite one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from smspva_async.journal.memory import MemoryJournal
from smspva_async.journal.sqlite import SqliteJournal
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smspva_async.events import Event

__all__ = ["Journal", "MemoryJournal", "SqliteJournal", "WatchState"]


class Journal(Protocol):
    """An append-only log of events, with the latest state of the watch and the positions of named cursors.

    Events are numbered 1, 2, 3 and so on by their `seq`. A position is the `seq` after which to read on.
    Each method raises `JournalError` if the journal can't be read or written. A method that is cancelled has done all
    of its work or none.
    """

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        """Open the journal for one watcher, and return its state; None if it is new.

        Args:
            account: A slow function that returns a fingerprint of the watched account; None if it is unknown.

        Raises:
            JournalLocked: Another watcher uses it.
            JournalError: It can't be used, or belongs to another account.

        """
        ...

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        """Add events, replace the state and move named cursors: all of it or nothing.

        Args:
            events: The events, whose numbers follow the newest one's; possibly none.
            state: The state for `open` to return from now on.
            places: The positions, as for `move`.

        """
        ...

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events that follow a position, oldest first.

        Args:
            after: The position; 0 is before event 1.
            limit: The maximum number of events. Fewer may be returned, but at least one if there are any.

        Raises:
            Lagged: The first of them is no longer kept, or the position is after the newest event.

        """
        ...

    async def places(self) -> Mapping[str, int]:
        """Return the position of each named cursor: the `seq` up to which every event is done."""
        ...

    async def move(self, places: Mapping[str, int]) -> None:
        """Move named cursors forward, never back. Add new names.

        Args:
            places: The new positions by name.

        """
        ...

    async def forget(self, name: str) -> None:
        """Remove a named cursor that is no longer used.

        Args:
            name: The name that was passed to `Watcher.consumer`. An unknown name is not an error.

        """
        ...

    async def aclose(self) -> None:
        """Release the journal for the next watcher. Events can still be read, and cursors moved."""
        ...
