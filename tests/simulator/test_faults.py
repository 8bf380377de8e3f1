"""Every fault of the simulator, by script and by chance, through httpx and through ASGI."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import Any, get_args

import anyio
import httpx
import pytest

from smspva_async.simulator import ClientMethodName, FaultName, MethodName, Simulator
from tests.support.fake_server import URL

pytestmark = pytest.mark.anyio

RENT: dict[str, str | int] = {"country": "RU", "service": "opt6", "dtype": "week", "dcount": 1}
MAPPINGS = ("get_country_by_service", "getCountWithProviders")
LISTS = (
    "getcountries",
    "get_default_services",
    "getdata",
    "getdataWithProviders",
    "get_days_canada_paypal",
    "orders",
    "sms",
    "get_rent_history",
)


async def get(sim: Simulator, method: str, /, **params: str | int) -> httpx.Response:
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        return await client.get(URL, params={"method": method, "apikey": "key", **params})


async def rows(sim: Simulator, method: str = "orders", /, **params: str | int) -> Any:
    return (await get(sim, method, **params)).json()["data"]


async def test_refused_before_anything_happened() -> None:
    sim = Simulator()
    sim.faults.next("create", "refused")
    sim.faults.next("create", "connect_timeout")
    with pytest.raises(httpx.ConnectError):
        await get(sim, "create", **RENT)
    with pytest.raises(httpx.ConnectTimeout):
        await get(sim, "create", **RENT)
    assert sim.orders == []
    assert (await get(sim, "create", **RENT)).json()["status"] == 1
    assert [request.fault for request in sim.requests] == ["refused", "connect_timeout", None]


@pytest.mark.parametrize(("fault", "error"), [("lost", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_is_lost_whether_or_not_the_deed_was_done(
    fault: FaultName, error: type[Exception], *, done: bool
) -> None:
    sim = Simulator()
    sim.faults.next("create", fault, done=done)
    with pytest.raises(error):
        await get(sim, "create", **RENT)
    assert len(sim.orders) == done


async def test_cut_body_fails_while_it_is_read() -> None:
    sim = Simulator()
    sim.faults.next("create", "cut")
    async with (
        httpx.AsyncClient(transport=sim.transport()) as client,
        client.stream("GET", URL, params={"method": "create", "apikey": "key", **RENT}) as response,
    ):
        assert response.status_code == 200
        parts = response.aiter_raw()
        body = await anext(parts)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            await anext(parts)
    assert 0 < len(body) < int(response.headers["content-length"])
    assert len(sim.orders) == 1


async def test_half_of_the_json_comes_in_a_whole_answer() -> None:
    sim = Simulator()
    sim.faults.next("create", "half")
    response = await get(sim, "create", **RENT)
    assert response.headers["content-length"] == str(len(response.content))
    assert response.text.startswith('{"status": 1')
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert len(sim.orders) == 1


async def test_hang_lasts_until_cancelled() -> None:
    sim = Simulator()
    sim.faults.next("create", "hang")
    with anyio.move_on_after(100_000) as scope:
        await get(sim, "create", **RENT)
    assert scope.cancelled_caught
    assert len(sim.orders) == 1


async def test_latency_does_the_deed_at_once_and_answers_late() -> None:
    sim = Simulator()
    sim.faults.next("create", "latency", seconds=25)
    with anyio.move_on_after(24) as scope:
        await get(sim, "create", **RENT)
    assert scope.cancelled_caught
    assert len(sim.orders) == 1
    sim.faults.next("create", "latency")
    before = anyio.current_time()
    response = await get(sim, "create", **RENT)
    assert response.json()["status"] == 1
    assert anyio.current_time() - before == pytest.approx(10)
    assert response.headers["date"].endswith("00:00:34 GMT")


async def test_a_slow_body_comes_late_and_its_head_at_once() -> None:
    sim = Simulator()
    sim.faults.next("orders", "slow_body", seconds=8)
    before = anyio.current_time()
    async with (
        httpx.AsyncClient(transport=sim.transport()) as client,
        client.stream("GET", URL, params={"method": "orders", "apikey": "key"}) as response,
    ):
        assert anyio.current_time() == before
        assert json.loads(await response.aread()) == {"status": 1, "data": []}
    assert anyio.current_time() - before == pytest.approx(8)


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "start", "done"),
    [
        ("http_500", 500, "text/html", "", False),
        ("http_503", 503, "text/plain", "Service", False),
        ("html_502", 502, "text/html", "<!DOCTYPE html>", False),
        ("html", 200, "text/html", "<!DOCTYPE html>", True),
        ("text", 200, "text/html", "Сервис временно", True),
        ("redirect", 302, "text/html", "", False),
        ("http_429", 429, "text/plain", "Too Many", False),
    ],
)
async def test_a_broken_server_answers_with_its_own_status_and_body(
    fault: FaultName, status: int, content_type: str, start: str, *, done: bool
) -> None:
    sim = Simulator()
    sim.faults.next("create", fault)
    response = await get(sim, "create", **RENT)
    assert response.status_code == status
    assert response.headers["content-type"].startswith(content_type)
    assert response.text.startswith(start)
    assert bool(response.content) is bool(start)
    assert "date" in response.headers
    assert len(sim.orders) == done
    if fault != "http_429":
        sim.faults.next("create", fault, done=not done)
        await get(sim, "create", **RENT)
        assert len(sim.orders) == 1


async def test_a_server_may_fail_before_or_after_the_deed() -> None:
    sim = Simulator()
    choosable: list[FaultName] = ["lost", "reset", "hang", "cut", "half", "http_500", "http_503", "html_502"]
    choosable += ["html", "text", "redirect"]
    for number, fault in enumerate(choosable, start=1):
        for done in (False, True):
            sim.faults.next("create", fault, done=done)
            with anyio.move_on_after(1):
                try:
                    await get(sim, "create", **RENT)
                except (httpx.RemoteProtocolError, httpx.ReadError):
                    assert fault in {"lost", "reset", "cut"}
            assert len(sim.orders) == number - 1 + done


async def test_too_many_requests_are_refused_in_json_or_by_http_429() -> None:
    sim = Simulator()
    sim.faults.next("create", "too_many")
    sim.faults.next("create", "http_429")
    sim.faults.next("create", "http_429", seconds=42)
    assert (await get(sim, "create", **RENT)).json() == {"status": 0, "msg": "TOO MANY REQUESTS"}
    assert (await get(sim, "create", **RENT)).headers["retry-after"] == "5"
    assert (await get(sim, "create", **RENT)).headers["retry-after"] == "42"
    assert sim.orders == []


async def test_the_key_comes_back_as_it_was_received() -> None:
    sim = Simulator()
    sim.faults.always("orders", "redirect")
    sim.faults.always("sms", "echo")
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        response = await client.get(f"{URL}?method=orders&apikey=a%2Fb%20c")
        assert response.headers["location"] == "https://smspva.example/api/rent.php?method=orders&apikey=a%2Fb%20c"
        response = await client.get(f"{URL}?method=sms&id=1&apikey=a%2Fb%20c")
        assert response.json() == {"status": 0, "msg": "Incorrect request: apikey=a/b c"}


async def test_no_other_fault_tells_the_key() -> None:
    sim = Simulator()
    for fault in get_args(FaultName):
        if fault in {"redirect", "echo", "refused", "connect_timeout", "hang", "lost", "reset", "cut"}:
            continue
        sim.faults.next("orders", fault, msg="no" if fault == "refusal" else None)
        response = await get(sim, "orders", apikey="4815162342")
        assert "4815162342" not in response.text + str(response.headers)


async def test_any_refusal_can_be_had() -> None:
    sim = Simulator()
    sim.faults.next("orders", "refusal", msg="API KEY NOT FOUND!")
    assert (await get(sim, "orders")).json() == {"status": 0, "msg": "API KEY NOT FOUND!"}


async def test_faults_of_rows_spoil_one_answer_each() -> None:
    sim = Simulator(seed=2)
    ids = [sim.add_order().id for _ in range(4)]
    whole = await rows(sim)
    assert [row["id"] for row in whole] == ids

    sim.faults.next("orders", "empty")
    assert await rows(sim) == []
    sim.faults.next("orders", "flapping")
    assert len(await rows(sim)) == 3
    sim.faults.next("orders", "duplicate")
    assert Counter(Counter(row["id"] for row in await rows(sim)).values()) == {1: 3, 2: 1}
    sim.faults.next("orders", "unknown_state")
    assert Counter(row["state"] in {-1, 0, 1, 2} for row in await rows(sim)) == {True: 3, False: 1}
    sim.faults.next("orders", "bad_row")
    spoilt = await rows(sim)
    assert [row["id"] for row in spoilt] == ids
    assert Counter(isinstance(row["until"], int) for row in spoilt) == {True: 3, False: 1}
    sim.faults.next("orders", "nameless_row")
    spoilt = await rows(sim)
    assert Counter(row["id"] in ids for row in spoilt if row["id"] != [[]]) == {True: 3}
    assert spoilt[0].keys() == spoilt[-1].keys() == whole[0].keys()
    assert await rows(sim) == whole


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
@pytest.mark.parametrize("method", [*LISTS, *MAPPINGS])
@pytest.mark.parametrize("fault", ["empty", "flapping", "duplicate", "bad_row", "nameless_row"])
async def test_faults_of_rows_affect_every_list_in_each_dialect(dialect: Any, method: Any, fault: FaultName) -> None:
    sim = Simulator(dialect=dialect)
    sim.switches.page_calls_only = False
    order = sim.add_order()
    for number in range(3):
        sim.deliver(order.id, f"text {number}")
        sim.add_order(until=sim.now)
    country: dict[str, str | int] = {"country": "RU"}
    params: dict[str, dict[str, str | int]] = {
        "getdata": country,
        "getdataWithProviders": country,
        "getCountWithProviders": country,
        "get_country_by_service": {"service": "opt1", "dtype": "week"},
        "sms": {"id": order.id},
        "get_rent_history": {"skip": 0, "take": 9},
    }
    if method in MAPPINGS and fault == "duplicate":
        with pytest.raises(ValueError, match="doesn't apply to"):
            sim.faults.next(method, fault)
        return
    for _ in range(20):  # as often as the live dialect needs to show its shapes
        sim.faults.next(method, fault)
        response = await get(sim, method, **params.get(method, {}))
        data = response.json()["data"]
        assert ("[[]]" in response.text) is (fault in {"bad_row", "nameless_row"})
        if fault == "empty":
            assert not data or not any(value for key, value in data.items() if key != "totalAmount")
    assert sim.faults.pending == 0


async def test_faults_of_rows_leave_empty_lists_and_refusals_alone() -> None:
    sim = Simulator()
    for fault in ("flapping", "duplicate", "bad_row", "nameless_row", "unknown_state", "empty"):
        sim.faults.next("orders", fault)
        assert await rows(sim) == []
    sim.faults.next("sms", "bad_row")
    assert (await get(sim, "sms", id=1)).json() == {"status": 0, "msg": "Order not found"}


async def test_faults_queue_up() -> None:
    sim = Simulator()
    sim.faults.next("orders", "http_500", count=2)
    sim.faults.next("*", "html")
    sim.faults.next("orders", "text")
    assert sim.faults.pending == 4
    statuses = [(await get(sim, "orders")).status_code for _ in range(2)]
    assert statuses == [500, 500]
    assert (await get(sim, "getcountries")).text.startswith("<!DOCTYPE")
    assert (await get(sim, "getcountries")).json()["status"] == 1
    assert sim.faults.pending == 1
    assert (await get(sim, "orders")).text.startswith("Сервис")
    assert (await get(sim, "orders")).json()["status"] == 1


async def test_a_fault_for_any_method_waits_for_one_that_it_applies_to() -> None:
    sim = Simulator()
    sim.add_order()
    sim.faults.next("*", "unknown_state")
    assert (await get(sim, "getcountries")).json()["status"] == 1
    assert sim.faults.pending == 1
    assert (await rows(sim))[0]["state"] not in {-1, 0, 1, 2}
    sim.faults.next("*", "http_500")
    assert (await get(sim, "no such method")).status_code == 500


async def test_an_outage_lasts_until_it_is_cleared() -> None:
    sim = Simulator()
    sim.faults.always("*", "refused")
    sim.faults.always("orders", "http_503")
    sim.faults.next("orders", "http_500")
    assert [(await get(sim, "orders")).status_code for _ in range(3)] == [500, 503, 503]
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await get(sim, "getcountries")
    sim.faults.next("orders", "html")
    sim.faults.clear("orders")
    with pytest.raises(httpx.ConnectError):
        await get(sim, "orders")
    sim.faults.next("sms", "html")
    sim.faults.rate(1)
    sim.faults.clear()
    assert sim.faults.pending == 0
    assert [(await get(sim, "orders")).status_code for _ in range(3)] == [200, 200, 200]


async def met(sim: Simulator, method: str, times: int, **params: str | int) -> Counter[str | None]:
    """Ask so many times, whatever comes of it, and return which faults were met."""
    sim.requests.clear()
    for _ in range(times):
        with anyio.move_on_after(60):
            with contextlib.suppress(httpx.TransportError):
                await get(sim, method, **params)
    return Counter(request.fault for request in sim.requests)


async def test_chance_follows_its_rate_and_the_seed() -> None:
    sim, twin, other = Simulator(seed=5), Simulator(seed=5), Simulator(seed=6)
    for each in (sim, twin, other):
        each.faults.rate(0.2)
    counts = await met(sim, "orders", 500)
    assert 60 < 500 - counts[None] < 140
    assert counts == await met(twin, "orders", 500)
    assert counts != await met(other, "orders", 500)
    sim.faults.rate(0)
    assert await met(sim, "orders", 100) == {None: 100}


async def test_chance_meets_every_fault_that_suits_the_method() -> None:
    sim = Simulator()
    sim.faults.rate(1)
    everything = set(get_args(FaultName)) - {"refusal"}
    of_rows = {"empty", "flapping", "duplicate", "bad_row", "nameless_row", "unknown_state"}
    assert set(await met(sim, "orders", 500)) == everything
    assert set(await met(sim, "sms", 500, id=1)) == everything - {"duplicate", "unknown_state"}
    assert set(await met(sim, "create", 500)) == everything - of_rows


async def test_chance_can_be_narrowed() -> None:
    sim = Simulator()
    sim.faults.rate(1, kinds=["html", "unknown_state"], methods=["orders", "sms"])
    assert set(await met(sim, "orders", 50)) == {"html", "unknown_state"}
    assert set(await met(sim, "sms", 50)) == {"html"}
    assert set(await met(sim, "getcountries", 50)) == {None}
    sim.faults.rate(1, kinds=["unknown_state"])
    assert set(await met(sim, "sms", 50)) == {None}


def test_mistakes_are_told_with_what_is_allowed() -> None:
    faults: Any = Simulator().faults
    with pytest.raises(ValueError, match=r"'htlm' is no fault; use one of refused, .*html, "):
        faults.next("orders", "htlm")
    with pytest.raises(
        ValueError, match=r"'order' is no method; use one of getcountries, .*, create, .*, rent, .*, \*$"
    ):
        faults.always("order", "html")
    with pytest.raises(ValueError, match="doesn't apply to create; it applies to getcountries, "):
        faults.next("create", "empty")
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        faults.next("orders", "html", count=0)
    with pytest.raises(ValueError, match="'refused' can't take done=True; these can: lost, "):
        faults.next("orders", "refused", done=True)
    with pytest.raises(ValueError, match="these take seconds from 0: latency, slow_body, http_429"):
        faults.next("orders", "html", seconds=1)
    with pytest.raises(ValueError, match="seconds=-1"):
        faults.next("orders", "latency", seconds=-1)
    with pytest.raises(ValueError, match="msg= goes with 'refusal'"):
        faults.next("orders", "html", msg="x")
    with pytest.raises(ValueError, match="msg= goes with 'refusal'"):
        faults.next("orders", "refusal")
    with pytest.raises(ValueError, match="between 0 and 1, not 2"):
        faults.rate(2)
    with pytest.raises(ValueError, match="'refusal' is no random fault; use one of"):
        faults.rate(1, kinds=["refusal"])
    with pytest.raises(ValueError, match="'order' is no method; use one of"):
        faults.rate(1, methods=["order"])
    with pytest.raises(ValueError, match="'order' is no method; use one of"):
        faults.clear("order")
    faults.next("orders", "refused", done=False)
    assert faults.pending == 1


def test_every_method_and_fault_can_be_scripted() -> None:
    sim = Simulator()
    for method in get_args(MethodName):
        sim.faults.next(method, "html")
    for fault in get_args(FaultName):
        sim.faults.next("*", fault, msg="no" if fault == "refusal" else None)
    assert sim.faults.pending == len(get_args(MethodName)) + len(get_args(FaultName))


CLIENT_NAMES = {
    "countries": "getcountries",
    "services": "get_default_services",
    "countries_for": "get_country_by_service",
    "offers": "getdata",
    "stock": "getCountWithProviders",
    "stock_multi": "get_count_multi",
    "canada_paypal_days": "get_days_canada_paypal",
    "minimum_paypal_days": "get_min_paypal_days",
    "rent": "create",
    "rent_multi": "create_multi",
    "add_service": "add_service_to_order",
    "prolong": "prolong",
    "prolong_days": "prolong_max",
    "delete": "delete",
    "restore": "restore_user",
    "orders": "orders",
    "sms": "sms",
    "activate": "activate",
    "history": "get_rent_history",
    "restore_quote": "restore_user_precalc",
}


@pytest.mark.parametrize(("name", "method"), CLIENT_NAMES.items())
async def test_faults_know_the_methods_of_the_client(name: Any, method: str) -> None:
    sim = Simulator(dialect="contract")

    async def faults() -> list[FaultName | None]:
        sim.requests.clear()
        await get(sim, method)
        await get(sim, "buy")
        return [request.fault for request in sim.requests]

    sim.faults.next(name, "html")
    assert await faults() == ["html", None]
    sim.faults.always(name, "text")
    assert await faults() == ["text", None]
    sim.faults.clear(name)
    assert await faults() == [None, None]
    sim.faults.rate(1, kinds=["http_500"], methods=[name])
    assert await faults() == ["http_500", None]


def test_every_method_of_the_client_has_a_name_for_faults() -> None:
    assert CLIENT_NAMES.keys() >= set(get_args(ClientMethodName))
    assert {*CLIENT_NAMES.values(), "getcount", "getdataWithProviders", "balance"} == {*get_args(MethodName)}
