"""HTTP: one request and its answer, over httpx.

The API key is added below everything that logs, traces or records requests. On httpx's own transport it is in the
request's `target` extension, which httpcore writes to the wire, and not in the request's URL. The URL contains it in
two cases: behind an HTTP proxy, since httpcore sends `target` to the proxy too, and on a transport of another kind,
which doesn't know `target`. The key is removed from an answer before anything else sees it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from ipaddress import ip_address, ip_network
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import quote, urlencode
from urllib.request import getproxies

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
from attrs import define, field

from smspva_async._api.decoding import Answer
from smspva_async._api.methods import KeyLocation
from smspva_async._api.validation import is_ip_address, is_loopback
from smspva_async._concurrency import has_ended, start_in
from smspva_async.errors import (
    ClientClosed,
    ClientInUse,
    ConnectionFailed,
    RequestTimeout,
    UnexpectedResponse,
    one_line,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, Mapping

    from smspva_async._http.redaction import ApiKey

Transport: TypeAlias = httpx.AsyncBaseTransport

_LARGEST_ANSWER = 16 * 1024 * 1024
_MAX_CONNECTIONS = 100
_MAX_IDLE_CONNECTIONS = 20
_HEADERS = {"User-Agent": "smspva-async", "Accept": "application/json", "Accept-Encoding": "gzip"}
_BEFORE_SENDING = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
"""Errors of httpx after which nothing was sent."""
_WITHOUT_CONNECTIONS = {"MockTransport", "ASGITransport"}
"""Transports of httpx that work in any event loop."""
_INFLATED = {"gzip", "x-gzip", "deflate"}
_COMPRESSIONS = _INFLATED | {"br", "zstd", "compress", "x-compress"}


class HttpSession:
    """Connections to the server, in one event loop.

    Args:
        api_key: The key.
        injected: A transport to use instead of the network; closed with the session.

    """

    def __init__(self, api_key: ApiKey, injected: Transport | None = None) -> None:
        self.is_closed = False
        self._process = os.getpid()
        self._loop = anyio.lowlevel.current_token()
        self._api_key = api_key
        self._injected = injected
        self._pools: dict[str, Pool] = {}
        self._slots = anyio.Semaphore(_MAX_CONNECTIONS, fast_acquire=True)

    def belongs_to_this_loop(self) -> bool:
        """Return whether the session belongs to the running event loop."""
        return self._loop == anyio.lowlevel.current_token() and self._process == os.getpid()

    def check_replaceable(self) -> None:
        """Check that a session of the running event loop may replace this one.

        Raises:
            ClientInUse: The session is in use in another event loop, or the injected transport may be.

        """
        if self.belongs_to_this_loop():
            return
        # For a forked child, the loops of its parent process have ended.
        if not self.is_closed and self._process == os.getpid() and not has_ended(self._loop):
            raise ClientInUse(
                "the client is in use in another event loop that hasn't ended; nothing was sent."
                " Use one client per event loop, or close it with `await client.aclose()` first"
            )
        if self._injected is not None and _WITHOUT_CONNECTIONS.isdisjoint(_httpx_kinds(self._injected)):
            raise ClientInUse(
                "the injected transport may have connections in another event loop; nothing was sent."
                " Create a client with a new transport in each event loop"
            )

    async def open(self, url: str) -> None:
        """Read the certificates (off the event loop) and the proxy settings for a server.

        Raises:
            ConnectionFailed: The certificates or settings are unusable.

        """
        if self._injected is not None or url in self._pools:
            return
        pool = await open_pool(url)
        if not self.is_closed:
            self._pools.setdefault(url, pool)

    async def get(
        self,
        url: str,
        params: Mapping[str, str],
        key_location: KeyLocation,
        *,
        timeout: float,
        received: list[str] | None = None,
    ) -> Answer:
        """Send one request and return its answer.

        Args:
            url: The address, without a query.
            params: The query, without the key.
            key_location: The part of the request that holds the key.
            timeout: Seconds for the request, without the wait for one of 100 connections.
            received: For a call that is sent once: a list that gets the received text of the answer, however the
                request ends. Such a call opens a new connection, because the server may close an idle one at the
                moment of sending, which would make the outcome unknown.

        Raises:
            ConnectionFailed: There was no answer; `sent` is true if the request may have left this machine.
            RequestTimeout: There was no answer in time; the request counts as sent.
            UnexpectedResponse: The answer is too large or can't be decompressed.
            ClientClosed: The session was closed before the request was sent.

        """
        await self.open(url)
        async with self._slots if received is None else nullcontext():
            with anyio.move_on_after(timeout):
                outcome = await self._exchange(url, params, key_location, timeout, received)
                if isinstance(outcome, Answer):
                    return outcome
                # Outside of any `except`, so that no cause, context or frame contains the key.
                raise outcome
        raise RequestTimeout(f"no answer within {timeout:g} s")

    async def _exchange(
        self, url: str, params: Mapping[str, str], key_location: KeyLocation, timeout: float, received: list[str] | None
    ) -> Answer | BaseException:
        """Return the answer, or an error that doesn't contain the key."""
        if self.is_closed:
            return ClientClosed("the client is closed; nothing was sent")
        began = anyio.current_time()
        chunks: list[bytes] = []
        pool = self._pool(url, is_fresh=received is not None)
        try:
            transport = _unless_mocked(pool.transport)
            request = self._request(transport, url, params, key_location, timeout)
            pool.requests += 1
            try:
                response = await transport.handle_async_request(request)
                try:
                    return await self._answer(response, chunks, began)
                finally:
                    if not response.is_closed:
                        await _close(response)
            except anyio.get_cancelled_exc_class():
                # httpcore 1.0 may leak the connection of a cancelled request.
                pool.is_retired = self._injected is None
                raise
            finally:
                pool.requests -= 1
                if pool.is_retired and not pool.requests:
                    await _close(pool.transport)
        except Exception as error:  # noqa: BLE001 - any error of a transport may contain the key
            return self._failure(error)
        except BaseException as error:  # noqa: BLE001 - a cancellation; `get` raises it
            return self._cancellation(error) or self._failure(error)
        finally:
            if received is not None:
                received.append(self._api_key.redact_truncated(as_utf_8(b"".join(chunks))))

    def _pool(self, url: str, *, is_fresh: bool) -> Pool:
        """Return the connections that requests share, or new ones for one request."""
        if self._injected is not None:
            injected = self._injected
            return Pool(lambda: injected)
        pool = self._pools[url]
        if is_fresh:
            return Pool(pool.connect, is_retired=True)
        if pool.is_retired:
            pool = self._pools[url] = Pool(pool.connect)
        return pool

    def _request(
        self, transport: Transport, url: str, params: Mapping[str, str], key_location: KeyLocation, timeout: float
    ) -> httpx.Request:
        library = _library_of(transport)
        # TCP and TLS each get a third of the time, so that a connection that can't be made is reported as such, before
        # the whole time is up and the request counts as sent.
        extensions: dict[str, Any] = {
            "timeout": {"connect": timeout / 3, "pool": timeout / 3, "read": None, "write": None},
            "trace": self._redact_failure,
        }
        headers: dict[str, str] = _HEADERS
        if key_location is KeyLocation.HEADER:
            headers = {**_HEADERS, "apikey": self._api_key.key}
        address = f"{url}?{urlencode(params, quote_via=quote)}" if params else url
        if key_location is KeyLocation.QUERY:
            keyed = f"{address}&apikey={quote(self._api_key.key, safe='')}"
            if _sends_target(transport):
                extensions["target"] = library.URL(keyed).raw_path
            else:
                address = keyed
        return cast("httpx.Request", library.Request("GET", address, headers=headers, extensions=extensions))

    async def _redact_failure(self, _: str, info: Mapping[str, object]) -> None:
        """Remove the key from an httpcore error, which may quote an answer that isn't HTTP.

        httpcore's `trace` extension calls this before anything above httpcore, such as a tracer, sees the error.
        """
        error = info.get("exception")
        while isinstance(error, Exception):
            error.args = tuple(self._api_key.redact(part) if isinstance(part, str) else part for part in error.args)
            error = error.__cause__ or error.__context__

    async def _answer(self, response: httpx.Response, chunks: list[bytes], began: float) -> Answer | UnexpectedResponse:
        content_type = self._api_key.redact(response.headers.get("content-type", ""))
        problem = await _read_body(response, chunks)
        if problem:
            return UnexpectedResponse(problem, status=response.status_code, content_type=content_type)
        body = as_utf_8(b"".join(chunks))
        if any(all(part in body for part in sign) for sign in self._api_key.signs):
            body = self._api_key.redact_body(body)
        date = _date(response.headers.get("date", ""))
        return Answer(
            status=response.status_code,
            content_type=content_type,
            body=body,
            date=date,
            took=anyio.current_time() - began,
            retry_after=seconds_until(response.headers.get("retry-after", ""), date),
            location=self._api_key.redact(response.headers.get("location", "")),
        )

    def _failure(self, error: BaseException) -> ConnectionFailed:
        name, reason = type(error).__name__, one_line(self._api_key.redact(_text_of(error)))
        failure = f"{name}: {reason}" if reason else name
        if _BEFORE_SENDING.isdisjoint(_httpx_kinds(error)):
            return ConnectionFailed(f"the connection broke ({failure})", sent=True)
        return ConnectionFailed(f"no connection ({failure}); nothing was sent", sent=False)

    def _cancellation(self, error: BaseException) -> BaseException | None:
        """Return a cancellation without anything that may contain the key; None for a group without a cancellation."""
        if isinstance(error, BaseExceptionGroup):
            # Other errors in the group are dropped: a cancelled call does not report failures.
            group = cast("BaseExceptionGroup[BaseException]", error)
            bare = [
                leaf for leaf in map(self._cancellation, group.exceptions) if not isinstance(leaf, Exception | None)
            ]
            return BaseExceptionGroup("cancelled", bare) if bare else None
        error.__traceback__ = error.__context__ = error.__cause__ = None
        vars(error).pop("__notes__", None)
        # anyio recognises its own cancellations by their text.
        if not all(isinstance(part, str) and self._api_key.redact(part) == part for part in error.args):
            error.args = ()
        return error

    async def aclose(self) -> None:
        """Close every connection; a request in progress fails.

        If they belong to another event loop that hasn't ended, they are closed in that loop soon after.
        """
        self.is_closed = True
        if self._process != os.getpid():
            return  # a forked child has copies; closing them would break the parent's connections
        if self.belongs_to_this_loop():
            await self._close_all()
            return
        with contextlib.suppress(Exception):  # connections of a loop that has ended can't be closed properly
            if has_ended(self._loop):
                await self._close_all()
            else:
                start_in(self._loop, self._close_all)

    async def _close_all(self) -> None:
        pools, self._pools = self._pools, {}
        if self._injected is not None:
            await self._injected.aclose()
        for pool in pools.values():
            await pool.transport.aclose()


