"""The simulator: the rental page's samples, its clock, its seed, and what it has to say about a request."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any

import anyio
import httpx
import pytest

from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.backends import on_both_backends
from tests.support.fake_server import URL
from tests.support.raw_http import ask

pytestmark = [pytest.mark.anyio, on_both_backends]

# The rental page's samples as it prints them, their comments left out.
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
    """Return keys in their order and the types below them, of lists those of the first row."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(value[0])]
    return type(value)


@pytest.mark.parametrize("method", PAGE)
async def test_page_dialect_answers_with_the_keys_and_types_of_the_pages_samples(method: str) -> None:
    sim = Simulator()
    sim.set_offer("RU", "opt59", price_day="2.41")
    sim.set_offer("RU", "opt1", price_day=6)  # the first row, whose price is whole as in the page's sample
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

    answer = await ask(sim, method, **params.get(method, {}))

    assert shape(answer) == shape(json.loads(PAGE[method]))
    assert sim.violations == []


async def test_the_pages_own_rows_can_be_reproduced() -> None:
    sim = Simulator(start=datetime.fromtimestamp(1586948100, UTC))
    order = sim.add_order(
        order_id=40300, phone="9096068511", until=datetime.fromtimestamp(1587552240, UTC), service="opt16"
    )
    sample = json.loads(PAGE["orders"])["data"][0]
    (row,) = (await ask(sim, "orders"))["data"]
    # The sample shows more days than the 90 that the page guarantees.
    for key in ("canprolongmax", "canprolonguntil", "lastonline"):
        del sample[key], row[key]
    assert row == sample

    sim.deliver(order.id, "Code Instagram: 671 094.", sender="FACEBOOK")
    assert await ask(sim, "sms", id=40300) == json.loads(PAGE["sms"])
    offers = (await ask(sim, "getdata", country="RU"))["data"]
    assert json.loads(PAGE["getdata"])["data"][0] in offers
    assert (await ask(sim, "getcountries"))["data"][0] == json.loads(PAGE["getcountries"])["data"][0]


async def test_every_answer_carries_the_date_of_the_servers_clock() -> None:
    sim = Simulator(start=datetime(2026, 5, 1, 12, tzinfo=UTC))
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        await client.get(URL, params={"method": "getcountries"})
        await anyio.sleep(90.5)
        response = await client.get(URL, params={"method": "getcountries"})
    assert parsedate_to_datetime(response.headers["date"]) == datetime(2026, 5, 1, 12, 1, 30, tzinfo=UTC)
    assert sim.now == datetime(2026, 5, 1, 12, 1, 30, 500_000, tzinfo=UTC)
    assert [request.time for request in sim.requests] == [0, 90.5]
    assert sim.requests[1].at == sim.now


