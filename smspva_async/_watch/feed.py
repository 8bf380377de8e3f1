"""The reading end of a watch: what follows a place in the journal, now or later."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import anyio

from smspva_async.errors import Lagged

if TYPE_CHECKING:
    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event
    from smspva_async.journal import Journal

__all__ = ["EVERYTHING", "Feed"]

EVERYTHING = -1
"""The place before the oldest event that is kept, wherever that is."""

_BATCH = 256


class Feed:
    """A journal, and the news of what is written to it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._news = anyio.Event()
        self._failure: SmspvaError | None = None
        self.ended: bool = False
        """Whether no more events will come."""
        self.newest: int = 0
        """The newest event's `seq`."""
        self.baseline: int | None = None
        """The same after the first good poll; None before it."""

    def publish(self, newest: int, baseline: int | None) -> None:
        """Wake all who wait: there are events up to `newest`."""
        self.newest, self.baseline = newest, baseline
        self.wake()

    def wake(self) -> None:
        """Have all who wait look again."""
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
                events = await self._journal.read(max(0, after), 1 if order_id is None else _BATCH)
            except Lagged as lagged:
                if after != EVERYTHING:
                    raise
                after = lagged.resume
                continue
            after = max(0, after)
            for event in events:
                if event.seq > self.newest:
                    return None, after  # written, but not known to the watcher yet
                after = event.seq
                if order_id is None or event.order_id == order_id:
                    return event, after
            if not events:
                return None, after

    async def oldest(self) -> int:
        """Return the place before the oldest event that is kept."""
        try:
            await self._journal.read(0, 1)
        except Lagged as lagged:
            return lagged.resume
        return 0

    async def change(self) -> bool:
        """Wait until there is anything new; return False if there will be nothing, the watcher being left.

        Raises:
            SmspvaError: What ended the watch.

        """
        if self._failure is not None:
            raise copy.copy(self._failure)
        if not self.ended:
            await self._news.wait()
            return True
        return False
