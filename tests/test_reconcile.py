"""`reconcile`: evidence, never a guess."""

from __future__ import annotations

import pickle
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import pytest
from hypothesis import given, settings, strategies as st

from smspva_async import Pace, Period, SmspvaClient
from smspva_async.errors import ConnectionFailed, InvalidKey, OutcomeUnknown, SmspvaError, UnexpectedResponse
from smspva_async.models import Order, Rental
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.edge import KEY
from tests.samples import CALLS, ORDER, SPENDING, Call, name_of, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.edge import Edge

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("accounts_are_told_apart_quickly")]

WEEK = Period.weeks(1)
both_dialects = pytest.mark.parametrize("dialect", ["page", "live"])
Dialect = Literal["page", "live"]


@asynccontextmanager
async def client_of(sim: Simulator, *, listed: bool = True, **arguments: Any) -> AsyncIterator[SmspvaClient]:
    """Return a client that knows which orders there are."""
    async with SmspvaClient(KEY, pace=Pace(gap=0), transport=sim.transport(), **arguments) as client:
        if listed:
            await client.orders()
        yield client
    assert sim.violations == []


async def unknown(make: Awaitable[Any]) -> OutcomeUnknown:
    """Make a call whose outcome isn't told."""
    with pytest.raises(OutcomeUnknown) as failed:
        await make
    return failed.value


async def verdict(client: SmspvaClient, error: OutcomeUnknown) -> tuple[str, list[int]]:
    found = await client.reconcile(error)
    return found.verdict, [order.id for order in found.candidates]


def ids(sim: Simulator) -> list[int]:
    return [order.id for order in sim.orders]


# -- a purchase ----------------------------------------------------------------------------------------------------


@both_dialects
@pytest.mark.parametrize("fault", ["lost", "half", "html", "http_500", "cut", "hang"])
async def test_a_purchase_that_was_made_is_found(dialect: Dialect, fault: Any) -> None:
    sim = Simulator(dialect=dialect)
    sim.add_order(service="opt16")
    async with client_of(sim) as client:
        sim.faults.next("create", fault, done=True)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        found = await client.reconcile(error)
        assert found.verdict == "done"
        assert [type(order) for order in found.candidates] == [Order]
        assert [order.id for order in found.candidates] == ids(sim)[1:]
        assert client.unsettled == (error,)  # only the user settles


@both_dialects
@pytest.mark.parametrize("method", ["create", "create_multi", "add_service_to_order"])
async def test_from_an_absence_no_purchase_is_concluded_to_be_undone(dialect: Dialect, method: Any) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order()
    async with client_of(sim) as client:
        sim.faults.next(method, "lost", done=False)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "create": lambda: client.rent("RU", "opt16", WEEK),
            "create_multi": lambda: client.rent_multi("RU", ["opt16", "opt7"], WEEK),
            "add_service_to_order": lambda: client.add_service(order.id, "opt7", phone=order.phone),
        }
        error = await unknown(calls[method]())
        assert await verdict(client, error) == ("open", [])
        await anyio.sleep(86400)
        assert await verdict(client, error) == ("open", [])


@both_dialects
@pytest.mark.parametrize("fault", ["lost", "half"])
async def test_a_purchase_that_is_listed_late_is_open_until_then(dialect: Dialect, fault: Any) -> None:
    sim = Simulator(dialect=dialect)
    sim.switches.listing_delay = 600
    async with client_of(sim) as client:
        sim.faults.next("create", fault)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("open", [])
        await anyio.sleep(601)
        assert await verdict(client, error) == ("done", ids(sim))


async def test_only_new_orders_of_the_service_and_country_are_candidates() -> None:
    sim = Simulator()
    sim.add_order("UK", "opt16")
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("GB", "opt16", WEEK))
        (bought,) = ids(sim)[1:]
        sim.add_order("UK", "opt7")
        sim.add_order("RU", "opt16")
        assert await verdict(client, error) == ("done", [bought])
        elsewhere = sim.add_order("UK", "opt16")  # nobody can tell it from the purchase
        assert await verdict(client, error) == ("done", [bought, elsewhere.id])


