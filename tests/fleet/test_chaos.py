"""Three processes of a fleet, on asyncio and trio, while processes and Redis are stopped and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import pytest

from smspva_async import Event, Watcher, event_from_dict
from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chaos
from tests.support.backends import on_a_real_loop
from tests.support.invariants import assert_all_was_reported, listed, messages, seen
from tests.support.loopback import Served
from tests.support.processes import Program, Worker, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import Self

    from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, on_a_real_loop, pytest.mark.usefixtures("plain_environment"), pytest.mark.timeout(600)]

LEASE = 0.6
BACKENDS = ["asyncio", "trio", "asyncio"]
ORDERS = 5


class Fleet:
    """Three processes that watch one account.

    Attributes:
        reports: The report of each process so far.

    """

    def __init__(self, redis: RedisServer, url: str, folder: Path) -> None:
        self.reports: list[Path] = []
        self._redis = redis
        self._url = url
        self._folder = folder
        self._stack = ExitStack()
        self._members: list[tuple[Worker, Path]] = []

    def __enter__(self) -> Self:
        for backend in BACKENDS:
            self._members.append(self._start(backend))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, backend: str) -> tuple[Worker, Path]:
        report = self._folder / f"report-{len(self.reports)}"
        self.reports.append(report)
        worker = Worker(chaos.watch_in_fleet, self._url, self._redis.url, LEASE, backend, report)
        return self._stack.enter_context(worker), report

    @property
    def current_reports(self) -> list[Path]:
        """The reports of the processes that are alive."""
        return [report for _, report in self._members]

    async def leader(self) -> int:
        """Wait until a process leads, and return its number."""
        with anyio.fail_after(PATIENCE):
            while True:
                for worker, _ in self._members:
                    worker.check()
                leader = self._redis.cli("GET", "smspva:{main}:lease").strip()
                for number, (_, report) in enumerate(self._members):
                    records = chaos.read_records(report)
                    if leader and records and json.loads(records[0])["member"] == leader:
                        return number
                await anyio.sleep(0.02)

    async def kill_the_leader(self) -> None:
        """Kill the leader, and start another process in its place."""
        number = await self.leader()
        self._members[number][0].kill()
        self._members[number] = self._start(BACKENDS[number])

    def kill_all(self) -> None:
        """Kill all processes."""
        for worker, _ in self._members:
            worker.kill()

    async def reported(self, count: int) -> list[dict[str, tuple[int | None, str]]]:
        """Wait until each process has reported some messages, and return these, by id."""
        with anyio.fail_after(PATIENCE):
            while any(len(messages(events_of(report))) < count for report in self.current_reports):
                for worker, _ in self._members:
                    worker.check()
                await anyio.sleep(0.02)
        return [messages(events_of(report)) for report in self.current_reports]

    async def stop_the_leader(self, seconds: float) -> None:
        """Stop the leader for some seconds."""
        pid = self._members[await self.leader()][0].pid
        os.kill(pid, signal.SIGSTOP)
        await anyio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)


Attack: TypeAlias = "Callable[[Fleet, RedisServer, int], Awaitable[None]]"


class World:
    """A provider whose orders change at random."""

    def __init__(self, seed: int) -> None:
        self.sim = Simulator(seed=seed, activation=(0.1, 0.3), active=(0.2, 0.5))
        self.sent: list[tuple[int, str]] = []
        self._chance = Random(seed)
        self._orders = [self.sim.add_order().id for _ in range(ORDERS)]

    async def act(self) -> None:
        while True:
            order_id = self._chance.choice(self._orders)
            if self._chance.random() < 0.3:
                self.sim.set_state(order_id, self._chance.choice([0, 1, 2]))
            else:
                text = self._chance.choice(["Your code: 1234", f"Your code: {len(self.sent)}"])
                self.sim.deliver(order_id, text)
                self.sent.append((order_id, text))
            await anyio.sleep(self._chance.uniform(0, 0.05))

    def stop(self) -> None:
        for order_id in self._orders:
            self.sim.set_state(order_id, 0)


async def kill_leaders(fleet: Fleet, _: RedisServer, times: int) -> None:
    for _number in range(times):
        await fleet.kill_the_leader()


async def stop_leaders(fleet: Fleet, _: RedisServer, times: int) -> None:
    for _number in range(times):
        await fleet.stop_the_leader(1.5 * LEASE)


async def kill_redis(_: Fleet, redis: RedisServer, times: int) -> None:
    for _number in range(times):
        redis.kill()
        redis.start()
        await anyio.sleep(LEASE)


async def cut_the_file(_: Fleet, redis: RedisServer, times: int) -> None:
    for _number in range(times):
        redis.kill()
        redis.cut(4096)
        redis.start()
        await anyio.sleep(3 * LEASE)


ATTACKS: dict[str, tuple[Attack, int]] = {
    "the leader is killed": (kill_leaders, 10),
    "the leader is stopped past its lease": (stop_leaders, 5),
    "redis is killed": (kill_redis, 3),
    "the append-only file is cut": (cut_the_file, 2),
}
"""The attacks, and how often each is made in the slow run; twice in the quick run."""


def events_of(report: Path) -> list[Event]:
    return [event_from_dict(json.loads(record)) for record in chaos.read_records(report)[1:]]


@pytest.mark.parametrize(
    ("attack", "times"),
    [
        *((attack, 2) for attack, _ in ATTACKS.values()),
        *(pytest.param(*attack, marks=pytest.mark.slow) for attack in ATTACKS.values()),
    ],
    ids=[*ATTACKS, *(f"{name}, {times} times" for name, (_, times) in ATTACKS.items())],
)
async def test_no_event_is_lost_or_repeated(
    attack: Attack, tmp_path: Path, redis_server: RedisServer, times: int
) -> None:
    world = World(seed=1)
    async with Served(world.sim) as server:
        with Fleet(redis_server, server.url, tmp_path) as fleet:
            await fleet.leader()
            async with anyio.create_task_group() as alive:
                alive.start_soon(world.act)
                await anyio.sleep(LEASE)
                await attack(fleet, redis_server, times)
                await anyio.sleep(LEASE)
                alive.cancel_scope.cancel()
            world.stop()
            await fleet.leader()
            async with (
                chaos.fleet_client(server.url, redis_server.url, LEASE, PATIENCE, may_lead=False) as client,
                Watcher(client) as watcher,
            ):
                kept: list[Event] = []
                every = watcher.events(after=0)

                async def caught_up() -> bool:
                    while every.cursor < watcher.cursor:
                        kept.append(await anext(every))
                    everywhere = all(
                        not events_of(report) or events_of(report)[-1].seq == watcher.cursor
                        for report in fleet.current_reports
                    )
                    is_seen = seen(watcher.orders.values()) == listed(world.sim)
                    return len(messages(kept)) >= len(world.sent) and is_seen and everywhere

                with anyio.fail_after(PATIENCE):
                    while not await caught_up():  # noqa: ASYNC110 - the provider acts
                        await anyio.sleep(chaos.FLEET_INTERVAL)
    assert_all_was_reported(kept, world.sim, world.sent)
    everything = {event.seq: event for event in kept}
    for report in fleet.reports:
        # A slow machine makes polls fail after the last look.
        events = [event for event in events_of(report) if event.seq <= kept[-1].seq]
        assert {event.seq: event for event in events} == {event.seq: everything[event.seq] for event in events}
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert world.sim.violations == []
    assert_one_pace(world.sim)


def assert_one_pace(sim: Simulator) -> None:
    """Check that three processes send no more requests than the pace of one permits."""
    times = [request.at.timestamp() for request in sim.requests]
    assert len(times) <= 1.03 * (max(times) - min(times)) / chaos.FLEET_GAP + 2


# -- everything at once ------------------------------------------------------------------------------------------------


async def test_messages_keep_their_ids_when_all_processes_and_the_last_writes_of_redis_are_lost(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    sim, text = Simulator(seed=1), "Your code: 1234"
    order_id = sim.add_order(state=1).id
    folders = tmp_path / "before", tmp_path / "after"
    for folder in folders:
        folder.mkdir()
    async with Served(sim) as server:
        with Fleet(redis_server, server.url, folders[0]) as fleet:
            await fleet.leader()
            sim.deliver(order_id, text)
            await fleet.reported(1)
            size = redis_server.file.stat().st_size
            sim.deliver(order_id, text)
            sim.set_state(order_id, 0)
            before = await fleet.reported(2)
            fleet.kill_all()
            redis_server.kill()
        redis_server.cut(redis_server.file.stat().st_size - size)
        redis_server.start()
        assert redis_server.cli("XRANGE", "smspva:{main}:events", "-", "+").count(text) == 1
        with Fleet(redis_server, server.url, folders[1]) as fleet:
            await fleet.leader()
            sim.deliver(order_id, text)
            after = await fleet.reported(3)
            events = [events_of(report) for report in fleet.current_reports]
    assert [list(found)[:2] for found in after] == [list(found) for found in before]
    for found in events:
        assert_all_was_reported(found, sim, [(order_id, text)] * 3)


# -- the pace ----------------------------------------------------------------------------------------------------------


class TimedSimulator(Simulator):
    """A simulator that records when requests arrive, on the clock of Redis."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.arrivals: list[float] = []

    async def __call__(self, *arguments: Any) -> None:
        self.arrivals.append(time.time())
        await super().__call__(*arguments)


