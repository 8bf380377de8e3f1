"""The models: countries, offers, orders, messages, and the list that an answer's rows come in.

Every model is a frozen attrs class. `extra` holds what the server sent beside a model's fields, and fields of an odd
form as they came; it takes no part in equality and hash. Times are aware UTC datetimes, prices US dollars as `Decimal`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, ClassVar, Literal, NoReturn, TypeVar, overload

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
_LONGEST_DAYS = 90


def _extra() -> Any:  # noqa: ANN401 - attrs types a field by what its class declares
    return field(factory=dict[str, object], eq=False, repr=False, kw_only=True)


class _Days:
    """`Period.days`. On the class itself it is a common mistake for a constructor, and says so."""

    @overload
    def __get__(self, period: None, owner: type[Period]) -> Callable[[int], NoReturn]: ...
    @overload
    def __get__(self, period: Period, owner: type[Period]) -> int: ...
    def __get__(self, period: Period | None, owner: type[Period]) -> int | Callable[[int], NoReturn]:
        return _no_days if period is None else _DAYS[period.kind] * period.count


def _no_days(count: int) -> NoReturn:
    raise ValueError(f"a period is in weeks or months, Period.weeks(1) for instance, not in days: {count!r}")


@frozen
class Period:
    """How long to rent: whole weeks or whole months, 7 to 90 days; a month counts as 30 days here.

    The most is what the rental page guarantees, the least comes from an error message seen elsewhere on the provider.
    Make one with `Period.weeks` or `Period.months`. A period that can't be rented raises `ValueError`.
    """

    kind: Literal["week", "month"]
    """The unit, which the provider calls ``dtype``."""
    count: int
    """How many of them (``dcount``)."""

    def __attrs_post_init__(self) -> None:
        if self.kind not in tuple(_DAYS):
            raise ValueError(f"a period is in weeks or months, not in {self.kind!r}")
        if type(self.count) is not int or self.count < 1:
            raise ValueError(f"a period lasts one {self.kind} at least, as a whole number: {self.count!r}")
        if self.days > _LONGEST_DAYS:
            raise ValueError(f"a rental lasts {_LONGEST_DAYS} days at most: {self.count} {self.kind}s are {self.days}")

    @classmethod
    def weeks(cls, count: int) -> Period:
        """Return a period of whole weeks.

        Args:
            count: How many, 1 to 12.

        Raises:
            ValueError: It can't be rented for so long.

        """
        return cls("week", count)

    @classmethod
    def months(cls, count: int) -> Period:
        """Return a period of whole months.

        Args:
            count: How many, 1 to 3.

        Raises:
            ValueError: It can't be rented for so long.

        """
        return cls("month", count)

    days: ClassVar[_Days] = _Days()
    """The period in days, a month counted as 30."""


WEEK = Period.weeks(1)
"""One week, the default of every call that takes a period."""


class OrderState(IntEnum):
    """The state of a number (rental page)."""

    INACTIVE = 0
    """Not active: activate it before a message is sent to it."""
    ACTIVE = 1
    """Can receive messages."""
    ACTIVATING = 2
    """Waiting in the queue for activation."""
    ABSENT = -1
    """The number is not in the provider's system."""
    UNKNOWN = -99
    """A state that the rental page doesn't list; `Order.raw_state` has the server's number."""


@frozen
class Country:
    """A country with numbers (`getcountries`)."""

    name: str
    """The provider's name of it, in a language of the provider's choice: ``Россия`` on the rental page."""
    code: str
    """Two letters as the provider writes them; the United Kingdom is ``UK``."""
    switch_type: str | int | None = None
    """The way its numbers become active (``rent_switch_type``, such as ``FAST``), as sent; None where it isn't sent."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""


@frozen
class Service:
    """A service that numbers can be rented for (`get_default_services`)."""

    service: str
    """The service's code, such as ``opt16``. Codes are stable; names change."""
    name: str
    """The service's name, such as ``Instagram``."""
    price_day: Decimal | None = None
    """US dollars per day, before the country is chosen; None where the server doesn't say."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""


@frozen
class CountryOffer:
    """A country that offers a service (`get_country_by_service`)."""

    country: str
    """Two letters as the provider writes them."""
    name: str
    """The country as the server names it in the row (``country``), ``""`` where it doesn't."""
    price: Decimal | None = None
    """US dollars as the server states them, per day or for the period (it isn't documented); None where it doesn't."""
    count: int | None = None
    """Numbers available (``phoneAmount``); None where the server doesn't say."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""


@frozen
class Offer:
    """A service that can be rented in a country (`getdata`, `getdataWithProviders`)."""

    name: str
    """The service's name, such as ``Airbnb``."""
    service: str
    """The service's code, such as ``opt16``."""
    price_day: Decimal | None = None
    """US dollars per day; None where the server sends no readable price."""
    count: int | None = None
    """Numbers available, of all providers together; None where the server sends no readable number."""
    by_provider: Mapping[str, int] = field(factory=dict[str, int], hash=False)
    """Numbers available by provider; empty where the server doesn't tell providers apart."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""


@frozen
class Stock:
    """Numbers available for a service in a country (`getCountWithProviders`)."""

    total: int
    """Numbers of all providers together."""
    by_provider: Mapping[str, int] = field(factory=dict[str, int], hash=False)
    """Numbers by provider; empty where the server doesn't tell providers apart."""


