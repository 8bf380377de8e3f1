"""The metrics of calls, polls and waits, in virtual seconds."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import ref

import anyio
import pytest

from smspva_async import NoNumbers, OrderState, Pace, SmspvaClient, WaitTimeout, Watcher
from tests.support.accounts import ORDERS, OUTAGE, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.shared_journal import MemoryFleet, Server
from tests.support.watching import polls, so_far

if TYPE_CHECKING:
    from smspva_async.simulator import Simulator
    from tests.support.fake_server import FakeServer
    from tests.support.telemetry import Recorded

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


async def test_calls_are_counted_and_measured_by_method_and_error(recorded: Recorded, fake_server: FakeServer) -> None:
    async def slow() -> Any:
        await anyio.sleep(2)
        return {"status": 1, "data": []}

    refusal = {"status": 0, "msg": "No numbers available"}
    fake_server.on("orders", slow)
    fake_server.on("create", refusal, country="RU", service="opt16", dtype="week", dcount="1")
    async with recorded.telemetry.observe(fake_server.client(pace=Pace(gap=10))) as client:
        await client.orders()
        await client.orders()
        with pytest.raises(NoNumbers):
            await client.rent("RU", "opt16")
    found = recorded.metrics()
    assert found["smspva.client.call.duration"] == {("orders",): (2, 2 + 10), ("create", "NoNumbers"): (1, 8)}
    assert found["smspva.client.pace.wait.duration"] == {("orders",): (2, 8), ("create",): (1, 8)}
    assert found["smspva.client.requests"] == {("orders",): 2, ("create",): 1}


async def test_polls_and_events_are_counted(recorded: Recorded) -> None:
    account = Account(order())
    async with recorded.telemetry.observe(Watcher(account)) as watcher:
        await anyio.sleep(10)
        account.messages[1] = [sms("one", 1), sms("two", 2)]
        account.seconds[ORDERS] = 5
        await polls(1)
        account.failures[ORDERS] = OUTAGE
        await polls(1)
        del account.failures[ORDERS]
        await polls(2)
        statistics, events = watcher.statistics(), await so_far(watcher)
    found = recorded.metrics()
    polled = found["smspva.watcher.poll.duration"]
    assert polled["orders",] == (statistics.polls, 5 * (statistics.polls - 1))
    assert polled["orders", "ConnectionFailed"] == (1, 5)
    assert polled["sms",][0] == statistics.reads
    kinds = [type(event).__name__ for event in events]
    assert found["smspva.watcher.events"] == {(kind,): kinds.count(kind) for kind in kinds}
    assert {"SmsReceived", "PollFailed", "PollRecovered"} < set(kinds)


async def test_waits_are_measured_by_kind_and_error(recorded: Recorded) -> None:
    account = Account(order())
    async with recorded.telemetry.observe(Watcher(account)) as watcher:
        with pytest.raises(WaitTimeout):
            await watcher.wait_for_sms(1, timeout=40)
        with anyio.move_on_after(7):
            await watcher.wait_for_state(1, OrderState.ACTIVE, timeout=40)
    assert recorded.metrics()["smspva.watcher.wait.duration"] == {
        ("message", "WaitTimeout"): (1, 40),
        ("state", "cancelled"): (1, 7),
    }


async def test_orders_are_counted_by_state_while_they_are_watched(recorded: Recorded) -> None:
    first, second = Account(order(1), order(2, OrderState.ACTIVE)), Account(order(3))
    states = {(state.name,): 0 for state in OrderState}
    assert "smspva.watcher.orders" not in recorded.metrics()
    async with recorded.telemetry.observe(Watcher(first)):
        counted = recorded.metrics()["smspva.watcher.orders"]
        assert counted == {**states, ("INACTIVE",): 1, ("ACTIVE",): 1}
        first.change(1, state=OrderState.ACTIVE)
        async with recorded.telemetry.observe(Watcher(second)):
            await polls(2)
            counted = recorded.metrics()["smspva.watcher.orders"]
            assert counted == {**states, ("INACTIVE",): 1, ("ACTIVE",): 2}
    assert "smspva.watcher.orders" not in recorded.metrics()


async def test_a_watcher_that_is_observed_twice_is_counted_once(recorded: Recorded) -> None:
    watcher = recorded.telemetry.observe(recorded.telemetry.observe(Watcher(Account(order()))))
    async with watcher:
        found = recorded.metrics()
    assert found["smspva.watcher.orders"]["INACTIVE",] == 1
    assert found["smspva.watcher.events"] == {("OrderAdded",): 1}


async def test_the_age_of_the_last_good_poll_grows_during_an_outage(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def age() -> float:
        return float(recorded.metrics()["smspva.watcher.poll.age"][()])

    monkeypatch.setattr("smspva_async.otel.time", SimpleNamespace(monotonic=anyio.current_time))
    account = Account(order())
    account.failures[ORDERS] = OUTAGE
    watcher = recorded.telemetry.observe(Watcher(account))
    await anyio.sleep(5)
    async with watcher:
        assert age() == 5, "no poll was good so far"
        account.failures.clear()
        await polls(2)
        good = account.times()[-1]
        assert age() == anyio.current_time() - good
        account.failures[ORDERS] = OUTAGE
        await anyio.sleep(300)
        assert age() == anyio.current_time() - good


async def test_in_a_fleet_only_the_leader_reports_the_orders(recorded: Recorded, sim: Simulator) -> None:
    sim.add_order(state=1)
    server = Server()

    async def member() -> None:
        client = SmspvaClient("any-key", transport=sim.transport(), fleet=MemoryFleet(server))
        async with client, recorded.telemetry.observe(Watcher(client)):
            await anyio.sleep(100)

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(member)
        await anyio.sleep(60)
        assert recorded.metrics()["smspva.watcher.orders"]["ACTIVE",] == 1


async def test_a_watcher_that_was_left_is_not_kept(recorded: Recorded) -> None:
    watcher = recorded.telemetry.observe(Watcher(Account(order())))
    async with watcher:
        pass
    left = ref(watcher)
    del watcher
    gc.collect()
    assert left() is None
