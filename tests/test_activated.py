"""A number that is kept active while somebody uses it: entering, messages inside, lapsing, and what goes wrong."""

from __future__ import annotations

import asyncio
import pickle
from collections import defaultdict
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from smspva_async import (
    ApiError,
    ClientClosed,
    InvalidKey,
    Lagged,
    MemoryJournal,
    OrderGone,
    OrderState,
    Pace,
    Period,
    Retry,
    Sms,
    SmspvaClient,
    SmspvaError,
    SqliteJournal,
    WaitTimeout,
    Watcher,
    WatcherClosed,
)
from smspva_async.simulator import Simulator
from tests.watching import (
    HANGS,
    ORDERS,
    OUTAGE,
    START,
    Account,
    SlowJournal,
    gaps,
    order,
    polls,
    sms,
    so_far,
    texts,
    watching,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from smspva_async import ActiveNumber, Event, Journal, Order
    from smspva_async.simulator import FaultName

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])

INACTIVE, ACTIVE, ACTIVATING = OrderState.INACTIVE, OrderState.ACTIVE, OrderState.ACTIVATING
ACTIVATE = 0
"""`Numbers` names by this its call that asks for an activation."""
ACTIVATION, STAY = 110.0, 240.0
"""Seconds that a simulated number waits to be active, and then is."""
TWO_MINUTES = 120.0
STEPS = 40
"""More steps of the scheduler than anything here takes."""


class Numbers(Account):
    """An account whose numbers can be activated, and then are in a state of the test's choice."""

    def __init__(self, *orders: Order, becomes: OrderState = ACTIVE) -> None:
        super().__init__(*orders)
        self.becomes = becomes
        self._news = defaultdict[int | None, anyio.Event](anyio.Event)

    async def activate(self, order_id: int) -> None:
        await self._asked(ACTIVATE)
        self.change(order_id, state=self.becomes)

    async def _asked(self, what: int | None) -> None:
        self._news.pop(what, anyio.Event()).set()
        await super()._asked(what)

    async def call(self, what: int | None) -> None:
        """Wait until a call is made."""
        await self._news[what].wait()


class SlowReads(SlowJournal):
    """A journal that takes its time for reading as well."""

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        await anyio.lowlevel.checkpoint()
        found = await super().read(after, limit)
        await anyio.lowlevel.checkpoint()
        return found


@pytest.fixture
def sim() -> Iterator[Simulator]:
    sim = Simulator(activation=(ACTIVATION, ACTIVATION), active=(STAY, STAY))
    yield sim
    assert sim.violations == []


def asked(sim: Simulator, method: str, order_id: int | None = None) -> list[float]:
    """Return when a call was made."""
    return [
        request.time
        for request in sim.requests
        if request.method == method and (order_id is None or request.params["id"] == str(order_id))
    ]


def seconds(sim: Simulator) -> float:
    """Return the simulator's clock."""
    return (sim.now - START).total_seconds()


