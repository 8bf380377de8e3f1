"""Small servers and a proxy on 127.0.0.1, for tests that need real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from tests.support import PATIENCE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator

    from smspva_async.simulator import Simulator


class _Listener:
    """An asyncio server for one request per connection. Leaving it waits for the open connections."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._tls = tls
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        async with asyncio.timeout(PATIENCE):
            await self._server.wait_closed()
            await _start_accepted_connections()
            await asyncio.gather(*self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(task := asyncio.ensure_future(self._handle(reader, writer)))
        await asyncio.wait([task])

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._serve(head, reader, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


async def _start_accepted_connections() -> None:
    """Let the tasks of connections that were just accepted start, so that they can end properly."""
    for _ in range(5):
        await asyncio.sleep(0)


class Loopback(_Listener):
    """A server.

    Args:
        answer: Returns the bytes of the answer, including the head, for the target of a request.
        tls: The TLS context for https.

    Attributes:
        targets: The targets of the requests.
        heads: The requests with their headers.

    """

    def __init__(self, answer: Callable[[str], bytes], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.targets: list[str] = []
        self.heads: list[bytes] = []
        self._answer = answer

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http{'s' if self._tls else ''}://{host}:{self.port}/api/rent.php"

    async def _serve(self, head: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = head.split(b" ")[1].decode()
        self.targets.append(target)
        self.heads.append(head)
        writer.write(self._answer(target))


class Served(_Listener):
    """A simulator behind a socket. If a fault leaves an answer unfinished, the connection is reset."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self._simulator = simulator

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/rent.php"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await _start_accepted_connections()
        for conversation in self._connections:
            conversation.cancel()  # a simulated hang lasts until the client disconnects
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()
        await _start_accepted_connections()  # closed transports end a step later

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, _, query = head.split(b" ")[1].partition(b"?")
        fields = [line.partition(b":") for line in head.split(b"\r\n")[1:] if line]
        headers = [(name.lower(), value.strip()) for name, _, value in fields]
        body = [{"type": "http.request"}]

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            await reader.read()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                lines = [b": ".join(header) for header in message["headers"]]
                writer.write(
                    b"\r\n".join([b"HTTP/1.1 %d -" % message["status"], *lines, b"connection: close", b"", b""])
                )
            writer.write(message.get("body", b""))
            await writer.drain()

        scope = {"type": "http", "method": "GET", "path": path.decode(), "query_string": query, "headers": headers}
        try:
            await self._simulator(scope, receive, send)
        except ConnectionResetError:
            writer.transport.abort()


class Proxy(_Listener):
    """A proxy that connects to one server, whatever the requested host.

    Attributes:
        heads: The requests to the proxy, CONNECT or others.

    """

    def __init__(self, server: Loopback) -> None:
        super().__init__()
        self.heads: list[bytes] = []
        self._behind = server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(head)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._behind.port)
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            inner_writer.write(head)
        ways = [asyncio.ensure_future(_pipe(*ends)) for ends in ((reader, inner_writer), (inner_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        inner_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def http(body: str | bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return the bytes of an answer that closes its connection."""
    content = body.encode() if isinstance(body, str) else body
    given = {"Content_Type": "application/json", "Content_Length": str(len(content)), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


# -- a server in a thread --------------------------------------------------------------------------------------------


@define
class ThreadedServer:
    """The state of a server in a thread, which answers every purchase with a new order.

    Attributes:
        url: The address of the API.
        methods: The methods of the requests, in order.
        connections: The clients' ports, in order.
        requests_per_connection: The connection is closed without an answer at the next request.
        delay: Seconds from a request to its answer.

    """

    url: str = ""
    methods: list[str] = field(factory=list)
    connections: list[int] = field(factory=list)
    requests_per_connection: int = 1000
    delay: float = 0


@contextmanager
def threaded_server() -> Generator[ThreadedServer]:
    """Run a server that keeps connections open while event loops begin and end."""
    server = ThreadedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        left = 0

        def setup(self) -> None:
            super().setup()
            server.connections.append(self.client_address[1])
            self.left = server.requests_per_connection

        def do_GET(self) -> None:
            if not self.left:
                self.close_connection = True
                return
            self.left -= 1
            method = parse_qs(urlsplit(self.path).query)["method"][0]
            server.methods.append(method)
            time.sleep(server.delay)
            data: object = [] if method == "orders" else {"id": 40000 + len(server.methods)}
            body = json.dumps({"status": 1, "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        listener.block_on_close = False
        server.url = f"http://127.0.0.1:{listener.server_port}/api/rent.php"
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
