"""Standard output: for people as text that fits their terminal, for programs as one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from smspva_async import to_dict
from smspva_async.cli._words import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.table import Table

    from smspva_async import Rows

__all__ = ["Output", "Printer", "UntoldError", "printing", "say_aside", "tell_of_skipped"]

R = TypeVar("R")
T = TypeVar("T")

_WIDE = 100_000  # cells, for output that is never cut off


class UntoldError(click.ClickException):
    """Something was done or found that couldn't be written to standard output."""

    exit_code = 3


class Output(Console):
    """Standard output: in colour on a terminal unless ``NO_COLOR`` is set, otherwise plain text, never cut off."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self.is_colourful = terminal and not os.environ.get("NO_COLOR")
        super().__init__(
            force_terminal=terminal,
            color_system="auto" if self.is_colourful else None,
            highlight=False,
            # The text may come from others.
            markup=False,
            emoji=False,
            width=None if terminal else _WIDE,
        )
        # The environment variable TTY_INTERACTIVE may turn it off, and on for a terminal that can't draw.
        self.is_lively = self.is_colourful and self.is_interactive and not self.is_dumb_terminal
        """True on a terminal that can draw a picture over the one before."""


class Printer:
    """Prints what a command found out or did.

    Each print is flushed, by rich, so that a failure to write is raised at once and not when Python exits.

    Args:
        as_json: For programs: what isn't JSON is left out.

    """

    def __init__(self, *, as_json: bool) -> None:
        self.output = Output()
        self.as_json = as_json

    def say(self, text: str | Text, *, style: str = "") -> None:
        """Print a sentence for people."""
        if not self.as_json:
            self.output.print(text, style=style or None, soft_wrap=not self.output.is_terminal)

    def hint(self, text: str) -> None:
        """Print what helps a person, and is of no use in a file."""
        if self.output.is_terminal:
            self.say(text, style="dim")

    def json_line(self, fields: Mapping[str, object]) -> None:
        """Print a line of JSON."""
        # In ASCII, so that the JSON is the same in every encoding.
        self.output.out(json.dumps(fields), highlight=False)

    def tell(self, fields: Mapping[str, object], text: str) -> None:
        """Print what was done: fields for programs, a sentence for people."""
        if self.as_json:
            self.json_line(fields)
        else:
            self.say(text)

    def tell_done(self, *deeds: tuple[Mapping[str, object], str]) -> None:
        """Tell what was done: on standard error where standard output doesn't take it, as it won't be done again.

        Raises:
            UntoldError: Standard output doesn't take it, and not because its reader has read enough.

        """
        for number, (fields, told) in enumerate(deeds):
            try:
                self.tell(fields, told)
            except (OSError, ValueError, SystemExit) as error:
                say_aside("\n".join(told for _, told in deeds[number:]))
                if isinstance(error, (BrokenPipeError, SystemExit)):  # the reader closed the pipe
                    raise
                reason = getattr(error, "strerror", None) or error
                raise UntoldError(f"that was done, and can't be written to standard output: {reason}") from None

    def rows(self, rows: Rows[T], table: Callable[[Iterable[T]], Table], none: str) -> None:
        """Print the rows of an answer, and on standard error how many couldn't be read."""
        if self.as_json:
            for row in rows:
                self.json_line(to_dict(row))
        elif rows:
            self.table(table(rows))
        else:
            self.say(none)
        tell_of_skipped(rows)

    def table(self, table: Table) -> None:
        """Print a table without blanks at the ends of its lines."""
        for segments in self.output.render_lines(table, pad=False):
            line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
            line.rstrip()
            self.output.print(line, soft_wrap=True)


def say_aside(text: str) -> None:
    """Print a text on standard error; where that isn't possible either, the exit code still tells that it was done."""
    with suppress(OSError):
        click.echo(text, err=True)


def tell_of_skipped(rows: Rows[Any]) -> None:
    """Say on standard error what couldn't be read of an answer."""
    for skipped in rows.skipped:
        click.echo(f"smspva: a row of the answer can't be read and is left out: {short(skipped.reason)}", err=True)


def printing(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the option ``--json`` and, as its first argument, what prints accordingly."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
    @wraps(command)
    def with_printer(*args: Any, as_json: bool, **options: Any) -> R:  # noqa: ANN401 - click's
        return command(Printer(as_json=as_json), *args, **options)

    return with_printer
