"""Mocking httpx as in users' tests: with respx, in both of its modes, and with pytest-httpx."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import respx

from smspva_async import Retry
from smspva_async.errors import ConnectionFailed, NoNumbers, OutcomeUnknown
from smspva_async.models import Period
from tests.support.backends import on_a_real_loop
from tests.support.fake_server import URL
from tests.support.loopback import Loopback, http
from tests.support.samples import CALLS, ORDER, RENTAL
from tests.support.three_calls import BALANCE, RESULTS, body_for, carries_key, client_of, make_three_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_httpx import HTTPXMock

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plain_environment")]

ACCOUNT_URL = "https://api.smspva.com/activation/balance"
ORDERS, PURCHASE = CALLS["orders"].sample, CALLS["create"].sample


def as_json(value: object) -> dict[str, Any]:
    return {"json": value}


def as_content(value: object) -> dict[str, Any]:
    return {"content": json.dumps(value).encode()}


def as_gzip(value: object) -> dict[str, Any]:
    return {"content": gzip.compress(json.dumps(value).encode()), "headers": {"Content-Encoding": "gzip"}}


every_body = pytest.mark.parametrize("body", [as_json, as_content, as_gzip])

# -- respx -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["httpx", "httpcore"])
def router(request: pytest.FixtureRequest) -> Iterator[respx.MockRouter]:
    """Mock one of the two libraries."""
    with respx.mock(using=request.param, assert_all_called=False) as router:
        yield router


@every_body
async def test_respx_answers_calls_by_their_method(router: respx.MockRouter, body: Any) -> None:
    orders = router.get(URL, params={"method": "orders"}).respond(**body(ORDERS))
    purchase = router.get(URL, params={"method": "create", "service": "opt6"}).respond(**body(PURCHASE))
    balance = router.get(ACCOUNT_URL).respond(**body(BALANCE))
    async with client_of() as client:
        assert await make_three_calls(client) == RESULTS
    assert [route.call_count for route in (orders, purchase, balance)] == [1, 1, 1]


async def test_respx_answers_a_client_that_was_already_open(router: respx.MockRouter) -> None:
    router.stop()
    async with client_of() as client:
        router.start()
        router.get(URL, params={"method": "orders"}).respond(json=ORDERS)
        assert await client.orders() == [ORDER]


async def test_respx_side_effects_are_used_in_order(router: respx.MockRouter) -> None:
    answers: list[httpx.Response | Exception] = [
        httpx.ConnectError("no route"),
        httpx.Response(200, json={"status": 0, "msg": "No numbers available"}),
        httpx.Response(200, json=PURCHASE),
    ]
    route = router.get(URL, params={"method": "create"}).mock(side_effect=answers)
    async with client_of(retry=Retry(attempts=2, first=0)) as client:
        with pytest.raises(NoNumbers):
            await client.rent("RU", "opt6", Period.weeks(1))
        assert await client.rent("RU", "opt6", Period.weeks(1)) == RENTAL
    assert route.call_count == 3


async def test_errors_raised_by_respx_are_handled_like_those_of_httpx(router: respx.MockRouter) -> None:
    route = router.get(URL, params={"method": "create"})
    async with client_of() as client:
        route.mock(side_effect=httpx.ConnectTimeout("too slow"))
        with pytest.raises(ConnectionFailed, match="ConnectTimeout: too slow") as failed:
            await client.rent("RU", "opt6", Period.weeks(1))
        assert not failed.value.sent
        route.mock(side_effect=httpx.ReadError("cut"))
        with pytest.raises(OutcomeUnknown, match="ReadError: cut"):
            await client.rent("RU", "opt6", Period.weeks(1))


@on_a_real_loop
async def test_a_request_without_a_respx_route_is_not_sent(router: respx.MockRouter) -> None:
    router.get(URL, params={"method": "orders"}).respond(json=ORDERS)
    async with Loopback(lambda target: http(body_for(target))) as server, client_of(server.url()) as client:
        with pytest.raises(OutcomeUnknown, match="AllMockedAssertionError"):
            await client.rent("RU", "opt6", Period.weeks(1))
    assert server.targets == []


@on_a_real_loop
async def test_a_request_passed_through_by_respx_reaches_the_server_with_the_key(router: respx.MockRouter) -> None:
    router.route(host="127.0.0.1").pass_through()
    async with Loopback(lambda target: http(body_for(target))) as server, client_of(server.url()) as client:
        assert await make_three_calls(client) == RESULTS
    assert list(map(carries_key, server.heads)) == [True] * 3


@on_a_real_loop
@pytest.mark.parametrize("router", ["httpx"], indirect=True)
async def test_respx_mocks_an_injected_network_transport_of_httpx(router: respx.MockRouter) -> None:
    async with (
        Loopback(lambda target: http(body_for(target))) as server,
        client_of(server.url(), transport=httpx.AsyncHTTPTransport()) as client,
    ):
        router.get(server.url(), params={"method": "orders"}).respond(json={"status": 1, "data": []})
        assert await client.orders() == []
    assert server.targets == []


@respx.mock
async def test_respx_works_as_a_decorator() -> None:
    respx.get(URL, params={"method": "orders"}).respond(json=ORDERS)
    async with client_of() as client:
        assert await client.orders() == [ORDER]


# -- pytest-httpx ----------------------------------------------------------------------------------------------------


@every_body
async def test_pytest_httpx_answers_calls_by_their_method(httpx_mock: HTTPXMock, body: Any) -> None:
    httpx_mock.add_response(url=re.compile(r".*\?method=orders\b"), **body(ORDERS))
    httpx_mock.add_response(url=re.compile(r".*\?method=create\b"), **body(PURCHASE))
    httpx_mock.add_response(url=ACCOUNT_URL, **body(BALANCE))
    async with client_of() as client:
        assert await make_three_calls(client) == RESULTS
    methods = [request.url.params.get("method") for request in httpx_mock.get_requests()]
    assert methods == ["orders", "create", None]


async def test_pytest_httpx_can_match_the_whole_url(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=f"{URL}?method=orders", json=ORDERS)
    async with client_of() as client:
        assert await client.orders() == [ORDER]


async def test_errors_raised_by_pytest_httpx_are_handled_like_those_of_httpx(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_exception(httpx.ConnectError("no route"))
    httpx_mock.add_exception(httpx.ReadError("cut"))
    async with client_of() as client:
        with pytest.raises(ConnectionFailed, match="ConnectError: no route") as failed:
            await client.rent("RU", "opt6", Period.weeks(1))
        assert not failed.value.sent
        with pytest.raises(OutcomeUnknown, match="ReadError: cut"):
            await client.rent("RU", "opt6", Period.weeks(1))
