"""Numbers with several services, in every form that `orders` may have, and orders with unknown fields."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING, get_args

import anyio
import pytest
from attrs import evolve

from smspva_async import (
    Order,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    Rows,
    SkippedRow,
    SmspvaClient,
    SmsReceived,
    SqliteJournal,
    StateChanged,
    Watcher,
)
from smspva_async.simulator import DialectName, MultiOrders, Simulator
from tests.support.accounts import START, Account, order, sms
from tests.support.watching import kinds, polls, so_far, texts, watching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

SERVICES = ["opt29", "opt16"]
WATCHED: dict[MultiOrders, list[tuple[str, ...]]] = {
    "own_ids": [("opt29",), ("opt16",)],
    "joined": [("opt16", "opt29")],
    "row_per_service": [("opt16", "opt29")],
    "one_row": [("opt29",)],
}
"""The services of a watcher's orders of one number."""

each_form = pytest.mark.parametrize("form", get_args(MultiOrders))
each_dialect = pytest.mark.parametrize("dialect", get_args(DialectName))


async def rented(form: MultiOrders, dialect: DialectName) -> Simulator:
    """Return a simulator whose account has rented a number for several services."""
    sim = Simulator(seed=4, dialect=dialect)
    sim.behavior.multi_orders = form
    async with SmspvaClient("any-key", transport=sim.transport()) as client:
        await client.rent_multi("RU", SERVICES)
    return sim


# -- through the client ----------------------------------------------------------------------------------------------


@each_dialect
@each_form
async def test_unchanged_rows_in_any_form_cause_no_update(form: MultiOrders, dialect: DialectName) -> None:
    sim = await rented(form, dialect)
    async with watching(sim) as watcher:
        await polls(20)
        assert [order.services for order in watcher.orders.values()] == WATCHED[form]
        assert {order.phone for order in watcher.orders.values()} == {sim.orders[0].phone}
        assert kinds(await so_far(watcher)) == ["OrderAdded"] * len(WATCHED[form])


@each_dialect
@each_form
async def test_each_form_of_the_rows_reports_messages_and_state_changes_once(
    form: MultiOrders, dialect: DialectName
) -> None:
    sim = await rented(form, dialect)
    ids = [order.id for order in sim.orders]
    async with watching(sim) as watcher:
        baseline = watcher.cursor
        for number in range(3):
            for order_id in ids:
                sim.deliver(order_id, f"code {number}{number}{number}{number} of {order_id}")
            await polls(2)
        await polls(20)
        sent = [f"code {number}{number}{number}{number} of {order_id}" for order_id in ids for number in range(3)]
        events = await so_far(watcher, after=baseline)
        assert sorted(texts(events)) == sorted(sent)
        assert {type(event) for event in events} == {SmsReceived}
        baseline = watcher.cursor
        sim.set_state(ids[0], -1)
        await polls(5)
        (event,) = await so_far(watcher, after=baseline)
        assert isinstance(event, StateChanged)
        assert (event.order_id, event.current) == (ids[0], OrderState.ABSENT)


@each_form
async def test_each_form_of_the_rows_survives_a_restart(form: MultiOrders, tmp_path: Path) -> None:
    sim = await rented(form, "contract")
    for _ in range(3):
        async with watching(sim, journal=SqliteJournal(tmp_path / "journal.db")) as watcher:
            await polls(3)
            assert [order.services for order in watcher.orders.values()] == WATCHED[form]
            assert kinds(await so_far(watcher)) == ["OrderAdded"] * len(WATCHED[form])


@each_dialect
async def test_a_server_that_lists_the_services_in_another_form_is_one_update(dialect: DialectName) -> None:
    sim = await rented("one_row", dialect)
    async with watching(sim) as watcher:
        for form in ("joined", "row_per_service", "joined"):
            sim.behavior.multi_orders = form
            await polls(3)
        _, event = await so_far(watcher)
        assert isinstance(event, OrderUpdated)
        assert (event.previous.services, event.order.services) == (("opt29",), ("opt16", "opt29"))


# -- rows of another source ------------------------------------------------------------------------------------------

MERGED = order(services=("opt16", "opt29", "opt7"))
ROWS = [
    order(services=("opt16",)),
    order(services=("opt29",), service_name="Telegram"),
    order(services=("opt7",), service_name="Wirex"),
]


async def test_rows_with_one_id_are_one_order_in_any_sequence() -> None:
    other = order(2)
    account = Account(*ROWS, other)
    async with Watcher(account) as watcher:
        for rows in permutations(ROWS):
            account.listed = [rows[0], other, *rows[1:]]
            await polls(1)
            assert watcher.orders == {1: MERGED, 2: other}
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderAdded"]
        account.messages[1] = [sms("one", 300)]
        await polls(5)
        assert texts(await so_far(watcher)) == ["one"]


