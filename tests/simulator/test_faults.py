"""The simulator's faults, scripted and random, through its httpx transport."""

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
from tests.support.raw_http import get, rows

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


async def test_a_connection_that_fails_has_no_side_effect() -> None:
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
async def test_an_answer_can_be_lost_with_or_without_the_side_effect(
    fault: FaultName, error: type[Exception], *, done: bool
) -> None:
    sim = Simulator()
    sim.faults.next("create", fault, done=done)
    with pytest.raises(error):
        await get(sim, "create", **RENT)
    assert len(sim.orders) == done


async def test_a_cut_body_fails_while_it_is_read() -> None:
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


async def test_half_of_the_json_comes_in_a_complete_response() -> None:
    sim = Simulator()
    sim.faults.next("create", "half")
    response = await get(sim, "create", **RENT)
    assert response.headers["content-length"] == str(len(response.content))
    assert response.text.startswith('{"status": 1')
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert len(sim.orders) == 1


async def test_a_hanging_request_lasts_until_it_is_cancelled() -> None:
    sim = Simulator()
    sim.faults.next("create", "hang")
    with anyio.move_on_after(100_000) as scope:
        await get(sim, "create", **RENT)
    assert scope.cancelled_caught
    assert len(sim.orders) == 1


async def test_latency_delays_the_answer_but_not_the_side_effect() -> None:
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


