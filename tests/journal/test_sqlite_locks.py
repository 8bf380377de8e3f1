"""An SQLite journal that another program keeps locked: it is retried for a minute, and then raises."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import JournalError, JournalLocked, SmspvaError, SqliteJournal, Watcher, WatchState
from smspva_async.journal import database
from tests.support.accounts import Account, order, sms
from tests.support.backends import on_both_backends
from tests.support.journal_files import filled, opened, stored, threads
from tests.support.journals import events
from tests.support.watching import polls, so_far, texts

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, on_both_backends]

SAYS_SO = "another program keeps it locked"


@contextmanager
def locked_by_another_program(path: Path, how: str = "IMMEDIATE") -> Generator[None]:
    """Hold a writer's lock on a file, as a program inside a transaction does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"BEGIN {how}")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture(autouse=True)
def _locks_are_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make each try take no real time, so that a minute of retries ends soon."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT", 0.0005)
    yield
    assert threads() == []


@pytest.mark.parametrize("seconds", [7, 50])
async def test_a_lock_of_some_seconds_does_not_end_the_watch(path: Path, seconds: float) -> None:
    account = Account(order())
    async with Watcher(account, journal=SqliteJournal(path), start="replay") as watcher:
        await polls(2)
        given: list[str] = []

        async def wait() -> None:
            given.append((await watcher.wait_for_sms(1, timeout=1000)).sms.text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(5)
            with locked_by_another_program(path):
                account.messages[1] = [sms("the first"), sms("the second")]
                reads, cursor = len(account.times(1)), watcher.cursor
                await anyio.sleep(seconds)
                assert len(account.times(1)) > reads
                assert (watcher.cursor, given) == (cursor, []), "no event is delivered before it is written"
                account.messages[1].append(sms("the third", 1))
            await anyio.sleep(1)
            assert given == ["the first"]
        await polls(2)
        assert texts(await so_far(watcher)) == ["the first", "the second", "the third"]
    state, found, _ = await stored(path)
    assert state is not None
    assert [event.seq for event in found] == list(range(1, state.seq + 1))
    assert texts(found) == ["the first", "the second", "the third"]


async def test_a_lock_of_more_than_a_minute_ends_the_watch(path: Path) -> None:
    account = Account(order())
    raised: list[SmspvaError] = []
    with pytest.raises(JournalError, match=SAYS_SO) as caught:  # noqa: PT012 - raised on leaving
        async with Watcher(account, journal=SqliteJournal(path)) as watcher:
            await polls(2)
            cursor = watcher.cursor

            async def wait() -> None:
                try:
                    await watcher.wait_for_sms(1, timeout=1000)
                except SmspvaError as error:
                    raised.append(error)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.sleep(5)
                with locked_by_another_program(path):
                    account.messages[1] = [sms("a message")]
                    await anyio.sleep(58)
                    assert raised == []
                    await anyio.sleep(10)
                    assert len(raised) == 1
            with pytest.raises(JournalError, match=SAYS_SO):
                await anext(watcher.events(after=cursor))
    assert [type(error) for error in (caught.value, *raised)] == [JournalError] * 2, "the lock is not another watcher's"
    assert str(path) in str(caught.value)
    assert SAYS_SO in str(raised[0])
    async with Watcher(account, journal=SqliteJournal(path)) as watcher:
        await polls(2)
        assert texts(await so_far(watcher)) == ["a message"], "the next watch reports it"


@pytest.mark.parametrize(("is_new", "how"), [(False, "IMMEDIATE"), (False, "EXCLUSIVE"), (True, "EXCLUSIVE")])
async def test_entering_waits_while_the_file_is_locked_for_some_seconds(path: Path, how: str, *, is_new: bool) -> None:
    account = Account(order())
    if is_new:
        path.touch()
    else:
        async with Watcher(account, journal=SqliteJournal(path)):
            await polls(1)
    began = anyio.current_time()

    async def hold(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with locked_by_another_program(path, how):
            task_status.started()
            await anyio.sleep(7)

    async with anyio.create_task_group() as tasks:
        await tasks.start(hold)
        async with Watcher(account, journal=SqliteJournal(path), start="replay") as watcher:
            assert 7 <= anyio.current_time() - began < 8
            account.messages[1] = [sms("a message", 60)]
            await polls(2)
            assert texts(await so_far(watcher)) == ["a message"]
    assert (await stored(path))[0] is not None


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_entering_raises_if_the_file_is_locked_for_more_than_a_minute(path: Path, how: str) -> None:
    await (await filled(path, 3)).aclose()
    began = anyio.current_time()
    with locked_by_another_program(path, how):
        with pytest.raises(JournalError, match=f"can't be used: {SAYS_SO}") as caught:
            await Watcher(Account(), journal=SqliteJournal(path)).__aenter__()
        assert 60 <= anyio.current_time() - began < 62
    assert not isinstance(caught.value, JournalLocked)
    assert threads() == []
    assert await stored(path) == (WatchState(seq=3), events(1, 3), {})


async def test_each_kind_of_write_is_retried_while_locked(path: Path) -> None:
    journal = await filled(path, 3)

    async def write() -> None:
        await journal.append(events(4, 4), WatchState(seq=4), {"a": 1, "b": 1})
        tried.set()
        await anyio.sleep(5)
        await journal.move({"a": 2})
        await anyio.sleep(5)
        await journal.forget("b")

    tried = anyio.Event()
    async with anyio.create_task_group() as tasks:
        with locked_by_another_program(path):
            tasks.start_soon(write)
            await anyio.sleep(7)
            assert await journal.read(0, 10) == events(1, 3), "reading needs no lock"
            assert await journal.places() == {}
            assert not tried.is_set()
        for _ in range(2):
            await anyio.sleep(4)
            with locked_by_another_program(path):
                await anyio.sleep(3)
    assert await journal.places() == {"a": 2}
    await journal.aclose()
    assert await stored(path) == (WatchState(seq=4), events(1, 4), {"a": 2})


async def test_a_write_cancelled_while_locked_is_not_done_and_can_be_repeated(path: Path) -> None:
    journal = await filled(path, 3)
    with locked_by_another_program(path):
        with anyio.move_on_after(3) as scope:
            await journal.append(events(4, 6), WatchState(seq=6), {"a": 5})
        assert scope.cancelled_caught
        assert await journal.read(0, 10) == events(1, 3)
    await journal.append(events(4, 5), WatchState(seq=5), {})
    assert await journal.read(0, 10) == events(1, 5)
    await journal.aclose()
    assert await stored(path) == (WatchState(seq=5), events(1, 5), {})


async def test_a_failed_write_writes_nothing_and_the_next_one_works(path: Path) -> None:
    journal = await filled(path, 3)
    began = anyio.current_time()
    with locked_by_another_program(path):
        with pytest.raises(JournalError, match=f"can't be written: {SAYS_SO}") as caught:
            await journal.append(events(4, 4), WatchState(seq=4), {})
        assert not isinstance(caught.value, JournalLocked)
        assert 60 <= anyio.current_time() - began < 62
    assert await journal.read(0, 10) == events(1, 3)
    await journal.append(events(4, 4), WatchState(seq=4), {})
    await journal.aclose()
    assert await stored(path) == (WatchState(seq=4), events(1, 4), {})


async def test_leaving_while_locked_for_some_seconds_loses_no_place(path: Path) -> None:
    async def hold(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with locked_by_another_program(path):
            task_status.started()
            await anyio.sleep(4)

    async with anyio.create_task_group() as tasks:
        async with Watcher(Account(order(1), order(2), order(3)), journal=SqliteJournal(path)) as watcher:
            consumer = watcher.consumer("the consumer", after=0)
            await anext(consumer)
            await anyio.sleep(10)
            await tasks.start(hold)
            await anext(consumer)
            await anext(consumer)
            before = anyio.current_time()
        assert 3 <= anyio.current_time() - before < 5
    assert (await stored(path))[2] == {"the consumer": 2}


async def test_readers_of_the_file_block_nothing(path: Path) -> None:
    account = Account(order())
    async with Watcher(account, journal=SqliteJournal(path)) as watcher:
        await polls(2)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchall()
            account.messages[1] = [sms("a message", 60)]
            await polls(2)
            assert texts(await so_far(watcher)) == ["a message"]
    journal = await opened(path)
    await journal.aclose()


async def test_leaving_while_locked_does_not_wait_a_minute(path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        async with Watcher(Account(order(1), order(2)), journal=SqliteJournal(path)) as watcher:
            consumer = watcher.consumer("the consumer", after=0)
            await anyio.sleep(10)
            await anext(consumer)
            await tasks.start(keep_locked, path)
            await anext(consumer)  # the first event is done, and its place can't be written
            before = anyio.current_time()
        assert 4 <= anyio.current_time() - before < 7
        tasks.cancel_scope.cancel()


async def keep_locked(path: Path, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with locked_by_another_program(path):
        task_status.started()
        await anyio.sleep_forever()
