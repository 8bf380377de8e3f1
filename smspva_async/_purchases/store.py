"""The ledger: where calls that spend are recorded, so that a program that was killed finds them again."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import uuid4

from attrs import field, frozen

from smspva_async._api.methods import SPENDING
from smspva_async._concurrency import WorkerThread
from smspva_async._sqlite import BUSY_TIMEOUT, SqliteFile, make_private, transaction
from smspva_async.errors import JournalError, bounded, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

__all__ = ["Outcome", "PurchaseStore", "Record", "SqliteLedger"]

Outcome: TypeAlias = Literal["done", "refused", "not_sent", "unknown", "settled"]

_OURS = 0x534D534C  # "SMSL"
_VERSION = 1
_CALLS = (
    "CREATE TABLE calls (call TEXT PRIMARY KEY, owner TEXT, method TEXT, params TEXT, started_at TEXT, listed INTEGER,"
    " known BLOB, ends_at TEXT, seen_at TEXT, outcome TEXT, ended_at TEXT, order_ids TEXT, complete INTEGER,"
    " reason TEXT, data TEXT, checksum INTEGER) WITHOUT ROWID"
)
_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_ROW = ", ".join("?" * 16)
_FIRST_FORM = b'{"ledger": '
_TRY_AGAIN = "Mend that and try again with the same path: a new one would know of no open call"
_RESTORE_IT = "Restore it from a backup, or see by hand which orders the account has, and give a new path"
_NOTHING_SENT = "Nothing was sent and nothing changed. "
_LONGEST_DATA = 64 * 1024
_OWNER = re.compile("[0-9a-f]{12}")
_AT_ONCE = 100
"""Rows that are read at a time."""


@frozen
class Record:
    """A call that spends, as it is recorded."""

    call: str
    """Its id."""
    method: str
    """The wire name."""
    params: Mapping[str, str]
    started_at: datetime
    """By this machine's clock."""
    known: frozenset[int] = frozenset()
    """The orders that had been listed before. Empty once the outcome is known."""
    listed: bool = False
    """Whether those, and the end, certainly show what earlier calls did."""
    ends_at: datetime | None = None
    """The end of the order that the call is about, as it was listed last."""
    seen_at: datetime | None = None
    """The time of the call by the server's clock; None where it had told none."""
    outcome: Outcome | None = None
    """None while there is none."""
    ended_at: datetime | None = None
    order_ids: tuple[int, ...] = ()
    """The orders that the answer named; of a settled call, those that it may have made."""
    complete: bool = True
    """Whether those are all that the call made."""
    reason: str = ""
    """Why the outcome is unknown."""
    data: object = None
    """What the server sent then."""
    in_flight: bool = field(default=False, eq=False)
    """Whether the program that makes the call is alive, so that it may have an outcome yet."""

    @property
    def is_open(self) -> bool:
        """Whether the call may have been done and nobody was told."""
        return self.outcome in (None, "unknown")


class PurchaseStore(Protocol):
    """Where records are kept. `SqliteLedger` is one; another may span machines."""

    name: str
    """What messages call it."""

    async def load(self) -> Sequence[Record] | None:
        """Return all records; None where nothing changed since the last time.

        Raises:
            JournalError: They can't be read whole.

        """
        ...

    def load_now(self) -> Sequence[Record] | None:
        """Do as `load` in the calling thread, for a client that isn't entered yet."""
        ...

    async def save(self, records: Iterable[Record]) -> None:
        """Write records, each in place of its former version, and return when they are safe.

        Raises:
            JournalError: They can't be written; nothing of them was.

        """
        ...

    async def aclose(self) -> None:
        """Give back what is open. The records stay."""
        ...


