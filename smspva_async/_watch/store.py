"""The writing side of a journal: each answer and each failure is one commit."""

from __future__ import annotations

import logging
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from smspva_async._concurrency import finish
from smspva_async._watch.diff import CallFailed, OrdersListed, step
from smspva_async._watch.reader import as_journal_errors
from smspva_async.events import PollFailed, PollRecovered
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from smspva_async._watch.consumers import ConsumerPlaces
    from smspva_async._watch.diff import Observation
    from smspva_async._watch.reader import JournalReader
    from smspva_async.events import Event
    from smspva_async.journal import Journal
    from smspva_async.models import Order

__all__ = ["StateStore"]

_log = logging.getLogger("smspva_async")


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
