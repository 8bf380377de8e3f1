"""A task of one's own, that another task may stop, and what is to be finished whatever happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from anyio.abc import TaskGroup

__all__ = ["Background", "finish", "on_asyncio", "outlast"]

T = TypeVar("T")

_ONCE_MORE = 1.0
"""Seconds until a task that goes on is cancelled again."""


class Background:
    """Runs a function that doesn't raise, until it is stopped.

    On asyncio it may be stopped in another task than it was started in, which a task group doesn't allow. On trio it is
    a nursery, to be left in the order in which it was entered.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None

    async def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start running the function."""
        if on_asyncio():
            self._task = asyncio.create_task(function())
        else:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(function)

    async def stop(self) -> None:
        """Cancel the function and return when it has ended, also if the caller is cancelled meanwhile."""
        if self._task is not None:
            await outlast(asyncio.create_task(_cancel(self._task)))
        if self._group is not None:
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: a scope of anyio's whose time is up in that moment may take it for its own."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_ONCE_MORE)
    if not task.cancelled():
        task.result()


async def finish(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a function to its end, also if the caller is cancelled meanwhile."""
    if on_asyncio():
        # In a task of its own: a shield doesn't keep off the cancellation of the task that it stands in.
        await outlast(asyncio.create_task(function()))
    else:
        with anyio.CancelScope(shield=True):
            await function()


def on_asyncio() -> bool:
    """Tell whether a task of asyncio is running."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def outlast(future: asyncio.Future[T]) -> None:
    """Wait until something is done, also if the caller is cancelled meanwhile; raise what it raised."""
    interrupted: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                interrupted = error
    if interrupted is not None:
        if not future.cancelled():
            future.exception()  # nobody will ask for it, and asyncio would say so
        raise interrupted
    if not future.cancelled():
        future.result()
