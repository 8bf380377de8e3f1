"""`MemoryJournal`: it keeps the newest events, and drops older ones even if a named consumer has not read them."""

from __future__ import annotations

import pytest

from smspva_async import Lagged, MemoryJournal, WatchState
from tests.support.journals import events

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("last", range(1, 12))
@pytest.mark.parametrize("keep", [1, 2, 5])
async def test_a_memory_journal_drops_the_oldest_events(keep: int, last: int) -> None:
    journal = MemoryJournal(keep=keep)
    oldest = max(0, last - keep)
    for event in events(1, last):
        await journal.append([event], WatchState(seq=event.seq), {})
    assert await journal.read(oldest, 100) == events(oldest + 1, last)


async def test_a_memory_journal_drops_events_that_a_name_has_not_read() -> None:
    journal = MemoryJournal(keep=2)
    await journal.append(events(1, 3), WatchState(seq=3), {"slow": 1})
    await journal.append(events(4, 5), WatchState(seq=5), {})
    with pytest.raises(Lagged):
        await journal.read(1, 100)
    assert await journal.places() == {"slow": 1}


async def test_the_repr_of_a_memory_journal() -> None:
    journal = MemoryJournal(keep=3)
    await journal.append(events(1, 5), WatchState(seq=5), {})
    assert repr(journal) == "<MemoryJournal: 5 of 5 events>"
    await journal.append(events(6, 6), WatchState(seq=6), {})
    assert repr(journal) == "<MemoryJournal: 3 of 6 events>"


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, None])
def test_a_memory_journal_keeps_at_least_one_event(keep: int) -> None:
    with pytest.raises(ValueError, match="an integer of 1 or more"):
        MemoryJournal(keep=keep)
