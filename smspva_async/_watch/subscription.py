"""Events as an async iterator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.lowlevel

if TYPE_CHECKING:
    from typing import Self

    from smspva_async._watch.cursors import NamedCursor
    from smspva_async._watch.feed import Feed
    from smspva_async.events import Event

__all__ = ["Subscription"]


class Subscription:
    """An async iterator of events: a place in the journal, and no more than that.

    Leaving it behind costs nothing, and cancelling ``anext`` loses no event. It ends when the watcher is left, after
    what the journal still has.
    """

    def __init__(
        self,
        feed: Feed,
        after: int | None,
        order_id: int | None = None,
        named: NamedCursor | None = None,
        *,
        auto_ack: bool = True,
    ) -> None:
        self._feed = feed
        self._after = after
        self._order_id = order_id
        self._named = named
        self._auto_ack = auto_ack
        self._first = self._given = 0
        self._running = False

    def __repr__(self) -> str:
        name = "" if self._named is None else f"{self._named.name!r} "
        return f"<Subscription {name}after event {self.cursor}>"

    @property
    def cursor(self) -> int:
        """The `seq` of the last event that was given or passed over; ``events(after=...)`` resumes there."""
        return max(0, self._after) if self._after is not None else self._feed.baseline or 0

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event. With a name and ``auto_ack`` the journal keeps first that the one before is done.

        Raises:
            Lagged: The place is no longer kept, or lies in the future; `Lagged.resume` is the nearest that can be read.
            CursorTaken: Another consumer reads under this name now.
            SmspvaError: What ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.
            RuntimeError: Another task reads this subscription just now.

        """
        if self._running:
            raise RuntimeError("another task is reading this subscription; events() gives each its own")
        self._running = True
        try:
            await anyio.lowlevel.checkpoint()
            return await self._next()
        finally:
            self._running = False

    async def ack(self, event: Event) -> None:
        """Have the journal keep that an event is done. For a subscription with a name; in any order.

        After a restart the name goes on at the first event that isn't done, and gives later ones that are done again.

        Args:
            event: One that this subscription gave.

        Raises:
            CursorTaken: Another consumer reads under this name now, and is given the event again.
            ValueError: There is no name, or the event wasn't given here.
            JournalError: The journal can't be written.

        """
        if self._named is None:
            raise ValueError("only a subscription with a name has a place to keep: events(name)")
        if not self._first <= event.seq <= self._given:
            raise ValueError(f"event {event.seq} wasn't given by this subscription")
        self._named.check()
        await self._named.done(event.seq)

    async def _next(self) -> Event:
        await self._settle()
        place = await self._place()
        while True:
            event, place = await self._feed.next(place, self._order_id)
            self._check()
            self._after = place
            if event is not None:
                if self._named is not None and not self._first:
                    self._named.begin(event.seq - 1)
                self._first, self._given = self._first or event.seq, event.seq
                return event
            if self._feed.newest <= place and not await self._feed.change():
                raise StopAsyncIteration
            self._check()

    async def _settle(self) -> None:
        """Have the journal keep what asking for the next event says of the one before."""
        self._check()
        if self._named is not None and self._auto_ack and self._given:
            await self._named.done_up_to(self._given)

    async def _place(self) -> int:
        """Wait for the place to begin at, which the journal has from now on if it is that of a name."""
        while self._after is None:
            self._after = self._feed.baseline
            if self._after is None and not await self._feed.change():
                raise StopAsyncIteration
            self._check()
        if self._named is not None:
            await self._named.keep_new()
        return self._after

    def _check(self) -> None:
        if self._named is not None:
            self._named.check()
