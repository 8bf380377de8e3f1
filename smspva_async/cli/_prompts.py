"""Confirmation before a command spends money or deletes something."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from smspva_async.cli._stderr import fit_stderr, print_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

F = TypeVar("F", bound="Callable[..., object]")


def yes_option(command: F) -> F:
    """Add the option ``--yes`` to a command."""
    return click.option("--yes", is_flag=True, help="Don't ask for confirmation.")(command)


def confirm(action: str, *details: str, yes: bool) -> None:
    """Show an action on standard error and, unless `yes` is set, ask for confirmation.

    Raises:
        click.UsageError: The action can't be shown, or there is no terminal to ask on.
        click.Abort: The answer is no.

    """
    try:
        click.echo(fit_stderr("\n  ".join([action, *details])), err=True)
    except OSError as error:
        raise click.UsageError(f"can't write to standard error ({error.strerror}); nothing was sent") from None
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("there is no terminal to ask on; nothing was sent; confirm with --yes")
    try:
        with _immediate_ctrl_c():
            agreed = click.confirm("Continue?", err=True)
    except click.Abort:
        print_stderr("")  # ends the line of the question
        agreed = False
    if not agreed:
        print_stderr("Nothing was sent.")
        raise click.Abort


@contextmanager
def _immediate_ctrl_c() -> Generator[None]:
    """Let Ctrl-C interrupt the question: asyncio's own handler takes effect only at the next await."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
