"""The watcher: what polling an account brings to light, as events to iterate over and to wait for.

The poll loop writes to a journal, from which every subscription and every wait reads by itself.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Literal

from attrs import evolve

from smspva_async._api import validation
from smspva_async._concurrency import BackgroundTask, finish
from smspva_async._state import State
from smspva_async._watch.active_number import activated
from smspva_async._watch.cursors import Cursors
from smspva_async._watch.demand import Demand
from smspva_async._watch.feed import EVERYTHING, Feed
from smspva_async._watch.poller import Poller
from smspva_async._watch.recorder import Recorder
from smspva_async._watch.source import polled
from smspva_async._watch.subscription import Subscription
from smspva_async._watch.waits import Waits
from smspva_async.errors import JournalError, WatcherClosed
from smspva_async.events import Event, SmsReceived
from smspva_async.journal import MemoryJournal
from smspva_async.models import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from smspva_async._watch.active_number import ActiveNumber
    from smspva_async._watch.source import Source
    from smspva_async.journal import Journal
    from smspva_async.models import Order, Sms
    from smspva_async.statistics import WatchStatistics

__all__ = ["Watcher"]

_LEAST_DEADLINE = 60.0
_LEAST_INTERVAL = 0.01
_LONGEST_INTERVAL = 365 * 86_400.0


class Watcher:
    """Polls the orders of an account and their messages, and tells what changes.

    Use it as an async context manager: entering makes the first poll, leaving ends every iterator and wait. On asyncio
    it may be left in another task than it was entered in. A server that fails doesn't end it; a refused key, a closed
    client or a lost journal does, and then iterators, waits and the context itself raise that error.

    Args:
        source: A `SmspvaClient`, or anything that can be asked for orders and messages as it can.
        interval: Seconds between two polls. The provider's own page refreshes every 30 seconds (rental page).
        eager_interval: The same while somebody waits for a message; three times that while only for a state. Never
            quicker than two requests of the client's pace.
        journal: Where events and state are kept; None keeps them in memory.
        start: What messages found on the first poll are: ``"baseline"`` takes them as known, ``"replay"`` reports them.
            A journal that has a state already goes on from there, and neither applies.

    Raises:
        ValueError: A setting can't be right.
        JournalError: On entering: the journal can't be used; `JournalLocked` if another watcher has it.
        RuntimeError: On entering a second time.
        SmspvaError: On leaving: what ended the watch, unless something else is raised there already.

    """

    def __init__(
        self,
        source: Source,
        *,
        interval: float = 30.0,
        eager_interval: float = 3.0,
        journal: Journal | None = None,
        start: Literal["baseline", "replay"] = "baseline",
    ) -> None:
        for what, seconds in (("the interval", interval), ("the eager interval", eager_interval)):
            if not _LEAST_INTERVAL <= validation.seconds(what, seconds) <= _LONGEST_INTERVAL:
                raise ValueError(f"{what} is in seconds, {_LEAST_INTERVAL} to {_LONGEST_INTERVAL:.0f}: {seconds!r}")
        if start not in ("baseline", "replay"):
            raise ValueError(f"a watch starts with 'baseline' or 'replay', not with {start!r}")
        if isinstance(journal, type) or not (journal is None or hasattr(journal, "append")):
            raise ValueError(f"a journal is a MemoryJournal() or a SqliteJournal('x.db'), not {journal!r}")
        self._journal: Journal = MemoryJournal() if journal is None else journal
        self._source = polled(source, max(2 * interval, _LEAST_DEADLINE))
        self._feed = Feed(self._journal)
        self._cursors = Cursors(self._journal, self._feed)
        self._recorder = Recorder(self._journal, self._cursors, self._feed)
        self._demand = Demand(self._feed)
        self._poller = Poller(
            self._source,
            self._recorder,
            self._demand,
            self._feed,
            interval=interval,
            eager_interval=eager_interval,
        )
        self._waits = Waits(self._recorder, self._feed)
        self._background = BackgroundTask()
        self._replay = start == "replay"
        self._first_of_run: int | None = None
        self._entered = False

    # -- entering and leaving ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a watcher is entered once; make another")
        self._entered = True
        try:
            stored = await self._journal.open(self._source.account)
        except BaseException:
            self._feed.end()
            raise
        try:
            await self._cursors.load()
            if stored is None or stored.since is None:
                state = evolve(stored or State(), replay=self._replay)
                self._first_of_run = state.seq if self._replay else None
            else:
                state, self._first_of_run = stored, stored.seq
            await self._poller.begin(state)
            await self._background.start(self._poller.run)
        except BaseException:
            self._feed.end()
            await finish(self._close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._poller.leaving = True
        try:
            await self._background.stop()
        finally:
            self._feed.end(self._poller.failure)
            await finish(self._close)
        if self._poller.failure is not None and error is None:
            raise copy.copy(self._poller.failure)

    async def _close(self) -> None:
        try:
            # A new name that has read nothing yet: after a restart it would begin with that run.
            with contextlib.suppress(JournalError):  # told already, by the poll that it broke
                await self._cursors.keep_new()
        finally:
            await self._journal.aclose()

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def orders(self) -> Mapping[int, Order]:
        """The orders by id, as last seen (`orders`). It changes together with `cursor`."""
        return self._recorder.orders

    @property
    def cursor(self) -> int:
        """The `seq` of the newest event: ``events(after=watcher.cursor)`` is what comes from now on."""
        return self._recorder.state.seq

    @property
    def last_success(self) -> datetime | None:
        """Aware UTC time of the last good poll of the orders, by the server's clock; None before the first."""
        return self._recorder.last_success

    def statistics(self) -> WatchStatistics:
        """Return what was asked so far, what failed, and how long messages may take as things stand: a snapshot.

        Raises:
            WatcherClosed: The watcher was not entered yet.

        """
        self._place(None)
        return self._poller.statistics()

    def events(
        self,
        name: str | None = None,
        *,
        after: int | None = None,
        order_id: int | None = None,
        auto_ack: bool = True,
    ) -> Subscription:
        """Return an async iterator of events. Its place is fixed now, whenever it is read.

        With a name the journal keeps the place, and each event is given at least once: after a restart the name goes
        on at the first event that wasn't acknowledged. A second iterator of the same name takes it over; the first
        raises `CursorTaken`.

        Args:
            name: Under which the journal keeps the place; None keeps none.
            after: The `seq` after which to begin: 0 is everything that is kept, `cursor` is from now on, a stored
                number resumes there. None begins after the baseline; with ``start="replay"``, or a journal that had
                a state, before the first event of this run. A name that the journal knows begins at its place, or
                here if that is further on.
            order_id: Only events about this order; not with a name.
            auto_ack: Whether asking for the next event acknowledges the one before. If not, `Subscription.ack` does.

        Raises:
            WatcherClosed: The watcher was not entered yet.
            ValueError: The arguments don't go together, or `after` is no place among events.

        """
        place = self._place(after)
        if name is None:
            if order_id is not None:
                validation.order_id(order_id)
            if not auto_ack:
                raise ValueError("without a name there is no place to keep, and nothing to acknowledge: events(name)")
            return Subscription(self._feed, self._first_of_run if after is None else place, order_id)
        validation.name(name)
        if order_id is not None:
            raise ValueError("a name keeps one place among all events, so it can't be combined with order_id")
        named = self._cursors.take(name, self._first_of_run, None if after is None else place)
        return Subscription(self._feed, named.start, named=named, auto_ack=auto_ack)

    def _place(self, after: int | None) -> int:
        """Return a place among the events, None being now."""
        if not self._entered:
            raise WatcherClosed("the watcher is not entered yet: use it in `async with`")
        if after is None:
            return self.cursor
        if type(after) is not int or after < 0:
            raise ValueError(f"a place among the events is a whole number, 0 or more: {after!r}")
        return after or EVERYTHING

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def wait_for_state(self, order_id: int, state: OrderState, *, timeout: float) -> Order:
        """Wait until an order is in a state, and return it. An order that isn't listed yet is waited for as well.

        Args:
            order_id: The order's id.
            state: The state; returns at once if the order was last seen in it.
            timeout: Seconds.

        Raises:
            WaitTimeout: It didn't come to that in time.
            OrderGone: The order has been removed or has expired.
            Lagged: The journal no longer keeps the events that follow; `Lagged.resume` is where to look.
            WatcherClosed: The watcher was left, or not entered yet.
            SmspvaError: What ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        validation.order_id(order_id)
        seconds = validation.timeout(timeout)
        wanted = OrderState(state)
        after = self._place(None)
        known = self.orders.get(order_id)
        if known is not None and known.state is wanted and not self._feed.ended:
            return known
        with self._demand.waiting_for_state(order_id):
            wait = self._waits.first(order_id, after, _in_state(wanted))
            return await self._waits.within(seconds, order_id, f"become {wanted.name}", wait)

    async def wait_for_sms(
        self, order_id: int, *, after: int | None = None, match: Callable[[Sms], bool] | None = None, timeout: float
    ) -> SmsReceived:
        """Wait for a message to an order's number, and return its event.

        Args:
            order_id: The order's id.
            after: The `seq` after which the message may have come; None is from now on.
            match: Tells which message is meant; None is any.
            timeout: Seconds.

        Raises:
            WaitTimeout: None came in time. One that comes later is in the events.
            OrderGone: The order has been removed or has expired.
            Lagged: The journal no longer keeps the events that follow; `Lagged.resume` is where to look.
            WatcherClosed: The watcher was left, or not entered yet.
            SmspvaError: What ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        validation.order_id(order_id)
        seconds = validation.timeout(timeout)

        def wanted(event: Event) -> SmsReceived | None:
            return event if isinstance(event, SmsReceived) and (match is None or match(event.sms)) else None

        place = self._place(after)
        with self._demand.waiting_for_message(order_id):
            wait = self._waits.first(order_id, place, wanted)
            return await self._waits.within(seconds, order_id, "receive the message", wait)

    def activated(
        self, order_id: int, *, after: int | None = None, timeout: float = 3600.0
    ) -> AbstractAsyncContextManager[ActiveNumber]:
        """Have a number active: an async context manager that gives an `ActiveNumber` (`activate`).

        On entering, the orders are asked for and the order's messages read, so that nothing old passes for new; then
        the number is activated if need be and waited for. While inside it is activated again whenever it lapses, and
        every two minutes while it stays down. Leaving doesn't deactivate it. An order that isn't listed yet is waited
        for. Nothing cancels what is inside: what goes wrong is raised by `ActiveNumber.next_sms`.

        Args:
            order_id: The order's id.
            after: The `seq` after which messages count as new, such as a stored `ActiveNumber.cursor`; None: those
                that come once the messages were read on entering.
            timeout: Seconds until the number must be active. An activation takes 10 to 15 minutes on average, and
                sometimes much longer (rental page).

        Raises:
            WaitTimeout: It wasn't active in time.
            OrderGone: The order has been removed or has expired.
            ApiError: The provider refused to activate it; of a source that isn't our client, `SmspvaError`.
            WatcherClosed: The watcher was left, or not entered yet.
            SmspvaError: What ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        validation.order_id(order_id)
        now = self._place(after)
        place = None if after is None else now
        seconds = validation.timeout(timeout)
        return activated(self._poller, self._recorder, self._demand, self._waits, order_id, place, seconds)


def _in_state(state: OrderState) -> Callable[[Event], Order | None]:
    """Return what picks the order from an event that shows it in a state."""

    def pick(event: Event) -> Order | None:
        order: Order | None = getattr(event, "order", None)
        return order if order is not None and order.state is state else None

    return pick
