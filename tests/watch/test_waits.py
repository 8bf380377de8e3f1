"""Waits for a state and for a message: their errors, and faster polling during a wait."""

from __future__ import annotations

import pickle
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import (
    ConnectionFailed,
    Lagged,
    Order,
    OrderGone,
    OrderState,
    Pace,
    SmspvaClient,
    SmspvaError,
    SmsReceived,
    StateChanged,
    WaitTimeout,
    Watcher,
)
from smspva_async.simulator import Simulator
from tests.support.accounts import ORDERS, OUTAGE, START, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.selection import slow
from tests.support.watching import gaps, polls, so_far, texts, watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]

ACTIVE, INACTIVE = OrderState.ACTIVE, OrderState.INACTIVE


async def list_later(seconds: float, account: Account, *listed: Order) -> None:
    await anyio.sleep(seconds)
    account.listed = list(listed)


# -- for a state -----------------------------------------------------------------------------------------------------


async def test_a_wait_for_the_present_state_returns_at_once() -> None:
    async with Watcher(Account(order(state=ACTIVE))) as watcher:
        before = anyio.current_time()
        assert await watcher.wait_for_state(1, ACTIVE, timeout=100) == order(state=ACTIVE)
        assert anyio.current_time() == before


async def test_a_wait_returns_when_the_state_is_reached() -> None:
    account = Account(order())
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(list_later, 50, account, order(state=ACTIVE))
        assert await watcher.wait_for_state(1, ACTIVE, timeout=100) == order(state=ACTIVE)


async def test_an_order_that_is_not_listed_yet_can_be_waited_for() -> None:
    account = Account()
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(list_later, 200, account, order(state=ACTIVE))
        assert await watcher.wait_for_state(1, ACTIVE, timeout=300) == order(state=ACTIVE)


async def test_an_activation_can_be_waited_for() -> None:
    sim = Simulator(dialect="live")
    order_id = sim.add_order().id
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        await client.activate(order_id)
        waited = await watcher.wait_for_state(order_id, ACTIVE, timeout=3600)
        assert (waited.id, waited.state, sim.order(order_id).state) == (order_id, ACTIVE, 1)


# -- for a message ---------------------------------------------------------------------------------------------------


async def test_a_wait_ignores_messages_from_before_the_call() -> None:
    account = Account(order())
    account.messages[1] = [sms("before", 0)]
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        await polls(1)
        assert texts(await so_far(watcher)) == ["before"]

        async def deliver() -> None:
            await anyio.sleep(20)
            account.messages[1].append(sms("after", 50))

        tasks.start_soon(deliver)
        event = await watcher.wait_for_sms(1, timeout=100)
        assert isinstance(event, SmsReceived)
        assert event.sms == sms("after", 50)


async def test_a_message_after_a_given_place_returns_at_once() -> None:
    account = Account(order(1), order(2))
    account.messages[1] = [sms("one", 1), sms("two", 2)]
    account.messages[2] = [sms("to another", 0)]
    async with Watcher(account) as watcher:
        await polls(1)
        first = await watcher.wait_for_sms(1, after=0, timeout=10)
        second = await watcher.wait_for_sms(1, after=first.seq, timeout=10)
        assert texts([first, second]) == ["one", "two"]
        with pytest.raises(WaitTimeout):
            await watcher.wait_for_sms(1, after=second.seq, timeout=10)
        with pytest.raises(Lagged):
            await watcher.wait_for_sms(1, after=1000, timeout=10)


async def test_match_selects_the_message() -> None:
    account = Account(order())
    account.messages[1] = [sms("hello", 1), sms("code 671 094", 2)]
    async with Watcher(account) as watcher:
        event = await watcher.wait_for_sms(1, after=0, match=lambda sms: sms.code is not None, timeout=10)
        assert event.sms.code == "671094"


async def test_many_waits_for_one_message_cost_no_extra_request() -> None:
    asked = []
    for waiters in (1, 50):
        account, given = Account(order()), list[SmsReceived]()
        async with Watcher(account) as watcher, anyio.create_task_group() as tasks:

            async def wait(watcher: Watcher = watcher, given: list[SmsReceived] = given) -> None:
                given.append(await watcher.wait_for_sms(1, timeout=100))

            await anyio.sleep(40)  # somewhere between two polls
            before = len(account.calls)
            for _ in range(waiters):
                tasks.start_soon(wait)
            await anyio.sleep(18)
            account.messages[1] = [sms("one")]
            await anyio.sleep(6)
            asked.append(len(account.calls) - before)
        assert given == [given[0]] * waiters
    assert asked[0] == asked[1]


# -- what they raise -------------------------------------------------------------------------------------------------


