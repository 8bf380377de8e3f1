"""Events as async iterators: `Subscription`, and `Consumer`, whose position the journal keeps under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.lowlevel

if TYPE_CHECKING:
    from typing import Self

    from smspva_async._watch.journal_io import ConsumerPositions, JournalReader
    from smspva_async.events import Event


class Subscription:
    """An async iterator of events, made by `Watcher.events`. It is a position in the journal, and nothing else.

    It needs no closing, and cancelling ``anext`` loses no event. It ends when the watcher is left, after the events
    that the journal still has.
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
        """The `seq` of the last event that was returned or skipped; ``events(after=...)`` resumes there."""
        return max(0, self._after) if self._after is not None else self._reader.baseline or 0

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            Lagged: The position is no longer kept, or is in the future; `Lagged.resume` is the nearest one.
            JournalError: The journal can't be read, or lacks an event.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.
            RuntimeError: Another task is reading this iterator.

        """
        if self._is_running:
            raise RuntimeError("another task is reading this iterator; make one for each task")
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
        """Return the position to read on from; wait for the baseline if that is the position."""
        self._check()
        while self._after is None:
            self._after = self._reader.baseline
            if self._after is None and not await self._reader.change():
                raise StopAsyncIteration
            self._check()
        return self._after

    def _check(self) -> None:
        """Raise the exception that ends this iterator but not the watch."""
        if self._is_closed:
            raise StopAsyncIteration


class Consumer(Subscription):
    """An async iterator of events, made by `Watcher.consumer`, whose position the journal keeps under a name.

    Each event is delivered at least once, even if the program is killed.
    """

    def __init__(
        self,
        reader: JournalReader,
        positions: ConsumerPositions,
        name: str,
        default: int | None,
        after: int | None,
        *,
        auto_ack: bool,
    ) -> None:
        super().__init__(reader, positions.take(name, self, default, after))
        self._is_explicit = after is not None
        self._is_started = False
        self._positions = positions
        self._name = name
        self._auto_ack = auto_ack
        self._first = self._last = self._done = 0
        self._done_beyond: set[int] = set()

    def __repr__(self) -> str:
        return f"<Consumer {self._name!r} after event {self.cursor}>"

    async def __anext__(self) -> Event:
        """Return the next event. With ``auto_ack`` the previous one counts as done.

        The journal gets its position within a second, and at once after 50 events.

        Raises:
            CursorTaken: Another consumer has taken over this name.
            Lagged: The position is no longer kept, or is in the future; `Lagged.resume` is the nearest one.
            JournalError: The journal can't be read or written, or lacks an event.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.
            RuntimeError: Another task is reading this iterator.

        """
        return await super().__anext__()

    async def ack(self, event: Event) -> None:
        """Mark an event as done, in any order, and return when the journal has it.

        After a restart the name continues at the first event that isn't done. Later events that are done are delivered
        again.

        Args:
            event: An event that this consumer returned.

        Raises:
            CursorTaken: Another consumer has taken over this name, and gets the event again.
            ValueError: This consumer did not return the event.
            JournalError: The journal can't be written.

        """
        if not self._first <= event.seq <= self._last:
            raise ValueError(f"this consumer did not return event {event.seq}")
        self._positions.check(self._name, self)
        if event.seq > self._done:
            self._done_beyond.add(event.seq)
        while self._done + 1 in self._done_beyond:
            self._done += 1
            self._done_beyond.remove(self._done)
        self._positions.move(self._name, self._done)
        await self._positions.write(self._name)

    async def aclose(self) -> None:
        """End the iteration, and return when the journal has the position. `contextlib.aclosing` calls it.

        Raises:
            JournalError: The journal can't be written.

        """
        await super().aclose()
        await self._positions.write_last(self._name)

    async def _next(self) -> Event:
        self._check()
        if self._auto_ack and self._last:
            self._done = self._last
            if self._positions.move(self._name, self._done):
                await self._positions.write(self._name)
        event = await super()._next()
        if not self._first:
            self._first, self._done = event.seq, event.seq - 1
        self._last = event.seq
        return event

    async def _start(self) -> int:
        after = await super()._start()
        if not self._is_started:  # before any event is returned under the name
            after = self._after = await self._positions.start(self._name, after, is_explicit=self._is_explicit)
            self._is_started = True
        return after

    def _check(self) -> None:
        super()._check()
        self._positions.check(self._name, self)
