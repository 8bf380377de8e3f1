"""The command line's entry point: its setup, exit codes and error messages."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import click

from smspva_async.cli import _formatting as fmt
from smspva_async.cli._commands import smspva
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType


def main() -> NoReturn:
    """Run the command line and exit."""
    _replace_closed_streams()
    _correct_terminal_variables()
    # Keep Python from printing the library's warnings: commands print them as events.
    logging.getLogger("smspva_async").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a message may contain characters that the output can't encode
            stream.reconfigure(errors="backslashreplace")
    with _sigterm_as_ctrl_c() as terminated:
        code = _run()
    sys.exit(128 + signal.SIGTERM if terminated and code == 128 + signal.SIGINT else code)


def _run() -> int:
    """Run the command line and return its exit code. Print an error as one line."""
    try:
        code: object = smspva.main(prog_name="smspva", standalone_mode=False)
        with suppress(BrokenPipeError):  # a command handles a closed pipe itself
            sys.stdout.flush()
    except click.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        message, failure = error.format_message(), error.exit_code
        if isinstance(error, click.MissingParameter) and error.ctx is not None:
            message = f"{message.rstrip('.')}; see {error.ctx.command_path} --help"
    except SystemExit:  # rich and click exit by themselves when the reader closed the pipe
        return 0
    except Exception as error:
        if isinstance(error, OSError) and isinstance(error.__context__, KeyboardInterrupt):
            return 128 + signal.SIGINT  # click can't write the newline after Ctrl-C
        if isinstance(error, BrokenPipeError):
            return 0
        # Imported here, because help texts don't need the library.
        from smspva_async.cli._failures import describe_failure  # noqa: PLC0415

        described = describe_failure(error)
        if described is None:
            raise
        message, failure = described
    else:
        return code if isinstance(code, int) else 0
    print_stderr(f"smspva: {fmt.clean(message)}")
    return failure


def _replace_closed_streams() -> None:
    """Replace closed standard streams, so that no connection or file gets their descriptors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            devnull = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(devnull, mode, closefd=False))  # noqa: SIM115 - stays open


def _correct_terminal_variables() -> None:
    """Remove a width or height of 0, which makes rich print nothing, and treat a terminal without a type as dumb."""
    for name in ("COLUMNS", "LINES"):
        if not os.environ.get(name, "").lstrip("0"):
            os.environ.pop(name, None)
    if sys.platform != "win32" and not os.environ.get("TERM"):
        os.environ["TERM"] = "dumb"


@contextmanager
def _sigterm_as_ctrl_c() -> Generator[list[bool]]:
    """Make SIGTERM end a command as cleanly as Ctrl-C. The yielded list isn't empty once SIGTERM arrived."""
    terminated: list[bool] = []

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and not terminated:
            # Ctrl-C came first, and the command takes too long to end. The ledger has each call that was sent.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        terminated.append(True)
        signal.raise_signal(signal.SIGINT)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's shell ignores it for programs started with `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)
