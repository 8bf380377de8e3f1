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
            await anyio.sleep_until(self._last + self.gap)
            self._last = anyio.current_time()
