"""Virtual time for asyncio: an event loop whose clock jumps to the next timer instead of waiting for it.

Trio brings `trio.testing.MockClock`; this is its counterpart. Everything that goes by `anyio.current_time` and
`anyio.sleep` runs in it at full speed: an hour of polling takes as long as its computation.
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


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits: what the loop would have slept is added to the clock."""

    elapsed = 0.0
    at_work = 0
    """The number of jobs in progress that take real time."""

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        # What a thread does is waited for, no longer than the next timer so that it may depend on what that brings.
        ready = super().select(timeout if self.at_work else 0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # No timer is left, so only another thread or a socket can go on from here: wait for it.
            return super().select(None)
        self.elapsed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time.

    Sleeping costs nothing: when every task waits, the clock jumps to the next timer. It suits what happens in
    memory, such as the simulator's own transport. The work of executors (`asyncio.to_thread`) takes no time on this
    clock. Other threads and sockets aren't waited for while a timer is due, since their time means nothing here.

    Use it with `asyncio.Runner(loop_factory=VirtualTimeLoop)`, or
    `anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})`.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in an executor, as asyncio does, while the virtual clock stands still."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.at_work += 1
        future.add_done_callback(self._finish_work)
        return future

    def _finish_work(self, _: object) -> None:
        self._jumping.at_work -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """End the default executor's threads, as asyncio does, while the virtual clock stands still."""
        with self.held():
            if sys.version_info < (3, 12):
                await super().shutdown_default_executor()
            else:
                await super().shutdown_default_executor(timeout)

    @contextmanager
    def held(self) -> Generator[None]:
        """Return a context in which the clock stands still, for what takes real time, such as the work of a thread."""
        self._jumping.at_work += 1
        try:
            yield
        finally:
            self._jumping.at_work -= 1

    def time(self) -> float:
        """Return the virtual clock's seconds; it starts at 0."""
        return self._jumping.elapsed
