"""A journal implemented outside of this library, with public names only, under a watcher that restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import MemoryJournal, OrderState, PollFailed, WaitTimeout, Watcher
from tests.support.accounts import ORDERS, OUTAGE, Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.journals import JsonJournal
from tests.support.watching import kinds, polls, so_far, texts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@on_both_backends
async def test_a_restart_loses_and_repeats_no_message(path: Path) -> None:
    account = Account(order(1), order(2, has_new_sms=None))
    account.messages[1] = [sms("before the watch", -86_400)]
    delivered: list[str] = []

    def deliver(text: str, seconds: float | None = 60) -> None:
        for order_id in (1, 2):
            account.messages[order_id].append(sms(text, seconds))
            delivered.append(text)

    seen: list[int] = []
    for run in range(4):
        deliver(f"while nobody watched, {run}")
        deliver("the same text every time", None)
        async with Watcher(account, journal=JsonJournal(path), start="replay" if run else "baseline") as watcher:
            consumer = watcher.consumer("the consumer", after=0)
            await polls(2)
            deliver(f"while it was watched, {run}")
            deliver("the same text every time", None)
            await polls(2)
            while consumer.cursor < watcher.cursor:
                event = await anext(consumer)
                await consumer.ack(event)
                seen.append(event.seq)
            found = await so_far(watcher)
            assert seen == [event.seq for event in found] == list(range(1, watcher.cursor + 1))
            del account.messages[2][1:3]  # a message that leaves its list stays known
    new = [text for text in texts(found) if text != "the same text every time"]
    expected = [text for text in delivered if not text.startswith(("while nobody watched, 0", "the same"))]
    first = [text for text in texts(found) if text == "while nobody watched, 0"]
    assert len(first) == 2, "they are new, because they are dated after the start of the watch"
    assert sorted(text for text in new if text not in first) == sorted(expected)


async def test_an_order_removed_before_a_restart_repeats_no_message(path: Path) -> None:
    account = Account(order(1), order(2))
    account.messages[1] = [sms("once", 60), sms("twice", 60), sms("twice", 60)]
    async with Watcher(account, journal=JsonJournal(path)) as watcher:
        await polls(2)
        account.drop(1)
        await polls(25)
        assert kinds(await so_far(watcher))[-1] == "OrderRemoved"
    account.listed.append(order(1))
    account.messages[1].append(sms("after it came back", 900))
    async with Watcher(account, journal=JsonJournal(path)) as watcher:
        await polls(2)
        assert sorted(texts(await so_far(watcher))) == ["after it came back", "once", "twice", "twice"]


async def test_a_change_and_the_end_of_an_outage_are_reported_after_a_restart(path: Path) -> None:
    account = Account(order(1))
    async with Watcher(account, journal=JsonJournal(path)) as watcher:
        await polls(1)
        account.failures[ORDERS] = OUTAGE
        await polls(2)
        cursor = watcher.cursor
        assert isinstance((await so_far(watcher))[-1], PollFailed)
    account.change(1, state=OrderState.ACTIVE)
    async with Watcher(account, journal=JsonJournal(path)) as watcher:
        await polls(2)
        assert watcher.cursor == cursor, "one event per outage, over restarts too"
        del account.failures[ORDERS]
        await polls(2)
        assert kinds(await so_far(watcher, after=cursor)) == ["PollRecovered", "StateChanged"]


async def test_a_kill_after_any_write_loses_and_repeats_no_message(path: Path) -> None:
    account = Account(order(1), order(2))
    delivered: list[str] = []
    async with Watcher(account, journal=JsonJournal(path)) as watcher:
        consumer = watcher.consumer("the consumer", after=0)
        for number in range(6):
            text = "again" if number % 2 else f"message {number}"
            account.messages[1 + number % 2].append(sms(text, 60))
            delivered.append(text)
            await anyio.sleep(20)
            while consumer.cursor < watcher.cursor:
                await anext(consumer)
        await polls(2)
        assert sorted(texts(await so_far(watcher))) == sorted(delivered)
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) > 8
    for count in range(1, len(lines)):
        killed = path.with_name(f"killed after {count}")
        killed.write_text("".join(lines[:count]))
        async with Watcher(account, journal=JsonJournal(killed)) as watcher:
            await polls(3)
            found = await so_far(watcher)
        assert [event.seq for event in found] == list(range(1, len(found) + 1))
        assert sorted(texts(found)) == sorted(delivered), f"killed after {count} writes"
        assert len({event.id for event in found}) == len(found)


@on_both_backends
async def test_other_attributes_of_a_journal_are_its_own() -> None:
    class MyJournal(MemoryJournal):
        def failure(self) -> str:
            return "the journal's own"

    async with Watcher(Account(order()), journal=MyJournal()) as watcher:
        with pytest.raises(WaitTimeout, match="last failure: none") as caught:
            await watcher.wait_for_sms(1, timeout=5)
        assert caught.value.last_failure is None
