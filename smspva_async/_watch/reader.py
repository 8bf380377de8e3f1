"""The reading side of a journal: reads the events after a place, and wakes readers when there are more."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING

from smspva_async._concurrency import Signal
from smspva_async.errors import JournalError, Lagged

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event
    from smspva_async.journal import Journal

__all__ = ["EVERYTHING", "JournalReader", "as_journal_errors"]

EVERYTHING = -1
"""The place before the oldest event that is kept, wherever that is."""

_BATCH = 256


@contextlib.contextmanager
def as_journal_errors() -> Generator[None]:
    """Raise what a journal that isn't ours raises as `JournalError`."""
    try:
        yield
    except (JournalError, Lagged):
        raise
    except Exception as error:
        raise JournalError(f"the journal has failed: {error!r}") from error


class JournalReader:
    """Reads a journal, and wakes its readers when there is more."""

    def __init__(self, journal: Journal) -> None:
        self.ended: bool = False
        """True once no more events will come."""
        self.newest: int = 0
        """The newest event's `seq`."""
        self.baseline: int | None = None
        """The same after the first good poll; None before it."""
        self._journal = journal
        self._news = Signal()
        self._failure: SmspvaError | None = None

    def publish(self, newest: int, baseline: int | None) -> None:
        """Make the events up to `newest` known."""
        if (newest, baseline) != (self.newest, self.baseline):
            self.newest, self.baseline = newest, baseline
            self.notify()

    def notify(self) -> None:
        """Have all readers look again."""
        self._news.set()

    def end(self, failure: SmspvaError | None = None) -> None:
        """Let all readers know that no more events will come, and why."""
        if not self.ended:
            self.ended, self._failure = True, failure
            self.notify()

    async def next(self, after: int, order_id: int | None) -> tuple[Event | None, int]:
        """Return the next event after a place, None if there is none yet, and the place after it."""
        while True:
            try:
                events = await self._read(max(0, after), 1 if order_id is None else _BATCH)
            except Lagged as lagged:
                if after != EVERYTHING:
                    raise
                after = lagged.resume
                continue
            after = max(0, after)
            for event in events:
                if event.seq > self.newest:
                    return None, after  # written, but not known to the watcher yet
                if event.seq != after + 1:
                    raise JournalError(
                        f"the journal is damaged: event {after + 1} is missing. Read on after it: "
                        f"events(after={event.seq - 1}), or consumer(name, after={event.seq - 1})"
                    )
                after = event.seq
                if order_id is None or event.order_id == order_id:
                    return event, after
            if not events:
                if after < self.newest:
                    raise JournalError(f"the journal is damaged: the events after {after} are missing")
                return None, after

    async def oldest(self) -> int:
        """Return the place before the oldest event that is kept."""
        try:
            await self._read(0, 1)
        except Lagged as lagged:
            return lagged.resume
        return 0

    async def _read(self, after: int, limit: int) -> Sequence[Event]:
        with as_journal_errors():
            return await self._journal.read(after, limit)

    async def change(self) -> bool:
        """Wait until there may be more; return False if there will be nothing, as the watcher is left.

        Raises:
            SmspvaError: The error that ended the watch.

        """
        if self._failure is not None:
            raise copy.copy(self._failure)
        if not self.ended:
            await self._news.wait()
            return True
        return False
