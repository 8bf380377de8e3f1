"""The simulator's clock, seed, key and properties, and errors for wrong arguments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any

import anyio
import httpx
import pytest

from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.backends import on_both_backends
from tests.support.fake_server import URL
from tests.support.raw_http import call

pytestmark = [pytest.mark.anyio, on_both_backends]


async def test_the_date_header_follows_the_clock_of_the_server() -> None:
    sim = Simulator(start=datetime(2026, 5, 1, 12, tzinfo=UTC))
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        await client.get(URL, params={"method": "getcountries"})
        await anyio.sleep(90.5)
        response = await client.get(URL, params={"method": "getcountries"})
    assert parsedate_to_datetime(response.headers["date"]) == datetime(2026, 5, 1, 12, 1, 30, tzinfo=UTC)
    assert sim.now == datetime(2026, 5, 1, 12, 1, 30, 500_000, tzinfo=UTC)
    assert [request.time for request in sim.requests] == [0, 90.5]
    assert sim.requests[1].at == sim.now


async def test_wrong_arguments_raise() -> None:
    sim = Simulator()
    order = sim.add_order()
    with pytest.raises(LookupError, match="no order 5"):
        sim.deliver(5, "x")
    with pytest.raises(ValueError, match="exists"):
        sim.add_order(order_id=order.id)
    with pytest.raises(ValueError, match="not in the catalogue"):
        sim.add_order(country="GB")
    with pytest.raises(LookupError, match="no opt999 in RU"):
        sim.set_offer("RU", "opt999", count=1)
    with pytest.raises(ValueError, match="page, live, contract"):
        Simulator(dialect="paige")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aware"):
        Simulator(start=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(ValueError, match="no time zone"):
        sim.add_order(until=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(ValueError, match="OtherSms"):
        sim.deliver(order.id, "x", other=True)
    with pytest.raises(ValueError, match="NOAVAILDAYS"):
        sim.add_order(restore_refusal="NO")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NOAVAILDAYS"):
        order.restore_refusal = "NO"  # type: ignore[assignment]


async def test_orders_need_the_right_key_and_countries_need_no_key() -> None:
    sim = Simulator(api_key="secret")
    async with httpx.AsyncClient(transport=sim.transport()) as client:

        async def msg(method: str, **params: str) -> str | None:
            answer = (await client.get(URL, params={"method": method, **params})).json()
            return answer.get("msg") if isinstance(answer, dict) else None

        assert await msg("orders") == "API KEY not received!"
        assert await msg("orders", apikey="") == "API KEY not received!"
        assert await msg("orders", apikey="other") == "API KEY NOT FOUND!"
        assert await msg("orders", apikey="secret") is None
        assert await msg("getcountries") is None
        sim.behavior.banned = True
        assert await msg("orders", apikey="secret") == "BANNED"
    assert all("apikey" not in request.params and "method" not in request.params for request in sim.requests)


async def test_the_same_seed_gives_the_same_answers() -> None:
    async def answers_of(seed: int) -> Any:
        sim = Simulator(seed=seed, dialect="live")
        order = sim.add_order(state=2)
        answers = [await call(sim, "getdata", country="RU"), await call(sim, "orders")]
        return answers, order.phone, order.active_from

    assert await answers_of(1) == await answers_of(1)
    assert await answers_of(1) != await answers_of(2)


async def test_the_number_of_polls_does_not_change_random_times() -> None:
    async def active_from(polls: int) -> float | None:
        sim = Simulator(seed=1, dialect="live")
        order = sim.add_order()
        for _ in range(polls):
            await call(sim, "orders")
        await call(sim, "activate", id=order.id)
        return order.active_from

    assert await active_from(1) == await active_from(20)


async def test_all_times_in_an_answer_are_of_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulator()
    for _ in range(5):
        sim.add_order(country="UK")
    seconds = count(start=100)
    monkeypatch.setattr(anyio, "current_time", lambda: float(next(seconds)))
    rows = (await call(sim, "orders"))["data"]
    assert len({row["lastonline"] for row in rows}) == 1


def test_the_clock_stops_outside_a_loop_and_continues_in_the_next_one() -> None:
    sim = Simulator()
    order = sim.add_order(state=1)
    sim.deliver(order.id, "before")
    assert (sim.now, order.state) == (datetime(2026, 1, 1, tzinfo=UTC), 1)

    async def wait() -> None:
        await anyio.sleep(50)
        assert sim.now == start
        await anyio.sleep(100)
        assert sim.now == start + timedelta(seconds=100)

    for _ in range(2):
        start = sim.now
        anyio.run(wait, backend_options={"loop_factory": VirtualTimeLoop})
    assert sim.now == datetime(2026, 1, 1, 0, 3, 20, tzinfo=UTC)


@pytest.mark.parametrize("name", ["requests", "violations", "faults", "behavior", "dialect"])
def test_some_properties_are_read_only(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Simulator(), name, [])