@frozen
class Rental:
    """A number just rented (`create`, `create_multi`, `add_service_to_order`)."""

    id: int
    """The order's id, which the calls about the number take."""
    phone: str = ""
    """The whole number, such as ``+79096037108``; ``""`` where the answer lacks it, though `orders` will have it."""
    services: tuple[str, ...] = ()
    """The codes of its services, sorted, such as ``("opt16",)``."""
    until: datetime | None = None
    """When the rental ends, aware UTC; None where the answer lacks it."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""

    @property
    def service(self) -> str:
        """The first of `services`, ``""`` where there is none."""
        return self.services[0] if self.services else ""


@frozen
class Order:
    """A rented number (`orders`). Rows that share an id are one order with several services."""

    id: int
    """The order's id, which the calls about the number take."""
    services: tuple[str, ...]
    """The codes of its services, sorted, such as ``("opt16",)``; empty where the server leaves them out."""
    service_name: str
    """The first service's name, ``""`` where the server leaves it out."""
    state: OrderState
    """Only `OrderState.ACTIVE` receives messages; `OrderState.UNKNOWN` is a state that the rental page doesn't list."""
    phone: str
    """The whole number, such as ``+79096068511``; ``""`` where it can't be read."""
    country: str
    """Two letters as the provider writes them, ``UK`` for one; ``""`` where the server leaves them out."""
    has_new_sms: bool | None
    """The server's flag for a new message; None where it isn't sent. Whether reading clears it isn't known."""
    until: datetime | None
    """When the rental ends, aware UTC; None where it can't be read."""
    can_prolong: bool | None = None
    """True if it can be prolonged now: only in its last 7 days (rental page). None where the server doesn't say."""
    can_prolong_days: int | None = None
    """By how many days it can be prolonged at most; None where the server leaves it out."""
    can_prolong_until: datetime | None = None
    """Until when it can be prolonged at most, aware UTC; None where the server leaves it out."""
    last_online: datetime | None = None
    """When the number was last online, aware UTC; None where the server leaves it out. Its change is no event."""
    raw_state: int | str | None = field(default=Factory(lambda order: int(order.state), takes_self=True))
    """The state's number, or its text where it isn't a number; None where neither is sent."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""

    @property
    def service(self) -> str:
        """The first of `services`, ``""`` where there is none."""
        return self.services[0] if self.services else ""


_NEAREST_TO_ACTIVE = (
    OrderState.ACTIVE,
    OrderState.ACTIVATING,
    OrderState.INACTIVE,
    OrderState.ABSENT,
    OrderState.UNKNOWN,
)


def merge_orders(orders: Sequence[Order]) -> Sequence[Order]:
    """Return the orders with each id once. Rows that share an id are one number with several services."""
    if len({order.id for order in orders}) == len(orders):
        return orders
    by_id: dict[int, list[Order]] = {}
    for order in orders:
        by_id.setdefault(order.id, []).append(order)
    return [_merged(rows) for rows in by_id.values()]


def _merged(rows: Sequence[Order]) -> Order:
    if len(rows) == 1:
        return rows[0]
    # To the last field, so that the sequence of the rows makes no difference.
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
    """Who sent it, a name or a number; None where the server doesn't say (seen on the live server)."""
    received: datetime | None = None
    """When it was received, aware UTC, to the second; None for one without a date (seen on the live server)."""
    other: bool = False
    """True for one listed apart from those of the order's service (``OtherSms``, seen on the live server)."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""

    @property
    def code(self) -> str | None:
        """The one-time code in the text as one types it, such as ``"671094"``, or None if there is none to be seen.

        Found by `extract_code`, which says how and what its limits are.
        """
        return extract_code(self.text)


@frozen
class PastOrder:
    """An order of the archive (`get_rent_history`)."""

    order_id: int
    """The order's id, which `SmspvaClient.restore_quote` and `SmspvaClient.restore` take."""
    service: str
    """The service's code, such as ``opt59``; ``""`` where the server leaves it out."""
    phone: str
    """The whole number, such as ``+79020831944``; ``""`` where it can't be read."""
    had_sms: bool | None
    """True if it received a message; None where the server doesn't say."""
    days: int | None
    """For how many days it was rented, as the server counts them; None where it doesn't say."""
    country: str
    """Two letters as the provider writes them; ``""`` where the server leaves them out."""
    begin: datetime | None
    """When the rental began, aware UTC; None where the server doesn't say."""
    end: datetime | None
    """When the rental was to end, aware UTC; None where the server doesn't say."""
    closed: datetime | None
    """When the order was closed, aware UTC; None where the server doesn't say."""
    restorable: bool | None = None
    """True if the server calls it restorable (``isAvailForRestore``); None where it doesn't say."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""


@frozen
class RestoreQuote:
    """The cost of restoring an expired order (`restore_user_precalc`).

    The overdue days are charged without any discount (rental page), and some days are paid in advance.
    """

    order_id: int
    """The id of the expired order; the restored one may get another."""
    country: str
    """Two letters as the provider writes them; ``""`` where the server leaves them out."""
    service: str
    """The service's code, such as ``opt59``; ``""`` where the server leaves it out."""
    service_name: str
    """The service's name, ``""`` where the server leaves it out."""
    phone: str
    """The whole number, such as ``+79929831844``; ``""`` where it can't be read."""
    price: Decimal
    """US dollars for the overdue days and the prepaid ones together."""
    overdue_days: int | None = None
    """Days since the rental ended (``outdays``); None where the server doesn't say."""
    prolong_days: int | None = None
    """Days that are paid in advance (``prolongTo``); None where the server doesn't say."""
    extra: Mapping[str, object] = _extra()
    """Other fields that the server sent, by its names, and fields of an odd form; not part of equality and hash."""