# -- httpx -----------------------------------------------------------------------------------------------------------


@define
class Pool:
    """Connections to one server. A retired pool is closed as soon as no request uses it."""

    connect: Callable[[], Transport]
    is_retired: bool = False
    requests: int = 0
    transport: Transport = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = self.connect()


async def open_pool(url: str) -> Pool:
    """Return a pool for a server, by the certificates (read off the event loop) and proxy settings of the environment.

    Raises:
        ConnectionFailed: The certificates or settings are unusable.

    """
    try:
        context = await _tls_context()
        return Pool(partial(_new_transport, _proxy_for(httpx.URL(url)), context))
    except OSError as error:
        # OpenSSL reads the certificates; its errors have no file name.
        name = "SSLKEYLOGFILE" if error.filename else "SSL_CERT_FILE or SSL_CERT_DIR"
        reason = f"the file or directory in {name} is unusable ({error})"
    except ImportError as error:
        reason = f"the proxy in the environment is unusable ({error})"
    except (ValueError, httpx.InvalidURL):
        reason = "the proxy in the environment is unusable: its address is malformed"
    # Outside of the `except`, so that its error, which contains the proxy's password, isn't the context.
    raise ConnectionFailed(f"no connection: {one_line(reason)}; nothing was sent", sent=False)


