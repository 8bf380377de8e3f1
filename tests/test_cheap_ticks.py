"""What is the same as before costs little, and gives exactly what reading it anew would give."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st

from smspva_async import Event, Order, PollRecovered, Sms, _latest, _parse
from smspva_async._diff import Failed, Observation, OrdersListed, SmsListed, step
from smspva_async._envelope import Answer, decode
from smspva_async._latest import LatestOrders
from smspva_async._reader import UnreadableError
from smspva_async._state import State
from smspva_async._wire import ORDERS, read_order
from smspva_async.errors import SmspvaError
from smspva_async.models import Rows, utc
from tests.samples import row_of, without

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = 1_800_000_000
ROW = row_of("orders")

# -- rows and bodies ---------------------------------------------------------------------------------------------

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
        ["north", 1, True, 1.0, -0.0, {"a": 1}, {"a": True}, [], [{}], [[]], 2**63, float("inf")]
    ),
}


@st.composite
def rows_(draw: st.DrawFn) -> dict[str, Any]:
    """Return a row as on the page, but for a few fields: other, more, fewer or elsewhere."""
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
    """Return rows like those before, some of them other ones."""
    after = list(rows)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(after)))
        match draw(st.sampled_from(["add", "drop", "twice", "spoil", "online", "field", "shuffle"])):
            case "add":
                after.insert(place, draw(rows_()))
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
    """Return rows as a server may write them."""
    data: Any = list(rows)
    if draw(st.integers(0, 5)) == 0:
        data = draw(st.sampled_from([{str(place): row for place, row in enumerate(rows)}, None, {}, "none"]))
    beside: dict[str, Any] = draw(st.sampled_from([{}, {"total": 2}, {"rows": [{}]}, {"msg": ""}, {"data": []}]))
    envelope = {"status": draw(st.sampled_from([1, 1, 1, "1", 0])), **beside, "data": data}
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
    """Return answers to `orders`, one after another; many like the one before, some the same."""
    rows: list[Any] = draw(st.lists(rows_(), min_size=1, max_size=4))
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


def told(rows: Rows[Order]) -> tuple[object, ...]:
    """Return everything about rows, also what doesn't count in comparisons: 1, 1.0 and True are three things."""
    return (
        [(repr(order), repr(order.extra)) for order in rows],
        [(row.reason, repr(row.raw), row.order_id) for row in rows.skipped],
        (rows.date, rows.took, repr(rows.extra)),
    )


def outcome(latest: LatestOrders | None, answer: Answer) -> tuple[Rows[Order] | None, object]:
    try:
        rows = (decode if latest is None else latest.decode)(ORDERS, {}, answer)
    except SmspvaError as error:
        return None, (type(error), str(error), repr(getattr(error, "data", None)))
    return rows, told(rows)


# -- the same as without ---------------------------------------------------------------------------------------------


@settings(max_examples=600, deadline=None)
@given(answers(), st.lists(st.sampled_from(["sms", "no sms", "down", None]), min_size=8, max_size=8))
def test_a_memory_changes_neither_rows_nor_events_nor_states(given: list[Answer], between: list[str | None]) -> None:
    latest = LatestOrders()
    cheap = anew = State()
    for number, (answer, what) in enumerate(zip(given, between, strict=False)):
        (rows, result), (fresh, expected) = outcome(latest, answer), outcome(None, answer)
        assert result == expected
        at = utc(BEGIN + 30 * number)
        if rows is None or fresh is None:
            observations: tuple[Observation, Observation] = (Failed(at=at, order_id=None, kind="", message=""),) * 2
        else:
            observations = tuple(  # type: ignore[assignment]
                OrdersListed(at=at, asked_at=at, orders=seen, skipped=seen.skipped, interval=timedelta(seconds=30))
                for seen in (rows, fresh)
            )
        cheap, events = step(cheap, observations[0])
        anew, expected_events = step(anew, observations[1])
        assert [repr(event) for event in events] == [repr(event) for event in expected_events]
        later: Observation = SmsListed(at=at, order_id=1, messages=[Sms("code", None, at)] if what == "sms" else [])
        if what == "down":
            later = Failed(at=at, order_id=None, kind="", message="")
        if what is not None:
            (cheap, events), (anew, expected_events) = step(cheap, later), step(anew, later)
            assert [repr(event) for event in events] == [repr(event) for event in expected_events]
        assert repr(cheap) == repr(anew)


