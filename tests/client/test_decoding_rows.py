"""Rows in unknown forms: only a required field makes a row unreadable; others are kept raw in `extra`."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import fields
from hypothesis import given, strategies as st

from smspva_async._api.methods import read_order
from smspva_async._api.rows import RowReader, UnreadableError
from smspva_async.errors import OutcomeUnknown, SmspvaError, UnexpectedResponse
from smspva_async.models import OrderState
from smspva_async.simulator import VirtualTimeLoop
from tests.support.fake_server import FakeServer
from tests.support.order_rows import any_row
from tests.support.samples import CALLS, RENTAL, SPENDING, Call, row_of, without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smspva_async import SmspvaClient

# -- one bad row among good ones -----------------------------------------------------------------------------------

_NOT_NUMBERS = ("forty", "", "4e4", "40300.0", 40300.9, True, [1], {"id": 1}, "1" * 19, 10**18)
_NOT_TIMES = ("soon", True, 1e30, 10**20, [1587552240])
_NOT_TEXTS = (True, ["opt16"], {"code": "opt16"})
_NOT_PHONES = ("", "+", "none", "79*******95", "error 404", 7.5, True, -5, ["9096068511"])
_NOT_PRICES = ("six", "", "NaN", "Infinity", True, [6], float("inf"))

# The required field of a method's row, and unreadable values.
REQUIRED: dict[tuple[str, str], tuple[object, ...]] = {
    ("getcountries", "code"): (*_NOT_TEXTS, None),
    ("getdata", "service"): (*_NOT_TEXTS, None),
    ("orders", "id"): (*_NOT_NUMBERS, 0, -1, None),
    ("sms", "text"): (*_NOT_TEXTS, None),
    ("get_rent_history", "orderId"): (*_NOT_NUMBERS, 0, -1, None),
}
# An optional field, its name in the model, its default, and unreadable values.
OPTIONAL: dict[tuple[str, str], tuple[str, object, tuple[object, ...]]] = {
    ("getcountries", "name"): ("name", "", _NOT_TEXTS),
    ("getdata", "name"): ("name", "", _NOT_TEXTS),
    ("getdata", "price_day"): ("price_day", None, _NOT_PRICES),
    ("getdata", "count"): ("count", None, ("many", "", 3.5, True)),
    ("orders", "scode"): ("services", (), (True, {"code": "opt16"}, "", ",")),
    ("orders", "sname"): ("service_name", "", _NOT_TEXTS),
    ("orders", "state"): ("state", OrderState.UNKNOWN, ([1], {"state": 1})),
    ("orders", "pnumber"): ("phone", "", _NOT_PHONES),
    ("orders", "ccode"): ("phone", "", (7.5, True, ["+7"])),
    ("orders", "cname"): ("country", "", _NOT_TEXTS),
    ("orders", "hasnewsms"): ("has_new_sms", None, ("yes", 2, -1, [], {}, float("nan"))),
    ("orders", "until"): ("until", None, _NOT_TIMES),
    ("orders", "canprolong"): ("can_prolong", None, ("perhaps", 2)),
    ("orders", "canprolongmax"): ("can_prolong_days", None, _NOT_NUMBERS),
    ("orders", "canprolonguntil"): ("can_prolong_until", None, _NOT_TIMES),
    ("orders", "lastonline"): ("last_online", None, _NOT_TIMES),
    ("sms", "sender"): ("sender", None, (True, ["FB"], {"name": "FB"})),
    ("sms", "date"): ("received", None, _NOT_TIMES),
    ("get_rent_history", "number"): ("phone", "", _NOT_PHONES),
    ("get_rent_history", "haveSms"): ("had_sms", None, ("yes", 2)),
    ("get_rent_history", "begin"): ("begin", None, _NOT_TIMES),
}
LISTS = ("getcountries", "getdata", "orders", "sms", "get_rent_history")
NOT_ROWS: tuple[object, ...] = (None, 5, [], {}, True)


def not_rows(method: str) -> tuple[object, ...]:
    """Return values that aren't rows of a method. For `sms`, text by itself is a message."""
    return NOT_ROWS if method == "sms" else (*NOT_ROWS, "row")


