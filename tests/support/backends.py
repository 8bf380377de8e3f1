"""The event loops of `anyio` tests: in virtual time, unless a test requests a real loop."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
import sniffio
import trio
from trio.testing import MockClock

from smspva_async.simulator import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""Run on asyncio only, in virtual time."""

on_a_real_loop = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop})], ids=["asyncio"]
)
"""Run on asyncio only, in real time, for tests that wait for sockets."""

on_both_backends = pytest.mark.on_both_backends
"""Run on trio in the quick run too, for tests of concurrency or virtual time. (The slow run does so for all tests.)"""


def virtual_time(backend: str) -> dict[str, object]:
    """Return the options of `anyio.run` for virtual time."""
    return {"loop_factory": VirtualTimeLoop} if backend == "asyncio" else {"clock": MockClock(autojump_threshold=0)}


def hold_time_while_a_thread_works(patch: pytest.MonkeyPatch) -> None:
    """Stop the virtual clock during `anyio.to_thread.run_sync`. `VirtualTimeLoop` stops it for executors only."""
    run_sync = anyio.to_thread.run_sync
    working_threads = 0

    @contextmanager
    def time_stopped(clock: MockClock) -> Generator[None]:
        nonlocal working_threads
        working_threads += 1
        clock.autojump_threshold = math.inf
        try:
            yield
        finally:
            working_threads -= 1
            clock.autojump_threshold = math.inf if working_threads else 0

    def this_time_stopped() -> AbstractContextManager[None]:
        if sniffio.current_async_library() == "trio":
            clock = trio.lowlevel.current_clock()
            return time_stopped(clock) if isinstance(clock, MockClock) else nullcontext()
        loop = asyncio.get_running_loop()
        return loop.paused() if isinstance(loop, VirtualTimeLoop) else nullcontext()

    async def run_with_time_stopped(*arguments: Any, **options: Any) -> Any:
        with this_time_stopped():
            return await run_sync(*arguments, **options)

    patch.setattr(anyio.to_thread, "run_sync", run_with_time_stopped)


def for_other_threads() -> Callable[[Callable[[], object]], object]:
    """Return a function for another thread that runs a callable in this event loop and waits until it is done."""

    async def run(do: Callable[[], object]) -> None:
        do()

    if sniffio.current_async_library() == "trio":
        token = trio.lowlevel.current_trio_token()
        return lambda do: trio.from_thread.run(run, do, trio_token=token)
    loop = asyncio.get_running_loop()
    return lambda do: asyncio.run_coroutine_threadsafe(run(do), loop).result()
