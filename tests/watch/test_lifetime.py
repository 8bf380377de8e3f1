"""Entering, leaving and cancellation: nothing is left behind, and the body isn't affected."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.lowlevel
import pytest
import trio

from smspva_async import (
    MemoryJournal,
    OrderState,
    SmspvaClient,
    SmspvaError,
    WaitTimeout,
    Watcher,
    WatcherClosed,
)
from smspva_async.simulator import Simulator
from tests.support.accounts import HANGS, ORDERS, OUTAGE, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.selection import slow
from tests.support.watching import SlowJournal, polls, so_far, texts, watching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.anyio, on_both_backends]


def tasks_now(backend: str) -> int:
    """Return the number of tasks."""
    return trio.lowlevel.current_statistics().tasks_living if backend == "trio" else len(asyncio.all_tasks())


# -- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", ["asleep", "asking for orders", "reading a list", "in an outage"])
async def test_leaving_leaves_no_task_behind(busy: str, anyio_backend_name: str) -> None:
    account, journal = Account(order(1), order(2)), MemoryJournal()
    before = tasks_now(anyio_backend_name)
    async with Watcher(account, journal=journal):
        if busy == "asking for orders":
            account.seconds = {ORDERS: HANGS}
        elif busy == "reading a list":
            account.seconds = {1: HANGS, 2: HANGS}
        elif busy == "in an outage":
            account.failures = {ORDERS: OUTAGE, 1: OUTAGE}
        await anyio.sleep(65)
        left = anyio.current_time()
    assert anyio.current_time() == left
    assert tasks_now(anyio_backend_name) == before
    asked = len(account.calls)
    await anyio.sleep(1000)
    assert len(account.calls) == asked
    await journal.open(None)


async def test_the_watcher_can_be_left_when_a_request_is_due() -> None:
    for due in (0.0, 1.5, 3.0, 60.0):
        account = Account(order(1), order(2))
        account.seconds = {1: HANGS}
        async with Watcher(account, eager_interval=1.5) as watcher:
            with contextlib.suppress(WaitTimeout):
                await watcher.wait_for_sms(2, timeout=due)


async def test_a_client_can_be_used_after_its_watcher_was_left() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with SmspvaClient("key", transport=sim.transport()) as client:
        for _ in range(2):
            async with Watcher(client) as watcher:
                await polls(2)
                assert watcher.orders.keys() == {order_id}
        assert [known.id for known in await client.orders()] == [order_id]


async def test_a_watcher_can_be_made_outside_of_a_loop(outside: Watcher) -> None:
    async with outside as watcher:
        await polls(2)
        assert texts(await so_far(watcher)) == ["one"]


@pytest.fixture
def outside() -> Watcher:
    account = Account(order())
    account.messages[1] = [sms("one", None)]
    return Watcher(account, start="replay")


# -- the body --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LookupError("mine"), ExceptionGroup("mine", [OSError()]), SystemExit(3)], ids=repr)
async def test_an_error_of_the_body_is_not_wrapped(error: BaseException) -> None:
    caught: BaseException | None = None
    journal = MemoryJournal()
    try:
        async with Watcher(Account(order()), journal=journal):
            await polls(1)
            raise error  # noqa: TRY301 - from the body itself
    except BaseException as raised:  # noqa: BLE001 - as a user's code may
        caught = raised
    assert caught is error
    await journal.open(None)


async def test_an_except_clause_around_the_watcher_catches_errors_of_the_body() -> None:
    async def catches(body: Callable[[Watcher], Awaitable[object]]) -> bool:
        try:
            async with Watcher(Account(order())) as watcher:
                await body(watcher)
        except SmspvaError:
            return True
        return False

    async def time_out(watcher: Watcher) -> None:
        await watcher.wait_for_sms(1, timeout=10)

    async def leave(watcher: Watcher) -> None:
        await polls(1)
        assert watcher.orders

    assert await catches(time_out)
    assert not await catches(leave)


async def test_a_deadline_around_the_watcher_is_handled_by_its_own_scope() -> None:
    before = anyio.current_time()
    with anyio.move_on_after(100) as scope:
        async with Watcher(Account(order())) as watcher:
            async for _ in watcher.events(after=watcher.cursor):
                pass
    assert scope.cancelled_caught
    assert anyio.current_time() == before + 100
    with pytest.raises(TimeoutError), anyio.fail_after(100):
        async with Watcher(Account(order())) as watcher:
            await watcher.wait_for_sms(1, timeout=1000)


# -- cancellation at each await point --------------------------------------------------------------------------------

Scenario: TypeAlias = "Callable[[Account, MemoryJournal], Awaitable[None]]"


async def enter_and_leave(account: Account, journal: MemoryJournal) -> None:
    async with Watcher(account, journal=journal):
        pass


async def iterate(account: Account, journal: MemoryJournal) -> None:
    async with Watcher(account, journal=journal, start="replay") as watcher:
        events = watcher.events()
        for _ in range(3):
            await anext(events)


async def wait_for_a_message(account: Account, journal: MemoryJournal) -> None:
    async with Watcher(account, journal=journal) as watcher:
        with contextlib.suppress(WaitTimeout):
            await watcher.wait_for_sms(2, timeout=1)


async def wait_for_a_state(account: Account, journal: MemoryJournal) -> None:
    async with Watcher(account, journal=journal) as watcher:
        with contextlib.suppress(WaitTimeout):
            await watcher.wait_for_state(1, OrderState.ACTIVE, timeout=1)


async def stay_a_while(account: Account, journal: MemoryJournal) -> None:
    async with Watcher(account, journal=journal, interval=1):
        await anyio.sleep(1.2)


async def meet_an_outage(account: Account, journal: MemoryJournal) -> None:
    account.failures = {ORDERS: OUTAGE, 1: OUTAGE}
    await stay_a_while(account, journal)


async def watch_a_simulator(_: Account, journal: MemoryJournal) -> None:
    sim = Simulator(seed=1)
    sim.deliver(sim.add_order().id, "one")
    async with watching(sim, journal=journal, start="replay") as watcher:
        await anext(watcher.events())


SCENARIOS: list[Scenario] = [
    enter_and_leave,
    iterate,
    wait_for_a_message,
    wait_for_a_state,
    stay_a_while,
    meet_an_outage,
    watch_a_simulator,
]


async def cancelled_after(steps: int, scenario: Scenario, journal: MemoryJournal) -> bool:
    """Run a scenario and cancel it after some scheduler steps; return False if it ended before."""
    account = Account(order(1), order(2))
    account.messages[1] = [sms("one", None)]
    account.seconds = {ORDERS: 0.2, 1: 0.3, 2: 0.1}

    async def cancel() -> None:
        for step in range(1, steps + 1):
            # Virtual time stands still while a task is ready, so let it advance sometimes.
            await (anyio.lowlevel.checkpoint() if step % 12 else anyio.sleep(0.07))
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel)
            await scenario(account, journal)
        tasks.cancel_scope.cancel()
    return scope.cancelled_caught


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("stride", [3, slow(1)])
async def test_cancellation_at_any_point_leaves_nothing_behind(
    scenario: Scenario, stride: int, anyio_backend_name: str
) -> None:
    before = tasks_now(anyio_backend_name)
    for steps in range(0, 10_000, stride):
        journal = SlowJournal()
        in_time = await cancelled_after(steps, scenario, journal)
        assert tasks_now(anyio_backend_name) == before, f"a task is left after {steps} steps"
        await journal.open(None)  # no other watcher uses it
        if not in_time:
            break
    assert 5 < steps < 1000


async def test_after_failed_or_cancelled_entering_another_watcher_can_be_entered() -> None:
    account, journal = Account(order()), MemoryJournal()
    account.seconds[ORDERS] = 10
    with anyio.move_on_after(5):
        await Watcher(account, journal=journal).__aenter__()
    async with Watcher(account, journal=journal) as watcher:
        assert watcher.orders.keys() == {1}


async def test_a_cancelled_wait_does_not_change_the_watch() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for _ in range(10):
            with anyio.move_on_after(4):
                await watcher.wait_for_sms(1, timeout=1000)
        await polls(1)
        account.calls.clear()
        await polls(4)
        assert len(account.times()) in {4, 5}  # polling is not eager any more
    with pytest.raises(WatcherClosed):
        await watcher.wait_for_sms(1, timeout=1000)
