"""The server's clock, as far as its answers tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from smspva_async.models import utc

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ServerClock"]

_YEARS = range(2000, 9999)
_JUMP = 60.0
"""Seconds by which a `Date` may be off without a second one that confirms it."""


class ServerClock:
    """Wall time by the ``Date`` of answers, and by anyio's clock in between; the local clock until there is one."""

    def __init__(self) -> None:
        self._offset = time.time() - anyio.current_time()
        self._heard = False
        self._candidate: float | None = None

    def at(self, moment: float) -> datetime:
        """Return the server's time, aware UTC, at a moment of anyio's clock."""
        return utc(moment + self._offset)

    def earliest_at(self, moment: float) -> datetime:
        """Return the same by the earlier of two opinions, as long as the last ``Date`` is not confirmed."""
        return utc(moment + min(self._offset, self._offset if self._candidate is None else self._candidate))

    def hear(self, date: datetime, took: float) -> None:
        """Note the ``Date`` of an answer that has just arrived. One that is far from the clock needs a second one.

        Args:
            date: The ``Date``, a whole second.
            took: Seconds from the request to now.

        """
        if date.year not in _YEARS:
            return
        # The header drops the fraction, so each answer only bounds the offset from below and above. The highest lower
        # bound is kept: it comes closer with every answer, and the difference of two times doesn't jitter.
        least = date.timestamp() - anyio.current_time()
        if least <= self._offset <= least + 1 + took:
            self._heard, self._candidate = True, None
        elif not self._heard or any(
            least - _JUMP <= offset <= least + took + _JUMP
            for offset in (self._offset, self._candidate or self._offset)
        ):
            self._heard, self._offset, self._candidate = True, least, None
        else:
            self._candidate = least
