"""The models: countries, offers, orders, messages, and `Rows`, the list of an answer's rows.

Every model is a frozen attrs class. `extra` holds the server's other fields and the raw values of unreadable fields; it
isn't part of equality and hash. Times are aware UTC datetimes, prices are US dollars as `Decimal`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal, TypeVar

from attrs import Factory, evolve, field, frozen

from smspva_async._codes import extract_code

__all__ = [
    "WEEK",
    "Country",
    "CountryOffer",
    "Offer",
    "Order",
    "OrderState",
    "PastOrder",
    "Period",
    "Purchase",
    "Reconciliation",
    "Rental",
    "RestoreQuote",
    "Rows",
    "Service",
    "SkippedRow",
    "Sms",
    "Stock",
    "merge_orders",
]

T = TypeVar("T")

_DAYS = {"week": 7, "month": 30}
LONGEST_RENTAL = 90
"""The longest rental in days (rental page)."""


def _extra() -> Any:  # noqa: ANN401 - the annotation in the class gives the type
    return field(factory=dict[str, object], eq=False, repr=False, kw_only=True)


@frozen
class Period:
    """A rental period: whole weeks or whole months, 7 to 90 days. A month counts as 30 days.

    The maximum is what the rental page guarantees; the minimum comes from an error message of the provider's other API.
    Create a period with `Period.weeks` or `Period.months`. One that can't be rented raises `ValueError`.
    """

    kind: Literal["week", "month"]
    """The unit, the provider's ``dtype``."""
    count: int
    """The number of units, the provider's ``dcount``."""

    def __attrs_post_init__(self) -> None:
        if self.kind not in tuple(_DAYS):
            raise ValueError(f"a period is in weeks or months, not in {self.kind!r}")
        if type(self.count) is not int or self.count < 1:
            raise ValueError(f"a period is an integer number of {self.kind}s from 1, got {self.count!r}")
        if self.days > LONGEST_RENTAL:
            raise ValueError(f"a rental is at most {LONGEST_RENTAL} days: {self.count} {self.kind}s are {self.days}")

    @classmethod
    def weeks(cls, count: int) -> Period:
        """Return a period of whole weeks.

        Args:
            count: The number of weeks, 1 to 12.

        Raises:
            ValueError: The period is too short or too long.

        """
        return cls("week", count)

    @classmethod
    def months(cls, count: int) -> Period:
        """Return a period of whole months.

        Args:
            count: The number of months, 1 to 3.

        Raises:
            ValueError: The period is too short or too long.

        """
        return cls("month", count)

    @property
    def days(self) -> int:
        """The period in days, a month counted as 30."""
        return _DAYS[self.kind] * self.count


WEEK = Period.weeks(1)
"""One week, the default of every call that takes a period."""


class OrderState(IntEnum):
    """The state of a number (rental page)."""

    INACTIVE = 0
    """Not active: activate the number before a message is sent to it."""
    ACTIVE = 1
    """The number can receive messages."""
    ACTIVATING = 2
    """The number is in the queue for activation."""
    ABSENT = -1
    """The number is not in the provider's system."""
    UNKNOWN = -99
    """An undocumented state; `Order.raw_state` has the server's number."""


@frozen
class Country:
    """A country with numbers (`getcountries`)."""

    name: str
    """The provider's name of the country, in a language of its choice: ``Россия`` on the rental page."""
    code: str
    """Two letters; the United Kingdom is ``UK``."""
    switch_type: str | int | None = None
    """The activation type of its numbers, as sent (``rent_switch_type``, such as ``FAST``); None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""


@frozen
class Service:
    """A service for which numbers can be rented (`get_default_services`)."""

    service: str
    """The service's code, such as ``opt16``. Codes are stable; names change."""
    name: str
    """The service's name, such as ``Instagram``."""
    price_day: Decimal | None = None
    """US dollars per day, regardless of the country; None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""


@frozen
class CountryOffer:
    """A country that offers a service (`get_country_by_service`)."""

    country: str
    """Two letters; the United Kingdom is ``UK``."""
    name: str
    """The country's name (``country``); ``""`` if missing."""
    price: Decimal | None = None
    """US dollars, per day or for the period (not documented which); None if missing."""
    count: int | None = None
    """Numbers available (``phoneAmount``); None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""


@frozen
class Offer:
    """A service that can be rented in a country (`getdata`, `getdataWithProviders`)."""

    name: str
    """The service's name, such as ``Airbnb``."""
    service: str
    """The service's code, such as ``opt16``."""
    price_day: Decimal | None = None
    """US dollars per day; None if missing."""
    count: int | None = None
    """Numbers available from all providers together; None if missing."""
    by_provider: Mapping[str, int] = field(factory=dict[str, int], hash=False)
    """Numbers available by provider; empty if the server doesn't list providers."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""


@frozen
class Stock:
    """Numbers available for a service in a country (`getCountWithProviders`)."""

    total: int
    """Numbers available from all providers together."""
    by_provider: Mapping[str, int] = field(factory=dict[str, int], hash=False)
    """Numbers available by provider; empty if the server doesn't list providers."""


