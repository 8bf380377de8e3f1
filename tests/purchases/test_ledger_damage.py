"""The ledger: a file that is damaged, none of ours, or can't be written."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from smspva_async._money.ledger_entries import Contents, Ended

from smspva_async import Pace, SmspvaClient
from smspva_async.errors import JournalError, OutcomeUnknown
from tests.support.backends import on_asyncio
from tests.support.fake_server import KEY, FakeServer
from tests.support.ledgers import CREATE, at_next_start, outcomes, written_by
from tests.support.samples import NOTHING, every_spending_call
from tests.support.watching import gaps

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async._money.ledger_entries import Outcome

    from tests.support.samples import Call

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("accounts_are_told_apart_quickly")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- damage --------------------------------------------------------------------------------------------------------


async def test_a_last_line_torn_anywhere_is_passed_over(
    path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    first = await written_by(fake_server, path)
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    whole = path.read_bytes()
    begun = whole.index(b"\n", len(first)) + 1
    for end in range(len(first), begun):
        path.write_bytes(whole[:end])
        (error,) = SmspvaClient(KEY, ledger=path).unsettled
        SmspvaClient(KEY, ledger=path).settle(error)  # the next line isn't glued to it
        assert SmspvaClient(KEY, ledger=path).unsettled == ()
    path.write_bytes(whole[:begun])
    assert len(SmspvaClient(KEY, ledger=path).unsettled) == 2
    assert warnings(caplog) == []


async def test_a_header_torn_anywhere_begins_the_ledger_anew(path: Path, fake_server: FakeServer) -> None:
    whole = await written_by(fake_server, path)
    header = whole[: whole.index(b"\n")]
    for end in range(0, len(header) + 1, 4):
        path.write_bytes(header[:end])
        assert at_next_start(path) == ()
        await written_by(fake_server, path)
        assert len(at_next_start(path)) == 1


async def test_so_does_one_that_was_torn_twice(path: Path, fake_server: FakeServer) -> None:
    path.write_bytes(b'{"led\ttorn\n{"ledg')
    await written_by(fake_server, path)
    assert len(at_next_start(path)) == 1


@pytest.mark.parametrize(
    "damage",
    [b"\x00\xff", b"[]", b"5", b"{}", b'{"call": "1"}', b'{"call": "1", "outcome": "eaten", "at": "2026-01-01"}'],
)
async def test_a_line_that_cant_be_read_is_passed_over_with_a_warning(
    damage: bytes, path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    whole = await written_by(fake_server, path)
    header, rest = whole.split(b"\n", 1)
    path.write_bytes(b"\n".join([header, damage, rest]))
    assert len(at_next_start(path)) == 1
    (told,) = warnings(caplog)
    assert told.startswith(f"line 2 of the ledger '{path}' ")


WELL_FORMED = {
    "call": "1",
    "method": "prolong",
    "params": {"id": "5"},
    "started_at": "2026-01-01T00:00:00+00:00",
    "known": {},
    "listed": True,
}


@pytest.mark.parametrize(
    "damage",
    [
        {"call": ["1"]},
        {"params": {}},
        {"params": {"id": "five"}},
        {"params": {"id": 5}},
        {"method": "create"},
        {"method": "orders"},
        {"started_at": "2026-01-01T00:00:00"},
        {"known": {"5": "2026-01-01T00:00:00"}},
        {"outcome": "done", "at": "2026-01-01T00:00:00"},
        {"call": None, "outcome": "done", "at": "2026-01-01T00:00:00+00:00"},
    ],
    ids=str,
)
async def test_so_is_one_that_is_well_formed(
    damage: dict[str, Any], path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    await written_by(fake_server, path)
    with path.open("a") as file:
        file.write(json.dumps({**WELL_FORMED, **damage}) + "\n")
    assert len(at_next_start(path)) == 1
    assert len(warnings(caplog)) == 1
    with path.open("a") as file:
        file.write(json.dumps(WELL_FORMED) + "\n")
    assert len(at_next_start(path)) == 2


async def test_data_nested_too_deeply_is_left_out(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps = json.dumps

    def shallow(value: Any, **options: Any) -> str:
        if value == [[[]]]:
            raise RecursionError
        return dumps(value, **options)

    monkeypatch.setattr("smspva_async._money.ledger_entries.json.dumps", shallow)
    fake_server.call(CREATE, {"status": 1, "data": [[[]]]})
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    assert outcomes(path) == ["unknown"]


async def test_the_program_may_go_elsewhere(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with fake_server.client(ledger=path.name) as client:
        monkeypatch.chdir(tmp_path / "elsewhere")
        fake_server.call(CREATE, CREATE.sample)
        await CREATE.make(client)
    assert outcomes(path) == ["done"]


# On trio's clock no time passes while the thread works.
@on_asyncio
async def test_a_slow_disk_brings_no_two_requests_together(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, over = os.fsync, threading.Event()

    def slowly(descriptor: int) -> None:
        over.wait(60)
        synced(descriptor)

    async def work() -> None:
        await anyio.sleep(0.03)
        over.set()

    async def rent() -> None:
        await CREATE.make(client)

    monkeypatch.setattr(os, "fsync", slowly)
    fake_server.on("orders", NOTHING)
    fake_server.call(CREATE, CREATE.sample)
    async with (
        fake_server.client(ledger=path, pace=Pace(gap=0.02)) as client,
        anyio.create_task_group() as tasks,
    ):
        began = anyio.current_time()
        tasks.start_soon(work)
        tasks.start_soon(client.orders)
        tasks.start_soon(rent)
        for _ in range(3):
            tasks.start_soon(client.orders)
    assert sorted(fake_server.methods) == ["create", *4 * ["orders"]]
    assert fake_server.times[fake_server.methods.index("create")] == pytest.approx(began + 0.03)
    assert min(gaps(fake_server.times)) >= 0.0199


NO_LEDGERS = {
    "a text": (b"Dear diary\n", "no ledger"),
    "a text without an end": (b"Dear diary", "no ledger"),
    "another file of JSON lines": (b'{"call": "1"}\n', "no ledger"),
    "a newer version": (b'{"ledger": 2, "account": "", "more": 1}\n', "of version 2"),
    "another account's": (b'{"ledger": 1, "account": "00ff"}\n', "another account's"),
}


@pytest.mark.parametrize(("content", "reason"), NO_LEDGERS.values(), ids=NO_LEDGERS)
async def test_a_file_that_is_no_ledger_of_this_account_is_left_alone(
    content: bytes, reason: str, path: Path, fake_server: FakeServer
) -> None:
    path.write_bytes(content)
    client = fake_server.client(ledger=path)

    async def enter() -> None:
        async with client:
            pass

    for use in (lambda: CREATE.make(client), client.orders, enter):
        with pytest.raises(JournalError, match=reason) as failed:
            await use()
        assert str(path) in str(failed.value)
        assert "nothing was sent and nothing changed" in str(failed.value)
        assert KEY not in str(failed.value)
    with pytest.raises(JournalError, match=reason):
        _ = client.unsettled
    await client.aclose()
    assert fake_server.queries == []
    assert path.read_bytes() == content


@pytest.mark.parametrize(("content", "reason"), NO_LEDGERS.values(), ids=NO_LEDGERS)
async def test_so_is_one_that_is_put_there_later(
    content: bytes, reason: str, path: Path, fake_server: FakeServer
) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    client = fake_server.client(ledger=path)
    with pytest.raises(OutcomeUnknown) as failed:
        await CREATE.make(client)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=reason):
        await CREATE.make(client)
    with pytest.raises(JournalError, match=reason):
        client.settle(failed.value)
    assert client.unsettled == (failed.value,)
    await client.aclose()
    assert fake_server.methods == ["create"]
    assert path.read_bytes() == content


async def test_another_accounts_ledger_is_told_by_its_fingerprint(path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path)
    with pytest.raises(JournalError, match="another account's"):
        _ = SmspvaClient("another-key", ledger=path).unsettled


@pytest.mark.parametrize("ledger", ["", 5, b"ledger", "a\0b"])
def test_a_path_that_is_none_is_refused(ledger: Any) -> None:
    with pytest.raises(ValueError, match="the ledger is a file"):
        SmspvaClient(KEY, ledger=ledger)


# -- a disk that doesn't take it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/ledger.jsonl", "missing/ledger.jsonl"])
@every_spending_call
async def test_what_cant_be_written_down_isnt_sent(
    call: Call, place: str, tmp_path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / place
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(JournalError, match=f"^{call.name}: .*nothing was sent; make room") as failed:
            await call.make(client)
        assert str(path) in str(failed.value)
        assert client.unsettled == ()
    assert fake_server.queries == []
    assert warnings(caplog) == []  # what was never begun has no outcome that could be lost


async def test_what_was_written_but_may_not_be_on_the_disk_isnt_sent_and_is_taken_back(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with fake_server.client(ledger=path) as client:
        with monkeypatch.context() as patched:
            patched.setattr("smspva_async._money.ledger.os.fsync", fail)
            with pytest.raises(JournalError, match="nothing was sent"):
                await CREATE.make(client)
        assert len(at_next_start(path)) == 1
    assert fake_server.queries == []
    assert at_next_start(path) == ()


async def test_a_folder_or_a_pipe_is_no_ledger(tmp_path: Path, fake_server: FakeServer) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        client = fake_server.client(ledger=path)
        with pytest.raises(JournalError, match="it is no file"):
            await CREATE.make(client)
        await client.aclose()
    assert fake_server.queries == []


FULL_DISK = """
import resource, sys
from pathlib import Path
import anyio, httpx
from smspva_async import JournalError, Pace, Period, SmspvaClient

