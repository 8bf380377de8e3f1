"""Commands as programs of their own: through pipes, and on a terminal."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import pexpect
import pyte
from anyio.from_thread import start_blocking_portal
from attrs import frozen

from tests.support.loopback import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from smspva_async.simulator import Simulator

KEY = "key-of-the-command-line"
HEIGHT = 24
PATIENCE = 15  # seconds, for a machine that is busy


@frozen
class Done:
    """A program that has ended."""

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


class Terminal:
    """A program on a terminal, whose screen can be read."""

    def __init__(self, command: list[str], environment: dict[str, str], width: int) -> None:
        self._screen = pyte.Screen(width, HEIGHT)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        self.child = pexpect.spawn(
            command[0],
            command[1:],
            env=environment,
            dimensions=(HEIGHT, width),
            encoding="utf-8",
            timeout=PATIENCE,
        )
        self.child.logfile_read = self

    def write(self, text: str) -> None:
        """Take what the program prints."""
        self.raw += text
        self._stream.feed(text)

    def flush(self) -> None:
        pass

    @property
    def screen(self) -> list[str]:
        """The lines that stand on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    def wait_for(self, is_there: Callable[[list[str]], object]) -> list[str]:
        """Wait until the screen is as it should be, and return it."""
        until = monotonic() + 3 * PATIENCE  # a live table goes on drawing for ever
        while not is_there(self.screen):
            assert monotonic() < until, self.screen
            self.child.expect(r".+")
        return self.screen

    def resize(self, width: int) -> None:
        """Make the window wider or narrower."""
        self.child.setwinsize(HEIGHT, width)
        self._screen.resize(HEIGHT, width)

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus is not None, f"ended by signal {self.child.signalstatus}"
        return self.child.exitstatus


class Commands:
    """Runs commands against a simulator that is served on this machine."""

    def __init__(self, simulator: Simulator, url: str, folder: Path, portal: BlockingPortal) -> None:
        self.simulator = simulator
        self.url = url
        self.folder = folder
        self._portal = portal

    def on_server(self, deed: Callable[..., Any], *args: Any) -> Any:
        """Do something to the simulator where it runs."""
        return self._portal.call(deed, *args)

    def run(self, name: str, *arguments: str, **environment: str) -> Done:
        """Run a command without a terminal until it ends."""
        done = subprocess.run(  # noqa: S603
            self._command(name, *arguments),
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self._environment | environment,
            text=True,
            timeout=PATIENCE,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def shell(self, line: str, *, before: str = "true") -> Done:
        """Run a command whose arguments and redirections a shell reads, after another line of its own."""
        name, _, rest = line.partition(" ")
        done = subprocess.run(  # noqa: S602
            f"{before}; {shlex.join(self._command(name))} {rest}",
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self._environment,
            shell=True,
            text=True,
            timeout=PATIENCE,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a command whose output goes through a pipe."""
        return subprocess.Popen(  # noqa: S603
            self._command(name, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment | environment,
            text=True,
        )

    @contextmanager
    def terminal(self, name: str, *arguments: str, width: int = 120, **environment: str) -> Iterator[Terminal]:
        """Begin a command on a terminal."""
        shown = Terminal(self._command(name, *arguments), self._environment | environment, width)
        try:
            yield shown
        finally:
            shown.child.close(force=True)

    def _command(self, name: str, *arguments: str) -> list[str]:
        account = [] if name in ("demo", "simulate") else ["--base-url", self.url, "--gap", "0.01"]
        return [sys.executable, "-W", "error", "-m", "smspva_async", name, *account, *arguments]

    @property
    def _environment(self) -> dict[str, str]:
        # With its bytecode kept a command begins in half of the time.
        unwanted = {"NO_COLOR", "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"}
        outside = {name: value for name, value in os.environ.items() if name not in unwanted}
        return outside | {
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "SMSPVA_API_KEY": KEY,
            "TERM": "xterm-256color",
            "PYTHONIOENCODING": "utf-8",
        }


@contextmanager
def serving(simulator: Simulator, folder: Path) -> Iterator[Commands]:
    """Serve a simulator while inside, in another thread."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Served(simulator)) as server:
        yield Commands(simulator, server.url, folder, portal)
