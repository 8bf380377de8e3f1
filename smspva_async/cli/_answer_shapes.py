"""The known forms of the answers to calls that only read, for `smspva doctor`.

The forms come from the sources that `docs/provider.md` names: the rental page, the contract in the provider's own SDK,
and observations of the live server. A form is known if any source has it. No table is shared with the client, which
reads many more forms than are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeGuard, cast

from attrs import frozen

Object: TypeAlias = dict[str, Any]

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


# -- types of values -------------------------------------------------------------------------------------------------


_TYPE_NAMES: Mapping[type[object], str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "list",
    dict: "object",
}


def type_of(value: object) -> str:
    """Return the type of a JSON value, with the form of a text."""
    return _form_of(value) if isinstance(value, str) else _TYPE_NAMES[type(value)]


def _form_of(text: str) -> str:
    if not text:
        return "empty text"
    if _INTEGER.fullmatch(text):
        return "integer as text"
    if _NUMBER.fullmatch(text):
        return "number as text"
    return "time as text" if _is_time(text) else "text"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_one_of(*types: str) -> Callable[[object], bool]:
    return lambda value: type_of(value) in types


def is_object(value: object) -> TypeGuard[Object]:
    """Return whether a JSON value is an object."""
    return isinstance(value, dict)


_is_integer = _is_one_of("integer", "integer as text")  # as text: observation
_is_time_text = _is_one_of("time as text")
_FIRST_TIME, _LAST_TIME = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2000, 2100))
"""Integers outside of these are no times in seconds."""


def _is_known_time(value: object) -> bool:
    return _is_time_text(value) or (_is_integer(value) and _FIRST_TIME <= int(cast("int | str", value)) < _LAST_TIME)


def _is_counts(value: object) -> bool:
    """Return whether a value is a mapping from providers to integers. PHP writes an empty one as a list."""
    return value == [] or (is_object(value) and all(map(_is_integer, value.values())))


TYPES: Mapping[str, Callable[[object], bool]] = {
    "integer": _is_integer,
    "number": _is_one_of("integer", "number", "integer as text", "number as text"),
    "text": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool) or value in (0, 1, "0", "1"),  # 0 and 1: observation
    "identifier": lambda value: isinstance(value, str) and bool(value.strip()),
    "time": _is_known_time,
    "list": _is_one_of("list", "object", "null"),  # PHP: an object with numbered keys, null if empty
    "counts": _is_counts,
    "count": lambda value: _is_integer(value) or _is_counts(value),
    "state": lambda value: value in (-1, 0, 1, 2, "-1", "0", "1", "2") and not isinstance(value, bool),
    "status": lambda value: value in (0, 1, "0", "1") and not isinstance(value, bool),
}
"""For each type, a function that returns True for its values in any known form."""

DESCRIPTIONS = {
    "identifier": "nonempty text",
    "time": "time from 2000 to 2100",
    "state": "-1, 0, 1 or 2",
    "status": "0 or 1",
}
"""The types of `TYPES` whose names don't say enough."""


# -- the known forms -------------------------------------------------------------------------------------------------


@frozen
class Field:
    """A field of a row or of another object."""

    names: tuple[str, ...]
    type: str
    presence: Literal["", "~", "?"]
    """Empty: every row has it. `~`: some rows lack it. `?`: some sources lack it."""


def _fields(text: str) -> tuple[Field, ...]:
    """Read fields such as ``date~time``: the name, the presence (`:` if always), the type."""
    found = re.findall(r"([\w|]+)([:~?])(\w+)", text)
    presences: dict[str, Literal["", "~", "?"]] = {":": "", "~": "~", "?": "?"}
    return tuple(Field(tuple(names.split("|")), kind, presences[mark]) for names, mark, kind in found)


def _list(data: object) -> Iterable[object] | None:
    """Return the rows of a list. PHP may write it as an object with numbered keys, and an empty one as null or {}."""
    if data is None:
        return ()
    if isinstance(data, list):
        return cast("list[object]", data)
    return data.values() if is_object(data) and all(map(str.isdecimal, data)) else None


def _list_or_mapping(data: object) -> Iterable[object] | None:
    return data.values() if is_object(data) else _list(data)


def _object(data: object) -> Iterable[object] | None:
    return [data] if is_object(data) else None


def _offers(data: object) -> Iterable[object] | None:
    return _list_or_mapping(data["services"]) if is_object(data) and "services" in data else _list(data)


def _messages(data: object) -> Iterable[object] | None:
    if not (is_object(data) and not {"SmsList", "OtherSms"}.isdisjoint(data)):
        return _list(data)
    own, other = _list(data.get("SmsList")), _list(data.get("OtherSms"))
    # Observation: another message may be a bare text.
    return None if own is None or other is None else [*own, *(row for row in other if not isinstance(row, str))]


@frozen
class Shape:
    """The form of a call's data."""

    rows: Callable[[object], Iterable[object] | None]
    """Returns the rows of the data, or None if they have an unknown form."""
    fields: tuple[Field, ...]
    containers: tuple[Field, ...] = ()
    """The fields of an object that contains the rows."""
    may_be_empty: bool = True
    may_have_status_zero: bool = False
    """True if a success may have `status` 0, as in the page's samples."""


