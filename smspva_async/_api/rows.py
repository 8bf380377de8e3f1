"""Rows of an answer as models.

The server is PHP and its answers vary: a number may come as text, a bool as 0 or "1", a list as an object with numbered
keys. A row in the documented form is read by a function that cattrs generates. Every other row is read field by field:
a field of an odd form becomes None and stays in `extra` as it came. Only the field that identifies a row can cost it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property, lru_cache, partial
from operator import eq, itemgetter
from reprlib import repr as shortened
from typing import Any, Generic, TypeGuard, TypeVar, cast

from attrs import define, fields as attributes_of
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from smspva_async.models import Order, OrderState, Rows, SkippedRow, merge_orders, utc

__all__ = [
    "Field",
    "RowReader",
    "UnreadableError",
    "as_sent",
    "boolean",
    "code",
    "gather",
    "integer",
    "integer_or_text",
    "is_object",
    "items",
    "moment",
    "one",
    "optional_text",
    "order_id",
    "price",
    "read_orders",
    "read_rows",
    "row",
    "service_codes",
    "some_readable",
    "state",
    "text",
]

T = TypeVar("T")

_TOO_LARGE = 10**18  # no id or time has more digits, and few databases could hold one
_MOST_DIGITS = 18  # of a price, before and after its point
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_PHONE = re.compile(r"\s*\+?[\s(]*[0-9][0-9\s().-]*")
_BOOLEANS = {1: True, "1": True, "true": True, 0: False, "0": False, "false": False, "": False}
_MILLISECONDS = 253_402_300_800  # the year 10000 in seconds


class UnreadableError(ValueError):
    """A value isn't what it should be."""


# -- values --------------------------------------------------------------------------------------------------------


def integer(value: object) -> int:
    """Read a whole number; the text of one counts, 40300.9 does not."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        whole = int(value)
        if whole == value:
            return whole
    raise UnreadableError(f"{shortened(value)} is no whole number")


def order_id(value: object) -> int:
    """Read an order's id, a whole number from 1."""
    number = integer(value)
    if number < 1:
        raise UnreadableError(f"{number} is no order's id")
    return number


def boolean(value: object) -> bool:
    """Read true or false in any of PHP's forms."""
    if isinstance(value, str):
        value = value.lower()
    if isinstance(value, str | int) and value in _BOOLEANS:
        return _BOOLEANS[value]
    raise UnreadableError(f"{shortened(value)} is neither true nor false")


def text(value: object) -> str:
    """Read a text. PHP writes a text of digits as a number at times."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        return str(value)
    raise UnreadableError(f"{shortened(value)} is no text")


def optional_text(value: object) -> str | None:
    """Read a text; false stands for a missing one."""
    return None if value is False else text(value)


def code(value: object) -> str:
    """Read a code, a text that isn't empty."""
    if written := text(value):
        return written
    raise UnreadableError("it is empty")


def as_sent(value: object) -> int | str:
    """Read a number or a text as it is."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise UnreadableError(f"{shortened(value)} is neither a number nor a text")


def price(value: object) -> Decimal:
    """Read an amount of money, by way of the shortest text that names a float: 2.4 is meant, not its neighbour."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            pass
        else:
            if number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS:
                return number
    raise UnreadableError(f"{shortened(value)} is no price")


def moment(value: object) -> datetime | None:
    """Read a time: unix seconds or milliseconds, ``YYYY-MM-DD HH:MM:SS`` in UTC, ISO 8601; 0 and "" mean none."""
    if value in (None, False, 0, "", "0"):
        return None
    try:
        if isinstance(value, str) and not _INTEGER.fullmatch(value):
            written = datetime.fromisoformat(value.strip())
            return written.astimezone(UTC) if written.tzinfo else written.replace(tzinfo=UTC)
        seconds = value if isinstance(value, float) else integer(value)
        return utc(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds)
    except (OverflowError, ValueError, OSError):
        raise UnreadableError(f"{shortened(value)} is no time") from None


def state(value: object) -> OrderState:
    """Read an order's state; one that isn't documented is `OrderState.UNKNOWN`."""
    return _STATES.get(integer(value), OrderState.UNKNOWN)


def service_codes(value: object) -> tuple[str, ...]:
    """Read the service codes of an order, sorted: one, several with commas between, or a list."""
    codes = [text(code) for code in value] if _is_list(value) else text(value).split(",")
    found = tuple(sorted({code.strip() for code in codes} - {""}))
    if not found:
        raise UnreadableError(f"{shortened(value)} names no service")
    return found


