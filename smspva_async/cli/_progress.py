"""A progress line on standard error while a command waits."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

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
    began = monotonic()

    def line() -> Text:
        minutes, seconds = divmod(int(monotonic() - began), 60)
        return Text(f"{minutes:02}:{seconds:02}  {status()}", no_wrap=True, overflow="ellipsis")

    # Standard error is a terminal, even if FORCE_COLOR or TTY_COMPATIBLE say otherwise.
    console = Console(stderr=True, force_terminal=True, highlight=False)
    if console.is_dumb_terminal or not console.is_interactive:
        with _print_changes(status):
            yield
        return
    with Live(console=console, get_renderable=line, refresh_per_second=1, transient=True):
        yield


@contextmanager
def _print_changes(status: Callable[[], str]) -> Generator[None]:
    ended = Event()

    def print_changes() -> None:
        printed = ""
        while not ended.is_set():
            current = status()
            if current != printed:
                print_stderr(printed := current)
            ended.wait(1)

    thread = Thread(target=print_changes)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
