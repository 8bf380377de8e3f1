"""The ledger: an SQLite file that records spending calls, so that they survive the end of the program."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import uuid4

from attrs import field, frozen

from smspva_async._api import methods
from smspva_async._concurrency import WorkerThread
from smspva_async._sqlite import BUSY_TIMEOUT, SqliteFile, make_private, transaction
from smspva_async.errors import LONGEST_DATA, JournalError, bounded, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

Outcome: TypeAlias = Literal["done", "refused", "not_sent", "unknown", "settled"]

EXTENDING = frozenset({methods.PROLONG.name, methods.PROLONG_DAYS.name, methods.RESTORE.name})
"""Calls that move the end of an existing order."""
LONG_LAG = timedelta(hours=1)
"""The longest time for which lists may lack the effect of a call."""
_MOST_WITHOUT_EFFECT = 1000
"""The number of calls that are kept although they were refused or not sent. A program may try to rent for days."""
_APPLICATION_ID = 0x534D534C  # "SMSL"
_VERSION = 1
_CALLS = (
    "CREATE TABLE calls (call TEXT PRIMARY KEY, owner TEXT, method TEXT, params TEXT, started_at TEXT, listed INTEGER,"
    " known BLOB, ends_at TEXT, seen_at TEXT, outcome TEXT, ended_at TEXT, order_ids TEXT, complete INTEGER,"
    " reason TEXT, data TEXT, checksum INTEGER) WITHOUT ROWID"
)
_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_ROW = ", ".join("?" * 16)
_TRY_AGAIN = "Fix the problem and use the same path again: a new ledger wouldn't have the unsettled calls"
_RESTORE_IT = "Restore it from a backup, or check by hand which orders the account has and use a new path"
_NOTHING_SENT = "Nothing was sent and nothing was changed. "
_OWNER = re.compile("[0-9a-f]{12}")
_BATCH = 100
"""Rows to read at a time."""


@frozen
class Record:
    """The record of a spending call."""

    call: str
    """The call's id."""
    method: str
    """The wire name."""
    params: Mapping[str, str]
    started_at: datetime
    """The start of the call by this machine's clock."""
    known: frozenset[int] = frozenset()
    """The orders that were known before the call. Empty once the outcome is known."""
    listed: bool = False
    """True if `known` and `ends_at` certainly include the effects of earlier calls."""
    ends_at: datetime | None = None
    """The last known end of the order that the call is about."""
    seen_at: datetime | None = None
    """The time of the call by the server's clock; None if the server had sent no date."""
    outcome: Outcome | None = None
    """None while the call is in progress, or if the program ended during it."""
    ended_at: datetime | None = None
    order_ids: tuple[int, ...] = ()
    """The orders that the answer named; for a settled call, its candidates."""
    complete: bool = True
    """True if `order_ids` has all orders that the call created."""
    reason: str = ""
    """The reason why the outcome is unknown."""
    data: object = None
    """The part of the answer that arrived, if the outcome is unknown."""
    in_flight: bool = field(default=False, eq=False)
    """True if the program that makes the call still runs, so that an outcome may follow."""

    @property
    def is_open(self) -> bool:
        """True if the outcome isn't known."""
        return self.outcome in (None, "unknown")

    @property
    def may_be_done(self) -> bool:
        """True unless the call certainly had no effect."""
        return self.outcome not in ("refused", "not_sent")

    @property
    def order_id(self) -> int:
        """The order that the call is about; 0 for a new number."""
        return int(self.params.get("id", 0))

    def is_recent(self, date: datetime | None) -> bool:
        """Return whether a list of orders from `date` may lack the call's effect, because lists may lag."""
        if self.seen_at is None or date is None:
            return True
        # It may have ended long after it was recorded: a request waits for its turn, and a machine may sleep.
        took = self.ended_at - self.started_at if self.ended_at and self.outcome == "done" else timedelta()
        return self.seen_at + max(took, timedelta()) > date - LONG_LAG

    def may_have_extended(self, order_id: int, date: datetime | None) -> bool:
        """Return whether the call may have moved an order's end, which a list from `date` may not show."""
        is_extension = self.method in EXTENDING and self.order_id == order_id
        return is_extension and self.may_be_done and self.is_recent(date)


