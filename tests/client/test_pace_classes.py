"""The pace: the order of the priorities, and the share of each."""

from __future__ import annotations

import itertools
import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from attrs import define
from hypothesis import given, strategies

from smspva_async import Pace, SmspvaClient, Watcher
from smspva_async._http.rate_limiter import Priority, next_priority, skipped
from smspva_async.client import polled_client
from smspva_async.simulator import Simulator
from tests.support.backends import on_both_backends
from tests.support.pacing import FOREGROUND, POLL, SPEND, answer_all_priorities, make_call
from tests.support.samples import CALLS, SPENDING, Call, name_of
from tests.support.selection import mostly_slow

if TYPE_CHECKING:
    from tests.support.fake_server import FakeServer

pytestmark = on_both_backends


@pytest.mark.anyio
@pytest.mark.parametrize("spending", SPENDING, ids=name_of)
async def test_a_free_slot_goes_to_the_most_urgent_call(spending: Call, fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    fake_server.call(spending, spending.sample)
    async with fake_server.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await make_call(client, FOREGROUND)
        for call in (POLL, FOREGROUND, spending):  # the most urgent comes last
            await anyio.sleep(3)
            tasks.start_soon(make_call, client, call)
    assert fake_server.methods[1:] == [spending.method, FOREGROUND.method, POLL.method]
    assert fake_server.gaps == pytest.approx([10] * 3)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([SPEND, FOREGROUND, POLL], "SSFPSSFPSSFP"),
        ([FOREGROUND, POLL], "FFFPFFFPFFFP"),
        ([SPEND, POLL], "SSSPSSSPSSSP"),
        ([SPEND, FOREGROUND], "SSSFSSSFSSSF"),
        ([POLL], "PPPPPPPPPPPP"),
    ],
    ids=["all", "no spending", "no foreground", "no polls", "polls"],
)
async def test_every_waiting_priority_gets_one_slot_in_four(
    calls: list[Call], expected: str, fake_server: FakeServer
) -> None:
    answer_all_priorities(fake_server)
    async with fake_server.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        for call in calls * 20:
            tasks.start_soon(make_call, client, call)
        await anyio.sleep(11.5)
        tasks.cancel_scope.cancel()
    letters = {"create": "S", "getcountries": "F", "orders": "P"}
    assert "".join(letters[method] for method in fake_server.methods) == expected
    assert fake_server.gaps == pytest.approx([1] * 11)


@pytest.mark.anyio
async def test_an_activation_by_a_watcher_has_foreground_priority(fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    fake_server.call(CALLS["activate"], CALLS["activate"].sample)
    async with fake_server.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await make_call(client, FOREGROUND)
        tasks.start_soon(make_call, client, POLL)
        await anyio.sleep(1)
        tasks.start_soon(polled_client(client, 60).activate, 123)
    assert fake_server.methods == ["getcountries", "activate", "orders"]


@pytest.mark.anyio
async def test_a_watcher_of_many_orders_delays_calls_by_its_share_at_most() -> None:
    sim = Simulator(seed=5)
    for _ in range(300):
        sim.add_order()
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client):
        await anyio.sleep(100)
        for count in (1, 3, 9):
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(client.countries)
            # One slot may have been used just before, and one in four is the watcher's.
            assert anyio.current_time() - began <= 1.5 * (1 + count + count / 3) + 0.01
            await anyio.sleep(30)


@define(eq=False)
class Waiting:
    """A call that waits from `joined` to `left`. `was_made` is false if it was cancelled."""

    call: Call
    joined: float
    left: float = math.inf
    was_made: bool = False


@pytest.mark.anyio
@pytest.mark.parametrize("seed", mostly_slow(range(12), every=4))
async def test_each_priority_keeps_its_share_and_order_while_calls_start_and_end(
    seed: int, fake_server: FakeServer
) -> None:
    rng = random.Random(seed)
    answer_all_priorities(fake_server)
    calls: list[Waiting] = []

    async def caller(client: SmspvaClient, one: Waiting, patience: float) -> None:
        with anyio.move_on_after(patience):
            await make_call(client, one.call)
            one.was_made = True
        one.left = anyio.current_time()

    async with fake_server.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        for _ in range(250):
            await anyio.sleep(rng.expovariate(rng.choice([0.3, 1, 5])))
            one = Waiting(rng.choice([SPEND, FOREGROUND, POLL, POLL]), anyio.current_time())
            calls.append(one)
            tasks.start_soon(caller, client, one, rng.choice([math.inf, rng.uniform(0, 6)]))
    made = sorted((one for one in calls if one.was_made), key=lambda one: one.left)
    assert [one.left for one in made] == fake_server.times
    assert min(fake_server.gaps) >= 1 - 1e-9
    for first, last in zip(fake_server.times, fake_server.times[3:], strict=False):
        served = {one.call.method for one in made if first <= one.left <= last}
        for method in {SPEND.method, FOREGROUND.method, POLL.method} - served:
            assert not waited_throughout([one for one in calls if one.call.method == method], first, last)
    for earlier, later in pairwise(fake_server.times):
        # No call waits while a slot is free.
        assert later - earlier <= 1 + 1e-9 or not any(one.joined < later - 1e-6 and one.left >= later for one in calls)
    for kind in (SPEND, FOREGROUND, POLL):
        joined = [one.joined for one in made if one.call is kind]
        assert joined == sorted(joined)


def waited_throughout(calls: list[Waiting], first: float, last: float) -> bool:
    """Return whether, at each moment between two times, at least one of the calls waited."""
    until = first
    for one in sorted(calls, key=lambda one: one.joined):
        if one.joined < until < one.left:
            until = one.left
    return until > last


LATEST = 3
STATES = [
    {priority: count for priority, count in zip(Priority, counts, strict=True) if count is not None}
    for counts in itertools.product([None, *range(LATEST + 1)], repeat=3)
]


def can_be_served_in_time(skips: dict[Priority, int]) -> bool:
    """Return whether some order gives each priority a slot before it is skipped four times."""
    return any(
        all(skips[priority] + place <= LATEST for place, priority in enumerate(order))
        for order in itertools.permutations(skips)
    )


@pytest.mark.parametrize("skips", [state for state in STATES if state and can_be_served_in_time(state)], ids=repr)
def test_the_most_urgent_priority_goes_first_unless_a_share_would_be_missed(skips: dict[Priority, int]) -> None:
    chosen = next_priority(skips)
    for priority in skips:
        if priority is chosen:
            break
        assert not can_be_served_in_time(skipped(skips, priority))
    after = skipped(skips, chosen)
    assert can_be_served_in_time(after)
    # This stays true when a priority gets or loses its waiters.
    assert all(can_be_served_in_time({priority: 0} | after) for priority in Priority)
    assert all(
        can_be_served_in_time({priority: after[priority] for priority in after if priority is not gone})
        for gone in Priority
    )


@given(strategies.lists(strategies.sets(strategies.sampled_from(Priority), min_size=1), min_size=4, max_size=60))
def test_with_any_arrivals_a_waiting_priority_gets_one_slot_in_four(slots: list[set[Priority]]) -> None:
    skips: dict[Priority, int] = {}
    made: list[Priority] = []
    for waiting in slots:
        skips = {priority: skips.get(priority, 0) for priority in waiting}
        made.append(next_priority(skips))
        skips = skipped(skips, made[-1])
    for start in range(len(slots) - 3):
        window = slice(start, start + 4)
        assert set.intersection(*slots[window]) <= set(made[window])
