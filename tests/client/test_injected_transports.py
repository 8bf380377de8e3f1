"""Injected transports: of httpx and httpx2, mocks, subclasses and wrappers."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
import trustme

from smspva_async import Retry
from smspva_async.errors import ConnectionFailed, OutcomeUnknown
from smspva_async.models import Period
from tests.support.backends import on_a_real_loop
from tests.support.keys import HEAD, KEY
from tests.support.loopback import Loopback, Proxy, http
from tests.support.samples import RENTAL
from tests.support.three_calls import RESULTS, answer_to, body_for, carries_key, client_of, make_three_calls

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plain_environment")]


def success(target: str) -> bytes:
    return http(body_for(target))


# -- httpx2 ----------------------------------------------------------------------------------------------------------


def mock_of(answer: Callable[[httpx2.Request], Any]) -> Any:
    return httpx2.MockTransport(answer)


@on_a_real_loop
async def test_an_httpx2_transport_works() -> None:
    async with Loopback(success) as server, client_of(server.url(), transport=httpx2.AsyncHTTPTransport()) as client:
        assert await make_three_calls(client) == RESULTS
    assert list(map(carries_key, server.heads)) == [True] * 3


async def test_an_httpx2_mock_works() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=answer_to(str(request.url)))

    async with client_of(transport=mock_of(answer)) as client:
        assert await make_three_calls(client) == RESULTS


async def test_a_purchase_is_retried_after_a_connect_error_of_httpx2() -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        if len(requests) == 1:
            raise httpx2.ConnectError(f"can't connect for {request.url}")
        return httpx2.Response(200, json=answer_to(str(request.url)))

    async with client_of(transport=mock_of(answer), retry=Retry(attempts=2, first=0)) as client:
        assert await client.rent("RU", "opt6", Period.weeks(1)) == RENTAL
    assert len(requests) == 2


@pytest.mark.parametrize("kind", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError])
async def test_nothing_was_sent_if_httpx2_could_not_connect(kind: type[Exception]) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise kind(f"can't connect for {request.url}")

    async with client_of(transport=mock_of(answer)) as client:
        with pytest.raises(ConnectionFailed, match=r"apikey=\[key\]") as failed:
            await client.rent("RU", "opt6", Period.weeks(1))
    assert not failed.value.sent
    assert client.unsettled == ()


@pytest.mark.parametrize("kind", [httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError])
async def test_the_outcome_is_unknown_if_httpx2_fails_after_sending(kind: type[Exception]) -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        raise kind(f"no answer to {request.url}")

    async with client_of(transport=mock_of(answer), retry=Retry(attempts=3, first=0)) as client:
        with pytest.raises(OutcomeUnknown, match=r"apikey=\[key\]"):
            await client.rent("RU", "opt6", Period.weeks(1))
    assert len(requests) == 1


@on_a_real_loop
async def test_refused_and_broken_connections_are_distinguished_with_httpx2() -> None:
    async with (
        Loopback(lambda _: b"") as server,
        client_of(server.url(), transport=httpx2.AsyncHTTPTransport()) as client,
    ):
        with pytest.raises(OutcomeUnknown):
            await client.rent("RU", "opt6", Period.weeks(1))
    async with client_of(server.url(), transport=httpx2.AsyncHTTPTransport()) as client:
        with pytest.raises(ConnectionFailed, match="ConnectError") as failed:
            await client.rent("RU", "opt6", Period.weeks(1))
    assert not failed.value.sent


# -- the key -----------------------------------------------------------------------------------------------------------


@on_a_real_loop
@pytest.mark.parametrize("kind", [httpx.AsyncHTTPTransport, httpx2.AsyncHTTPTransport])
async def test_a_wrapper_of_the_network_transport_sees_no_key(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []
    send = kind.handle_async_request

    async def record(transport: Any, request: Any) -> Any:
        urls.append(str(request.url))
        return await send(transport, request)

    monkeypatch.setattr(kind, "handle_async_request", record)
    async with Loopback(success) as server, client_of(server.url(), transport=kind()) as client:
        assert await make_three_calls(client) == RESULTS
    assert len(urls) == 3
    assert HEAD not in "".join(urls)
    assert list(map(carries_key, server.heads)) == [True] * 3


class Subclass(httpx.AsyncHTTPTransport):
    """A transport that records requests."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await super().handle_async_request(request)


class Wrapper(httpx.AsyncBaseTransport):
    """A transport that records requests and wraps another transport."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@on_a_real_loop
@pytest.mark.parametrize("kind", [Subclass, Wrapper])
async def test_a_custom_transport_gets_the_key_in_the_url(kind: type[Subclass | Wrapper]) -> None:
    transport = kind()
    async with Loopback(success) as server, client_of(server.url(), transport=transport) as client:
        assert await make_three_calls(client) == RESULTS
    keys = [request.url.params.get("apikey") for request in transport.requests]
    assert keys == [KEY, KEY, None]
    assert list(map(carries_key, server.heads)) == [True] * 3


async def test_a_mock_sees_the_key_as_a_parameter_or_a_header() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=answer_to(str(request.url)))

    async with client_of(transport=httpx.MockTransport(answer)) as client:
        assert await make_three_calls(client) == RESULTS
    assert [request.url.params.get("apikey") for request in requests] == [KEY, KEY, None]
    assert [request.headers.get("apikey") for request in requests] == [None, None, KEY]


@on_a_real_loop
@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_proxy_of_an_injected_transport_sees_no_key(library: Any) -> None:
    authority = trustme.CA()
    tls, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(trust)
    async with Loopback(success, tls) as server, Proxy(server) as proxy:
        transport = library.AsyncHTTPTransport(verify=trust, proxy=proxy.url)
        async with client_of(server.url("localhost"), transport=transport) as client:
            assert await client.rent("RU", "opt6", Period.weeks(1)) == RENTAL
    assert list(map(carries_key, server.heads)) == [True]
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert HEAD.encode() not in head
