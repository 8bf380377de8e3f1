"""The poll loop: when to ask, and what is kept of the answers."""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections import Counter, deque
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
from attrs import define

from smspva_async._background import finish
from smspva_async._clock import ServerClock
from smspva_async._diff import Failed, NoSuchOrder, Observation, OrdersListed, SmsListed, State, step
from smspva_async._keeper import Keeper, asking
from smspva_async._plan import Budget, Line, plan, turns_of_all
from smspva_async._statistics import WatchStatistics
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    InvalidKey,
    OrderNotFound,
    RateLimited,
    SmspvaError,
    WatcherClosed,
)
from smspva_async.events import Event, PollFailed, PollRecovered
from smspva_async.models import Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
    from datetime import datetime

    from anyio.abc import TaskGroup

    from smspva_async._cursors import Cursors
    from smspva_async._feed import Feed
    from smspva_async._keeper import Kept
    from smspva_async._plan import Read
    from smspva_async._source import PolledSource
    from smspva_async.journal import Journal
    from smspva_async.models import Order

__all__ = ["Poller"]

_log = logging.getLogger("smspva_async")

_SLOW_ANSWER = 1.5
_NEARLY = 0.9
_REFUSALS_TO_END = 2
_HAIR = 1e-6  # of what rounding does to times


@define(eq=False)
class Look:
    """Somebody who wants to know what is there now."""

    order_id: int
    since: int
    """How many requests had begun before."""
    listed: bool = False
    """Whether the orders have been asked for and answered since."""
    read_at: int | None = None
    """The newest event's `seq` once the order's messages had been as well."""