async def test_a_timeout_of_a_wait_reports_the_state_and_the_last_failure() -> None:
    account = Account(order(state=OrderState.ACTIVATING))
    async with Watcher(account) as watcher:
        await anyio.sleep(20)
        account.failures[ORDERS] = OUTAGE
        before = anyio.current_time()
        with pytest.raises(WaitTimeout) as caught:
            await watcher.wait_for_state(1, ACTIVE, timeout=45)
        error = caught.value
        assert anyio.current_time() == before + 45
    assert isinstance(error, TimeoutError)
    assert isinstance(error, SmspvaError)
    assert (error.order_id, error.state, error.last_failure) == (1, OrderState.ACTIVATING, "the server is down")
    assert error.last_success == START + timedelta(seconds=0.6)
    assert error.elapsed == 45
    for part in ("order 1", "ACTIVE", "ACTIVATING", "2026-01-01 00:00:00 UTC", "the server is down", "45 s"):
        assert part in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - the test's own pickle


async def last_failure(watcher: Watcher, order_id: int) -> str | None:
    """Return the failure that a wait for an order reports."""
    with pytest.raises(WaitTimeout) as caught:
        await watcher.wait_for_sms(order_id, timeout=5)
    assert f"last failure: {caught.value.last_failure or 'none'}. " in str(caught.value)
    return caught.value.last_failure


async def test_a_timeout_reports_the_failure_of_its_own_order() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        for order_id in (1, 2):
            account.failures[order_id] = ConnectionFailed(f"the list of {order_id} is broken", sent=True)
        await polls(2)
        for order_id in (1, 2):
            assert await last_failure(watcher, order_id) == f"the list of {order_id} is broken"


@pytest.mark.parametrize(("call", "affected"), [(ORDERS, [1, 2]), (1, [1])])
async def test_a_timeout_reports_a_failure_only_while_it_lasts(call: int | None, affected: list[int]) -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.failures[call] = OUTAGE
        await polls(2)
        for order_id in (1, 2):
            expected = "the server is down" if order_id in affected else None
            assert await last_failure(watcher, order_id) == expected
        account.failures.clear()
        await polls(2)
        for order_id in (1, 2):
            assert await last_failure(watcher, order_id) is None


async def test_a_timeout_of_a_wait_says_that_the_order_was_never_listed() -> None:
    account = Account()
    async with Watcher(account) as watcher:
        for wait in (watcher.wait_for_sms(7, timeout=1), watcher.wait_for_state(7, ACTIVE, timeout=1)):
            with pytest.raises(WaitTimeout, match="never listed") as caught:
                await wait
            assert (caught.value.state, caught.value.last_failure) == (None, None)


async def test_a_timeout_loses_no_message() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        place = watcher.cursor
        with pytest.raises(WaitTimeout):
            await watcher.wait_for_sms(1, timeout=10)
        account.messages[1] = [sms("late", 11)]
        await polls(2)
        assert texts([await watcher.wait_for_sms(1, after=place, timeout=10)]) == ["late"]
        assert texts(await so_far(watcher)) == ["late"]


@pytest.mark.parametrize("timeout", [float("nan"), "30", None, True])
async def test_an_invalid_timeout_is_rejected(timeout: float) -> None:
    async with Watcher(Account(order())) as watcher:
        with pytest.raises(ValueError, match="the timeout must be a number of seconds"):
            await watcher.wait_for_state(1, ACTIVE, timeout=timeout)
        with pytest.raises(ValueError, match="the timeout must be a number of seconds"):
            await watcher.wait_for_sms(1, timeout=timeout)


@pytest.mark.parametrize("seconds", [1800, slow(86_400)])
async def test_a_timeout_can_be_zero_or_infinite(seconds: float) -> None:
    account = Account(order())
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        for over in (0, -0.001):  # as the time left until a deadline can be
            with pytest.raises(WaitTimeout, match="order 1 didn't become ACTIVE within 0 s"):
                await watcher.wait_for_state(1, ACTIVE, timeout=over)
            with pytest.raises(WaitTimeout, match="order 1 didn't receive the message within 0 s"):
                await watcher.wait_for_sms(1, timeout=over)
        tasks.start_soon(list_later, seconds, account, order(state=ACTIVE))
        assert await watcher.wait_for_state(1, ACTIVE, timeout=float("inf")) == order(state=ACTIVE)


async def assert_raises_gone(awaited: Awaitable[object]) -> None:
    with pytest.raises(OrderGone) as caught:
        await awaited
    assert caught.value.order_id == 1
    assert "order 1" in str(caught.value)


async def test_a_removal_ends_a_wait() -> None:
    account = Account(order())
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(assert_raises_gone, watcher.wait_for_sms(1, timeout=1000))
        tasks.start_soon(assert_raises_gone, watcher.wait_for_state(1, ACTIVE, timeout=1000))
        account.listed = []


