"""Tests of `reconcile`: clients of the simulator, lists that lag, calls of unknown outcome, and verdicts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import pytest

from smspva_async import Pace, Period, SmspvaClient
from smspva_async.errors import OutcomeUnknown
from tests.support.fake_server import KEY, URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from smspva_async.simulator import Simulator

WEEK = Period.weeks(1)
both_dialects = pytest.mark.parametrize("dialect", ["page", "live"])
Dialect = Literal["page", "live", "contract"]


@asynccontextmanager
async def client_of(sim: Simulator, *, listed: bool = True, **arguments: Any) -> AsyncIterator[SmspvaClient]:
    """Return a client that has read the orders, unless `listed` is false: twice, so that it is sure of the time."""
    arguments = {"pace": Pace(gap=0), "transport": sim.transport(), **arguments}
    async with SmspvaClient(KEY, **arguments) as client:
        for _ in range(2 * listed):
            await client.orders()
            await anyio.sleep(1)
        yield client
    assert sim.violations == []


class LaggingTransport(httpx.AsyncBaseTransport):
    """A transport to a simulator whose answers to some requests are minutes old.

    Args:
        sim: The simulator.
        lag: The age of these answers in seconds.
        reads: The queries of the requests.

    Attributes:
        shifts: Seconds by which the dates of the next such answers are wrong.

    """

    def __init__(self, sim: Simulator, lag: float, *reads: dict[str, str]) -> None:
        self._sim = sim
        self._inner = sim.transport()
        self._lag = lag
        self._reads = reads
        self.shifts: list[float] = []
        self._answers: dict[frozenset[tuple[str, str]], list[tuple[float, bytes]]] = {}

    async def run(self) -> None:
        """Record the present answers every minute."""
        while True:
            await self.record()
            await anyio.sleep(60)

    async def record(self) -> None:
        """Record the present answers."""
        for read in self._reads:
            request = httpx.Request("GET", URL, params={**read, "apikey": KEY})
            answer = await self._inner.handle_async_request(request)
            now = anyio.current_time()
            self._answers.setdefault(frozenset(request.url.params.multi_items()), []).append(
                (now, await answer.aread())
            )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the newest recorded answer that is old enough, or the first one."""
        records = self._answers.get(frozenset(request.url.params.multi_items()))
        if records is None:
            return await self._inner.handle_async_request(request)
        latest = anyio.current_time() - self._lag
        body = next((body for at, body in reversed(records) if at <= latest), records[0][1])
        date = self._sim.now + timedelta(seconds=self.shifts.pop(0) if self.shifts else 0)
        return httpx.Response(200, headers={"Date": format_datetime(date, usegmt=True)}, content=body)


@asynccontextmanager
async def lagging(sim: Simulator, lag: float, *reads: dict[str, str]) -> AsyncIterator[LaggingTransport]:
    """Return a transport whose answers to `orders`, and to other reads, are old."""
    transport = LaggingTransport(sim, lag, {"method": "orders"}, *reads)
    await transport.record()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run)
        yield transport
        tasks.cancel_scope.cancel()


async def unknown(make: Awaitable[Any]) -> OutcomeUnknown:
    """Make a call and return its `OutcomeUnknown`."""
    with pytest.raises(OutcomeUnknown) as failed:
        await make
    return failed.value


async def verdict(client: SmspvaClient, error: OutcomeUnknown) -> tuple[str, list[int]]:
    """Return the verdict of `reconcile` and the ids of its candidates."""
    found = await client.reconcile(error)
    return found.verdict, [order.id for order in found.candidates]


def ids(sim: Simulator) -> list[int]:
    """Return the ids of the account's open orders."""
    return [order.id for order in sim.orders]
