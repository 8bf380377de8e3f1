"""Numbers that are kept active while somebody uses them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
from attrs import define

from smspva_async._api import validation
from smspva_async.errors import (
    ConnectionFailed,
    Lagged,
    OrderNotFound,
    RateLimited,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
    describe,
)
from smspva_async.events import Event, SmsReceived
from smspva_async.models import OrderState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from smspva_async._watch.reader import JournalReader
    from smspva_async._watch.source import PolledSource
    from smspva_async._watch.store import StateStore
    from smspva_async._watch.waiters import Waiters
    from smspva_async._watch.waits import Waits
    from smspva_async.models import Order, Sms

__all__ = ["ActivationManager", "ActiveNumber", "activated"]

_FIRST_BACKOFF = 5.0
_LONGEST_BACKOFF = 120.0
_UP = (OrderState.ACTIVE, OrderState.ACTIVATING)
# What may be over at the next try. An order that was just bought may not be found at first.
_PASSING = (ConnectionFailed, RequestTimeout, UnexpectedResponse, RateLimited, OrderNotFound, TimeoutError, OSError)


@define
class _Activation:
    """The activation of a number, shared by all sessions. Moments are on anyio's clock."""

    sessions: int = 0
    due: float = 0.0
    """The moment from which it is asked for, while the number is down."""
    failures: int = 0
    """Tries in a row that failed."""
    is_asking: bool = False
    refusal: SmspvaError | None = None
    """The last failure, if it isn't one that passes."""
    refusals: int = 0


class ActivationManager:
    """Activates numbers that sessions use whenever they are down: one request at a time for each number.

    One that stays down is activated again two minutes later, one whose activation failed after 5 s, then 10 s, 20 s and
    so on up to two minutes.
    """

    def __init__(self, source: PolledSource, store: StateStore, reader: JournalReader) -> None:
        self._source = source
        self._store = store
        self._reader = reader
        self._activations: dict[int, _Activation] = {}

    @contextlib.contextmanager
    def keeping_active(self, order_id: int) -> Generator[_Activation]:
        """Keep a number active for one more session."""
        activation = self._activations.setdefault(order_id, _Activation())
        activation.sessions += 1
        self._reader.notify()  # wakes `run`, among others
        try:
            yield activation
        finally:
            activation.sessions -= 1

    async def run(self) -> None:
        """Activate numbers until the watch ends."""
        async with anyio.create_task_group() as tries:
            while not self._reader.ended:
                for order_id, activation in self._due():
                    activation.is_asking = True
                    tries.start_soon(self._activate, order_id, activation)
                with (
                    anyio.move_on_after(self._next_due() - anyio.current_time()),
                    contextlib.suppress(SmspvaError),  # the readers raise what ended the watch
                ):
                    await self._reader.change()

    def _due(self) -> list[tuple[int, _Activation]]:
        now = anyio.current_time()
        due: list[tuple[int, _Activation]] = []
        for order_id, activation in list(self._activations.items()):
            order = self._store.orders.get(order_id)
            if order is not None and order.state in _UP:
                activation.due, activation.failures, activation.refusal = now, 0, None
            if activation.is_asking:
                continue
            if not activation.sessions:
                # Until then a session that comes next knows that its activation was asked for.
                if activation.due <= now or order is None:
                    del self._activations[order_id]
            elif order is not None and order.state not in _UP and activation.due <= now:
                due.append((order_id, activation))
        return due

    def _next_due(self) -> float:
        now = anyio.current_time()
        later = (activation.due for activation in self._activations.values() if activation.due > now)
        return min(later, default=float("inf"))

    async def _activate(self, order_id: int, activation: _Activation) -> None:
        try:
            await self._source.activate(order_id)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            backoff = min(_FIRST_BACKOFF * 2**activation.failures, _LONGEST_BACKOFF)
            activation.failures = min(activation.failures + 1, 10)
            if isinstance(error, _PASSING):
                activation.refusal = None
            else:
                refusal = error if isinstance(error, SmspvaError) else SmspvaError(f"the activation failed: {error!r}")
                activation.refusal, activation.refusals = refusal, activation.refusals + 1
            self._store.note_failure(describe(error))
        else:
            backoff = _LONGEST_BACKOFF
            activation.failures, activation.refusal = 0, None
        activation.due = anyio.current_time() + backoff
        activation.is_asking = False
        self._reader.notify()


