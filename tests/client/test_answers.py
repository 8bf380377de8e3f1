"""The forms of answers and of their envelope that the server is known to send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from attrs import evolve

from smspva_async import Retry
from smspva_async.errors import ApiError, OutcomeUnknown, UnexpectedResponse
from smspva_async.models import Country, CountryOffer, Order, OrderState, Rental, Sms, Stock
from tests.support.samples import (
    CALLS,
    MESSAGE,
    OFFER,
    ORDER,
    PAST_ORDER,
    QUOTE,
    READING,
    RENTAL,
    REPEATABLE,
    Call,
    name_of,
    row_of,
    without,
)

if TYPE_CHECKING:
    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

pytestmark = pytest.mark.anyio

TEXT = MESSAGE.text
BOTH = evolve(RENTAL, services=("opt6", "opt7"))
LISTS = [CALLS[method] for method in ("getcountries", "getdata", "orders", "sms", "get_rent_history")]


async def read(fake_server: FakeServer, client: SmspvaClient, method: str, data: Any) -> Any:
    fake_server.call(CALLS[method], {"status": 1, "data": data})
    return await CALLS[method].make(client)


# -- other forms to accept, by method -----------------------------------------------------------------------------

_OFFER, _ORDER, _SMS, _PAST = (row_of(method) for method in ("getdata", "orders", "sms", "get_rent_history"))
_RENTAL, _QUOTE = row_of("create"), row_of("restore_user_precalc")
_WHOLE_NUMBER = {**without(_RENTAL, "ccode"), "pnumber": "79096037108"}
_BY_CODE = {"opt46": without(_OFFER, "service")}
_BARE = without(_ORDER, "sname", "hasnewsms", "canprolong", "canprolongmax", "canprolonguntil", "lastonline")

SHAPES: dict[str, dict[str, tuple[Any, Any]]] = {
    "getcountries": {
        "rent_switch_type": ([{"name": "Россия", "code": "RU", "rent_switch_type": 2}], [Country("Россия", "RU", 2)]),
        "a text of digits": (
            [{"name": "Россия", "code": "RU", "rent_switch_type": "07"}],
            [Country("Россия", "RU", "07")],
        ),
        "padded names": ([{"name": " Россия ", "code": "RU "}], [Country("Россия", "RU")]),
    },
    "get_country_by_service": {
        "a list": (
            [{"country": "RU", "price": 9.5, "phoneAmount": "12"}],
            [CountryOffer("RU", "RU", Decimal("9.5"), 12)],
        ),
        "cheapest first, without a price last": (
            {"LT": {"price": "2"}, "PL": {}, "RU": {"price": "1.50"}},
            [
                CountryOffer("RU", "", Decimal("1.50")),
                CountryOffer("LT", "", Decimal(2)),
                CountryOffer("PL", ""),
            ],
        ),
    },
    "getCountWithProviders": {
        "plain numbers": ({"opt1": 5, "opt2": "7"}, {"opt1": Stock(5), "opt2": Stock(7)}),
        "no provider": ({"opt1": {"Amount": [], "Total": 0}}, {"opt1": Stock(0)}),
        "an unreadable amount": ({"opt1": {"Amount": {"A": None}, "Total": 5}}, {"opt1": Stock(5)}),
        "an unreadable service": ({"opt1": 5, "opt2": None}, {"opt1": Stock(5)}),
        "no service": ([], {}),
    },
    "get_count_multi": {"a number by itself": ("3", 3)},
    "getdata": {
        "under services": ({"services": [_OFFER]}, [OFFER]),
        "under services, numbered": ({"services": {"0": _OFFER}}, [OFFER]),
        "under services, by code": ({"services": _BY_CODE}, [OFFER]),
        "under services, by code and named again": ({"services": {"opt46": _OFFER}}, [OFFER]),
        "by code": (_BY_CODE, [OFFER]),
        "no services": ({"services": []}, []),
        "no services, as an object": ({"services": {}}, []),
        "no services, as null": ({"services": None}, []),
        "numbers as strings": ([{**_OFFER, "price_day": "6.00", "count": "359"}], [OFFER]),
        "count by provider": (
            [{**_OFFER, "count": {"north": 300, "south": "59"}}],
            [evolve(OFFER, by_provider={"north": 300, "south": 59})],
        ),
        "count by no provider": ([{**_OFFER, "count": {}}], [evolve(OFFER, count=0)]),
        "count by no provider, as a list": ([{**_OFFER, "count": []}], [evolve(OFFER, count=0)]),
        "count by nameless providers": (
            [{**_OFFER, "count": [5, "3"]}],
            [evolve(OFFER, count=8, by_provider={"0": 5, "1": 3})],
        ),
        "a total without providers": ([{**_OFFER, "count": {}, "totalCount": 8}], [evolve(OFFER, count=8)]),
        "a total with an unreadable count": ([{**_OFFER, "count": "many", "totalCount": 8}], [evolve(OFFER, count=8)]),
        "an unreadable count": (
            [{**_OFFER, "count": {"north": "many"}}],
            [evolve(OFFER, count=None)],
        ),
    },
    "create": {
        "in a list": ([_RENTAL], RENTAL),
        "in a numbered object": ({"0": _RENTAL}, RENTAL),
        "numbers as strings": ({**_RENTAL, "id": "40370", "until": "1587633960"}, RENTAL),
        "ccode missing, whole pnumber": (_WHOLE_NUMBER, RENTAL),
        "ccode empty, whole pnumber": ({**_WHOLE_NUMBER, "ccode": ""}, RENTAL),
        "ccode null, whole pnumber": ({**_WHOLE_NUMBER, "ccode": None}, RENTAL),
        "ccode empty, whole pnumber with a plus": ({**_RENTAL, "ccode": "", "pnumber": "+79096037108"}, RENTAL),
        "only the id": ({"id": 40370}, Rental(40370, services=("opt6",))),
        "an id by itself": (40370, Rental(40370, services=("opt6",))),
        "an id by itself as text": ("40370", Rental(40370, services=("opt6",))),
        "numbered fields next to the named ones": (
            {"0": 40370, "id": 40370, "1": "x", "until": "1587633960"},
            Rental(40370, services=("opt6",), until=RENTAL.until),
        ),
        "no service": (without(_RENTAL, "service"), RENTAL),
        "until as a date": ({**_RENTAL, "until": "2020-04-23 09:26:00"}, RENTAL),
        "until in milliseconds": ({**_RENTAL, "until": 1587633960000}, RENTAL),
    },
    "create_multi": {
        "in a list": ([_RENTAL], [BOTH]),
        "an id in a list": ([{"id": 40370}], [Rental(40370, services=("opt6", "opt7"))]),
        "by service": (
            {"opt6": without(_RENTAL, "service"), "opt7": {**without(_RENTAL, "service"), "id": 40371}},
            [RENTAL, evolve(RENTAL, id=40371, services=("opt7",))],
        ),
        "no service": (without(_RENTAL, "service"), [BOTH]),
        "only the id": ({"id": "40370"}, [Rental(40370, services=("opt6", "opt7"))]),
        "a joined service": ({**_RENTAL, "service": "opt7,opt6"}, [BOTH]),
        "a row for each service with one id": ([_RENTAL, {**_RENTAL, "service": "opt7"}], [BOTH]),
        "a row for each service with its own id": (
            {"0": _RENTAL, "1": {**_RENTAL, "service": "opt7", "id": "40371"}},
            [RENTAL, evolve(RENTAL, id=40371, services=("opt7",))],
        ),
    },
    "orders": {
        "numbers as strings": ([{**_ORDER, "id": "40300", "state": "0", "until": "1587552240"}], [ORDER]),
        "only the required fields": (
            [_BARE],
            [
                evolve(
                    ORDER,
                    service_name="",
                    has_new_sms=None,
                    can_prolong=None,
                    can_prolong_days=None,
                    can_prolong_until=None,
                    last_online=None,
                )
            ],
        ),
        "empty times": (
            [{**_ORDER, "lastonline": 0, "canprolonguntil": ""}],
            [evolve(ORDER, last_online=None, can_prolong_until=None)],
        ),
        "optional fields that are false": (
            [{**_ORDER, "lastonline": False, "canprolonguntil": False, "canprolongmax": False}],
            [evolve(ORDER, last_online=None, can_prolong_until=None, can_prolong_days=None)],
        ),
        "optional fields that are empty": (
            [{**_ORDER, "lastonline": "", "canprolonguntil": "", "canprolongmax": ""}],
            [evolve(ORDER, last_online=None, can_prolong_until=None, can_prolong_days=None)],
        ),
        "an extra provider": ([{**_ORDER, "provider": "north"}], [ORDER]),
        "joined services": ([{**_ORDER, "scode": "opt29,opt16"}], [evolve(ORDER, services=("opt16", "opt29"))]),
        "a row for each service": (
            [
                {**_ORDER, "scode": "opt29", "sname": "Telegram", "state": 1, "until": _ORDER["until"] + 60},
                {**_ORDER, "hasnewsms": True},
            ],
            [
                evolve(
                    ORDER,
                    services=("opt16", "opt29"),
                    state=OrderState.ACTIVE,
                    raw_state=1,
                    has_new_sms=True,
                    until=datetime(2020, 4, 22, 10, 45, tzinfo=UTC),
                )
            ],
        ),
        "only the id": (
            [{"id": 40300}],
            [Order(40300, (), "", OrderState.UNKNOWN, "", "", None, None, raw_state=None)],
        ),
    },
    "add_service_to_order": {
        "empty": ({}, None),
        "a new order": (_WHOLE_NUMBER, evolve(RENTAL, phone="+79096068595")),
        "a new order with a local number": (
            {"id": 40370, "pnumber": "9096068595", "service": "opt89", "until": 1587633960},
            evolve(RENTAL, phone="+79096068595", services=("opt89",)),
        ),
        "true": (True, None),
    },
    "sms": {
        "two lists": ({"SmsList": [_SMS], "OtherSms": []}, [MESSAGE]),
        "two lists, one null": ({"SmsList": [_SMS], "OtherSms": None}, [MESSAGE]),
        "two empty lists": ({"SmsList": {}, "OtherSms": []}, []),
        "no sender": ([without(_SMS, "sender")], [evolve(MESSAGE, sender=None)]),
        "no date": ([without(_SMS, "date")], [evolve(MESSAGE, received=None)]),
        "sender and date null": ([{**_SMS, "sender": None, "date": None}], [Sms(TEXT)]),
        "the same twice": ([_SMS, _SMS], [MESSAGE, MESSAGE]),
        "another service's": ({"SmsList": [], "OtherSms": [_SMS]}, [evolve(MESSAGE, other=True)]),
        "another service's, a string by itself": ({"SmsList": [], "OtherSms": [TEXT]}, [Sms(TEXT, other=True)]),
        "another service's, under message": ({"OtherSms": [{"message": TEXT}]}, [Sms(TEXT, other=True)]),
        "another service's, under fullText": ({"OtherSms": {"0": {"fullText": TEXT}}}, [Sms(TEXT, other=True)]),
        "a string by itself": ([TEXT], [Sms(TEXT)]),
        "a number as the text": ([{**_SMS, "text": 671094}], [evolve(MESSAGE, text="671094")]),
        "a number as the sender": ([{**_SMS, "sender": 900}], [evolve(MESSAGE, sender="900")]),
        "a false sender": ([{**_SMS, "sender": False}], [evolve(MESSAGE, sender=None)]),
        "text under message": ([{"message": TEXT, "sender": "FACEBOOK", "date": 1586948100}], [MESSAGE]),
        "text under sms": ([{"sms": TEXT, "sender": "FACEBOOK", "date": 1586948100}], [MESSAGE]),
        "text under fullText": (
            [{"text": None, "fullText": TEXT, "sender": "FACEBOOK", "date": 1586948100}],
            [MESSAGE],
        ),
        "a date in milliseconds": ([{**_SMS, "date": 1586948100000}], [MESSAGE]),
        "a date as text": ([{**_SMS, "date": "1586948100"}], [MESSAGE]),
        "a date and a time": ([{**_SMS, "date": "2020-04-15 10:55:00"}], [MESSAGE]),
        "an ISO date": ([{**_SMS, "date": "2020-04-15T12:55:00+02:00"}], [MESSAGE]),
        "an ISO date in UTC": ([{**_SMS, "date": "2020-04-15T10:55:00Z"}], [MESSAGE]),
        "one message in both lists": ({"SmsList": [_SMS], "OtherSms": [_SMS]}, [MESSAGE]),
        "one message in both lists, once without a sender": (
            {"SmsList": [_SMS], "OtherSms": [without(_SMS, "sender")]},
            [MESSAGE],
        ),
        "one message in both lists, and an equal one": (
            {"SmsList": [_SMS], "OtherSms": [_SMS, _SMS]},
            [MESSAGE, evolve(MESSAGE, other=True)],
        ),
        "an empty text, and another field with the text": ([{**_SMS, "text": "", "fullText": TEXT}], [MESSAGE]),
        "an empty text": ([{**_SMS, "text": ""}], [evolve(MESSAGE, text="")]),
        "a date with a fraction": ([{**_SMS, "date": 1586948100.0}], [MESSAGE]),
        "no list of its own messages": ({"SmsList": False, "OtherSms": [_SMS]}, [evolve(MESSAGE, other=True)]),
        "equal senders matched first": (
            {"SmsList": [without(_SMS, "sender"), _SMS], "OtherSms": [_SMS, {**_SMS, "sender": "B"}]},
            [evolve(MESSAGE, sender=None), MESSAGE],
        ),
        "another service's, dated in words": ({"OtherSms": [{"text": TEXT, "date": "today"}]}, [Sms(TEXT, other=True)]),
    },
    "prolong": {
        "empty": ({}, None),
        "id as a string": ({"id": "123"}, None),
        "another id": ({"id": 5}, None),
        "true": (True, None),
    },
    "prolong_max": {"an id": ({"id": 123}, None), "null": (None, None)},
    "activate": {
        "in a list": ([{"id": 123}], None),
        "empty list": ([], None),
        "empty": ({}, None),
        "id as a string": ({"id": "123"}, None),
    },
    "delete": {"empty": ({}, None), "id as a string": ({"id": "123"}, None), "null": (None, None)},
    "get_rent_history": {
        "isAvailForRestore": ([{**_PAST, "isAvailForRestore": "1"}], [evolve(PAST_ORDER, restorable=True)]),
        "not closed": ([without(_PAST, "closed")], [evolve(PAST_ORDER, closed=None)]),
    },
    "restore_user_precalc": {
        "in a list": ([_QUOTE], QUOTE),
        "numbers as strings": ({**_QUOTE, "price": "2.40", "outdays": "32", "orderid": "317017"}, QUOTE),
    },
    "restore_user": {
        "a new order": ({"id": "517018"}, 517018),
        "true as a number": (1, None),
        "true as a string": ("1", None),
        "an id by itself": (517018, 517018),
        "an id by itself as text": ("517018", 517018),
        "an id of 0": ({"id": 0}, None),
        "an id that is false": ({"id": False}, None),
        "an empty list": ([], None),
        "an empty text": ("", None),
        "null": (None, None),
    },
}


@pytest.mark.parametrize(
    ("method", "data", "expected"),
    [
        pytest.param(method, data, expected, id=f"{method}: {name}")
        for method, shapes in SHAPES.items()
        for name, (data, expected) in shapes.items()
    ],
)
async def test_other_forms_of_an_answer_are_decoded(
    method: str, data: Any, expected: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    assert await read(fake_server, client, method, data) == expected


@pytest.mark.parametrize("empty", [[], None, {}], ids=str)
@pytest.mark.parametrize("call", LISTS, ids=name_of)
async def test_an_empty_list_is_decoded_in_all_of_phps_forms(
    call: Call, empty: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    assert await read(fake_server, client, call.method, empty) == []


@pytest.mark.parametrize("call", LISTS, ids=name_of)
async def test_a_list_can_be_an_object_with_numbered_keys_and_gaps(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    row = row_of(call.method)
    rows = 1 if call.method == "orders" else 2  # rows that share an id are one order
    assert await read(fake_server, client, call.method, {"0": row, "2": row}) == call.expected * rows


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        *((value, True) for value in (True, 1, "1", "true", "TRUE")),
        *((value, False) for value in (False, 0, "0", "false", "")),
        (None, None),
    ],
    ids=repr,
)
async def test_a_flag_is_decoded_in_all_of_phps_forms(
    value: Any, *, flag: bool | None, client: SmspvaClient, fake_server: FakeServer
) -> None:
    (order,) = await read(fake_server, client, "orders", [{**_ORDER, "hasnewsms": value, "canprolong": value}])
    assert (order.has_new_sms, order.can_prolong) == (flag, flag)


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        *((0, OrderState.INACTIVE), (1, OrderState.ACTIVE), (2, OrderState.ACTIVATING), (-1, OrderState.ABSENT)),
        *(("1", OrderState.ACTIVE), ("-1", OrderState.ABSENT), (7, OrderState.UNKNOWN), ("-5", OrderState.UNKNOWN)),
    ],
    ids=str,
)
async def test_the_raw_state_is_the_servers_number(
    raw: Any, state: OrderState, client: SmspvaClient, fake_server: FakeServer
) -> None:
    (order,) = await read(fake_server, client, "orders", [{**_ORDER, "state": raw}])
    assert order.state is state
    assert order.raw_state == int(raw)


@pytest.mark.parametrize(
    ("ccode", "pnumber", "phone"),
    [
        ("+7", "9096037108", "+79096037108"),
        ("+7", "7012345678", "+77012345678"),  # Kazakh: the second 7 belongs to the number
        ("7", "7012345678", "+77012345678"),
        (7, 7012345678, "+77012345678"),
        ("+44", "07911123456", "+4407911123456"),
        ("+1 ", " 212 555-0100", "+12125550100"),
        ("", "79096037108", "+79096037108"),
        ("+7", "+77012345678", "+77012345678"),
    ],
    ids=str,
)
async def test_a_phone_number_is_dial_code_and_number_without_stripping_digits(
    ccode: Any, pnumber: Any, phone: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    assert (await read(fake_server, client, "create", {**_RENTAL, "ccode": ccode, "pnumber": pnumber})).phone == phone


@pytest.mark.parametrize(("price", "exact"), [(0.1, "0.1"), ("1.10", "1.10"), (12, "12"), (1e-7, "1E-7")], ids=str)
async def test_a_price_is_exactly_the_servers_decimal(
    price: Any, exact: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    (offer,) = await read(fake_server, client, "getdata", [{**_OFFER, "price_day": price}])
    assert isinstance(offer.price_day, Decimal)
    assert offer.price_day == Decimal(exact)


async def test_text_of_digits_stays_text(client: SmspvaClient, fake_server: FakeServer) -> None:
    (message,) = await read(fake_server, client, "sms", [{**_SMS, "text": "007", "sender": "0042"}])
    assert (message.text, message.sender) == ("007", "0042")


# -- unknown fields -----------------------------------------------------------------------------------------------

NOT_ROWS = {
    *("get_country_by_service", "getCountWithProviders", "getdataWithProviders"),
    *("get_count_multi", "get_days_canada_paypal", "get_min_paypal_days"),
}
"""Methods whose data are mappings or numbers."""


@pytest.mark.parametrize(
    "call", [call for call in CALLS.values() if row_of(call.method) and call.method not in NOT_ROWS], ids=name_of
)
async def test_unknown_fields_go_to_extra(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    news = {"news": {"deep": [1, None]}, "ещё": ""}
    row = {**row_of(call.method), **news}
    many = isinstance(call.sample["data"], list) or isinstance(call.expected, list)
    fake_server.call(
        call, {**call.sample, "data": [row] if isinstance(call.sample["data"], list) else row, "version": 2}
    )
    got = await call.make(client)
    assert got == call.expected
    if got is not None:
        model = got[0] if many else got
        assert news.items() <= model.extra.items()


# -- the envelope --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["1", True, "true"], ids=repr)
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_a_success_status_is_decoded_in_other_forms(
    call: Call, status: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, {**call.sample, "status": status, "msg": "ok", "time": 0.1})
    assert await call.make(client) == call.expected


@pytest.mark.parametrize("status", [0, "0", False], ids=repr)
@pytest.mark.parametrize("call", REPEATABLE, ids=name_of)
async def test_usable_data_without_a_message_is_a_success(
    call: Call, status: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, {**call.sample, "status": status, "msg": ""})
    assert await call.make(client) == call.expected


@pytest.mark.parametrize("data", [[], {}, None, "text", [{}], 0], ids=repr)
@pytest.mark.parametrize("call", READING, ids=name_of)
async def test_status_0_without_usable_data_is_an_error(
    call: Call, data: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, {"status": 0, "data": data})
    with pytest.raises(ApiError, match="no reason given") as refused:
        await call.make(client)
    assert (refused.value.data, refused.value.msg, refused.value.code) == (data, "", None)


@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_status_0_with_a_message_is_an_error_with_the_data(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, {"data": {"id": 5}, **call.sample, "status": 0, "msg": "closed for lunch"})
    with pytest.raises(ApiError, match="closed for lunch") as refused:
        await call.make(client)
    assert refused.value.data == call.sample.get("data", {"id": 5})


@pytest.mark.parametrize("call", READING, ids=name_of)
async def test_missing_data_is_not_an_empty_list(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(call, {"status": 1})
    with pytest.raises(UnexpectedResponse, match="no data"):
        await call.make(client)


NOT_JSON = {
    "HTML": "<html><body>502 Bad Gateway</body></html>",
    "text": "Service is temporarily unavailable",
    "Russian text": "Сервис временно недоступен",
    "nothing": "",
    "a truncated answer": '{"status": 1, "data": [{"na',
    "two objects": "{}{}",
    "a JSON string": '"hello"',
    "binary data": b"\xff\xfe\x00",
    "deep nesting": "[" * 100_000,
    "a huge number": '{"status": 1, "data": [' + "9" * 5000 + "]}",
}
NO_ENVELOPE = {"list": "[]", "null": "null", "number": "1", "no status": "{}", "unknown status": '{"status": "ok"}'}


@pytest.mark.parametrize("status", [200, 404, 500, 503])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in {**NOT_JSON, **NO_ENVELOPE}.items()])
async def test_a_body_that_is_not_an_api_answer_is_unexpected(
    body: str | bytes, status: int, fake_server: FakeServer
) -> None:
    fake_server.on("orders", httpx.Response(status, content=body, headers={"Content-Type": "text/x"}))
    async with fake_server.client(retry=Retry(attempts=1)) as client:
        with pytest.raises(UnexpectedResponse) as unexpected:
            await client.orders()
    error = unexpected.value
    assert (error.status, error.content_type) == (status, "text/x")
    assert len(error.excerpt) <= 200
    assert len(str(error).splitlines()) == 1


async def test_the_excerpt_is_the_beginning_of_the_answer(fake_server: FakeServer, client: SmspvaClient) -> None:
    fake_server.on("orders", httpx.Response(404, text="<h1>\n  Пусто\x07</h1>"))
    with pytest.raises(UnexpectedResponse, match="HTTP 404") as unexpected:
        await client.orders()
    assert unexpected.value.excerpt == "<h1> Пусто </h1>"


NOTICE = b"<br />\n<b>Notice</b>:  Undefined index: x in <b>/var/www/rent.php</b> on line <b>3</b><br />\n"
BOM = b"\xef\xbb\xbf"
NOISE: dict[str, tuple[bytes, bytes]] = {
    "a byte order mark": (BOM, b""),
    "two byte order marks": (BOM + BOM, b""),
    "a PHP notice": (NOTICE, b""),
    "a notice with a date in brackets": (b"[29-Nov-2026 10:00:00 UTC] PHP Notice: x in /var/www/rent.php:3\n", b""),
    "a warning with braces": (b'Warning: strpos(): {needle} {"a": 1} is empty\n', b""),
    "a notice and byte order marks": (BOM + NOTICE + BOM, b""),
    "white space": (b"\r\n ", b" \n\n"),
    "NUL": (b"", b"\x00\x00"),
    "an HTML comment": (b"", b"\n<!-- served in 0.1 s -->\n"),
    "a C comment": (b"", b"/* 0.1 s */ // node 3"),
}


AMBIGUOUS = {
    "a part of a truncated answer": '{"status": 1, "data": {"id": 4}, "balance": {"status": 0, "msg": "low"}',
    "a part of a truncated list": '[{"status": 0, "msg": "low"}',
    "a part of a truncated list of lists": '[\n [{"status": 0, "msg": "low"}',
    "a truncated answer after a notice": 'Note: {"status": 1, "data": {"id": 4}, "b": {"status": 0, "msg": "no"}',
    "a part of a truncated log": '{"log": {"status": 1}',
    "two answers": '{"status": 0, "msg": "NOBALANCE"}{"status": 1, "data": {"id": 4}}',
    "two answers on two lines": '{"status": 1, "data": {"id": 7}}\n{"status": 0, "msg": "NOBALANCE"}',
    "two answers after a notice": 'Notice: x {"status": 1, "data": {"id": 7}} {"status": 0, "msg": "NOBALANCE"}',
    "many comments and a word": '{"status": 1, "data": {"id": 7}}' + "<!-- a -->" * 5000 + "x",
    "many slashes and a word": '{"status": 1, "data": {"id": 7}}' + "/" * 50_000 + "\nx",
    "a server that failed": '{"statusCode": 502, "error": {"type": "BAD_GATEWAY", "description": "upstream"}}',
    "an error without text": '{"status": 0, "error": true}',
    "an id of 0": '{"status": 1, "data": {"id": 0}}',
    "an id of 0 in a documented row": json.dumps({"status": 1, "data": {**_RENTAL, "id": 0}}),
}


@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_an_incomplete_or_ambiguous_answer_leaves_the_outcome_unknown(
    body: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS["create"], body)
    with pytest.raises(OutcomeUnknown):
        await CALLS["create"].make(client)


async def test_http_429_with_a_paid_order_leaves_the_outcome_unknown(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS["create"], httpx.Response(429, json=CALLS["create"].sample))
    with pytest.raises(OutcomeUnknown):
        await CALLS["create"].make(client)


async def test_an_id_next_to_the_status_is_found(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CALLS["create"], {"status": 1, "id": 40370})
    assert (await CALLS["create"].make(client)).id == 40370


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "cp037", "utf-7"])
async def test_an_unusual_charset_is_ignored(charset: str, client: SmspvaClient, fake_server: FakeServer) -> None:
    body = json.dumps({"status": 1, "data": [_SMS]}).encode().replace(b"FACEBOOK", b"\xff")
    headers = {"Content-Type": f"application/json; charset={charset}"}
    fake_server.call(CALLS["sms"], httpx.Response(200, content=body, headers=headers))
    assert [sms.text for sms in await client.sms(123)] == [TEXT]


async def test_one_bad_byte_does_not_change_the_charset(client: SmspvaClient, fake_server: FakeServer) -> None:
    body = json.dumps({"status": 1, "data": [_SMS, {**_SMS, "text": "Код 1234"}]}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=windows-1251"}
    fake_server.call(CALLS["sms"], httpx.Response(200, content=body.replace(b"FACEBOOK", b"\xff"), headers=headers))
    assert [sms.text for sms in await client.sms(123)] == [TEXT, "Код 1234"]


@pytest.mark.parametrize("number", [10**400, -(10**400)])
async def test_a_huge_number_in_an_optional_field_does_not_skip_the_row(
    number: int, client: SmspvaClient, fake_server: FakeServer
) -> None:
    rows = [{**_ORDER, "sname": number, "state": number, "canprolongmax": number, "cname": number}]
    fake_server.call(CALLS["orders"], {"status": 1, "data": rows})
    (order,) = await client.orders()
    assert (order.id, order.service_name, order.state) == (ORDER.id, "", OrderState.UNKNOWN)


async def test_many_messages_in_both_lists_are_merged_quickly(client: SmspvaClient, fake_server: FakeServer) -> None:
    own = [{**_SMS, "sender": str(number)} for number in range(20_000)]
    fake_server.call(CALLS["sms"], {"status": 1, "data": {"SmsList": own, "OtherSms": own[::-1]}})
    assert len(await client.sms(123)) == len(own)


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_noise_around_an_answer_is_ignored(
    call: Call, noise: tuple[bytes, bytes], client: SmspvaClient, fake_server: FakeServer
) -> None:
    before, after = noise
    fake_server.call(call, before + json.dumps(call.sample).encode() + after)
    assert await call.make(client) == call.expected


@pytest.mark.parametrize("charset", ["windows-1251", "koi8-r", "utf-16", "utf-8", "no-such-charset"])
async def test_an_answer_is_decoded_with_its_charset(
    charset: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    body = json.dumps(CALLS["getcountries"].sample, ensure_ascii=False)
    content = body.encode("utf-8" if charset == "no-such-charset" else charset)
    headers = {"Content-Type": f"application/json; charset={charset}"}
    fake_server.on("getcountries", httpx.Response(200, content=content, headers=headers))
    assert await client.countries() == [Country("Россия", "RU")]


async def test_utf_8_is_recognized_despite_a_wrong_charset(client: SmspvaClient, fake_server: FakeServer) -> None:
    body = json.dumps(CALLS["getcountries"].sample, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=windows-1251"}
    fake_server.on("getcountries", httpx.Response(200, content=body, headers=headers))
    assert await client.countries() == [Country("Россия", "RU")]


async def test_a_bad_byte_does_not_make_a_list_unreadable(client: SmspvaClient, fake_server: FakeServer) -> None:
    body = json.dumps({"status": 1, "data": [_SMS, {**_SMS, "sender": "SENDER"}]}).encode()
    fake_server.call(CALLS["sms"], body.replace(b"SENDER", b"\xd0SENDER"))
    messages = await client.sms(123)
    assert [(sms.text, sms.received) for sms in messages] == [(TEXT, MESSAGE.received)] * 2


async def test_nan_in_an_unknown_field_does_not_make_the_answer_unreadable(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS["orders"], json.dumps({"status": 1, "data": [{**_ORDER, "rating": float("nan")}]}))
    assert await client.orders() == [ORDER]


@pytest.mark.parametrize("status", [0, "0"])
async def test_a_country_without_paypal_days_is_an_error_with_the_servers_message(
    status: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    data = {"Days": 0, "Status": status, "Message": "Not for this country"}
    with pytest.raises(ApiError, match=r"^minimum_paypal_days: refused: Not for this country") as refused:
        await read(fake_server, client, "get_min_paypal_days", data)
    assert refused.value.msg == "Not for this country"


# -- other fields -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", LISTS, ids=name_of)
async def test_fields_next_to_the_data_go_to_extra(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(call, {**call.sample, "msg": "ok", "server": 7, "time": [0.1]})
    assert (await call.make(client)).extra == {"server": 7, "time": [0.1]}


@pytest.mark.parametrize(
    ("method", "data"),
    [("sms", {"SmsList": [_SMS], "OtherSms": [], "total": 1}), ("getdata", {"services": [_OFFER], "total": 1})],
)
async def test_fields_next_to_a_nested_list_go_to_extra(
    method: str, data: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS[method], {"status": 1, "data": data, "server": 7})
    assert (await CALLS[method].make(client)).extra == {"server": 7, "total": 1}


@pytest.mark.parametrize("call", LISTS, ids=name_of)
async def test_extra_is_empty_for_the_documented_answers(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, call.sample)
    assert (await call.make(client)).extra == {}


async def test_two_empty_message_lists_are_a_success_with_status_0(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS["sms"], {"status": 0, "data": {"SmsList": [], "OtherSms": []}})
    assert await client.sms(123) == []


@pytest.mark.parametrize("others", ["none", 5, True, {"count": 0}], ids=repr)
async def test_other_messages_in_an_unknown_form_do_not_hide_the_messages_of_the_order(
    others: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    rows = await read(fake_server, client, "sms", {"SmsList": [_SMS], "OtherSms": others})
    assert [message for message in rows if not message.other] == [MESSAGE]
    assert [row.raw for row in rows.skipped] + [row.text for row in rows if row.other] == [others]
