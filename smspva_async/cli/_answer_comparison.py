"""The comparison of an answer with the known forms, for `smspva doctor`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Literal

from attrs import field, frozen

from smspva_async.cli._answer_shapes import (
    ALWAYS_POSSIBLE,
    DESCRIPTIONS,
    ENVELOPE,
    MESSAGES,
    SHAPES,
    TYPES,
    Field,
    Object,
    Shape,
    is_object,
    type_of,
)

Kind = Literal["form", "missing", "renamed", "type", "message", "new"]
"""`new`, a field that no source names, doesn't count as drift: the provider may add fields at any time."""

_ENOUGH_ROWS = 5
"""A field that rows may lack is missing if all of so many rows lack it."""
_SIMILAR = 0.75


@frozen
class Difference:
    """A difference between an answer and the known forms. It contains no value of the answer."""

    kind: Kind
    field: str
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


def compare(method: str, body: bytes, expected: tuple[str, ...] = (), tolerated: tuple[str, ...] = ()) -> Comparison:
    """Compare the body of an answer with the known forms.

    Args:
        method: The wire name of a call in `SHAPES`.
        body: The body of the answer.
        expected: The messages of which the answer should have one; empty if the call should succeed.
        tolerated: The messages that the answer may have instead of data.

    """
    text = body.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    try:
        payload: object = json.loads(text)
    except (ValueError, RecursionError):
        if _known_message(text) is None:
            return Comparison((Difference("form", "answer", "JSON", "text" if text else "nothing"),))
        return _compare_message(text, expected, tolerated)
    if not is_object(payload):
        return Comparison((Difference("form", "answer", "object", type_of(payload)),))
    name = "statusCode" if method == "balance" else "status"
    is_known = (TYPES["integer"] if method == "balance" else TYPES["status"])(payload.get(name))
    differences = [] if is_known else [Difference("type", name, "0 or 1", type_of(payload.get(name)))]
    if name not in payload:
        differences = [Difference("missing", name, "0 or 1", "nothing")]
    differences += [Difference("new", key, "", type_of(payload[key])) for key in payload if key not in ENVELOPE]
    message = _message(payload)
    if message and (payload.get(name) not in (1, "1", 200, "200") or "data" not in payload):
        comparison = _compare_message(message, expected, tolerated)
    elif "data" not in payload:
        comparison = Comparison((Difference("missing", "data", "data or a message", "nothing"),))
    else:
        shape = SHAPES[method]
        comparison = _compare_data(shape, payload["data"])
        if payload.get("status") in (0, "0") and not shape.may_have_status_zero:
            differences.append(Difference("form", "status", "1 beside data", "0"))
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
        if is_object(value):  # contract: type and description
            value = value.get("type") if _known_message(str(value.get("type"))) else value.get("description")
        if value and isinstance(value, str):
            return value
    return ""


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _known_message(text: str) -> str | None:
    words = f"{_words(text)} "
    return next((known for known in MESSAGES if words.startswith(f"{_words(known)} ")), None)


def _compare_message(message: str, expected: tuple[str, ...], tolerated: tuple[str, ...]) -> Comparison:
    known = _known_message(message)
    got = "an unknown message" if known is None else repr(known)
    differences: tuple[Difference, ...] = ()
    if known not in (*expected, *tolerated, *ALWAYS_POSSIBLE):
        wanted = f"such as {expected[0]!r}" if expected else "data"
        differences = (Difference("message", "message", wanted, got),)
    return Comparison(differences, refusal=known or "", message=message)


def _compare_data(shape: Shape, data: object) -> Comparison:
    differences: list[Difference] = []
    if shape.containers and is_object(data) and not all(map(str.isdecimal, data)):
        differences = _compare_rows(shape.containers, [data])
    rows = shape.rows(data)
    if rows is None:
        return Comparison((*differences, Difference("form", "data", "rows in a known form", type_of(data))))
    found = [*rows]
    if not found and not shape.may_be_empty:
        differences.append(Difference("form", "data", "at least one row", "none"))
    objects = [row for row in found if is_object(row)]
    others = Counter(type_of(row) for row in found if not is_object(row))
    differences += [Difference("type", "row", "object", kind, count) for kind, count in others.items()]
    differences += _compare_rows(shape.fields, objects)
    types: dict[str, Counter[str]] = {}
    for row in objects:
        for name, value in row.items():
            types.setdefault(name, Counter())[type_of(value)] += 1
    return Comparison(tuple(differences), len(found), types=types)


def _compare_rows(fields: tuple[Field, ...], rows: list[Object]) -> list[Difference]:
    differences: list[Difference] = []
    known = {name for one in fields for name in one.names}
    new = {name: type_of(value) for row in rows for name, value in row.items() if name not in known}
    for one in fields:
        name, is_valid = one.names[0], TYPES[one.type]
        values = [value for row in rows if (value := _value(one, row)) is not None]
        missing = len(rows) - len(values)
        wrong = Counter(type_of(value) for value in values if not is_valid(value))
        differences += [
            Difference("type", name, DESCRIPTIONS.get(one.type, one.type), kind, count) for kind, count in wrong.items()
        ]
        similar = next((other for other in new if _is_similar(name, other)), None)
        if missing == len(rows) > 0 and similar is not None:
            differences.append(Difference("renamed", name, one.type, similar, missing))
            del new[similar]
        elif missing and (not one.presence or (one.presence == "~" and missing == len(rows) >= _ENOUGH_ROWS)):
            differences.append(Difference("missing", name, one.type, "nothing", missing))
    return differences + [Difference("new", name, "", kind) for name, kind in new.items()]


def _value(one: Field, row: Object) -> object:
    """Return the value of a field; None if it is missing or null. For a list, null is an empty one (PHP)."""
    name = next((name for name in one.names if name in row), None)
    if name is None:
        return None
    return [] if row[name] is None and one.type == "list" else row[name]


def _is_similar(name: str, other: str) -> bool:
    first, second = (re.sub(r"[^a-z0-9]", "", text.casefold()) for text in (name, other))
    return SequenceMatcher(None, first, second).ratio() >= _SIMILAR
