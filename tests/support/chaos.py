"""Programs for the tests that kill them. Each runs in a process of its own until it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

from smspva_async import (
    Pace,
    Period,
    Retry,
    SmspvaClient,
    SmspvaError,
    SqliteJournal,
    Watcher,
    event_to_dict,
)
from tests.support.processes import is_orphan

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

KEY = "key-of-the-chaos"
INTERVAL = 0.05
TIMEOUT = 0.2
"""Seconds. Short, because many requests hang."""
WEEK = Period.weeks(1)
_BEGIN, _END = "\x02", "\x03"


def client(url: str, *, timeout: float = TIMEOUT, ledger: Path | None = None) -> SmspvaClient:
    """Return a client for a world that doesn't last: it tries once, and waits for little."""
    return SmspvaClient(
        KEY, base_url=url, pace=Pace(gap=0.001), retry=Retry(attempts=1), timeout=timeout, ledger=ledger
    )


def tell(report: int, *told: str) -> None:
    """Write something down, where a kill may cut it short: a record without an end doesn't count."""
    os.write(report, "".join(f"{_BEGIN}{text}{_END}" for text in told).encode())


def told(report: Path) -> list[str]:
    """Return what was written down whole."""
    text = report.read_text(errors="replace") if report.exists() else ""
    return re.findall(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}", text)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program until it is killed, or until the tests' process has gone without killing it."""

    async def run_until_orphaned() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(main)
            while not is_orphan():  # noqa: ASYNC110 - another process has no such event
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    asyncio.run(run_until_orphaned())


def watch(url: str, journal: Path, report: Path, timeout: float) -> None:
    """Watch, and write down each event that is given."""

    async def main() -> None:
        with report.open("a") as reported:
            async with client(url, timeout=timeout) as asking, watcher(asking, journal) as watch:
                async for event in watch.consumer("the consumer"):
                    tell(reported.fileno(), json.dumps(event_to_dict(event)))

    run(main)


def watcher(client: SmspvaClient, journal: Path) -> Watcher:
    return Watcher(client, interval=INTERVAL, eager_interval=INTERVAL, journal=SqliteJournal(journal))


def rent(url: str, ledger: Path, report: Path) -> None:
    """Rent, several at a time, and write down each number that is given."""

    async def main() -> None:
        with report.open("a") as reported:
            async with client(url, ledger=ledger) as buying:
                await read_orders(buying)  # so that new ones can be told from old ones
                async with anyio.create_task_group() as renters:
                    for number in range(3):
                        renters.start_soon(rent_on, buying, number, reported.fileno())

    async def read_orders(client: SmspvaClient) -> None:
        """Read the orders, however often a busy machine takes longer than the time limit."""
        while True:
            with contextlib.suppress(SmspvaError):
                await client.orders()
                return

    async def rent_on(client: SmspvaClient, number: int, reported: int) -> None:
        chance = Random(f"{os.getpid()} {number}")
        while True:
            await anyio.sleep(chance.uniform(0, 0.02))
            given: list[int] = []
            with contextlib.suppress(SmspvaError):
                match chance.randrange(3):
                    case 0:
                        given = [rental.id for rental in await client.rent_multi("RU", ["opt16", "opt20"], WEEK)]
                    case _:
                        given = [(await client.rent("RU", chance.choice(["opt16", "opt20"]), WEEK)).id]
            tell(reported, *map(str, given))

    run(main)
