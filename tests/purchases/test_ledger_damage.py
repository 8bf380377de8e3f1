"""Ledger files that are damaged, of another program or account, removed, or not writable."""

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
from tests.support.ledgers import CREATE, at_next_start, outcomes, purchases, threads, written_by
from tests.support.logs import fields, warnings
from tests.support.permissions import as_nobody
from tests.support.processes import run_program
from tests.support.samples import HALF, NOTHING, RENTAL, every_spending_call
from tests.support.selection import slow
from tests.support.sqlite_files import folder_content, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.samples import Call

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("cheap_fingerprints")]

ADVICE = "Restore it from a backup|Give each account its own path|use another file|nothing was changed"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


# -- damage ----------------------------------------------------------------------------------------------------------


async def filled(fake_server: FakeServer, path: Path) -> bytes:
    """Write a ledger with two purchases each that were done, refused and unknown, and return the file's content."""
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
    """Return the content of a ledger, or the error message if it can't be read."""
    try:
        return read(path)
    except JournalError as error:
        message = str(error)
    assert str(path) in message
    assert message.isprintable()
    return message


def with_bit_flipped(content: bytes, offset: int, bit: int) -> bytes:
    return content[:offset] + bytes([content[offset] ^ 1 << bit]) + content[offset + 1 :]


@pytest.mark.parametrize("share", [0.04, slow(1.0)])
@on_asyncio
async def test_a_flipped_bit_is_harmless_or_detected(share: float, path: Path, fake_server: FakeServer) -> None:
    content, chance, damaged = await filled(fake_server, path), Random(5), 0
    whole = read(path)
    flips = [(offset, chance.randrange(8)) for offset in range(len(content)) if chance.random() < share]
    # These bytes hold the number of rows of a page, and their offset. A smaller number would hide a row.
    flips += [(page + offset, bit) for page in (4096, 8192) for offset in (3, 4, 5) for bit in range(8)]
    for offset, bit in flips:
        path.write_bytes(with_bit_flipped(content, offset, bit))
        found = read_or_fail(path)
        assert isinstance(found, str) or found == whole, f"byte {offset}"
        damaged += isinstance(found, str)
        assert folder_content(path) == {"ledger"}
    assert damaged > share * len(content) / 10


@on_asyncio
async def test_a_flipped_bit_in_an_unsettled_purchase_is_detected(path: Path, fake_server: FakeServer) -> None:
    content, chance = await filled(fake_server, path), Random(6)
    for error in at_next_start(path):
        begin = content.index(error.call.encode())
        end = content.index(b"pnum", begin)
        assert end - begin > 200
        for offset in range(begin, end + 4, 3):
            path.write_bytes(with_bit_flipped(content, offset, chance.randrange(8)))
            with pytest.raises(
                JournalError, match=r"Nothing was sent and nothing was changed\. Restore it from a backup"
            ):
                read(path)


