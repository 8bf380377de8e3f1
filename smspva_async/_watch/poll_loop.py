"""The poll loop of a watch: makes one request after another and applies the answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
import anyio.lowlevel
from attrs import define, evolve, field

from smspva_async._operations import Poll
from smspva_async._server_clock import EPSILON, ServerClock
from smspva_async._watch.diff import CallFailed, OrdersListed, SmsListed
from smspva_async._watch.scheduler import ORDERS, RefreshRequest, Scheduler
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
from smspva_async.journal.shared import NotLeading
from smspva_async.models import Rows
from smspva_async.statistics import WatchStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from anyio.abc import TaskGroup

    from smspva_async._operations import Observer
    from smspva_async._watch.diff import Observation
    from smspva_async._watch.journal_io import StateStore
    from smspva_async._watch.scheduler import Waiters
    from smspva_async._watch.source import PolledSource
    from smspva_async.events import Event
    from smspva_async.journal.state import WatchState

T = TypeVar("T")

_KEY_IS_WRONG_AFTER = 10.0
"""Seconds for which every poll must be refused with `InvalidKey` before that ends the watch."""


class PollLoop:
    """Polls a source and applies the answers.

    Args:
        source: The source.
        store: Applies observations.
        waiters: The open waits of callers.
        interval: Seconds between two polls of the orders.
        eager_interval: Seconds; it sets the shorter periods while a caller waits.
        expiry_notice: The time before an order's `until` at which `OrderExpiring` is reported.

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
        self.observe: Observer = nullcontext
        self._source = source
        self._store = store
        self._waiters = waiters
        self._interval = interval
        self._eager_interval = eager_interval
        self._expiry_notice = expiry_notice
        self._reads = self._failures = 0
        self._is_orders_retried = False
        self._key_refused_since: float | None = None
        self._current: Scheduler | None = None

    async def start(self, state: WatchState) -> None:
        """Continue from a state, and make the first poll. An error that ends the watch is raised.

        In a fleet this is called each time that the process begins to lead.
        """
        now = anyio.current_time()
        self._clock = ServerClock()
        self._offset = state.clock - now
        self._is_resumed = state.since is not None
        self._key_refused_since = None
        before = self._current
        self._current = Scheduler(now, interval=self._interval, eager_interval=self._eager_interval)
        if before is not None:
            self._scheduler.polls, self._scheduler.flags = before.polls, before.flags
        self._store.resume(evolve(state, next_expiry=None))  # the expiry notice of this run may be another
        self._scheduler.update(state.tracks)
        self._scheduler.record_chosen(ORDERS, self._waiters.wants, now)
        await self._make(_Request(ORDERS, now))

    @property
    def _scheduler(self) -> Scheduler:
        """The scheduler that `start` made."""
        return cast("Scheduler", self._current)

    async def run(self) -> None:
        """Poll until cancelled, until another process leads, or until an error ends the watch (see `failure`)."""
        async with anyio.create_task_group() as calls:
            while True:
                await anyio.lowlevel.checkpoint()
                now, wants = anyio.current_time(), self._waiters.wants
                at, target = self._scheduler.next(wants, self._source.gap, now)
                if at > now + EPSILON:
                    with anyio.move_on_after(at - now):
                        await self._waiters.changed.wait()
                    continue
                self._scheduler.record_chosen(target, wants, now)
                request = _Request(target, now)
                calls.start_soon(self._run_request, request, calls)
                await request.sent.wait()  # the client can't send the next one earlier either

    async def _run_request(self, request: _Request, calls: TaskGroup) -> None:
        try:
            await self._make(request)
        except NotLeading:
            calls.cancel_scope.cancel()
        except SmspvaError as error:
            self.failure = self.failure or error
            calls.cancel_scope.cancel()
        finally:
            request.sent.set()
            self._waiters.changed.set()

    async def _make(self, request: _Request) -> None:
        """Make a request and apply its answer or failure. An error that ends the watch is raised."""

        def on_send() -> None:
            request.sent_at, request.refreshes = anyio.current_time(), self._waiters.refreshes
            self._scheduler.record_sent(request.target, request.sent_at)
            request.sent.set()

        failed, new, poll_again_at = True, 0, math.inf
        with self.observe(request.poll):
            try:
                if request.target is None:  # ORDERS
                    await self._poll_orders(request, on_send)
                else:
                    new = await self._read_messages(request, request.target, on_send)
                failed = False
            except (ClientClosed, ClientInUse, JournalError):
                raise
            except Exception as error:  # noqa: BLE001 - a source may raise anything, and an answer may hold anything
                request.poll.failure = type(error).__name__
                await self._apply_failure(request, error)
                if request.target is None:  # ORDERS
                    poll_again_at = self._check_key(error)
            finally:
                now = anyio.current_time()
                self._scheduler.record_end(request.target, now, failed=failed, new=new, poll_again_at=poll_again_at)

    async def _poll_orders(self, request: _Request, on_send: Callable[[], None]) -> None:
        async def before_retry() -> None:
            self._is_orders_retried = True
            await self._before_retry()

        try:
            rows = self._rows(await self._source.orders(on_send, before_retry))
        finally:
            self._is_orders_retried = False
        now = anyio.current_time()
        if self._clock.first_poll is None and not self._is_resumed:
            self._clock.first_poll = request.sent_at
        await self._apply(
            request,
            OrdersListed(
                at=self._clock.at(now),
                now=now + self._offset,
                orders=rows,
                skipped=rows.skipped,
                interval=self._interval,
                began=self._clock.began(),
                is_time_certain=self._clock.is_certain,
                expiry_notice=self._expiry_notice,
            ),
        )
        self._key_refused_since = None
        self._waiters.orders_listed(request.refreshes)

    async def _read_messages(self, request: _Request, order_id: int, on_send: Callable[[], None]) -> int:
        """Read an order's messages; return the number of new ones."""
        rows = self._rows(await self._source.sms(order_id, on_send, self._before_retry))
        now = anyio.current_time()
        events = await self._apply(
            request,
            SmsListed(
                at=self._clock.at(now),
                now=now + self._offset,
                requested_at=request.sent_at + self._offset,
                order_id=order_id,
                messages=rows,
                skipped=rows.skipped,
                began=self._clock.began(),
            ),
        )
        self._reads += 1
        self._waiters.messages_read(order_id, request.refreshes, self._store.state.seq)
        return sum(isinstance(event, SmsReceived) for event in events)

    async def _apply_failure(self, request: _Request, error: Exception) -> None:
        self._failures += 1
        now, order_id = anyio.current_time(), request.target
        # While `orders` is being retried, this may be an outage of one list or of everything.
        if order_id is None or not self._is_orders_retried:
            await self._apply(
                request,
                CallFailed(
                    at=self._clock.at(now),
                    now=now + self._offset,
                    requested_at=request.sent_at + self._offset,
                    order_id=order_id,
                    kind=type(error).__name__,
                    message=describe(error),
                    no_such_order=isinstance(error, OrderNotFound),
                ),
            )
        is_refusal = isinstance(error, ApiError) and not isinstance(error, RateLimited | OrderNotFound)
        if order_id is not None and is_refusal:
            # A refusal is an answer. The provider may repeat it until the number is active.
            self._waiters.messages_read(order_id, request.refreshes, self._store.state.seq)

    def _check_key(self, error: Exception) -> float:
        """Return the moment to poll again if the key was refused; raise the error if it was refused for too long."""
        if not isinstance(error, InvalidKey):
            self._key_refused_since = None
            return math.inf
        now = anyio.current_time()
        if self._key_refused_since is None:
            self._key_refused_since = now
        elif now - self._key_refused_since >= _KEY_IS_WRONG_AFTER - EPSILON:
            raise error
        return self._key_refused_since + _KEY_IS_WRONG_AFTER

    async def _apply(self, request: _Request, observation: Observation) -> Sequence[Event]:
        events = await self._store.apply(observation)
        request.poll.events += events
        self._scheduler.update(self._store.state.tracks)
        return events

    async def _before_retry(self) -> None:
        """Wait until a request that failed may be sent again within polling's share of the pace."""
        while True:
            free = self._scheduler.free_at(self._waiters.wants, self._source.gap)
            if free <= anyio.current_time() + EPSILON:
                break
            await anyio.sleep_until(free)
        self._scheduler.record_retry(anyio.current_time())

    def _rows(self, answer: Sequence[T]) -> Rows[T]:
        """Return an answer as `Rows`, and correct the clock by its ``Date``."""
        rows = answer if isinstance(answer, Rows) else Rows(answer)
        if rows.date is not None:
            self._clock.correct(rows.date, rows.took)
        return rows

    def statistics(self) -> WatchStatistics:
        """Return the current statistics. The periods are 0 before the first poll."""
        wants, gap, scheduler = self._waiters.wants, self._source.gap, self._current
        return WatchStatistics(
            orders=len(self._store.state.tracks),
            waiting=self._waiters.counts,
            polls=0 if scheduler is None else scheduler.polls,
            reads=self._reads,
            failures=self._failures,
            period=0.0 if scheduler is None else scheduler.period(wants, gap),
            full_scan=0.0 if scheduler is None else scheduler.full_scan(wants, gap),
            flags={"announced": 0, "unannounced": 0} if scheduler is None else dict(scheduler.flags),
        )


@define
class _Request:
    """A request in flight."""

    target: int | None
    """`ORDERS`, or the order whose messages are read."""
    sent_at: float
    """The moment at which it was last sent."""
    refreshes: Iterable[RefreshRequest] = ()
    """The callers' refresh requests that were open at that moment. Its answer serves them."""
    sent: anyio.Event = field(factory=anyio.Event)
    """Set when it is first sent."""
    poll: Poll = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.poll = Poll("orders" if self.target is None else "sms", self.target)
