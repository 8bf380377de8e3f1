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
        self._gap = gap
        self._turn = anyio.Lock()
        self._last = -math.inf

    async def wait(self) -> None:
        """Return when a request may begin; the caller then begins one. Who is cancelled leaves the queue."""
        async with self._turn:
            await anyio.sleep_until(self._last + self._gap)
            self._last = anyio.current_time()
