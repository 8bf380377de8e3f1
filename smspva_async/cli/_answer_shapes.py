"""The known forms of the answers to calls that only read, and the comparison of an answer with them.

The forms come from the sources that `docs/provider.md` names: the rental page, the contract in the provider's own SDK,
and observations of the live server. A form is known if any source has it. No table is shared with the client, which
reads many more forms than are known.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any, Literal, TypeAlias, TypeGuard, cast

from attrs import field, frozen

Object: TypeAlias = dict[str, Any]
Kind = Literal["form", "missing", "renamed", "type", "message", "new"]
"""`new`, a field that no source names, is no drift: the provider may add fields at any time."""

_ENOUGH_ROWS = 5
"""A field that rows may lack is missing if all of so many rows lack it."""
_SIMILAR = 0.75
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


@frozen
class Difference:
    """A difference between an answer and the known forms. It contains no value of the answer."""

    kind: Kind
    place: str
    """The name of a field, or a part of the answer."""
    expected: str
    got: str
    rows: int = 1
    """The number of rows that differ."""


@frozen
class Comparison:
    """The result of comparing one answer."""

    differences: tuple[Difference, ...]
    rows: int | None = None
    """The number of rows; None if the answer has no readable data."""
    refusal: str | None = None
    """The known message that the answer begins with, "" for an unknown one; None if the call wasn't refused."""
    message: str = field(default="", repr=False)
    """The provider's message as sent."""
    types: Mapping[str, Mapping[str, int]] = field(factory=dict[str, Mapping[str, int]])
    """For each field, the number of rows by the type of its value."""


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


def _is_object(value: object) -> TypeGuard[Object]:
    return isinstance(value, dict)


_is_integer = _is_one_of("integer", "integer as text")  # as text: observation


def _is_counts(value: object) -> bool:
    """Return whether a value is a mapping from providers to integers. PHP writes an empty one as a list."""
    return value == [] or (_is_object(value) and all(map(_is_integer, value.values())))


_TYPES: Mapping[str, Callable[[object], bool]] = {
    "anything": lambda _: True,
    "integer": _is_integer,
    "number": _is_one_of("integer", "number", "integer as text", "number as text"),
    "text": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool) or value in (0, 1, "0", "1"),  # 0 and 1: observation
    "time": _is_one_of("integer", "integer as text", "time as text"),
    "list": _is_one_of("list", "object", "null"),  # PHP: an object with numbered keys, null if empty
    "counts": _is_counts,
    "count": lambda value: _is_integer(value) or _is_counts(value),
    "state": lambda value: value in (-1, 0, 1, 2, "-1", "0", "1", "2") and not isinstance(value, bool),
    "status": lambda value: value in (0, 1, "0", "1") and not isinstance(value, bool),
}


# -- the known forms -------------------------------------------------------------------------------------------------


@frozen
class _Field:
    names: tuple[str, ...]
    type: str
    presence: Literal["", "~", "?"]
    """Empty: every row has it. `~`: some rows lack it. `?`: some sources lack it."""


def _fields(text: str) -> tuple[_Field, ...]:
    """Read fields such as ``date~time``: the name, the presence (`:` if always), the type."""
    found = re.findall(r"([\w|]+)([:~?])(\w+)", text)
    presences: dict[str, Literal["", "~", "?"]] = {":": "", "~": "~", "?": "?"}
    return tuple(_Field(tuple(names.split("|")), kind, presences[mark]) for names, mark, kind in found)


def _list(data: object) -> Iterable[object] | None:
    """Return the rows of a list. PHP may write it as an object with numbered keys, and an empty one as null or {}."""
    if data is None:
        return ()
    if isinstance(data, list):
        return cast("list[object]", data)
    return data.values() if _is_object(data) and all(map(str.isdecimal, data)) else None


def _list_or_mapping(data: object) -> Iterable[object] | None:
    return data.values() if _is_object(data) else _list(data)


def _object(data: object) -> Iterable[object] | None:
    return [data] if _is_object(data) else None


def _offers(data: object) -> Iterable[object] | None:
    return _list_or_mapping(data["services"]) if _is_object(data) and "services" in data else _list(data)


def _messages(data: object) -> Iterable[object] | None:
    if not (_is_object(data) and not {"SmsList", "OtherSms"}.isdisjoint(data)):
        return _list(data)
    own, other = _list(data.get("SmsList")), _list(data.get("OtherSms"))
    # Observation: another message may be a bare text.
    return None if own is None or other is None else [*own, *(row for row in other if not isinstance(row, str))]


@frozen
class _Shape:
    rows: Callable[[object], Iterable[object] | None]
    """Returns the rows of the data, or None if they have an unknown form."""
    fields: tuple[_Field, ...]
    containers: tuple[_Field, ...] = ()
    """The fields of an object that contains the rows."""