def integer_or_text(value: object) -> int | str:
    """Read a whole number, or else the text that it is."""
    try:
        return integer(value)
    except UnreadableError:
        return text(value)


def digits(value: object) -> str:
    """Return the digits of a phone number or of a part of one, "" for none; anything else in it is unreadable."""
    written = str(value) if type(value) is int else value
    if written is None or written == "":
        return ""
    if isinstance(written, str) and _PHONE.fullmatch(written):
        return "".join(character for character in written if character.isdigit())
    raise UnreadableError(f"{shortened(value)} is no phone number")


def _phone(dial_code: object, number: object) -> str:
    """Return the whole number: the digits of the dial code, then those of the number. Nothing is stripped."""
    if isinstance(dial_code, str) and isinstance(number, str) and dial_code[:1] == "+":  # the documented form
        whole = dial_code[1:] + number
        if number and whole.isdecimal() and whole.isascii():
            return f"+{whole}"
    local = digits(number)
    if not local:
        raise UnreadableError(f"{shortened(number)} is no phone number")
    is_whole = isinstance(number, str) and number.lstrip().startswith("+")
    return f"+{local}" if is_whole else f"+{digits(dial_code)}{local}"


# -- containers ----------------------------------------------------------------------------------------------------


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value is a JSON object."""
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
    if _is_list(value) or (is_object(value) and all(map(str.isdecimal, value))):
        rows = items(cast("object", value))
        return rows[0] if len(rows) == 1 else cast("object", value)
    return value


# -- rows ----------------------------------------------------------------------------------------------------------


class Field:
    """A model's field in a row.

    Args:
        names: The server's names of it, the documented one first; the first one with a readable value counts.
        read: Reads its value.
        default: Its value where the server leaves it out, or sends an odd form.
        identifies: Whether a row without it can't be used.

    """

    def __init__(
        self, *names: str, read: Callable[[object], Any] = text, default: object = None, identifies: bool = False
    ) -> None:
        self.names = names
        self.read = read
        self.default = default
        self.identifies = identifies


@define(slots=False)
class RowReader(Generic[T]):
    """Reads a row into a model; what the model has no field for goes to `extra`."""

    model: type[T]
    fields: Mapping[str, Field]
    """By the model's names."""
    phone: tuple[str | None, str] | None = None
    """The server's fields of the dial code and the number, where the model has a phone."""

    def __call__(self, item: object) -> T:
        """Return the model.

        Raises:
            UnreadableError: The row lacks what identifies it.

        """
        fields = row(item)
        try:
            return self._documented(fields)
        except (UnreadableError, KeyError, TypeError, OverflowError, ValueError, OSError):
            return self._carefully(fields)

    @cached_property
    def _quick(self) -> tuple[Callable[[Any], Any], tuple[type, ...], Callable[[Any, Any], T]] | None:
        """A getter for the fields of a documented row, their types, and a generated function that reads such a row."""
        if any(field.read not in _DOCUMENTED for field in self.fields.values()):
            return None
        types = {field.names[0]: _DOCUMENTED[field.read] for field in self.fields.values()}
        types |= dict.fromkeys(filter(None, self.phone or ()), str)
        renamed = {ours: override(rename=field.names[0]) for ours, field in self.fields.items()}
        given = {*renamed, "extra", *(["phone"] if self.phone else [])}
        omitted = {
            it.name: override(omit=True) for it in attributes_of(cast("Any", self.model)) if it.name not in given
        }
        generate = cast("Callable[..., Callable[[Any, Any], T]]", make_dict_structure_fn)
        structure = generate(self.model, _converter(), _cattrs_detailed_validation=False, **renamed, **omitted)
        return itemgetter(*types), tuple(types.values()), structure

    def _documented(self, fields: dict[str, Any]) -> T:
        """Return the model of a row in the documented form: all fields, each of its documented type."""
        if self._quick is None:
            raise UnreadableError
        take, types, structure = self._quick
        if (*map(type, take(fields)),) != types:
            raise UnreadableError
        extra = {} if len(fields) == len(types) else self._extra(fields)
        if self.phone is None:
            return structure({**fields, "extra": extra}, None)
        dial_code, number = self.phone
        whole = _phone(None if dial_code is None else fields[dial_code], fields[number])
        return structure({**fields, "phone": whole, "extra": extra}, None)

    def _extra(self, fields: dict[str, Any]) -> dict[str, object]:
        known = {*(field.names[0] for field in self.fields.values()), *(self.phone or ())}
        return {name: value for name, value in fields.items() if name not in known}

    def _carefully(self, fields: dict[str, Any]) -> T:
        values: dict[str, Any] = {}
        used = {name for field in self.fields.values() for name in field.names if fields.get(name) is None}
        for ours, field in self.fields.items():
            values[ours] = field.default
            reason = f"{field.names[0]} is missing"
            # A field left out and a null are the same to PHP.
            for name in (name for name in field.names if fields.get(name) is not None):
                try:
                    values[ours] = field.read(fields[name])
                    used.add(name)
                    break
                except UnreadableError as error:
                    reason = f"{name}: {error}"
            else:
                if field.identifies:
                    raise UnreadableError(reason)
        if self.phone is not None:
            dial_code, number = (None if name is None else fields.get(name) for name in self.phone)
            values["phone"] = ""
            with suppress(UnreadableError):
                values["phone"] = _phone(dial_code, number)
                used.update(filter(None, self.phone))
        extra = {name: value for name, value in fields.items() if name not in used}
        return cast("Callable[..., T]", self.model)(**values, extra=extra)


