"""Shared parts of the journal and the ledger: file checks, transactions, file modes and plain error messages."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import frozen

from smspva_async.errors import JournalError, one_line

if TYPE_CHECKING:
    from collections.abc import Generator

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another program's transaction."""


@frozen
class SqliteFile:
    """An SQLite file of this library."""

    path: Path
    """The absolute path."""
    kind: str
    """The word for it in messages, such as "journal"."""
    application_id: int
    schema_version: int
    """The schema version that this library writes."""

    def check_path(self) -> None:
        """Check that the path names a regular file, or a new file in an existing folder.

        Raises:
            JournalError: The path names something else, or its folder doesn't exist.

        """
        name = f"the {self.kind} {self.path}"
        if not self.path.parent.is_dir():
            raise JournalError(f"{name} can't be created: no such folder")
        if self.path.is_dir():
            raise JournalError(f"{name} can't be used: it is a folder. Name a file in it")
        if self.path.exists() and not self.path.is_file():
            raise JournalError(f"{name} can't be used: it isn't a regular file")
        if self.path.exists() and self.path.stat().st_size == 1:  # SQLite would treat it as empty
            raise JournalError(f"{name} can't be used: it isn't a {self.kind}; nothing was changed")

    def inspect(self) -> None:
        """Check a file in WAL mode without changing it or creating files beside it.

        Raises:
            JournalError: It isn't a file of this kind, or can't be created.

        """
        self.check_path()
        if self.path.exists() and self.path.stat().st_size:
            # Without `immutable`, reading a file in WAL mode creates -wal and -shm and leaves them behind.
            how = "mode=ro" if Path(f"{self.path}-wal").exists() else "mode=ro&immutable=1"
            with closing(sqlite3.connect(f"{self.path.as_uri()}?{how}", uri=True)) as connection:
                self.read_version(connection)

    def read_version(self, connection: sqlite3.Connection) -> int:
        """Return the file's schema version; 0 for an empty file.

        Raises:
            JournalError: It is another program's database, or its schema is newer.

        """
        # A single statement gives values of one moment: another program may be creating the tables.
        ((owner, version, tables),) = connection.execute(
            "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
            " (SELECT count(*) FROM sqlite_master)"
        )
        if owner != self.application_id and (owner or version or tables):
            raise JournalError(f"{self.path} is another program's database, not a {self.kind}; nothing was changed")
        if version > self.schema_version:
            raise JournalError(
                f"the {self.kind} {self.path} was written by a newer smspva_async (schema {version}, this one reads up "
                f"to {self.schema_version}); nothing was changed. Update the library, or use another file"
            )
        return int(version)

    @contextmanager
    def translate_errors(self, failure: str, advice: str, *, if_damaged: str | None = None) -> Generator[None]:
        """Turn errors of SQLite and the operating system into `JournalError`.

        Args:
            failure: The failure, such as "can't be written".
            advice: Its consequences and what to do, as whole sentences.
            if_damaged: The advice for a damaged file, if it differs.

        """
        name = f"the {self.kind} {self.path}"
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")  # no code: a text isn't UTF-8
            meanings = {
                "SQLITE_FULL": "the disk is full",
                "SQLITE_READONLY": "it is read-only",
                "SQLITE_CANTOPEN": "it can't be opened or created",
                "SQLITE_NOTADB": f"it isn't a {self.kind}",
                "SQLITE_CORRUPT": "it is damaged",
                "SQLITE_ERROR": "it is damaged",  # a table or column is missing
                "SQLITE_BUSY": "another program keeps it locked",
                "SQLITE_IOERR": "the disk is full or failing",
            }
            meaning = next((f"{text} (" for start, text in meanings.items() if code.startswith(start)), "(")
            is_damaged = code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR"))
            advice = if_damaged or advice if is_damaged else advice
            raise JournalError(f"{name} {failure}: {meaning}{one_line(str(error))}). {advice}") from error
        except OSError as error:
            raise JournalError(f"{name} {failure}: {error.strerror}. {advice}") from error
        except (ValueError, OverflowError) as error:
            advice = if_damaged or advice
            raise JournalError(f"{name} {failure}: it is damaged ({one_line(str(error))}). {advice}") from error


@contextmanager
def transaction(connection: sqlite3.Connection, *, durable: bool = True) -> Generator[None]:
    """Run a write transaction. A durable one is on disk when it ends."""
    # In WAL mode EXTRA equals FULL. Otherwise it also syncs the folder after the rollback journal is deleted.
    connection.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def make_private(path: Path | str) -> None:
    """Create a file that only its owner can read, unless it exists."""
    # On POSIX, closing a file drops every lock that this process has on it. So an existing file isn't opened, and a new
    # one is closed before it gets its name.
    if Path(path).exists():
        return
    new = Path(f"{path}.{uuid4().hex}.new")
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        new.chmod(0o600)  # the umask may have removed the owner's permissions
        with suppress(FileExistsError):
            try:
                os.link(new, path)
            except FileExistsError:
                raise
            except OSError:  # the file system has no hard links, such as FAT
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    finally:
        new.unlink()
