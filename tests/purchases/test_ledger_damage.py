"""The ledger: a file that is damaged, another's, not there any more, or can't be written."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import sqlite3
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smspva_async import JournalError, OutcomeUnknown, Purchase, SmspvaClient
from tests.support.backends import on_asyncio
from tests.support.fake_server import KEY, FakeServer
from tests.support.ledgers import (
    CREATE,
    at_next_start,
    beside,
    outcomes,
    purchases,
    sql,
    threads,
    warnings,
    written_by,
)
from tests.support.permissions import as_nobody
from tests.support.processes import run_program
from tests.support.samples import HALF, NOTHING, RENTAL, every_spending_call
from tests.support.selection import slow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.samples import Call

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("accounts_are_told_apart_quickly")]

ADVICE = "Restore it from a backup|Give each account its own path|give it another file|nothing was changed"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


# -- damage --------------------------------------------------------------------------------------------------------


async def filled(fake_server: FakeServer, path: Path) -> bytes:
    """Write a ledger with purchases that were done, refused and broken off, two of each, and return the file."""
    answers: list[Any] = [CREATE.sample, HALF, {"status": 0, "msg": "NOBALANCE"}]
    fake_server.call(CREATE, *answers * 2)
    async with fake_server.client(ledger=path) as client:
        for _ in range(6):
            await asyncio.gather(CREATE.make(client), return_exceptions=True)
    return path.read_bytes()


def read(path: Path) -> tuple[Sequence[Purchase], list[dict[str, Any]]]:
    client = SmspvaClient(KEY, ledger=path)
    return client.purchases(), [vars(error) for error in client.unsettled]


def read_or_fail(path: Path) -> object:
    """Return the same, or the message if it can't be read."""
    try:
        return read(path)
    except JournalError as error:
        message = str(error)
    assert str(path) in message
    assert message.isprintable()
    return message


def with_bit_flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("share", [0.04, slow(1.0)])
@on_asyncio
async def test_with_a_flipped_bit_it_reads_as_before_or_not_at_all(
    share: float, path: Path, fake_server: FakeServer
) -> None:
    content, chance, damaged = await filled(fake_server, path), Random(5), 0
    whole = read(path)
    flips = [(place, chance.randrange(8)) for place in range(len(content)) if chance.random() < share]
    # Where each page has its number of rows and their place: a row less would be no damage to a row.
    flips += [(page + place, bit) for page in (4096, 8192) for place in (3, 4, 5) for bit in range(8)]
    for place, bit in flips:
        path.write_bytes(with_bit_flipped(content, place, bit))
        found = read_or_fail(path)
        assert isinstance(found, str) or found == whole, f"byte {place}"
        damaged += isinstance(found, str)
        assert beside(path) == ["ledger"]
    assert damaged > share * len(content) / 10


@on_asyncio
async def test_a_flipped_bit_anywhere_in_an_open_purchase_is_found(path: Path, fake_server: FakeServer) -> None:
    content, chance = await filled(fake_server, path), Random(6)
    for error in at_next_start(path):
        begin = content.index(error.call.encode())
        end = content.index(b"pnum", begin)
        assert end - begin > 200
        for place in range(begin, end + 4, 3):
            path.write_bytes(with_bit_flipped(content, place, chance.randrange(8)))
            with pytest.raises(JournalError, match=r"Nothing was sent and nothing changed\. Restore it from a backup"):
                read(path)


@on_asyncio
async def test_cut_off_it_cant_be_read(path: Path, fake_server: FakeServer) -> None:
    content = await filled(fake_server, path)
    for length in (*range(1, len(content), 512), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(JournalError, match=ADVICE):
            read(path)


# -- a file that can't be used ---------------------------------------------------------------------------------------


async def flipped(fake_server: FakeServer, path: Path) -> None:
    await written_by(fake_server, path)
    content = path.read_bytes()
    path.write_bytes(with_bit_flipped(content, content.index(b"opt6"), 1))


async def forged(fake_server: FakeServer, path: Path) -> None:
    """Change a row as SQLite does, so that only the checksum tells."""
    await written_by(fake_server, path)
    sql(path, "UPDATE calls SET outcome = 'done'")


async def anothers(_: FakeServer, path: Path) -> None:
    other = FakeServer()
    other.router.route().mock(return_value=httpx.Response(500))
    async with SmspvaClient("another-key", ledger=path, transport=other.transport()) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)


