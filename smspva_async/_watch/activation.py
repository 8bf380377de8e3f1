"""Numbers that are kept active while sessions use them."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import anyio
from attrs import define

from smspva_async._api import validation
from smspva_async._concurrency import Signal, finish
from smspva_async._operations import Wait
from smspva_async.errors import (
    ConnectionFailed,
    Lagged,
    OrderNotFound,
    RateLimited,
    SmspvaError,
    UnexpectedResponse,
    describe,
)
from smspva_async.events import SmsReceived
from smspva_async.models import OrderState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from smspva_async._watch.journal_io import JournalReader, StateStore
    from smspva_async._watch.scheduler import Waiters
    from smspva_async._watch.source import PolledSource
    from smspva_async._watch.waits import Waits
    from smspva_async.journal.shared import SharedJournal
    from smspva_async.models import Order, Sms

_FIRST_BACKOFF = 5.0
_LONGEST_BACKOFF = 120.0
_UNCLAIMING = 1.0
"""The longest time that leaving waits to give up a claim."""
_UP = (OrderState.ACTIVE, OrderState.ACTIVATING)
# Failures that may be over at the next try. An order that was just bought may not be found at first. `OSError` includes
# `TimeoutError`, and so `RequestTimeout`.
_TEMPORARY = (ConnectionFailed, UnexpectedResponse, RateLimited, OrderNotFound, OSError)


@define
class _Activation:
    """The activation of a number, shared by all sessions. Moments are on anyio's clock."""

    sessions: int = 0
    due: float = 0.0
    """The moment from which it is requested, while the number is inactive."""
    failures: int = 0
    """Tries in a row that failed."""
    in_flight: bool = False
    refusal: SmspvaError | None = None
    """The last failure, unless it may be temporary."""
    refusals: int = 0
    """The number of such failures so far."""


class ActivationManager:
    """Activates the numbers that sessions use whenever they are inactive, with one request at a time for each number.

    A number that stays inactive is activated again two minutes later. An activation that failed is repeated after 5 s,
    then 10 s, 20 s and so on up to two minutes.
    """

    def __init__(
        self,
        source: PolledSource,
        store: StateStore,
        reader: JournalReader,
        waiters: Waiters,
        waits: Waits,
        shared: SharedJournal | None = None,
    ) -> None:
        self._source = source
        self._store = store
        self._reader = reader
        self._waiters = waiters
        self._waits = waits
        self._shared = shared
        self._activations: dict[int, _Activation] = {}
        self._session_began = Signal()

    @contextlib.asynccontextmanager
    async def session(self, order_id: int, after: int | None, seconds: float) -> AsyncGenerator[ActiveNumber]:
        """Keep a number active; see `Watcher.activated`."""
        waits = self._waits
        with contextlib.ExitStack() as session:

            async def enter() -> ActiveNumber:
                with self._waiters.waiting_for_message(order_id), self._waiters.refreshing(order_id) as request:
                    while not request.orders_listed or request.read_at is None:
                        if request.orders_listed:
                            waits.check(order_id)
                        await waits.change(order_id)
                # Messages that were there when the list was read are old, and aren't returned inside.
                place = request.read_at if after is None else after
                activation = session.enter_context(self._keeping_active(order_id))
                refusals = activation.refusals  # these were raised in other sessions
                with self._waiters.waiting_for_state(order_id):
                    while (order := self._store.orders.get(order_id)) is None or order.state is not OrderState.ACTIVE:
                        waits.check(order_id, lambda: activation.refusal if activation.refusals > refusals else None)
                        await waits.change(order_id)
                return ActiveNumber(self._store, self._reader, self._waiters, waits, activation, order, place)

            yield await waits.within(seconds, Wait("activation", order_id), "become active", enter())

    @contextlib.contextmanager
    def _keeping_active(self, order_id: int) -> Generator[_Activation]:
        activation = self._activations.setdefault(order_id, _Activation())
        activation.sessions += 1
        self._session_began.set()
        self._reader.notify()
        try:
            yield activation
        finally:
            activation.sessions -= 1

    async def run(self) -> None:
        """Activate numbers until the watch ends."""
        async with anyio.create_task_group() as tries:
            while not self._reader.ended:
                if not self._activations:
                    await self._session_began.wait()
                for order_id, activation in self._due():
                    activation.in_flight = True
                    tries.start_soon(self._activate, order_id, activation)
                with (
                    anyio.move_on_after(self._next_due() - anyio.current_time()),
                    contextlib.suppress(SmspvaError),  # readers raise the error that ended the watch
                ):
                    await self._reader.change()

    def _due(self) -> list[tuple[int, _Activation]]:
        now = anyio.current_time()
        due: list[tuple[int, _Activation]] = []
        for order_id, activation in list(self._activations.items()):
            order = self._store.orders.get(order_id)
            if order is not None and order.state in _UP:
                activation.due, activation.failures, activation.refusal = now, 0, None
                self._store.activation_failures.pop(order_id, None)
            if activation.in_flight:
                continue
            if not activation.sessions:
                # Until `due`, the next session must not request the activation again.
                if activation.due <= now or order is None:
                    del self._activations[order_id]
                    self._store.activation_failures.pop(order_id, None)
            elif order is not None and order.state not in _UP and activation.due <= now:
                due.append((order_id, activation))
        return due

    def _next_due(self) -> float:
        now = anyio.current_time()
        later = (activation.due for activation in self._activations.values() if activation.due > now)
        return min(later, default=float("inf"))

    async def _activate(self, order_id: int, activation: _Activation) -> None:
        try:
            async with self._claimed(order_id) as is_mine:
                if is_mine:
                    await self._source.activate(order_id)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            backoff = min(_FIRST_BACKOFF * 2**activation.failures, _LONGEST_BACKOFF)
            activation.failures = min(activation.failures + 1, 10)
            if isinstance(error, _TEMPORARY):
                activation.refusal = None
            else:
                refusal = error if isinstance(error, SmspvaError) else SmspvaError(f"the activation failed: {error!r}")
                activation.refusal, activation.refusals = refusal, activation.refusals + 1
            self._store.activation_failures[order_id] = describe(error)
        else:
            # If another process has requested it, this one tries soon in case that fails.
            backoff = _LONGEST_BACKOFF if is_mine else _FIRST_BACKOFF
            if is_mine:
                activation.failures, activation.refusal = 0, None
                self._store.activation_failures.pop(order_id, None)
        activation.due = anyio.current_time() + backoff
        activation.in_flight = False
        self._reader.notify()

    @contextlib.asynccontextmanager
    async def _claimed(self, order_id: int) -> AsyncGenerator[bool]:
        """Keep other processes from activating a number; tell whether this one may. A failure ends the claim."""
        if self._shared is None:
            yield True
            return
        claim = f"activate:{order_id}"
        try:
            yield await self._shared.claim(claim, _LONGEST_BACKOFF)
        except BaseException:  # also if it is cancelled: the request may not have been sent
            await finish(partial(self._unclaim, claim))
            raise

    async def _unclaim(self, claim: str) -> None:
        if self._shared is not None:
            with contextlib.suppress(SmspvaError), anyio.move_on_after(_UNCLAIMING):
                await self._shared.unclaim(claim)


