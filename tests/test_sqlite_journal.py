"""`SqliteJournal`'s file: who may read it, who is kept out, what survives a kill, and what goes wrong with files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from smspva_async import (
    Event,
    JournalError,
    JournalLocked,
    Lagged,
    OrderAdded,
    OrderRemoved,
    PollFailed,
    PollRecovered,
    SmspvaClient,
    SmsReceived,
    SqliteJournal,
    Watcher,
    event_to_dict,
)
from smspva_async._state import State, Track
from smspva_async.journal import _database
from smspva_async.simulator import Simulator
from tests.journals import events
from tests.loops import on_asyncio
from tests.watching import START, Account, order, sms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.anyio

KEY = "a-key-that-is-in-no-file"
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    await journal.open(None)
    return journal


async def filled(path: Path, last: int, **options: Any) -> SqliteJournal:
    journal = await opened(path, **options)
    await journal.append(events(1, last), State(seq=last), {})
    return journal


async def stored(path: Path) -> tuple[State | None, list[Event], dict[str, int]]:
    """Return what a new run finds in a file."""
    journal = SqliteJournal(path)
    state = await journal.open(None)
    try:
        with contextlib.suppress(Lagged):
            return state, list(await journal.read(0, 1000)), dict(await journal.places())
        raise AssertionError("its oldest are gone")
    finally:
        await journal.aclose()


def beside(path: Path) -> set[str]:
    return {found.name for found in path.parent.iterdir()}


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("smspva journal")]


def sql(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


# -- other processes -------------------------------------------------------------------------------------------------

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def started(work: Callable[..., None], *args: object) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    """Start a function in another process, which may tell something through its last argument."""
    here, there = _processes.Pipe()
    process = _processes.Process(target=work, args=(*args, there))
    process.start()
    there.close()
    return process, here


def told(work: Callable[..., None], *args: object) -> Any:
    """Return what a function tells in another process."""
    process, pipe = started(work, *args)
    with contextlib.closing(pipe):
        answer = pipe.recv()
    process.join()
    return answer


def killed(process: multiprocessing.process.BaseProcess) -> bool:
    return process.exitcode == -signal.SIGKILL


def try_to_open(path: Path, pipe: Connection) -> None:
    async def main() -> None:
        journal = SqliteJournal(path)
        try:
            await journal.open(None)
        except JournalError as error:
            pipe.send((type(error).__name__, str(error)))
        else:
            await journal.aclose()
            pipe.send(None)

    asyncio.run(main())


def hold(path: Path, pipe: Connection) -> None:
    async def main() -> None:
        await opened(path)
        pipe.send("open")
        time.sleep(600)  # noqa: ASYNC251 - until it is killed

    asyncio.run(main())


async def test_other_programs_may_read_it_while_it_is_written(path: Path) -> None:
    written: list[Event] = [
        OrderAdded(order(1, extra={"x": [None, "й"]}), seq=1, id="a", at=START, order_id=1),
        SmsReceived(order(1), sms("code 1234"), seq=2, id="b", at=START, order_id=1),
        PollFailed("RequestTimeout", "?", seq=3, id="c", at=START),
    ]
    program = (
        "import json, sqlite3, sys\n"
        "connection = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n"
        "events = connection.execute('SELECT seq, event FROM events WHERE seq > 0 ORDER BY seq').fetchall()\n"
        "places = connection.execute('SELECT name, place FROM cursors').fetchall()\n"
        "assert 'smspva_async' not in sys.modules\n"
        "print(json.dumps([[[seq, json.loads(event)] for seq, event in events], dict(places)]))\n"
    )
    journal = await opened(path)
    await journal.append(written, State(seq=3), {"a": 2})
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(  # noqa: S603
            [sys.executable, "-c", program, str(path)], capture_output=True, check=True
        )
    )
    await journal.append(events(4, 4), State(seq=4), {})
    await journal.aclose()
    assert json.loads(done.stdout) == [[[event.seq, event_to_dict(event)] for event in written], {"a": 2}]


async def test_a_reader_in_the_middle_of_a_reading_holds_up_no_writing(path: Path) -> None:
    journal = await filled(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT max(seq) FROM events").fetchall() == [(3,)]
        await journal.append(events(4, 5), State(seq=5), {})
        assert reader.execute("SELECT max(seq) FROM events").fetchall() == [(3,)]
        await journal.aclose()
    assert (await stored(path))[0] == State(seq=5)


async def test_a_second_watcher_is_told_at_once_which_file_is_taken(path: Path) -> None:
    journal = await filled(path, 3)
    for second in (
        journal,
        SqliteJournal(path),
        SqliteJournal(path.parent / "." / ".." / path.parent.name / path.name),
    ):
        before = time.monotonic()
        with pytest.raises(JournalLocked, match=f"{path};"):
            await second.open(None)
        assert time.monotonic() - before < 1
    assert await journal.read(0, 10) == events(1, 3)
    await journal.append(events(4, 4), State(seq=4), {})
    await journal.aclose()
    assert threads() == []


async def test_a_watcher_in_another_process_is_kept_out_also_after_one_here_was(path: Path, tmp_path: Path) -> None:
    journal = await filled(path, 3)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        kind, message = told(try_to_open, name)
        assert kind == "JournalLocked"
        assert str(path) in message
        with pytest.raises(JournalLocked):
            await SqliteJournal(name).open(None)
    assert told(try_to_open, path) is not None, "closing a file drops the locks that its process has on it"
    await journal.aclose()
    assert told(try_to_open, path) is None


async def test_one_that_was_given_back_and_is_read_keeps_nobody_out(path: Path) -> None:
    journal = await filled(path, 3000)
    await journal.aclose()
    await journal.read(0, 10)
    assert told(try_to_open, path) is None
    other = await opened(path)
    await journal.move({"a": 3})
    assert told(try_to_open, path) is not None
    assert await other.places() == {"a": 3}
    await other.aclose()


async def test_a_kill_gives_the_file_back(path: Path) -> None:
    process, pipe = started(hold, path)
    assert pipe.recv() == "open"
    with pytest.raises(JournalLocked):
        await SqliteJournal(path).open(None)
    process.kill()
    process.join()
    pipe.close()
    assert await stored(path) == (None, [], {})


# -- a kill ----------------------------------------------------------------------------------------------------------


def newest_of(poll: int) -> int:
    return sum(1 + number % 4 for number in range(poll))


def state_of(poll: int) -> State:
    """Return a state that a few polls have made so, in every part of it."""
    tracks = {
        order_id: Track(
            order(order_id, service=f"opt{poll}"),
            START,
            counts={("text", None, None): poll, (f"{poll}", "x", START): 1},
        )
        for order_id in range(poll, poll + 3)
    }
    return State(seq=newest_of(poll), since=START, tracks=tracks, gone={poll - 1: tracks[poll]}, skipped=(f"{poll}",))


def places_of(poll: int) -> dict[str, int]:
    return {"all": newest_of(poll), "half": newest_of(poll) // 2}


async def write_poll(journal: SqliteJournal, poll: int) -> None:
    await journal.append(events(newest_of(poll - 1) + 1, newest_of(poll)), state_of(poll), places_of(poll))


def write_on(path: Path, poll: int, pipe: Connection) -> None:
    async def main() -> None:
        journal = await opened(path, keep=50)
        for number in range(poll + 1, poll + 10_000):
            await write_poll(journal, number)
            if number == poll + 1:
                pipe.send("writing")

    asyncio.run(main())


async def polls_in(path: Path) -> int:
    """Return how many polls a file has, all of each."""
    journal = SqliteJournal(path)
    state = await journal.open(None)
    poll = 0 if state is None else next(poll for poll in range(100_000) if newest_of(poll) == state.seq)
    assert state == (state_of(poll) if poll else None)
    assert await journal.places() == (places_of(poll) if poll else {})
    oldest = 0
    try:
        await journal.read(0, 1)
    except Lagged as lagged:
        oldest = lagged.resume
    assert await journal.read(oldest, 10_000) == events(oldest + 1, newest_of(poll))
    if poll:
        with pytest.raises(Lagged):
            await journal.read(newest_of(poll) + 1, 1)
    await journal.aclose()
    return poll


@on_asyncio
async def test_a_kill_at_any_moment_leaves_all_of_a_poll_or_none_of_it(path: Path) -> None:
    random, poll = Random(7), 0
    for _ in range(15):
        process, pipe = started(write_on, path, poll)
        assert pipe.recv() == "writing"
        time.sleep(random.uniform(0, 0.03))  # noqa: ASYNC251
        process.kill()
        process.join()
        pipe.close()
        assert killed(process)
        before, poll = poll, await polls_in(path)
        assert poll > before


async def write_until_statement(path: Path, statement: int, poll: int) -> None:
    """Open a file and write a poll, but be killed when SQLite comes to its n-th statement."""
    connect, left = _database.Database._connect, statement

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(database: _database.Database) -> sqlite3.Connection:
        connection = connect(database)
        connection.set_trace_callback(count)
        return connection

    _database.Database._connect = counting  # type: ignore[assignment, method-assign]
    journal = await opened(path)
    await write_poll(journal, poll)
    await journal.aclose()


def die_at_each_statement(template: Path, poll: int, pipe: Connection) -> None:
    """Write a poll to copies of a file, each time killed one statement later, until all are done; tell how many."""
    statement, done = 0, False
    while not done:
        statement += 1
        path = template.parent / f"{poll}-{statement}.db"
        if template.exists():
            path.write_bytes(template.read_bytes())
        child = os.fork()
        if not child:
            asyncio.run(write_until_statement(path, statement, poll))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        done = not os.WIFSIGNALED(status)
        assert done or os.WTERMSIG(status) == signal.SIGKILL
    pipe.send(statement)


@on_asyncio
@pytest.mark.parametrize("poll", [1, 2])
async def test_a_kill_at_any_statement_leaves_all_of_a_poll_or_none_of_it(tmp_path: Path, poll: int) -> None:
    template = tmp_path / "template.db"
    if poll > 1:
        journal = await opened(template)
        await write_poll(journal, 1)
        await journal.aclose()
    statements = told(die_at_each_statement, template, poll)
    assert statements > 20
    for statement in range(1, statements):
        path = tmp_path / f"{poll}-{statement}.db"
        assert await polls_in(path) in {poll - 1, poll}
    assert await polls_in(tmp_path / f"{poll}-{statements}.db") == poll


# -- a file that can't be used ---------------------------------------------------------------------------------------


@pytest.fixture
def no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_mask")
async def test_its_files_are_its_owners_alone(path: Path) -> None:
    journal = await filled(path, 3)
    assert beside(path) >= {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db-lock"}
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    await journal.aclose()
    assert beside(path) == {"journal.db", "journal.db-lock"}


async def test_a_path_is_any_path(tmp_path: Path) -> None:
    path = tmp_path / "a ?b#c%20'd"
    path.mkdir()
    journal = await filled(path / "журнал?mode=memory.db", 2000)
    await journal.aclose()
    assert await journal.read(0, 1) == events(1, 1)
    assert beside(path / "x") == {"журнал?mode=memory.db", "журнал?mode=memory.db-lock"}
    assert repr(journal) == f"<SqliteJournal {path / 'журнал?mode=memory.db'}>"


async def refused(path: Path, reason: str, account: str | None = None) -> JournalError:
    """Have a file refused, without a change to it or, but for its lock, to what is beside it."""
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


async def test_a_file_of_a_newer_version(path: Path) -> None:
    await (await filled(path, 3)).aclose()
    sql(path, f"PRAGMA user_version = {len(_database._UPGRADES) + 1}")
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
async def test_a_file_that_is_no_journal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    await refused(path, "no journal|damaged")
    assert beside(path) == {path.name}


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE events (seq, at, event)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"],
)
async def test_another_programs_database(path: Path, mode: str, statement: str) -> None:
    sql(path, f"PRAGMA journal_mode = {mode}")
    sql(path, statement)
    await refused(path, "another program's database, no journal; nothing was changed")
    assert beside(path) == {path.name}


async def test_another_programs_database_that_is_in_use(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE mine (x)")
        await refused(path, "another program's database")
        connection.execute("INSERT INTO mine VALUES (1)")
    assert sql(path, "SELECT * FROM mine") == [(1,)]


async def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir()
    await refused(path, "is a folder. Name a file in it")
    assert beside(path) == {path.name}


async def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    await refused(tmp_path / "missing" / "journal.db", "no such folder")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Do as somebody does whom the modes of files apply to."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_folder_that_is_read_only(path: Path) -> None:
    await (await filled(path, 3)).aclose()  # so that nothing is left to be imported
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with as_nobody():
            await refused(folder / "journal.db", "Permission denied. Nothing was changed")
        folder.chmod(0o755)
        assert list(folder.iterdir()) == []


async def test_a_file_that_is_read_only(path: Path) -> None:
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


async def test_another_account(path: Path) -> None:
    sim, other = Simulator(), SmspvaClient(KEY[::-1], transport=Simulator().transport())
    sim.add_order()
    async with SmspvaClient(KEY, transport=sim.transport()) as client:
        for _ in range(2):
            async with Watcher(client, journal=SqliteJournal(path)):
                assert beside(path) >= {"journal.db-wal"}
                assert not any(KEY.encode() in found.read_bytes() for found in path.parent.iterdir())
    assert KEY.encode() not in path.read_bytes()
    content = path.read_bytes()
    async with other:
        with pytest.raises(JournalError, match="another account; nothing was changed") as caught:
            await Watcher(other, journal=SqliteJournal(path)).__aenter__()
    assert str(path) in str(caught.value)
    assert KEY[::-1] not in str(caught.value)
    assert path.read_bytes() == content


async def test_a_watcher_that_knows_no_account_takes_any_file_and_leaves_the_account_open(path: Path) -> None:
    async with Watcher(Account(order()), journal=SqliteJournal(path)):
        pass
    for account in (lambda: "first", None, lambda: "first"):
        journal = SqliteJournal(path)
        assert await journal.open(account) is not None
        await journal.aclose()
    await refused(path, "of another account", account="second")
    sql(path, "DELETE FROM meta WHERE key = 'account'")  # as the message says, for a new key
    journal = SqliteJournal(path)
    assert await journal.open(lambda: "second") is not None
    await journal.aclose()


def spread(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * (path.stat().st_size - start))


async def test_a_damaged_file(path: Path) -> None:
    await (await filled(path, 3000)).aclose()
    spread(path, 4096)
    await refused(path, r"can't be used: it is damaged \(")


async def test_damage_that_is_met_while_it_is_read(path: Path) -> None:
    journal = await filled(path, 3000)
    sql(path, "UPDATE events SET event = 'nonsense' WHERE seq = 7")
    assert await journal.read(2900, 1) == events(2901, 2901)
    with pytest.raises(JournalError, match=r"can't be read: it is damaged \(") as caught:
        await journal.read(0, 1)
    assert str(path) in str(caught.value)
    await journal.aclose()


async def test_a_program_that_keeps_it_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_database, "_BUSY_TIMEOUT", 0.01)
    journal = await filled(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="another program keeps it locked") as caught:
            await journal.append(events(4, 4), State(seq=4), {})
        assert not isinstance(caught.value, JournalLocked)
    assert await journal.read(0, 10) == events(1, 3)
    await journal.append(events(4, 4), State(seq=4), {})
    await journal.aclose()
    assert (await stored(path))[:2] == (State(seq=4), events(1, 4))


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
                with contextlib.suppress(JournalError):  # so it is with the next poll
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


async def test_a_full_disk(path: Path) -> None:
    journal = await opened(path)
    await write_poll(journal, 1)
    await journal.aclose()
    errors, last = told(fill_the_disk, path)
    assert [kind for kind, _ in errors] == ["JournalError"] * 4
    for _, message in errors[:3]:
        assert f"the journal {path} can't be written: the disk is full" in message
        assert "What it has is safe" in message
    assert "new.db can't be used: the disk is full" in errors[3][1]
    state, found, _ = await stored(path)
    assert state is not None
    assert state.seq < newest_of(last)
    assert found[: state.seq] == events(1, min(state.seq, 1000))[: len(found)]
    assert await stored(path.parent / "new.db") == (None, [], {})


async def test_one_that_is_not_open_is_not_written(path: Path) -> None:
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match="isn't open; nothing was written"):
        await journal.append(events(1, 1), State(seq=1), {})
    assert beside(path) == set()
    await (await filled(path, 3)).aclose()
    with pytest.raises(JournalError, match="isn't open; nothing was written"):
        await journal.append(events(4, 4), State(seq=4), {})
    assert await stored(path) == (State(seq=3), events(1, 3), {})


# -- versions --------------------------------------------------------------------------------------------------------


async def test_an_older_file_is_brought_up_to_date_and_keeps_everything(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await opened(path)
    await write_poll(journal, 1)
    await write_poll(journal, 2)
    await journal.aclose()
    version = len(_database._UPGRADES)
    assert sql(path, "PRAGMA user_version") == [(version,)]
    steps = ("CREATE TABLE moods (mood TEXT)", "INSERT INTO moods VALUES ('calm')")
    monkeypatch.setattr(_database, "_UPGRADES", [*_database._UPGRADES, steps])
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
    monkeypatch.setattr(_database, "_UPGRADES", [*_database._UPGRADES, steps])
    await refused(path, "nowhere.*Nothing was changed")
    monkeypatch.undo()
    assert sql(path, "SELECT name FROM sqlite_master WHERE name = 'moods'") == []
    assert await polls_in(path) == 1


# -- how much it keeps -----------------------------------------------------------------------------------------------


async def oldest_after(path: Path, keep: Any, last: int = 20, places: dict[str, int] | None = None) -> int:
    """Return the place before the oldest event that is kept of some, a second apart, each appended alone."""
    journal = await opened(path, keep=keep)
    for event in events(1, last):
        await journal.append([event], State(seq=event.seq), places or {})
    return await oldest_in(journal)


async def oldest_in(journal: SqliteJournal) -> int:
    try:
        await journal.read(0, 1)
    except Lagged as lagged:
        place = lagged.resume
    else:
        place = 0
    await journal.aclose()
    assert sql(journal._path, "SELECT min(seq) FROM events") == [(place + 1,)]
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
async def test_it_keeps_so_many_and_for_so_long(path: Path, keep: Any, oldest: int) -> None:
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
def test_a_bound_that_cannot_be_meant(path: Path, keep: Any) -> None:
    with pytest.raises(ValueError, match="keeps"):
        SqliteJournal(path, keep=keep)
    assert beside(path) == set()


@pytest.mark.parametrize("keep", [5, timedelta(seconds=3)])
async def test_what_a_name_has_not_read_is_kept(path: Path, keep: Any) -> None:
    assert await oldest_after(path, keep, places={"slow": 2, "quick": 18}) == 2


async def test_what_a_name_has_read_or_is_forgotten_with_it_is_dropped_by_the_next_poll(path: Path) -> None:
    journal = await filled(path, 20, keep=5)
    assert await oldest_in(journal) == 15
    journal = await opened(path, keep=5)
    await journal.move({"slow": 17})
    await journal.append(events(21, 40), State(seq=40), {})
    assert await oldest_in(journal) == 17
    journal = await opened(path, keep=5)
    await journal.move({"slow": 20})
    await journal.append(events(41, 41), State(seq=41), {})
    assert await oldest_in(journal) == 20
    journal = await opened(path, keep=5)
    await journal.append(events(42, 42), State(seq=42), {"slow": 30})
    assert await oldest_in(journal) == 30
    journal = await opened(path, keep=5)
    await journal.forget("slow")
    await journal.append(events(43, 43), State(seq=43), {})
    assert await oldest_in(journal) == 38


async def test_what_was_dropped_while_somebody_waited_for_it_is_told_and_not_passed_over(path: Path) -> None:
    journal = await filled(path, 2000, keep=1500)
    assert await journal.read(500, 1) == events(501, 501)
    journal._pages.clear()
    gate = Gate(journal, "append")
    async with anyio.create_task_group() as group:
        group.start_soon(journal.append, events(2001, 2300), State(seq=2300), {})
        await gate.reached()

        async def read() -> None:
            with pytest.raises(Lagged) as caught:
                await journal.read(500, 10)
            assert caught.value.resume == 800

        group.start_soon(read)
        await turns()
        gate.open()
    await journal.aclose()


async def test_who_is_up_to_date_has_not_lagged_while_a_poll_is_written(path: Path) -> None:
    journal = await filled(path, 5, keep=1)
    gate = Gate(journal, "append", after=True)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.append, events(6, 9), State(seq=9), {})
        await gate.reached()
        with pytest.raises(Lagged) as caught:
            await journal.read(0, 10)
        assert await journal.read(caught.value.resume, 10) == []
        gate.open()
    await journal.aclose()


async def test_what_another_watcher_dropped_since_it_was_given_back_is_told(path: Path) -> None:
    journal = await filled(path, 2000, keep=None)
    await journal.aclose()
    other = await opened(path, keep=1500)
    await other.append(events(2001, 2300), State(seq=2300), {})
    await other.aclose()
    with pytest.raises(Lagged) as caught:
        await journal.read(600, 10)
    assert caught.value.resume == 800
    assert await journal.read(800, 1) == events(801, 801)


# -- off the event loop, and cancelled -------------------------------------------------------------------------------


class Gate:
    """Holds up a journal's thread, before or after its work."""

    def __init__(self, journal: SqliteJournal, method: str, *, after: bool = False) -> None:
        work = getattr(journal._database, method)
        self._reached, self._open = threading.Event(), threading.Event()

        def held_up(*args: object) -> object:
            done = work(*args) if after else None
            self._reached.set()
            assert self._open.wait(10)
            return done if after else work(*args)

        setattr(journal._database, method, held_up)

    async def reached(self) -> None:
        while not self._reached.is_set():
            await anyio.lowlevel.checkpoint()

    def open(self) -> None:
        self._open.set()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("method", ["open", "append", "move", "close"])
