"""A long watch of hundreds of orders over weeks of virtual time, with all kinds of changes and faults."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import Event, OrderState, Pace, SmspvaClient, Subscription, Watcher
from smspva_async.simulator import Simulator
from tests.support.backends import on_asyncio
from tests.support.invariants import assert_all_was_reported
from tests.support.selection import slow

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
]


async def change_at_random(
    sim: Simulator, chance: Random, sent: list[tuple[int, str]], *, days: float, pause: float
) -> None:
    """Deliver messages, let numbers become active and lapse, and let some requests fail."""
    sim.faults.rate(0.1)
    orders: Sequence[Any] = sim.orders
    end = anyio.current_time() + days * 86_400
    while anyio.current_time() < end:
        await anyio.sleep(chance.uniform(0, 2 * pause))
        order_id = chance.choice(orders).id
        match chance.randrange(4):
            case 0:
                sim.set_state(order_id, OrderState.ACTIVATING)  # so that it becomes active, and later inactive again
            case 1:
                sim.read_elsewhere(order_id)
            case _:
                text = chance.choice(["Your code: 1234", f"Your code: {len(sent)}"])
                sim.deliver(order_id, text, date="now" if chance.random() < 0.9 else None)
                sent.append((order_id, text))
    sim.faults.clear()
    for order in orders:
        sim.set_state(order.id, 0)


async def consume(subscription: Subscription, events: list[Event]) -> None:
    events.extend([event async for event in subscription])


@pytest.mark.parametrize(
    ("orders", "days", "interval", "gap", "pause"),
    [
        pytest.param(3, 0.25, 300, 1.5, 75, id="six hours"),
        slow(3, 30, 900, 1.5, 7200, id="30 days"),
        slow(200, 1, 300, 6, 120, id="200 orders"),
    ],
)
async def test_a_long_watch_reports_everything_once(
    orders: int, days: float, interval: float, gap: float, pause: float
) -> None:
    sim = Simulator(seed=orders, dialect="live")
    for number in range(orders):
        sim.add_order(country=("RU", "LT", "PL")[number % 3], days=90)
    sent: list[tuple[int, str]] = []
    events: list[Event] = []
    async with (
        SmspvaClient("any-key", transport=sim.transport(), pace=Pace(gap=gap)) as client,
        anyio.create_task_group() as consumer,
        Watcher(client, interval=interval) as watcher,
    ):
        consumer.start_soon(consume, watcher.events(after=0), events)
        await anyio.sleep(orders * gap * 4)  # until a list has been read, its messages count as old
        await change_at_random(sim, Random(orders), sent, days=days, pause=pause)
        await anyio.sleep(2 * 3600)
    assert len(sent) > 100
    assert_all_was_reported(events, sim, sent)
    assert sim.violations == []