class ActiveNumber:
    """A number that `Watcher.activated` keeps active inside its block."""

    def __init__(
        self,
        store: StateStore,
        reader: JournalReader,
        waiters: Waiters,
        waits: Waits,
        activation: _Activation,
        order: Order,
        after: int,
    ) -> None:
        self._store = store
        self._reader = reader
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
        """The `seq` of the last event that was examined; ``activated(order_id, after=...)`` continues there."""
        return max(0, self._after)

    async def next_sms(self, *, match: Callable[[Sms], bool] | None = None, timeout: float = 600.0) -> Sms:
        """Wait for the next message and return it. Each message is returned once, in one of the tasks that wait.

        Args:
            match: Returns True for a message to accept; None accepts any. A rejected message isn't returned later, nor
                in another task. Tasks with different `match` need an `activated` block each.
            timeout: Seconds.

        Raises:
            WaitTimeout: No message came in time. The next call returns one that comes later.
            OrderGone: The order was removed or has expired.
            ApiError: The number lapsed, and the provider refused to activate it again. Raised once for each refusal;
                the activation is repeated after 5 s, and later after up to two minutes.
            Lagged: The journal no longer keeps the next event; the next call continues with the oldest one.
            WatcherClosed: The watcher was left.
            SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

        """
        order_id = self._order.id
        seconds = validation.timeout(timeout)
        with self._waiters.waiting_for_message(order_id):
            try:
                wait = Wait("message", order_id)
                return await self._waits.within(seconds, wait, "receive the message", self._next(match))
            except Lagged as lagged:
                self._after = lagged.resume
                raise

    async def _next(self, match: Callable[[Sms], bool] | None) -> Sms:
        async with self._turn:
            while True:
                event, after = await self._reader.next(self._after, self._order.id)
                sms = event.sms if isinstance(event, SmsReceived) else None
                is_match = sms is not None and (match is None or match(sms))
                self._after = after
                if sms is not None and is_match:
                    return sms
                if event is None:
                    await self._waits.more(self._order.id, after, self._new_refusal)

    def _new_refusal(self) -> SmspvaError | None:
        """Return the reason why the number can't be activated, unless this session has raised it already."""
        refusal = self._activation.refusal if self._activation.refusals > self._refusals_raised else None
        self._refusals_raised = self._activation.refusals
        return refusal
