"""The pace: what the server asks for by refusing, as too many requests or by `Retry-After`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given, strategies

from smspva_async import OutcomeUnknown, Pace, RateLimited, Retry, SmspvaClient, SmspvaError, Watcher
from smspva_async._http.rate_limiter import grown, shrunk
from smspva_async.simulator import Simulator
from tests.support.backends import on_both_backends
from tests.support.pacing import FOREGROUND, POLL, SPEND, asked, three_classes, too_many, waits
from tests.support.samples import CALLS, NOTHING, Call, name_of
from tests.support.selection import slow
from tests.support.watching import gaps

if TYPE_CHECKING:
    from tests.support.fake_server import FakeServer

pytestmark = on_both_backends

ONCE = Retry(attempts=1)


# -- too many requests ---------------------------------------------------------------------------------------------


TOO_MANY = {
    "HTTP 429": httpx.Response(429),
    "the message": {"status": 0, "msg": "TOO MANY REQUESTS"},
    "the message as text": "too many requests",
}


@pytest.mark.anyio
@pytest.mark.parametrize("answer", TOO_MANY.values(), ids=TOO_MANY)
async def test_the_gap_doubles_for_everybody(answer: Any, fake_server: FakeServer) -> None:
    fake_server.on("orders", answer, answer, NOTHING)
    fake_server.on("getcountries", NOTHING)
    async with (
        fake_server.client(pace=Pace(gap=10), retry=Retry(first=0)) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.orders)
        await anyio.sleep(1)
        assert client.statistics().gap == 20
        tasks.start_soon(client.countries)
    assert fake_server.methods == ["orders", "orders", "getcountries", "orders"]
    assert waits(fake_server) == pytest.approx([20, 40, 40])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (0, [0.5, 1, 2, 4, 8, 8]),
        (0.1, [0.5, 1, 2, 4, 8, 8]),
        (1.5, [3, 6, 12, 24, 24]),
        (10, [20, 40, 60, 60]),
        (100, [100, 100]),
    ],
)
async def test_the_gap_grows_so_far_and_no_further(
    setting: float, expected: list[float], fake_server: FakeServer
) -> None:
    fake_server.on("orders", too_many())
    found: list[float] = []
    async with fake_server.client(pace=Pace(gap=setting), retry=ONCE) as client:
        for _ in expected:
            with pytest.raises(RateLimited):
                await client.orders()
            found.append(client.statistics().gap)
    assert found == pytest.approx(expected)
    assert waits(fake_server) == pytest.approx(expected[:-1])


@pytest.mark.anyio
async def test_refusals_of_requests_that_began_before_it_grew_make_it_no_larger(fake_server: FakeServer) -> None:
    async def refused_late() -> httpx.Response:
        await anyio.sleep(5)
        return too_many()

    fake_server.on("orders", refused_late)

    async def refused(client: SmspvaClient) -> None:
        with pytest.raises(RateLimited):
            await client.orders()

    async with fake_server.client(pace=Pace(gap=1.5), retry=ONCE) as client, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(refused, client)
        await anyio.sleep(9.4)
        # At 0, 1.5, 3 and 4.5; the first is answered at 5, the fifth leaves at 7.5.
        assert waits(fake_server) == pytest.approx([1.5, 1.5, 1.5, 3])
        assert client.statistics().gap == 3
        await anyio.sleep(4)
        assert client.statistics().gap == 6


@pytest.mark.anyio
@pytest.mark.parametrize("refused", [1, 4])
async def test_the_gap_is_back_after_some_minutes_without_a_refusal(refused: int, fake_server: FakeServer) -> None:
    fake_server.on("orders", *[too_many()] * refused, NOTHING)
    found: list[float] = []
    async with fake_server.client(pace=Pace(gap=1.5), retry=Retry(attempts=9, first=0)) as client:
        while not found or found[-1] > 1.5:
            await client.orders()
            found.append(client.statistics().gap)
        began = fake_server.times[refused]
        assert fake_server.times[-1] - began < (150 if refused == 1 else 660)
        await client.orders()
        await client.orders()
    assert found == sorted(found, reverse=True)
    assert found[1] - 1.5 == pytest.approx(0.95 * (found[0] - 1.5))
    assert found[-1] == 1.5
    assert waits(fake_server)[-1] == pytest.approx(1.5)


@pytest.mark.anyio
async def test_only_an_answer_to_a_request_since_then_lets_the_gap_shrink(fake_server: FakeServer) -> None:
    async def late() -> dict[str, Any]:
        await anyio.sleep(10)
        return NOTHING

    fake_server.on("orders", late)
    fake_server.on("getcountries", too_many(), httpx.Response(500), httpx.ReadError("lost"), {"status": 0, "msg": "no"})
    async with fake_server.client(pace=Pace(gap=1), retry=ONCE) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.orders)
        await anyio.sleep(0.1)
        for gap in (2, 2, 2, 1.95):  # a refusal for another reason is an answer as well
            with pytest.raises(SmspvaError):
                await client.countries()
            assert client.statistics().gap == pytest.approx(gap)
        await anyio.sleep(20)
        assert client.statistics().gap == pytest.approx(1.95)


@given(
    strategies.floats(0, 1000),
    strategies.lists(strategies.booleans(), max_size=200),
)
def test_the_gap_stays_between_the_setting_and_its_cap(setting: float, refusals: list[bool]) -> None:
    gap = setting
    for refused in refusals:
        before, gap = gap, grown(gap, setting) if refused else shrunk(gap, setting)
        assert gap >= before if refused else gap <= before
        assert setting <= gap <= max(setting, min(60, 16 * max(setting, 0.5)))
    for _ in range(120):
        gap = shrunk(gap, setting)
    assert gap == setting


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [1200, slow(3600)])
async def test_a_watch_finds_the_pace_that_the_server_keeps(seconds: float) -> None:
    sim = Simulator(seed=4)
    orders = [sim.add_order().id for _ in range(10)]
    sim.behavior.rate_limit = 4
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        for order_id in orders:
            sim.deliver(order_id, f"to {order_id}")
            await watcher.wait_for_sms(order_id, after=0, timeout=300)
        start = anyio.current_time()
        await anyio.sleep(seconds)
        statistics = client.statistics()
        assert anyio.current_time() - start == pytest.approx(seconds)
    assert statistics.errors["RateLimited"] < 0.15 * sum(statistics.requests.values())
    assert set(statistics.errors) == {"RateLimited"}


@pytest.mark.anyio
async def test_a_watch_that_hurries_goes_by_the_gap_as_it_is() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(gap=1)) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        sim.faults.next("getcountries", "too_many", count=3)
        await client.countries()
        tasks.start_soon(partial(watcher.wait_for_sms, order_id, timeout=1000))
        await anyio.sleep(100)
        polled = [request.time for request in sim.requests if request.method == "orders"]
        assert gaps(polled)[-2] > 2 * client.statistics().gap > 2 * 3
        tasks.cancel_scope.cancel()


# -- Retry-After ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("status", [429, 503])
async def test_no_request_begins_before_the_wait_that_the_server_asks_for_is_over(
    status: int, fake_server: FakeServer
) -> None:
    three_classes(fake_server)
    fake_server.on("sms", too_many(30, status), CALLS["sms"].sample, id="123")
    async with fake_server.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.sms, 123)
        await anyio.sleep(0.5)
        tasks.start_soon(asked, client, POLL)
        await anyio.sleep(25)
        tasks.start_soon(asked, client, FOREGROUND)
        tasks.start_soon(asked, client, SPEND)
    assert waits(fake_server)[0] == pytest.approx(30)
    assert fake_server.methods[:3] == ["sms", "create", "getcountries"]
    assert sorted(fake_server.methods[3:]) == ["orders", "sms"]


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [(10, 40), (40, 10), (40, 0)])
async def test_the_longest_wait_wins(seconds: tuple[float, float], fake_server: FakeServer) -> None:
    def late(after: float, retry_after: float) -> Any:
        async def answer() -> httpx.Response:
            await anyio.sleep(after)
            return too_many(retry_after)

        return answer

    fake_server.on("sms", late(5, seconds[0]), id="1")
    fake_server.on("sms", late(5, seconds[1]), id="2")
    fake_server.on("orders", NOTHING)

    async def refused(order_id: int) -> None:
        with pytest.raises(RateLimited):
            await client.sms(order_id)

    async with fake_server.client(pace=Pace(gap=1), retry=ONCE) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(refused, 1)
        await anyio.sleep(0.5)
        tasks.start_soon(refused, 2)
        await anyio.sleep(6)
        await client.orders()
    asked_at = [5.0, 6.0]
    assert fake_server.times[-1] - fake_server.times[0] == pytest.approx(
        max(map(sum, zip(asked_at, seconds, strict=True)))
    )


@pytest.mark.anyio
async def test_a_wait_above_two_minutes_holds_nobody_else(fake_server: FakeServer) -> None:
    fake_server.on("orders", too_many(121))
    fake_server.on("getcountries", NOTHING)
    async with fake_server.client(pace=Pace(gap=1)) as client:
        with pytest.raises(RateLimited):
            await client.orders()
        await client.countries()
    assert waits(fake_server) == pytest.approx([2])


@pytest.mark.anyio
async def test_a_purchase_without_an_outcome_tells_of_the_wait_too(fake_server: FakeServer) -> None:
    three_classes(fake_server)
    fake_server.call(SPEND, too_many(30, 503))
    async with fake_server.client() as client:
        with pytest.raises(OutcomeUnknown):
            await asked(client, SPEND)
        await asked(client, FOREGROUND)
    assert waits(fake_server) == pytest.approx([30])


@pytest.mark.anyio
@pytest.mark.parametrize("call", [FOREGROUND, SPEND], ids=name_of)
@pytest.mark.parametrize("status", [200, 403])
async def test_whatever_is_refused_may_tell_of_a_wait(call: Call, status: int, fake_server: FakeServer) -> None:
    three_classes(fake_server)
    refusal = {"status": 0, "msg": "Maintenance"}
    fake_server.call(call, httpx.Response(status, json=refusal, headers={"Retry-After": "30"}))
    async with fake_server.client() as client:
        with pytest.raises(SmspvaError) as refused:
            await asked(client, call)
        await asked(client, POLL)
    assert vars(refused.value.__cause__ or refused.value)["retry_after"] == 30
    assert waits(fake_server) == pytest.approx([30])


@pytest.mark.anyio
async def test_whoever_gives_up_during_such_a_wait_leaves_the_queue(fake_server: FakeServer) -> None:
    fake_server.on("orders", too_many(60), NOTHING)
    async with fake_server.client(retry=ONCE) as client:
        with pytest.raises(RateLimited):
            await client.orders()
        with anyio.move_on_after(20):
            await client.orders()
        await client.orders()
    assert waits(fake_server) == pytest.approx([60])
