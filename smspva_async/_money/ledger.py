"""The ledger: a file of the calls that spend, which remembers them when the program is killed.

JSON lines, only ever appended to. The first tells the version and whose account it is. Each call has a line of its
beginning, on disk before the request is sent, and one of its outcome.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections import deque
from functools import cached_property
from io import FileIO
from typing import TYPE_CHECKING, Any

from smspva_async._concurrency import WorkerThread
from smspva_async._money.ledger_entries import Begun, Contents, Ended, read_entry, read_line, write_line
from smspva_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Ledger"]

_log = logging.getLogger("smspva_async")

_VERSION = 1
_HEAD = b'{"ledger": '
_TORN = b"\ttorn"  # no line of JSON has a tab in it
_LONGEST_HEADER = 1024


class Ledger:
    """The ledger in a file, which several programs may share: each write is one of whole lines at its end.

    Args:
        path: The file; made at the first call that spends.
        account: Returns what tells the account from others; it may take a while.

    """

    def __init__(self, path: Path, account: Callable[[], str]) -> None:
        self.path = path.absolute()  # the program may go elsewhere
        self._account_of = account
        self._worker = WorkerThread("smspva_async ledger")
        self._queue: deque[bytes] = deque()
        self._begun: set[str] = set()
        """Calls whose beginning stands in the file and whose outcome is yet to come."""
        self._warned = False

    @cached_property
    def _account(self) -> str:
        return self._account_of()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def read_aside(self) -> Contents:
        """Do as `read`, off the event loop."""
        return await self._worker.run(self.read)

    def read(self) -> Contents:
        """Return what the file tells; nothing where there is none.

        Raises:
            JournalError: It can't be read, is no ledger, one of a newer version, or another account's.

        """
        contents = Contents()
        try:
            # Before it is opened, which a pipe would hold up.
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise self._unusable("it is no file")
            with self.path.open("rb") as file:
                *lines, torn = file.read().split(b"\n")
        except FileNotFoundError:
            return contents
        except OSError as error:
            raise self._unusable(f"it can't be read ({error.strerror})") from error
        headed = False
        for number, line in enumerate(lines, 1):
            # What a full disk or a sudden end cut short was never sent.
            if line == b"" or line.endswith(_TORN):
                continue
            entry = read_line(line)
            if not headed or (entry is not None and "ledger" in entry):
                self._check(entry)
                headed = True
            elif (found := read_entry(entry)) is not None:
                contents.add(found)
            else:
                _log.warning("line %d of the ledger %s can't be read and is passed over", number, self._name)
        if not headed and not _may_be_torn_header(torn):
            raise self._unusable("it is no ledger")
        return contents

    def _check(self, header: Mapping[str, Any] | None) -> None:
        if header is None or "ledger" not in header:
            raise self._unusable("it is no ledger")
        if header["ledger"] != _VERSION:
            raise self._unusable(f"it is of version {header['ledger']}, and this library reads {_VERSION}")
        if header.get("account") != self._account:
            raise self._unusable("it is another account's")

    # -- writing -----------------------------------------------------------------------------------------------------

    async def begin(self, call: Begun) -> None:
        """Write down that a call is about to be sent, and return when that is on the disk.

        Raises:
            JournalError: It can't be written.

        """
        await self._worker.run(lambda: self._write_with_queue([call.line()], begun=call.call))

    def end(self, outcome: Ended) -> None:
        """Have an outcome written at the next opportunity.

        Not at once, so that the caller gets to store what the call returned before the ledger forgets it: killed in
        between, the program finds the call among the unsettled ones, which is once too often rather than not at all.
        A call whose beginning couldn't be written leaves nothing to be taken back, and so isn't written of.
        """
        if outcome.call in self._begun:
            self._begun.remove(outcome.call)
            self._queue.append(outcome.line())

    async def flush(self) -> None:
        """Write the outcomes that wait for it; a failure is told in the log, and they wait on."""
        if self._queue:
            await self._worker.run(self.flush_now)

    async def finish(self) -> None:
        """Do as `flush`, and return when the thread has nothing left to do."""
        if self._queue or self._worker.is_started:
            await self._worker.run(self.flush_now)

    def flush_now(self) -> None:
        """Do as `flush`, at once."""
        if not self._queue:
            return
        try:
            self._write_with_queue([])
        except JournalError as error:
            if not self._warned:
                self._warned = True
                _log.warning("%s; calls with a known outcome may show as unsettled at the next start", error)

    def settle(self, outcome: Ended) -> None:
        """Write that a call is settled at once, on the event loop: it is one short line.

        Without waiting for the disk: a line that is lost by a power cut leaves the call unsettled, which does no harm.

        Raises:
            JournalError: It can't be written.

        """
        try:
            self._write([outcome.line()])
        except OSError as error:
            raise self._unwritable("the call stays unsettled", error) from error

    def stop(self) -> None:
        """End the thread."""
        self._worker.stop()

    def _write_with_queue(self, lines: list[bytes], *, begun: str | None = None) -> None:
        queued: list[bytes] = []
        with contextlib.suppress(IndexError):
            while True:  # one by one, as the event loop may add to it meanwhile
                queued.append(self._queue.popleft())
        try:
            self._write(queued + lines, begun=begun)
        except (OSError, JournalError) as error:
            self._queue.extendleft(reversed(queued))
            if isinstance(error, JournalError):
                raise
            raise self._unwritable("nothing was sent" if lines else "no outcome was written", error) from error
        self._warned = False

    def _write(self, lines: list[bytes], *, begun: str | None = None) -> None:
        """Write lines; where a call's beginning is among them, return when it is on the disk."""
        # Opened each time: nothing is left to be closed, and a file that was moved away is begun anew.
        with self._open() as file:
            repaired = [] if _is_whole(file) else [_TORN + b"\n"]
            made = not self._is_headed(file)
            header = [write_line(ledger=_VERSION, account=self._account)] if made else []
            # One write, so that no other program's lines come in between.
            whole = b"".join(repaired + header + lines)
            if file.write(whole) != len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if begun is not None:
                self._begun.add(begun)
                os.fsync(file.fileno())
        if made:
            _sync_folder(self.path.parent)

    def _is_headed(self, file: FileIO) -> bool:
        """Tell whether there is a header: the first line, torn ones aside.

        Raises:
            JournalError: Something else stands there, or another account's header: the file was put there since.

        """
        file.seek(0)
        while (line := file.readline(_LONGEST_HEADER)).endswith(_TORN + b"\n") or line == b"\n":
            pass
        if line.endswith(b"\n"):
            self._check(read_line(line))
            return True
        if not _may_be_torn_header(line):
            raise self._unusable("it is no ledger")
        return False

    def _open(self) -> FileIO:
        flags = os.O_RDWR | os.O_APPEND
        try:
            descriptor = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return FileIO(os.open(self.path, flags), "r+")
        os.fchmod(descriptor, 0o600)  # the umask may have taken more away
        return FileIO(descriptor, "r+")

    @property
    def _name(self) -> str:
        return repr(str(self.path))

    def _unusable(self, reason: str) -> JournalError:
        return JournalError(
            f"the ledger {self._name} can't be used: {reason}; nothing was sent and nothing changed, give another path"
        )

    def _unwritable(self, consequence: str, error: OSError) -> JournalError:
        return JournalError(
            f"the ledger {self._name} can't be written ({error.strerror}): {consequence};"
            " make room for it or give another path"
        )


def _is_whole(file: FileIO) -> bool:
    """Tell whether the last line has its end."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _may_be_torn_header(line: bytes) -> bool:
    return _HEAD.startswith(line) or line.startswith(_HEAD)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
