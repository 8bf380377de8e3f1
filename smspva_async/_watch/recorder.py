"""What a watch finds, as it is kept: in the state, in the journal and, for those who wait, in the feed."""

from __future__ import annotations

import logging
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from smspva_async._concurrency import finish
from smspva_async._diff import Failed, NoSuchOrder, Observation, OrdersListed, step
from smspva_async._state import State
from smspva_async.events import Event, PollFailed, PollRecovered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from smspva_async._watch.cursors import Cursors
    from smspva_async._watch.feed import Feed
    from smspva_async.journal import Journal
    from smspva_async.models import Order

__all__ = ["Recorder"]

_log = logging.getLogger("smspva_async")


class Recorder:
    """Takes in what is observed, one thing after another.

    Args:
        journal: Where it is kept.
        cursors: The named cursors, whose places the journal keeps as well.
        feed: Who is to be told.

    """

    def __init__(self, journal: Journal, cursors: Cursors, feed: Feed) -> None:
        self.state: State = State()
        self.orders: Mapping[int, Order] = MappingProxyType({})
        """The orders as last seen; they change together with the state."""
        self.last_success: datetime | None = None
        """When the orders were last listed, by the server's clock."""
        self.last_failure: str | None = None
        """What the last call that failed said."""
        self._journal = journal
        self._cursors = cursors
        self._feed = feed
        self._commit = anyio.Lock()

    def resume(self, state: State) -> None:
        """Go on from a state."""
        self.orders = MappingProxyType(state.orders)
        self.state = state
        baseline = _baseline(state)
        if (state.seq, baseline) != (self._feed.newest, self._feed.baseline):
            self._feed.publish(state.seq, baseline)

    async def take_in(self, observation: Observation) -> None:
        """Find out what an observation brings to light, and keep it.

        Raises:
            JournalError: It can't be kept.

        """
        match observation:
            case OrdersListed(at=at):
                self.last_success = at
            case Failed(message=message) | NoSuchOrder(message=message):
                self.last_failure = message
            case _:
                pass
        async with self._commit:
            state, events = step(self.state, observation)
            if state is self.state:
                return
            # What has been written is told, also if the watch is left meanwhile.
            await finish(partial(self._write, events, state))
        for event in events:
            _tell(event)

    async def _write(self, events: Sequence[Event], state: State) -> None:
        places = await self._cursors.unwritten(_baseline(state))
        await self._journal.append(events, state, places)
        self._cursors.note(places)
        self.resume(state)

    def note_failure(self, message: str) -> None:
        """Take note of a call that failed and whose failure is no event, and tell those who wait."""
        self.last_failure = message
        self._feed.wake()


def _baseline(state: State) -> int | None:
    """Return the newest event's `seq` after the first good poll; None before it."""
    return None if state.since is None else state.baseline


def _tell(event: Event) -> None:
    """Log the beginning and the end of an outage."""
    what = "orders" if event.order_id is None else f"the messages of order {event.order_id}"
    match event:
        case PollFailed(kind, message):
            _log.warning("polling %s fails from now on (%s): %s", what, kind, message)
        case PollRecovered(downtime):
            _log.info("polling %s works again after %.0f s", what, downtime)
        case _:
            pass
