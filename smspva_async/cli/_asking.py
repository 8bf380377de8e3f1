"""Asking before money is spent or something is destroyed."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["ask", "yes_option"]

F = TypeVar("F", bound="Callable[..., object]")


def yes_option(command: F) -> F:
    """Give a command the option that answers in advance."""
    return click.option("--yes", is_flag=True, help="Do it without asking.")(command)


def ask(deed: str, *facts: str, yes: bool) -> None:
    """Show on standard error what is about to be done, and return if it may be.

    Raises:
        click.UsageError: It can't be shown, or there is nobody to ask.
        click.Abort: The answer is no.

    """
    try:
        click.echo("\n  ".join([deed, *facts]), err=True)
    except OSError as error:
        raise click.UsageError(f"nothing was sent: it can't be shown what would be done ({error.strerror})") from None
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("nothing was sent: there is no terminal to ask at, and without that it takes --yes")
    try:
        with _ctrl_c_at_once():
            agreed = click.confirm("Go on?", err=True)
    except click.Abort:
        click.echo(err=True)  # the question's line has no end yet
        agreed = False
    if not agreed:
        click.echo("Nothing was sent.", err=True)
        raise click.Abort


@contextmanager
def _ctrl_c_at_once() -> Generator[None]:
    """Have Ctrl-C end what waits for a person: asyncio's own handling takes effect after that only."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
