"""A progress line on standard error while a command waits."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from smspva_async.cli._live_region import LiveRegion
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextmanager
def show_progress(status: Callable[[], str]) -> Generator[None]:
    """Show the status and the elapsed time while inside, if standard error is a terminal.

    A terminal that can't draw over a line gets a new line for each change, without the time.

    Args:
        status: Returns the status. Another thread calls it every second.

    """
    if not sys.stderr.isatty():
        yield
        return
    # Standard error is a terminal, even if FORCE_COLOR or TTY_COMPATIBLE say otherwise.
    console = Console(stderr=True, force_terminal=True, highlight=False)
    if console.is_dumb_terminal or not console.is_interactive or console.legacy_windows:
        printed = ""

        def print_changes() -> None:
            nonlocal printed
            current = status()
            if current != printed:
                print_stderr(printed := current)

        with _every_second(print_changes):
            yield
        return
    began = monotonic()
    region = LiveRegion(console, at_bottom=False)

    def draw() -> None:
        minutes, seconds = divmod(int(monotonic() - began), 60)
        region.draw([Text(f"{minutes:02}:{seconds:02}  {status()}")])

    with region.showing(transient=True), _every_second(draw):
        yield


@contextmanager
def _every_second(function: Callable[[], None]) -> Generator[None]:
    """Call a function in another thread while inside, at once and then every second."""
    ended = Event()

    def run() -> None:
        while not ended.is_set():
            function()
            ended.wait(1)

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