class SqliteLedger:
    """A ledger in an SQLite file, which several programs of one account may share.

    The file is opened for each use: nothing is left open between two calls, a fork copies no connection, and a file
    that was moved away is made anew. It has a rollback journal, not a write-ahead log: SQLite drops a damaged log
    without an error, and what was committed would be lost with it.

    Args:
        path: The file; made at the first call that spends.
        account: Returns the account's fingerprint, which takes a while.

    """

    def __init__(self, path: Path, account: Callable[[], str]) -> None:
        self._path = path.absolute()  # the program may change its folder
        self.name = f"the ledger {str(self._path)!r}"
        self._file = SqliteFile(self._path, "ledger", _OURS, _VERSION)
        self._account = account
        self._fingerprint = ""
        self._worker = WorkerThread("smspva ledger")
        self._seen: tuple[int, int] | None = None
        self._owner = _Owner(self._path)

    async def load(self) -> Sequence[Record] | None:
        """Return all records; see `PurchaseStore.load`."""
        return await self._worker.run(self.load_now)

    def load_now(self) -> Sequence[Record] | None:
        """Return all records; see `PurchaseStore.load_now`."""
        with self._file.explained("can't be used", _NOTHING_SENT + _TRY_AGAIN, if_damaged=_NOTHING_SENT + _RESTORE_IT):
            try:
                self._path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return []
            with self._opened() as connection:
                stamp = self._stamp(connection)
                in_flight = {owner for (owner,) in connection.execute("SELECT owner FROM calls WHERE outcome IS NULL")}
                if stamp == self._seen and in_flight <= {self._owner.held()}:
                    return None
                ((state,),) = connection.execute("PRAGMA quick_check(1)")
                if state != "ok":
                    raise ValueError(state)
                # Before the rows are read: a program that ends meanwhile has written the outcome that it had.
                dead = in_flight - self._owner.alive()
                records: list[Record] = []
                cursor = connection.execute("SELECT * FROM calls")
                while rows := cursor.fetchmany(_AT_ONCE):
                    records += _read(rows, dead)
        self._seen = stamp
        return records

    def _stamp(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Return what changes with the file."""
        ((changes,),) = connection.execute("SELECT value FROM meta WHERE key = 'changes'")
        return self._path.stat().st_ino, int(changes)

    async def save(self, records: Iterable[Record]) -> None:
        """Write records; see `PurchaseStore.save`."""
        written = list(records)
        await self._worker.run(lambda: self._save(written))

    def _save(self, records: Sequence[Record]) -> None:
        with self._file.explained("can't be written", _TRY_AGAIN, if_damaged=_RESTORE_IT):
            make_private(self._path)
            with self._opened() as connection:
                self._owner.acquire()
                with transaction(connection):
                    before = self._stamp(connection)
                    connection.executemany(
                        f"REPLACE INTO calls VALUES ({_ROW})",  # noqa: S608 - question marks
                        [_row(record, self._owner.name) for record in records],
                    )
                    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'changes'")
                if before == self._seen:
                    self._seen = (before[0], before[1] + 1)

    async def aclose(self) -> None:
        """Give back the lock that shows that this program is alive, and end the thread."""
        await self._worker.run(self._owner.release)
        self._worker.stop()

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        self._file.check_place()
        with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
            try:
                self._prepare(connection)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
                    self._refuse_first_form()
                raise
            yield connection

    def _refuse_first_form(self) -> None:
        with self._path.open("rb") as file:
            if file.read(len(_FIRST_FORM)) == _FIRST_FORM:
                raise JournalError(
                    f"{self.name} has the form of an unreleased version, which this one doesn't read; nothing was sent."
                    " Settle what it has with that version, then give a new path"
                )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables if the file is empty, and check that it is whole and this account's."""
        self._fingerprint = self._fingerprint or self._account()
        if self._file.version(connection) == 0:
            with transaction(connection):
                if self._file.version(connection) == 0:  # another program may have been quicker
                    connection.execute(_CALLS)
                    connection.execute(_META)
                connection.execute(f"PRAGMA application_id = {_OURS}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                values = [("account", self._fingerprint), ("changes", "0")]
                connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", values)
        found = connection.execute("SELECT value FROM meta WHERE key = 'account'").fetchall()
        if not found:  # the message below says to remove it
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('account', ?)", (self._fingerprint,))
        elif found != [(self._fingerprint,)]:
            statement = "DELETE FROM meta WHERE key = 'account'"
            owner = one_line(str(found[0][0]))[:8]
            raise JournalError(
                f"{self.name} is another account's ({owner}, the key is of {self._fingerprint[:8]}); nothing was sent."
                " Give each account its own path. If it is the same account with a new key, run:"
                f' sqlite3 {shlex.quote(str(self._path))} "{statement}"'
            )


# -- rows ------------------------------------------------------------------------------------------------------------


def _row(record: Record, owner: str) -> tuple[Any, ...]:
    known = sorted(record.known) if record.is_open else []
    gaps = [after - before for before, after in pairwise([0, *known])]  # small numbers, which take little room
    values = (
        record.call,
        owner,
        record.method,
        json.dumps(dict(record.params)),
        record.started_at.isoformat(),
        int(record.listed),
        zlib.compress(json.dumps(gaps).encode()) if gaps else b"",
        _text(record.ends_at),
        _text(record.seen_at),
        record.outcome,
        _text(record.ended_at),
        json.dumps(record.order_ids),
        int(record.complete),
        record.reason,
        _data(record.data),
    )
    return (*values, _checksum(values))


def _read(rows: Sequence[tuple[Any, ...]], dead: set[str]) -> list[Record]:
    """Return the records in some rows.

    Raises:
        ValueError: One is damaged.

    """
    for row in rows:
        if _checksum(row[:-1]) != row[-1]:
            raise ValueError(f"the record of call {row[0]} doesn't match its checksum")
        if row[2] not in SPENDING:
            raise ValueError(f"call {row[0]} is of an unknown method, {row[2]}")
    # One JSON text is read several times as quickly as three for each row.
    texts = ",".join(f"[{row[3]},{row[11]},{row[14]}]" for row in rows)
    return [_record(row, dead, *values) for row, values in zip(rows, json.loads(f"[{texts}]"), strict=True)]


def _record(row: tuple[Any, ...], dead: set[str], params: Any, order_ids: Any, data: Any) -> Record:  # noqa: ANN401
    call, owner, method, _, started_at, listed, known, ends_at, seen_at, outcome, ended_at, *_ = row
    *_, complete, reason, _, _ = row
    return Record(  # by position: quicker than by name
        call,
        method,
        params,
        datetime.fromisoformat(started_at),
        frozenset(accumulate(json.loads(zlib.decompress(known))) if known else ()),
        bool(listed),
        _time(ends_at),
        _time(seen_at),
        outcome,
        _time(ended_at),
        tuple(order_ids),
        bool(complete),
        reason,
        data,
        outcome is None and owner not in dead,
    )


def _data(data: object) -> str:
    if isinstance(data, str):
        return json.dumps(data[:_LONGEST_DATA])
    text = json.dumps(bounded(data))
    return text if len(text) <= _LONGEST_DATA else json.dumps(text[:_LONGEST_DATA])


def _checksum(values: Iterable[object]) -> int:
    return zlib.crc32(repr(tuple(values)).encode())


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


# -- who is alive ----------------------------------------------------------------------------------------------------


class _Owner:
    """A program that makes calls: while it lives, it holds a lock that the system releases however it ends.

    The lock is SQLite's on an empty file of its own, which works on every system and isn't inherited by a fork.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = 0
        self.name = ""
        self._lock: sqlite3.Connection | None = None

    def acquire(self) -> None:
        """Hold the lock from now on."""
        _close_inherited()
        if self._lock is not None and self._process == os.getpid():
            return
        self._lock = None
        self._process, self.name = os.getpid(), uuid4().hex[:12]
        file = self._file(self.name)
        # Another program may just have found it unlocked, and removed it.
        while self._lock is None or not file.exists():
            make_private(file)
            self._lock = _lock(file)
        _held.append((os.getpid(), self._lock))

    def release(self) -> None:
        """Give the lock back."""
        lock, self._lock = self._lock, None
        if lock is not None and self._process == os.getpid():
            _held.remove((self._process, lock))
            lock.close()
            with suppress(OSError):
                self._file(self.name).unlink()

    def held(self) -> str:
        """Return the name under which this process holds the lock; "" if it doesn't."""
        return self.name if self._lock is not None and self._process == os.getpid() else ""

    def alive(self) -> set[str]:
        """Return the owners that are alive, and remove the files of programs that were killed."""
        _close_inherited()
        found: set[str] = set()
        for file in self._path.parent.iterdir():
            owner = file.name.removeprefix(f"{self._path.name}-").removesuffix(".lock")
            with suppress(FileNotFoundError):  # its program may remove it meanwhile
                if file != self._file(owner) or not _OWNER.fullmatch(owner) or file.stat().st_size:
                    continue
            if _is_locked(file):
                found.add(owner)
            elif (lock := _lock(file)) is not None:
                with closing(lock), suppress(OSError):  # Windows removes no file that is open, and leaves it
                    file.unlink()  # while it is locked, so that no owner takes it meanwhile
        return found

    def _file(self, owner: str) -> Path:
        return Path(f"{self._path}-{owner}.lock")


_held: list[tuple[int, sqlite3.Connection]] = []
"""The locks that are held, and by which process."""


def _close_inherited() -> None:
    """Close what a forked child has of its parent's locks, so that SQLite knows that they aren't the child's."""
    for process, lock in [held for held in _held if held[0] != os.getpid()]:
        _held.remove((process, lock))
        lock.close()


def _lock(path: Path) -> sqlite3.Connection | None:
    """Return a connection that holds the lock of a file; None if another one does."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")  # no further file
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorname == "SQLITE_BUSY":
            return None
        raise
    return connection


def _is_locked(path: Path) -> bool:
    """Return whether a connection holds the lock of a file. Any number of programs may look at the same time."""
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        ) as connection:
            connection.execute("SELECT * FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_BUSY":
            return True
        if error.sqlite_errorname == "SQLITE_CANTOPEN":  # its program has removed it meanwhile
            return False
        raise
    return False
