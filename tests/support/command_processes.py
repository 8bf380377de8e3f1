"""Commands in their own processes, with pipes or a terminal."""

from __future__ import annotations

import json
import os
import pty
import selectors
import signal
import termios
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import pyte
import pytest
from attrs import frozen

from tests.support import PATIENCE
from tests.support.forked import fork_server

if TYPE_CHECKING:
    from collections.abc import Callable

HEIGHT = 24
CLOSED_PIPE = "closed pipe"
"""An output whose reader has closed the pipe, as `head` does."""
needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@frozen
class Result:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of the output, read as JSON."""
        return [json.loads(line) for line in self.lines]


class Process:
    """A command in its own process.

    Every wait fails if the process has ended, or after `PATIENCE` seconds.
    """

    def __init__(
        self, arguments: list[str], environment: dict[str, str], streams: list[int], *, ignored: tuple[int, ...] = ()
    ) -> None:
        self.pid, self._status = fork_server().fork(arguments, environment, streams, ignored=ignored)
        self._selector = selectors.DefaultSelector()
        self._received: dict[int, bytearray] = {}
        self._listen(self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.has_ended:
            self.send_signal(signal.SIGKILL)
        for key in list(self._selector.get_map().values()):
            self._stop_listening(key.fd)
        self._selector.close()

    @property
    def has_ended(self) -> bool:
        return self._status not in self._selector.get_map()

    def send_signal(self, number: int) -> None:
        assert not self.has_ended
        with suppress(ProcessLookupError):  # just ended
            os.kill(self.pid, number)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for an effect of the process outside of it."""
        self._receive_until(lambda: bool(condition()), poll=0.01)

    def exit_code(self) -> int:
        """Wait for the end and return the exit code, which is negative after a signal."""
        self._receive_until(lambda: len(self._selector.get_map()) == 0)
        return int(self._received[self._status])

    def _listen(self, descriptor: int) -> None:
        self._received[descriptor] = bytearray()
        self._selector.register(descriptor, selectors.EVENT_READ)

    def _stop_listening(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _receive_until(self, condition: Callable[[], bool], *, poll: float | None = None) -> None:
        """Receive output until a condition holds."""
        deadline = monotonic() + PATIENCE
        while not condition():
            assert self._selector.get_map(), f"the command has ended: {self._output_so_far()}"
            assert monotonic() < deadline, f"the command takes too long: {self._output_so_far()}"
            for key, _ in self._selector.select(poll or PATIENCE):
                data = b""
                with suppress(OSError):  # a terminal whose process has ended
                    data = os.read(key.fd, 65_536)
                self._received[key.fd] += data
                if data:
                    self._on_data(key.fd, data)
                else:
                    self._stop_listening(key.fd)

    def _on_data(self, descriptor: int, data: bytes) -> None:
        """Handle received data."""

    def _output_so_far(self) -> list[str]:
        return [received.decode(errors="replace") for received in self._received.values()]


class Piped(Process):
    """A command whose output goes to pipes, or to a given path."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        stdout: str | None = None,
        stderr: str | None = None,
        ignored: tuple[int, ...] = (),
    ) -> None:
        with ExitStack() as stack:
            streams = [os.open(os.devnull, os.O_RDONLY)]
            pipes: list[int | None] = []
            for path in (stdout, stderr):
                reader, writer = _open_output(path)
                pipes.append(reader)
                streams.append(writer)
            for stream in streams:
                stack.callback(os.close, stream)
            super().__init__(arguments, environment, streams, ignored=ignored)
        self._out, self._err = pipes
        for pipe in pipes:
            if pipe is not None:
                self._listen(pipe)

    def line(self) -> str:
        """Wait for the next line of output and return it."""
        assert self._out is not None
        received = self._received[self._out]
        self._receive_until(lambda: b"\n" in received)
        line, _, rest = bytes(received).partition(b"\n")
        received[:] = rest
        return line.decode()

    def result(self) -> Result:
        """Wait for the end, and return the exit code and the remaining output."""
        code = self.exit_code()
        return Result(code, *("" if pipe is None else self._received[pipe].decode() for pipe in (self._out, self._err)))


def _open_output(path: str | None) -> tuple[int | None, int]:
    """Return the reading end of an output, if the test reads it, and the end for the command."""
    if path is not None and path != CLOSED_PIPE:
        return None, os.open(path, os.O_WRONLY)
    reader, writer = os.pipe()
    if path == CLOSED_PIPE:
        os.close(reader)
        return None, writer
    return reader, writer


class Terminal(Process):
    """A command on a terminal, with its screen."""

    def __init__(self, arguments: list[str], environment: dict[str, str], width: int) -> None:
        self._screen = pyte.HistoryScreen(width, HEIGHT, history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (HEIGHT, width))
        try:
            super().__init__(arguments, environment, [slave] * 3)
        finally:
            os.close(slave)
        self._listen(self._master)

    def _on_data(self, descriptor: int, data: bytes) -> None:
        if descriptor == self._master:
            self._stream.feed(data)

    @property
    def raw(self) -> str:
        """The whole output, with escape sequences."""
        return self._received[self._master].decode()

    @property
    def screen(self) -> list[str]:
        """The lines now on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    def wait_for(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Wait until the screen meets a condition, and return it. A live table is on it wholly or not yet."""

        def is_met() -> bool:
            # While a table is drawn, lines don't wrap.
            is_whole = self.raw.count("\x1b[?7l") == self.raw.count("\x1b[?7h")
            return is_whole and bool(condition(self.screen))

        self._receive_until(is_met)
        return self.screen

    def wait_for_question(self) -> None:
        """Wait until the command reads the answer to its question."""
        self._receive_until(lambda: self.raw.endswith("Continue? [y/N]: "))
        stat = Path(f"/proc/{self.pid}/stat")
        if stat.exists():  # Ctrl-C just before the read wouldn't interrupt it
            self.wait_until(lambda: stat.read_text().rpartition(") ")[2].startswith("S"))

    def type(self, keys: str) -> None:
        """Press keys: `\\n` is Enter, `\\x03` Ctrl-C and `\\x04` Ctrl-D."""
        os.write(self._master, keys.encode())

    @property
    def scrollback(self) -> list[str]:
        """The lines that have scrolled off the screen."""
        return [
            "".join(line[x].data for x in range(max(line, default=-1) + 1)).rstrip()
            for line in self._screen.history.top
        ]

    @property
    def suspend_key(self) -> bytes:
        """The key that suspends a program, usually Ctrl-Z; it isn't one that can be typed if there is none."""
        key = termios.tcgetattr(self._master)[6][termios.VSUSP]
        assert isinstance(key, bytes)
        return key

    @property
    def bells(self) -> int:
        """The number of times that the bell rang."""
        return self.raw.count("\a")

    def resize(self, width: int, *, rewraps: bool = False) -> None:
        """Change the width of the window.

        Args:
            width: The number of columns.
            rewraps: Wrap lines that are too long, as tmux does, and move the cursor with them. Otherwise cut them off.

        """
        rows, above = [line.rstrip() for line in self._screen.display], self._screen.cursor.y
        termios.tcsetwinsize(self._master, (HEIGHT, width))
        self._screen.resize(HEIGHT, width)
        if not rewraps:
            return
        wrapped = [[row[at : at + width] for at in range(0, max(len(row), 1), width)] for row in rows]
        self._screen.erase_in_display(2)
        self._screen.cursor_position()
        for number, line in enumerate(line for row in wrapped for line in row):
            if number:
                self._screen.linefeed()
                self._screen.carriage_return()
            self._screen.draw(line)
        hidden = max(sum(map(len, wrapped)) - HEIGHT, 0)
        self._screen.cursor_position(max(sum(map(len, wrapped[:above])) - hidden, 0) + 1, 1)
