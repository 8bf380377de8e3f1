"""The event loops that `anyio` tests run on. In virtual time, unless a test asks for a real loop."""

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

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""On asyncio alone, in virtual time."""

on_a_real_loop = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop})], ids=["asyncio"]
)
"""On asyncio in real time, where sockets are waited for."""

on_both_backends = pytest.mark.on_both_backends
"""In the quick run, on trio as well: concurrency or virtual time is the subject. The slow run does so everywhere."""


def virtual_time(backend: str) -> dict[str, object]:
    """Return `anyio.run`'s options for one run in virtual time."""
    return {"loop_factory": VirtualTimeLoop} if backend == "asyncio" else {"clock": MockClock(autojump_threshold=0)}


def hold_time_while_a_thread_works(patch: pytest.MonkeyPatch) -> None:
    """Stop the virtual clock during `anyio.to_thread.run_sync`, as `VirtualTimeLoop` does for asyncio's executors."""
    run_sync = anyio.to_thread.run_sync
    at_work = 0

    @contextmanager
    def held(clock: MockClock) -> Generator[None]:
        nonlocal at_work
        at_work += 1
        clock.autojump_threshold = math.inf
        try:
            yield
        finally:
            at_work -= 1
            clock.autojump_threshold = math.inf if at_work else 0

    async def run_held(*arguments: Any, **options: Any) -> Any:
        clock = trio.lowlevel.current_clock() if sniffio.current_async_library() == "trio" else None
        with held(clock) if isinstance(clock, MockClock) else nullcontext():
            return await run_sync(*arguments, **options)

    patch.setattr(anyio.to_thread, "run_sync", run_held)


def for_other_threads() -> Callable[[Callable[[], object]], object]:
    """Return a function that runs another one in this event loop, and blocks another thread until it is done."""

    async def run(do: Callable[[], object]) -> None:
        do()

    if sniffio.current_async_library() == "trio":
        token = trio.lowlevel.current_trio_token()
        return lambda do: trio.from_thread.run(run, do, trio_token=token)
    loop = asyncio.get_running_loop()
    return lambda do: asyncio.run_coroutine_threadsafe(run(do), loop).result()
