"""A web page that shows rented numbers and their messages as they change: a watch as server-sent events.

    python examples/web_service/service.py            # on a simulated provider: no account, no network, no money
    python examples/web_service/service.py --live     # your own numbers; the key is in SMSPVA_API_KEY

Nothing that the page does reaches the provider: it can't activate, nor spend.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import secrets
import signal
from collections import deque
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route

from smspva_async import (
    Event,
    InvalidKey,
    Lagged,
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

HOST = "127.0.0.1"  # the page asks for no password, and shows one-time codes
HEARTBEAT = 15.0
MESSAGES = 100
"""How many messages a fresh page is given, the newest."""
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


# -- the app ---------------------------------------------------------------------------------------------------------


def create_app(watch: AbstractAsyncContextManager[Watcher], *, heartbeat: float = HEARTBEAT) -> Starlette:
    """Return an app that serves the page at ``/`` and the events at ``/events``.

    Args:
        watch: Gives the watcher; the app enters it when it is started and leaves it when it is shut down.
        heartbeat: Seconds without an event after which a stream shows that it is alive.

    """
    run = secrets.token_hex(4)  # a later run numbers its events anew, and takes no id of this one for its own
    headers = {"Content-Security-Policy": _policy(PAGE), "X-Content-Type-Options": "nosniff"}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any]]:
        async with watch as watcher:
            yield {"watcher": watcher, "board": Board(watcher)}

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE, headers=headers)

    async def events(request: Request) -> StreamingResponse:
        last = re.fullmatch(rf"{run}-([0-9]{{1,18}})", request.headers.get("Last-Event-ID", ""))
        place = None if last is None else int(last[1])
        body = stream(request.state.watcher, request.state.board, run, place, heartbeat)
        return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[Route("/", page), Route("/events", events)],
        lifespan=lifespan,
        # A page from elsewhere could otherwise have its own name lead here, and read along.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def _policy(page: str) -> str:
    """Return what a browser may do for the page: run its own script and style, and read the events."""
    sources = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in re.findall(r"<(script|style)>(.*?)</\1>", page, re.DOTALL)
    }
    return (
        f"default-src 'none'; connect-src 'self'; img-src data:; script-src 'sha256-{sources['script']}'; "
        f"style-src 'sha256-{sources['style']}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


# -- the events ------------------------------------------------------------------------------------------------------


async def stream(watcher: Watcher, board: Board, run: str, place: int | None, heartbeat: float) -> AsyncGenerator[str]:
    """Yield the watch as server-sent events, until the watcher is left.

    Args:
        watcher: What is watched.
        board: What a fresh page is shown.
        run: The first part of an event's id; the second is its `seq`.
        place: The `seq` of the last event that the page has; None, or one that is no longer kept: it is given a
            snapshot, and what follows it.
        heartbeat: Seconds.

    """
    yield "retry: 1000\n\n"
    try:
        while True:
            try:
                if place is None:
                    place, known = await board.snapshot()
                    yield _sse("snapshot", known, f"{run}-{place}")
                async for event in with_heartbeats(watcher.events(after=place), heartbeat):
                    if event is None:
                        yield ": heartbeat\n\n"
                    elif event.seq == place + 1:
                        place = event.seq
                        yield _sse("message", to_dict(event), f"{run}-{place}")
                    else:  # from 0 on is what is kept, which is not always all
                        place = None
                        break
                else:
                    return
            except Lagged:
                place = None
    except SmspvaError as error:
        yield _sse("ended", str(error))


async def with_heartbeats(events: AsyncIterator[Event], seconds: float) -> AsyncGenerator[Event | None]:
    """Yield the events, and None whenever none came for so long."""
    while True:
        event = None
        with anyio.move_on_after(seconds):  # cancelling `anext` loses no event
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
        yield event


class Board:
    """What a fresh page is shown. Each snapshot reads on from the one before, so that a long watch costs no more."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._place = 0
        self._messages: deque[SmsReceived] = deque(maxlen=MESSAGES)
        self._failing: str | None = None
        self._turn = anyio.Lock()

    async def snapshot(self) -> tuple[int, dict[str, Any]]:
        """Return a place among the events, and what a page shows that has read up to there."""
        async with self._turn:
            # They change together, and nothing is awaited between them.
            place, orders = self._watcher.cursor, self._watcher.orders
            while self._place < place:
                with suppress(Lagged):
                    await self._read_up_to(place)
                    break
                self._place, self._failing = 0, None  # what is still kept
        messages = [*map(to_dict, self._messages)]
        return place, {"orders": [*map(to_dict, orders.values())], "messages": messages, "failing": self._failing}

    async def _read_up_to(self, place: int) -> None:
        async for event in self._watcher.events(after=self._place):
            match event:
                case SmsReceived():
                    self._messages.append(event)
                case PollFailed(order_id=None, message=message):
                    self._failing = message
                case PollRecovered(order_id=None):
                    self._failing = None
                case _:
                    pass
            self._place = event.seq
            if event.seq >= place:
                break


