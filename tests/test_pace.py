"""The pace: how long after one another requests begin, and who goes first."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from attrs import define, exceptions
from hypothesis import given, strategies

from smspva_async import (
    ClientClosed,
    ClientStatistics,
    OutcomeUnknown,
    Pace,
    Period,
    RateLimited,
    Retry,
    SmspvaClient,
    SmspvaError,
    Watcher,
)
from smspva_async._policy import Rank, grown, next_rank, passed_over, shrunk
from smspva_async.client import polling_view
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.edge import KEY, nothing_ever
from tests.samples import CALLS, SPENDING, Call, name_of
from tests.watching import gaps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from tests.edge import Edge

NOTHING: dict[str, Any] = {"status": 1, "data": []}
ONCE = Retry(attempts=1)
SPEND, FOREGROUND, POLL = CALLS["create"], CALLS["getcountries"], CALLS["orders"]
"""A call of each class, as `asked` makes it."""


def waits(edge: Edge) -> list[float]:
    return gaps(edge.times)


async def asked(client: SmspvaClient, call: Call) -> None:
    """Make a call, the one that polls as a watcher does."""
    if call is POLL:
        await polling_view(client, 60).orders(lambda: None, anyio.lowlevel.checkpoint)
    else:
        await call.make(client)


def three_classes(edge: Edge) -> None:
    for call in (SPEND, FOREGROUND, POLL):
        edge.call(call, call.sample)


def too_many(retry_after: float | None = None, status: int = 429) -> httpx.Response:
    return httpx.Response(status, headers={} if retry_after is None else {"Retry-After": str(retry_after)})


# -- the gap -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_requests_keep_the_gap_in_the_order_of_their_calls(edge: Edge) -> None:
    for order_id in range(1, 6):
        edge.on("sms", NOTHING, id=str(order_id))
    async with edge.client(pace=Pace(gap=1.5)) as client, anyio.create_task_group() as tasks:
        for order_id in range(1, 6):
            tasks.start_soon(client.sms, order_id)
            await anyio.sleep(0.01)
    assert [query["id"] for query in edge.queries] == ["1", "2", "3", "4", "5"]
    assert waits(edge) == pytest.approx([1.5] * 4)


@pytest.mark.anyio
async def test_the_default_pace_is_forty_a_minute(edge: Edge) -> None:
    edge.on("orders", NOTHING)
    async with edge.client(pace=Pace()) as client:
        for _ in range(41):
            await client.orders()
    assert edge.times[-1] - edge.times[0] == pytest.approx(60)


@pytest.mark.anyio
async def test_no_wait_is_due_after_a_pause(edge: Edge) -> None:
    edge.on("orders", NOTHING)
    async with edge.client(pace=Pace(gap=10)) as client:
        await client.orders()
        await anyio.sleep(11)
        asked = anyio.current_time()
        await client.orders()
    assert edge.times[1] == pytest.approx(asked)


@pytest.mark.anyio
async def test_who_is_cancelled_leaves_the_queue(edge: Edge) -> None:
    edge.on("orders", NOTHING)
    edge.on("sms", NOTHING, id="7")
    async with edge.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await client.orders()

        async def impatient() -> None:
            with anyio.move_on_after(1):
                await client.orders()

        for _ in range(5):
            tasks.start_soon(impatient)
        await anyio.sleep(0.5)
        tasks.start_soon(client.sms, 7)
    assert edge.methods == ["orders", "sms"]
    assert waits(edge) == [pytest.approx(10)]


@pytest.mark.anyio
async def test_another_attempt_keeps_the_gap_too(edge: Edge) -> None:
    edge.on("orders", httpx.Response(500), httpx.Response(500), NOTHING)
    async with edge.client(pace=Pace(gap=20), retry=Retry(first=0)) as client:
        await client.orders()
    assert waits(edge) == pytest.approx([20, 20])


@pytest.mark.anyio
async def test_waiting_for_the_pace_doesnt_count_as_time(edge: Edge) -> None:
    edge.on("orders", NOTHING)
    async with edge.client(pace=Pace(gap=60), timeout=1) as client:
        assert await client.orders() == await client.orders() == []


@pytest.mark.anyio
async def test_a_slow_answer_holds_nobody_up(edge: Edge) -> None:
    edge.call(CALLS["sms"], nothing_ever)
    edge.on("orders", NOTHING)
    async with edge.client(pace=Pace(gap=1), timeout=100) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.sms, 123)
        await anyio.sleep(0.01)
        await client.orders()
        assert edge.times[-1] - edge.times[0] == pytest.approx(1)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_pace_is_kept_from_one_opening_to_the_next(edge: Edge) -> None:
    edge.on("orders", NOTHING)
    client = edge.client(pace=Pace(gap=1.5))
    for _ in range(3):
        async with client:
            await client.orders()
    assert waits(edge) == pytest.approx([1.5, 1.5])


@pytest.mark.anyio
async def test_the_gap_is_kept_whatever_asks() -> None:
    sim = Simulator(seed=3)
    orders = [sim.add_order().id for _ in range(40)]
    sim.switches.rate_limit = 1.5
    async with (
        SmspvaClient("key", transport=sim.transport()) as client,
        Watcher(client),
        anyio.create_task_group() as tasks,
    ):
        start = len(sim.requests)
        for number in range(60):
            tasks.start_soon(client.sms, orders[number % 40])
            if number % 10 == 0:
                tasks.start_soon(client.rent, "RU", "opt16", Period.weeks(1))
        await anyio.sleep(120)
        times = [request.time for request in sim.requests][start - 1 :]
        tasks.cancel_scope.cancel()
    assert len(times) >= 80
    assert gaps(times) == pytest.approx([1.5] * (len(times) - 1), abs=1e-5)
    assert {request.fault for request in sim.requests} == {None}


@pytest.mark.anyio
async def test_a_slow_ledger_brings_no_two_requests_closer(tmp_path: Path, edge: Edge) -> None:
    three_classes(edge)
    async with edge.client(pace=Pace(gap=10), ledger=tmp_path / "ledger") as client:
        ledger: Any = client._caller.spending._ledger
        begin = ledger.begin

        async def begin_late(begun: Any) -> None:
            await anyio.sleep(12)
            await begin(begun)

        ledger.begin = begin_late
        async with anyio.create_task_group() as tasks:
            for call in (SPEND, FOREGROUND, SPEND, FOREGROUND):
                tasks.start_soon(asked, client, call)
    # A slot is given to who is next when it is free, and is over when the request has left.
    assert edge.methods == ["create", "create", "getcountries", "getcountries"]
    assert waits(edge) == pytest.approx([22, 10, 10])


@pytest.mark.anyio
async def test_what_could_not_be_written_down_leaves_its_slot_to_the_next(tmp_path: Path, edge: Edge) -> None:
    three_classes(edge)
    async with edge.client(pace=Pace(gap=10), ledger=tmp_path / "ledger") as client:
        ledger: Any = client._caller.spending._ledger

        async def full(_: object) -> None:
            await anyio.sleep(1)
            raise OSError("disk full")

        ledger.begin = full
        await asked(client, FOREGROUND)

        async def rent() -> None:
            with pytest.raises(OSError, match="disk full"):
                await asked(client, SPEND)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(rent)
            tasks.start_soon(asked, client, FOREGROUND)
    assert waits(edge) == pytest.approx([13])


def test_a_client_that_moves_to_another_event_loop_finds_the_pace_as_new(edge: Edge) -> None:
    edge.on("orders", NOTHING)
    client = edge.client(pace=Pace(gap=10))

    async def begin() -> asyncio.Task[Any]:
        await asyncio.sleep(1000)
        await client.orders()
        waiting = asyncio.create_task(client.orders())
        await asyncio.sleep(5)
        return waiting

    first = VirtualTimeLoop()
    waiting = first.run_until_complete(begin())  # abandoned, with its loop
    assert client.statistics().waiting["foreground"] == 1

    async def go_on() -> None:
        asked = asyncio.get_running_loop().time()
        await client.orders()
        assert edge.times[-1] == asked
        await client.orders()
        assert edge.times[-1] == pytest.approx(asked + 10)
        await client.aclose()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(go_on())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        first.run_until_complete(waiting)
    first.close()
    assert len(edge.times) == 3


# -- who goes first ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("spending", SPENDING, ids=name_of)
async def test_whoever_is_most_urgent_when_a_slot_is_free_goes(spending: Call, edge: Edge) -> None:
    three_classes(edge)
    edge.call(spending, spending.sample)
    async with edge.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await asked(client, FOREGROUND)
        for call in (POLL, FOREGROUND, spending):  # the most urgent comes last
            await anyio.sleep(3)
            tasks.start_soon(asked, client, call)
    assert edge.methods[1:] == [spending.method, FOREGROUND.method, POLL.method]
    assert waits(edge) == pytest.approx([10] * 3)


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
async def test_every_class_that_waits_has_one_slot_in_four(calls: list[Call], expected: str, edge: Edge) -> None:
    three_classes(edge)
    async with edge.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        for call in calls * 20:
            tasks.start_soon(asked, client, call)
        await anyio.sleep(11.5)
        tasks.cancel_scope.cancel()
    letters = {"create": "S", "getcountries": "F", "orders": "P"}
    assert "".join(letters[method] for method in edge.methods) == expected
    assert waits(edge) == pytest.approx([1] * 11)


@pytest.mark.anyio
async def test_an_activation_that_a_session_waits_for_is_no_poll(edge: Edge) -> None:
    three_classes(edge)
    edge.call(CALLS["activate"], CALLS["activate"].sample)
    async with edge.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await asked(client, FOREGROUND)
        tasks.start_soon(asked, client, POLL)
        await anyio.sleep(1)
        tasks.start_soon(polling_view(client, 60).activate, 123)
    assert edge.methods == ["getcountries", "activate", "orders"]


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
@pytest.mark.parametrize("seed", range(12))
async def test_the_shares_and_the_order_hold_whoever_comes_and_goes(seed: int, edge: Edge) -> None:
    rng = random.Random(seed)
    three_classes(edge)
    all_of_them: list[Waiting] = []

    async def caller(client: SmspvaClient, one: Waiting, patience: float) -> None:
        with anyio.move_on_after(patience):
            await asked(client, one.call)
            one.went = True
        one.left = anyio.current_time()

    async with edge.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        for _ in range(250):
            await anyio.sleep(rng.expovariate(rng.choice([0.3, 1, 5])))
            one = Waiting(rng.choice([SPEND, FOREGROUND, POLL, POLL]), anyio.current_time())
            all_of_them.append(one)
            tasks.start_soon(caller, client, one, rng.choice([math.inf, rng.uniform(0, 6)]))
    went = sorted((one for one in all_of_them if one.went), key=lambda one: one.left)
    assert [one.left for one in went] == edge.times
    assert min(waits(edge)) >= 1 - 1e-9
    for first, last in zip(edge.times, edge.times[3:], strict=False):
        served = {one.call.method for one in went if first <= one.left <= last}
        for method in {SPEND.method, FOREGROUND.method, POLL.method} - served:
            assert not waited_throughout([one for one in all_of_them if one.call.method == method], first, last)
    for earlier, later in pairwise(edge.times):
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
    {rank: count for rank, count in zip(Rank, counts, strict=True) if count is not None}
    for counts in itertools.product([None, *range(LATEST + 1)], repeat=3)
]


def can_be_kept(passed: dict[Rank, int]) -> bool:
    """Tell whether there is an order in which each class has a slot before it has been passed over four times."""
    return any(
        all(passed[rank] + place <= LATEST for place, rank in enumerate(order))
        for order in itertools.permutations(passed)
    )


@pytest.mark.parametrize("passed", [state for state in STATES if state and can_be_kept(state)], ids=repr)
def test_the_most_urgent_goes_unless_the_shares_could_not_be_kept(passed: dict[Rank, int]) -> None:
    chosen = next_rank(passed)
    for rank in passed:
        if rank is chosen:
            break
        assert not can_be_kept(passed_over(passed, rank))
    after = passed_over(passed, chosen)
    assert can_be_kept(after)
    # Whoever comes or goes doesn't change that.
    assert all(can_be_kept({rank: 0} | after) for rank in Rank)
    assert all(can_be_kept({rank: after[rank] for rank in after if rank is not gone}) for gone in Rank)


@given(strategies.lists(strategies.sets(strategies.sampled_from(Rank), min_size=1), min_size=4, max_size=60))
def test_whatever_the_arrivals_a_class_that_waits_has_one_slot_in_four(slots: list[set[Rank]]) -> None:
    passed: dict[Rank, int] = {}
    went: list[Rank] = []
    for waiting in slots:
        passed = {rank: passed.get(rank, 0) for rank in waiting}
        went.append(next_rank(passed))
        passed = passed_over(passed, went[-1])
    for start in range(len(slots) - 3):
        window = slice(start, start + 4)
        assert set.intersection(*slots[window]) <= set(went[window])


# -- who is cancelled ----------------------------------------------------------------------------------------------

STEPS = [-1, *range(12)]
"""Of the scheduler, from the time at which the slot is free on; -1: before."""


async def cancel_one(victim: int, step: int, spawn: Callable[[Any], Callable[[], object]], edge: Edge) -> None:
    """Let four calls wait, cancel one at some step, and check on the others.

    Args:
        victim: Which.
        step: One of `STEPS`.
        spawn: Begins a call, and returns what cancels it.
        edge: The server.

    """
    three_classes(edge)
    edge.call(CALLS["sms"], CALLS["sms"].sample)
    calls = [POLL, FOREGROUND, SPEND, POLL]  # the first keeps the time, the third has the slot
    done = [False] * 4
    async with edge.client(pace=Pace(gap=10)) as client:
        await client.sms(123)
        slot = anyio.current_time() + 10

        async def make(number: int) -> None:
            await asked(client, calls[number])
            done[number] = True

        cancels: list[Callable[[], object]] = []
        for number in range(4):
            cancels.append(spawn(partial(make, number)))
            await anyio.sleep(1)
        await anyio.sleep_until(slot + min(step, 0))
        for _ in range(step):
            await anyio.lowlevel.checkpoint()
        cancels[victim]()
        await anyio.sleep(100)
        assert client.statistics().waiting == {"spending": 0, "foreground": 0, "polls": 0}
    assert [mark for number, mark in enumerate(done) if number != victim] == [True] * 3
    sent = [SPEND.method, FOREGROUND.method, POLL.method, POLL.method]
    if len(edge.times) < 5:
        sent.remove(calls[victim].method)
    assert edge.methods == ["sms", *sent]
    assert waits(edge) == pytest.approx([10] * len(sent))


@pytest.mark.anyio
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", range(4), ids=["keeper", "second", "first", "last"])
async def test_who_is_cancelled_at_any_step_takes_nothing_from_the_others(victim: int, step: int, edge: Edge) -> None:
    async with anyio.create_task_group() as tasks:

        def spawn(call: Callable[[], Awaitable[None]]) -> Callable[[], object]:
            scope = anyio.CancelScope()

            async def run() -> None:
                with scope:
                    await call()

            tasks.start_soon(run)
            return scope.cancel

        await cancel_one(victim, step, spawn, edge)


@pytest.mark.asyncio
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", range(4), ids=["keeper", "second", "first", "last"])
async def test_a_task_that_is_cancelled_takes_nothing_from_the_others(victim: int, step: int, edge: Edge) -> None:
    tasks: list[asyncio.Task[None]] = []

    def spawn(call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        tasks.append(asyncio.create_task(call()))
        return tasks[-1].cancel

    await cancel_one(victim, step, spawn, edge)


@pytest.mark.anyio
async def test_all_who_wait_may_be_cancelled_at_once(edge: Edge) -> None:
    three_classes(edge)
    async with edge.client(pace=Pace(gap=10)) as client:
        await asked(client, FOREGROUND)
        with anyio.move_on_after(10):
            async with anyio.create_task_group() as tasks:
                for call in (POLL, FOREGROUND, SPEND) * 5:
                    tasks.start_soon(asked, client, call)
        cancelled = len(edge.times)
        await asked(client, POLL)
        assert client.statistics().waiting == {"spending": 0, "foreground": 0, "polls": 0}
    assert cancelled <= 2
    assert waits(edge) == pytest.approx([10] * cancelled)


# -- too many requests ---------------------------------------------------------------------------------------------

TOO_MANY = {
    "HTTP 429": httpx.Response(429),
    "the message": {"status": 0, "msg": "TOO MANY REQUESTS"},
    "the message as text": "too many requests",
}


@pytest.mark.anyio
@pytest.mark.parametrize("answer", TOO_MANY.values(), ids=TOO_MANY)
async def test_the_gap_doubles_for_everybody(answer: Any, edge: Edge) -> None:
    edge.on("orders", answer, answer, NOTHING)
    edge.on("getcountries", NOTHING)
    async with edge.client(pace=Pace(gap=10), retry=Retry(first=0)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.orders)
        await anyio.sleep(1)
        assert client.statistics().gap == 20
        tasks.start_soon(client.countries)
    assert edge.methods == ["orders", "orders", "getcountries", "orders"]
    assert waits(edge) == pytest.approx([20, 40, 40])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (0, [0.5, 1, 2, 4, 8, 8]),
        (0.1, [0.5, 1, 2, 4, 8, 8]),
        (1.5, [3, 6, 12, 24, 24]),
        (10, [20, 40, 60, 60]),
        (100, [100, 100]),
    ],
)
async def test_the_gap_grows_so_far_and_no_further(setting: float, expected: list[float], edge: Edge) -> None:
    edge.on("orders", too_many())
    found: list[float] = []
    async with edge.client(pace=Pace(gap=setting), retry=ONCE) as client:
        for _ in expected:
            with pytest.raises(RateLimited):
                await client.orders()
            found.append(client.statistics().gap)
    assert found == pytest.approx(expected)
    assert waits(edge) == pytest.approx(expected[:-1])


@pytest.mark.anyio
async def test_refusals_of_requests_that_began_before_it_grew_make_it_no_larger(edge: Edge) -> None:
    async def refused_late() -> httpx.Response:
        await anyio.sleep(5)
        return too_many()

    edge.on("orders", refused_late)

    async def refused(client: SmspvaClient) -> None:
        with pytest.raises(RateLimited):
            await client.orders()

    async with edge.client(pace=Pace(gap=1.5), retry=ONCE) as client, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(refused, client)
        await anyio.sleep(9.4)
        # At 0, 1.5, 3 and 4.5; the first is answered at 5, the fifth leaves at 7.5.
        assert waits(edge) == pytest.approx([1.5, 1.5, 1.5, 3])
        assert client.statistics().gap == 3
        await anyio.sleep(4)
        assert client.statistics().gap == 6


@pytest.mark.anyio
@pytest.mark.parametrize("refused", [1, 4])
async def test_the_gap_is_back_after_some_minutes_without_a_refusal(refused: int, edge: Edge) -> None:
    edge.on("orders", *[too_many()] * refused, NOTHING)
    found: list[float] = []
    async with edge.client(pace=Pace(gap=1.5), retry=Retry(attempts=9, first=0)) as client:
        while not found or found[-1] > 1.5:
            await client.orders()
            found.append(client.statistics().gap)
        began = edge.times[refused]
        assert edge.times[-1] - began < (150 if refused == 1 else 660)
        await client.orders()
        await client.orders()
    assert found == sorted(found, reverse=True)
    assert found[1] - 1.5 == pytest.approx(0.95 * (found[0] - 1.5))
    assert found[-1] == 1.5
    assert waits(edge)[-1] == pytest.approx(1.5)


@pytest.mark.anyio
async def test_only_an_answer_to_a_request_since_then_lets_the_gap_shrink(edge: Edge) -> None:
    async def late() -> dict[str, Any]:
        await anyio.sleep(10)
        return NOTHING

    edge.on("orders", late)
    edge.on("getcountries", too_many(), httpx.Response(500), httpx.ReadError("lost"), {"status": 0, "msg": "no"})
    async with edge.client(pace=Pace(gap=1), retry=ONCE) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.orders)
        await anyio.sleep(0.1)
        for gap in (2, 2, 2, 1.95):  # a refusal for another reason is an answer as well
            with pytest.raises(SmspvaError):
                await client.countries()
            assert client.statistics().gap == pytest.approx(gap)
        await anyio.sleep(20)
        assert client.statistics().gap == pytest.approx(1.95)


@given(
    strategies.floats(0, 1000),
    strategies.lists(strategies.booleans(), max_size=200),
)
def test_the_gap_stays_between_the_setting_and_its_cap(setting: float, refusals: list[bool]) -> None:
    gap = setting
    for refused in refusals:
        before, gap = gap, grown(gap, setting) if refused else shrunk(gap, setting)
        assert gap >= before if refused else gap <= before
        assert setting <= gap <= max(setting, min(60, 16 * max(setting, 0.5)))
    for _ in range(120):
        gap = shrunk(gap, setting)
    assert gap == setting


@pytest.mark.anyio
async def test_a_watch_finds_the_pace_that_the_server_keeps() -> None:
    sim = Simulator(seed=4)
    orders = [sim.add_order().id for _ in range(10)]
    sim.switches.rate_limit = 4
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        for order_id in orders:
            sim.deliver(order_id, f"to {order_id}")
            await watcher.wait_for_sms(order_id, after=0, timeout=300)
        start = anyio.current_time()
        await anyio.sleep(3600)
        statistics = client.statistics()
        assert anyio.current_time() - start == pytest.approx(3600)
    assert statistics.errors["RateLimited"] < 0.15 * sum(statistics.requests.values())
    assert set(statistics.errors) == {"RateLimited"}


@pytest.mark.anyio
async def test_a_watch_that_hurries_goes_by_the_gap_as_it_is() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(gap=1)) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        sim.faults.next("getcountries", "too_many", count=3)
        await client.countries()
        tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=1000))
        await anyio.sleep(100)
        polled = [request.time for request in sim.requests if request.method == "orders"]
        assert gaps(polled)[-2] > 2 * client.statistics().gap > 2 * 3
        tasks.cancel_scope.cancel()


# -- Retry-After ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("status", [429, 503])
async def test_no_request_begins_before_the_wait_that_the_server_asks_for_is_over(status: int, edge: Edge) -> None:
    three_classes(edge)
    edge.on("sms", too_many(30, status), CALLS["sms"].sample, id="123")
    async with edge.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.sms, 123)
        await anyio.sleep(0.5)
        tasks.start_soon(asked, client, POLL)
        await anyio.sleep(25)
        tasks.start_soon(asked, client, FOREGROUND)
        tasks.start_soon(asked, client, SPEND)
    assert waits(edge)[0] == pytest.approx(30)
    assert edge.methods[:3] == ["sms", "create", "getcountries"]
    assert sorted(edge.methods[3:]) == ["orders", "sms"]


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [(10, 40), (40, 10), (40, 0)])
async def test_the_longest_wait_wins(seconds: tuple[float, float], edge: Edge) -> None:
    def late(after: float, retry_after: float) -> Any:
        async def answer() -> httpx.Response:
            await anyio.sleep(after)
            return too_many(retry_after)

        return answer

    edge.on("sms", late(5, seconds[0]), id="1")
    edge.on("sms", late(5, seconds[1]), id="2")
    edge.on("orders", NOTHING)

    async def refused(order_id: int) -> None:
        with pytest.raises(RateLimited):
            await client.sms(order_id)

    async with edge.client(pace=Pace(gap=1), retry=ONCE) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(refused, 1)
        await anyio.sleep(0.5)
        tasks.start_soon(refused, 2)
        await anyio.sleep(6)
        await client.orders()
    asked_at = [5.0, 6.0]
    assert edge.times[-1] - edge.times[0] == pytest.approx(max(map(sum, zip(asked_at, seconds, strict=True))))


@pytest.mark.anyio
async def test_a_wait_above_two_minutes_holds_nobody_else(edge: Edge) -> None:
    edge.on("orders", too_many(121))
    edge.on("getcountries", NOTHING)
    async with edge.client(pace=Pace(gap=1)) as client:
        with pytest.raises(RateLimited):
            await client.orders()
        await client.countries()
    assert waits(edge) == pytest.approx([2])


@pytest.mark.anyio
async def test_a_purchase_without_an_outcome_tells_of_the_wait_too(edge: Edge) -> None:
    three_classes(edge)
    edge.call(SPEND, too_many(30, 503))
    async with edge.client() as client:
        with pytest.raises(OutcomeUnknown):
            await asked(client, SPEND)
        await asked(client, FOREGROUND)
    assert waits(edge) == pytest.approx([30])


@pytest.mark.anyio
@pytest.mark.parametrize("call", [FOREGROUND, SPEND], ids=name_of)
@pytest.mark.parametrize("status", [200, 403])
async def test_whatever_is_refused_may_tell_of_a_wait(call: Call, status: int, edge: Edge) -> None:
    three_classes(edge)
    refusal = {"status": 0, "msg": "Maintenance"}
    edge.call(call, httpx.Response(status, json=refusal, headers={"Retry-After": "30"}))
    async with edge.client() as client:
        with pytest.raises(SmspvaError) as refused:
            await asked(client, call)
        await asked(client, POLL)
    assert vars(refused.value.__cause__ or refused.value)["retry_after"] == 30
    assert waits(edge) == pytest.approx([30])


@pytest.mark.anyio
async def test_whoever_gives_up_during_such_a_wait_leaves_the_queue(edge: Edge) -> None:
    edge.on("orders", too_many(60), NOTHING)
    async with edge.client(retry=ONCE) as client:
        with pytest.raises(RateLimited):
            await client.orders()
        with anyio.move_on_after(20):
            await client.orders()
        await client.orders()
    assert waits(edge) == pytest.approx([60])


# -- statistics ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_statistics_count_attempts_and_failures_and_those_who_wait(edge: Edge) -> None:
    three_classes(edge)
    edge.on("orders", httpx.Response(500), httpx.ReadError("lost"), too_many(), POLL.sample)
    edge.call(SPEND, nothing_ever)
    nothing = {"spending": 0, "foreground": 0, "polls": 0}
    client = edge.client(pace=Pace(gap=0.25), timeout=5)
    assert client.statistics() == ClientStatistics(requests={}, waiting=nothing, gap=0.25, errors={})
    async with client:
        await client.orders()
        with pytest.raises(OutcomeUnknown):
            await asked(client, SPEND)
        statistics = client.statistics()
        assert statistics.requests == {"orders": 4, "create": 1}
        assert statistics.errors == {
            "UnexpectedResponse": 1,
            "ConnectionFailed": 1,
            "RateLimited": 1,
            "OutcomeUnknown": 1,
        }
        assert statistics.gap == pytest.approx(0.5 - 0.25 / 20)
        assert statistics.waiting == nothing
        async with anyio.create_task_group() as tasks:
            for call in (POLL, POLL, FOREGROUND, SPEND, SPEND, SPEND, POLL):
                tasks.start_soon(asked, client, call)
            await anyio.sleep(0.1)
            assert client.statistics().waiting == {"spending": 2, "foreground": 1, "polls": 3}
            tasks.cancel_scope.cancel()
        assert client.statistics().waiting == nothing
    # A snapshot changes no more, and a client's own account outlasts its closing.
    assert statistics.requests == {"orders": 4, "create": 1}
    assert client.statistics().requests == {"orders": 4, "create": 2}
    with pytest.raises(ClientClosed):
        await client.orders()
    assert client.statistics().requests == {"orders": 4, "create": 2}
    assert "ClientClosed" not in client.statistics().errors


def test_statistics_are_frozen() -> None:
    statistics: Any = SmspvaClient(KEY).statistics()
    with pytest.raises(exceptions.FrozenInstanceError):
        statistics.gap = 1
    assert isinstance(hash(statistics), int)
