"""Helpers for the tests of the pace: a call of each priority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpx

from smspva_async.client import polled_client
from tests.support.samples import CALLS, Call

if TYPE_CHECKING:
    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

SPEND, FOREGROUND, POLL = CALLS["create"], CALLS["getcountries"], CALLS["orders"]
"""A call of each priority, as `make_call` makes it."""


async def make_call(client: SmspvaClient, call: Call) -> None:
    """Make a call; `POLL` is made as a watcher does."""
    if call is POLL:
        await polled_client(client, 60).orders(lambda: None, anyio.lowlevel.checkpoint)
    else:
        await call.make(client)


def answer_all_priorities(fake_server: FakeServer) -> None:
    for call in (SPEND, FOREGROUND, POLL):
        fake_server.call(call, call.sample)


def too_many(retry_after: float | None = None, status: int = 429) -> httpx.Response:
    return httpx.Response(status, headers={} if retry_after is None else {"Retry-After": str(retry_after)})
