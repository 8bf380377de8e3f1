"""The tolerant reader: a row as the server writes it -> a model.

The server is PHP and its answers vary: a number may come as a string, a bool as 0 or "1", a list as an object with
numbered keys, an empty list as ``[]``, ``{}`` or ``null``. All that is accepted; what doesn't fit is refused, never
bent into shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from operator import eq
from reprlib import repr as shortened
from typing import Any, Generic, TypeGuard, TypeVar

from attrs import frozen
from cattrs import BaseValidationError, Converter, transform_error

from smspva_async.models import OrderState, Rows, SkippedRow, utc

__all__ = [
    "TOO_LARGE",
    "Reader",
    "UnreadableError",
    "boolean",
    "gather",
    "integer",
    "is_object",
    "items",
    "one",
    "read_row",
    "read_rows",
    "row",
]

T = TypeVar("T")

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
TOO_LARGE = 10**18  # what has more digits is an error, and few databases could hold it
_PHONE = re.compile(r"\s*\+?[\s(]*[0-9][0-9\s().-]*")
_BOOLEANS = {1: True, "1": True, "true": True, 0: False, "0": False, "false": False, "": False}


class UnreadableError(ValueError):
    """A value isn't what it should be."""


def integer(value: object, _: object = None) -> int:
    """Read a whole number; a text of digits is one, 40300.9 is none."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value == value // 1
        and abs(value) < TOO_LARGE
    ):
        return int(value)
    raise UnreadableError(f"{shortened(value)} is no whole number")


def boolean(value: object, _: object = None) -> bool:
    """Read true or false in any of PHP's forms."""
    if isinstance(value, str):
        value = value.lower()
    if isinstance(value, str | int) and value in _BOOLEANS:
        return _BOOLEANS[value]
    raise UnreadableError(f"{shortened(value)} is neither true nor false")


def _string(value: object, _: object = None) -> str:
    if isinstance(value, str):
        return value
    raise UnreadableError(f"{shortened(value)} is no text")


def _string_or_number(value: object, _: object = None) -> str | int | None:
    return value if value is None or type(value) is int else _string(value)


def _decimal(value: object, _: object = None) -> Decimal:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            # By way of the shortest text that names the float: 2.4 is meant, not its binary neighbour.
            number = Decimal(str(value))
        except InvalidOperation:
            pass
        else:
            if number.is_finite():
                return number
    raise UnreadableError(f"{shortened(value)} is no price")


def _time(value: object, _: object = None) -> datetime:
    seconds = integer(value)
    try:
        return utc(seconds)
    except (OverflowError, ValueError, OSError):
        raise UnreadableError(f"{shortened(value)} is no unix time") from None


def _is_nothing(value: object) -> bool:
    """Tell whether a value is what PHP makes of one that isn't there."""
    return value is None or value is False or value == ""


def _optional_integer(value: object, _: object = None) -> int | None:
    return None if _is_nothing(value) else integer(value)


def _optional_time(value: object, _: object = None) -> datetime | None:
    return None if _is_nothing(value) or value in (0, "0") else _time(value)


def _state(value: object, _: object = None) -> OrderState:
    number = integer(value)
    try:
        return OrderState(number)
    except ValueError:
        return OrderState.UNKNOWN


def _as_it_is(value: object, _: object = None) -> object:
    return value


_converter = Converter()
for _hook, _type in (
    (integer, int),
    (boolean, bool),
    (_string, str),
    (_decimal, Decimal),
    (_time, datetime),
    (_state, OrderState),
):
    _converter.register_structure_hook(_type, _hook)
for _type_hook, _union in (
    (_string_or_number, str | int | None),
    (_optional_integer, int | None),
    (_optional_time, datetime | None),
    (_as_it_is, Mapping[str, object]),
):
    _converter.register_structure_hook_func(partial(eq, _union), _type_hook)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether it is a JSON object."""
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def row(value: object) -> dict[str, Any]:
    """Return an object as it is."""
    if is_object(value):
        return value
    raise UnreadableError(f"{shortened(value)} is no object")


def items(value: object) -> Sequence[object]:
    """Return a list's rows, in any of the forms in which PHP writes a list."""
    if value is None:
        return []
    if _is_list(value):
        return value
    if is_object(value) and all(key.isdecimal() for key in value):
        return list(value.values())
    raise UnreadableError("no list")


def one(value: object) -> object:
    """Return a row by itself, also where it comes as the only one of a list."""
    rows: Sequence[object] = items(value) if _is_list(value) or (is_object(value) and "0" in value) else []
    return rows[0] if len(rows) == 1 else value


