"""The dialect `contract`: every answer of the provider's contract with its JSON types, and what else it states."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from smspva_async.simulator import Simulator
from tests.support.raw_http import ask

pytestmark = pytest.mark.anyio

DAY = 86_400
WEEK: dict[str, str | int] = {"dtype": "week", "dcount": 1}
RENT: dict[str, str | int] = {"country": "RU", **WEEK}


@pytest.fixture
def sim() -> Simulator:
    return Simulator(dialect="contract", balance=100)


def priced(sim: Simulator, service: str) -> None:
    """Leave one service in one country, at a known price."""
    sim.set_offer("RU", service, price_day="1.25", rebate=20)
    russia = sim.catalogue["RU"]
    russia.offers[service].stock = {"A": 3, "B": 4}
    for country in sim.catalogue.values():
        for code in list(country.offers):
            if country is not russia or code != service:
                del country.offers[code]


async def test_countries(sim: Simulator) -> None:
    rows = (await ask(sim, "getcountries"))["data"]
    assert rows[0] == {
        "name": "Россия",
        "code": "RU",
        "url_country_name": "russia",
        "rent_switch_type": "SLOW",
        "rent_avail_prolong": "1",
    }
    assert {row["rent_switch_type"] for row in rows if row["code"] == "UK"} == {"FAST"}


async def test_services_have_the_codes_and_names_of_the_contract(sim: Simulator) -> None:
    rows = (await ask(sim, "get_default_services"))["data"]
    assert {row["service"]: row["name"] for row in rows} == {
        "opt1": "Google",
        "opt2": "Facebook",
        "opt6": "Fiverr",
        "opt7": "Wirex",
        "opt8": "LinkedIn",
        "opt9": "Tinder",
        "opt16": "Instagram",
        "opt20": "WhatsApp",
        "opt29": "Telegram",
        "opt46": "Airbnb",
        "opt59": "Avito",
        "opt83": "PayPal and eBay",
        "opt89": "imagin",
        "opt142": "Any other",
        "opt147": "Discord",
        "opt154": "Apple",
    }
    priced(sim, "opt16")
    assert (await ask(sim, "get_default_services"))["data"] == [
        {
            "name": "Instagram",
            "service": "opt16",
            "priceForDay": "1.25",
            "img": "/img/rent/opt16.png",
            "DAYP": "30",
            "PROC": "20",
        }
    ]


@pytest.mark.parametrize(("period", "price"), [({"dtype": "week"}, "1.25"), ({"dtype": "month", "dcount": 1}, "1")])
async def test_countries_of_a_service(sim: Simulator, period: dict[str, Any], price: str) -> None:
    priced(sim, "opt16")
    assert (await ask(sim, "get_country_by_service", service="opt16", **period))["data"] == {
        "RU": {
            "service_name": "Instagram",
            "price": price,
            "procent_days": "30",
            "procent": "20",
            "day_step": "1",
            "country": "RU",
            "phoneAmount": 7,
        }
    }


@pytest.mark.parametrize("period", [{}, WEEK, {"extend": 1}])
async def test_offers(sim: Simulator, period: dict[str, Any]) -> None:
    priced(sim, "opt16")
    row = {
        "name": "Instagram",
        "service": "opt16",
        "price_day": 1.25,
        "img": "/img/rent/opt16.png",
        "procent_days": 30,
        "procent": 20,
        "day_step": 1,
    }
    assert (await ask(sim, "getdata", country="RU", **period))["data"] == {
        "services": [row | {"count": 7}],
        "totalAmount": 7,
    }
    assert (await ask(sim, "getdataWithProviders", country="RU", **period))["data"] == {
        "services": [row | {"count": {"A": 3, "B": 4}, "totalCount": 7}],
        "totalAmount": 7,
        "allOperators": ["A", "B"],
    }
    assert sim.violations == []


async def test_prices_of_months_have_the_rebate(sim: Simulator) -> None:
    priced(sim, "opt16")
    data = (await ask(sim, "getdata", country="RU", dtype="month", dcount=1))["data"]
    assert [row["price_day"] for row in data["services"]] == [1]


async def test_stock(sim: Simulator) -> None:
    priced(sim, "opt16")
    assert (await ask(sim, "getcount", country="RU"))["data"] == {"opt16": 7}
    assert (await ask(sim, "getCountWithProviders", country="RU", **WEEK))["data"] == {
        "opt16": {"Amount": {"A": 3, "B": 4}, "Total": 7}
    }
    assert (await ask(sim, "getcount", country="PL"))["data"] == {}
    sim.switches.getcount_is_total = True
    assert (await ask(sim, "getcount", country="RU"))["data"] == 7


async def test_stock_of_several_services_is_that_of_the_scarcest_at_each_provider(sim: Simulator) -> None:
    offers = sim.catalogue["RU"].offers
    offers["opt1"].stock, offers["opt2"].stock = {"A": 5, "B": 1, "C": 9}, {"A": 2, "B": 8}
    assert (await ask(sim, "get_count_multi", services="opt1,opt2", **RENT))["data"] == {"count": 3}


async def test_days_for_paypal(sim: Simulator) -> None:
    sim.set_offer("CA", "opt83", count=41)
    assert (await ask(sim, "get_days_canada_paypal"))["data"] == [
        {"Days": 7, "Amount": 41},
        {"Days": 14, "Amount": 20},
        {"Days": 30, "Amount": 10},
    ]
    del sim.catalogue["CA"].offers["opt83"]
    assert (await ask(sim, "get_days_canada_paypal"))["data"] == []
    least = await ask(sim, "get_min_paypal_days", country="RU", service="opt83")
    assert least == {"status": 1, "data": {"Days": 7, "Status": 1, "Message": "OK"}}
    for country, service in (("RU", "opt1"), ("XX", "opt83"), ("CA", "opt83")):
        refused = await ask(sim, "get_min_paypal_days", country=country, service=service)
        assert refused == {"status": 1, "data": {"Days": 0, "Status": 0, "Message": "UNKNOWN SERVICE OR COUNTRY"}}


@pytest.mark.parametrize(
    ("form", "until"),
    [("unix", "1767830400"), ("datetime", "2026-01-08 00:00:00"), ("iso", "2026-01-08T00:00:00+00:00")],
)
async def test_a_purchase_ends_at_a_text(sim: Simulator, form: Any, until: str) -> None:
    sim.switches.until_text = form
    answer = await ask(sim, "create", service="opt6", partner_key="partner", **RENT)
    (order,) = sim.orders
    assert answer == {
        "status": 1,
        "data": {"id": order.id, "pnumber": order.number, "ccode": "+7", "service": "opt6", "until": until},
    }
    assert (await ask(sim, "create_multi", services="opt6,opt7", **RENT))["data"]["until"] == until
    assert sim.violations == []


Row = tuple[int, str, str]


@pytest.mark.parametrize("dialect", ["contract", "live", "page"])
@pytest.mark.parametrize(
    ("listed", "told", "rows"),
    [
        ("own_ids", "opt16", [(0, "opt16", "Instagram"), (1, "opt29", "Telegram")]),
        ("row_per_service", "opt16", [(0, "opt16", "Instagram"), (0, "opt29", "Telegram")]),
        ("joined", "opt16,opt29", [(0, "opt16,opt29", "Instagram, Telegram")]),
        ("one_row", "opt16", [(0, "opt16", "Instagram")]),
    ],
)
async def test_one_number_for_several_services(dialect: Any, listed: Any, told: str, rows: list[Row]) -> None:
    sim = Simulator(dialect=dialect)
    sim.switches.multi_orders = listed
    answer = (await ask(sim, "create_multi", services="opt16,opt29", **RENT))["data"]
    first = sim.orders[0]
    if dialect == "contract":
        assert answer.keys() == {"id", "pnumber", "ccode", "service", "until"}
        assert (answer["id"], answer["pnumber"], answer["service"]) == (first.id, first.number, told)
    elif dialect == "page":
        assert [row["id"] for row in answer] == [order.id for order in sim.orders]
    orders = (await ask(sim, "orders"))["data"]
    seen = [*orders.values()] if isinstance(orders, dict) else orders
    assert [(int(row["id"]) - first.id, row["scode"]) for row in seen] == [row[:2] for row in rows]
    if dialect != "live":  # which leaves names out
        assert [row["sname"] for row in seen] == [name for _id, _code, name in rows]
    assert len({row["pnumber"] for row in seen}) == 1


async def test_one_order_of_several_services_through_its_life(sim: Simulator) -> None:
    for service in ("opt16", "opt29"):
        sim.set_offer("RU", service, price_day=1, rebate=50)
    order = sim.add_order(service=["opt16", "opt29"])
    sim.switches.multi_orders = "joined"
    assert await ask(sim, "prolong", id=order.id, **WEEK) == {"status": 1}
    assert sim.balance == 86
    await ask(sim, "delete", id=order.id)
    order.until = sim.now
    (past,) = (await ask(sim, "get_rent_history"))["data"]
    assert (past["orderId"], past["resourceCode"]) == (order.id, "opt16,opt29")
    await ask(sim, "getcountries")
    await anyio.sleep(DAY)
    # Overdue days without the rebate, then 30 days with it.
    assert (await ask(sim, "restore_user_precalc", id=order.id))["data"]["price"] == 2 + 30
    renewed = (await ask(sim, "restore_user", id=order.id))["data"]
    assert sim.balance == 54
    assert [*sim.order(renewed["id"]).services] == ["opt16", "opt29"]
    del sim.catalogue["RU"].offers["opt29"]
    archived = sim.add_order(service=["opt16", "opt29"], until=sim.now)
    assert (await ask(sim, "restore_user_precalc", id=archived.id))["msg"].startswith("NOSERVICEDATA")


async def test_an_added_service_has_an_id_of_its_own_and_the_local_number(sim: Simulator) -> None:
    order = sim.add_order()
    digits = order.phone.removeprefix("+")
    answer = await ask(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits)
    added = sim.orders[1]
    assert answer == {
        "status": 1,
        "data": {
            "id": added.id,
            "pnumber": order.number,
            "service": "opt7",
            "until": int(order.until.timestamp()),
        },
    }
    assert added.id != order.id


async def test_messages_come_in_two_lists(sim: Simulator) -> None:
    order = sim.add_order()
    assert (await ask(sim, "sms", id=order.id))["data"] == {"SmsList": [], "OtherSms": []}
    sim.deliver(order.id, "mine", sender="A", date=1)
    sim.deliver(order.id, "other", sender=None, date=2, other=True)
    assert (await ask(sim, "sms", id=order.id))["data"] == {
        "SmsList": [{"text": "mine", "sender": "A", "date": 1}],
        "OtherSms": [{"text": "other", "date": 2}],
    }


async def test_acknowledgements(sim: Simulator) -> None:
    order = sim.add_order()
    until = order.until
    assert await ask(sim, "activate", id=order.id) == {"status": 1, "data": [{"id": order.id}]}
    assert await ask(sim, "prolong", id=order.id, **WEEK) == {"status": 1}
    assert order.until == until + timedelta(days=7)
    assert await ask(sim, "delete", id=order.id) == {"status": 1, "data": {"id": order.id}}
    sim.switches.prolong_status_zero = True
    assert await ask(sim, "prolong", id=sim.add_order().id, **WEEK) == {"status": 0}


async def test_prolonging_by_days(sim: Simulator) -> None:
    sim.set_offer("RU", "opt16", price_day=1)
    order = sim.add_order()
    until = order.until
    assert await ask(sim, "prolong_max", id=order.id, dtype="day", dcount=6) == {"status": 1}
    assert (order.until, sim.balance) == (until + timedelta(days=6), Decimal(94))
    early = await ask(sim, "prolong_max", id=order.id, dtype="day", dcount=1)
    assert early["msg"].startswith("You can prolong number only if")
    assert sim.violations == []
    order.until = until
    mistakes: list[dict[str, str | int]] = [WEEK, {"dtype": "day", "dcount": 7}, {"dtype": "day", "dcount": 0}, {}]
    for wrong in mistakes:
        refused = await ask(sim, "prolong_max", id=order.id, **wrong)
        assert refused == {"status": 0, "msg": "Incorrect duration count. Min 1 days. Max 6 days."}
    assert (await ask(sim, "prolong_max", id=9, dtype="day", dcount=1))["msg"] == "Order id not found"
    assert (order.until, sim.balance) == (until, Decimal(94))


async def test_the_archive(sim: Simulator) -> None:
    good = sim.add_order(until=sim.now - timedelta(days=2))
    sim.add_order(until=sim.now - timedelta(days=3), restore_refusal="NOAVAILDAYS")
    rows = (await ask(sim, "get_rent_history"))["data"]
    assert [(row["orderId"], row["isAvailForRestore"]) for row in rows] == [(good.id, True), (good.id + 1, False)]
    quote = (await ask(sim, "restore_user_precalc", id=good.id))["data"]
    assert isinstance(quote["price"], float | int)
    assert quote.keys() == {"ccode", "scode", "price", "sname", "pnumber", "outdays", "orderid", "prolongTo"}
    answer = await ask(sim, "restore_user", id=good.id)
    assert answer == {"status": 1, "data": {"id": good.restored_as}}
    assert good.restored_as != good.id
    assert sim.balance == 100 - Decimal(str(quote["price"]))
    stubborn = sim.add_order(until=sim.now, restore_refusal="false")
    assert await ask(sim, "restore_user", id=stubborn.id) == {"status": 1, "data": False}


UNKNOWN, DURATION = "UNKNOWN SERVICE OR COUNTRY", "Incorrect duration count. Min 7 days. Max 90 days."


@pytest.mark.parametrize(
    ("method", "params", "msg"),
    [
        ("get_country_by_service", {"dtype": "week"}, "Service not found"),
        ("get_country_by_service", {"service": "opt999", "dtype": "week"}, "Service not found"),
        ("get_country_by_service", {"service": "opt1"}, DURATION),
        ("get_country_by_service", {"service": "opt1", "dtype": "day"}, DURATION),
        ("getdata", {}, UNKNOWN),
        ("getdata", {"country": "RU", "dtype": "day"}, DURATION),
        ("getdataWithProviders", {"country": "GB"}, UNKNOWN),
        ("getdataWithProviders", {"country": "RU", "dcount": "x"}, DURATION),
        ("getcount", {}, UNKNOWN),
        ("getcount", {"country": "RU", "dtype": "year"}, DURATION),
        ("getCountWithProviders", {"country": "GB"}, UNKNOWN),
        ("get_count_multi", {"country": "RU", "services": "opt1"}, DURATION),
        ("get_count_multi", {"country": "RU", **WEEK}, UNKNOWN),
        ("get_count_multi", {"country": "RU", "services": "opt1,opt999", **WEEK}, UNKNOWN),
        ("create", {"country": "RU", "service": "opt6"}, DURATION),
        ("create", {"country": "RU", **WEEK}, UNKNOWN),
        ("create", {"country": "RU", "service": "opt6", "provider": "Z", **WEEK}, "No numbers available."),
        ("create_multi", {"country": "RU", "services": "opt6,opt999", **WEEK}, UNKNOWN),
        ("create_multi", {"country": "RU", "services": "opt6", "dtype": "day", "dcount": 6}, DURATION),
        ("add_service_to_order", {"id": 1, "service": "opt6", "pnumber": "79"}, "Order id not found"),
        ("activate", {}, "Incorrect order id"),
        ("prolong", {"id": 1, "dtype": "day", "dcount": 6}, DURATION),
        ("sms", {"id": 1}, "Order id not found"),
        ("delete", {"id": 1}, "Order id not found"),
        ("buy", {}, "Incorrect method"),
    ],
)
async def test_refusals(sim: Simulator, method: str, params: dict[str, Any], msg: str) -> None:
    assert await ask(sim, method, **params) == {"status": 0, "msg": msg}
    assert (sim.orders, sim.balance) == ([], Decimal(100))


async def test_refusals_over_money_and_speed(sim: Simulator) -> None:
    sim.balance = 0
    assert (await ask(sim, "create", service="opt6", **RENT))["msg"] == "Not enough money"
    sim.switches.rate_limit = 1
    assert (await ask(sim, "orders"))["msg"] == "Too many requests, slow down"


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ("msg", {"msg": "Order not found"}),
        ("error_msg", {"error_msg": "Order not found"}),
        ("message", {"message": "Order not found"}),
        ("error", {"error": "Order not found"}),
        ("error_object", {"error": {"type": "ORDER_NOT_FOUND", "description": "Order not found"}}),
    ],
)
async def test_a_refusal_can_have_any_known_form(dialect: Any, form: Any, refusal: dict[str, Any]) -> None:
    sim = Simulator(dialect=dialect)
    sim.switches.refusal_form = form
    assert await ask(sim, "sms", id=1) == {"status": 0, **refusal}


KEYS = {
    "getcountries": "ignored",
    "get_default_services": "ignored",
    "get_country_by_service": "ignored",
    "getcount": "ignored",
    "get_count_multi": "ignored",
    "get_days_canada_paypal": "ignored",
    "get_min_paypal_days": "ignored",
    "getdata": "optional",
    "getdataWithProviders": "optional",
    "getCountWithProviders": "optional",
}


@pytest.mark.parametrize("method", [*KEYS, "create", "orders", "prolong_max", "get_rent_history"])
async def test_which_calls_need_a_key(method: str) -> None:
    sim = Simulator(dialect="contract", api_key="right")
    refusals = {"APIKEY_NOT_SET", "Wrong apikey"}
    params: dict[str, str | int] = {"service": "opt83", "services": "opt83", **RENT}
    told = {key: (await ask(sim, method, **{**params, "apikey": key})).get("msg") for key in ("", "wrong", "right")}
    match KEYS.get(method):
        case "ignored":
            assert not refusals & set(told.values())
        case "optional":
            assert told == {"": None, "wrong": "Wrong apikey", "right": None}
        case _:
            assert (told[""], told["wrong"]) == ("APIKEY_NOT_SET", "Wrong apikey")
            assert told["right"] not in refusals


NEWER: dict[str, dict[str, str | int]] = {
    "get_default_services": {},
    "get_country_by_service": {"service": "opt1", **WEEK},
    "getdataWithProviders": {"country": "RU"},
    "getcount": {"country": "RU"},
    "getCountWithProviders": {"country": "RU"},
    "get_count_multi": {"services": "opt1,opt2", **RENT},
    "get_days_canada_paypal": {},
    "get_min_paypal_days": {"country": "CA", "service": "opt83"},
    "prolong_max": {"dtype": "day", "dcount": 1},
}


@pytest.mark.parametrize("method", NEWER)
async def test_the_page_has_no_newer_calls_unless_a_switch_says_so(method: str) -> None:
    page, contract = Simulator(), Simulator(dialect="contract")
    for sim in (page, contract):
        sim.add_order(order_id=5)
    params = NEWER[method] | ({"id": 5} if method == "prolong_max" else {})
    assert await ask(page, method, **params) == {"status": 0, "msg": "Incorrect method"}
    page.switches.page_calls_only = False
    assert await ask(page, method, **params) == await ask(contract, method, **params)
    contract.switches.page_calls_only = True
    assert (await ask(contract, method, **params))["msg"] == "Incorrect method"
    assert page.violations == contract.violations == []


@pytest.mark.parametrize(
    ("method", "params", "violations"),
    [
        ("prolong_max", {"id": 1, "dtype": "week", "dcount": 1}, ["malformed parameter dtype"]),
        ("prolong_max", {"id": 1, "dtype": "day", "dcount": 7}, ["malformed parameter dcount"]),
        ("prolong", {"id": 1, "dtype": "day", "dcount": 6}, ["malformed parameter dtype"]),
        ("getcount", {}, ["missing parameter country"]),
        ("getcount", {"country": "RU", "extend": 1}, ["unknown parameter extend"]),
        ("getdata", {"country": "RU", "extend": 2}, ["malformed parameter extend"]),
        ("get_country_by_service", {"service": "opt1"}, ["missing parameter dtype"]),
        ("get_count_multi", {"services": "opt1, opt2", **RENT}, ["malformed parameter services"]),
        ("get_days_canada_paypal", {"country": "CA"}, ["unknown parameter country"]),
        ("get_min_paypal_days", {"country": "ca"}, ["missing parameter service", "malformed parameter country"]),
        ("create", {"service": "opt1", "partner_key": "", **RENT}, ["malformed parameter partner_key"]),
        ("balance", {}, ["unknown method"]),
    ],
)
async def test_violations_cover_the_newer_calls(
    sim: Simulator, method: str, params: dict[str, Any], violations: list[str]
) -> None:
    await ask(sim, method, **params)
    assert sim.violations == [f"{method}: {violation}" for violation in violations]


@pytest.mark.parametrize("method", NEWER)
async def test_the_live_dialect_answers_the_newer_calls_in_loose_types(method: str) -> None:
    sim = Simulator(dialect="live")
    sim.set_offer("CA", "opt83", count=41)
    shapes = set()
    for _ in range(40):
        order = sim.add_order()
        params = NEWER[method] | ({"id": order.id} if method == "prolong_max" else {})
        answer = await ask(sim, method, **params)
        assert int(answer["status"]) == 1
        shapes.add(type(answer["data"]))
        assert "'_" not in str(answer)
    assert shapes == (
        {dict, list}
        if method in {"get_default_services", "get_country_by_service", "get_days_canada_paypal"}
        else {dict}
    )
    assert sim.violations == []