_OFFER = "name:text service:text price_day:number img?text procent_days?number procent?number day_step?number"
_OFFERS = "services:list totalAmount?integer"

_SHAPES: Mapping[str, _Shape] = {
    # Page: name and code. The others: contract; rent_switch_type: also observed.
    "getcountries": _Shape(
        _list, _fields("name:text code:text url_country_name?text rent_switch_type?text rent_avail_prolong?text")
    ),
    # Contract. The page has no such call.
    "get_default_services": _Shape(
        _list, _fields("name:text service:text priceForDay:number img~text DAYP~number PROC~number")
    ),
    # Contract: a mapping by country; before that, a list.
    "get_country_by_service": _Shape(
        _list_or_mapping,
        _fields(
            "service_name:text price:number procent_days~number procent~number day_step~number country:text"
            " phoneAmount:integer"
        ),
    ),
    # Page: a list of name, service, price_day, count. Contract: below `services`. Observation: a mapping by service.
    "getdata": _Shape(_offers, _fields(f"{_OFFER} count:count"), _fields(_OFFERS)),
    "getdataWithProviders": _Shape(
        _offers, _fields(f"{_OFFER} count:counts totalCount:integer"), _fields(f"{_OFFERS} allOperators?list")
    ),
    # Contract.
    "getCountWithProviders": _Shape(_list_or_mapping, _fields("Amount:counts Total:integer")),
    "get_count_multi": _Shape(_object, _fields("count:integer")),
    "get_days_canada_paypal": _Shape(_list, _fields("Days:integer Amount:integer")),
    "get_min_paypal_days": _Shape(_object, _fields("Days:integer Status:integer Message:text")),
    "balance": _Shape(_object, _fields("balance:number")),
    # Page and contract. Observation: optional fields may be missing, and there may be a provider.
    "orders": _Shape(
        _list,
        _fields(
            "id:integer scode:text sname~text state:state pnumber:text ccode~text cname:text hasnewsms:boolean"
            " until:time canprolong~boolean canprolongmax~integer canprolonguntil~time lastonline~time provider?text"
        ),
    ),
    # Page: a list. Contract: two lists. Observation: other names of the text, no sender, no date.
    "sms": _Shape(
        _messages,
        _fields("text|message|fullText|sms:text sender~text date~time"),
        _fields("SmsList:list OtherSms:list"),
    ),
    # Page. Contract: isAvailForRestore.
    "get_rent_history": _Shape(
        _list,
        _fields(
            "orderId:integer resourceCode:text number:text branchId:integer haveSms:boolean isAvailForRestore?boolean"
            " days:integer country:text begin:time end:time closed:time"
        ),
    ),
    # Page and contract.
    "restore_user_precalc": _Shape(
        _object,
        _fields(
            "ccode:text scode:text price:number sname:text pnumber:text outdays:integer orderid:integer"
            " prolongTo:integer"
        ),
    ),
}
METHODS = tuple(_SHAPES)
"""The wire names of the calls whose answers can be compared."""

