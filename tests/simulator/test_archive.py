"""The simulator's archive: closed orders, restoring them, and refusals."""

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


async def test_expired_and_deleted_orders_move_to_the_archive() -> None:
    sim = Simulator()
    expired, deleted = sim.add_order(), sim.add_order(days=30)
    sim.deliver(deleted.id, "x")
    await anyio.sleep(DAY)
    balance = sim.balance
    await call(sim, "delete", id=deleted.id)
    assert sim.balance == balance
    assert [row["id"] for row in (await call(sim, "orders"))["data"]] == [expired.id]
    assert (await call(sim, "delete", id=deleted.id))["msg"] == "Order not found"
    await anyio.sleep(6 * DAY - 1)
    assert sim.orders == [expired]
    await anyio.sleep(1)
    assert sim.orders == []
    assert (await call(sim, "sms", id=expired.id))["msg"] == "Order not found"

    rows = (await call(sim, "get_rent_history", skip=0, take=10))["data"]
    assert [row["orderId"] for row in rows] == [expired.id, deleted.id]
    assert [row["haveSms"] for row in rows] == [False, True]
    assert [row["days"] for row in rows] == [7, 30]
    assert rows[0]["end"] == rows[0]["closed"] == rows[0]["begin"] + 7 * DAY
    assert rows[1]["closed"] == rows[1]["begin"] + DAY
    assert (await call(sim, "get_rent_history", skip=1, take=10))["data"] == rows[1:]
    assert (await call(sim, "get_rent_history", skip=0, take=1))["data"] == rows[:1]
    sim.add_order(until=sim.now - timedelta(days=60))
    assert (await call(sim, "get_rent_history", skip=1, take=1))["data"] == rows[1:]


async def test_restoring_costs_the_overdue_days_and_thirty_days_in_advance() -> None:
    sim = Simulator(balance=100)
    sim.set_offer("RU", "opt16", price_day="0.10")
    order = sim.add_order(until=sim.now - timedelta(days=2))
    sim.deliver(order.id, "old")
    await call(sim, "getcountries")  # starts the clock
    await anyio.sleep(3600)
    quote = (await call(sim, "restore_user_precalc", id=order.id))["data"]
    assert (quote["outdays"], quote["prolongTo"], quote["price"]) == (3, 30, 3.3)
    assert (quote["ccode"], quote["pnumber"]) == ("RU", order.phone.removeprefix("+"))
    assert await call(sim, "restore_user", id=order.id) == {"status": 1, "data": True}
    assert sim.balance == Decimal("96.70")
    assert sim.orders == [order]
    assert order.until == sim.now + timedelta(days=30)
    assert [row["text"] for row in (await call(sim, "sms", id=order.id))["data"]] == ["old"]


async def test_restoring_in_the_live_dialect_makes_a_new_order() -> None:
    sim = Simulator(dialect="live")
    order = sim.add_order(until=sim.now - timedelta(days=1))
    sim.deliver(order.id, "old")
    await call(sim, "restore_user", id=order.id)
    (successor,) = sim.orders
    assert successor.id == order.restored_as != order.id
    assert (successor.phone, [message.text for message in successor.messages]) == (order.phone, ["old"])
    answer = await call(sim, "restore_user_precalc", id=order.id)
    assert (answer.get("msg") or answer["error_msg"]).startswith("NOREMOTEDATA")


PROSE = {
    "NOAVAILDAYS": "Phone number is unavalible for automatically restoring. "
    "There are not enough working days for the phone number;",
    "NOTOWNER": "Looks like the order is not your. Check it and try again;",
    "NOREMOTEDATA": "We could not find information about your order in archive. "
    "Check that your rental order was expired;",
    "NOORDERCOUNTRY": "We could not find all info about order. "
    "Please, write in live-chat on the website for restoring order;",
    "DATEDIFFINVERT": "Looks like your order was not expired. Check that your rental order was expired;",
    "NOSERVICEDATA": "Could not load information about service. "
    "Please, write in live-chat on the website for restoring order;",
    "NOBALANCE": "Your balance is not enough for restoring rental order. Today need",
    "the user had not this order": "Looks like the order is not your. Check it and try again;",
    "Service not found": "Could not load information about service. "
    "Please, write in live-chat on the website for restoring order;",
    "Balance is not enough": "Your balance is not enough for restoring rental order;",
}


@pytest.mark.parametrize("code", PROSE)
async def test_every_restore_refusal_can_be_set_and_has_the_text_of_the_page(code: Any) -> None:
    sim = Simulator()
    order = sim.add_order(until=sim.now - timedelta(days=1), restore_refusal=code)
    assert await call(sim, "restore_user", id=order.id) == {"status": 0, "msg": f"{code}: {PROSE[code]}"}
    order.restore_refusal = None
    assert (await call(sim, "restore_user", id=order.id))["status"] == 1


async def test_restore_is_refused_for_the_reason_that_applies_to_the_order() -> None:
    sim = Simulator(balance=1)
    expired = sim.now - timedelta(days=1)
    cases = {
        40_000: "NOREMOTEDATA",
        sim.add_order().id: "DATEDIFFINVERT",
        sim.add_order(until=expired, owned=False).id: "NOTOWNER",
        sim.add_order("XX", "opt16", phone="901", ccode="+999", until=expired).id: "NOORDERCOUNTRY",
        sim.add_order("RU", "opt999", until=expired).id: "NOSERVICEDATA",
        sim.add_order(until=expired - timedelta(days=90)).id: "NOAVAILDAYS",
    }
    for order_id, code in cases.items():
        for method in ("restore_user_precalc", "restore_user"):
            assert (await call(sim, method, id=order_id))["msg"] == f"{code}: {PROSE[code]}"
    sim.set_offer("RU", "opt16", price_day=1)
    unaffordable = sim.add_order(until=expired)
    assert (await call(sim, "restore_user_precalc", id=unaffordable.id))["data"]["price"] == 31
    assert (await call(sim, "restore_user", id=unaffordable.id))["msg"] == f"NOBALANCE: {PROSE['NOBALANCE']} 31.00"
    assert sim.balance == 1


async def test_a_restore_can_answer_false() -> None:
    sim = Simulator()
    order = sim.add_order(until=sim.now - timedelta(days=1), restore_refusal="false")
    before = sim.balance
    assert (await call(sim, "restore_user_precalc", id=order.id))["status"] == 1
    assert await call(sim, "restore_user", id=order.id) == {"status": 1, "data": False}
    assert (sim.balance, sim.orders) == (before, [])
