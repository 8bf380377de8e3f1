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
        ([SPEND, FOREGROUND, POLL], "SSFPSFSPFSSP"),
        ([FOREGROUND, POLL], "FFFPFFFPFFFP"),
        ([SPEND, POLL], "SSSPSSSPSSSP"),
        ([SPEND, FOREGROUND], "SSFSSFSSFSSF"),
        ([POLL], "PPPPPPPPPPPP"),
    ],
    ids=["all", "no spending", "no foreground", "no polls", "polls"],
)
async def test_the_most_urgent_call_goes_first_unless_another_was_skipped_too_often(
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


def test_with_any_arrivals_a_waiting_priority_gets_one_slot_in_four() -> None:
    states: list[dict[Priority, int]] = [{}]
    for skips in states:  # it grows until all reachable states are known
        # Before each slot, every priority may get or lose its waiters, or lose them and get others.
        for counts in itertools.product(*({None, 0, skips.get(priority)} for priority in Priority)):
            waiting = {priority: count for priority, count in zip(Priority, counts, strict=True) if count is not None}
            if waiting:
                after = skipped(waiting, next_priority(waiting))
                assert max(after.values()) < 4
                if after not in states:
                    states.append(after)