def surplus(records: Iterable[Record]) -> Sequence[str]:
    """Return the ids of the calls that had no effect, without the newest ones. They needn't be kept any longer."""
    found = sorted((record.started_at, record.call) for record in records if not record.may_be_done)
    return [call for _, call in found[:-_MOST_WITHOUT_EFFECT]]


class PurchaseStore(Protocol):
    """Stores records. `SqliteLedger` implements it; another implementation may span machines."""

    name: str
    """The store's name in messages."""

    async def load(self) -> Sequence[Record] | None:
        """Return all records, or None if nothing changed since the last time.

        Raises:
            JournalError: The store can't be read completely.

        """
        ...

    def load_now(self) -> Sequence[Record] | None:
        """Do the same as `load` in the calling thread, for a client that isn't entered yet."""
        ...

    async def save(self, unsaved: Callable[[], Sequence[Record]]) -> None:
        """Write records, replacing earlier versions, and return when they are safe.

        Args:
            unsaved: Returns the records. It is called when writing begins, so the result includes records that
                were added while this write waited for earlier ones.

        Raises:
            JournalError: The records can't be written. None was.

        """
        ...

    async def aclose(self) -> None:
        """Release all resources. The records stay."""
        ...


_DROP_SURPLUS = """
DELETE FROM calls WHERE call IN (
    SELECT call FROM calls WHERE outcome IN ('refused', 'not_sent')
    ORDER BY started_at DESC, call DESC LIMIT -1 OFFSET ?
)
"""


