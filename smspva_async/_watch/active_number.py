"""A number that is kept active while somebody uses it."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from smspva_async._api import validation
from smspva_async.errors import Lagged
from smspva_async.events import Event, SmsReceived
from smspva_async.models import OrderState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from smspva_async._watch.demand import Demand
    from smspva_async._watch.keeper import Kept
    from smspva_async._watch.poller import Poller
    from smspva_async._watch.recorder import Recorder
    from smspva_async._watch.waits import Waits
    from smspva_async.errors import SmspvaError
    from smspva_async.models import Order, Sms

__all__ = ["ActiveNumber", "activated"]


class ActiveNumber:
    """A number that `Watcher.activated` keeps active while one is inside of it."""

    def __init__(self, recorder: Recorder, demand: Demand, waits: Waits, kept: Kept, order: Order, after: int) -> None:
        self._recorder = recorder
        self._demand = demand
        self._waits = waits
        self._kept = kept
        self._order = order
        self._after = after
        self._told = kept.refusals
        self._turn = anyio.Lock()

    def __repr__(self) -> str:
        return f"<ActiveNumber {self.phone} of order {self._order.id}, after event {self.cursor}>"

    @property
    def order(self) -> Order:
        """The order as last seen."""
        known = self._recorder.orders.get(self._order.id)
        gone = self._recorder.state.gone.get(self._order.id)
        return known or (self._order if gone is None else gone.order)

    @property
    def phone(self) -> str:
        """The whole number, such as ``+79096068511``."""
        return self.order.phone

    @property
    def cursor(self) -> int:
        """The `seq` of the last event that was looked at; ``activated(order_id, after=...)`` goes on there."""
        return max(0, self._after)

    async def next_sms(self, *, match: Callable[[Sms], bool] | None = None, timeout: float = 600.0) -> Sms:
        """Wait for the next message and return it. None is given twice, to whomever asks.

        Args:
            match: Tells which message is meant; None is any. What it passes over is not given later.
            timeout: Seconds.

        Raises:
            WaitTimeout: None came in time. One that comes later is given to who asks next.
            OrderGone: The order has been removed or has expired.
            ApiError: The number lapsed, and the provider refused to activate it again. Raised once for each refusal;
                it is asked again two minutes later.
            Lagged: The journal no longer keeps what came next; the call after this one goes on with what it has.
            WatcherClosed: The watcher was left.
            SmspvaError: What ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.

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

        with self._demand.waiting_for_message(order_id):
            try:
                return await self._waits.within(seconds, order_id, "receive the message", wait())
            except Lagged as lagged:
                self._after = lagged.resume
                raise

    def _refusal(self) -> SmspvaError | None:
        """Return why the number can't be activated, once."""
        refusal = self._kept.failure if self._kept.refusals > self._told else None
        self._told = self._kept.refusals
        return refusal


@asynccontextmanager
async def activated(
    poller: Poller, recorder: Recorder, demand: Demand, waits: Waits, order_id: int, after: int | None, seconds: float
) -> AsyncGenerator[ActiveNumber]:
    """Have a number active; see `Watcher.activated`."""
    with ExitStack() as kept_active:

        async def enter() -> ActiveNumber:
            with demand.waiting_for_message(order_id), demand.looking(order_id) as look:
                while not look.orders_listed or look.read_at is None:
                    if look.orders_listed:
                        waits.check(order_id)
                    await waits.change(order_id)
            # What was there when they were read is old, and so is not to be had inside.
            place = look.read_at if after is None else after
            kept = kept_active.enter_context(poller.keeping_active(order_id))
            told = kept.refusals  # to those who were here before
            with demand.waiting_for_state(order_id):
                while (order := recorder.orders.get(order_id)) is None or order.state is not OrderState.ACTIVE:
                    waits.check(order_id, lambda: kept.failure if kept.refusals > told else None)
                    await waits.change(order_id)
            return ActiveNumber(recorder, demand, waits, kept, order, place)

        number = await waits.within(seconds, order_id, "become active", enter())
        yield number
