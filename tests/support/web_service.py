"""Helpers for the tests of the example web service: the service on a local port, and a reader of its stream."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from attrs import frozen

from examples.web_service.service import serve
from smspva_async import MemoryJournal, Pace, Retry, SmspvaClient, Watcher
from tests.support import PATIENCE
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.applications import Starlette

    from examples.web_service.service import Server, Watch
    from smspva_async.simulator import Simulator


# Loads no trusted certificates, which would take longer than a request; the tests don't use https.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@frozen
class Sent:
    """A server-sent event."""

    name: str
    id: str
    data: Any

    @property
    def seq(self) -> int:
        """The second part of its id."""
        return int(self.id.rpartition("-")[2])


class Reader:
    """A reader of a stream that works like a browser: a new connection sends the id of the last complete event.

    Attributes:
        sent: The events.
        last_id: The id that a browser would send when it reconnects.

    """

    def __init__(self, url: str) -> None:
        self.sent: list[Sent] = []
        self.last_id = ""
        self._url = url

    @property
    def texts(self) -> list[str]:
        """The messages that a page would show now, oldest first."""
        texts: list[str] = []
        for sent in self.sent:
            if sent.name == "snapshot":
                texts = [message["sms"]["text"] for message in sent.data["messages"]]
            elif sent.data["type"] == "SmsReceived":
                texts.append(sent.data["sms"]["text"])
        return texts

    async def read(self, *, until: Callable[[Reader], bool] | None = None, limit: float = 1e9) -> None:
        """Read until a condition is true, or to the end of the stream. If the stream ends too early, fail.

        Args:
            until: The condition.
            limit: Bytes after which the connection is closed, also within an event.

        """
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        rest = b""
        client = httpx.AsyncClient(verify=_NO_TLS, trust_env=False, timeout=None)  # noqa: S113 - fail_after has one
        with anyio.fail_after(PATIENCE):
            async with client, client.stream("GET", self._url, headers=headers) as response:
                assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
                async for data in response.aiter_bytes():
                    *blocks, rest = (rest + data[: max(0, int(limit))]).split(b"\n\n")
                    for block in blocks:
                        self._add(block.decode())
                    limit -= len(data)
                    if limit <= 0 or (until is not None and until(self)):
                        return
        assert until is None, f"the stream ended too early, after {self.sent}"

    def _add(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields and fields["event"] != "heartbeat":
            self.sent.append(Sent(fields["event"], fields.get("id", ""), json.loads(fields["data"])))


@asynccontextmanager
async def watched(
    simulator: Simulator, *, keep: int = 65_536, interval: float = 0.02
) -> AsyncGenerator[tuple[SmspvaClient, Watcher]]:
    """Watch a simulator with a short interval."""
    client = SmspvaClient("any", transport=simulator.transport(), pace=Pace(gap=0), retry=Retry(attempts=1))
    async with client, Watcher(client, interval=interval, journal=MemoryJournal(keep)) as watcher:
        yield client, watcher


class Service:
    """A running service.

    Attributes:
        url: Its address.

    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def reader(self) -> Reader:
        return Reader(f"{self.url}/events")

    @property
    def unsent(self) -> int:
        """The number of bytes that no page has read yet."""
        return sum(connection.transport.get_write_buffer_size() for connection in self._server.server_state.connections)

    def drop_connections(self) -> None:
        """Abort every connection."""
        for connection in self._server.server_state.connections:
            connection.transport.abort()


@asynccontextmanager
async def served(watch: Watch, *, port: int = 0) -> AsyncGenerator[Service]:
    """Serve a watch over HTTP."""
    server = serve(watch, port)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started, serving)
        yield Service(server)
    finally:
        server.should_exit = True
        with anyio.fail_after(PATIENCE, shield=True):
            await serving


async def streamed(app: Starlette, seconds: float, meanwhile: Callable[[], object]) -> list[tuple[float, str]]:
    """Return the texts sent to a page in some seconds, with their times. Without sockets, so time can be virtual."""
    began = anyio.current_time()
    sent: list[tuple[float, str]] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep(seconds / 2)
        meanwhile()
        await anyio.sleep(seconds / 2)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            sent.append((anyio.current_time() - began, message["body"].decode()))

    async with app.router.lifespan_context(app) as state:
        scope = {"type": "http", "method": "GET", "path": "/events", "query_string": b"", "state": state}
        await app({**scope, "headers": [(b"host", b"localhost")]}, receive, send)
    return sent
