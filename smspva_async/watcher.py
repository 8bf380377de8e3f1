"""The watcher: polls an account and reports changes as events to iterate over and to wait for.

The poll loop writes to a journal, from which every subscription and every wait reads independently.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import anyio
from attrs import evolve

from smspva_async._api import validation
from smspva_async._concurrency import BackgroundTask, finish
from smspva_async._operations import Wait
from smspva_async._watch.activation import ActivationManager
from smspva_async._watch.journal_io import EVERYTHING, ConsumerPositions, JournalReader, StateStore
from smspva_async._watch.leadership import Leadership
from smspva_async._watch.poll_loop import PollLoop
from smspva_async._watch.scheduler import Waiters
from smspva_async._watch.source import PlainSource
from smspva_async._watch.subscription import Consumer, Subscription
from smspva_async._watch.waits import Waits
from smspva_async.client import SmspvaClient, fleet_journal, polled_client
from smspva_async.errors import JournalError, SmspvaError, WatcherClosed
from smspva_async.events import Event, SmsReceived
from smspva_async.journal import MemoryJournal, WatchState
from smspva_async.journal.shared import shared
from smspva_async.models import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from smspva_async._operations import Observer
    from smspva_async._watch.activation import ActiveNumber
    from smspva_async._watch.source import PolledSource, Source
    from smspva_async.journal import Journal
    from smspva_async.models import Order, Sms
    from smspva_async.statistics import WatchStatistics

__all__ = ["Watcher"]

_log = logging.getLogger("smspva_async.watch")

_SHORTEST_DEADLINE = 60.0
_LAST_WRITE = 5.0
_SHORTEST_INTERVAL = 0.01
_LONGEST_INTERVAL = 365 * 86_400.0
_CALLS = ("orders", "sms", "activate")


class Watcher:
    """Polls the orders of an account and their messages, and reports what changes.

    Use it as an async context manager: entering makes the first poll, leaving ends every iterator and wait. On asyncio
    it may be left in another task than it was entered in. A server that fails doesn't end the watch. These do: a key
    that is refused at every poll for ten seconds, a client that is closed or used in another event loop, and a journal
    that fails. Then iterators, waits and the context itself raise that error.

    Args:
        source: A `SmspvaClient`, or any other `Source`.
        interval: Seconds between two polls. The provider's own page refreshes every 30 seconds (rental page).
        eager_interval: Seconds; it sets the shorter periods while a caller waits. A list of messages that is waited for
            is read once per ``eager_interval / 2`` at most. The orders are polled once per ``3 * eager_interval`` while
            a caller waits for a state, or for an order that isn't listed yet, and once per ``eager_interval`` while
            callers wait for messages of more than two orders and `Order.has_new_sms` was seen to work.
        journal: The journal that keeps events and state; None keeps them in memory, or in the client's fleet.
        start: ``"baseline"`` treats messages found on the first poll as known, ``"replay"`` as new. If the journal has
            a state already, the watch continues from it instead.
        expiry_notice: The time before an order's `until` at which `OrderExpiring` is reported; None: never.

    Raises:
        ValueError: A setting is invalid.
        JournalError: On entering: the journal can't be used; `JournalLocked` if another watcher uses it.
        RuntimeError: On entering a second time.
        SmspvaError: On leaving: the error that ended the watch, unless another exception is raised there already.

    """

    def __init__(
        self,
        source: Source,
        *,
        interval: float = 30.0,
        eager_interval: float = 3.0,
        journal: Journal | None = None,
        start: Literal["baseline", "replay"] = "baseline",
        expiry_notice: timedelta | None = timedelta(days=1),
    ) -> None:
        for name, seconds in (("the interval", interval), ("the eager interval", eager_interval)):
            if not _SHORTEST_INTERVAL <= validation.seconds(name, seconds) <= _LONGEST_INTERVAL:
                raise ValueError(
                    f"{name} must be between {_SHORTEST_INTERVAL} and {_LONGEST_INTERVAL:.0f} seconds, got {seconds!r}"
                )
        if start not in ("baseline", "replay"):
            raise ValueError(f"start must be 'baseline' or 'replay', got {start!r}")
        if isinstance(journal, type) or not (journal is None or hasattr(journal, "append")):
            raise ValueError(f"journal must be a journal such as SqliteJournal('x.db'), got {journal!r}")
        if not (expiry_notice is None or (isinstance(expiry_notice, timedelta) and expiry_notice >= timedelta(0))):
            raise ValueError(f"expiry_notice must be a timedelta of 0 or more, or None, got {expiry_notice!r}")
        fleet = fleet_journal(source)
        if fleet is not None and journal is not None:
            raise ValueError("the client's fleet has the journal; don't pass another one")
        self._journal: Journal = fleet or MemoryJournal() if journal is None else journal
        shared_journal = shared(self._journal)
        self._source = _polled(source, max(2 * interval, _SHORTEST_DEADLINE))
        self._reader = JournalReader(self._journal)
        self._positions = ConsumerPositions(self._journal, self._reader, shared_journal)
        self._store = StateStore(self._journal, self._positions, self._reader, shared_journal)
        self._waiters = Waiters(self._reader)
        self._waits = Waits(self._store, self._reader)
        self._activations = ActivationManager(
            self._source, self._store, self._reader, self._waiters, self._waits, shared_journal
        )
        self._poll_loop = PollLoop(
            self._source,
            self._store,
            self._waiters,
            interval=interval,
            eager_interval=eager_interval,
            expiry_notice=expiry_notice,
        )
        self._shared = shared_journal
        self._replay = start == "replay"
        self._leadership = None
        if shared_journal is not None:
            self._leadership = Leadership(
                shared_journal,
                self._store,
                self._positions,
                self._reader,
                self._waiters,
                self._poll_loop,
                replay=self._replay,
            )
        self._runner = self._leadership or self._poll_loop
        self._background = BackgroundTask()
        self._first_of_run: int | None = None
        self._is_entered = self._is_left = False

    def __repr__(self) -> str:
        if not self._is_entered:
            return "<Watcher, not entered yet>"
        is_running = "left" if self._is_left else "failed" if self._reader.ended else "running"
        return f"<Watcher, {is_running}: {len(self.orders)} orders, {self.cursor} events>"

    # -- entering and leaving ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a watcher can be entered only once; make a new one")
        self._is_entered = True
        try:
            stored = await self._journal.open(self._source.account)
        except BaseException:
            self._leave()
            raise
        try:
            await self._positions.load()
            if stored is None or stored.since is None:
                state = evolve(stored or WatchState(), replay=self._replay)
                self._first_of_run = state.seq if self._replay else None
            else:
                state, self._first_of_run = stored, stored.seq
            if self._leadership is None:
                await self._poll_loop.start(state)
                await self._background.start(self._run)
            else:
                self._store.resume(state)
                await self._background.start(self._run)
                await self._leadership.polled.wait()
                self._raise_failure()
        except BaseException:
            self._is_left = True
            await self._background.stop()
            self._leave()
            await finish(self._close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_left = True
        try:
            await self._background.stop()
        finally:
            self._leave()
            await finish(self._close)
        if error is None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._runner.failure is not None:
            raise copy.copy(self._runner.failure)

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._activations.run)
                tasks.start_soon(self._positions.run)
                await self._runner.run()
                tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - no task awaits this one
            _log.exception("the watch failed unexpectedly")
            self._runner.failure = SmspvaError(f"the watch failed unexpectedly: {error!r}")
        finally:
            if not self._is_left:
                # The watch failed or was cancelled from outside. Without this, readers would wait for ever.
                self._reader.end(self._runner.failure or WatcherClosed("the watch was cancelled from outside"))

    def _leave(self) -> None:
        self._is_left = True
        self._reader.end(self._runner.failure)

    async def _close(self) -> None:
        try:
            # The poll that failed to write has raised the error already. A locked file is not waited for again.
            with contextlib.suppress(JournalError), anyio.move_on_after(_LAST_WRITE):
                await self._positions.write()
        finally:
            await self._journal.aclose()

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def orders(self) -> Mapping[int, Order]:
        """The orders by id, as last seen. They change together with `cursor`."""
        return self._store.orders

    @property
    def cursor(self) -> int:
        """The `seq` of the newest event. ``events(after=watcher.cursor)`` iterates over the events from now on."""
        return self._store.state.seq

    @property
    def last_success(self) -> datetime | None:
        """The server's time, aware UTC, of the last good poll of the orders; None before the first."""
        return self._store.last_success

    @property
    def leads(self) -> bool:
        """True while this watcher polls: from entering to leaving, or, in a fleet, while this process leads."""
        if self._leadership is None:
            return self._is_entered and not self._reader.ended
        return self._leadership.leads

    def statistics(self) -> WatchStatistics:
        """Return a snapshot of counts and current periods. This also works after leaving.

        Raises:
            WatcherClosed: The watcher is not entered yet.

        """
        self._check_entered()
        statistics = self._poll_loop.statistics()
        if self.leads or self._shared is None:
            return statistics
        status = self._shared.status
        return evolve(statistics, period=status.period, full_scan=status.full_scan, leads=False)

    def events(self, *, after: int | None = None, order_id: int | None = None) -> Subscription:
        """Return an async iterator of events. Its position is fixed by this call, not by the first read.

        Args:
            after: The `seq` after which to begin: 0 is everything that is kept, `cursor` is from now on, a stored
                number resumes there. None begins after the baseline; with ``start="replay"``, or a journal that had
                a state, before the first event of this run.
            order_id: Return only events about this order.

        Raises:
            WatcherClosed: The watcher is not entered yet, or was left.
            ValueError: `after` isn't a valid position, or `order_id` isn't an order's id.

        """
        self._check_not_left()
        if order_id is not None:
            validation.order_id(order_id)
        return Subscription(self._reader, self._first_of_run if after is None else _position(after), order_id)

    def consumer(self, name: str, *, after: int | None = None, auto_ack: bool = True) -> Consumer:
        """Return an async iterator of events whose position the journal keeps under a name.

        Each event is delivered at least once: after a restart the name continues at the first event that isn't done. A
        second consumer of the same name takes it over; the first one raises `CursorTaken`. After a kill up to 50 events
        that were done are delivered again.

        Args:
            name: The name.
            after: The `seq` after which a new name begins, as for `events`. A name that the journal knows begins at its
                stored position, or at `after` if that is later.
            auto_ack: True: the request for the next event marks the previous one as done. False: `Consumer.ack` does.

        Raises:
            WatcherClosed: The watcher is not entered yet, or was left.
            ValueError: The name isn't a valid string, or `after` isn't a valid position.

        """
        self._check_not_left()
        validation.name(name)
        position = None if after is None else _position(after)
        return Consumer(self._reader, self._positions, name, self._first_of_run, position, auto_ack=auto_ack)

    def _check_entered(self) -> None:
        if not self._is_entered:
            raise WatcherClosed("the watcher is not entered yet; use it in `async with`")

    def _check_not_left(self) -> None:
        self._check_entered()
        if self._is_left:
            raise WatcherClosed("the watcher was left; the next watcher can read the events that the journal keeps")

    def _after(self, after: int | None) -> int:
        """Return the position after which to wait; None: from now on."""
        self._check_entered()
        return self.cursor if after is None else _position(after)

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def wait_for_state(self, order_id: int, state: OrderState, *, timeout: float) -> Order:
        """Wait until an order is in a state, and return the order. The order need not be listed yet.

        Args:
            order_id: The order's id.
            state: The state. If the order was last seen in it, this returns at once.
            timeout: Seconds.

        Raises:
            WaitTimeout: The order didn't reach the state in time.
            OrderGone: The order was removed or has expired.
            Lagged: The journal no longer keeps the events that follow; `Lagged.resume` is the nearest position.
            WatcherClosed: The watcher was left, or is not entered yet.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        validation.order_id(order_id)
        seconds = validation.timeout(timeout)
        wanted = OrderState(state)
        after = self._after(None)
        known = self.orders.get(order_id)
        if known is not None and known.state is wanted and not self._reader.ended:
            return known
        with self._waiters.waiting_for_state(order_id):
            reached = self._waits.first(order_id, after, _in_state(wanted))
            return await self._waits.within(seconds, Wait("state", order_id), f"become {wanted.name}", reached)

    async def wait_for_sms(
        self, order_id: int, *, after: int | None = None, match: Callable[[Sms], bool] | None = None, timeout: float
    ) -> SmsReceived:
        """Wait for a message to an order's number, and return its event.

        Args:
            order_id: The order's id.
            after: The `seq` after which the message may have come; None: from now on.
            match: Returns True for a message to accept; None accepts any.
            timeout: Seconds.

        Raises:
            WaitTimeout: No message came in time. One that comes later is in the events.
            OrderGone: The order was removed or has expired.
            Lagged: The journal no longer keeps the events that follow; `Lagged.resume` is the nearest position.
            WatcherClosed: The watcher was left, or is not entered yet.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        validation.order_id(order_id)
        seconds = validation.timeout(timeout)

        def wanted(event: Event) -> SmsReceived | None:
            return event if isinstance(event, SmsReceived) and (match is None or match(event.sms)) else None

        position = self._after(after)
        with self._waiters.waiting_for_message(order_id):
            received = self._waits.first(order_id, position, wanted)
            return await self._waits.within(seconds, Wait("message", order_id), "receive the message", received)

    def activated(
        self, order_id: int, *, after: int | None = None, timeout: float = 3600.0
    ) -> AbstractAsyncContextManager[ActiveNumber]:
        """Return an async context manager that keeps a number active (`activate`) and returns an `ActiveNumber`.

        Entering polls the orders and reads the order's messages, so that no old message counts as new. Then it
        activates the number if necessary, and returns when it is active. The order need not be listed yet. Inside, a
        number that lapses is activated again: every two minutes while it stays inactive, and after 5 s, 10 s and so on
        up to two minutes while activations fail. Leaving doesn't deactivate the number. Failures don't cancel the
        block; `ActiveNumber.next_sms` raises them.

        Args:
            order_id: The order's id.
            after: The `seq` after which messages count as new, such as a stored `ActiveNumber.cursor`. None: messages
                are new if they come after the reading on entering.
            timeout: Seconds until the number must be active. An activation takes 10 to 15 minutes on average, and
                sometimes much longer (rental page).

        Raises:
            WaitTimeout: The number wasn't active in time.
            OrderGone: The order was removed or has expired.
            ApiError: The provider refused to activate it. With a source other than a client: `SmspvaError`.
            WatcherClosed: The watcher was left, or is not entered yet.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        validation.order_id(order_id)
        self._check_not_left()
        position = None if after is None else _position(after)
        seconds = validation.timeout(timeout)
        return self._activations.session(order_id, position, seconds)


def observe_watch(watcher: Watcher, observer: Observer) -> None:
    """Let an observer measure a watcher's polls and waits."""
    watcher._poll_loop.observe = watcher._waits.observe = observer  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module


def _polled(source: Source, deadline: float) -> PolledSource:
    """Return a source as the poll loop uses it; the deadline of each call is in seconds."""
    # A client whose methods are replaced, by a subclass or a test, is polled through these methods.
    if isinstance(source, SmspvaClient) and all(
        getattr(getattr(source, name), "__func__", None) is getattr(SmspvaClient, name) for name in _CALLS
    ):
        return polled_client(source, deadline)
    return PlainSource(source, deadline)


def _position(after: int) -> int:
    """Return a validated position; 0 is before the oldest event that is kept."""
    if type(after) is not int or after < 0:
        raise ValueError(f"after must be an integer of 0 or more, got {after!r}")
    return after or EVERYTHING


def _in_state(state: OrderState) -> Callable[[Event], Order | None]:
    """Return a function that returns an event's order if the order is in a state, otherwise None."""

    def pick(event: Event) -> Order | None:
        order: Order | None = getattr(event, "order", None)
        return order if order is not None and order.state is state else None

    return pick
