"""The statistics of a watch, with the longest time that a message without a flag can take."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from smspva_async import OrderState, Pace, SmspvaClient, Watcher, WatcherClosed
from smspva_async.simulator import Simulator
from tests.support.accounts import ORDERS, OUTAGE, Account, order
from tests.support.selection import slow
from tests.support.watching import INTERVAL, gaps, polls, watching

pytestmark = pytest.mark.anyio

FOR_EVER = 1e6


async def test_statistics_of_a_watch() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        await polls(2)
        account.failures = {ORDERS: OUTAGE, 2: OUTAGE}
        await polls(1)
        failed = len(account.times(2)) - 2
        seen = watcher.statistics()
    assert seen.orders == 2
    assert failed == 1
    assert (seen.polls, seen.failures) == (len(account.times()) - 1, 2)
    assert seen.reads == len(account.times(1)) + len(account.times(2)) - failed
    assert (seen.period, seen.full_scan) == (30, 30)
    assert seen.flags == {"announced": 0, "unannounced": 0}
    assert watcher.statistics() == seen  # it works after leaving


async def test_statistics_count_open_waits() -> None:
    async with Watcher(Account(order(1), order(2))) as watcher, anyio.create_task_group() as tasks:
        assert watcher.statistics().waiting == {"message": 0, "state": 0}
        for order_id in (1, 2, 1):
            tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=FOR_EVER))
        await anyio.sleep(1)
        assert watcher.statistics().waiting == {"message": 3, "state": 0}
        tasks.start_soon(partial(watcher.wait_for_state, 2, OrderState.ACTIVE, timeout=FOR_EVER))
        await anyio.sleep(1)
        assert watcher.statistics().waiting == {"message": 3, "state": 1}
        tasks.cancel_scope.cancel()
    assert watcher.statistics().waiting == {"message": 0, "state": 0}


async def test_the_period_is_shorter_while_a_state_is_awaited() -> None:
    async with Watcher(Account(order(1)), eager_interval=2) as watcher:
        assert watcher.statistics().period == INTERVAL
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(watcher.wait_for_state, 1, OrderState.ACTIVE, timeout=FOR_EVER))
            await anyio.sleep(1)
            assert watcher.statistics().period == 6
            tasks.cancel_scope.cancel()
        assert watcher.statistics().period == INTERVAL


async def test_statistics_are_a_snapshot() -> None:
    account = Account(order(1))
    async with Watcher(account) as watcher:
        before = watcher.statistics()
        await polls(2)
        assert before.polls == 1
        assert watcher.statistics().polls == 3
        assert before.flags is not watcher.statistics().flags


async def test_a_watcher_that_is_not_entered_has_no_statistics() -> None:
    with pytest.raises(WatcherClosed):
        Watcher(Account()).statistics()


async def test_the_full_scan_of_a_watch_without_orders_takes_no_time() -> None:
    async with Watcher(Account()) as watcher:
        assert watcher.statistics().full_scan == 0


@pytest.mark.parametrize(
    ("orders", "waits", "interval", "gap"),
    [
        (2, 0, 30, 1.5),
        (13, 0, 30, 1.5),
        (13, 1, 30, 1.5),
        (3, 3, 30, 1.5),
        (13, 0, 10, 3.0),
        (5, 0, 5, 5.0),
        (1, 1, 30, 1.5),
        slow(12, 0, 30, 1.5),
        slow(40, 0, 30, 1.5),
        slow(100, 10, 30, 1.5),
        slow(13, 5, 30, 1.5),
        slow(30, 0, 30, 2.3),
        slow(13, 2, 30, 2.0),
        slow(8, 2, 5, 1.5),
        slow(20, 20, 30, 1.5),
    ],
)
async def test_each_list_is_read_within_a_full_scan(orders: int, waits: int, interval: float, gap: float) -> None:
    sim = Simulator()
    ids = [sim.add_order(always_active=True).id for _ in range(orders)]
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(gap=gap)) as client,
        Watcher(client, interval=interval) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for order_id in ids[:waits]:
            tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=FOR_EVER))
        await polls(4)
        full_scan = watcher.statistics().full_scan
        await anyio.sleep(max(3 * full_scan, 4 * interval))
        assert watcher.statistics().full_scan == full_scan
        tasks.cancel_scope.cancel()
    # A list waits for its turn, for a request in progress, for `orders`, and for an uneven share of slots.
    slot = gap / 0.9 if waits else gap / 0.75
    longest = longest_unread(sim, ids)
    assert 0.6 * full_scan <= longest <= full_scan + 1.5 * slot


def longest_unread(sim: Simulator, ids: list[int]) -> float:
    """Return the longest time between two readings of one list."""
    times = [[asked.time for asked in sim.requests if asked.params.get("id") == str(order_id)] for order_id in ids]
    return max(max(gaps(moments)) for moments in times)


async def flags_after_messages(sim: Simulator) -> dict[str, int]:
    """Deliver thirty messages to three orders, each shortly before a poll; return the flags' statistics."""
    ids = [sim.add_order(always_active=True).id for _ in range(3)]
    async with watching(sim) as watcher:
        await polls(2)
        for number in range(30):
            await anyio.sleep(INTERVAL - 0.3)
            sim.deliver(ids[number % 3], f"message {number}")
        await polls(3)
        return dict(watcher.statistics().flags)


async def test_flags_that_work_announce_messages() -> None:
    flags = await flags_after_messages(Simulator())
    assert sum(flags.values()) == 30
    assert flags["announced"] >= 20


async def test_flags_that_never_rise_announce_no_messages() -> None:
    sim = Simulator()
    sim.behavior.flag_rises = False
    assert await flags_after_messages(sim) == {"announced": 0, "unannounced": 30}


async def test_flags_that_never_fall_announce_the_first_message_at_most() -> None:
    sim = Simulator()
    sim.behavior.read_clears_flag = False
    flags = await flags_after_messages(sim)
    assert sum(flags.values()) == 30
    assert flags["announced"] <= 3


@pytest.mark.parametrize("flags_work", [True, False])
async def test_measured_flags_decide_the_period_of_three_waits(flags_work: bool) -> None:  # noqa: FBT001
    sim = Simulator()
    sim.behavior.flag_rises = flags_work
    ids = [sim.add_order(always_active=True).id for _ in range(3)]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for number in range(10):
            await anyio.sleep(41)
            sim.deliver(ids[number % 3], f"message {number}")
        await polls(2)
        for order_id in ids:
            tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=FOR_EVER))
        await anyio.sleep(1)
        assert watcher.statistics().period == (3 if flags_work else INTERVAL)
        before = watcher.statistics().polls
        await anyio.sleep(60)
        assert watcher.statistics().polls - before in (range(18, 22) if flags_work else range(1, 4))
        tasks.cancel_scope.cancel()
