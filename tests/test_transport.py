"""The network below: proxies, certificates, the largest answer, and a pool that loses a connection."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
import sys
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpcore
import httpx
import pytest
import trustme
from attrs import define, field
from httpx._utils import URLPattern, get_environment_proxies

from smspva_async import Pace, Retry, SmspvaClient
from smspva_async.errors import ConnectionFailed, OutcomeUnknown, UnexpectedResponse
from smspva_async.models import Period
from tests.edge import KEY
from tests.loopback import Loopback, Proxy, http
from tests.loops import on_a_real_loop, on_asyncio

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


FAR, NEAR = "http://proxy.example:3128", "http://127.0.0.1:3128"
ADDRESSES = (
    "https://smspva.com/api/rent.php",
    "https://smspva.com:8443/",
    "https://www.smspva.com/",
    "https://notsmspva.com/",
    "https://127.0.0.1:8000/",
    "https://localhost/",
    "https://sub.localhost/",
    "https://[::1]:8000/",
    "http://127.0.0.1:8000/",
    "http://localhost/",
    "http://[::1]/",
)
PROXIES: tuple[dict[str, str], ...] = (
    {},
    {"HTTPS_PROXY": FAR},
    {"HTTPS_PROXY": "proxy.example:3128", "ALL_PROXY": NEAR},
    {"HTTP_PROXY": NEAR},
    {"HTTP_PROXY": "127.0.0.1:3128", "HTTPS_PROXY": FAR},
    {"ALL_PROXY": NEAR},
    {"https_proxy": FAR, "http_proxy": "", "all_proxy": "http://localhost:1"},
)
SPARED = (
    *(
        "",
        "*",
        "smspva.com",
        ".smspva.com",
        "www.smspva.com",
        "SMSPVA.com",
        "com",
        "pva.com",
        " smspva.com , x.example",
    ),
    *("smspva.com:443", "smspva.com:8443", "https://smspva.com", "http://smspva.com", "https://smspva.com:8443"),
    *("127.0.0.1", "127.0.0.1:8000", "127.0.0.0/8", "localhost", "LOCALHOST", "::1", "http://127.0.0.1:8000"),
    *("all://localhost", "x.example,*", "0.0.1"),
)


def proxy_of_httpx(address: str) -> str | None:
    """Return what httpx itself would take: the first pattern that fits."""
    mounts = sorted((URLPattern(pattern), proxy) for pattern, proxy in get_environment_proxies().items())
    return next((proxy for pattern, proxy in mounts if pattern.matches(httpx.URL(address))), None)


@pytest.fixture
def proxies_taken(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Tell which proxy each transport to the network is given."""
    taken: list[str | None] = []

    def transport(proxy: str | None) -> httpx.MockTransport:
        taken.append(proxy)
        return httpx.MockTransport(lambda _: httpx.Response(200, text=EMPTY))

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", transport)
    return taken


@pytest.mark.anyio
@pytest.mark.parametrize("spared", SPARED)
@pytest.mark.parametrize("settings", PROXIES, ids=str)
async def test_the_environment_is_read_as_httpx_reads_it(
    settings: dict[str, str], spared: str, proxies_taken: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**settings, "NO_PROXY": spared}.items():
        monkeypatch.setenv(name, value)
    for address in ADDRESSES:
        async with client_of(address):
            pass
    assert dict(zip(ADDRESSES, proxies_taken, strict=True)) == {url: proxy_of_httpx(url) for url in ADDRESSES}


@pytest.mark.anyio
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", [FAR, "proxy.example:3128", "https://proxy.example", "http://10.0.0.1:3128"])
async def test_http_on_this_machine_never_goes_through_a_proxy_elsewhere(
    proxy: str, variable: str, proxies_taken: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, proxy)
    for host in ("127.0.0.1", "localhost", "[::1]:8000"):
        async with client_of(f"http://{host}/"):
            pass
    assert proxies_taken == [None, None, None]


# -- nothing to connect with ---------------------------------------------------------------------------------------

USELESS = {
    "no such file": ("SSL_CERT_FILE", "/nowhere/authority.pem", "SSL_CERT_FILE.*No such file"),
    "no certificates": ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE"),
    "unknown scheme": ("HTTPS_PROXY", "ftp://me:sesame@proxy.example", "proxy"),
    "no port": ("HTTPS_PROXY", "http://me:sesame@proxy.example:port", "proxy"),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("variable", "value", "told"), USELESS.values(), ids=USELESS)
async def test_what_cant_be_connected_with_is_told_as_such(
    variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    entered, lazy = client_of(), client_of()
    for _ in range(2):
        with pytest.raises(ConnectionFailed, match=told) as failed:
            await entered.__aenter__()
        with pytest.raises(ConnectionFailed, match=rf"^create: .*{told}.*nothing was sent") as called:
            await lazy.rent("RU", "opt16", Period.weeks(1))
        for error in (failed.value, called.value):
            assert not error.sent
            assert len(str(error).splitlines()) == 1
            tale = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert "sesame" not in "".join(line for line in tale.format() if "test_transport" not in line)
            assert error.__context__ is None
    assert lazy.unsettled == ()
    monkeypatch.delenv(variable)
    async with entered:
        pass


@pytest.mark.anyio
async def test_a_socks_proxy_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:sesame@proxy.example")
    with pytest.raises(ConnectionFailed, match=r"proxy.*httpx\[socks\]"):
        await client_of().__aenter__()


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
        with pytest.raises(OutcomeUnknown, match="larger than 16 MiB") as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
        assert failed.value.data == LARGEST[: 64 * 1024].decode()
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
    may_connect: anyio.Event = field(factory=anyio.Event)
    connections: int = 0

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connections += 1
        await self.may_connect.wait()
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
    line.may_connect.set()

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


@pytest.mark.anyio
@on_asyncio
async def test_httpcore_does_lose_a_connection(line: Line) -> None:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(), timeout=httpx.Timeout(5)) as bare:
        await lose_a_connection(lambda: bare.get("http://127.0.0.1/"), line)
        for _ in range(2):  # if this fails, httpcore was mended and the cure may go
            with pytest.raises(httpx.PoolTimeout):
                await bare.get("http://127.0.0.1/")
    assert line.connections == 1


@pytest.mark.anyio
@on_asyncio
async def test_a_client_that_lost_its_connection_heals(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        await lose_a_connection(client.orders, line)
        began = anyio.current_time()
        assert await client.orders() == []
        assert anyio.current_time() - began == pytest.approx(5)  # the wait for a connection showed that it was lost
        assert await client.orders() == []
        assert anyio.current_time() - began == pytest.approx(5)


@pytest.mark.anyio
@on_asyncio
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


@pytest.mark.anyio
async def test_a_pool_that_is_still_connecting_is_left_alone(line: Line) -> None:
    line.may_connect = anyio.Event()
    line.may_answer.set()
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.orders)
            await anyio.sleep(1)
            with pytest.raises(ConnectionFailed, match=r"PoolTimeout.*nothing was sent"):
                await client.countries()
            line.may_connect.set()
        assert line.connections == 1
