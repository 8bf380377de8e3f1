"""Format values as text: names, amounts, times in local time, and untrusted text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from smspva_async import Order, OutcomeUnknown, Period, Sms

_LONGEST_TEXT = 600
_SHORT_ID = 8


def service(order: Order) -> str:
    """Return the name of an order's service, followed by all codes if there are several; without a name, the codes."""
    codes = services(order.services)
    name = clean(order.service_name)
    return f"{name} ({codes})" if name and len(order.services) > 1 else name or codes


def order(order: Order, preposition: str = "until") -> str:
    """Return an order's id, number, service and end, such as ``#40300, +79052798263, Telegram, until ...``."""
    return f"#{order.id}, {phone(order.phone)}, {service(order)}, {preposition} {minute(order.until)}"


def services(names: Iterable[str]) -> str:
    """Return the names or codes of services, separated by commas."""
    return clean(", ".join(filter(None, names))) or "unknown service"


def short_id(error: OutcomeUnknown) -> str:
    """Return the first characters of a call's id, enough to identify the call."""
    return error.call[:_SHORT_ID]


def phone(number: str) -> str:
    """Return a phone number, or ``unknown number`` if it is empty."""
    return clean(number) or "unknown number"


def price(dollars: Decimal | None) -> str:
    """Return a price as a table's cell."""
    return "?" if dollars is None else f"{dollars:.2f}"


def count(number: int | None) -> str:
    """Return a count as a table's cell."""
    return "?" if number is None else str(number)


def period(value: Period) -> str:
    """Return a period such as ``2 weeks``."""
    return f"{value.count} {value.kind}{'s' * (value.count > 1)}"


def days(number: int | None) -> str:
    """Return a number of days such as ``3 days``."""
    return "unknown days" if number is None else f"{number} day{'s' * (number != 1)}"


def local_time(time: datetime) -> datetime:
    """Return a time in the local time zone, or unchanged if `datetime` can't represent the result."""
    try:
        return time.astimezone()
    except OverflowError:
        return time


def date(time: datetime | None) -> str:
    """Return the local date of a time."""
    return "unknown" if time is None else f"{local_time(time):%Y-%m-%d}"


def day(time: datetime | None) -> str:
    """Return the local day of a time, such as ``06 Dec``."""
    return "unknown" if time is None else f"{local_time(time):%d %b}"


def minute(time: datetime | None) -> str:
    """Return a local time, to the minute."""
    return "unknown" if time is None else f"{local_time(time):%Y-%m-%d %H:%M}"


def second(time: datetime) -> str:
    """Return a local time, to the second."""
    return f"{local_time(time):%Y-%m-%d %H:%M:%S}"


def age(seconds: float) -> str:
    """Return an age in words, such as ``3 min``."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit != "days" and seconds >= length):
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def received_at(message: Sms) -> tuple[bool, float]:
    """Return a sort key for messages: by time, undated ones first."""
    return message.received is not None, message.received.timestamp() if message.received is not None else 0.0


def shorten(text: str) -> str:
    """Return clean text, cut off after a few screen lines."""
    return clean(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…")


def clean(text: str) -> str:
    """Return untrusted text as one line without control characters."""
    return "".join(map(_printable, " ".join(text.split())))


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    # Format characters, such as direction marks, are removed. The rest is escaped as Python does.
    return "" if unicodedata.category(char) == "Cf" else char.encode("unicode_escape").decode()
