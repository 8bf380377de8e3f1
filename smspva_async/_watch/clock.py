"""The server's clock, as far as its answers tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from smspva_async.models import utc

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ServerClock"]


class ServerClock:
    """Wall time by the ``Date`` of answers, and by anyio's clock in between; the local clock before the first."""

    def __init__(self) -> None:
        self._offset = time.time() - anyio.current_time()
        self._heard = False

    def now(self) -> datetime:
        """Return the server's time, aware UTC."""
        return utc(anyio.current_time() + self._offset)

    def hear(self, date: datetime, took: float) -> None:
        """Take in an answer that has just arrived.

        Args:
            date: Its ``Date``, a whole second.
            took: Seconds from its request to now.

        """
        # The header drops the fraction, so each answer only bounds the offset from below and above. The highest lower
        # bound is kept: it comes closer with every answer, and the difference of two times doesn't jitter.
        least = date.timestamp() - anyio.current_time()
        if not self._heard or not least <= self._offset <= least + 1 + took:
            self._offset = least
            self._heard = True
