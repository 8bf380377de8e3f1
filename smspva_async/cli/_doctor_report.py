"""The report of `smspva doctor`: without the key, numbers, ids and texts of the account, and as lines for people."""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from attrs import asdict

from smspva_async import __version__
from smspva_async.cli import _answer_shapes as shapes, _formatting as fmt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from smspva_async._http.redaction import ApiKey
    from smspva_async.cli._account import Account
    from smspva_async.cli._doctor_questions import Call, Examination

Fields = dict[str, Any]

_PUBLIC_HOSTS = {"smspva.com", "www.smspva.com", "smspva.io", "www.smspva.io"}
_ACCOUNT_METHODS = {"orders", "sms", "get_rent_history", "restore_user_precalc", "balance"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_DIGITS = 3
"""A name with so many digits may contain a number or an id of the account."""
_HEADER = re.compile(r"retry-after|(x-)?rate-?limit(-(limit|remaining|reset|policy|used))?")
"""The known headers that tell of a limit on requests."""
_SHORT = 4
"""A text of the account with fewer characters may be part of a field's name by accident."""


def make(examination: Examination, account: Account) -> Fields:
    """Return the report as JSON-ready fields.

    Of the answers it has names of fields, types of values, numbers of rows, times and known messages only.
    """
    privacy = _Privacy(examination.calls, account.key)
    host = urlsplit(account.base_url).hostname
    differences = _differences(examination, privacy)
    flags = examination.flags
    return {
        "report": "smspva doctor",
        "version": __version__,
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "server": host if host in _PUBLIC_HOSTS else "another address",
        "drift": [it for it in differences if it["kind"] != "new"],
        "new_fields": [it for it in differences if it["kind"] == "new"],
        "calls": [_call(call, privacy) for call in examination.calls],
        "seconds": _seconds(answer.took for call in examination.calls for answer in call.answers),
        "flags": None if flags is None else asdict(flags),
        "message_order": examination.message_order,
        "purchases": [
            {"method": it.method, "age": round(it.age), "found_in": it.found_in} for it in examination.listings
        ],
        "rate_limit": {
            "refused_requests": examination.refused_for_pace,
            "gap": examination.client.statistics().gap,
            "headers": [
                {"method": method, "name": privacy.name(name), "value": _header_value(name, value)}
                for method, name, value in examination.hints
            ],
        },
    }


def lines(report: Fields, path: str) -> Iterator[str]:
    """Yield the lines that follow the table of calls."""
    for title, entries in (("Differences from what is known:", report["drift"]), ("New fields:", report["new_fields"])):
        if entries:
            yield ""
            yield title
            yield from (f"  {_sentence(entry)}" for entry in entries)
    if not report["drift"]:
        yield ""
        yield "All readable answers agree with what is known."
    yield ""
    yield f"Flags: {_about_flags(report['flags'])}"
    yield f"Messages: {report['message_order']}"
    yield f"Purchases: {_about_purchases(report['purchases'])}"
    yield f"Rate limit: {_about_limits(report['rate_limit'])}"
    if report["seconds"] is not None:
        times = report["seconds"]
        yield f"Answers took {times['min']} to {times['max']} s, half of them at most {times['median']} s."
    yield ""
    yield f"The report without key, numbers and texts is in {path}. Read it before you send it to the project."


class _Privacy:
    """Decides which names of fields may be in a report: a name could be a number or a text of the account."""

    def __init__(self, calls: Iterable[Call], api_key: ApiKey) -> None:
        self._redact = api_key.redact
        bodies = [answer.body for call in calls if call.method in _ACCOUNT_METHODS for answer in call.answers]
        self._texts = {text.casefold() for body in bodies for text in _texts_in(body)}

    def name(self, name: str) -> str:
        """Return a name, or a placeholder if it may be private."""
        folded = name.casefold()
        is_text = folded in self._texts or any(text in folded for text in self._texts if len(text) >= _SHORT)
        digits = sum(map(str.isdigit, name))
        is_harmless = _NAME.fullmatch(name) and digits < _DIGITS and self._redact(name) == name
        is_known = name in shapes.KNOWN_NAMES
        return name if is_known or (is_harmless and not is_text) else "[hidden]"


def _texts_in(body: bytes) -> Iterator[str]:
    """Yield all texts among the values of a JSON body."""
    try:
        values: list[object] = [json.loads(body.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n"))]
    except (ValueError, RecursionError):
        return
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            values += cast("list[object]", value)
        elif isinstance(value, dict):
            values += cast("dict[str, object]", value).values()


def _header_value(name: str, value: str) -> str:
    """Return the value of a header if it is a number of seconds or requests."""
    is_number = value.isascii() and value.isdecimal() and len(value) <= 5  # noqa: PLR2004 - seconds or requests
    return value if is_number and _HEADER.fullmatch(name) else "hidden"


def _differences(examination: Examination, privacy: _Privacy) -> list[Fields]:
    """Return the differences, each once for each method."""
    found = dict.fromkeys((call.method, difference) for call in examination.calls for difference in call.differences)
    return [
        {
            "method": method,
            "kind": it.kind,
            "field": privacy.name(it.field),
            "expected": it.expected,
            "got": privacy.name(it.got) if it.kind == "renamed" else it.got,
            "rows": it.rows,
        }
        for method, it in found
    ]


def _call(call: Call, privacy: _Privacy) -> Fields:
    last = call.comparisons[-1] if call.comparisons else None
    types: dict[str, Counter[str]] = {}
    for name, counts in last.types.items() if last is not None else ():
        types.setdefault(privacy.name(name), Counter()).update(counts)
    return {
        "method": call.method,
        "asked_for": "something unknown" if call.is_probe else "data",
        "http": [answer.status for answer in call.answers],
        "seconds": _seconds(answer.took for answer in call.answers),
        "result": _result(call),
        "types": {name: dict(counts) for name, counts in types.items()},
    }


def _result(call: Call) -> str:
    if call.failed:
        return f"HTTP {call.answers[-1].status}" if call.answers else "no answer"
    last = call.comparisons[-1]
    if last.refusal is not None:
        return f"refused: {last.refusal or 'an unknown message'}"
    return "no readable data" if last.rows is None else f"{last.rows} row{'s' * (last.rows != 1)}"


def _seconds(times: Iterable[float]) -> Fields | None:
    measured = sorted(times)
    if not measured:
        return None
    return {
        name: round(value, 3)
        for name, value in zip(("min", "median", "max"), (measured[0], median(measured), measured[-1]), strict=True)
    }


# -- sentences -------------------------------------------------------------------------------------------------------


def _sentence(entry: Fields) -> str:
    field, expected, got = entry["field"], entry["expected"], entry["got"]
    rows = f" in {entry['rows']} rows" if entry["rows"] > 1 else ""
    match entry["kind"]:
        case "missing":
            text = f"{field} is missing{rows} (expected {expected})"
        case "renamed":
            text = f"{field} is missing{rows}; {got} may be its new name"
        case "new":
            text = f"{field} ({got})"
        case _:
            text = f"{field}: expected {expected}, got {got}{rows}"
    return f"{entry['method']}: {text}"


def _about_flags(flags: Fields | None) -> str:
    if flags is None:
        return "the orders can't be read"
    if not flags["read"]:
        return "no order with a raised flag was read, so it isn't known whether reading lowers flags"
    return f"{flags['fell']} of {flags['read']} fell after reading the messages"


def _about_purchases(purchases: Sequence[Mapping[str, Any]]) -> str:
    if not purchases:
        return "the ledger has none with a known order"
    parts: list[str] = []
    listed = [it["age"] for it in purchases if it["found_in"] != "nowhere"]
    missing = [it["age"] for it in purchases if it["found_in"] == "nowhere"]
    if listed:
        parts.append(f"{len(listed)} listed, the latest after at most {min(listed)} s")
    if missing:
        parts.append(f"{len(missing)} in neither list, the latest after {min(missing)} s")
    return "; ".join(parts)


def _about_limits(limits: Fields) -> str:
    values: dict[str, list[str]] = {}
    for it in limits["headers"]:
        values.setdefault(it["name"], []).append(it["value"])
    headers = [
        f"{name} {first}" if len({*rest, first}) == 1 else f"{name} from {first} to {rest[-1]}"
        for name, (first, *rest) in values.items()
    ]
    refused = f"{limits['refused_requests']} requests refused" if limits["refused_requests"] else "no request refused"
    return fmt.clean("; ".join([f"{refused}, {limits['gap']:g} s between requests", *headers]))
