"""How many requests a watch makes, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from benchmarks.latency import arrivals
from benchmarks.measuring import in_virtual_time
from benchmarks.results import Row, at_most
from benchmarks.server import Server
from smspva_async import SmspvaClient, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_WAITERS = 1_000
_HOUR = 3_600.0
_INTERVAL = 30.0


def rows(form: Form) -> Iterator[Row]:
    """Measure an hour in which a thousand wait for messages of as many orders."""
    minutes = form.pick(full=60, short=3)
    requests = in_virtual_time(_watch(minutes * 60.0))
    yield Row(
        group="Requests",
        name=f"{_WAITERS:,} waiters on {_WAITERS:,} orders",
        unit="per hour",
        measured=requests * 60 / minutes,
        against=_WAITERS * _HOUR / _INTERVAL,
        baseline=f"one poller per waiter, an `sms` call every {_INTERVAL:g} s",
        goal=at_most(1 / 50),
        deterministic=True,
    )


async def _watch(seconds: float) -> int:
    """Return how many requests were made."""
    server = Server(_WAITERS)

    async def wait(order_id: int) -> None:
        after = watcher.cursor
        while True:
            after = (await watcher.wait_for_sms(order_id, after=after, timeout=2 * _HOUR)).seq

    async with (
        SmspvaClient("key", transport=server) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for order_id in server.ids:
            tasks.start_soon(wait, order_id)
        began, before = anyio.current_time(), server.requests.total()
        for arrival in arrivals(_WAITERS, 120):
            if arrival.at < seconds:
                await anyio.sleep_until(began + arrival.at)
                server.deliver(server.ids[arrival.place], arrival.text)
        await anyio.sleep_until(began + seconds)
        requests = server.requests.total() - before
        tasks.cancel_scope.cancel()
    return requests
