"""What the SQLite files of this library share: private, checked to be ours, and failing in plain words."""

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

__all__ = ["BUSY_TIMEOUT", "SqliteFile", "make_private", "transaction"]

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another program's transaction."""


@frozen
class SqliteFile:
    """A file of ours, of some kind."""

    path: Path
    """Absolute."""
    kind: str
    """Its name in messages, such as "journal"."""
    application_id: int
    newest: int
    """The version of its schema that this library writes."""

    def check_place(self) -> None:
        """Check that a file of ours is there, or can be.

        Raises:
            JournalError: It can't.

        """
        name = f"the {self.kind} {self.path}"
        if not self.path.parent.is_dir():
            raise JournalError(f"{name} can't be made: there is no such folder")
        if self.path.is_dir():
            raise JournalError(f"{name} can't be used: it is a folder. Name a file in it")
        if self.path.exists() and not self.path.is_file():
            raise JournalError(f"{name} can't be used: it is no file")
        if self.path.exists() and self.path.stat().st_size == 1:  # which SQLite takes for an empty one
            raise JournalError(f"{name} can't be used: it is no {self.kind}; nothing was changed")

    def inspect(self) -> None:
        """Check a file in WAL mode before anything is changed or put beside it.

        Raises:
            JournalError: It is not of this kind, or can't be made.

        """
        self.check_place()
        if self.path.exists() and self.path.stat().st_size:
            # Reading a file in WAL mode would make -wal and -shm, and leave them there.
            how = "mode=ro" if Path(f"{self.path}-wal").exists() else "mode=ro&immutable=1"
            with closing(sqlite3.connect(f"{self.path.as_uri()}?{how}", uri=True)) as connection:
                self.version(connection)

    def version(self, connection: sqlite3.Connection) -> int:
        """Return the version of the file's schema; 0 for an empty file.

        Raises:
            JournalError: It is another program's database, or of a newer version.

        """
        # In one statement: another program may be making the file.
        ((owner, version, tables),) = connection.execute(
            "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
            " (SELECT count(*) FROM sqlite_master)"
        )
        if owner != self.application_id and (owner or version or tables):
            raise JournalError(f"{self.path} is another program's database, no {self.kind}; nothing was changed")
        if version > self.newest:
            raise JournalError(
                f"the {self.kind} {self.path} was written by a newer smspva_async (form {version}, this one knows "
                f"{self.newest}); nothing was changed. Update the library, or give it another file"
            )
        return int(version)

    @contextmanager
    def explained(self, what: str, ending: str, *, if_damaged: str | None = None) -> Generator[None]:
        """Raise failures of SQLite and the system as `JournalError`, in plain words.

        Args:
            what: What failed, such as "can't be written".
            ending: What follows from it, and what to do.
            if_damaged: The same where the file is damaged.

        """
        name = f"the {self.kind} {self.path}"
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")  # of sqlite3's own: a text that isn't UTF-8
            meanings = {
                "SQLITE_FULL": "the disk is full",
                "SQLITE_READONLY": "it is read-only",
                "SQLITE_CANTOPEN": "it can't be opened or made there",
                "SQLITE_NOTADB": f"it is no {self.kind}",
                "SQLITE_CORRUPT": "it is damaged",
                "SQLITE_ERROR": "it is damaged",  # a table or column that isn't there
                "SQLITE_BUSY": "another program keeps it locked",
                "SQLITE_IOERR": "the disk is full or fails",
            }
            meaning = next((f"{text} (" for start, text in meanings.items() if code.startswith(start)), "(")
            is_damaged = code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR"))
            ending = if_damaged or ending if is_damaged else ending
            raise JournalError(f"{name} {what}: {meaning}{one_line(str(error))}). {ending}") from error
        except OSError as error:
            raise JournalError(f"{name} {what}: {error.strerror}. {ending}") from error
        except (ValueError, OverflowError) as error:
            ending = if_damaged or ending
            raise JournalError(f"{name} {what}: it is damaged ({one_line(str(error))}). {ending}") from error


@contextmanager
def transaction(connection: sqlite3.Connection, *, durable: bool = True) -> Generator[None]:
    """Run a transaction of one writer; a durable one is on the disk when it ends."""
    # EXTRA is FULL for a file in WAL mode; for others the end of the rollback journal is on the disk too.
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
    """Make a file if it isn't there, readable by its owner alone."""
    # POSIX: to close a file drops every lock that this process has on it. So a file that is there isn't opened, and a
    # new one gets its name when it is closed.
    if Path(path).exists():
        return
    new = Path(f"{path}.{uuid4().hex}.new")
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        new.chmod(0o600)  # the umask may have taken more away
        with suppress(FileExistsError):
            try:
                os.link(new, path)
            except FileExistsError:
                raise
            except OSError:  # no links there, as on FAT
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    finally:
        new.unlink()
