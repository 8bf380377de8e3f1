"""Child processes that are killed at the end of a test, and waits that fail early if a child ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio

from tests.support import PATIENCE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from multiprocessing.connection import Connection

_PROXIES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]

# Children are forked from a process that has imported these modules, so that they start quickly.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.support.chaos", "tests.support.journal_files"])


class _Child:
    """A process that starts when the context is entered and is killed when it is left.

    Its standard error goes to a file, because a full pipe could block it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = tempfile.NamedTemporaryFile(prefix="stderr-")  # noqa: SIM115 - closed with the context

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._log.close()

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        raise NotImplementedError

    @property
    def stderr(self) -> str:
        """The standard error so far."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Fail if the process has ended."""
        if self.exit_code is not None:
            raise self.failure("ended early")

    def failure(self, reason: str) -> AssertionError:
        """Return a test failure with the exit code and the standard error of the process."""
        code = self.exit_code
        state = "still running" if code is None else f"exit code {code}"
        return AssertionError(f"{self._name} {reason}: {state}, stderr:\n{self.stderr or '(empty)'}")

    def _start(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """Kill the process if it is running, and release its resources."""
        raise NotImplementedError


class Worker(_Child):
    """A function in another process.

    Args:
        function: A function of a module, not a closure.
        arguments: Its arguments.
        piped: Pass a pipe as an additional last argument. `receive` reads from it.

    """

    def __init__(self, function: Callable[..., None], *arguments: Any, piped: bool = False) -> None:
        super().__init__(function.__name__)
        self._pipe: Connection | None = None
        self._far_end: Connection | None = None
        if piped:
            self._pipe, self._far_end = _processes.Pipe(duplex=False)
        given = (*arguments, self._far_end) if piped else arguments
        self._process = _processes.Process(target=_run, args=(self._log.name, function, *given), daemon=True)

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process without time to clean up. It must still be running."""
        self.check()
        self._process.kill()
        self._process.join(PATIENCE)
        if self.exit_code != -signal.SIGKILL:
            raise self.failure("was not killed")

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None
        return self._process.pid

    def receive(self) -> Any:
        """Return the next object that the function sends through the pipe."""
        assert self._pipe is not None
        if self._pipe in wait([self._pipe, self._process.sentinel], PATIENCE):
            with suppress(EOFError):
                return self._pipe.recv()
            self._process.join(PATIENCE)
        raise self.failure("sent nothing")

    def _start(self) -> None:
        self._process.start()
        if self._far_end is not None:
            self._far_end.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.join(PATIENCE)
        self._process.close()
        if self._pipe is not None:
            self._pipe.close()


def _run(log: str, function: Callable[..., None], *arguments: Any) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    for name in _PROXIES:  # the tests' servers are on this machine
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    function(*arguments)


class Program(_Child):
    """A command in another process. Its standard output goes to the same file as its standard error."""

    def __init__(self, *command: str) -> None:
        super().__init__(command[0])
        self._command = command
        self._process: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)


def is_orphan() -> bool:
    """Return whether the process that started this one has ended."""
    parent = multiprocessing.parent_process()
    return parent is None or not parent.is_alive()


def run_worker(function: Callable[..., None], *arguments: Any) -> Any:
    """Run a function in another process and return the object that it sends through its last argument."""
    with Worker(function, *arguments, piped=True) as worker:
        return worker.receive()


def run_program(*command: str) -> str:
    """Run a command and return its output. Fails if the command fails."""
    done = subprocess.run(  # noqa: S603
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}, stderr:\n{done.stderr}"
    return done.stdout


async def until(condition: Callable[[], bool], *needed: _Child | asyncio.Task[Any], interval: float = 0.005) -> None:
    """Wait for a condition. Fail early if a process or task that it depends on has ended.

    Args:
        condition: Returns true in the end.
        needed: The processes and tasks that it depends on.
        interval: Seconds between two checks; 0 yields to the event loop once, in virtual time too.

    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        for each in needed:
            _check(each)
        if time.monotonic() > deadline:
            for each in needed:
                if isinstance(each, _Child):
                    raise each.failure(f"the condition was still false after {PATIENCE:g} s")
            raise AssertionError(f"the condition was still false after {PATIENCE:g} s")
        await anyio.sleep(interval)


def _check(needed: _Child | asyncio.Task[Any]) -> None:
    if isinstance(needed, _Child):
        needed.check()
    elif needed.done():
        if not needed.cancelled():
            needed.result()
        raise AssertionError(f"{needed.get_name()} has ended")