@pytest.mark.parametrize(
    ("country", "fits"), [("RU", True), ("GB", False), ("Russia", True), ("", True), (" ru", True)]
)
async def test_a_country_that_cant_be_compared_rules_nothing_out(
    country: str,
    fits: bool,  # noqa: FBT001
    client: SmspvaClient,
    edge: Edge,
) -> None:
    row = {**row_of("orders"), "id": 41, "scode": "opt6", "cname": country}
    edge.on("orders", {"status": 1, "data": []}, {"status": 1, "data": [row, row]})
    edge.call(CALLS["create"], httpx.ReadError("lost"))
    await client.orders()
    error = await unknown(CALLS["create"].make(client))
    assert await verdict(client, error) == (("done", [41]) if fits else ("open", []))


@pytest.mark.parametrize("country", ["UK", "GB"])
async def test_the_united_kingdom_may_be_listed_under_either_code(
    country: str, client: SmspvaClient, edge: Edge
) -> None:
    row = {**row_of("orders"), "id": 41, "scode": "opt6", "cname": country}
    edge.on("orders", {"status": 1, "data": []}, {"status": 1, "data": [row]})
    edge.on("create", httpx.ReadError("lost"), country="UK", service="opt6", dtype="week", dcount="1")
    await client.orders()
    error = await unknown(client.rent("GB", "opt6", WEEK))
    assert await verdict(client, error) == ("done", [41])


@pytest.mark.parametrize("before", ["never asked", "a row without a name"])
async def test_where_known_may_lack_an_order_nothing_new_is_proof(before: str) -> None:
    sim = Simulator()
    old = [sim.add_order(), sim.add_order()]
    async with client_of(sim, listed=False) as client:
        if before != "never asked":
            sim.faults.next("orders", "nameless_row")
            await client.orders()
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert not error.listed
        found = await client.reconcile(error)
        assert found.verdict == "open"
        assert {order.id for order in found.candidates} == set(ids(sim)) - error.known.keys()
        assert len(error.known) == (0 if before == "never asked" else len(old) - 1)


# -- what the answer named -----------------------------------------------------------------------------------------


async def test_an_order_that_the_answer_names_is_the_one() -> None:
    sim = Simulator()
    async with client_of(sim, listed=False) as client:  # nothing was known, and yet
        sim.faults.next("create", "lost")
        lost = await unknown(client.rent("RU", "opt16", WEEK))
        sim.faults.next("create", "half")
        named = await unknown(client.rent("RU", "opt16", WEEK))
        first, second = ids(sim)
        assert await verdict(client, named) == ("done", [second])
        assert await verdict(client, lost) == ("open", [first])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"status": 1, "data": {"id": 41, "pnum', ("done", [41])),
        ('{"status": 1, "data": {"id": "41", "pnum', ("done", [41])),
        ('Notice: x <br>{"status": 1, "data": [{"id":41}]}', ("done", [41])),
        ('{"status": 1, "data": {"paid": [{"id": "41"}]}}', ("done", [41])),
        ('{"status": 1, "data": {"id": 4', ("done", [41, 4, 7])),  # half a number
        ('{"status": 1, "data": {"id": 99, "pnum', ("done", [41, 4, 7])),  # nobody's order
        ('{"status": 1, "data": [{"id": 41}, {"id": 4}]}', ("done", [41, 4, 7])),  # one was asked for
        ('{"status": 1, "data": {"id": 40300}}', ("done", [41, 4, 7])),  # known before
    ],
)
async def test_what_counts_as_named(
    body: str, expected: tuple[str, list[int]], client: SmspvaClient, edge: Edge
) -> None:
    rows = [{**row_of("orders"), "id": number, "scode": "opt6"} for number in (41, 4, 7)]
    sample = CALLS["orders"].sample
    edge.on("orders", sample, {"status": 1, "data": [*sample["data"], *rows]})
    edge.call(CALLS["create"], body)
    await client.orders()
    error = await unknown(CALLS["create"].make(client))
    assert await verdict(client, error) == expected


