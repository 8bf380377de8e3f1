"""Names: the journal keeps how far each consumer has come, through restarts, kills, takeovers and cancellations."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from trio.testing import MockClock

from smspva_async import (
    CursorTaken,
    Event,
    JournalError,
    Lagged,
    MemoryJournal,
    SmsReceived,
    SqliteJournal,
    Watcher,
    WatcherClosed,
)
from smspva_async.simulator import VirtualTimeLoop
from tests.watching import ORDERS, OUTAGE, Account, kinds, order, polls, sms, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from smspva_async import Journal, Subscription
    from smspva_async._diff import State

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

asyncio_alone = pytest.mark.parametrize("anyio_backend", ["asyncio"])
both_ends = pytest.mark.parametrize("end", ["left", "killed"])

BROKEN = JournalError("the journal can't be written: the disk is full")
LONG = 2e5
"""Seconds, on a clock that jumps, after which it won't happen any more."""


class Run:
    """The journal of one process. It halts at each step, and the process can be killed: nothing it writes arrives then.

    Attributes:
        dead: Whether the process was killed.
        broken: What writing a place raises.
        before: What is waited for before a place is written, or before an event is read.
        written: How often places were.

    """

    def __init__(self, inner: Journal) -> None:
        self.dead = False
        self.broken: JournalError | None = None
        self.before: dict[Literal["move", "read"], Callable[[], Awaitable[None]]] = {}
        self.written = 0
        self._inner = inner

    async def open(self, account: Callable[[], str] | None) -> State | None:
        return await self._inner.open(account)

    async def append(self, events: Sequence[Event], state: State, places: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        if not self.dead:
            await self._inner.append(events, state, places)

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        await anyio.lowlevel.checkpoint()
        if "read" in self.before:
            await self.before["read"]()
        return await self._inner.read(after, limit)

    async def places(self) -> Mapping[str, int]:
        return await self._inner.places()

    async def move(self, places: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        if "move" in self.before:
            await self.before["move"]()
        if self.broken is not None:
            raise self.broken
        self.written += 1
        if not self.dead:
            await self._inner.move(places)

    async def forget(self, name: str) -> None:
        await self._inner.forget(name)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Disk:
    """What outlasts a process: a file, or for journals in memory the journal itself."""

    def __init__(self, path: Path | None, keep: int = 1000) -> None:
        self.journal: Run
        """The journal of the last process."""
        self._path = path
        self._keep = keep
        self._memory = MemoryJournal(keep)

    def watch(self, account: Account, start: Literal["baseline", "replay"] = "baseline") -> Watcher:
        """Return the watcher of a new process."""
        self.journal = Run(self._memory if self._path is None else SqliteJournal(self._path, keep=self._keep))
        return Watcher(account, journal=self.journal, start=start)

    @asynccontextmanager
    async def watching(
        self, account: Account, *, end: str = "left", start: Literal["baseline", "replay"] = "baseline"
    ) -> AsyncIterator[Watcher]:
        """Watch in a new process, which is left or killed in the end."""
        async with self.watch(account, start) as watcher:
            yield watcher
            self.journal.dead = end == "killed"

    async def places(self) -> Mapping[str, int]:
        return await self.journal.places()


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(None if request.param == "memory" else tmp_path / "journal")


@pytest.fixture
def memory() -> Disk:
    return Disk(None)


def account_with(count: int) -> Account:
    """Return an account with an order, which is event 1, and messages "2", "3" and so on: the events of that number."""
    account = Account(order())
    deliver(account, count)
    return account


def deliver(account: Account, count: int) -> None:
    first = len(account.messages[1]) + 2
    account.messages[1] += [sms(str(number), number) for number in range(first, first + count)]


async def take(events: Subscription, count: int) -> list[int]:
    """Return the numbers of the next events."""
    return seqs([await step(events) for _ in range(count)])


async def step(events: Subscription) -> Event:
    """Return the next event."""
    with anyio.fail_after(LONG):
        return await anext(events)


async def until(watcher: Watcher, seq: int) -> None:
    """Wait until an event has been written."""
    with anyio.fail_after(LONG):
        while watcher.cursor < seq:
            await polls(1)


async def rest(events: Subscription) -> list[int]:
    """Return the numbers of what a subscription gives until the watcher is left."""
    return seqs([event async for event in events])


def seqs(events: Iterable[Event]) -> list[int]:
    return [event.seq for event in events]


async def cancelled_after(checkpoints: int, function: Callable[[], Awaitable[Any]]) -> bool:
    """Call a function and cancel it some steps of the scheduler later; return whether it got to its end."""
    ended = False

    async def call() -> None:
        nonlocal ended
        with scope:
            await function()
            ended = True

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        tasks.start_soon(call)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        scope.cancel()
    return ended


async def waiting(events: Subscription, tasks: anyio.abc.TaskGroup) -> list[Exception]:
    """Have a task wait for the next event; return where it puts what is raised instead."""
    raised: list[Exception] = []

    async def wait() -> None:
        try:
            await anext(events)
        except CursorTaken as error:
            raised.append(error)

    tasks.start_soon(wait)
    for _ in range(20):
        await anyio.lowlevel.checkpoint()
    return raised


# -- where a name begins -----------------------------------------------------------------------------------------------


async def test_a_new_name_begins_after_the_baseline(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        early = watcher.events("early")
        await until(watcher, 3)
        late = watcher.events("late")
        for events in (early, late):
            assert events.cursor == 1
            assert await take(events, 2) == [2, 3]


@both_ends
async def test_taken_before_the_first_good_poll_it_waits_for_the_baseline(disk: Disk, end: str) -> None:
    account = account_with(0)
    account.failures[ORDERS] = OUTAGE
    async with disk.watching(account, end=end) as watcher:
        watcher.events("never read")
        events = watcher.events("name")
        async with anyio.create_task_group() as tasks:
            await waiting(events, tasks)
            account.failures.clear()
            await until(watcher, 3)
            account.messages[1] = [sms("one", 1000)]
        await until(watcher, 4)
    async with disk.watching(account) as watcher:
        for name in ("name", "never read"):
            assert texts([await step(watcher.events(name))]) == ["one"]
        assert kinds([event async for event in so_far(watcher)]) == [
            "PollFailed",
            "PollRecovered",
            "OrderAdded",
            "SmsReceived",
        ]


async def so_far(watcher: Watcher) -> AsyncIterator[Event]:
    events = watcher.events(after=0)
    for _ in range(watcher.cursor):
        yield await step(events)


@both_ends
async def test_a_run_without_a_good_poll_leaves_the_baseline_to_the_next(disk: Disk, end: str) -> None:
    account = account_with(1)
    account.failures[ORDERS] = OUTAGE
    async with disk.watching(account, end=end) as watcher:
        watcher.events("name")
        await polls(2)
        assert watcher.cursor == 1
    account.failures.clear()
    async with disk.watching(account) as watcher:
        assert texts([await step(watcher.events("name"))]) == ["2"]


@both_ends
async def test_with_replay_it_begins_before_the_first_event(disk: Disk, end: str) -> None:
    account = account_with(2)
    async with disk.watching(account, end=end, start="replay") as watcher:
        watcher.events("never read")
        assert await take(watcher.events("name"), 3) == [1, 2, 3]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("never read"), 3) == [1, 2, 3]


async def test_with_a_journal_that_had_a_state_it_begins_before_the_first_event_of_the_run(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        await until(watcher, 2)
    deliver(account, 2)
    async with disk.watching(account) as watcher:
        await until(watcher, 4)
        assert await take(watcher.events("name"), 2) == [3, 4]


async def test_the_place_is_fixed_when_the_name_is_taken(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        await until(watcher, 2)
        events = watcher.events("name", after=watcher.cursor)
        deliver(account, 2)
        await until(watcher, 4)
        assert await take(events, 2) == [3, 4]


@pytest.mark.parametrize(("after", "first"), [(0, 1), (1, 2), (3, 4)])
async def test_a_new_name_begins_where_it_is_told_to(disk: Disk, after: int, first: int) -> None:
    async with disk.watching(account_with(4)) as watcher:
        await until(watcher, 5)
        assert await take(watcher.events("name", after=after), 2) == [first, first + 1]


# -- where a name begins, if nothing was read under it yet -------------------------------------------------------------


@both_ends
async def test_no_event_written_after_the_name_was_taken_is_lost_to_it(disk: Disk, end: str) -> None:
    account = account_with(0)
    async with disk.watching(account, end=end) as watcher:
        watcher.events("name")
        watcher.events("from now on", after=watcher.cursor)
        deliver(account, 3)
        await until(watcher, 4)
    deliver(account, 1)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        for name in ("name", "from now on"):
            assert await take(watcher.events(name), 4) == [2, 3, 4, 5]


async def test_a_name_that_was_never_read_is_kept_when_the_watcher_is_left(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account) as watcher:
        await until(watcher, 3)
        watcher.events("name", after=1)
    assert await disk.places() == {"name": 1}
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [2, 3]


async def test_a_name_is_kept_before_anything_is_given_under_it(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 3)
        assert await take(watcher.events("name", after=1, auto_ack=False), 1) == [2]
    assert await disk.places() == {"name": 1}
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [2, 3]


@both_ends
async def test_a_name_that_began_with_all_that_was_kept_is_not_told_of_what_was_gone_before(
    tmp_path: Path, end: str
) -> None:
    disk, account = Disk(tmp_path / "journal", keep=3), account_with(9)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 10)
        deliver(account, 1)
        await until(watcher, 11)
        assert await take(watcher.events("name", after=0), 1) == [9]
        deliver(account, 20)
        await until(watcher, 31)
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 23) == list(range(9, 32))


# -- `after` with a name that is known ---------------------------------------------------------------------------------


@both_ends
@pytest.mark.parametrize(("after", "first"), [(0, 3), (1, 3), (2, 3), (4, 5)])
async def test_after_is_the_larger_of_both(disk: Disk, after: int, first: int, end: str) -> None:
    account = account_with(5)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 6)
        assert await take(watcher.events("name"), 2) == [2, 3]  # 2 is done
        assert await take(watcher.events("name", after=after), 1) == [first]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name", after=after), 1) == [first]
        assert await take(watcher.events("name"), 1) == [3]  # it hasn't moved


async def test_after_is_the_larger_of_both_if_nothing_was_read_under_the_name(memory: Disk) -> None:
    async with memory.watching(account_with(5)) as watcher:
        await until(watcher, 6)
        for after, first in ((0, 2), (1, 2), (4, 5)):
            watcher.events(f"name {after}")
            assert await take(watcher.events(f"name {after}", after=after), 1) == [first]


@both_ends
@pytest.mark.parametrize("known", [True, False])
async def test_a_place_in_the_future_is_refused_and_does_no_harm(disk: Disk, known: bool, end: str) -> None:  # noqa: FBT001
    account = account_with(3)
    async with disk.watching(account, end=end) as watcher:
        await until(watcher, 4)
        if known:
            assert await take(watcher.events("name"), 2) == [2, 3]
        with pytest.raises(Lagged) as caught:
            await step(watcher.events("name", after=1000))
        assert caught.value.resume == 4
        assert await disk.places() == ({"name": 2} if known else {})
        events = watcher.events("name", after=caught.value.resume)
        deliver(account, 1)
        await until(watcher, 5)
        assert await take(events, 1) == [5]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 1) == [3 if known else 5]


