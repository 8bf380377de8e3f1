"""How things are called and written, wherever a command speaks of them."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from smspva_async import Order, OrderState, Period

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["STATUS", "clean", "date", "days", "local", "minute", "period", "second", "service", "short", "status"]

_LONGEST_TEXT = 600

STATUS = {
    OrderState.INACTIVE: "inactive",
    OrderState.ACTIVATING: "queued",
    OrderState.ACTIVE: "active",
    OrderState.ABSENT: "absent",
}
"""A number's state in a word, as narrow as a table's column."""


def status(order: Order) -> str:
    """Return an order's state in a word."""
    return STATUS.get(order.state, f"state {order.raw_state}")


def service(order: Order) -> str:
    """Return the name of an order's service and the codes of further ones, or the codes where it has no name."""
    return clean(", ".join([order.service_name or order.service, *order.services[1:]]))


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
    """Return a text of somebody else's on one line, with nothing in it that a terminal would obey."""
    return "".join(map(_printable, " ".join(text.split())))


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    # Marks that only steer the writing, such as its direction, are left out; the rest is told as Python writes it.
    return "" if unicodedata.category(char) == "Cf" else char.encode("unicode_escape").decode()
