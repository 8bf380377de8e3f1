"""`Watcher.activated`: a number that lapses is activated again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import ApiError, OrderState, WaitTimeout, Watcher
from tests.support.accounts import OUTAGE, order
from tests.support.activation import (
    ACTIVATE,
    ACTIVATING,
    ACTIVATION,
    ACTIVE,
    INACTIVE,
    STAY,
    TWO_MINUTES,
    Numbers,
    assert_polls_as_usual,
    check_refusal_after_lapse,
    enter_and_leave,
    request_times,
    seconds,
)
from tests.support.backends import on_both_backends
from tests.support.watching import gaps, polls, so_far, texts, watching

if TYPE_CHECKING:
    from smspva_async import ActiveNumber
    from smspva_async.simulator import FaultName, Simulator

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


async def test_each_lapse_causes_one_activation(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        with anyio.move_on_after(4.5 * (ACTIVATION + STAY)):
            while True:
                await anyio.sleep(200)
                with pytest.raises(WaitTimeout):
                    await number.next_sms(timeout=50)
        times = request_times(sim, "activate")
        assert len(times) == 5
        assert all(ACTIVATION + STAY <= gap <= ACTIVATION + STAY + 35 for gap in gaps(times))


async def test_a_wait_for_a_message_survives_a_lapse(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, watcher.activated(order_id) as number, anyio.create_task_group() as tasks:

        async def send() -> None:
            await anyio.sleep(STAY)
            assert not sim.deliver(order_id, "lost", network=True)
            await anyio.sleep(ACTIVATION + 20)
            assert sim.deliver(order_id, "code 671 094", network=True)

        tasks.start_soon(send)
        before = seconds(sim)
        assert (await number.next_sms(timeout=3600)).code == "671094"
        assert STAY + ACTIVATION <= seconds(sim) - before < STAY + ACTIVATION + 40
        assert number.order.state is ACTIVE


@pytest.mark.parametrize("waits", [True, False])
async def test_a_number_that_stays_down_is_activated_again_two_minutes_later(*, waits: bool) -> None:
    account = Numbers(order(state=ACTIVE), becomes=INACTIVE)
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        await polls(1)
        account.change(1, state=INACTIVE)
        if waits:
            with pytest.raises(WaitTimeout):
                await number.next_sms(timeout=450)
        else:
            await anyio.sleep(450)
        assert len(account.times(ACTIVATE)) in ((4,) if waits else (3, 4))
        most = 125 if waits else 151
        assert all(TWO_MINUTES - 0.01 <= gap <= most for gap in gaps(account.times(ACTIVATE)))


async def test_a_queued_number_is_activated_again_only_when_it_leaves_the_queue() -> None:
    account = Numbers(order(state=ACTIVE), becomes=ACTIVATING)
    async with Watcher(account) as watcher, watcher.activated(1):
        account.change(1, state=INACTIVE)
        await anyio.sleep(3600)
        assert len(account.times(ACTIVATE)) == 1
        account.change(1, state=INACTIVE)
        await polls(2)
        assert len(account.times(ACTIVATE)) == 2


@pytest.mark.parametrize("state", [OrderState.ABSENT, OrderState.UNKNOWN])
async def test_a_number_in_any_other_state_is_activated(state: OrderState) -> None:
    account = Numbers(order(state=state))
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        assert number.order.state is ACTIVE
        account.change(1, state=state)
        await polls(2)
        assert number.order.state is ACTIVE
    assert len(account.times(ACTIVATE)) == 2


async def test_an_order_missing_from_one_answer_has_not_lapsed(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    sim.behavior.flapping = 0.5
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        await anyio.sleep(1000)
        sim.deliver(order_id, "one")
        assert (await number.next_sms()).text == "one"
    assert request_times(sim, "activate") == []


async def test_a_lapse_during_an_outage_is_noticed_afterwards(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.faults.always("*", "http_503")
        sim.set_state(order_id, 0)
        with pytest.raises(WaitTimeout):
            await number.next_sms(timeout=600)
        assert request_times(sim, "activate") == []
        sim.faults.clear()
        await polls(3)
        assert len(request_times(sim, "activate")) == 1


async def test_a_refused_activation_is_raised_after_the_messages(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        await anyio.sleep(70)
        sim.faults.next("activate", "refusal", msg="Rent is blocked", count=3)
        sim.deliver(order_id, "last")
        sim.set_state(order_id, 0)
        await polls(1)
        assert (await number.next_sms()).text == "last"
        with pytest.raises(ApiError, match="Rent is blocked") as caught:
            await number.next_sms()
        assert caught.value.msg == "Rent is blocked"
        with pytest.raises(WaitTimeout):  # not raised in a loop
            await number.next_sms(timeout=0.1)
        await anyio.sleep(TWO_MINUTES)
        assert gaps(request_times(sim, "activate")) == pytest.approx([5, 10, 20], abs=2)  # a call may wait for the pace
        sim.deliver(order_id, "a later message")
        assert (await number.next_sms()).text == "a later message"


async def test_a_refusal_is_raised_in_the_open_waits_of_each_session(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with (
        watching(sim) as watcher,
        watcher.activated(order_id) as one_number,
        watcher.activated(order_id) as the_same,
        anyio.create_task_group() as tasks,
    ):
        raised = list[tuple[float, ApiError]]()

        async def wait(number: ActiveNumber) -> None:
            with pytest.raises(ApiError, match="Rent is blocked") as caught:
                await number.next_sms()
            raised.append((anyio.current_time(), caught.value))

        for number in (one_number, the_same):
            tasks.start_soon(wait, number)
        sim.faults.always("activate", "refusal", msg="Rent is blocked")
        await anyio.sleep(50)
        sim.set_state(order_id, 0)
        before = anyio.current_time()
        await anyio.sleep(20)
        (one, first), (two, second) = raised
        assert max(one, two) - before < 10
        assert first is not second


async def test_a_refusal_is_forgotten_when_the_number_is_active(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    sim.faults.next("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        await check_refusal_after_lapse(sim, number)
        sim.set_state(order_id, 1)  # activated by another program
        await polls(2)
        sim.deliver(order_id, "one")
        assert (await number.next_sms()).text == "one"
        assert len(request_times(sim, "activate")) <= 2


@pytest.mark.parametrize(("fault", "count"), [("http_500", 5), ("too_many", 3), ("refused", 5)])
async def test_a_temporary_failure_is_not_raised_inside(sim: Simulator, fault: FaultName, count: int) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.faults.next("activate", fault, count=count)
        sim.set_state(order_id, 0)
        with pytest.raises(WaitTimeout):
            await number.next_sms(timeout=3 * ACTIVATION)
        assert sim.faults.pending == 0
        assert number.order.state is not INACTIVE


@pytest.mark.parametrize("end", ["it succeeds", "the number is active", "the session is left"])
async def test_a_timeout_reports_a_failed_activation_while_it_lasts(end: str) -> None:
    account = Numbers(order(state=ACTIVE), becomes=INACTIVE)
    async with Watcher(account) as watcher, AsyncExitStack() as session:
        number = await session.enter_async_context(watcher.activated(1))
        account.failures[ACTIVATE] = OUTAGE
        account.change(1, state=INACTIVE)
        await anyio.sleep(400)  # by now the activation is tried every two minutes
        for _ in range(6):
            with pytest.raises(WaitTimeout) as caught:
                await number.next_sms(timeout=20)
            assert caught.value.last_failure == "the server is down"
        match end:
            case "it succeeds":
                account.failures.clear()
            case "the number is active":
                account.change(1, state=ACTIVE)
            case _:
                await session.aclose()
        await anyio.sleep(130)
        with pytest.raises(WaitTimeout) as caught:
            await watcher.wait_for_sms(1, timeout=20)
        assert caught.value.last_failure is None


async def test_a_hanging_activation_does_not_stop_polling(sim: Simulator) -> None:
    order_id, other = sim.add_order(state=1).id, sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.faults.always("activate", "hang", done=False)
        sim.set_state(order_id, 0)
        await polls(2)
        assert len(request_times(sim, "activate")) >= 1
        for text in ("one", "two", "three"):
            sim.deliver(order_id, text)
            sim.deliver(other, text)
            assert (await number.next_sms(timeout=10)).text == text
        await polls(1)
        assert texts(await so_far(watcher)).count("three") == 2
        sim.faults.clear()
        await polls(4)
        assert sim.order(order_id).state != 0  # it was repeated


async def test_a_lapse_outside_of_a_session_causes_no_activation(sim: Simulator) -> None:
    mine, other = sim.add_order(state=1).id, sim.add_order(state=1).id
    async with watching(sim) as watcher:
        async with watcher.activated(mine):
            await anyio.sleep(STAY + 60)
        assert request_times(sim, "activate", other) == []
        assert len(request_times(sim, "activate", mine)) == 1
        await anyio.sleep(STAY + ACTIVATION)
        await assert_polls_as_usual(sim)


async def test_a_session_that_begins_during_an_activation_sends_no_second_one() -> None:
    account = Numbers(order(state=ACTIVE))
    account.failures[ACTIVATE], account.seconds[ACTIVATE] = ApiError("blocked", msg="Rent is blocked"), 20
    async with Watcher(account) as watcher, watcher.activated(1), anyio.create_task_group() as tasks:

        async def enter() -> None:
            with pytest.raises(ApiError, match="blocked"):
                await enter_and_leave(watcher.activated(1))

        account.change(1, state=INACTIVE)
        await account.wait_for_call(ACTIVATE)
        await account.wait_for_call(ACTIVATE)
        tasks.start_soon(enter)
        await anyio.sleep(19)
        assert len(account.times(ACTIVATE)) == 2
        await anyio.sleep(2)
