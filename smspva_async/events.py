"""Events of a watch, each a frozen attrs class; `Event` is their union.

Use `match` to tell them apart::

    match event:
        case SmsReceived(order, sms):
            print(order.phone, sms.code)
        case StateChanged(order, previous, current):
            print(order.phone, previous.name, "->", current.name)

`event_to_dict` returns the form in which a journal on disk keeps them.
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
    """The event's number in the journal: 1, 2, 3 and so on."""
    id: str
    """An id that stays the same when the event is read again. A message's id depends only on order, message and count.
    """
    at: datetime
    """The server's time of the answer that showed it; aware UTC."""
    order_id: int | None = None
    """The id of the order that the event is about, if any."""


@frozen
class OrderAdded(_EventBase):
    """An order is newly listed. The first poll reports each order; a removed order may come back."""

    order: Order
    """The order as listed now."""


@frozen
class OrderUpdated(_EventBase):
    """An order's services, phone, country, `until` or limits for prolonging have changed."""

    order: Order
    """The order as listed now."""
    previous: Order
    """The order as seen before."""


@frozen
class OrderRemoved(_EventBase):
    """An order was removed. Its absence from a single answer doesn't count as a removal."""

    order: Order
    """The order as last seen."""
    expired: bool
    """True if the order's `until` had passed, by the server's clock."""


@frozen
class OrderExpiring(_EventBase):
    """An order's `until` is near. Reported once for each `until`, also for orders that the first poll lists.

    An `until` earlier than a reported one isn't reported. A report that came too early, because the first ``Date`` of
    the server was wrong, can be repeated at the right time.
    """

    order: Order
    """The order as listed now."""
    left: timedelta
    """The time left, by the server's clock; zero if `until` has passed."""


@frozen
class StateChanged(_EventBase):
    """A number's state has changed. States between two polls are not seen, so 0 -> 1 is possible."""

    order: Order
    """The order as listed now."""
    previous: OrderState
    """The state as seen before."""
    current: OrderState
    """The state now, the same as `order.state`."""


@frozen
class SmsReceived(_EventBase):
    """A message has arrived."""

    order: Order
    """The order as last seen, possibly before the message came."""
    sms: Sms
    """The message; `Sms.code` is the one-time code in it."""


@frozen
class PollFailed(_EventBase):
    """Polling of `orders`, or of one order's `sms` if `order_id` is set, fails from now on. One event per outage."""

    kind: str
    """The name of the exception's class, such as ``"RequestTimeout"``."""
    message: str
    """The exception's message."""


@frozen
class PollRecovered(_EventBase):
    """Polling of `orders`, or of one order's `sms` if `order_id` is set, works again."""

    downtime: float
    """Seconds from the first failed poll to the first good one."""


@frozen
class RowSkipped(_EventBase):
    """A row of an answer can't be read. Reported once for each order and reason; rows that share both are counted."""

    reason: str
    """The field that is missing or unreadable, by the server's name, and the problem."""
    raw: object = field(hash=False)
    """The row as the server sent it, parsed as JSON."""


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
"""Any event of a watch. For type checkers, a `match` with a case for each of these is exhaustive."""


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return an event as a dict that `json.dumps` can write; `event_from_dict` is the inverse.

    ``type`` is the name of the event's class; the other keys are its fields. Models in it are dicts of their fields.
    Times are ISO 8601 in UTC, and states the provider's numbers:

        {"type": "StateChanged", "seq": 7, "id": "5f0c...", "at": "2026-11-23T19:48:14+00:00", "order_id": 40300,
         "order": {"id": 40300, "services": ["opt16"], "phone": "+79046577127", "state": 2, ...},
         "previous": 0, "current": 2}

    Args:
        event: The event, of any class.

    Raises:
        ValueError: It isn't an event.

    """
    if not isinstance(event, _EventBase):
        raise ValueError(f"expected an event, got {shortened(event)}")  # noqa: TRY004 - all invalid input
    _register()
    return _serialization.write(event, Event)


def event_from_dict(fields: Mapping[str, Any]) -> Event:
    """Return the event that `event_to_dict` wrote. Unknown keys are ignored.

    Args:
        fields: The dict, possibly after a round trip through JSON.

    Raises:
        ValueError: It isn't the dict of an event.

    """
    _register()
    try:
        return cast("Event", _serialization.read(fields, Event))
    except ValueError as error:
        raise ValueError(f"not the dict of an event: {error}") from error


def to_dict(model: object) -> dict[str, Any]:
    """Return a model or an event as a dict that `json.dumps` can write, for instance as a web service's response.

    Keys are field names. Times are ISO 8601 in UTC, states the provider's numbers, and prices strings such as
    ``"0.73"``. A message also has its ``code`` (`Sms.code`). For an event it is the
    dict of `event_to_dict`, with that ``code``.

    Args:
        model: A model, such as `Order` or `Sms`, or an event.

    Raises:
        ValueError: It is neither a model nor an event. For a list of models, call `to_dict` for each.

    """
    if isinstance(model, SmsReceived):
        return event_to_dict(model) | {"sms": to_dict(model.sms)}
    if isinstance(model, _EventBase):
        return event_to_dict(cast("Event", model))
    if isinstance(model, Sms):
        return {**_serialization.write(model, Sms), "code": model.code}
    if not has(type(model)):
        raise ValueError(f"expected a model or an event, got {shortened(model)}")
    return _serialization.write(model, type(model))


@cache
def _register() -> None:
    configure_tagged_union(Event, _serialization.converter(), tag_name="type")
