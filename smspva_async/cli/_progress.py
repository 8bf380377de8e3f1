"""A progress line on standard error while a command waits."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING

import anyio
from rich.console import Console
from rich.text import Text

from smspva_async._concurrency import BackgroundTask
from smspva_async.cli._live_region import LiveRegion
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


@asynccontextmanager
async def show_progress(status: Callable[[], str]) -> AsyncGenerator[None]:
    """Show the status and the elapsed time while inside, if standard error is a terminal.

    A terminal that can't draw over a line gets a new line for each change, without the time.
    """
    if not sys.stderr.isatty():
        yield
        return
    # Standard error is a terminal, even if FORCE_COLOR or TTY_COMPATIBLE say otherwise.
    console = Console(stderr=True, force_terminal=True, highlight=False)
    can_redraw = console.is_interactive and not console.is_dumb_terminal and not console.legacy_windows
    region = LiveRegion(console, at_bottom=False)
    began, printed = monotonic(), ""

    async def draw() -> None:
        nonlocal printed
        while True:
            current = status()
            if can_redraw:
                minutes, seconds = divmod(int(monotonic() - began), 60)
                region.draw([Text(f"{minutes:02}:{seconds:02}  {current}")])
            elif current != printed:
                print_stderr(printed := current)
            await anyio.sleep(1)

    drawing = BackgroundTask()
    with region.showing(transient=True) if can_redraw else nullcontext():
        await drawing.start(draw)
        try:
            yield
        finally:
            await drawing.stop()
