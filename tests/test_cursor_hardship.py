"""Named cursors through cancellations and failures, in thousands, and all of it in any order."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from smspva_async import CursorTaken, Event, JournalError, MemoryJournal, SqliteJournal, Watcher
from tests.consumers import Disk, account_with, deliver, seqs, step, take, until
from tests.loops import on_asyncio, virtual_time
from tests.watching import Account, order, polls, sms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smspva_async import Subscription

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

BROKEN = JournalError("the journal can't be written: the disk is full")


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


@on_asyncio
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


@on_asyncio
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
    @settings(max_examples=100 if where == "memory" else 12, deadline=None, suppress_health_check=[*HealthCheck])
    @given(st.lists(ACTIONS, max_size=30))
    def check(actions: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            disk = Disk(None if where == "memory" else Path(folder) / "journal")
            anyio.run(Consumer(disk).live, actions, backend=anyio_backend, backend_options=virtual_time(anyio_backend))

    check()


@on_asyncio
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