def _new_transport(proxy_url: str | None, context: ssl.SSLContext) -> Transport:
    proxy = None
    if proxy_url is not None:
        is_https = httpx.URL(proxy_url).scheme == "https"
        proxy = httpx.Proxy(proxy_url, ssl_context=context if is_https else None)
    # The session limits the number of connections, because waiting for one in httpcore's pool isn't cancellation-safe.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=_MAX_IDLE_CONNECTIONS)
    return httpx.AsyncHTTPTransport(verify=context, proxy=proxy, limits=limits)


async def _close(closable: httpx.Response | Transport) -> None:
    """Close a response or transport, despite cancellation. Its errors are dropped, so that the answer isn't lost."""
    with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
        await closable.aclose()


def _unless_mocked(transport: Transport) -> Transport:
    """Return the transport, or respx's mock if it mocks httpx."""
    if "AsyncHTTPTransport" not in _httpx_kinds(transport):
        return transport
    client = httpx.AsyncClient(transport=transport, trust_env=False)
    # respx replaces this method. Without it, a test's requests would reach the server and spend money.
    find: Callable[[httpx.URL], Transport] = getattr(client, "_transport_for_url", lambda _: transport)
    return find(client.base_url)


def _httpx_kinds(value: object) -> set[str]:
    """Return the names of an object's classes that belong to httpx or httpx2."""
    return {kind.__name__ for kind in type(value).__mro__ if kind.__module__.partition(".")[0] in ("httpx", "httpx2")}


def _library_of(transport: object) -> Any:  # noqa: ANN401 - the module httpx or httpx2
    """Return the library of a transport's requests."""
    roots = (kind.__module__.partition(".")[0] for kind in type(transport).__mro__)
    return sys.modules["httpx2"] if "httpx2" in roots else httpx


def _sends_target(transport: object) -> bool:
    """Return whether a transport is httpx's own without an HTTP proxy, which would be sent `target` too."""
    is_httpx = type(transport).__name__ == "AsyncHTTPTransport" and "AsyncHTTPTransport" in _httpx_kinds(transport)
    pool = getattr(transport, "_pool", None)
    return is_httpx and type(pool).__name__ in ("AsyncConnectionPool", "AsyncSOCKSProxy")


