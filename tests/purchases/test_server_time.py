"""The server's time, by which `reconcile` and `renew` judge: what the wrong `Date` of one answer changes."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from time import time
from typing import TYPE_CHECKING

import anyio
import pytest
import trio

from smspva_async import SmspvaClient, Watcher
from smspva_async._http.rate_limiter import RateLimiter
from smspva_async._http.redaction import ApiKey
from smspva_async._purchases.store import Record, SqliteLedger
from smspva_async._purchases.tracker import StaleOrder
from smspva_async.client import prolong_once
from smspva_async.errors import OutcomeUnknown
from smspva_async.simulator import Simulator
from tests.support.fake_server import KEY
from tests.support.reconciliation import WEEK, client_of, lagging, unknown, verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from smspva_async._http.rate_limiter import Permit

HOUR, YEAR = 3600.0, 365 * 86_400.0

pytestmark = pytest.mark.usefixtures("cheap_fingerprints")
this_machine_agrees = pytest.mark.parametrize("agrees", [True, False], ids=["this machine agrees", "it doesn't"])


def simulator(*, agrees: bool) -> Simulator:
    return Simulator(dialect="contract", start=datetime.now(UTC) if agrees else datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.anyio
@this_machine_agrees
@pytest.mark.parametrize("shift", [-2 * HOUR, -900, 2 * HOUR])
@pytest.mark.parametrize("wrong", [0, 1, 2], ids=["first list", "list before the call", "list after it"])
@pytest.mark.parametrize("method", ["prolong", "restore_user", "delete"])
async def test_one_wrong_date_does_not_show_that_a_call_was_not_done(
    method: str, wrong: int, shift: float, *, agrees: bool
) -> None:
    sim = simulator(agrees=agrees)
    order = sim.add_order(days=5, always_active=True)
    past = sim.add_order(until=sim.now - timedelta(days=1)).id
    reads = [
        {"method": "restore_user_precalc", "id": str(past)},
        {"method": "get_rent_history", "skip": "0", "take": "50"},
        {"method": "sms", "id": str(order.id)},
    ]
    async with lagging(sim, 900, *reads) as transport, client_of(sim, transport=transport, listed=False) as client:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "prolong": lambda: client.prolong(order.id, WEEK),
            "restore_user": lambda: client.restore(past),
            "delete": lambda: client.delete(order.id),
        }
        transport.shifts = [0.0] * wrong + [shift]
        for _ in range(2):
            await client.orders()
            await anyio.sleep(2)
        sim.faults.next(method, "lost")  # type: ignore[arg-type] # one of the calls
        error = await unknown(calls[method]())
        assert (await verdict(client, error))[0] == "open"


@pytest.mark.anyio
@this_machine_agrees
@pytest.mark.parametrize("shift", [-2 * HOUR, 2 * HOUR, YEAR])
async def test_with_a_wrong_date_no_rental_is_prolonged_twice(tmp_path: Path, shift: float, *, agrees: bool) -> None:
    sim = simulator(agrees=agrees)
    order = sim.add_order(days=5)
    async with lagging(sim, 900) as transport:
        async with client_of(sim, transport=transport, ledger=tmp_path / "ledger") as client:
            await prolong_once(client, order.id, WEEK)
        async with client_of(sim, transport=transport, ledger=tmp_path / "ledger", listed=False) as client:
            transport.shifts = [shift]
            await client.orders()
            with pytest.raises(StaleOrder):
                await prolong_once(client, order.id, WEEK)
    assert order.days == 12


@pytest.mark.anyio
async def test_the_age_of_an_earlier_call_is_measured_by_the_server_s_clock(tmp_path: Path) -> None:
    sim = Simulator(start=datetime.now(UTC) - timedelta(hours=3))
    order = sim.add_order(days=2)
    earlier = Record(
        "c1", "prolong", {"id": str(order.id)}, sim.now, seen_at=sim.now - timedelta(minutes=59), outcome="done"
    )
    ledger = SqliteLedger(tmp_path / "ledger", ApiKey(KEY).fingerprint)
    await ledger.save(lambda: [earlier])
    await ledger.aclose()
    async with client_of(sim, ledger=tmp_path / "ledger") as client:
        with pytest.raises(StaleOrder):
            await prolong_once(client, order.id, WEEK)
        await anyio.sleep(120)
        await client.orders()
        await prolong_once(client, order.id, WEEK)


@pytest.mark.anyio
@pytest.mark.parametrize(("minutes", "is_sent"), [(1, True), (3, False)])
async def test_a_call_that_waited_while_the_machine_slept_is_not_sent(
    minutes: int, monkeypatch: pytest.MonkeyPatch, *, is_sent: bool
) -> None:
    """The event loop's clock stops while the machine sleeps."""
    sim = simulator(agrees=False)
    order = sim.add_order(days=2)
    async with client_of(sim) as client:
        begin = RateLimiter.begin

        async def sleep(limiter: RateLimiter, permit: Permit) -> None:
            monkeypatch.setattr("smspva_async._purchases.tracker.time", lambda: time() + 60 * minutes)
            await begin(limiter, permit)

        monkeypatch.setattr(RateLimiter, "begin", sleep)
        with nullcontext() if is_sent else pytest.raises(StaleOrder):
            await prolong_once(client, order.id, WEEK)
    assert order.days == (9 if is_sent else 2)


