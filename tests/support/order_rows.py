"""Successive answers to `orders` for property tests: rows similar to the page's, in many JSON forms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from smspva_async._api.decoding import Answer
from smspva_async.models import utc
from tests.support.samples import row_of, without

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = 1_800_000_000
ROW = row_of("orders")

_ids = st.sampled_from([1, 2, 3, "2"])
_values: dict[str, st.SearchStrategy[Any]] = {
    "id": _ids,
    "scode": st.sampled_from(["opt16", "", 5, None]),
    "sname": st.sampled_from(["Instagram", "ВКонтакте", 'a,"lastonline": 5', "x},{y", "\\", "[{", "\ud800"]),
    "state": st.sampled_from([0, 1, 2, -1, 7, "1", True, 1.0, 10**18, 10**25]),
    "pnumber": st.sampled_from(["9096068511", 9096068511, "+79096068511", "", "٣", "909 606"]),
    "ccode": st.sampled_from(["+7", "7", "", "+", None, 7]),
    "cname": st.sampled_from(["RU", "UK"]),
    "hasnewsms": st.sampled_from([False, True, 0, 1, "1", 0.0]),
    "until": st.sampled_from([BEGIN + 45, BEGIN + 10**6, str(BEGIN), 0, -1, 10**13, 1e9]),
    "canprolong": st.booleans() | st.sampled_from([0, "1"]),
    "canprolongmax": st.sampled_from([62, 0, -5, "7", 10**18, None]),
    "canprolonguntil": st.sampled_from([0, BEGIN, 10**12, "0", False]),
    "lastonline": st.sampled_from([0, 1, -1, BEGIN, BEGIN + 1, str(BEGIN), 10**11, 10**12, 10**40, 1e9, None, True]),
    "provider": st.sampled_from(
        ["north", 1, True, 1.0, -0.0, {"a": 1}, {"a": "1"}, [], [{}], [[]], 2**63, float("inf")]
    ),
}


@st.composite
def any_row(draw: st.DrawFn) -> dict[str, Any]:
    """Return a row as on the page with a few fields changed, added, removed or moved."""
    row = {**ROW, "id": draw(_ids), "until": BEGIN + 10**6}
    for name in draw(st.lists(st.sampled_from(list(_values)), max_size=3)):
        row[name] = draw(_values[name])
    row = without(row, *draw(st.sets(st.sampled_from(list(_values)), max_size=1)))
    if draw(st.booleans()):
        row["lastonline"] = draw(st.sampled_from([BEGIN, BEGIN + 30, 5]))
    return dict(draw(st.permutations(list(row.items())))) if draw(st.integers(0, 4)) == 0 else row


_bad_rows = st.sampled_from([{}, [], 5, None, "row", {"id": 3}, {"id": "x"}, [{"id": 1}]])


@st.composite
def changed(draw: st.DrawFn, rows: Sequence[Any]) -> list[Any]:
    """Return the previous rows with some of them replaced."""
    after = list(rows)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(after)))
        match draw(st.sampled_from(["add", "drop", "twice", "spoil", "online", "field", "shuffle"])):
            case "add":
                after.insert(place, draw(any_row()))
            case "drop":
                del after[place : place + 1]
            case "twice":
                after[place:place] = after[place : place + 1]
            case "spoil":
                after.insert(place, draw(_bad_rows))
            case "online":
                seen = draw(_values["lastonline"])
                after = [{**row, "lastonline": seen} if isinstance(row, dict) and row else row for row in after]
            case "field":
                name = draw(st.sampled_from(list(_values)))
                after[place : place + 1] = [
                    {**row, name: draw(_values[name])} if isinstance(row, dict) else row
                    for row in after[place : place + 1]
                ]
            case _:
                after = draw(st.permutations(after))
    return after


@st.composite
def written(draw: st.DrawFn, rows: Sequence[Any]) -> bytes:
    """Return rows as the JSON text of an answer, in one of many forms."""
    data: Any = list(rows)
    if draw(st.integers(0, 5)) == 0:
        data = draw(st.sampled_from([{str(place): row for place, row in enumerate(rows)}, None, {}, "none"]))
    other_fields: dict[str, Any] = draw(st.sampled_from([{}, {"total": 2}, {"rows": [{}]}, {"msg": ""}, {"data": []}]))
    envelope = {"status": draw(st.sampled_from([1, 1, 1, "1", 0])), **other_fields, "data": data}
    if draw(st.integers(0, 5)) == 0:
        envelope |= {"more": [{"id": 1}]}
    text = json.dumps(
        envelope,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", ": ")])),
        indent=draw(st.sampled_from([None, None, None, 1])),
    )
    for old, new in draw(st.lists(st.sampled_from(list(_SLIPS)), max_size=1)):
        text = text.replace(old, new, draw(st.integers(1, 2)))
    return draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b" "])) + text.encode("utf-8", "surrogatepass")


_SLIPS = (
    ('"lastonline"', '"lastonline": 7, "lastonline"'),
    ('"lastonline": 18', '"lastonline" : 7, "lastonline": 18'),
    ('"id"', '"lastonlin\\u0065": 9, "id"'),
    ("}]", ', "lastonlin\\u0065": 9}]'),
    ("}]", ', "lastonline" : 9}]'),
    ("}]", ",}]"),
    ("}]", "}}]"),
    ("}, {", "},,{"),
    ("}, {", "}, 5, {"),
    ("}, {", "}, {}, {"),
    ('"id": ', '"id": 0'),
    ("Instagram", "Inst\tgram"),
    ("Instagram", "Instagram\\u0020"),
    ("false", "NaN"),
    ('"data": ', '"data": [], "data": '),
    ("]}", '], "data": []}'),
)
_OTHER_BODIES = (b"", b"TOO MANY REQUESTS", b"<html>", b'{"status":0,"msg":"Order not found"}', b"[]", b'{"status":1}')


@st.composite
def answers(draw: st.DrawFn) -> list[Answer]:
    """Return successive answers to `orders`; many are similar to the previous one, some the same."""
    rows: list[Any] = draw(st.lists(any_row(), min_size=1, max_size=4))
    given: list[Answer] = []
    for number in range(draw(st.integers(2, 8))):
        match draw(st.sampled_from(["change", "change", "online", "again", "other", "down"])):
            case "again" if given:
                body = given[-1].body
            case "other":
                body = draw(st.sampled_from(_OTHER_BODIES))
            case "online":
                rows = [{**row, "lastonline": BEGIN + number} if isinstance(row, dict) else row for row in rows]
                body = json.dumps({"status": 1, "data": rows}).encode("utf-8", "surrogatepass")
            case _:
                rows = draw(changed(rows))
                body = draw(written(rows))
        status = draw(st.sampled_from([200, 200, 200, 200, 500, 429]))
        given.append(Answer(status, "", body, date=utc(BEGIN + 30 * number), took=number / 8))
    return given