BAD_ROWS = [
    *(
        pytest.param(method, {**row_of(method), field: value}, id=f"{method}.{field}={value!r:.30}")
        for (method, field), values in REQUIRED.items()
        for value in values
    ),
    *(pytest.param(method, row, id=f"{method}: {row!r}") for method in LISTS for row in not_rows(method)),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "bad"), BAD_ROWS)
async def test_an_unreadable_row_is_skipped(
    method: str, bad: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    call = CALLS[method]
    fake_server.call(call, {"status": 1, "data": [row_of(method), bad]})
    rows = await call.make(client)
    assert rows == call.expected
    (skipped,) = rows.skipped
    assert json.dumps(skipped.raw) == json.dumps(bad)
    assert skipped.reason


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "field", "name", "default", "raw"),
    [
        pytest.param(method, field, name, default, raw, id=f"{method}.{field}={raw!r:.30}")
        for (method, field), (name, default, values) in OPTIONAL.items()
        for raw in values
    ],
)
async def test_an_unreadable_optional_field_gets_its_default_and_goes_to_extra(
    method: str, field: str, name: str, default: object, raw: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS[method], json.dumps({"status": 1, "data": [{**row_of(method), field: raw}]}))
    (row,) = await CALLS[method].make(client)
    assert getattr(row, name) == default
    assert repr(row.extra[field]) == repr(raw)
    (expected,) = CALLS[method].expected
    others = {it.name for it in fields(type(row))} - {name, "extra", "raw_state"}
    assert {other: getattr(row, other) for other in others} == {other: getattr(expected, other) for other in others}