@pytest.mark.anyio
async def test_an_old_answer_that_comes_twice_does_not_confirm_itself() -> None:
    sim = simulator(agrees=False)
    order = sim.add_order(days=2)
    async with lagging(sim, 0) as transport, client_of(sim, transport=transport) as client:
        await anyio.sleep(900)
        transport.shifts = [-902, -912]
        for _ in range(2):
            await client.orders()
            await anyio.sleep(10)
        sim.faults.next("prolong_max", "lost", done=False)
        error = await unknown(client.prolong_days(order.id, 1))
        assert error.seen_at is not None
        assert abs(error.seen_at - sim.now) < timedelta(seconds=2)


@pytest.mark.anyio
async def test_a_wrong_date_does_not_count_for_longer_than_the_next_ones(tmp_path: Path) -> None:
    sim = simulator(agrees=False)
    order = sim.add_order(days=2)
    async with lagging(sim, 0) as transport, client_of(sim, transport=transport, ledger=tmp_path / "ledger") as client:
        transport.shifts = [10 * YEAR]
        for _ in range(2):
            await client.orders()
            await anyio.sleep(2)
        sim.faults.next("prolong_max", "lost", done=False)
        error = await unknown(client.prolong_days(order.id, 1))
        assert error.seen_at is not None
        assert abs(error.seen_at - sim.now) < timedelta(seconds=2)
        client.settle(error)
        await anyio.sleep(2 * HOUR)
        await client.orders()
        await prolong_once(client, order.id, WEEK)
    assert order.days == 9


@pytest.mark.anyio
async def test_a_list_that_does_not_change_is_as_new_as_its_date() -> None:
    sim = simulator(agrees=False)
    order = sim.add_order(days=2)
    async with client_of(sim) as client, Watcher(client):
        await client.prolong_days(order.id, 1)
        await anyio.sleep(3 * HOUR)
        sim.faults.next("prolong_max", "lost")
        error = await unknown(client.prolong_days(order.id, 1))
        assert (await verdict(client, error))[0] == "done"


def test_a_client_in_another_event_loop_measures_the_time_anew() -> None:
    """The clock of each run of trio begins at a random time."""
    sim = simulator(agrees=True)
    order = sim.add_order(days=2)
    client = SmspvaClient(KEY, transport=sim.transport())

    async def seen_at() -> datetime | None:
        async with client:
            await client.orders()
            sim.faults.next("prolong_max", "lost", done=False)
            with pytest.raises(OutcomeUnknown) as failed:
                await client.prolong_days(order.id, 1)
            return failed.value.seen_at

    for _ in range(3):
        found = trio.run(seen_at)
        assert found is not None
        assert abs(found - sim.now) < timedelta(seconds=2)
