"""A watch that is killed again and again, in a world where everything goes wrong."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import Event, event_from_dict
from smspva_async.simulator import Simulator
from tests.support import chaos, processes
from tests.support.backends import on_a_real_loop
from tests.support.invariants import assert_all_was_reported, listed, messages, seen
from tests.support.loopback import Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = 50
ORDERS = 7
PATIENCE = 60.0


class World:
    """What happens at the provider meanwhile.

    Attributes:
        sent: The text of each message that was sent, with its order's id.

    """

    def __init__(self, seed: int) -> None:
        self.sim = Simulator(
            seed=seed, dialect="live" if seed % 2 else "page", activation=(0.1, 0.3), active=(0.2, 0.5)
        )
        self.sent: list[tuple[int, str]] = []
        self._chance = Random(seed)
        self._doomed = [self.sim.add_order().id for _ in range(3)]
        self._orders = [self.sim.add_order().id for _ in range(ORDERS - 3)]

    def go_on(self) -> None:
        """Let something happen."""
        chance, order_id = self._chance, self._chance.choice(self._orders)
        match chance.randrange(6):
            case 0:
                self.sim.set_state(order_id, chance.choice([0, 1, 2, -1]))
            case 1 if chance.random() < 0.2:
                self._orders.append(self.sim.add_order().id)
            case 2 if self._doomed and chance.random() < 0.1:
                self.sim.remove_order(self._doomed.pop())  # it never had a message that could be lost with it
            case 3:
                self.sim.read_elsewhere(order_id)
            case _:
                # The same text again and again, so that messages differ by their count alone.
                text = chance.choice(["Your code: 1234", f"Your code: {len(self.sent)}"])
                self.sim.deliver(order_id, text, date="now" if chance.random() < 0.9 else None)
                self.sent.append((order_id, text))

    def calm_down(self) -> None:
        """Let nothing happen any more."""
        self.sim.faults.clear()
        for order_id in self._orders:
            self.sim.set_state(order_id, 0)


def reported(report: Path) -> list[Event]:
    return [event_from_dict(json.loads(event)) for event in chaos.told(report)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until other processes have brought something about."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - they can't tell
            await anyio.sleep(0.01)


@pytest.mark.anyio
@on_a_real_loop
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_kill_loses_or_doubles_anything(seed: int, tmp_path: Path) -> None:
    world, chance = World(seed), Random(seed)
    journal, report = tmp_path / "journal.db", tmp_path / "report"

    async def live() -> None:
        while True:
            world.go_on()
            await anyio.sleep(chance.uniform(0, 0.02))

    def is_read(order_id: int) -> bool:
        return any(asked.method == "sms" and asked.params["id"] == str(order_id) for asked in world.sim.requests)

    async with Served(world.sim) as server:
        program = processes.start(chaos.watch, server.url, journal, report)
        # What was there before the watch began isn't reported.
        await until(lambda: all(is_read(order.id) for order in world.sim.orders))
        world.sim.faults.rate(0.25)
        async with anyio.create_task_group() as alive:
            alive.start_soon(live)
            for _ in range(KILLS):
                await anyio.sleep(chance.uniform(0, 0.3))
                processes.kill(program)
                program = processes.start(chaos.watch, server.url, journal, report)
            alive.cancel_scope.cancel()
        processes.kill(program)
        world.calm_down()

        async with chaos.client(server.url) as client, chaos.watcher(client, journal) as watcher:
            kept: list[Event] = []
            every = watcher.events(after=0)

            async def caught_up() -> bool:
                while every.cursor < watcher.cursor:
                    kept.append(await anext(every))
                return len(messages(kept)) >= len(world.sent) and seen(watcher.orders.values()) == listed(world.sim)

            with anyio.fail_after(PATIENCE):
                while not await caught_up():  # noqa: ASYNC110 - it is the provider that acts
                    await anyio.sleep(chaos.INTERVAL)
            rest = watcher.events("the consumer")
            given = [*reported(report), *[await anext(rest) for _ in range(watcher.cursor - rest.cursor)]]

    assert_all_was_reported(kept, world.sim, world.sent)
    # All that came after the baseline was given at least once, and whenever it was given again it was the same.
    assert {event.seq: event for event in given} == {event.seq: event for event in kept[ORDERS:]}
    assert world.sim.violations == []