path = Path(sys.argv[1])
sent = 0

def answer(request):
    global sent
    sent += 1
    return httpx.Response(200, json={"status": 0, "msg": "no"})

async def main():
    transport = httpx.MockTransport(answer)
    async with SmspvaClient("key-of-the-tests", pace=Pace(0), ledger=path, transport=transport) as client:
        for room in (0, 1, 7, 60):
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
            try:
                await client.rent("RU", "opt6", Period.weeks(1))
            except JournalError as error:
                print(error)
            assert sent == 0
            if room == 0:
                try:
                    client.settle(client.unsettled[0])
                except JournalError as error:
                    print(error)
                assert len(client.unsettled) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        try:
            await client.rent("RU", "opt6", Period.weeks(1))
        except Exception as error:
            print(error)
        assert sent == 1

anyio.run(main)
"""


@on_asyncio
async def test_on_a_full_disk_nothing_is_sent_and_nothing_else_is_lost(
    path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the child hashes as it must
    await written_by(fake_server, path)
    (before,) = at_next_start(path)
    ran = subprocess.run(  # noqa: ASYNC221, S603
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.stderr == ""
    told = ran.stdout.splitlines()
    assert len(told) == 6
    assert ["nothing was sent" in line for line in told] == [True, False, True, True, True, False]
    assert "stays unsettled" in told[1]
    assert [error.call for error in at_next_start(path)] == [before.call]
    assert warnings(caplog) == []


async def test_a_reading_call_doesnt_fail_for_an_outcome_that_cant_be_written(
    path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.on("orders", NOTHING)
    fake_server.call(CREATE, CREATE.sample)
    hidden = path.with_name("hidden")
    async with fake_server.client(ledger=path) as client:
        await CREATE.make(client)
        path.rename(hidden)
        path.mkdir()
        for _ in range(3):
            assert await client.orders() == []
        assert len(warnings(caplog)) == 1
        assert str(path) in warnings(caplog)[0]
        path.rmdir()
        hidden.rename(path)
    assert outcomes(path) == ["done"]


async def test_nor_does_closing(path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        await CREATE.make(client)
        path.unlink()
        path.mkdir()
    assert len(warnings(caplog)) == 1


async def test_a_ledger_that_was_moved_away_is_begun_anew(path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path)
    async with fake_server.client(ledger=path) as client:
        path.unlink()
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
    assert [error.call for error in at_next_start(path)] == [failed.value.call]


@pytest.mark.parametrize("later", ["unknown", "settled"])
@pytest.mark.parametrize("outcome", ["done", "refused", "not_sent"])
def test_an_outcome_is_replaced_by_no_lesser_word(outcome: Outcome, later: Outcome) -> None:
    for order in ((outcome, later), (later, outcome)):
        contents = Contents()
        for word in order:
            contents.add(Ended("1", word, orders=(5,) if word == "done" else ()))
        assert contents.ended["1"].outcome == outcome
