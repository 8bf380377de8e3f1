"""Output: text that fits the terminal for people, one JSON object per line for programs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import click
from rich.console import Console
from rich.text import Text

from smspva_async import Rows, to_dict
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._exit_codes import UNKNOWN
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence

    from rich.table import Table


R = TypeVar("R")
T = TypeVar("T")

_UNLIMITED_WIDTH = 100_000  # cells


class OutputError(click.ClickException):
    """The result of a command couldn't be written to standard output or to the ledger."""

    exit_code = UNKNOWN


class Output(Console):
    """Standard output: in color on a terminal unless ``NO_COLOR`` is set; outside a terminal, text is never cut."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        has_color = terminal and not os.environ.get("NO_COLOR")
        super().__init__(
            force_terminal=terminal,
            color_system="auto" if has_color else None,
            highlight=False,
            # The text may be untrusted.
            markup=False,
            emoji=False,
            width=None if terminal else _UNLIMITED_WIDTH,
        )
        # The environment variable TTY_INTERACTIVE may turn `is_interactive` off, or on for a dumb terminal.
        self.can_redraw = terminal and self.is_interactive and not self.is_dumb_terminal and not self.legacy_windows
        """True on a terminal that can draw over its last lines."""


class Printer:
    """Prints the results of a command.

    rich flushes after each print, so a failure to write is raised at once and not when Python exits.

    Args:
        as_json: Print JSON for programs, and leave out any other text.

    """

    def __init__(self, *, as_json: bool) -> None:
        self.output = Output()
        self.as_json = as_json

    def print_text(self, text: str | Text, *, style: str = "") -> None:
        """Print text for people."""
        if not self.as_json:
            self.output.print(text, style=style or None, soft_wrap=not self.output.is_terminal)

    def print_hint(self, text: str) -> None:
        """Print text that is useful on a terminal only."""
        if self.output.is_terminal:
            self.print_text(text, style="dim")

    def print_json(self, fields: Mapping[str, object]) -> None:
        """Print a line of JSON."""
        # In ASCII, so that the JSON is the same in every encoding.
        self.output.out(json.dumps(fields), highlight=False)

    def print_result(self, fields: Mapping[str, object], text: str) -> None:
        """Print a result: its fields for programs, a sentence for people."""
        if self.as_json:
            self.print_json(fields)
        else:
            self.print_text(text)

    def print_done(self, *results: tuple[Mapping[str, object], str]) -> None:
        """Print the results of calls that won't be repeated; on standard error if standard output can't be written.

        Raises:
            OutputError: Standard output can't be written, and not because its reader closed the pipe.

        """
        for number, (fields, text) in enumerate(results):
            try:
                self.print_result(fields, text)
            except (OSError, ValueError, SystemExit) as error:
                print_stderr("\n".join(text for _, text in results[number:]))
                if isinstance(error, (BrokenPipeError, SystemExit)):  # the reader closed the pipe
                    raise
                reason = getattr(error, "strerror", None) or error
                raise OutputError(
                    f"the call was done, but its result can't be written to standard output: {reason}"
                ) from None

    def print_rows(self, rows: Sequence[T], make_table: Callable[[Iterable[T]], Table], *, empty: str) -> None:
        """Print rows, and warn on standard error of rows that couldn't be read."""
        if self.as_json:
            for row in rows:
                self.print_json(to_dict(row))
        elif rows:
            self.print_table(make_table(rows))
        else:
            self.print_text(empty)
        if isinstance(rows, Rows):
            warn_of_skipped_rows(rows)

    def print_table(self, table: Table) -> None:
        """Print a table without spaces at the ends of its lines."""
        for line in table_lines(self.output, table):
            self.output.print(line, soft_wrap=True)


def table_lines(console: Console, table: Table) -> list[Text]:
    """Return the lines of a table without spaces at their ends."""
    lines: list[Text] = []
    for segments in console.render_lines(table, pad=False):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        lines.append(line)
    return lines


@contextmanager
def explain_ctrl_c(note: Callable[[], str]) -> Generator[None]:
    """If Ctrl-C ends the command while inside, print a line on standard error: what goes on at the provider."""
    try:
        yield
    except anyio.get_cancelled_exc_class():
        # On a terminal, ^C may stand at the start of the line.
        print_stderr(("\n" if sys.stderr.isatty() else "") + note())
        raise click.Abort from None


def warn_of_skipped_rows(rows: Rows[Any]) -> None:
    """Warn on standard error of rows of an answer that couldn't be read."""
    for skipped in rows.skipped:
        print_stderr(f"smspva: skipped a row of the answer that can't be read: {fmt.shorten(skipped.reason)}")


def with_printer(command: Callable[..., Awaitable[R]]) -> Callable[..., R]:
    """Make a coroutine function a command with the option ``--json``. Its first argument is a `Printer`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
    @wraps(command)
    def run_with_printer(*args: Any, as_json: bool, **options: Any) -> R:  # noqa: ANN401 - click's
        return anyio.run(partial(command, Printer(as_json=as_json), *args, **options))

    return run_with_printer
