"""Clients with a ledger, for the commands that spend or look into what was spent."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import click
from attrs import frozen

from smspva_async import JournalError, OutcomeUnknown
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._output import UntoldError, say_aside
from smspva_async.cli._words import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from types import FrameType

    from smspva_async import SmspvaClient

__all__ = ["Books", "short_id", "with_books"]

R = TypeVar("R")

_ID = 8


@frozen
class Books:
    """An account and its ledger."""

    account: Account
    ledger: Path

    def reader(self) -> SmspvaClient:
        """Return a client that isn't entered: it reads what the ledger has now, and asks the server nothing."""
        return self.account.client(ledger=self.ledger)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[SmspvaClient]:
        """Open a client with the ledger.

        Raises:
            OutcomeUnknown: Ctrl-C left a call without an outcome.
            UntoldError: The command did its work, and the ledger can't be written on closing.

        """
        has_begun, failure = False, None
        with _warnings_told(), _ctrl_c_once():
            try:
                async with self.reader() as client:
                    has_begun = True
                    try:
                        with _interrupted_calls(client):
                            yield client
                    except BaseException as error:
                        failure = error
                        raise
            except JournalError as error:
                if not has_begun:
                    raise
                told = f"what was printed isn't in the ledger: {error}; smspva unsettled lists what stays open"
                if failure is None:
                    raise UntoldError(told) from None
                if not isinstance(failure, JournalError):
                    say_aside(f"smspva: {clean(told)}")
                raise failure from failure.__cause__


def with_books(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options that name an account and its ledger, and both as its first argument."""

    @click.option(
        "--ledger",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="PATH",
        help="The file that records purchases; by default in the user's state folder.",
    )
    @with_account
    @wraps(command)
    def of_account(account: Account, *args: Any, ledger: Path | None, **options: Any) -> R:  # noqa: ANN401 - click's
        return command(Books(account, _reachable(ledger or account.ledger())), *args, **options)

    return of_account


def _reachable(ledger: Path) -> Path:
    """Return the ledger's path, or raise before any request if a ledger can't be kept there."""
    if os.access(ledger, os.F_OK):
        is_reachable = os.access(ledger, os.R_OK | os.W_OK)
    else:
        is_reachable = os.access(ledger.parent, os.W_OK | os.X_OK)
    if not is_reachable:
        raise click.UsageError(f"no ledger can be kept at {ledger}: nothing was sent, give another path with --ledger")
    return ledger


def short_id(error: OutcomeUnknown) -> str:
    """Return the part of a call's id that people are shown."""
    return error.call[:_ID]


@contextmanager
def _interrupted_calls(client: SmspvaClient) -> Generator[None]:
    """Raise `OutcomeUnknown` where Ctrl-C leaves a call without an outcome."""
    before = {error.call for error in client.unsettled}
    try:
        yield
    except anyio.get_cancelled_exc_class():
        for error in client.unsettled:
            if error.call not in before:
                raise error from None
        raise


class _Warnings(logging.Handler):
    """Prints the library's warnings on standard error, such as a row that can't be read."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning, except those of what a command prints itself: its own errors and unreadable rows."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        is_error = any(isinstance(argument, OutcomeUnknown | JournalError) for argument in arguments)
        if not is_error and "Rows.skipped" not in record.msg:
            say_aside(f"smspva: {clean(record.getMessage())}")


@contextmanager
def _warnings_told() -> Generator[None]:
    log, handler = logging.getLogger("smspva_async"), _Warnings(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def _ctrl_c_once() -> Generator[None]:
    """Ignore Ctrl-C after the first, so that the command can still print what was sent."""
    before = signal.getsignal(signal.SIGINT)
    to_call = [before]

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        handler = to_call.pop() if to_call else None  # another may have come before they were ignored
        if callable(handler):
            handler(number, frame)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is first:
            signal.signal(signal.SIGINT, before)
