"""Events: the reports of a watch, each a frozen attrs class; `Event` is their union.

`match` reads them well::

    match event:
        case SmsReceived(order, sms):
            print(order.phone, sms.code)
        case StateChanged(order, previous, current):
            print(order.phone, previous.name, "->", current.name)

`event_to_dict` gives the form in which a journal on disk keeps them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import field, frozen, has
from cattrs.strategies import configure_tagged_union

from smspva_async import _serialization
from smspva_async.models import Order, OrderState, Sms

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Event",
    "OrderAdded",
    "OrderExpiring",
    "OrderRemoved",
    "OrderUpdated",
    "PollFailed",
    "PollRecovered",
    "RowSkipped",
    "SmsReceived",
    "StateChanged",
    "event_from_dict",
    "event_to_dict",
    "to_dict",
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
    """An order is listed that was not before: each one on the first poll, later a new one or one that was gone."""

    order: Order
    """The order as listed now."""


@frozen
class OrderUpdated(_EventBase):
    """An order's service, phone, country, expiry or what can be prolonged has changed."""

    order: Order
    """The order as listed now."""
    previous: Order
    """The order as it was seen before."""


@frozen
class OrderRemoved(_EventBase):
    """An order is gone; an absence from one answer is not enough for that."""

    order: Order
    """The order as last seen."""
    expired: bool
    """True if its time was up, by the server's clock."""


@frozen
class OrderExpiring(_EventBase):
    """An order's time is nearly up. Reported once for each `until`, also for orders that the first poll lists."""

    order: Order
    """The order as listed now."""
    left: timedelta
    """The time until then, by the server's clock; zero if it is past."""


@frozen
class StateChanged(_EventBase):
    """A number's state has changed. Steps between two polls are not seen: 0 -> 1 is possible."""

    order: Order
    """The order as listed now."""
    previous: OrderState
    """The state in which it was seen before."""
    current: OrderState
    """The state in which it is now: that of `order`."""


@frozen
class SmsReceived(_EventBase):
    """A message has arrived."""

    order: Order
    """The order as last seen, which may have been before the message came."""
    sms: Sms
    """The message; `Sms.code` is the one-time code in it."""


@frozen
class PollFailed(_EventBase):
    """Polling fails from now on: `orders`, or one order's `sms` if `order_id` is set. One event for an outage."""

    kind: str
    """The name of the exception's class, such as ``"RequestTimeout"``."""
    message: str
    """The exception's message."""


@frozen
class PollRecovered(_EventBase):
    """Polling works again: `orders`, or one order's `sms` if `order_id` is set."""

    downtime: float
    """Seconds from the first failed poll to the first good one."""


@frozen
class RowSkipped(_EventBase):
    """A row of an answer can't be read. Reported once for each distinct row."""

    reason: str
    """The field that is missing or wrong, by the server's name."""
    raw: object = field(hash=False)
    """The row as the server sent it, read as JSON."""


Event: TypeAlias = (
    OrderAdded
    | OrderUpdated
    | OrderRemoved
    | OrderExpiring
    | StateChanged
    | SmsReceived
    | PollFailed
    | PollRecovered
    | RowSkipped
)
"""Any event of a watch; a `match` that has a case for each of these is exhaustive to type checkers."""


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return an event as a dict that `json.dumps` writes; `event_from_dict` makes the event of it again.

    ``type`` is the name of its class; the other keys are its fields, and so it is in the models within. Times are
    ISO 8601 in UTC and states the provider's numbers::

        {"type": "StateChanged", "seq": 7, "id": "5f0c...", "at": "2026-11-23T19:48:14+00:00", "order_id": 40300,
         "order": {"id": 40300, "services": ["opt16"], "phone": "+79046577127", "state": 2, ...},
         "previous": 0, "current": 2}

    Args:
        event: The event, of any kind.

    """
    if not isinstance(event, _EventBase):
        raise ValueError(f"event_to_dict takes an event: {shortened(event)}")  # noqa: TRY004 - as all arguments
    _register()
    return _serialization.write(event, Event)


def event_from_dict(fields: Mapping[str, Any]) -> Event:
    """Return the event that `event_to_dict` made this of. Keys that it doesn't know are passed over.

    Args:
        fields: The dict, also after a way through JSON.

    Raises:
        ValueError: It was made of no event.

    """
    _register()
    try:
        return cast("Event", _serialization.read(fields, Event))
    except ValueError as error:
        raise ValueError(f"no event: {error}") from error


def to_dict(model: object) -> dict[str, Any]:
    """Return a model or an event as a dict that `json.dumps` writes, for instance as a web service's answer.

    Keys are field names. Times are ISO 8601 in UTC, states the provider's numbers, prices texts such as ``"0.73"``. A
    message also has its ``code`` (`Sms.code`). An event is as `event_to_dict` writes it, with that ``code``.

    Args:
        model: A model, such as `Order` or `Sms`, or an event.

    Raises:
        ValueError: It is neither. A list of models takes a `to_dict` for each.

    """
    if isinstance(model, SmsReceived):
        return event_to_dict(model) | {"sms": to_dict(model.sms)}
    if isinstance(model, _EventBase):
        return event_to_dict(cast("Event", model))
    if isinstance(model, Sms):
        return {**_serialization.write(model, Sms), "code": model.code}
    if not has(type(model)):
        raise ValueError(f"to_dict takes a model or an event: {shortened(model)}")
    return _serialization.write(model, type(model))


@cache
def _register() -> None:
    configure_tagged_union(Event, _serialization.converter(), tag_name="type")
