"""An account without a server, as a source of orders and messages for a watcher."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
from attrs import evolve

from smspva_async import ConnectionFailed, Order, OrderNotFound, OrderState, Rows, SkippedRow, Sms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The time at which a watch of an `Account` begins, set by the fixture `local_clock`."""
ORDERS = None
"""The name of a call of `orders` among the calls of `Account`; a call of `sms` is named by its order's id."""
HANGS = 1e9
"""Seconds for which a call hangs: longer than any test."""
OUTAGE = ConnectionFailed("the server is down", sent=False)


def order(order_id: int = 1, state: OrderState = OrderState.INACTIVE, **changes: Any) -> Order:
    sample = Order(
        id=order_id,
        services=("opt16",),
        service_name="Instagram",
        state=state,
        phone=f"+7909{order_id:07}",
        country="RU",
        has_new_sms=False,
        until=START + timedelta(days=3650),  # in the future by a real local clock too
    )
    return evolve(sample, **changes)


def sms(text: str, seconds: float | None = 0, sender: str | None = "INFO") -> Sms:
    """Return a message dated some seconds after `START`, or undated for None."""
    return Sms(text, sender, None if seconds is None else START + timedelta(seconds=seconds))


class Account:
    """A source without a server, which returns plain lists.

    Attributes:
        listed: The orders.
        messages: Their messages by order id.
        skipped: Rows of `orders` that can't be read.
        failures: The exceptions that calls raise, by call.
        seconds: The duration of calls, by call.
        clock: The server's clock, if answers have a date.
        calls: The time and the name of every call.

    """

    def __init__(self, *orders: Order) -> None:
        self.listed = list(orders)
        self.messages: defaultdict[int, list[Sms]] = defaultdict(list)
        self.skipped: list[SkippedRow] = []
        self.failures: dict[int | None, Exception] = {}
        self.seconds: dict[int | None, float] = {}
        self.clock: Callable[[], datetime] | None = None
        self.calls: list[tuple[float, int | None]] = []

    async def orders(self) -> Sequence[Order]:
        await self._call(ORDERS)
        if self.clock is None and not self.skipped:
            return list(self.listed)
        return Rows(self.listed, skipped=self.skipped, date=self.clock and self.clock())

    async def sms(self, order_id: int) -> Sequence[Sms]:
        await self._call(order_id)
        return list(self.messages[order_id])

    async def activate(self, order_id: int) -> None:
        raise NotImplementedError(f"the test doesn't activate order {order_id}")

    async def _call(self, what: int | None) -> None:
        self.calls.append((anyio.current_time(), what))
        await anyio.sleep(self.seconds.get(what, 0))
        if what in self.failures:
            raise self.failures[what]

    def change(self, order_id: int, **changes: Any) -> None:
        self.listed = [evolve(known, **changes) if known.id == order_id else known for known in self.listed]

    def drop(self, order_id: int) -> None:
        """Leave an order out of the list; its messages can still be read."""
        self.listed = [known for known in self.listed if known.id != order_id]

    def remove(self, order_id: int) -> None:
        """Leave an order out of the list; calls of `sms` raise `OrderNotFound`."""
        self.drop(order_id)
        self.failures[order_id] = OrderNotFound("there is no such order", msg="Order not found")

    def times(self, what: int | None = ORDERS) -> list[float]:
        """Return the times of the calls of `orders`, or of another method or order."""
        return [time for time, called in self.calls if called == what]
