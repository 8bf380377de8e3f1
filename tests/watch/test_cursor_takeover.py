"""A name is taken over by a new consumer, also once the watcher was left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from smspva_async import CursorTaken, WatcherClosed
from tests.support.backends import on_both_backends
from tests.support.consumers import LONG, Disk, account_with, deliver, rest, seqs, step, take, until, waiting
from tests.support.watching import ORDERS, OUTAGE, polls, sms, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smspva_async import Subscription

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]

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