async def test_a_wait_for_a_removed_order_raises_at_once() -> None:
    account = Account(order())
    account.messages[1] = [sms("one")]
    async with Watcher(account) as watcher:
        await polls(1)
        account.remove(1)
        await polls(5)
        await assert_raises_gone(watcher.wait_for_sms(1, timeout=1000))
        await assert_raises_gone(watcher.wait_for_state(1, INACTIVE, timeout=1000))
        assert texts([await watcher.wait_for_sms(1, after=0, timeout=10)]) == ["one"]  # it came before
        account.listed, account.failures = [order()], {}
        await polls(1)
        assert await watcher.wait_for_state(1, INACTIVE, timeout=1) == order()


SLOT = 1.5 / 0.9
"""Seconds between two requests of the watch while a message is waited for."""


# -- faster polling during a wait ------------------------------------------------------------------------------------


@asynccontextmanager
async def while_waiting(*waits: Awaitable[object]) -> AsyncIterator[None]:
    """Wait for a message or a state that doesn't come, until the block is left."""

    async def wait(awaited: Awaitable[object]) -> None:
        await awaited

    async with anyio.create_task_group() as tasks:
        for awaited in waits:
            tasks.start_soon(wait, awaited)
        yield
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("flag", [False, True, None])
async def test_a_list_is_read_often_only_while_its_message_is_awaited(*, flag: bool | None) -> None:
    account = Account(order(1, has_new_sms=flag), order(2))
    async with Watcher(account) as watcher:
        await anyio.sleep(10)
        account.calls.clear()
        async with while_waiting(watcher.wait_for_sms(1, timeout=1000)):
            await anyio.sleep(61)
        assert max(gaps(account.times(1))) <= 2 * SLOT + 0.01
        assert len(account.times(1)) >= 30
        assert len(account.times()) in {2, 3}
        account.calls.clear()
        await polls(5)
        assert gaps(account.times()) == pytest.approx([30] * 4)
        assert len(account.times(1)) in {5, 6}


async def test_while_a_state_is_awaited_orders_are_polled_every_nine_seconds() -> None:
    account = Account(order(has_new_sms=True))
    async with Watcher(account) as watcher, while_waiting(watcher.wait_for_state(1, ACTIVE, timeout=1000)):
        await anyio.sleep(61)
        assert gaps(account.times()) == pytest.approx([9] * 6)
        account.calls.clear()
        async with while_waiting(watcher.wait_for_sms(1, timeout=1000)):
            await anyio.sleep(45)
        assert all(9 - 1e-6 <= gap <= 9 + SLOT for gap in gaps(account.times()))
        assert len(account.times(1)) > 15


async def test_eager_polling_is_never_slower_than_usual() -> None:
    account = Account(order())
    async with Watcher(account, interval=5, eager_interval=20) as watcher:
        async with while_waiting(watcher.wait_for_state(1, ACTIVE, timeout=1000)):
            await anyio.sleep(61)
        assert max(gaps(account.times())) == pytest.approx(5)


@pytest.mark.parametrize(("gap", "expected"), [(0, 9), (1, 9), (6, 12)])
async def test_eager_polling_is_never_faster_than_two_requests(gap: float, expected: float) -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(gap)) as client,
        Watcher(client) as watcher,
        while_waiting(watcher.wait_for_state(order_id, ACTIVE, timeout=1000)),
    ):
        await anyio.sleep(100)
    times = [request.time for request in sim.requests if request.method == "orders"]
    assert all(expected - 1e-6 <= interval <= expected + gap for interval in gaps(times)[1:])


async def test_an_awaited_message_is_found_soon() -> None:
    sim = Simulator()
    orders = [sim.add_order().id for _ in range(10)]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        await polls(2)

        async def deliver() -> None:
            await anyio.sleep(100)
            sim.deliver(orders[4], "code 1234")

        tasks.start_soon(deliver)
        before = anyio.current_time()
        assert (await watcher.wait_for_sms(orders[4], timeout=1000)).sms.code == "1234"
        assert anyio.current_time() - before < 105


async def test_other_messages_are_still_found() -> None:
    sim = Simulator()
    orders = [sim.add_order().id for _ in range(10)]
    async with watching(sim) as watcher, while_waiting(watcher.wait_for_sms(orders[0], timeout=1000)):
        await anyio.sleep(100)
        sim.set_state(orders[1], 2)
        for order_id in orders[1:]:
            sim.deliver(order_id, f"to {order_id}")
        await anyio.sleep(61)
        events = await so_far(watcher)
        assert len(texts(events)) == 9
        assert [event.order_id for event in events if isinstance(event, StateChanged)] == [orders[1]]
