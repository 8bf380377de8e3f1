"""The messages of an active number, also for a restarted pipeline."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import Lagged, MemoryJournal, Sms, SqliteJournal, WaitTimeout, Watcher
from tests.support.accounts import HANGS, ORDERS, OUTAGE, order, sms
from tests.support.activation import (
    ACTIVE,
    STEPS,
    Numbers,
    SlowReads,
    assert_polls_as_usual,
    request_times,
    stay,
    steps,
)
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.watching import polls, so_far, texts, watching

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smspva_async import ActiveNumber, Journal
    from smspva_async.simulator import Simulator

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


async def rest(number: ActiveNumber, seconds: float = 61) -> list[str]:
    """Return the messages that come within some seconds."""
    given = list[str]()
    with anyio.move_on_after(seconds):
        while True:
            given.append((await number.next_sms()).text)
    return given


# -- messages inside -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [True, False])
async def test_only_messages_that_come_after_entering_are_returned(sim: Simulator, *, flags: bool) -> None:
    sim.behavior.flag_rises = flags
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


async def test_undated_messages_that_come_after_entering_are_returned() -> None:
    account = Numbers(order(state=ACTIVE))
    account.messages[1] = [sms("known", None)]
    async with Watcher(account) as watcher:
        await anyio.sleep(70)
        account.messages[1].append(sms("old", None))
        async with watcher.activated(1) as number:
            account.messages[1].append(sms("new", None))
            assert await rest(number) == ["new"]


async def test_a_message_that_arrives_between_the_reading_and_a_late_orders_answer_is_new() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, anyio.create_task_group() as tasks:
        await anyio.sleep(70)
        account.messages[1] = [sms("old", None)]
        account.seconds[ORDERS] = 40
        given = list[Sms]()
        tasks.start_soon(stay, watcher.activated(1), given, 100)
        await anyio.sleep(20)
        assert texts(await so_far(watcher)) == ["old"]
        account.messages[1].append(sms("new", None))
        await anyio.sleep(10)
        assert texts(await so_far(watcher)) == ["old", "new"]
    assert given == [sms("new", None)]


async def test_a_message_during_the_activation_is_new(sim: Simulator) -> None:
    order_id = sim.add_order().id
    async with watching(sim) as watcher, anyio.create_task_group() as tasks:
        given = list[Sms]()
        tasks.start_soon(stay, watcher.activated(order_id), given, 100)
        await anyio.sleep(50)
        sim.deliver(order_id, "early")
        await anyio.sleep(30)
        assert texts(await so_far(watcher)) == ["early"]
        assert given == []
    assert [message.text for message in given] == ["early"]


async def test_messages_that_came_before_the_call_are_returned_once_and_in_order(sim: Simulator) -> None:
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


async def test_a_message_is_returned_soon_while_polls_keep_their_interval(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    async with watching(sim) as watcher:
        async with watcher.activated(order_id) as number:
            await polls(1)
            sim.requests.clear()
            await polls(4)
            assert len(request_times(sim, "orders")) <= 4
            assert len(request_times(sim, "sms")) <= 4
            with pytest.raises(WaitTimeout):
                await number.next_sms(timeout=60)
            assert len(request_times(sim, "orders")) <= 6  # its messages are read instead
            assert len(request_times(sim, "sms")) >= 30
            sim.deliver(order_id, "quick")
            before = anyio.current_time()
            await number.next_sms()
            assert anyio.current_time() - before < 6
        await assert_polls_as_usual(sim)


async def test_messages_that_match_rejects_are_not_returned_later(sim: Simulator) -> None:
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


async def test_a_message_that_one_task_rejects_is_returned_in_other_sessions_only(sim: Simulator) -> None:
    order_id = sim.add_order(always_active=True).id
    received = list[str]()

    async def receive(task: str, number: ActiveNumber, text: str) -> None:
        await number.next_sms(match=lambda sms: sms.text == text)
        received.append(task)

    async with (
        watching(sim) as watcher,
        watcher.activated(order_id) as number,
        watcher.activated(order_id) as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(receive, "the first task", number, "one")
        await polls(1)
        tasks.start_soon(receive, "the second task", number, "two")
        tasks.start_soon(receive, "the other session", other, "two")
        for text in ("two", "one"):
            await polls(1)
            sim.deliver(order_id, text)
        await polls(1)
        assert received == ["the other session", "the first task"]
        tasks.cancel_scope.cancel()


async def test_a_match_that_raises_loses_no_message(sim: Simulator) -> None:
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


async def test_a_timeout_reports_the_state_and_loses_no_message() -> None:
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
        for part in ("order 1", "receive the message", "45 s", "ACTIVE", "the server is down"):
            assert part in str(error)
        account.failures.clear()
        assert (await number.next_sms()).text == "late"


async def test_two_tasks_get_each_message_once(sim: Simulator) -> None:
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


async def test_two_tasks_that_time_out_together_and_retry_get_messages(sim: Simulator) -> None:
    """With `anyio.Lock` before 4.14 the first task waits on asyncio for a lock that no task holds."""
    order_id = sim.add_order(state=1).id
    given = list[str]()

    async with watching(sim) as watcher, watcher.activated(order_id) as number, anyio.create_task_group() as tasks:

        async def take() -> None:
            while True:
                with suppress(WaitTimeout):
                    given.append((await number.next_sms(timeout=100)).text)

        for _ in range(2):
            tasks.start_soon(take)
        await anyio.sleep(110)
        for text in ("one", "two"):
            sim.deliver(order_id, text)
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    assert given == ["one", "two"]


@pytest.mark.parametrize("waiting", [1, 2])
async def test_next_sms_cancelled_at_any_step_loses_and_repeats_nothing(waiting: int) -> None:
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
                await account.wait_for_call(1)
                await steps(count)
                tasks.cancel_scope.cancel()
            outcomes.add(len(taken))
            assert [message.text for message in taken] + await rest(number, 10) == ["one", "two", "three"]
    assert outcomes == set(range(waiting + 1))


@on_asyncio
async def test_next_sms_cancelled_in_an_asyncio_task_loses_and_repeats_nothing() -> None:
    outcomes = set[int]()
    for count in range(STEPS):
        account, taken = Numbers(order(state=ACTIVE)), list[Sms]()
        async with Watcher(account, journal=SlowReads()) as watcher, watcher.activated(1) as number:

            async def take(number: ActiveNumber = number, taken: list[Sms] = taken) -> None:
                taken.append(await number.next_sms())

            task = asyncio.create_task(take())
            await asyncio.sleep(10)
            account.messages[1] = [sms("one", None), sms("two", None)]
            await account.wait_for_call(1)
            for _ in range(count):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            outcomes.add(len(taken))
            assert [message.text for message in taken] + await rest(number, 10) == ["one", "two"]
    assert outcomes == {0, 1}


async def test_a_place_that_is_no_longer_kept_raises_once() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account, journal=MemoryJournal(keep=2)) as watcher, watcher.activated(1) as number:
        for count in range(4):
            account.messages[1].append(sms(f"message {count}", count))
            await polls(1)
        with pytest.raises(Lagged):
            await number.next_sms()
        assert await rest(number) == ["message 2", "message 3"]


async def test_a_place_after_the_newest_event_raises_once() -> None:
    account = Numbers(order(state=ACTIVE))
    async with Watcher(account) as watcher, watcher.activated(1, after=1000) as number:
        with pytest.raises(Lagged):
            await number.next_sms()
        account.messages[1] = [sms("new", None)]
        assert await rest(number) == ["new"]


async def test_events_of_other_orders_do_not_make_a_place_lag() -> None:
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
    """Run a pipeline that stores its place, stop it, let messages come, and run it again."""
    sim.behavior.active = (1000, 1000)
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
    assert len(request_times(sim, "activate")) == 1


async def test_a_restarted_pipeline_continues_at_its_stored_cursor(sim: Simulator) -> None:
    journal = MemoryJournal()
    await run_twice(sim, lambda: journal)


@on_asyncio
async def test_a_restarted_pipeline_with_a_file_continues_at_its_stored_cursor(sim: Simulator, tmp_path: Path) -> None:
    await run_twice(sim, lambda: SqliteJournal(tmp_path / "journal.db"))


async def test_the_cursor_of_a_session_without_messages_returns_all_later_ones(sim: Simulator) -> None:
    order_id, journal = sim.add_order().id, MemoryJournal()
    async with watching(sim, journal=journal) as watcher:
        sim.deliver(order_id, "old")
        async with watcher.activated(order_id) as number:
            stored = number.cursor
            sim.deliver(order_id, "one")
    sim.deliver(order_id, "two")
    async with watching(sim, journal=journal) as watcher, watcher.activated(order_id, after=stored) as number:
        assert await rest(number) == ["one", "two"]
