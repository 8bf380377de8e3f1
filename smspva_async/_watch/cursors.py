"""Named cursors: how far each consumer has come, kept in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smspva_async._watch.feed import EVERYTHING
from smspva_async.errors import CursorTaken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smspva_async._watch.feed import Feed
    from smspva_async.journal import Journal

__all__ = ["Cursors", "NamedCursor"]


class Cursors:
    """The named cursors of a watch.

    Args:
        journal: Where their places are kept.
        feed: Who is to be told when one is taken over.

    """

    def __init__(self, journal: Journal, feed: Feed) -> None:
        self._journal = journal
        self._feed = feed
        self._places: dict[str, int] = {}
        self._holders: dict[str, NamedCursor] = {}
        # Names that the journal may not have, and where they begin; None: after the baseline.
        self._new: dict[str, int | None] = {}

    async def load(self) -> None:
        """Take over what the journal has."""
        self._places = dict(await self._journal.places())

    def take(self, name: str, default: int | None, after: int | None) -> NamedCursor:
        """Return a cursor; whoever had that name has lost it.

        Args:
            name: The name.
            default: Where a new name begins; None is the baseline.
            after: Where to go on, if that is further on.

        """
        place = self._places.get(name, self._new.get(name))
        if name not in self._places and name not in self._new:
            place = default if after is None else after
        if place is None or place <= self._feed.newest:  # one in the future is refused, not kept
            self._new[name] = place  # also a known one, which may have been forgotten
        if place is None:
            place = self._feed.baseline
        if place is not None and after is not None:
            place = max(place, after)
        self._holders[name] = NamedCursor(self, name, place)
        self._feed.wake()
        return self._holders[name]

    def holds(self, cursor: NamedCursor) -> bool:
        """Tell whether nobody has taken the name over since."""
        return self._holders[cursor.name] is cursor

    async def unwritten(self, baseline: int | None) -> Mapping[str, int]:
        """Return the places that the journal has to be told, as far as they are certain."""
        begins: dict[str, int] = {}
        for name, start in list(self._new.items()):
            place = baseline if start is None else start
            if place == EVERYTHING:
                place = await self._feed.oldest()
            if place is not None:
                begins[name] = place
        return begins

    def note(self, places: Mapping[str, int]) -> None:
        """Take note of what the journal has."""
        for name, place in places.items():
            self._new.pop(name, None)
            self._places[name] = max(place, self._places.get(name, 0))

    async def keep(self, places: Mapping[str, int]) -> None:
        """Have the journal keep places."""
        if places:
            await self._journal.move(places)
            self.note(places)

    async def keep_new(self) -> None:
        """Have the journal keep new names, before anything is given under them."""
        await self.keep(await self.unwritten(self._feed.baseline))


class NamedCursor:
    """A place that the journal keeps: every event up to it is done."""

    def __init__(self, cursors: Cursors, name: str, start: int | None) -> None:
        self.name = name
        self.start = start
        """Where to read on; None: after the baseline."""
        self._cursors = cursors
        self._place = self._kept = 0
        self._done: set[int] = set()

    def check(self) -> None:
        """Raise `CursorTaken` if another consumer has the name now."""
        if not self._cursors.holds(self):
            raise CursorTaken(
                f"another consumer reads as {self.name!r} now; what wasn't acknowledged is given to it", name=self.name
            )

    async def keep_new(self) -> None:
        """Have the journal keep the name if it is new."""
        await self._cursors.keep_new()

    def begin(self, place: int) -> None:
        """Take note that the events after a place are given."""
        self._place = self._kept = place

    async def done(self, seq: int) -> None:
        """Acknowledge an event that was given; the place moves once all before it are done."""
        if seq > self._place:
            self._done.add(seq)
        while self._place + 1 in self._done:
            self._place += 1
            self._done.remove(self._place)
        await self._keep()

    async def done_up_to(self, seq: int) -> None:
        """Acknowledge every event up to this one."""
        while self._place < seq:
            self._place += 1
            self._done.discard(self._place)
        await self._keep()

    async def _keep(self) -> None:
        # Also what couldn't be kept the last time.
        place = self._place
        if place > self._kept:
            await self._cursors.keep({self.name: place})
            self._kept = max(place, self._kept)
