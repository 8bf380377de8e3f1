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
"""The second in which a watch of an `Account` begins, by the fixture `local_clock`."""
ORDERS = None
"""`Account` names its calls by the order whose messages they ask for; this is the call that asks for the orders."""
HANGS = 1e9
"""Seconds that nobody waits for."""
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
        until=START + timedelta(days=3650),  # also by the local clock of a test that doesn't set it
    )
    return evolve(sample, **changes)


def sms(text: str, seconds: float | None = 0, sender: str | None = "INFO") -> Sms:
    """Return a message, dated by the seconds since `START`; None: undated."""
    return Sms(text, sender, None if seconds is None else START + timedelta(seconds=seconds))


class Account:
    """What a watcher watches, without a server: a source that answers with plain lists.

    Attributes:
        listed: The orders.
        messages: Their messages by order id.
        skipped: Rows of `orders` that can't be read.
        failures: What a call raises: `ORDERS`, or an order's messages.
        seconds: How long a call takes.
        clock: The server's clock, if it tells it.
        calls: Every call that was made, and when.

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
        await self._asked(ORDERS)
        if self.clock is None and not self.skipped:
            return list(self.listed)
        return Rows(self.listed, skipped=self.skipped, date=self.clock and self.clock())

    async def sms(self, order_id: int) -> Sequence[Sms]:
        await self._asked(order_id)
        return list(self.messages[order_id])

    async def activate(self, order_id: int) -> None:
        raise NotImplementedError(f"nobody has asked for the activation of {order_id}")

    async def _asked(self, what: int | None) -> None:
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
        """Leave an order out, and say that there is none when its messages are asked for."""
        self.drop(order_id)
        self.failures[order_id] = OrderNotFound("there is no such order", msg="Order not found")

    def times(self, what: int | None = ORDERS) -> list[float]:
        """Return when a call was made."""
        return [time for time, asked in self.calls if asked == what]
