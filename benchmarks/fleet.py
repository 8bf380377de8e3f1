"""The Redis fleet: load, failover and cost, in real time, with times that are 1/75 of the defaults."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
from attrs import evolve

from benchmarks.journal import record
from benchmarks.latency import wait_repeatedly
from benchmarks.measuring import Compared, compare, in_real_time, in_virtual_time, percentile
from benchmarks.processes import GAP, LEASE, ORDERS, Processes, new_fleet, redis_server
from benchmarks.results import Row, at_most
from benchmarks.server import Server
from smspva_async import Pace, SmspvaClient, SqliteJournal, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form
    from smspva_async.fleet import RedisFleet

__all__ = ["rows"]

_INTERVAL, _LEASE = 20 * GAP, 10 / 75
_FIRST_READ = 4.0
"""Seconds in which each order's messages are read for the first time."""


def rows(form: Form) -> Iterator[Row]:
    """Measure fleets of one to three processes, or nothing where Redis isn't installed."""
    if shutil.which("redis-server") is None or find_spec("coredis") is None:
        print("the rows of the Redis fleet are left out: redis-server or coredis isn't installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="redis") as folder, redis_server(Path(folder)) as redis:
        yield in_real_time(_requests(redis, form.pick(full=3, short=1), form.pick(full=10.0, short=2.0)))
        killed, left = in_real_time(_failover(redis, form.pick(full=9, short=1)))
        name = f"failover at a lease of {LEASE:g} s, until another process has polled"
        yield _row(f"{name}: kill -9", "s", median(killed), LEASE + 1)
        yield _row(f"{name}: orderly exit", "s", median(left), 0.1)
        delays = in_real_time(_delays(redis, form.pick(full=400, short=40)))
        name = "an event in a follower, later than in the leader"
        yield _row(f"{name}: median", "ms", median(delays), 10)
        yield _row(f"{name}: 95 %", "ms", percentile(delays, 0.95), 20)
        orders = form.pick(full=10_000, short=1_000)
        held = in_real_time(_loading(redis, orders, form.pick(full=5, short=1)))
        yield _row(f"{orders:,} orders, longest hold of the event loop of a process that joins", "ms", max(held), 50)
        yield _cpu(redis, form.pick(full=5, short=1), form.pick(full=6.0, short=2.0))
        appended = _append(redis, form.pick(full=500, short=30))
        yield _row("appending one event, 1,000 orders", "ms", median(appended), 2)


def _row(name: str, unit: str, figure: float | Compared, limit: float, baseline: str = "") -> Row:
    if isinstance(figure, Compared):
        row = _row(name, unit, figure.ours, limit)
        return evolve(row, goal=at_most(limit), against=figure.theirs, baseline=baseline, spread=figure.spread)
    return Row(group="Redis fleet", name=name, unit=unit, measured=figure, goal=at_most(limit, of="measured"))


async def _requests(redis: str, repetitions: int, seconds: float) -> Row:
    found: dict[int, list[float]] = {3: [], 1: []}
    for _ in range(repetitions):
        for members, rates in found.items():
            async with Processes(redis).running(members) as fleet:
                await anyio.sleep(_FIRST_READ)
                before = fleet.server.requests.total()
                await anyio.sleep(seconds)
                rates.append((fleet.server.requests.total() - before) * 3600 / seconds)
    name = f"requests of three processes, each with a waiting task, at a gap of {GAP:g} s"
    return _row(name, "per hour", compare(found[3], found[1]), 1.03, "a fleet of one process")


async def _failover(redis: str, times: int) -> tuple[list[float], list[float]]:
    """Return the seconds after kills, and after orderly exits."""
    killed, left = list[float](), list[float]()
    async with Processes(redis).running(2) as fleet:
        for _ in range(times):
            for number, seconds in ((signal.SIGKILL, killed), (signal.SIGTERM, left)):
                seconds.append(await fleet.failover(number))
                await fleet.join()
    return killed, left


async def _delays(redis: str, events: int) -> list[float]:
    """Return the milliseconds for which each event is later in the follower."""
    async with Processes(redis).running(2) as fleet:
        for turn in range(events):
            fleet.server.change(fleet.server.ids[turn % ORDERS], state=turn // ORDERS % 2)
            await anyio.sleep(0.05)
        leader, follower = await fleet.leave()
    return [(follower[seq] - leader[seq]) * 1e3 for seq in leader.keys() & follower.keys()]


async def _loading(redis: str, orders: int, times: int) -> list[float]:
    """Return the longest hold for each process that joins, in milliseconds."""
    async with Processes(redis, orders=orders, gap=1.5).running(1) as fleet:
        return [await fleet.join() * 1e3 for _ in range(times)]


def _cpu(redis: str, repetitions: int, seconds: float) -> Row:
    ours, theirs = list[float](), list[float]()
    for _ in range(repetitions):
        ours.append(in_real_time(_watch(seconds, fleet=new_fleet(redis, uuid4().hex, _LEASE))))
        with tempfile.TemporaryDirectory() as folder:
            theirs.append(in_real_time(_watch(seconds, folder=Path(folder))))
    name = f"CPU time of a watch in one process, {ORDERS} orders, for a request"
    return _row(name, "ms", compare(ours, theirs), 1.2, "the same watch with `SqliteJournal` and a ledger")


async def _watch(seconds: float, *, fleet: RedisFleet | None = None, folder: Path | None = None) -> float:
    """Return the milliseconds of CPU time per request while a message arrives in each interval."""
    server, ledger = Server(ORDERS), folder and folder / "ledger.db"
    journal = SqliteJournal(folder / "journal.db") if folder else None
    async with (
        SmspvaClient("key", transport=server, pace=Pace(gap=GAP), ledger=ledger, fleet=fleet) as client,
        Watcher(client, interval=_INTERVAL, eager_interval=_INTERVAL / 10, journal=journal) as watcher,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(wait_repeatedly, watcher, server.ids[0])
        await anyio.sleep(_FIRST_READ)
        began, before = time.process_time(), server.requests.total()
        for number in range(int(seconds / _INTERVAL)):
            server.deliver(server.ids[number % ORDERS], f"Your code: {number}")
            await anyio.sleep(_INTERVAL)
        spent = (time.process_time() - began) * 1e3 / (server.requests.total() - before)
        tasks.cancel_scope.cancel()
    return spent


def _append(redis: str, events: int) -> list[float]:
    """Return the milliseconds of each write."""
    polls = [poll for poll in in_virtual_time(record(1_000, events)) if poll.events]

    async def append() -> list[float]:
        fleet, found = new_fleet(redis, uuid4().hex), list[float]()
        async with SmspvaClient("key", transport=Server(1), fleet=fleet):
            await fleet.journal.open(None)
            await fleet.journal.lead()
            await fleet.journal.take_over()
            for poll in polls:
                began = time.perf_counter()
                await fleet.journal.append(poll.events, poll.state, {})
                found.append((time.perf_counter() - began) * 1e3)
            await fleet.journal.aclose()
        return found[1:]  # the first one adds all orders

    return in_real_time(append())
