"""The reading end of a watch: what follows a place in the journal, now or later."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from smspva_async.errors import Lagged

if TYPE_CHECKING:
    from typing import Self

    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event
    from smspva_async.journal import Journal

__all__ = ["Feed", "Subscription"]

_BATCH = 256


class Feed:
    """A journal, and the news of what is written to it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._news = anyio.Event()
        self._failure: SmspvaError | None = None
        self.ended = False
        """Whether no more events will come."""
        self.newest = 0
        """The newest event's `seq`."""
        self.baseline: int | None = None
        """The same after the first good poll; None before it."""

    def publish(self, newest: int, baseline: int | None) -> None:
        """Wake all who wait: there are events up to `newest`."""
        self.newest, self.baseline = newest, baseline
        self._news.set()
        self._news = anyio.Event()

    def end(self, failure: SmspvaError | None = None) -> None:
        """Let all who wait know that no more will come, or why."""
        self.ended = True
        self._failure = failure
        self._news.set()

    async def next(self, after: int, order_id: int | None) -> tuple[Event | None, int]:
        """Return the next event after a place, None if there is none yet, and the place after it."""
        while True:
            try:
                events = await self._journal.read(after, 1 if order_id is None else _BATCH)
            except Lagged as lagged:
                if after:
                    raise
                after = lagged.resume  # 0 is everything that is kept
                continue
            for event in events:
                if event.seq > self.newest:
                    return None, after  # written, but not known to the watcher yet
                after = event.seq
                if order_id is None or event.order_id == order_id:
                    return event, after
            if not events:
                return None, after

    async def more(self, after: int) -> bool:
        """Wait until there is an event after a place; return False if there will be none, the watcher being left."""
        while self.newest <= after:
            if not await self._change():
                return False
        return True

    async def first_place(self) -> int | None:
        """Wait for the baseline and return the place after it; None if there will be none, the watcher being left."""
        while self.baseline is None:
            if not await self._change():
                return None
        return self.baseline

    async def _change(self) -> bool:
        if self._failure is not None:
            raise copy.copy(self._failure)
        if not self.ended:
            await self._news.wait()
            return True
        return False


class Subscription:
    """An async iterator of events: a place in the journal, and no more than that.

    Leaving it behind costs nothing, and cancelling ``anext`` loses no event. It ends when the watcher is left, after
    what the journal still has.
    """

    def __init__(self, feed: Feed, after: int | None, order_id: int | None) -> None:
        self._feed = feed
        self._after = after
        self._order_id = order_id
        self._running = False

    def __repr__(self) -> str:
        return f"<Subscription after event {self.cursor}>"

    @property
    def cursor(self) -> int:
        """The `seq` of the last event that was given or passed over; ``events(after=...)`` resumes there."""
        return self._after if self._after is not None else self._feed.baseline or 0

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            Lagged: The place is no longer kept, or lies in the future; `Lagged.resume` is the nearest that can be read.
            SmspvaError: What ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        if self._running:
            raise RuntimeError("another task is reading this subscription; events() gives each its own")
        self._running = True
        try:
            return await self._next()
        finally:
            self._running = False

    async def _next(self) -> Event:
        await anyio.lowlevel.checkpoint()
        if self._after is None:
            self._after = await self._feed.first_place()
            if self._after is None:
                raise StopAsyncIteration
        while True:
            event, self._after = await self._feed.next(self._after, self._order_id)
            if event is not None:
                return event
            if not await self._feed.more(self._after):
                raise StopAsyncIteration
