"""Events as an async iterator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.lowlevel

if TYPE_CHECKING:
    from typing import Self

    from smspva_async._watch.reader import JournalReader
    from smspva_async.events import Event

__all__ = ["Subscription"]


class Subscription:
    """An async iterator of events, made by `Watcher.events`. It is a place in the journal, and nothing else.

    Leaving it behind costs nothing, and cancelling ``anext`` loses no event. It ends when the watcher is left, after
    the events that the journal still has.
    """

    def __init__(self, reader: JournalReader, after: int | None, order_id: int | None = None) -> None:
        self._reader = reader
        self._after = after
        self._order_id = order_id
        self._is_running = self._is_closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after event {self.cursor}>"

    @property
    def cursor(self) -> int:
        """The `seq` of the last event that was given or passed over; ``events(after=...)`` resumes there."""
        return max(0, self._after) if self._after is not None else self._reader.baseline or 0

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            Lagged: The place is no longer kept, or lies in the future; `Lagged.resume` is the nearest one.
            JournalError: The journal can't be read, or lacks an event.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.
            RuntimeError: Another task is reading this iterator.

        """
        if self._is_running:
            raise RuntimeError("another task is reading this subscription; events() gives each its own")
        self._is_running = True
        try:
            await anyio.lowlevel.checkpoint()
            return await self._next()
        finally:
            self._is_running = False

    async def aclose(self) -> None:
        """End the iteration, also in a task that waits for the next event. `contextlib.aclosing` calls it."""
        self._is_closed = True
        self._reader.notify()

    async def _next(self) -> Event:
        after = await self._start()
        while True:
            event, after = await self._reader.next(after, self._order_id)
            self._check()
            self._after = after
            if event is not None:
                return event
            if self._reader.newest <= after and not await self._reader.change():
                raise StopAsyncIteration
            self._check()

    async def _start(self) -> int:
        """Return the place to read on from; a new one may have to wait for the baseline."""
        self._check()
        while self._after is None:
            self._after = self._reader.baseline
            if self._after is None and not await self._reader.change():
                raise StopAsyncIteration
            self._check()
        return self._after

    def _check(self) -> None:
        """Raise what ends this iterator alone."""
        if self._is_closed:
            raise StopAsyncIteration