async def test_no_request_of_three_processes_is_sent_within_the_gap(redis_server: RedisServer) -> None:
    """Check two laws that no delay in a process or on the way can break, unlike the time between two arrivals.

    Redis writes down when it grants a slot. A request begins after that, and the next slot is granted a gap after the
    request has begun, so slots are at least a gap apart. A request arrives after its slot was granted, so the request
    that arrives as number n does so after the slot number n was granted.
    """
    sim = TimedSimulator()
    orders = [sim.add_order(state=1).id for _ in BACKENDS]
    async with Served(sim) as server:
        with Program(*redis_server.cli_command("MONITOR")) as monitor, ExitStack() as stack:
            await until(lambda: "OK" in monitor.stderr, monitor)
            for order_id, backend in zip(orders, BACKENDS, strict=True):
                arguments = server.url, redis_server.url, LEASE, backend, order_id
                stack.enter_context(Worker(chaos.ask_in_fleet, *arguments))
            await until(lambda: all(asked(sim)[order_id] >= 10 for order_id in orders), monitor)
            arrivals = sorted(sim.arrivals)
            await until(lambda: len(slots(monitor.stderr)) >= len(arrivals), monitor)
            granted = slots(monitor.stderr)
    assert min(later - earlier for earlier, later in pairwise(granted)) >= chaos.FLEET_GAP - 1e-5
    assert all(arrival >= slot for arrival, slot in zip(arrivals, granted, strict=False))


def asked(sim: Simulator) -> Counter[int]:
    """Return the number of requests for each order."""
    return Counter(int(request.params["id"]) for request in sim.requests)


def slots(monitored: str) -> list[float]:
    """Return when Redis granted the slots that were used: the last one of each ticket."""
    granted: dict[str, float] = {}
    for line in monitored.splitlines():
        words = re.findall(r'"([^"]*)"', line)
        if words[:1] == ["HSET"] and words[1].endswith(":pace") and "granted" in words[2::2]:
            fields = dict(zip(words[2::2], words[3::2], strict=True))
            granted[fields["ticket"]] = float(fields["granted"])
    return sorted(granted.values())
