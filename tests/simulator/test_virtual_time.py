"""`VirtualTimeLoop` with threads."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from smspva_async.simulator import VirtualTimeLoop


def test_virtual_time_stops_while_an_executor_works() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        ticks = asyncio.ensure_future(tick())
        finish = threading.Event()
        loop.call_soon(finish.set)
        assert await asyncio.to_thread(finish.wait, 60)
        assert loop.time() < 60
        # The thread can also wait for a later timer.
        finish.clear()
        loop.call_later(0.01, finish.set)
        assert await asyncio.to_thread(finish.wait, 60)
        await ticks
        assert loop.time() >= 60_000

    async def tick() -> None:
        for _ in range(1000):
            await asyncio.sleep(60)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work())


def test_virtual_time_stops_while_threads_end() -> None:
    class Slow(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
            time.sleep(0.03)
            super().shutdown(wait, cancel_futures=cancel_futures)

    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(Slow())

    # asyncio waits up to five minutes for the threads, and warns after that.
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work())