def _none(_: dict[str, Any]) -> None:
    return None


@frozen
class Reader(Generic[T]):
    """Reads a row into a model whose fields the server calls by other names; what is left over goes to `extra`."""

    model: type[T]
    names: Mapping[str, str]
    """The model's field -> the server's."""
    absent: Mapping[str, object] = {}
    """What a field is where the server leaves it out."""
    phone: tuple[str | None, str] | None = None
    """The server's fields of the dial code and the number, where the model has a phone."""
    shortcut: Callable[[dict[str, Any]], T | None] = _none
    """Reads a row in the form that the rental page shows, sooner; None for a row in any other."""

    def __call__(self, item: object) -> T:
        """Return the model.

        Raises:
            UnreadableError: It isn't to be found in the row.

        """
        fields = row(item)
        model = self.shortcut(fields)
        return self.carefully(fields) if model is None else model

    def carefully(self, fields: dict[str, Any]) -> T:
        """Return the model of a row in whatever form."""
        used = set(self.names.values())
        # A field left out and a null are the same to PHP.
        found = {ours: fields[theirs] for ours, theirs in self.names.items() if fields.get(theirs) is not None}
        if self.phone is not None:
            used.update(name for name in self.phone if name is not None)
            dial_code, number = (fields.get(name) if name is not None else None for name in self.phone)
            found["phone"] = _phone(dial_code, number)
        extra = {key: value for key, value in fields.items() if key not in used}
        try:
            return _converter.structure({**self.absent, **found, "extra": extra}, self.model)
        except BaseValidationError as error:
            told = "; ".join(transform_error(error, "row", self._tell))
            for ours, theirs in self.names.items():
                told = re.sub(rf"\brow\.{ours}\b", f"row.{theirs}", told)
            raise UnreadableError(told) from None

    def _tell(self, error: BaseException, _: type | None) -> str:
        if isinstance(error, KeyError):
            return f"{self.names.get(error.args[0], error.args[0])} is missing"
        return str(error)


def _phone(dial_code: object, number: object) -> str:
    """Return the whole number: the digits of the dial code, then those of the number; none is ever stripped."""
    digits = _digits(number)
    if not digits:
        raise UnreadableError(f"{shortened(number)} is no phone number")
    if isinstance(number, str) and number.lstrip().startswith("+"):
        return f"+{digits}"
    return f"+{_digits(dial_code)}{digits}"


def _digits(value: object) -> str:
    """Return the digits of a phone number or a part of one; anything else in it makes it another thing."""
    written = str(value) if type(value) is int else value
    if written is None or written == "":
        return ""
    if isinstance(written, str) and _PHONE.fullmatch(written):
        return "".join(character for character in written if character.isdigit())
    raise UnreadableError(f"{shortened(value)} is no phone number")


def read_row(item: object, read: Callable[[object], T], order_id: str | None = None) -> T | SkippedRow:
    """Return the row that was read, or why it can't be.

    Args:
        item: The row.
        read: What reads it.
        order_id: The server's name of the field that holds an order's id, where the rows are orders.

    """
    try:
        return read(item)
    except UnreadableError as error:
        return SkippedRow(str(error), item, _id_of(item, order_id))


def gather(rows: Iterable[T | SkippedRow]) -> tuple[list[T], list[SkippedRow]]:
    """Return the rows that could be read and, apart, those that couldn't.

    Raises:
        UnreadableError: There are rows, and none could be read.

    """
    good: list[T] = []
    skipped: list[SkippedRow] = []
    for row in rows:
        if isinstance(row, SkippedRow):
            skipped.append(row)
        else:
            good.append(row)
    if skipped and not good:
        raise UnreadableError(f"no row can be read, the first because {skipped[0].reason}")
    return good, skipped


def read_rows(rows: Iterable[tuple[object, Callable[[object], T]]], order_id: str | None = None) -> Rows[T]:
    """Return the rows that can be read and, apart, those that can't.

    Args:
        rows: Each row with what reads it.
        order_id: As for `read_row`.

    Raises:
        UnreadableError: There are rows, and none can be read.

    """
    good, skipped = gather(read_row(item, read, order_id) for item, read in rows)
    return Rows(good, skipped=skipped)


def _id_of(item: object, key: str | None) -> int | None:
    try:
        return None if key is None else integer(row(item).get(key))
    except UnreadableError:
        return None
