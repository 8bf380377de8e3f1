"""Three processes of a fleet, on asyncio and trio, while processes and Redis are stopped and killed."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import anyio
import pytest

from smspva_async import Event, Watcher, event_from_dict
from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chaos
from tests.support.backends import on_a_real_loop
from tests.support.invariants import assert_all_was_reported, listed, messages, seen
from tests.support.loopback import Served
from tests.support.processes import Worker

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
