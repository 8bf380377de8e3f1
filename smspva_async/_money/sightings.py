"""What lists have shown of an account's orders: which there are, when each ends, and since when it ends later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from smspva_async import _wire
from smspva_async._money.reconcile import is_longer
from smspva_async.models import Order, Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async._wire import Method

__all__ = ["Sightings"]


class Sightings:
    """What was seen of the orders so far."""

    def __init__(self) -> None:
        # None is ever forgotten: a list may lack an order, and a purchase may be listed late.
        self.known: dict[int, datetime] = {}
        """Order id -> `until`, as last seen."""
        self.listed: bool = False
        """Whether these are all that there were in the last list."""
        self.ahead: timedelta | None = None
        """How far the server's clock is ahead of this machine's; None: it isn't known."""
        self._latest: tuple[datetime, Rows[Order]] | None = None
        # When it was asked, when it was answered, and the end that was new then.
        self._growth: dict[int, list[tuple[datetime, datetime, datetime]]] = {}

    def take_note(self, method: Method[Any], rows: Rows[object]) -> datetime | None:
        """Remember what an answer shows. Return when it was asked for if it is a list of the orders, else None."""
        has_new = bool(rows) and not rows.repeated and isinstance(rows[0], (Order, Rental))
        orders = cast("Sequence[Order | Rental]", rows) if has_new else ()
        # A watch is told of the same orders again and again.
        new = [order for order in orders if self.known.get(order.id) is not order.until]
        self.known |= {order.id: order.until for order in new}
        if method.name != _wire.ORDERS.name:
            return None
        self.listed = not rows.skipped
        now = datetime.now(UTC)
        asked = now - timedelta(seconds=rows.took)
        self.ahead = None if rows.date is None else rows.date - now
        self._latest = (asked, cast("Rows[Order]", rows))
        for order in new:
            growth = self._growth.setdefault(order.id, [])
            if not growth or is_longer(order.until, growth[-1][2]):
                growth.append((asked, now, order.until))
        return asked

    def asked_at(self, order_id: int | None) -> datetime | None:
        """Return when the latest list was asked for; None if it may not show an order's end as it was then."""
        if self._latest is None:
            return None
        asked, orders = self._latest
        is_missing = order_id in self.known and all(order.id != order_id for order in orders)
        return None if orders.skipped or is_missing else asked

    def lengthened(self, order_id: int, before: datetime, ended: datetime) -> datetime | None:
        """Return when an order was first listed with a later end than before, in a list asked for after a moment."""
        for asked, listed, until in self._growth.get(order_id, ()):
            if asked > ended and is_longer(until, before):
                return listed
        return None
