"""A journal that lasts as long as the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smspva_async.errors import JournalLocked, Lagged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async._diff import State
    from smspva_async.events import Event

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """A journal in memory. Given to a second watcher after the first was left, it goes on where that one was.

    Args:
        keep: How many events to keep, the newest.

    """

    def __init__(self, keep: int = 65_536) -> None:
        if keep < 1:
            raise ValueError(f"a journal keeps one event at least: {keep!r}")
        self._keep = keep
        self._ring: list[Event] = []
        self._newest = 0
        self._state: State | None = None
        self._taken = False

    def __repr__(self) -> str:
        return f"<MemoryJournal: {len(self._ring)} of {self._newest} events>"

    async def open(self) -> State | None:
        """Take the journal for one watcher; see `Journal.open`."""
        if self._taken:
            raise JournalLocked("another watcher writes to this journal; give each watcher its own")
        self._taken = True
        return self._state

    async def append(self, events: Sequence[Event], state: State) -> None:
        """Add events and replace the state; see `Journal.append`."""
        for event in events:
            if len(self._ring) < self._keep:
                self._ring.append(event)
            else:
                self._ring[self._newest % self._keep] = event
            self._newest += 1
        self._state = state

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a place; see `Journal.read`."""
        oldest = self._newest - len(self._ring)
        if after > self._newest:
            raise Lagged(f"event {after} hasn't happened: resume after {self._newest}, the newest", resume=self._newest)
        if after < oldest:
            raise Lagged(f"the events after {after} are no longer kept: resume after {oldest}", resume=oldest)
        return [self._ring[place % self._keep] for place in range(after, min(after + limit, self._newest))]

    async def aclose(self) -> None:
        """Give the journal back; see `Journal.aclose`."""
        self._taken = False
