"""The server's clock, derived from the ``Date`` headers of its answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from smspva_async.models import utc

if TYPE_CHECKING:
    from datetime import datetime

EPSILON = 1e-6
"""Seconds of rounding error when moments are compared."""
_YEARS = range(2000, 9999)
JUMP = 60.0
"""Seconds by which a `Date` may differ from the clock without a second one that confirms it."""


class ServerClock:
    """The server's wall time: the ``Date`` of answers, and anyio's clock between them.

    Before the first ``Date`` it is the local wall clock.
    """

    def __init__(self) -> None:
        self.is_certain = True
        """False while the time relies on a first ``Date`` that no other clock confirms."""
        self.first_poll: float | None = None
        """The moment of the watch's first poll; None if that was in an earlier run."""
        self._offset = self._local = time.time() - anyio.current_time()
        self._has_date = False
        self._candidate: float | None = None
        self._unconfirmed: datetime | None = None
        """The last `Date`, while no other one and no other clock confirms it."""
        self._certain_began: datetime | None = None

    def at(self, moment: float) -> datetime:
        """Return the server's time, aware UTC, at a moment of anyio's clock."""
        return utc(moment + self._offset)

    def began(self) -> datetime | None:
        """Return the server's time of the first poll; while that isn't certain, the earliest possible time."""
        if self.first_poll is None:
            return None
        doubts = [] if self.is_certain else [self._local, self._candidate or self._offset]
        began = utc(self.first_poll + min([self._offset, *doubts]))
        if self.is_certain:
            self._certain_began = min(self._certain_began or began, began)
        return self._certain_began or began

    def correct(self, date: datetime, took: float) -> bool:
        """Correct the clock by the ``Date`` of an answer that has just arrived, and return whether the two agree now.

        Args:
            date: The ``Date``, in whole seconds. If it is far from the clock, it counts once a later one agrees.
            took: Seconds from the request to now.

        """
        if date.year not in _YEARS:
            return False
        # The header drops the fraction, so each answer only bounds the offset from below and above. The highest lower
        # bound is kept: it comes closer with every answer, and the difference of two times doesn't jitter.
        lowest = date.timestamp() - anyio.current_time()
        highest = lowest + 1 + took

        def agrees(offset: float | None) -> bool:
            return offset is not None and lowest - JUMP <= offset <= highest + JUMP

        self.is_certain = self.is_certain and self._has_date
        if date == self._unconfirmed:
            pass  # an old answer, from a cache for instance, can't confirm itself
        elif agrees(self._offset) or agrees(self._candidate):
            self._offset = self._offset if lowest <= self._offset <= highest else lowest
            self.is_certain, self._candidate, self._unconfirmed = True, None, None
        else:
            self._unconfirmed = date
            if self._has_date:
                self._candidate = lowest
            else:
                self._offset = lowest
        self._has_date = True
        return lowest <= self._offset <= highest
