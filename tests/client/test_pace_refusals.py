"""The pace after refusals: too many requests, and `Retry-After`."""

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
from tests.support.pacing import FOREGROUND, POLL, SPEND, answer_all_priorities, make_call, too_many
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
async def test_the_gap_doubles_for_all_calls(answer: Any, fake_server: FakeServer) -> None:
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
    assert fake_server.gaps == pytest.approx([20, 40, 40])


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
async def test_the_growth_of_the_gap_is_limited(setting: float, expected: list[float], fake_server: FakeServer) -> None:
    fake_server.on("orders", too_many())
    found: list[float] = []
    async with fake_server.client(pace=Pace(gap=setting), retry=ONCE) as client:
        for _ in expected:
            with pytest.raises(RateLimited):
                await client.orders()
            found.append(client.statistics().gap)
    assert found == pytest.approx(expected)
    assert fake_server.gaps == pytest.approx(expected[:-1])


@pytest.mark.anyio
async def test_refusals_of_earlier_requests_do_not_grow_the_gap_again(fake_server: FakeServer) -> None:
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
        # Sent at 0, 1.5, 3 and 4.5; the first is answered at 5, the fifth is sent at 7.5.
        assert fake_server.gaps == pytest.approx([1.5, 1.5, 1.5, 3])
        assert client.statistics().gap == 3
        await anyio.sleep(4)
        assert client.statistics().gap == 6


@pytest.mark.anyio
@pytest.mark.parametrize("refused", [1, 4])
async def test_the_gap_returns_to_the_setting_after_some_minutes_without_a_refusal(
    refused: int, fake_server: FakeServer
) -> None:
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
    assert fake_server.gaps[-1] == pytest.approx(1.5)


@pytest.mark.anyio
async def test_only_answers_to_later_requests_shrink_the_gap(fake_server: FakeServer) -> None:
    async def late() -> dict[str, Any]:
        await anyio.sleep(10)
        return NOTHING

    fake_server.on("orders", late)
    fake_server.on("getcountries", too_many(), httpx.Response(500), httpx.ReadError("lost"), {"status": 0, "msg": "no"})
    async with fake_server.client(pace=Pace(gap=1), retry=ONCE) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.orders)
        await anyio.sleep(0.1)
        for gap in (2, 2, 2, 1.95):  # a refusal for another reason is an answer too
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
async def test_a_watcher_adapts_to_the_servers_rate_limit(seconds: float) -> None:
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
async def test_eager_polling_respects_the_grown_gap() -> None:
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
async def test_all_requests_wait_for_retry_after(status: int, fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    fake_server.on("sms", too_many(30, status), CALLS["sms"].sample, id="123")
    async with fake_server.client(pace=Pace(gap=1)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.sms, 123)
        await anyio.sleep(0.5)
        tasks.start_soon(make_call, client, POLL)
        await anyio.sleep(25)
        tasks.start_soon(make_call, client, FOREGROUND)
        tasks.start_soon(make_call, client, SPEND)
    assert fake_server.gaps[0] == pytest.approx(30)
    assert fake_server.methods[:3] == ["sms", "create", "getcountries"]
    assert sorted(fake_server.methods[3:]) == ["orders", "sms"]


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [(10, 40), (40, 10), (40, 0)])
async def test_the_longest_retry_after_counts(seconds: tuple[float, float], fake_server: FakeServer) -> None:
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
async def test_a_retry_after_above_two_minutes_does_not_delay_other_calls(fake_server: FakeServer) -> None:
    fake_server.on("orders", too_many(121))
    fake_server.on("getcountries", NOTHING)
    async with fake_server.client(pace=Pace(gap=1)) as client:
        with pytest.raises(RateLimited):
            await client.orders()
        await client.countries()
    assert fake_server.gaps == pytest.approx([2])


@pytest.mark.anyio
async def test_retry_after_counts_for_a_purchase_without_an_outcome(fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    fake_server.call(SPEND, too_many(30, 503))
    async with fake_server.client() as client:
        with pytest.raises(OutcomeUnknown):
            await make_call(client, SPEND)
        await make_call(client, FOREGROUND)
    assert fake_server.gaps == pytest.approx([30])


@pytest.mark.anyio
@pytest.mark.parametrize("call", [FOREGROUND, SPEND], ids=name_of)
@pytest.mark.parametrize("status", [200, 403])
async def test_retry_after_counts_for_any_refusal(call: Call, status: int, fake_server: FakeServer) -> None:
    answer_all_priorities(fake_server)
    refusal = {"status": 0, "msg": "Maintenance"}
    fake_server.call(call, httpx.Response(status, json=refusal, headers={"Retry-After": "30"}))
    async with fake_server.client() as client:
        with pytest.raises(SmspvaError) as refused:
            await make_call(client, call)
        await make_call(client, POLL)
    assert vars(refused.value.__cause__ or refused.value)["retry_after"] == 30
    assert fake_server.gaps == pytest.approx([30])


@pytest.mark.anyio
async def test_a_call_cancelled_during_retry_after_leaves_the_queue(fake_server: FakeServer) -> None:
    fake_server.on("orders", too_many(60), NOTHING)
    async with fake_server.client(retry=ONCE) as client:
        with pytest.raises(RateLimited):
            await client.orders()
        with anyio.move_on_after(20):
            await client.orders()
        await client.orders()
    assert fake_server.gaps == pytest.approx([60])
