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
        """Begin a new queue, in another event loop perhaps; the last request isn't forgotten."""
        self._turn = anyio.Lock()

    async def wait(self) -> None:
        """Return when a request may begin; the caller then begins one. Who is cancelled leaves the queue."""
        async with self._turn:
            left = self._last + self.gap - anyio.current_time()
            # More than the gap: the last was in another event loop, by a clock of its own.
            await anyio.sleep(left if 0 < left <= self.gap else 0)
            self._last = anyio.current_time()
