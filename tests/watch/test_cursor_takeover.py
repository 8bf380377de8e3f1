"""A consumer that is taken over by a new one, is closed, or outlives its watcher."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.lowlevel
import pytest

from smspva_async import CursorTaken, JournalError, WatcherClosed
from tests.support.accounts import ORDERS, OUTAGE, sms
from tests.support.backends import on_both_backends
from tests.support.consumers import (
    LONG,
    WRITTEN,
    Disk,
    account_with,
    cancelled_after,
    deliver,
    let_others_run,
    rest,
    seqs,
    step,
    take,
    until,
    waiting,
)
from tests.support.watching import polls, texts

if TYPE_CHECKING:
    from smspva_async import Subscription, Watcher

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]

# -- taking a name over ------------------------------------------------------------------------------------------------


async def test_a_new_consumer_takes_over_the_name_between_two_events(disk: Disk) -> None:
    async with disk.watching(account_with(4)) as watcher:
        old = watcher.consumer("name")
        assert await take(old, 2) == [2, 3]
        new = watcher.consumer("name")
        for _ in range(2):
            with pytest.raises(CursorTaken, match="another consumer took over the name 'name'") as caught:
                await step(old)
            assert caught.value.name == "name"
        assert await take(new, 3) == [3, 4, 5]  # one more step moved nothing


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 99])
async def test_a_takeover_repeats_no_acknowledged_event(disk: Disk, count: int) -> None:
    account = account_with(110)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 111)
        now, first = anyio.current_time(), 2
        while first < 111:
            last = min(first + count, 111)
            assert await take(watcher.consumer("name"), last - first + 1) == [*range(first, last + 1)]
            first = last  # it wasn't done
            assert (await disk.places())["name"] > last - 1 - 50
        assert anyio.current_time() == now


async def test_a_takeover_continues_after_the_acknowledged_events(disk: Disk) -> None:
    async with disk.watching(account_with(6)) as watcher:
        old = watcher.consumer("name", auto_ack=False)
        given = [await step(old) for _ in range(4)]
        await old.ack(given[0])
        new = watcher.consumer("name")
        assert await take(new, 3) == [3, 4, 5]
        assert await disk.places() == {"name": 2}
        newest = watcher.consumer("name", auto_ack=False)
        await newest.ack(await step(newest))
        assert await disk.places() == {"name": 5}


async def test_a_takeover_before_the_first_step_of_either_consumer(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        first, second, third = (watcher.consumer("name") for _ in range(3))
        assert await take(third, 2) == [2, 3]
        for taken in (first, second):
            with pytest.raises(CursorTaken):
                await step(taken)


async def test_a_takeover_wakes_a_waiting_consumer(disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account) as watcher, anyio.create_task_group() as tasks:
        old = watcher.consumer("name")
        assert await take(old, 1) == [2]
        raised = await waiting(old, tasks)
        with anyio.fail_after(LONG):
            while await disk.places() != {"name": 2}:
                await polls(1)
            raised_next = await waiting(watcher.consumer("name"), tasks)
            new = watcher.consumer("name")
            while not (raised and raised_next):
                await polls(1)
        deliver(account, 1)
        assert await take(new, 1) == [3]


async def test_a_takeover_wakes_a_consumer_that_waits_for_the_baseline(memory: Disk) -> None:
    account = account_with(1)
    account.failures[ORDERS] = OUTAGE
    async with memory.watching(account) as watcher, anyio.create_task_group() as tasks:
        raised = await waiting(watcher.consumer("name"), tasks)
        new = watcher.consumer("name")
        await anyio.sleep(0.1)
        assert [type(error) for error in raised] == [CursorTaken]
        account.failures.clear()
        account.messages[1] = [sms("one", 1000)]
        assert texts([await step(new)]) == ["one"]


async def test_a_takeover_during_a_read_discards_the_event_for_the_older_consumer(memory: Disk) -> None:
    async with memory.watching(account_with(2)) as watcher:
        await until(watcher, 3)
        old = watcher.consumer("name")
        takers: list[Subscription] = []

        async def take_over() -> None:
            if not takers:
                takers.append(watcher.consumer("name"))

        memory.journal.before["read"] = take_over
        with pytest.raises(CursorTaken):
            await step(old)
        assert await take(takers[0], 2) == [2, 3]


async def test_after_a_takeover_the_older_consumer_cannot_move_the_place(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        old = watcher.consumer("name", auto_ack=False)
        given = [await step(old) for _ in range(3)]
        await old.ack(given[0])
        new = watcher.consumer("name", auto_ack=False)
        with pytest.raises(CursorTaken):
            await old.ack(given[1])
        assert await disk.places() == {"name": 2}
        again = [await step(new) for _ in range(2)]
        assert again == given[1:]
        await new.ack(again[1])
        assert await disk.places() == {"name": 2}  # acknowledgements of the older one don't count
        await new.ack(again[0])
        assert await disk.places() == {"name": 4}


async def test_a_takeover_during_an_acknowledgement_loses_nothing(memory: Disk) -> None:
    held = anyio.Event()
    async with memory.watching(account_with(3)) as watcher:
        old = watcher.consumer("name", auto_ack=False)
        given = [await step(old) for _ in range(3)]
        memory.journal.before["move"] = held.wait
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(old.ack, given[0])
            await polls(1)
            new = watcher.consumer("name", auto_ack=False)
            held.set()
        again = [await step(new) for _ in range(2)]
        assert again == given[1:]
        await new.ack(again[1])
        assert await memory.places() == {"name": 2}
        await new.ack(again[0])
        assert await memory.places() == {"name": 4}


async def test_names_are_independent(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account, end="killed") as watcher:
        one, other, nameless = watcher.consumer("one"), watcher.consumer("other"), watcher.events()
        assert await take(one, 3) == [2, 3, 4]
        assert await take(other, 2) == [2, 3]
        watcher.consumer("one")
        assert await take(other, 1) == [4]
        assert await take(nameless, 4) == [2, 3, 4, 5]
        await anyio.sleep(WRITTEN)
    assert await disk.places() == {"one": 3, "other": 3}
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("other"), 2) == [4, 5]
        assert await take(watcher.consumer("one"), 1) == [4]


@pytest.mark.parametrize("wrong", [-1, True, 1.0])
async def test_a_call_with_invalid_arguments_takes_over_no_name(memory: Disk, wrong: int) -> None:
    async with memory.watching(account_with(3)) as watcher:
        events = watcher.consumer("name")
        assert await take(events, 1) == [2]
        with pytest.raises(ValueError, match="after must be an integer"):
            watcher.consumer("name", after=wrong)
        assert await take(events, 2) == [3, 4]


async def test_consumer_needs_an_entered_watcher(memory: Disk) -> None:
    def check(watcher: Watcher, why: str) -> None:
        for make in (watcher.events, lambda: watcher.consumer("name")):
            with pytest.raises(WatcherClosed, match=why):
                make()

    watcher = memory.watch(account_with(1))
    check(watcher, "not entered yet")
    async with watcher:
        old = watcher.consumer("name")
        assert await take(old, 1) == [2]
    check(watcher, "was left")
    assert await rest(old) == []  # the name wasn't taken over
    assert await memory.places() == {"name": 2}


# -- after the watcher was left ----------------------------------------------------------------------------------------


async def test_after_leaving_a_consumer_reads_kept_events_and_its_place_moves(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account) as watcher:
        await until(watcher, 5)
        by_steps, by_ack = watcher.consumer("by steps"), watcher.consumer("by ack", auto_ack=False)
        events, begun = watcher.events(), watcher.consumer("begun")
        first = await step(by_ack)
        assert await take(begun, 2) == [2, 3]
    # Without the time limit of `step`, because no event is left.
    for seq in (2, 3):
        assert (await anext(by_steps)).seq == seq
        assert (await disk.places())["by steps"] == seq - 1
    assert (await anext(begun)).seq == 4
    assert await rest(events) == [2, 3, 4, 5]
    assert await rest(by_ack) == [3, 4, 5]
    await by_ack.ack(first)
    assert await disk.places() == {"by steps": 2, "by ack": 2, "begun": 3}
    async with disk.watching(account) as watcher:
        for name in ("by steps", "by ack"):
            assert await take(watcher.consumer(name), 3) == [3, 4, 5]
        assert await take(watcher.consumer("begun"), 2) == [4, 5]


async def test_after_leaving_a_step_whose_place_cannot_be_written_can_be_repeated(disk: Disk) -> None:
    async with disk.watching(account_with(3)) as watcher:
        await until(watcher, 4)
        events = watcher.consumer("name")
        assert await take(events, 1) == [2]
    disk.journal.broken = JournalError("the journal can't be written: the disk is full")
    for _ in range(2):
        with pytest.raises(JournalError, match="disk is full"):
            await anext(events)
    disk.journal.broken = None
    assert await rest(events) == [3, 4]
    assert await disk.places() == {"name": 4}


async def test_a_takeover_lasts_after_leaving(disk: Disk) -> None:
    async with disk.watching(account_with(2)) as watcher:
        await until(watcher, 3)
        old = watcher.consumer("name", auto_ack=False)
        event = await step(old)
        new = watcher.consumer("name")
    with pytest.raises(CursorTaken):
        await anext(old)
    with pytest.raises(CursorTaken):
        await old.ack(event)
    assert await rest(new) == [2, 3]


# -- closing -----------------------------------------------------------------------------------------------------------


def both_kinds(watcher: Watcher) -> tuple[Subscription, Subscription]:
    return watcher.events(), watcher.consumer("name")


async def test_closing_ends_the_iteration(disk: Disk) -> None:
    async with disk.watching(account_with(4)) as watcher:
        await until(watcher, 5)
        for events in both_kinds(watcher):
            assert await take(events, 2) == [2, 3]
            for _ in range(2):
                await events.aclose()
                assert await rest(events) == []
                with pytest.raises(StopAsyncIteration):
                    await step(events)
            assert events.cursor == 3
        assert await take(watcher.events(), 4) == [2, 3, 4, 5]
        assert await take(watcher.consumer("name"), 3) == [3, 4, 5]


async def test_a_consumer_closed_before_the_first_step_returns_nothing(disk: Disk) -> None:
    async with disk.watching(account_with(1)) as watcher:
        await until(watcher, 2)
        for events in both_kinds(watcher):
            await events.aclose()
            assert await rest(events) == []
        assert await take(watcher.consumer("name"), 1) == [2]


async def test_the_place_of_a_consumer_that_is_closed_immediately_is_kept(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 5)
        await watcher.consumer("name", after=2).aclose()
    assert await disk.places() == {"name": 2}


async def test_the_journal_has_the_place_when_closing_returns(disk: Disk) -> None:
    account = account_with(4)
    async with disk.watching(account, end="killed") as watcher:
        await until(watcher, 5)
        now = anyio.current_time()
        async with aclosing(watcher.consumer("name")) as events:
            async for event in events:
                if event.seq == 4:
                    break
            assert await disk.places() == {"name": 1}
        assert anyio.current_time() == now
        assert await disk.places() == {"name": 3}
    async with disk.watching(account) as watcher:
        assert await take(watcher.consumer("name"), 2) == [4, 5]


async def test_an_error_inside_aclosing_is_raised_and_the_place_is_written(disk: Disk) -> None:
    async with disk.watching(account_with(3), end="killed") as watcher:

        async def fail() -> None:
            async with aclosing(watcher.consumer("name")) as events:
                assert await take(events, 2) == [2, 3]
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await disk.places() == {"name": 2}


async def test_closing_ends_a_step_that_waits_in_another_task(disk: Disk) -> None:
    account = account_with(2)
    async with disk.watching(account, end="killed") as watcher, anyio.create_task_group() as tasks:
        await until(watcher, 3)
        now = anyio.current_time()
        for events in both_kinds(watcher):
            assert await take(events, 2) == [2, 3]
            raised = await waiting(events, tasks)
            assert raised == []
            await events.aclose()
            await let_others_run()
            assert [type(error) for error in raised] == [StopAsyncIteration]
        assert anyio.current_time() == now
        assert await disk.places() == {"name": 3}  # a step without a new event acknowledges too


async def test_closing_ends_a_wait_for_the_baseline(memory: Disk) -> None:
    account = account_with(1)
    account.failures[ORDERS] = OUTAGE
    async with memory.watching(account) as watcher, anyio.create_task_group() as tasks:
        for events in both_kinds(watcher):
            raised = await waiting(events, tasks)
            await events.aclose()
            await let_others_run()
            assert [type(error) for error in raised] == [StopAsyncIteration]


@pytest.mark.parametrize("before", ["move", "read"])
async def test_closing_during_a_step_returns_nothing_and_loses_nothing(
    memory: Disk, before: Literal["move", "read"]
) -> None:
    async with memory.watching(account_with(5)) as watcher, anyio.create_task_group() as tasks:
        await until(watcher, 6)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        await anyio.sleep(0.25)  # the next step writes the place
        held = anyio.Event()
        memory.journal.before[before] = held.wait
        raised = await waiting(events, tasks)
        tasks.start_soon(events.aclose)
        await let_others_run()
        held.set()
        await let_others_run()
        assert [type(error) for error in raised] == [StopAsyncIteration]
        assert events.cursor == 3
        assert await memory.places() == {"name": 3}
        assert await take(watcher.consumer("name"), 3) == [4, 5, 6]


async def test_closing_wakes_no_other_iterator(memory: Disk) -> None:
    account = account_with(1)
    async with memory.watching(account) as watcher, anyio.create_task_group() as tasks:
        await until(watcher, 2)
        closed, others = watcher.consumer("name"), [watcher.consumer("other"), watcher.events()]
        given: list[int] = []

        async def read(events: Subscription) -> None:
            given.extend(await take(events, 2))

        for events in others:
            tasks.start_soon(read, events)
        raised = await waiting(closed, tasks)
        await closed.aclose()
        deliver(account, 1)
        await until(watcher, 3)
        assert given == [2, 3, 2, 3]
        assert raised == []  # it returned event 2


async def test_closing_a_consumer_that_was_taken_over_changes_nothing(disk: Disk) -> None:
    async with disk.watching(account_with(4)) as watcher:
        old = watcher.consumer("name")
        assert await take(old, 2) == [2, 3]
        async with aclosing(watcher.consumer("name")) as new:
            assert await take(new, 2) == [3, 4]
            await old.aclose()
            assert await take(new, 1) == [5]
        assert await disk.places() == {"name": 4}


async def test_events_can_be_acknowledged_after_closing(disk: Disk) -> None:
    async with disk.watching(account_with(3), end="killed") as watcher:
        async with aclosing(watcher.consumer("name", auto_ack=False)) as events:
            event = await step(events)
        await events.ack(event)
        assert await disk.places() == {"name": 2}


async def test_aclose_raises_if_the_place_cannot_be_written_and_can_be_repeated(disk: Disk) -> None:
    async with disk.watching(account_with(3), end="killed") as watcher:
        await until(watcher, 4)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        disk.journal.broken = JournalError("the journal can't be written: the disk is full")
        for _ in range(2):
            with pytest.raises(JournalError, match="disk is full"):
                await events.aclose()
        assert await rest(events) == []
        disk.journal.broken = None
        await events.aclose()
        assert await disk.places() == {"name": 2}


@pytest.mark.parametrize("checkpoints", range(6))
async def test_aclose_cancelled_at_any_point_loses_nothing(disk: Disk, checkpoints: int) -> None:
    async with disk.watching(account_with(3), end="killed") as watcher:
        await until(watcher, 4)
        events = watcher.consumer("name")
        assert await take(events, 2) == [2, 3]
        if await cancelled_after(checkpoints, events.aclose):
            assert await disk.places() == {"name": 2}
        await anyio.sleep(WRITTEN)
        assert await disk.places() == {"name": 2}
        assert await take(watcher.consumer("name"), 2) == [3, 4]


async def test_after_leaving_a_closed_iterator_returns_no_kept_events(disk: Disk) -> None:
    async with disk.watching(account_with(4)) as watcher:
        await until(watcher, 5)
        plain, named = both_kinds(watcher)
    for events in (plain, named):
        assert seqs([await anext(events), await anext(events)]) == [2, 3]
        await events.aclose()
        assert await rest(events) == []
    assert await disk.places() == {"name": 2}
