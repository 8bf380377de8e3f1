"""A server on 127.0.0.1 in a thread, which keeps connections open while event loops come and go."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ThreadedServer", "threaded_server"]


@define
class ThreadedServer:
    """Answers every call with an order of its own.

    Attributes:
        url: The address of the API.
        methods: What was asked, in order.
        connections: The clients' ports, in order.
        requests_per_connection: A connection is closed at the next request without an answer.
        delay: Seconds from a request to its answer.

    """

    url: str = ""
    methods: list[str] = field(factory=list)
    connections: list[int] = field(factory=list)
    requests_per_connection: int = 1000
    delay: float = 0


@contextmanager
def threaded_server() -> Generator[ThreadedServer]:
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
