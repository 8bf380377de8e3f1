"""The dialect `page`: answers like the samples on the rental page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smspva_async.simulator import Simulator
from tests.support.backends import on_both_backends
from tests.support.raw_http import call

pytestmark = [pytest.mark.anyio, on_both_backends]

# The rental page's samples, without their comments.
PAGE = {
    "getcountries": '{"status": 1, "data": [{"name": "Россия", "code": "RU"}]}',
    "getdata": '{"status": 1, "data": [{"name": "Airbnb", "service": "opt46", "price_day": 6, "count": 359}]}',
    "create": '{"status": 1, "data": {"id": 40370, "pnumber": "9096037108", "ccode": "+7", "service": "opt6",'
    ' "until": 1587633960}}',
    "orders": '{"status": 1, "data": [{"id": 40300, "scode": "opt16", "sname": "Instagram", "state": 0,'
    ' "pnumber": "9096068511", "ccode": "+7", "cname": "RU", "hasnewsms": false, "until": 1587552240,'
    ' "canprolong": true, "canprolongmax": 162, "canprolonguntil": 1634883780, "lastonline": 1586947920}]}',
    "add_service_to_order": '{"status": 1}',
    "sms": '{"status": 1, "data": [{"text": "Code Instagram: 671 094.", "sender": "FACEBOOK", "date": 1586948100}]}',
    "prolong": '{"status": 1, "data": {"id": 123}}',
    "activate": '{"status": 1, "data": {"id": 123}}',
    "delete": '{"status": 1, "data": {"id": 123}}',
    "get_rent_history": '{"status": 1, "data": [{"orderId":517017,"resourceCode":"opt59","number":"79020831944",'
    '"branchId":1235,"haveSms":true,"days":7,"country":"EN","begin":1222222231,"end":1611111931,'
    '"closed":1632445144}]}',
    "restore_user_precalc": '{"status": 1, "data": {"ccode": "EN", "scode": "opt59", "price": 2.4, "sname": "Avito",'
    ' "pnumber": "79929831844", "outdays": 32, "orderid": 317017, "prolongTo": 30}}',
    "restore_user": '{"status":1,"data":true}',
}


def shape(value: Any) -> Any:
    """Return the keys in their order with the types of their values. A list is represented by its first row."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(value[0])]
    return type(value)


@pytest.mark.parametrize("method", PAGE)
async def test_answers_have_the_keys_and_types_of_the_pages_samples(method: str) -> None:
    sim = Simulator()
    sim.set_offer("RU", "opt59", price_day="2.41")
    sim.set_offer("RU", "opt1", price_day=6)  # the first row must have an integer price, as in the page's sample
    now = sim.add_order(service="opt59", order_id=123)
    past = sim.add_order(service="opt59", until=sim.now - timedelta(days=2))
    sim.deliver(now.id, "Code Instagram: 671 094.")
    params: dict[str, dict[str, str | int]] = {
        "getdata": {"country": "RU"},
        "create": {"country": "RU", "service": "opt6", "dtype": "week", "dcount": 1},
        "add_service_to_order": {"id": now.id, "service": "opt89", "pnumber": now.phone.removeprefix("+")},
        "sms": {"id": now.id},
        "prolong": {"id": now.id, "dtype": "week", "dcount": 1},
        "activate": {"id": now.id},
        "delete": {"id": now.id},
        "get_rent_history": {"skip": 0, "take": 10},
        "restore_user_precalc": {"id": past.id},
        "restore_user": {"id": past.id},
    }

    answer = await call(sim, method, **params.get(method, {}))

    assert shape(answer) == shape(json.loads(PAGE[method]))
    assert sim.violations == []


async def test_the_rows_of_the_pages_samples_can_be_reproduced() -> None:
    sim = Simulator(start=datetime.fromtimestamp(1586948100, UTC))
    order = sim.add_order(
        order_id=40300, phone="9096068511", until=datetime.fromtimestamp(1587552240, UTC), service="opt16"
    )
    sample = json.loads(PAGE["orders"])["data"][0]
    (row,) = (await call(sim, "orders"))["data"]
    # The sample has more days than the 90 that the page guarantees.
    for key in ("canprolongmax", "canprolonguntil", "lastonline"):
        del sample[key], row[key]
    assert row == sample

    sim.deliver(order.id, "Code Instagram: 671 094.", sender="FACEBOOK")
    assert await call(sim, "sms", id=40300) == json.loads(PAGE["sms"])
    offers = (await call(sim, "getdata", country="RU"))["data"]
    assert json.loads(PAGE["getdata"])["data"][0] in offers
    assert (await call(sim, "getcountries"))["data"][0] == json.loads(PAGE["getcountries"])["data"][0]
