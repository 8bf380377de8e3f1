"""Watching on asyncio: entering and leaving in different tasks, and asyncio's cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from smspva_async import ClientClosed, MemoryJournal, SmspvaClient, Watcher
from smspva_async._concurrency import BackgroundTask
from smspva_async.simulator import Simulator
from tests.support.accounts import HANGS, ORDERS, Account, order, sms
from tests.support.watching import SlowJournal, so_far, texts

pytestmark = pytest.mark.asyncio


async def test_entering_and_leaving_can_happen_in_different_tasks() -> None:
    account, journal = Account(order()), MemoryJournal()
    watcher = Watcher(account, journal=journal, start="replay")
    await asyncio.create_task(watcher.__aenter__())
    account.messages[1] = [sms("one", None)]
    await asyncio.sleep(61)
    assert texts([await asyncio.create_task(watcher.wait_for_sms(1, after=0, timeout=10))]) == ["one"]
    await asyncio.create_task(watcher.__aexit__(None, None, None))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await journal.open(None)


async def test_a_failure_of_the_watch_is_raised_where_it_is_left() -> None:
    account = Account(order())
    watcher = Watcher(account)
    await asyncio.create_task(watcher.__aenter__())
    account.failures[ORDERS] = ClientClosed("closed")
    await asyncio.sleep(61)
    with pytest.raises(ClientClosed):
        await asyncio.create_task(watcher.__aexit__(None, None, None))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_watcher_in_an_exit_stack() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    stack = contextlib.AsyncExitStack()

    async def start() -> Watcher:
        client = await stack.enter_async_context(SmspvaClient("key", transport=sim.transport()))
        return await stack.enter_async_context(Watcher(client))

    watcher = await asyncio.create_task(start())
    sim.deliver(order_id, "one")
    await asyncio.sleep(61)
    assert texts(await so_far(watcher)) == ["one"]
    await asyncio.create_task(stack.aclose())
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("steps", range(40))
async def test_a_task_cancelled_on_leaving_leaves_nothing_behind(steps: int) -> None:
    account, journal = Account(order()), SlowJournal()
    account.seconds = {ORDERS: 10, 1: HANGS}

    async def watch() -> None:
        async with Watcher(account, journal=journal):
            await asyncio.sleep(25)

    task = asyncio.create_task(watch())
    await asyncio.sleep(35)  # the body has just ended
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await journal.open(None)


@pytest.mark.parametrize("seconds", [0, 0.1, 5, 9.9, 10, 10.1, 11.5, 13, 34.9])
async def test_a_task_that_is_cancelled_ends_as_cancelled(seconds: float) -> None:
    account, journal = Account(order()), MemoryJournal()
    account.seconds = {ORDERS: 10, 1: HANGS}

    async def watch() -> None:
        async with Watcher(account, journal=journal) as watcher:
            await watcher.wait_for_sms(1, timeout=1000)

    task = asyncio.create_task(watch())
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    if seconds:
        await journal.open(None)


async def test_an_asyncio_timeout_around_the_watcher() -> None:
    with pytest.raises(TimeoutError):  # noqa: PT012 - it is raised around the watch
        async with asyncio.timeout(50), Watcher(Account(order())) as watcher:
            async for _ in watcher.events(after=watcher.cursor):
                pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_swallowed_cancellation_does_not_prevent_leaving() -> None:
    async def swallowing() -> None:
        with contextlib.suppress(
            asyncio.CancelledError
        ):  # as a scope of an older anyio does if it times out at that moment
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    background = BackgroundTask()
    await background.start(swallowing)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(1)
    await background.stop()
    assert asyncio.get_running_loop().time() - began < 60
    assert asyncio.all_tasks() == {asyncio.current_task()}
