"""A web page with rented numbers and their messages, fed by server-sent events, and the archive of past orders.

    python examples/web_service/service.py            # with a simulated provider: no account, no network, no money
    python examples/web_service/service.py --live     # your own numbers; the key is in SMSPVA_API_KEY

With --live and the extra `redis`, several services share an account through the Redis whose URL is in SMSPVA_FLEET.

The page only reads: it can't activate numbers or spend money.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import signal
from bisect import insort
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from smspva_async import (
    ApiError,
    Event,
    InvalidKey,
    Lagged,
    OrderRemoved,
    Pace,
    PollFailed,
    PollRecovered,
    SmspvaClient,
    SmspvaError,
    SmsReceived,
    Watcher,
    to_dict,
)
from smspva_async.simulator import Simulator

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request

    from smspva_async.fleet import RedisFleet

    Watch = AbstractAsyncContextManager[tuple[SmspvaClient, Watcher]]

HOST = "127.0.0.1"  # local only: the page shows one-time codes and has no password
HEARTBEAT = 15.0
MESSAGES = 100
"""The number of messages on a page, besides the newest code of each number."""
PAST = 50
"""The number of past orders per request."""
NO_STORE = {"Cache-Control": "no-store"}
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


# -- the app ---------------------------------------------------------------------------------------------------------


def create_app(watch: Watch, *, heartbeat: float = HEARTBEAT) -> Starlette:
    """Return an app that serves the page at ``/``, the events at ``/events`` and past orders at ``/archive``.

    Args:
        watch: The app enters it at startup and exits it at shutdown.
        heartbeat: Seconds without an event after which a stream sends a heartbeat.

    """
    run = secrets.token_hex(4)  # distinguishes event ids of this run from those of other runs
    headers = {"Content-Security-Policy": _policy(PAGE), "X-Content-Type-Options": "nosniff"}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any]]:
        async with watch as (client, watcher):
            yield {"client": client, "watcher": watcher, "board": Board(client, watcher)}

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE, headers=headers)

    async def events(request: Request) -> StreamingResponse:
        last = re.fullmatch(rf"{run}-([0-9]{{1,18}})", request.headers.get("Last-Event-ID", ""))
        after = None if last is None else int(last[1])
        body = stream(request.state.watcher, request.state.board, run, after, heartbeat)
        return StreamingResponse(body, media_type="text/event-stream", headers=NO_STORE)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/archive", archive),
            Route("/archive/{order_id:int}/price", restore_price),
        ],
        lifespan=lifespan,
        exception_handlers={SmspvaError: failed, ValueError: failed},
        # Prevents DNS rebinding: another site could point its own name to this address and read the events.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def _policy(page: str) -> str:
    """Return the Content-Security-Policy: only the page's own script and style, and the events."""
    sources = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in re.findall(r"<(script|style)>(.*?)</\1>", page, re.DOTALL)
    }
    return (
        f"default-src 'none'; connect-src 'self'; img-src data:; script-src 'sha256-{sources['script']}'; "
        f"style-src 'sha256-{sources['style']}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


# -- the archive -----------------------------------------------------------------------------------------------------


async def archive(request: Request) -> Response:
    """Return some past orders, and the `skip` of the orders that follow, or None."""
    check_origin(request)
    skip = request.query_params.get("skip", "0")
    if not re.fullmatch("[0-9]{1,9}", skip):
        raise HTTPException(400, "skip must be a number")
    client: SmspvaClient = request.state.client
    rows = await client.history(skip=int(skip), take=PAST)
    read = len(rows) + len(rows.skipped)
    following = int(skip) + read if read == PAST else None
    return _json({"orders": [*map(to_dict, rows)], "next": following})


async def restore_price(request: Request) -> Response:
    """Return the price of restoring a past order. Spends nothing."""
    check_origin(request)
    client: SmspvaClient = request.state.client
    quote = await client.restore_quote(request.path_params["order_id"])
    return _json(to_dict(quote))


def check_origin(request: Request) -> None:
    """Refuse requests that another site makes in a browser: many of them would delay the polls."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise HTTPException(403, "only this page may ask")


async def failed(_: Request, error: Exception) -> Response:
    """Return the text of an error, with another status for a refusal than for an outage."""
    status = 400 if isinstance(error, ValueError) else 409 if isinstance(error, ApiError) else 502
    return _json({"error": str(error)}, status)


def _json(data: object, status: int = 200) -> Response:
    # `JSONResponse` doesn't escape, so it fails for half of a surrogate pair, which a server may send.
    return Response(json.dumps(data), status, NO_STORE, "application/json")


# -- the events ------------------------------------------------------------------------------------------------------


async def stream(watcher: Watcher, board: Board, run: str, after: int | None, heartbeat: float) -> AsyncGenerator[str]:
    """Yield server-sent events until the watcher is closed.

    Args:
        watcher: The source of the events.
        board: The source of snapshots.
        run: The first part of each event's id; the second part is its `seq`.
        after: The `seq` of the last event that the page has. If it is None, or the events after it are no longer kept,
            the stream begins with a snapshot.
        heartbeat: Seconds without an event after which a heartbeat is sent.

    """
    yield "retry: 1000\n\n"
    try:
        while True:
            try:
                if after is None:
                    after, snapshot = await board.snapshot()
                    yield _sse("snapshot", {**snapshot, "heartbeat": heartbeat}, f"{run}-{after}")
                async for event in with_heartbeats(watcher.events(after=after), heartbeat):
                    if event is None:
                        yield _sse("heartbeat", None)  # a browser hides comments from the page
                    elif event.seq == after + 1:
                        after = event.seq
                        yield _sse("message", to_dict(event), f"{run}-{after}")
                    else:  # after=0 skips events that are no longer kept
                        after = None
                        break
                else:
                    return
            except Lagged:
                after = None
    except SmspvaError as error:
        yield _sse("ended", str(error))


async def with_heartbeats(events: AsyncIterator[Event], seconds: float) -> AsyncGenerator[Event | None]:
    """Yield the events, and None after each period without an event."""
    while True:
        event = None
        with anyio.move_on_after(seconds):  # cancelling `anext` doesn't lose an event
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
        yield event


class Board:
    """Snapshots for new pages. Each reads only the events since the last one, so the cost doesn't grow with time."""

    def __init__(self, client: SmspvaClient, watcher: Watcher) -> None:
        self._client = client
        self._watcher = watcher
        self._names: dict[str, str] | None = None
        self._seq = 0
        self._messages: list[SmsReceived] = []
        self._codes: dict[int, SmsReceived] = {}
        self._failing: PollFailed | None = None
        self._lock = anyio.Lock()

    async def snapshot(self) -> tuple[int, dict[str, Any]]:
        """Return the `seq` of the newest event, and the data of a page that has read all events up to it."""
        async with self._lock:
            # Both belong to the same poll, because there is no await between them.
            cursor, orders = self._watcher.cursor, self._watcher.orders
            while self._seq < cursor:
                with suppress(Lagged):
                    await self._read_up_to(cursor)
                    break
                self._seq, self._failing = 0, None  # read on with the oldest event that is kept
            if self._names is None and self._failing is None:
                await self._read_names()
        messages = {event.seq: event for event in (*self._messages, *self._codes.values())}
        return cursor, {
            "orders": [*map(to_dict, orders.values())],
            "messages": [to_dict(event) for event in sorted(messages.values(), key=_received)],
            "limit": MESSAGES,
            "names": self._names or {},
            "failing": self._failing and to_dict(self._failing),
        }

    async def _read_names(self) -> None:
        with suppress(SmspvaError), anyio.move_on_after(5):  # the next snapshot tries again
            try:
                self._names = {service.service: service.name for service in await self._client.services()}
            except ApiError:
                self._names = {}  # a server without this call; the page shows codes

    async def _read_up_to(self, cursor: int) -> None:
        async for event in self._watcher.events(after=self._seq):
            match event:
                case SmsReceived():
                    self._add(event)
                case OrderRemoved(order=order):
                    self._codes.pop(order.id, None)
                case PollFailed(order_id=None):
                    self._failing = event
                case PollRecovered(order_id=None):
                    self._failing = None
                case _:
                    pass
            self._seq = event.seq
            if event.seq >= cursor:
                break

    def _add(self, event: SmsReceived) -> None:
        insort(self._messages, event, key=_received)
        del self._messages[:-MESSAGES]
        newest = self._codes.get(event.order.id)
        if event.sms.code is not None and (newest is None or _received(newest) < _received(event)):
            self._codes[event.order.id] = event


def _received(event: SmsReceived) -> tuple[datetime, int]:
    return event.sms.received or event.at, event.seq


def _sse(name: str, data: object, event_id: str = "") -> str:
    """Return a server-sent event."""
    lines = [f"event: {name}", f"data: {json.dumps(data)}"]
    return "\n".join([f"id: {event_id}", *lines, "", ""] if event_id else [*lines, "", ""])


# -- the watcher -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def live(client: SmspvaClient) -> AsyncGenerator[tuple[SmspvaClient, Watcher]]:
    """Watch the numbers of an account."""
    with suppress(InvalidKey):  # every open page shows this error
        async with client, Watcher(client, start="replay") as watcher:
            yield client, watcher


def fleet() -> RedisFleet | None:
    """Return the fleet to join, or None."""
    url = os.environ.get("SMSPVA_FLEET")
    if not url:
        return None
    from smspva_async.fleet import RedisFleet  # noqa: PLC0415 - needs the extra

    return RedisFleet(url)


@asynccontextmanager
async def simulated() -> AsyncGenerator[tuple[SmspvaClient, Watcher]]:
    """Watch five numbers of a simulated provider, with an event every few seconds. Three more are in its archive."""
    now = datetime.now(UTC)
    sim = Simulator(seed=6, dialect="contract", start=now, activation=(2.0, 5.0), active=(20.0, 60.0))
    for days, (country, service) in enumerate(
        [("RU", "opt16"), ("LT", "opt20"), ("PL", "opt29"), ("UK", "opt1"), ("KZ", "opt46")], start=3
    ):
        sim.add_order(country, service, days=days)
    for country, service, overdue in (("RU", "opt59", 2), ("PL", "opt9", 32), ("LT", "opt20", 200)):
        sim.add_order(country, service, until=now - timedelta(days=overdue))
    client = SmspvaClient("simulated", transport=sim.transport(), pace=Pace(gap=0.1))
    async with client, Watcher(client, interval=1.0) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_busy, sim)
        yield client, watcher
        tasks.cancel_scope.cancel()