def _sse(name: str, data: object, place: str = "") -> str:
    lines = [f"event: {name}", f"data: {json.dumps(data)}"]
    return "\n".join([f"id: {place}", *lines, "", ""] if place else [*lines, "", ""])


# -- what is watched -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def live(client: SmspvaClient) -> AsyncGenerator[Watcher]:
    """Watch the numbers of an account."""
    with suppress(InvalidKey):  # every page has been told
        async with client, Watcher(client, start="replay") as watcher:
            yield watcher


@asynccontextmanager
async def simulated() -> AsyncGenerator[Watcher]:
    """Watch five numbers of a simulated provider, where things happen every few seconds."""
    sim = Simulator(seed=6, start=datetime.now(UTC), activation=(2.0, 5.0), active=(20.0, 60.0))
    for days, (country, service) in enumerate(
        [("RU", "opt16"), ("LT", "opt20"), ("PL", "opt29"), ("UK", "opt1"), ("KZ", "opt46")], start=3
    ):
        sim.add_order(country, service, days=days)
    client = SmspvaClient("simulated", transport=sim.transport(), pace=Pace(gap=0.1))
    async with client, Watcher(client, interval=1.0) as watcher, anyio.create_task_group() as world:
        world.start_soon(_live_on, sim)
        yield watcher
        world.cancel_scope.cancel()


async def _live_on(sim: Simulator) -> None:
    """Let somebody activate the numbers, and messages come to those that are active."""
    sim.behavior.sms_keep = 20
    code = 100_000
    for order in cycle(sim.orders):
        await anyio.sleep(1.5)
        sim.requests.clear()  # nobody reads them, and this may run for long
        if order.state == 0:
            sim.set_state(order.id, 2)
        elif order.state == 1:
            code = (code + 271_828) % 900_000 + 100_000
            sim.deliver(order.id, f"{code} is your {order.service_name} code.", sender=order.service_name)


# -- the server ------------------------------------------------------------------------------------------------------


class Server(uvicorn.Server):
    """A server that ends the streams when it is told to stop. They don't end by themselves, so uvicorn would wait."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave the watch, which ends the streams, before waiting for them."""
        await self.lifespan.shutdown()
        await super().shutdown(sockets)


def serve(watch: AbstractAsyncContextManager[Watcher], port: int) -> Server:
    """Return a server of the page."""
    app = create_app(watch)
    # A browser that doesn't take what it is sent is waited for no longer than that.
    return Server(uvicorn.Config(app, host=HOST, port=port, ws="none", access_log=False, timeout_graceful_shutdown=1))


def main() -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Show rented numbers and their messages on a web page.")
    parser.add_argument("--live", action="store_true", help="your numbers, by the key in SMSPVA_API_KEY")
    parser.add_argument("--port", type=int, default=8000, help="the port on 127.0.0.1 (default: 8000)")
    options = parser.parse_args()
    if options.port not in range(2**16):
        parser.error(f"a port is a number from 0 to 65535: {options.port}")
    try:
        watch = live(SmspvaClient()) if options.live else simulated()
    except ValueError as error:
        parser.error(str(error))
    print("Your own numbers." if options.live else "A simulated provider: no account, no money.", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C; uvicorn raises it again at the end
    with suppress(KeyboardInterrupt):
        serve(watch, options.port).run()


if __name__ == "__main__":
    main()
