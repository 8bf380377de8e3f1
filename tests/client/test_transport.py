"""Certificates, proxies from the environment, and settings that make a connection impossible."""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import traceback
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
import trustme
from httpx._utils import URLPattern, get_environment_proxies

from smspva_async import Retry
from smspva_async.errors import ConnectionFailed
from smspva_async.models import Period
from tests.support.backends import on_a_real_loop
from tests.support.clients import EMPTY, client_of
from tests.support.fake_server import KEY, URL
from tests.support.loopback import Loopback, Proxy, http

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plain_environment")]


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
    authority.issue_cert(httpx.URL(URL).host, "localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, plain_environment: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(path := tmp_path / "authority.pem")
    plain_environment.setenv("SSL_CERT_FILE", str(path))


@on_a_real_loop
@pytest.mark.usefixtures("trusted")
async def test_ssl_cert_file_is_used(tls: ssl.SSLContext) -> None:
    async with Loopback(empty_list, tls) as server, client_of(server.url("localhost")) as client:
        assert await client.orders() == []
    assert keys(server.targets) == [[KEY]]


@on_a_real_loop
async def test_nothing_is_sent_to_a_server_without_a_trusted_certificate(tls: ssl.SSLContext) -> None:
    async with Loopback(empty_list, tls) as server, client_of(server.url("localhost")) as client:
        with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED") as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
    assert not failed.value.sent
    assert client.unsettled == ()
    assert server.targets == []


@on_a_real_loop
@pytest.mark.usefixtures("trusted")
async def test_nothing_is_sent_to_a_server_with_a_certificate_for_another_name(tls: ssl.SSLContext) -> None:
    async with Loopback(empty_list, tls) as server, client_of(server.url("127.0.0.1")) as client:
        with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await client.orders()
    assert server.targets == []


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the threads in which certificates are read."""
    threads: list[int] = []
    create = httpx.create_ssl_context

    def record() -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return create()

    monkeypatch.setattr(httpx, "create_ssl_context", record)
    return threads


@on_a_real_loop
async def test_certificates_are_read_in_another_thread_once_per_setting(
    loads: list[int], authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def enter() -> None:
        async with client_of():
            pass

    for name in ("one.pem", "two.pem", "one.pem"):
        authority.cert_pem.write_to_path(tmp_path / name)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(enter)
    assert len(loads) == 2
    assert threading.get_ident() not in loads


# -- proxies -------------------------------------------------------------------------------------------------------


@on_a_real_loop
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_https_uses_the_proxy_which_does_not_see_the_key(
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
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_http_on_this_machine_uses_no_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Loopback(empty_list) as server, Proxy(server) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        async with client_of(server.url()) as client:
            assert await client.orders() == []
    assert proxy.heads == []
    assert len(server.targets) == 1


@on_a_real_loop
async def test_nothing_was_sent_if_the_proxy_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Loopback(lambda _: http("", "407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with client_of(retry=Retry(attempts=2, first=0)) as client:
            with pytest.raises(ConnectionFailed, match="407 Proxy Authentication Required") as failed:
                await client.rent("RU", "opt16", Period.weeks(1))
    assert not failed.value.sent
    assert proxy.targets == ["smspva.com:443"] * 2
    assert client.unsettled == ()


FAR, NEAR = "http://proxy.example:3128", "http://127.0.0.1:3128"
ADDRESSES = (
    "https://smspva.com/api/rent.php",
    "https://smspva.com:8443/",
    "https://www.smspva.com/",
    "https://notsmspva.com/",
    "https://10.0.0.1:8000/",
    "https://localhost/",
    "https://sub.localhost/",
    "https://[::1]:8000/",
    "https://[fd00::1]:8000/",
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
EXCEPTIONS = (
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
    *("10.0.0.1", "10.0.0.1:8000", "localhost", "LOCALHOST", "fd00::1", "https://10.0.0.1:8000"),
    *("all://localhost", "x.example,*", "0.0.1"),
)


LOCAL = {"127.0.0.1", "localhost", "::1"}


def proxy_of_httpx(address: str) -> str | None:
    """Return the proxy that httpx would use: that of the first matching pattern. Hosts of this machine have none."""
    if httpx.URL(address).host in LOCAL:
        return None
    mounts = sorted((URLPattern(pattern), proxy) for pattern, proxy in get_environment_proxies().items())
    return next((proxy for pattern, proxy in mounts if pattern.matches(httpx.URL(address))), None)


@pytest.fixture
def proxies_used(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Record the proxy of each transport."""
    used: list[str | None] = []

    def transport(*, proxy: httpx.Proxy | None, **_: object) -> httpx.MockTransport:
        used.append(None if proxy is None else str(proxy.url))
        return httpx.MockTransport(lambda _: httpx.Response(200, text=EMPTY))

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", transport)
    return used


@pytest.mark.parametrize("settings", PROXIES, ids=str)
async def test_proxy_variables_are_interpreted_as_by_httpx(
    settings: dict[str, str], proxies_used: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for exceptions in EXCEPTIONS:
        monkeypatch.setenv("NO_PROXY", exceptions)
        proxies_used.clear()
        for address in ADDRESSES:
            async with client_of(address):
                pass
        expected = {url: proxy_of_httpx(url) for url in ADDRESSES}
        assert dict(zip(ADDRESSES, proxies_used, strict=True)) == expected, exceptions


@pytest.mark.parametrize("exceptions", ["10.0.0.0/8", "192.168.0.0/16,10.0.0.1/32"])
async def test_no_proxy_may_contain_networks(
    exceptions: str, proxies_used: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", FAR)
    monkeypatch.setenv("NO_PROXY", exceptions)
    for host in ("10.0.0.1", "11.0.0.1"):
        async with client_of(f"https://{host}/"):
            pass
    assert proxies_used == [None, FAR]


# -- unusable settings -------------------------------------------------------------------------------------------

UNUSABLE = {
    "no such file": ("SSL_CERT_FILE", "/nowhere/authority.pem", "SSL_CERT_FILE.*No such file"),
    "no certificates": ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE"),
    "no such folder for keys": ("SSLKEYLOGFILE", "/nowhere/keys", "SSLKEYLOGFILE.*No such file"),
    "unknown scheme": ("HTTPS_PROXY", "ftp://me:sesame@proxy.example", "proxy"),
    "no port": ("HTTPS_PROXY", "http://me:sesame@proxy.example:port", "proxy"),
}


@pytest.mark.parametrize(("variable", "value", "reason"), UNUSABLE.values(), ids=UNUSABLE)
async def test_unusable_certificates_and_proxies_are_connection_failures(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    entered, lazy = client_of(), client_of()
    for _ in range(2):
        with pytest.raises(ConnectionFailed, match=reason) as failed:
            await entered.__aenter__()
        with pytest.raises(ConnectionFailed, match=rf"^rent: .*{reason}.*nothing was sent") as called:
            await lazy.rent("RU", "opt16", Period.weeks(1))
        for error in (failed.value, called.value):
            assert not error.sent
            assert len(str(error).splitlines()) == 1
            trace = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert "sesame" not in "".join(line for line in trace.format() if "test_transport" not in line)
            assert error.__context__ is None
    assert lazy.unsettled == ()
    monkeypatch.delenv(variable)
    async with entered:
        pass


async def test_a_socks_proxy_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:sesame@proxy.example")
    with pytest.raises(ConnectionFailed, match=r"proxy.*httpx\[socks\]"):
        await client_of().__aenter__()
