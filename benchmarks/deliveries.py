"""CPU time of many subscriptions that read the same events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from benchmarks.measuring import compare, in_virtual_time
from benchmarks.results import Row, at_most
from benchmarks.server import Server
from smspva_async import SmspvaClient, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form
    from smspva_async import Subscription

__all__ = ["rows"]

_EVENTS = 10_000
_PARTS = 10


def rows(form: Form) -> Iterator[Row]:
    """Measure many concurrent subscriptions, and a single one."""
    many = form.pick(full=1_000, short=20)
    ours, theirs = in_virtual_time(_measure(many))
    compared = compare(ours, theirs)
    yield Row(
        group="CPU time",
        name=f"a delivery, {many:,} subscriptions reading {_EVENTS:,} events",
        unit="us",
        measured=compared.ours * 1e6,
        against=compared.theirs * 1e6,
        baseline=f"one subscription reading {_EVENTS:,} events, for a delivery",
        spread=compared.spread,
        goal=at_most(1.1),
    )


async def _measure(many: int) -> tuple[list[float], list[float]]:
    """Return the seconds of a delivery to many subscriptions, for each part of the events, and to a single one."""
    ours, theirs = list[float](), list[float]()
    part = _EVENTS // _PARTS
    server = Server(_EVENTS)  # each order makes an event
    async with SmspvaClient("key", transport=server) as client, Watcher(client) as watcher:
        subscriptions = [watcher.events(after=0) for _ in range(many)]
        for _ in range(_PARTS):
            began = time.process_time()
            await _read([watcher.events(after=0)], _EVENTS)
            between = time.process_time()
            await _read(subscriptions, part)
            theirs.append((between - began) / _EVENTS)
            ours.append((time.process_time() - between) / (many * part))
    return ours, theirs


async def _read(subscriptions: list[Subscription], events: int) -> None:
    async def read(subscription: Subscription) -> None:
        for _ in range(events):
            await anext(subscription)

    async with anyio.create_task_group() as tasks:
        for subscription in subscriptions:
            tasks.start_soon(read, subscription)
