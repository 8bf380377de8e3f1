"""An SQLite journal that lacks events, because another program deleted them: it raises and repeats nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import JournalError, SqliteJournal, Watcher, WatchState
from tests.support.accounts import START, Account, order
from tests.support.backends import on_both_backends
from tests.support.consumers import step, take
from tests.support.journal_files import filled, opened, threads
from tests.support.sqlite_files import sql
from tests.support.watching import polls

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async import Subscription

pytestmark = pytest.mark.anyio

LAST = 3000
IN_MEMORY = range(LAST - 1023, LAST + 1)
"""The events that are read when the file is opened."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def with_hole(path: Path, *missing: int) -> None:
    """Make a journal of a longer watch that lacks some events."""
    journal = await filled(path, LAST)
    await journal.append([], WatchState(seq=LAST, since=START), {"the consumer": 0})
    await journal.aclose()
    numbers = ", ".join(map(str, missing))
    sql(path, f"DELETE FROM events WHERE seq IN ({numbers})")  # noqa: S608 - numbers


async def read_until_error(events: Subscription, last: int = LAST) -> tuple[list[int], str | None]:
    """Return the numbers of the events, and the error at which they end."""
    found: list[int] = []
    try:
        while not found or found[-1] < last:
            found.append((await step(events)).seq)
            assert len(found) <= LAST, "it doesn't end"
    except JournalError as error:
        return found, str(error)
    return found, None


DEEP = [2, 100, 255, 256, 257, 512, 513, 1500, IN_MEMORY[0] - 2, IN_MEMORY[0] - 1]


@pytest.mark.parametrize("hole", DEEP)
async def test_reading_a_missing_event_names_it_and_the_place_to_resume(path: Path, hole: int) -> None:
    await with_hole(path, hole)
    async with Watcher(Account(), journal=SqliteJournal(path)) as watcher:
        for subscription in (watcher.events(after=0), watcher.consumer("the consumer")):
            found, error = await read_until_error(subscription)
            assert found == list(range(1, hole))
            assert error is not None
            assert "journal is damaged" in error
            assert f"event {hole} is missing" in error
            assert f"events(after={hole})" in error
            for _ in range(3):
                with pytest.raises(JournalError, match=f"event {hole} is missing"):
                    await step(subscription)
        assert await read_until_error(watcher.events(after=hole)) == (list(range(hole + 1, LAST + 1)), None)


@on_both_backends
async def test_several_missing_events_can_be_skipped_one_by_one(path: Path) -> None:
    holes = {7, *range(250, 260), 300, 302, *range(500, 1100), IN_MEMORY[0] - 1}
    await with_hole(path, *holes)
    async with Watcher(Account(), journal=SqliteJournal(path)) as watcher:
        found: list[int] = []
        after = 0
        for _ in range(6):
            some, error = await read_until_error(watcher.events(after=after))
            found += some
            assert error is not None
            (after,) = map(int, re.findall(r"events\(after=(\d+)\)", error))
            assert f"event {found[-1] + 1} is missing" in error or after not in holes
        found += await take(watcher.events(after=after), LAST - after)
    assert found == [seq for seq in range(1, LAST + 1) if seq not in holes]


@pytest.mark.parametrize("hole", [100, 257, 1500])
async def test_a_subscription_to_one_order_raises_too(path: Path, hole: int) -> None:
    await with_hole(path, hole)
    async with Watcher(Account(), journal=SqliteJournal(path)) as watcher:
        one = watcher.events(after=0, order_id=1)
        with anyio.fail_after(1000), pytest.raises(JournalError, match=f"event {hole} is missing"):
            await anext(one)


@pytest.mark.parametrize("hole", DEEP)
async def test_reading_past_missing_events_repeats_nothing_and_ends(path: Path, hole: int) -> None:
    await with_hole(path, hole)
    journal = await opened(path)
    for limit in (1, 200, 1000):
        found: list[int] = []
        while page := await journal.read(found[-1] if found else 0, limit):
            found += [event.seq for event in page]
            assert len(found) <= LAST, "it doesn't end"
        assert found == [seq for seq in range(1, LAST + 1) if seq != hole]
    await journal.aclose()


@pytest.mark.parametrize("hole", [IN_MEMORY[0], IN_MEMORY[0] + 1, 2500, LAST - 1])
async def test_a_file_that_lacks_one_of_the_newest_events_is_rejected_unchanged(path: Path, hole: int) -> None:
    await with_hole(path, hole)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"damaged .*missing.*Nothing was changed") as caught:
        await Watcher(Account(), journal=SqliteJournal(path)).__aenter__()
    assert str(path) in str(caught.value)
    assert threads() == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("missing", [(LAST,), tuple(range(LAST - 9, LAST + 1)), tuple(range(1, LAST + 1))], ids=len)
async def test_a_file_that_lacks_the_newest_event_is_rejected_or_raises_and_continues(
    path: Path, missing: tuple[int, ...]
) -> None:
    await with_hole(path, *missing)
    account = Account()
    watcher = Watcher(account, journal=SqliteJournal(path))
    try:
        await watcher.__aenter__()
    except JournalError as error:
        assert "missing" in str(error)  # noqa: PT017 - one of two valid outcomes
        return
    try:
        account.listed += [order(order_id) for order_id in range(1, 4)]
        await polls(1)
        assert watcher.cursor == LAST + 3
        found, error_text = await read_until_error(watcher.events(after=missing[0] - 1), LAST + 3)
        assert found == []
        assert error_text is not None
        assert f"event {missing[0]} is missing" in error_text or f"after {missing[0] - 1} are missing" in error_text
        assert await read_until_error(watcher.events(after=LAST), LAST + 3) == ([LAST + 1, LAST + 2, LAST + 3], None)
    finally:
        await watcher.__aexit__(None, None, None)


async def test_an_event_deleted_by_another_program_is_reported_when_read(path: Path) -> None:
    journal = await filled(path, LAST)
    await journal.append([], WatchState(seq=LAST, since=START), {})
    await journal.aclose()
    async with Watcher(Account(), journal=SqliteJournal(path)) as watcher:
        subscription = watcher.events(after=0)
        assert await take(subscription, 300) == list(range(1, 301))
        sql(path, "DELETE FROM events WHERE seq IN (100, 700, 2500)")
        found, error = await read_until_error(subscription)
        assert found == list(range(301, 700))
        assert error is not None
        assert "event 700 is missing" in error
        assert (await read_until_error(watcher.events(after=700)))[0] == list(range(701, LAST + 1)), (
            "event 2500 is in memory"
        )


async def test_a_damaged_old_event_raises_and_is_not_skipped(path: Path) -> None:
    await with_hole(path)
    sql(path, "UPDATE events SET event = 'nonsense' WHERE seq = 600")
    async with Watcher(Account(), journal=SqliteJournal(path)) as watcher:
        subscription = watcher.events(after=0)
        found, error = await read_until_error(subscription)
        assert found == list(range(1, found[-1] + 1))
        assert found[-1] < 600
        assert error is not None
        assert "damaged" in error
        again, error_again = await read_until_error(subscription)
        assert (again, error_again) == ([], error)