async def newer(fake_server: FakeServer, path: Path) -> None:
    await written_by(fake_server, path)
    sql(path, "PRAGMA user_version = 2")


async def pipe(_: FakeServer, path: Path) -> None:
    os.mkfifo(path)


async def folder(_: FakeServer, path: Path) -> None:
    path.mkdir()


def of(content: bytes) -> Callable[[FakeServer, Path], Any]:
    async def write(_: FakeServer, path: Path) -> None:
        path.write_bytes(content)

    return write


def database(statement: str) -> Callable[[FakeServer, Path], Any]:
    async def write(_: FakeServer, path: Path) -> None:
        sql(path, statement)

    return write


FIRST_FORM = b'{"ledger": 1, "account": "00ff"}\n{"call": "1", "method": "create"}\n'
UNUSABLE: dict[str, tuple[Callable[[FakeServer, Path], Any], str]] = {
    "a flipped bit": (flipped, "it is damaged .*Restore it from a backup, or see by hand which orders"),
    "a forged row": (forged, "it is damaged .*Restore it from a backup, or see by hand which orders"),
    "another account's": (
        anothers,
        "is another account's .*nothing was sent. Give each account its own path.*new key.*sqlite3 .*DELETE",
    ),
    "a newer version": (newer, "written by a newer smspva_async .*nothing was changed. Update the library"),
    "the first form": (of(FIRST_FORM), "unreleased version.*nothing was sent. Settle .*then give a new path"),
    "a text": (of(b"Dear diary\n"), "it is no ledger .*Nothing was sent"),
    "a long text": (of(b"Dear diary\n" * 1000), "it is no ledger .*Nothing was sent"),
    "another database": (database("CREATE TABLE calls (call)"), "another program's database, no ledger; nothing was"),
    "a journal": (database("PRAGMA application_id = 1397576778"), "another program's database, no ledger"),
    "a pipe": (pipe, "it is no file"),
    "a folder": (folder, "it is a folder. Name a file in it"),
}


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
async def test_a_file_that_cant_be_used_is_left_alone_and_nothing_is_sent(
    make: Callable[[FakeServer, Path], Any], reason: str, path: Path, fake_server: FakeServer
) -> None:
    await make(fake_server, path)
    before, asked = content_of(path), len(fake_server.queries)
    client = fake_server.client(ledger=path)

    async def enter() -> None:
        async with client:
            pass

    async def look() -> None:
        _ = client.unsettled

    async def list_all() -> None:
        client.purchases()

    for use in (look, list_all, lambda: CREATE.make(client), client.orders, enter):
        with pytest.raises(JournalError, match=reason) as failed:
            await use()
        assert str(path) in str(failed.value)
        assert str(failed.value).isprintable()
        assert KEY not in str(failed.value)
    await client.aclose()
    assert len(fake_server.queries) == asked
    assert content_of(path) == before
    assert beside(path) == ["ledger"]
    assert threads() == []


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
async def test_so_is_one_that_is_put_there_later(
    make: Callable[[FakeServer, Path], Any], reason: str, path: Path, tmp_path: Path, fake_server: FakeServer
) -> None:
    (tmp_path / "other").mkdir()
    await make(fake_server, tmp_path / "other" / "ledger")
    fake_server.call(CREATE, httpx.ReadError("lost"))
    fake_server.on("orders", NOTHING)
    client = fake_server.client(ledger=path)
    with pytest.raises(OutcomeUnknown) as failed:
        await CREATE.make(client)
    path.unlink()
    (tmp_path / "other" / "ledger").rename(path)
    before, asked = content_of(path), len(fake_server.queries)
    with pytest.raises(JournalError, match=reason):
        await CREATE.make(client)
    with pytest.raises(JournalError, match=reason):
        await client.reconcile(failed.value)
    await client.aclose()
    assert client.unsettled == (failed.value,)
    assert fake_server.methods[asked:] == ["orders"]
    assert content_of(path) == before
    assert threads() == []