async def test_mistakes_in_a_test_are_told() -> None:
    sim = Simulator()
    order = sim.add_order()
    with pytest.raises(LookupError, match="no order 5"):
        sim.deliver(5, "x")
    with pytest.raises(ValueError, match="exists"):
        sim.add_order(order_id=order.id)
    with pytest.raises(ValueError, match="not in the catalogue"):
        sim.add_order(country="GB")
    with pytest.raises(LookupError, match="no opt999 in RU"):
        sim.set_offer("RU", "opt999", count=1)
    with pytest.raises(ValueError, match="page, live, contract"):
        Simulator(dialect="paige")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aware"):
        Simulator(start=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(ValueError, match="no time zone"):
        sim.add_order(until=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(ValueError, match="OtherSms"):
        sim.deliver(order.id, "x", other=True)
    with pytest.raises(ValueError, match="NOAVAILDAYS"):
        sim.add_order(restore_refusal="NO")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NOAVAILDAYS"):
        order.restore_refusal = "NO"  # type: ignore[assignment]


async def test_orders_need_the_right_key_and_countries_none() -> None:
    sim = Simulator(api_key="secret")
    async with httpx.AsyncClient(transport=sim.transport()) as client:

        async def msg(method: str, **params: str) -> str | None:
            answer = (await client.get(URL, params={"method": method, **params})).json()
            return answer.get("msg") if isinstance(answer, dict) else None

        assert await msg("orders") == "API KEY not received!"
        assert await msg("orders", apikey="") == "API KEY not received!"
        assert await msg("orders", apikey="other") == "API KEY NOT FOUND!"
        assert await msg("orders", apikey="secret") is None
        assert await msg("getcountries") is None
        sim.switches.banned = True
        assert await msg("orders", apikey="secret") == "BANNED"
    assert all("apikey" not in request.params and "method" not in request.params for request in sim.requests)


@pytest.mark.parametrize(
    ("query", "violation"),
    [
        ("method=orders&apikey=k&limit=5", "orders: unknown parameter limit"),
        ("method=sms&apikey=k", "sms: missing parameter id"),
        ("method=sms&apikey=k&id=1x", "sms: malformed parameter id"),
        ("method=create&apikey=k&country=ru&service=opt6&dtype=week&dcount=1", "create: malformed parameter country"),
        (
            "method=add_service_to_order&apikey=k&id=1&service=opt6&pnumber=%2B7901",
            "add_service_to_order: malformed parameter pnumber",
        ),
        ("method=orders&apikey=k&apikey=k", "orders: repeated parameter apikey"),
        ("method=buy&apikey=k", "buy: unknown method"),
        ("apikey=k", "no method: unknown method"),
    ],
)
async def test_wrong_requests_are_noted(query: str, violation: str) -> None:
    sim = Simulator()
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        await client.get(f"{URL}?{query}")
    assert sim.violations == [violation]


async def test_wrong_ways_of_asking_are_noted_without_the_key() -> None:
    sim = Simulator()
    key = "0123456789abcdef"
    params = {"method": "orders", "apikey": key}
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        answer = await client.post(URL, params=params)
        assert answer.json()["msg"] == "Incorrect method"
        await client.request("GET", URL, params=params, content=b"x")
        await client.get(URL, params=params, headers={"X-Trace": f"key={key}"})
        await client.get(URL, params={**params, "apikey": "k"}, headers={"X-Token": "k"})
        await client.get(URL, params=params, headers={"Authorization": "Basic eA=="})
        await client.get(f"https://smspva.com/{key}", params=params)
    assert sim.violations == [
        "orders: POST instead of GET",
        "orders: a body",
        "orders: key in the header x-trace",
        "orders: key in the header x-token",
        "orders: key in the header authorization",
        "orders: unknown path",
        "orders: key in the path",
    ]


async def test_the_same_seed_makes_the_same_world() -> None:
    async def world(seed: int) -> Any:
        sim = Simulator(seed=seed, dialect="live")
        order = sim.add_order(state=2)
        answers = [await ask(sim, "getdata", country="RU"), await ask(sim, "orders")]
        return answers, order.phone, order.active_from

    assert await world(1) == await world(1)
    assert await world(1) != await world(2)


async def test_polling_more_often_changes_nothing_in_the_world() -> None:
    async def active_from(polls: int) -> float | None:
        sim = Simulator(seed=1, dialect="live")
        order = sim.add_order()
        for _ in range(polls):
            await ask(sim, "orders")
        await ask(sim, "activate", id=order.id)
        return order.active_from

    assert await active_from(1) == await active_from(20)


async def test_an_answer_is_of_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulator()
    for _ in range(5):
        sim.add_order(country="UK")
    seconds = count(start=100)
    monkeypatch.setattr(anyio, "current_time", lambda: float(next(seconds)))
    rows = (await ask(sim, "orders"))["data"]
    assert len({row["lastonline"] for row in rows}) == 1


def test_outside_of_a_loop_the_clock_stands_and_a_second_loop_goes_on() -> None:
    sim = Simulator()
    order = sim.add_order(state=1)
    sim.deliver(order.id, "before")
    assert (sim.now, order.state) == (datetime(2026, 1, 1, tzinfo=UTC), 1)

    async def wait() -> None:
        await anyio.sleep(50)
        assert sim.now == start
        await anyio.sleep(100)
        assert sim.now == start + timedelta(seconds=100)

    for _ in range(2):
        start = sim.now
        anyio.run(wait, backend_options={"loop_factory": VirtualTimeLoop})
    assert sim.now == datetime(2026, 1, 1, 0, 3, 20, tzinfo=UTC)


def test_virtual_time_stands_still_while_an_executor_works() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        ticking = asyncio.ensure_future(tick())
        may_end = threading.Event()
        loop.call_soon(may_end.set)
        assert await asyncio.to_thread(may_end.wait, 60)
        assert loop.time() < 60
        # What a later timer brings is waited for all the same.
        may_end.clear()
        loop.call_later(0.01, may_end.set)
        assert await asyncio.to_thread(may_end.wait, 60)
        await ticking
        assert loop.time() >= 60_000

    async def tick() -> None:
        for _ in range(1000):
            await asyncio.sleep(60)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work())


def test_virtual_time_stands_still_while_threads_end() -> None:
    class Slow(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
            time.sleep(0.03)
            super().shutdown(wait, cancel_futures=cancel_futures)

    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(Slow())

    # asyncio gives them five minutes, and warns.
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work())


@pytest.mark.parametrize("name", ["requests", "violations", "faults", "switches", "dialect"])
def test_what_it_keeps_is_not_replaced_behind_its_back(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Simulator(), name, [])
