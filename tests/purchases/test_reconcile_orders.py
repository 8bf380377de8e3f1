"""Verdicts of `reconcile` on calls about existing orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Pace
from smspva_async.simulator import Simulator
from tests.support.reconciliation import WEEK, Dialect, both_dialects, client_of, ids, lagging, unknown, verdict
from tests.support.samples import CALLS, row_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

HOUR, DAY = 3600.0, 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("cheap_fingerprints")]

ON_AN_ORDER: dict[str, Callable[[SmspvaClient, int], Awaitable[Any]]] = {
    "prolong": lambda client, order_id: client.prolong(order_id, WEEK),
    "prolong_days": lambda client, order_id: client.prolong_days(order_id, 1),
    "delete": lambda client, order_id: client.delete(order_id),
}
on_an_order = pytest.mark.parametrize("method", sorted(ON_AN_ORDER))

# -- add_service -----------------------------------------------------------------------------------------------------


@both_dialects
async def test_an_added_service_is_found_by_the_number(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order(service="opt16")
    async with client_of(sim) as client:
        sim.faults.next("add_service_to_order", "lost")
        error = await unknown(client.add_service(order.id, "opt7", phone=order.phone))
        sim.add_order(service="opt7")
        assert await verdict(client, error) == ("done", [ids(sim)[1]])


@both_dialects
async def test_a_service_added_by_another_call_is_not_a_candidate(dialect: Dialect) -> None:
    """The rental page's answer doesn't have the id of the new order."""
    sim = Simulator(dialect=dialect)
    order = sim.add_order(service="opt16")
    async with client_of(sim) as client:
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt7", WEEK))
        await client.add_service(order.id, "opt7", phone=order.phone)
        assert await verdict(client, error) == ("open", [])


async def test_an_added_service_without_an_order_id_competes() -> None:
    sim = Simulator(dialect="page")
    order = sim.add_order(service="opt16")
    async with client_of(sim) as client:
        assert await client.add_service(order.id, "opt7", phone=order.phone) is None
        sim.faults.next("add_service", "lost", done=False)
        error = await unknown(client.add_service(order.id, "opt7", phone=order.phone))
        assert await verdict(client, error) == ("open", ids(sim)[1:])


# -- prolong and delete ----------------------------------------------------------------------------------------------


@both_dialects
@on_an_order
@pytest.mark.parametrize("idle", [0, 5 * HOUR])
async def test_the_orders_row_shows_that_a_call_was_done(idle: float, method: str, dialect: Dialect) -> None:
    if (method, dialect) == ("prolong_days", "page"):
        dialect = "contract"  # the rental page has no such call
    sim = Simulator(dialect=dialect)
    order = sim.add_order(days=5)
    async with client_of(sim) as client:
        await anyio.sleep(idle)
        sim.faults.next(method, "lost")  # type: ignore[arg-type] # a key of `ON_AN_ORDER`
        error = await unknown(ON_AN_ORDER[method](client, order.id))
        assert await verdict(client, error) == ("done", [] if method == "delete" else [order.id])


@on_an_order
@pytest.mark.parametrize("idle", [0, 5 * HOUR])
async def test_a_row_ten_minutes_newer_shows_that_a_call_was_not_done(idle: float, method: str) -> None:
    sim = Simulator(dialect="contract")
    order = sim.add_order(days=5, always_active=True)
    async with client_of(sim) as client:
        await anyio.sleep(idle)
        sim.faults.next(method, "lost", done=False)  # type: ignore[arg-type] # a key of `ON_AN_ORDER`
        error = await unknown(ON_AN_ORDER[method](client, order.id))
        await anyio.sleep(599)
        assert await verdict(client, error) == ("open", [order.id])
        await anyio.sleep(30)
        assert await verdict(client, error) == ("not_done", [order.id])


async def test_the_time_of_a_call_is_when_it_was_sent_not_when_it_was_made() -> None:
    sim = Simulator(dialect="contract", balance=10**6)
    order = sim.add_order(days=5, always_active=True)
    sim.faults.next("prolong", "lost")
    async with lagging(sim, 900) as transport, client_of(sim, transport=transport, pace=Pace(gap=60)) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(client.rent, "RU", "opt16", WEEK)
            await anyio.sleep(1)
            error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("open", [order.id])


async def test_after_the_machine_slept_no_row_is_fresh_until_a_list_shows_the_time(
    client: SmspvaClient, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop's clock stops while the machine sleeps."""
    row = {**row_of("orders"), "id": 123}

    def listed(minutes: int) -> httpx.Response:
        then = START + timedelta(minutes=minutes)
        rows = [{**row, "lastonline": int(then.timestamp())}]
        date = format_datetime(then, usegmt=True)
        return httpx.Response(200, json={"status": 1, "data": rows}, headers={"Date": date})

    fake_server.on("orders", listed(0), listed(1), listed(91))
    fake_server.call(CALLS["prolong"], httpx.ReadError("lost"))
    await client.orders()
    await anyio.sleep(60)
    await client.orders()
    monkeypatch.setattr("smspva_async._purchases.tracker.time", lambda: time() + HOUR)
    error = await unknown(CALLS["prolong"].make(client))
    for _ in range(3):
        assert await verdict(client, error) == ("open", [123])


