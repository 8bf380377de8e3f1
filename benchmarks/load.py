"""Number of requests of a watch, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from benchmarks.latency import DELAY, GAP, arrivals, wait_repeatedly
from benchmarks.measuring import in_virtual_time
from benchmarks.results import Row, at_most
from benchmarks.server import Server
from smspva_async import SmspvaClient, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_ORDERS = 100
_WAITERS = 1_000
_HOUR = 3_600.0
_INTERVAL = 30.0
_MESSAGES = 180
"""More messages than arrive in an hour."""


def rows(form: Form) -> Iterator[Row]:
    """Measure an hour without waiting tasks, with one and with a thousand."""
    minutes = form.pick(full=60, short=3)
    at_the_limit = (_HOUR / GAP, f"requests at the rate limit, one every {GAP:g} s")
    pollers = (_WAITERS * _HOUR / _INTERVAL, f"one poller per waiting task, an `sms` call every {_INTERVAL:g} s")
    for orders, waiters, goal, (against, baseline) in (
        (1, 0, 240, at_the_limit),
        (_ORDERS, 0, 1_800, at_the_limit),
        (_ORDERS, 1, 2_160, at_the_limit),
        (_WAITERS, _WAITERS, 2_160, pollers),
    ):
        waiting = "no waiting" if not waiters else f"{waiters:,} waiting task{'' if waiters == 1 else 's'}"
        requests = in_virtual_time(_watch(orders, waiters, minutes * 60.0))
        yield Row(
            group="Requests",
            name=f"{waiting}, {orders:,} order{'' if orders == 1 else 's'}",
            unit="per hour",
            measured=requests * 60 / minutes,
            against=against,
            baseline=baseline,
            goal=at_most(goal, of="measured"),
            deterministic=True,
        )


async def _watch(orders: int, waiters: int, seconds: float) -> int:
    """Return the number of requests."""
    server = Server(orders, delay=DELAY)
    async with (
        SmspvaClient("key", transport=server) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for order_id in server.ids[:waiters]:
            tasks.start_soon(wait_repeatedly, watcher, order_id)
        began, before = anyio.current_time(), server.requests.total()
        for arrival in arrivals(orders, _MESSAGES):
            if arrival.at < seconds:
                await anyio.sleep_until(began + arrival.at)
                server.deliver(server.ids[arrival.index], arrival.text)
        await anyio.sleep_until(began + seconds)
        requests = server.requests.total() - before
        tasks.cancel_scope.cancel()
    return requests
