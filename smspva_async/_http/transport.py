"""HTTP: one request and its answer, over httpx.

The API key is added below everything that logs, traces or records requests: on httpx's own transport it is in the
request's `target` extension, which httpcore writes to the wire, and not in the request's URL. Two cases have it in the
URL: an HTTP proxy, since httpcore sends `target` to the proxy too, and a transport of another kind, which knows nothing
of `target`. What comes back is searched for the key before anything sees it.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import sys
import zlib
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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
from smspva_async._api.methods import KeyPlace
from smspva_async._api.validation import is_address, is_loopback
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
    from collections.abc import AsyncIterable, Callable, Mapping

    from smspva_async._http.redaction import ApiKey

__all__ = ["HttpSession", "Transport"]

Transport: TypeAlias = httpx.AsyncBaseTransport

_LARGEST_ANSWER = 16 * 1024 * 1024
_LONGEST_RECEIVED = 64 * 1024
_MOST_CONNECTIONS = 100
_HEADERS = {"User-Agent": "smspva-async", "Accept": "application/json", "Accept-Encoding": "gzip"}
_BEFORE_SENDING = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
"""Errors of httpx that show that nothing was sent."""
_WITHOUT_CONNECTIONS = {"MockTransport", "ASGITransport"}
"""Transports of httpx that work in any event loop."""
_INFLATED = {"gzip", "x-gzip", "deflate"}
_COMPRESSIONS = _INFLATED | {"br", "zstd", "compress", "x-compress"}


class HttpSession:
    """Connections to the server, in one event loop.

    Args:
        api_key: The key.
        injected: A transport to send with instead of the network; closed with the session.

    """

    def __init__(self, api_key: ApiKey, injected: Transport | None = None) -> None:
        self.is_closed = False
        self._process = os.getpid()
        self._loop = anyio.lowlevel.current_token()
        self._api_key = api_key
        self._injected = injected
        self._networks: dict[str, _Network] = {}
        self._slots = anyio.Semaphore(_MOST_CONNECTIONS, fast_acquire=True)

    def belongs_here(self) -> bool:
        """Return whether the running event loop is the session's."""
        return self._loop == anyio.lowlevel.current_token() and self._process == os.getpid()

    def check_replaceable(self) -> None:
        """Check that a session of the running event loop may take the place of this one.

        Raises:
            ClientInUse: It may not.

        """
        if self.belongs_here():
            return
        # In a forked child, a loop of the parent process is over.
        if not self.is_closed and self._process == os.getpid() and not has_ended(self._loop):
            raise ClientInUse(
                "the client is in use in another event loop that has not ended; nothing was sent."
                " Use a client per event loop, or close it with `await client.aclose()` first"
            )
        if self._injected is not None and _WITHOUT_CONNECTIONS.isdisjoint(_httpx_kinds(self._injected)):
            raise ClientInUse(
                "the injected transport may have connections of another event loop; nothing was sent."
                " Make a client with a new transport in each event loop"
            )

    async def open(self, url: str) -> None:
        """Read the certificates and the proxy settings for a server, off the event loop.

        Raises:
            ConnectionFailed: They can't be used.

        """
        if self._injected is not None or url in self._networks:
            return
        try:
            context = await _tls_context()
            if not self.is_closed:
                self._networks.setdefault(url, _Network(_proxy_for(httpx.URL(url)), context))
        except OSError as error:
            # OpenSSL, which reads the certificates, names no file.
            name = "SSLKEYLOGFILE" if error.filename else "SSL_CERT_FILE or SSL_CERT_DIR"
            reason = f"what {name} names can't be used ({error})"
        except ImportError as error:
            reason = f"the proxy that the environment names can't be used ({error})"
        except (ValueError, httpx.InvalidURL):
            reason = "the proxy that the environment names can't be used: its address is malformed"
        else:
            return
        # Raised outside of any `except`, whose error leads to the proxy's address and so to its password.
        raise ConnectionFailed(f"no connection: {one_line(reason)}; nothing was sent", sent=False)

    async def get(
        self,
        url: str,
        params: Mapping[str, str],
        key_place: KeyPlace,
        *,
        timeout: float,
        received: list[str] | None = None,
    ) -> Answer:
        """Send one request and return its answer.

        Args:
            url: The address, without a query.
            params: The query, without the key.
            key_place: Where the key goes.
            timeout: Seconds for the whole of it, waiting for one of 100 connections aside.
            received: For a call that is sent once. It gets the text of the answer, as much of it as came, however the
                request ends. Such a call opens a connection of its own: an idle one may be closed by the server in the
                moment of sending, which would leave the outcome unknown.

        Raises:
            ConnectionFailed: No answer; `sent` tells whether the request may have left.
            RequestTimeout: No answer in time; the request counts as sent.
            UnexpectedResponse: The answer is too large, or can't be decompressed.
            ClientClosed: The session was closed before the request was sent.

        """
        await self.open(url)
        async with self._slots if received is None else nullcontext():
            with anyio.move_on_after(timeout):
                outcome = await self._exchange(url, params, key_place, timeout, received)
                if isinstance(outcome, Answer):
                    return outcome
                # Raised here, outside of any `except`, so that no cause, context or frame leads to the key.
                raise outcome
        raise RequestTimeout(f"no answer within {timeout:g} s")

    async def _exchange(
        self, url: str, params: Mapping[str, str], key_place: KeyPlace, timeout: float, received: list[str] | None
    ) -> Answer | BaseException:
        """Return the answer, or a failure that doesn't lead to the key."""
        if self.is_closed:
            return ClientClosed("the client is closed; nothing was sent")
        began = anyio.current_time()
        chunks: list[bytes] = []
        pool = (
            _Pool(self._injected)
            if self._injected is not None
            else self._networks[url].pool(is_fresh=received is not None)
        )
        try:
            transport = _unless_mocked(pool.transport)
            request = self._request(transport, url, params, key_place, timeout)
            pool.requests += 1
            try:
                response = await transport.handle_async_request(request)
                try:
                    return await self._answer(response, chunks, began)
                finally:
                    if not response.is_closed:
                        await _close(response)
            except anyio.get_cancelled_exc_class():
                # httpcore 1.0 may lose a connection of a request that is cancelled, for good.
                pool.is_retired = self._injected is None
                raise
            finally:
                pool.requests -= 1
                if pool.is_retired and not pool.requests:
                    await _close(pool.transport)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises may hold the key
            return self._failure(error)
        except BaseException as error:  # noqa: BLE001 - cancelled; raised again above
            return self._cancellation(error) or self._failure(error)
        finally:
            if received is not None:
                text = _as_utf_8(b"".join(chunks)).decode("utf-8", "replace")[:_LONGEST_RECEIVED]
                received.append(self._api_key.redact_cut(text))

    def _request(
        self, transport: Transport, url: str, params: Mapping[str, str], key_place: KeyPlace, timeout: float
    ) -> httpx.Request:
        library = _library_of(transport)
        # A third of the time each for a free connection, TCP and TLS, so that a connection which can't be made is
        # reported as such, before the whole time is up and the request counts as sent.
        extensions: dict[str, Any] = {
            "timeout": {"connect": timeout / 3, "pool": timeout / 3, "read": None, "write": None},
            "trace": self._redact_failure,
        }
        headers: dict[str, str] = _HEADERS
        if key_place is KeyPlace.HEADER:
            headers = {**_HEADERS, "apikey": self._api_key.key}
        address = f"{url}?{urlencode(params, quote_via=quote)}" if params else url
        if key_place is KeyPlace.QUERY:
            keyed = f"{address}&apikey={quote(self._api_key.key, safe='')}"
            if _sends_target(transport):
                extensions["target"] = library.URL(keyed).raw_path
            else:
                address = keyed
        return cast("httpx.Request", library.Request("GET", address, headers=headers, extensions=extensions))

    async def _redact_failure(self, _: str, info: Mapping[str, object]) -> None:
        """Remove the key from an error of httpcore, which quotes an answer that isn't HTTP.

        httpcore's extension `trace`: called before anything above httpcore, such as a tracer, sees the error.
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
        body = _as_utf_8(b"".join(chunks))
        if any(form in body for form in self._api_key.forms):
            body = self._api_key.redact_body(body)
        date = _date(response.headers.get("date", ""))
        return Answer(
            status=response.status_code,
            content_type=content_type,
            body=body,
            date=date,
            took=anyio.current_time() - began,
            retry_after=_seconds_until(response.headers.get("retry-after", ""), date),
            location=self._api_key.redact(response.headers.get("location", "")),
        )

    def _failure(self, error: BaseException) -> ConnectionFailed:
        name, reason = type(error).__name__, one_line(self._api_key.redact(_text_of(error)))
        failure = f"{name}: {reason}" if reason else name
        if _BEFORE_SENDING.isdisjoint(_httpx_kinds(error)):
            return ConnectionFailed(f"the connection broke ({failure})", sent=True)
        return ConnectionFailed(f"no connection ({failure}); nothing was sent", sent=False)

    def _cancellation(self, error: BaseException) -> BaseException | None:
        """Return a cancellation without what may lead to the key; None if it is a group that has none."""
        if isinstance(error, BaseExceptionGroup):
            # Other errors in the group are dropped: a cancelled call does not report failures.
            group = cast("BaseExceptionGroup[BaseException]", error)
            bare = [
                leaf for leaf in map(self._cancellation, group.exceptions) if not isinstance(leaf, Exception | None)
            ]
            return BaseExceptionGroup("cancelled", bare) if bare else None
        error.__traceback__ = error.__context__ = error.__cause__ = None
        vars(error).pop("__notes__", None)
        # anyio knows its own cancellations by their text.
        if not all(isinstance(part, str) and self._api_key.redact(part) == part for part in error.args):
            error.args = ()
        return error

    async def aclose(self) -> None:
        """Close every connection; a request in progress fails.

        Another event loop that has not ended closes its connections itself, soon after.
        """
        self.is_closed = True
        if self._process != os.getpid():
            return  # a forked child has copies, and closing them would disturb the parent
        if self.belongs_here():
            await self._close_all()
            return
        with contextlib.suppress(Exception):  # the connections of a loop that has ended can't be closed in order
            if has_ended(self._loop):
                await self._close_all()
            else:
                start_in(self._loop, self._close_all)

    async def _close_all(self) -> None:
        networks, self._networks = self._networks, {}
        if self._injected is not None:
            await self._injected.aclose()
        for network in networks.values():
            await network.close()


# -- httpx -----------------------------------------------------------------------------------------------------------


@define
class _Pool:
    """Connections, closed when they are retired and no request has one."""

    transport: Transport
    is_retired: bool = False
    requests: int = 0


@define
class _Network:
    """The way to one server."""

    _proxy: str | None
    _context: ssl.SSLContext
    _pool: _Pool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = self._made()

    async def close(self) -> None:
        """Close the connections that requests share."""
        await self._pool.transport.aclose()

    def pool(self, *, is_fresh: bool) -> _Pool:
        """Return the connections that requests share, or fresh ones for a single request."""
        if is_fresh:
            return self._made(is_retired=True)
        if self._pool.is_retired:
            self._pool = self._made()
        return self._pool

    def _made(self, *, is_retired: bool = False) -> _Pool:
        proxy = None
        if self._proxy is not None:
            proxy = httpx.Proxy(self._proxy)
            if proxy.url.scheme == "https":
                proxy = httpx.Proxy(self._proxy, ssl_context=self._context)
        # The session limits the number of connections; waiting for one in the pool isn't safe from cancellation.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        return _Pool(httpx.AsyncHTTPTransport(verify=self._context, proxy=proxy, limits=limits), is_retired)


async def _close(closable: httpx.Response | Transport) -> None:
    """Close what a request has had. A failure must not cost its answer, nor a cancellation leave it open."""
    with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
        await closable.aclose()


def _unless_mocked(transport: Transport) -> Transport:
    """Return what a client of httpx would send with: the transport, or respx's mock where it mocks httpx."""
    if "AsyncHTTPTransport" not in _httpx_kinds(transport):
        return transport
    client = httpx.AsyncClient(transport=transport, trust_env=False)
    # The method that respx replaces. Without this, a test's requests would reach the server, and spend.
    find: Callable[[httpx.URL], Transport] = getattr(client, "_transport_for_url", lambda _: transport)
    return find(client.base_url)


