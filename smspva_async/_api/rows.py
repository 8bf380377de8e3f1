"""Decoders for the values and rows of an answer.

The server is PHP and its answers vary: a number may arrive as text, a bool as 0 or "1", a list as an object with
numbered keys. A field that can't be decoded gets its default, and its raw value is kept in `extra`. Only a required
field makes a row unreadable.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

from smspva_async.models import OrderState, Rows, SkippedRow, merge_orders, utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from smspva_async.models import Order

T = TypeVar("T")

_MAX_DIGITS = 18
"""The maximum number of digits: no id or time has more, and few databases could store one."""
_TOO_LARGE = 10**_MAX_DIGITS
_INTEGER = re.compile(rf"\s*[+-]?[0-9]{{1,{_MAX_DIGITS}}}\s*")
_PHONE = re.compile(r"\s*\+?[\s(]*[0-9][0-9\s().-]*")
_BOOLEANS = {1: True, "1": True, "true": True, 0: False, "0": False, "false": False, "": False}
_MILLISECONDS = 253_402_300_800
"""The year 10000 in seconds: a larger unix time is in milliseconds."""
_STATES = {int(state): state for state in OrderState}


class UnreadableError(ValueError):
    """A value doesn't have the expected form."""


def _expected(form: str, value: object) -> UnreadableError:
    return UnreadableError(f"expected {form}, got {shortened(value)}")


# -- values --------------------------------------------------------------------------------------------------------


def integer(value: object) -> int:
    """Decode an integer, which may be written as text or as 40300.0."""
    if type(value) is int and -_TOO_LARGE < value < _TOO_LARGE:  # the documented form first
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and abs(value) < _TOO_LARGE and value.is_integer():
        return int(value)
    raise _expected("an integer", value)


def order_id(value: object) -> int:
    """Decode an order id, an integer from 1."""
    number = integer(value)
    if number < 1:
        raise _expected("an order id", number)
    return number


def boolean(value: object) -> bool:
    """Decode a boolean in any of PHP's forms."""
    if type(value) is bool:
        return value
    if isinstance(value, str):
        value = value.lower()
    if isinstance(value, str | int) and value in _BOOLEANS:
        return _BOOLEANS[value]
    raise _expected("a boolean", value)


def text(value: object) -> str:
    """Decode text. PHP sometimes writes text of digits as a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        return str(value)
    raise _expected("text", value)


def optional_text(value: object) -> str | None:
    """Decode text, or false for missing text."""
    return None if value is False else text(value)


def code(value: object) -> str:
    """Decode a code: text that isn't empty."""
    if decoded := text(value):
        return decoded
    raise _expected("a code", value)


def as_sent(value: object) -> int | str:
    """Return a number or text unchanged."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise _expected("a number or text", value)


def integer_or_text(value: object) -> int | str:
    """Decode an integer, or text that isn't one."""
    try:
        return integer(value)
    except UnreadableError:
        return text(value)


def price(value: object) -> Decimal:
    """Decode an amount of money. A float is read as its shortest decimal: 2.4 is exactly 2.4."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            number = Decimal(str(value))
            if number.is_finite() and abs(number.adjusted()) < _MAX_DIGITS:
                return number
    raise _expected("a price", value)


def timestamp(value: object) -> datetime | None:
    """Decode a time: unix seconds or milliseconds, ``YYYY-MM-DD HH:MM:SS`` in UTC, ISO 8601; None for 0 and ""."""
    try:
        if type(value) is int or isinstance(value, float):
            return _from_unix_time(value)
        if value in (None, False, ""):
            return None
        if isinstance(value, str) and not _INTEGER.fullmatch(value):
            parsed = datetime.fromisoformat(value.strip())
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return _from_unix_time(integer(value))
    except (OverflowError, ValueError, OSError):
        raise _expected("a time", value) from None


@lru_cache(maxsize=65_536)  # most times of an order are the same in the next answer
def _from_unix_time(number: float) -> datetime | None:
    return utc(number / 1000 if abs(number) >= _MILLISECONDS else number) if number else None


def state(value: object) -> OrderState:
    """Decode an order's state; an undocumented one is `OrderState.UNKNOWN`."""
    return _STATES.get(integer(value), OrderState.UNKNOWN)


def service_codes(value: object) -> tuple[str, ...]:
    """Decode an order's service codes, sorted: one code, several separated by commas, or a list."""
    if isinstance(value, str) and value.isalnum():
        return (value,)
    codes = [text(item) for item in value] if _is_list(value) else text(value).split(",")
    found = tuple(sorted({item.strip() for item in codes} - {""}))
    if not found:
        raise _expected("service codes", value)
    return found


def _digits(value: object) -> str:
    """Return the digits of a phone number or of a part of one; "" if there is none."""
    written = str(value) if type(value) is int else value
    if written is None or written == "":
        return ""
    if isinstance(written, str) and _PHONE.fullmatch(written):
        return "".join(character for character in written if character.isdigit())
    raise _expected("a phone number", value)


def phone_number(dial_code: object, number: object) -> str:
    """Return the whole phone number: the digits of the dial code, then those of the number, without stripping any."""
    if isinstance(dial_code, str) and isinstance(number, str) and dial_code[:1] == "+":  # the documented form
        whole = dial_code[1:] + number
        if number and whole.isdecimal() and whole.isascii():
            return f"+{whole}"
    local = _digits(number)
    if not local:
        raise _expected("a phone number", number)
    is_whole = isinstance(number, str) and number.lstrip().startswith("+")
    return f"+{local}" if is_whole else f"+{_digits(dial_code)}{local}"