class SqliteLedger:
    """A ledger in an SQLite file, which several programs of one account may share.

    The file is opened for each use, so that a ledger which was moved away is created again. Between two uses only the
    owner's lock stays open, on a file beside the ledger. The ledger has a rollback journal instead of a write-ahead
    log: SQLite ignores a damaged log without an error, and committed calls would be lost with it.

    Args:
        path: The file. The first spending call creates it.
        account: A slow function that returns the account's fingerprint.

    """

    def __init__(self, path: Path, account: Callable[[], str]) -> None:
        self._path = Path(os.path.realpath(path))  # the working directory may change, and all programs need one lock
        self.name = f"the ledger {str(self._path)!r}"
        self._file = SqliteFile(self._path, "ledger", _APPLICATION_ID, _VERSION)
        self._account = account
        self._fingerprint = ""
        self._worker = WorkerThread("smspva ledger")
        self._loaded: tuple[int, int] | None = None
        """The result of `_stamp` when all records were last loaded or saved."""
        self._saved: dict[str, Record] = {}
        """The records of the last `save`. Tasks that waited for it pass some of them again."""
        self._owner = _Owner(self._path)

    async def load(self) -> Sequence[Record] | None:
        """Return all records; see `PurchaseStore.load`."""
        return await self._worker.run(self.load_now)

    def load_now(self) -> Sequence[Record] | None:
        """Return all records; see `PurchaseStore.load_now`."""
        advice, if_damaged = _NOTHING_SENT + _TRY_AGAIN, _NOTHING_SENT + _RESTORE_IT
        with self._file.translate_errors("can't be used", advice, if_damaged=if_damaged):
            try:
                self._path.stat()
            except (FileNotFoundError, NotADirectoryError):
                self._saved = {}
                return []
            with self._opened() as connection:
                stamp = self._stamp(connection)
                in_flight = {owner for (owner,) in connection.execute("SELECT owner FROM calls WHERE outcome IS NULL")}
                if stamp == self._loaded and in_flight <= {self._owner.held()}:
                    return None
                ((state,),) = connection.execute("PRAGMA quick_check(1)")
                if state != "ok":
                    raise ValueError(state)
                # Before the rows are read: if an owner ends in between, its outcome is already in the rows.
                dead = in_flight - self._owner.alive()
                records: list[Record] = []
                cursor = connection.execute("SELECT * FROM calls")
                while rows := cursor.fetchmany(_BATCH):
                    records += read_rows(rows, dead)
        if stamp != self._loaded:
            self._loaded, self._saved = stamp, {}
        return records

    def _stamp(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Return the file's identity and its number of changes."""
        ((changes,),) = connection.execute("SELECT value FROM meta WHERE key = 'changes'")
        return self._path.stat().st_ino, int(changes)

    async def save(self, unsaved: Callable[[], Sequence[Record]]) -> None:
        """Write records; see `PurchaseStore.save`."""
        await self._worker.run(lambda: self._save(unsaved()))

    def _save(self, given: Sequence[Record]) -> None:
        records = [record for record in given if self._saved.get(record.call) is not record]
        if not records:
            return
        with self._file.translate_errors("can't be written", _TRY_AGAIN, if_damaged=_RESTORE_IT):
            make_private(self._path)
            with self._opened() as connection:
                self._owner.acquire()
                with transaction(connection):
                    before = self._stamp(connection)
                    connection.executemany(
                        f"REPLACE INTO calls VALUES ({_ROW})",  # noqa: S608 - question marks
                        [row_of(record, self._owner.name) for record in records],
                    )
                    if not all(record.may_be_done for record in records):
                        connection.execute(_DROP_SURPLUS, (_MOST_WITHOUT_EFFECT,))
                    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'changes'")
                if before == self._loaded:
                    self._loaded = (before[0], before[1] + 1)
        self._saved = {record.call: record for record in given}

    async def aclose(self) -> None:
        """Release the lock that shows that this program is alive, and end the thread."""
        await self._worker.run(self._owner.release)
        self._worker.stop()

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        self._file.check_path()
        with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
            self._prepare(connection)
            yield connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the tables if the file is empty, and check that it belongs to this account."""
        self._fingerprint = self._fingerprint or self._account()
        if self._file.read_version(connection) == 0:
            with transaction(connection):
                if self._file.read_version(connection) == 0:  # another program may have created them meanwhile
                    connection.execute(_CALLS)
                    connection.execute(_META)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                values = [("account", self._fingerprint), ("changes", "0")]
                connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", values)
        found = connection.execute("SELECT value FROM meta WHERE key = 'account'").fetchall()
        if not found:  # deleted, as the message below advises
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('account', ?)", (self._fingerprint,))
        elif found != [(self._fingerprint,)]:
            statement = "DELETE FROM meta WHERE key = 'account'"
            owner = one_line(str(found[0][0]))[:8]
            raise JournalError(
                f"{self.name} belongs to another account ({owner}, yours is {self._fingerprint[:8]}); nothing was sent."
                " Give each account its own path. If it is the same account with a new key, run:"
                f' sqlite3 {shlex.quote(str(self._path))} "{statement}"'
            )


# -- rows ------------------------------------------------------------------------------------------------------------


def row_of(record: Record, owner: str) -> tuple[Any, ...]:
    """Return the values that a store keeps of a record, with a checksum at the end."""
    known = sorted(record.known) if record.is_open else []
    gaps = [after - before for before, after in pairwise([0, *known])]  # small numbers take less space
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


def read_rows(rows: Sequence[tuple[Any, ...]], dead: set[str]) -> list[Record]:
    """Return the records in some rows. The calls of `dead` owners are no longer in flight.

    Raises:
        ValueError: A row is damaged.

    """
    for row in rows:
        if _checksum(row[:-1]) != row[-1]:
            raise ValueError(f"the record of call {row[0]} doesn't match its checksum")
        if row[2] not in methods.SPENDING:
            raise ValueError(f"call {row[0]} has the unknown method {row[2]}")
    # Parsing one JSON text is several times faster than parsing three for each row.
    texts = ",".join(f"[{row[3]},{row[11]},{row[14]}]" for row in rows)
    return [_record(row, values, dead) for row, values in zip(rows, json.loads(f"[{texts}]"), strict=True)]


def _record(row: tuple[Any, ...], values: Any, dead: set[str]) -> Record:  # noqa: ANN401 - JSON
    call, owner, method, _, began, listed, known, ends_at, seen_at, outcome, ended_at, _, complete, reason, *_ = row
    params, order_ids, data = values
    time = datetime.fromisoformat
    return Record(  # positional arguments are faster
        call,
        method,
        params,
        time(began),
        frozenset(accumulate(json.loads(zlib.decompress(known))) if known else ()),
        bool(listed),
        time(ends_at) if ends_at else None,
        time(seen_at) if seen_at else None,
        outcome,
        time(ended_at) if ended_at else None,
        tuple(order_ids),
        bool(complete),
        reason,
        data,
        outcome is None and owner not in dead,
    )


def _data(data: object) -> str:
    if data is None:
        return "null"
    if isinstance(data, str):
        return json.dumps(data[:LONGEST_DATA])
    text = json.dumps(bounded(data))
    return text if len(text) <= LONGEST_DATA else json.dumps(text[:LONGEST_DATA])


def _checksum(values: Iterable[object]) -> int:
    return zlib.crc32(repr(tuple(values)).encode())


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


# -- owners ----------------------------------------------------------------------------------------------------------


class _Owner:
    """A program that makes calls. It holds a lock while it runs; the system releases the lock however the program ends.

    The lock is SQLite's, on an empty file, which works on every system and isn't inherited by a forked process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = 0
        self.name = ""
        self._lock: sqlite3.Connection | None = None

    def acquire(self) -> None:
        """Lock the owner's file, unless this process has done so."""
        _close_inherited()
        if self._lock is not None and self._process == os.getpid():
            return
        self._lock = None
        self._process, self.name = os.getpid(), uuid4().hex[:12]
        file = self._file(self.name)
        # Another program may have found the file unlocked and removed it.
        while self._lock is None or not file.exists():
            make_private(file)
            self._lock = _lock(file)
        _held.append((os.getpid(), self._lock))

    def release(self) -> None:
        """Release the lock and remove its file."""
        lock, self._lock = self._lock, None
        if lock is not None and self._process == os.getpid():
            _held.remove((self._process, lock))
            lock.close()
            with suppress(OSError):
                self._file(self.name).unlink()

    def held(self) -> str:
        """Return the owner's name if this process holds the lock, otherwise ""."""
        return self.name if self._lock is not None and self._process == os.getpid() else ""

    def alive(self) -> set[str]:
        """Return the names of the owners that are alive, and remove the files of the others."""
        _close_inherited()
        found: set[str] = set()
        for file in self._path.parent.iterdir():
            owner = file.name.removeprefix(f"{self._path.name}-").removesuffix(".lock")
            with suppress(FileNotFoundError):  # its owner may have removed it
                if file != self._file(owner) or not _OWNER.fullmatch(owner) or file.stat().st_size:
                    continue
            if _is_locked(file):
                found.add(owner)
            elif (lock := _lock(file)) is not None:
                with closing(lock), suppress(OSError):  # Windows can't remove an open file
                    file.unlink()  # while it is locked here, so that no owner acquires it
        return found

    def _file(self, owner: str) -> Path:
        return Path(f"{self._path}-{owner}.lock")


_held: list[tuple[int, sqlite3.Connection]] = []
"""The locks and the processes that hold them."""


def _close_inherited() -> None:
    """Close copies of locks that a parent process holds: SQLite would treat them as locks of this process."""
    for process, lock in [held for held in _held if held[0] != os.getpid()]:
        _held.remove((process, lock))
        lock.close()


def _lock(path: Path) -> sqlite3.Connection | None:
    """Lock a file and return the connection that holds the lock, or None if the file is locked."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")  # creates no further file
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorname == "SQLITE_BUSY":
            return None
        raise
    return connection


def _is_locked(path: Path) -> bool:
    """Return whether a file is locked. Several programs can check at the same time."""
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        ) as connection:
            connection.execute("SELECT * FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_BUSY":
            return True
        if error.sqlite_errorname == "SQLITE_CANTOPEN":  # its owner has removed it
            return False
        raise
    return False