async def test_the_event_loop_goes_on_while_the_disk_is_slow(path: Path, method: str) -> None:
    journal = SqliteJournal(path)
    if method != "open":
        await journal.open(None)
    gate = Gate(journal, method)
    async with anyio.create_task_group() as group:
        group.start_soon(call, journal, method)
        await gate.reached()
        await turns()
        gate.open()
    await journal.aclose()


async def call(journal: SqliteJournal, method: str) -> None:
    if method == "open":
        await journal.open(None)
    elif method == "append":
        await journal.append(events(1, 3), State(seq=3), {"a": 2})
    elif method == "move":
        await journal.move({"a": 2})
    else:
        await journal.aclose()


async def all_or_nothing(journal: SqliteJournal, path: Path) -> bool:
    """Show that a journal has all of a poll or nothing, by its own account and in its file; tell which."""
    found = list(await journal.read(0, 10))
    await journal.aclose()
    assert threads() == []
    state, in_file, places = await stored(path)
    assert found == in_file
    assert (state, in_file, places) in [(None, [], {}), (State(seq=3), events(1, 3), {"a": 2})]
    return state is not None


@pytest.mark.parametrize("after", [False, True])
async def test_a_poll_whose_writing_is_cancelled_is_written_as_a_whole(path: Path, *, after: bool) -> None:
    journal = await opened(path)
    gate = Gate(journal, "append", after=after)
    async with anyio.create_task_group() as group:
        group.start_soon(call, journal, "append")
        await gate.reached()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await turns()
        gate.open()
    assert await all_or_nothing(journal, path)


