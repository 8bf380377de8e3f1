"""Access to the simulator: an httpx transport and an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import httpx

from smspva_async.simulator._http import Request

if TYPE_CHECKING:
    from smspva_async.simulator._http import Response

Respond: TypeAlias = "Callable[[Request], Response]"
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SimulatorTransport(httpx.MockTransport):
    """An httpx transport that passes requests to a simulator in the same process, without sockets, DNS or TLS.

    It ignores httpx timeouts: a hanging request ends only when it is cancelled.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or raise the exception that httpx's own transports raise for the same failure."""
        received = Request(
            verb=request.method,
            path=request.url.path,
            query=request.url.query.decode("ascii"),
            headers=tuple(request.headers.multi_items()),
            body=await request.aread(),
        )
        response = self._respond(received)
        # This is a checkpoint even without a delay, as in a real request. The side effects have happened already.
        await anyio.sleep(response.delay)
        match response.connection_fault:
            case "refused":
                raise httpx.ConnectError("All connection attempts failed", request=request)
            case "connect_timeout":
                raise httpx.ConnectTimeout("The connection was not made in time", request=request)
            case "lost":
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
            case "reset":
                raise httpx.ReadError("Connection reset by peer", request=request)
            case "hang":
                await anyio.sleep_forever()
            case _:
                pass
        return httpx.Response(response.status, headers=response.all_headers, stream=_Body(response, request))


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._response.parts
        for part in parts:
            await anyio.sleep(self._response.body_seconds / len(parts))
            yield part
        if self._response.connection_fault == "cut":
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body", request=self._request
            )


async def serve_asgi(respond: Respond, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one ASGI connection. A connection fault raises, so that the ASGI server drops the client."""
    if scope["type"] == "lifespan":
        await _serve_lifespan(receive, send)
        return
    if scope["type"] != "http":
        raise ValueError(f"the simulator supports HTTP only, got {scope['type']}")
    request = Request(
        verb=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
        body=await _read_body(receive),
    )
    response = respond(request)
    await anyio.sleep(response.delay)
    if response.connection_fault == "hang":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if response.connection_fault not in {None, "cut"}:
        raise ConnectionResetError(f"simulated fault: {response.connection_fault}")
    headers = [(name.lower().encode(), value.encode()) for name, value in response.all_headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    parts = response.parts
    for part in parts:
        await anyio.sleep(response.body_seconds / len(parts))
        await send({"type": "http.response.body", "body": part, "more_body": True})
    if response.connection_fault == "cut":
        raise ConnectionResetError("simulated fault: cut")
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)
