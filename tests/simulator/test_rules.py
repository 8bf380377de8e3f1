"""The provider's rules in the simulator: states of a number, prices, messages."""

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


async def test_a_number_is_activated_and_becomes_inactive_again() -> None:
    sim = Simulator(activation=(600, 600), active=(1200, 1200))
    order = sim.add_order()

    async def row() -> Any:
        return (await call(sim, "orders"))["data"][0]

    assert (await row())["state"] == 0
    await call(sim, "activate", id=order.id)
    assert (await row())["state"] == 2
    await anyio.sleep(599)
    assert (await row())["state"] == 2
    await anyio.sleep(1)
    assert (await row())["state"] == 1
    await call(sim, "activate", id=order.id)  # changes nothing
    await anyio.sleep(1199)
    assert (await row())["state"] == 1
    online = (await row())["lastonline"]
    await anyio.sleep(1)
    assert (await row())["state"] == 0
    await anyio.sleep(5000)
    assert (await row())["lastonline"] == online + 1
    await call(sim, "activate", id=order.id)
    assert (await row())["state"] == 2


async def test_activation_times_are_random_within_their_ranges() -> None:
    sim = Simulator(seed=3)
    orders = [sim.add_order(state=2) for _ in range(200)]
    delays = {order.active_from for order in orders if order.active_from is not None}
    durations = {order.active_until - order.active_from for order in orders if order.active_from is not None}
    assert len(delays) > 100
    assert min(delays) >= 600
    assert max(delays) <= 900
    assert min(durations) >= 600
    assert max(durations) <= 1800


async def test_always_active_numbers_stay_active() -> None:
    sim = Simulator()
    order = sim.add_order(country="UK")
    await call(sim, "activate", id=order.id)
    await anyio.sleep(6 * DAY)
    (row,) = (await call(sim, "orders"))["data"]
    assert (row["state"], row["ccode"], row["cname"]) == (1, "+44", "UK")
    assert row["lastonline"] == int(sim.now.timestamp())


async def test_states_can_be_set() -> None:
    sim = Simulator(active=(60, 60))
    order = sim.add_order(state=-1)
    await call(sim, "activate", id=order.id)
    await anyio.sleep(3600)
    assert order.state == -1
    sim.set_state(order.id, 1)
    assert order.state == 1
    await anyio.sleep(60)
    assert order.state == 0
    sim.set_state(order.id, 2)
    assert order.state == 2
    sim.set_state(order.id, 0)
    assert order.state == 0
    sim.set_state(order.id, 17)
    assert (await call(sim, "orders"))["data"][0]["state"] == 17
    always_active = sim.add_order(country="UK", state=1)
    assert always_active.always_active
    sim.set_state(always_active.id, 0)
    assert (always_active.state, always_active.always_active) == (0, False)


async def test_a_purchase_is_charged_and_takes_from_the_stock() -> None:
    sim = Simulator(balance=100)
    sim.set_offer("RU", "opt6", price_day="1.25", count=2)
    rental = (await call(sim, "create", country="RU", service="opt6", dtype="week", dcount=2))["data"]
    assert sim.balance == Decimal("82.50")
    assert rental["until"] == int((sim.now + timedelta(days=14)).timestamp())
    assert [order.id for order in sim.orders] == [rental["id"]]
    assert sim.order(rental["id"]).phone == f"+7{rental['pnumber']}"
    await call(sim, "create", country="RU", service="opt6", dtype="month", dcount=1)
    assert sim.balance == Decimal("45.00")
    answer = await call(sim, "create", country="RU", service="opt6", dtype="week", dcount=1)
    assert answer == {"status": 0, "msg": "No numbers available"}
    assert sim.balance == Decimal("45.00")


async def test_a_purchase_beyond_the_balance_is_refused() -> None:
    sim = Simulator(balance="6.99")
    sim.set_offer("RU", "opt6", price_day=1)
    answer = await call(sim, "create", country="RU", service="opt6", dtype="week", dcount=1)
    assert answer == {"status": 0, "msg": "Insufficient balance"}
    assert sim.orders == []
    sim.balance = 7
    await call(sim, "create", country="RU", service="opt6", dtype="week", dcount=1)
    assert sim.balance == 0