def read_rows(rows: Iterable[object], read: Callable[[object], T], *, id_name: str | None = None) -> Rows[T]:
    """Return the rows that can be read and, apart, those that can't.

    Args:
        rows: The rows of an answer.
        read: Reads one.
        id_name: The server's name of the field that holds an order's id, where the rows are orders.

    Raises:
        UnreadableError: There are rows, and none can be read.

    """
    return some_readable(gather(rows, read, id_name=id_name))


def read_orders(data: object, _: Mapping[str, str], *, read: Callable[[object], Order]) -> Rows[Order]:
    """Return the orders of an answer, each id once."""
    rows = read_rows(items(data), read, id_name="id")
    rows[:] = merge_orders(rows)
    return rows


def gather(rows: Iterable[object], read: Callable[[object], T], *, id_name: str | None = None) -> Rows[T]:
    """Do as `read_rows`, but return an answer without any readable row too."""
    good: list[T] = []
    skipped: list[SkippedRow] = []
    for item in rows:
        try:
            good.append(read(item))
        except UnreadableError as error:
            skipped.append(SkippedRow(str(error), item, _id_of(item, id_name)))
    return Rows(good, skipped=skipped)


def some_readable(rows: Rows[T]) -> Rows[T]:
    """Return rows as they are; `UnreadableError` if there are some and none could be read."""
    if rows.skipped and not rows:
        raise UnreadableError(f"no row can be read, the first because {rows.skipped[0].reason}")
    return rows


def _id_of(item: object, key: str | None) -> int | None:
    try:
        return None if key is None else order_id(row(item).get(key))
    except UnreadableError:
        return None


# -- rows in the documented form -------------------------------------------------------------------------------------

_DOCUMENTED: Mapping[Callable[[object], Any], type] = {
    text: str,
    optional_text: str,
    integer: int,
    integer_or_text: int,
    as_sent: str,
    order_id: int,
    boolean: bool,
    moment: int,
    state: int,
    service_codes: str,
}
"""The type that the contract has for a field, by the function that reads it."""
_STATES = {int(known): known for known in OrderState}


def _small(value: Any, _: object) -> int:  # noqa: ANN401 - an int
    if -_TOO_LARGE < value < _TOO_LARGE:
        return value  # type: ignore[no-any-return]
    raise UnreadableError


def _as_it_is(value: object, _: object) -> object:
    return value


@lru_cache(maxsize=65_536)  # most times of an order are those of the answer before
def _time(value: int, _: object) -> datetime | None:
    return moment(value)


def _state(value: int, _: object) -> OrderState:
    return _STATES.get(_small(value, None), OrderState.UNKNOWN)


def _services(value: str, _: object) -> tuple[str, ...]:
    return (value,) if value.isalnum() else service_codes(value)


@cache
def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(int, _small)
    converter.register_structure_hook(OrderState, _state)
    unions: tuple[tuple[Any, Callable[[Any, Any], Any]], ...] = (
        (int | None, _small),
        (datetime | None, _time),
        (tuple[str, ...], _services),
        *((kind, _as_it_is) for kind in (str | None, bool | None, int | str | None, Mapping[str, object])),
    )
    for kind, read in unions:
        converter.register_structure_hook_func(partial(eq, kind), read)
    return converter
