"""Named cursors: how far each consumer has come, kept in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smspva_async.errors import CursorTaken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smspva_async._feed import Feed
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
        # New names that the journal doesn't have yet, and where they begin; None: after the baseline.
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
        place = self._places.get(name)
        if place is None:
            place = self._new.setdefault(name, default if after is None else after)
        if place is not None and after is not None:
            place = max(place, after)
        self._holders[name] = NamedCursor(self, name, place)
        self._feed.wake()
        return self._holders[name]

    def holds(self, cursor: NamedCursor) -> bool:
        """Tell whether nobody has taken the name over since."""
        return self._holders[cursor.name] is cursor

    def new(self, baseline: int | None) -> Mapping[str, int]:
        """Return where the names begin that the journal doesn't have yet, as far as that is certain."""
        begins = {name: baseline if place is None else max(0, place) for name, place in self._new.items()}
        return {name: place for name, place in begins.items() if place is not None}

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
        await self.keep(self.new(self._feed.baseline))


class NamedCursor:
    """A place that the journal keeps: every event up to it is done."""

    def __init__(self, cursors: Cursors, name: str, start: int | None) -> None:
        self.name = name
        self.start = start
        """Where to read on; None: after the baseline."""
        self._cursors = cursors
        self._place: int | None = None
        self._done: set[int] = set()

    def check(self) -> None:
        """Raise `CursorTaken` if another consumer has the name now."""
        if not self._cursors.holds(self):
            raise CursorTaken(
                f"another consumer reads as {self.name!r} now; what wasn't acknowledged is given to it", name=self.name
            )

    def given(self, seq: int) -> None:
        """Take note that the consumer has an event; each comes after the one before."""
        if self._place is None:
            self._place = seq - 1

    async def keep_new(self) -> None:
        """Have the journal keep the name if it is new."""
        await self._cursors.keep_new()

    async def done(self, seq: int) -> None:
        """Acknowledge an event that was given; the place moves once all before it are done."""
        if self._place is None or seq <= self._place:
            return
        self._done.add(seq)
        place = self._place
        while place + 1 in self._done:
            place += 1
        await self.done_up_to(place)

    async def done_up_to(self, seq: int) -> None:
        """Acknowledge every event up to this one."""
        if self._place is not None and seq > self._place:
            self._place = seq
            self._done = {done for done in self._done if done > seq}
            await self._cursors.keep({self.name: seq})