def _httpx_kinds(value: object) -> set[str]:
    """Return the names of the classes of httpx, or httpx2, that an object is an instance of."""
    return {kind.__name__ for kind in type(value).__mro__ if kind.__module__.partition(".")[0] in ("httpx", "httpx2")}


def _library_of(transport: object) -> Any:  # noqa: ANN401 - the module httpx or httpx2
    """Return the library whose requests a transport takes."""
    roots = (kind.__module__.partition(".")[0] for kind in type(transport).__mro__)
    return sys.modules["httpx2"] if "httpx2" in roots else httpx


def _sends_target(transport: object) -> bool:
    """Return whether a transport is httpx's own and has no HTTP proxy, which would be sent `target` too."""
    is_httpx = type(transport).__name__ == "AsyncHTTPTransport" and "AsyncHTTPTransport" in _httpx_kinds(transport)
    pool = getattr(transport, "_pool", None)
    return is_httpx and type(pool).__name__ in ("AsyncConnectionPool", "AsyncSOCKSProxy")


# -- bodies ----------------------------------------------------------------------------------------------------------


async def _read_body(response: httpx.Response, chunks: list[bytes]) -> str:
    """Read a body, decompressed, and return why it is refused; "" if it isn't."""
    if response.is_stream_consumed:  # a mock's answer, or one that the injected transport has read
        chunks.append(response.content)
        return _too_large(len(response.content))
    named = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    compressions = [name for name in named if name in _COMPRESSIONS]
    if len(compressions) > 1:
        return f"the answer is compressed more than once ({', '.join(compressions)})"
    # Of zlib's and gzip's form. Anything else is read as it is.
    inflater = _Inflater() if _INFLATED.intersection(compressions) else None
    size = received = 0
    # Not `aiter_raw`, which closes the response itself: if that fails, a whole answer is lost.
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
    """Decompresses a body of zlib's or gzip's form, which may have several members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def decompress(self, chunk: bytes, room: int) -> bytes:
        """Return what a chunk becomes, and never more than one byte above the room that is left."""
        plain = b""
        while chunk and len(plain) <= room:
            if self._member.eof:
                if not chunk.startswith(b"\x1f\x8b"):
                    break  # what follows is no part of the answer
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 32)
            plain += self._member.decompress(chunk, room + 1 - len(plain))
            chunk = self._member.unused_data
        return plain


def _too_large(size: int) -> str:
    return "" if size <= _LARGEST_ANSWER else f"the answer is larger than {_LARGEST_ANSWER // 2**20} MiB"


def _as_utf_8(body: bytes) -> bytes:
    """Return a body in UTF-16 or UTF-32 as UTF-8, in which the key is searched for."""
    encoding = json.detect_encoding(body)
    return body if encoding.startswith("utf-8") else body.decode(encoding, "replace").encode("utf-8", "replace")


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error of somebody else's, reporting which must not fail
        return ""


def _date(value: str) -> datetime | None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return None


def _seconds_until(retry_after: str, now: datetime | None) -> float | None:
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    until = _date(retry_after)
    return None if until is None else max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


# -- settings of the environment -------------------------------------------------------------------------------------

_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}
_loading: dict[int, Lock] = {}
"""A lock for each process: a fork may copy a locked one."""


async def _tls_context() -> ssl.SSLContext:
    """Return the certificates to trust, read once per process and setting, which takes up to some 0.2 s."""
    setting = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))

    def load() -> None:
        with _loading.setdefault(os.getpid(), Lock()):
            if setting not in _contexts:
                context = httpx.create_ssl_context()
                httpx.AsyncHTTPTransport(verify=context)  # the first one imports httpcore, which takes long too
                _contexts[setting] = context

    if setting not in _contexts:
        await anyio.to_thread.run_sync(load)
    return _contexts[setting]


def _proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for an address.

    By httpx's rules, which it applies only where it has no transport; in addition ``NO_PROXY`` may name a network.
    """
    settings = getproxies()
    exceptions = [entry.strip() for entry in settings.get("no", "").split(",") if entry.strip()]
    proxy = settings.get(url.scheme) or settings.get("all")
    if not proxy or any(entry == "*" or _is_excepted(url, entry) for entry in exceptions):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    # In the clear the key may travel on this machine, and no further.
    return proxy if url.scheme == "https" or is_loopback(httpx.URL(proxy).host) else None


def _is_excepted(url: httpx.URL, entry: str) -> bool:
    """Return whether an entry of ``NO_PROXY`` means an address."""
    with contextlib.suppress(ValueError):
        return ip_address(url.host) in ip_network(entry, strict=False)
    exact = "://" in entry
    if not exact and entry.count(":") > 1 and not entry.startswith("["):
        entry = f"[{entry}]"
    try:
        means = httpx.URL(entry if exact else f"all://{entry}")
    except httpx.InvalidURL:
        return False
    if means.scheme not in ("all", url.scheme) or means.port not in (None, url.port):
        return False
    if exact or is_address(means.host) or means.host == "localhost":
        return means.host == url.host
    return url.host.endswith(means.host if means.host.startswith(".") else f".{means.host}") or url.host == means.host
