"""The poll loop: which call of a watch comes next."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from smspva_async._watch.budget import HAIR
from smspva_async._watch.collector import Collector
from smspva_async._watch.keeper import Keeper
from smspva_async._watch.plan import ReadQueue, plan, turns_of_all
from smspva_async._watch.schedule import Schedule
from smspva_async.errors import SmspvaError, WatcherClosed
from smspva_async.statistics import WatchStatistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence

    from anyio.abc import TaskGroup

    from smspva_async._state import State
    from smspva_async._watch.demand import Demand
    from smspva_async._watch.feed import Feed
    from smspva_async._watch.keeper import Kept
    from smspva_async._watch.plan import Read
    from smspva_async._watch.recorder import Recorder
    from smspva_async._watch.source import PolledSource

__all__ = ["Poller"]

_log = logging.getLogger("smspva_async")

_SLOW_ANSWER = 1.5
_NEARLY = 0.9


class Poller:
    """Polls a source.

    Args:
        source: What to poll.
        recorder: What takes the answers in.
        demand: Who waits for what.
        feed: Who is to be told of the end.
        interval: Seconds between two polls of the orders.
        eager_interval: The same while a message is waited for; three times that while only a state is.

    """

    def __init__(
        self,
        source: PolledSource,
        recorder: Recorder,
        demand: Demand,
        feed: Feed,
        *,
        interval: float,
        eager_interval: float,
    ) -> None:
        self.failure: SmspvaError | None = None
        """What ended the loop."""
        self.leaving = False
        """Whether the loop is to end."""
        self._recorder = recorder
        self._demand = demand
        self._feed = feed
        self._schedule = Schedule(source, demand, interval=interval, eager_interval=eager_interval)
        self._collector = Collector(source, recorder, demand, self._schedule)
        self._queue = ReadQueue()
        self._turn = self._in_a_row = 0
        self._keeper = Keeper()
        self._calls: TaskGroup | None = None

    # -- what others do to it ----------------------------------------------------------------------------------------

    async def begin(self, state: State) -> None:
        """Go on from a state, and make the first poll; raise what makes a second one pointless."""
        self._collector.begin()
        self._schedule.begin()
        self._recorder.resume(state)
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
    def keeping_active(self, order_id: int) -> Generator[Kept]:
        """Have a number activated whenever it is down."""
        with self._keeper.keeping(order_id) as kept:
            self._keep_active()
            yield kept

    def _keep_active(self) -> None:
        if self._calls is None:
            return
        for order_id, kept in self._keeper.due(self._recorder.orders, anyio.current_time()):
            self._calls.start_soon(self._collector.activate, order_id, kept)

    def statistics(self) -> WatchStatistics:
        """Return how things stand."""
        tracks, quota = self._recorder.state.tracks, self._schedule.quota
        self._queue.take_in(tracks)
        turns = turns_of_all(self._queue.sizes(self._demand.messages.keys()))
        return WatchStatistics(
            orders=len(tracks),
            waiting={"message": self._demand.messages.total(), "state": self._demand.states.total()},
            polls=self._collector.polls,
            reads=self._collector.reads,
            failures=self._collector.failures,
            period=quota.period,
            turn=quota.bound(turns, flags_rise=False),
            worst_case=quota.bound(turns, flags_rise=True),
        )

    # -- the orders --------------------------------------------------------------------------------------------------

    async def _sleep(self) -> None:
        """Sleep until the next poll of the orders is due."""
        while (left := self._due() - anyio.current_time()) > 0:
            with anyio.move_on_after(left):
                await self._demand.rise()

    def _due(self) -> float:
        return self._schedule.due(at_once=self._demand.wants_orders and not self._collector.polling)

    async def _ask_for_orders(self, calls: TaskGroup) -> None:
        """Begin a tick. An answer that is long in coming doesn't keep messages from being read meanwhile."""
        self._schedule.tick()
        if self._collector.polling:
            return
        done = await self._begin(calls, self._poll_orders)
        self._schedule.tick()
        # Whatever the answer takes, there is time for a reading before the next.
        quota = self._schedule.quota
        longest = _NEARLY * (quota.period - quota.gap)
        with anyio.move_on_after(min(max(_SLOW_ANSWER, quota.period / 2), longest)):
            await done.wait()

    async def _poll_orders(self, begun: Callable[[], None]) -> None:
        if await self._collector.poll_orders(begun):
            self._keep_active()

    # -- the messages ------------------------------------------------------------------------------------------------

    async def _read_lists(self, calls: TaskGroup) -> None:
        """Read messages until the next poll is due; what isn't begun by then is planned anew."""
        self._queue.take_in(self._recorder.state.tracks)
        planned = self._plan()
        self._collector.reads_fail = False
        last = -math.inf
        for read, among_flagged in self._as_due(planned):
            if read.order_id in self._collector.reading:
                continue
            # Risen flags are read before somebody who waits has the orders asked for again.
            due = self._schedule.due_by_interval if among_flagged else self._due
            if not await self._may_read(last, due, among_flagged=among_flagged):
                return
            last = await self._begin_read(calls, read, due)
            if self._collector.reads_fail and self._recorder.state.failing_since is not None:
                return  # the server as a whole is down

    def _plan(self) -> list[Read]:
        now, quota = anyio.current_time(), self._schedule.quota

        def fitting(due: float) -> int:
            return len(self._queue) if quota.gap == 0 else max(1, int((due - now) / quota.gap))

        turns = min(len(self._queue), quota.turns_per_poll)
        return plan(
            self._queue,
            self._demand.messages.keys(),
            fits=min(fitting(self._due()), math.ceil(turns)),
            flagged_fit=fitting(self._schedule.due_by_interval()),
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
            while put_off and (not flagged or self._schedule.is_turn_due()):
                yield put_off.popleft(), flagged > 0
            if read.flagged:
                flagged -= 1
                yield read, True
        yield from ((read, False) for read in put_off)

    async def _may_read(self, last: float, due: Callable[[], float], *, among_flagged: bool) -> bool:
        """Wait until polling's share of the pace allows a reading; return False if the next poll is due sooner."""
        while True:
            allowed = self._schedule.urgent_from() if among_flagged else self._schedule.in_turn_from()
            now, gap = anyio.current_time(), self._schedule.quota.gap
            # A reading that would still hold up the next poll has time after it.
            if max(now, last + gap, allowed) + gap > due() + HAIR:
                return False
            if allowed <= now:
                return True
            with anyio.move_on_after(allowed - now):
                await self._demand.rise()

    async def _begin_read(self, calls: TaskGroup, read: Read, due: Callable[[], float]) -> float:
        """Read a list, or leave it to itself if it is long in coming; return when the reading began."""
        if read.flagged:
            self._in_a_row += 1
        else:
            self._turn += 1
            self._in_a_row = 0
            self._schedule.note_in_turn()
        done = await self._begin(calls, partial(self._collector.read_messages, read.order_id))
        began = anyio.current_time()
        # A list that doesn't come delays the others by no more than this, and the next poll not at all.
        with anyio.move_on_after(max(min(_SLOW_ANSWER, due() - began), self._schedule.quota.gap)):
            await done.wait()
        return began

    # -- calls -------------------------------------------------------------------------------------------------------

    async def _begin(self, calls: TaskGroup, call: Callable[[Callable[[], None]], Awaitable[None]]) -> anyio.Event:
        """Return when the request of a call begins; the event tells when the call is done."""
        begun, done = anyio.Event(), anyio.Event()
        calls.start_soon(self._call, calls, call, begun, done)
        await begun.wait()
        return done

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
