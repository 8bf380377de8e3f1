"""Verdicts of `reconcile` on purchases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async.models import Order
from smspva_async.simulator import Simulator
from tests.support.reconciliation import WEEK, Dialect, both_dialects, client_of, ids, unknown, verdict
from tests.support.samples import CALLS, row_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from smspva_async import SmspvaClient
    from smspva_async.simulator import FaultName, MultiOrders
    from tests.support.fake_server import FakeServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("cheap_fingerprints")]

# -- a purchase ------------------------------------------------------------------------------------------------------


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
        assert client.unsettled == (error,)  # `reconcile` doesn't settle


@both_dialects
@pytest.mark.parametrize("method", ["create", "create_multi", "add_service_to_order"])
async def test_a_missing_order_does_not_disprove_a_purchase(dialect: Dialect, method: Any) -> None:
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
async def test_a_purchase_is_open_until_it_is_listed(dialect: Dialect, fault: Any) -> None:
    sim = Simulator(dialect=dialect)
    sim.behavior.listing_delay = 600
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
        other = sim.add_order("UK", "opt16")  # it can't be distinguished from the purchase
        assert await verdict(client, error) == ("done", [bought, other.id])


@pytest.mark.parametrize(
    ("country", "fits"), [("RU", True), ("GB", False), ("Russia", True), ("", True), (" ru", True)]
)
async def test_an_order_with_an_incomparable_country_is_a_candidate(
    country: str,
    fits: bool,  # noqa: FBT001
    client: SmspvaClient,
    fake_server: FakeServer,
) -> None:
    row = {**row_of("orders"), "id": 41, "scode": "opt6", "cname": country}
    fake_server.on("orders", {"status": 1, "data": []}, {"status": 1, "data": [row, row]})
    fake_server.call(CALLS["create"], httpx.ReadError("lost"))
    await client.orders()
    error = await unknown(CALLS["create"].make(client))
    assert await verdict(client, error) == (("done", [41]) if fits else ("open", []))


@pytest.mark.parametrize("country", ["UK", "GB"])
async def test_the_united_kingdom_matches_both_of_its_codes(
    country: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    row = {**row_of("orders"), "id": 41, "scode": "opt6", "cname": country}
    fake_server.on("orders", {"status": 1, "data": []}, {"status": 1, "data": [row]})
    fake_server.on("create", httpx.ReadError("lost"), country="UK", service="opt6", dtype="week", dcount="1")
    await client.orders()
    error = await unknown(client.rent("GB", "opt6", WEEK))
    assert await verdict(client, error) == ("done", [41])


@pytest.mark.parametrize("before", ["never asked", "a row without a name"])
async def test_new_orders_prove_nothing_if_the_known_ones_may_be_incomplete(before: str) -> None:
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
        assert {order.id for order in found.candidates} == set(ids(sim)) - error.known
        assert len(error.known) == (0 if before == "never asked" else len(old) - 1)


# -- orders that the answer named ------------------------------------------------------------------------------------


async def test_a_listed_order_that_was_named_in_the_answer_proves_the_purchase() -> None:
    sim = Simulator()
    async with client_of(sim, listed=False) as client:  # no order was known
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
        ('Notice: x <br>{"status": 1, "data": [{"id":41}], ', ("done", [41])),
        ('{"status": 1, "data": {"paid": [{"id": "41"}]}}', ("done", [41])),
        ('{"status": 1, "data": {"id": 4', ("done", [41, 4, 7])),  # the number may be cut off
        ('{"status": 1, "data": {"id": 99, "pnum', ("done", [41, 4, 7])),  # not listed
        ('{"status": 1, "data": [{"id": 41}, {"id": 4}]}', ("done", [41, 4])),
        ('{"status": 1, "data": {"id": 40300, "pnum', ("done", [41, 4, 7])),  # known before the call
    ],
)
async def test_ids_are_found_in_incomplete_answers(
    body: str, expected: tuple[str, list[int]], client: SmspvaClient, fake_server: FakeServer
) -> None:
    rows = [{**row_of("orders"), "id": it, "scode": "opt6", "pnumber": f"909603710{it}"} for it in (41, 4, 7)]
    sample = CALLS["orders"].sample
    fake_server.on("orders", sample, {"status": 1, "data": [*sample["data"], *rows]})
    fake_server.call(CALLS["create"], body)
    await client.orders()
    error = await unknown(CALLS["create"].make(client))
    assert await verdict(client, error) == expected


# -- several calls ---------------------------------------------------------------------------------------------------


@both_dialects
async def test_an_order_returned_to_another_caller_is_not_a_candidate(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        (bought,) = ids(sim)
        await client.rent("RU", "opt16", WEEK)
        await client.rent_multi("RU", ["opt16", "opt7"], WEEK)
        assert len(ids(sim)) == 4
        assert await verdict(client, error) == ("done", [bought])


@pytest.mark.parametrize(
    ("done", "more", "expected"),
    [([True, False], 0, "open"), ([True, True], 0, "done"), ([True, True], 1, "done"), ([False, False], 0, "open")],
    ids=["fewer orders", "as many", "more", "none"],
)
async def test_calls_are_done_if_there_are_orders_for_all_of_them(done: list[bool], more: int, expected: str) -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        for each in done:
            sim.faults.next("create", "lost", done=each)
        errors = [await unknown(client.rent("RU", "opt16", WEEK)) for _ in done]
        for _ in range(more):
            sim.add_order()
        for error in errors:
            assert await verdict(client, error) == (expected, ids(sim))
        client.settle(errors[0])  # a settled call still competes for its candidates
        assert await verdict(client, errors[1]) == (expected, ids(sim))


async def test_an_order_listed_twice_counts_once() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost")
        sim.faults.next("create", "lost", done=False)
        errors = [await unknown(client.rent("RU", "opt16", WEEK)) for _ in range(2)]
        sim.faults.next("orders", "duplicate", count=2)
        for error in errors:
            assert await verdict(client, error) == ("open", ids(sim))


async def test_calls_for_another_service_do_not_compete() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create", "lost", done=False)
        other = await unknown(client.rent("RU", "opt7", WEEK))
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("done", ids(sim))
        assert await verdict(client, other) == ("open", [])


@pytest.mark.parametrize("again", ["at once", "next start"])
async def test_a_settled_purchase_does_not_compete_for_later_orders(again: str, tmp_path: Path) -> None:
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


async def test_a_call_in_progress_competes_until_it_returns_an_order() -> None:
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


async def test_an_order_returned_during_reconcile_is_not_a_candidate() -> None:
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


# -- several services ------------------------------------------------------------------------------------------------


@both_dialects
async def test_rent_multi_is_done_if_each_service_has_an_order(dialect: Dialect) -> None:
    sim = Simulator(dialect=dialect)
    async with client_of(sim) as client:
        sim.faults.next("create_multi", "lost")
        error = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        assert await verdict(client, error) == ("done", ids(sim))
        sim.remove_order(ids(sim)[0])
        sim.add_order(service="opt7")
        assert await verdict(client, error) == ("open", ids(sim))


async def test_another_order_on_a_returned_number_is_not_a_candidate(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    rows = [{**row_of("orders"), "id": number, "scode": code} for number, code in ((5, "opt6"), (6, "opt20"))]
    fake_server.on("orders", {"status": 1, "data": []}, {"status": 1, "data": rows})
    rental = {"id": 5, "pnumber": "79096037108", "service": "opt6", "until": 1900000000}
    period = {"country": "RU", "dtype": "week", "dcount": "1"}
    fake_server.on("create_multi", {"status": 1, "data": rental}, services="opt6,opt20", **period)
    fake_server.on("create", httpx.ReadError("lost"), service="opt20", **period)
    await client.orders()
    assert [rental.id for rental in await client.rent_multi("RU", ["opt6", "opt20"], WEEK)] == [5]
    error = await unknown(client.rent("RU", "opt20", WEEK))
    assert await verdict(client, error) == ("open", [])


async def test_a_returned_order_with_only_an_id_is_not_a_candidate(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    rows = [{**row_of("orders"), "id": number, "scode": code} for number, code in ((5, "opt6"), (6, "opt20"))]
    fake_server.on("orders", {"status": 1, "data": []}, {"status": 1, "data": rows})
    good = {"id": 5, "pnumber": "79096037108", "service": "opt6", "until": 1900000000}
    period = {"country": "RU", "dtype": "week", "dcount": "1"}
    fake_server.on(
        "create_multi", {"status": 1, "data": [good, {"id": 6, "paid": True}]}, services="opt6,opt20", **period
    )
    fake_server.on("create", httpx.ReadError("lost"), service="opt20", **period)
    await client.orders()
    assert [rental.id for rental in await client.rent_multi("RU", ["opt6", "opt20"], WEEK)] == [5, 6]
    error = await unknown(client.rent("RU", "opt20", WEEK))
    assert await verdict(client, error) == ("open", [])


async def test_a_truncated_answer_names_some_of_several_orders() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create_multi", "half")
        error = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        for service in ("opt16", "opt7"):
            sim.add_order(service=service)  # on another number
        first, second = ids(sim)[:2]
        assert await verdict(client, error) == ("done", [first, second])


@pytest.mark.parametrize("end", ["lost", "half"])
@pytest.mark.parametrize("form", ["own_ids", "joined", "row_per_service", "one_row"])
async def test_rent_multi_is_found_in_every_list_format(form: MultiOrders, end: FaultName) -> None:
    sim = Simulator(dialect="contract")
    sim.behavior.multi_orders = form
    async with client_of(sim) as client:
        sim.faults.next("rent_multi", end)
        error = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        sim.add_order(service="opt16")  # on another number
        listed = [order.id for order in await client.orders() if order.id in ids(sim)][:-1]
        # One row with one of the services proves nothing, unless the answer named its order.
        expected = "open" if (form, end) == ("one_row", "lost") else "done"
        found, candidates = await verdict(client, error)
        assert found == expected
        assert {*listed} <= {*candidates}
        assert expected == "open" or candidates == listed


async def test_services_on_two_numbers_do_not_prove_rent_multi() -> None:
    sim = Simulator(dialect="contract")
    async with client_of(sim) as client:
        sim.faults.next("rent_multi", "lost", done=False)
        error = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        for service in ("opt16", "opt7"):
            sim.add_order(service=service)
        assert await verdict(client, error) == ("open", ids(sim))


async def test_rent_multi_competes_for_each_of_its_services() -> None:
    sim = Simulator()
    async with client_of(sim) as client:
        sim.faults.next("create_multi", "lost", done=False)
        several = await unknown(client.rent_multi("RU", ["opt16", "opt7"], WEEK))
        sim.faults.next("create", "lost")
        one = await unknown(client.rent("RU", "opt7", WEEK))
        assert await verdict(client, one) == ("open", ids(sim))
        assert await verdict(client, several) == ("open", ids(sim))