_ENVELOPE = {"status", "statusCode", "data", "msg", "error_msg", "message", "error"}
KNOWN_NAMES = frozenset(
    {*_ENVELOPE, "answer", "row"}
    | {name for shape in _SHAPES.values() for one in (*shape.fields, *shape.containers) for name in one.names}
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
NOT_OFFERED = ("Incorrect method",)
OFFER_UNKNOWN = ("UNKNOWN SERVICE OR COUNTRY", "Service not found")
_MESSAGES = (
    *("API KEY not received", "API KEY NOT FOUND", "Invalid apikey", "Wrong apikey", "APIKEY_NOT_SET", "BANNED"),
    *("TOO MANY REQUESTS", "SERVER_BUSY", "NOBALANCE", "Balance is not enough", "Insufficient balance", "LOW_BALANCE"),
    *("Not enough money", "No number available", "No numbers available", "Incorrect duration count"),
    *ORDER_UNKNOWN,
    *RESTORE_REFUSED,
    *NOT_OFFERED,
    *OFFER_UNKNOWN,
)


# -- comparison ------------------------------------------------------------------------------------------------------


def compare(method: str, body: bytes, expected: tuple[str, ...] = ()) -> Comparison:
    """Compare the body of an answer with the known forms.

    Args:
        method: The wire name of a call in `METHODS`.
        body: The body of the answer.
        expected: The messages of which the answer should have one; empty if the call should succeed.

    """
    text = body.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    try:
        payload: object = json.loads(text)
    except (ValueError, RecursionError):
        if _known_message(text) is None:
            return Comparison((Difference("form", "answer", "JSON", "text" if text else "nothing"),))
        return _compare_message(text, expected)
    if not _is_object(payload):
        return Comparison((Difference("form", "answer", "object", type_of(payload)),))
    name = "statusCode" if method == "balance" else "status"
    is_known = (_TYPES["integer"] if method == "balance" else _TYPES["status"])(payload.get(name))
    differences = [] if is_known else [Difference("type", name, "0 or 1", type_of(payload.get(name)))]
    if name not in payload:
        differences = [Difference("missing", name, "0 or 1", "nothing")]
    differences += [Difference("new", key, "", type_of(payload[key])) for key in payload if key not in _ENVELOPE]
    message = _message(payload)
    if message and (payload.get(name) not in (1, "1", 200, "200") or "data" not in payload):
        comparison = _compare_message(message, expected)
    elif "data" not in payload:
        comparison = Comparison((Difference("missing", "data", "data or a message", "nothing"),))
    else:
        comparison = _compare_data(_SHAPES[method], payload["data"])
        if expected:
            differences.append(Difference("message", "message", f"such as {expected[0]!r}", "a success"))
    return Comparison(
        (*differences, *comparison.differences),
        comparison.rows,
        comparison.refusal,
        comparison.message,
        comparison.types,
    )


def _message(payload: Object) -> str:
    for name in ("msg", "error_msg", "message", "error"):
        value = payload.get(name)
        if _is_object(value):  # contract: type and description
            value = value.get("type") if _known_message(str(value.get("type"))) else value.get("description")
        if value and isinstance(value, str):
            return value
    return ""


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _known_message(text: str) -> str | None:
    words = f"{_words(text)} "
    return next((known for known in _MESSAGES if words.startswith(f"{_words(known)} ")), None)


def _compare_message(message: str, expected: tuple[str, ...]) -> Comparison:
    known = _known_message(message)
    got = "an unknown message" if known is None else repr(known)
    differences: tuple[Difference, ...] = ()
    if known is None or (expected and known not in (*expected, *NOT_OFFERED)):
        wanted = f"such as {expected[0]!r}" if expected else "a known message"
        differences = (Difference("message", "message", wanted, got),)
    return Comparison(differences, refusal=known or "", message=message)


def _compare_data(shape: _Shape, data: object) -> Comparison:
    differences: list[Difference] = []
    if shape.containers and _is_object(data) and not all(map(str.isdecimal, data)):
        differences = _compare_rows(shape.containers, [data])
    rows = shape.rows(data)
    if rows is None:
        return Comparison((*differences, Difference("form", "data", "rows in a known form", type_of(data))))
    found = [*rows]
    objects = [row for row in found if _is_object(row)]
    others = Counter(type_of(row) for row in found if not _is_object(row))
    differences += [Difference("type", "row", "object", kind, count) for kind, count in others.items()]
    differences += _compare_rows(shape.fields, objects)
    types: dict[str, Counter[str]] = {}
    for row in objects:
        for name, value in row.items():
            types.setdefault(name, Counter())[type_of(value)] += 1
    return Comparison(tuple(differences), len(found), types=types)


def _compare_rows(fields: tuple[_Field, ...], rows: list[Object]) -> list[Difference]:
    differences: list[Difference] = []
    known = {name for one in fields for name in one.names}
    new = {name: type_of(value) for row in rows for name, value in row.items() if name not in known}
    for one in fields:
        name, is_valid = one.names[0], _TYPES[one.type]
        values = [value for row in rows if (value := _value(one, row)) is not None]
        missing = len(rows) - len(values)
        wrong = Counter(type_of(value) for value in values if not is_valid(value))
        differences += [Difference("type", name, one.type, kind, count) for kind, count in wrong.items()]
        similar = next((other for other in new if _is_similar(name, other)), None)
        if missing == len(rows) > 0 and similar is not None:
            differences.append(Difference("renamed", name, one.type, similar, missing))
            del new[similar]
        elif missing and (not one.presence or (one.presence == "~" and missing == len(rows) >= _ENOUGH_ROWS)):
            differences.append(Difference("missing", name, one.type, "nothing", missing))
    return differences + [Difference("new", name, "", kind) for name, kind in new.items()]


def _value(one: _Field, row: Object) -> object:
    """Return the value of a field; None if it is missing or null. For a list, null is an empty one (PHP)."""
    name = next((name for name in one.names if name in row), None)
    if name is None:
        return None
    return [] if row[name] is None and one.type == "list" else row[name]


def _is_similar(name: str, other: str) -> bool:
    first, second = (re.sub(r"[^a-z0-9]", "", text.casefold()) for text in (name, other))
    return SequenceMatcher(None, first, second).ratio() >= _SIMILAR