# -- containers ----------------------------------------------------------------------------------------------------


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def fields_of(value: object) -> dict[str, Any]:
    """Decode a JSON object."""
    if is_object(value):
        return value
    raise _expected("an object", value)


def items_of(value: object) -> Sequence[object]:
    """Decode a list in any of PHP's forms."""
    if value is None:
        return []
    if _is_list(value):
        return value
    if is_object(value) and all(map(str.isdecimal, value)):
        return list(value.values())
    raise _expected("a list", value)


def only_item_of(value: object) -> object:
    """Return the only item of a list; any other value unchanged."""
    with suppress(UnreadableError):
        items = items_of(value)
        return items[0] if len(items) == 1 else value
    return value


# -- rows ----------------------------------------------------------------------------------------------------------


class Field:
    """A model's field in a row.

    Args:
        names: The server's names for the field, the documented one first. The first name with a readable value is used.
        read: Decodes the value.
        default: The value if no name has a readable one.
        required: True if a row without the field is unreadable.

    """

    def __init__(
        self, *names: str, read: Callable[[object], Any] = text, default: object = None, required: bool = False
    ) -> None:
        self.names = names
        self.read = read
        self.default = default
        self.required = required


class RowReader(Generic[T]):
    """Decodes a row into a model. Fields that the model doesn't have go to `extra`.

    Args:
        model: The model's class.
        fields: The fields by the model's names.
        phone: The server's names of the dial code and the number, if the model has a phone.

    """

    def __init__(
        self, model: Callable[..., T], fields: Mapping[str, Field], *, phone: tuple[str | None, str] | None = None
    ) -> None:
        self._model = model
        self._fields = fields
        self._phone = phone
        self._documented = [(attribute, field.names[0], field.read) for attribute, field in fields.items()]
        self._documented_names = {*(name for _, name, _ in self._documented), *filter(None, phone or ())}
        self._names = {name for field in fields.values() for name in field.names}

    def __call__(self, item: object) -> T:
        """Return the model.

        Raises:
            UnreadableError: The row isn't an object, or a required field is missing or unreadable.

        """
        fields = fields_of(item)
        # Quick, for a row in the documented form.
        try:
            values = {attribute: read(fields[name]) for attribute, name, read in self._documented}
            if self._phone is not None:
                dial_code, number = self._phone
                values["phone"] = phone_number(None if dial_code is None else fields[dial_code], fields[number])
        except (KeyError, UnreadableError):
            return self._read_leniently(fields)
        has_more = len(fields) > len(self._documented_names)
        return self._model(**values, extra=self._unused(fields, self._documented_names) if has_more else {})

    def _read_leniently(self, fields: dict[str, Any]) -> T:
        values: dict[str, Any] = {}
        used: set[str] = set()
        for attribute, field in self._fields.items():
            values[attribute] = field.default
            reason = f"{field.names[0]} is missing"
            for name in field.names:
                if fields.get(name) is None:
                    continue
                try:
                    values[attribute] = field.read(fields[name])
                    used.add(name)
                    break
                except UnreadableError as error:
                    reason = f"{name}: {error}"
            else:
                if field.required:
                    raise UnreadableError(reason)
        if self._phone is not None:
            dial_code, number = self._phone
            values["phone"] = ""
            with suppress(UnreadableError):
                values["phone"] = phone_number(None if dial_code is None else fields.get(dial_code), fields.get(number))
                used.update(filter(None, self._phone))
        return self._model(**values, extra=self._unused(fields, used))

    def _unused(self, fields: dict[str, Any], used: set[str]) -> dict[str, object]:
        # For PHP a null is the same as a missing field.
        empty = {name for name in self._names if fields.get(name) is None}
        return {name: value for name, value in fields.items() if name not in used and name not in empty}


def read_rows(rows: Iterable[object], read: Callable[[object], T], *, id_name: str | None = None) -> Rows[T]:
    """Decode the rows of an answer; unreadable ones go to `Rows.skipped`.

    Args:
        rows: The rows.
        read: Decodes a row.
        id_name: The server's name of the order id, if the rows are orders.

    Raises:
        UnreadableError: There are rows, but no readable one.

    """
    return require_readable(read_any_rows(rows, read, id_name=id_name))


def read_orders(data: object, _: object, *, read: Callable[[object], Order]) -> Rows[Order]:
    """Decode the orders of an answer. Rows that share an id become one order."""
    rows = read_rows(items_of(data), read, id_name="id")
    rows[:] = merge_orders(rows)
    return rows


def read_any_rows(rows: Iterable[object], read: Callable[[object], T], *, id_name: str | None = None) -> Rows[T]:
    """Decode rows as `read_rows` does, but allow a list without a readable row."""
    readable: list[T] = []
    skipped: list[SkippedRow] = []
    for item in rows:
        try:
            readable.append(read(item))
        except UnreadableError as error:
            skipped.append(SkippedRow(str(error), item, _id_in(item, id_name)))
    return Rows(readable, skipped=skipped)


def require_readable(rows: Rows[T]) -> Rows[T]:
    """Return the rows unchanged; raise `UnreadableError` if all of them are unreadable."""
    if rows.skipped and not rows:
        raise UnreadableError(f"no row is readable; the first one: {rows.skipped[0].reason}")
    return rows


def _id_in(item: object, name: str | None) -> int | None:
    with suppress(UnreadableError):
        return None if name is None else order_id(fields_of(item).get(name))
    return None