async def _keep_busy(sim: Simulator) -> None:
    """Activate inactive numbers and deliver messages to active ones."""
    sim.behavior.sms_keep = 20
    code = 100_000
    for order in cycle(sim.orders):
        await anyio.sleep(1.5)
        sim.requests.clear()  # not used here; without this the list would grow
        if order.state == 0:
            sim.set_state(order.id, 2)
        elif order.state == 1:
            code = (code + 271_828) % 900_000 + 100_000
            sim.deliver(order.id, f"{code} is your {order.service_name} code.", sender=order.service_name)


# -- the server ------------------------------------------------------------------------------------------------------


class Server(uvicorn.Server):
    """A server that ends the streams at shutdown. Without this, uvicorn would wait for the endless streams."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Exit the watcher first, which ends the streams."""
        await self.lifespan.shutdown()
        await super().shutdown(sockets)


def serve(watch: Watch, port: int) -> Server:
    """Return a server for the page."""
    app = create_app(watch)
    # The timeout is for browsers that don't read their stream.
    return Server(uvicorn.Config(app, host=HOST, port=port, ws="none", access_log=False, timeout_graceful_shutdown=1))


def main() -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Show rented numbers and their messages on a web page.")
    parser.add_argument("--live", action="store_true", help="show your own numbers; the key is in SMSPVA_API_KEY")
    parser.add_argument("--port", type=int, default=8000, help="the port on 127.0.0.1 (default: 8000)")
    options = parser.parse_args()
    if options.port not in range(2**16):
        parser.error(f"expected a port from 0 to 65535, got {options.port}")
    try:
        watch = live(SmspvaClient(fleet=fleet())) if options.live else simulated()
    except ValueError as error:
        parser.error(str(error))
    print("Watching your own numbers." if options.live else "Watching a simulated provider.", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C; uvicorn raises it again at the end
    with suppress(KeyboardInterrupt):
        serve(watch, options.port).run()


if __name__ == "__main__":
    main()