async def test_merged_rows_keep_skipped_rows_and_the_date() -> None:
    account = Account(*ROWS)
    account.clock = lambda: START + timedelta(days=1)
    account.skipped = [SkippedRow("no id", {"state": 1})]
    async with Watcher(account) as watcher:
        events = await so_far(watcher)
        assert sorted(kinds(events)) == ["OrderAdded", "RowSkipped"]
        assert {event.at - timedelta(days=1) - START < timedelta(seconds=2) for event in events} == {True}


@pytest.mark.parametrize(
    ("rows", "merged"),
    [
        ([order(has_new_sms=None), order(has_new_sms=True), order()], order(has_new_sms=True)),
        ([order(has_new_sms=None), order()], order(has_new_sms=False)),
        ([order(has_new_sms=None)] * 2, order(has_new_sms=None)),
        ([order(until=None), order(until=START), order()], order()),
        ([order(until=None)] * 2, order(until=None)),
        ([order(state=OrderState.ABSENT), order(state=OrderState.ACTIVATING)], order(state=OrderState.ACTIVATING)),
        ([order(state=OrderState.ACTIVE), order(state=OrderState.INACTIVE)], order(state=OrderState.ACTIVE)),
        ([order(), order(state=OrderState.UNKNOWN, raw_state=7)], order()),
        ([order(services=()), order(services=("opt29", "opt16"))], order(services=("opt16", "opt29"))),
    ],
    ids=lambda value: "" if isinstance(value, Order) else None,
)
async def test_rows_with_one_id_merge_into_the_best_state_and_the_latest_end(
    rows: Sequence[Order], merged: Order
) -> None:
    account = Account(*rows)
    async with Watcher(account) as watcher:
        for listed in permutations(rows):
            account.listed = [*listed]
            await polls(1)
            assert watcher.orders == {1: merged}
        assert kinds(await so_far(watcher)) == ["OrderAdded"]


async def test_a_flag_of_one_row_is_the_flag_of_the_number() -> None:
    account = Account(*ROWS, *(order(order_id) for order_id in range(2, 40)))
    async with Watcher(account) as watcher:
        await polls(3)
        account.messages[1] = [sms("one", 100)]
        account.listed[1] = evolve(account.listed[1], has_new_sms=True)
        await polls(2)
        assert texts(await so_far(watcher)) == ["one"]


async def test_lists_and_rows_are_merged_alike() -> None:
    class Source(Account):
        async def orders(self) -> Sequence[Order]:
            return Rows(await super().orders())

    async with Watcher(Source(*ROWS)) as watcher:
        await polls(2)
        assert watcher.orders == {1: MERGED}


# -- orders with unknown fields --------------------------------------------------------------------------------------


async def test_an_order_with_unknown_fields_is_the_same_after_a_restart(tmp_path: Path) -> None:
    known = Order(1, (), "", OrderState.UNKNOWN, "", "", has_new_sms=None, until=None, raw_state=None)
    account = Account(known, order(2, services=("opt16", "opt29"), raw_state="0"))
    for _ in range(3):
        async with Watcher(account, journal=SqliteJournal(tmp_path / "journal.db")) as watcher:
            await polls(3)
            assert [*watcher.orders.values()] == account.listed
            assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderAdded"]


async def test_an_order_without_an_end_never_counts_as_expired() -> None:
    account = Account(order(1, until=None), order(2, until=START + timedelta(seconds=45)))
    account.clock = lambda: START + timedelta(days=1000, seconds=anyio.current_time())
    async with Watcher(account) as watcher:
        await polls(2)
        account.remove(1)
        account.remove(2)
        await polls(5)
        assert watcher.orders == {}
        removed = [event for event in await so_far(watcher) if isinstance(event, OrderRemoved)]
        assert {event.order_id: event.expired for event in removed} == {1: False, 2: True}


async def test_an_order_without_a_flag_is_read_in_turn_and_its_messages_are_reported_once() -> None:
    account = Account(order(has_new_sms=None), order(2))
    account.messages[1] = [sms("old", -1000)]
    async with Watcher(account) as watcher:
        for number in range(3):
            account.messages[1].insert(0, sms(f"new {number}", 60 * number + 1))
            await polls(2)
        assert texts(await so_far(watcher)) == ["new 0", "new 1", "new 2"]
        assert kinds(await so_far(watcher)).count("OrderUpdated") == 0


async def test_a_flag_that_is_missing_at_times_is_not_an_event() -> None:
    account = Account(order(has_new_sms=None))
    async with Watcher(account) as watcher:
        for flag in (False, None, True, None, True, False):
            account.change(1, has_new_sms=flag)
            await polls(1)
            assert watcher.orders[1].has_new_sms is flag
        assert kinds(await so_far(watcher)) == ["OrderAdded"]


async def test_a_flag_that_is_set_after_it_was_unknown_has_risen() -> None:
    account = Account(order(has_new_sms=None), *(order(order_id) for order_id in range(2, 100)))
    async with Watcher(account) as watcher:
        await polls(2)
        account.messages[1] = [sms("one", 70)]
        before = len(account.times(1))
        account.change(1, has_new_sms=True)
        await polls(1)
        assert len(account.times(1)) > before
        assert texts(await so_far(watcher)) == ["one"]
