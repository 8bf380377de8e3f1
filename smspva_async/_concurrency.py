"""A background task, work that continues despite cancellation, a worker thread, and helpers for other event loops.

anyio covers most of this, but its shields don't protect from `asyncio.Task.cancel`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from anyio.abc import TaskGroup
    from anyio.lowlevel import EventLoopToken

T = TypeVar("T")

_CANCEL_AGAIN = 1.0
"""Seconds until a task that is still running is cancelled again."""


class BackgroundTask:
    """Runs a function that doesn't raise, until it is stopped.

    On asyncio another task may stop it, which a task group doesn't allow. On trio it is a nursery, so several of them
    have to be stopped in the reverse order of starting.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None

    async def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start the function."""
        if _on_asyncio():
            self._task = asyncio.create_task(function())
        else:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(function)

    async def stop(self) -> None:
        """Cancel the function and wait until it has ended, even if the caller is cancelled."""
        if self._task is not None:
            await _wait_despite_cancellation(asyncio.create_task(_cancel(self._task)))
        if self._group is not None:
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended. One cancellation may be lost in an anyio scope that times out."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN)
    if not task.cancelled():
        task.result()


async def finish(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a function to its end, even if the caller is cancelled."""
    if _on_asyncio():
        await _wait_despite_cancellation(asyncio.create_task(function()))
    else:
        with anyio.CancelScope(shield=True):
            await function()


def _on_asyncio() -> bool:
    """Return whether this is an asyncio task."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def _wait_despite_cancellation(future: asyncio.Future[T]) -> None:
    """Wait until a future is done, even if the caller is cancelled, and raise its exception."""
    interrupted: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                interrupted = error
    if interrupted is not None:
        if not future.cancelled():
            future.exception()  # retrieved, so that asyncio doesn't log it
        raise interrupted
    if not future.cancelled():
        future.result()


class Signal:
    """Wakes all waiting tasks, any number of times."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake the tasks that are waiting."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Wait for the next `set`."""
        await self._event.wait()


class WorkerThread:
    """Runs blocking functions in a thread, one at a time and in order. Work that began finishes despite cancellation.

    On asyncio it doesn't use `anyio.to_thread`, which abandons its work when `asyncio.Task.cancel` is called and which
    a virtual clock can't wait for. The thread starts with the first function; after `stop` or a fork, a new one starts.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._process = 0
        self._executor: ThreadPoolExecutor | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and return its result."""
        if self._process != os.getpid():  # a forked process has no copy of the thread
            self._process, self._executor, self._limiter = os.getpid(), None, None
        if _on_asyncio():
            future = self._submitted(function)
            await _wait_despite_cancellation(future)
            return future.result()
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(function, limiter=self._limiter)

    def _submitted(self, function: Callable[[], T]) -> asyncio.Future[T]:
        while True:
            executor = self._executor
            if executor is None:
                executor = self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            try:
                return asyncio.get_running_loop().run_in_executor(executor, function)
            except RuntimeError:
                if self._executor is executor:
                    raise
                # Meanwhile another event loop has stopped the thread.

    def stop(self) -> None:
        """End the thread. It must have no work left."""
        executor, self._executor, self._limiter = self._executor, None, None
        if executor is not None and self._process == os.getpid():
            executor.shutdown()


def has_ended(loop: EventLoopToken) -> bool:
    """Return whether an event loop of this process has ended for good."""
    native: Any = loop.native_token
    if isinstance(native, asyncio.AbstractEventLoop):
        return native.is_closed()
    try:
        native.run_sync_soon(_do_nothing)
    except RuntimeError:  # trio.RunFinishedError
        return True
    return False


def _do_nothing() -> None:
    pass


_started: set[asyncio.Task[None]] = set()


def start_in(loop: EventLoopToken, function: Callable[[], Awaitable[None]]) -> None:
    """Start a function in another event loop. Its exceptions are dropped."""

    async def run() -> None:
        with contextlib.suppress(Exception):
            await function()

    def start() -> None:
        task = asyncio.ensure_future(run())
        _started.add(task)  # asyncio keeps only a weak reference
        task.add_done_callback(_started.discard)

    native: Any = loop.native_token
    if isinstance(native, asyncio.AbstractEventLoop):
        native.call_soon_threadsafe(start)
    else:
        native.run_sync_soon(import_module("trio").lowlevel.spawn_system_task, run)
