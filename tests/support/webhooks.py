"""Receivers of webhooks, which verify each signature: one in virtual time, and one in a process that tests kill."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import httpx
from attrs import define, field, frozen
from standardwebhooks import Webhook

from smspva_async import Event, event_from_dict, forward, forwarding
from tests.support import PATIENCE, chaos

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from smspva_async import Watcher

SECRET = "whsec_" + base64.b64encode(b"Sentinel, a secret of the tests").decode()
URL = "https://receiver.example/webhook?token=sesame"

Answer: TypeAlias = int | httpx.Response | Exception | Callable[[], Awaitable[httpx.Response]]
"""An HTTP status, a response, an error of the transport, or an async function that returns a response."""


@frozen
class Delivery:
    """A request with a valid signature."""

    id: str
    event: Event
    body: str


def verified(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the request of a webhook; raise an exception if its signature isn't valid."""
    fields = Webhook(SECRET).verify(body, dict(headers))
    return Delivery(headers["webhook-id"], event_from_dict(fields), body.decode())


# -- in virtual time -------------------------------------------------------------------------------------------------


@define
class Receiver(httpx.AsyncBaseTransport):
    """A server without a socket, which accepts each request unless the test set another answer.

    Attributes:
        answers: The next answers.
        requests: The requests.
        deliveries: The contents of the requests.
        times: The times of the requests by anyio's clock.

    """

    answers: list[Answer] = field(factory=list)
    requests: list[httpx.Request] = field(factory=list)
    deliveries: list[Delivery] = field(factory=list)
    times: list[float] = field(factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.deliveries.append(verified(request.headers, request.content))
        self.times.append(anyio.current_time())
        match self.answers.pop(0) if self.answers else 204:
            case int(status):
                return answer(status)
            case Exception() as error:
                raise error
            case httpx.Response() as response:
                return response
            case function:
                return await function()

    @property
    def seqs(self) -> list[int]:
        return [delivery.event.seq for delivery in self.deliveries]


def answer(status: int, text: str = "", **headers: str) -> httpx.Response:
    """Return a response as the network gives it: the body isn't read yet. ``_`` in a header's name is ``-``."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=fields, stream=httpx.ByteStream(text.encode()))


async def forwarded(watcher: Watcher, count: int, *, url: str = URL, **options: Any) -> list[tuple[int, str | None]]:
    """Forward until some events are acknowledged. Return each attempt: the event's number, and the failure."""
    attempts: list[tuple[int, str | None]] = []

    def note(event: Event, failure: str | None) -> None:
        attempts.append((event.seq, failure))
        if [failure for _, failure in attempts].count(None) == count:
            scope.cancel()

    with anyio.CancelScope() as scope:
        await forward(watcher, url, secret=SECRET, on_attempt=note, **options)
    return attempts


# -- behind a socket -------------------------------------------------------------------------------------------------


class Port:
    """A port of this machine that no other program gets while inside. Nothing listens on it."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Server:
    """A server for webhooks, with connections that stay open.

    Args:
        report: Each accepted body is a record in this file before the answer is sent.
        faults: The chance that a request is refused, or its answer is lost or never sent. Above 0, the answer to the
            first request that is accepted is lost.
        tls: The TLS context for https.

    """

    def __init__(self, report: Path, faults: float = 0, tls: ssl.SSLContext | None = None) -> None:
        self._report = report
        self._faults = faults
        self._loses_next = faults > 0
        self._tls = tls
        self._chance = Random(os.getpid())
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, port: int = 0) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, reuse_port=True, ssl=self._tls)
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    async def aclose(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(task := asyncio.ensure_future(self._handle(reader, writer)))
        await asyncio.wait([task])

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client went away
                while await self._answer(reader, writer):
                    await writer.drain()
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return False to close the connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line.partition(":") for line in head.decode().splitlines()[1:-1]]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        delivery = verified(headers, body)
        assert delivery.id == delivery.event.id
        match self._chance.choice(["refuse", "busy", "hang", "lose"]) if self._chance.random() < self._faults else "":
            case "refuse":
                writer.write(_response("500 Error"))
            case "busy":
                writer.write(_response("503 Busy", "Retry-After: 0"))
            case "hang":
                await reader.read()
            case fault:
                with self._report.open("a") as report:
                    chaos.write_records(report.fileno(), delivery.body)
                if fault == "lose" or self._loses_next:
                    self._loses_next = False
                    return False
                writer.write(_response("200 OK"))
        return True


def _response(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 2", *headers, "", "ok"]).encode()


def deliveries(report: Path) -> list[Event]:
    """Return the events that a server accepted, in order."""
    return [event_from_dict(json.loads(record)) for record in chaos.read_records(report)]


def receive(port: int, report: Path) -> None:
    """Serve until the process is killed. Three requests of ten fail, and the first accepted one."""

    async def main() -> None:
        await Server(report, faults=0.3).listen(port)
        await asyncio.Event().wait()

    chaos.run(main)


def watch_and_forward(provider: str, journal: Path, port: int) -> None:
    """Watch and forward until the process is killed. Delays between attempts are short."""
    vars(forwarding).update(_FIRST_DELAY=0.01, _LONGEST_DELAY=0.05)

    async def main() -> None:
        async with chaos.client(provider, timeout=PATIENCE) as client, chaos.watcher(client, journal) as watcher:
            await forward(watcher, f"http://127.0.0.1:{port}/", secret=SECRET, after=0, timeout=0.5)

    chaos.run(main)
