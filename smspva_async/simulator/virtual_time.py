"""Virtual time for asyncio: an event loop whose clock jumps to the next timer instead of waiting for it.

It is the asyncio counterpart of `trio.testing.MockClock`. Code that uses `anyio.current_time` and `anyio.sleep` runs at
full speed: an hour of polling takes only as long as its computation.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Executor
    from selectors import SelectorKey


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

__all__ = ["VirtualTimeLoop"]


class _VirtualSelector(selectors.DefaultSelector):
    """A selector that adds the loop's waiting time to the clock instead of waiting."""

    elapsed = 0.0
    running_jobs = 0
    """The number of running jobs that take real time."""

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        # Wait for a running thread, but only until the next timer: the thread may depend on what that timer does.
        ready = super().select(timeout if self.running_jobs else 0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # No timer is left, so only another thread or a socket can wake the loop.
            return super().select(None)
        self.elapsed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time.

    Sleeping takes no real time: when all tasks wait, the clock jumps to the next timer. The loop is for work in memory,
    such as the simulator's own transport. Work in executors (`asyncio.to_thread`) takes no time on this clock. While a
    timer is pending, the loop does not wait for other threads or for sockets, whose real time has no meaning here.

    Use it with `asyncio.Runner(loop_factory=VirtualTimeLoop)`, or
    `anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})`.
    """

    def __init__(self) -> None:
        self._virtual_selector = _VirtualSelector()
        super().__init__(self._virtual_selector)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in an executor, as asyncio does. The virtual clock stops until it returns."""
        future = super().run_in_executor(executor, func, *args)
        self._virtual_selector.running_jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: object) -> None:
        self._virtual_selector.running_jobs -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Stop the default executor's threads, as asyncio does. The virtual clock stops meanwhile."""
        with self.paused():
            if sys.version_info < (3, 12):
                await super().shutdown_default_executor()
            else:
                await super().shutdown_default_executor(timeout)

    @contextmanager
    def paused(self) -> Generator[None]:
        """Stop the virtual clock during a `with` block, for work that takes real time, such as that of a thread."""
        self._virtual_selector.running_jobs += 1
        try:
            yield
        finally:
            self._virtual_selector.running_jobs -= 1

    def time(self) -> float:
        """Return the seconds on the virtual clock, which starts at 0."""
        return self._virtual_selector.elapsed