class ActiveNumber:
    """A number that `Watcher.activated` keeps active inside its block."""

    def __init__(
        self, store: StateStore, waiters: Waiters, waits: Waits, activation: _Activation, order: Order, after: int
    ) -> None:
        self._store = store
        self._waiters = waiters
        self._waits = waits
        self._activation = activation
        self._order = order
        self._after = after
        self._refusals_raised = activation.refusals
        self._turn = anyio.Lock()

    def __repr__(self) -> str:
        return f"<ActiveNumber {self.phone} of order {self._order.id}, after event {self.cursor}>"

    @property
    def order(self) -> Order:
        """The order as last seen."""
        known = self._store.orders.get(self._order.id)
        removed = self._store.state.removed.get(self._order.id)
        return known or (self._order if removed is None else removed.order)

    @property
    def phone(self) -> str:
        """The whole number, such as ``+79096068511``."""
        return self.order.phone

    @property
    def cursor(self) -> int:
        """The `seq` of the last event that was looked at; ``activated(order_id, after=...)`` goes on there."""
        return max(0, self._after)

    async def next_sms(self, *, match: Callable[[Sms], bool] | None = None, timeout: float = 600.0) -> Sms:
        """Wait for the next message and return it. Each message is given once, whichever task asks.

        Args:
            match: Returns whether a message is meant; None takes any. One that it passes over is not given later.
            timeout: Seconds.

        Raises:
            WaitTimeout: No message came in time. One that comes later is given to the next call.
            OrderGone: The order has been removed or has expired.
            ApiError: The number lapsed, and the provider refused to activate it again. Raised once for each refusal;
                the activation is tried again after 5 s, and later after up to two minutes.
            Lagged: The journal no longer keeps the next event; the call after this one goes on with what it has.
            WatcherClosed: The watcher was left.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        order_id = self._order.id
        seconds = validation.timeout(timeout)

        def wanted(event: Event) -> Sms | None:
            sms = event.sms if isinstance(event, SmsReceived) else None
            found = sms if sms is None or match is None or match(sms) else None
            self._after = event.seq
            return found

        def passed(place: int) -> None:
            self._after = place

        async def wait() -> Sms:
            async with self._turn:
                return await self._waits.first(order_id, self._after, wanted, self._refusal, passed)

        with self._waiters.waiting_for_message(order_id):
            try:
                return await self._waits.within(seconds, order_id, "receive the message", wait())
            except Lagged as lagged:
                self._after = lagged.resume
                raise

    def _refusal(self) -> SmspvaError | None:
        """Return the reason why the number can't be activated, once."""
        refusal = self._activation.refusal if self._activation.refusals > self._refusals_raised else None
        self._refusals_raised = self._activation.refusals
        return refusal


@contextlib.asynccontextmanager
async def activated(
    activations: ActivationManager,
    store: StateStore,
    waiters: Waiters,
    waits: Waits,
    order_id: int,
    after: int | None,
    seconds: float,
) -> AsyncGenerator[ActiveNumber]:
    """Keep a number active; see `Watcher.activated`."""
    with contextlib.ExitStack() as session:

        async def enter() -> ActiveNumber:
            with waiters.waiting_for_message(order_id), waiters.refreshing(order_id) as request:
                while not request.orders_listed or request.read_at is None:
                    if request.orders_listed:
                        waits.check(order_id)
                    await waits.change(order_id)
            # What was there when the messages were read is old, and isn't given inside.
            place = request.read_at if after is None else after
            activation = session.enter_context(activations.keeping_active(order_id))
            refusals = activation.refusals  # raised in other sessions
            with waiters.waiting_for_state(order_id):
                while (order := store.orders.get(order_id)) is None or order.state is not OrderState.ACTIVE:
                    waits.check(order_id, lambda: activation.refusal if activation.refusals > refusals else None)
                    await waits.change(order_id)
            return ActiveNumber(store, waiters, waits, activation, order, place)

        yield await waits.within(seconds, order_id, "become active", enter())
