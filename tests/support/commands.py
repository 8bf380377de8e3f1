"""Commands run in this process, in processes of their own, and on a terminal."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pty
import selectors
import shlex
import signal
import subprocess
import sys
import termios
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import pyte
import pytest
from anyio.from_thread import start_blocking_portal
from attrs import frozen

from smspva_async.__main__ import main
from tests.support import PATIENCE
from tests.support.forked import fork_server, standard_streams
from tests.support.loopback import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anyio.from_thread import BlockingPortal

    from smspva_async.simulator import Simulator

KEY = "key-of-the-command-line"
HEIGHT = 24
CLOSED_PIPE = "a pipe that nobody reads"
"""For `start`: standard output as after `head` has ended."""
_pbkdf2_hmac = cache(hashlib.pbkdf2_hmac)  # slow on purpose, and each command names its ledger with it


@frozen
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its output as JSON."""
        return [json.loads(line) for line in self.lines]


class Process:
    """A command in a process of its own.

    Every wait is bounded: it fails when the process has ended, or after `PATIENCE` seconds.
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
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for something outside of the process, which it has to bring about."""
        self._receive_until(lambda: bool(condition()), poll=0.01)

    def exit_code(self) -> int:
        """Wait for the end and return the exit code; it is negative for a signal."""
        self._receive_until(lambda: len(self._selector.get_map()) == 0)
        return int(self._received[self._status])

    def _listen(self, descriptor: int) -> None:
        self._received[descriptor] = bytearray()
        self._selector.register(descriptor, selectors.EVENT_READ)

    def _stop_listening(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _receive_until(self, condition: Callable[[], bool], *, poll: float | None = None) -> None:
        """Take what the process writes until a condition holds."""
        deadline = monotonic() + PATIENCE
        while not condition():
            assert self._selector.get_map(), f"the command has ended: {self._so_far()}"
            assert monotonic() < deadline, f"it takes too long: {self._so_far()}"
            for key, _ in self._selector.select(poll or PATIENCE):
                data = b""
                with suppress(OSError):  # of a terminal whose process has ended
                    data = os.read(key.fd, 65_536)
                self._received[key.fd] += data
                if data:
                    self._take(key.fd, data)
                else:
                    self._stop_listening(key.fd)

    def _take(self, descriptor: int, data: bytes) -> None:
        """Take what was just received."""

    def _so_far(self) -> list[str]:
        return [received.decode(errors="replace") for received in self._received.values()]


class Piped(Process):
    """A process whose output goes through pipes, or where a test says."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        stdout: str | None = None,
        stderr: str | None = None,
        ignored: tuple[int, ...] = (),
    ) -> None:
        with ExitStack() as ours:
            streams = [os.open(os.devnull, os.O_RDONLY)]
            pipes: list[int | None] = []
            for path in (stdout, stderr):
                reader, writer = _output(path)
                pipes.append(reader)
                streams.append(writer)
            for stream in streams:
                ours.callback(os.close, stream)
            super().__init__(arguments, environment, streams, ignored=ignored)
        self._out, self._err = pipes
        for pipe in pipes:
            if pipe is not None:
                self._listen(pipe)

    def line(self) -> str:
        """Wait for the next line of its output and return it."""
        assert self._out is not None
        received = self._received[self._out]
        self._receive_until(lambda: b"\n" in received)
        line, _, rest = bytes(received).partition(b"\n")
        received[:] = rest
        return line.decode()

    def ended(self) -> Done:
        """Wait for the end and return the rest of what it wrote."""
        code = self.exit_code()
        return Done(code, *("" if pipe is None else self._received[pipe].decode() for pipe in (self._out, self._err)))


def _output(path: str | None) -> tuple[int | None, int]:
    """Return where a test reads an output, if it does, and where the command writes it."""
    if path is not None and path != CLOSED_PIPE:
        return None, os.open(path, os.O_WRONLY)
    reader, writer = os.pipe()
    if path == CLOSED_PIPE:
        os.close(reader)
        return None, writer
    return reader, writer


class Terminal(Process):
    """A process on a terminal, whose screen can be read."""

    def __init__(self, arguments: list[str], environment: dict[str, str], width: int) -> None:
        self._screen = pyte.Screen(width, HEIGHT)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (HEIGHT, width))
        try:
            super().__init__(arguments, environment, [slave] * 3)
        finally:
            os.close(slave)
        self._listen(self._master)

    def _take(self, descriptor: int, data: bytes) -> None:
        if descriptor == self._master:
            self._stream.feed(data)

    @property
    def raw(self) -> str:
        """Everything that was printed, with its escape sequences."""
        return self._received[self._master].decode()

    @property
    def screen(self) -> list[str]:
        """The lines on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    def wait_for(self, is_there: Callable[[list[str]], object]) -> list[str]:
        """Wait until the screen is as it should be, and return it."""
        self._receive_until(lambda: bool(is_there(self.screen)))
        return self.screen

    def wait_for_question(self) -> None:
        """Wait until the command waits for an answer."""
        self._receive_until(lambda: self.raw.endswith("Go on? [y/N]: "))
        stat = Path(f"/proc/{self.pid}/stat")
        if stat.exists():  # a Ctrl-C just before the read doesn't interrupt it
            self.wait_until(lambda: stat.read_text().rpartition(") ")[2].startswith("S"))

    def type(self, keys: str) -> None:
        """Press keys: `\\n` is Enter, `\\x03` Ctrl-C and `\\x04` Ctrl-D."""
        os.write(self._master, keys.encode())

    def resize(self, width: int) -> None:
        """Make the window wider or narrower."""
        termios.tcsetwinsize(self._master, (HEIGHT, width))
        self._screen.resize(HEIGHT, width)


class Commands:
    """Runs commands against a simulator that is served on this machine."""

    def __init__(self, simulator: Simulator, url: str, folder: Path, portal: BlockingPortal) -> None:
        self.simulator = simulator
        self.url = url
        self.folder = folder
        self._portal = portal

    @property
    def ledger(self) -> Path:
        """The file that records purchases, by default."""
        (ledger,) = (self.folder / "state" / "smspva").glob("*.sqlite")
        return ledger

    def on_server(self, deed: Callable[..., Any], *args: Any) -> Any:
        """Do something to the simulator where it runs."""
        return self._portal.call(deed, *args)

    def run(self, name: str, *arguments: str, **environment: str | None) -> Done:
        """Run a command in this process, without a terminal."""
        return run(*self._arguments(name, *arguments), **self._environment(environment))

    def start(
        self,
        name: str,
        *arguments: str,
        variables: Mapping[str, str | None] | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
        ignored: tuple[int, ...] = (),
    ) -> Piped:
        """Start a command in a process of its own, for signals, closed pipes and full disks."""
        return Piped(
            self._arguments(name, *arguments),
            self._environment(variables or {}),
            stdout=stdout,
            stderr=stderr,
            ignored=ignored,
        )

    def shell(self, line: str, *, before: str = "true") -> Done:
        """Run a command in a new interpreter, with redirections that a shell reads, after another line of the shell."""
        name, _, rest = line.partition(" ")
        command = [sys.executable, "-W", "error", "-m", "smspva_async", *self._arguments(name)]
        done = subprocess.run(  # noqa: S602
            f"{before}; {shlex.join(command)} {rest}",
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self._environment({}),
            shell=True,
            text=True,
            timeout=PATIENCE,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def terminal(
        self, name: str, *arguments: str, width: int = 120, variables: Mapping[str, str | None] | None = None
    ) -> Terminal:
        """Start a command on a terminal."""
        environment = self._environment({"TERM": "xterm-256color", **(variables or {})})
        return Terminal(self._arguments(name, *arguments), environment, width)

    def _arguments(self, name: str, *arguments: str) -> list[str]:
        account = [] if name in ("demo", "simulate") else ["--base-url", self.url, "--gap", "0.01"]
        return [name, *account, *arguments]

    def _environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        account = {
            "XDG_STATE_HOME": str(self.folder / "state"),
            "SMSPVA_API_KEY": KEY,
            "SSL_CERT_DIR": str(self.folder),
        }
        variables = {**minimal_environment(self.folder), **account, **changes}
        return {name: value for name, value in variables.items() if value is not None}


def minimal_environment(home: Path) -> dict[str, str]:
    """Return an environment built from scratch, so that no test depends on the variables of this machine."""
    # The tests compute local times with the time zone of this process.
    needed = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {"HOME": str(home), "LANG": "C.UTF-8", **needed}


def run(*arguments: str, **environment: str) -> Done:
    """Run the command line in this process, with these variables and no others."""
    log = logging.getLogger("smspva_async")
    handlers = log.handlers[:]
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open() as nothing:
        try:
            with (
                mock.patch.dict(os.environ, environment, clear=True),
                mock.patch.object(hashlib, "pbkdf2_hmac", _pbkdf2_hmac),
                _standard_streams(nothing.fileno(), out.fileno(), err.fileno()),
                mock.patch.object(sys, "argv", ["smspva", *arguments]),
                pytest.raises(SystemExit) as exited,
            ):
                main()
        finally:
            log.handlers[:] = handlers
            for number, handler in signals.items():
                signal.signal(number, handler)
        written: list[str] = []
        for file in (out, err):
            file.seek(0)
            written.append(file.read().decode())
    assert isinstance(exited.value.code, int)
    return Done(exited.value.code, *written)


@contextmanager
def _standard_streams(*descriptors: int) -> Iterator[None]:
    stdin, stdout, stderr = standard_streams(*descriptors)
    with mock.patch.multiple(sys, stdin=stdin, stdout=stdout, stderr=stderr):
        yield


@contextmanager
def serving(simulator: Simulator, folder: Path) -> Iterator[Commands]:
    """Serve a simulator while inside, in another thread."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Served(simulator)) as server:
        yield Commands(simulator, server.url, folder, portal)