async def steps(count: int) -> None:
    """Let everybody run for some steps of the scheduler."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def held(
    entering: AbstractAsyncContextManager[ActiveNumber], given: list[Sms] | None = None, seconds: float = 10_000
) -> None:
    """Be inside for some seconds, and take every message meanwhile."""
    async with entering as number:
        with anyio.move_on_after(seconds):
            while True:
                message = await number.next_sms(timeout=HANGS)
                if given is not None:
                    given.append(message)


async def entered(entering: AbstractAsyncContextManager[object]) -> None:
    """Enter and leave."""
    async with entering:
        pass


async def raising(entering: AbstractAsyncContextManager[object], error: Exception) -> None:
    """Enter and raise an error inside."""
    async with entering:
        raise error


async def rest(number: ActiveNumber, seconds: float = 61) -> list[str]:
    """Return the messages that are given within some seconds."""
    given = list[str]()
    with anyio.move_on_after(seconds):
        while True:
            given.append((await number.next_sms()).text)
    return given


async def assert_nothing_is_kept(sim: Simulator) -> None:
    """See the watch poll as if nobody waited for anything, nor wanted a number active."""
    await polls(1)
    sim.requests.clear()
    await polls(10)
    assert asked(sim, "activate") == []
    assert len(asked(sim, "orders")) <= 10


# -- entering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["page", "live"])
async def test_a_number_is_activated_and_waited_for(dialect: Any) -> None:
    sim = Simulator(dialect=dialect)
    simulated = sim.add_order()
    async with watching(sim) as watcher:
        async with watcher.activated(simulated.id) as number:
            assert simulated.state == 1
            assert (number.order.id, number.order.state) == (simulated.id, ACTIVE)
            assert number.order == watcher.orders[simulated.id]
            assert number.phone == simulated.phone
            assert simulated.phone in repr(number)
            sim.deliver(simulated.id, "code 671 094", network=True)
            assert (await number.next_sms()).code == "671094"
        assert len(asked(sim, "activate")) == 1
    assert sim.violations == []


@pytest.mark.parametrize("always_active", [False, True])
async def test_one_that_is_active_is_not_activated(sim: Simulator, *, always_active: bool) -> None:
    order_id = sim.add_order(state=1, always_active=always_active).id
    async with watching(sim) as watcher:
        before = anyio.current_time()
        async with watcher.activated(order_id) as number:
            assert number.order.state is ACTIVE
            assert anyio.current_time() - before < 10
        assert asked(sim, "activate") == []


async def test_one_that_is_always_active_is_never_activated(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    async with watching(sim) as watcher, watcher.activated(order_id):
        await anyio.sleep(2000)
    assert asked(sim, "activate") == []


async def test_one_that_is_being_activated_is_waited_for(sim: Simulator) -> None:
    order_id = sim.add_order(state=2).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        assert number.order.state is ACTIVE
        assert ACTIVATION <= seconds(sim) < ACTIVATION + 30
        assert asked(sim, "activate") == []


async def test_the_orders_are_asked_for_and_the_messages_read_before_it_is_activated(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        await anyio.sleep(70)  # between two polls
        sim.requests.clear()
        before = seconds(sim)
        async with watcher.activated(order_id):
            pass
    methods = [request.method for request in sim.requests]
    assert methods[:3] == ["orders", "sms", "activate"]
    assert asked(sim, "activate")[0] - before < 10


@pytest.mark.parametrize(("kind", "seconds"), [(ORDERS, 20), (1, 20), (ORDERS, 50), (1, 50)])
async def test_an_answer_that_was_asked_for_before_is_not_what_counts(kind: int | None, seconds: float) -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher:
        await polls(1)
        account.calls.clear()
        account.seconds[kind] = seconds
        await account.call(kind)
        await anyio.sleep(1)
        account.seconds.clear()  # the one that is under way takes long, later ones don't
        before = anyio.current_time()
        async with watcher.activated(1):
            assert any(time >= before for time in account.times(ORDERS))
            assert any(time >= before for time in account.times(1))


async def test_entering_does_not_wait_for_the_next_poll_however_seldom_those_are() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account, interval=600, eager_interval=600) as watcher:
        await anyio.sleep(300)
        before = anyio.current_time()
        async with watcher.activated(1):
            assert anyio.current_time() - before < 10


async def test_what_another_order_received_is_not_what_counts() -> None:
    account = Numbers(order(1), order(2, ACTIVE))
    async with Watcher(account) as watcher:
        account.failures[1] = OUTAGE
        with pytest.raises(WaitTimeout, match="the server is down"):
            await entered(watcher.activated(1, timeout=100))
        await entered(watcher.activated(2, timeout=100))
        assert account.times(ACTIVATE) == []


async def test_one_that_only_seemed_active_is_activated(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        sim.set_state(order_id, 0)
        assert watcher.orders[order_id].state is ACTIVE
        async with watcher.activated(order_id):
            assert sim.order(order_id).state == 1
        assert len(asked(sim, "activate")) == 1


async def test_a_purchase_that_is_listed_late_is_waited_for(sim: Simulator) -> None:
    sim.switches.listing_delay = 300
    country = next(code for code, home in sim.catalogue.items() if home.activation == "on_demand")
    service = next(iter(sim.catalogue[country].offers))
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        rental = await client.rent(country, service, Period.weeks(1))
        async with watcher.activated(rental.id) as number:
            assert 300 + ACTIVATION <= seconds(sim) < 300 + ACTIVATION + 60
            assert number.phone == rental.phone
        assert len(asked(sim, "activate")) == 1


async def test_one_that_is_never_listed(sim: Simulator) -> None:
    async with watching(sim) as watcher:
        with pytest.raises(WaitTimeout, match="never listed"):
            await entered(watcher.activated(7, timeout=100))
        await assert_nothing_is_kept(sim)


async def test_not_found_at_first_is_not_the_end_of_it(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.next("activate", "refusal", msg="Order not found", count=3)
    async with watching(sim) as watcher:
        async with watcher.activated(order_id):
            assert sim.order(order_id).state == 1
        times = asked(sim, "activate")
        assert len(times) == 4
        assert max(gaps(times)) < 15  # at the next poll


@pytest.mark.parametrize("fault", ["refused", "lost", "http_500", "html_502", "html", "too_many", "http_429"])
async def test_a_failure_that_passes_is_not_the_end_of_it(sim: Simulator, fault: FaultName) -> None:
    order_id = sim.add_order().id
    sim.faults.next("activate", fault, count=3, done=False)
    async with (
        SmspvaClient("key", transport=sim.transport(), retry=Retry(attempts=1)) as client,
        Watcher(client) as watcher,
    ):
        async with watcher.activated(order_id):
            assert sim.order(order_id).state == 1
        times = asked(sim, "activate")
        assert len(times) == 4
        # At the next poll, which comes later when there were too many requests.
        assert max(gaps(times)) < (45 if fault in ("too_many", "http_429") else 15)


@pytest.mark.parametrize("error", [OSError("broken pipe"), TimeoutError("too late")])
async def test_so_it_is_with_a_source_of_ones_own(error: Exception) -> None:
    account = Numbers(order())
    account.failures[ACTIVATE] = error
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(entered, watcher.activated(1))
        await anyio.sleep(30)
        assert len(account.times(ACTIVATE)) > 2
        account.failures.clear()


async def test_a_refusal_is_raised_by_entering(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.always("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher:
        with pytest.raises(ApiError, match="Rent is blocked") as caught:
            await entered(watcher.activated(order_id))
        assert (caught.value.msg, caught.value.method) == ("Rent is blocked", "activate")
        assert len(asked(sim, "activate")) == 1
        await assert_nothing_is_kept(sim)


async def test_what_a_source_of_ones_own_raises_is_told_as_well() -> None:
    account = Numbers(order())
    account.failures[ACTIVATE] = LookupError("no such thing")
    async with Watcher(account) as watcher:
        with pytest.raises(SmspvaError, match="no such thing") as caught:
            await entered(watcher.activated(1))
        assert type(caught.value) is SmspvaError
        assert len(account.times(ACTIVATE)) == 1


async def test_who_comes_new_has_a_refused_activation_tried_anew(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    sim.faults.next("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher, watcher.activated(order_id) as first:
        sim.set_state(order_id, 0)
        with pytest.raises(ApiError, match="Rent is blocked"):
            await first.next_sms()
        async with watcher.activated(order_id):
            assert len(asked(sim, "activate")) == 2
            assert max(gaps(asked(sim, "activate"))) < 15
            sim.deliver(order_id, "to both")
            assert (await first.next_sms()).text == "to both"


async def test_time_runs_out_while_it_is_activated_and_the_next_one_goes_on_from_there(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        before = anyio.current_time()
        with pytest.raises(WaitTimeout) as caught:
            await entered(watcher.activated(order_id, timeout=100))
        assert anyio.current_time() - before == pytest.approx(100)
        error = caught.value
        assert isinstance(error, TimeoutError)
        assert (error.order_id, error.state, error.last_failure) == (order_id, ACTIVATING, None)
        assert error.last_success == watcher.last_success
        assert error.elapsed == 100
        for told in (f"order {order_id}", "become active", "100 s", "ACTIVATING", "2026-01-01 00:0"):
            assert told in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own
        async with watcher.activated(order_id):
            assert ACTIVATION <= seconds(sim) < ACTIVATION + 30
        assert len(asked(sim, "activate")) == 1


@pytest.mark.parametrize("method", ["orders", "sms", "activate"])
@pytest.mark.parametrize("fault", ["hang", "http_500"])
async def test_time_runs_out_whatever_it_is_that_does_not_come(sim: Simulator, method: Any, fault: Any) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        sim.faults.always(method, fault, done=False)
        before = anyio.current_time()
        with pytest.raises(WaitTimeout) as caught:
            await entered(watcher.activated(order_id, timeout=200))
        assert anyio.current_time() - before == pytest.approx(200)
        assert caught.value.last_failure is not None
        assert caught.value.last_failure in str(caught.value)
        assert bool(asked(sim, "activate")) == (method == "activate")  # nothing is activated before it is known
        sim.faults.clear()
        await assert_nothing_is_kept(sim)


async def test_entering_is_not_for_events_that_are_no_longer_kept() -> None:
    account = Numbers(*[order(order_id) for order_id in range(1, 6)], becomes=ACTIVATING)
    async with Watcher(account, journal=MemoryJournal(keep=2)) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(entered, watcher.activated(1))
        for count in range(20):
            await anyio.sleep(10)
            for order_id in range(2, 6):
                account.change(order_id, state=ACTIVE if count % 2 else INACTIVE)
        assert watcher.orders[1].state is ACTIVATING
        account.change(1, state=ACTIVE)


async def test_an_order_that_goes_while_it_is_activated(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:

        async def remove() -> None:
            await anyio.sleep(100)
            sim.remove_order(order_id)

        tasks.start_soon(remove)
        with pytest.raises(OrderGone) as caught:
            await entered(watcher.activated(order_id))
        assert caught.value.order_id == order_id
        assert seconds(sim) < 200
        await assert_nothing_is_kept(sim)


async def test_an_order_that_expires_while_it_is_activated(sim: Simulator) -> None:
    order_id = sim.add_order(until=START + timedelta(seconds=100)).id
    async with watching(sim) as watcher:
        with pytest.raises(OrderGone):
            await entered(watcher.activated(order_id))
        assert 100 <= seconds(sim) < 120


async def test_an_order_that_goes_before_its_messages_are_read() -> None:
    account = Numbers(order())
    async with Watcher(account) as watcher:
        account.failures[1] = OUTAGE
        account.listed = []
        with pytest.raises(OrderGone):
            await entered(watcher.activated(1))
        assert account.times(ACTIVATE) == []


async def test_an_order_that_has_gone_and_one_that_is_back_again() -> None:
    account = Numbers(order())
    async with Watcher(account) as watcher:
        account.listed = []
        await polls(5)
        before = anyio.current_time()
        with pytest.raises(OrderGone):
            await entered(watcher.activated(1))
        assert anyio.current_time() - before < 10
        account.listed = [order()]
        async with watcher.activated(1) as number:
            assert number.order.state is ACTIVE


async def test_what_cannot_be_right_is_refused_at_the_call(sim: Simulator) -> None:
    order_id = sim.add_order().id
    bad: list[Callable[[Watcher], object]] = [
        lambda watcher: watcher.activated(0),
        lambda watcher: watcher.activated("1"),  # type: ignore[arg-type]
        lambda watcher: watcher.activated(True),  # noqa: FBT003 - that is what is wrong with it
        lambda watcher: watcher.activated(order_id, after=-1),
        lambda watcher: watcher.activated(order_id, after=1.5),  # type: ignore[arg-type]
        lambda watcher: watcher.activated(order_id, after=True),
        lambda watcher: watcher.activated(order_id, timeout=0),
        lambda watcher: watcher.activated(order_id, timeout=-1),
        lambda watcher: watcher.activated(order_id, timeout=float("nan")),
        lambda watcher: watcher.activated(order_id, timeout=None),  # type: ignore[arg-type]
    ]
    async with watching(sim) as watcher:
        await polls(1)
        sim.requests.clear()
        for call in bad:
            with pytest.raises(ValueError, match=r"order's id|place|timeout"):
                call(watcher)
        assert sim.requests == []
        await assert_nothing_is_kept(sim)


async def test_a_watcher_is_entered_before_and_not_left() -> None:
    account = Numbers(order())
    watcher = Watcher(account)
    for after in (None, 0):
        with pytest.raises(WatcherClosed, match="not entered"):
            await entered(watcher.activated(1, after=after, timeout=10))
    async with watcher:
        await entered(watcher.activated(1))
        late = watcher.activated(1)
    with pytest.raises(WatcherClosed, match="left"):
        await entered(late)
    with pytest.raises(WatcherClosed, match="left"):
        await entered(watcher.activated(1))


async def test_calling_it_asks_for_nothing() -> None:
    account = Numbers(order())
    async with Watcher(account) as watcher:
        await anyio.sleep(10)
        account.calls.clear()
        watcher.activated(1)
        await anyio.sleep(15)
        assert account.calls == []


# -- given up half-way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 0.5, 1.5, 2.9, 3.1, 4.6, 10, 100, 120])
async def test_entering_that_is_cancelled_leaves_nothing_kept(sim: Simulator, after: float) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        with anyio.move_on_after(after):
            await entered(watcher.activated(order_id))
        await anyio.sleep(ACTIVATION + STAY)  # until it lapses, if it was activated
        await assert_nothing_is_kept(sim)


@pytest.mark.parametrize(
    ("calls", "expected"), [([1], {False}), ([ACTIVATE], {False}), ([ACTIVATE, ORDERS], {False, True})]
)
async def test_entering_that_is_cancelled_at_any_step_leaves_nothing_kept(
    calls: list[int | None], expected: set[bool]
) -> None:
    outcomes = set[bool]()
    for count in range(STEPS):
        account = Numbers(order())
        async with Watcher(account, journal=SlowReads()) as watcher:
            await anyio.sleep(10)
            inside = list[bool]()

            async def enter(watcher: Watcher = watcher, inside: list[bool] = inside) -> None:
                async with watcher.activated(1):
                    inside.append(True)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                for call in calls:
                    await account.call(call)
                await steps(count)
                tasks.cancel_scope.cancel()
            outcomes.add(bool(inside))
            account.change(1, state=INACTIVE)
            await polls(1)
            account.calls.clear()
            await polls(5)
            assert account.times(ACTIVATE) == []
            assert len(account.times()) <= 5
    assert outcomes == expected


@on_asyncio
async def test_so_it_is_with_entering_in_a_task_of_asyncio() -> None:
    outcomes = set[bool]()
    for count in range(STEPS):
        account = Numbers(order())
        async with Watcher(account, journal=SlowReads()) as watcher:
            await anyio.sleep(10)
            task = asyncio.create_task(entered(watcher.activated(1)))
            await account.call(ACTIVATE)
            await account.call(ORDERS)
            await steps(count)
            outcomes.add(task.cancel())
            await asyncio.wait([task])
            account.change(1, state=INACTIVE)
            await polls(1)
            account.calls.clear()
            await polls(5)
            assert account.times(ACTIVATE) == []
            assert len(account.times()) <= 5
    assert outcomes == {False, True}


async def test_a_session_that_is_cancelled_inside_leaves_nothing_kept(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        with anyio.move_on_after(100):
            await held(watcher.activated(order_id))
        await anyio.sleep(STAY)
        assert sim.order(order_id).state == 0
        await assert_nothing_is_kept(sim)


async def test_leaving_does_not_deactivate(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        await entered(watcher.activated(order_id))
        await polls(2)
        assert sim.order(order_id).state == 1
        assert {request.method for request in sim.requests} == {"orders", "sms", "activate"}
        await anyio.sleep(STAY)
        await assert_nothing_is_kept(sim)


# -- messages inside -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [True, False])
async def test_what_was_there_before_is_not_given_and_what_comes_then_is(sim: Simulator, *, flags: bool) -> None:
    sim.switches.flag_rises = flags
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        await anyio.sleep(70)
        sim.deliver(order_id, "old")  # and no poll has seen it yet
        async with watcher.activated(order_id) as number:
            sim.deliver(order_id, "new")
            assert (await number.next_sms()).text == "new"
            sim.deliver(order_id, "old")
            assert (await number.next_sms()).text == "old"  # another one
            assert await rest(number) == []
        assert texts(await so_far(watcher)) == ["old", "new", "old"]


async def test_so_it_is_with_messages_without_a_date() -> None:
    account = Numbers(order(state=ACTIVE))
    account.messages[1] = [sms("known", None)]
    async with Watcher(account) as watcher:
        await anyio.sleep(70)
        account.messages[1].append(sms("old", None))
        async with watcher.activated(1) as number:
            account.messages[1].append(sms("new", None))
            assert await rest(number) == ["new"]


async def test_what_comes_between_the_reading_and_a_late_answer_of_the_orders_is_new() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        await anyio.sleep(70)
        account.messages[1] = [sms("old", None)]
        account.seconds[ORDERS] = 40
        given = list[Sms]()
        tasks.start_soon(held, watcher.activated(1), given, 100)
        await anyio.sleep(20)
        assert texts(await so_far(watcher)) == ["old"]
        account.messages[1].append(sms("new", None))
        await anyio.sleep(10)
        assert texts(await so_far(watcher)) == ["old", "new"]
    assert given == [sms("new", None)]


async def test_a_message_that_comes_while_it_is_activated_is_new(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        given = list[Sms]()
        tasks.start_soon(held, watcher.activated(order_id), given, 100)
        await anyio.sleep(50)
        sim.deliver(order_id, "early")
        await anyio.sleep(30)
        assert texts(await so_far(watcher)) == ["early"]
        assert given == []
    assert [message.text for message in given] == ["early"]


async def test_messages_that_came_before_they_were_asked_for_are_given_in_order_and_once(sim: Simulator) -> None:
    order_id, other = sim.add_order(state=1).id, sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        place = number.cursor
        for text in ("one", "two", "three"):
            sim.deliver(other, "to another")
            sim.deliver(order_id, text)
            await polls(2)
        before = anyio.current_time()
        assert number.cursor == place
        assert [(await number.next_sms(timeout=1)).text for _ in range(3)] == ["one", "two", "three"]
        assert anyio.current_time() == before
        assert number.cursor > place
        with pytest.raises(WaitTimeout):
            await number.next_sms(timeout=100)


async def test_a_message_is_there_soon_and_polls_are_as_usual_otherwise(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    async with watching(sim) as watcher:
        async with watcher.activated(order_id) as number:
            await polls(1)
            sim.requests.clear()
            await polls(4)
            assert len(asked(sim, "orders")) <= 4
            with pytest.raises(WaitTimeout):
                await number.next_sms(timeout=60)
            assert len(asked(sim, "orders")) >= 18
            sim.deliver(order_id, "quick")
            before = anyio.current_time()
            await number.next_sms()
            assert anyio.current_time() - before < 6
        await assert_nothing_is_kept(sim)


async def test_what_match_passed_over_is_not_given_later(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        for text in ("welcome", "code 671 094", "bye"):
            sim.deliver(order_id, text)
            await anyio.sleep(1)
        assert (await number.next_sms(match=lambda sms: sms.code is not None)).code == "671094"
        with pytest.raises(WaitTimeout):
            await number.next_sms(match=lambda sms: sms.text == "welcome", timeout=30)
        sim.deliver(order_id, "last")
        assert await rest(number) == ["last"]


async def test_a_match_that_raises_loses_nothing(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id

    def broken(message: Sms) -> bool:
        if message.text == "two":
            raise LookupError(message.text)
        return False

    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        for text in ("one", "two", "three"):
            sim.deliver(order_id, text)
            await anyio.sleep(1)
        for _ in range(2):
            with pytest.raises(LookupError, match="two"):
                await number.next_sms(match=broken)
        assert await rest(number) == ["two", "three"]


async def test_a_timeout_tells_what_is_known_and_discards_nothing() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        account.failures = {ORDERS: OUTAGE, 1: OUTAGE}
        account.messages[1] = [sms("late")]
        before = anyio.current_time()
        with pytest.raises(WaitTimeout) as caught:
            await number.next_sms(timeout=45)
        error = caught.value
        assert anyio.current_time() == before + 45
        assert (error.order_id, error.state, error.elapsed) == (1, ACTIVE, 45)
        assert error.last_success == watcher.last_success
        assert error.last_failure == "the server is down"
        for told in ("order 1", "receive the message", "45 s", "ACTIVE", "the server is down"):
            assert told in str(error)
        account.failures.clear()
        assert (await number.next_sms()).text == "late"


async def test_two_tasks_are_given_each_message_once(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    given: list[list[Sms]] = [[], [], []]
    async with watching(sim) as watcher, watcher.activated(order_id) as number, anyio.create_task_group() as tasks:

        async def take(mine: list[Sms]) -> None:
            while True:
                mine.append(await number.next_sms(timeout=HANGS))

        for mine in given:
            tasks.start_soon(take, mine)
        expected = [f"message {count}" for count in range(30)]
        for count, text in enumerate(expected):
            sim.deliver(order_id, text)
            await anyio.sleep(count % 5)
        await polls(1)
        assert sorted(message.text for mine in given for message in mine) == sorted(expected)
        assert all(given)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("waiting", [1, 2])
async def test_asking_that_is_cancelled_at_any_step_loses_and_doubles_nothing(waiting: int) -> None:
    outcomes = set[int]()
    for count in range(STEPS):
        account, taken = Numbers(order(state=ACTIVE)), list[Sms]()
        async with Watcher(account, journal=SlowReads()) as watcher, watcher.activated(1) as number:

            async def take(number: ActiveNumber = number, taken: list[Sms] = taken) -> None:
                taken.append(await number.next_sms())

            async with anyio.create_task_group() as tasks:
                for _ in range(waiting):
                    tasks.start_soon(take)
                await anyio.sleep(1)
                account.messages[1] = [sms("one", None), sms("two", None), sms("three", None)]
                await account.call(1)
                await steps(count)
                tasks.cancel_scope.cancel()
            outcomes.add(len(taken))
            assert [message.text for message in taken] + await rest(number, 10) == ["one", "two", "three"]
    assert outcomes == set(range(waiting + 1))


@on_asyncio
async def test_so_it_is_with_a_task_of_asyncio() -> None:
    outcomes = set[int]()
    for count in range(STEPS):
        account, taken = Numbers(order(state=ACTIVE)), list[Sms]()
        async with Watcher(account, journal=SlowReads()) as watcher, watcher.activated(1) as number:

            async def take(number: ActiveNumber = number, taken: list[Sms] = taken) -> None:
                taken.append(await number.next_sms())

            task = asyncio.create_task(take())
            await asyncio.sleep(10)
            account.messages[1] = [sms("one", None), sms("two", None)]
            await account.call(1)
            for _ in range(count):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            outcomes.add(len(taken))
            assert [message.text for message in taken] + await rest(number, 10) == ["one", "two"]
    assert outcomes == {0, 1}


async def test_a_place_that_is_no_longer_kept_is_told_and_then_it_goes_on() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account, journal=MemoryJournal(keep=2)) as watcher, watcher.activated(1) as number:
        for count in range(4):
            account.messages[1].append(sms(f"message {count}", count))
        await polls(2)
        with pytest.raises(Lagged):
            await number.next_sms()
        assert await rest(number) == ["message 2", "message 3"]


async def test_a_place_beyond_the_newest_event_is_told_and_then_it_goes_on() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, watcher.activated(1, after=1000) as number:
        with pytest.raises(Lagged):
            await number.next_sms()
        account.messages[1] = [sms("new", None)]
        assert await rest(number) == ["new"]


async def test_what_happens_to_other_orders_does_not_make_a_place_old() -> None:
    account = Numbers(order(1, ACTIVE), order(2, ACTIVE))
    async with Watcher(account, journal=MemoryJournal(keep=3)) as watcher, watcher.activated(1) as number:
        for count in range(5):
            account.messages[2] += [sms(f"to another {count}", count), sms("and another", count)]
            with pytest.raises(WaitTimeout):
                await number.next_sms(timeout=100)
        assert number.cursor == watcher.cursor
        account.messages[1] = [sms("mine", None)]
        assert await rest(number) == ["mine"]


# -- restarted -------------------------------------------------------------------------------------------------------


async def run_twice(sim: Simulator, journal: Callable[[], Journal]) -> None:
    """Run a pipeline that stores its place, stop it half-way, let messages come meanwhile, and run it again."""
    sim.switches.active = (1000, 1000)
    order_id = sim.add_order(state=1).id
    async with watching(sim, journal=journal()) as watcher, watcher.activated(order_id) as number:
        for text in ("one", "two", "three"):
            sim.deliver(order_id, text)
            await anyio.sleep(1)
        assert (await number.next_sms()).text == "one"
        stored = number.cursor
        await polls(1)
    sim.deliver(order_id, "in between")
    await anyio.sleep(1000)
    sim.deliver(order_id, "in between")
    async with watching(sim, journal=journal()) as watcher:
        async with watcher.activated(order_id, after=stored) as number:
            assert number.cursor == stored
            assert sim.order(order_id).state == 1
            assert await rest(number) == ["two", "three", "in between", "in between"]
            stored = number.cursor
        async with watcher.activated(order_id, after=stored) as number:
            assert await rest(number) == []
        async with watcher.activated(order_id) as number:
            assert await rest(number) == []
        async with watcher.activated(order_id, after=0) as number:
            assert await rest(number) == ["one", "two", "three", "in between", "in between"]
    assert len(asked(sim, "activate")) == 1


async def test_a_pipeline_that_is_restarted_goes_on_at_its_stored_cursor(sim: Simulator) -> None:
    journal = MemoryJournal()
    await run_twice(sim, lambda: journal)


@on_asyncio
async def test_so_it_does_with_a_journal_in_a_file(sim: Simulator, tmp_path: Path) -> None:
    await run_twice(sim, lambda: SqliteJournal(tmp_path / "journal.db"))


async def test_a_stored_cursor_of_a_session_that_took_nothing_gives_all_that_came_since(sim: Simulator) -> None:
    order_id, journal = sim.add_order().id, MemoryJournal()
    async with watching(sim, journal=journal) as watcher:
        sim.deliver(order_id, "old")
        async with watcher.activated(order_id) as number:
            stored = number.cursor
            sim.deliver(order_id, "one")
    sim.deliver(order_id, "two")
    async with watching(sim, journal=journal) as watcher, watcher.activated(order_id, after=stored) as number:
        assert await rest(number) == ["one", "two"]


# -- lapsing ---------------------------------------------------------------------------------------------------------


async def test_it_is_activated_again_once_for_each_time_that_it_lapses(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        with anyio.move_on_after(4.5 * (ACTIVATION + STAY)):
            while True:
                await anyio.sleep(200)
                with pytest.raises(WaitTimeout):
                    await number.next_sms(timeout=50)
        times = asked(sim, "activate")
        assert len(times) == 5
        assert all(ACTIVATION + STAY <= gap <= ACTIVATION + STAY + 35 for gap in gaps(times))


async def test_a_message_is_waited_for_while_it_lapses(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, watcher.activated(order_id) as number, anyio.create_task_group() as tasks:

        async def send() -> None:
            await anyio.sleep(STAY)
            assert not sim.deliver(order_id, "lost", network=True)
            await anyio.sleep(ACTIVATION + 20)
            assert sim.deliver(order_id, "code 671 094", network=True)

        tasks.start_soon(send)
        before = seconds(sim)
        assert (await number.next_sms(timeout=3600)).code == "671094"
        assert STAY + ACTIVATION <= seconds(sim) - before < STAY + ACTIVATION + 40
        assert number.order.state is ACTIVE


@pytest.mark.parametrize("waits", [True, False])
async def test_one_that_stays_down_is_activated_again_two_minutes_later(*, waits: bool) -> None:
    account = Numbers(order(state=ACTIVE), becomes=INACTIVE)
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        await polls(1)
        account.change(1, state=INACTIVE)
        if waits:
            with pytest.raises(WaitTimeout):
                await number.next_sms(timeout=450)
        else:
            await anyio.sleep(450)
        assert len(account.times(ACTIVATE)) in ((4,) if waits else (3, 4))
        most = 125 if waits else 151
        assert all(TWO_MINUTES - 0.01 <= gap <= most for gap in gaps(account.times(ACTIVATE)))


async def test_one_that_is_in_the_queue_is_not_activated_again_and_one_that_falls_out_of_it_is() -> None:
    account = Numbers(order(state=ACTIVE), becomes=ACTIVATING)
    async with Watcher(account) as watcher, watcher.activated(1):
        account.change(1, state=INACTIVE)
        await anyio.sleep(3600)
        assert len(account.times(ACTIVATE)) == 1
        account.change(1, state=INACTIVE)
        await polls(2)
        assert len(account.times(ACTIVATE)) == 2


@pytest.mark.parametrize("state", [OrderState.ABSENT, OrderState.UNKNOWN])
async def test_a_number_in_any_other_state_is_activated(state: OrderState) -> None:
    account = Numbers(order(state=state))
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        assert number.order.state is ACTIVE
        account.change(1, state=state)
        await polls(2)
        assert number.order.state is ACTIVE
    assert len(account.times(ACTIVATE)) == 2


async def test_an_order_that_is_missing_from_an_answer_has_not_lapsed(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    sim.switches.flapping = 0.5
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        await anyio.sleep(1000)
        sim.deliver(order_id, "one")
        assert (await number.next_sms()).text == "one"
    assert asked(sim, "activate") == []


async def test_a_lapse_is_noticed_when_an_outage_is_over(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.faults.always("*", "http_503")
        sim.set_state(order_id, 0)
        with pytest.raises(WaitTimeout):
            await number.next_sms(timeout=600)
        assert asked(sim, "activate") == []
        sim.faults.clear()
        await polls(3)
        assert len(asked(sim, "activate")) == 1


async def test_an_activation_that_is_refused_inside_is_raised_after_the_messages(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        await anyio.sleep(70)
        sim.faults.next("activate", "refusal", msg="Rent is blocked")
        sim.deliver(order_id, "last")
        sim.set_state(order_id, 0)
        await polls(2)
        assert (await number.next_sms()).text == "last"
        with pytest.raises(ApiError, match="Rent is blocked") as caught:
            await number.next_sms()
        assert caught.value.msg == "Rent is blocked"
        with pytest.raises(WaitTimeout):  # who goes on all the same must not be told in a loop
            await number.next_sms(timeout=30)
        await anyio.sleep(TWO_MINUTES)
        times = asked(sim, "activate")
        assert len(times) == 2
        assert TWO_MINUTES - 0.01 <= gaps(times)[0] <= TWO_MINUTES + 30
        sim.deliver(order_id, "it goes on")
        assert (await number.next_sms()).text == "it goes on"


async def test_a_refusal_wakes_who_waits_already_in_each_session(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with (
        watching(sim) as watcher,
        watcher.activated(order_id) as one_number,
        watcher.activated(order_id) as the_same,
        anyio.create_task_group() as tasks,
    ):
        raised = list[tuple[float, ApiError]]()

        async def wait(number: ActiveNumber) -> None:
            with pytest.raises(ApiError, match="Rent is blocked") as caught:
                await number.next_sms()
            raised.append((anyio.current_time(), caught.value))

        for number in (one_number, the_same):
            tasks.start_soon(wait, number)
        sim.faults.always("activate", "refusal", msg="Rent is blocked")
        await anyio.sleep(50)
        sim.set_state(order_id, 0)
        before = anyio.current_time()
        await anyio.sleep(20)
        (one, first), (two, second) = raised
        assert max(one, two) - before < 10
        assert first is not second


async def test_a_refusal_is_over_when_the_number_is_active_all_the_same(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    sim.faults.next("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.set_state(order_id, 0)
        with pytest.raises(ApiError, match="Rent is blocked"):
            await number.next_sms()
        sim.set_state(order_id, 1)  # somebody else had it activated
        await polls(2)
        sim.deliver(order_id, "one")
        assert (await number.next_sms()).text == "one"
        assert len(asked(sim, "activate")) == 1


@pytest.mark.parametrize(("fault", "count"), [("http_500", 9), ("too_many", 5), ("refused", 9)])
async def test_a_failure_that_passes_is_not_raised_inside(sim: Simulator, fault: FaultName, count: int) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.faults.next("activate", fault, count=count)
        sim.set_state(order_id, 0)
        with pytest.raises(WaitTimeout):
            await number.next_sms(timeout=2 * ACTIVATION)
        assert sim.faults.pending == 0
        assert number.order.state is not INACTIVE


async def test_an_activation_that_hangs_does_not_stop_the_polls(sim: Simulator) -> None:
    order_id, other = sim.add_order(state=1).id, sim.add_order(state=1).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.faults.always("activate", "hang", done=False)
        sim.set_state(order_id, 0)
        await polls(2)
        assert len(asked(sim, "activate")) >= 1
        for text in ("one", "two", "three"):
            sim.deliver(order_id, text)
            sim.deliver(other, text)
            assert (await number.next_sms(timeout=10)).text == text
        await polls(1)
        assert texts(await so_far(watcher)).count("three") == 2
        sim.faults.clear()
        await polls(4)
        assert sim.order(order_id).state != 0  # it was tried again


async def test_one_that_lapses_outside_of_a_session_is_left_alone(sim: Simulator) -> None:
    mine, other = sim.add_order(state=1).id, sim.add_order(state=1).id
    async with watching(sim) as watcher:
        async with watcher.activated(mine):
            await anyio.sleep(STAY + 60)
        assert asked(sim, "activate", other) == []
        assert len(asked(sim, "activate", mine)) == 1
        await anyio.sleep(STAY + ACTIVATION)
        await assert_nothing_is_kept(sim)


async def test_who_comes_while_a_refused_activation_is_tried_again_does_not_have_it_asked_for_twice() -> None:
    account = Numbers(order(state=ACTIVE))
    account.failures[ACTIVATE], account.seconds[ACTIVATE] = ApiError("blocked", msg="Rent is blocked"), 20
    async with Watcher(account) as watcher, watcher.activated(1), anyio.create_task_group() as tasks:

        async def enter() -> None:
            with pytest.raises(ApiError, match="blocked"):
                await entered(watcher.activated(1))

        account.change(1, state=INACTIVE)
        await account.call(ACTIVATE)
        await account.call(ACTIVATE)
        tasks.start_soon(enter)
        await anyio.sleep(TWO_MINUTES - 1)
        assert len(account.times(ACTIVATE)) == 2


# -- an end while inside ---------------------------------------------------------------------------------------------


async def test_an_order_that_goes_is_told_after_its_last_message(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        phone = number.phone
        sim.deliver(order_id, "last")
        await polls(2)
        sim.remove_order(order_id)
        await polls(5)
        assert (await number.next_sms()).text == "last"
        for _ in range(2):
            with pytest.raises(OrderGone) as caught:
                await number.next_sms()
            assert caught.value.order_id == order_id
        assert (number.phone, number.order.id) == (phone, order_id)


async def test_an_order_that_goes_is_told_to_who_waits(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True, until=START + timedelta(seconds=300)).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        with pytest.raises(OrderGone):
            await number.next_sms(timeout=3600)
        assert 300 <= seconds(sim) < 310


async def test_an_order_that_goes_is_told_although_its_activation_was_refused(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    sim.faults.always("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        sim.set_state(order_id, 0)
        with pytest.raises(ApiError, match="Rent is blocked"):
            await number.next_sms()
        sim.remove_order(order_id)
        await polls(5)
        with pytest.raises(OrderGone):
            await number.next_sms()


async def test_order_and_phone_are_as_last_seen_also_when_it_has_gone() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        account.change(1, phone="+79990000000", state=ACTIVATING)
        await polls(2)
        assert (number.phone, number.order.state) == ("+79990000000", ACTIVATING)
        account.listed = []
        await polls(5)
        assert watcher.orders == {}
        assert (number.phone, number.order.state) == ("+79990000000", ACTIVATING)


async def test_the_body_goes_on_when_the_watcher_is_left() -> None:
    account = Numbers(order(state=ACTIVE))
    async with AsyncExitStack() as stack:
        watch = AsyncExitStack()
        watcher = await watch.enter_async_context(Watcher(account))
        number = await stack.enter_async_context(watcher.activated(1))
        account.messages[1] = [sms("last", None)]
        await polls(2)
        await watch.aclose()
        await anyio.sleep(1000)
        assert (await number.next_sms()).text == "last"
        for _ in range(2):
            with pytest.raises(WatcherClosed):
                await number.next_sms()


async def test_who_waits_is_told_when_the_watcher_is_left() -> None:
    account, ended = Numbers(order(state=ACTIVE)), list[str]()

    async def use(watcher: Watcher) -> None:
        async with watcher.activated(1) as number:
            with pytest.raises(WatcherClosed, match="left"):
                await number.next_sms()
            ended.append("the body")

    async def enter(watcher: Watcher) -> None:
        with pytest.raises(WatcherClosed, match="left"):
            await entered(watcher.activated(2))
        ended.append("entering")

    async with anyio.create_task_group() as tasks, Watcher(account) as watcher:
        tasks.start_soon(use, watcher)
        tasks.start_soon(enter, watcher)
        await polls(1)
        assert ended == []
    assert sorted(ended) == ["entering", "the body"]


async def test_the_body_goes_on_when_the_watch_fails() -> None:
    account, told = Numbers(order(state=ACTIVE)), InvalidKey("refused", msg="BANNED")
    with pytest.raises(InvalidKey):  # noqa: PT012 - raised around the watch
        async with Watcher(account) as watcher, watcher.activated(1) as number:
            account.messages[1] = [sms("last", None)]
            await polls(2)
            account.failures = {ORDERS: told, 1: told}
            await anyio.sleep(1000)
            account.calls.clear()
            account.change(1, state=INACTIVE)
            await anyio.sleep(1000)
            assert account.calls == []
            assert (await number.next_sms()).text == "last"
            raised = list[InvalidKey]()
            for _ in range(2):
                with pytest.raises(InvalidKey, match="refused") as caught:
                    await number.next_sms()
                raised.append(caught.value)
            assert raised[0] is not raised[1]
            with pytest.raises(InvalidKey, match="refused"):
                await entered(watcher.activated(1))


async def test_the_end_of_the_watch_is_told_rather_than_a_refusal_before_it() -> None:
    account = Numbers(order(state=ACTIVE))
    account.failures[ACTIVATE] = ApiError("blocked", msg="Rent is blocked")
    with pytest.raises(ClientClosed):  # noqa: PT012 - raised around the watch
        async with Watcher(account) as watcher, watcher.activated(1) as number:
            account.change(1, state=INACTIVE)
            with pytest.raises(ApiError, match="blocked"):
                await number.next_sms()
            account.failures[ORDERS] = ClientClosed("closed")
            await polls(2)
            with pytest.raises(ClientClosed):
                await number.next_sms()


@pytest.mark.parametrize(
    "error", [LookupError("mine"), TimeoutError("mine"), StopAsyncIteration("mine"), OrderGone("mine", order_id=1)]
)
async def test_what_the_body_raises_passes_unchanged(sim: Simulator, error: Exception) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        with pytest.raises(type(error)) as caught:
            await raising(watcher.activated(order_id), error)
        assert caught.value is error
        assert error.__cause__ is None
        await anyio.sleep(STAY)
        await assert_nothing_is_kept(sim)


def running() -> set[str]:
    """Return the names of the tasks of asyncio, but for the calls of the poll loop, which come and go."""
    return {task.get_name() for task in asyncio.all_tasks()} - {"smspva_async._poller.Poller._call"}


@on_asyncio
async def test_on_asyncio_it_may_be_left_in_another_task(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        tasks = running()
        session = watcher.activated(order_id)
        number = await asyncio.create_task(session.__aenter__())
        assert running() == tasks  # it has none of its own
        sim.deliver(order_id, "one")
        assert (await asyncio.create_task(number.next_sms())).text == "one"
        await asyncio.create_task(session.__aexit__(None, None, None))
        await anyio.sleep(STAY)
        await assert_nothing_is_kept(sim)


# -- many ------------------------------------------------------------------------------------------------------------


async def test_sessions_on_one_order_share_its_activation_and_each_is_given_every_message(sim: Simulator) -> None:
    order_id = sim.add_order().id
    given: list[list[Sms]] = [[], [], []]
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for mine in given[:2]:
            tasks.start_soon(held, watcher.activated(order_id), mine, STAY + 2 * ACTIVATION)
        await anyio.sleep(100)
        tasks.start_soon(held, watcher.activated(order_id), given[2], STAY + 2 * ACTIVATION)
        await anyio.sleep(ACTIVATION)
        for text in ("one", "two"):
            sim.deliver(order_id, text)
            await polls(1)
        await anyio.sleep(STAY)
        assert len(asked(sim, "activate")) == 2  # each time that it was down
    assert [[message.text for message in mine] for mine in given] == [["one", "two"]] * 3
    assert len(asked(sim, "activate")) == 2


async def test_the_number_is_kept_active_until_the_last_session_is_left(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        async with watcher.activated(order_id):
            async with watcher.activated(order_id):
                pass
            await anyio.sleep(STAY + 60)
            assert len(asked(sim, "activate")) == 1
        await anyio.sleep(STAY + ACTIVATION)
        await assert_nothing_is_kept(sim)


async def test_many_that_enter_together_cost_few_requests(sim: Simulator) -> None:
    sim.switches.activation, sim.switches.active = (ACTIVATION, 2 * ACTIVATION), (1000, 1000)
    orders = [sim.add_order().id for _ in range(50)]
    async with watching(sim) as watcher:
        await anyio.sleep(70)
        sim.requests.clear()
        before = seconds(sim)
        async with anyio.create_task_group() as tasks:
            for order_id in orders:
                tasks.start_soon(entered, watcher.activated(order_id))
        assert sorted(int(request.params["id"]) for request in sim.requests if request.method == "activate") == orders
        last = max(asked(sim, "activate"))
        assert last - before < 500
        assert len([time for time in asked(sim, "orders") if time <= last]) < 150
        await assert_nothing_is_kept(sim)


async def test_many_on_one_order_cost_what_one_costs(sim: Simulator) -> None:
    order_id = sim.add_order().id
    costs = list[int]()
    for count in (1, 30):
        sim.set_state(order_id, 0)
        async with watching(sim) as watcher:
            await anyio.sleep(10)
            sim.requests.clear()
            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(entered, watcher.activated(order_id))
            costs.append(len(sim.requests))
            assert len(asked(sim, "activate")) == 1
    assert costs[1] <= costs[0] + 2


async def test_the_pace_is_kept(sim: Simulator) -> None:
    sim.switches.rate_limit = 1.5
    orders = [sim.add_order().id for _ in range(5)]
    async with (
        SmspvaClient("key", transport=sim.transport(), pace=Pace(1.5)) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for order_id in orders:
            tasks.start_soon(held, watcher.activated(order_id), None, 100)
    assert min(gaps([request.time for request in sim.requests])) >= 1.5
    assert {request.fault for request in sim.requests} == {None}


async def test_who_comes_after_a_session_that_was_cancelled_does_not_have_it_asked_for_again() -> None:
    account = Numbers(order(), becomes=INACTIVE)  # listed as inactive for a while, whatever was asked for
    async with Watcher(account) as watcher:
        for _ in range(3):
            with anyio.move_on_after(20):
                await entered(watcher.activated(1))
        assert len(account.times(ACTIVATE)) == 1
        with anyio.move_on_after(TWO_MINUTES):
            await entered(watcher.activated(1))
        assert len(account.times(ACTIVATE)) == 2
        account.calls.clear()
        await anyio.sleep(3 * TWO_MINUTES)
        assert account.times(ACTIVATE) == []


async def test_a_number_whose_messages_are_refused_is_activated_all_the_same(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.always("sms", "refusal", msg="Number is not active")
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(entered, watcher.activated(order_id))
        await anyio.sleep(30)
        assert len(asked(sim, "activate")) == 1
        tasks.cancel_scope.cancel()


async def test_each_session_is_told_of_each_refusal_once() -> None:
    account = Numbers(order(state=ACTIVE))
    account.failures[ACTIVATE] = ApiError("blocked", msg="Rent is blocked")
    async with Watcher(account) as watcher, watcher.activated(1) as number:
        account.change(1, state=INACTIVE)
        await account.call(ACTIVATE)
        await polls(1)
        with pytest.raises(ApiError, match="blocked"):
            await entered(watcher.activated(1))
        with pytest.raises(ApiError, match="blocked"):  # the first one, which nobody took from it
            await number.next_sms()
