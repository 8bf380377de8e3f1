"""What a watch reports, each event a frozen attrs class; `Event` is their union.

`match` reads them well::

    match event:
        case SmsReceived(order, sms):
            print(order.phone, sms.code)
        case StateChanged(order, previous, current):
            print(order.phone, previous.name, "->", current.name)

`event_to_dict` gives the form in which a journal on disk keeps them.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import field, frozen
from cattrs.strategies import configure_tagged_union

from smspva_async import _serialization
from smspva_async.models import Order, OrderState, Sms

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "event_from_dict",
    "event_to_dict",
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


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return an event as a dict that `json.dumps` writes; `event_from_dict` makes the event of it again.

    ``type`` is the name of its class; the other keys are its fields, and so it is in the models within. Times are
    ISO 8601 in UTC and states the provider's numbers::

        {"type": "StateChanged", "seq": 7, "id": "5f0c...", "at": "2026-11-23T19:48:14+00:00", "order_id": 40300,
         "order": {"id": 40300, "service": "opt16", "phone": "+79046577127", "state": 2, ...},
         "previous": 0, "current": 2}
    """
    _register()
    return _serialization.write(event, Event)


def event_from_dict(fields: Mapping[str, Any]) -> Event:
    """Return the event that `event_to_dict` made this of. Keys that it doesn't know are passed over.

    Raises:
        ValueError: It was made of no event.

    """
    _register()
    try:
        return cast("Event", _serialization.read(fields, Event))
    except ValueError as error:
        raise ValueError(f"no event: {error}") from error


@cache
def _register() -> None:
    configure_tagged_union(Event, _serialization.converter(), tag_name="type")