@frozen
class Rental:
    """A number that was just rented (`create`, `create_multi`, `add_service_to_order`)."""

    id: int
    """The order's id, an argument of the calls about the number."""
    phone: str = ""
    """The whole number, such as ``+79096037108``; ``""`` if the answer lacks it; then see `orders`."""
    services: tuple[str, ...] = ()
    """The codes of its services, sorted, such as ``("opt16",)``."""
    until: datetime | None = None
    """The end of the rental, aware UTC; None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""

    @property
    def service(self) -> str:
        """The first of `services`; ``""`` if there is none."""
        return self.services[0] if self.services else ""


@frozen
class Order:
    """A rented number (`orders`). Rows that share an id are one order with several services."""

    id: int
    """The order's id, an argument of the calls about the number."""
    services: tuple[str, ...]
    """The codes of its services, sorted, such as ``("opt16",)``; empty if missing."""
    service_name: str
    """The first service's name; ``""`` if missing."""
    state: OrderState
    """Only `OrderState.ACTIVE` receives messages; an undocumented state is `OrderState.UNKNOWN`."""
    phone: str
    """The whole number, such as ``+79096068511``; ``""`` if missing."""
    country: str
    """Two letters; the United Kingdom is ``UK``. ``""`` if missing."""
    has_new_sms: bool | None
    """The server's flag for a new message; None if missing. It isn't known whether reading clears it."""
    until: datetime | None
    """The end of the rental, aware UTC; None if missing."""
    can_prolong: bool | None = None
    """True if it can be prolonged now, in its last 7 days (rental page); None if missing."""
    can_prolong_days: int | None = None
    """The maximum number of days to prolong by; None if missing."""
    can_prolong_until: datetime | None = None
    """The latest end that prolonging allows, aware UTC; None if missing."""
    last_online: datetime | None = None
    """The last time the number was online, aware UTC; None if missing. The watcher doesn't report its changes."""
    raw_state: int | str | None = field(default=Factory(lambda order: int(order.state), takes_self=True))
    """The state as the server's number, or as text if it isn't a number; None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""

    @property
    def service(self) -> str:
        """The first of `services`; ``""`` if there is none."""
        return self.services[0] if self.services else ""


_NEAREST_TO_ACTIVE = (
    OrderState.ACTIVE,
    OrderState.ACTIVATING,
    OrderState.INACTIVE,
    OrderState.ABSENT,
    OrderState.UNKNOWN,
)


def merge_orders(orders: Sequence[Order]) -> Sequence[Order]:
    """Merge rows that share an id: they are one order with several services."""
    if len({order.id for order in orders}) == len(orders):
        return orders
    by_id: dict[int, list[Order]] = {}
    for order in orders:
        by_id.setdefault(order.id, []).append(order)
    return [_merged(rows) for rows in by_id.values()]


def _merged(rows: Sequence[Order]) -> Order:
    if len(rows) == 1:
        return rows[0]
    # Compares so many fields that the result doesn't depend on the order of the rows.
    lowest = min(rows, key=lambda it: (not it.services, it.services, not it.service_name, it.service_name, it.phone))
    nearest = min(rows, key=lambda it: (_NEAREST_TO_ACTIVE.index(it.state), str(it.raw_state)))
    flags = {order.has_new_sms for order in rows}
    return evolve(
        lowest,
        services=tuple(sorted({service for order in rows for service in order.services})),
        state=nearest.state,
        raw_state=nearest.raw_state,
        has_new_sms=True if True in flags else False if False in flags else None,
        until=max((order.until for order in rows if order.until is not None), default=None),
    )


@frozen
class Sms:
    """A message that a number received (`sms`). It has no id of its own."""

    text: str
    """The whole text, as sent."""
    sender: str | None = None
    """The sender's name or number; None if missing (seen on the live server)."""
    received: datetime | None = None
    """The time of receipt, aware UTC, to the second; None if missing (seen on the live server)."""
    other: bool = False
    """True if listed separately from the messages of the order's service (``OtherSms``, seen on the live server)."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""

    @property
    def code(self) -> str | None:
        """The one-time code in the text, ready to be entered, such as ``"671094"``; None if no code is found.

        See `extract_code` for the rules and limits.
        """
        return extract_code(self.text)


@frozen
class PastOrder:
    """An order in the archive (`get_rent_history`)."""

    order_id: int
    """The order's id, an argument of `SmspvaClient.restore_quote` and `SmspvaClient.restore`."""
    service: str
    """The service's code, such as ``opt59``; ``""`` if missing."""
    phone: str
    """The whole number, such as ``+79020831944``; ``""`` if missing."""
    had_sms: bool | None
    """True if it received a message; None if missing."""
    days: int | None
    """The length of the rental in days, as the server counts them; None if missing."""
    country: str
    """Two letters; the United Kingdom is ``UK``. ``""`` if missing."""
    begin: datetime | None
    """The beginning of the rental, aware UTC; None if missing."""
    end: datetime | None
    """The planned end of the rental, aware UTC; None if missing."""
    closed: datetime | None
    """The time when the order was closed, aware UTC; None if missing."""
    restorable: bool | None = None
    """True if the server says that it can be restored (``isAvailForRestore``); None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""


@frozen
class RestoreQuote:
    """The cost of restoring an expired order (`restore_user_precalc`).

    The overdue days are charged without a discount, and some days are paid in advance (rental page).
    """

    order_id: int
    """The id of the expired order; the restored one may have a new id."""
    country: str
    """Two letters; the United Kingdom is ``UK``. ``""`` if missing."""
    service: str
    """The service's code, such as ``opt59``; ``""`` if missing."""
    service_name: str
    """The service's name; ``""`` if missing."""
    phone: str
    """The whole number, such as ``+79929831844``; ``""`` if missing."""
    price: Decimal
    """US dollars for the overdue and the prepaid days together."""
    overdue_days: int | None = None
    """Days since the rental ended (``outdays``); None if missing."""
    prolong_days: int | None = None
    """Days paid in advance (``prolongTo``); None if missing."""
    extra: Mapping[str, object] = _extra()
    """The server's other fields, and raw values of unreadable ones, by its names; not part of equality and hash."""


