"""Subscriptions: where they begin, that they lose no event, and that they send no requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import anyio
import pytest

from smspva_async import Event, Lagged, MemoryJournal, OrderState, SmsReceived, StateChanged, Watcher
from tests.support.accounts import ORDERS, OUTAGE, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.selection import slow
from tests.support.watching import SlowJournal, kinds, polls, so_far, texts, within

if TYPE_CHECKING:
    from smspva_async import Subscription

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


def account_with(*messages: str, order_id: int = 1) -> Account:
    """Return an account whose order has messages that a watch reports."""
    account = Account(order(order_id))
    account.messages[order_id] = [sms(text, number) for number, text in enumerate(messages)]
    return account


# -- the first place -------------------------------------------------------------------------------------------------


async def test_by_default_events_begin_after_the_baseline() -> None:
    async with Watcher(account_with("one")) as watcher:
        events = watcher.events()
        await polls(2)
        later = watcher.events()
        for subscription in (events, later):
            assert texts(await within(1, subscription)) == ["one"]
        assert kinds(await so_far(watcher)) == ["OrderAdded", "SmsReceived"]


async def test_before_the_first_good_poll_a_subscription_waits_for_the_baseline() -> None:
    account = account_with()
    account.failures[ORDERS] = OUTAGE
    async with Watcher(account) as watcher:
        events = watcher.events()
        assert await within(100, events) == []
        account.failures.clear()
        await polls(1)
        account.messages[1] = [sms("one", 1000)]
        assert texts(await within(100, events)) == ["one"]
        assert kinds(await so_far(watcher)) == ["PollFailed", "PollRecovered", "OrderAdded", "SmsReceived"]


async def test_a_replay_begins_before_the_first_event() -> None:
    async with Watcher(account_with("one"), start="replay") as watcher:
        await polls(2)
        assert kinds(await within(1, watcher.events())) == ["OrderAdded", "SmsReceived"]


@pytest.mark.parametrize("start", ["baseline", "replay"])
async def test_a_journal_with_a_state_begins_before_the_first_event_of_this_run(
    start: Literal["baseline", "replay"],
) -> None:
    account, journal = account_with("one"), MemoryJournal()
    async with Watcher(account, journal=journal):
        await polls(2)
    account.listed = [order(state=OrderState.ACTIVE)]
    async with Watcher(account, journal=journal, start=start) as watcher:
        assert kinds(await within(1, watcher.events())) == ["StateChanged"]
        assert kinds(await so_far(watcher)) == ["OrderAdded", "SmsReceived", "StateChanged"]


async def test_events_begin_after_a_given_number() -> None:
    account = account_with("one", "two", "three")
    async with Watcher(account) as watcher:
        await polls(1)
        assert watcher.cursor == 4
        assert len(await within(1, watcher.events(after=0))) == 4
        assert texts(await within(1, watcher.events(after=2))) == ["two", "three"]
        assert await within(1, watcher.events(after=watcher.cursor)) == []


async def test_a_stored_number_resumes_in_another_run() -> None:
    account, journal = account_with("one", "two"), MemoryJournal()
    async with Watcher(account, journal=journal) as watcher:
        await polls(1)
        events = watcher.events()
        assert texts([await anext(events)]) == ["one"]
        stored = events.cursor
    async with Watcher(account, journal=journal) as watcher:
        assert texts(await within(1, watcher.events(after=stored))) == ["two"]


async def test_a_subscription_begins_at_the_call_and_not_at_the_first_step() -> None:
    account = account_with()
    async with Watcher(account) as watcher:
        events = watcher.events(after=watcher.cursor)
        account.messages[1] = [sms("one"), sms("two")]
        await polls(5)
        assert texts(await within(1, events)) == ["one", "two"]


async def test_the_cursor_of_a_subscription_is_the_number_of_its_last_event() -> None:
    async with Watcher(account_with("one", "two")) as watcher:
        await polls(1)
        events = watcher.events()
        assert events.cursor == 1
        for seq in (2, 3):
            assert (await anext(events)).seq == events.cursor == seq
        assert repr(events) == "<Subscription after event 3>"


@pytest.mark.parametrize("after", [-1, 1.0, "1", True])
async def test_an_invalid_place_is_rejected(after: int) -> None:
    async with Watcher(account_with()) as watcher:
        with pytest.raises(ValueError, match="after must be an integer"):
            watcher.events(after=after)


@pytest.mark.parametrize("order_id", [0, -1, "1", True])
async def test_an_invalid_order_id_is_rejected(order_id: int) -> None:
    async with Watcher(account_with()) as watcher:
        with pytest.raises(ValueError, match="order"):
            watcher.events(order_id=order_id)


# -- falling behind --------------------------------------------------------------------------------------------------


async def test_a_place_that_is_no_longer_kept_raises_lagged_with_the_place_to_resume() -> None:
    account = account_with("one", "two", "three", "four")
    async with Watcher(account, journal=MemoryJournal(keep=2)) as watcher:
        behind, by_default = watcher.events(after=1), watcher.events()
        await polls(1)
        account.messages[1].append(sms("five", 60))
        await polls(1)
        for subscription in (behind, by_default):
            with pytest.raises(Lagged) as caught:
                await anext(subscription)
            assert texts(await within(1, watcher.events(after=caught.value.resume))) == ["four", "five"]


async def test_after_0_returns_all_kept_events() -> None:
    account = account_with("one", "two", "three", "four")
    async with Watcher(account, journal=MemoryJournal(keep=2)) as watcher:
        await polls(1)
        account.messages[1].append(sms("five", 60))
        await polls(1)
        assert texts(await within(1, watcher.events(after=0))) == ["four", "five"]
        assert (await watcher.wait_for_sms(1, after=0, timeout=0)).sms.text == "four"


async def test_two_tasks_cannot_read_one_subscription() -> None:
    async with Watcher(Account(order())) as watcher, anyio.create_task_group() as tasks:
        subscription = watcher.events()
        tasks.start_soon(anext, subscription, None)
        await polls(1)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(subscription)
        tasks.cancel_scope.cancel()


async def test_no_event_is_ahead_of_cursor_and_orders() -> None:
    account, journal = Account(order()), SlowJournal()
    ahead: list[Event] = []

    async def read(watcher: Watcher) -> None:
        async for event in watcher.events():
            if event.seq > watcher.cursor or (isinstance(event, StateChanged) and watcher.orders[1] != event.order):
                ahead.append(event)  # noqa: PERF401 - compared when each event comes

    async with Watcher(account, journal=journal) as watcher, anyio.create_task_group() as tasks:
        tasks.start_soon(read, watcher)
        for state in (OrderState.ACTIVATING, OrderState.ACTIVE, OrderState.INACTIVE):
            account.change(1, state=state)
            await polls(1)
        assert watcher.cursor == 4
        tasks.cancel_scope.cancel()
    assert ahead == []


async def test_a_place_after_the_newest_raises_lagged_with_the_place_to_resume() -> None:
    async with Watcher(account_with("one")) as watcher:
        await polls(1)
        with pytest.raises(Lagged) as caught:
            await anext(watcher.events(after=1000))
        assert caught.value.resume == watcher.cursor == 2


# -- only one order --------------------------------------------------------------------------------------------------


async def test_a_subscription_can_be_limited_to_one_order() -> None:
    account = Account(order(1), order(2), order(3))
    for order_id in (1, 2, 3):
        account.messages[order_id] = [sms(f"to {order_id}", number) for number in range(300)]
    async with Watcher(account) as watcher:
        events = watcher.events(after=0, order_id=2)
        account.failures[ORDERS] = OUTAGE  # its events have no order
        given = await within(100, events)
        assert kinds(given) == ["OrderAdded"] + ["SmsReceived"] * 300
        assert {event.order_id for event in given} == {2}
        assert events.cursor == watcher.cursor


async def test_a_subscription_to_a_quiet_order_does_not_lag() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account, journal=MemoryJournal(keep=5)) as watcher, anyio.create_task_group() as tasks:
        given: list[Event] = []

        async def take_one() -> None:
            given.append(await anext(watcher.events(order_id=2)))

        tasks.start_soon(take_one)
        for number in range(20):
            account.messages[1].append(sms(f"to 1: {number}", number))
            await polls(1)
        account.messages[2] = [sms("to 2", 1000)]
        await polls(2)
        assert texts(given) == ["to 2"]


# -- losing nothing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order_id", [None, 1])
async def test_a_cancelled_step_loses_nothing(order_id: int | None) -> None:
    account = account_with()
    async with Watcher(account) as watcher:
        events = watcher.events(order_id=order_id)
        given: list[Event] = []
        for number in range(100):
            if number % 10 == 0:
                account.messages[1].append(sms(str(number), number))
            with anyio.CancelScope() as scope, anyio.CancelScope(deadline=anyio.current_time() + 2.7):
                if number % 3:
                    scope.cancel()
                given.append(await anext(events))
        given += await within(40, events)
        assert texts(given) == [str(number) for number in range(0, 100, 10)]


async def test_a_loop_that_is_left_can_be_continued() -> None:
    async with Watcher(account_with("one", "two", "three")) as watcher:
        events = watcher.events()
        async for event in events:
            assert texts([event]) == ["one"]
            break
        assert texts(await within(40, events)) == ["two", "three"]


async def test_a_slow_consumer_does_not_delay_others() -> None:
    account = account_with()
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        slow, quick = list[Event](), list[Event]()

        async def read_slowly() -> None:
            async for event in watcher.events():
                slow.append(event)
                await anyio.sleep(500)

        async def read_quickly() -> None:
            async for event in watcher.events():
                quick.append(event)

        tasks.start_soon(read_slowly)
        tasks.start_soon(read_quickly)
        for number in range(10):
            account.messages[1].append(sms(str(number), number))
            await polls(1)
        assert (len(slow), len(quick)) == (1, 10)
        await anyio.sleep(5000)
        assert slow == quick
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("count", [100, slow(1000)])
async def test_many_subscriptions_return_the_same_events(count: int) -> None:
    account = account_with()
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        given: list[list[str]] = [[] for _ in range(count)]

        async def take(into: list[str], events: Subscription) -> None:
            async for event in events:
                into += texts([event])

        for into in given:
            tasks.start_soon(take, into, watcher.events())
        account.messages[1] = [sms("one"), sms("two")]
        await polls(2)
        assert given == [["one", "two"]] * count
        assert len(account.calls) <= 6  # they send no requests
        tasks.cancel_scope.cancel()


# -- the id of a message ---------------------------------------------------------------------------------------------


async def ids_of(account: Account, order_id: int = 1) -> list[str]:
    """Return the ids of an order's messages in a separate run."""
    async with Watcher(account, start="replay") as watcher:
        await polls(2)
        return [e.id for e in await so_far(watcher) if isinstance(e, SmsReceived) and e.order_id == order_id]


async def test_the_id_depends_only_on_order_message_and_count() -> None:
    account = account_with("one", "two")
    account.messages[1] += account.messages[1][:1]
    first = await ids_of(account)
    assert len(set(first)) == 3
    await polls(100)
    account.listed = [order(9), order(1, state=OrderState.ACTIVE)]
    account.messages[9] = list(account.messages[1])
    account.messages[1].insert(0, sms("earlier", -5))
    account.messages[1].reverse()
    second = await ids_of(account)
    assert set(first) < set(second)
    assert len(set(second)) == 4
    assert not set(second) & set(await ids_of(account, 9))


async def test_the_id_is_the_same_when_the_event_is_read_again() -> None:
    async with Watcher(account_with("one", "two")) as watcher:
        await polls(2)
        assert await so_far(watcher) == await so_far(watcher)
        assert [event.seq for event in await so_far(watcher)] == [1, 2, 3]
