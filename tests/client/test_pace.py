"""The pace: the gap between requests, cancellation, and statistics."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from attrs import exceptions

from smspva_async import (
    ClientClosed,
    ClientStatistics,
    JournalError,
    OutcomeUnknown,
    Pace,
    Period,
    Retry,
    SmspvaClient,
    Watcher,
)
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.backends import on_both_backends, virtual_time
from tests.support.fake_server import KEY, never_answer
from tests.support.pacing import FOREGROUND, POLL, SPEND, answer_all_priorities, make_call, too_many
from tests.support.samples import CALLS, NOTHING
from tests.support.watching import gaps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from tests.support.fake_server import FakeServer

pytestmark = on_both_backends

# -- the gap -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_requests_keep_the_gap_in_the_order_of_their_calls(fake_server: FakeServer) -> None:
    for order_id in range(1, 6):
        fake_server.on("sms", NOTHING, id=str(order_id))
    async with fake_server.client(pace=Pace(gap=1.5)) as client, anyio.create_task_group() as tasks:
        for order_id in range(1, 6):
            tasks.start_soon(client.sms, order_id)
            await anyio.sleep(0.01)
    assert [query["id"] for query in fake_server.queries] == ["1", "2", "3", "4", "5"]
    assert fake_server.gaps == pytest.approx([1.5] * 4)


@pytest.mark.anyio
async def test_the_default_pace_is_forty_a_minute(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    async with fake_server.client(pace=Pace()) as client:
        for _ in range(41):
            await client.orders()
    assert fake_server.times[-1] - fake_server.times[0] == pytest.approx(60)


@pytest.mark.anyio
async def test_a_call_after_a_pause_does_not_wait(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    async with fake_server.client(pace=Pace(gap=10)) as client:
        await client.orders()
        await anyio.sleep(11)
        called = anyio.current_time()
        await client.orders()
    assert fake_server.times[1] == pytest.approx(called)


@pytest.mark.anyio
async def test_a_cancelled_call_leaves_the_queue(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    fake_server.on("sms", NOTHING, id="7")
    async with fake_server.client(pace=Pace(gap=10)) as client, anyio.create_task_group() as tasks:
        await client.orders()

        async def impatient() -> None:
            with anyio.move_on_after(1):
                await client.orders()

        for _ in range(5):
            tasks.start_soon(impatient)
        await anyio.sleep(0.5)
        tasks.start_soon(client.sms, 7)
    assert fake_server.methods == ["orders", "sms"]
    assert fake_server.gaps == [pytest.approx(10)]


@pytest.mark.anyio
async def test_retries_keep_the_gap(fake_server: FakeServer) -> None:
    fake_server.on("orders", httpx.Response(500), httpx.Response(500), NOTHING)
    async with fake_server.client(pace=Pace(gap=20), retry=Retry(first=0)) as client:
        await client.orders()
    assert fake_server.gaps == pytest.approx([20, 20])


@pytest.mark.anyio
async def test_waiting_for_the_pace_does_not_count_towards_the_timeout(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    async with fake_server.client(pace=Pace(gap=60), timeout=1) as client:
        assert await client.orders() == await client.orders() == []


@pytest.mark.anyio
async def test_a_slow_answer_does_not_delay_other_calls(fake_server: FakeServer) -> None:
    fake_server.call(CALLS["sms"], never_answer)
    fake_server.on("orders", NOTHING)
    async with fake_server.client(pace=Pace(gap=1), timeout=100) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.sms, 123)
        await anyio.sleep(0.01)
        await client.orders()
        assert fake_server.times[-1] - fake_server.times[0] == pytest.approx(1)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_gap_is_kept_when_a_client_is_closed_and_entered_again(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    client = fake_server.client(pace=Pace(gap=1.5))
    for _ in range(3):
        async with client:
            await client.orders()
    assert fake_server.gaps == pytest.approx([1.5, 1.5])


@pytest.mark.anyio
async def test_the_gap_is_kept_across_calls_and_polls() -> None:
    sim = Simulator(seed=3)
    orders = [sim.add_order().id for _ in range(40)]
    sim.behavior.rate_limit = 1.5
    async with (
        SmspvaClient("key", transport=sim.transport()) as client,
        Watcher(client),
        anyio.create_task_group() as tasks,
    ):
        start = len(sim.requests)
        for number in range(60):
            tasks.start_soon(client.sms, orders[number % 40])
            if number % 10 == 0:
                tasks.start_soon(client.rent, "RU", "opt16", Period.weeks(1))
        await anyio.sleep(120)
        times = [request.time for request in sim.requests][start - 1 :]
        tasks.cancel_scope.cancel()
    assert len(times) >= 80
    assert gaps(times) == pytest.approx([1.5] * (len(times) - 1), abs=1e-5)
    assert {request.fault for request in sim.requests} == {None}


@pytest.mark.anyio
async def test_a_slow_ledger_does_not_shorten_the_gap(tmp_path: Path, fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    async with fake_server.client(pace=Pace(gap=10), ledger=tmp_path / "ledger") as client:
        store: Any = client._purchases._store
        save = store.save

        async def save_late(unsaved: Any) -> None:
            if any(record.outcome is None for record in unsaved()):
                await anyio.sleep(12)
            await save(unsaved)

        store.save = save_late
        await make_call(client, FOREGROUND)
        async with anyio.create_task_group() as tasks:
            for call in (SPEND, FOREGROUND, SPEND, FOREGROUND):
                tasks.start_soon(make_call, client, call)
    # A slot is granted to the next call when it is free, and ends when the request is sent.
    assert fake_server.methods == ["getcountries", "create", "create", "getcountries", "getcountries"]
    assert fake_server.gaps == pytest.approx([22, 22, 10, 10])


@pytest.mark.anyio
async def test_a_purchase_that_cannot_be_recorded_gives_up_its_slot(tmp_path: Path, fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    async with fake_server.client(pace=Pace(gap=10), ledger=tmp_path / "ledger") as client:
        store: Any = client._purchases._store

        async def full(_: object) -> None:
            await anyio.sleep(1)
            raise JournalError("disk full")

        store.save = full
        await make_call(client, FOREGROUND)

        async def rent() -> None:
            with pytest.raises(JournalError, match="disk full"):
                await make_call(client, SPEND)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(rent)
            tasks.start_soon(make_call, client, FOREGROUND)
    assert fake_server.gaps == pytest.approx([13])


@pytest.mark.parametrize("second", ["asyncio", "trio"])
@pytest.mark.parametrize("first", ["asyncio", "trio"])
def test_the_gap_is_kept_from_one_event_loop_to_the_next(first: str, second: str, fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    client = fake_server.client(pace=Pace(gap=10))

    async def ask() -> float:
        began = anyio.current_time()
        await client.orders()
        return anyio.current_time() - began

    waited = [anyio.run(ask, backend=name, backend_options=virtual_time(name)) for name in (first, second, first)]
    # Almost no real time has passed.
    assert waited == pytest.approx([0, 10, 10], abs=1)


def test_the_gap_is_kept_in_an_event_loop_with_another_clock(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    client = fake_server.client(pace=Pace(gap=10))

    async def begin() -> asyncio.Task[Any]:
        await asyncio.sleep(1000)
        await client.orders()
        waiting = asyncio.create_task(client.orders())
        await asyncio.sleep(5)
        return waiting

    first = VirtualTimeLoop()
    waiting = first.run_until_complete(begin())
    assert client.statistics().waiting["foreground"] == 1
    first.close()  # while a call waits

    async def continue_in_second_loop() -> None:
        called = asyncio.get_running_loop().time()
        for number in (1, 2):
            await client.orders()
            assert fake_server.times[-1] == pytest.approx(called + 10 * number, abs=1)  # a little real time has passed
        await client.aclose()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(continue_in_second_loop())
    assert not waiting.done()
    assert len(fake_server.times) == 3


# -- cancellation -------------------------------------------------------------------------------------------------


STEPS = [-1, *range(12)]
"""Steps of the event loop after the slot becomes free; -1 for a time before."""


async def cancel_one(
    victim: int, step: int, spawn: Callable[[Any], Callable[[], object]], fake_server: FakeServer
) -> None:
    """Let four calls wait, cancel one at a step, and check the others.

    Args:
        victim: The index of the call to cancel.
        step: One of `STEPS`.
        spawn: Starts a call, and returns a function that cancels it.
        fake_server: The server.

    """
    answer_all_priorities(fake_server)
    fake_server.call(CALLS["sms"], CALLS["sms"].sample)
    calls = [POLL, FOREGROUND, SPEND, POLL]  # the first runs the timer, the third gets the slot
    done = [False] * 4
    async with fake_server.client(pace=Pace(gap=10)) as client:
        await client.sms(123)
        slot = anyio.current_time() + 10

        async def make(number: int) -> None:
            await make_call(client, calls[number])
            done[number] = True

        cancels: list[Callable[[], object]] = []
        for number in range(4):
            cancels.append(spawn(partial(make, number)))
            await anyio.sleep(1)
        await anyio.sleep_until(slot + min(step, 0))
        for _ in range(step):
            await anyio.lowlevel.checkpoint()
        cancels[victim]()
        await anyio.sleep(100)
        assert client.statistics().waiting == {"spending": 0, "foreground": 0, "polls": 0}
    assert [mark for number, mark in enumerate(done) if number != victim] == [True] * 3
    sent = [SPEND.method, FOREGROUND.method, POLL.method, POLL.method]
    if len(fake_server.times) < 5:
        sent.remove(calls[victim].method)
    assert fake_server.methods == ["sms", *sent]
    assert fake_server.gaps == pytest.approx([10] * len(sent))


@pytest.mark.anyio
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", range(4), ids=["timer", "second", "granted", "last"])
async def test_a_cancellation_at_any_step_does_not_affect_other_calls(
    victim: int, step: int, fake_server: FakeServer
) -> None:
    async with anyio.create_task_group() as tasks:

        def spawn(call: Callable[[], Awaitable[None]]) -> Callable[[], object]:
            scope = anyio.CancelScope()

            async def run() -> None:
                with scope:
                    await call()

            tasks.start_soon(run)
            return scope.cancel

        await cancel_one(victim, step, spawn, fake_server)


@pytest.mark.asyncio
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", range(4), ids=["timer", "second", "granted", "last"])
async def test_a_cancelled_asyncio_task_does_not_affect_other_calls(
    victim: int, step: int, fake_server: FakeServer
) -> None:
    tasks: list[asyncio.Task[None]] = []

    def spawn(call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        tasks.append(asyncio.create_task(call()))
        return tasks[-1].cancel

    await cancel_one(victim, step, spawn, fake_server)


@pytest.mark.anyio
async def test_all_waiting_calls_can_be_cancelled_at_once(fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    async with fake_server.client(pace=Pace(gap=10)) as client:
        await make_call(client, FOREGROUND)
        with anyio.move_on_after(10):
            async with anyio.create_task_group() as tasks:
                for call in (POLL, FOREGROUND, SPEND) * 5:
                    tasks.start_soon(make_call, client, call)
        cancelled = len(fake_server.times)
        await make_call(client, POLL)
        assert client.statistics().waiting == {"spending": 0, "foreground": 0, "polls": 0}
    assert cancelled <= 2
    assert fake_server.gaps == pytest.approx([10] * cancelled)


# -- statistics ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_statistics_count_attempts_failures_and_waiting_calls(fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    fake_server.on("orders", httpx.Response(500), httpx.ReadError("lost"), too_many(), POLL.sample)
    fake_server.call(SPEND, never_answer)
    nothing = {"spending": 0, "foreground": 0, "polls": 0}
    client = fake_server.client(pace=Pace(gap=0.25), timeout=5)
    assert client.statistics() == ClientStatistics(requests={}, waiting=nothing, gap=0.25, errors={})
    async with client:
        await client.orders()
        with pytest.raises(OutcomeUnknown):
            await make_call(client, SPEND)
        statistics = client.statistics()
        assert statistics.requests == {"orders": 4, "create": 1}
        assert statistics.errors == {
            "UnexpectedResponse": 1,
            "ConnectionFailed": 1,
            "RateLimited": 1,
            "OutcomeUnknown": 1,
        }
        assert statistics.gap == pytest.approx(0.5 - 0.25 / 20)
        assert statistics.waiting == nothing
        async with anyio.create_task_group() as tasks:
            for call in (POLL, POLL, FOREGROUND, SPEND, SPEND, SPEND, POLL):
                tasks.start_soon(make_call, client, call)
            await anyio.sleep(0.1)
            assert client.statistics().waiting == {"spending": 2, "foreground": 1, "polls": 3}
            tasks.cancel_scope.cancel()
        assert client.statistics().waiting == nothing
    # A snapshot doesn't change, and the statistics are kept after closing.
    assert statistics.requests == {"orders": 4, "create": 1}
    assert client.statistics().requests == {"orders": 4, "create": 2}
    with pytest.raises(ClientClosed):
        await client.orders()
    assert client.statistics().requests == {"orders": 4, "create": 2}
    assert "ClientClosed" not in client.statistics().errors


def test_statistics_are_frozen() -> None:
    statistics: Any = SmspvaClient(KEY).statistics()
    with pytest.raises(exceptions.FrozenInstanceError):
        statistics.gap = 1
    assert isinstance(hash(statistics), int)