async def test_a_poll_that_is_cancelled_beforehand_is_written_as_a_whole_or_not_at_all(path: Path) -> None:
    journal = await opened(path)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(journal, "append")
    await all_or_nothing(journal, path)


@pytest.mark.parametrize("beforehand", [False, True])
async def test_an_opening_that_is_cancelled_leaves_nothing_locked(path: Path, *, beforehand: bool) -> None:
    journal = SqliteJournal(path)
    gate = Gate(journal, "open")
    has_it = False

    async def take() -> None:
        nonlocal has_it
        await journal.open(None)
        has_it = True

    if beforehand:
        gate.open()
    async with anyio.create_task_group() as group:
        if beforehand:
            group.cancel_scope.cancel()
        group.start_soon(take)
        with anyio.CancelScope(shield=True):
            await turns(3) if beforehand else await gate.reached()
            group.cancel_scope.cancel()
            gate.open()
    if has_it:
        await journal.aclose()
    assert threads() == []
    assert await stored(path) == (None, [], {})


@pytest.mark.parametrize("beforehand", [False, True])
async def test_giving_back_is_finished_whoever_cancels_it(path: Path, *, beforehand: bool) -> None:
    journal = await filled(path, 3)
    gate = Gate(journal, "close")
    if beforehand:
        gate.open()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.aclose()
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(journal.aclose)
            await gate.reached()
            group.cancel_scope.cancel()
            gate.open()
    assert threads() == []
    assert told(try_to_open, path) is None
    assert await stored(path) == (State(seq=3), events(1, 3), {})


