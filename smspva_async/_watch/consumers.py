"""Named consumers: event iterators whose places the journal keeps, and how those places are written."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio

from smspva_async._concurrency import Signal
from smspva_async._watch.clock import EPSILON
from smspva_async._watch.reader import EVERYTHING, as_journal_errors
from smspva_async._watch.subscription import Subscription
from smspva_async.errors import CursorTaken, JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smspva_async._watch.reader import JournalReader
    from smspva_async.events import Event
    from smspva_async.journal import Journal

__all__ = ["Consumer", "ConsumerPlaces"]

_MOST_UNWRITTEN = 50
_LONGEST_UNWRITTEN = 0.2
_WRITTEN_AFTER = 0.8
_CHECK_EVERY = 0.05


class Consumer(Subscription):
    """An async iterator of events, made by `Watcher.consumer`, whose place the journal keeps under a name.

    Each event is given at least once, whatever happens to the program.
    """

    def __init__(
        self, reader: JournalReader, places: ConsumerPlaces, name: str, after: int | None, *, auto_ack: bool
    ) -> None:
        super().__init__(reader, after)
        self._places = places
        self._name = name
        self._auto_ack = auto_ack
        self._first = self._given = self._done = 0
        self._done_beyond: set[int] = set()

    def __repr__(self) -> str:
        return f"<Consumer {self._name!r} after event {self.cursor}>"

    async def __anext__(self) -> Event:
        """Return the next event. With ``auto_ack`` the one before counts as done.

        The journal has its place within a second, and at once after 50 events.

        Raises:
            CursorTaken: Another consumer reads under this name now.
            Lagged: The place is no longer kept, or lies in the future; `Lagged.resume` is the nearest one.
            JournalError: The journal can't be read or written, or lacks an event.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.
            RuntimeError: Another task is reading this iterator.

        """
        return await super().__anext__()

    async def ack(self, event: Event) -> None:
        """Mark an event as done, in any order, and return when the journal has it.

        After a restart the name goes on at the first event that isn't done; later ones that are done come again.

        Args:
            event: An event that this consumer gave.

        Raises:
            CursorTaken: Another consumer reads under this name now, and is given the event again.
            ValueError: The event wasn't given by this consumer.
            JournalError: The journal can't be written.

        """
        if not self._first <= event.seq <= self._given:
            raise ValueError(f"event {event.seq} wasn't given by this consumer")
        self._places.check(self._name, self)
        if event.seq > self._done:
            self._done_beyond.add(event.seq)
        while self._done + 1 in self._done_beyond:
            self._done += 1
            self._done_beyond.remove(self._done)
        self._places.move(self._name, self._done)
        await self._places.write(self._name)

    async def aclose(self) -> None:
        """End the iteration; the journal has the place when it returns. `contextlib.aclosing` calls it.

        Raises:
            JournalError: The journal can't be written.

        """
        await super().aclose()
        await self._places.write(self._name)

    async def _next(self) -> Event:
        self._check()
        if self._auto_ack and self._given:
            self._done = self._given
            if self._places.move(self._name, self._done):
                await self._places.write(self._name)
        event = await super()._next()
        if not self._first:
            self._first, self._done = event.seq, event.seq - 1
        self._given = event.seq
        return event

    async def _start(self) -> int:
        after = await super()._start()
        await self._places.write_new()  # before anything is given under it
        return after

    def _check(self) -> None:
        super()._check()
        self._places.check(self._name, self)


class ConsumerPlaces:
    """The places of all named consumers: every event up to a place is done.

    Args:
        journal: The journal, which keeps them.
        reader: The consumers' side, which learns when a name is taken over.

    """

    def __init__(self, journal: Journal, reader: JournalReader) -> None:
        self._journal = journal
        self._reader = reader
        self._kept: dict[str, int] = {}
        """The places that the journal has."""
        self._new: dict[str, int | None] = {}
        """Names that the journal may lack, and where they begin; None: after the baseline."""
        self._moved: dict[str, int] = {}
        """Places that it lacks."""
        self._something_moved = Signal()
        self._moved_at = 0.0
        self._is_overdue = False
        self._holders: dict[str, Consumer] = {}

    async def load(self) -> None:
        """Read what the journal has."""
        with as_journal_errors():
            self._kept = dict(await self._journal.places())

    def take(self, name: str, default: int | None, after: int | None, *, auto_ack: bool) -> Consumer:
        """Return a new consumer; the one that held the name has lost it.

        Args:
            name: The name.
            default: Where a new name begins; None is the baseline.
            after: Where to go on, if that is further on.
            auto_ack: Whether asking for the next event marks the one before as done.

        """
        if name in self._kept or name in self._new:
            place = self._moved.get(name, self._kept.get(name, self._new.get(name)))
        else:
            place = default if after is None else after
        if name not in self._moved and (place is None or place <= self._reader.newest):
            self._new[name] = place  # also a known name, which may have been forgotten meanwhile
        if place is None:
            place = self._reader.baseline
        if place is not None and after is not None:
            place = max(place, after)
        self._holders[name] = Consumer(self._reader, self, name, place, auto_ack=auto_ack)
        self._reader.notify()
        return self._holders[name]

    def check(self, name: str, consumer: Consumer) -> None:
        """Raise `CursorTaken` if another consumer holds the name now."""
        if self._holders[name] is not consumer:
            raise CursorTaken(
                f"another consumer reads as {name!r} now; what wasn't acknowledged is given to it", name=name
            )

    def move(self, name: str, place: int) -> bool:
        """Move a name forward; return whether the journal should have it now, rather than with the next write."""
        unwritten = place - self._kept.get(name, 0)
        if unwritten <= 0:
            return False
        if not self._moved:
            self._moved_at = anyio.current_time()
            self._something_moved.set()
        self._moved[name] = place
        return unwritten >= _MOST_UNWRITTEN or self._is_overdue or self._reader.ended

    async def unwritten(self, baseline: int | None) -> Mapping[str, int]:
        """Return the places that the journal lacks, as far as they are certain."""
        places: dict[str, int] = {}
        for name, start in list(self._new.items()):
            place = baseline if start is None else start
            if place == EVERYTHING:
                place = await self._reader.oldest()
            if place is not None:
                places[name] = place
        return places | self._moved

    def written(self, places: Mapping[str, int]) -> None:
        """Note the places that the journal has got."""
        for name, place in places.items():
            self._new.pop(name, None)
            self._kept[name] = max(place, self._kept.get(name, 0))
            if self._moved.get(name, place + 1) <= place:
                del self._moved[name]
        self._is_overdue = self._is_overdue and bool(self._moved)

    async def write(self, name: str | None = None) -> None:
        """Write all places that the journal lacks, if that of a name is among them."""
        if name is None or name in self._moved or name in self._new:
            places = await self.unwritten(self._reader.baseline)
            if places:
                with as_journal_errors():
                    await self._journal.move(places)
                self.written(places)

    async def write_new(self) -> None:
        """Write the places of new names."""
        if self._new:
            await self.write()

    async def run(self) -> None:
        """Write what consumers leave unwritten, until cancelled."""
        while True:
            if not self._moved:
                await self._something_moved.wait()
            age = anyio.current_time() - self._moved_at + EPSILON
            self._is_overdue = age >= _LONGEST_UNWRITTEN
            if age >= _WRITTEN_AFTER:
                # A consumer that goes on tries again, and raises it.
                with contextlib.suppress(JournalError):
                    await self.write()
                self._moved_at = anyio.current_time()  # for the next try, if it failed
            await anyio.sleep(_CHECK_EVERY)
