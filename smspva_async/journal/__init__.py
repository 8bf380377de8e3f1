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
    """An append-only log of events, with the latest state of the watch and the places of named cursors beside it.

    Events are numbered 1, 2, 3 and so on by their `seq`, without a gap; a place is the `seq` after which to read on.
    Each method raises `JournalError` where the journal can't be read or written. A method that is cancelled has done
    its work or none of it.
    """

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        """Take the journal for one watcher, and return its state, None if it is new.

        Args:
            account: Makes a fingerprint of the account that is watched, which takes a while; None if it is unknown.

        Raises:
            JournalLocked: Another watcher has it.
            JournalError: It can't be used, or belongs to another account.

        """
        ...

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        """Add events, replace the state and move named cursors: all of it or nothing.

        Args:
            events: Numbered on from the newest one; there may be none.
            state: What `open` returns from now on, to be kept as it is.
            places: As for `move`.

        """
        ...

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events that follow a place, oldest first.

        Args:
            after: The place; 0 is before the first event there ever was.
            limit: How many to return at most. Fewer may come although there are more, but one at least.

        Raises:
            Lagged: The first of them is no longer kept, or the place lies beyond the newest.

        """
        ...

    async def places(self) -> Mapping[str, int]:
        """Return the place of each named cursor: the `seq` up to which every event is done."""
        ...

    async def move(self, places: Mapping[str, int]) -> None:
        """Move named cursors forward; one that is further on already stays there. A new name is added.

        Args:
            places: The new places by name.

        """
        ...

    async def forget(self, name: str) -> None:
        """Remove a named cursor that nobody uses any more.

        Args:
            name: The name, as it was given to `Watcher.consumer`; one that there isn't is no error.

        """
        ...

    async def aclose(self) -> None:
        """Give the journal back. What it has can still be read, and cursors be moved."""
        ...
