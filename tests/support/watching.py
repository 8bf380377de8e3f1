"""Helpers that run a watcher and look at its events."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.lowlevel

from smspva_async import Event, MemoryJournal, SmspvaClient, SmsReceived, Subscription, Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from smspva_async import Journal
    from smspva_async.journal.state import WatchState
    from smspva_async.simulator import Simulator

INTERVAL = 30.0


class SlowJournal(MemoryJournal):
    """A journal that yields to the event loop, as one on disk does."""

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        await anyio.lowlevel.checkpoint()
        return await super().open(account)

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        await super().append(events, state, places)
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        await super().aclose()


@asynccontextmanager
async def watching(
    sim: Simulator,
    *,
    interval: float = INTERVAL,
    journal: Journal | None = None,
    start: Literal["baseline", "replay"] = "baseline",
) -> AsyncIterator[Watcher]:
    """Watch a simulator through the client."""
    async with (
        SmspvaClient("any-key", transport=sim.transport()) as client,
        Watcher(client, interval=interval, journal=journal, start=start) as watcher,
    ):
        yield watcher


async def polls(count: int, interval: float = INTERVAL) -> None:
    """Wait for some polls."""
    await anyio.sleep(count * interval)


async def so_far(watcher: Watcher, *, after: int = 0) -> list[Event]:
    """Return the events so far."""
    events = watcher.events(after=after)
    return [await anext(events) for _ in range(watcher.cursor - after)]


async def within(seconds: float, events: Subscription) -> list[Event]:
    """Return a subscription's events within some seconds."""
    given: list[Event] = []
    with anyio.move_on_after(seconds):
        async for event in events:
            given.append(event)  # noqa: PERF401 - a comprehension would be lost at the timeout
    return given


def texts(events: Iterable[Event]) -> list[str]:
    """Return the texts of the messages among events."""
    return [event.sms.text for event in events if isinstance(event, SmsReceived)]


def kinds(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def gaps(times: Sequence[float]) -> list[float]:
    """Return the seconds between successive times."""
    return [later - earlier for earlier, later in pairwise(times)]
