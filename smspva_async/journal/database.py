"""The SQLite database of a journal, used by one thread at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from smspva_async._sqlite import SqliteFile, make_private, transaction
from smspva_async.errors import JournalError, JournalLocked
from smspva_async.events import Event, OrderRemoved, PollFailed
from smspva_async.journal import codec
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

_APPLICATION_ID = 0x534D534A  # "SMSJ"
# The statements that upgrade each version of the schema to the next; version 0 is an empty file.
_UPGRADES = [
    (
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, at REAL NOT NULL, event TEXT NOT NULL)",
        "CREATE INDEX events_by_date ON events (at)",
        "CREATE TABLE cursors (name TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE tracks (order_id INTEGER PRIMARY KEY, removed INTEGER NOT NULL, track TEXT NOT NULL)",
        (
            "CREATE TABLE messages (order_id INTEGER NOT NULL, message TEXT NOT NULL, count INTEGER NOT NULL, "
            "PRIMARY KEY (order_id, message)) WITHOUT ROWID"
        ),
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
]
_LARGEST_STEP = 86_400.0
"""The maximum number of seconds by which one event moves the time from which the age of events is measured."""
_BUSY_TIMEOUT = 0.1
"""Seconds to wait for another program's transaction; `SqliteJournal` tries again."""
_NOTHING_LOST = "The events in it are safe; the next watch reports the changes that it lacks"


@frozen
class Opened:
    """A journal's content when a watcher opens it."""

    state: WatchState | None
    newest: int
    last: Sequence[Event]
    """The newest events."""


def unix_time(event: Event) -> float:
    """Return an event's Unix time; 0 if it may be wrong."""
    # These events may come before the first good answer, when only the local clock is known.
    return 0.0 if isinstance(event, PollFailed | OrderRemoved) else event.at.timestamp()


class AgeClock:
    """The time from which the age of events is measured."""

    def __init__(self) -> None:
        self._before: float | None = None

    def now(self, newest: Event) -> float | None:
        """Return the Unix time at the newest event; None while it isn't certain."""
        before, dated = self._before, unix_time(newest)
        if not dated:
            return None
        # One answer with a wrong clock must not drop everything.
        self._before = dated if before is None else min(dated, before + _LARGEST_STEP)
        return None if before is None else self._before


