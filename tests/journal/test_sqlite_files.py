"""`SqliteJournal`'s file: its permissions, and files that can't be used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from smspva_async import JournalError, SmspvaClient, SqliteJournal, Watcher, WatchState
from smspva_async.journal import database
from smspva_async.simulator import Simulator
from tests.support.accounts import Account, order
from tests.support.journal_files import filled, newest_of, opened, polls_in, stored, threads, write_poll
from tests.support.journals import events
from tests.support.permissions import as_nobody
from tests.support.processes import run_worker
from tests.support.sqlite_files import folder_content, sql
from tests.support.watching import watching

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


KEY = "a-key-that-is-in-no-file"


# -- a file that can't be used ---------------------------------------------------------------------------------------


@pytest.fixture
def no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_mask")
async def test_the_files_are_accessible_to_their_owner_only(path: Path) -> None:
    journal = await filled(path, 3)
    assert folder_content(path) >= {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db-lock"}
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    await journal.aclose()
    assert folder_content(path) == {"journal.db", "journal.db-lock"}


async def test_any_path_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "a ?b#c%20'd"
    path.mkdir()
    journal = await filled(path / "журнал?mode=memory.db", 2000)
    await journal.aclose()
    assert await journal.read(0, 1) == events(1, 1)
    assert folder_content(path / "x") == {"журнал?mode=memory.db", "журнал?mode=memory.db-lock"}
    assert repr(journal) == f"<SqliteJournal {path / 'журнал?mode=memory.db'}>"


async def refused(path: Path, reason: str, account: str | None = None) -> JournalError:
    """Check that a file is rejected, and that only the lock file in its folder has changed."""
    before = contents_beside(path)
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match=reason) as caught:
        await journal.open(None if account is None else lambda: account)
    assert type(caught.value) is JournalError
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert threads() == []
    assert contents_beside(path) == before
    return caught.value


def contents_beside(path: Path) -> dict[Path, bytes]:
    files = (found for found in path.parent.glob("*") if found.is_file())
    return {file: file.read_bytes() for file in files if not file.name.endswith(("-lock", "-shm"))}


async def test_a_file_of_a_newer_version_is_rejected(path: Path) -> None:
    await (await filled(path, 3)).aclose()
    sql(path, f"PRAGMA user_version = {len(database._UPGRADES) + 1}")
    await refused(path, "written by a newer smspva_async .*nothing was changed. Update the library")


@pytest.mark.parametrize(
    "content",
    [
        b"hi",
        b"some notes of mine\n",
        b"SQLite format 3\0",
        b"SQLite format 3\0" + bytes(5000),
        Random(1).randbytes(9000),
    ],
    ids=["a word", "text", "a beginning", "a header", "noise"],
)
async def test_a_file_that_is_not_a_journal_is_rejected(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    await refused(path, "isn't a journal|damaged")
    assert folder_content(path) == {path.name}


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE events (seq, at, event)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"],
)
async def test_a_database_of_another_program_is_rejected(path: Path, mode: str, statement: str) -> None:
    sql(path, f"PRAGMA journal_mode = {mode}")
    sql(path, statement)
    await refused(path, "another program's database, not a journal; nothing was changed")
    assert folder_content(path) == {path.name}


async def test_a_database_in_use_by_another_program_is_rejected(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE mine (x)")
        await refused(path, "another program's database")
        connection.execute("INSERT INTO mine VALUES (1)")
    assert sql(path, "SELECT * FROM mine") == [(1,)]


async def test_a_folder_is_rejected(path: Path) -> None:
    path.mkdir()
    await refused(path, "is a folder. Name a file in it")
    assert folder_content(path) == {path.name}


async def test_a_path_in_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    await refused(tmp_path / "missing" / "journal.db", "no such folder")
    assert list(tmp_path.iterdir()) == []


async def test_a_path_in_a_read_only_folder_is_rejected(path: Path) -> None:
    await (await filled(path, 3)).aclose()  # so that everything is imported already
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with as_nobody():
            await refused(folder / "journal.db", "Permission denied. Nothing was changed")
        folder.chmod(0o755)
        assert list(folder.iterdir()) == []


async def test_a_read_only_file_is_rejected(path: Path) -> None:
    await (await filled(path, 3)).aclose()
    with TemporaryDirectory() as name:
        copy = Path(name) / "journal.db"
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o444)
        copy.parent.chmod(0o777)
        with as_nobody(), pytest.raises(JournalError, match=r"it is read-only.*Nothing was changed") as caught:
            await opened(copy)
        assert str(copy) in str(caught.value)
        assert copy.read_bytes() == path.read_bytes()


async def test_a_file_of_another_account_is_rejected(path: Path) -> None:
    sim, other = Simulator(), SmspvaClient(KEY[::-1], transport=Simulator().transport())
    sim.add_order()
    async with SmspvaClient(KEY, transport=sim.transport()) as client:
        for _ in range(2):
            async with Watcher(client, journal=SqliteJournal(path)):
                assert folder_content(path) >= {"journal.db-wal"}
                assert not any(KEY.encode() in found.read_bytes() for found in path.parent.iterdir())
    assert KEY.encode() not in path.read_bytes()
    content = path.read_bytes()
    async with other:
        with pytest.raises(JournalError, match="another account; nothing was changed") as caught:
            await Watcher(other, journal=SqliteJournal(path)).__aenter__()
    assert str(path) in str(caught.value)
    assert KEY[::-1] not in str(caught.value)
    assert path.read_bytes() == content


async def test_a_watcher_without_an_account_can_open_any_file(path: Path) -> None:
    async with Watcher(Account(order()), journal=SqliteJournal(path)):
        pass
    for account in (lambda: "first", None, lambda: "first"):
        journal = SqliteJournal(path)
        assert await journal.open(account) is not None
        await journal.aclose()
    await refused(path, "belongs to another account", account="second")
    sql(path, "DELETE FROM meta WHERE key = 'account'")  # as the error message advises after a change of the key
    journal = SqliteJournal(path)
    assert await journal.open(lambda: "second") is not None
    await journal.aclose()


def overwrite_from(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * (path.stat().st_size - start))


async def test_a_damaged_file_is_rejected(path: Path) -> None:
    await (await filled(path, 3000)).aclose()
    overwrite_from(path, 4096)
    await refused(path, r"can't be used: it is damaged \(")


async def test_damage_found_while_reading_raises_journal_error(path: Path) -> None:
    journal = await filled(path, 3000)
    sql(path, "UPDATE events SET event = 'nonsense' WHERE seq = 7")
    assert await journal.read(2900, 1) == events(2901, 2901)
    with pytest.raises(JournalError, match=r"can't be read: it is damaged \(") as caught:
        await journal.read(0, 1)
    assert str(path) in str(caught.value)
    await journal.aclose()


def fill_the_disk(path: Path, pipe: Connection) -> None:
    async def main() -> None:
        journal = await opened(path)
        sizes = [found.stat().st_size for found in path.parent.iterdir()]
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 60_000, resource.RLIM_INFINITY))
        poll, errors = 1, list[tuple[str, str]]()
        for poll in range(2, 1000):
            try:
                await write_poll(journal, poll)
            except JournalError as error:
                errors.append((type(error).__name__, str(error)))
                if len(errors) == 3:
                    break
                with contextlib.suppress(JournalError):  # the next poll fails too
                    await journal.move({"all": 10**6})
        assert await journal.read(0, 3) == events(1, 3)
        await journal.aclose()
        second = SqliteJournal(path.parent / "new.db")
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        try:
            await second.open(None)
        except JournalError as error:
            errors.append((type(error).__name__, str(error)))
        pipe.send((errors, poll))

    asyncio.run(main())


async def test_a_full_disk_raises_journal_error_and_loses_nothing(path: Path) -> None:
    journal = await opened(path)
    await write_poll(journal, 1)
    await journal.aclose()
    errors, last = run_worker(fill_the_disk, path)
    assert [kind for kind, _ in errors] == ["JournalError"] * 4
    for _, message in errors[:3]:
        assert f"the journal {path} can't be written: the disk is full" in message
        assert "The events in it are safe" in message
    assert "new.db can't be used: the disk is full" in errors[3][1]
    assert not any(name.startswith("new.db") for name in folder_content(path))
    state, found, _ = await stored(path)
    assert state is not None
    assert state.seq < newest_of(last)
    assert found[: state.seq] == events(1, min(state.seq, 1000))[: len(found)]
    assert await stored(path.parent / "new.db") == (None, [], {})


@pytest.mark.parametrize("ending", ["-lock", "-wal", "-shm", ""])
async def test_a_journal_that_can_not_be_made_removes_no_file_of_the_user(path: Path, ending: str) -> None:
    file = path.with_name(path.name + ending)
    file.write_text("my notes")
    if ending in ("-wal", "-shm"):
        path.with_name(f"{path.name}-lock").mkdir()  # so that the journal can't be made
    with pytest.raises(JournalError):
        await SqliteJournal(path).open(None)
    assert file.read_text() == "my notes"


async def test_a_journal_that_is_not_open_cannot_be_written(path: Path) -> None:
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match="isn't open; nothing was written"):
        await journal.append(events(1, 1), WatchState(seq=1), {})
    assert folder_content(path) == set()
    await (await filled(path, 3)).aclose()
    with pytest.raises(JournalError, match="isn't open; nothing was written"):
        await journal.append(events(4, 4), WatchState(seq=4), {})
    assert await stored(path) == (WatchState(seq=3), events(1, 3), {})


# -- versions --------------------------------------------------------------------------------------------------------


async def test_an_older_file_is_upgraded_and_keeps_everything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await opened(path)
    await write_poll(journal, 1)
    await write_poll(journal, 2)
    await journal.aclose()
    version = len(database._UPGRADES)
    assert sql(path, "PRAGMA user_version") == [(version,)]
    steps = ("CREATE TABLE moods (mood TEXT)", "INSERT INTO moods VALUES ('calm')")
    monkeypatch.setattr(database, "_UPGRADES", [*database._UPGRADES, steps])
    for _ in range(2):
        assert await polls_in(path) == 2
        assert sql(path, "SELECT mood FROM moods") == [("calm",)]
        assert sql(path, "PRAGMA user_version") == [(version + 1,)]
    monkeypatch.undo()
    await refused(path, "newer")


async def test_an_upgrade_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await opened(path)
    await write_poll(journal, 1)
    await journal.aclose()
    steps = ("CREATE TABLE moods (mood TEXT)", "DELETE FROM events", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(database, "_UPGRADES", [*database._UPGRADES, steps])
    await refused(path, "nowhere.*Nothing was changed")
    monkeypatch.undo()
    assert sql(path, "SELECT name FROM sqlite_master WHERE name = 'moods'") == []
    assert await polls_in(path) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps an open file")
@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "removed"])
async def test_a_watch_whose_file_is_removed_ends_with_an_error(path: Path, *, is_replaced: bool) -> None:
    sim = Simulator()
    order = sim.add_order(state=1)

    async def watch() -> None:
        async with watching(sim, journal=SqliteJournal(path)) as watcher:
            path.rename(path.with_name("moved"))
            if is_replaced:
                path.touch()
            sim.deliver(order.id, "Your code: 1234")
            await watcher.wait_for_sms(order.id, timeout=60)

    with pytest.raises(JournalError, match="was removed or replaced while it was open; nothing was written"):
        await watch()
