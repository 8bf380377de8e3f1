"""`Watcher.activated`: entering, until the number is active."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import (
    ApiError,
    MemoryJournal,
    OrderGone,
    Period,
    Retry,
    SmspvaClient,
    SmspvaError,
    WaitTimeout,
    Watcher,
    WatcherClosed,
)
from smspva_async.simulator import Simulator
from tests.support.accounts import ORDERS, OUTAGE, START, order
from tests.support.activation import (
    ACTIVATE,
    ACTIVATING,
    ACTIVATION,
    ACTIVE,
    INACTIVE,
    TWO_MINUTES,
    Numbers,
    assert_polls_as_usual,
    check_refusal_after_lapse,
    enter_and_leave,
    request_times,
    seconds,
)
from tests.support.backends import on_both_backends
from tests.support.watching import gaps, polls, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smspva_async.simulator import FaultName

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


@pytest.mark.parametrize("dialect", ["page", "live"])
async def test_entering_activates_the_number_and_waits_until_it_is_active(dialect: Any) -> None:
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
        assert len(request_times(sim, "activate")) == 1
    assert sim.violations == []


@pytest.mark.parametrize("always_active", [False, True])
async def test_an_active_number_is_not_activated(sim: Simulator, *, always_active: bool) -> None:
    order_id = sim.add_order(state=1, always_active=always_active).id
    async with watching(sim) as watcher:
        before = anyio.current_time()
        async with watcher.activated(order_id) as number:
            assert number.order.state is ACTIVE
            assert anyio.current_time() - before < 10
        assert request_times(sim, "activate") == []


async def test_an_always_active_number_is_never_activated(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    async with watching(sim) as watcher, watcher.activated(order_id):
        await anyio.sleep(2000)
    assert request_times(sim, "activate") == []


async def test_entering_waits_for_a_number_that_is_being_activated(sim: Simulator) -> None:
    order_id = sim.add_order(state=2).id
    async with watching(sim) as watcher, watcher.activated(order_id) as number:
        assert number.order.state is ACTIVE
        assert ACTIVATION <= seconds(sim) < ACTIVATION + 30
        assert request_times(sim, "activate") == []


async def test_orders_and_messages_are_requested_before_the_activation(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        await anyio.sleep(70)  # between two polls
        sim.requests.clear()
        before = seconds(sim)
        async with watcher.activated(order_id):
            pass
    methods = [request.method for request in sim.requests]
    assert methods[:3] == ["orders", "sms", "activate"]
    assert request_times(sim, "activate")[0] - before < 10


@pytest.mark.parametrize(("kind", "seconds"), [(ORDERS, 20), (1, 20), (ORDERS, 50), (1, 50)])
async def test_an_answer_to_an_earlier_request_does_not_count(kind: int | None, seconds: float) -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher:
        await polls(1)
        account.calls.clear()
        account.seconds[kind] = seconds
        await account.wait_for_call(kind)
        await anyio.sleep(1)
        account.seconds.clear()  # only the request in flight is slow
        before = anyio.current_time()
        async with watcher.activated(1):
            assert any(time >= before for time in account.times(ORDERS))
            assert any(time >= before for time in account.times(1))


async def test_entering_does_not_wait_for_the_next_scheduled_poll() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account, interval=600, eager_interval=600) as watcher:
        await anyio.sleep(300)
        before = anyio.current_time()
        async with watcher.activated(1):
            assert anyio.current_time() - before < 10


async def test_messages_of_another_order_do_not_count() -> None:
    account = Numbers(order(1), order(2, ACTIVE))
    async with Watcher(account) as watcher:
        account.failures[1] = OUTAGE
        with pytest.raises(WaitTimeout, match="the server is down"):
            await enter_and_leave(watcher.activated(1, timeout=100))
        await enter_and_leave(watcher.activated(2, timeout=100))
        assert account.times(ACTIVATE) == []


async def test_a_number_that_became_inactive_since_the_last_poll_is_activated(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    async with watching(sim) as watcher:
        sim.set_state(order_id, 0)
        assert watcher.orders[order_id].state is ACTIVE
        async with watcher.activated(order_id):
            assert sim.order(order_id).state == 1
        assert len(request_times(sim, "activate")) == 1


async def test_entering_waits_for_a_purchase_that_is_listed_late(sim: Simulator) -> None:
    sim.behavior.listing_delay = 300
    country = next(code for code, home in sim.catalogue.items() if home.activation == "on_demand")
    service = next(iter(sim.catalogue[country].offers))
    async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
        rental = await client.rent(country, service, Period.weeks(1))
        async with watcher.activated(rental.id) as number:
            assert 300 + ACTIVATION <= seconds(sim) < 300 + ACTIVATION + 60
            assert number.phone == rental.phone
        assert len(request_times(sim, "activate")) == 1


async def test_entering_times_out_if_the_order_is_never_listed(sim: Simulator) -> None:
    async with watching(sim) as watcher:
        with pytest.raises(WaitTimeout, match="never listed"):
            await enter_and_leave(watcher.activated(7, timeout=100))
        await assert_polls_as_usual(sim)


async def test_an_activation_that_finds_no_order_at_first_is_repeated(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.next("activate", "refusal", msg="Order not found", count=3)
    async with watching(sim) as watcher:
        async with watcher.activated(order_id):
            assert sim.order(order_id).state == 1
        assert_backoff(request_times(sim, "activate"))


@pytest.mark.parametrize("fault", ["refused", "lost", "http_500", "html_502", "html", "too_many", "http_429"])
async def test_a_temporary_failure_does_not_end_the_activation(sim: Simulator, fault: FaultName) -> None:
    order_id = sim.add_order().id
    sim.faults.next("activate", fault, count=3, done=False)
    async with (
        SmspvaClient("key", transport=sim.transport(), retry=Retry(attempts=1)) as client,
        Watcher(client) as watcher,
    ):
        async with watcher.activated(order_id):
            assert sim.order(order_id).state == 1
        # Too many requests make the pace slower as well.
        assert_backoff(request_times(sim, "activate"), late=25 if fault in ("too_many", "http_429") else 2)


def assert_backoff(times: Sequence[float], late: float = 2) -> None:
    """Check that three failed tries were repeated after 5, 10 and 20 seconds."""
    assert len(times) == 4
    for expected, gap in zip((5, 10, 20), gaps(times), strict=True):
        assert expected - 0.01 <= gap <= expected + late


async def test_new_sessions_do_not_shorten_the_backoff_of_a_refused_activation(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.always("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher:
        with anyio.move_on_after(3500):
            while True:
                with pytest.raises(ApiError, match="Rent is blocked"):
                    await enter_and_leave(watcher.activated(order_id))
        times = request_times(sim, "activate")
    assert gaps(times)[:3] == pytest.approx([5, 10, 20], abs=2)
    assert min(gaps(times)[6:]) >= TWO_MINUTES - 0.01


async def test_an_activation_is_one_request_regardless_of_the_clients_retries(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.always("activate", "http_500", done=False)
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(enter_and_leave, watcher.activated(order_id))
        await anyio.sleep(3500)
        times = request_times(sim, "activate")
        tasks.cancel_scope.cancel()
    assert len(times) == pytest.approx(3500 / TWO_MINUTES, abs=6)
    assert min(gaps(times)[6:]) >= TWO_MINUTES - 0.01
    assert len(sim.requests) < 3600 / 30 + 3600 / 9 + 200


@pytest.mark.parametrize("error", [OSError("broken pipe"), TimeoutError("too late")])
async def test_an_activation_is_one_call_of_a_custom_source(error: Exception) -> None:
    account = Numbers(order())
    account.failures[ACTIVATE] = error
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(enter_and_leave, watcher.activated(1))
        await anyio.sleep(30)
        assert len(account.times(ACTIVATE)) > 2
        account.failures.clear()


async def test_a_refusal_is_raised_by_entering(sim: Simulator) -> None:
    order_id = sim.add_order().id
    sim.faults.always("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher:
        with pytest.raises(ApiError, match="Rent is blocked") as caught:
            await enter_and_leave(watcher.activated(order_id))
        assert (caught.value.msg, caught.value.method) == ("Rent is blocked", "activate")
        assert len(request_times(sim, "activate")) == 1
        await assert_polls_as_usual(sim)


async def test_entering_raises_the_error_of_a_custom_source() -> None:
    account = Numbers(order())
    account.failures[ACTIVATE] = LookupError("no such thing")
    async with Watcher(account) as watcher:
        with pytest.raises(SmspvaError, match="no such thing") as caught:
            await enter_and_leave(watcher.activated(1))
        assert type(caught.value) is SmspvaError
        assert len(account.times(ACTIVATE)) == 1


async def test_a_new_session_repeats_a_refused_activation(sim: Simulator) -> None:
    order_id = sim.add_order(state=1).id
    sim.faults.next("activate", "refusal", msg="Rent is blocked")
    async with watching(sim) as watcher, watcher.activated(order_id) as first:
        await check_refusal_after_lapse(sim, first)
        async with watcher.activated(order_id):
            assert len(request_times(sim, "activate")) == 2
            assert max(gaps(request_times(sim, "activate"))) < 15
            sim.deliver(order_id, "to both")
            assert (await first.next_sms()).text == "to both"


async def test_after_a_timeout_the_next_session_continues_the_activation(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        before = anyio.current_time()
        with pytest.raises(WaitTimeout) as caught:
            await enter_and_leave(watcher.activated(order_id, timeout=100))
        assert anyio.current_time() - before == pytest.approx(100)
        error = caught.value
        assert isinstance(error, TimeoutError)
        assert (error.order_id, error.state, error.last_failure) == (order_id, ACTIVATING, None)
        assert error.last_success == watcher.last_success
        assert error.elapsed == 100
        for part in (f"order {order_id}", "become active", "100 s", "ACTIVATING", "2026-01-01 00:0"):
            assert part in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - the test's own pickle
        async with watcher.activated(order_id):
            assert ACTIVATION <= seconds(sim) < ACTIVATION + 30
        assert len(request_times(sim, "activate")) == 1


@pytest.mark.parametrize("method", ["orders", "sms", "activate"])
@pytest.mark.parametrize("fault", ["hang", "http_500"])
async def test_entering_times_out_while_any_of_its_requests_fails(sim: Simulator, method: Any, fault: Any) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        sim.faults.always(method, fault, done=False)
        before = anyio.current_time()
        with pytest.raises(WaitTimeout) as caught:
            await enter_and_leave(watcher.activated(order_id, timeout=200))
        assert anyio.current_time() - before == pytest.approx(200)
        assert caught.value.last_failure is not None
        assert caught.value.last_failure in str(caught.value)
        assert bool(request_times(sim, "activate")) == (
            method == "activate"
        )  # an order is not activated before it is listed
        sim.faults.clear()
        await assert_polls_as_usual(sim)


async def test_entering_does_not_need_events_that_are_no_longer_kept() -> None:
    account = Numbers(*[order(order_id) for order_id in range(1, 6)], becomes=ACTIVATING)
    async with Watcher(account, journal=MemoryJournal(keep=2)) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(enter_and_leave, watcher.activated(1))
        for count in range(20):
            await anyio.sleep(10)
            for order_id in range(2, 6):
                account.change(order_id, state=ACTIVE if count % 2 else INACTIVE)
        assert watcher.orders[1].state is ACTIVATING
        account.change(1, state=ACTIVE)


async def test_entering_raises_if_the_order_is_removed_during_the_activation(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:

        async def remove() -> None:
            await anyio.sleep(100)
            sim.remove_order(order_id)

        tasks.start_soon(remove)
        with pytest.raises(OrderGone) as caught:
            await enter_and_leave(watcher.activated(order_id))
        assert caught.value.order_id == order_id
        assert seconds(sim) < 200
        await assert_polls_as_usual(sim)


async def test_entering_raises_if_the_order_expires_during_the_activation(sim: Simulator) -> None:
    order_id = sim.add_order(until=START + timedelta(seconds=100)).id
    async with watching(sim) as watcher:
        with pytest.raises(OrderGone):
            await enter_and_leave(watcher.activated(order_id))
        assert 100 <= seconds(sim) < 220


async def test_entering_raises_if_the_order_is_removed_before_its_messages_are_read() -> None:
    account = Numbers(order())
    async with Watcher(account) as watcher:
        account.failures[1] = OUTAGE
        account.listed = []
        with pytest.raises(OrderGone):
            await enter_and_leave(watcher.activated(1))
        assert account.times(ACTIVATE) == []


async def test_entering_raises_for_a_removed_order_until_it_is_listed_again() -> None:
    account = Numbers(order())
    async with Watcher(account) as watcher:
        account.remove(1)
        await polls(5)
        before = anyio.current_time()
        with pytest.raises(OrderGone):
            await enter_and_leave(watcher.activated(1))
        assert anyio.current_time() - before < 10
        account.listed, account.failures = [order()], {}
        async with watcher.activated(1) as number:
            assert number.order.state is ACTIVE


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_negative_timeout_counts_as_zero(timeout: float, sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher:
        with pytest.raises(WaitTimeout, match="didn't become active within 0 s"):
            async with watcher.activated(order_id, timeout=timeout):
                pass
        await assert_polls_as_usual(sim)


async def test_invalid_arguments_are_rejected_by_the_call(sim: Simulator) -> None:
    order_id = sim.add_order().id
    bad: list[Callable[[Watcher], object]] = [
        lambda watcher: watcher.activated(0),
        lambda watcher: watcher.activated("1"),  # type: ignore[arg-type]
        lambda watcher: watcher.activated(True),  # noqa: FBT003 - the invalid argument
        lambda watcher: watcher.activated(order_id, after=-1),
        lambda watcher: watcher.activated(order_id, after=1.5),  # type: ignore[arg-type]
        lambda watcher: watcher.activated(order_id, after=True),
        lambda watcher: watcher.activated(order_id, timeout=float("nan")),
        lambda watcher: watcher.activated(order_id, timeout=None),  # type: ignore[arg-type]
    ]
    async with watching(sim) as watcher:
        await polls(1)
        sim.requests.clear()
        for call in bad:
            with pytest.raises(ValueError, match=r"order|after|timeout"):
                call(watcher)
        assert sim.requests == []
        await assert_polls_as_usual(sim)


async def test_activated_needs_an_entered_watcher() -> None:
    account = Numbers(order())
    watcher = Watcher(account)
    for after in (None, 0):
        with pytest.raises(WatcherClosed, match="not entered"):
            await enter_and_leave(watcher.activated(1, after=after, timeout=10))
    async with watcher:
        await enter_and_leave(watcher.activated(1))
        late = watcher.activated(1)
    with pytest.raises(WatcherClosed, match="left"):
        await enter_and_leave(late)
    with pytest.raises(WatcherClosed, match="left"):
        await enter_and_leave(watcher.activated(1))


async def test_the_call_alone_sends_no_request() -> None:
    account = Numbers(order())
    async with Watcher(account) as watcher:
        await anyio.sleep(10)
        account.calls.clear()
        watcher.activated(1)
        await anyio.sleep(15)
        assert account.calls == []