@on_asyncio
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("method", ["open", "append", "close"])
async def test_a_task_that_is_cancelled_leaves_all_or_nothing_and_nothing_locked(
    path: Path, method: str, times: int
) -> None:
    journal = SqliteJournal(path)
    if method != "open":
        await journal.open(None)
    gate = Gate(journal, method)
    task = asyncio.create_task(call(journal, method))
    await gate.reached()
    for _ in range(times):
        task.cancel()
        await turns()
    assert not task.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    if method == "append":
        assert await all_or_nothing(journal, path)
        return
    assert threads() == []
    assert told(try_to_open, path) is None


@on_asyncio
async def test_a_write_that_fails_after_its_task_was_cancelled_says_nothing_at_the_end(path: Path) -> None:
    journal = await opened(path)
    gate = Gate(journal, "append")
    task = asyncio.create_task(journal.append([*events(1, 1), *events(1, 1)], State(seq=1), {"a": 1}))
    await gate.reached()
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await all_or_nothing(journal, path)


async def test_a_write_that_fails_has_written_nothing_and_the_next_is_as_if_it_had_not_been(path: Path) -> None:
    journal = await opened(path)
    state = evolve(state_of(1), seq=1)
    with pytest.raises(JournalError):
        await journal.append([*events(1, 1), *events(1, 1)], state, {"a": 1})
    assert await journal.read(0, 10) == []
    assert await journal.places() == {}
    await journal.append(events(1, 1), state, {})
    await journal.aclose()
    assert await stored(path) == (state, events(1, 1), {})