async def test_a_name_that_has_fallen_behind_goes_on_where_it_is_told() -> None:
    disk, account = Disk(None, keep=3), account_with(2)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", after=0)
        await until(watcher, 3)
        assert await take(events, 1) == [1]
        deliver(account, 6)
        await until(watcher, 9)
        for _ in range(2):  # it isn't passed over, however often it is asked
            with pytest.raises(Lagged) as caught:
                await step(events)
            assert caught.value.resume == 6
        assert await disk.places() == {"name": 1}
        assert await take(watcher.events("name", after=caught.value.resume), 2) == [7, 8]
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [8, 9]


async def test_a_file_keeps_what_a_name_has_not_read(tmp_path: Path) -> None:
    disk, account = Disk(tmp_path / "journal", keep=2), account_with(1)
    async with disk.watching(account) as watcher:
        watcher.events("name")
        for seq in range(2, 12):
            await until(watcher, seq)
            deliver(account, 1)
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 10) == list(range(2, 12))


# -- the place moves with the next step --------------------------------------------------------------------------------


@both_ends
async def test_asking_for_the_next_event_acknowledges_the_one_before(disk: Disk, end: str) -> None:
    account = account_with(4)
    for first in (2, 3, 4):
        async with disk.watching(account, end=end) as watcher:
            assert await take(watcher.events("name"), 2) == [first, first + 1]


