"""Leadership: with a shared journal, one watcher of a fleet leads, which means it polls; the others follow."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import anyio.abc
from attrs import evolve

from smspva_async._concurrency import finish
from smspva_async.errors import InvalidKey, SmspvaError
from smspva_async.journal.shared import (
    Demand,
    DemandChanged,
    LeaderLeft,
    LeaderStatus,
    NameTaken,
    NotLeading,
    RefreshAnswered,
    Restored,
)
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Generator

    from smspva_async._watch.journal_io import ConsumerPositions, JournalReader, StateStore
    from smspva_async._watch.poll_loop import PollLoop
    from smspva_async._watch.scheduler import Waiters
    from smspva_async.journal.shared import News, SharedJournal

_log = logging.getLogger("smspva_async.watch")

_AFTER_LEASE = 0.01
"""Seconds after the end of a lease at which followers try to take it."""
_NO_LEADER = 0.5
"""The longest time until a follower asks again while nobody leads."""
_REPAIRING = 2.0
"""Seconds besides a lease in which a journal may let no process lead, after an outage for instance."""
_RESIGNING = 1.0
"""The longest time that leaving waits for the journal."""


class Leadership:
    """Runs a watch on a shared journal: follows the leader's changes, and polls while this process leads.

    A follower sends its demand to the leader, which adds it to its own waits. A leader that can't renew its lease, or
    whose write is refused, follows again.

    Args:
        journal: The shared journal.
        store: The state of the watch.
        positions: The positions of named consumers.
        reader: Wakes readers.
        waiters: The open waits of this process; while it leads, also those of the others.
        poll_loop: Polls.
        replay: True if a watch that begins here treats messages found on the first poll as new.

    """

    def __init__(
        self,
        journal: SharedJournal,
        store: StateStore,
        positions: ConsumerPositions,
        reader: JournalReader,
        waiters: Waiters,
        poll_loop: PollLoop,
        *,
        replay: bool,
    ) -> None:
        self.leads: bool = False
        """True while this process polls."""
        self.failure: SmspvaError | None = None
        """The error that ended the watch."""
        self.polled: anyio.Event = anyio.Event()
        """Set once `orders` was answered or has failed, here or in another process, and when the watch ends."""
        self._journal = journal
        self._store = store
        self._positions = positions
        self._reader = reader
        self._waiters = waiters
        self._poll_loop = poll_loop
        self._replay = replay
        self._others: _OtherDemand | None = None
        self._leader_left = anyio.Event()
        self._has_leader = self._has_led = self._has_warned = False
        self._leaderless_since = math.inf

    async def run(self) -> None:
        """Follow and lead until cancelled, or until an error ends the watch; it is then in `failure`."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._receive, tasks.cancel_scope)
                while self.failure is None:
                    await self._follow(tasks.cancel_scope)
                    if self.failure is None:
                        await self._lead()
                tasks.cancel_scope.cancel()
        finally:
            self.polled.set()
            await finish(self._resign)

    @contextlib.contextmanager
    def _noting_failure(self) -> Generator[None]:
        try:
            yield
        except SmspvaError as error:
            self.failure = self.failure or error

    async def _resign(self) -> None:
        invalid_key = self.failure.message if isinstance(self.failure, InvalidKey) else None
        if self._has_led:
            # If the journal can't be reached, the lease lapses without this.
            with contextlib.suppress(SmspvaError), anyio.move_on_after(_RESIGNING):
                await self._journal.resign(invalid_key)

    # -- following ---------------------------------------------------------------------------------------------------

    async def _follow(self, scope: anyio.CancelScope) -> None:
        """Follow until this process has the lease, or until an error ends the watch. The scope is that of `run`."""
        self._has_leader, self._leaderless_since = False, math.inf
        self._publish_replica()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_demand, scope)
            with self._noting_failure():  # inside the group, which would wrap the error
                await self._get_lease()
            tasks.cancel_scope.cancel()

    async def _get_lease(self) -> None:
        """Wait until this process has the lease."""
        while True:
            self._leader_left = anyio.Event()
            lease = await self._journal.lead()
            if lease.is_mine:
                return
            status = self._journal.status
            self._store.last_success, self._store.last_failure = status.last_success, status.last_failure
            self._has_leader = lease.seconds_left > 0
            self._publish_replica()
            self._note_time_without_leader()
            wait = lease.seconds_left + _AFTER_LEASE if self._has_leader else min(self._journal.lease / 3, _NO_LEADER)
            with anyio.move_on_after(wait):
                await self._leader_left.wait()

    def _note_time_without_leader(self) -> None:
        """Log a warning once if no process has led for longer than a takeover takes."""
        now = anyio.current_time()
        if self._has_leader:
            self._leaderless_since = math.inf
        else:
            self._leaderless_since = min(self._leaderless_since, now)
            if now - self._leaderless_since > self._journal.lease + _REPAIRING and not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "no process of the fleet polls, and this one may not; start one that may lead",
                    extra={"seconds": now - self._leaderless_since},
                )

    async def _send_demand(self, scope: anyio.CancelScope) -> None:
        sent: Demand | None = None
        with self._noting_failure():
            while True:
                demand = self._waiters.demand
                if demand == sent:
                    await self._waiters.changed.wait()
                else:
                    await self._journal.want(demand)
                    sent = demand
        scope.cancel()

    async def _receive(self, scope: anyio.CancelScope) -> None:
        with self._noting_failure():
            while self.failure is None:
                for news in await self._journal.news():
                    self._handle(news)
                    if isinstance(news, Restored) and self._others is not None:
                        await self._others.load()  # changes of demand may have been lost
                if not self.leads:
                    self._publish_replica()
        scope.cancel()

    def _handle(self, news: News) -> None:
        match news:
            case DemandChanged(member=member, demand=demand):
                if self._others is not None:
                    self._others.update(member, demand)
            case RefreshAnswered(token=token, read_at=read_at):
                self._publish_replica()  # the events that were found before the answer
                self._waiters.answered(token, read_at)
            case NameTaken(name=name):
                self._positions.lose(name)
            case LeaderLeft(invalid_key=message):
                self._leader_left.set()
                if message is not None:
                    self.failure = InvalidKey(message)
            case Restored():
                self._positions.write_again()

    def _publish_replica(self) -> None:
        """Publish the events and the state that the leader has written."""
        state = self._journal.state
        if state is None or self.leads:
            return
        if state is not self._store.state:
            self._store.resume(state)
        # Without a leader, the state may be of an earlier watch.
        if self._has_leader and (state.since is not None or state.failing_since is not None):
            self.polled.set()

    # -- leading -----------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Poll until the lease is lost, or until an error ends the watch."""
        try:
            async with anyio.create_task_group() as tasks:
                self._others = _OtherDemand(self._journal, self._reader, self._waiters, tasks)
                tasks.start_soon(self._renew, tasks.cancel_scope)
                with self._noting_failure(), contextlib.suppress(NotLeading):
                    state = await self._journal.take_over() or WatchState()
                    if state.since is None:
                        state = evolve(state, replay=self._replay)
                    self.leads = self._has_led = True
                    await self._others.load()
                    await self._poll_loop.start(state)
                    self.polled.set()
                    await self._poll_loop.run()
                    self.failure = self.failure or self._poll_loop.failure
                tasks.cancel_scope.cancel()
        finally:
            self.leads = False
            if self._others is not None:
                self._others.close()
            self._others = None

    async def _renew(self, scope: anyio.CancelScope) -> None:
        """Renew the lease; cancel the scope if that isn't possible in time."""
        while True:
            began, is_mine = anyio.current_time(), False
            with anyio.move_on_after(self._journal.lease * 2 / 3), self._noting_failure():
                is_mine = (await self._journal.lead(self._status())).is_mine
            if not is_mine:
                scope.cancel()
                return
            await anyio.sleep_until(began + self._journal.lease / 3)

    def _status(self) -> LeaderStatus:
        statistics = self._poll_loop.statistics()
        return LeaderStatus(statistics.period, statistics.full_scan, self._store.last_success, self._store.last_failure)