# -- several at once -----------------------------------------------------------------------------------------------


@both_dialects
async def test_an_order_that_another_caller_was_given_is_nobodys_candidate(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        (bought,) = ids(sim)
        await client.rent("RU", "opt16", WEEK)
        await client.rent_multi("RU", ["opt16", "opt7"], WEEK)
        assert len(ids(sim)) == 4
        assert await verdict(client, error) == ("done", [bought])


async def test_two_calls_and_one_new_order_leave_both_open() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        sim.faults.next("create", "lost", done=False)
        errors = [await unknown(client.rent("RU", "opt16", WEEK)) for _ in range(2)]
        for error in errors:
            assert await verdict(client, error) == ("open", ids(sim))
        client.settle(errors[0])  # which doesn't say whose the order is
        assert await verdict(client, errors[1]) == ("open", ids(sim))


async def test_an_order_listed_twice_is_one() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        sim.faults.next("create", "lost", done=False)
        errors = [await unknown(client.rent("RU", "opt16", WEEK)) for _ in range(2)]
        sim.faults.next("orders", "duplicate", count=2)
        for error in errors:
            assert await verdict(client, error) == ("open", ids(sim))


async def test_two_calls_and_two_new_orders_are_both_done() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost", count=2)
        errors = [await unknown(client.rent("RU", "opt16", WEEK)) for _ in range(2)]
        for error in errors:
            assert await verdict(client, error) == ("done", ids(sim))


async def test_calls_of_another_service_dont_compete() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost", done=False)
        other = await unknown(client.rent("RU", "opt7", WEEK))
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("done", ids(sim))
        assert await verdict(client, other) == ("open", [])


async def test_a_purchase_that_was_settled_may_be_listed_late() -> None:
    sim = Simulator()
    sim.switches.listing_delay = 300
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        client.settle(await unknown(client.rent("RU", "opt16", WEEK)))
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        other = await unknown_prolongation(sim, client)
        await anyio.sleep(301)
        assert await verdict(client, error) == ("open", ids(sim)[:1])
        assert await verdict(client, other) == ("not_done", ids(sim)[1:])


async def unknown_prolongation(sim: Simulator, client: SmspvaClient) -> OutcomeUnknown:
    order = sim.add_order(service="opt7")
    await anyio.sleep(301)
    await client.orders()
    sim.faults.next("prolong", "lost", done=False)
    return await unknown(client.prolong(order.id, WEEK))


@pytest.mark.parametrize("again", ["at once", "next start"])
async def test_a_purchase_that_was_settled_and_listed_competes_no_more(again: str, tmp_path: Path) -> None:
    sim = Simulator()
    path = tmp_path / "ledger"
    async with client_of(sim, ledger=path) as client:
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("done", ids(sim))
        client.settle(error)
        if again == "at once":
            sim.faults.next("create", "lost")
            error = await unknown(client.rent("RU", "opt16", WEEK))
            assert await verdict(client, error) == ("done", ids(sim)[1:])
    if again == "next start":
        async with client_of(sim, ledger=path) as client:
            sim.faults.next("create", "lost")
            error = await unknown(client.rent("RU", "opt16", WEEK))
            assert await verdict(client, error) == ("done", ids(sim)[1:])


async def test_a_purchase_that_was_settled_competes_for_what_ends_as_it_would() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost", done=False)
        client.settle(await unknown(client.rent("RU", "opt16", Period.months(1))))
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("done", ids(sim))


@pytest.mark.parametrize("bought", ["create", "create_multi", "add_service_to_order"])
async def test_an_order_that_ends_otherwise_proves_no_purchase(bought: Any) -> None:
    sim = Simulator()
    old = sim.add_order(service="opt7", days=10)
    hidden = sim.add_order(service="opt16", days=20)
    async with client_of(sim, listed=False) as client:
        sim.faults.next("orders", "empty")  # which makes the old order look new
        await client.orders()
        sim.faults.next(bought, "hang", done=False)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "create": lambda: client.rent("RU", "opt16", WEEK),
            "create_multi": lambda: client.rent_multi("RU", ["opt16"], Period.months(1)),
            "add_service_to_order": lambda: client.add_service(old.id, "opt16", phone=hidden.phone, rent_days=7),
        }
        error = await unknown(calls[bought]())
        assert await verdict(client, error) == ("open", [hidden.id])
        hidden.until = sim.now + timedelta(days=30 if bought == "create_multi" else 7)
        assert await verdict(client, error) == ("done", [hidden.id])


