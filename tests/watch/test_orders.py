"""Orders: their changes, and the removal of one that isn't listed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve

from smspva_async import (
    Event,
    MemoryJournal,
    Order,
    OrderAdded,
    OrderExpiring,
    OrderNotFound,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    RateLimited,
    RowSkipped,
    SkippedRow,
    SqliteJournal,
    StateChanged,
    Watcher,
)
from smspva_async.simulator import DialectName, Simulator
from tests.support.accounts import ORDERS, OUTAGE, START, Account, order, sms
from tests.support.watching import INTERVAL, kinds, polls, so_far, watching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

NOT_FOUND = OrderNotFound("there is no such order", msg="Order not found")
NAMELESS = SkippedRow("no id", {"state": 1})


async def removed(watcher: Watcher) -> list[OrderRemoved]:
    return [event for event in await so_far(watcher) if isinstance(event, OrderRemoved)]


# -- absences --------------------------------------------------------------------------------------------------------


async def test_an_order_missing_for_two_intervals_and_three_polls_is_removed_if_sms_does_not_find_it() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.remove(1)
        await polls(3)
        assert len(account.times()) == 4
        await polls(1)
        assert watcher.orders.keys() == {2}
        (event,) = await removed(watcher)
        assert event == OrderRemoved(order(1), expired=False, seq=event.seq, id=event.id, at=event.at, order_id=1)
        entered, missed = account.times()[:2]
        seconds = (event.at - START).total_seconds() - (missed - entered)
        assert 2 * INTERVAL <= seconds < 2 * INTERVAL + 5


async def test_a_missing_order_whose_messages_can_be_read_is_removed_after_ten_minutes() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.drop(1)
        await anyio.sleep(600)
        assert watcher.orders.keys() == {1, 2}
        await polls(2)
        assert watcher.orders.keys() == {2}
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderAdded", "OrderRemoved"]


@pytest.mark.parametrize(
    "failure", [OUTAGE, ValueError("what?"), TimeoutError(), RateLimited("slow", msg="slow")], ids=repr
)
async def test_no_other_failure_of_sms_confirms_a_removal(failure: Exception) -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.drop(1)
        account.failures[1] = failure
        await polls(15)
        assert watcher.orders.keys() == {1, 2}


async def test_with_a_long_interval_a_removal_needs_five_polls() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account, interval=900) as watcher:
        await anyio.sleep(1)
        account.drop(1)
        await polls(4, 900)
        assert watcher.orders.keys() == {1, 2}
        await polls(1, 900)
        assert watcher.orders.keys() == {2}


async def test_an_answer_to_an_earlier_sms_request_confirms_no_removal() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        await anyio.sleep(5)
        account.drop(1)
        account.failures[1] = NOT_FOUND
        account.seconds[1] = 55  # sent when the order was missing for the first time
        await anyio.sleep(40)
        del account.failures[1]
        account.messages[1] = [sms("it is there", None)]
        account.seconds.clear()
        await polls(5)
        assert watcher.orders.keys() == {1, 2}
        account.listed.append(order(1))
        await polls(2)
        assert await removed(watcher) == []


@pytest.mark.parametrize(("days", "known"), [(89, [1]), (91, [])])
async def test_a_removed_order_is_forgotten_after_ninety_days(days: int, known: list[int]) -> None:
    account, journal = Account(order(1), order(2)), MemoryJournal()
    account.messages[1] = [sms("code", 5)]
    async with Watcher(account, journal=journal, interval=3600) as watcher:
        await polls(2, 3600)
        account.remove(1)
        await polls(5, 3600)
        assert watcher.orders.keys() == {2}
        await polls(days * 24, 3600)
    state = await journal.open(None)
    assert state is not None
    assert list(state.removed) == known


@pytest.mark.parametrize("absences", [1, 2])
async def test_an_order_that_returns_sooner_is_not_removed(absences: int) -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for _ in range(5):
            account.listed = []
            await polls(absences)
            account.listed = [order()]
            await polls(1)
        assert kinds(await so_far(watcher)) == ["OrderAdded"]
        assert watcher.orders == {1: order()}


async def test_eager_polls_do_not_shorten_the_absence_that_a_removal_needs() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:

        async def wait_for_ever() -> None:
            await watcher.wait_for_state(2, OrderState.ACTIVE, timeout=10_000)

        tasks.start_soon(wait_for_ever)
        await anyio.sleep(5)
        account.remove(1)
        await anyio.sleep(60)
        assert len(account.times(ORDERS)) > 6
        assert watcher.orders.keys() == {1, 2}
        await anyio.sleep(20)
        assert watcher.orders.keys() == {2}
        tasks.cancel_scope.cancel()


async def test_a_long_absence_needs_three_polls_too() -> None:
    account = Account(order())
    async with Watcher(account, interval=100) as watcher:
        await polls(1, 100)
        account.remove(1)
        await polls(1, 100)
        account.seconds[ORDERS] = 199
        await anyio.sleep(310)  # the second poll without it was answered three intervals after the first
        assert watcher.orders.keys() == {1}
        await anyio.sleep(200)
        assert watcher.orders.keys() == set()


async def test_a_failed_poll_does_not_count_as_an_absence() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.listed = []
        await polls(1)  # missing once
        account.failures[ORDERS] = OUTAGE
        await polls(20)
        account.failures.clear()
        await polls(1)  # missing twice
        assert watcher.orders.keys() == {1}
        account.listed = [order()]
        await polls(2)
        assert await removed(watcher) == []


async def test_an_order_that_expires_is_removed_like_any_other() -> None:
    account = Account(order(until=START + timedelta(seconds=45)))
    async with Watcher(account) as watcher:
        await polls(3)
        assert watcher.orders.keys() == {1}  # still listed, so not removed
        account.remove(1)
        await polls(2)
        assert await removed(watcher) == []
        await polls(2)
        (event,) = await removed(watcher)
        assert event.expired
        assert watcher.orders == {}


async def test_an_order_that_expires_while_missing_is_reported_as_expired() -> None:
    account = Account(order(until=START + timedelta(seconds=50)))
    async with Watcher(account) as watcher:
        account.remove(1)
        await polls(4)
        (event,) = await removed(watcher)
        assert event.expired


async def test_a_removal_tells_an_expired_order_from_a_deleted_one() -> None:
    sim = Simulator(dialect="live")
    expiring = sim.add_order(until=sim.now + timedelta(seconds=70)).id
    deleted = sim.add_order().id
    async with watching(sim) as watcher:
        await polls(1)
        sim.remove_order(deleted)
        await polls(5)
        assert {event.order_id: event.expired for event in await removed(watcher)} == {expiring: True, deleted: False}


async def test_order_not_found_is_not_a_failure_while_the_order_is_missing() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        await anyio.sleep(5)
        account.remove(1)
        await polls(2)
        assert watcher.orders.keys() == {1, 2}
        await polls(2)
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderAdded", "OrderRemoved"]


async def test_order_not_found_is_a_failure_while_the_order_is_listed() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.failures[1] = NOT_FOUND
        await polls(10)
        event = (await so_far(watcher))[-1]
        assert isinstance(event, PollFailed)
        assert (event.order_id, event.kind) == (1, "OrderNotFound")
        assert watcher.orders.keys() == {1}


async def test_byte_identical_answers_are_good_polls() -> None:
    sim = Simulator(dialect="page")
    order_id = sim.add_order(state=-1).id
    async with watching(sim) as watcher:
        sim.remove_order(order_id)  # from now on every answer is the empty list
        sim.faults.always("sms", "http_500")
        await anyio.sleep(800)
        assert len(await removed(watcher)) == 1
        before = watcher.last_success
        await polls(1)
        assert before is not None
        assert watcher.last_success is not None
        assert watcher.last_success > before


async def test_an_order_that_returns_is_added_again() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        await anyio.sleep(5)
        account.remove(1)
        await polls(5)
        account.listed, account.failures = [order(state=OrderState.ACTIVE)], {}
        await polls(1)
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderRemoved", "OrderAdded"]
        assert watcher.orders[1].state is OrderState.ACTIVE


# -- rows that can't be read -----------------------------------------------------------------------------------------


async def test_a_row_with_an_id_counts_as_present_and_unchanged() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.drop(1)
        account.skipped = [SkippedRow("no state", {"id": 1}, 1)]
        await polls(30)
        assert watcher.orders == {1: order(1), 2: order(2)}
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderAdded", "RowSkipped"]


async def test_absences_do_not_count_while_a_row_has_no_id() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.remove(1)
        account.skipped = [NAMELESS]
        await polls(30)
        assert watcher.orders.keys() == {1, 2}
        account.skipped = []
        await polls(1)
        assert watcher.orders.keys() == {1, 2}
        await polls(4)
        assert watcher.orders.keys() == {2}


async def test_each_unreadable_row_is_reported_once() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.skipped = [NAMELESS]
        await polls(3)
        account.skipped = [NAMELESS, SkippedRow("no id", {"state": 2})]
        await polls(3)
        account.skipped = []
        await polls(1)
        account.skipped = [NAMELESS]
        await polls(1)
        raw = [event.raw for event in await so_far(watcher) if isinstance(event, RowSkipped)]
        assert raw == [{"state": 1}, {"state": 2}]


async def test_an_unreadable_row_whose_values_change_is_reported_once() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for number in range(5):
            account.skipped = [evolve(NAMELESS, raw={"lastonline": number})]
            await polls(1)
        assert kinds(await so_far(watcher)) == ["OrderAdded", "RowSkipped"]


@pytest.mark.parametrize("fault", ["nameless_row", "flapping", "empty", "duplicate"])
@pytest.mark.parametrize("dialect", ["page", "live"])
async def test_a_corrupt_answer_removes_nothing(dialect: DialectName, fault: Any) -> None:
    sim = Simulator(dialect=dialect)
    orders = {sim.add_order().id for _ in range(3)}
    async with watching(sim) as watcher:
        sim.faults.next("orders", fault, count=2)
        await polls(4)
        assert watcher.orders.keys() == orders
        assert {type(event) for event in await so_far(watcher)} <= {OrderAdded, RowSkipped}


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
async def test_a_row_with_only_a_readable_id_is_an_order_with_unknown_fields(dialect: DialectName) -> None:
    sim = Simulator(dialect=dialect)
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        before = watcher.orders[order_id]
        sim.faults.next("orders", "bad_row")
        await polls(1)
        spoilt = watcher.orders[order_id]
        assert (spoilt.services, spoilt.state, spoilt.phone) == ((), OrderState.UNKNOWN, "")
        assert {spoilt.raw_state, spoilt.has_new_sms, spoilt.until, spoilt.can_prolong} == {None}
        await polls(5)
        assert watcher.orders == {order_id: before}
        assert kinds(await so_far(watcher)) == ["OrderAdded", *["StateChanged", "OrderUpdated"] * 2]


async def test_an_answer_without_a_readable_row_is_a_failure() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        sim.faults.always("orders", "nameless_row")
        await polls(10)
        event = (await so_far(watcher))[-1]
        assert isinstance(event, PollFailed)
        assert (event.kind, event.order_id) == ("UnexpectedResponse", None)
        assert watcher.orders.keys() == {order_id}


# -- changes ---------------------------------------------------------------------------------------------------------


async def changes(before: Order, *then: Order) -> list[Event]:
    """Return the events of an order that is listed in one form, then in another."""
    account = Account(before)
    async with Watcher(account) as watcher:
        for now in then:
            account.listed = [now]
            await polls(1)
            assert watcher.orders == {now.id: now}
        return (await so_far(watcher))[1:]


async def test_states_between_polls_are_not_reported() -> None:
    active = order(state=OrderState.ACTIVE)
    (event,) = await changes(order(state=OrderState.INACTIVE), active)
    assert isinstance(event, StateChanged)
    assert (event.order, event.previous, event.current) == (active, OrderState.INACTIVE, OrderState.ACTIVE)


@pytest.mark.parametrize("dialect", ["page", "live"])
async def test_each_state_change_of_a_number_is_reported(dialect: DialectName) -> None:
    sim = Simulator(dialect=dialect)
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        sim.set_state(order_id, 2)
        await anyio.sleep(3600)
        steps = [(e.previous, e.current) for e in await so_far(watcher) if isinstance(e, StateChanged)]
        assert steps == [(0, 2), (2, 1), (1, 0)]


async def test_unknown_states_are_distinguished() -> None:
    states = [order(state=OrderState.UNKNOWN, raw_state=number) for number in (7, 8, 8)]
    events = await changes(order(state=OrderState.ACTIVE), *states)
    assert [(e.previous, e.current, e.order.raw_state) for e in events if isinstance(e, StateChanged)] == [
        (OrderState.ACTIVE, OrderState.UNKNOWN, 7),
        (OrderState.UNKNOWN, OrderState.UNKNOWN, 8),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"services": ("opt1",)},
        {"services": ("opt16", "opt29")},
        {"services": ()},
        {"phone": "+79090000002"},
        {"phone": ""},
        {"country": "KZ"},
        {"until": START + timedelta(days=14)},
        {"until": None},
        {"can_prolong": True},
        {"can_prolong_days": 30},
        {"can_prolong_until": START + timedelta(days=30)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_an_update_has_the_order_and_the_previous_one(change: dict[str, Any]) -> None:
    (event,) = await changes(order(), order(**change))
    assert isinstance(event, OrderUpdated)
    assert (event.order, event.previous, event.order_id) == (order(**change), order(), 1)


@pytest.mark.parametrize(
    "change",
    [
        {"last_online": START},
        {"has_new_sms": True},
        {"has_new_sms": None},
        {"service_name": "Facebook"},
        {"extra": {"provider": "B"}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_other_changes_are_seen_but_not_reported(change: dict[str, Any]) -> None:
    assert await changes(order(), order(**change)) == []


async def test_a_state_change_comes_before_the_update() -> None:
    after = order(state=OrderState.ACTIVATING, until=START + timedelta(days=8))
    assert kinds(await changes(order(), after)) == ["StateChanged", "OrderUpdated"]


async def test_orders_change_together_with_the_cursor_and_only_by_the_watcher() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        events = watcher.events(after=watcher.cursor)
        for state in (OrderState.ACTIVATING, OrderState.ACTIVE, OrderState.INACTIVE):
            account.listed = [order(state=state)]
            event = await anext(events)
            assert isinstance(event, StateChanged)
            assert (watcher.cursor, watcher.orders[1].state) == (event.seq, event.current)
        with pytest.raises(TypeError):
            watcher.orders[2] = order(2)  # type: ignore[index]


async def test_a_can_prolong_until_that_moves_with_the_clock_is_not_a_change() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for _ in range(100):
            moving = START + timedelta(days=30, seconds=round(anyio.current_time()))
            account.change(1, can_prolong_until=moving)
            await polls(1)
            assert watcher.orders[1].can_prolong_until == moving
        assert kinds(await so_far(watcher)) == ["OrderAdded", "OrderUpdated"]  # None before
        account.change(1, can_prolong_until=START + timedelta(days=37))
        await polls(1)
        account.change(1, can_prolong_until=START + timedelta(days=36))
        await polls(1)
        assert kinds(await so_far(watcher))[2:] == ["OrderUpdated"] * 2


@pytest.mark.parametrize("between", ["a restart", "an outage", "a long interval"])
async def test_a_can_prolong_until_that_moves_during_a_restart_or_an_outage_is_not_a_change(
    between: str, tmp_path: Path
) -> None:
    class Moving(Account):
        async def orders(self) -> Sequence[Order]:
            self.change(1, can_prolong_until=START + timedelta(days=30, seconds=round(anyio.current_time())))
            return await super().orders()

    account, interval = Moving(order()), 1800 if between == "a long interval" else INTERVAL
    account.clock = lambda: START + timedelta(seconds=anyio.current_time())
    for run in range(2):
        async with Watcher(account, journal=SqliteJournal(tmp_path / "journal"), interval=interval) as watcher:
            await anyio.sleep(3600)
            if between == "an outage":
                account.failures[ORDERS] = OUTAGE
                await anyio.sleep(600)
                account.messages[1].append(sms(f"message {run}", 3600))
                await anyio.sleep(60)
                account.failures.clear()
                await anyio.sleep(60)
            assert "OrderUpdated" not in kinds(await so_far(watcher))
        account.messages[1].append(sms(f"between {run}", 5000))


# -- the end of a rental ---------------------------------------------------------------------------------------------


async def expiring(watcher: Watcher) -> list[tuple[int | None, float]]:
    """Return the orders of `OrderExpiring` events, each with the hours left."""
    return [
        (event.order_id, event.left.total_seconds() / 3600)
        for event in await so_far(watcher)
        if isinstance(event, OrderExpiring)
    ]


async def test_an_expiring_order_is_reported_once_a_day_before_its_end() -> None:
    account = Account(order(until=START + timedelta(hours=25)))
    async with Watcher(account, interval=300) as watcher:
        await anyio.sleep(3000)
        assert await expiring(watcher) == []
        await anyio.sleep(1200)
        ((order_id, hours),) = await expiring(watcher)
        assert order_id == 1
        assert 23.9 < hours <= 24
        await anyio.sleep(30 * 3600)
        assert len(await expiring(watcher)) == 1
        account.change(1, until=START + timedelta(hours=80))
        await anyio.sleep(40 * 3600)
        assert [round(hours) for _, hours in await expiring(watcher)] == [24, 24]


async def test_an_expiring_order_is_reported_at_the_start_after_the_order_itself() -> None:
    account = Account(order(1, until=START + timedelta(hours=2)), order(2), order(3, until=None))
    async with Watcher(account) as watcher:
        assert kinds(await so_far(watcher)) == ["OrderAdded"] * 3 + ["OrderExpiring"]
    async with Watcher(Account(order(1, until=START - timedelta(hours=2)))) as watcher:
        assert await expiring(watcher) == [(1, 0)]


async def test_a_restart_repeats_no_expiry_notice() -> None:
    account, journal = Account(order(until=START + timedelta(hours=2))), MemoryJournal()
    for _ in range(3):
        async with Watcher(account, journal=journal):
            await polls(2)
    assert len(await expiring_in(journal)) == 1


async def expiring_in(journal: MemoryJournal) -> list[Event]:
    return [event for event in await journal.read(0, 1000) if isinstance(event, OrderExpiring)]


async def test_an_end_that_moves_back_and_forth_is_reported_once_per_value() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for number in range(10):
            account.change(1, until=START + timedelta(hours=3 + number % 2))
            await polls(1)
        assert len(await expiring(watcher)) <= 2


async def test_a_changed_expiry_notice_applies_from_the_start_of_the_next_run() -> None:
    account, journal = Account(order(until=START + timedelta(hours=2))), MemoryJournal()
    async with Watcher(account, journal=journal, expiry_notice=None):
        await polls(2)
    async with Watcher(account, journal=journal) as watcher:
        assert len(await expiring(watcher)) == 1


@pytest.mark.parametrize(("notice", "announced"), [(None, 0), (timedelta(0), 0), (timedelta(days=4), 1)])
async def test_the_expiry_notice_is_a_setting(notice: timedelta | None, announced: int) -> None:
    account = Account(order(until=START + timedelta(days=3)))
    async with Watcher(account, expiry_notice=notice) as watcher:
        await polls(3)
        assert len(await expiring(watcher)) == announced


@pytest.mark.parametrize("notice", [timedelta(days=-1), 3600, "1d"])
async def test_an_invalid_expiry_notice_is_rejected(notice: Any) -> None:
    with pytest.raises(ValueError, match="expiry_notice must be a timedelta"):
        Watcher(Account(), expiry_notice=notice)


@pytest.mark.parametrize("until", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
async def test_the_latest_possible_end_causes_no_error(until: datetime) -> None:
    async with Watcher(Account(order(until=until))) as watcher:
        await polls(3)
        assert watcher.orders.keys() == {1}
