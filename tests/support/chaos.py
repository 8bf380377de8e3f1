"""Programs that tests run in their own processes and kill."""

from __future__ import annotations

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
from smspva_async.client import fleet_journal
from smspva_async.fleet import RedisFleet
from tests.support.processes import is_orphan

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

KEY = "key-of-the-chaos"
INTERVAL = 0.05
TIMEOUT = 0.2
"""Seconds. It is short because many requests hang."""
WEEK = Period.weeks(1)
_START, _END = "\x02", "\x03"


def client(url: str, *, timeout: float = TIMEOUT, ledger: Path | None = None) -> SmspvaClient:
    """Return a client that sends quickly, waits briefly and doesn't retry."""
    return SmspvaClient(
        KEY, base_url=url, pace=Pace(gap=0.001), retry=Retry(attempts=1), timeout=timeout, ledger=ledger
    )


def write_records(report: int, *records: str) -> None:
    """Append records to a report. A kill may truncate the last one."""
    os.write(report, "".join(f"{_START}{record}{_END}" for record in records).encode())


def read_records(report: Path) -> list[str]:
    """Return the complete records of a report."""
    text = report.read_text(errors="replace") if report.exists() else ""
    return re.findall(f"{_START}([^{_START}{_END}]*){_END}", text)


def run(main: Callable[[], Coroutine[Any, Any, None]], backend: str = "asyncio") -> None:
    """Run a program until it is killed, or until the tests' process has ended."""

    async def run_until_orphaned() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(main)
            while not is_orphan():  # noqa: ASYNC110 - an event can't span processes
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    anyio.run(run_until_orphaned, backend=backend)


def watch(url: str, journal: Path, report: Path, timeout: float) -> None:
    """Watch, and report each event."""

    async def main() -> None:
        with report.open("a") as reported:
            async with client(url, timeout=timeout) as source, watcher(source, journal) as watch:
                async for event in watch.consumer("the consumer"):
                    write_records(reported.fileno(), json.dumps(event_to_dict(event)))

    run(main)


def watcher(client: SmspvaClient, journal: Path) -> Watcher:
    return Watcher(client, interval=INTERVAL, eager_interval=INTERVAL, journal=SqliteJournal(journal))


def rent(url: str, ledger: Path, report: Path) -> None:
    """Rent numbers concurrently, and report the id of each rental."""

    async def main() -> None:
        with report.open("a") as reported:
            async with client(url, ledger=ledger) as buying:
                await read_orders(buying)  # so that new orders are recognized
                async with anyio.create_task_group() as renters:
                    for number in range(3):
                        renters.start_soon(rent_on, buying, number, reported.fileno())

    async def read_orders(client: SmspvaClient) -> None:
        """Read the orders, and try again if a busy machine takes longer than the timeout."""
        while True:
            with contextlib.suppress(SmspvaError):
                await client.orders()
                return

    async def rent_on(client: SmspvaClient, number: int, reported: int) -> None:
        chance = Random(f"{os.getpid()} {number}")
        while True:
            await anyio.sleep(chance.uniform(0, 0.02))
            rented: list[int] = []
            with contextlib.suppress(SmspvaError):
                match chance.randrange(3):
                    case 0:
                        rented = [rental.id for rental in await client.rent_multi("RU", ["opt16", "opt20"], WEEK)]
                    case _:
                        rented = [(await client.rent("RU", chance.choice(["opt16", "opt20"]), WEEK)).id]
            write_records(reported, *map(str, rented))

    run(main)


FLEET_INTERVAL, FLEET_GAP = 0.1, 0.02


def fleet_client(
    url: str, redis: str, lease: float, timeout: float = TIMEOUT, *, may_lead: bool = True
) -> SmspvaClient:
    """Return a client of a fleet."""
    return SmspvaClient(
        KEY,
        base_url=url,
        pace=Pace(gap=FLEET_GAP),
        retry=Retry(attempts=1),
        timeout=timeout,
        fleet=RedisFleet(redis, lease=lease, may_lead=may_lead),
    )


def watch_in_fleet(url: str, redis: str, lease: float, backend: str, report: Path) -> None:
    """Watch as a member of a fleet, and report the member's id and then each event of this process."""

    async def main() -> None:
        with report.open("a") as reported:
            async with fleet_client(url, redis, lease) as source, fleet_watcher(source) as watch:
                write_records(reported.fileno(), json.dumps({"member": fleet_member(source)}))
                async for event in watch.events(after=0):
                    write_records(reported.fileno(), json.dumps(event_to_dict(event)))

    run(main, backend)


def fleet_watcher(client: SmspvaClient) -> Watcher:
    return Watcher(client, interval=FLEET_INTERVAL, eager_interval=FLEET_INTERVAL)


def fleet_member(client: SmspvaClient) -> str:
    """Return the id of this process in its client's fleet."""
    journal = fleet_journal(client)
    assert journal is not None
    return journal.member


def rent_in_fleet(url: str, redis: str, lease: float, backend: str, report: Path) -> None:
    """Rent numbers as a member of a fleet, and report the id of each rental."""

    async def main() -> None:
        with report.open("a") as reported:
            async with fleet_client(url, redis, lease) as buying:
                chance = Random(os.getpid())
                while True:
                    with contextlib.suppress(SmspvaError):
                        rental = await buying.rent("RU", chance.choice(["opt16", "opt20"]), WEEK)
                        write_records(reported.fileno(), str(rental.id))

    run(main, backend)


def ask_in_fleet(url: str, redis: str, lease: float, backend: str, order_id: int) -> None:
    """Make requests for one order, as many as the pace of a fleet permits."""

    async def main() -> None:
        async with fleet_client(url, redis, lease) as client, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask, client)

    async def ask(client: SmspvaClient) -> None:
        while True:
            with contextlib.suppress(SmspvaError):
                await client.sms(order_id)

    run(main, backend)
