"""The network below: proxies, certificates, the largest answer, and a pool that loses a connection."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpcore
import httpx
import pytest
import trustme
from attrs import define, field

from smspva_async import Pace, Retry, SmspvaClient
from smspva_async.errors import ConnectionFailed, OutcomeUnknown, UnexpectedResponse
from smspva_async.models import Period
from tests.edge import KEY
from tests.loopback import Loopback, Proxy, http, on_a_real_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.edge import Edge

EMPTY = '{"status": 1, "data": []}'
DEFAULT_HOST = "smspva.com"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def client_of(url: str = f"https://{DEFAULT_HOST}/api/rent.php", **settings: Any) -> SmspvaClient:
    return SmspvaClient(KEY, **{"base_url": url, "pace": Pace(gap=0), "retry": Retry(attempts=1), **settings})


def empty_list(_: str) -> bytes:
    return http(EMPTY)


def keys(targets: list[str]) -> list[list[str]]:
    return [parse_qs(urlsplit(target).query)["apikey"] for target in targets]


# -- certificates --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(DEFAULT_HOST, "localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(path := tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.usefixtures("trusted")
async def test_ssl_cert_file_names_whom_to_trust(tls: ssl.SSLContext) -> None:
    async with Loopback(empty_list, tls) as server, client_of(server.url("localhost")) as client:
        assert await client.orders() == []
    assert keys(server.targets) == [[KEY]]


@on_a_real_loop
@pytest.mark.anyio
async def test_a_server_that_nobody_vouches_for_is_sent_nothing(tls: ssl.SSLContext) -> None:
    async with Loopback(empty_list, tls) as server, client_of(server.url("localhost")) as client:
        with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED") as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
    assert not failed.value.sent
    assert client.unsettled == ()
    assert server.targets == []


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.usefixtures("trusted")
async def test_a_server_of_another_name_is_sent_nothing(tls: ssl.SSLContext) -> None:
    async with Loopback(empty_list, tls) as server, client_of(server.url("127.0.0.1")) as client:
        with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await client.orders()
    assert server.targets == []


# -- proxies -------------------------------------------------------------------------------------------------------


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_https_goes_through_the_proxy_which_sees_no_key(
    variable: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Loopback(empty_list, tls) as server, Proxy(server) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        async with client_of() as client:
            assert await client.orders() == []
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT smspva.com:443 HTTP/1.1\r\n")
    assert KEY.encode() not in head
    assert keys(server.targets) == [[KEY]]
    assert KEY not in caplog.text


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
async def test_http_on_this_machine_goes_through_the_proxy_too(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Loopback(empty_list) as server, Proxy(server) as proxy:
        monkeypatch.setenv(variable, proxy.url.removeprefix("http://"))  # httpx takes it without the scheme as well
        async with client_of(server.url()) as client:
            assert await client.orders() == []
    (head,) = proxy.heads
    assert head.startswith(f"GET {server.url()}?method=orders&apikey={KEY} ".encode())
    assert KEY not in caplog.text


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.parametrize("spared", ["127.0.0.1", "example.com, 127.0.0.1", "*"])
async def test_no_proxy_goes_straight(spared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Loopback(empty_list) as server, Proxy(server) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", spared)
        async with client_of(server.url()) as client:
            assert await client.orders() == []
    assert proxy.heads == []
    assert len(server.targets) == 1


@on_a_real_loop
@pytest.mark.anyio
async def test_a_proxy_that_refuses_was_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Loopback(lambda _: http("", "407 Proxy Authentication Required")) as stern:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{stern.port}")
        async with client_of(retry=Retry(attempts=2, first=0)) as client:
            with pytest.raises(ConnectionFailed, match="407 Proxy Authentication Required") as failed:
                await client.rent("RU", "opt16", Period.weeks(1))
    assert not failed.value.sent
    assert stern.targets == ["smspva.com:443"] * 2
    assert client.unsettled == ()


# -- answers -------------------------------------------------------------------------------------------------------

MIB = 2**20
LARGEST = json.dumps({"status": 1, "data": [], "x": ""}).encode()
LARGEST = LARGEST[:-2] + b"x" * (16 * MIB - len(LARGEST)) + LARGEST[-2:]
LARGE = {
    "as it stands": http,
    "packed": lambda body: http(gzip.compress(body, 1), Content_Encoding="gzip"),
}


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.parametrize("sent", LARGE.values(), ids=LARGE)
async def test_an_answer_of_16_mib_is_read_and_a_larger_one_refused(sent: Callable[[bytes], bytes]) -> None:
    async with Loopback(lambda _: sent(LARGEST)) as server, client_of(server.url()) as client:
        assert await client.orders() == []
    async with Loopback(lambda _: sent(LARGEST + b" ")) as server, client_of(server.url()) as client:
        with pytest.raises(UnexpectedResponse, match="larger than 16 MiB") as refused:
            await client.orders()
        with pytest.raises(OutcomeUnknown, match="larger than 16 MiB"):
            await client.rent("RU", "opt16", Period.weeks(1))
        assert len(server.targets) == 2
    assert (refused.value.status, refused.value.content_type) == (200, "application/json")


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with (
        Loopback(lambda target: http("", f"{status} Moved", Location=target)) as server,
        client_of(server.url(), retry=Retry(first=0)) as client,
    ):
        with pytest.raises(UnexpectedResponse, match=f"HTTP {status}.*redirects to /api/rent.php"):
            await client.orders()
    assert len(server.targets) == 1


@pytest.mark.anyio
async def test_a_header_beyond_ascii_is_no_obstacle(edge: Edge, client: SmspvaClient) -> None:
    headers = {b"Content-Type": "text/html; charset=кои-8".encode()}
    edge.on("orders", httpx.Response(404, headers=headers))
    with pytest.raises(UnexpectedResponse) as unexpected:
        await client.orders()
    assert unexpected.value.content_type == "text/html; charset=кои-8"


# -- a connection lost by the pool ---------------------------------------------------------------------------------


@define
class Line(httpcore.AsyncNetworkBackend):
    """A network in memory, whose server answers when it is let, and then hangs up."""

    may_answer: anyio.Event = field(factory=anyio.Event)
    connections: int = 0

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connections += 1
        return _Stream(self)


@define
class _Stream(httpcore.AsyncNetworkStream):
    line: Line
    answer: bytes = http(EMPTY)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert max_bytes > len(self.answer), timeout
        await self.line.may_answer.wait()
        answer, self.answer = self.answer, b""
        return answer

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert buffer.startswith(b"GET ") or not buffer, timeout

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> None:
        assert info


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Let every transport have one connection at a time, on a network in memory."""
    line = Line()

    class OneConnection(httpx.AsyncHTTPTransport):
        def __init__(self, **settings: Any) -> None:
            super().__init__(limits=httpx.Limits(max_connections=1), **settings)
            self._pool._network_backend = line

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", OneConnection)
    return line


