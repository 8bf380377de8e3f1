"""`SqliteJournal` and other processes: locking, and kills."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from smspva_async import (
    Event,
    JournalLocked,
    OrderAdded,
    PollFailed,
    SmsReceived,
    SqliteJournal,
    WatchState,
    event_to_dict,
)
from smspva_async.journal import database
from tests.support import PATIENCE
from tests.support.accounts import START, order, sms
from tests.support.backends import on_asyncio
from tests.support.journal_files import filled, opened, polls_in, stored, threads, try_to_open, write_poll
from tests.support.journals import events
from tests.support.processes import Worker, is_orphan, run_program, run_worker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# -- other processes -------------------------------------------------------------------------------------------------


def hold(path: Path, pipe: Connection) -> None:
    async def main() -> None:
        await opened(path)
        pipe.send("open")
        time.sleep(600)  # noqa: ASYNC251 - until the process is killed

    asyncio.run(main())


async def test_other_programs_can_read_the_file_while_it_is_written(path: Path) -> None:
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
    await journal.append(written, WatchState(seq=3), {"a": 2})
    printed = await anyio.to_thread.run_sync(run_program, sys.executable, "-c", program, str(path))
    await journal.append(events(4, 4), WatchState(seq=4), {})
    await journal.aclose()
    assert json.loads(printed) == [[[event.seq, event_to_dict(event)] for event in written], {"a": 2}]


async def test_a_reader_in_a_transaction_blocks_no_write(path: Path) -> None:
    journal = await filled(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT max(seq) FROM events").fetchall() == [(3,)]
        await journal.append(events(4, 5), WatchState(seq=5), {})
        assert reader.execute("SELECT max(seq) FROM events").fetchall() == [(3,)]
        await journal.aclose()
    assert (await stored(path))[0] == WatchState(seq=5)


async def test_a_second_watcher_gets_an_immediate_error_that_names_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT", 3600)  # if it waited, the test's time limit would end it
    journal = await filled(path, 3)
    for second in (
        journal,
        SqliteJournal(path),
        SqliteJournal(path.parent / "." / ".." / path.parent.name / path.name),
    ):
        before = anyio.current_time()
        with pytest.raises(JournalLocked, match=f"{path};"):
            await second.open(None)
        assert anyio.current_time() == before
    assert await journal.read(0, 10) == events(1, 3)
    await journal.append(events(4, 4), WatchState(seq=4), {})
    await journal.aclose()
    assert threads() == []


async def test_a_watcher_in_another_process_is_locked_out_after_one_here_was(path: Path, tmp_path: Path) -> None:
    journal = await filled(path, 3)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        kind, message = run_worker(try_to_open, name)
        assert kind == "JournalLocked"
        assert str(path) in message
        with pytest.raises(JournalLocked):
            await SqliteJournal(name).open(None)
    assert run_worker(try_to_open, path) is not None, "closing a file drops the locks of its process"
    await journal.aclose()
    assert run_worker(try_to_open, path) is None


async def test_reading_a_released_journal_takes_no_lock(path: Path) -> None:
    journal = await filled(path, 3000)
    await journal.aclose()
    await journal.read(0, 10)
    assert run_worker(try_to_open, path) is None
    other = await opened(path)
    await journal.move({"a": 3})
    assert run_worker(try_to_open, path) is not None
    assert await other.places() == {"a": 3}
    await other.aclose()


async def test_a_kill_releases_the_file(path: Path) -> None:
    with Worker(hold, path, piped=True) as holder:
        assert holder.receive() == "open"
        with pytest.raises(JournalLocked):
            await SqliteJournal(path).open(None)
        holder.kill()
    assert await stored(path) == (None, [], {})


# -- a kill ----------------------------------------------------------------------------------------------------------


def write_on(path: Path, poll: int, pipe: Connection) -> None:
    async def main() -> None:
        journal = await opened(path, keep=50)
        for number in itertools.count(poll + 1):
            await write_poll(journal, number)
            if number == poll + 1:
                pipe.send("writing")
            if is_orphan():
                break

    asyncio.run(main())


@on_asyncio
@pytest.mark.parametrize("kills", [4, pytest.param(15, marks=pytest.mark.slow)])
async def test_a_kill_at_any_moment_leaves_only_complete_polls(path: Path, kills: int) -> None:
    random, poll = Random(7), 0
    for _ in range(kills):
        with Worker(write_on, path, poll, piped=True) as writer:
            assert writer.receive() == "writing"
            time.sleep(random.uniform(0, 0.03))  # noqa: ASYNC251
            writer.kill()
        before, poll = poll, await polls_in(path)
        assert poll > before


async def write_until_statement(path: Path, statement: int, poll: int) -> None:
    """Open a file and write a poll; die at SQLite's n-th statement."""
    connect, left = database.Database._connect, statement

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(database: database.Database) -> sqlite3.Connection:
        connection = connect(database)
        connection.set_trace_callback(count)
        return connection

    database.Database._connect = counting  # type: ignore[assignment, method-assign]
    journal = await opened(path)
    await write_poll(journal, poll)
    await journal.aclose()


def die_at_statements(template: Path, poll: int, step: int, pipe: Connection) -> None:
    """Write a poll to copies of a file, dying a statement later each time; send the copies, the last one complete."""
    paths, statement = list[Path](), 0
    done = False
    while not done:
        statement += step
        path = template.parent / f"{poll}-{statement}.db"
        paths.append(path)
        if template.exists():
            path.write_bytes(template.read_bytes())
        child = os.fork()
        if not child:
            signal.alarm(int(PATIENCE / 2))
            asyncio.run(write_until_statement(path, statement, poll))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        done = not os.WIFSIGNALED(status)
        assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    pipe.send(paths)


@on_asyncio
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("poll", [1, 2])
async def test_a_kill_at_any_statement_leaves_only_complete_polls(tmp_path: Path, poll: int, step: int) -> None:
    template = tmp_path / "template.db"
    if poll > 1:
        journal = await opened(template)
        await write_poll(journal, 1)
        await journal.aclose()
    *killed, whole = run_worker(die_at_statements, template, poll, step)
    assert len(killed) * step >= 20
    for path in killed:
        assert await polls_in(path) in {poll - 1, poll}
    assert await polls_in(whole) == poll
