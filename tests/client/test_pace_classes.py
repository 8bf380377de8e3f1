"""The pace: who goes first, and the share of each class."""

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
from tests.support.pacing import FOREGROUND, POLL, SPEND, asked, three_classes, waits
from tests.support.samples import CALLS, SPENDING, Call, name_of
from tests.support.selection import mostly_slow

if TYPE_CHECKING:
    from tests.support.fake_server import FakeServer

pytestmark = on_both_backends


@pytest.mark.anyio
@pytest.mark.parametrize("spending", SPENDING, ids=name_of)
async def test_whoever_is_most_urgent_when_a_slot_is_free_goes(spending: Call, fake_server: FakeServer) -> None:
    three_classes(fake_server)
    fake_server.call(spending, spending.sample)
    async with fake_server.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await asked(client, FOREGROUND)
        for call in (POLL, FOREGROUND, spending):  # the most urgent comes last
            await anyio.sleep(3)
            tasks.start_soon(asked, client, call)
    assert fake_server.methods[1:] == [spending.method, FOREGROUND.method, POLL.method]
    assert waits(fake_server) == pytest.approx([10] * 3)


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
async def test_every_class_that_waits_has_one_slot_in_four(
    calls: list[Call], expected: str, fake_server: FakeServer
) -> None:
    three_classes(fake_server)
    async with fake_server.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        for call in calls * 20:
            tasks.start_soon(asked, client, call)
        await anyio.sleep(11.5)
        tasks.cancel_scope.cancel()
    letters = {"create": "S", "getcountries": "F", "orders": "P"}
    assert "".join(letters[method] for method in fake_server.methods) == expected
    assert waits(fake_server) == pytest.approx([1] * 11)


@pytest.mark.anyio
async def test_an_activation_that_a_session_waits_for_is_no_poll(fake_server: FakeServer) -> None:
    three_classes(fake_server)
    fake_server.call(CALLS["activate"], CALLS["activate"].sample)
    async with fake_server.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await asked(client, FOREGROUND)
        tasks.start_soon(asked, client, POLL)
        await anyio.sleep(1)
        tasks.start_soon(polled_client(client, 60).activate, 123)
    assert fake_server.methods == ["getcountries", "activate", "orders"]


@pytest.mark.anyio
async def test_a_watch_of_many_orders_delays_a_call_by_its_share_at_most() -> None:
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
            # One slot may have been taken just before, and of every four one is the watch's.
            assert anyio.current_time() - began <= 1.5 * (1 + count + count / 3) + 0.01
            await anyio.sleep(30)


@define(eq=False)
class Waiting:
    """A call that waits from one time to another; whether it was made in the end."""

    call: Call
    joined: float
    left: float = math.inf
    went: bool = False


@pytest.mark.anyio
@pytest.mark.parametrize("seed", mostly_slow(range(12), every=4))
async def test_the_shares_and_the_order_hold_whoever_comes_and_goes(seed: int, fake_server: FakeServer) -> None:
    rng = random.Random(seed)
    three_classes(fake_server)
    all_of_them: list[Waiting] = []

    async def caller(client: SmspvaClient, one: Waiting, patience: float) -> None:
        with anyio.move_on_after(patience):
            await asked(client, one.call)
            one.went = True
        one.left = anyio.current_time()

    async with fake_server.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        for _ in range(250):
            await anyio.sleep(rng.expovariate(rng.choice([0.3, 1, 5])))
            one = Waiting(rng.choice([SPEND, FOREGROUND, POLL, POLL]), anyio.current_time())
            all_of_them.append(one)
            tasks.start_soon(caller, client, one, rng.choice([math.inf, rng.uniform(0, 6)]))
    went = sorted((one for one in all_of_them if one.went), key=lambda one: one.left)
    assert [one.left for one in went] == fake_server.times
    assert min(waits(fake_server)) >= 1 - 1e-9
    for first, last in zip(fake_server.times, fake_server.times[3:], strict=False):
        served = {one.call.method for one in went if first <= one.left <= last}
        for method in {SPEND.method, FOREGROUND.method, POLL.method} - served:
            assert not waited_throughout([one for one in all_of_them if one.call.method == method], first, last)
    for earlier, later in pairwise(fake_server.times):
        # Nobody waits while a slot is free.
        assert later - earlier <= 1 + 1e-9 or not any(
            one.joined < later - 1e-6 and one.left >= later for one in all_of_them
        )
    for kind in (SPEND, FOREGROUND, POLL):
        joined = [one.joined for one in went if one.call is kind]
        assert joined == sorted(joined)


def waited_throughout(calls: list[Waiting], first: float, last: float) -> bool:
    """Tell whether at every time between two times some call waited."""
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


def can_be_kept(passed: dict[Priority, int]) -> bool:
    """Tell whether there is an order in which each class has a slot before it has been passed over four times."""
    return any(
        all(passed[priority] + place <= LATEST for place, priority in enumerate(order))
        for order in itertools.permutations(passed)
    )


@pytest.mark.parametrize("passed", [state for state in STATES if state and can_be_kept(state)], ids=repr)
def test_the_most_urgent_goes_unless_the_shares_could_not_be_kept(passed: dict[Priority, int]) -> None:
    chosen = next_priority(passed)
    for priority in passed:
        if priority is chosen:
            break
        assert not can_be_kept(skipped(passed, priority))
    after = skipped(passed, chosen)
    assert can_be_kept(after)
    # Whoever comes or goes doesn't change that.
    assert all(can_be_kept({priority: 0} | after) for priority in Priority)
    assert all(
        can_be_kept({priority: after[priority] for priority in after if priority is not gone}) for gone in Priority
    )


@given(strategies.lists(strategies.sets(strategies.sampled_from(Priority), min_size=1), min_size=4, max_size=60))
def test_whatever_the_arrivals_a_class_that_waits_has_one_slot_in_four(slots: list[set[Priority]]) -> None:
    passed: dict[Priority, int] = {}
    went: list[Priority] = []
    for waiting in slots:
        passed = {priority: passed.get(priority, 0) for priority in waiting}
        went.append(next_priority(passed))
        passed = skipped(passed, went[-1])
    for start in range(len(slots) - 3):
        window = slice(start, start + 4)
        assert set.intersection(*slots[window]) <= set(went[window])
