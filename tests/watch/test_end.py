"""The end of a watch: by a permanent error, or quietly on leaving."""

# ruff: noqa: PT012 - the error is raised around the watch, so the whole watch is inside `raises`

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import (
    ClientClosed,
    Event,
    InvalidKey,
    JournalError,
    JournalLocked,
    MemoryJournal,
    OrderState,
    SmspvaClient,
    SmspvaError,
    SmsReceived,
    Subscription,
    Watcher,
    WatcherClosed,
)
from smspva_async.simulator import Simulator
from tests.support.accounts import ORDERS, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.watching import INTERVAL, gaps, kinds, polls, so_far, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from smspva_async.journal.state import WatchState

pytestmark = [pytest.mark.anyio, on_both_backends]

BAD_KEY = InvalidKey("refused", msg="API KEY NOT FOUND!")


class Journal(MemoryJournal):
    """A journal whose disk may fill up."""

    full = breaks = False

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        if self.full:
            raise JournalError("the disk is full")
        if self.breaks:
            raise ZeroDivisionError
        await super().append(events, state, places)


def refuse_the_key(account: Account, _: Journal) -> None:
    account.failures = {ORDERS: BAD_KEY, 1: BAD_KEY}


def close_the_client(account: Account, _: Journal) -> None:
    account.failures[ORDERS] = ClientClosed("closed")


def close_it_between_the_calls(account: Account, _: Journal) -> None:
    account.failures[1] = ClientClosed("closed")


def lose_the_journal(account: Account, journal: Journal) -> None:
    journal.full = True
    account.messages[1].append(sms("to be written", None))


def break_a_promise_of_the_journal(account: Account, journal: Journal) -> None:
    journal.breaks = True
    account.messages[1].append(sms("to be written", None))


CAUSES: list[tuple[Callable[[Account, Journal], None], type[SmspvaError]]] = [
    (refuse_the_key, InvalidKey),
    (close_the_client, ClientClosed),
    (close_it_between_the_calls, ClientClosed),
    (lose_the_journal, JournalError),
    (break_a_promise_of_the_journal, JournalError),
]
of_every_cause = pytest.mark.parametrize(("cause", "error"), CAUSES, ids=lambda of: getattr(of, "__name__", None))


