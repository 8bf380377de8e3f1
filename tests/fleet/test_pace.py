"""The shared pace: one gap, one order and one share for the processes of a fleet."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from smspva_async._http.rate_limiter import Priority
from smspva_async.fleet._link import Link
from smspva_async.fleet._pace import SharedRateLimiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.redis_server import RedisServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop}), ("trio", {})], ids=["asyncio", "trio"]
    ),
]

GAP = 0.02
EPSILON = 1e-4
PATIENCE = 10
SPENDING, FOREGROUND, POLLS = Priority
KEYS = "smspva:{main}:"


def link_to(server: RedisServer) -> Link:
    return Link(server.url, "main", 10, lambda: "account")


@asynccontextmanager
async def fleet(server: RedisServer, *gaps: float) -> AsyncIterator[list[SharedRateLimiter]]:
    """Yield a limiter for each gap, each with a connection like that of a process of its own."""
    links = [link_to(server) for _ in gaps]
    limiters = [SharedRateLimiter(link, gap) for link, gap in zip(links, gaps, strict=True)]
    with anyio.fail_after(PATIENCE):
        try:
            yield limiters
        finally:
            for limiter, link in zip(limiters, links, strict=True):
                await limiter.aclose()
                await link.aclose()


class Calls:
    """Makes requests, and records the time around the beginning of each one."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.times: list[tuple[float, float]] = []

    async def make(self, limiter: SharedRateLimiter, priority: Priority = FOREGROUND, times: int = 1) -> None:
        for _ in range(times):
            permit = await limiter.acquire(priority)
            before = anyio.current_time()
            await limiter.begin(permit)
            self.times.append((before, anyio.current_time()))
            self.order.append(priority.name[0])

    @property
    def gaps(self) -> list[float]:
        """The longest times that may lie between the beginnings of two requests."""
        return [later - earlier for (earlier, _), (_, later) in pairwise(sorted(self.times))]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - Redis changes
        await anyio.sleep(0.001)


async def calls_are_sent(limiter: SharedRateLimiter) -> None:
    """Wait until Redis has what the limiter posted."""
    await limiter.aclose()


def registered(server: RedisServer, priority: Priority) -> int:
    """Return the number of processes in which a priority waits."""
    return int(server.cli("ZCARD", f"{KEYS}pace:{priority.value}") or 0)


@pytest.fixture
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smspva_async.fleet._pace._LONGEST_WAIT", 0.005)


@asynccontextmanager
async def held(server: RedisServer, calls: Calls, limiter: SharedRateLimiter) -> AsyncIterator[None]:
    """Hold the pace meanwhile; use it with `_asks_often`."""
    await calls.make(limiter)
    limiter.pause(60)
    await calls_are_sent(limiter)
    yield
    server.cli("HDEL", f"{KEYS}pace", "paused")


async def test_requests_of_three_processes_keep_the_gap(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP, GAP) as limiters, anyio.create_task_group() as tasks:
        for limiter in limiters:
            for priority in Priority:
                tasks.start_soon(calls.make, limiter, priority, 3)
    assert len(calls.times) == 27
    assert min(calls.gaps) >= GAP - EPSILON


async def test_without_a_gap_nothing_waits_for_the_clock(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, 0, 0) as limiters, anyio.create_task_group() as tasks:
        for limiter in limiters:
            tasks.start_soon(calls.make, limiter, FOREGROUND, 20)
    assert len(calls.times) == 40


@pytest.mark.usefixtures("_asks_often")
async def test_a_spending_call_goes_before_the_polls_of_another_process(redis_server: RedisServer) -> None:
    calls = Calls()
    async with (
        fleet(redis_server, GAP, GAP) as (poller, renter),
        anyio.create_task_group() as tasks,
        held(redis_server, calls, renter),
    ):
        for _ in range(3):
            tasks.start_soon(calls.make, poller, POLLS)
        await until(lambda: registered(redis_server, POLLS) == 1)
        tasks.start_soon(calls.make, renter, SPENDING)
        await until(lambda: registered(redis_server, SPENDING) == 1)
    assert "".join(calls.order) == "FSPPP"


@pytest.mark.usefixtures("_asks_often")
async def test_every_priority_keeps_its_share(redis_server: RedisServer) -> None:
    calls = Calls()
    async with (
        fleet(redis_server, GAP, GAP, GAP) as limiters,
        anyio.create_task_group() as tasks,
        held(redis_server, calls, limiters[0]),
    ):
        for limiter, priority in zip(limiters, Priority, strict=True):
            for _ in range(8):
                tasks.start_soon(calls.make, limiter, priority)
        await until(lambda: all(registered(redis_server, priority) == 1 for priority in Priority))
    assert "".join(calls.order)[1:13] == "SSFPSFSPFSSP"


@pytest.mark.usefixtures("_asks_often")
async def test_within_a_priority_the_first_comes_first(redis_server: RedisServer) -> None:
    order: list[int] = []

    async def call(limiter: SharedRateLimiter, number: int) -> None:
        await calls.make(limiter)
        order.append(number)

    calls = Calls()
    async with (
        fleet(redis_server, GAP, GAP) as limiters,
        anyio.create_task_group() as tasks,
        held(redis_server, calls, limiters[0]),
    ):
        for number in range(6):
            tasks.start_soon(call, limiters[number % 2], number)
            await anyio.sleep(0.05)  # longer than a command takes, because Redis subtracts the wait from its own time
        await until(lambda: registered(redis_server, FOREGROUND) == 2)
    assert order == [0, 1, 2, 3, 4, 5]


