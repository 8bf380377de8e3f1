"""The dialect `contract`: the answers with their JSON types, the refusals, and the checks of parameters."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from smspva_async.simulator import Simulator
from tests.support.raw_http import call

pytestmark = pytest.mark.anyio

DAY = 86_400
WEEK: dict[str, str | int] = {"dtype": "week", "dcount": 1}
RENT: dict[str, str | int] = {"country": "RU", **WEEK}


@pytest.fixture
def sim() -> Simulator:
    return Simulator(dialect="contract", balance=100)


def keep_one_offer(sim: Simulator, service: str) -> None:
    """Remove all offers except one service in one country, and set its price and stock."""
    sim.set_offer("RU", service, price_day="1.25", rebate=20)
    russia = sim.catalogue["RU"]
    russia.offers[service].stock = {"A": 3, "B": 4}
    for country in sim.catalogue.values():
        for code in list(country.offers):
            if country is not russia or code != service:
                del country.offers[code]


async def test_countries_have_all_fields(sim: Simulator) -> None:
    rows = (await call(sim, "getcountries"))["data"]
    assert rows[0] == {
        "name": "Россия",
        "code": "RU",
        "url_country_name": "russia",
        "rent_switch_type": "SLOW",
        "rent_avail_prolong": "1",
    }
    assert {row["rent_switch_type"] for row in rows if row["code"] == "UK"} == {"FAST"}


async def test_services_have_the_codes_and_names_of_the_contract(sim: Simulator) -> None:
    rows = (await call(sim, "get_default_services"))["data"]
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
    keep_one_offer(sim, "opt16")
    assert (await call(sim, "get_default_services"))["data"] == [
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
async def test_countries_of_a_service_are_a_mapping(sim: Simulator, period: dict[str, Any], price: str) -> None:
    keep_one_offer(sim, "opt16")
    assert (await call(sim, "get_country_by_service", service="opt16", **period))["data"] == {
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
async def test_offers_have_all_fields(sim: Simulator, period: dict[str, Any]) -> None:
    keep_one_offer(sim, "opt16")
    row = {
        "name": "Instagram",
        "service": "opt16",
        "price_day": 1.25,
        "img": "/img/rent/opt16.png",
        "procent_days": 30,
        "procent": 20,
        "day_step": 1,
    }
    assert (await call(sim, "getdata", country="RU", **period))["data"] == {
        "services": [row | {"count": 7}],
        "totalAmount": 7,
    }
    assert (await call(sim, "getdataWithProviders", country="RU", **period))["data"] == {
        "services": [row | {"count": {"A": 3, "B": 4}, "totalCount": 7}],
        "totalAmount": 7,
        "allOperators": ["A", "B"],
    }
    assert sim.violations == []


async def test_monthly_prices_include_the_rebate(sim: Simulator) -> None:
    keep_one_offer(sim, "opt16")
    data = (await call(sim, "getdata", country="RU", dtype="month", dcount=1))["data"]
    assert [row["price_day"] for row in data["services"]] == [1]


async def test_stock_is_a_mapping_or_a_total(sim: Simulator) -> None:
    keep_one_offer(sim, "opt16")
    assert (await call(sim, "getcount", country="RU"))["data"] == {"opt16": 7}
    assert (await call(sim, "getCountWithProviders", country="RU", **WEEK))["data"] == {
        "opt16": {"Amount": {"A": 3, "B": 4}, "Total": 7}
    }
    assert (await call(sim, "getcount", country="PL"))["data"] == {}
    sim.behavior.getcount_is_total = True
    assert (await call(sim, "getcount", country="RU"))["data"] == 7


async def test_the_stock_of_several_services_is_the_smallest_of_each_provider(sim: Simulator) -> None:
    offers = sim.catalogue["RU"].offers
    offers["opt1"].stock, offers["opt2"].stock = {"A": 5, "B": 1, "C": 9}, {"A": 2, "B": 8}
    assert (await call(sim, "get_count_multi", services="opt1,opt2", **RENT))["data"] == {"count": 3}


async def test_paypal_days_depend_on_the_offer(sim: Simulator) -> None:
    sim.set_offer("CA", "opt83", count=41)
    assert (await call(sim, "get_days_canada_paypal"))["data"] == [
        {"Days": 7, "Amount": 41},
        {"Days": 14, "Amount": 20},
        {"Days": 30, "Amount": 10},
    ]
    del sim.catalogue["CA"].offers["opt83"]
    assert (await call(sim, "get_days_canada_paypal"))["data"] == []
    minimum = await call(sim, "get_min_paypal_days", country="RU", service="opt83")
    assert minimum == {"status": 1, "data": {"Days": 7, "Status": 1, "Message": "OK"}}
    for country, service in (("RU", "opt1"), ("XX", "opt83"), ("CA", "opt83")):
        refused = await call(sim, "get_min_paypal_days", country=country, service=service)
        assert refused == {"status": 1, "data": {"Days": 0, "Status": 0, "Message": "UNKNOWN SERVICE OR COUNTRY"}}


@pytest.mark.parametrize(
    ("form", "until"),
    [("unix", "1767830400"), ("datetime", "2026-01-08 00:00:00"), ("iso", "2026-01-08T00:00:00+00:00")],
)
async def test_until_of_a_purchase_is_text(sim: Simulator, form: Any, until: str) -> None:
    sim.behavior.until_text = form
    answer = await call(sim, "create", service="opt6", partner_key="partner", **RENT)
    (order,) = sim.orders
    assert answer == {
        "status": 1,
        "data": {"id": order.id, "pnumber": order.number, "ccode": "+7", "service": "opt6", "until": until},
    }
    assert (await call(sim, "create_multi", services="opt6,opt7", **RENT))["data"]["until"] == until
    assert sim.violations == []


Row = tuple[int, str, str]


@pytest.mark.parametrize("dialect", ["contract", "live", "page"])
@pytest.mark.parametrize(
    ("form", "service", "rows"),
    [
        ("own_ids", "opt16", [(0, "opt16", "Instagram"), (1, "opt29", "Telegram")]),
        ("row_per_service", "opt16", [(0, "opt16", "Instagram"), (0, "opt29", "Telegram")]),
        ("joined", "opt16,opt29", [(0, "opt16,opt29", "Instagram, Telegram")]),
        ("one_row", "opt16", [(0, "opt16", "Instagram")]),
    ],
)
async def test_multi_orders_sets_the_rows_of_several_services(
    dialect: Any, form: Any, service: str, rows: list[Row]
) -> None:
    sim = Simulator(dialect=dialect)
    sim.behavior.multi_orders = form
    answer = (await call(sim, "create_multi", services="opt16,opt29", **RENT))["data"]
    first = sim.orders[0]
    if dialect == "contract":
        assert answer.keys() == {"id", "pnumber", "ccode", "service", "until"}
        assert (answer["id"], answer["pnumber"], answer["service"]) == (first.id, first.number, service)
    elif dialect == "page":
        assert [row["id"] for row in answer] == [order.id for order in sim.orders]
    orders = (await call(sim, "orders"))["data"]
    listed = [*orders.values()] if isinstance(orders, dict) else orders
    assert [(int(row["id"]) - first.id, row["scode"]) for row in listed] == [row[:2] for row in rows]
    if dialect != "live":  # it leaves some names out
        assert [row["sname"] for row in listed] == [name for _id, _code, name in rows]
    assert len({row["pnumber"] for row in listed}) == 1


async def test_an_order_with_several_services_is_prolonged_archived_and_restored_as_one(sim: Simulator) -> None:
    for service in ("opt16", "opt29"):
        sim.set_offer("RU", service, price_day=1, rebate=50)
    order = sim.add_order(service=["opt16", "opt29"])
    sim.behavior.multi_orders = "joined"
    assert await call(sim, "prolong", id=order.id, **WEEK) == {"status": 1}
    assert sim.balance == 86
    await call(sim, "delete", id=order.id)
    order.until = sim.now
    (past,) = (await call(sim, "get_rent_history"))["data"]
    assert (past["orderId"], past["resourceCode"]) == (order.id, "opt16,opt29")
    await call(sim, "getcountries")
    await anyio.sleep(DAY)
    # The overdue days have no rebate, the next 30 days have it.
    assert (await call(sim, "restore_user_precalc", id=order.id))["data"]["price"] == 2 + 30
    renewed = (await call(sim, "restore_user", id=order.id))["data"]
    assert sim.balance == 54
    assert [*sim.order(renewed["id"]).services] == ["opt16", "opt29"]
    del sim.catalogue["RU"].offers["opt29"]
    archived = sim.add_order(service=["opt16", "opt29"], until=sim.now)
    assert (await call(sim, "restore_user_precalc", id=archived.id))["msg"].startswith("NOSERVICEDATA")


async def test_an_added_service_has_its_own_id_and_the_local_number(sim: Simulator) -> None:
    order = sim.add_order()
    digits = order.phone.removeprefix("+")
    answer = await call(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits)
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


async def test_messages_are_in_two_lists(sim: Simulator) -> None:
    order = sim.add_order()
    assert (await call(sim, "sms", id=order.id))["data"] == {"SmsList": [], "OtherSms": []}
    sim.deliver(order.id, "own", sender="A", date=1)
    sim.deliver(order.id, "other", sender=None, date=2, other=True)
    assert (await call(sim, "sms", id=order.id))["data"] == {
        "SmsList": [{"text": "own", "sender": "A", "date": 1}],
        "OtherSms": [{"text": "other", "date": 2}],
    }


async def test_activate_prolong_and_delete_answer_as_in_the_contract(sim: Simulator) -> None:
    order = sim.add_order()
    until = order.until
    assert await call(sim, "activate", id=order.id) == {"status": 1, "data": [{"id": order.id}]}
    assert await call(sim, "prolong", id=order.id, **WEEK) == {"status": 1}
    assert order.until == until + timedelta(days=7)
    assert await call(sim, "delete", id=order.id) == {"status": 1, "data": {"id": order.id}}
    sim.behavior.prolong_status_zero = True
    assert await call(sim, "prolong", id=sim.add_order().id, **WEEK) == {"status": 0}


async def test_a_rental_can_be_prolonged_by_days(sim: Simulator) -> None:
    sim.set_offer("RU", "opt16", price_day=1)
    order = sim.add_order()
    until = order.until
    assert await call(sim, "prolong_max", id=order.id, dtype="day", dcount=6) == {"status": 1}
    assert (order.until, sim.balance) == (until + timedelta(days=6), Decimal(94))
    early = await call(sim, "prolong_max", id=order.id, dtype="day", dcount=1)
    assert early["msg"].startswith("You can prolong number only if")
    assert sim.violations == []
    order.until = until
    wrong_params: list[dict[str, str | int]] = [WEEK, {"dtype": "day", "dcount": 7}, {"dtype": "day", "dcount": 0}, {}]
    for wrong in wrong_params:
        refused = await call(sim, "prolong_max", id=order.id, **wrong)
        assert refused == {"status": 0, "msg": "Incorrect duration count. Min 1 days. Max 6 days."}
    assert (await call(sim, "prolong_max", id=9, dtype="day", dcount=1))["msg"] == "Order id not found"
    assert (order.until, sim.balance) == (until, Decimal(94))


async def test_archived_orders_can_be_restored(sim: Simulator) -> None:
    good = sim.add_order(until=sim.now - timedelta(days=2))
    sim.add_order(until=sim.now - timedelta(days=3), restore_refusal="NOAVAILDAYS")
    rows = (await call(sim, "get_rent_history"))["data"]
    assert [(row["orderId"], row["isAvailForRestore"]) for row in rows] == [(good.id, True), (good.id + 1, False)]
    quote = (await call(sim, "restore_user_precalc", id=good.id))["data"]
    assert isinstance(quote["price"], float | int)
    assert quote.keys() == {"ccode", "scode", "price", "sname", "pnumber", "outdays", "orderid", "prolongTo"}
    answer = await call(sim, "restore_user", id=good.id)
    assert answer == {"status": 1, "data": {"id": good.restored_as}}
    assert good.restored_as != good.id
    assert sim.balance == 100 - Decimal(str(quote["price"]))
    refused = sim.add_order(until=sim.now, restore_refusal="false")
    assert await call(sim, "restore_user", id=refused.id) == {"status": 1, "data": False}


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
async def test_refusals_have_the_texts_of_the_contract(
    sim: Simulator, method: str, params: dict[str, Any], msg: str
) -> None:
    assert await call(sim, method, **params) == {"status": 0, "msg": msg}
    assert (sim.orders, sim.balance) == ([], Decimal(100))


async def test_purchases_without_money_and_requests_above_the_rate_limit_are_refused(sim: Simulator) -> None:
    sim.balance = 0
    assert (await call(sim, "create", service="opt6", **RENT))["msg"] == "Not enough money"
    sim.behavior.rate_limit = 1
    assert (await call(sim, "orders"))["msg"] == "Too many requests, slow down"


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
    sim.behavior.refusal_form = form
    assert await call(sim, "sms", id=1) == {"status": 0, **refusal}


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
async def test_some_calls_need_no_key(method: str) -> None:
    sim = Simulator(dialect="contract", api_key="right")
    refusals = {"APIKEY_NOT_SET", "Wrong apikey"}
    params: dict[str, str | int] = {"service": "opt83", "services": "opt83", **RENT}
    messages = {
        key: (await call(sim, method, **{**params, "apikey": key})).get("msg") for key in ("", "wrong", "right")
    }
    match KEYS.get(method):
        case "ignored":
            assert not refusals & set(messages.values())
        case "optional":
            assert messages == {"": None, "wrong": "Wrong apikey", "right": None}
        case _:
            assert (messages[""], messages["wrong"]) == ("APIKEY_NOT_SET", "Wrong apikey")
            assert messages["right"] not in refusals


NEWER_CALLS: dict[str, dict[str, str | int]] = {
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


@pytest.mark.parametrize("method", NEWER_CALLS)
async def test_page_calls_only_refuses_calls_that_the_page_does_not_list(method: str) -> None:
    page, contract = Simulator(), Simulator(dialect="contract")
    for sim in (page, contract):
        sim.add_order(order_id=5)
    params = NEWER_CALLS[method] | ({"id": 5} if method == "prolong_max" else {})
    assert await call(page, method, **params) == {"status": 0, "msg": "Incorrect method"}
    page.behavior.page_calls_only = False
    assert await call(page, method, **params) == await call(contract, method, **params)
    contract.behavior.page_calls_only = True
    assert (await call(contract, method, **params))["msg"] == "Incorrect method"
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
async def test_parameters_of_newer_calls_are_checked(
    sim: Simulator, method: str, params: dict[str, Any], violations: list[str]
) -> None:
    await call(sim, method, **params)
    assert sim.violations == [f"{method}: {violation}" for violation in violations]


@pytest.mark.parametrize("method", NEWER_CALLS)
async def test_the_live_dialect_answers_the_newer_calls_in_loose_types(method: str) -> None:
    sim = Simulator(dialect="live")
    sim.set_offer("CA", "opt83", count=41)
    types = set()
    for _ in range(40):
        order = sim.add_order()
        params = NEWER_CALLS[method] | ({"id": order.id} if method == "prolong_max" else {})
        answer = await call(sim, method, **params)
        assert int(answer["status"]) == 1
        types.add(type(answer["data"]))
        assert "'_" not in str(answer)
    assert types == (
        {dict, list}
        if method in {"get_default_services", "get_country_by_service", "get_days_canada_paypal"}
        else {dict}
    )
    assert sim.violations == []
