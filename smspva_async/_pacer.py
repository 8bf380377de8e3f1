"""The pace: one request after another, never two within the gap."""

from __future__ import annotations

import math

import anyio

__all__ = ["Pacer"]


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

    async def wait(self) -> None:
        """Return when a request may begin; the caller then begins one. Who is cancelled leaves the queue."""
        async with self._turn:
            turn = -math.inf
            while turn != self._last + self.gap:  # it moves on if the request before is late
                turn = self._last + self.gap
                await anyio.sleep_until(turn)
            self._last = anyio.current_time()

    def begin(self) -> None:
        """Take note that a request leaves now, which may be later than its turn: the next keeps the gap from it."""
        self._last = max(self._last, anyio.current_time())
