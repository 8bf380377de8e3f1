"""A line that shows what is waited for, and since when."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from smspva_async.cli._output import say_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["progress"]


@contextmanager
def progress(what: Callable[[], str]) -> Generator[None]:
    """Show on standard error, while inside and if it is a terminal, what is waited for and how long already.

    A terminal that can't draw over a line gets one whenever it changes, without the time.

    Args:
        what: Returns it; asked by another thread each second.

    """
    if not sys.stderr.isatty():
        yield
        return
    began = monotonic()

    def line() -> Text:
        minutes, seconds = divmod(int(monotonic() - began), 60)
        return Text(f"{minutes:02}:{seconds:02}  {what()}", no_wrap=True, overflow="ellipsis")

    # It is a terminal, even if FORCE_COLOR or TTY_COMPATIBLE say otherwise.
    console = Console(stderr=True, force_terminal=True, highlight=False)
    if console.is_dumb_terminal or not console.is_interactive:
        with _changes(what):
            yield
        return
    with Live(console=console, get_renderable=line, refresh_per_second=1, transient=True):
        yield


@contextmanager
def _changes(what: Callable[[], str]) -> Generator[None]:
    ended = Event()

    def tell() -> None:
        told = ""
        while not ended.is_set():
            now = what()
            if now != told:
                say_aside(told := now)
            ended.wait(1)

    thread = Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
