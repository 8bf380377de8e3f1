"""What a watch reports, each event a frozen attrs class; `Event` is their union.

`match` reads them well::

    match event:
        case SmsReceived(order, sms):
            print(order.phone, sms.code)
        case StateChanged(order, previous, current):
            print(order.phone, previous.name, "->", current.name)
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from attrs import field, frozen

from smspva_async.models import Order, OrderState, Sms

__all__ = [
    "Event",
    "OrderAdded",
    "OrderRemoved",
    "OrderUpdated",
    "PollFailed",
    "PollRecovered",
    "RowSkipped",
    "SmsReceived",
    "StateChanged",
]


@frozen(kw_only=True)
class _EventBase:
    seq: int
    """The event's place in the journal: 1, 2, 3 and so on."""
    id: str
    """The same when the event is read again. A message's depends on order, message and count alone."""
    at: datetime
    """When it was seen, by the server's clock; aware UTC."""
    order_id: int | None = None
    """The order it is about, or None."""


@frozen
class OrderAdded(_EventBase):
    """An order is listed that was not before."""

    order: Order


@frozen
class OrderUpdated(_EventBase):
    """An order's service, phone, country, expiry or what can be prolonged has changed."""

    order: Order
    previous: Order


@frozen
class OrderRemoved(_EventBase):
    """An order is gone; an absence from one answer is not enough for that."""

    order: Order
    expired: bool
    """Whether its time was up."""


@frozen
class StateChanged(_EventBase):
    """A number's state has changed. Steps between two polls are not seen: 0 -> 1 is possible."""

    order: Order
    previous: OrderState
    current: OrderState


@frozen
class SmsReceived(_EventBase):
    """A message has arrived."""

    order: Order
    sms: Sms


@frozen
class PollFailed(_EventBase):
    """Polling fails from now on: `orders`, or one order's `sms` if `order_id` is set. One event for an outage."""

    kind: str
    """The name of the exception's class."""
    message: str


@frozen
class PollRecovered(_EventBase):
    """Polling works again."""

    downtime: float
    """Seconds from the first failed poll to the first good one."""


@frozen
class RowSkipped(_EventBase):
    """A row of an answer can't be read. Reported once for each distinct row."""

    reason: str
    raw: object = field(hash=False)


Event: TypeAlias = (
    OrderAdded | OrderUpdated | OrderRemoved | StateChanged | SmsReceived | PollFailed | PollRecovered | RowSkipped
)