async def test_a_killed_holder_frees_the_slot(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as (killed, other):
        await killed.acquire(SPENDING)
        await calls.make(other, POLLS)
    assert calls.order == ["P"]


async def test_a_process_that_is_silent_delays_the_others_only_once(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP) as (other,):
        await calls.make(other)
        silent = link_to(redis_server)
        await silent.run("take", "silent", "silent:1", GAP, 1, 5, 5, 5)
        await silent.aclose()
        await calls.make(other, POLLS)
        await calls_are_sent(other)
        assert [registered(redis_server, priority) for priority in Priority] == [0, 0, 0]


async def test_a_slow_holder_takes_another_slot(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as (slow, other):
        permit = await slow.acquire(SPENDING)
        await calls.make(other)
        before = anyio.current_time()
        await slow.begin(permit)
        calls.times.append((before, anyio.current_time()))
    assert min(calls.gaps) >= GAP - EPSILON


async def test_a_slow_holder_asks_for_its_own_call_only(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as (slow, other), anyio.create_task_group() as tasks:
        permit = await slow.acquire(POLLS)
        await calls.make(other)
        tasks.start_soon(calls.make, slow, SPENDING)
        await anyio.lowlevel.checkpoint()
        await slow.begin(permit)
        calls.order.append("P")
    assert "".join(calls.order) == "FPS"


async def test_the_largest_gap_counts_until_ten_minutes_after_its_last_use(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP / 4, GAP) as (small, large):
        await calls.make(large)
        await calls.make(small, times=4)
        assert min(calls.gaps) >= GAP - EPSILON
        assert small.gap == GAP
        redis_server.cli("ZINCRBY", f"{KEYS}pace:gaps", "-590", str(GAP))
        await calls.make(small)
        assert small.gap == GAP
        redis_server.cli("ZINCRBY", f"{KEYS}pace:gaps", "-20", str(GAP))
        await calls.make(small)
        assert small.gap == GAP / 4


@pytest.fixture
def _small_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smspva_async._http.rate_limiter._MIN_GROWN_GAP", GAP)


@pytest.mark.usefixtures("_small_growth")
async def test_a_refusal_in_one_process_slows_all_down_until_answers_come(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as (refused, other):
        permits = []
        for _ in range(3):
            permits.append(await refused.acquire(FOREGROUND))
            await refused.begin(permits[-1])
        refused.refused(permits[0])
        await calls.make(refused)
        refused.refused(permits[1])  # like the next one, it began before the gap grew
        refused.accepted(permits[2])
        await calls.make(refused)
        await calls.make(other, times=2)
        assert other.gap == refused.gap == 2 * GAP
        assert calls.gaps[-1] >= 2 * GAP - EPSILON
        gaps = []
        while other.gap > GAP:
            permit = await other.acquire(FOREGROUND)
            await other.begin(permit)
            other.accepted(permit)
            gaps.append(other.gap)
            if len(gaps) == 3:
                redis_server.cli("HSET", f"{KEYS}pace", "grown", str(GAP * 1.04))  # or it would take a second
        assert gaps == pytest.approx([2 * GAP, 1.95 * GAP, 1.9025 * GAP, 1.04 * GAP, GAP])
        await calls.make(refused)
        assert refused.gap == GAP


async def test_a_pause_holds_for_all(redis_server: RedisServer) -> None:
    async with fleet(redis_server, GAP, GAP) as (told, other):
        calls = Calls()
        await calls.make(told)
        until = anyio.current_time() + 0.06
        told.pause(0.06)
        told.pause(0.01)
        await calls_are_sent(told)
        await calls.make(other)
    assert calls.times[1][1] >= until - EPSILON


async def test_a_cancelled_waiter_withdraws(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as (impatient, other):
        async with held(redis_server, calls, other), anyio.create_task_group() as tasks:
            tasks.start_soon(calls.make, impatient, SPENDING)
            await until(lambda: registered(redis_server, SPENDING) == 1)
            tasks.cancel_scope.cancel()
        await until(lambda: registered(redis_server, SPENDING) == 0)
        await calls.make(other, POLLS)
    assert "".join(calls.order) == "FP"


async def test_a_permit_that_is_given_back_is_free_at_once(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, 30, 30) as (first, other):
        first.release(await first.acquire(SPENDING))
        await calls_are_sent(first)
        await calls.make(other)
    assert calls.order == ["F"]


# coredis leaves streams open when it can't connect.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_nothing_is_granted_while_redis_is_down(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as limiters, anyio.create_task_group() as tasks:
        for limiter in limiters:
            await calls.make(limiter)
        redis_server.kill()
        for limiter in limiters:
            tasks.start_soon(calls.make, limiter, FOREGROUND, 3)
        await anyio.sleep(0.06)
        assert len(calls.times) == 2
        redis_server.start()
    assert len(calls.times) == 8
    assert min(calls.gaps) >= GAP - EPSILON
    gc.collect()


@pytest.mark.usefixtures("_small_growth")
async def test_a_redis_that_lost_its_data_begins_a_fresh_pace(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP, GAP) as limiters:
        for limiter in limiters:
            permit = await limiter.acquire(FOREGROUND)
            redis_server.cli("FLUSHALL")
            await limiter.begin(permit)
            limiter.accepted(permit)
            limiter.refused(permit)
            redis_server.cli("FLUSHALL")
            await calls.make(limiter)
    assert len(calls.times) == 2


async def test_a_clock_that_is_set_back_stops_nothing(redis_server: RedisServer) -> None:
    calls = Calls()
    async with fleet(redis_server, GAP) as (limiter,):
        await limiter.acquire(FOREGROUND)
        await calls_are_sent(limiter)
        for field in ("begun", "granted", "until"):
            redis_server.cli("HSET", f"{KEYS}pace", field, "99999999999")
        (other,) = [SharedRateLimiter(limiter._link, GAP)]
        await calls.make(other)
        await other.aclose()
    assert calls.order == ["F"]
