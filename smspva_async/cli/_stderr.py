"""Text on standard error. On a terminal, lines break between words only; elsewhere they don't break."""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import suppress

import click

_USUAL_WIDTH = 80


def print_stderr(text: str) -> None:
    """Print text on standard error. A failure to write is ignored: the exit code still reports the result."""
    with suppress(OSError):
        click.echo(fit_stderr(text), err=True)


def fit_stderr(text: str) -> str:
    """Return text with the line breaks that a terminal needs. A word that is wider than the terminal stays whole."""
    if not sys.stderr.isatty():
        return text
    width = os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_WIDTH
    return "\n".join(_fit(line, width) for line in text.split("\n"))


def _fit(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
