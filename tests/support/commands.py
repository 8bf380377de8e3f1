"""Run commands against a served simulator: in this process, in their own processes, and on a terminal."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from anyio.from_thread import start_blocking_portal
from rich.cells import cell_len

from smspva_async import Retry, SmspvaClient
from smspva_async.__main__ import main
from tests.support import PATIENCE
from tests.support.command_processes import Piped, Result, Terminal
from tests.support.forked import standard_streams
from tests.support.loopback import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anyio.from_thread import BlockingPortal

    from smspva_async.simulator import Simulator

KEY = "key-of-the-command-line"
_pbkdf2_hmac = cache(hashlib.pbkdf2_hmac)  # slow by design; each command needs it for the name of its ledger


class Commands:
    """Runs commands against a simulator served on this machine."""

    def __init__(self, simulator: Simulator, url: str, folder: Path, portal: BlockingPortal) -> None:
        self.simulator = simulator
        self.url = url
        self.folder = folder
        self._portal = portal

    @property
    def ledger(self) -> Path:
        """The default ledger."""
        (ledger,) = (self.folder / "state" / "smspva").glob("*.sqlite")
        return ledger

    def on_server(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the simulator's thread."""
        return self._portal.call(function, *args)

    def run(self, name: str, *arguments: str, **environment: str | None) -> Result:
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
        """Start a command in its own process, to test signals, closed pipes and full disks."""
        return Piped(
            self._arguments(name, *arguments),
            self._environment(variables or {}),
            stdout=stdout,
            stderr=stderr,
            ignored=ignored,
        )

    def run_in_shell(self, line: str, *, setup: str = "true") -> Result:
        """Run a command with shell redirections in a new interpreter, after a setup line."""
        name, _, rest = line.partition(" ")
        command = [sys.executable, "-W", "error", "-m", "smspva_async", *self._arguments(name)]
        done = subprocess.run(  # noqa: S602
            f"{setup}; {shlex.join(command)} {rest}",
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self._environment({}),
            shell=True,
            text=True,
            timeout=PATIENCE,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def terminal(
        self, name: str, *arguments: str, width: int = 120, variables: Mapping[str, str | None] | None = None
    ) -> Terminal:
        """Start a command on a terminal."""
        environment = self._environment({"TERM": "xterm-256color", **(variables or {})})
        return Terminal(self._arguments(name, *arguments), environment, width)

    def on_terminal(self, width: int, name: str, *arguments: str) -> list[str]:
        """Run a command on a terminal, check that it succeeds and fits the width, and return its lines."""
        with self.terminal(name, *arguments, width=width) as terminal:
            assert terminal.exit_code() == 0
        assert max(map(cell_len, terminal.screen)) <= width
        return terminal.screen

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
    """Return an environment without the variables of this machine."""
    # The tests compute local times in the time zone of this process.
    needed = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {"HOME": str(home), "LANG": "C.UTF-8", **needed}


def run(*arguments: str, **environment: str) -> Result:
    """Run the command line in this process, with these variables and no others."""
    log = logging.getLogger("smspva_async")
    handlers = log.handlers[:]
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open() as devnull:
        try:
            with (
                mock.patch.dict(os.environ, environment, clear=True),
                mock.patch.object(hashlib, "pbkdf2_hmac", _pbkdf2_hmac),
                _standard_streams(devnull.fileno(), out.fileno(), err.fileno()),
                mock.patch.object(sys, "argv", ["smspva", *arguments]),
                pytest.raises(SystemExit) as exited,
            ):
                main()
        finally:
            log.handlers[:] = handlers
            for number, handler in signals.items():
                signal.signal(number, handler)
        outputs: list[str] = []
        for file in (out, err):
            file.seek(0)
            outputs.append(file.read().decode())
    assert isinstance(exited.value.code, int)
    return Result(exited.value.code, *outputs)


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


def retry_at_once(monkeypatch: pytest.MonkeyPatch, *, attempts: int = 4) -> None:
    """Let the clients of commands in this process retry without a delay."""
    defaults = SmspvaClient.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "retry", Retry(attempts, first=0))
