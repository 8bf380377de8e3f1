"""`MemoryJournal`: it keeps the newest events, tells who has fallen behind, and belongs to one watcher at a time."""

from __future__ import annotations

import pytest

from smspva_async import Event, JournalLocked, Lagged, MemoryJournal, PollRecovered
from smspva_async._diff import State
from tests.watching import START

pytestmark = pytest.mark.anyio


def events(first: int, last: int) -> list[Event]:
    return [PollRecovered(0.0, seq=seq, id=str(seq), at=START) for seq in range(first, last + 1)]


async def filled(last: int, keep: int = 65_536) -> MemoryJournal:
    """Return a journal to which events were added one by one."""
    journal = MemoryJournal(keep=keep)
    assert await journal.open(None) is None
    for event in events(1, last):
        await journal.append([event], State(seq=event.seq), {})
    return journal


async def test_it_gives_what_follows_a_place_oldest_first() -> None:
    journal = await filled(5)
    assert await journal.read(0, 100) == events(1, 5)
    assert await journal.read(3, 100) == events(4, 5)
    assert await journal.read(1, 2) == events(2, 3)
    assert await journal.read(5, 100) == []


async def test_an_empty_journal_has_nothing_to_read() -> None:
    assert await MemoryJournal().read(0, 100) == []


@pytest.mark.parametrize("last", range(1, 12))
@pytest.mark.parametrize("keep", [1, 2, 5])
async def test_it_keeps_the_newest(keep: int, last: int) -> None:
    journal = await filled(last, keep)
    oldest = max(0, last - keep)
    assert await journal.read(oldest, 100) == events(oldest + 1, last)
    assert await journal.read(oldest, 1) == events(oldest + 1, oldest + 1)
    if oldest:
        with pytest.raises(Lagged, match="no longer kept") as caught:
            await journal.read(oldest - 1, 100)
        assert caught.value.resume == oldest


async def test_more_events_at_once_than_it_keeps() -> None:
    journal = MemoryJournal(keep=3)
    await journal.append(events(1, 10), State(seq=10), {})
    assert await journal.read(7, 100) == events(8, 10)


async def test_a_place_beyond_the_newest_says_where_to_resume() -> None:
    journal = await filled(5)
    with pytest.raises(Lagged, match="hasn't happened") as caught:
        await journal.read(6, 100)
    assert caught.value.resume == 5


async def test_it_belongs_to_one_watcher_at_a_time_and_keeps_the_state_for_the_next() -> None:
    journal = await filled(2)
    with pytest.raises(JournalLocked):
        await journal.open(None)
    await journal.aclose()
    assert await journal.read(0, 100) == events(1, 2)
    assert await journal.open(None) == State(seq=2)


async def test_a_state_may_change_without_an_event() -> None:
    journal = await filled(2)
    await journal.append([], State(seq=2, replay=True), {})
    await journal.aclose()
    assert await journal.open(None) == State(seq=2, replay=True)


async def test_it_tells_how_full_it_is() -> None:
    assert repr(await filled(5, keep=3)) == "<MemoryJournal: 3 of 5 events>"


@pytest.mark.parametrize("keep", [0, -1])
def test_it_keeps_one_event_at_least(keep: int) -> None:
    with pytest.raises(ValueError, match="one event at least"):
        MemoryJournal(keep=keep)