def descriptors() -> set[int]:
    """Return the numbers of the files that are open."""
    found = set[int]()
    for number in range(256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found


async def test_it_leaves_no_thread_and_no_file_open(path: Path) -> None:
    before = descriptors()
    for _ in range(3):
        journal = await filled(path, 3) if not path.exists() else await opened(path)
        with pytest.raises(JournalLocked):
            await SqliteJournal(path).open(None)
        await journal.aclose()
        await journal.move({"a": 1})
        assert threads() == []
    assert descriptors() == before


@pytest.mark.parametrize("reopened", [False, True])
async def test_what_may_be_dated_by_the_local_clock_drops_nothing(path: Path, reopened: bool) -> None:  # noqa: FBT001
    year = START + timedelta(days=365)
    journal = await opened(path, keep=timedelta(days=2))
    await journal.append([PollRecovered(0.0, seq=1, id="1", at=START)], State(seq=1), {})
    if reopened:
        await journal.aclose()
        journal = await opened(path, keep=timedelta(days=2))
    for seq in (2, 4):
        failed = PollFailed("kind", "message", seq=seq, id=f"{seq}", at=year)
        removed = OrderRemoved(order(1), False, seq=seq + 1, id=f"{seq + 1}", at=year, order_id=1)  # noqa: FBT003
        await journal.append([failed, removed], State(seq=seq + 1), {})
    assert len(await journal.read(0, 100)) == 5
    await journal.aclose()


async def test_one_wrong_date_drops_nothing_and_keeps_nothing_for_ever(path: Path) -> None:
    journal = await opened(path, keep=timedelta(days=2))
    year = timedelta(days=365)

    async def append(seq: int, at: datetime, *, failed: bool = False) -> None:
        fields: dict[str, Any] = {"seq": seq, "id": str(seq), "at": at}
        event = PollFailed("kind", "message", **fields) if failed else PollRecovered(0.0, **fields)
        await journal.append([event], State(seq=seq), {})

    await append(1, START + year, failed=True)  # by the local clock
    for day in range(2):
        await append(2 + day, START + timedelta(days=day))
    await append(4, START + year)
    assert len(await journal.read(0, 100)) == 4
    for day in range(2, 9):
        await append(3 + day, START + timedelta(days=day))
    assert await oldest_in(journal) == 8
