"""The live dialect: every shape that the live server was seen to give, and nothing that isn't so."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from smspva_async.simulator import Simulator

pytestmark = pytest.mark.anyio

URL = "https://smspva.com/api/rent.php"
OFTEN = 80
RENT: dict[str, str | int] = {"country": "RU", "dtype": "week", "dcount": 1}


async def answers(sim: Simulator, method: str, /, **params: str | int) -> list[Any]:
    """Ask the same so often that every shape comes up."""
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        query = {"method": method, "apikey": "key", **params}
        return [_read(await client.get(URL, params=query)) for _ in range(OFTEN)]


def _read(response: httpx.Response) -> Any:
    try:
        return response.json()
    except json.JSONDecodeError:
        return response.text


def spread(data: Any) -> list[Any]:
    """Return the rows of a list in any of its forms."""
    return list(data.values()) if isinstance(data, dict) else list(data or [])


def kinds(values: Any) -> set[str]:
    return {type(value).__name__ for value in values}


async def test_envelopes() -> None:
    seen = await answers(Simulator(dialect="live"), "orders")
    assert {answer["status"] if isinstance(answer["status"], int) else "string" for answer in seen} == {1, "string"}
    assert {int(answer["status"]) for answer in seen} == {1}
    assert {"server" in answer for answer in seen} == {True, False}


async def test_an_empty_list_comes_in_three_ways() -> None:
    for method in ("orders", "get_rent_history"):
        params: dict[str, str | int] = {"skip": 0, "take": 5} if method == "get_rent_history" else {}
        seen = await answers(Simulator(dialect="live"), method, **params)
        assert {json.dumps(answer["data"]) for answer in seen} == {"[]", "null", "{}"}


async def test_lists_may_be_mappings_with_gaps() -> None:
    sim = Simulator(dialect="live")
    ids = [sim.add_order().id for _ in range(3)]
    seen = await answers(sim, "orders")
    mappings = [answer["data"] for answer in seen if isinstance(answer["data"], dict)]
    assert 0 < len(mappings) < len(seen)
    assert {tuple(mapping) for mapping in mappings} == {("0", "2", "4")}
    assert all([int(row["id"]) for row in spread(answer["data"])] == ids for answer in seen)


async def test_orders() -> None:
    sim = Simulator(dialect="live")
    for _ in range(20):
        sim.add_order()
    seen = [spread(answer["data"]) for answer in await answers(sim, "orders")]
    flat = [row for each in seen for row in each]
    for key in ("id", "state", "until"):
        assert kinds(row[key] for row in flat) == {"int", "str"}
    assert {json.dumps(row["hasnewsms"]) for row in flat} == {"false", "0", '"0"'}
    optional = {"sname", "canprolong", "canprolongmax", "canprolonguntil", "lastonline", "provider"}
    for key in optional:
        assert {key in row for row in flat} == {True, False}
        # What an order lacks it lacks always: otherwise it would seem to change.
        assert len({tuple(key in row for row in each) for each in seen}) == 1
    required = {"id", "scode", "state", "pnumber", "ccode", "cname", "hasnewsms", "until"}
    assert all(required <= row.keys() for row in flat)
    assert {row.keys() - required - optional == set() for row in flat} == {True, False}


async def test_countries() -> None:
    seen = await answers(Simulator(dialect="live"), "getcountries")
    flat = [row for answer in seen for row in spread(answer["data"])]
    assert {row["name"] == row["name"].strip() for row in flat} == {True, False}
    russia = [row for row in flat if row["code"] == "RU"]
    assert {row["name"].strip() for row in russia} == {"Россия"}
    assert {row["rent_switch_type"] for row in flat} == {"FAST", "SLOW", "BOTH"}
    assert {int(answer["status"]) for answer in seen} == {0, 1}
    assert all("msg" not in answer for answer in seen)


async def test_offers() -> None:
    sim = Simulator(dialect="live")
    offers = sim.catalogue["RU"].offers
    seen = await answers(sim, "getdata", country="RU")
    shapes, flat = set(), []
    for answer in seen:
        data = answer["data"]
        inner = data["services"] if isinstance(data, dict) and "services" in data else data
        by_code = isinstance(inner, dict) and "opt16" in inner
        shapes.add((inner is not data, by_code))
        rows = spread(inner)
        flat += rows
        assert [row["service"] for row in rows] == list(offers)
        for row in rows:
            count = row["count"]
            total = sum(map(int, count.values())) if isinstance(count, dict) else int(count)
            assert total == offers[row["service"]].count
    assert shapes == {(False, False), (True, False), (True, True)}
    assert kinds(row["count"] for row in flat) == {"int", "str", "dict"}
    assert kinds(row["price_day"] for row in flat) >= {"float", "str"}
    assert {int(answer["status"]) for answer in seen} == {0, 1}


async def test_purchases() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    sim.set_offer("RU", "opt6", count=1000)
    seen = [answer["data"] for answer in await answers(sim, "create", service="opt6", **RENT)]
    assert kinds(seen) == {"dict", "list"}
    rows = [row for data in seen for row in (data if isinstance(data, list) else [data])]
    assert kinds(row["id"] for row in rows) == kinds(row["until"] for row in rows) == {"int", "str"}
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


async def test_several_purchases() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    sim.set_offer("RU", "opt6", count=1000)
    sim.set_offer("RU", "opt7", count=1000)
    one = [answer["data"] for answer in await answers(sim, "create_multi", services="opt6", **RENT)]
    assert {json.dumps(list(data))[:5] if isinstance(data, dict) else "list" for data in one} >= {"list", '["id"'}
    two = [answer["data"] for answer in await answers(sim, "create_multi", services="opt6,opt7", **RENT)]
    assert kinds(two) == {"list", "dict"}
    assert all([row["service"] for row in spread(data)] == ["opt6", "opt7"] for data in two)


async def test_an_added_service() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    order = sim.add_order()
    digits = order.phone.removeprefix("+")
    seen = await answers(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits)
    assert {"data" in answer for answer in seen} == {True, False}
    rows = [answer["data"] for answer in seen if "data" in answer]
    assert {row["pnumber"] for row in rows} == {digits, f"+{digits}"}
    assert all(sim.order(int(row["id"])).service == row["service"] == "opt7" for row in rows)
    assert not any("ccode" in row for row in rows)


async def test_messages() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order()
    sim.deliver(order.id, "Код 12/3", sender=None)
    plain = await answers(sim, "sms", id=order.id)
    assert {"SmsList" in answer["data"] for answer in plain} == {True, False}
    assert {int(answer["status"]) for answer in plain} == {0, 1}
    for answer in plain:
        (row,) = spread(
            answer["data"].get("SmsList", answer["data"]) if isinstance(answer["data"], dict) else answer["data"]
        )
        assert row["text"] == "Код 12/3"
        assert "sender" not in row


async def test_other_messages_keep_their_form() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order()
    sim.deliver(order.id, "mine")
    for number in range(20):
        sim.deliver(order.id, f"other {number}", other=True, date=None if number % 2 else "now")
    seen = await answers(sim, "sms", id=order.id)
    forms = set()
    for answer in seen:
        (mine,) = spread(answer["data"]["SmsList"])
        assert mine["text"] == "mine"
        others = spread(answer["data"]["OtherSms"])
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


async def test_no_messages() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order()
    seen = await answers(sim, "sms", id=order.id)
    assert {int(answer["status"]) for answer in seen} == {1}
    data = [answer["data"] for answer in seen]
    assert {json.dumps(each) for each in data if not each} == {"[]", "null", "{}"}
    assert any(each and not each["SmsList"] and not each["OtherSms"] for each in data)


async def test_acknowledgements() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    order = sim.add_order()
    activated = [answer["data"] for answer in await answers(sim, "activate", id=order.id)]
    assert {json.dumps(data) for data in activated if not data} == {"[]", "{}"}
    named = [data for data in activated if data]
    assert kinds(named) == {"list", "dict"}
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
        (method, told) for method in ("prolong", "delete") for told in (True, False)
    }
    assert {each[2] for each in prolonged} == {"int", "str", "NoneType"}


async def test_history_and_quotes() -> None:
    sim = Simulator(dialect="live")
    good = sim.add_order(until=sim.now)
    bad = sim.add_order(until=sim.now, restore_refusal="NOAVAILDAYS")
    false = sim.add_order(until=sim.now, restore_refusal="false")
    seen = await answers(sim, "get_rent_history", skip=0, take=5)
    told = {(int(row["orderId"]), bool(int(row["isAvailForRestore"]))) for a in seen for row in spread(a["data"])}
    assert told == {(good.id, True), (bad.id, False), (false.id, False)}
    quotes = await answers(sim, "restore_user_precalc", id=good.id)
    assert kinds(answer["data"]["price"] for answer in quotes) == {"float", "str"}
    assert {int(answer["status"]) for answer in quotes} == {0, 1}


async def test_restoring() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    told: set[str] = set()
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        for refusal in (None, "false"):
            for _ in range(OFTEN):
                order = sim.add_order(until=sim.now, restore_refusal=refusal)
                query: dict[str, str | int] = {"method": "restore_user", "apikey": "k", "id": order.id}
                answer = (await client.get(URL, params=query)).json()
                assert int(answer["status"]) == 1
                data = answer["data"]
                if isinstance(data, dict):
                    assert int(data["id"]) == order.restored_as
                    data = "id"
                assert (order.restored_as is None) is (refusal == "false")
                told.add(f"{refusal} {json.dumps(data)}")
    assert told == {"None true", "None 1", 'None "1"', 'None "id"', "false false", "false 0", 'false "0"'}


async def test_refusals() -> None:
    sim = Simulator(dialect="live", api_key="right")
    seen = await answers(sim, "orders")
    texts = {answer for answer in seen if isinstance(answer, str)}
    bodies = [answer for answer in seen if isinstance(answer, dict)]
    assert texts == {"API KEY NOT FOUND!", "Invalid apikey"}
    assert {str(body["status"]) for body in bodies} == {"0"}
    assert {"msg" in body for body in bodies} == {"error_msg" in body for body in bodies} == {True, False}
    assert {body.get("msg") or body["error_msg"] for body in bodies} == texts

    order = sim.add_order(until=sim.now, restore_refusal="NOAVAILDAYS")
    sim.api_key = None
    words = {answer.get("msg") or answer["error_msg"] for answer in await answers(sim, "restore_user", id=order.id)}
    assert {word.partition(":")[0] for word in words} == {"NOAVAILDAYS"}
    assert {":" in word for word in words} == {True, False}


async def test_calls_that_spend_never_succeed_with_status_zero() -> None:
    sim = Simulator(dialect="live", balance=100_000)
    sim.set_offer("RU", "opt6", count=1000)
    for method, params in (
        ("create", {"service": "opt6", **RENT}),
        ("create_multi", {"services": "opt6", **RENT}),
        ("prolong", {"id": sim.add_order(until=sim.now).id, "dtype": "week", "dcount": 1}),
    ):
        for answer in await answers(sim, method, **params):
            assert int(answer["status"]) == 1 or "msg" in answer or "error_msg" in answer


async def test_json_as_php_writes_it() -> None:
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
