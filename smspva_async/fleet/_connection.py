"""The address of Redis, and coredis's client for it."""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import coredis
from anyio.abc import ByteStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from coredis.connection import BaseConnection, TCPConnection, UnixDomainSocketConnection
from coredis.pool import ConnectionPool
from coredis.retry import NoRetryPolicy

if TYPE_CHECKING:
    from collections.abc import Generator

REPLY_TIMEOUT = 5.0
"""Seconds to wait for Redis to connect or reply."""
_MAX_CONNECTIONS = 1000
_QUERY = {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
"""The settings that a URL may contain. Others of coredis could break the fleet."""


def url_problem(url: object) -> str:
    """Return the reason why an address of Redis is invalid, or "". It doesn't raise: a traceback could show it."""
    problem = "the URL of Redis must look like redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket"
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("redis", "rediss", "unix") or parts.port == 0:
            return problem
        if "#" in str(url):  # in a password it has to be %23, or else its beginning counts as the host
            return f"{problem}; a # in it must be written as %23"
        if not (parts.path if parts.scheme == "unix" else parts.hostname):
            return problem
    except ValueError:
        return problem
    if unknown := sorted(parse_qs(parts.query, keep_blank_values=True).keys() - _QUERY):
        return f"the URL of Redis has {len(unknown)} unknown settings; known are: {', '.join(sorted(_QUERY))}"
    database = parse_qs(parts.query).get("db", ["0" if parts.scheme == "unix" else parts.path.strip("/") or "0"])[0]
    return "" if database.isdecimal() else "the database in the URL of Redis must be a number"


def address(url: str) -> str:
    """Return the address of Redis without user and password, for messages."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"


def new_client(url: str) -> coredis.Redis[str]:
    """Return a client that doesn't retry: `Link` does."""
    options: dict[str, Any] = {}
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        # coredis by itself doesn't check that the certificate is the host's.
        files = {name: values[0] for name, values in parse_qs(parts.query).items()}
        context = options["ssl_context"] = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
        if "ssl_certfile" in files:
            context.load_cert_chain(files["ssl_certfile"], files.get("ssl_keyfile"))
    pool: ConnectionPool[Any] = _Pool.from_url(
        url,
        decode_responses=True,
        decode_components=True,
        connect_timeout=REPLY_TIMEOUT,
        stream_timeout=REPLY_TIMEOUT,
        max_connections=_MAX_CONNECTIONS,
        **options,
    )
    pool.connection_class = _UnixConnection if parts.scheme == "unix" else _TCPConnection
    return coredis.Redis(connection_pool=pool, decode_responses=True, retry_policy=NoRetryPolicy())


class _Pool(ConnectionPool[Any]):
    """A pool that forgets a connection which is lost in use. In coredis's own, it counts for ever."""

    def release(self, connection: BaseConnection) -> None:
        """Take a connection back."""
        super().release(connection)
        if not connection.usable:
            self._available_connections.append_nowait(None)


class _Connection(BaseConnection):
    """A connection that closes its streams even if it never connects. With coredis's own they stay open."""

    async def run(self, **options: Any) -> None:  # noqa: ANN401 - coredis's
        try:
            await super().run(**options)
        finally:
            for stream in vars(self).values():
                if isinstance(stream, (MemoryObjectSendStream, MemoryObjectReceiveStream)):
                    stream.close()


class _TCPConnection(_Connection, TCPConnection):
    pass


class _UnixConnection(_Connection, UnixDomainSocketConnection):
    async def _connect(self) -> ByteStream:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.settimeout(0)
            stream.connect(self.location.path)  # doesn't block: it works at once or not at all
        except BaseException:
            stream.close()
            raise
        return _UnixStream(stream)


class _UnixStream(ByteStream):
    """A stream of bytes on a unix socket. If anyio's own is cancelled while data comes, asyncio logs an error."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes; see `ByteReceiveStream.receive`."""
        while True:
            await anyio.wait_readable(self._socket)
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise anyio.BrokenResourceError from error
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        """Send bytes; see `ByteSendStream.send`."""
        rest = memoryview(item)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Do nothing: coredis closes its connections."""

    async def aclose(self) -> None:
        """Close the socket."""
        self._socket.close()


# -- the log of coredis ------------------------------------------------------------------------------------------------

_silences_coredis: ContextVar[bool] = ContextVar("silences_coredis", default=False)
logging.getLogger("coredis").addFilter(lambda _: not _silences_coredis.get())


@contextmanager
def coredis_silenced() -> Generator[None]:
    """Drop what coredis logs, such as tracebacks of lost connections. `Link` logs an outage itself."""
    token = _silences_coredis.set(True)
    try:
        yield
    finally:
        _silences_coredis.reset(token)
