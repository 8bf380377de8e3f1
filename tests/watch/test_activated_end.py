"""`Watcher.activated`: cancellation, a removed order, and the end of the watch."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import ApiError, ClientClosed, InvalidKey, OrderGone, Watcher, WatcherClosed
from tests.support.accounts import ORDERS, START, order, sms
from tests.support.activation import (
    ACTIVATE,
    ACTIVATING,
    ACTIVATION,
    ACTIVE,
    INACTIVE,
    STAY,
    STEPS,
    Numbers,
    SlowReads,
    assert_polls_as_usual,
    check_refusal_after_lapse,
    enter_and_leave,
    seconds,
    stay,
    steps,
)
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.watching import polls, watching

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from smspva_async.simulator import Simulator

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


async def raising(entering: AbstractAsyncContextManager[object], error: Exception) -> None:
    """Enter a session and raise an error inside."""
    async with entering:
        raise error


async def assert_it_lapses_unnoticed(account: Numbers) -> None:
    """Check that a number lapses, and that the watch polls as without a session."""
    account.change(1, state=INACTIVE)
    await polls(1)
    account.calls.clear()
    await polls(5)
    assert account.times(ACTIVATE) == []
    assert len(account.times()) <= 5


# -- cancellation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 0.5, 1.5, 2.9, 3.1, 4.6, 10, 100, 120])
async def test_cancelled_entering_keeps_nothing_active(sim: Simulator, after: float) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        with anyio.move_on_after(after):
            await enter_and_leave(watcher.activated(order_id))
        await anyio.sleep(ACTIVATION + STAY)  # until it lapses, if it was activated
        await assert_polls_as_usual(sim)


@pytest.mark.parametrize(
    ("calls", "expected"), [([1], {False}), ([ACTIVATE], {False}), ([ACTIVATE, ORDERS], {False, True})]
)
async def test_entering_cancelled_at_any_step_keeps_nothing_active(
    calls: list[int | None], expected: set[bool]
) -> None:
    outcomes = set[bool]()
    for count in range(STEPS):
        account = Numbers(order())
        async with Watcher(account, journal=SlowReads()) as watcher:
            await anyio.sleep(10)
            inside = list[bool]()

            async def enter(watcher: Watcher = watcher, inside: list[bool] = inside) -> None:
                async with watcher.activated(1):
                    inside.append(True)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                for call in calls:
                    await account.wait_for_call(call)
                await steps(count)
                tasks.cancel_scope.cancel()
            outcomes.add(bool(inside))
            await assert_it_lapses_unnoticed(account)
    assert outcomes == expected


@on_asyncio
async def test_entering_cancelled_in_an_asyncio_task_keeps_nothing_active() -> None:
    outcomes = set[bool]()
    for count in range(STEPS):
        account = Numbers(order())
        async with Watcher(account, journal=SlowReads()) as watcher:
            await anyio.sleep(10)
            task = asyncio.create_task(enter_and_leave(watcher.activated(1)))
            await account.wait_for_call(ACTIVATE)
            await account.wait_for_call(ORDERS)
            await steps(count)
            outcomes.add(task.cancel())
            await asyncio.wait([task])
            await assert_it_lapses_unnoticed(account)
    assert outcomes == {False, True}


async def test_a_session_cancelled_inside_keeps_nothing_active(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        with anyio.move_on_after(100):
            await stay(watcher.activated(order_id))
        await anyio.sleep(STAY)
        assert sim.order(order_id).state == 0
        await assert_polls_as_usual(sim)


async def test_leaving_does_not_deactivate(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        await enter_and_leave(watcher.activated(order_id))
        await polls(2)
        assert sim.order(order_id).state == 1
        assert {request.method for request in sim.requests} == {"orders", "sms", "activate"}
        await anyio.sleep(STAY)
        await assert_polls_as_usual(sim)


# -- an end while inside ---------------------------------------------------------------------------------------------


async def test_a_removal_is_raised_after_the_last_message(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        phone = number.phone
        sim.deliver(order_id, "last")
        await polls(2)
        sim.remove_order(order_id)
        await polls(5)
        assert (await number.next_sms()).text == "last"
        for _ in range(2):
            with pytest.raises(OrderGone) as caught:
                await number.next_sms()
            assert caught.value.order_id == order_id
        assert (number.phone, number.order.id) == (phone, order_id)


async def test_a_removal_is_raised_in_an_open_wait(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True, until=START + timedelta(seconds=300)).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        with pytest.raises(OrderGone):
            await number.next_sms(timeout=3600)
        assert 300 <= seconds(sim) < 420


async def test_a_removal_is_raised_although_the_activation_was_refused(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    sim.faults.always("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        await check_refusal_after_lapse(sim, number)
        sim.remove_order(order_id)
        await polls(5)
        with pytest.raises(OrderGone):
            await number.next_sms()


async def test_order_and_phone_keep_their_last_values_after_the_removal() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        account.change(1, phone="+79990000000", state=ACTIVATING)
        await polls(2)
        assert (number.phone, number.order.state) == ("+79990000000", ACTIVATING)
        account.remove(1)
        await polls(5)
        assert watcher.orders == {}
        assert (number.phone, number.order.state) == ("+79990000000", ACTIVATING)


async def test_the_body_continues_when_the_watcher_is_left() -> None:
    account = Numbers(order(state=ACTIVE))
    async with AsyncExitStack() as stack:
        watch = AsyncExitStack()
        watcher = await watch.enter_async_context(Watcher(account))
        number = await stack.enter_async_context(watcher.activated(1))
        account.messages[1] = [sms("last", None)]
        await polls(2)
        await watch.aclose()
        await anyio.sleep(1000)
        assert (await number.next_sms()).text == "last"
        for _ in range(2):
            with pytest.raises(WatcherClosed):
                await number.next_sms()


async def test_open_waits_raise_when_the_watcher_is_left() -> None:
    account, ended = Numbers(order(state=ACTIVE)), list[str]()

    async def use(watcher: Watcher) -> None:
        async with watcher.activated(1) as number:
            with pytest.raises(WatcherClosed, match="left"):
                await number.next_sms()
            ended.append("the body")

    async def enter(watcher: Watcher) -> None:
        with pytest.raises(WatcherClosed, match="left"):
            await enter_and_leave(watcher.activated(2))
        ended.append("entering")

    async with anyio.create_task_group() as tasks, Watcher(account) as watcher:
        tasks.start_soon(use, watcher)
        tasks.start_soon(enter, watcher)
        await polls(1)
        assert ended == []
    assert sorted(ended) == ["entering", "the body"]


async def test_the_body_continues_when_the_watch_fails() -> None:
    account, refusal = Numbers(order(state=ACTIVE)), InvalidKey("refused", msg="BANNED")
    with pytest.raises(InvalidKey):  # noqa: PT012 - raised around the watch
        async with Watcher(account) as watcher, watcher.activated(1) as number:
            account.messages[1] = [sms("last", None)]
            await polls(2)
            account.failures = {ORDERS: refusal, 1: refusal}
            await anyio.sleep(1000)
            account.calls.clear()
            account.change(1, state=INACTIVE)
            await anyio.sleep(1000)
            assert account.calls == []
            assert (await number.next_sms()).text == "last"
            raised = list[InvalidKey]()
            for _ in range(2):
                with pytest.raises(InvalidKey, match="refused") as caught:
                    await number.next_sms()
                raised.append(caught.value)
            assert raised[0] is not raised[1]
            with pytest.raises(InvalidKey, match="refused"):
                await enter_and_leave(watcher.activated(1))


async def test_the_error_that_ended_the_watch_is_raised_instead_of_an_earlier_refusal() -> None:
    account = Numbers(order(state=ACTIVE))
    account.failures[ACTIVATE] = ApiError("blocked", msg="Rent is blocked")
    with pytest.raises(ClientClosed):  # noqa: PT012 - raised around the watch
        async with Watcher(account) as watcher, watcher.activated(1) as number:
            account.change(1, state=INACTIVE)
            with pytest.raises(ApiError, match="blocked"):
                await number.next_sms()
            account.failures[ORDERS] = ClientClosed("closed")
            await polls(2)
            with pytest.raises(ClientClosed):
                await number.next_sms()


@pytest.mark.parametrize(
    "error", [LookupError("mine"), TimeoutError("mine"), StopAsyncIteration("mine"), OrderGone("mine", order_id=1)]
)
async def test_an_error_of_the_body_is_raised_unchanged(sim: Simulator, error: Exception) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        with pytest.raises(type(error)) as caught:
            await raising(watcher.activated(order_id), error)
        assert caught.value is error
        assert error.__cause__ is None
        await anyio.sleep(STAY)
        await assert_polls_as_usual(sim)


def running() -> set[str]:
    """Return the names of asyncio's tasks, except the calls of the poll loop."""
    return {task.get_name() for task in asyncio.all_tasks()} - {"smspva_async._watch.poll_loop.PollLoop._run_request"}


@on_asyncio
async def test_on_asyncio_a_session_can_be_left_in_another_task(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        await anyio.sleep(5)
        tasks = running()
        session = watcher.activated(order_id)
        number = await asyncio.create_task(session.__aenter__())
        assert running() == tasks  # a session has no task of its own
        sim.deliver(order_id, "one")
        assert (await asyncio.create_task(number.next_sms())).text == "one"
        await asyncio.create_task(session.__aexit__(None, None, None))
        await anyio.sleep(STAY)
        await assert_polls_as_usual(sim)