async def lose_a_connection(get: Callable[[], Any], line: Line) -> None:
    """Cancel a request in the one step between its being given a connection and its running again."""

    async def first() -> None:
        await get()
        second.cancel()  # by asyncio itself; anyio's cancellation would let the second run once more

    under_way = asyncio.ensure_future(first())
    await anyio.sleep(0.1)
    second = asyncio.ensure_future(get())
    await anyio.sleep(0.1)
    line.may_answer.set()
    await asyncio.wait([under_way, second])
    assert second.cancelled()


only_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


@pytest.mark.anyio
@only_asyncio
async def test_httpcore_does_lose_a_connection(line: Line) -> None:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(), timeout=httpx.Timeout(5)) as bare:
        await lose_a_connection(lambda: bare.get("http://127.0.0.1/"), line)
        for _ in range(2):  # if this fails, httpcore was mended and the cure may go
            with pytest.raises(httpx.PoolTimeout):
                await bare.get("http://127.0.0.1/")
    assert line.connections == 1


@pytest.mark.anyio
@only_asyncio
async def test_a_client_that_lost_its_connection_heals(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        await lose_a_connection(client.orders, line)
        began = anyio.current_time()
        assert await client.orders() == []
        assert anyio.current_time() - began == pytest.approx(5)  # the wait for a connection showed that it was lost
        assert await client.orders() == []
        assert anyio.current_time() - began == pytest.approx(5)


@pytest.mark.anyio
@only_asyncio
async def test_all_who_wait_for_a_lost_connection_are_served(line: Line) -> None:
    got: list[object] = []

    async with client_of("http://127.0.0.1/", timeout=15) as client:
        await lose_a_connection(client.orders, line)

        async def ask() -> None:
            got.append(await client.orders())

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
    assert got == [[], [], []]


@pytest.mark.anyio
async def test_a_pool_that_is_merely_busy_is_left_alone(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.orders)
            await anyio.sleep(1)
            with pytest.raises(ConnectionFailed, match=r"PoolTimeout.*nothing was sent"):
                await client.countries()
            line.may_answer.set()
        assert line.connections == 1
