"""A client with a ledger, for commands that spend money or check what was spent."""

from __future__ import annotations

import logging
import signal
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import anyio

from smspva_async import JournalError, OutcomeUnknown
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._output import OutputError, explain_ctrl_c
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import FrameType

    from smspva_async import SmspvaClient
    from smspva_async.cli._account import Account


@asynccontextmanager
async def open_ledger_client(account: Account) -> AsyncGenerator[SmspvaClient]:
    """Open a client with the account's ledger.

    Raises:
        OutputError: The command did its work, but the ledger couldn't be written on closing.

    """
    is_open, failure = False, None
    with _warnings_on_stderr(), _only_first_ctrl_c():
        try:
            async with account.client() as client:
                is_open = True
                try:
                    yield client
                except BaseException as error:
                    failure = error
                    raise
        except JournalError as error:
            if not is_open:
                raise
            message = f"the printed result isn't in the ledger: {error}; run smspva unsettled to check"
            if failure is None:
                raise OutputError(message) from None
            if not isinstance(failure, JournalError):
                print_stderr(f"smspva: {fmt.clean(message)}")
            raise failure from failure.__cause__


@asynccontextmanager
async def read_ledger(account: Account) -> AsyncGenerator[SmspvaClient]:
    """Yield a client whose ledger can be read. A ledger file is read without opening the client."""
    client = account.client()
    async with client if account.fleet is not None else nullcontext():
        yield client


@contextmanager
def report_interrupted_call(client: SmspvaClient) -> Generator[None]:
    """Raise `OutcomeUnknown` if Ctrl-C leaves a call without an outcome; otherwise say whether a call was done."""
    before, done = {error.call for error in client.unsettled}, _count_done(client)
    try:
        yield
    except anyio.get_cancelled_exc_class():
        for error in client.unsettled:
            if error.call not in before:
                raise error from None
        is_done = _count_done(client) > done
        note = "smspva purchases lists what was done." if is_done else "This command bought or deleted nothing."
        with explain_ctrl_c(lambda: note):
            raise


def _count_done(client: SmspvaClient) -> int:
    return sum(purchase.outcome == "done" for purchase in client.purchases())


class _WarningHandler(logging.Handler):
    """Prints the library's warnings on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning, unless the command itself prints it: errors that it raises, and unreadable rows."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        is_raised = any(isinstance(argument, OutcomeUnknown | JournalError) for argument in arguments)
        if not is_raised and "Rows.skipped" not in record.msg:
            print_stderr(f"smspva: {fmt.clean(record.getMessage())}")


@contextmanager
def _warnings_on_stderr() -> Generator[None]:
    log, handler = logging.getLogger("smspva_async"), _WarningHandler(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def _only_first_ctrl_c() -> Generator[None]:
    """Ignore Ctrl-C after the first, so that the command can still print what was sent."""
    before = signal.getsignal(signal.SIGINT)
    remaining = [before]

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        handler = remaining.pop() if remaining else None  # a second Ctrl-C may arrive before it is ignored
        if callable(handler):
            handler(number, frame)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is first:
            signal.signal(signal.SIGINT, before)