@pytest.mark.anyio
@pytest.mark.parametrize("bad", NOT_ROWS, ids=repr)
@pytest.mark.parametrize("method", LISTS)
async def test_a_list_without_a_readable_row_is_unexpected(
    method: str, bad: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS[method], {"status": 1, "data": [bad, bad]})
    with pytest.raises(UnexpectedResponse, match="no row is readable"):
        await CALLS[method].make(client)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("bad", "order_id"),
    [
        ({**row_of("orders"), "id": 40300.9}, None),
        ("row", None),
    ],
    ids=["unreadable id", "not a row"],
)
async def test_a_skipped_row_has_its_order_id_if_readable(
    bad: Any, order_id: int | None, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", {"status": 1, "data": [row_of("orders"), bad]})
    assert [row.order_id for row in (await client.orders()).skipped] == [order_id]


@pytest.mark.anyio
async def test_the_reason_for_skipping_names_the_missing_field(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": [row_of("orders"), without(row_of("orders"), "id")]})
    assert "id is missing" in (await client.orders()).skipped[0].reason


@pytest.mark.anyio
@pytest.mark.parametrize("method", LISTS)
async def test_the_reasons_for_skipping_use_the_servers_names(
    method: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    good = row_of(method)
    bad: list[Any] = [
        *({**good, field: [[]]} for field in good),
        *(without(good, field) for field in good),
        {"news": 1},
    ]
    fake_server.call(CALLS[method], {"status": 1, "data": [good, *bad]})
    rows = await CALLS[method].make(client)
    ours = {field.name for field in fields(type(rows[0]))} - set(good) - {"other"}
    assert rows.skipped
    for row in rows.skipped:
        assert ours.isdisjoint(re.findall(r"\w+", row.reason.replace("phone number", ""))), row.reason


@pytest.mark.anyio
async def test_each_unreadable_row_is_logged_once(
    client: SmspvaClient, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = row_of("orders"), {"id": "one"}
    later = [{"id": "two", "lastonline": number} for number in range(3)]
    fake_server.on("orders", *({"status": 1, "data": [good, bad, row]} for row in (bad, *later)))
    for _ in range(4):
        await client.orders()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert all(warning.startswith("orders: skipped a row") for warning in warnings)


@pytest.mark.anyio
async def test_an_unreadable_rental_is_kept_as_a_skipped_row(client: SmspvaClient, fake_server: FakeServer) -> None:
    call, bad = CALLS["create_multi"], {**row_of("create"), "id": "unknown"}
    fake_server.call(call, {"status": 1, "data": [row_of("create"), bad]})
    rows = await call.make(client)
    assert rows == [RENTAL]
    assert [row.raw for row in rows.skipped] == [bad]
    assert client.unsettled == ()


# -- an answer that isn't a list -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("restore_user_precalc", {**row_of("restore_user_precalc"), "price": "free"}),
        ("restore_user_precalc", []),
        ("restore_user_precalc", None),
        ("get_count_multi", {"count": "many"}),
        ("get_min_paypal_days", {"Days": None, "Status": 1}),
        ("getCountWithProviders", {"opt1": {"Amount": {}, "Total": "many"}}),
        ("sms", "none"),
        ("sms", {"SmsList": "none", "OtherSms": []}),
        ("orders", {"40300": row_of("orders"), "total": 1}),
    ],
    ids=str,
)
async def test_unreadable_data_is_unexpected(
    method: str, data: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    answer = {"status": 1, "data": data}
    fake_server.call(CALLS[method], answer)
    with pytest.raises(UnexpectedResponse, match="can't be decoded") as unexpected:
        await CALLS[method].make(client)
    assert unexpected.value.data == answer
    assert len(fake_server.queries) == 1


# -- fast decoding of documented rows ------------------------------------------------------------------------------


@given(any_row())
def test_fast_and_lenient_decoding_of_a_row_give_the_same_result(row: dict[str, Any]) -> None:
    try:
        order = read_order(row)
    except UnreadableError:
        with pytest.raises(UnreadableError):
            read_order._read_leniently(row)
        return
    lenient = read_order._read_leniently(row)
    assert (repr(order), repr(order.extra)) == (repr(lenient), repr(lenient.extra))


@pytest.mark.anyio
@pytest.mark.parametrize("method", [method for method in LISTS if method not in ("getcountries", "get_rent_history")])
async def test_documented_rows_use_fast_decoding(
    method: str, client: SmspvaClient, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(RowReader, "_read_leniently")
    fake_server.call(CALLS[method], CALLS[method].sample)
    assert await CALLS[method].make(client) == CALLS[method].expected


# -- any answer ----------------------------------------------------------------------------------------------------

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**25, -1, 0, 1e308, 2**63])
TEXTS = st.text(max_size=8) | st.sampled_from(["1", "-0", "+", "1e5", "NaN", "null", "opt6", "\ud800", "0", "\u0661"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["id", "text", "services", "SmsList", "OtherSms"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in an answer, including the answer itself."""
    yield path
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, step))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def spoiled_answers(draw: st.DrawFn) -> tuple[Call, Any]:
    call = draw(st.sampled_from(list(CALLS.values())))
    answer = {"msg": None, "data": {}, **call.sample}
    for _ in range(draw(st.integers(1, 2))):
        answer = replaced(answer, draw(st.sampled_from(list(places(answer)))), draw(JSON))
    return call, answer


@given(spoiled=spoiled_answers())
def test_any_answer_leads_to_a_result_or_a_documented_error(spoiled: tuple[Call, Any]) -> None:
    call, answer = spoiled

    async def ask() -> None:
        fake_server = FakeServer()
        fake_server.call(call, json.dumps(answer))
        async with fake_server.client() as client:
            try:
                await call.make(client)
            except SmspvaError as error:
                assert (error in client.unsettled) == isinstance(error, OutcomeUnknown)  # noqa: PT017 - not every answer is an error
                assert len(str(error).splitlines()) == 1  # noqa: PT017
        assert fake_server.unexpected == []
        assert call not in SPENDING or len(fake_server.queries) == 1

    anyio.run(ask, backend_options={"loop_factory": VirtualTimeLoop})
