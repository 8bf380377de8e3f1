"""On which event loop an `anyio` test runs, where it isn't for both in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sniffio
import trio
from trio.testing import MockClock

from smspva_async.simulator import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""On asyncio alone, in virtual time."""

on_a_real_loop = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop})], ids=["asyncio"]
)
"""Where sockets are waited for: on asyncio, in real time."""


def virtual_time(backend: str) -> dict[str, object]:
    """Return `anyio.run`'s options for one run in virtual time."""
    return {"loop_factory": VirtualTimeLoop} if backend == "asyncio" else {"clock": MockClock(autojump_threshold=0)}


def for_other_threads() -> Callable[[Callable[[], object]], object]:
    """Return what has this event loop do something, and waits for it in another thread."""

    async def run(do: Callable[[], object]) -> None:
        do()

    if sniffio.current_async_library() == "trio":
        token = trio.lowlevel.current_trio_token()
        return lambda do: trio.from_thread.run(run, do, trio_token=token)
    loop = asyncio.get_running_loop()
    return lambda do: asyncio.run_coroutine_threadsafe(run(do), loop).result()
