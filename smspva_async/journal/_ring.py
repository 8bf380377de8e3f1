"""The newest events, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smspva_async.errors import Lagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smspva_async.events import Event

__all__ = ["Ring", "check_place"]


class Ring:
    """A list that forgets its oldest events.

    Args:
        keep: How many events to keep.
        newest: The number of the newest event that was there before.

    """

    def __init__(self, keep: int, newest: int = 0) -> None:
        self.newest = newest
        self._keep = keep
        self._events: list[Event] = []
        self._first = newest

    def __len__(self) -> int:
        return len(self._events)

    @property
    def oldest(self) -> int:
        """The place before the oldest event that is kept."""
        return self.newest - len(self._events)

    def extend(self, events: Iterable[Event]) -> None:
        """Add events."""
        for event in events:
            if len(self._events) < self._keep:
                self._events.append(event)
            else:
                self._events[(self.newest - self._first) % self._keep] = event
            self.newest += 1

    def after(self, place: int, limit: int) -> Sequence[Event]:
        """Return the events that follow a place which is neither before the oldest nor beyond the newest."""
        places = range(place, min(place + limit, self.newest))
        return [self._events[(place - self._first) % self._keep] for place in places]


def check_place(place: int, oldest: int, newest: int) -> None:
    """Raise `Lagged` for a place that can't be read on from."""
    if place > newest:
        raise Lagged(f"event {place} hasn't happened: resume after {newest}, the newest", resume=newest)
    if place < oldest:
        raise Lagged(f"the events after {place} are no longer kept: resume after {oldest}", resume=oldest)
