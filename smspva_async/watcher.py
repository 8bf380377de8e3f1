"""The watcher: one poll loop per key, and what is read from it.

The loop decides which calls the next tick makes; what their answers bring to light is found by `_diff.step` and kept in
a journal, from which every subscription and every wait reads by itself.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import random
from collections import Counter
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar

import anyio
from attrs import evolve

from smspva_async._background import Background, finish
from smspva_async._clock import ServerClock
from smspva_async._diff import Failed, NoSuchOrder, Observation, OrdersListed, SmsListed, State, step
from smspva_async._feed import Feed, Subscription
from smspva_async._policy import plan_reads
from smspva_async._source import polled
from smspva_async.errors import (
    ClientClosed,
    InvalidKey,
    OrderGone,
    OrderNotFound,
    SmspvaError,
    WaitTimeout,
    WatcherClosed,
)
from smspva_async.events import Event, PollFailed, PollRecovered, SmsReceived
from smspva_async.journal import MemoryJournal
from smspva_async.models import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import TracebackType
    from typing import Self

    from anyio.abc import TaskGroup

    from smspva_async._source import Source
    from smspva_async.journal import Journal
    from smspva_async.models import Order, OrderState, Sms

__all__ = ["Watcher"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_LEAST_DEADLINE = 60.0
_PATIENCE = 1.5
_REFUSALS_TO_END = 2


class Watcher:
    """Polls the orders of an account and their messages, and tells what changes.

    Use it as an async context manager: entering makes the first poll, leaving ends every iterator and wait. On asyncio
    it may be left in another task than it was entered in. A server that fails doesn't end it; a refused key, a closed
    client or a lost journal does, and then iterators, waits and the context itself raise that error.

    Args:
        source: A `SmspvaClient`, or anything that can be asked for orders and messages as it can.
        interval: Seconds between two polls. The provider's own page polls every 30 seconds.
        eager_interval: The same while somebody waits for a message; three times that while only for a state. Never
            quicker than two requests of the client's pace.
        journal: Where events and state are kept; None keeps them in memory.
        start: What messages found on the first poll are: ``"baseline"`` takes them as known, ``"replay"`` reports them.
            A journal that has a state already goes on from there, and neither applies.

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
        if not 0 < interval < math.inf or not 0 < eager_interval < math.inf:
            raise ValueError(f"intervals are in seconds, more than 0: {interval!r} and {eager_interval!r}")
        if start not in ("baseline", "replay"):
            raise ValueError(f"a watch starts with 'baseline' or 'replay', not with {start!r}")
        self._interval = interval
        self._eager_interval = eager_interval
        self._source = polled(source, max(2 * interval, _LEAST_DEADLINE))
        self._journal: Journal = MemoryJournal() if journal is None else journal
        self._replay = start == "replay"
        self._state = State()
        self._orders: Mapping[int, Order] = MappingProxyType({})
        self._first_of_run: int | None = None
        self._feed = Feed(self._journal)
        self._background = Background()
        self._commit = anyio.Lock()
        self._woken = anyio.Event()
        self._entered = False
        self._failure: SmspvaError | None = None
        self._last_success: datetime | None = None
        self._last_failure: str | None = None
        self._refused = 0
        self._reads_fail = False
        self._reading: set[int] = set()
        self._message_waits: Counter[int] = Counter()
        self._state_waits: Counter[int] = Counter()

    # -- entering and leaving ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a watcher is entered once; make another")
        self._entered = True
        self._clock = ServerClock()
        self._began = self._polled = anyio.current_time()
        self._phase = random.uniform(0, self._interval / 10)  # noqa: S311 - spreads load
        stored = await self._journal.open()
        try:
            if stored is None or stored.since is None:
                self._take(evolve(stored or State(), replay=self._replay))
                self._first_of_run = self._state.seq if self._replay else None
            else:
                self._take(stored)
                self._first_of_run = stored.seq
            await self._poll_orders()
            await self._background.start(self._run)
        except BaseException:
            self._feed.end()
            await finish(self._journal.aclose)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._background.stop()
        finally:
            self._feed.end(self._failure)
            await finish(self._journal.aclose)
        if self._failure is not None and error is None:
            raise copy.copy(self._failure)

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def orders(self) -> Mapping[int, Order]:
        """The orders by id, as last seen. It changes together with `cursor`."""
        return self._orders

    @property
    def cursor(self) -> int:
        """The `seq` of the newest event: ``events(after=watcher.cursor)`` is what comes from now on."""
        return self._state.seq

    @property
    def last_success(self) -> datetime | None:
        """Aware UTC time of the last good poll of the orders, by the server's clock; None before the first."""
        return self._last_success

    def events(self, *, after: int | None = None, order_id: int | None = None) -> Subscription:
        """Return an async iterator of events. Its place is fixed now, whenever it is read.

        Args:
            after: The `seq` after which to begin: 0 is everything that is kept, `cursor` is from now on, a stored
                number resumes there. None begins after the baseline; with ``start="replay"``, or a journal that had
                a state, before the first event of this run.
            order_id: Only events about this order.

        Raises:
            WatcherClosed: The watcher was not entered yet.

        """
        place = self._place(after)
        return Subscription(self._feed, self._first_of_run if after is None else place, order_id)

    def _place(self, after: int | None) -> int:
        """Return a place among the events, None being now."""
        if not self._entered:
            raise WatcherClosed("the watcher is not entered yet: use it in `async with`")
        if after is None:
            return self.cursor
        if type(after) is not int or after < 0:
            raise ValueError(f"a place among the events is a whole number, 0 or more: {after!r}")
        return after

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def wait_for_state(self, order_id: int, state: OrderState, *, timeout: float) -> Order:
        """Wait until an order is in a state, and return it. An order that isn't listed yet is waited for as well.

        Args:
            order_id: The order.
            state: The state; returns at once if the order was last seen in it.
            timeout: Seconds.

        Raises:
            WaitTimeout: It didn't come to that in time.
            OrderGone: The order has been removed or has expired.
            WatcherClosed: The watcher was left.

        """

        def in_state(event: Event) -> Order | None:
            order: Order | None = getattr(event, "order", None)
            return order if order is not None and order.state == state else None

        after = self._place(None)
        known = self._orders.get(order_id)
        if known is not None and known.state == state and not self._feed.ended:
            return known
        with self._waiting(self._state_waits, order_id):
            return await self._within(timeout, order_id, after, in_state, f"be {state.name}")

    async def wait_for_sms(
        self, order_id: int, *, after: int | None = None, match: Callable[[Sms], bool] | None = None, timeout: float
    ) -> SmsReceived:
        """Wait for a message to an order's number, and return its event.

        Args:
            order_id: The order.
            after: The `seq` after which the message may have come; None is from now on.
            match: Tells which message is meant; None is any.
            timeout: Seconds.

        Raises:
            WaitTimeout: None came in time. One that comes later is in the events.
            OrderGone: The order has been removed or has expired.
            WatcherClosed: The watcher was left.

        """

        def wanted(event: Event) -> SmsReceived | None:
            return event if isinstance(event, SmsReceived) and (match is None or match(event.sms)) else None

        place = self._place(after)
        with self._waiting(self._message_waits, order_id):
            return await self._within(timeout, order_id, place, wanted, "receive the message")

    @contextlib.contextmanager
    def _waiting(self, waits: Counter[int], order_id: int) -> Generator[None]:
        """Have the loop know that somebody waits, and let it plan its next tick anew."""
        waits[order_id] += 1
        self._woken.set()
        try:
            yield
        finally:
            waits[order_id] -= 1
            if not waits[order_id]:
                del waits[order_id]

    async def _within(
        self, seconds: float, order_id: int, after: int, wanted: Callable[[Event], T | None], what: str
    ) -> T:
        with anyio.move_on_after(seconds):
            return await self._first(order_id, after, wanted)
        known = self._orders.get(order_id)
        state = "never listed" if known is None else f"last seen {known.state.name}"
        success = "none" if self._last_success is None else f"{self._last_success:%Y-%m-%d %H:%M:%S} UTC"
        raise WaitTimeout(
            f"order {order_id} didn't {what} within {seconds:g} s; {state}; last good poll: {success}; last failure: "
            f"{self._last_failure or 'none'}. Nothing is discarded: it can still be waited for",
            order_id=order_id,
            state=None if known is None else known.state,
            last_success=self._last_success,
            last_failure=self._last_failure,
            elapsed=seconds,
        )

    async def _first(self, order_id: int, after: int, wanted: Callable[[Event], T | None]) -> T:
        """Return what `wanted` makes of the first event of an order that it wants."""
        while True:
            event, after = await self._feed.next(after, order_id)
            if event is not None:
                found = wanted(event)
                if found is not None:
                    return found
            elif order_id in self._state.gone:
                gone = self._state.gone[order_id].order
                raise OrderGone(
                    f"order {order_id} ({gone.phone}, until {gone.until:%Y-%m-%d %H:%M} UTC) is gone", order_id=order_id
                )
            elif not await self._feed.more(after):
                raise WatcherClosed(f"the watcher was left while order {order_id} was waited on")

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as reads:
                with self._ending(reads):
                    await self._read_lists(reads)
                    while True:
                        await self._sleep()
                        await self._poll_orders()
                        await self._read_lists(reads)
        finally:
            if self._failure is not None:
                self._feed.end(self._failure)

    @contextlib.contextmanager
    def _ending(self, reads: TaskGroup) -> Generator[None]:
        """End the watch if what is done inside fails for good."""
        try:
            yield
        except SmspvaError as error:
            self._failure = self._failure or error
            reads.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - nobody awaits this task; whoever waits for events has to be told
            _log.exception("the watch has broken")
            self._failure = self._failure or SmspvaError(f"the watch has broken: {error!r}")
            reads.cancel_scope.cancel()

    async def _sleep(self) -> None:
        """Sleep until the next poll of the orders is due."""
        while (left := self._due() - anyio.current_time()) > 0:
            with anyio.move_on_after(left):
                await self._woken.wait()
                self._woken = anyio.Event()

    def _period(self) -> float:
        """Return the seconds between two polls as things stand."""
        eager = max(self._eager_interval, 2 * self._source.gap)
        if not self._message_waits:
            eager = 3 * eager if self._state_waits else math.inf
        return min(self._interval, eager)

    def _due(self) -> float:
        """Return when the orders are to be polled next: on the grid, or sooner if somebody waits."""
        period = self._period()
        if period < self._interval:
            return self._polled + period
        # Never two for ticks missed, by a suspended machine for instance: the next point of the grid is meant.
        # The hair's breadth is for a poll on a point, which rounding may put before it.
        passed = math.floor((self._polled - self._began + self._phase) / self._interval + 1e-6)
        return self._began + (passed + 1) * self._interval - self._phase

    async def _poll_orders(self) -> None:
        self._polled = anyio.current_time()
        asked_at = self._clock.now()
        try:
            orders = await self._source.orders(lambda: None)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            await self._failed(error, None)
            return
        self._refused = 0
        rows = orders if isinstance(orders, Rows) else Rows(orders)
        if rows.date is not None:
            self._clock.hear(rows.date, rows.took)
            asked_at = rows.date - timedelta(seconds=rows.took)
        self._last_success = self._clock.now()
        await self._take_in(
            OrdersListed(
                at=self._last_success,
                asked_at=asked_at,
                orders=rows,
                skipped=rows.skipped,
                interval=timedelta(seconds=self._interval),
            )
        )

    async def _read_lists(self, reads: TaskGroup) -> None:
        """Read messages until the next poll is due; what isn't begun by then is planned anew."""
        plan = plan_reads(self._state.tracks, self._message_waits.keys(), period=self._period(), gap=self._source.gap)
        for order_id in plan:
            if anyio.current_time() >= self._due():
                return
            if order_id not in self._reading:
                begun, done = anyio.Event(), anyio.Event()
                reads.start_soon(self._read_list, reads, order_id, begun, done)
                await begun.wait()
                # A list that doesn't come delays the others by no more than this, and the next poll not at all.
                patience = min(max(_PATIENCE, self._source.gap), self._due() - anyio.current_time())
                with anyio.move_on_after(patience):
                    await done.wait()
                if self._reads_fail and self._state.failing_since is not None:
                    return  # the server as a whole is down

    async def _read_list(self, reads: TaskGroup, order_id: int, begun: anyio.Event, done: anyio.Event) -> None:
        self._reading.add(order_id)
        try:
            with self._ending(reads):
                await self._read_one(order_id, begun)
        finally:
            self._reading.discard(order_id)
            begun.set()
            done.set()

    async def _read_one(self, order_id: int, begun: anyio.Event) -> None:
        try:
            messages = await self._source.sms(order_id, begun.set)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self._reads_fail = True
            await self._failed(error, order_id)
            return
        self._reads_fail = False
        rows = messages if isinstance(messages, Rows) else Rows(messages)
        if rows.date is not None:
            self._clock.hear(rows.date, rows.took)
        await self._take_in(SmsListed(at=self._clock.now(), order_id=order_id, messages=rows, skipped=rows.skipped))

    async def _failed(self, error: Exception, order_id: int | None) -> None:
        """Take in a failed poll; raise what ends the watch."""
        if isinstance(error, ClientClosed):
            raise error
        told = str(error) or type(error).__name__
        self._last_failure = told
        at, kind = self._clock.now(), type(error).__name__
        if isinstance(error, OrderNotFound) and order_id is not None:
            await self._take_in(NoSuchOrder(at=at, order_id=order_id, kind=kind, message=told))
        else:
            await self._take_in(Failed(at=at, order_id=order_id, kind=kind, message=told))
        if isinstance(error, InvalidKey):
            self._refused += 1
            if self._refused >= _REFUSALS_TO_END:
                raise error

    async def _take_in(self, observation: Observation) -> None:
        """Find out what an observation brings to light, and keep it."""
        async with self._commit:
            state, events = step(self._state, observation)
            if state is self._state:
                return
            await self._journal.append(events, state)
            self._take(state)
        for event in events:
            _tell(event)

    def _take(self, state: State) -> None:
        if state.tracks is not self._state.tracks:
            self._orders = MappingProxyType({order_id: track.order for order_id, track in state.tracks.items()})
        if state.seq != self._feed.newest or self._feed.baseline is None:
            self._feed.publish(state.seq, None if state.since is None else state.baseline)
        self._state = state


def _tell(event: Event) -> None:
    """Log the beginning and the end of an outage."""
    match event:
        case PollFailed(kind, message):
            what = "orders" if event.order_id is None else f"the messages of order {event.order_id}"
            _log.warning("polling %s fails from now on (%s): %s", what, kind, message)
        case PollRecovered(downtime):
            what = "orders" if event.order_id is None else f"the messages of order {event.order_id}"
            _log.info("polling %s works again after %.0f s", what, downtime)
        case _:
            pass
