"""The dialect `live`: all formats of the live server, and no others."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from smspva_async.simulator import Simulator
from tests.support.fake_server import URL

pytestmark = pytest.mark.anyio

REPEATS = 80
"""Enough requests for all formats of an answer."""
RENT: dict[str, str | int] = {"country": "RU", "dtype": "week", "dcount": 1}


async def answers(sim: Simulator, method: str, /, **params: str | int) -> list[Any]:
    """Call a method repeatedly and return the answers."""
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        query = {"method": method, "apikey": "key", **params}
        return [_read(await client.get(URL, params=query)) for _ in range(REPEATS)]


def _read(response: httpx.Response) -> Any:
    try:
        return response.json()
    except json.JSONDecodeError:
        return response.text


def rows_of(data: Any) -> list[Any]:
    """Return the rows of a list, which can have different formats."""
    return list(data.values()) if isinstance(data, dict) else list(data or [])


def type_names(values: Any) -> set[str]:
    return {type(value).__name__ for value in values}


async def test_the_status_is_a_number_or_a_string() -> None:
    received = await answers(Simulator(dialect="live"), "orders")
    assert {answer["status"] if isinstance(answer["status"], int) else "string" for answer in received} == {1, "string"}
    assert {int(answer["status"]) for answer in received} == {1}
    assert {"server" in answer for answer in received} == {True, False}


async def test_an_empty_list_has_three_forms() -> None:
    for method in ("orders", "get_rent_history"):
        params: dict[str, str | int] = {"skip": 0, "take": 5} if method == "get_rent_history" else {}
        received = await answers(Simulator(dialect="live"), method, **params)
        assert {json.dumps(answer["data"]) for answer in received} == {"[]", "null", "{}"}


async def test_lists_can_be_mappings_with_gaps() -> None:
    sim = Simulator(dialect="live")
    ids = [sim.add_order().id for _ in range(3)]
    received = await answers(sim, "orders")
    mappings = [answer["data"] for answer in received if isinstance(answer["data"], dict)]
    assert 0 < len(mappings) < len(received)
    assert {tuple(mapping) for mapping in mappings} == {("0", "2", "4")}
    assert all([int(row["id"]) for row in rows_of(answer["data"])] == ids for answer in received)


async def test_orders_have_loose_types_and_lack_optional_fields() -> None:
    sim = Simulator(dialect="live")
    for _ in range(20):
        sim.add_order()
    received = [rows_of(answer["data"]) for answer in await answers(sim, "orders")]
    all_rows = [row for each in received for row in each]
    for key in ("id", "state", "until"):
        assert type_names(row[key] for row in all_rows) == {"int", "str"}
    assert {json.dumps(row["hasnewsms"]) for row in all_rows} == {"false", "0", '"0"'}
    optional = {"sname", "canprolong", "canprolongmax", "canprolonguntil", "lastonline", "provider"}
    for key in optional:
        assert {key in row for row in all_rows} == {True, False}
        # An order always lacks the same fields. Otherwise the order would appear to change.
        assert len({tuple(key in row for row in each) for each in received}) == 1
    required = {"id", "scode", "state", "pnumber", "ccode", "cname", "hasnewsms", "until"}
    assert all(required <= row.keys() for row in all_rows)
    assert {row.keys() - required - optional == set() for row in all_rows} == {True, False}


async def test_countries_have_padded_names_and_may_have_status_zero() -> None:
    received = await answers(Simulator(dialect="live"), "getcountries")
    all_rows = [row for answer in received for row in rows_of(answer["data"])]
    assert {row["name"] == row["name"].strip() for row in all_rows} == {True, False}
    russia = [row for row in all_rows if row["code"] == "RU"]
    assert {row["name"].strip() for row in russia} == {"Россия"}
    assert {row["rent_switch_type"] for row in all_rows} == {"FAST", "SLOW", "BOTH"}
    assert {int(answer["status"]) for answer in received} == {0, 1}
    assert all("msg" not in answer for answer in received)


async def test_offers_have_three_forms() -> None:
    sim = Simulator(dialect="live")
    offers = sim.catalogue["RU"].offers
    received = await answers(sim, "getdata", country="RU")
    forms, all_rows = set(), []
    for answer in received:
        data = answer["data"]
        inner = data["services"] if isinstance(data, dict) and "services" in data else data
        by_code = isinstance(inner, dict) and "opt16" in inner
        forms.add((inner is not data, by_code))
        rows = rows_of(inner)
        all_rows += rows
        assert [row["service"] for row in rows] == list(offers)
        for row in rows:
            count = row["count"]
            total = sum(map(int, count.values())) if isinstance(count, dict) else int(count)
            assert total == offers[row["service"]].count
    assert forms == {(False, False), (True, False), (True, True)}
    assert type_names(row["count"] for row in all_rows) == {"int", "str", "dict"}
    assert type_names(row["price_day"] for row in all_rows) >= {"float", "str"}
    assert {int(answer["status"]) for answer in received} == {0, 1}


async def test_the_number_of_a_purchase_has_five_forms() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    sim.set_offer("RU", "opt6", count=1000)
    received = [answer["data"] for answer in await answers(sim, "create", service="opt6", **RENT)]
    assert type_names(received) == {"dict", "list"}
    rows = [row for data in received for row in (data if isinstance(data, list) else [data])]
    assert type_names(row["id"] for row in rows) == type_names(row["until"] for row in rows) == {"int", "str"}
    forms = set()
    for row in rows:
        phone = sim.order(int(row["id"])).phone
        number, ccode = row["pnumber"], row.get("ccode")
        assert phone in {number, f"+{number}", f"{ccode}{number}"}
        forms.add((ccode, number[:2] == "+7", number in phone[2:]))
    assert forms == {
        ("+7", False, True),
        ("+7", True, False),
        ("", True, False),
        ("", False, False),
        (None, True, False),
    }


async def test_purchases_of_several_services_are_a_row_or_a_list() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    sim.set_offer("RU", "opt6", count=1000)
    sim.set_offer("RU", "opt7", count=1000)
    one = [answer["data"] for answer in await answers(sim, "create_multi", services="opt6", **RENT)]
    assert {json.dumps(list(data))[:5] if isinstance(data, dict) else "list" for data in one} >= {"list", '["id"'}
    two = [answer["data"] for answer in await answers(sim, "create_multi", services="opt6,opt7", **RENT)]
    assert type_names(two) == {"list", "dict"}
    assert all([row["service"] for row in rows_of(data)] == ["opt6", "opt7"] for data in two)


async def test_an_added_service_has_the_whole_number_or_no_data() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    order = sim.add_order()
    digits = order.phone.removeprefix("+")
    received = await answers(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits)
    assert {"data" in answer for answer in received} == {True, False}
    rows = [answer["data"] for answer in received if "data" in answer]
    assert {row["pnumber"] for row in rows} == {digits, f"+{digits}"}
    assert all(sim.order(int(row["id"])).service == row["service"] == "opt7" for row in rows)
    assert not any("ccode" in row for row in rows)


async def test_messages_come_with_or_without_other_messages() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order()
    sim.deliver(order.id, "Код 12/3", sender=None)
    plain = await answers(sim, "sms", id=order.id)
    assert {"SmsList" in answer["data"] for answer in plain} == {True, False}
    assert {int(answer["status"]) for answer in plain} == {0, 1}
    for answer in plain:
        (row,) = rows_of(
            answer["data"].get("SmsList", answer["data"]) if isinstance(answer["data"], dict) else answer["data"]
        )
        assert row["text"] == "Код 12/3"
        assert "sender" not in row


async def test_other_messages_keep_their_form() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order()
    sim.deliver(order.id, "own")
    for number in range(20):
        sim.deliver(order.id, f"other {number}", other=True, date=None if number % 2 else "now")
    received = await answers(sim, "sms", id=order.id)
    forms = set()
    for answer in received:
        (own,) = rows_of(answer["data"]["SmsList"])
        assert own["text"] == "own"
        others = rows_of(answer["data"]["OtherSms"])
        form = [
            next(key for key in ("text", "message", "fullText") if key in row) if isinstance(row, dict) else "bare"
            for row in others
        ]
        assert [row if isinstance(row, str) else row[key] for row, key in zip(others, form, strict=True)] == [
            f"other {number}" for number in range(20)
        ]
        forms.add(tuple(form))
    assert len(forms) == 1
    assert set(forms.pop()) == {"bare", "text", "message", "fullText"}


async def test_an_empty_list_of_messages_has_four_forms() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order()
    received = await answers(sim, "sms", id=order.id)
    assert {int(answer["status"]) for answer in received} == {1}
    data = [answer["data"] for answer in received]
    assert {json.dumps(each) for each in data if not each} == {"[]", "null", "{}"}
    assert any(each and not each["SmsList"] and not each["OtherSms"] for each in data)


async def test_acknowledgements_have_the_id_or_are_empty() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    order = sim.add_order()
    activated = [answer["data"] for answer in await answers(sim, "activate", id=order.id)]
    assert {json.dumps(data) for data in activated if not data} == {"[]", "{}"}
    named = [data for data in activated if data]
    assert type_names(named) == {"list", "dict"}
    assert {int((data[0] if isinstance(data, list) else data)["id"]) for data in named} == {order.id}

    prolonged: list[Any] = []
    for _ in range(40):
        number = sim.add_order().id
        async with httpx.AsyncClient(transport=sim.transport()) as client:
            for method in ("prolong", "delete"):
                query = {"method": method, "apikey": "k", "id": number, "dtype": "week", "dcount": 1}
                answer = (await client.get(URL, params=query)).json()
                assert int(answer["status"]) == 1
                assert not answer["data"] or int(answer["data"]["id"]) == number
                prolonged.append((method, bool(answer["data"]), type(answer["data"].get("id")).__name__))
    assert {(each[0], each[1]) for each in prolonged} == {
        (method, has_id) for method in ("prolong", "delete") for has_id in (True, False)
    }
    assert {each[2] for each in prolonged} == {"int", "str", "NoneType"}


async def test_history_and_quotes_have_loose_types() -> None:
    sim = Simulator(dialect="live")
    good = sim.add_order(until=sim.now)
    bad = sim.add_order(until=sim.now, restore_refusal="NOAVAILDAYS")
    false = sim.add_order(until=sim.now, restore_refusal="false")
    received = await answers(sim, "get_rent_history", skip=0, take=5)
    results = {
        (int(row["orderId"]), bool(int(row["isAvailForRestore"]))) for a in received for row in rows_of(a["data"])
    }
    assert results == {(good.id, True), (bad.id, False), (false.id, False)}
    quotes = await answers(sim, "restore_user_precalc", id=good.id)
    assert type_names(answer["data"]["price"] for answer in quotes) == {"float", "str"}
    assert {int(answer["status"]) for answer in quotes} == {0, 1}


async def test_restoring_answers_an_id_or_a_boolean() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    results: set[str] = set()
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        for refusal in (None, "false"):
            for _ in range(REPEATS):
                order = sim.add_order(until=sim.now, restore_refusal=refusal)
                query: dict[str, str | int] = {"method": "restore_user", "apikey": "k", "id": order.id}
                answer = (await client.get(URL, params=query)).json()
                assert int(answer["status"]) == 1
                data = answer["data"]
                if isinstance(data, dict):
                    assert int(data["id"]) == order.restored_as
                    data = "id"
                assert (order.restored_as is None) is (refusal == "false")
                results.add(f"{refusal} {json.dumps(data)}")
    assert results == {"None true", "None 1", 'None "1"', 'None "id"', "false false", "false 0", 'false "0"'}


async def test_refusals_have_different_keys_and_texts() -> None:
    sim = Simulator(dialect="live", api_key="right")
    received = await answers(sim, "orders")
    texts = {answer for answer in received if isinstance(answer, str)}
    bodies = [answer for answer in received if isinstance(answer, dict)]
    assert texts == {"API KEY NOT FOUND!", "Invalid apikey"}
    assert {str(body["status"]) for body in bodies} == {"0"}
    assert {"msg" in body for body in bodies} == {"error_msg" in body for body in bodies} == {True, False}
    assert {body.get("msg") or body["error_msg"] for body in bodies} == texts

    order = sim.add_order(until=sim.now, restore_refusal="NOAVAILDAYS")
    sim.api_key = None
    restore_texts = {
        answer.get("msg") or answer["error_msg"] for answer in await answers(sim, "restore_user", id=order.id)
    }
    assert {text.partition(":")[0] for text in restore_texts} == {"NOAVAILDAYS"}
    assert {":" in text for text in restore_texts} == {True, False}


async def test_spending_calls_never_succeed_with_status_zero() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    sim.set_offer("RU", "opt6", count=1000)
    for method, params in (
        ("create", {"service": "opt6", **RENT}),
        ("create_multi", {"services": "opt6", **RENT}),
        ("prolong", {"id": sim.add_order(until=sim.now).id, "dtype": "week", "dcount": 1}),
    ):
        for answer in await answers(sim, method, **params):
            assert int(answer["status"]) == 1 or "msg" in answer or "error_msg" in answer


async def test_json_has_the_format_of_php() -> None:
    sim = Simulator(dialect="live")
    sim.add_order()
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        responses = [await client.get(URL, params={"method": "getcountries"}) for _ in range(20)]
    assert all(response.content.isascii() for response in responses)
    assert all(rb"\u0420\u043e\u0441\u0441\u0438\u044f" in response.content for response in responses)
    escaped = [response.content for response in responses if b"server" in response.content]
    assert escaped
    assert all(rb"rent\/3" in content for content in escaped)
    assert {response.headers["content-type"] for response in responses} == {
        "application/json",
        "text/html; charset=UTF-8",
    }