async def test_an_answer_with_an_old_date_makes_no_row_fresh(client: SmspvaClient, fake_server: FakeServer) -> None:
    row = {**row_of("orders"), "id": 123}

    def listed(minutes: int, online: int) -> httpx.Response:
        rows = [{**row, "lastonline": int((START + timedelta(minutes=online)).timestamp())}]
        date = format_datetime(START + timedelta(minutes=minutes), usegmt=True)
        return httpx.Response(200, json={"status": 1, "data": rows}, headers={"Date": date})

    fake_server.on("orders", listed(60, 60), listed(0, 0), listed(60, 50))
    fake_server.call(CALLS["prolong"], httpx.ReadError("lost"))
    await client.orders()
    await client.orders()
    error = await unknown(CALLS["prolong"].make(client))
    assert await verdict(client, error) == ("open", [123])


@on_an_order
@pytest.mark.parametrize("row", ["number offline", "no date"])
async def test_a_row_of_unknown_age_proves_nothing(
    row: str, method: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    listed = {**row_of("orders"), "id": 123, "lastonline": None if row == "no date" else 1_586_947_920}
    answer = httpx.Response(
        200, json={"status": 1, "data": [listed]}, headers={"Date": "Wed, 15 Apr 2020 10:52:00 GMT"}
    )
    fake_server.on("orders", answer)
    call = CALLS[{"prolong_days": "prolong_max"}.get(method, method)]
    fake_server.call(call, httpx.ReadError("lost"))
    await client.orders()
    await anyio.sleep(DAY)
    assert await verdict(client, await unknown(call.make(client))) == ("open", [123])


@on_an_order
async def test_without_a_server_date_a_row_proves_nothing(
    method: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    row = {**row_of("orders"), "id": 123}
    fake_server.on(
        "orders", {"status": 1, "data": [row]}, {"status": 1, "data": [{**row, "lastonline": 2_000_000_000}]}
    )
    call = CALLS[{"prolong_days": "prolong_max"}.get(method, method)]
    fake_server.call(call, httpx.ReadError("lost"))
    await client.orders()
    assert await verdict(client, await unknown(call.make(client))) == ("open", [123])


async def test_prolonging_an_order_without_a_known_end_is_open() -> None:
    sim = Simulator()
    order = sim.add_order()
    async with client_of(sim, listed=False) as client:
        sim.faults.next("prolong", "lost")
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("open", [order.id])
        sim.remove_order(order.id)
        assert await verdict(client, error) == ("open", [])


@pytest.mark.parametrize(
    ("growth", "expected"), [(-DAY, "open"), (1, "open"), (11 * HOUR, "open"), (DAY, "done")], ids=str
)
async def test_a_slightly_later_end_is_not_an_extension(growth: float, expected: str) -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        order.until += timedelta(seconds=growth)
        assert await verdict(client, error) == (expected, [order.id])


async def test_a_later_extension_proves_nothing() -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        await client.prolong(order.id, WEEK)
        assert await verdict(client, error) == ("open", [order.id])


@pytest.mark.parametrize("earlier", ["done", "unknown", "settled", "in progress", "in another program"])
async def test_an_extension_that_another_call_may_have_made_proves_nothing(earlier: str, tmp_path: Path) -> None:
    """The last list before the call is older than the other call."""
    sim = Simulator()
    order = sim.add_order(days=3)
    ledger = tmp_path / "ledger"
    async with client_of(sim, ledger=ledger) as client, client_of(sim, ledger=ledger) as other:
        async with anyio.create_task_group() as tasks:
            if earlier == "in progress":
                sim.faults.next("prolong", "latency", seconds=20)
                tasks.start_soon(other.prolong, order.id, WEEK)
                await anyio.sleep(1)
            elif earlier in ("unknown", "settled"):
                sim.faults.next("prolong", "lost")
                error = await unknown(client.prolong(order.id, WEEK))
                if earlier == "settled":
                    client.settle(error)
            else:
                await (other if earlier == "in another program" else client).prolong(order.id, WEEK)
            sim.faults.next("prolong", "lost", done=False)
            order.until -= timedelta(days=7)  # so that the simulator allows another extension
            error = await unknown(client.prolong(order.id, WEEK))
            order.until += timedelta(days=7)
            assert await verdict(client, error) == ("open", [order.id])
        await anyio.sleep(2 * HOUR)
        assert await verdict(client, error) == ("open", [order.id])


@pytest.mark.parametrize("listed", ["never since", "within the hour", "after it"])
async def test_an_earlier_extension_is_distinguished_by_a_later_list(listed: str) -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        await client.prolong(order.id, WEEK)
        if listed == "within the hour":
            order.until -= timedelta(days=7)  # a list may lag
            await anyio.sleep(HOUR / 2)
            await client.orders()
            order.until += timedelta(days=7)
        await anyio.sleep(4 * DAY)  # so that the simulator allows another extension
        if listed == "after it":
            await client.orders()
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        assert (await verdict(client, error))[0] == "open"
        order.until += timedelta(days=7)  # by another program, which can't be distinguished from the call
        assert (await verdict(client, error))[0] == ("done" if listed == "after it" else "open")


async def test_deleting_an_unlisted_order_that_still_exists_is_open() -> None:
    sim = Simulator()
    order = sim.add_order()
    async with client_of(sim) as client:
        sim.faults.next("delete", "lost", done=False)
        error = await unknown(client.delete(order.id))
        sim.faults.next("orders", "empty")
        assert await verdict(client, error) == ("open", [])


# -- restore ---------------------------------------------------------------------------------------------------------


def expired(sim: Simulator, **details: Any) -> int:
    return sim.add_order(until=sim.now - timedelta(days=3), **details).id


@both_dialects
async def test_a_restored_order_is_found(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost")
        error = await unknown(client.restore(past))
        assert await verdict(client, error) == ("done", ids(sim))


@both_dialects
async def test_a_price_an_hour_later_shows_that_an_order_was_not_restored(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    past = expired(sim)
    async with client_of(sim) as client:
        await anyio.sleep(5 * HOUR)
        sim.faults.next("restore_user", "lost", done=False)
        error = await unknown(client.restore(past))
        sim.add_order()
        await anyio.sleep(HOUR - 1)
        assert await verdict(client, error) == ("open", [])
        await anyio.sleep(1)
        assert await verdict(client, error) == ("not_done", [])


async def test_without_a_server_date_a_price_proves_nothing(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    fake_server.on("get_rent_history", {"status": 1, "data": []}, skip="0", take="50")
    fake_server.on("restore_user_precalc", CALLS["restore_user_precalc"].sample, id="517017")
    fake_server.call(CALLS["restore_user"], httpx.ReadError("lost"))
    await client.orders()
    error = await unknown(CALLS["restore_user"].make(client))
    await anyio.sleep(DAY)
    assert await verdict(client, error) == ("open", [])


@both_dialects
async def test_restoring_an_order_that_is_neither_listed_nor_quoted_is_open(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    sim.behavior.listing_delay = 2 * HOUR
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost")
        error = await unknown(client.restore(past))
        await anyio.sleep(HOUR)
        assert await verdict(client, error) == ("open", [])
        await anyio.sleep(HOUR)
        assert await verdict(client, error) == ("done", ids(sim))


@both_dialects
async def test_a_known_order_is_restored_if_it_ends_later(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order(until=sim.now + timedelta(hours=1))
    async with client_of(sim) as client:
        await anyio.sleep(DAY)
        sim.faults.next("restore_user", "lost")
        error = await unknown(client.restore(order.id))
        assert order.id in error.known
        assert await verdict(client, error) == ("done", ids(sim))


async def test_an_order_that_is_listed_unchanged_proves_nothing(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": [{**row_of("orders"), "id": 517017}]})
    fake_server.on("get_rent_history", {"status": 1, "data": []}, skip="0", take="50")
    fake_server.on("restore_user_precalc", {"status": 0, "msg": "NOTOWNER"}, id="517017")
    fake_server.call(CALLS["restore_user"], httpx.ReadError("lost"))
    await client.orders()
    error = await unknown(CALLS["restore_user"].make(client))
    assert await verdict(client, error) == ("open", [517017])


@pytest.mark.parametrize("is_new_listed", [False, True])
async def test_a_fresh_row_of_an_expired_order_does_not_disprove_its_restoration(
    client: SmspvaClient, fake_server: FakeServer, *, is_new_listed: bool
) -> None:
    old = {**row_of("orders"), "id": 517017, "lastonline": int(START.timestamp())}
    young = {**old, "lastonline": int((START + timedelta(minutes=12)).timestamp())}
    new = {**old, "id": 77}

    def answer(minutes: int, *rows: dict[str, Any]) -> httpx.Response:
        date = format_datetime(START + timedelta(minutes=minutes), usegmt=True)
        return httpx.Response(200, json={"status": 1, "data": rows}, headers={"Date": date})

    fake_server.on("orders", answer(0, old), answer(12, young, *([new] if is_new_listed else [])))
    fake_server.on("get_rent_history", {"status": 1, "data": []}, skip="0", take="50")
    fake_server.on("restore_user_precalc", CALLS["restore_user_precalc"].sample, id="517017")
    fake_server.call(CALLS["restore_user"], httpx.ReadError("lost"))
    await client.orders()
    error = await unknown(CALLS["restore_user"].make(client))
    assert await verdict(client, error) == ("open", [77] if is_new_listed else [517017])


@pytest.mark.parametrize("listed", ["under its id", "under a new id"])
async def test_an_order_that_may_have_been_listed_before_does_not_prove_its_restoration(listed: str) -> None:
    sim = Simulator(dialect="contract")
    past = sim.order(expired(sim))
    order = sim.add_order(phone=past.phone)
    async with client_of(sim, listed=False) as client:
        sim.faults.next("restore_user", "http_500", done=False)
        error = await unknown(client.restore(order.id if listed == "under its id" else past.id))
        assert await verdict(client, error) == ("open", [order.id])


async def test_a_listed_order_that_was_named_in_the_answer_proves_the_restoration() -> None:
    sim = Simulator(dialect="live")
    past = expired(sim)
    async with client_of(sim, listed=False) as client:
        sim.add_order()
        sim.faults.next("restore_user", "text")
        error = await unknown(client.restore(past))
        client.settle(error)  # so that the changed error is judged, not the record
        error.data = f'{{"status": 1, "data": {{"id": {ids(sim)[-1]}, '
        assert await verdict(client, error) == ("done", [ids(sim)[-1]])


@both_dialects
async def test_two_restore_calls_for_one_order_are_open(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost", done=False)
        sim.faults.next("restore_user", "lost")
        errors = [await unknown(client.restore(past)) for _ in range(2)]
        for error in errors:
            assert await verdict(client, error) == ("open", ids(sim))


@pytest.mark.parametrize(
    ("pause", "is_listed", "expected"), [(0, False, "open"), (0, True, "open"), (2, False, "open"), (2, True, "done")]
)
async def test_a_restored_order_without_an_id_competes_until_a_list_an_hour_later(
    pause: float,
    is_listed: bool,  # noqa: FBT001
    expected: str,
    client: SmspvaClient,
    fake_server: FakeServer,
) -> None:
    """The order is new in any list, until one from an hour later shows it."""

    def listed(*order_ids: int) -> httpx.Response:
        rows = [{**row_of("orders"), "id": it, "scode": "opt6", "pnumber": f"909603710{it}"} for it in order_ids]
        date = format_datetime(START + timedelta(seconds=anyio.current_time()), usegmt=True)
        return httpx.Response(200, json={"status": 1, "data": rows}, headers={"Date": date})

    async def orders() -> httpx.Response:
        return listed(*order_ids)

    order_ids: list[int] = []
    fake_server.on("orders", orders)
    fake_server.call(CALLS["restore_user"], CALLS["restore_user"].sample)
    fake_server.call(CALLS["create"], httpx.ReadError("lost"))
    await client.orders()
    await anyio.sleep(1)
    await client.orders()  # the second date confirms the first one
    assert await CALLS["restore_user"].make(client) is None
    order_ids.append(5)
    await anyio.sleep(pause * HOUR)
    if is_listed:
        await client.orders()
        order_ids.append(6)
    error = await unknown(CALLS["create"].make(client))
    assert await verdict(client, error) == (expected, order_ids[-1:])


async def test_a_restored_order_with_its_old_id_is_not_a_candidate() -> None:
    sim = Simulator(dialect="page")
    past = expired(sim, service="opt7")
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        rented = await unknown(client.rent("RU", "opt7", WEEK))
        bought = ids(sim)[-1]
        assert await client.restore(past) is None
        assert set(ids(sim)) == {past, bought}
        assert await verdict(client, rented) == ("done", [bought])


# -- lists that lag --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("method", ["prolong", "restore", "delete"])
async def test_settling_by_verdict_never_pays_twice_if_lists_are_15_minutes_late(method: str, done: bool) -> None:  # noqa: FBT001
    sim = Simulator(dialect="contract")
    order = sim.add_order(days=5, always_active=True)
    past = expired(sim)

    async def make(client: SmspvaClient) -> None:
        await (client.restore(past) if method == "restore" else ON_AN_ORDER[method](client, order.id))

    quote = {"method": "restore_user_precalc", "id": str(past)}
    history = {"method": "get_rent_history", "skip": "0", "take": "50"}
    sms = {"method": "sms", "id": str(order.id)}
    async with lagging(sim, 900, quote, history, sms) as transport, client_of(sim, transport=transport) as client:
        await anyio.sleep(HOUR)
        sim.faults.next(method, "lost", done=done)  # type: ignore[arg-type] # a key of `ON_AN_ORDER`
        await unknown(make(client))
        for _ in range(3 * 60):
            await anyio.sleep(60)
            for error in client.unsettled:
                match (await client.reconcile(error)).verdict:
                    case "done":
                        client.settle(error)
                    case "not_done":
                        client.settle(error)
                        await make(client)
                    case _:
                        pass
        assert client.unsettled == ()
    wire = "restore_user" if method == "restore" else method
    assert [request.method for request in sim.requests].count(wire) == (1 if done else 2)
    match method:
        case "prolong":
            assert order.days == 5 + 7
        case "restore":
            assert len(ids(sim)) == 2
        case _:
            assert not order.is_open
