"""Functions of the tests in processes of their own, which may be killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

# Forked from a process that has these modules already, so that a function runs at once.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.support.chaos", "tests.support.journal_files"])


def start(program: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a program in a process."""
    process = _processes.Process(target=program, args=arguments, daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """Kill a process, which has no time for last words."""
    process.kill()
    process.join()


def start_with_pipe(work: Callable[..., None], *args: object) -> tuple[BaseProcess, Connection]:
    """Start a function in another process, which may tell something through its last argument."""
    here, there = _processes.Pipe()
    process = _processes.Process(target=work, args=(*args, there))
    process.start()
    there.close()
    return process, here


def told(work: Callable[..., None], *args: object) -> Any:
    """Return what a function tells in another process."""
    process, pipe = start_with_pipe(work, *args)
    with contextlib.closing(pipe):
        answer = pipe.recv()
    process.join()
    return answer


def killed(process: BaseProcess) -> bool:
    return process.exitcode == -signal.SIGKILL
