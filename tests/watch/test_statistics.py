"""What a watch says of itself, and how long a message without a flag may take at most."""

from __future__ import annotations

from functools import partial
from itertools import count

import anyio
import pytest
from hypothesis import given, strategies as st

from smspva_async import OrderState, Pace, SmspvaClient, Watcher, WatcherClosed
from smspva_async._watch.plan import plan, turns_of_all
from smspva_async.simulator import Simulator
from tests.support.plans import FLAGS, queue_of, track
from tests.support.selection import slow
from tests.support.watching import INTERVAL, ORDERS, OUTAGE, Account, gaps, order, polls, watching

pytestmark = pytest.mark.anyio

GAP = 1.5
FOR_EVER = 1e6


async def test_a_watch_tells_what_it_did() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        await polls(2)
        account.failures = {ORDERS: OUTAGE}
        await polls(1)
        seen = watcher.statistics()
    assert seen.orders == 2
    assert (seen.polls, seen.failures) == (len(account.times()) - 1, 1)
    assert seen.reads == len(account.times(1)) + len(account.times(2))
    assert (seen.period, seen.turn, seen.worst_case) == (30, 36, 138)
    assert watcher.statistics() == seen  # it may be asked for after leaving


async def test_a_watch_tells_who_waits() -> None:
    async with Watcher(Account(order(1), order(2))) as watcher, anyio.create_task_group() as tasks:
        assert watcher.statistics().waiting == {"message": 0, "state": 0}
        for order_id in (1, 2, 1):
            tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=FOR_EVER))
        await anyio.sleep(1)
        assert watcher.statistics().period == 4
        tasks.start_soon(partial(watcher.wait_for_state, 2, OrderState.ACTIVE, timeout=FOR_EVER))
        await anyio.sleep(1)
        assert watcher.statistics().waiting == {"message": 3, "state": 1}
        tasks.cancel_scope.cancel()


async def test_a_watch_that_has_not_begun_has_no_statistics() -> None:
    with pytest.raises(WatcherClosed):
        Watcher(Account()).statistics()


async def test_a_watch_without_orders_has_nothing_to_wait_for() -> None:
    async with Watcher(Account()) as watcher:
        assert watcher.statistics().turn == 0


@pytest.mark.parametrize(
    ("orders", "waits", "interval", "gap"),
    [
        (1, 0, 30, 1.5),
        (13, 0, 30, 1.5),
        (13, 1, 30, 1.5),
        (13, 0, 10, 3.0),
        (5, 0, 5, 5.0),
        slow(12, 0, 30, 1.5),
        slow(40, 0, 30, 1.5),
        slow(13, 5, 30, 1.5),
        slow(30, 0, 30, 2.3),
        slow(13, 2, 30, 2.0),
        slow(8, 2, 5, 1.5),
    ],
)
async def test_each_list_is_read_within_a_turn(orders: int, waits: int, interval: float, gap: float) -> None:
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
        turn = watcher.statistics().turn
        await anyio.sleep(3 * turn)
        assert watcher.statistics().turn == turn
        tasks.cancel_scope.cancel()
    slack = 4 * gap if waits == 0 and interval == INTERVAL else max(2 * interval, 16 * gap)
    assert 0.6 * (turn - slack) <= longest_unread(sim, ids) <= turn


@pytest.mark.parametrize("waits", [0, 1])
@pytest.mark.parametrize("orders", [9, slow(30)])
async def test_each_list_is_read_within_the_worst_case_while_flags_rise(orders: int, waits: int) -> None:
    sim = Simulator()
    ids = [sim.add_order(always_active=True).id for _ in range(orders)]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for order_id in ids[:waits]:
            tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=FOR_EVER))
        tasks.start_soon(deliver_to, sim, ids[orders // 3 :])
        await polls(4)
        before = watcher.statistics()
        await anyio.sleep(3 * before.worst_case)
        tasks.cancel_scope.cancel()
    assert before.worst_case / 6 < longest_unread(sim, ids[waits : orders // 3]) <= before.worst_case


async def deliver_to(sim: Simulator, ids: list[int]) -> None:
    """Let more messages arrive than can be read."""
    for number in count():
        sim.deliver(ids[number % len(ids)], f"message {number}")
        await anyio.sleep(1)


def longest_unread(sim: Simulator, ids: list[int]) -> float:
    """Return the longest time between two readings of one list."""
    times = [[asked.time for asked in sim.requests if asked.params.get("id") == str(order_id)] for order_id in ids]
    return max(max(gaps(moments)) for moments in times)


# -- as functions ----------------------------------------------------------------------------------------------------


@given(
    orders=st.lists(FLAGS.filter(lambda flag: flag != "rose"), min_size=1, max_size=12),
    waits=st.sets(st.integers(1, 14)),
    fits=st.integers(1, 15),
)
def test_after_so_many_turns_each_list_was_read(orders: list[str], waits: set[int], fits: int) -> None:
    tracks = {order_id: track(order_id, flag=flag) for order_id, flag in enumerate(orders, start=1)}
    queue = queue_of(*tracks.values())
    expected, turn, unread = turns_of_all(queue.sizes(waits)), 0, set(tracks)
    while unread:
        assert turn < expected
        for read in plan(queue, waits, fits=fits, flagged_fit=fits, turn=turn, in_a_row=0):
            unread.discard(read.order_id)
            turn += 1
            tracks[read.order_id] = track(read.order_id, tried=turn, flag=orders[read.order_id - 1])
        queue.take_in(dict(tracks))