@on_asyncio
async def test_a_truncated_file_is_rejected(path: Path, fake_server: FakeServer) -> None:
    content = await filled(fake_server, path)
    for length in (*range(1, len(content), 512), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(JournalError, match=ADVICE):
            read(path)


# -- unusable files --------------------------------------------------------------------------------------------------


async def flipped(fake_server: FakeServer, path: Path) -> None:
    await written_by(fake_server, path)
    content = path.read_bytes()
    path.write_bytes(with_bit_flipped(content, content.index(b"opt6"), 1))


async def forged(fake_server: FakeServer, path: Path) -> None:
    """Change a row with SQLite, so that only its checksum is wrong."""
    await written_by(fake_server, path)
    sql(path, "UPDATE calls SET outcome = 'done'")


async def of_another_account(_: FakeServer, path: Path) -> None:
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


UNUSABLE: dict[str, tuple[Callable[[FakeServer, Path], Any], str]] = {
    "a flipped bit": (flipped, "it is damaged .*Restore it from a backup, or check by hand which orders"),
    "a forged row": (forged, "it is damaged .*Restore it from a backup, or check by hand which orders"),
    "another account's": (
        of_another_account,
        "belongs to another account .*nothing was sent. Give each account its own path.*new key.*sqlite3 .*DELETE",
    ),
    "a newer version": (newer, "written by a newer smspva_async .*nothing was changed. Update the library"),
    "a text": (of(b"Dear diary\n"), "it isn't a ledger .*Nothing was sent"),
    "a long text": (of(b"Dear diary\n" * 1000), "it isn't a ledger .*Nothing was sent"),
    "another database": (
        database("CREATE TABLE calls (call)"),
        "another program's database, not a ledger; nothing was",
    ),
    "a journal": (database("PRAGMA application_id = 1397576778"), "another program's database, not a ledger"),
    "a pipe": (pipe, "it isn't a regular file"),
    "a folder": (folder, "it is a folder. Name a file in it"),
}


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
async def test_an_unusable_file_is_left_unchanged_and_nothing_is_sent(
    make: Callable[[FakeServer, Path], Any], reason: str, path: Path, fake_server: FakeServer
) -> None:
    await make(fake_server, path)
    before, sent = content_of(path), len(fake_server.queries)
    client = fake_server.client(ledger=path)

    async def enter() -> None:
        async with client:
            pass

    async def read_unsettled() -> None:
        _ = client.unsettled

    async def list_purchases() -> None:
        client.purchases()

    for use in (read_unsettled, list_purchases, lambda: CREATE.make(client), client.orders, enter):
        with pytest.raises(JournalError, match=reason) as failed:
            await use()
        assert str(path) in str(failed.value)
        assert str(failed.value).isprintable()
        assert KEY not in str(failed.value)
    await client.aclose()
    assert len(fake_server.queries) == sent
    assert content_of(path) == before
    assert folder_content(path) == {"ledger"}
    assert threads() == []


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
async def test_an_unusable_file_that_replaces_the_ledger_is_left_unchanged(
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
    before, sent = content_of(path), len(fake_server.queries)
    with pytest.raises(JournalError, match=reason):
        await CREATE.make(client)
    with pytest.raises(JournalError, match=reason):
        await client.reconcile(failed.value)
    await client.aclose()
    assert client.unsettled == (failed.value,)
    assert fake_server.methods[sent:] == ["orders"]
    assert content_of(path) == before
    assert threads() == []


async def test_the_advice_for_a_new_key_of_the_same_account_works(path: Path, fake_server: FakeServer) -> None:
    await of_another_account(fake_server, path)
    sql(path, "DELETE FROM meta WHERE key = 'account'")
    for _ in range(2):
        assert outcomes(path) == ["unknown"]
    with pytest.raises(JournalError, match="belongs to another account"):
        SmspvaClient("another-key", ledger=path).purchases()


@pytest.mark.parametrize("ledger", ["", 5, b"ledger", "a\0b"])
def test_an_invalid_path_is_rejected(ledger: Any) -> None:
    with pytest.raises(ValueError, match="the ledger must be the path of a file"):
        SmspvaClient(KEY, ledger=ledger)


async def test_an_empty_file_is_an_empty_ledger(path: Path, fake_server: FakeServer) -> None:
    path.touch()
    assert (at_next_start(path), purchases(path)) == ((), ())
    await written_by(fake_server, path)
    assert outcomes(path) == ["unknown"]


# -- the file system -------------------------------------------------------------------------------------------------


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


async def test_a_ledger_works_without_posix_functions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the other process computes the full fingerprint
    assert run_program(sys.executable, "-c", WITHOUT_POSIX, str(path)) == "OutcomeUnknown\n"
    assert outcomes(path) == ["unknown", "settled"]


async def test_a_ledger_works_on_a_file_system_without_hard_links(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        await CREATE.make(client)
    assert outcomes(path) == ["done"]
    assert folder_content(path) == {path.name}


async def test_a_relative_path_does_not_follow_the_working_directory(
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
async def test_a_removed_ledger_is_created_again(way: str, path: Path, tmp_path: Path, fake_server: FakeServer) -> None:
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


async def test_a_restored_backup_is_read_again(path: Path, tmp_path: Path, fake_server: FakeServer) -> None:
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


# -- files that can't be written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/ledger", "missing/ledger", "file/ledger"])
@every_spending_call
async def test_a_call_that_cannot_be_recorded_is_not_sent(
    call: Call, place: str, tmp_path: Path, fake_server: FakeServer
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / place
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(JournalError, match=f"^{call.name}: .*nothing was sent") as failed:
            await call.make(client)
        assert str(path) in str(failed.value)
        assert client.unsettled == ()
        assert [purchase.outcome for purchase in client.purchases()] == ["not_sent"]
    assert fake_server.queries == []


async def test_missing_permissions_are_reported(fake_server: FakeServer) -> None:
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
    """Limit files to the ledger's present size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the ledger as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Set the file format version that SQLite only reads, even as root."""
    content = path.read_bytes()
    path.write_bytes(content[:18] + b"\3" + content[19:])
    yield
    path.write_bytes(content[:18] + path.read_bytes()[18:19].replace(b"\3", b"\2") + path.read_bytes()[19:])


FAILURES = {"full": (full, "full"), "locked": (locked, "another program keeps it locked"), "read-only": (read_only, "")}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only briefly for another program's lock."""
    monkeypatch.setattr("smspva_async._purchases.store.BUSY_TIMEOUT", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("failure", "reason"), FAILURES.values(), ids=FAILURES)
async def test_nothing_is_sent_while_the_ledger_cannot_be_written(
    failure: Callable[[Path], Any], reason: str, path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    earlier = await written_by(fake_server, path)
    fake_server.call(CREATE, CREATE.sample)
    sent = len(fake_server.queries)
    async with fake_server.client(ledger=path) as client:
        with failure(path):
            for _ in range(2):
                with pytest.raises(JournalError, match=f"{reason}.*[Nn]othing was sent") as failed:
                    await CREATE.make(client)
                assert str(path) in str(failed.value)
            assert [error.call for error in client.unsettled] == [earlier.call]
        assert len(fake_server.queries) == sent
        await CREATE.make(client)
    assert set(outcomes(path)) <= {"unknown", "not_sent", "done"}
    assert [error.call for error in at_next_start(path)] == [earlier.call]
    assert warnings(caplog) == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("failure", "then"), [(full, "aclose"), (locked, "aclose"), (locked, "another call"), (read_only, "another call")]
)
async def test_a_settled_call_is_unsettled_again_if_it_cannot_be_written(
    failure: Callable[[Path], Any], then: str, path: Path, fake_server: FakeServer
) -> None:
    earlier = await written_by(fake_server, path)
    fake_server.call(CREATE, CREATE.sample)
    sent = len(fake_server.queries)
    async with fake_server.client(ledger=path) as client:
        client.settle(earlier)
        assert not client.unsettled
        with failure(path), pytest.raises(JournalError):
            await (client.aclose() if then == "aclose" else CREATE.make(client))
        assert [error.call for error in client.unsettled] == [earlier.call]
        assert [error.call for error in at_next_start(path)] == [earlier.call]
        client.settle(client.unsettled[0])
    assert at_next_start(path) == ()
    assert len(fake_server.queries) == sent


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("then", ["another call", "aclose"])
@pytest.mark.parametrize("failure", [case[0] for case in FAILURES.values()], ids=FAILURES)
async def test_the_rental_is_returned_if_its_outcome_cannot_be_written_until_later(
    failure: Callable[[Path], Any], then: str, path: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Any] = []

    async def answer() -> Any:
        if not failures:
            failures.append(failure(path))
            failures[0].__enter__()
        return CREATE.sample

    fake_server.call(CREATE, answer)
    async with fake_server.client(ledger=path) as client:
        assert await CREATE.make(client) == RENTAL
        (warned,) = warnings(caplog)
        assert str(path) in warned
        assert [purchase.outcome for purchase in client.purchases()] == ["done"]
        failures[0].__exit__(None, None, None)
        assert sql(path, "SELECT outcome FROM calls") == [(None,)]
        if then == "another call":
            await CREATE.make(client)
            assert outcomes(path) == ["done", "done"]
    assert outcomes(path) == ["done"] * (2 if then == "another call" else 1)
    assert [(it.name, fields(it)) for it in caplog.records] == [("smspva_async.purchases", {"kind": "JournalError"})]
    assert folder_content(path) == {"ledger"}


@pytest.mark.usefixtures("impatient")
async def test_a_call_stays_unsettled_if_neither_its_outcome_nor_settling_it_can_be_written(
    path: Path, fake_server: FakeServer
) -> None:
    earlier = await written_by(fake_server, path)
    lock = locked(path)

    async def answer() -> Any:
        lock.__enter__()
        return httpx.ReadError("lost")

    fake_server.call(CREATE, answer, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
        client.settle(failed.value)
        with pytest.raises(JournalError):
            await CREATE.make(client)
        lock.__exit__(None, None, None)
        async with fake_server.client(ledger=path) as other:
            other.settle(earlier)
        await CREATE.make(client)
        assert [error.call for error in client.unsettled] == [failed.value.call]
    assert [error.call for error in at_next_start(path)] == [failed.value.call]


@pytest.mark.usefixtures("impatient")
async def test_an_outcome_is_written_at_last_although_settling_its_call_failed(
    path: Path, fake_server: FakeServer
) -> None:
    lock = locked(path)

    async def answer() -> Any:
        lock.__enter__()
        return HALF

    await written_by(fake_server, path)
    fake_server.call(CREATE, answer, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
        client.settle(failed.value)
        with pytest.raises(JournalError):
            await CREATE.make(client)
        lock.__exit__(None, None, None)
    (_, call) = at_next_start(path)
    assert (call.call, call.data) == (failed.value.call, failed.value.data)
    assert call.data
