"""The poll loop of a watch: one request after another, and what becomes of each answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel
from attrs import define, evolve, field

from smspva_async._watch.clock import EPSILON, ServerClock
from smspva_async._watch.diff import CallFailed, OrdersListed, SmsListed
from smspva_async._watch.scheduler import ORDERS, Scheduler
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ClientInUse,
    InvalidKey,
    JournalError,
    OrderNotFound,
    RateLimited,
    SmspvaError,
    describe,
)
from smspva_async.events import SmsReceived
from smspva_async.models import Rows
from smspva_async.statistics import WatchStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from anyio.abc import TaskGroup

    from smspva_async._watch.diff import Observation
    from smspva_async._watch.source import PolledSource
    from smspva_async._watch.store import StateStore
    from smspva_async._watch.waiters import Waiters
    from smspva_async.events import Event
    from smspva_async.journal.state import WatchState

__all__ = ["PollLoop"]

T = TypeVar("T")

_KEY_IS_WRONG_AFTER = 10.0
"""Seconds of nothing but refused keys that end the watch."""


class PollLoop:
    """Polls a source and applies the answers.

    Args:
        source: The source.
        store: Applies observations.
        waiters: What is wanted.
        interval: Seconds between two polls of the orders.
        eager_interval: Seconds from which the shorter periods follow, while somebody waits.
        expiry_notice: How long before an order's end it is reported.

    """

    def __init__(
        self,
        source: PolledSource,
        store: StateStore,
        waiters: Waiters,
        *,
        interval: float,
        eager_interval: float,
        expiry_notice: timedelta | None,
    ) -> None:
        self.failure: SmspvaError | None = None
        """The error that ended the loop."""
        self._source = source
        self._store = store
        self._waiters = waiters
        self._interval = interval
        self._eager_interval = eager_interval
        self._expiry_notice = expiry_notice
        self._reads = self._failures = 0
        self._is_orders_retried = False
        self._refused_since: float | None = None
        self._first_poll: float | None = None
        self._certain_began: datetime | None = None

    async def begin(self, state: WatchState) -> None:
        """Go on from a state, and make the first poll; raise what makes a second one pointless."""
        now = anyio.current_time()
        self._clock = ServerClock()
        self._offset = state.clock - now
        self._is_resumed = state.since is not None
        self._scheduler = Scheduler(now, interval=self._interval, eager_interval=self._eager_interval)
        self._store.resume(evolve(state, next_expiry=None))  # this run may have another notice
        self._scheduler.update(state.tracks)
        self._scheduler.begin(ORDERS, self._waiters.wants, now)
        await self._make(_Request(ORDERS, now, self._waiters.newest_request))

    async def run(self) -> None:
        """Poll until cancelled, or until it can't go on; `failure` has the reason then."""
        async with anyio.create_task_group() as calls:
            while True:
                await anyio.lowlevel.checkpoint()
                now, wants = anyio.current_time(), self._waiters.wants
                at, what = self._scheduler.next(wants, self._source.gap, now)
                if at > now + EPSILON:
                    with anyio.move_on_after(at - now):
                        await self._waiters.changed.wait()
                    continue
                self._scheduler.begin(what, wants, now)
                request = _Request(what, now, self._waiters.newest_request)
                calls.start_soon(self._run_request, request, calls)
                await request.sent.wait()  # until then the next one can't be sent either

    async def _run_request(self, request: _Request, calls: TaskGroup) -> None:
        try:
            await self._make(request)
        except SmspvaError as error:
            self.failure = self.failure or error
            calls.cancel_scope.cancel()
        finally:
            request.sent.set()
            self._waiters.changed.set()

    async def _make(self, request: _Request) -> None:
        """Make a request and apply its answer or failure; raise what ends the watch."""

        def is_sent() -> None:
            request.asked, request.newest_refresh = anyio.current_time(), self._waiters.newest_request
            self._scheduler.sent(request.what, request.asked, request.newest_refresh)
            request.sent.set()

        failed, new, orders_by = True, 0, math.inf
        try:
            if request.what is None:  # ORDERS
                await self._poll_orders(request, is_sent)
            else:
                new = await self._read_messages(request, request.what, is_sent)
            failed = False
        except (ClientClosed, ClientInUse, JournalError):
            raise
        except Exception as error:  # noqa: BLE001 - a source may raise anything, and an answer may hold anything
            orders_by = await self._fail(request, error)
        finally:
            self._scheduler.end(request.what, anyio.current_time(), failed=failed, new=new, orders_by=orders_by)

    async def _poll_orders(self, request: _Request, is_sent: Callable[[], None]) -> None:
        async def again() -> None:
            self._is_orders_retried = True
            await self._wait_for_slot()

        try:
            rows = self._heard(await self._source.orders(is_sent, again))
        finally:
            self._is_orders_retried = False
        now = anyio.current_time()
        if self._first_poll is None:
            self._first_poll = request.asked
        await self._apply(
            OrdersListed(
                at=self._clock.at(now),
                now=now + self._offset,
                orders=rows,
                skipped=rows.skipped,
                interval=self._interval,
                began=self._began(),
                is_time_certain=self._clock.is_certain,
                expiry_notice=self._expiry_notice,
            )
        )
        self._refused_since = None
        self._waiters.serve_orders(request.newest_refresh)

    async def _read_messages(self, request: _Request, order_id: int, is_sent: Callable[[], None]) -> int:
        """Read an order's messages; return how many new ones there are."""
        rows = self._heard(await self._source.sms(order_id, is_sent, self._wait_for_slot))
        now = anyio.current_time()
        events = await self._apply(
            SmsListed(
                at=self._clock.at(now),
                now=now + self._offset,
                asked=request.asked + self._offset,
                order_id=order_id,
                messages=rows,
                skipped=rows.skipped,
                began=self._began(),
            )
        )
        self._reads += 1
        self._waiters.serve_messages(order_id, request.newest_refresh, self._store.state.seq)
        return sum(isinstance(event, SmsReceived) for event in events)

    async def _fail(self, request: _Request, error: Exception) -> float:
        """Apply a failure; return the moment at which the orders have to be asked for again, and raise a wrong key."""
        self._failures += 1
        now, order_id = anyio.current_time(), request.what
        failed = CallFailed(
            at=self._clock.at(now),
            now=now + self._offset,
            asked=request.asked + self._offset,
            order_id=order_id,
            kind=type(error).__name__,
            message=describe(error),
            no_such_order=isinstance(error, OrderNotFound),
        )
        # While `orders` is tried again, it is not known yet whether this is an outage of one list or of everything.
        if order_id is None or not self._is_orders_retried:
            await self._apply(failed)
        if order_id is not None:
            if isinstance(error, ApiError) and not isinstance(error, RateLimited | OrderNotFound):
                # A refusal is an answer, and may last until the number is active.
                self._waiters.serve_messages(order_id, request.newest_refresh, self._store.state.seq)
            return math.inf
        if not isinstance(error, InvalidKey):
            self._refused_since = None
            return math.inf
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since >= _KEY_IS_WRONG_AFTER - EPSILON:
            raise error
        return self._refused_since + _KEY_IS_WRONG_AFTER

    async def _apply(self, observation: Observation) -> Sequence[Event]:
        events = await self._store.apply(observation)
        self._scheduler.update(self._store.state.tracks)
        return events

    async def _wait_for_slot(self) -> None:
        """Wait until a request that failed may be sent again within polling's share of the pace."""
        while True:
            free = self._scheduler.free_at(self._waiters.wants, self._source.gap)
            if free <= anyio.current_time() + EPSILON:
                break
            await anyio.sleep_until(free)
        self._scheduler.retry(anyio.current_time())

    def _heard(self, answer: Sequence[T]) -> Rows[T]:
        """Return the rows of an answer, and note the server's time."""
        rows = answer if isinstance(answer, Rows) else Rows(answer)
        if rows.date is not None:
            self._clock.correct(rows.date, rows.took)
        return rows

    def _began(self) -> datetime | None:
        """Return the server's time of the watch's first poll, if it was in this run: the earliest that was certain."""
        if self._first_poll is None or self._is_resumed:
            return None
        began = self._clock.earliest_at(self._first_poll)
        if self._clock.is_certain:
            self._certain_began = min(self._certain_began or began, began)
        return self._certain_began or began

    def statistics(self) -> WatchStatistics:
        """Return the present statistics."""
        wants, gap = self._waiters.wants, self._source.gap
        return WatchStatistics(
            orders=len(self._store.state.tracks),
            waiting=self._waiters.counts,
            polls=self._scheduler.polls,
            reads=self._reads,
            failures=self._failures,
            period=self._scheduler.period(wants, gap),
            full_scan=self._scheduler.full_scan(wants, gap),
            flags=dict(self._scheduler.flags),
        )


@define
class _Request:
    """A request on its way."""

    what: int | None
    """`ORDERS`, or the order whose messages are asked for."""
    asked: float
    """The moment at which it was sent last."""
    newest_refresh: int
    """The newest request for a fresh look at that moment."""
    sent: anyio.Event = field(factory=anyio.Event)
