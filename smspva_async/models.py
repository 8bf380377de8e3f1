"""What the API speaks of: countries, offers, orders, messages, and the list they come in.

Every model is a frozen attrs class. Fields that the server sent and the model doesn't know are kept in `extra`, which
takes no part in equality and hash. Times are aware UTC datetimes, prices are US dollars as `Decimal`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal, TypeVar

from attrs import Factory, field, frozen

from smspva_async._codes import extract_code

__all__ = [
    "Country",
    "Offer",
    "Order",
    "OrderState",
    "PastOrder",
    "Period",
    "Reconciliation",
    "Rental",
    "RestoreQuote",
    "Rows",
    "SkippedRow",
    "Sms",
]

T = TypeVar("T")

_DAYS = {"week": 7, "month": 30}
_LONGEST_DAYS = 90


def _extra() -> Any:  # noqa: ANN401 - attrs types a field by what its class declares
    return field(factory=dict[str, object], eq=False, repr=False, kw_only=True)


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

    @property
    def days(self) -> int:
        """The period in days, a month counted as 30."""
        return _DAYS[self.kind] * self.count


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
    """Two letters as the provider writes them; the United Kingdom is ``UK`` (not told on the rental page)."""
    switch_type: str | int | None = None
    """How its numbers become active (``rent_switch_type``, seen on the live server), as sent; None where it isn't."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""


@frozen
class Offer:
    """A service that can be rented in a country (`getdata`)."""

    name: str
    """The service's name, such as ``Airbnb``."""
    service: str
    """The service's code, such as ``opt16``."""
    price_day: Decimal
    """US dollars per day."""
    count: int
    """Numbers available; the sum where there is a count per provider (seen on the live server), as `extra` has it."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""


@frozen
class Rental:
    """A number just rented (`create`, `create_multi`, `add_service_to_order`)."""

    id: int
    """The order's id, which the calls about the number take."""
    phone: str
    """The whole number, such as ``+79096037108``."""
    service: str
    """The service's code, such as ``opt16``."""
    until: datetime
    """When the rental ends, aware UTC."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""


@frozen
class Order:
    """A rented number (`orders`)."""

    id: int
    """The order's id, which the calls about the number take."""
    service: str
    """The service's code, such as ``opt16``."""
    service_name: str
    """The service's name, ``""`` where the server leaves it out."""
    state: OrderState
    """Whether messages can be received; `OrderState.UNKNOWN` for a number that the rental page doesn't list."""
    phone: str
    """The whole number, such as ``+79096068511``."""
    country: str
    """Two letters as the provider writes them, ``UK`` for one; ``""`` where the server leaves them out."""
    has_new_sms: bool
    """The server's flag for a new message; whether reading messages clears it isn't known."""
    until: datetime
    """When the rental ends, aware UTC."""
    can_prolong: bool = False
    """Whether it can be prolonged now: only in its last 7 days (rental page). False where the server doesn't say."""
    can_prolong_days: int | None = None
    """By how many days it can be prolonged at most; None where the server leaves it out."""
    can_prolong_until: datetime | None = None
    """Until when it can be prolonged at most, aware UTC; None where the server leaves it out."""
    last_online: datetime | None = None
    """When the number was last online, aware UTC; None where the server leaves it out. Its change is no event."""
    raw_state: int = field(default=Factory(lambda order: int(order.state), takes_self=True))
    """The state as the server numbers it."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""


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
    """The service's code, such as ``opt59``."""
    phone: str
    """The whole number, such as ``+79020831944``."""
    had_sms: bool
    """Whether it received a message."""
    days: int
    """For how many days it was rented, as the server counts them."""
    country: str
    """Two letters as the provider writes them."""
    begin: datetime
    """When the rental began, aware UTC."""
    end: datetime
    """When the rental was to end, aware UTC."""
    closed: datetime | None
    """When the order was closed, aware UTC; None where the server doesn't say."""
    restorable: bool | None = None
    """Whether the server calls it restorable (not on the rental page); None where it doesn't say."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""


@frozen
class RestoreQuote:
    """What it costs to restore an expired order (`restore_user_precalc`).

    The overdue days are charged without any discount (rental page), beside the days that are paid in advance.
    """

    order_id: int
    """The id of the expired order; the restored one may get another (seen on the live server)."""
    country: str
    """Two letters as the provider writes them."""
    service: str
    """The service's code, such as ``opt59``."""
    service_name: str
    """The service's name, ``""`` where the server leaves it out."""
    phone: str
    """The whole number, such as ``+79929831844``."""
    price: Decimal
    """US dollars for the overdue days and the prepaid ones together."""
    overdue_days: int
    """Days since the rental ended (``outdays``)."""
    prolong_days: int
    """Days that are paid in advance (``prolongTo``)."""
    extra: Mapping[str, object] = _extra()
    """What else the server sent, by its own names; no part of equality and hash."""


@frozen
class Reconciliation:
    """What a comparison with the server shows of a call whose outcome wasn't known (`SmspvaClient.reconcile`)."""

    verdict: Literal["done", "not_done", "open"]
    """Whether the call was done; ``"open"``: what there is to see doesn't tell, or not yet."""
    candidates: tuple[Order, ...] = ()
    """The orders that the call may have made, or the one that it was about, as they are listed now."""


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
