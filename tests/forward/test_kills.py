"""Forwarding over a real connection to a receiver that fails, hangs, is killed and restarted, and so is the sender."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chaos, webhooks
from tests.support.backends import on_a_real_loop
from tests.support.invariants import messages
from tests.support.loopback import Served
from tests.support.processes import Worker, until

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async import Event

ORDERS = 3
MESSAGES = 4
"""Messages between two kills."""
LONG = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.anyio
@on_a_real_loop
@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize(("seed", "kills"), [(1, 3), *[pytest.param(seed, 20, marks=LONG) for seed in (1, 2)]])
async def test_no_kill_loses_or_reorders_an_event(seed: int, kills: int, tmp_path: Path) -> None:
    chance, sim = Random(seed), Simulator(seed=seed)
    orders = [sim.add_order(state=1).id for _ in range(ORDERS)]
    journal, report = tmp_path / "journal.db", tmp_path / "report"
    sent: list[tuple[int, str]] = []

    def send() -> None:
        sent.append((chance.choice(orders), f"Your code: {len(sent)}"))
        sim.deliver(*sent[-1])

    with webhooks.Port() as port, ExitStack() as stack:

        def receiver() -> Worker:
            return stack.enter_context(Worker(webhooks.receive, port, report))

        def sender() -> Worker:
            return stack.enter_context(Worker(webhooks.watch_and_forward, server.url, journal, port))

        def delivered() -> list[Event]:
            return webhooks.deliveries(report)

        def is_long(count: int) -> bool:
            return len(delivered()) >= count

        async with Served(sim) as server:
            ends = [receiver(), sender()]
            starters = [receiver, sender]
            await until(partial(is_long, ORDERS), *ends)
            for number in range(2 * kills):  # each end in turn
                for _ in range(MESSAGES):
                    send()
                enough = len(delivered()) + chance.randint(1, MESSAGES)
                await until(partial(is_long, enough), *ends)
                ends[number % 2].kill()
                ends[number % 2] = starters[number % 2]()
            await until(lambda: set(sent) <= {*messages(delivered()).values()}, *ends)
            for end in ends:
                end.kill()
            async with chaos.client(server.url, timeout=PATIENCE) as client, chaos.watcher(client, journal) as watcher:
                every = watcher.events(after=0)
                given = delivered()
                kept = [await anext(every) for _ in range(given[-1].seq)]

    steps = [after.seq - before.seq for before, after in pairwise(given)]
    assert given[0].seq == 1
    assert set(steps) <= {0, 1}, "an event was lost or out of order"
    assert 0 in steps, "an event whose answer was lost did not come again"
    assert all(event == kept[event.seq - 1] for event in given), "a repetition differs from the event, or its id does"
    assert sim.violations == []
