"""The journal as a watcher uses it: `StateStore` writes what polls bring, `JournalReader` reads what is there."""

from __future__ import annotations

import contextlib
import copy
import logging
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from smspva_async._concurrency import Signal, finish
from smspva_async._watch.diff import CallFailed, OrdersListed, step
from smspva_async.errors import JournalError, Lagged
from smspva_async.events import PollFailed, PollRecovered
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime

    from smspva_async._watch.consumers import ConsumerPlaces
    from smspva_async._watch.diff import Observation
    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event
    from smspva_async.journal import Journal
    from smspva_async.models import Order

__all__ = ["EVERYTHING", "JournalReader", "StateStore", "as_journal_errors"]

EVERYTHING = -1
"""The place before the oldest event that is kept, wherever that is."""

_log = logging.getLogger("smspva_async")

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


class StateStore:
    """Applies observations, one after another: each is one commit to the journal.

    Args:
        journal: The journal.
        places: The places of named consumers, which are part of the commit.
        reader: The readers' side, which learns of it.

    """

    def __init__(self, journal: Journal, places: ConsumerPlaces, reader: JournalReader) -> None:
        self.state: WatchState = WatchState()
        self.orders: Mapping[int, Order] = MappingProxyType({})
        """The orders as last seen; they change together with the state."""
        self.last_success: datetime | None = None
        """The server's time of the last good poll of the orders."""
        self.last_failure: str | None = None
        """The message of the last call that failed."""
        self._journal = journal
        self._places = places
        self._reader = reader
        self._commit = anyio.Lock()

    def resume(self, state: WatchState) -> None:
        """Go on from a state."""
        self.orders = MappingProxyType(state.orders)
        self.state = state
        self._reader.publish(state.seq, _baseline(state))

    async def apply(self, observation: Observation) -> Sequence[Event]:
        """Find out what is new, commit it, and return the events.

        Raises:
            JournalError: The journal can't be written.

        """
        match observation:
            case OrdersListed(at=at):
                self.last_success = at
            case CallFailed(message=message):
                self.last_failure = message
            case _:
                pass
        async with self._commit:
            state, events = step(self.state, observation)
            if state is self.state:
                return events
            # What has been written is also published, even if the watch is left meanwhile.
            await finish(partial(self._write, events, state))
        for event in events:
            _log_outage(event)
        return events

    async def _write(self, events: Sequence[Event], state: WatchState) -> None:
        places = await self._places.unwritten(_baseline(state))
        with as_journal_errors():
            await self._journal.append(events, state, places)
        self._places.written(places)
        self.resume(state)

    def note_failure(self, message: str) -> None:
        """Note a call that failed and whose failure is no event; waits look again."""
        self.last_failure = message
        self._reader.notify()


def _baseline(state: WatchState) -> int | None:
    """Return the newest event's `seq` after the first good poll; None before it."""
    return None if state.since is None else state.baseline


def _log_outage(event: Event) -> None:
    what = "orders" if event.order_id is None else f"the messages of order {event.order_id}"
    match event:
        case PollFailed(kind, message):
            _log.warning("polling %s fails from now on (%s): %s", what, kind, message)
        case PollRecovered(downtime):
            _log.info("polling %s works again after %.0f s", what, downtime)
        case _:
            pass