_FIELDS = json.dumps({**without(ROW, "lastonline")}, separators=(",", ":"))[1:-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'{{{_FIELDS},"lastonline":5}}', f'{{{_FIELDS},"lastonline":6}}'),
        (f'{{"lastonline":5,{_FIELDS}}}', f'{{"lastonline":6,{_FIELDS}}}'),
        (f'{{"a":1,"lastonline": 5 ,{_FIELDS}}}', f'{{"a":1,"lastonline": 6 ,{_FIELDS}}}'),
        *(
            (f'{{{_FIELDS},"lastonline":5{more}}}', f'{{{_FIELDS},"lastonline":{number}{more}}}')
            for more in (
                "",
                ',"lastonline":"5"',
                ',"lastonline" :5',
                ',"lastonlin\\u0065":5',
                ',"x":"a,\\"lastonline\\":5"',
                ',"lastonline":5,"y":1',
            )
            for number in ("6", "06", "-6", "6.5", "6e1", "999999999999", "9999999999999", "null", "[6]", "+6", " 6")
        ),
        (f'{{{_FIELDS},"lastonline":5}}', f'{{{_FIELDS},"lastonline":6,}}'),
        (f'{{{_FIELDS},"lastonline":5}}', f'{{{_FIELDS},"lastonline":6x}}'),
        (f'{{{_FIELDS},"x":"a,b","lastonline":5,"y":1}}', f'{{{_FIELDS},"x":"a,"lastonline":5,b","y":1}}'),
        (f'{{{_FIELDS},"x":"a,\\"lastonline\\":5,"}}', f'{{{_FIELDS},"x":"a,\\"lastonline\\":6,"}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS},"x":"}},{{"}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"a":1}},5,{{"id":"x"}},{{"b":2}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"x":"}},{{","y":2}},5,{{"id":6,"a":1'),
        (f'{{{_FIELDS},"a\\"lastonline":5}}', f'{{{_FIELDS},"a\\"lastonline":6}}'),
        (f'{{{_FIELDS}}},{{"x":"}},{{"}} , {{"id":6}}', f'{{{_FIELDS}}},{{"x":"}},{{"b":2}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"x":[{{"id":2}},{{"id":3}}]}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"a":"}},{{"b":2}},{{"c":3}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"id":4,"x":"a}},{{b"}},7,{{"id":5}}'),
    ],
)
def test_a_text_much_like_the_one_before_is_read_as_what_it_is(before: str, after: str) -> None:
    latest = LatestOrders()
    for text in (before, after, before, f"{before},{after}", f"{after},{before}"):
        answer = Answer(200, "", b'{"status":1,"data":[%b]}' % text.encode())
        assert outcome(latest, answer)[1] == outcome(None, answer)[1]


def body(*rows: dict[str, Any]) -> Answer:
    return Answer(200, "", json.dumps({"status": 1, "data": rows}).encode())


def test_what_is_the_same_is_the_same_object() -> None:
    latest = LatestOrders()
    first = latest.decode(ORDERS, {}, body(ROW, {**ROW, "id": 2}))
    again = latest.decode(ORDERS, {}, body(ROW, {**ROW, "id": 2}))
    assert all(map(lambda one, other: one is other, first, again))
    second = latest.decode(ORDERS, {}, body({**ROW, "id": 3}, {**ROW, "id": 2, "state": 1}, ROW))
    assert second[2] is first[0]
    assert [order.id for order in second] == [3, 2, ROW["id"]]


def test_the_same_answer_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    latest, answer = LatestOrders(), body(ROW, {**ROW, "id": 2})
    first = latest.decode(ORDERS, {}, answer)
    for name in ("parse", "parse_flat", "decode", "read_row"):
        monkeypatch.setattr(_latest, name, None)
    again = latest.decode(ORDERS, {}, evolve(answer, took=0.5))
    assert (first.repeated, again.repeated) == (False, True)
    assert [*map(id, again)] == [*map(id, first)]
    assert again.took == 0.5


def listed(seconds: int, rows: Rows[Order]) -> OrdersListed:
    at = utc(BEGIN + seconds)
    return OrdersListed(at=at, asked_at=at, orders=rows, interval=timedelta(seconds=30))


def play(state: State, *observations: Observation) -> tuple[State, list[Event]]:
    events: list[Event] = []
    for observation in observations:
        state, new = step(state, observation)
        events += new
    return state, events


def test_a_poll_without_news_leaves_every_track_as_it_is() -> None:
    latest = LatestOrders()
    polls = [listed(30 * number, latest.decode(ORDERS, {}, body(ROW, {**ROW, "id": 2}))) for number in range(3)]
    state, _ = play(State(), *polls[:2])
    after, events = step(state, polls[2])
    assert after.tracks is state.tracks
    assert after.gone is state.gone
    assert not events


def test_a_poll_without_news_ends_an_outage_and_counts_absences() -> None:
    latest = LatestOrders()
    both, one = body({**ROW, "until": BEGIN + 10**6}, {**ROW, "id": 2, "until": BEGIN + 70}), body(ROW)
    first = listed(0, latest.decode(ORDERS, {}, both))
    state, _ = play(State(), first, listed(30, latest.decode(ORDERS, {}, one)))
    state, events = play(
        state,
        Failed(at=utc(BEGIN + 40), order_id=None, kind="", message=""),
        listed(60, latest.decode(ORDERS, {}, one)),
        listed(90, latest.decode(ORDERS, {}, one)),
    )
    assert [type(event).__name__ for event in events] == ["PollFailed", "PollRecovered", "OrderRemoved"]
    assert isinstance(events[1], PollRecovered)