async def test_where_no_period_is_known_the_end_is_no_matter() -> None:
    sim = Simulator()
    order = sim.add_order(days=40)
    async with client_of(sim) as client:
        sim.faults.next("add_service_to_order", "lost")
        error = await unknown(client.add_service(order.id, "opt7", phone=order.phone))
        assert await verdict(client, error) == ("done", ids(sim)[1:])


async def test_a_call_under_way_competes_until_its_caller_is_given_the_order() -> None:
    sim = Simulator()
    async with client_of(sim) as client, anyio.create_task_group() as tasks:
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        sim.faults.next("create", "latency", seconds=20)
        tasks.start_soon(client.rent, "RU", "opt16", WEEK)
        await anyio.sleep(10)
        assert await verdict(client, error) == ("open", ids(sim))
        await anyio.sleep(20)
        assert await verdict(client, error) == ("open", [])


async def test_an_order_given_while_reconciling_is_nobodys_candidate() -> None:
    sim = Simulator()
    async with client_of(sim) as client, anyio.create_task_group() as tasks:
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        sim.faults.next("orders", "latency", seconds=5)
        sim.faults.next("create", "latency", seconds=2)
        tasks.start_soon(client.rent, "RU", "opt16", WEEK)
        await anyio.sleep(1)
        assert len(ids(sim)) == 1
        assert await verdict(client, error) == ("open", [])


# -- several services ----------------------------------------------------------------------------------------------


