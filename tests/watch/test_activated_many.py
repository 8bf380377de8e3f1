"""`Watcher.activated` in many sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import ApiError, Pace, Sms, SmspvaClient, Watcher
from tests.support.accounts import order
from tests.support.activation import (
    ACTIVATE,
    ACTIVATION,
    ACTIVE,
    INACTIVE,
    STAY,
    TWO_MINUTES,
    Numbers,
    assert_polls_as_usual,
    enter_and_leave,
    request_times,
    seconds,
    stay,
)
from tests.support.backends import on_both_backends
from tests.support.watching import gaps, polls, watching

if TYPE_CHECKING:
    from smspva_async.simulator import Simulator

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


async def test_sessions_of_one_order_share_its_activation_and_each_gets_every_message(sim: Simulator) -> None:
    order_id = sim.add_order().id
    given: list[list[Sms]] = [[], [], []]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for mine in given[:2]:
            tasks.start_soon(stay, watcher.activated(order_id), mine, STAY + 2 * ACTIVATION)
        await anyio.sleep(100)
        tasks.start_soon(stay, watcher.activated(order_id), given[2], STAY + 2 * ACTIVATION)
        await anyio.sleep(ACTIVATION)
        for text in ("one", "two"):
            sim.deliver(order_id, text)
            await polls(1)
        await anyio.sleep(STAY)
        assert len(request_times(sim, "activate")) == 2  # each time it was down
    assert [[message.text for message in mine] for mine in given] == [["one", "two"]] * 3
    assert len(request_times(sim, "activate")) == 2


async def test_the_number_is_kept_active_until_the_last_session_is_left(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        async with watcher.activated(order_id):
            async with watcher.activated(order_id):
                pass
            await anyio.sleep(STAY + 60)
            assert len(request_times(sim, "activate")) == 1
        await anyio.sleep(STAY + ACTIVATION)
        await assert_polls_as_usual(sim)


async def test_many_sessions_that_enter_together_cost_few_requests(sim: Simulator) -> None:
    sim.behavior.activation, sim.behavior.active = (ACTIVATION, 2 * ACTIVATION), (1000, 1000)
    orders = [sim.add_order().id for _ in range(50)]
    async with watching(sim) as watcher:
        await anyio.sleep(70)
        sim.requests.clear()
        before = seconds(sim)
        async with anyio.create_task_group() as tasks:
            for order_id in orders:
                tasks.start_soon(enter_and_leave, watcher.activated(order_id))
        assert sorted(int(request.params["id"]) for request in sim.requests if request.method == "activate") == orders
        last = max(request_times(sim, "activate"))
        assert last - before < 500
        assert len([time for time in request_times(sim, "orders") if time <= last]) < 150
        await assert_polls_as_usual(sim)


async def test_many_sessions_of_one_order_cost_as_much_as_one(sim: Simulator) -> None:
    order_id = sim.add_order().id
    costs = list[int]()
    for count in (1, 30):
        sim.set_state(order_id, 0)
        async with watching(sim) as watcher:
            await anyio.sleep(10)
            sim.requests.clear()
            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(enter_and_leave, watcher.activated(order_id))
            costs.append(len(sim.requests))
            assert len(request_times(sim, "activate")) == 1
    assert costs[1] <= costs[0] + 2


async def test_many_sessions_keep_the_pace(sim: Simulator) -> None:
    sim.behavior.rate_limit = 1.5
    orders = [sim.add_order().id for _ in range(5)]
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(1.5)) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for order_id in orders:
            tasks.start_soon(stay, watcher.activated(order_id), None, 100)
    assert min(gaps([request.time for request in sim.requests])) >= 1.5 - 1e-6
    assert {request.fault for request in sim.requests} == {None}


async def test_a_session_after_a_cancelled_one_sends_no_second_activation() -> None:
    account = Numbers(order(), becomes=INACTIVE)  # still listed as inactive after an activation
    async with Watcher(account) as watcher:
        for _ in range(3):
            with anyio.move_on_after(20):
                await enter_and_leave(watcher.activated(1))
        assert len(account.times(ACTIVATE)) == 1
        with anyio.move_on_after(TWO_MINUTES):
            await enter_and_leave(watcher.activated(1))
        assert len(account.times(ACTIVATE)) == 2
        account.calls.clear()
        await anyio.sleep(3 * TWO_MINUTES)
        assert account.times(ACTIVATE) == []


async def test_a_number_is_activated_although_its_messages_are_refused(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.always("sms", "refusal", msg="Number is not active")
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(enter_and_leave, watcher.activated(order_id))
        await anyio.sleep(30)
        assert len(request_times(sim, "activate")) == 1
        tasks.cancel_scope.cancel()


async def test_each_session_raises_each_refusal_once() -> None:
    account = Numbers(order(state=ACTIVE))
    account.failures[ACTIVATE] = ApiError("blocked", msg="Rent is blocked")
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        account.change(1, state=INACTIVE)
        await account.wait_for_call(ACTIVATE)
        await polls(1)
        with pytest.raises(ApiError, match="blocked"):
            await enter_and_leave(watcher.activated(1))
        with pytest.raises(ApiError, match="blocked"):  # the first one, which only the other session raised
            await number.next_sms()