async def test_several_services_share_one_number_or_nothing_is_rented() -> None:
    sim = Simulator()
    order: dict[str, str | int] = {"country": "RU", "dtype": "week", "dcount": 1}
    offers = sim.catalogue["RU"].offers
    stock = offers["opt6"].count, offers["opt7"].count
    rows = (await call(sim, "create_multi", services="opt6,opt7", **order))["data"]
    assert [row["service"] for row in rows] == ["opt6", "opt7"]
    assert rows[0]["pnumber"] == rows[1]["pnumber"]
    assert rows[0]["id"] != rows[1]["id"]
    assert (offers["opt6"].count, offers["opt7"].count) == (stock[0] - 1, stock[1] - 1)
    before = sim.balance
    sim.set_offer("RU", "opt7", count=0)
    assert (await call(sim, "create_multi", services="opt6,opt7", **order))["msg"] == "No numbers available"
    # One number serves both services, so one provider needs stock for both.
    offers["opt6"].stock, offers["opt7"].stock = {"A": 5, "B": 0}, {"A": 0, "B": 5}
    assert (await call(sim, "create_multi", services="opt6,opt7", **order))["msg"] == "No numbers available"
    assert (len(sim.orders), sim.balance) == (2, before)
    offers["opt7"].stock["A"] = 1
    await call(sim, "create_multi", services="opt7,opt7", **order)  # repeated, but rented once
    assert (len(sim.orders), sim.balance) == (3, before - 7 * offers["opt7"].price_day)


async def test_long_rentals_have_a_rebate() -> None:
    sim = Simulator(balance=100)
    sim.set_offer("RU", "opt6", price_day=1, rebate=25)
    order: dict[str, str | int] = {"country": "RU", "service": "opt6"}
    await call(sim, "create", dtype="week", dcount=4, **order)
    assert sim.balance == 72
    rental = (await call(sim, "create", dtype="month", dcount=1, **order))["data"]
    assert sim.balance == Decimal("49.50")
    await anyio.sleep(25 * DAY)
    await call(sim, "prolong", id=rental["id"], dtype="month", dcount=1)
    assert sim.balance == 27
    prices = [
        row["price_day"]
        for dtype in ("week", "month")
        for row in (await call(sim, "getdata", country="RU", dtype=dtype, dcount=1))["data"]
        if row["service"] == "opt6"
    ]
    assert prices == [1, 0.75]


async def test_a_provider_can_be_chosen() -> None:
    sim = Simulator()
    order: dict[str, str | int] = {"country": "RU", "service": "opt6", "dtype": "week", "dcount": 1}
    stock = sim.catalogue["RU"].offers["opt6"].stock
    stock.update(A=5, B=1)
    rental = (await call(sim, "create", provider="B", **order))["data"]
    assert sim.order(rental["id"]).provider == "B"
    assert stock == {"A": 5, "B": 0}
    assert (await call(sim, "create", provider="B", **order))["msg"] == "No numbers available"


@pytest.mark.parametrize(
    ("method", "params", "msg"),
    [
        ("create", {"dtype": "week", "dcount": 13}, "Incorrect duration count. Min 7 days. Max 90 days."),
        ("create", {"dtype": "week", "dcount": 0}, "Incorrect duration count. Min 7 days. Max 90 days."),
        ("create", {"dtype": "year", "dcount": 1}, "Incorrect duration count. Min 7 days. Max 90 days."),
        ("create", {"dtype": "week", "dcount": 1, "country": "GB"}, "UNKNOWN SERVICE OR COUNTRY"),
        ("create", {"dtype": "week", "dcount": 1, "service": "opt999"}, "UNKNOWN SERVICE OR COUNTRY"),
        ("getdata", {"country": "GB"}, "UNKNOWN SERVICE OR COUNTRY"),
        ("getdata", {"dtype": "year"}, "Incorrect duration count. Min 7 days. Max 90 days."),
        ("sms", {"id": 1}, "Order not found"),
        ("activate", {"id": "x"}, "Incorrect order id"),
        ("delete", {"id": 9}, "Order not found"),
        ("prolong", {"id": 9, "dtype": "week", "dcount": 1}, "Order not found"),
        ("restore_user", {"id": "9" * 5000}, "Incorrect order id"),
        ("buy", {}, "Incorrect method"),
        ("", {}, "Incorrect method"),
    ],
)
async def test_refusals_have_the_texts_of_the_provider(method: str, params: dict[str, str | int], msg: str) -> None:
    sim = Simulator()
    given = {"country": "RU", "service": "opt6"} if method in {"create", "getdata"} else {}
    before = sim.balance
    assert await call(sim, method, **given | params) == {"status": 0, "msg": msg}
    assert sim.balance == before


async def test_a_service_can_be_added_to_a_number() -> None:
    sim = Simulator(balance=100)
    sim.set_offer("RU", "opt7", price_day=1)
    order = sim.add_order()
    digits = order.phone.removeprefix("+")
    assert await call(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits) == {"status": 1}
    assert sim.balance == 93
    added = sim.orders[1]
    assert (added.service, added.phone, added.until) == ("opt7", order.phone, order.until)
    await call(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits, rent_days=1)
    assert sim.balance == 92
    assert sim.orders[2].until == sim.now + timedelta(days=1)
    assert sim.violations == []

    refused = await call(sim, "add_service_to_order", id=order.id, service="opt7", pnumber=digits, rent_days=91)
    assert refused["msg"].startswith("Incorrect duration count")
    assert (await call(sim, "add_service_to_order", id=order.id, service="no", pnumber=digits))["msg"] == (
        "Service not found"
    )
    refused = await call(sim, "add_service_to_order", id=order.id, service="opt7", pnumber="79990000000")
    assert refused["msg"] == "Order not found"
    assert sim.balance == 92


