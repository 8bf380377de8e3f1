"""Memory of a watch and of a subscription."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import anyio

from benchmarks.measuring import in_virtual_time, until
from benchmarks.results import Row, at_most
from benchmarks.server import Server
from smspva_async import Pace, SmspvaClient, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_SUBSCRIPTIONS = 1_000
_KIB = 1_024


def rows(form: Form) -> Iterator[Row]:
    """Measure a watch that has read every list once, and subscriptions that have read every event."""
    orders = form.pick(full=5_000, short=500)
    watch, subscriptions, waiting = in_virtual_time(_measure(orders))
    yield Row(
        group="Memory",
        name="a watch, per order",
        unit="KiB",
        measured=watch / orders / _KIB,
        goal=at_most(3, of="measured"),
        note=f"with {orders:,} orders, each list read once; includes client, watcher and journal with the events",
    )
    yield Row(
        group="Memory",
        name="a subscription",
        unit="KiB",
        measured=subscriptions / _SUBSCRIPTIONS / _KIB,
        goal=at_most(1, of="measured"),
        note=(
            f"with {_SUBSCRIPTIONS:,} subscriptions; {waiting / _SUBSCRIPTIONS / _KIB:.1f} KiB more while a task waits "
            "for its next event, including the task"
        ),
    )


async def _measure(orders: int) -> tuple[int, int, int]:
    """Return the bytes of a watch, of its subscriptions, and of tasks that wait for them."""
    server = Server(orders)
    tracemalloc.start()
    try:
        empty = _allocated()
        async with (
            SmspvaClient("key", transport=server, pace=Pace(gap=0)) as client,
            Watcher(client) as watcher,
        ):
            await until(lambda: server.requests["sms"] >= orders)
            await anyio.sleep(1)
            watching = _allocated()
            subscriptions = [watcher.events(after=watcher.cursor - 1) for _ in range(_SUBSCRIPTIONS)]
            for subscription in subscriptions:
                await anext(subscription)
            subscribed = _allocated()
            async with anyio.create_task_group() as tasks:
                for subscription in subscriptions:
                    tasks.start_soon(anext, subscription)
                await anyio.sleep(1)
                waiting = _allocated()
                tasks.cancel_scope.cancel()
    finally:
        tracemalloc.stop()
    return watching - empty, subscribed - watching, waiting - subscribed


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
