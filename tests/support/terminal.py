"""Consoles in memory, and the parts of their lines."""

from __future__ import annotations

import io
import re

from rich.console import Console

ESCAPE = re.compile(r"\x1b\[[\d;]*m")
RICH_READS_TTY_INTERACTIVE = not Console(force_terminal=True, _environ={"TTY_INTERACTIVE": "0"}).is_interactive
"""False for versions of rich that don't read the variable."""


def console(width: int | None = None) -> Console:
    """Return a console that prints to memory: a terminal if a width is given, otherwise a file."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=width is not None,
        color_system=None if width is None else "standard",
        highlight=False,
        legacy_windows=False,
        _environ={},
    )


def printed(console: Console) -> list[str]:
    """Return the lines that were printed to a console in memory."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def plain(lines: list[str]) -> list[str]:
    """Return lines without escape sequences."""
    return [ESCAPE.sub("", line) for line in lines]


def columns(line: str) -> list[str]:
    """Return the columns of a line."""
    return re.split(r" {2,}", line.strip())
