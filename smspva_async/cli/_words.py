"""The words and formats that all commands share."""

from __future__ import annotations

import shlex
import unicodedata
from typing import TYPE_CHECKING, Any

from smspva_async import Order, OrderState, Period
from smspva_async._api import methods

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from smspva_async import OutcomeUnknown, Purchase, SmspvaError

__all__ = [
    "STATUS",
    "as_typed",
    "clean",
    "command",
    "count",
    "date",
    "days",
    "describe",
    "dollars",
    "local",
    "minute",
    "period",
    "phone",
    "second",
    "service",
    "services",
    "short",
    "state",
    "status",
]

_LONGEST_TEXT = 600
_LONGEST_STATE = 16
_CALLS: Mapping[str, Sequence[methods.Method[Any]]] = {
    "services": [methods.SERVICES],
    "countries": [methods.COUNTRIES, methods.COUNTRIES_FOR],
    "offers": [methods.OFFERS, methods.OFFERS_BY_PROVIDER],
    "stock": [methods.STOCK, methods.STOCK_MULTI],
    "balance": [methods.BALANCE],
    "rent": [methods.RENT, methods.RENT_MULTI],
    "orders": [methods.ORDERS],
    "sms": [methods.SMS],
    "activate": [methods.ACTIVATE],
    "prolong": [methods.PROLONG, methods.PROLONG_DAYS],
    "add-service": [methods.ADD_SERVICE],
    "delete": [methods.DELETE],
    "history": [methods.HISTORY],
    "restore": [methods.RESTORE, methods.RESTORE_QUOTE],
}
_COMMANDS = {call.name: command for command, calls in _CALLS.items() for call in calls}
"""The command that makes a call, by the call's wire name."""

STATUS = {
    OrderState.INACTIVE: "inactive",
    OrderState.ACTIVATING: "queued",
    OrderState.ACTIVE: "active",
    OrderState.ABSENT: "absent",
}
"""A number's state in a word, as narrow as a table's column."""


def status(order: Order) -> str:
    """Return an order's state in a word."""
    return STATUS.get(order.state) or f"state {state(order)}"


def state(order: Order) -> str:
    """Return an order's state as the server sent it."""
    return "?" if order.raw_state is None else clean(str(order.raw_state))[:_LONGEST_STATE]


def service(order: Order) -> str:
    """Return the name of an order's service, with all codes where there are several, or else the codes."""
    codes = services(order.services)
    name = clean(order.service_name)
    return f"{name} ({codes})" if name and len(order.services) > 1 else name or codes


def services(names: Iterable[str]) -> str:
    """Return the names or codes of services as a list in words."""
    return clean(", ".join(filter(None, names))) or "unknown service"


def phone(number: str) -> str:
    """Return a phone number."""
    return clean(number) or "unknown number"


def dollars(price: Decimal | None) -> str:
    """Return a price as a table's cell."""
    return "?" if price is None else f"{price:.2f}"


def count(number: int | None) -> str:
    """Return a count as a table's cell."""
    return "?" if number is None else str(number)


def command(method: str | None) -> str:
    """Return the command that makes a call, by the call's wire name."""
    return _COMMANDS.get(method or "", method or "")


def as_typed(call: OutcomeUnknown | Purchase) -> str:
    """Return a call that spends as the command that makes it, such as ``rent PL opt29 --weeks 2``."""
    params = call.params
    words = [command(call.method), *(params[name] for name in ("country", "id", "service") if name in params)]
    words += params.get("services", "").split(",") if "services" in params else []
    words += [f"--{params['dtype']}s", params.get("dcount", "?")] if "dtype" in params else []
    words += ["--days", params["rent_days"]] if "rent_days" in params else []
    words += ["--provider", params["provider"]] if "provider" in params else []
    return clean(shlex.join(words))


def describe(error: SmspvaError) -> str:
    """Return an error with the command that makes the failed call, and the seconds it took."""
    name = command(error.method)
    text = f"{name}: {error.message}" if name else error.message
    return text if error.elapsed is None else f"{text} [after {error.elapsed:.1f} s]"


def period(value: Period) -> str:
    """Return a period such as ``2 weeks``."""
    return f"{value.count} {value.kind}{'s' * (value.count > 1)}"


def days(count: int | None) -> str:
    """Return a number of days in words."""
    return "unknown days" if count is None else f"{count} day{'s' * (count != 1)}"


def local(moment: datetime) -> datetime:
    """Return a moment in local time; as it is where the calendar ends before that."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment


def date(moment: datetime | None) -> str:
    """Return the day of a moment, in local time."""
    return "unknown" if moment is None else f"{local(moment):%Y-%m-%d}"


def minute(moment: datetime | None) -> str:
    """Return a moment to the minute, in local time."""
    return "unknown" if moment is None else f"{local(moment):%Y-%m-%d %H:%M}"


def second(moment: datetime) -> str:
    """Return a moment to the second, in local time."""
    return f"{local(moment):%Y-%m-%d %H:%M:%S}"


def short(text: str) -> str:
    """Return clean text without what goes beyond a few screen lines."""
    return clean(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…")


def clean(text: str) -> str:
    """Return a text from others as one line without control characters."""
    return "".join(map(_printable, " ".join(text.split())))


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    # Marks that only steer the writing, such as its direction, are left out; the rest is escaped as Python does.
    return "" if unicodedata.category(char) == "Cf" else char.encode("unicode_escape").decode()
