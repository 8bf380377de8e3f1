"""`reconcile` and calls about an order that there is: evidence, never a guess."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async.simulator import Simulator
from tests.support.reconciliation import WEEK, Dialect, both_dialects, client_of, ids, unknown, verdict
from tests.support.samples import CALLS, row_of

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

DAY = 86_400.0

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("accounts_are_told_apart_quickly")]

# -- a further service on a number ---------------------------------------------------------------------------------


@both_dialects
async def test_an_added_service_is_found_by_its_number(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order(service="opt16")
    async with client_of(sim) as client:
        sim.faults.next("add_service_to_order", "lost")
        error = await unknown(client.add_service(order.id, "opt7", phone=order.phone))
        sim.add_order(service="opt7")
        assert await verdict(client, error) == ("done", [ids(sim)[1]])


@both_dialects
async def test_a_service_added_for_another_caller_is_no_purchase(dialect: Dialect) -> None:
    """The rental page's server doesn't tell the order that it made."""
    sim = Simulator(dialect=dialect)
    order = sim.add_order(service="opt16")
    async with client_of(sim) as client:
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt7", WEEK))
        await client.add_service(order.id, "opt7", phone=order.phone)
        assert await verdict(client, error) == ("open", [])


# -- prolong -------------------------------------------------------------------------------------------------------


@both_dialects
@pytest.mark.parametrize(("done", "expected"), [(True, "done"), (False, "not_done")])
async def test_prolonging_is_seen_by_the_end(done: bool, expected: str, dialect: Dialect) -> None:  # noqa: FBT001
    sim = Simulator(dialect=dialect)
    order = sim.add_order()
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost", done=done)
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == (expected, [order.id])


async def test_whose_end_isnt_known_is_open() -> None:
    sim = Simulator()
    order = sim.add_order()
    async with client_of(sim, listed=False) as client:
        sim.faults.next("prolong", "lost")
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("open", [order.id])
        sim.remove_order(order.id)
        assert await verdict(client, error) == ("open", [])


async def test_an_end_before_the_known_one_is_open() -> None:
    sim = Simulator()
    order = sim.add_order()
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        order.until -= timedelta(days=1)
        assert await verdict(client, error) == ("open", [order.id])


@pytest.mark.parametrize(("done", "expected"), [(True, "done"), (False, "not_done")])
async def test_prolonging_by_days_is_seen_by_the_end(done: bool, expected: str) -> None:  # noqa: FBT001
    sim = Simulator(dialect="contract")
    order = sim.add_order(days=5)
    async with client_of(sim) as client:
        sim.faults.next("prolong_days", "lost", done=done)
        error = await unknown(client.prolong_days(order.id, 3))
        assert (error.method, error.params["dtype"]) == ("prolong_max", "day")
        assert await verdict(client, error) == (expected, [order.id])


@pytest.mark.parametrize(("growth", "expected"), [(1, "open"), (11 * 3600, "open"), (86400, "done")])
async def test_an_end_that_is_written_otherwise_is_no_prolongation(growth: int, expected: str) -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        order.until += timedelta(seconds=growth)
        assert await verdict(client, error) == (expected, [order.id])


@pytest.mark.parametrize("again", ["at once", "next start"])
async def test_a_list_that_lags_ends_no_contest(again: str, tmp_path: Path) -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    path = tmp_path / "ledger"

    async def second(client: SmspvaClient) -> None:
        await client.orders()
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        order.until += timedelta(days=7)
        assert await verdict(client, error) == ("open", [order.id])

    async with client_of(sim, ledger=path) as client:
        await client.prolong(order.id, WEEK)
        order.until -= timedelta(days=7)  # as the list shows it
        if again == "at once":
            await second(client)
    if again == "next start":
        async with client_of(sim, ledger=path) as client:
            await second(client)


async def test_what_another_call_prolonged_proves_nothing() -> None:
    sim = Simulator()
    order, other = sim.add_order(), sim.add_order()
    async with client_of(sim) as client:
        await client.prolong(other.id, WEEK)
        await client.prolong(order.id, WEEK)  # whose end the client hasn't seen since
        order.until -= timedelta(days=7)
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("not_done", [order.id])
        order.until += timedelta(days=7)
        assert await verdict(client, error) == ("open", [order.id])
        order.until -= timedelta(days=7)
        await client.orders()
        sim.faults.next("prolong", "lost", done=False)
        later = await unknown(client.prolong(order.id, WEEK))
        order.until += timedelta(days=7)
        assert await verdict(client, later) == ("open", [order.id])
        client.settle(error)  # which doesn't say that it wasn't done
        assert await verdict(client, later) == ("open", [order.id])


async def test_what_was_prolonged_and_listed_before_is_no_matter() -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        await client.prolong(order.id, WEEK)
        await anyio.sleep(5 * DAY)  # so that it may be prolonged again
        await client.orders()
        sim.faults.next("prolong", "lost")
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("done", [order.id])


@pytest.mark.parametrize("again", ["at once", "another program", "next start"])
async def test_what_was_settled_may_have_been_done_until_a_list_shows_it(again: str, tmp_path: Path) -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    path = tmp_path / "ledger"

    async def second(client: SmspvaClient, *, done: bool) -> tuple[str, list[int]]:
        sim.faults.next("prolong", "lost", done=done)
        return await verdict(client, await unknown(client.prolong(order.id, WEEK)))

    async with client_of(sim, ledger=path) as client, client_of(sim, ledger=path) as other:
        sim.faults.next("prolong", "lost")
        error = await unknown(client.prolong(order.id, WEEK))
        client.settle(error)
        if again != "next start":
            assert await second(client if again == "at once" else other, done=False) == ("open", [order.id])
    async with client_of(sim, ledger=path, listed=again != "next start") as client:
        if again == "next start":
            assert await second(client, done=False) == ("open", [order.id])
        for call in client.unsettled:
            client.settle(call)
        await anyio.sleep(5 * DAY)  # so that it may be prolonged again
        await client.orders()
        assert await second(client, done=True) == ("done" if again != "next start" else "open", [order.id])


@pytest.mark.parametrize(("minutes", "expected"), [(None, "open"), (0, "done")])
async def test_a_list_may_lag_behind_what_was_settled_for_ten_minutes(
    minutes: int | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if minutes is not None:
        monkeypatch.setattr("smspva_async._money.books._LISTED_BY_THEN", timedelta(minutes=minutes))
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost")
        client.settle(await unknown(client.prolong(order.id, WEEK)))
        order.until -= timedelta(days=7)  # as the list shows it
        await client.orders()
        sim.faults.next("prolong", "lost", done=False)
        error = await unknown(client.prolong(order.id, WEEK))
        order.until += timedelta(days=7)
        assert await verdict(client, error) == (expected, [order.id])


async def test_a_list_without_the_order_doesnt_show_what_was_done_to_it() -> None:
    sim = Simulator()
    order = sim.add_order(days=3)
    async with client_of(sim) as client:
        sim.faults.next("prolong", "lost")
        client.settle(await unknown(client.prolong(order.id, WEEK)))
        sim.faults.next("orders", "empty")
        await client.orders()
        sim.faults.next("prolong", "lost", done=False)
        assert await verdict(client, await unknown(client.prolong(order.id, WEEK))) == ("open", [order.id])


# -- delete --------------------------------------------------------------------------------------------------------


@both_dialects
@pytest.mark.parametrize(("done", "expected"), [(True, "done"), (False, "not_done")])
async def test_deleting_is_seen_by_what_is_left(done: bool, expected: str, dialect: Dialect) -> None:  # noqa: FBT001
    sim = Simulator(dialect=dialect)
    order = sim.add_order()
    async with client_of(sim) as client:
        sim.faults.next("delete", "lost", done=done)
        error = await unknown(client.delete(order.id))
        assert await verdict(client, error) == (expected, [] if done else [order.id])


async def test_an_order_that_isnt_listed_and_has_messages_is_open() -> None:
    sim = Simulator()
    order = sim.add_order()
    async with client_of(sim) as client:
        sim.faults.next("delete", "lost", done=False)
        error = await unknown(client.delete(order.id))
        sim.faults.next("orders", "empty")
        assert await verdict(client, error) == ("open", [])


# -- restore -------------------------------------------------------------------------------------------------------


def expired(sim: Simulator, **details: Any) -> int:
    return sim.add_order(until=sim.now - timedelta(days=3), **details).id


@both_dialects
async def test_what_was_restored_is_found(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost")
        error = await unknown(client.restore(past))
        assert await verdict(client, error) == ("done", ids(sim))


@both_dialects
async def test_what_can_still_be_restored_was_not(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost", done=False)
        error = await unknown(client.restore(past))
        sim.add_order()
        assert await verdict(client, error) == ("not_done", [])


@both_dialects
async def test_what_is_neither_listed_nor_quoted_is_open(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    sim.switches.listing_delay = 600
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost")
        error = await unknown(client.restore(past))
        assert await verdict(client, error) == ("open", [])
        await anyio.sleep(601)
        assert await verdict(client, error) == ("done", ids(sim))


@both_dialects
async def test_an_order_that_was_known_is_restored_when_it_ends_later(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order(until=sim.now + timedelta(hours=1))
    async with client_of(sim) as client:
        await anyio.sleep(86400)
        sim.faults.next("restore_user", "lost")
        error = await unknown(client.restore(order.id))
        assert order.id in error.known
        assert await verdict(client, error) == ("done", ids(sim))


async def test_an_order_that_is_listed_as_before_proves_nothing(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": [{**row_of("orders"), "id": 517017}]})
    fake_server.call(CALLS["restore_user"], httpx.ReadError("lost"))
    await client.orders()
    error = await unknown(CALLS["restore_user"].make(client))
    assert await verdict(client, error) == ("open", [])


async def test_an_order_that_may_have_been_listed_before_proves_no_restoring() -> None:
    sim = Simulator()
    order = sim.add_order()
    for listed, expected in ((False, "open"), (True, "open")):
        async with client_of(sim, listed=listed) as client:
            sim.faults.next("restore_user", "http_500", done=False)
            error = await unknown(client.restore(order.id))
            assert await verdict(client, error) == (expected, [order.id] if not listed else [])


async def test_a_restored_order_may_be_named() -> None:
    sim = Simulator(dialect="live")
    past = expired(sim)
    async with client_of(sim, listed=False) as client:
        sim.add_order()
        sim.faults.next("restore_user", "text")
        error = await unknown(client.restore(past))
        error.data = f'{{"status": 1, "data": {{"id": {ids(sim)[-1]}, '
        assert await verdict(client, error) == ("done", [ids(sim)[-1]])


@both_dialects
async def test_a_call_that_may_have_restored_it_as_well_leaves_it_open(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    past = expired(sim)
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost", done=False)
        sim.faults.next("restore_user", "lost")
        errors = [await unknown(client.restore(past)) for _ in range(2)]
        for error in errors:
            assert await verdict(client, error) == ("open", ids(sim))


async def test_a_restored_order_may_be_taken_for_a_purchase() -> None:
    sim = Simulator(dialect="live")
    past = expired(sim, service="opt7")
    async with client_of(sim) as client:
        sim.faults.next("restore_user", "lost")
        restored = await unknown(client.restore(past))
        sim.faults.next("create", "lost", done=False)
        rented = await unknown(client.rent("RU", "opt7", WEEK))
        assert await verdict(client, rented) == ("open", ids(sim))
        assert await verdict(client, restored) == ("done", ids(sim))  # it doesn't end as a week's purchase would


async def test_an_order_that_is_back_under_its_id_is_taken_for_no_purchase() -> None:
    sim = Simulator(dialect="page")
    past = expired(sim, service="opt7")
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        rented = await unknown(client.rent("RU", "opt7", WEEK))
        bought = ids(sim)[-1]
        assert await client.restore(past) is None
        assert set(ids(sim)) == {past, bought}
        assert await verdict(client, rented) == ("done", [bought])