@both_ends
async def test_an_event_that_was_given_last_is_given_again(disk: Disk, end: str) -> None:
    account = account_with(3)
    given: list[Event] = []
    for _ in range(3):
        async with disk.watching(account, end=end) as watcher:
            given.append(await step(watcher.events("name")))
    assert given == given[:1] * 3
    assert isinstance(given[0], SmsReceived)


async def test_asking_in_vain_acknowledges_as_well(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher:
        events = watcher.events("name")
        assert await take(events, 1) == [2]
    assert await rest(events) == []
    assert await disk.places() == {"name": 2}


async def test_a_loop_that_is_left_gives_its_last_event_again(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        async for event in watcher.events("name"):
            if event.seq == 3:
                break
        assert await take(watcher.events("name"), 2) == [3, 4]


# -- the place moves by `ack` ------------------------------------------------------------------------------------------


@both_ends
async def test_without_ack_the_place_stays(disk: Disk, end: str) -> None:
    account = account_with(3)
    for _ in range(2):
        async with disk.watching(account, end=end) as watcher:
            assert await take(watcher.events("name", auto_ack=False), 3) == [2, 3, 4]
    assert await disk.places() == {"name": 1}


@both_ends
@pytest.mark.parametrize("acked", [(2, 3, 4), (4, 3, 2), (3, 4, 2), (3, 4), (4, 2), (5, 3, 2)])
async def test_a_restart_goes_on_at_the_first_event_that_is_not_done(
    disk: Disk, acked: tuple[int, ...], end: str
) -> None:
    account = account_with(4)
    async with disk.watching(account, end=end) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = {event.seq: event for event in [await step(events) for _ in range(4)]}
        for seq in acked:
            await events.ack(given[seq])
    first = next(seq for seq in range(2, 7) if seq not in acked)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", auto_ack=False)
        again = [await step(events) for _ in range(first, 6)]
        assert again == [given[seq] for seq in range(first, 6)]


async def test_a_place_that_begins_with_after_moves_from_there(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        await take(watcher.events("name"), 1)
        events = watcher.events("name", after=3, auto_ack=False)
        await events.ack(await step(events))
        assert await disk.places() == {"name": 4}
        assert await take(watcher.events("name"), 1) == [5]


async def test_acknowledging_twice_changes_nothing(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(3)]
        for event in (given[0], given[0], given[2], given[2], given[0]):
            await events.ack(event)
        assert await disk.places() == {"name": 2}
        await events.ack(given[1])
        await events.ack(given[1])
        assert await disk.places() == {"name": 4}


async def test_an_event_that_was_not_given_cannot_be_acknowledged(memory: Disk) -> None:
    async with memory.watching(account_with(4)) as watcher:
        others = watcher.events(after=0)
        known = [await step(others) for _ in range(5)]
        events = watcher.events("name", after=2, auto_ack=False)
        for event in known:
            with pytest.raises(ValueError, match=f"event {event.seq} wasn't given"):
                await events.ack(event)
        await step(events)
        for event in (known[0], known[1], known[3]):
            with pytest.raises(ValueError, match=f"event {event.seq} wasn't given"):
                await events.ack(event)
        assert await memory.places() == {"name": 2}


async def test_without_a_name_there_is_nothing_to_acknowledge(memory: Disk) -> None:
    async with memory.watching(account_with(1)) as watcher:
        events = watcher.events()
        with pytest.raises(ValueError, match="with a name"):
            await events.ack(await step(events))
        with pytest.raises(ValueError, match="nothing to acknowledge"):
            watcher.events(auto_ack=False)


@both_ends
async def test_a_task_per_event_that_ends_in_any_order_loses_nothing(disk: Disk, end: str) -> None:
    account = account_with(12)
    done, acked = list[int](), set[int]()

    async def work(events: Subscription, event: Event, *, hangs: bool) -> None:
        await anyio.sleep(1 + event.seq * 5 % 7 if not hangs else LONG)
        done.append(event.seq)
        await events.ack(event)
        acked.add(event.seq)

    async def consume(watcher: Watcher, *hanging: int) -> None:
        events = watcher.events("name", auto_ack=False)
        async with anyio.create_task_group() as tasks:
            while events.cursor < 13:
                event = await step(events)
                tasks.start_soon(partial(work, events, event, hangs=event.seq in hanging))
            while not {*range(2, 14)} <= {*acked, *hanging}:
                await polls(1)
            tasks.cancel_scope.cancel()

    async with disk.watching(account, end=end) as watcher:
        await consume(watcher, 5, 9)
    assert sorted(done) == [2, 3, 4, 6, 7, 8, 10, 11, 12, 13]
    assert done != sorted(done)
    async with disk.watching(account) as watcher:
        await consume(watcher)
    assert {*done} == {*range(2, 14)}
    assert all(done.count(seq) == 1 for seq in (2, 3, 4))


async def test_several_tasks_acknowledge_at_once(disk: Disk) -> None:
    account = account_with(20)
    async with disk.watching(account) as watcher:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            for event in [*given[::-2], *given[::2], *given[10:]]:
                tasks.start_soon(events.ack, event)
        assert await disk.places() == {"name": 21}


async def test_an_acknowledgement_returns_when_the_journal_has_it(memory: Disk) -> None:
    held, acked = anyio.Event(), list[int]()
    async with memory.watching(account_with(2)) as watcher, anyio.create_task_group() as tasks:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(2)]
        memory.journal.before["move"] = held.wait

        async def ack(event: Event) -> None:
            await events.ack(event)
            acked.append(event.seq)

        for event in (given[0], given[1], given[0]):
            tasks.start_soon(ack, event)
            await polls(1)
        assert acked == []
        held.set()
        await polls(1)
        assert sorted(acked) == [2, 2, 3]
        assert await memory.places() == {"name": 3}


# -- taking a name over ------------------------------------------------------------------------------------------------


async def test_a_new_consumer_takes_the_name_over_between_two_events(disk: Disk) -> None:
    async with disk.watching(account_with(4)) as watcher:
        old = watcher.events("name")
        assert await take(old, 2) == [2, 3]
        new = watcher.events("name")
        for _ in range(2):
            with pytest.raises(CursorTaken, match="another consumer reads as 'name' now") as caught:
                await step(old)
            assert caught.value.name == "name"
        assert await take(new, 3) == [3, 4, 5]  # asking once more moved nothing


async def test_a_name_is_taken_over_before_the_first_step_of_either(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        first, second, third = (watcher.events("name") for _ in range(3))
        assert await take(third, 2) == [2, 3]
        for taken in (first, second):
            with pytest.raises(CursorTaken):
                await step(taken)


async def test_a_consumer_that_waits_is_woken_when_its_name_is_taken(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher, anyio.create_task_group() as tasks:
        old = watcher.events("name")
        assert await take(old, 1) == [2]
        raised = await waiting(old, tasks)
        with anyio.fail_after(LONG):
            while await disk.places() != {"name": 2}:
                await polls(1)
            raised_next = await waiting(watcher.events("name"), tasks)
            new = watcher.events("name")
            while not (raised and raised_next):
                await polls(1)
        deliver(account, 1)
        assert await take(new, 1) == [3]


async def test_a_consumer_that_waits_for_the_baseline_is_woken_as_well(memory: Disk) -> None:
    account = account_with(1)
    account.failures[ORDERS] = OUTAGE
    async with memory.watching(account) as watcher, anyio.create_task_group() as tasks:
        raised = await waiting(watcher.events("name"), tasks)
        new = watcher.events("name")
        await anyio.sleep(0.1)
        assert [type(error) for error in raised] == [CursorTaken]
        account.failures.clear()
        account.messages[1] = [sms("one", 1000)]
        assert texts([await step(new)]) == ["one"]


async def test_the_older_one_is_given_nothing_that_it_was_about_to_read(memory: Disk) -> None:
    async with memory.watching(account_with(2)) as watcher:
        await until(watcher, 3)
        old = watcher.events("name")
        takers: list[Subscription] = []

        async def take_over() -> None:
            if not takers:
                takers.append(watcher.events("name"))

        memory.journal.before["read"] = take_over
        with pytest.raises(CursorTaken):
            await step(old)
        assert await take(takers[0], 2) == [2, 3]


async def test_the_older_one_cannot_move_the_place(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        old = watcher.events("name", auto_ack=False)
        given = [await step(old) for _ in range(3)]
        await old.ack(given[0])
        new = watcher.events("name", auto_ack=False)
        with pytest.raises(CursorTaken):
            await old.ack(given[1])
        assert await disk.places() == {"name": 2}
        again = [await step(new) for _ in range(2)]
        assert again == given[1:]
        await new.ack(again[1])
        assert await disk.places() == {"name": 2}  # what the older one had acknowledged of them doesn't count
        await new.ack(again[0])
        assert await disk.places() == {"name": 4}


async def test_a_name_that_is_taken_in_the_middle_of_an_acknowledgement_loses_nothing(memory: Disk) -> None:
    held = anyio.Event()
    async with memory.watching(account_with(3)) as watcher:
        old = watcher.events("name", auto_ack=False)
        given = [await step(old) for _ in range(3)]
        memory.journal.before["move"] = held.wait
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(old.ack, given[0])
            await polls(1)
            new = watcher.events("name", auto_ack=False)
            held.set()
        again = [await step(new) for _ in range(3)]
        assert again == given
        await new.ack(again[1])
        assert await memory.places() == {"name": 2}
        await new.ack(again[0])
        assert await memory.places() == {"name": 3}


async def test_names_know_nothing_of_each_other(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account, end="killed") as watcher:
        one, other, nameless = watcher.events("one"), watcher.events("other"), watcher.events()
        assert await take(one, 3) == [2, 3, 4]
        assert await take(other, 2) == [2, 3]
        watcher.events("one")
        assert await take(other, 1) == [4]
        assert await take(nameless, 4) == [2, 3, 4, 5]
    assert await disk.places() == {"one": 3, "other": 3}
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("other"), 2) == [4, 5]
        assert await take(watcher.events("one"), 1) == [4]


@pytest.mark.parametrize(
    "wrong",
    [{"order_id": 1}, {"after": -1}, {"after": True}, {"after": 1.0}, {"order_id": 1, "auto_ack": False}],
)
async def test_what_is_refused_takes_nothing_over(memory: Disk, wrong: Mapping[str, Any]) -> None:
    async with memory.watching(account_with(3)) as watcher:
        events = watcher.events("name")
        assert await take(events, 1) == [2]
        with pytest.raises(ValueError, match=r"one place among all events|whole number"):
            watcher.events("name", **wrong)
        assert await take(events, 2) == [3, 4]


@pytest.mark.parametrize("name", ["", 1, b"name"])
async def test_a_name_is_a_text(memory: Disk, name: str) -> None:
    async with memory.watching(account_with(0)) as watcher:
        with pytest.raises(ValueError, match="a name is a text"):
            watcher.events(name)


async def test_before_entering_there_is_no_name_to_take(memory: Disk) -> None:
    with pytest.raises(WatcherClosed):
        memory.watch(account_with(0)).events("name")


# -- after the watcher was left ----------------------------------------------------------------------------------------


async def test_after_leaving_a_name_gives_what_is_kept_and_its_place_still_moves(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        by_steps, by_ack = watcher.events("by steps"), watcher.events("by ack", auto_ack=False)
        first = await step(by_ack)
    new = watcher.events("new")
    for events in (by_steps, new):  # without the guard of `step`: nothing is left to come
        assert seqs([await anext(events), await anext(events)]) == [2, 3]
    assert await rest(by_ack) == [3, 4, 5]
    await by_ack.ack(first)
    assert await disk.places() == {"by steps": 2, "by ack": 2, "new": 2}
    async with disk.watching(account) as watcher:
        for name in ("by steps", "by ack", "new"):
            assert await take(watcher.events(name), 3) == [3, 4, 5]


async def test_after_leaving_a_name_is_taken_over_as_before(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        await until(watcher, 3)
        old = watcher.events("name")
        assert await take(old, 1) == [2]
    new = watcher.events("name")
    with pytest.raises(CursorTaken):
        await anext(old)
    assert await rest(new) == [2, 3]


# -- cancelling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_ack", [True, False])
@pytest.mark.parametrize("checkpoints", range(16))
async def test_a_step_that_is_cancelled_at_any_point_loses_nothing(
    memory: Disk,
    checkpoints: int,
    auto_ack: bool,  # noqa: FBT001
) -> None:
    account = account_with(6)
    given: list[Event] = []
    async with memory.watching(account) as watcher:
        events = watcher.events("name", auto_ack=auto_ack)

        async def one() -> None:
            given.append(await anext(events))

        for number in range(100):
            if number % 10 == 9:
                deliver(account, 1)
                await until(watcher, len(account.messages[1]) + 1)
            await cancelled_after(checkpoints, one)
            assert (await memory.places()).get("name", 1) <= (given[-1].seq if given and auto_ack else 1)
        given += [await step(events) for _ in range(len(account.messages[1]) - len(given))]
        last = len(account.messages[1]) + 1
        assert seqs(given) == [*range(2, last + 1)]
        assert (await memory.places())["name"] in ((last - 1, last) if auto_ack else (1,))


@pytest.mark.parametrize("checkpoints", range(10))
async def test_an_acknowledgement_that_is_cancelled_at_any_point_can_be_made_again(
    disk: Disk, checkpoints: int
) -> None:
    async with disk.watching(account_with(2)) as watcher:
        events = watcher.events("name", auto_ack=False)
        event = await step(events)
        if await cancelled_after(checkpoints, partial(events.ack, event)):
            assert await disk.places() == {"name": 2}
        await events.ack(event)
        assert await disk.places() == {"name": 2}


@asyncio_alone
@pytest.mark.parametrize("turns", range(8))
async def test_a_task_of_asyncio_that_is_cancelled_at_any_point_loses_nothing(disk: Disk, turns: int) -> None:
    account = account_with(5)
    async with disk.watching(account) as watcher:
        await until(watcher, 6)
        events = watcher.events("name")
        given: list[Event] = []

        async def one() -> None:
            given.append(await anext(events))

        for _ in range(10):
            task = asyncio.create_task(one())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        given += [await step(events) for _ in range(5 - len(given))]
        assert seqs(given) == [2, 3, 4, 5, 6]
        assert (await disk.places())["name"] in (4, 5, 6)  # 6: if it was asked for one more


@asyncio_alone
@pytest.mark.parametrize("seconds", [0, 1e-9, 0.5, 31])
async def test_waiting_with_a_timeout_loses_nothing(disk: Disk, seconds: float) -> None:
    account = account_with(0)
    async with disk.watching(account) as watcher:
        events = watcher.events("name")
        given: list[Event] = []
        for _ in range(20):
            if len(account.messages[1]) < 5:
                deliver(account, 1)
            with anyio.move_on_after(7):
                try:
                    given.append(await asyncio.wait_for(anext(events), seconds))
                except TimeoutError:
                    await anyio.sleep(3)
        given += [await step(events) for _ in range(5 - len(given))]
        assert seqs(given) == [2, 3, 4, 5, 6]


# -- a journal that fails ----------------------------------------------------------------------------------------------


async def test_a_place_that_cannot_be_written_is_told_at_that_step_and_nothing_is_lost(disk: Disk) -> None:
    account = account_with(3)
    async with disk.watching(account) as watcher:
        events = watcher.events("name")
        assert await take(events, 1) == [2]
        disk.journal.broken = BROKEN
        for _ in range(2):
            with pytest.raises(JournalError, match="disk is full"):
                await step(events)
        assert await disk.places() == {"name": 1}
        disk.journal.broken = None
        assert await take(events, 2) == [3, 4]
        assert await disk.places() == {"name": 3}


async def test_an_acknowledgement_that_cannot_be_written_can_be_made_again(disk: Disk) -> None:
    account = account_with(3)
    async with disk.watching(account, end="killed") as watcher:
        events = watcher.events("name", auto_ack=False)
        given = [await step(events) for _ in range(3)]
        disk.journal.broken = BROKEN
        with pytest.raises(JournalError, match="disk is full"):
            await events.ack(given[0])
        assert await disk.places() == {"name": 1}
        disk.journal.broken = None
        await events.ack(given[0])
        assert await disk.places() == {"name": 2}
    async with disk.watching(account) as watcher:
        assert await take(watcher.events("name"), 2) == [3, 4]


async def test_a_name_that_cannot_be_written_gives_nothing_yet(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        await until(watcher, 3)
        disk.journal.broken = BROKEN
        events = watcher.events("name", after=1)
        for _ in range(2):
            with pytest.raises(JournalError, match="disk is full"):
                await step(events)
        disk.journal.broken = None
        assert await take(events, 2) == [2, 3]


async def test_a_takeover_after_a_place_that_could_not_be_written_gives_the_event_again(memory: Disk) -> None:
    async with memory.watching(account_with(2)) as watcher:
        events = watcher.events("name")
        assert await take(events, 1) == [2]
        memory.journal.broken = BROKEN
        with pytest.raises(JournalError):
            await step(events)
        memory.journal.broken = None
        assert await take(watcher.events("name"), 2) == [2, 3]


# -- many --------------------------------------------------------------------------------------------------------------


async def test_a_thousand_names_are_given_the_same(memory: Disk) -> None:
    account = account_with(0)
    given: dict[str, list[int]] = {f"name {number}": [] for number in range(1000)}
    async with memory.watching(account) as watcher, anyio.create_task_group() as tasks:

        async def consume(name: str) -> None:
            async for event in watcher.events(name):
                given[name].append(event.seq)

        for name in given:
            tasks.start_soon(consume, name)
        deliver(account, 3)
        await polls(3)
        assert [*given.values()] == [[2, 3, 4]] * 1000
        assert len(account.calls) <= 8  # they ask nothing
        tasks.cancel_scope.cancel()
    assert await memory.places() == dict.fromkeys(given, 4)


async def test_a_thousand_new_names_are_written_at_once(tmp_path: Path) -> None:
    disk, account = Disk(tmp_path / "journal"), account_with(0)
    names = [f"name {number}" for number in range(1000)]
    async with disk.watching(account, end="killed") as watcher:
        for name in names:
            watcher.events(name)
        deliver(account, 1)
        await until(watcher, 2)
        assert disk.journal.written == 0
    assert await disk.places() == dict.fromkeys(names, 1)


async def test_many_events_are_acknowledged_from_the_last_to_the_first_by_one_write(memory: Disk) -> None:
    account = account_with(3000)
    async with memory.watching(account) as watcher:
        await until(watcher, 3001)
        events = watcher.events("name", after=2001, auto_ack=False)
        given = [await step(events) for _ in range(1000)]
        before = memory.journal.written
        for event in reversed(given):
            await events.ack(event)
        assert memory.journal.written == before + 1
        assert await memory.places() == {"name": 3001}


# -- all of it, in any order -------------------------------------------------------------------------------------------

ACTIONS = st.one_of(
    st.tuples(st.just("arrive"), st.integers(1, 3)),
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.just("next, cancelled"), st.integers(0, 8)),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.just("ack, cancelled"), st.integers(0, 60)),
    st.tuples(st.just("take over"), st.integers(0, 1)),
    st.tuples(st.just("leave"), st.integers(0, 1)),
    st.tuples(st.just("kill"), st.integers(0, 1)),
)


class Consumer:
    """One consumer after another under one name, and what may be expected of the events it is given."""

    def __init__(self, disk: Disk) -> None:
        self.given: dict[int, Event] = {}
        """All that were ever given."""
        self._disk = disk
        self._account = account_with(1)
        self._auto_ack = True
        self._begin(0, 0)

    def _begin(self, sure: int, perhaps: int) -> None:
        # What the journal surely has, and what it may have, as a step was cancelled that would have told it.
        self._from = sure
        self._perhaps = perhaps
        self._here: list[Event] = []
        self._acked: set[int] = set()
        self._tried: set[int] = set()

    def _bounds(self) -> tuple[int, int]:
        """Return the least and the greatest place that the name may have."""
        if not self._here:
            return self._from, self._perhaps
        begun = self._here[0].seq - 1
        sure, perhaps = (
            next(seq for seq in itertools.count(begun + 1) if seq not in done) - 1
            for done in (self._acked, self._acked | self._tried)
        )
        # Before its first event is acknowledged, the place may be behind where this consumer began.
        return (self._from if sure == begun else sure), perhaps

    async def live(self, actions: list[tuple[str, int]]) -> None:
        script = [*actions, ("leave", 1)]
        while script:
            async with self._disk.watch(self._account, start="replay") as watcher:
                events = self._subscribe(watcher)
                while True:
                    what, number = script.pop(0)
                    if what in ("leave", "kill"):
                        break
                    events = await self._do(what, number, watcher, events)
                await until(watcher, len(self._account.messages[1]) + 1)
                self._disk.journal.dead = what == "kill"
            if not script:
                await self._finish(events, len(self._account.messages[1]) + 1)
            if not number:
                self._auto_ack = not self._auto_ack
            self._begin(*self._bounds())

    def _subscribe(self, watcher: Watcher) -> Subscription:
        return watcher.events("name", auto_ack=self._auto_ack)

    async def _do(self, what: str, number: int, watcher: Watcher, events: Subscription) -> Subscription:
        match what:
            case "arrive":
                deliver(self._account, number)
                await until(watcher, len(self._account.messages[1]) + 1)
            case "next":
                await until(watcher, len(self._account.messages[1]) + 1)
                if (self._here[-1].seq if self._here else self._perhaps) < watcher.cursor:
                    await self._next(events)
            case "next, cancelled":
                await cancelled_after(number, partial(self._next, events))
            case "ack" if self._here:
                await self._ack(events, number)
            case "ack, cancelled" if self._here:
                await cancelled_after(number // 10, partial(self._ack, events, number))
            case "take over":
                self._auto_ack = bool(number)
                older, events = events, self._subscribe(watcher)
                self._begin(*self._bounds())
                with pytest.raises(CursorTaken):
                    await step(older)
            case _:
                pass
        return events

    async def _next(self, events: Subscription) -> None:
        if self._auto_ack:
            self._tried.update(seqs(self._here))
        self._take(await step(events))
        if self._auto_ack:
            self._acked.update(seqs(self._here[:-1]))

    def _take(self, event: Event) -> None:
        if self._here:
            assert event.seq == self._here[-1].seq + 1, "one was passed over, or given twice"
        else:
            assert self._from < event.seq <= self._perhaps + 1, "the name began where it wasn't left"
        assert self.given.setdefault(event.seq, event) == event
        self._here.append(event)

    async def _ack(self, events: Subscription, number: int) -> None:
        event = self._here[number % len(self._here)]
        self._tried.add(event.seq)
        await events.ack(event)
        self._acked.add(event.seq)

    async def _finish(self, events: Subscription, newest: int) -> None:
        async for event in events:
            self._take(event)
        assert [*sorted(self.given)] == [*range(1, newest + 1)]
        assert len({event.id for event in self.given.values()}) == newest


@pytest.mark.parametrize("where", ["memory", "sqlite"])
def test_whatever_happens_each_event_is_given_and_none_again_that_is_done(anyio_backend: str, where: str) -> None:
    options = (
        {"loop_factory": VirtualTimeLoop} if anyio_backend == "asyncio" else {"clock": MockClock(autojump_threshold=0)}
    )

    @settings(max_examples=100 if where == "memory" else 12, deadline=None, suppress_health_check=[*HealthCheck])
    @given(st.lists(ACTIONS, max_size=30))
    def check(actions: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            disk = Disk(None if where == "memory" else Path(folder) / "journal")
            anyio.run(Consumer(disk).live, actions, backend=anyio_backend, backend_options=options)

    check()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_name_for_everything_kept_begins_with_the_oldest_after_a_kill_as_well(tmp_path: Path) -> None:
    account = Account(order())
    async with Watcher(account, journal=SqliteJournal(tmp_path / "journal", keep=3)) as watcher:
        for number in range(10):
            account.messages[1].append(sms(f"message {number}", number + 60))
            await polls(1)
        watcher.events("name", after=0)
        oldest = watcher.cursor - 3
        account.messages[1].append(sms("the last", 600))
        await polls(1)  # by which the name is kept, before its first step
        assert await watcher._journal.places() == {"name": oldest}


@pytest.mark.parametrize("name", ["", "caf\udce9", None.__class__, 7, b"name"])
async def test_a_name_is_a_text_that_can_be_written(name: Any) -> None:
    async with Watcher(Account(order())) as watcher:
        with pytest.raises(ValueError, match="a name is a text"):
            watcher.events(name)


async def test_a_name_that_was_forgotten_meanwhile_is_kept_again_with_its_next_consumer() -> None:
    account, journal = Account(order()), MemoryJournal()
    async with Watcher(account, journal=journal) as watcher:
        watcher.events("name")
        await polls(1)
        await journal.forget("name")
        watcher.events("name")
        account.messages[1].append(sms("one", None))
        account.change(1, has_new_sms=True)
        await polls(2)
        assert "name" in await journal.places()
