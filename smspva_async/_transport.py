"""HTTP: one request and its answer, with the key added and removed below the httpx client.

Nothing above `_KeyTransport` ever sees the key: httpx logs every address at INFO, and requests stand in tracebacks.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.request import getproxies

import anyio
import httpx

from smspva_async._api.decoding import Answer
from smspva_async._api.validation import is_address, is_loopback
from smspva_async._secret import hide_in_logs, stop_hiding
from smspva_async.errors import ConnectionFailed, RequestTimeout, SmspvaError, UnexpectedResponse, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smspva_async._secret import Secret

__all__ = ["Session", "Transport"]

Transport: TypeAlias = httpx.AsyncBaseTransport

_LARGEST_ANSWER = 16 * 1024 * 1024
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# What httpx's transports raise, by its documentation; each takes a message.
_FAILURES = (
    httpx.ConnectTimeout,
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.PoolTimeout,
    httpx.ConnectError,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.RemoteProtocolError,
    httpx.TransportError,
)
_KEYLESS = "smspva_keyless"
_LOCATION = "smspva_location"
_ARRIVED = "smspva_arrived"
_LONGEST_ARRIVED = 64 * 1024


class Session:
    """An open HTTP client of one server, from its first request until it is closed.

    Args:
        base_url: The server's address.
        secret: The key.
        transport: What sends instead of the network; closed with the session.

    """

    def __init__(self, base_url: str, secret: Secret, transport: Transport | None = None) -> None:
        self._url = httpx.URL(base_url)
        self._secret = secret
        self._http = httpx.AsyncClient(
            transport=_KeyTransport(secret, self._network if transport is None else lambda: transport),
            headers={"User-Agent": "smspva-async", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"},
            follow_redirects=False,
        )
        hide_in_logs(secret)

    def _network(self) -> Transport:
        try:
            return httpx.AsyncHTTPTransport(proxy=_proxy_for(self._url))
        except OSError as error:
            reason = f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names can't be read ({error})"
        except ImportError as error:
            reason = f"the proxy that the environment names can't be used ({error})"
        except (ValueError, httpx.InvalidURL):
            reason = "the proxy that the environment names can't be used: its address isn't written as one"
        # Raised outside of any `except`, whose error leads to the proxy's address and so to its password.
        raise ConnectionFailed(f"no connection: {one_line(reason)}; nothing was sent", sent=False)

    async def get(self, params: Mapping[str, str], *, keyed: bool, timeout: float, arrived: list[str] | None) -> Answer:
        """Send one request and return its answer.

        Args:
            params: The query, without the key.
            keyed: Whether to add the key.
            timeout: Seconds for the whole of it.
            arrived: Gets the text of the answer, as much of it as came, however the request ends; None if unwanted.

        Raises:
            ConnectionFailed: No answer; `sent` tells whether the request may have left.
            RequestTimeout: No answer in time; the request counts as sent.
            UnexpectedResponse: The answer is too large.

        """
        began = anyio.current_time()
        with anyio.move_on_after(timeout):
            # A third of the time each for a free connection, TCP and TLS, so that a connection which can't be made is
            # told as such, before the time as a whole is up and the request counts as sent.
            limits = httpx.Timeout(None, connect=timeout / 3, pool=timeout / 3)
            extensions = {_KEYLESS: not keyed, _ARRIVED: arrived}
            response = await self._http.get(self._url, params=dict(params), timeout=limits, extensions=extensions)
            return Answer(
                status=response.status_code,
                content_type=response.headers.get("content-type", ""),
                body=response.content,
                date=_date(response.headers.get("date")),
                took=anyio.current_time() - began,
                retry_after=_retry_after(response.headers),
                location=response.extensions[_LOCATION],
            )
        raise RequestTimeout(f"no answer within {timeout:g} s")

    async def aclose(self) -> None:
        """Close every connection; a request under way fails."""
        try:
            await self._http.aclose()
        finally:
            stop_hiding(self._secret)


class _KeyTransport(Transport):
    """Adds the key to a request on its way out, and takes it from whatever comes back, failures included.

    Args:
        secret: The key.
        make: Makes the transport below. Called again to replace one that has lost its connections.

    """

    def __init__(self, secret: Secret, make: Callable[[], Transport]) -> None:
        self._secret = secret
        self._make = make
        self._below = make()
        self._connected = 0
        self._clean = b""
        """The longest body without the key in it, most likely a list of orders, which often comes again."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        below = self._below
        outcome = await self._outcome(request, below)
        if isinstance(outcome, ConnectionFailed) and isinstance(outcome.__cause__, httpx.PoolTimeout):
            # httpcore 1.0.9 can lose a connection when the request that was to have it is cancelled. A pool that has
            # none to give while no request has any is lost for good.
            if below is self._below and not self._connected:
                self._below = self._make()
            if below is not self._below:
                await below.aclose()
                outcome = await self._outcome(request, self._below)
        if isinstance(outcome, httpx.Response):
            return outcome
        # Raised here, outside of any `except`, so that no cause, context or frame below leads to the key.
        raise outcome

    async def _outcome(self, request: httpx.Request, below: Transport) -> httpx.Response | BaseException:
        connected = False

        async def trace(_: str, __: object) -> None:
            # The first is from the connection that the pool has given.
            nonlocal connected
            if not connected:
                connected = True
                self._connected += 1

        url = request.url
        if not request.extensions[_KEYLESS]:
            url = url.copy_add_param("apikey", self._secret.reveal())
        keyed = httpx.Request(
            request.method, url, headers=request.headers, extensions={**request.extensions, "trace": trace}
        )
        chunks: list[bytes] = []
        try:
            response = await below.handle_async_request(keyed)
            try:
                return await self._read(response, chunks)
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - whatever a transport raises may hold the key
            return self._failure(error)
        except BaseException as error:  # noqa: BLE001 - cancelled; raised again above
            return _bare(error) or self._failure(error)
        finally:
            if connected:
                self._connected -= 1
            arrived: list[str] | None = request.extensions[_ARRIVED]
            if arrived is not None:
                text = self._secret.hide_in(_as_utf_8(b"".join(chunks))).decode("utf-8", "replace")[:_LONGEST_ARRIVED]
                arrived.append(self._secret.hide_end(text))

    async def _read(self, response: httpx.Response, chunks: list[bytes]) -> httpx.Response | SmspvaError:
        size = 0
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _LARGEST_ANSWER:
                return UnexpectedResponse(
                    f"the answer is larger than {_LARGEST_ANSWER // 2**20} MiB",
                    status=response.status_code,
                    content_type=self._secret.hide(response.headers.get("content-type", "")),
                )
        headers = {
            name: self._secret.hide(response.headers[name])
            for name in ("content-type", "date", "retry-after")
            if name in response.headers
        }
        # Not as a header: httpx refuses an answer with an address that it can't read, whether followed or not.
        location = self._secret.hide(response.headers.get("location", ""))
        content = self._hidden(_as_utf_8(b"".join(chunks)))
        return httpx.Response(
            response.status_code,
            headers=httpx.Headers(headers, encoding="utf-8"),
            content=content,
            extensions={_LOCATION: location},
        )

    def _hidden(self, body: bytes) -> bytes:
        if body == self._clean:
            return self._clean
        hidden = self._secret.hide_in(body)
        if hidden is body and len(body) >= len(self._clean):
            self._clean = body
        return hidden

    def _failure(self, error: BaseException) -> ConnectionFailed:
        reason = one_line(self._secret.hide(_text_of(error)))
        told = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        never = isinstance(error, _NEVER_CONNECTED)
        failure = ConnectionFailed(
            f"no connection ({told}); nothing was sent" if never else f"the connection broke ({told})", sent=not never
        )
        # Not the original, which leads to the key, but httpx's own kind of it.
        httpx_kind = next((kind for kind in type(error).__mro__ if kind in _FAILURES), None)
        failure.__cause__ = None if httpx_kind is None else httpx_kind(reason)
        return failure

    async def aclose(self) -> None:
        await self._below.aclose()


