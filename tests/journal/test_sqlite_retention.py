"""Retention of `SqliteJournal`: by number, by age, and for named cursors."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import Lagged, OrderRemoved, PollFailed, PollRecovered, SqliteJournal, WatchState
from tests.support.accounts import START, order
from tests.support.journal_files import Gate, filled, opened, turns
from tests.support.journals import events
from tests.support.sqlite_files import folder_content, sql

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def oldest_after(path: Path, keep: Any, last: int = 20, places: dict[str, int] | None = None) -> int:
    """Append events one by one, a second apart; return the place before the oldest kept one."""
    journal = await opened(path, keep=keep)
    for event in events(1, last):
        await journal.append([event], WatchState(seq=event.seq), places or {})
    return await oldest_in(journal, path)


async def oldest_in(journal: SqliteJournal, path: Path) -> int:
    try:
        await journal.read(0, 1)
    except Lagged as lagged:
        place = lagged.resume
    else:
        place = 0
    await journal.aclose()
    assert sql(path, "SELECT min(seq) FROM events") == [(place + 1,)]
    return place


@pytest.mark.parametrize(
    ("keep", "oldest"),
    [
        (None, 0),
        (5, 15),
        (20, 0),
        (timedelta(seconds=3), 16),
        (timedelta(microseconds=1), 19),
        (timedelta(days=1), 0),
        (timedelta.max, 0),
        ((5, timedelta(seconds=3)), 16),
        ((2, timedelta(seconds=3)), 18),
        ((None, timedelta(seconds=3)), 16),
        ((5, None), 15),
        ((None, None), 0),
    ],
)
async def test_events_are_kept_by_number_and_by_age(path: Path, keep: Any, oldest: int) -> None:
    assert await oldest_after(path, keep) == oldest


@pytest.mark.parametrize(
    "keep",
    [
        0,
        -1,
        1.5,
        True,
        "5",
        timedelta(0),
        timedelta(seconds=-1),
        (0, None),
        (5, 5),
        (timedelta(days=1), 5),
        (timedelta(days=1), timedelta(days=1)),
        (5,),
        (5, timedelta(days=1), 5),
        (),
    ],
)
def test_an_invalid_keep_is_rejected(path: Path, keep: Any) -> None:
    with pytest.raises(ValueError, match="keep"):
        SqliteJournal(path, keep=keep)
    assert folder_content(path) == set()


@pytest.mark.parametrize("keep", [5, timedelta(seconds=3)])
async def test_events_that_a_name_has_not_read_are_kept(path: Path, keep: Any) -> None:
    assert await oldest_after(path, keep, places={"slow": 2, "quick": 18}) == 2


async def test_events_are_dropped_by_the_next_poll_once_a_name_has_read_them_or_is_forgotten(path: Path) -> None:
    journal = await filled(path, 15, keep=5)
    await journal.append(events(16, 20), WatchState(seq=20), {})
    assert await oldest_in(journal, path) == 15
    journal = await opened(path, keep=5)
    await journal.move({"slow": 17})
    await journal.append(events(21, 40), WatchState(seq=40), {})
    assert await oldest_in(journal, path) == 17
    journal = await opened(path, keep=5)
    await journal.move({"slow": 20})
    await journal.append(events(41, 41), WatchState(seq=41), {})
    assert await oldest_in(journal, path) == 20
    journal = await opened(path, keep=5)
    await journal.append(events(42, 42), WatchState(seq=42), {"slow": 30})
    assert await oldest_in(journal, path) == 30
    journal = await opened(path, keep=5)
    await journal.forget("slow")
    await journal.append(events(43, 43), WatchState(seq=43), {})
    assert await oldest_in(journal, path) == 38


async def test_events_dropped_during_a_read_raise_lagged_and_are_not_skipped(path: Path) -> None:
    journal = await filled(path, 1900, keep=1500)
    await journal.append(events(1901, 2000), WatchState(seq=2000), {})
    assert await journal.read(500, 1) == events(501, 501)
    journal._pages.clear()
    async with anyio.create_task_group() as group, Gate(journal, "append") as gate:
        group.start_soon(journal.append, events(2001, 2300), WatchState(seq=2300), {})
        await gate.reached()

        async def read() -> None:
            with pytest.raises(Lagged) as caught:
                await journal.read(500, 10)
            assert caught.value.resume == 800

        group.start_soon(read)
        await turns()
        gate.open()
    await journal.aclose()


async def test_a_caught_up_reader_does_not_lag_while_a_poll_is_written(path: Path) -> None:
    journal = await filled(path, 5, keep=1)
    async with anyio.create_task_group() as group, Gate(journal, "append", after=True) as gate:
        group.start_soon(journal.append, events(6, 9), WatchState(seq=9), {})
        await gate.reached()
        with pytest.raises(Lagged) as caught:
            await journal.read(0, 10)
        assert await journal.read(caught.value.resume, 10) == []
        gate.open()
    await journal.aclose()


async def test_events_that_another_watcher_dropped_raise_lagged(path: Path) -> None:
    journal = await filled(path, 2000, keep=None)
    await journal.aclose()
    other = await opened(path, keep=1500)
    await other.append(events(2001, 2300), WatchState(seq=2300), {})
    await other.aclose()
    with pytest.raises(Lagged) as caught:
        await journal.read(600, 10)
    assert caught.value.resume == 800
    assert await journal.read(800, 1) == events(801, 801)


@pytest.mark.parametrize("reopened", [False, True])
async def test_events_that_may_be_dated_by_the_local_clock_drop_nothing(path: Path, reopened: bool) -> None:  # noqa: FBT001
    year = START + timedelta(days=365)
    journal = await opened(path, keep=timedelta(days=2))
    await journal.append([PollRecovered(0.0, seq=1, id="1", at=START)], WatchState(seq=1), {})
    if reopened:
        await journal.aclose()
        journal = await opened(path, keep=timedelta(days=2))
    for seq in (2, 4):
        failed = PollFailed("kind", "message", seq=seq, id=f"{seq}", at=year)
        removed = OrderRemoved(order(1), False, seq=seq + 1, id=f"{seq + 1}", at=year, order_id=1)  # noqa: FBT003
        await journal.append([failed, removed], WatchState(seq=seq + 1), {})
    assert len(await journal.read(0, 100)) == 5
    await journal.aclose()


async def test_one_wrong_date_drops_no_event_and_keeps_none_forever(path: Path) -> None:
    journal = await opened(path, keep=timedelta(days=2))
    year = timedelta(days=365)

    async def append(seq: int, at: datetime, *, failed: bool = False) -> None:
        fields: dict[str, Any] = {"seq": seq, "id": str(seq), "at": at}
        event = PollFailed("kind", "message", **fields) if failed else PollRecovered(0.0, **fields)
        await journal.append([event], WatchState(seq=seq), {})

    await append(1, START + year, failed=True)  # by the local clock
    for day in range(2):
        await append(2 + day, START + timedelta(days=day))
    await append(4, START + year)
    assert len(await journal.read(0, 100)) == 4
    for day in range(2, 9):
        await append(3 + day, START + timedelta(days=day))
    assert await oldest_in(journal, path) == 8
