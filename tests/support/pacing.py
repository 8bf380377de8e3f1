"""What the tests of the pace share: a call of each class, and ways to look at when requests begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpx

from smspva_async.client import polled_client
from tests.support.samples import CALLS, Call
from tests.support.watching import gaps

if TYPE_CHECKING:
    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

SPEND, FOREGROUND, POLL = CALLS["create"], CALLS["getcountries"], CALLS["orders"]
"""A call of each class, as `asked` makes it."""


def waits(fake_server: FakeServer) -> list[float]:
    return gaps(fake_server.times)


async def asked(client: SmspvaClient, call: Call) -> None:
    """Make a call, the one that polls as a watcher does."""
    if call is POLL:
        await polled_client(client, 60).orders(lambda: None, anyio.lowlevel.checkpoint)
    else:
        await call.make(client)


def three_classes(fake_server: FakeServer) -> None:
    for call in (SPEND, FOREGROUND, POLL):
        fake_server.call(call, call.sample)


def too_many(retry_after: float | None = None, status: int = 429) -> httpx.Response:
    return httpx.Response(status, headers={} if retry_after is None else {"Retry-After": str(retry_after)})