def test_a_flag_that_stays_up_after_a_message_has_risen_also_without_other_news() -> None:
    latest = LatestOrders()
    flagged = body({**ROW, "hasnewsms": True})
    brought = SmsListed(at=utc(BEGIN + 31), order_id=ROW["id"], messages=[Sms("code", None, utc(BEGIN + 31))])
    state, _ = play(State(), *(listed(30 * number, latest.decode(ORDERS, {}, flagged)) for number in range(2)), brought)
    assert not state.tracks[ROW["id"]].flag_rose
    state, _ = step(state, listed(60, latest.decode(ORDERS, {}, flagged)))
    assert state.tracks[ROW["id"]].flag_rose


# -- the reader's shortcut -------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(rows_())
def test_the_shortcut_reads_what_the_careful_way_reads(row: dict[str, Any]) -> None:
    short = read_order.shortcut(row)
    if short is not None:
        careful = read_order.carefully(row)
        assert (repr(short), repr(short.extra)) == (repr(careful), repr(careful.extra))


@pytest.mark.parametrize("more", [{}, {"provider": "north"}, {"lastonline": 0}, {"state": 7}], ids=str)
def test_the_shortcut_reads_rows_as_on_the_page(more: dict[str, Any]) -> None:
    assert read_order.shortcut({**ROW, **more}) is not None


@pytest.mark.parametrize("bad", [{"id": True}, {"id": 10**18}, {"pnumber": ""}, {"until": 10**17}], ids=str)
def test_the_shortcut_leaves_other_rows_to_the_careful_way(bad: dict[str, Any]) -> None:
    assert read_order.shortcut({**ROW, **bad}) is None
    with pytest.raises(UnreadableError):
        read_order({**ROW, **bad})


# -- two parsers -----------------------------------------------------------------------------------------------------

TEXTS = [
    *(b"", b" ", b"{", b"[1,]", b"01", b"1.", b"+1", b"[1] 2", b"nul", b'"\x1f"', b"\x0b1", b"\xa01"),
    *(b"NaN", b"[Infinity, -Infinity]", b"1e400", b"-0", b"-0.0", b"1E5", b"5e-324", b"0.1", b"1.0"),
    *(b"9" * 18, b"9" * 19, b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"9" * 400),
    *(b"9" * 5000, b'"' + b"9" * 30 + b'"', b"0." + b"1" * 30),
    *(b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc3"', "\ufeff1".encode()),
    *(b"{'a': 1}", b'{"a": 1, "b": 2, "a": 3}', b'{"\\u0061": 1, "a": 2}', b'{"": {"": []}}', b"\xfe\xff"),
    *(b"[" * depth + b"]" * depth for depth in (50, 99, 100, 101, 102, 400, 1023, 1024, 1025, 100_000)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (99, 101, 1024, 1025, 100_000)),
    *(b"[" + b",".join([b'{"a": [1]}'] * count) + b"]" for count in (10, 200)),
]


def parsed(read: Any, text: bytes) -> str:
    try:
        return repr(read(text))
    except (ValueError, RecursionError) as error:
        return "ValueError" if isinstance(error, ValueError) else "RecursionError"


@pytest.fixture(params=["orjson", "json"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = pytest.importorskip("orjson").loads if request.param == "orjson" else None
    monkeypatch.setattr(_parse, "quick", quick)


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:20]) + str(len(text)))
def test_either_parser_reads_the_same(text: bytes) -> None:
    assert parsed(_parse.parse, text) == parsed(_parse.standard, text)


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@pytest.mark.skipif(find_spec("orjson") is None, reason="needs the extra `fast`")
@settings(max_examples=300, deadline=None)
@given(_json_values, st.booleans(), st.binary(max_size=2), st.integers(0, 40))
def test_orjson_reads_whatever_comes_as_json_does(value: Any, ascii_only: bool, slip: bytes, place: int) -> None:  # noqa: FBT001
    quick, before = importlib.import_module("orjson").loads, _parse.quick
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    _parse.quick = quick
    try:
        for whole in (text, text[:place] + slip + text[place:], text[:place]):
            assert parsed(_parse.parse, whole) == parsed(_parse.standard, whole)
    finally:
        _parse.quick = before


@pytest.mark.parametrize("blocked", [True, False])
def test_without_orjson_the_standard_parser_is_used(blocked: bool) -> None:  # noqa: FBT001
    if not blocked:
        pytest.importorskip("orjson")
    block = "import sys; sys.modules['orjson'] = None; " if blocked else ""
    code = f"{block}from smspva_async import _parse; print(_parse.quick is None, _parse.parse(b'[1]'))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.split() == [str(blocked), "[1]"]