class Poller:
    """Polls a source and writes what it finds to a journal.

    Args:
        source: What to poll.
        journal: Where to.
        cursors: The named cursors, whose places the journal keeps as well.
        feed: Who is to be told.
        interval: Seconds between two polls of the orders.
        eager_interval: The same while a message is waited for; three times that while only a state is.

    """

    def __init__(
        self,
        source: PolledSource,
        journal: Journal,
        cursors: Cursors,
        feed: Feed,
        *,
        interval: float,
        eager_interval: float,
    ) -> None:
        self.state: State = State()
        self.orders: Mapping[int, Order] = MappingProxyType({})
        self.last_success: datetime | None = None
        self.last_failure: str | None = None
        self.failure: SmspvaError | None = None
        """What ended the loop."""
        self.leaving = False
        """Whether the loop is to end."""
        self.message_waits: Counter[int] = Counter()
        self.state_waits: Counter[int] = Counter()
        """How many wait for each order."""
        self._source = source
        self._journal = journal
        self._cursors = cursors
        self._feed = feed
        self._interval = interval
        self._eager_interval = eager_interval
        self._commit = anyio.Lock()
        self._woken = anyio.Event()
        self._polling = self._reads_fail = False
        self._line = Line()
        self._budget = Budget(interval)
        self._turn = self._in_a_row = 0
        self._reading: set[int] = set()
        self._refused = 0
        self._keeper = Keeper()
        self._looks: list[Look] = []
        self._requests = self._orders_begun = 0
        self._polls = self._reads = self._failures = 0
        self._calls: TaskGroup | None = None

    # -- what others do to it ----------------------------------------------------------------------------------------

    async def begin(self, state: State) -> None:
        """Go on from a state, and make the first poll; raise what makes a second one pointless."""
        self._clock = ServerClock()
        self._began = self._ticked = anyio.current_time()
        self._phase = random.uniform(0, self._interval / 10)  # noqa: S311 - spreads load
        self._take(state)
        await self._poll_orders(lambda: None)

    async def run(self) -> None:
        """Poll until cancelled, or until it can't go on; `failure` says why then."""
        try:
            async with anyio.create_task_group() as calls:
                self._calls = calls
                with self._ending(calls):
                    await self._read_lists(calls)
                    while True:
                        await anyio.lowlevel.checkpoint()
                        await self._sleep()
                        await self._ask_for_orders(calls)
                        await self._read_lists(calls)
        finally:
            self._calls = None
            if not self.leaving:
                # Not left, but broken, or cancelled by somebody else: everybody would wait on for ever.
                self.failure = self.failure or WatcherClosed("the watch was cancelled from outside")
                self._feed.end(self.failure)

    @contextlib.contextmanager
    def waiting(self, waits: Counter[int], order_id: int) -> Generator[None]:
        """Have the loop know that somebody waits for an order, and think again when to poll."""
        waits[order_id] += 1
        self._woken.set()
        try:
            yield
        finally:
            waits[order_id] -= 1
            if not waits[order_id]:
                del waits[order_id]

    @contextlib.contextmanager
    def looking(self, order_id: int) -> Generator[Look]:
        """Have the orders asked for, and an order's messages read, by requests that begin from now on."""
        look = Look(order_id, self._requests)
        self._looks.append(look)
        self._woken.set()
        try:
            yield look
        finally:
            self._looks.remove(look)

    @contextlib.contextmanager
    def keeping_active(self, order_id: int) -> Generator[Kept]:
        """Have a number activated whenever it is down."""
        with self._keeper.keeping(order_id) as kept:
            self._keep_active()
            yield kept

    def _keep_active(self) -> None:
        if self._calls is None:
            return
        for order_id, kept in self._keeper.due(self.orders, anyio.current_time()):
            self._calls.start_soon(self._activate, order_id, kept)

    async def _activate(self, order_id: int, kept: Kept) -> None:
        try:
            with asking(kept):
                await self._source.activate(order_id)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self.last_failure = str(error) or type(error).__name__
            self._feed.wake()

    def statistics(self) -> WatchStatistics:
        """Return how things stand."""
        period, gap = self._period(), self._source.gap
        self._line.take_in(self.state.tracks)
        turns = turns_of_all(self._line.sizes(self.message_waits.keys()))
        return WatchStatistics(
            orders=len(self.state.tracks),
            waiting={"message": self.message_waits.total(), "state": self.state_waits.total()},
            polls=self._polls,
            reads=self._reads,
            failures=self._failures,
            period=period,
            turn=self._budget.seconds(turns, period, gap, flags_rise=False),
            worst_case=self._budget.seconds(turns, period, gap, flags_rise=True),
        )

    # -- when --------------------------------------------------------------------------------------------------------

    async def _sleep(self) -> None:
        """Sleep until the next poll of the orders is due."""
        while (left := self._due() - anyio.current_time()) > 0:
            with anyio.move_on_after(left):
                await self._woken.wait()
                self._woken = anyio.Event()

    def _period(self) -> float:
        """Return the seconds between two polls as things stand."""
        gap = self._source.gap
        eager = max(self._eager_interval, 2 * gap)
        if not self.message_waits:
            eager = 3 * eager if self.state_waits else math.inf
        return self._budget.period(min(self._interval, eager), gap)

    def _due(self) -> float:
        """Return when the orders are to be polled next: on the grid, or sooner if somebody waits."""
        gap = self._source.gap
        period = self._period()
        if not self._polling and any(look.since >= self._orders_begun for look in self._looks):
            due = self._ticked + 2 * gap
        else:
            due = self._due_by_interval() if period >= self._interval else self._ticked + period
        return max(due, self._budget.orders_from(anyio.current_time(), gap))

    def _due_by_interval(self) -> float:
        """Return the same if nobody waits: by the interval, which the pace may draw out."""
        return self._due_on_grid() if self._period() <= self._interval else self._ticked + self._period()

    def _due_on_grid(self) -> float:
        # Never two for ticks missed, by a suspended machine for instance: the next point of the grid is meant.
        # The hair's breadth is for a poll on a point, which rounding may put before it.
        passed = math.floor((self._ticked - self._began + self._phase) / self._interval + _HAIR)
        return self._began + (passed + 1) * self._interval - self._phase

    # -- what --------------------------------------------------------------------------------------------------------

    async def _ask_for_orders(self, calls: TaskGroup) -> None:
        """Begin a tick. An answer that is long in coming doesn't keep messages from being read meanwhile."""
        self._ticked = anyio.current_time()
        if self._polling:
            return
        begun, done = anyio.Event(), anyio.Event()
        calls.start_soon(self._call, calls, self._poll_orders, begun, done)
        await begun.wait()
        self._ticked = anyio.current_time()
        # Whatever the answer takes, there is time for a reading before the next.
        period = self._period()
        with anyio.move_on_after(min(max(_SLOW_ANSWER, period / 2), _NEARLY * (period - self._source.gap))):
            await done.wait()

    async def _read_lists(self, calls: TaskGroup) -> None:
        """Read messages until the next poll is due; what isn't begun by then is planned anew."""
        self._line.take_in(self.state.tracks)
        planned = self._plan()
        self._reads_fail = False
        last = -math.inf
        for read, among_flagged in self._as_due(planned):
            if read.order_id in self._reading:
                continue
            # Risen flags are read before somebody who waits has the orders asked for again.
            due = self._due_by_interval if among_flagged else self._due
            if not await self._may_read(last, due, among_flagged=among_flagged):
                return
            last = await self._begin_read(calls, read, due)
            if self._reads_fail and self.state.failing_since is not None:
                return  # the server as a whole is down

    def _plan(self) -> list[Read]:
        now, gap = anyio.current_time(), self._source.gap

        def fitting(due: float) -> int:
            return len(self._line) if gap == 0 else max(1, int((due - now) / gap))

        turns = min(len(self._line), self._budget.turns_per_poll(self._period(), gap))
        return plan(
            self._line,
            self.message_waits.keys(),
            fits=min(fitting(self._due()), math.ceil(turns)),
            flagged_fit=fitting(self._due_by_interval()),
            turn=self._turn,
            in_a_row=self._in_a_row,
        )

    def _as_due(self, planned: Sequence[Read]) -> Iterator[tuple[Read, bool]]:
        """Yield the readings, and whether each is among flagged ones, where one in turn waits until it is due."""
        flagged = sum(read.flagged for read in planned)
        put_off: deque[Read] = deque()
        for read in planned:
            if not read.flagged:
                put_off.append(read)
            while put_off and (not flagged or self._is_turn_due()):
                yield put_off.popleft(), flagged > 0
            if read.flagged:
                flagged -= 1
                yield read, True
        yield from ((read, False) for read in put_off)

    def _is_turn_due(self) -> bool:
        now = anyio.current_time()
        return self._budget.in_turn_from(now, self._source.gap, self._period()) <= now

    async def _may_read(self, last: float, due: Callable[[], float], *, among_flagged: bool) -> bool:
        """Wait until polling's share of the pace allows a reading; return False if the next poll is due sooner."""
        while True:
            now, gap = anyio.current_time(), self._source.gap
            allowed = self._budget.read_from(now, gap, self._period(), flagged=among_flagged)
            # A reading that would still hold up the next poll has time after it.
            if max(now, last + gap, allowed) + gap > due() + _HAIR:
                return False
            if allowed <= now:
                return True
            with anyio.move_on_after(allowed - now):
                await self._woken.wait()
                self._woken = anyio.Event()

    async def _begin_read(self, calls: TaskGroup, read: Read, due: Callable[[], float]) -> float:
        """Read a list, or leave it to itself if it is long in coming; return when the reading began."""
        if read.flagged:
            self._in_a_row += 1
        else:
            self._turn += 1
            self._in_a_row = 0
            self._budget.note_in_turn(anyio.current_time(), self._source.gap, self._period())
        begun, done = anyio.Event(), anyio.Event()
        calls.start_soon(self._call, calls, partial(self._read_list, read.order_id), begun, done)
        await begun.wait()
        began = anyio.current_time()
        # A list that doesn't come delays the others by no more than this, and the next poll not at all.
        with anyio.move_on_after(max(min(_SLOW_ANSWER, due() - began), self._source.gap)):
            await done.wait()
        return began

    async def _call(
        self,
        calls: TaskGroup,
        call: Callable[[Callable[[], None]], Awaitable[None]],
        begun: anyio.Event,
        done: anyio.Event,
    ) -> None:
        with self._ending(calls):
            try:
                await call(begun.set)
            finally:
                begun.set()
                done.set()

    @contextlib.contextmanager
    def _ending(self, calls: TaskGroup) -> Generator[None]:
        """End the loop if what is done inside fails for good."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - nobody awaits this task; whoever waits for events has to be told
            if not isinstance(error, SmspvaError):
                _log.exception("the watch has broken")
                error = SmspvaError(f"the watch has broken: {error!r}")
            self.failure = self.failure or error
            calls.cancel_scope.cancel()

    async def _poll_orders(self, begun: Callable[[], None]) -> None:
        self._polling = True
        try:
            await self._take_orders(begun)
        finally:
            self._polling = False

    async def _take_orders(self, begun: Callable[[], None]) -> None:
        asked_at = self._clock.now()

        def begins() -> None:
            self._orders_begun = self._begin_request()
            begun()

        try:
            orders = await self._source.orders(begins, self._may_ask_again)
            rows = orders if isinstance(orders, Rows) else Rows(orders)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            await self._take_failure(error, None)
            return
        self._refused = 0
        self._polls += 1
        if rows.date is not None:
            self._clock.hear(rows.date, rows.took)
            asked_at = rows.date - timedelta(seconds=rows.took)
        self.last_success = self._clock.now()
        if not (self._budget.flags_work or rows.repeated):
            self._budget.flags_work = any(order.has_new_sms for order in rows)
        await self._take_in(
            OrdersListed(
                at=self.last_success,
                asked_at=asked_at,
                orders=rows,
                skipped=rows.skipped,
                interval=timedelta(seconds=self._interval),
            )
        )
        self._keep_active()
        for look in self._looks:
            look.listed = look.listed or self._orders_begun > look.since
        if self._looks:
            self._feed.wake()

    def _begin_request(self) -> int:
        self._budget.note(anyio.current_time())
        self._requests += 1
        return self._requests

    async def _may_ask_again(self) -> None:
        """Wait until polling's share of the pace allows another attempt."""
        while True:
            now = anyio.current_time()
            free = self._budget.again_from(now, self._source.gap)
            if free <= now:
                break
            await anyio.sleep_until(free)
        # At once, as others may wait as well; it is counted once more as it leaves, which does no harm.
        self._budget.note(anyio.current_time())

    async def _read_list(self, order_id: int, begun: Callable[[], None]) -> None:
        self._reading.add(order_id)
        try:
            await self._take_list(order_id, begun)
        finally:
            self._reading.discard(order_id)

    async def _take_list(self, order_id: int, begun: Callable[[], None]) -> None:
        asked = anyio.current_time()
        number = 0

        def begins() -> None:
            nonlocal number
            number = self._begin_request()
            begun()

        try:
            messages = await self._source.sms(order_id, begins, self._may_ask_again)
            rows = messages if isinstance(messages, Rows) else Rows(messages)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self._reads_fail = True
            await self._take_failure(error, order_id)
            if isinstance(error, ApiError) and not isinstance(error, RateLimited | OrderNotFound):
                self._tell_lookers(order_id, number)  # a refusal is an answer, and may last until it is active
            return
        self._reads_fail = False
        self._reads += 1
        if rows.date is not None:
            self._clock.hear(rows.date, rows.took)
        at = self._clock.now()
        asked_at = at - timedelta(seconds=anyio.current_time() - asked)
        await self._take_in(SmsListed(at=at, asked_at=asked_at, order_id=order_id, messages=rows, skipped=rows.skipped))
        self._tell_lookers(order_id, number)

    def _tell_lookers(self, order_id: int, number: int) -> None:
        for look in self._looks:
            if look.read_at is None and look.order_id == order_id and number > look.since:
                look.read_at = self.state.seq
        if self._looks:
            self._feed.wake()

    # -- what is kept ------------------------------------------------------------------------------------------------

    async def _take_failure(self, error: Exception, order_id: int | None) -> None:
        """Take in a failed poll; raise what ends the watch."""
        if isinstance(error, ClientClosed):
            raise error
        self._failures += 1
        told = str(error) or type(error).__name__
        self.last_failure = told
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
        self._take(state)

    def _take(self, state: State) -> None:
        self.orders = MappingProxyType(state.orders)
        self.state = state
        baseline = _baseline(state)
        if (state.seq, baseline) != (self._feed.newest, self._feed.baseline):
            self._feed.publish(state.seq, baseline)


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
