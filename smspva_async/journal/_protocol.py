"""What a watch asks of its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async._diff import State
    from smspva_async.events import Event

__all__ = ["Journal"]


class Journal(Protocol):
    """An append-only log of events, and the latest state of the watch beside it.

    Events are numbered 1, 2, 3 and so on by their `seq`, without a gap. Each method raises `JournalError` where the
    journal can't be read or written.
    """

    async def open(self) -> State | None:
        """Take the journal for one watcher, and return the state that stands in it, None if it is new.

        Raises:
            JournalLocked: Another watcher has it.

        """
        ...

    async def append(self, events: Sequence[Event], state: State) -> None:
        """Add events and replace the state, both or neither."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events that follow `seq` number `after`, oldest first, `limit` at most.

        Raises:
            Lagged: The first of them is no longer kept, or `after` lies beyond the newest.

        """
        ...

    async def aclose(self) -> None:
        """Give the journal back. Its events can be read still."""
        ...
