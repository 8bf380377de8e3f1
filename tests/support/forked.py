"""Processes of the command line, forked by a server that has imported it.

Each has its own standard streams, signals and exit code, and takes a fifth of the time of a new interpreter.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = Path(__file__).parents[2]
_IMPORTED = (
    "anyio._backends._asyncio",
    "httpcore",
    "rich.live",
    "smspva_async.__main__",
    "smspva_async.cli",
    "sqlite3",
    "uvicorn",
)


def standard_streams(stdin: int, stdout: int, stderr: int) -> tuple[TextIO, TextIO, TextIO]:
    """Open the standard streams like the interpreter: only a terminal and standard error are line buffered."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    encoding, errors = encoding or "utf-8", errors or "strict"
    return (
        open(stdin, encoding=encoding, errors=errors, closefd=False),
        open(stdout, "w", encoding=encoding, errors=errors, closefd=False),
        open(stderr, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False),
    )


class ForkServer:
    """The tests' side of the server, which runs in its own process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(PATIENCE)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-W", "error", "-m", __name__, str(theirs.fileno())],
                cwd=_ROOT,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: Sequence[int],
        *,
        ignored: Sequence[int],
    ) -> tuple[int, int]:
        """Start a command in its own process.

        Args:
            arguments: The arguments of `smspva`.
            environment: All environment variables.
            streams: The file descriptors of the standard streams.
            ignored: The signals that the process ignores from the start.

        Returns:
            The process id, and a pipe that has the exit code once the process has ended.

        """
        request = {"arguments": arguments, "environment": environment, "ignored": ignored}
        status, theirs = os.pipe()
        socket.send_fds(self._control, [json.dumps(request).encode()], [*streams, theirs])
        os.close(theirs)
        ready, _, _ = select.select([status], [], [], PATIENCE)
        assert ready, "the fork server doesn't answer"
        process = b""
        while not process.endswith(b"\n"):
            process += os.read(status, 1) or b"none: the fork server has ended\n"
        return int(process), status

    def close(self) -> None:
        self._control.close()
        self._process.wait(PATIENCE)


@cache
def fork_server() -> ForkServer:
    """Return this process's server. The first call starts it."""
    return ForkServer({name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ})


def _serve(control: socket.socket) -> None:
    """Fork a process for each request until the tests have ended. Returns in the forked processes."""
    reporters: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 4)
        if not message:
            for reporter in reporters:
                os.kill(reporter, signal.SIGTERM)
        with suppress(ChildProcessError):  # no child is left
            while ended := os.waitpid(-1, os.WNOHANG if message else 0)[0]:
                reporters.remove(ended)
        if not message:
            os._exit(0)
        reporter = os.fork()
        if not reporter:
            break
        reporters.add(reporter)
        for descriptor in descriptors:
            os.close(descriptor)
    control.close()
    *streams, status = descriptors
    process = os.fork()
    if process:  # this process reports the command's exit code, and kills it when the tests end
        signal.signal(signal.SIGTERM, lambda *_: os.kill(process, signal.SIGKILL))
        for descriptor in streams:
            os.close(descriptor)
        with suppress(BrokenPipeError):  # the test has ended
            os.write(status, b"%d\n" % process)
            _, result = os.waitpid(process, 0)
            os.write(status, b"%d\n" % os.waitstatus_to_exitcode(result))
        os._exit(0)
    os.close(status)
    _prepare(json.loads(message), streams)


def _prepare(request: dict[str, Any], streams: list[int]) -> None:
    os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["smspva", *request["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = standard_streams(0, 1, 2)


if __name__ == "__main__":
    for module in _IMPORTED:
        import_module(module)
    gc.freeze()  # so that forked processes don't copy shared memory when they collect garbage
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from smspva_async.__main__ import main

    main()