async def test_with_a_new_key_of_the_same_account_the_messages_way_out_works(
    path: Path, fake_server: FakeServer
) -> None:
    await anothers(fake_server, path)
    sql(path, "DELETE FROM meta WHERE key = 'account'")
    for _ in range(2):
        assert outcomes(path) == ["unknown"]
    with pytest.raises(JournalError, match="is another account's"):
        SmspvaClient("another-key", ledger=path).purchases()


@pytest.mark.parametrize("ledger", ["", 5, b"ledger", "a\0b"])
def test_a_path_that_is_none_is_refused(ledger: Any) -> None:
    with pytest.raises(ValueError, match="the ledger is a file"):
        SmspvaClient(KEY, ledger=ledger)


async def test_an_empty_file_is_an_empty_ledger(path: Path, fake_server: FakeServer) -> None:
    path.touch()
    assert (at_next_start(path), purchases(path)) == ((), ())
    await written_by(fake_server, path)
    assert outcomes(path) == ["unknown"]


# -- a file that goes away -------------------------------------------------------------------------------------------


WITHOUT_POSIX = """
import os, sys
import anyio._backends._asyncio, asyncio, cattrs, httpx, sqlite3, tempfile, uuid

def open_no_folder(path, *arguments, open=os.open):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return open(path, *arguments)

os.open = open_no_folder
sys.modules["fcntl"] = sys.modules["pwd"] = sys.modules["resource"] = None
for name in ("fchmod", "fchown", "chown", "lchown", "getuid", "geteuid", "fork", "mkfifo", "O_DIRECTORY", "O_NOFOLLOW"):
    delattr(os, name)

from smspva_async import Pace, SmspvaClient, SmspvaError

async def main():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text='{"status": 1, "data": {"id": 40'))
    async with SmspvaClient("key-of-the-tests", pace=Pace(0), ledger=sys.argv[1], transport=transport) as client:
        for _ in range(2):
            try:
                await client.rent("RU", "opt6")
            except SmspvaError as error:
                client.settle(error) if client.unsettled[1:] else print(type(error).__name__)

asyncio.run(main())
"""