_OFFER = "name:text service:identifier price_day:number img?text procent_days?number procent?number day_step?number"
_OFFERS = "services:list totalAmount?integer"

SHAPES: Mapping[str, Shape] = {
    # Page: name and code. The others: contract; rent_switch_type: also observed.
    "getcountries": Shape(
        _list,
        _fields("name:text code:identifier url_country_name?text rent_switch_type?text rent_avail_prolong?text"),
        may_be_empty=False,
        may_have_status_zero=True,
    ),
    # Contract. The page has no such call.
    "get_default_services": Shape(
        _list,
        _fields("name:text service:identifier priceForDay:number img~text DAYP~number PROC~number"),
        may_be_empty=False,
    ),
    # Contract: a mapping by country; before that, a list.
    "get_country_by_service": Shape(
        _list_or_mapping,
        _fields(
            "service_name:text price:number procent_days~number procent~number day_step~number country:text"
            " phoneAmount:integer"
        ),
    ),
    # Page: a list of name, service, price_day, count. Contract: below `services`. Observation: a mapping by service.
    "getdata": Shape(_offers, _fields(f"{_OFFER} count:count"), _fields(_OFFERS), may_have_status_zero=True),
    "getdataWithProviders": Shape(
        _offers, _fields(f"{_OFFER} count:counts totalCount:integer"), _fields(f"{_OFFERS} allOperators?list")
    ),
    # Contract.
    "getCountWithProviders": Shape(_list_or_mapping, _fields("Amount:counts Total:integer")),
    "get_count_multi": Shape(_object, _fields("count:integer")),
    "get_days_canada_paypal": Shape(_list, _fields("Days:integer Amount:integer")),
    "get_min_paypal_days": Shape(_object, _fields("Days:integer Status:integer Message:text")),
    "balance": Shape(_object, _fields("balance:number")),
    # Page and contract. Observation: optional fields may be missing, and there may be a provider.
    "orders": Shape(
        _list,
        _fields(
            "id:integer scode:identifier sname~text state:state pnumber:identifier ccode~text cname:identifier"
            " hasnewsms:boolean until:time canprolong~boolean canprolongmax~integer canprolonguntil~time"
            " lastonline~time provider?text"
        ),
    ),
    # Page: a list. Contract: two lists. Observation: other names of the text, no sender, no date.
    "sms": Shape(
        _messages,
        _fields("text|message|fullText|sms:text sender~text date~time"),
        _fields("SmsList:list OtherSms:list"),
        may_have_status_zero=True,
    ),
    # Page. Contract: isAvailForRestore.
    "get_rent_history": Shape(
        _list,
        _fields(
            "orderId:integer resourceCode:text number:identifier branchId:integer haveSms:boolean"
            " isAvailForRestore?boolean days:integer country:text begin:time end:time closed:time"
        ),
    ),
    # Page and contract.
    "restore_user_precalc": Shape(
        _object,
        _fields(
            "ccode:text scode:identifier price:number sname:text pnumber:identifier outdays:integer orderid:integer"
            " prolongTo:integer"
        ),
        may_have_status_zero=True,
    ),
}
"""The form of the data of each call, by wire name."""

ENVELOPE = {"status", "statusCode", "data", "msg", "error_msg", "message", "error"}
KNOWN_NAMES = frozenset(
    {*ENVELOPE, "answer", "row"}
    | {name for shape in SHAPES.values() for one in (*shape.fields, *shape.containers) for name in one.names}
)
"""The names of all known fields and parts of an answer."""

ORDER_UNKNOWN = (
    "Order not found",
    "Order id not found",
    "Incorrect order id",
    "NOTOWNER",
    "the user had not this order",
)
RESTORE_REFUSED = (
    "NOREMOTEDATA",
    "NOAVAILDAYS",
    "NOORDERCOUNTRY",
    "DATEDIFFINVERT",
    "NOSERVICEDATA",
    "Service not found",
)
TOO_MANY = "TOO MANY REQUESTS"
ALWAYS_POSSIBLE = (TOO_MANY, "SERVER_BUSY")
"""Messages that any call may get."""
OFFER_UNKNOWN = ("UNKNOWN SERVICE OR COUNTRY", "Service not found")
SOLD_OUT = ("No number available", "No numbers available")
MESSAGES = (
    *("API KEY not received", "API KEY NOT FOUND", "Invalid apikey", "Wrong apikey", "APIKEY_NOT_SET", "BANNED"),
    *("NOBALANCE", "Balance is not enough", "Insufficient balance", "LOW_BALANCE"),
    *("Not enough money", "Incorrect duration count", "Incorrect method"),
    *ORDER_UNKNOWN,
    *RESTORE_REFUSED,
    *ALWAYS_POSSIBLE,
    *OFFER_UNKNOWN,
    *SOLD_OUT,
)
"""The beginnings of all known messages, apart from case and punctuation."""
