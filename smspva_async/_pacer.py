"""The pace: one request after another, never two within the gap."""

from __future__ import annotations

import contextlib
import math

import anyio

__all__ = ["Pacer", "Turn"]


class Pacer:
    """Lets requests begin one by one, first come first served.

    Args:
        gap: Least seconds between two.

    """

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self._turn = anyio.Lock()
        self._last = -math.inf

    def renew(self) -> None:
        """Begin a new queue, perhaps in another event loop, by whose clock the last request may lie in the future."""
        self._turn = anyio.Lock()
        if self._last > anyio.current_time():
            self._last = -math.inf

    async def wait(self) -> Turn:
        """Return when a request may begin; nobody else's does until the turn ends.

        Who is cancelled leaves the queue.
        """
        lock = self._turn
        await lock.acquire()
        try:
            turn = -math.inf
            while turn != self._last + self.gap:  # it moves on if the request before is late
                turn = self._last + self.gap
                await anyio.sleep_until(turn)
            self._last = anyio.current_time()
        except BaseException:
            lock.release()
            raise
        return Turn(self, lock)

    def begin(self) -> None:
        """Take note that a request leaves now, which may be later than its turn: the next keeps the gap from it."""
        self._last = max(self._last, anyio.current_time())


class Turn:
    """The right to begin a request, held until it is used or given up."""

    def __init__(self, pacer: Pacer, lock: anyio.Lock) -> None:
        self._pacer = pacer
        self._lock: anyio.Lock | None = lock

    def begin(self) -> None:
        """Begin the request: the next keeps the gap from now."""
        self._pacer.begin()
        self.end()

    def end(self) -> None:
        """Let the next have its turn, if it hasn't."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
                lock.release()