class _OtherDemand:
    """The demands of the other processes, which the leader adds to its own waits.

    Args:
        journal: Takes the answers to refresh requests.
        reader: Wakes when a refresh request may be answered.
        waiters: The leader's open waits.
        tasks: Runs a task for each refresh request.

    """

    def __init__(
        self, journal: SharedJournal, reader: JournalReader, waiters: Waiters, tasks: anyio.abc.TaskGroup
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._waiters = waiters
        self._tasks = tasks
        self._is_closed = False
        self._demands: dict[str, Demand] = {}
        self._updates: Counter[str] = Counter()
        self._waits: dict[str, contextlib.ExitStack] = {}
        self._refreshes: dict[tuple[str, str], anyio.CancelScope] = {}
        """The scope of each open refresh request, by member and token."""

    async def load(self) -> None:
        """Replace the demands of all members by those that the journal has."""
        before = self._updates.copy()
        demands = await self._journal.wants()
        if self._is_closed:
            return
        for member in self._demands.keys() | demands.keys():
            if self._updates[member] == before[member]:  # otherwise its news was newer
                self.update(member, demands.get(member))

    def update(self, member: str, demand: Demand | None) -> None:
        """Replace a member's demand; None: it has none. A member that repeats its demand may have missed answers."""
        waits, wanted = contextlib.ExitStack(), demand or Demand()
        is_repeated = self._demands.get(member) == wanted
        self._demands[member] = wanted
        self._updates[member] += 1
        for order_id in wanted.messages:
            waits.enter_context(self._waiters.waiting_for_message(order_id))
        for order_id in wanted.states:
            waits.enter_context(self._waiters.waiting_for_state(order_id))
        kept = frozenset[str]() if is_repeated else wanted.refreshes.keys()
        for asked in [key for key in self._refreshes if key[0] == member and key[1] not in kept]:
            self._refreshes.pop(asked).cancel()
        for token, order_id in wanted.refreshes.items():
            if (member, token) not in self._refreshes:
                scope = self._refreshes[member, token] = anyio.CancelScope()
                self._tasks.start_soon(self._refresh, token, order_id, scope)
        self._waits.pop(member, contextlib.ExitStack()).close()
        self._waits[member] = waits

    def close(self) -> None:
        """End all waits, and enter no others."""
        self._is_closed = True
        for waits in self._waits.values():
            waits.close()

    async def _refresh(self, token: str, order_id: int, scope: anyio.CancelScope) -> None:
        is_listed = is_read = False
        with scope, contextlib.suppress(SmspvaError), self._waiters.refreshing(order_id) as request:
            while not (is_listed and is_read):
                if request.orders_listed and not is_listed:
                    is_listed = True
                    await self._journal.tell(RefreshAnswered(token, None))
                elif request.read_at is not None and not is_read:
                    is_read = True
                    await self._journal.tell(RefreshAnswered(token, request.read_at))
                elif not await self._reader.change():
                    return
