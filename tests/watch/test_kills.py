"""A watch that is killed repeatedly while its requests fail and its orders change."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import Event, event_from_dict
from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chaos
from tests.support.backends import on_a_real_loop
from tests.support.invariants import assert_all_was_reported, listed, messages, seen
from tests.support.loopback import Served
from tests.support.processes import Worker, until

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = 7


class World:
    """The provider, whose orders change at random.

    Attributes:
        sent: The text of each message sent, with its order's id.

    """

    def __init__(self, seed: int) -> None:
        self.sim = Simulator(
            seed=seed, dialect="live" if seed % 2 else "page", activation=(0.1, 0.3), active=(0.2, 0.5)
        )
        self.sent: list[tuple[int, str]] = []
        self._chance = Random(seed)
        self._removable = [self.sim.add_order().id for _ in range(3)]
        self._orders = [self.sim.add_order().id for _ in range(ORDERS - 3)]

    def act_at_random(self) -> None:
        """Change something at random, or deliver a message."""
        chance, order_id = self._chance, self._chance.choice(self._orders)
        match chance.randrange(6):
            case 0:
                self.sim.set_state(order_id, chance.choice([0, 1, 2, -1]))
            case 1 if chance.random() < 0.2:
                self._orders.append(self.sim.add_order().id)
            case 2 if self._removable and chance.random() < 0.1:
                self.sim.remove_order(self._removable.pop())  # it has no messages, so none can be lost
            case 3:
                self.sim.read_elsewhere(order_id)
            case _:
                # The same text each time, so that messages differ only by their count.
                text = chance.choice(["Your code: 1234", f"Your code: {len(self.sent)}"])
                self.sim.deliver(order_id, text, date="now" if chance.random() < 0.9 else None)
                self.sent.append((order_id, text))

    def stop(self) -> None:
        """Stop all faults and changes."""
        self.sim.faults.clear()
        for order_id in self._orders:
            self.sim.set_state(order_id, 0)


def reported(report: Path) -> list[Event]:
    return [event_from_dict(json.loads(event)) for event in chaos.read_records(report)]


LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.anyio
@on_a_real_loop
@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize(("seed", "kills"), [(1, 4), *[pytest.param(seed, 50, marks=LONG) for seed in (1, 2)]])
async def test_no_kill_loses_or_repeats_an_event(seed: int, kills: int, tmp_path: Path) -> None:
    world, chance = World(seed), Random(seed)
    journal, report = tmp_path / "journal.db", tmp_path / "report"

    async def act() -> None:
        while True:
            world.act_at_random()
            await anyio.sleep(chance.uniform(0, 0.02))

    def baseline_is_stored() -> bool:
        # An order's messages are read again only after those of the first reading are in the journal.
        read = Counter(request.params["id"] for request in world.sim.requests if request.method == "sms")
        return all(read[str(order.id)] > 1 for order in world.sim.orders)

    async with Served(world.sim) as server:
        async with anyio.create_task_group() as alive:
            for number in range(kills + 1):
                timeout = chaos.TIMEOUT if number else PATIENCE
                with Worker(chaos.watch, server.url, journal, report, timeout) as program:
                    if number == 0:
                        # Messages from before the watch aren't reported.
                        await until(baseline_is_stored, program)
                        world.sim.faults.rate(0.25)
                        alive.start_soon(act)
                    await anyio.sleep(chance.uniform(0, 0.3))
                    program.kill()
            alive.cancel_scope.cancel()
        world.stop()

        async with chaos.client(server.url, timeout=PATIENCE) as client, chaos.watcher(client, journal) as watcher:
            kept: list[Event] = []
            every = watcher.events(after=0)

            async def caught_up() -> bool:
                while every.cursor < watcher.cursor:
                    kept.append(await anext(every))
                return len(messages(kept)) >= len(world.sent) and seen(watcher.orders.values()) == listed(world.sim)

            with anyio.fail_after(PATIENCE):
                while not await caught_up():  # noqa: ASYNC110 - the provider acts
                    await anyio.sleep(chaos.INTERVAL)
                rest = watcher.consumer("the consumer")
                given = [*reported(report), *[await anext(rest) for _ in range(watcher.cursor - rest.cursor)]]

    assert_all_was_reported(kept, world.sim, world.sent)
    # Every event after the baseline was delivered at least once, each time with the same content.
    assert {event.seq: event for event in given} == {event.seq: event for event in kept[ORDERS:]}
    assert world.sim.violations == []