async def test_it_needs_no_call_that_only_posix_has(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the other process hashes the key in full
    assert run_program(sys.executable, "-c", WITHOUT_POSIX, str(path)) == "OutcomeUnknown\n"
    assert outcomes(path) == ["unknown", "settled"]


async def test_it_needs_no_links_of_the_file_system(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        await CREATE.make(client)
    assert outcomes(path) == ["done"]
    assert beside(path) == [path.name]


async def test_a_relative_path_stays_where_it_was(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path.name) as client:
        monkeypatch.chdir(tmp_path / "elsewhere")
        await CREATE.make(client)
    assert outcomes(path) == ["done"]


@pytest.mark.parametrize("way", ["removed", "moved"])
async def test_a_ledger_that_is_taken_away_is_begun_anew(
    way: str, path: Path, tmp_path: Path, fake_server: FakeServer
) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
        if way == "moved":
            (tmp_path / "moved").mkdir()
            path.rename(tmp_path / "moved" / "ledger")
        else:
            path.unlink()
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
        assert len(client.unsettled) == len(client.purchases()) == 2
    assert [error.call for error in at_next_start(path)] == [failed.value.call]
    if way == "moved":
        assert outcomes(tmp_path / "moved" / "ledger") == ["unknown"]


async def test_a_ledger_that_is_put_back_is_read_again(path: Path, tmp_path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path)
    shutil.copy(path, tmp_path / "backup")
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        (error,) = client.unsettled
        client.settle(error)
        await CREATE.make(client)
        shutil.copy(tmp_path / "backup", tmp_path / "copy")
        (tmp_path / "copy").replace(path)
        await CREATE.make(client)
        assert [found.call for found in client.unsettled] == [error.call]
    assert outcomes(path) == ["unknown", "done"]


# -- a file that can't be written ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/ledger", "missing/ledger", "file/ledger"])
@every_spending_call
async def test_what_cant_be_recorded_isnt_sent(call: Call, place: str, tmp_path: Path, fake_server: FakeServer) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / place
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(JournalError, match=f"^{call.name}: .*nothing was sent") as failed:
            await call.make(client)
        assert str(path) in str(failed.value)
        assert client.unsettled == ()
        assert [purchase.outcome for purchase in client.purchases()] == ["not_sent"]
    assert fake_server.queries == []


async def test_files_that_may_not_be_read_or_written(fake_server: FakeServer) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "ledger"
        await written_by(fake_server, path)
        path.chmod(0o400)
        Path(name).chmod(0o755)
        with as_nobody(), pytest.raises(JournalError, match=f"{path} can't be used: .*Nothing was sent"):
            read(path)
        path.unlink()
        with as_nobody():
            async with fake_server.client(ledger=path) as client:
                with pytest.raises(JournalError, match=r"Permission denied.*nothing was sent"):
                    await CREATE.make(client)
        assert list(Path(name).iterdir()) == []


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Let no file grow beyond the size that the ledger has now."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let another program keep it locked, longer than anybody waits."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Let it have the mark with which SQLite only reads a file, which also holds for root."""
    content = path.read_bytes()
    path.write_bytes(content[:18] + b"\3" + content[19:])
    yield
    path.write_bytes(content[:18] + path.read_bytes()[18:19].replace(b"\3", b"\2") + path.read_bytes()[19:])


TROUBLE = {"full": (full, "full"), "locked": (locked, "another program keeps it locked"), "read-only": (read_only, "")}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only a moment for another program."""
    monkeypatch.setattr("smspva_async._purchases.store.BUSY_TIMEOUT", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("trouble", "reason"), TROUBLE.values(), ids=TROUBLE)
async def test_nothing_is_sent_while_it_cant_be_written(
    trouble: Callable[[Path], Any], reason: str, path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    earlier = await written_by(fake_server, path)
    fake_server.call(CREATE, CREATE.sample)
    asked = len(fake_server.queries)
    async with fake_server.client(ledger=path) as client:
        with trouble(path):
            for _ in range(2):
                with pytest.raises(JournalError, match=f"{reason}.*[Nn]othing was sent") as failed:
                    await CREATE.make(client)
                assert str(path) in str(failed.value)
            assert [error.call for error in client.unsettled] == [earlier.call]
        assert len(fake_server.queries) == asked
        await CREATE.make(client)
    assert set(outcomes(path)) <= {"unknown", "not_sent", "done"}
    assert [error.call for error in at_next_start(path)] == [earlier.call]
    assert warnings(caplog) == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("trouble", "then"), [(full, "aclose"), (locked, "aclose"), (locked, "another call"), (read_only, "another call")]
)
async def test_what_was_settled_appears_again_if_that_cant_be_written(
    trouble: Callable[[Path], Any], then: str, path: Path, fake_server: FakeServer
) -> None:
    earlier = await written_by(fake_server, path)
    fake_server.call(CREATE, CREATE.sample)
    asked = len(fake_server.queries)
    async with fake_server.client(ledger=path) as client:
        client.settle(earlier)
        assert not client.unsettled
        with trouble(path), pytest.raises(JournalError):
            await (client.aclose() if then == "aclose" else CREATE.make(client))
        assert [error.call for error in client.unsettled] == [earlier.call]
        assert [error.call for error in at_next_start(path)] == [earlier.call]
        client.settle(client.unsettled[0])
    assert at_next_start(path) == ()
    assert len(fake_server.queries) == asked


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("then", ["another call", "aclose"])
@pytest.mark.parametrize("trouble", [case[0] for case in TROUBLE.values()], ids=TROUBLE)
async def test_an_outcome_that_cant_be_written_is_written_later_and_the_caller_has_its_rental(
    trouble: Callable[[Path], Any], then: str, path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    troubles: list[Any] = []

    async def answer() -> Any:
        if not troubles:
            troubles.append(trouble(path))
            troubles[0].__enter__()
        return CREATE.sample

    fake_server.call(CREATE, answer)
    async with fake_server.client(ledger=path) as client:
        assert await CREATE.make(client) == RENTAL
        (warned,) = warnings(caplog)
        assert str(path) in warned
        assert [purchase.outcome for purchase in client.purchases()] == ["done"]
        troubles[0].__exit__(None, None, None)
        assert sql(path, "SELECT outcome FROM calls") == [(None,)]
        if then == "another call":
            await CREATE.make(client)
            assert outcomes(path) == ["done", "done"]
    assert outcomes(path) == ["done"] * (2 if then == "another call" else 1)
    assert len(warnings(caplog)) == 1
    assert beside(path) == ["ledger"]