@frozen
class Reconciliation:
    """The result of comparing the server's state with a call whose outcome was unknown (`SmspvaClient.reconcile`)."""

    verdict: Literal["done", "not_done", "open"]
    """The call's outcome; ``"open"`` if it can't be determined, or not yet."""
    candidates: tuple[Order, ...] = ()
    """The orders that the call may have created, or the order that it was about, as listed now."""


@frozen
class Purchase:
    """The record of a call that spends or destroys (`SmspvaClient.purchases`)."""

    method: str
    """The provider's method, such as ``"create"``."""
    params: Mapping[str, str] = field(hash=False)
    """The call's parameters, without the key."""
    started_at: datetime
    """The start of the call by this machine's clock, aware UTC."""
    outcome: Literal["done", "refused", "not_sent", "unknown", "settled"]
    """The call's outcome; also ``"unknown"`` while it is in progress."""
    order_ids: tuple[int, ...] = ()
    """The ids of the orders that the answer named, or that `reconcile` proved before the call was settled."""


@frozen
class SkippedRow:
    """A row of a list that couldn't be decoded."""

    reason: str
    """The field that is missing or unreadable, by the server's name, and the problem."""
    raw: object = field(hash=False)
    """The row as the server sent it, decoded as JSON."""
    order_id: int | None = None
    """The row's order id if it could be decoded; None for rows that aren't orders."""


class Rows(list[T]):
    """A list of the rows of an answer, with details of the answer."""

    skipped: tuple[SkippedRow, ...]
    """Rows that couldn't be decoded."""
    date: datetime | None
    """The time of the answer by the server's clock (the ``Date`` header), aware UTC; None if missing."""
    took: float
    """Seconds from sending the request to its answer."""
    extra: Mapping[str, object]
    """Other fields that the server sent with the rows."""

    def __init__(
        self,
        rows: Iterable[T] = (),
        *,
        skipped: Iterable[SkippedRow] = (),
        date: datetime | None = None,
        took: float = 0.0,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(rows)
        self.skipped = tuple(skipped)
        self.date = date
        self.took = took
        self.extra = {} if extra is None else extra


def fingerprints(rows: Sequence[SkippedRow], origin: object) -> list[str]:
    """Return an identifier for each row that an answer of the same origin (a method or an order) has again.

    Values may change with each answer. Rows are therefore identified by order id and reason, and numbered.
    """
    numbers = Counter[tuple[int | None, str]]()
    found: list[str] = []
    for row in rows:
        kind = row.order_id, row.reason.partition(", got ")[0]  # without the value
        numbers[kind] += 1
        found.append(hashlib.sha256(json.dumps([origin, *kind, numbers[kind]]).encode()).hexdigest())
    return found


def utc(seconds: float) -> datetime:
    """Return the aware UTC datetime of a unix time."""
    return datetime.fromtimestamp(seconds, UTC)