def _as_utf_8(body: bytes) -> bytes:
    """Return a body in UTF-16 or UTF-32 as UTF-8, in which the key is searched for."""
    encoding = json.detect_encoding(body)
    return body if encoding.startswith("utf-8") else body.decode(encoding, "replace").encode("utf-8", "replace")


def _bare(error: BaseException) -> BaseException | None:
    """Return a cancellation without what may hold the key: the frames below, what they were dealing with, and notes.

    None if it is a group without one.
    """
    if isinstance(error, BaseExceptionGroup):
        # Of what failed beside it nobody is told, as of any failure of a call that was cancelled.
        group = cast("BaseExceptionGroup[BaseException]", error)
        bare = [leaf for leaf in map(_bare, group.exceptions) if not isinstance(leaf, Exception | None)]
        return BaseExceptionGroup("cancelled", bare) if bare else None
    error.__traceback__ = error.__context__ = error.__cause__ = None
    vars(error).pop("__notes__", None)
    return error


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error of somebody else's, telling of which must not fail
        return ""


def _proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for an address, by httpx's rules.

    httpx itself looks there only if it has no transport.
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
    """Tell whether an entry of ``NO_PROXY`` means an address."""
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


def _date(value: str | None) -> datetime | None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        date = parsedate_to_datetime(value or "")
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return None


def _retry_after(headers: httpx.Headers) -> float | None:
    value = headers.get("retry-after", "")
    if value.strip().isdecimal():
        return float(value)
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())
