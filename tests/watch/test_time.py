"""Time: ticks on a grid, deadlines, the server's clock, and long watches that keep the pace."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from smspva_async import OrderAdded, OrderState, Pace, PollFailed, SmspvaClient, StateChanged, Watcher
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.accounts import HANGS, ORDERS, START, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.selection import slow
from tests.support.watching import INTERVAL, gaps, kinds, polls, so_far, texts, watching

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

HOUR, DAY = 3600, 86_400
GAP = 1.5


# -- the grid --------------------------------------------------------------------------------------------------------


def phase_of(times: list[float], interval: float = INTERVAL) -> float:
    """Return the offset of the ticks from multiples of the interval. Assert that all ticks share it."""
    entered, *ticks = times
    phase = interval - (ticks[0] - entered)
    for number, time in enumerate(ticks, start=1):
        assert time == pytest.approx(entered + number * interval - phase, abs=1e-3)
    return phase


@on_both_backends
@pytest.mark.parametrize("seconds", [2 * HOUR, slow(DAY)])
async def test_ticks_keep_to_a_grid_however_long_calls_take(seconds: int) -> None:
    account = Account(order(1), order(2))
    account.seconds = {ORDERS: 7.3, 1: 2.9, 2: 11}
    async with Watcher(account):
        await anyio.sleep(seconds)
    assert 0 <= phase_of(account.times()) <= INTERVAL / 10
    assert len(account.times()) in {seconds // 30, seconds // 30 + 1}


@on_both_backends
@pytest.mark.parametrize("interval", [5.0, 30.0, 600.0])
async def test_each_watcher_has_its_own_phase(interval: float) -> None:
    phases = set()
    for _ in range(5):
        account = Account()
        async with Watcher(account, interval=interval):
            await polls(4, interval)
        phases.add(phase_of(account.times(), interval))
    assert len(phases) == 5
    assert all(0 <= phase <= interval / 10 for phase in phases)


@on_both_backends
async def test_after_a_suspend_there_is_no_burst(anyio_backend_name: str) -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        await polls(2)
        suspend(anyio_backend_name, 3605)
        await polls(4)
        assert kinds(await so_far(watcher)) == ["OrderAdded"]
    first, before, late, *then = account.times()[1:]
    assert 3605 <= late - before <= 3605 + INTERVAL
    assert late < then[0] <= late + INTERVAL
    assert gaps(then) == pytest.approx([INTERVAL] * (len(then) - 1))
    assert (then[0] - first) / INTERVAL == pytest.approx(round((then[0] - first) / INTERVAL))


def suspend(backend: str, seconds: float) -> None:
    """Let the clock jump, as it does when a machine was suspended."""
    if backend == "trio":
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop._virtual_selector.elapsed += seconds


@on_both_backends
async def test_after_a_slow_call_there_is_no_burst() -> None:
    account = Account()
    async with Watcher(account, interval=100) as watcher:
        await polls(1, 100)
        account.seconds[ORDERS] = 195  # slightly less than its deadline, and across a tick
        await polls(1, 100)
        account.seconds.clear()
        await polls(5, 100)
        assert kinds(await so_far(watcher)) == []
    _, first, slow, *then = account.times()
    assert then[0] == pytest.approx(slow + 200)
    assert gaps(then) == pytest.approx([100] * 3)
    assert then[0] - first == pytest.approx(300)


@on_both_backends
async def test_readings_not_yet_sent_when_a_poll_is_due_are_replanned() -> None:
    account = Account(*map(order, range(1, 51)))
    account.seconds = dict.fromkeys(range(1, 51), 1.0)
    async with Watcher(account):
        await polls(10)
    entered, *ticks = account.times()
    late = [tick - entered - number * INTERVAL for number, tick in enumerate(ticks, start=1)]
    assert all(-INTERVAL / 10 <= seconds <= GAP for seconds in late)
    asked = [what for _, what in account.calls if what is not ORDERS]
    assert set(asked[:52]) == set(range(1, 51))  # two ticks; each adds one list in turn
    assert len(asked) > 100


@on_both_backends
async def test_a_hanging_list_delays_the_next_poll_by_at_most_the_pace() -> None:
    sim = Simulator()
    for _ in range(3):
        sim.add_order()
    sim.faults.always("sms", "hang")
    pace = Pace(gap=0.01)
    async with SmspvaClient("any-key", transport=sim.transport(), pace=pace) as client, Watcher(client, interval=0.5):
        await anyio.sleep(20)
    entered, *ticks = [asked.time for asked in sim.requests if asked.method == "orders"]
    assert len(ticks) == 40
    late = [tick - entered - number * 0.5 for number, tick in enumerate(ticks, start=1)]
    assert all(-0.05 <= seconds <= 3 * pace.gap for seconds in late)


@pytest.mark.parametrize("setting", ["interval", "eager_interval"])
@pytest.mark.parametrize("seconds", [0, 0.009, -1, float("nan"), float("inf"), None])
def test_an_invalid_interval_is_rejected(setting: str, seconds: Any) -> None:
    with pytest.raises(ValueError, match="interval"):
        Watcher(Account(), **{setting: seconds})


# -- deadlines -------------------------------------------------------------------------------------------------------


@on_both_backends
@pytest.mark.parametrize(("interval", "deadline"), [(5, 60), (30, 60), (100, 200)])
@pytest.mark.parametrize("what", [ORDERS, 1], ids=["orders", "sms"])
async def test_a_call_that_hangs_has_a_deadline(what: int | None, interval: float, deadline: float) -> None:
    account = Account(order())
    async with Watcher(account, interval=interval) as watcher:
        await anyio.sleep(4)
        account.seconds[what] = HANGS
        await polls(3, interval)
        await anyio.sleep(deadline)
        failed = (await so_far(watcher))[-1]
        assert isinstance(failed, PollFailed)
        assert (failed.order_id, failed.kind) == (what, "TimeoutError")
        hung = account.times(what)[1]
        seconds = (failed.at - START).total_seconds() - 0.6 - (hung - account.times()[0])
        assert seconds == pytest.approx(deadline, abs=0.01)
        account.seconds.clear()
        await polls(1, interval)
        await anyio.sleep(deadline)
        assert kinds(await so_far(watcher))[-1] == "PollRecovered"


@on_both_backends
async def test_a_call_of_the_client_has_one_deadline_for_all_its_attempts() -> None:
    sim = Simulator()
    sim.add_order()
    async with SmspvaClient("key", transport=sim.transport(), timeout=25) as client, Watcher(client) as watcher:
        await anyio.sleep(10)
        sim.faults.always("orders", "hang")
        sim.requests.clear()
        await anyio.sleep(120)
        failed = (await so_far(watcher))[-1]
        assert isinstance(failed, PollFailed)
        assert failed.kind == "RequestTimeout"
        assert [request.method for request in sim.requests].count("orders") >= 3
        assert timedelta(seconds=50) < failed.at - sim.requests[0].at < timedelta(seconds=61)


@on_both_backends
async def test_waits_for_the_pace_do_not_count_toward_the_deadline() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with SmspvaClient("key", transport=sim.transport(), pace=Pace(gap=150)) as client:
        await client.countries()
        async with Watcher(client) as watcher:
            assert gaps([request.time for request in sim.requests]) == pytest.approx([150])
            await anyio.sleep(500)
            assert watcher.orders.keys() == {order_id}
            assert kinds(await so_far(watcher)) == ["OrderAdded"]


# -- the server's clock ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-7, 0, 1000])
async def test_times_are_in_the_servers_time(hours: int) -> None:
    sim = Simulator(start=START + timedelta(hours=hours))
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        for _ in range(10):
            await anyio.sleep(99.7)
            sim.deliver(order_id, "code")
            happened = sim.now
            await anyio.sleep(34)
            event = (await so_far(watcher))[-1]
            assert texts([event]) == ["code"]
            assert happened - timedelta(seconds=1) <= event.at <= sim.now
            assert event.at.tzinfo is UTC
        assert watcher.last_success is not None
        assert abs(watcher.last_success - sim.now) < timedelta(seconds=INTERVAL + 1)


async def test_the_time_between_two_events_is_exact_although_dates_are_whole_seconds() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with watching(sim, interval=30.37) as watcher:
        await polls(100)  # each answer narrows the bounds
        for state in (2, 1) * 10:
            sim.set_state(order_id, state)
            await polls(2)
        polled = [request.at for request in sim.requests if request.method == "orders"]
        times = [event.at for event in await so_far(watcher) if isinstance(event, StateChanged)]
    late = [
        min((time - poll).total_seconds() for poll in polled if poll <= time + timedelta(seconds=1)) for time in times
    ]
    assert len(late) == 20
    assert max(late) - min(late) < 0.05


async def test_a_custom_source_can_report_its_clock() -> None:
    account = Account(order())
    account.clock = lambda: datetime(2031, 5, 5, 12, tzinfo=UTC)
    async with Watcher(account) as watcher:
        (added,) = await so_far(watcher)
        assert added.at == watcher.last_success == datetime(2031, 5, 5, 12, tzinfo=UTC)


async def test_without_a_date_the_local_clock_is_used() -> None:
    account = Account(order(1))
    async with Watcher(account) as watcher:
        await anyio.sleep(600)
        account.listed.append(order(2))
        await polls(1)
        entered, *ticks = account.times()
        first, second = [event for event in await so_far(watcher) if isinstance(event, OrderAdded)]
        assert first.at == START + timedelta(seconds=0.6)
        assert (second.at - first.at).total_seconds() == pytest.approx(ticks[-1] - entered, abs=0.001)


# -- long watches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [2 * HOUR, slow(DAY)])
async def test_a_long_watch_of_one_order_reports_everything_and_keeps_the_pace(seconds: int) -> None:
    sim = Simulator(seed=7, dialect="live")
    order_id = sim.add_order(days=20).id
    sim.behavior.rate_limit = GAP
    rng = random.Random(8)
    delivered, states = list[str](), 0
    async with watching(sim) as watcher:
        entered = anyio.current_time()
        while anyio.current_time() < entered + seconds:
            if sim.order(order_id).state == 0:
                sim.set_state(order_id, 2)
                states += 3
            elif sim.deliver(order_id, f"message {len(delivered)}", network=True):
                delivered.append(f"message {len(delivered)}")
            await anyio.sleep(rng.uniform(100, 1000))
        await polls(3)
        events = await so_far(watcher)
        assert texts(events) == delivered
        assert len(delivered) > seconds / 1700
        seen = [event for event in events if isinstance(event, StateChanged)]
        assert states - 3 <= len(seen) <= states
        assert all(after.previous == before.current for before, after in pairwise(seen))
        assert set(kinds(events)) <= {"OrderAdded", "OrderUpdated", "StateChanged", "SmsReceived"}
    assert sim.violations == []
    assert min(gaps([request.time for request in sim.requests])) >= GAP - 1e-6
    ticks = [request.time for request in sim.requests if request.method == "orders"]
    assert len(ticks) == pytest.approx(seconds / 30, abs=40)
    phase_of(ticks)


@pytest.mark.parametrize(("count", "messages"), [(40, 120), slow(200, 600)])
async def test_a_watch_of_many_orders_reports_everything_and_keeps_the_pace(count: int, messages: int) -> None:
    sim = Simulator(seed=9)
    orders = [sim.add_order().id for _ in range(count)]
    sim.behavior.rate_limit = GAP
    rng = random.Random(10)
    delivered: Counter[tuple[int | None, str]] = Counter()
    async with watching(sim) as watcher:
        for number in range(messages):
            order_id, text = rng.choice(orders), f"message {number % 100}"
            sim.deliver(order_id, text)
            delivered[order_id, text] += 1
            await anyio.sleep(rng.uniform(0, 12))
        await polls(20)
        events = await so_far(watcher)
        assert Counter((event.order_id, text) for event in events for text in texts([event])) == delivered
        assert set(kinds(events)) == {"OrderAdded", "SmsReceived"}
        assert all(known.state is OrderState.INACTIVE for known in watcher.orders.values())
    assert sim.violations == []
    assert min(gaps([request.time for request in sim.requests])) >= GAP - 1e-6


# -- which lists a tick reads ----------------------------------------------------------------------------------------


async def test_with_few_orders_each_list_is_read_every_tick() -> None:
    account = Account(*map(order, range(1, 11)))
    async with Watcher(account):
        await polls(5)
    for order_id in range(1, 11):
        assert gaps(account.times(order_id)) == pytest.approx([INTERVAL] * 4)


async def test_with_many_orders_the_list_read_longest_ago_comes_first() -> None:
    account = Account(*map(order, range(1, 101)))
    async with Watcher(account):
        await polls(40)
    turns = len(account.calls) - len(account.times())
    share = 0.75 * INTERVAL / GAP  # the requests of a tick
    assert turns / (len(account.times()) - 1) == pytest.approx(share - 1, abs=0.4)  # one for the orders
    longest = max(max(gaps(account.times(order_id))) for order_id in range(1, 101))
    assert longest <= 100 / (share - 1) * INTERVAL + 4


@pytest.mark.parametrize("waits", ["nobody", "somebody", "sessions"])
@pytest.mark.parametrize("minutes", [5, slow(20)])
async def test_polling_takes_three_quarters_of_the_pace_or_nine_tenths_while_a_message_is_awaited(
    waits: str, minutes: int
) -> None:
    sim = Simulator()
    orders = [sim.add_order(always_active=True).id for _ in range(60)]

    async def use(watcher: Watcher, order_id: int) -> None:
        async with watcher.activated(order_id):
            await anyio.sleep(20)

    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for minute in range(minutes):
            for order_id in orders[minute::7]:
                sim.deliver(order_id, f"message {minute}")
            if waits == "somebody" and minute == 3:
                tasks.start_soon(partial(watcher.wait_for_sms, orders[0], match=lambda _: False, timeout=1e5))
            for order_id in orders[minute : minute + 20] if waits == "sessions" else ():
                await anyio.sleep(3)
                tasks.start_soon(use, watcher, order_id)
            await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    times = [asked.time for asked in sim.requests]
    most = max(bisect_left(times, time + 60 - 1e-3) - place for place, time in enumerate(times))
    assert {asked.method for asked in sim.requests} == {"orders", "sms"}
    assert most == (30 if waits == "nobody" else 36)


async def test_a_flag_that_rises_during_a_wait_for_another_order_is_read_next() -> None:
    sim = Simulator()
    ids = [sim.add_order(always_active=True).id for _ in range(40)]
    took: list[float] = []
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(watcher.wait_for_sms, ids[0], match=lambda _: False, timeout=1e5))
        await polls(4)
        for number, order_id in enumerate(ids[1:21]):
            events = watcher.events(after=watcher.cursor)
            sim.deliver(order_id, f"message {number}")
            delivered = anyio.current_time()
            assert texts([await anext(events)]) == [f"message {number}"]
            took.append(anyio.current_time() - delivered)
            await anyio.sleep(37)
        tasks.cancel_scope.cancel()
    assert max(took) <= 32 + 2 * GAP


async def test_a_list_whose_flag_rose_is_read_before_its_turn() -> None:
    account = Account(*map(order, range(1, 301)))
    account.messages[1] = [sms("old", -1000)]
    async with Watcher(account) as watcher:
        await polls(60)
        unlucky = max(range(1, 301), key=lambda order_id: account.times(order_id)[-1])
        account.change(unlucky, has_new_sms=True)
        account.messages[unlucky].append(sms("new", 2000))
        await anyio.sleep(31)
        assert texts(await so_far(watcher)) == ["new"]