# -- bodies ----------------------------------------------------------------------------------------------------------


async def _read_body(response: httpx.Response, chunks: list[bytes]) -> str:
    """Read and decompress a body. Return the reason if it can't be accepted, or ""."""
    if response.is_stream_consumed:  # by a mock, or by the injected transport
        chunks.append(response.content)
        return _too_large(len(response.content))
    named = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    compressions = [name for name in named if name in _COMPRESSIONS]
    if len(compressions) > 1:
        return f"the answer is compressed more than once ({', '.join(compressions)})"
    # A body in any other encoding is kept unchanged.
    inflater = _Inflater() if _INFLATED.intersection(compressions) else None
    size = received = 0
    # Not `aiter_raw`: it closes the response, and if that fails, the answer is lost.
    async for chunk in cast("AsyncIterable[bytes]", response.stream):
        try:
            plain = bytes(chunk) if inflater is None else inflater.decompress(chunk, _LARGEST_ANSWER - size)
        except zlib.error as error:
            return f"the answer can't be decompressed ({error})"
        chunks.append(plain)
        size += len(plain)
        received += len(chunk)
        if max(size, received) > _LARGEST_ANSWER:
            return _too_large(max(size, received))
    return ""


class _Inflater:
    """Decompresses a zlib or gzip body, which may have several members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def decompress(self, chunk: bytes, room: int) -> bytes:
        """Return the decompressed chunk, cut off one byte after `room`."""
        plain = b""
        while chunk and len(plain) <= room:
            if self._member.eof:
                if not chunk.startswith(b"\x1f\x8b"):
                    break  # the rest isn't part of the answer
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 32)
            plain += self._member.decompress(chunk, room + 1 - len(plain))
            chunk = self._member.unused_data
        return plain


def _too_large(size: int) -> str:
    return "" if size <= _LARGEST_ANSWER else f"the answer is larger than {_LARGEST_ANSWER // 2**20} MiB"


def as_utf_8(body: bytes) -> bytes:
    """Convert a body in UTF-16 or UTF-32 to UTF-8, in which the key can be found."""
    encoding = json.detect_encoding(body)
    return body if encoding.startswith("utf-8") else body.decode(encoding, "replace").encode("utf-8", "replace")


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a foreign error's __str__ must not break the report
        return ""


def _date(value: str) -> datetime | None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return None


def seconds_until(retry_after: str, now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, or None; a date is compared with `now`."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    until = _date(retry_after)
    return None if until is None else max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


# -- settings of the environment -------------------------------------------------------------------------------------

_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}
_loading: dict[int, Lock] = {}
"""One lock per process, since a fork may copy a locked one."""


async def _tls_context() -> ssl.SSLContext:
    """Return the TLS context. Reading its certificates takes up to 0.2 s, once per process and setting."""
    setting = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))

    def load() -> None:
        with _loading.setdefault(os.getpid(), Lock()):
            if setting not in _contexts:
                context = httpx.create_ssl_context()
                httpx.AsyncHTTPTransport(verify=context)  # the first one imports httpcore, which is slow too
                _contexts[setting] = context

    if setting not in _contexts:
        await anyio.to_thread.run_sync(load)
    return _contexts[setting]


def _proxy_for(url: httpx.URL) -> str | None:
    """Return the environment's proxy for an address, or None.

    The rules are those of httpx, which applies them only to transports that it creates. In addition, ``NO_PROXY`` may
    contain networks, and an address on this machine has no proxy, so that plain HTTP never leaves the machine.
    """
    if is_loopback(url.host):
        return None
    settings = getproxies()
    exceptions = [entry.strip() for entry in settings.get("no", "").split(",") if entry.strip()]
    proxy = settings.get(url.scheme) or settings.get("all")
    if not proxy or any(entry == "*" or _is_excepted(url, entry) for entry in exceptions):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excepted(url: httpx.URL, entry: str) -> bool:
    """Return whether an entry of ``NO_PROXY`` matches an address."""
    with contextlib.suppress(ValueError):
        return ip_address(url.host) in ip_network(entry, strict=False)
    exact = "://" in entry
    if not exact and entry.count(":") > 1 and not entry.startswith("["):
        entry = f"[{entry}]"
    try:
        excepted = httpx.URL(entry if exact else f"all://{entry}")
    except httpx.InvalidURL:
        return False
    if excepted.scheme not in ("all", url.scheme) or excepted.port not in (None, url.port):
        return False
    if exact or is_ip_address(excepted.host) or excepted.host == "localhost":
        return excepted.host == url.host
    return url.host == excepted.host or url.host.endswith("." + excepted.host.removeprefix("."))
