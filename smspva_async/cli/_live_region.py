"""Lines at the bottom of a terminal that are redrawn in place, while other output scrolls above them."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.text import Text

if sys.platform != "win32":
    import termios

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from rich.console import Console, ConsoleDimensions

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_ERASE_LINE, _ERASE_BELOW = "\x1b[2K", "\x1b[J"
_DOWN = "\x1b[B"
_CUT_OFF, _WRAP = "\x1b[?7l", "\x1b[?7h"


class LiveRegion:
    """Draws lines at the bottom of a terminal.

    Between two writes the cursor rests at the start of the first line. When a terminal is resized, it either wraps its
    lines again and moves the cursor with them, or leaves both alone; so the next write begins at the first line anyway.

    Args:
        console: The terminal.
        at_bottom: Move the lines to the last lines of the terminal. With empty lines below them, a terminal such as
            tmux can move the first of several lines out of reach when it wraps them again.

    """

    def __init__(self, console: Console, *, at_bottom: bool) -> None:
        self._console = console
        self._at_bottom = at_bottom
        self._drawn: list[str] = []
        self._size: ConsoleDimensions | None = None

    @property
    def width(self) -> int:
        """The width of a line. The last column stays free, because terminals differ in where the cursor is after it."""
        return max(self._console.width - 1, 1)

    @contextmanager
    def showing(self, *, transient: bool = False) -> Generator[None]:
        """Hide the cursor and what is typed while inside, and ignore Ctrl-Z.

        The lines stay afterwards unless they are transient.
        """
        with _undisturbed():
            try:
                yield
            finally:
                if transient:
                    self.draw([Text()])
                    self._drawn = []
                self._write("\n" * len(self._drawn) + _SHOW_CURSOR)

    def draw(self, lines: Sequence[Text], *, above: Iterable[Text] = ()) -> None:
        """Draw the lines, after printing other lines above them. Lines that don't fit the terminal are cut off."""
        size = self._console.size
        printed = [self._render(line) for line in above]
        shown: list[str] = []
        for line in lines[: max(size.height - 1, 1)]:
            line.truncate(self.width, overflow="ellipsis")
            shown.append(self._render(line))
        if not printed and (size, shown) == (self._size, self._drawn):
            return
        up = f"\x1b[{len(shown) - 1}A" if len(shown) > 1 else ""
        # Not erased from the first line on: at the top of the screen, tmux would move the old lines to its history.
        text = "".join(f"\r{_ERASE_LINE}{line}\n" for line in printed)
        if self._at_bottom and (size, len(shown)) != (self._size, len(self._drawn)):
            make_room = "\n" * (len(shown) - 1) + up
            text += make_room + f"{_ERASE_LINE}{_DOWN}" * size.height + up
        # The terminal may already be narrower than `size`; then lines that wrap would move the first one.
        text += _CUT_OFF + "\n".join(f"\r{_ERASE_LINE}{line}" for line in shown) + _ERASE_BELOW + _WRAP
        self._size, self._drawn = size, shown
        self._write(f"{_HIDE_CURSOR}{text}{up}\r")

    def _render(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, soft_wrap=True, end="")
        return captured.get()

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


@contextmanager
def _undisturbed() -> Generator[None]:
    """Don't show what is typed while inside, and ignore Ctrl-Z: both would move the cursor away from the lines."""
    if sys.platform == "win32" or not _is_in_foreground():
        yield
        return
    before = termios.tcgetattr(0)
    silent = termios.tcgetattr(0)
    silent[3] &= ~(termios.ECHO | termios.ECHONL)
    silent[6][termios.VSUSP] = bytes([os.fpathconf(0, "PC_VDISABLE")])
    termios.tcsetattr(0, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        if _is_in_foreground():  # it may have been stopped, and continued in the background
            with suppress(termios.error):  # the terminal was closed
                termios.tcsetattr(0, termios.TCSADRAIN, before)


def _is_in_foreground() -> bool:
    """Return whether this process reads from its terminal. Another one would be stopped if it changed the terminal."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # standard input isn't the terminal of this process
        return False
