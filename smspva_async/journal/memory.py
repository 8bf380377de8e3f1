"""A journal in memory, and the ring buffer of events that both journals use."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from smspva_async.errors import JournalLocked, Lagged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smspva_async.events import Event
    from smspva_async.journal.state import WatchState


class MemoryJournal:
    """A journal in memory. After the first watcher was left, a second one that uses it continues where the first ended.

    Args:
        keep: The number of newest events to keep. Older ones are dropped even if a named cursor has not read them.

    Raises:
        ValueError: `keep` isn't an integer of 1 or more.

    """

    def __init__(self, keep: int = 65_536) -> None:
        if type(keep) is not int or keep < 1:
            raise ValueError(f"keep must be an integer of 1 or more, got {keep!r}")
        self._ring = RingBuffer(keep)
        self._state: WatchState | None = None
        self._places: dict[str, int] = {}
        self._is_open = False

    def __repr__(self) -> str:
        return f"<MemoryJournal: {len(self._ring)} of {self._ring.newest} events>"

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:  # noqa: ARG002 - of the protocol
        """Open the journal for one watcher; see `Journal.open`. The account isn't checked.

        Raises:
            JournalLocked: Another watcher uses it.

        """
        if self._is_open:
            raise JournalLocked("another watcher uses this journal; give each watcher its own")
        self._is_open = True
        return self._state

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        """Add events, replace the state and move named cursors; see `Journal.append`."""
        self._ring.extend(events)
        self._state = state
        await self.move(places)

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a position; see `Journal.read`.

        Raises:
            Lagged: The first of them is no longer kept, or the position is after the newest event.

        """
        check_position(after, self._ring.oldest, self._ring.newest)
        return self._ring.after(after, limit)

    async def places(self) -> Mapping[str, int]:
        """Return the position of each named cursor; see `Journal.places`."""
        return dict(self._places)

    async def move(self, places: Mapping[str, int]) -> None:
        """Move named cursors forward; see `Journal.move`."""
        for name, position in places.items():
            self._places[name] = max(position, self._places.get(name, 0))

    async def forget(self, name: str) -> None:
        """Remove a named cursor that is no longer used; see `Journal.forget`."""
        self._places.pop(name, None)

    async def aclose(self) -> None:
        """Release the journal for the next watcher; see `Journal.aclose`."""
        self._is_open = False


class RingBuffer:
    """The newest events, in memory.

    Args:
        keep: The number of events to keep. If more are added at once, all of them are kept, so that a reader that was
            caught up can read them.
        newest: The `seq` of the event before the first one that is added.

    """

    def __init__(self, keep: int, newest: int = 0) -> None:
        self.newest: int = newest
        self._keep = keep
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def oldest(self) -> int:
        """The position before the oldest event that is kept."""
        return self.newest - len(self._events)

    def extend(self, events: Sequence[Event]) -> None:
        """Add events."""
        self._events.extend(events)
        self.newest += len(events)
        if events:
            for _ in range(len(self._events) - max(self._keep, len(events))):
                self._events.popleft()

    def after(self, position: int, limit: int) -> Sequence[Event]:
        """Return the events after a position, which must be valid (`check_position`)."""
        first = position - self.oldest
        return [self._events[index] for index in range(first, min(first + limit, len(self._events)))]


def check_position(position: int, oldest: int, newest: int) -> None:
    """Raise `Lagged` if the events after a position can't be read."""
    if position > newest:
        raise Lagged(f"event {position} hasn't happened yet; resume after {newest}, the newest event", resume=newest)
    if position < oldest:
        raise Lagged(f"the events after {position} are no longer kept; resume after {oldest}", resume=oldest)
