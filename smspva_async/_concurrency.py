"""A background task, work that outlasts a cancellation, a worker thread, and other event loops.

anyio covers most of it. What is added here holds on asyncio, where a task may be cancelled by `asyncio.Task.cancel`: an
anyio shield doesn't protect from that.
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

__all__ = ["BackgroundTask", "Signal", "WorkerThread", "finish", "has_ended", "start_in"]

T = TypeVar("T")

_CANCEL_AGAIN = 1.0
"""Seconds until a task that goes on is cancelled again."""


class BackgroundTask:
    """Runs a function that doesn't raise, until it is stopped.

    On asyncio it may be stopped in another task than it was started in, which a task group doesn't allow. On trio it is
    a nursery: nurseries are left in the reverse order of entering.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None

    async def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start running the function."""
        if _on_asyncio():
            self._task = asyncio.create_task(function())
        else:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(function)

    async def stop(self) -> None:
        """Cancel the function and return when it has ended, also if the caller is cancelled meanwhile."""
        if self._task is not None:
            await _outlast(asyncio.create_task(_cancel(self._task)))
        if self._group is not None:
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: an anyio scope that times out in that moment may take the cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN)
    if not task.cancelled():
        task.result()


async def finish(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a function to its end, also if the caller is cancelled meanwhile."""
    if _on_asyncio():
        await _outlast(asyncio.create_task(function()))
    else:
        with anyio.CancelScope(shield=True):
            await function()


def _on_asyncio() -> bool:
    """Return whether a task of asyncio is running."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def _outlast(future: asyncio.Future[T]) -> None:
    """Wait until a future is done, also if the caller is cancelled meanwhile; raise what it raised."""
    interrupted: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                interrupted = error
    if interrupted is not None:
        if not future.cancelled():
            future.exception()  # mark it as retrieved: asyncio would log it otherwise
        raise interrupted
    if not future.cancelled():
        future.result()


class Signal:
    """Wakes all tasks that wait for it now."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake them."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Wait until it is set once more."""
        await self._event.wait()


class WorkerThread:
    """A thread for blocking work, one function after another. Work that began is finished despite cancellation.

    It has a thread of its own, so that no other work of the event loop delays it, and not `anyio.to_thread`: that
    abandons its work when an asyncio task is cancelled, and a virtual clock can't wait for it. The thread starts with
    the first work; work after `stop`, or after a fork, starts another.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._process = 0
        self._executor: ThreadPoolExecutor | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def is_started(self) -> bool:
        """Whether there may be work in progress."""
        return self._executor is not None or self._limiter is not None

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and return what it returns."""
        if self._process != os.getpid():  # a fork copies no thread
            self._process, self._executor, self._limiter = os.getpid(), None, None
        if _on_asyncio():
            future = self._submitted(function)
            await _outlast(future)
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
                # Another event loop has stopped the thread meanwhile.

    def stop(self) -> None:
        """End the thread, which must have no work left."""
        executor, self._executor, self._limiter = self._executor, None, None
        if executor is not None and self._process == os.getpid():
            executor.shutdown()


def has_ended(loop: EventLoopToken) -> bool:
    """Return whether an event loop of this process will never run again."""
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
    """Start a function in another event loop; what it raises is dropped."""

    async def quietly() -> None:
        with contextlib.suppress(Exception):
            await function()

    def start() -> None:
        task = asyncio.ensure_future(quietly())
        _started.add(task)  # asyncio itself keeps a weak reference only
        task.add_done_callback(_started.discard)

    native: Any = loop.native_token
    if isinstance(native, asyncio.AbstractEventLoop):
        native.call_soon_threadsafe(start)
    else:
        native.run_sync_soon(import_module("trio").lowlevel.spawn_system_task, quietly)