@frozen
class Reconciliation:
    """What a comparison with the server shows of a call whose outcome wasn't known (`SmspvaClient.reconcile`)."""

    verdict: Literal["done", "not_done", "open"]
    """Whether the call was done; ``"open"``: what there is to see doesn't tell, or not yet."""
    candidates: tuple[Order, ...] = ()
    """The orders that the call may have made, or the one that it was about, as they are listed now."""


@frozen
class Purchase:
    """A call that spends or destroys, as it is recorded (`SmspvaClient.purchases`)."""

    method: str
    """The provider's method, such as ``"create"``."""
    params: Mapping[str, str] = field(hash=False)
    """The call's parameters, without the key."""
    started_at: datetime
    """When it began, by this machine's clock; aware UTC."""
    outcome: Literal["done", "refused", "not_sent", "unknown", "settled"]
    """What became of it; ``"unknown"`` also while it is in progress."""
    order_ids: tuple[int, ...] = ()
    """The orders that the answer named."""


@frozen
class SkippedRow:
    """A row of a list that could not be read."""

    reason: str
    """What is missing or wrong in it, by the server's names."""
    raw: object = field(hash=False)
    """The row as the server sent it, read as JSON."""
    order_id: int | None = None
    """The row's order id where that much was readable; None also for rows that are no orders."""


class Rows(list[T]):
    """The rows of an answer: a list, and what is to be known about the answer as a whole."""

    skipped: tuple[SkippedRow, ...]
    """Rows that could not be read."""
    date: datetime | None
    """When the server answered, by its own clock (the ``Date`` header), aware UTC; None where it didn't say."""
    took: float
    """Seconds from sending the request to its answer."""
    extra: Mapping[str, object]
    """What the server sent beside the rows."""
    repeated: bool
    """Whether it is, byte for byte, the answer before; told only to a watcher."""

    def __init__(
        self,
        rows: Iterable[T] = (),
        *,
        skipped: Iterable[SkippedRow] = (),
        date: datetime | None = None,
        took: float = 0.0,
        extra: Mapping[str, object] | None = None,
        repeated: bool = False,
    ) -> None:
        super().__init__(rows)
        self.skipped = tuple(skipped)
        self.date = date
        self.took = took
        self.extra = {} if extra is None else extra
        self.repeated = repeated


def fingerprint(row: SkippedRow, where: object) -> str:
    """Return what a row that can't be read is known by when it comes again in the same place."""
    try:
        told = json.dumps([where, row.raw], sort_keys=True, default=repr)
    except RecursionError:
        told = f"{where}: nested too deeply to be told apart"
    return hashlib.sha256(told.encode()).hexdigest()


def utc(seconds: float) -> datetime:
    """Return the aware UTC datetime of a unix time."""
    return datetime.fromtimestamp(seconds, UTC)