async def test_a_slow_body_is_late_but_its_headers_are_not() -> None:
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
async def test_a_broken_server_sends_another_status_and_body(
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


async def test_a_server_can_fail_before_or_after_the_side_effect() -> None:
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


async def test_too_many_requests_are_refused_in_json_or_with_http_429() -> None:
    sim = Simulator()
    sim.faults.next("create", "too_many")
    sim.faults.next("create", "http_429")
    sim.faults.next("create", "http_429", seconds=42)
    assert (await get(sim, "create", **RENT)).json() == {"status": 0, "msg": "TOO MANY REQUESTS"}
    assert (await get(sim, "create", **RENT)).headers["retry-after"] == "5"
    assert (await get(sim, "create", **RENT)).headers["retry-after"] == "42"
    assert sim.orders == []


async def test_redirect_and_echo_repeat_the_key() -> None:
    sim = Simulator()
    sim.faults.always("orders", "redirect")
    sim.faults.always("sms", "echo")
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        response = await client.get(f"{URL}?method=orders&apikey=a%2Fb%20c")
        assert response.headers["location"] == "https://smspva.example/api/rent.php?method=orders&apikey=a%2Fb%20c"
        response = await client.get(f"{URL}?method=sms&id=1&apikey=a%2Fb%20c")
        assert response.json() == {"status": 0, "msg": "Incorrect request: apikey=a/b c"}


async def test_no_other_fault_repeats_the_key() -> None:
    sim = Simulator()
    for fault in get_args(FaultName):
        if fault in {"redirect", "echo", "refused", "connect_timeout", "hang", "lost", "reset", "cut"}:
            continue
        sim.faults.next("orders", fault, msg="no" if fault == "refusal" else None)
        response = await get(sim, "orders", apikey="4815162342")
        assert "4815162342" not in response.text + str(response.headers)


async def test_a_refusal_can_have_any_text() -> None:
    sim = Simulator()
    sim.faults.next("orders", "refusal", msg="API KEY NOT FOUND!")
    assert (await get(sim, "orders")).json() == {"status": 0, "msg": "API KEY NOT FOUND!"}


async def test_a_row_fault_affects_one_answer() -> None:
    sim = Simulator(seed=2)
    ids = [sim.add_order().id for _ in range(4)]
    complete = await rows(sim)
    assert [row["id"] for row in complete] == ids

    sim.faults.next("orders", "empty")
    assert await rows(sim) == []
    sim.faults.next("orders", "flapping")
    assert len(await rows(sim)) == 3
    sim.faults.next("orders", "duplicate")
    assert Counter(Counter(row["id"] for row in await rows(sim)).values()) == {1: 3, 2: 1}
    sim.faults.next("orders", "unknown_state")
    assert Counter(row["state"] in {-1, 0, 1, 2} for row in await rows(sim)) == {True: 3, False: 1}
    sim.faults.next("orders", "bad_row")
    corrupt = await rows(sim)
    assert [row["id"] for row in corrupt] == ids
    assert Counter(isinstance(row["until"], int) for row in corrupt) == {True: 3, False: 1}
    sim.faults.next("orders", "nameless_row")
    corrupt = await rows(sim)
    assert Counter(row["id"] in ids for row in corrupt if row["id"] != [[]]) == {True: 3}
    assert corrupt[0].keys() == corrupt[-1].keys() == complete[0].keys()
    assert await rows(sim) == complete


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
@pytest.mark.parametrize("method", [*LISTS, *MAPPINGS])
@pytest.mark.parametrize("fault", ["empty", "flapping", "duplicate", "bad_row", "nameless_row"])
async def test_row_faults_affect_every_list_in_each_dialect(dialect: Any, method: Any, fault: FaultName) -> None:
    sim = Simulator(dialect=dialect)
    sim.behavior.page_calls_only = False
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
    for _ in range(20):  # enough for all formats of the live dialect
        sim.faults.next(method, fault)
        response = await get(sim, method, **params.get(method, {}))
        data = response.json()["data"]
        assert ("[[]]" in response.text) is (fault in {"bad_row", "nameless_row"})
        if fault == "empty":
            assert not data or not any(value for key, value in data.items() if key != "totalAmount")
    assert sim.faults.pending == 0


async def test_row_faults_do_not_change_empty_lists_and_refusals() -> None:
    sim = Simulator()
    for fault in ("flapping", "duplicate", "bad_row", "nameless_row", "unknown_state", "empty"):
        sim.faults.next("orders", fault)
        assert await rows(sim) == []
    sim.faults.next("sms", "bad_row")
    assert (await get(sim, "sms", id=1)).json() == {"status": 0, "msg": "Order not found"}


async def test_faults_are_queued() -> None:
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


async def count_faults(sim: Simulator, method: str, times: int, **params: str | int) -> Counter[str | None]:
    """Call a method repeatedly, ignoring errors, and count the faults of these requests."""
    sim.requests.clear()
    for _ in range(times):
        with anyio.move_on_after(60):
            with contextlib.suppress(httpx.TransportError):
                await get(sim, method, **params)
    return Counter(request.fault for request in sim.requests)


async def test_random_faults_follow_the_rate_and_the_seed() -> None:
    sim, same_seed, other_seed = Simulator(seed=5), Simulator(seed=5), Simulator(seed=6)
    for each in (sim, same_seed, other_seed):
        each.faults.rate(0.2)
    counts = await count_faults(sim, "orders", 500)
    assert 60 < 500 - counts[None] < 140
    assert counts == await count_faults(same_seed, "orders", 500)
    assert counts != await count_faults(other_seed, "orders", 500)
    sim.faults.rate(0)
    assert await count_faults(sim, "orders", 100) == {None: 100}


async def test_random_faults_include_every_fault_that_applies_to_the_method() -> None:
    sim = Simulator()
    sim.faults.rate(1)
    all_faults = set(get_args(FaultName)) - {"refusal"}
    row_faults = {"empty", "flapping", "duplicate", "bad_row", "nameless_row", "unknown_state"}
    assert set(await count_faults(sim, "orders", 500)) == all_faults
    assert set(await count_faults(sim, "sms", 500, id=1)) == all_faults - {"duplicate", "unknown_state"}
    assert set(await count_faults(sim, "create", 500)) == all_faults - row_faults


async def test_random_faults_can_be_limited_to_kinds_and_methods() -> None:
    sim = Simulator()
    sim.faults.rate(1, kinds=["html", "unknown_state"], methods=["orders", "sms"])
    assert set(await count_faults(sim, "orders", 50)) == {"html", "unknown_state"}
    assert set(await count_faults(sim, "sms", 50)) == {"html"}
    assert set(await count_faults(sim, "getcountries", 50)) == {None}
    sim.faults.rate(1, kinds=["unknown_state"])
    assert set(await count_faults(sim, "sms", 50)) == {None}


def test_wrong_arguments_raise_errors_that_list_the_allowed_values() -> None:
    faults: Any = Simulator().faults
    with pytest.raises(ValueError, match=r"unknown fault 'htlm'; use one of refused, .*html, "):
        faults.next("orders", "htlm")
    with pytest.raises(
        ValueError, match=r"unknown method 'order'; use one of getcountries, .*, create, .*, rent, .*, \*$"
    ):
        faults.always("order", "html")
    with pytest.raises(ValueError, match="doesn't apply to create; it applies to getcountries, "):
        faults.next("create", "empty")
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        faults.next("orders", "html", count=0)
    with pytest.raises(ValueError, match="'refused' doesn't allow done=True; these faults do: lost, "):
        faults.next("orders", "refused", done=True)
    with pytest.raises(ValueError, match="these faults allow seconds >= 0: latency, slow_body, http_429"):
        faults.next("orders", "html", seconds=1)
    with pytest.raises(ValueError, match="seconds=-1"):
        faults.next("orders", "latency", seconds=-1)
    with pytest.raises(ValueError, match="msg= is required for 'refusal'"):
        faults.next("orders", "html", msg="x")
    with pytest.raises(ValueError, match="msg= is required for 'refusal'"):
        faults.next("orders", "refusal")
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        faults.rate(2)
    with pytest.raises(ValueError, match="unknown random fault 'refusal'; use one of"):
        faults.rate(1, kinds=["refusal"])
    with pytest.raises(ValueError, match="unknown method 'order'; use one of"):
        faults.rate(1, methods=["order"])
    with pytest.raises(ValueError, match="unknown method 'order'; use one of"):
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
async def test_faults_accept_the_names_of_the_client_methods(name: Any, method: str) -> None:
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


def test_faults_have_a_name_for_every_method_of_the_client() -> None:
    assert CLIENT_NAMES.keys() >= set(get_args(ClientMethodName))
    assert {*CLIENT_NAMES.values(), "getcount", "getdataWithProviders", "balance"} == {*get_args(MethodName)}