@of_every_cause
async def test_after_the_end_every_call_raises_its_own_copy_of_the_error(
    cause: Callable[[Account, Journal], None], error: type[SmspvaError]
) -> None:
    account, journal = Account(order()), Journal()
    account.messages[1] = [sms("kept", None)]
    raised: list[BaseException] = []

    async def raising(awaited: Awaitable[object]) -> None:
        with pytest.raises(error) as caught:
            await awaited
        raised.append(caught.value)

    with pytest.raises(error) as around:
        async with Watcher(account, journal=journal, start="replay") as watcher:
            await anyio.sleep(5)
            reading, waiting = watcher.events(), watcher.events(after=watcher.cursor, order_id=2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(raising, anext(waiting))
                tasks.start_soon(raising, watcher.wait_for_sms(1, timeout=1000))
                tasks.start_soon(raising, watcher.wait_for_state(1, OrderState.ACTIVE, timeout=1000))
                await anyio.sleep(1)
                cause(account, journal)
            assert len(raised) == 3
            kept = [await anext(reading) for _ in range(watcher.cursor)]
            assert kinds(kept)[:2] == ["OrderAdded", "SmsReceived"]
            for _ in range(2):
                await raising(anext(reading))
            await raising(anext(watcher.events(after=watcher.cursor)))
            await raising(watcher.wait_for_sms(1, timeout=1000))
            await raising(watcher.wait_for_state(1, OrderState.INACTIVE, timeout=1000))
    raised.append(around.value)
    assert len({id(one) for one in raised}) == len(raised) == 9
    assert type(around.value) is error
    assert {str(one) for one in raised} == {str(around.value)}
    await journal.open(None)  # no other watcher uses it


@of_every_cause
async def test_the_end_does_not_cancel_the_body(
    cause: Callable[[Account, Journal], None], error: type[SmspvaError]
) -> None:
    account, journal = Account(order()), Journal()
    with pytest.raises(error):
        async with Watcher(account, journal=journal):
            cause(account, journal)
            await anyio.sleep(1000)
            account.calls.clear()
            await anyio.sleep(1000)
            assert account.calls == []  # and no request is sent any more


@of_every_cause
async def test_an_error_of_the_body_takes_precedence(
    cause: Callable[[Account, Journal], None], error: type[SmspvaError]
) -> None:
    account, journal = Account(order()), Journal()
    with pytest.raises(LookupError, match=error.__name__):
        async with Watcher(account, journal=journal):
            cause(account, journal)
            await anyio.sleep(100)
            raise LookupError(error.__name__)


@pytest.mark.parametrize("when", ["from the beginning", "later"])
@pytest.mark.parametrize("orders", [0, 1, 5])
async def test_a_banned_account_ends_the_watch(orders: int, when: str) -> None:
    sim = Simulator()
    for _ in range(orders):
        sim.add_order()
    sim.behavior.banned = when == "from the beginning"
    with pytest.raises(InvalidKey, match="BANNED"):
        async with SmspvaClient("key", transport=sim.transport()) as client, Watcher(client) as watcher:
            sim.behavior.banned = True
            async for _ in watcher.events():
                pass
    assert len(sim.requests) <= 2 * orders + 4
    assert sim.requests[-1].time - sim.requests[0].time < INTERVAL + 11


async def test_a_closed_client_ends_the_watch() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    client = SmspvaClient("key", transport=sim.transport())
    with pytest.raises(ClientClosed):
        async with Watcher(client) as watcher:
            await client.aclose()
            await watcher.wait_for_sms(order_id, timeout=1000)


async def test_a_watch_that_cannot_begin_raises_on_entering() -> None:
    account, journal = Account(order()), Journal()
    account.failures[ORDERS] = ClientClosed("closed")
    watcher = Watcher(account, journal=journal)
    with pytest.raises(ClientClosed):
        await watcher.__aenter__()
    with pytest.raises(WatcherClosed):
        watcher.events()
    journal.full, account.failures = True, {}
    with pytest.raises(JournalError):
        await Watcher(account, journal=journal).__aenter__()
    assert await journal.open(None) is None


async def test_two_watchers_do_not_share_a_journal() -> None:
    journal = MemoryJournal()
    async with Watcher(Account(order()), journal=journal) as watcher:
        with pytest.raises(JournalLocked):
            await Watcher(Account(), journal=journal).__aenter__()
        with pytest.raises(JournalLocked):  # the first one still uses it
            await journal.open(None)
        assert kinds(await so_far(watcher)) == ["OrderAdded"]


async def test_leaving_ends_iterators_quietly_after_the_kept_events() -> None:
    account, ended = Account(order()), list[Event]()

    async def iterate(events: Subscription) -> None:
        ended.extend([event async for event in events])

    async with anyio.create_task_group() as tasks:
        async with Watcher(account) as watcher:
            waiting, reading = watcher.events(after=watcher.cursor), watcher.events(after=0)
            tasks.start_soon(iterate, waiting)
            await anyio.sleep(5)
            account.messages[1] = [sms("one"), sms("two")]
            await polls(2)
            assert ended == []
        await anyio.sleep(1)
        assert texts(ended) == ["one", "two"]
    assert kinds([event async for event in reading]) == ["OrderAdded", "SmsReceived", "SmsReceived"]


async def test_after_leaving_no_iterator_can_be_made() -> None:
    async with Watcher(Account(order())) as watcher:
        pass
    for make in (watcher.events, lambda: watcher.consumer("name"), lambda: watcher.activated(1)):
        with pytest.raises(WatcherClosed, match="was left"):
            make()


async def test_leaving_before_the_first_good_poll_ends_iterators_too() -> None:
    account = Account()
    account.failures[ORDERS] = OSError("down")
    async with Watcher(account) as watcher:
        events = watcher.events()
    assert [event async for event in events] == []


async def test_leaving_raises_in_open_waits() -> None:
    raised: list[WatcherClosed] = []

    async def raising(awaited: Awaitable[object]) -> None:
        with pytest.raises(WatcherClosed) as caught:
            await awaited
        raised.append(caught.value)

    async with anyio.create_task_group() as tasks:
        async with Watcher(Account(order())) as watcher:
            tasks.start_soon(raising, watcher.wait_for_sms(1, timeout=1000))
            tasks.start_soon(raising, watcher.wait_for_state(2, OrderState.ACTIVE, timeout=1000))
            await polls(1)
            assert raised == []
        await anyio.sleep(1)
        assert len(raised) == 2
        await raising(watcher.wait_for_sms(1, timeout=1000))
        await raising(watcher.wait_for_state(1, OrderState.INACTIVE, timeout=1000))


async def test_a_watcher_must_be_entered_and_can_be_entered_only_once() -> None:
    watcher = Watcher(Account(order()))
    with pytest.raises(WatcherClosed):
        watcher.events()
    with pytest.raises(WatcherClosed):
        watcher.events(after=0)
    with pytest.raises(WatcherClosed):
        await watcher.wait_for_sms(1, timeout=1)
    with pytest.raises(WatcherClosed):
        await watcher.wait_for_state(1, OrderState.ACTIVE, timeout=1)
    async with watcher:
        pass
    with pytest.raises(RuntimeError, match="once"):
        await watcher.__aenter__()


async def test_a_key_that_orders_refuses_for_ten_seconds_ends_the_watch_even_if_sms_works() -> None:
    account = Account(order())
    with pytest.raises(InvalidKey):
        async with Watcher(account) as watcher:
            account.failures[ORDERS] = BAD_KEY
            await watcher.wait_for_sms(1, timeout=1000)
    first, *refused = account.times(ORDERS)
    assert gaps(refused) == pytest.approx([10])
    assert len(account.times(1)) > (refused[0] - first) / 2


async def test_a_key_refused_for_a_moment_does_not_end_the_watch() -> None:
    account = Account(order())
    async with Watcher(account, interval=2) as watcher:
        await anyio.sleep(1)
        for _ in range(3):
            account.failures = {ORDERS: BAD_KEY, 1: BAD_KEY}
            await anyio.sleep(9)
            account.failures.clear()
            await anyio.sleep(9)
        account.messages[1] = [sms("after it", None)]
        assert (await watcher.wait_for_sms(1, after=0, timeout=60)).sms.text == "after it"


async def test_lists_that_refuse_the_key_do_not_end_the_watch() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.failures = {1: BAD_KEY}
        await polls(20)
        assert kinds(await so_far(watcher)) == ["OrderAdded", "PollFailed"]


async def test_a_wrong_key_ends_the_watch_after_ten_seconds() -> None:
    account = Account(order())
    account.failures = {ORDERS: BAD_KEY}
    began = anyio.current_time()
    with pytest.raises(InvalidKey):
        async with Watcher(account) as watcher:
            await watcher.wait_for_sms(1, timeout=1000)
    assert 10 <= anyio.current_time() - began < 12


async def test_events_being_written_on_leaving_are_delivered_before_the_end() -> None:
    class Slow(MemoryJournal):
        async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
            if any(isinstance(event, SmsReceived) for event in events):
                writing.set()
                await may_write.wait()
            await super().append(events, state, places)

    async def consume(watcher: Watcher) -> None:
        given.extend([event async for event in watcher.events()])

    account, given = Account(order()), list[Event]()
    writing, may_write = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        async with Watcher(account, journal=Slow()) as watcher:
            await anyio.sleep(10)
            tasks.start_soon(consume, watcher)
            account.messages[1].append(sms("the last", None))
            account.change(1, has_new_sms=True)
            await writing.wait()
            tasks.start_soon(_set_later, may_write)
        assert watcher.cursor == 2
    assert kinds(given) == ["SmsReceived"]


async def _set_later(event: anyio.Event) -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()
    event.set()


async def test_the_repr_of_a_watcher() -> None:
    account = Account(order(1), order(2))
    watcher = Watcher(account)
    assert repr(watcher) == "<Watcher, not entered yet>"
    async with watcher:
        assert repr(watcher) == "<Watcher, running: 2 orders, 2 events>"
    assert repr(watcher) == "<Watcher, left: 2 orders, 2 events>"
    failing = Watcher(account)
    with pytest.raises(ClientClosed):
        async with failing:
            account.failures[ORDERS] = ClientClosed("closed")
            await polls(2)
            assert repr(failing) == "<Watcher, failed: 2 orders, 2 events>"
