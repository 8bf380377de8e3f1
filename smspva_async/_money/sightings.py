"""What lists have shown of an account's orders: which there are, and when each ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from smspva_async._api import methods
from smspva_async.models import Order, Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async._api.methods import Method

__all__ = ["Sightings"]

_UNSEEN = object()


class Sightings:
    """What was seen of the orders so far."""

    def __init__(self) -> None:
        # None is ever forgotten: a list may lack an order, and a purchase may be listed late.
        self.known: dict[int, datetime | None] = {}
        """Order id -> `until`, as last seen."""
        self.listed: bool = False
        """Whether these are all that there were in the last list."""
        self.ahead: timedelta | None = None
        """How far the server's clock is ahead of this machine's; None: it isn't known."""
        self._latest: tuple[datetime, Rows[Order]] | None = None

    def take_note(self, method: Method[Any], rows: Rows[object]) -> None:
        """Remember what an answer shows."""
        has_new = bool(rows) and not rows.repeated and isinstance(rows[0], (Order, Rental))
        orders = cast("Sequence[Order | Rental]", rows) if has_new else ()
        # A watch is told of the same orders again and again.
        new = [order for order in orders if self.known.get(order.id, _UNSEEN) is not order.until]
        self.known |= {order.id: order.until for order in new}
        if method.name != methods.ORDERS.name:
            return
        self.listed = not rows.skipped
        now = datetime.now(UTC)
        asked = now - timedelta(seconds=rows.took)
        self.ahead = None if rows.date is None else rows.date - now
        self._latest = (asked, cast("Rows[Order]", rows))

    def asked_at(self, order_id: int | None) -> datetime | None:
        """Return when the latest list was asked for; None if it may not show an order's end as it was then."""
        if self._latest is None:
            return None
        asked, orders = self._latest
        is_missing = order_id in self.known and all(order.id != order_id for order in orders)
        return None if orders.skipped or is_missing else asked
