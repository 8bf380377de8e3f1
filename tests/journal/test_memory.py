"""What is `MemoryJournal`'s own: it goes round, and drops the oldest whoever hasn't read them."""

from __future__ import annotations

import pytest

from smspva_async import Lagged, MemoryJournal
from smspva_async._state import State
from tests.support.journals import events

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("last", range(1, 12))
@pytest.mark.parametrize("keep", [1, 2, 5])
async def test_memory_goes_round(keep: int, last: int) -> None:
    journal = MemoryJournal(keep=keep)
    oldest = max(0, last - keep)
    for event in events(1, last):
        await journal.append([event], State(seq=event.seq), {})
    assert await journal.read(oldest, 100) == events(oldest + 1, last)


async def test_memory_drops_what_a_name_has_not_read() -> None:
    journal = MemoryJournal(keep=2)
    await journal.append(events(1, 5), State(seq=5), {"slow": 1})
    with pytest.raises(Lagged):
        await journal.read(1, 100)
    assert await journal.places() == {"slow": 1}


async def test_memory_tells_how_full_it_is() -> None:
    journal = MemoryJournal(keep=3)
    await journal.append(events(1, 5), State(seq=5), {})
    assert repr(journal) == "<MemoryJournal: 3 of 5 events>"


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, None])
def test_memory_keeps_one_event_at_least(keep: int) -> None:
    with pytest.raises(ValueError, match="one event at least"):
        MemoryJournal(keep=keep)