@both_dialects
async def test_several_services_are_done_when_there_is_one_of_each(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    async with client_of(sim) as client:
        sim.faults.next("create_multi", "lost")
        error = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        assert await verdict(client, error) == ("done", ids(sim))
        sim.remove_order(ids(sim)[0])
        sim.add_order(service="opt7")
        assert await verdict(client, error) == ("open", ids(sim))


async def test_what_is_missing_from_an_answer_still_competes(
    client: SmspvaClient, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{**row_of("orders"), "id": number, "scode": code} for number, code in ((5, "opt6"), (6, "opt20"))]
    edge.on("orders", {"status": 1, "data": []}, {"status": 1, "data": rows})
    rental = {"id": 5, "pnumber": "79096037108", "service": "opt6", "until": 1900000000}
    period = {"country": "RU", "dtype": "week", "dcount": "1"}
    edge.on("create_multi", {"status": 1, "data": rental}, services="opt6,opt20", **period)
    edge.on("create", httpx.ReadError("lost"), service="opt20", **period)
    await client.orders()
    assert [rental.id for rental in await client.rent_multi("RU", ["opt6", "opt20"], WEEK)] == [5]
    (told,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert told.startswith("create_multi: 1 of its rentals ")
    assert "orders()" in told
    error = await unknown(client.rent("RU", "opt20", WEEK))
    assert await verdict(client, error) == ("open", [6])


async def test_an_order_whose_row_could_not_be_read_was_given_as_well(client: SmspvaClient, edge: Edge) -> None:
    rows = [{**row_of("orders"), "id": number, "scode": code} for number, code in ((5, "opt6"), (6, "opt20"))]
    edge.on("orders", {"status": 1, "data": []}, {"status": 1, "data": rows})
    good = {"id": 5, "pnumber": "79096037108", "service": "opt6", "until": 1900000000}
    period = {"country": "RU", "dtype": "week", "dcount": "1"}
    edge.on("create_multi", {"status": 1, "data": [good, {"id": 6, "paid": True}]}, services="opt6,opt20", **period)
    edge.on("create", httpx.ReadError("lost"), service="opt20", **period)
    await client.orders()
    assert [row.order_id for row in (await client.rent_multi("RU", ["opt6", "opt20"], WEEK)).skipped] == [6]
    error = await unknown(client.rent("RU", "opt20", WEEK))
    assert await verdict(client, error) == ("open", [])


async def test_a_half_answer_names_some_of_several() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create_multi", "half")
        error = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        others = [sim.add_order(service=service).id for service in ("opt16", "opt7")]
        first, second = ids(sim)[:2]
        assert await verdict(client, error) == ("done", [first, second, others[1]])


async def test_a_call_of_several_services_competes_for_each() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create_multi", "lost", done=False)
        several = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        sim.faults.next("create", "lost")
        one = await unknown(client.rent("RU", "opt7", WEEK))
        assert await verdict(client, one) == ("open", ids(sim))
        assert await verdict(client, several) == ("open", ids(sim))


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
    order = sim.add_order()
    async with client_of(sim) as client:
        await client.prolong(order.id, WEEK)
        await client.orders()
        order.until -= timedelta(days=7)  # so that it may be prolonged again
        await client.orders()
        sim.faults.next("prolong", "lost")
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("done", [order.id])


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


async def test_an_order_that_is_listed_as_before_proves_nothing(client: SmspvaClient, edge: Edge) -> None:
    edge.on("orders", {"status": 1, "data": [{**row_of("orders"), "id": 517017}]})
    edge.call(CALLS["restore_user"], httpx.ReadError("lost"))
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


# -- whose error, and how it is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize("call", SPENDING, ids=name_of)
async def test_a_failure_of_what_it_asks_is_raised(call: Call, client: SmspvaClient, edge: Edge) -> None:
    edge.call(call, httpx.ReadError("lost"))
    error = await unknown(call.make(client))
    edge.on("orders", {"status": 1}, {"status": 0, "msg": "BANNED"})
    with pytest.raises(UnexpectedResponse):
        await client.reconcile(error)
    with pytest.raises(InvalidKey):
        await client.reconcile(error)
    assert client.unsettled == (error,)


async def test_only_a_refusal_of_the_order_counts(client: SmspvaClient, edge: Edge) -> None:
    edge.on("orders", {"status": 1, "data": []})
    edge.on("sms", {"status": 0, "msg": "closed for lunch"}, {"status": 0, "msg": "Order not found"}, id="123")
    edge.on("get_rent_history", {"status": 1, "data": []}, skip="0", take="50")
    edge.on("restore_user_precalc", httpx.ReadError("lost"), {"status": 0, "msg": "BANNED"}, id="517017")
    for method in ("delete", "restore_user"):
        edge.call(CALLS[method], httpx.ReadError("lost"))
    deleted = await unknown(CALLS["delete"].make(client))
    with pytest.raises(SmspvaError, match="lunch"):
        await client.reconcile(deleted)
    assert await verdict(client, deleted) == ("done", [])
    restored = await unknown(CALLS["restore_user"].make(client))
    with pytest.raises((InvalidKey, ConnectionFailed)):
        await client.reconcile(restored)


@pytest.mark.parametrize("error", [None, "create", ConnectionFailed("down", sent=True, method="create")])
async def test_anything_else_is_refused(error: Any, client: SmspvaClient) -> None:
    with pytest.raises(ValueError, match="OutcomeUnknown"):
        await client.reconcile(error)


async def test_an_unknown_method_is_refused(client: SmspvaClient) -> None:
    error = OutcomeUnknown("", method="orders", params={}, started_at=ORDER.until, known={})
    with pytest.raises(ValueError, match="OutcomeUnknown"):
        await client.reconcile(error)


@both_dialects
@pytest.mark.parametrize("again", ["pickled", "settled", "another client", "next start"])
async def test_it_works_for_a_copy_and_in_another_run(again: str, dialect: Dialect, tmp_path: Path) -> None:
    sim = Simulator(dialect=dialect)
    sim.add_order()
    path = tmp_path / "ledger"
    async with client_of(sim, ledger=path) as client:
        given = await client.rent("RU", "opt16", WEEK)
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        await client.rent("RU", "opt16", WEEK)
        bought = ids(sim)[2]
        assert given.id != bought
        if again == "settled":
            client.settle(error)
        if again in ("pickled", "settled"):
            twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
            assert await verdict(client, twin) == ("done", [bought])
    if again == "another client":
        async with client_of(sim) as other:  # which knows nothing of the third order
            assert await verdict(other, error) == ("done", [bought, ids(sim)[3]])
    if again == "next start":
        async with client_of(sim, ledger=path) as other:
            (found,) = other.unsettled
            assert await verdict(other, found) == ("done", [bought])


async def test_what_another_program_does_with_the_same_ledger_counts(tmp_path: Path) -> None:
    sim = Simulator()
    path = tmp_path / "ledger"
    async with client_of(sim, ledger=path) as client, client_of(sim, ledger=path) as other:
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        await other.rent("RU", "opt16", WEEK)
        assert await verdict(client, error) == ("open", ids(sim))  # it isn't known yet whose it is
        await other.orders()
        assert await verdict(client, error) == ("open", [])


@both_dialects
@pytest.mark.parametrize("answer", ["done", "refused", "not sent"])
@pytest.mark.parametrize("method", ["create", "create_multi", "prolong", "delete"])
async def test_a_call_that_ended_in_another_program_is_judged_by_that(
    method: Any, answer: str, dialect: Dialect, tmp_path: Path
) -> None:
    sim = Simulator(dialect=dialect)
    old = sim.add_order(days=3)
    calls: dict[str, Callable[[SmspvaClient], Awaitable[Any]]] = {
        "create": lambda client: client.rent("RU", "opt16", WEEK),
        "create_multi": lambda client: client.rent_multi("RU", ["opt16", "opt7"], WEEK),
        "prolong": lambda client: client.prolong(old.id, WEEK),
        "delete": lambda client: client.delete(old.id),
    }
    path = tmp_path / "ledger"
    async with client_of(sim, ledger=path) as client:
        faults: dict[str, dict[str, Any]] = {
            "done": {"fault": "latency"},
            "refused": {"fault": "refusal", "msg": "closed for lunch"},
            "not sent": {"fault": "refused", "count": 4},
        }
        sim.faults.next(method, **faults[answer])
        with suppress(SmspvaError):
            await calls[method](client)
        async with client_of(sim, ledger=path, listed=False) as other:  # the outcome isn't written yet
            (error,) = other.unsettled
            await client.orders()
            found = await verdict(other, error)
            other.settle(error)
    bought = ids(sim)[1:] if method.startswith("create") else []
    about = [old.id] if method == "prolong" or (method == "delete" and answer != "done") else []
    assert found == ("done" if answer == "done" else "not_done", bought or about)
    assert '"settled"' in path.read_text()
    async with client_of(sim, ledger=path) as client:
        assert client.unsettled == ()
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("open", [])


async def test_what_was_prolonged_in_another_run_counts(tmp_path: Path) -> None:
    sim = Simulator()
    path = tmp_path / "ledger"
    order = sim.add_order()
    async with client_of(sim, ledger=path) as client:
        sim.faults.next("prolong", "lost", done=False)
        await unknown(client.prolong(order.id, WEEK))
        await client.prolong(order.id, WEEK)
    async with client_of(sim, ledger=path) as client:
        (error,) = client.unsettled
        assert await verdict(client, error) == ("open", [order.id])
        client.settle(error)
        order.until -= timedelta(days=7)
        await client.orders()
        sim.faults.next("prolong", "lost")
        error = await unknown(client.prolong(order.id, WEEK))
        assert await verdict(client, error) == ("done", [order.id])


# -- whatever happens ----------------------------------------------------------------------------------------------

PURCHASES: dict[str, Callable[[SmspvaClient, Any, str], Awaitable[Any]]] = {
    "create": lambda client, _, service: client.rent("RU", service, WEEK),
    "create_multi": lambda client, _, service: client.rent_multi("RU", [service, "opt7"], WEEK),
    "add_service_to_order": lambda client, order, service: client.add_service(order.id, service, phone=order.phone),
}
FAULTS = [None, "lost", "half", "html", "http_500", "refused", "latency", "cut"]
purchase = st.tuples(
    st.sampled_from(sorted(PURCHASES)),
    st.sampled_from(["opt7", "opt16"]),
    st.sampled_from(FAULTS),
    st.booleans(),
    st.integers(0, 40),
)


@given(
    purchases=st.lists(purchase, min_size=1, max_size=7),
    dialect=st.sampled_from(["page", "live"]),
    delay=st.sampled_from([0, 15]),
    restart=st.booleans(),
)
@settings(deadline=None)
def test_every_purchase_is_returned_or_a_candidate(
    purchases: list[Any],
    dialect: Dialect,
    delay: int,
    restart: bool,  # noqa: FBT001
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def main() -> None:
        sim = Simulator(dialect=dialect, balance=10**9)
        sim.switches.listing_delay = delay
        bought = Bought(sim)
        async with client_of(sim, ledger=path) as client:
            async with anyio.create_task_group() as tasks:
                for each in purchases:
                    tasks.start_soon(bought.buy, client, *each)
            await anyio.sleep(delay + 1)
            await bought.check(client)
        if restart:
            async with client_of(sim, ledger=path, listed=False) as client:
                await bought.check(client)

    path = tmp_path_factory.mktemp("money") / "ledger" if restart else None
    anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})


class Bought:
    """What callers bought of a simulator, and what they were given."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.old = sim.add_order()
        self.returned: set[int] = {self.old.id}
        self.untold: set[str] = set()

    async def buy(self, client: SmspvaClient, method: Any, service: str, fault: Any, done: bool, start: int) -> None:  # noqa: FBT001
        await anyio.sleep(start)
        if fault in ("refused", "latency"):
            self.sim.faults.next(method, fault)
        elif fault is not None:
            self.sim.faults.next(method, fault, done=done)
        try:
            bought = await PURCHASES[method](client, self.old, service)
        except (OutcomeUnknown, ConnectionFailed):
            return
        if bought is None:
            self.untold.add(service)
        else:
            self.returned.update(rental.id for rental in ([bought] if isinstance(bought, Rental) else bought))

    async def check(self, client: SmspvaClient) -> None:
        candidates: set[int] = set()
        for error in client.unsettled:
            found = await client.reconcile(error)
            assert found.verdict in ("done", "open")
            candidates.update(order.id for order in found.candidates)
        assert candidates.isdisjoint(self.returned)
        # The server doesn't always tell the order of a service added to a number; its caller has the number.
        unnamed = {
            order.id for order in self.sim.orders if order.phone == self.old.phone and order.service in self.untold
        }
        assert {order.id for order in self.sim.orders} - self.returned - unnamed <= candidates
