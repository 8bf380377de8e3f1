"""What the tests of the command line share: terminals in memory, and time that doesn't pass."""

from __future__ import annotations

import asyncio
import io
import re
from typing import TYPE_CHECKING, Any

from rich.console import Console

from smspva_async.simulator import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

ESCAPE = re.compile(r"\x1b\[[\d;]*m")
RICH_READS_TTY_INTERACTIVE = not Console(force_terminal=True, _environ={"TTY_INTERACTIVE": "0"}).is_interactive
"""False for releases of rich before that variable."""


def console(width: int | None = None) -> Console:
    """Return what prints into memory: a terminal if it has a width, otherwise a file."""
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
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def plain(lines: list[str]) -> list[str]:
    return [ESCAPE.sub("", line) for line in lines]


def in_virtual_time(main: Coroutine[Any, Any, None]) -> float:
    """Run a coroutine and return the seconds that it takes by the loop's clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)
        return runner.get_loop().time()


def columns(line: str) -> list[str]:
    """Return what stands in the columns of a line."""
    return re.split(r" {2,}", line.strip())
