"""Failures: each outage is reported once when it begins and once when it ends, and delays nothing else."""

from __future__ import annotations

import logging
from typing import get_args

import anyio
import pytest

from smspva_async import (
    Event,
    InvalidKey,
    Order,
    PollFailed,
    PollRecovered,
    Retry,
    SmspvaClient,
    SmsReceived,
    Watcher,
)
from smspva_async.simulator import FaultName, Simulator
from tests.support.accounts import HANGS, ORDERS, OUTAGE, Account, order, sms
from tests.support.selection import slow
from tests.support.watching import INTERVAL, kinds, polls, so_far, texts, watching

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

BAD_KEY = InvalidKey("refused", msg="API KEY NOT FOUND!")
HARMLESS = {"latency", "slow_body", "empty", "flapping", "duplicate", "bad_row", "nameless_row", "unknown_state"}


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of the library's log records."""
    return [record.levelname for record in caplog.records if record.name == "smspva_async.watch"]


async def outages(watcher: Watcher) -> list[Event]:
    return [event for event in await so_far(watcher) if isinstance(event, PollFailed | PollRecovered)]


@pytest.mark.parametrize("fault", [name for name in get_args(FaultName) if name not in HARMLESS])
@pytest.mark.parametrize("seconds", [300, slow(900)])
async def test_an_outage_is_reported_when_it_begins_and_when_it_ends(
    fault: FaultName, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sim = Simulator(seed=1)
    orders = {sim.add_order().id, sim.add_order().id}
    async with watching(sim) as watcher:
        await anyio.sleep(20)
        sim.faults.always("*", fault, msg="Come back later" if fault == "refusal" else None)
        await anyio.sleep(seconds)
        assert watcher.orders.keys() == orders
        sim.faults.clear()
        await anyio.sleep(150)
        failed, recovered = await outages(watcher)
        assert isinstance(failed, PollFailed)
        assert isinstance(recovered, PollRecovered)
        assert failed.order_id is recovered.order_id is None
        assert failed.message
        assert recovered.downtime == pytest.approx((recovered.at - failed.at).total_seconds(), abs=2)  # whole seconds
        # The gap grows with each `RateLimited`, and a call fails when all its attempts failed.
        late = 180 if fault in ("too_many", "http_429") else 100
        assert seconds - late < recovered.downtime < seconds + 100
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderAdded", "PollFailed", "PollRecovered"]
    assert logged(caplog) == ["WARNING", "INFO"]


async def test_a_list_that_fails_while_orders_is_retried_is_not_a_separate_outage() -> None:
    sim = Simulator()
    for _ in range(20):  # so that a list is due while `orders` is retried
        sim.add_order()
    pause = Retry(first=2)
    async with SmspvaClient("key", transport=sim.transport(), retry=pause) as client, Watcher(client) as watcher:
        await anyio.sleep(100)
        sim.faults.always("orders", "http_503")
        with anyio.fail_after(2 * INTERVAL):
            while sum(request.fault is not None for request in sim.requests) < 2:  # noqa: ASYNC110 - virtual time
                await anyio.sleep(0.1)
        sim.faults.always("sms", "refusal", msg="Come back later")  # which is not retried
        await anyio.sleep(120)
        sim.faults.clear()
        await polls(3)
        assert [event.order_id for event in await outages(watcher)] == [None, None]


async def test_two_outages_are_reported_separately() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for _ in range(2):
            account.failures[ORDERS] = OUTAGE
            await polls(3)
            account.failures.clear()
            await polls(3)
        assert kinds(await outages(watcher)) == ["PollFailed", "PollRecovered"] * 2


@pytest.mark.parametrize("failure", [OUTAGE, OSError("no route"), TimeoutError(), ValueError("what?")], ids=repr)
async def test_any_exception_of_a_source_is_a_failed_poll(failure: Exception) -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.failures[ORDERS] = failure
        await polls(3)
        account.failures.clear()
        await polls(1)
        failed, _ = await outages(watcher)
        assert isinstance(failed, PollFailed)
        assert (failed.kind, failed.message) == (type(failure).__name__, str(failure) or "TimeoutError")
        assert watcher.orders == {1: order()}


async def test_an_outage_of_one_list_is_reported_for_its_order(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        await anyio.sleep(1)
        account.failures[1] = OUTAGE
        account.messages[2] = [sms("meanwhile", 9)]
        await polls(5)
        account.failures.clear()
        await polls(2)
        events = await outages(watcher)
        assert kinds(events) == ["PollFailed", "PollRecovered"]
        assert {event.order_id for event in events} == {1}
        assert texts(await so_far(watcher)) == ["meanwhile"]
    assert logged(caplog) == ["WARNING", "INFO"]


async def test_a_list_that_still_fails_after_a_full_outage_is_reported() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        await anyio.sleep(5)  # the list was read
        account.failures = {ORDERS: OUTAGE, 1: OUTAGE}
        await polls(3)
        assert [event.order_id for event in await outages(watcher)] == [ORDERS]
        del account.failures[ORDERS]
        await polls(3)
        account.failures.clear()
        await polls(3)
        events = await outages(watcher)
        assert kinds(events) == ["PollFailed", "PollRecovered"] * 2
        assert [event.order_id for event in events] == [ORDERS, ORDERS, 1, 1]


@pytest.mark.parametrize("broken", ["hangs", "fails slowly", "fails"])
async def test_a_hanging_list_does_not_delay_others(broken: str) -> None:
    account = Account(*map(order, range(1, 8)))
    if broken != "hangs":
        account.failures[3] = OUTAGE
    if broken != "fails":
        account.seconds[3] = HANGS if broken == "hangs" else 20
    async with Watcher(account) as watcher:
        for number in range(5):
            for order_id in range(1, 8):
                account.messages[order_id].append(sms(f"{number} to {order_id}", number * 30))
            await polls(1)
        await polls(2)
        events = await so_far(watcher)
        healthy = (1, 2, 4, 5, 6, 7)
        assert sorted(texts(events)) == sorted(f"{number} to {order_id}" for number in range(5) for order_id in healthy)
        late = [
            event.at - event.sms.received for event in events if isinstance(event, SmsReceived) and event.sms.received
        ]
        assert max(late).total_seconds() < 35
        assert [event.order_id for event in await outages(watcher)] == [3]
        assert len(account.times()) == 8


async def test_a_hanging_list_of_a_client_does_not_delay_others() -> None:
    sim = Simulator()
    hanging, fine = sim.add_order().id, sim.add_order().id
    async with watching(sim) as watcher:
        sim.faults.next("sms", "hang")
        await polls(1)
        sim.deliver(fine, "on time")
        await anyio.sleep(35)
        assert texts(await so_far(watcher)) == ["on time"]
        await polls(3)
        sim.deliver(hanging, "and this one")
        await polls(3)
        assert sorted(texts(await so_far(watcher))) == ["and this one", "on time"]


async def test_entering_returns_when_the_first_poll_has_failed() -> None:
    account = Account(order())
    account.failures[ORDERS] = OUTAGE
    account.seconds[ORDERS] = 5
    entered = anyio.current_time()
    async with Watcher(account) as watcher:
        assert anyio.current_time() == entered + 5
        assert (dict(watcher.orders), watcher.last_success) == ({}, None)
        account.failures.clear()
        events = watcher.events()
        await polls(3)
        assert kinds(await so_far(watcher)) == ["PollFailed", "PollRecovered", "OrderAdded"]
        account.listed.append(order(2))
        assert (await anext(events)).order_id == 2  # the first good poll was the baseline


async def test_entering_makes_the_first_poll() -> None:
    account = Account(order())
    account.seconds[ORDERS] = 5
    entered = anyio.current_time()
    async with Watcher(account) as watcher:
        assert anyio.current_time() == entered + 5
        assert watcher.orders == {1: order()}
        assert watcher.last_success is not None


@pytest.mark.parametrize(
    ("what", "listed"), [(ORDERS, [order()]), (ORDERS, []), (1, [order()])], ids=["orders", "no orders", "sms"]
)
async def test_a_single_refused_key_does_not_end_the_watch(what: int | None, listed: list[Order]) -> None:
    account = Account(*listed)
    async with Watcher(account) as watcher:
        await anyio.sleep(1)
        for _ in range(3):
            account.failures[what] = BAD_KEY
            await polls(1)
            account.failures.clear()
            await polls(1)
        assert kinds(await outages(watcher)) == ["PollFailed", "PollRecovered"] * 3


async def test_a_key_refused_only_on_entering_does_not_end_the_watch() -> None:
    account = Account(order())
    account.failures[ORDERS] = BAD_KEY
    async with Watcher(account) as watcher:
        account.failures.clear()
        await polls(2)
        assert watcher.orders.keys() == {1}