async def test_a_rental_can_be_prolonged_in_its_last_seven_days_only() -> None:
    sim = Simulator(balance=100)
    sim.set_offer("RU", "opt16", price_day=1)
    order = sim.add_order(days=8)
    until = order.until
    assert not (await call(sim, "orders"))["data"][0]["canprolong"]
    refused = await call(sim, "prolong", id=order.id, dtype="week", dcount=1)
    assert refused["msg"] == "You can prolong number only if before expiring date left less 7 days"
    await anyio.sleep(DAY)
    assert (await call(sim, "orders"))["data"][0]["canprolong"]
    assert (await call(sim, "prolong", id=order.id, dtype="week", dcount=13))["status"] == 0
    assert (sim.balance, order.until) == (Decimal(100), until)
    await call(sim, "prolong", id=order.id, dtype="week", dcount=1)
    assert (sim.balance, order.until, order.days) == (Decimal(93), until + timedelta(days=7), 15)
    assert not (await call(sim, "orders"))["data"][0]["canprolong"]


async def test_orders_of_other_users_are_hidden() -> None:
    sim = Simulator()
    other = sim.add_order(owned=False)
    sim.add_order(owned=False, until=sim.now - timedelta(days=1))
    assert (await call(sim, "orders"))["data"] == []
    assert (await call(sim, "get_rent_history", skip=0, take=9))["data"] == []
    for method in ("sms", "activate", "delete"):
        assert (await call(sim, method, id=other.id))["msg"] == "Order not found"
    assert other.is_open


async def test_messages_arrive_and_raise_the_flag() -> None:
    sim = Simulator()
    order = sim.add_order()
    sim.deliver(order.id, "one", sender="A")
    await call(sim, "orders")
    await anyio.sleep(10)
    sim.deliver(order.id, "two", sender=None)
    sim.deliver(order.id, "three", date=None)
    sim.deliver(order.id, "four", date=1)
    start = int(sim.now.timestamp()) - 10
    assert (await call(sim, "orders"))["data"][0]["hasnewsms"] is True
    assert (await call(sim, "sms", id=order.id))["data"] == [
        {"text": "one", "sender": "A", "date": start},
        {"text": "two", "date": start + 10},
        {"text": "three", "sender": "INFO"},
        {"text": "four", "sender": "INFO", "date": 1},
    ]
    assert (await call(sim, "orders"))["data"][0]["hasnewsms"] is False


async def test_a_real_network_delivers_to_active_numbers_only() -> None:
    sim = Simulator()
    order = sim.add_order()
    assert not sim.deliver(order.id, "lost", network=True)
    sim.set_state(order.id, 1)
    assert sim.deliver(order.id, "arrives", network=True)
    always_active = sim.add_order(country="UK", days=7)
    await call(sim, "getcountries")
    await anyio.sleep(7 * DAY)
    assert not sim.deliver(always_active.id, "too late", network=True)
    assert [message.text for message in order.messages] == ["arrives"]
    assert always_active.messages == []


async def test_changes_on_the_website_can_be_simulated() -> None:
    sim = Simulator()
    order = sim.add_order()
    sim.deliver(order.id, "x")
    sim.read_elsewhere(order.id)
    order.until += timedelta(days=7)
    (row,) = (await call(sim, "orders"))["data"]
    assert row["hasnewsms"] is False
    assert row["until"] == int((sim.now + timedelta(days=14)).timestamp())
    sim.remove_order(order.id)
    assert (await call(sim, "orders"))["data"] == []


async def test_a_number_can_be_set_with_or_without_its_dial_code() -> None:
    sim = Simulator()
    kazakh = sim.add_order(country="KZ", phone="7012345678")
    whole = sim.add_order(country="UK", phone="+447700900123")
    no_dial_code = sim.add_order(phone="+79096037108", ccode="")
    assert (kazakh.phone, whole.phone, no_dial_code.phone) == ("+77012345678", "+447700900123", "+79096037108")
    rows = (await call(sim, "orders"))["data"]
    assert [(row["ccode"], row["pnumber"]) for row in rows] == [
        ("+7", "7012345678"),
        ("+44", "7700900123"),
        ("", "+79096037108"),
    ]
    for wrong in ("+380501234567", "12-34", ""):
        with pytest.raises(ValueError, match=r"dial code|phone number"):
            sim.add_order(phone=wrong)