class Database:
    """The database of a journal.

    Args:
        path: The absolute path of the file.
        max_events: The number of events to keep; None: no limit.
        max_age: The time for which to keep them; None: no limit.

    """

    def __init__(self, path: Path, max_events: int | None, max_age: timedelta | None) -> None:
        self.oldest: int = 0
        """The position before the oldest event that is kept."""
        self.newest: int = 0
        """The newest event's `seq`."""
        self._path = path
        self._file = SqliteFile(path, "journal", _APPLICATION_ID, len(_UPGRADES))
        self._max_events = max_events
        self._max_age = max_age
        self._lock: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None
        """The open file."""
        self._state = WatchState()
        """The state that the file has."""
        self._clock = AgeClock()

    def open(self, fingerprint: str | None, last: int) -> Opened:
        """Open the file for one watcher, create it if it doesn't exist, and return its content.

        Args:
            fingerprint: The account's fingerprint; None if it is unknown.
            last: The number of newest events to return.

        """
        with self._file.translate_errors("can't be used", "Nothing was changed"):
            self._file.inspect()
            created = self._missing("-lock")
            try:
                self._take_lock()
                created = self._missing("-wal", "-shm", "") + created  # now, because another watcher may have made them
                self._connection = connection = self._connect()
                connection.execute("PRAGMA journal_mode = WAL")
                self._opened = self._path.stat()
                with transaction(connection):
                    self._prepare(connection, fingerprint)
                    return self._load(connection, last)
            except BaseException as error:
                self.close(remove=() if isinstance(error, JournalLocked) else created)
                raise

    def close(self, remove: Iterable[Path] = ()) -> None:
        """Release the file. Before another watcher can take it, remove these files."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        if connection is not None:
            connection.close()
        for path in remove:
            with suppress(OSError):
                path.unlink()
        if lock is not None:
            lock.close()

    # -- reading and writing -----------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        """Add events, replace the state and move cursors, in one transaction."""
        connection = self._connection
        if connection is None or self._opened is None:
            raise JournalError(f"the journal {self._path} isn't open; nothing was written")
        with self._file.translate_errors("can't be written", _NOTHING_LOST):
            is_here = False
            with suppress(FileNotFoundError):
                is_here = os.path.samestat(self._opened, self._path.stat())
            if not is_here:  # SQLite would write to the file that was there
                raise JournalError(
                    f"the journal {self._path} was removed or replaced while it was open; nothing was written. Bring it"
                    " back, and start the watch again: it reports the changes that the journal lacks"
                )
            changes = codec.changes(self._state, state)
            before = self._state
            # A change of the clock alone isn't worth a write.
            others = evolve(state, clock=before.clock, tracks=before.tracks, removed=before.removed)
            if events or places or changes.any or others != before:
                # A change without events needn't be durable: after a power failure the next watch finds it again.
                with transaction(connection, durable=bool(events)):
                    connection.executemany(
                        "INSERT INTO events VALUES (?, ?, ?)",
                        [(event.seq, unix_time(event), codec.save_event(event)) for event in events],
                    )
                    connection.execute("REPLACE INTO meta VALUES ('state', ?)", [codec.save_state(state)])
                    connection.executemany("REPLACE INTO tracks VALUES (?, ?, ?)", changes.tracks)
                    connection.executemany("REPLACE INTO messages VALUES (?, ?, ?)", changes.messages)
                    connection.executemany("DELETE FROM tracks WHERE order_id = ?", changes.lost_tracks)
                    connection.executemany("DELETE FROM messages WHERE order_id = ?", changes.lost_tracks)
                    connection.executemany(
                        "DELETE FROM messages WHERE order_id = ? AND message = ?", changes.lost_messages
                    )
                    _move(connection, places)
                    oldest = self._prune(connection, events) if events else self.oldest
                    newest = events[-1].seq if events else self.newest
                    connection.execute("REPLACE INTO meta VALUES ('newest', ?)", [str(newest)])
                self.oldest, self.newest = oldest, newest
            self._state = state

    def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a position."""
        with self._file.translate_errors("can't be read", _NOTHING_LOST), self._connected() as connection:
            rows = connection.execute("SELECT event FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
            events = [codec.load_event(event) for (event,) in rows]
            # After the file was released, another watcher may have dropped some.
            (oldest,) = connection.execute("SELECT min(seq) FROM events").fetchone()
            self.oldest = max(self.oldest, (oldest or 1) - 1)
            return events

    def places(self) -> Mapping[str, int]:
        """Return the position of each named cursor."""
        with self._file.translate_errors("can't be read", _NOTHING_LOST), self._connected() as connection:
            return dict(connection.execute("SELECT name, place FROM cursors"))

    def move(self, places: Mapping[str, int]) -> None:
        """Move named cursors forward."""
        # A move needn't be durable: after a power failure, events are only delivered again.
        with (
            self._file.translate_errors("can't be written", _NOTHING_LOST),
            self._connected() as connection,
            transaction(connection, durable=False),
        ):
            _move(connection, places)

    def forget(self, name: str) -> None:
        """Remove a named cursor."""
        with (
            self._file.translate_errors("can't be written", _NOTHING_LOST),
            self._connected() as connection,
            transaction(connection),
        ):
            connection.execute("DELETE FROM cursors WHERE name = ?", [name])

    def _prune(self, connection: sqlite3.Connection, written: Sequence[Event]) -> int:
        """Drop the events that exceed the limits and that every named cursor has read; return the oldest position."""
        newest = written[-1]
        (unread,) = connection.execute("SELECT min(place) FROM cursors").fetchone()
        if unread is not None and unread <= self.oldest:
            return self.oldest
        bound = 0 if self._max_events is None else newest.seq - self._max_events
        if self._max_age is not None and (now := self._clock.now(newest)) is not None:
            # A number, because a date can't be that far in the past.
            young = now - self._max_age.total_seconds()
            (old,) = connection.execute("SELECT max(seq) FROM events WHERE at > 0 AND at < ?", [young]).fetchone()
            bound = max(bound, old or 0)
        # Keep all events of this write, so that a reader that was caught up can read them.
        bound = min(bound, written[0].seq - 1, bound if unread is None else unread)
        if bound <= self.oldest:
            return self.oldest
        connection.execute("DELETE FROM events WHERE seq <= ?", [bound])
        return bound

    # -- the file ----------------------------------------------------------------------------------------------------

    def _missing(self, *endings: str) -> list[Path]:
        """Return the files beside the journal, by the endings of their names, that don't exist."""
        paths = [self._path.with_name(self._path.name + ending) for ending in endings]
        return [path for path in paths if not path.exists()]

    def _take_lock(self) -> None:
        # A separate database, because SQLite's lock on the journal itself would keep readers out.
        path = f"{self._path}-lock"
        make_private(path)
        self._lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            raise locked(self._path) from None

    def _connect(self) -> sqlite3.Connection:
        make_private(self._path)
        return sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)

    def _prepare(self, connection: sqlite3.Connection, fingerprint: str | None) -> None:
        """Upgrade the file to this version, and check that it belongs to this account."""
        for upgrade in _UPGRADES[self._file.read_version(connection) :]:
            for statement in upgrade:
                connection.execute(statement)
        # Always written, so that a read-only file is detected now.
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(_UPGRADES)}")
        if fingerprint is None:
            return
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('account', ?)", [fingerprint])
        ((owner,),) = connection.execute("SELECT value FROM meta WHERE key = 'account'")
        if owner != fingerprint:
            raise JournalError(
                f"the journal {self._path} belongs to another account; nothing was changed. Give each account its own "
                "file. If it is the same account with a new key, delete the row 'account' from the table meta"
            )

    def _load(self, connection: sqlite3.Connection, last: int) -> Opened:
        oldest, newest = connection.execute("SELECT min(seq), max(seq) FROM events").fetchone()
        self.oldest, self.newest = (0, 0) if oldest is None else (oldest - 1, newest)
        rows = connection.execute("SELECT event FROM events WHERE seq > ? ORDER BY seq", [self.newest - last])
        events = [codec.load_event(event) for (event,) in rows]
        written = connection.execute("SELECT value FROM meta WHERE key = 'newest'").fetchone()
        if len(events) != min(last, self.newest - self.oldest) or (written and int(written[0]) != self.newest):
            raise ValueError("an event is missing; start a new file")
        saved = connection.execute("SELECT value FROM meta WHERE key = 'state'").fetchone()
        if saved is None:
            self._state = WatchState()
            return Opened(None, self.newest, events)
        self._state = codec.load_state(
            saved[0], connection.execute("SELECT * FROM tracks"), connection.execute("SELECT * FROM messages")
        )
        return Opened(self._state, self.newest, events)

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        """Return the file's connection, or a temporary one if the file was released."""
        if self._connection is not None:
            yield self._connection
            return
        with closing(
            sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None)
        ) as connection:
            yield connection


def locked(path: Path) -> JournalLocked:
    """Return the error for a second watcher."""
    return JournalLocked(f"another watcher uses the journal {path}; give each watcher its own")


def _move(connection: sqlite3.Connection, places: Mapping[str, int]) -> None:
    connection.executemany(
        "INSERT INTO cursors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET place = max(place, excluded.place)",
        places.items(),
    )
