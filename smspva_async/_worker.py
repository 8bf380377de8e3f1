"""Blocking work, such as that on files, off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread

from smspva_async._background import on_asyncio, outlast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """A thread that does one thing after another. What was begun is finished, also if the caller is cancelled.

    The thread is its own, so that nobody who fills the event loop's threads holds it up. It starts with the first
    work; work after `stop` starts another.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor: ThreadPoolExecutor | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def is_started(self) -> bool:
        """Whether there may be work under way."""
        return self._executor is not None or self._limiter is not None

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and return what it returns."""
        if on_asyncio():
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            future = asyncio.get_running_loop().run_in_executor(self._executor, function)
            await outlast(future)
            return future.result()
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(function, limiter=self._limiter)

    def stop(self) -> None:
        """End the thread, which must have no work left."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
