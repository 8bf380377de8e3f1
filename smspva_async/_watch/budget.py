"""How many requests polling may make, and how long reading every list takes with so many."""

from __future__ import annotations

import math
from collections import deque

from attrs import evolve, frozen

from smspva_async._watch.plan import FLAGGED_IN_A_ROW

__all__ = ["HAIR", "Budget", "Quota"]

HAIR = 1e-6
"""A hair's breadth of time: what rounding does to moments."""

_SHARE = 0.75
_SHORTEST_WINDOW = 16  # gaps
_GRID_POLLS = 2  # in a window
_RESERVE = 2


@frozen
class Quota:
    """What polling may use of the pace as things stand: three quarters of it, over any two intervals."""

    interval: float
    """Seconds between two polls of the orders while nobody waits."""
    gap: float
    """Least seconds between two requests."""
    period: float
    """Seconds between two polls of the orders now."""

    @classmethod
    def of(cls, interval: float, gap: float, *, wanted: float, flags_work: bool) -> Quota:
        """Return the quota where somebody wants so many seconds between two polls of the orders.

        Args:
            interval: As above.
            gap: As above.
            wanted: The seconds; there are more if the pace asks for it.
            flags_work: Whether a flag was ever seen up. If not, messages are found by reading in turn alone.

        """
        quota = cls(interval, gap, wanted)
        least = quota.window / (quota.requests * (2 / 3 if flags_work else 1 / 2))
        return evolve(quota, period=max(wanted, least))

    @property
    def window(self) -> float:
        """The seconds over which requests are counted."""
        return max(2 * self.interval, _SHORTEST_WINDOW * self.gap)

    @property
    def requests(self) -> float:
        """How many a window may have."""
        return math.inf if self.gap == 0 else math.floor(_SHARE * self.window / self.gap)

    @property
    def urgent(self) -> float:
        """The same less what the polls of the orders need."""
        return self.requests - _GRID_POLLS

    @property
    def unhurried(self) -> float:
        """The same less what is kept in reserve for flags that rise."""
        return self.window / self.period + self.turns

    @property
    def turns(self) -> float:
        """How many readings in turn a window may have beside the polls of the orders."""
        return max(1.0, self.requests - self.window / self.period - _GRID_POLLS - _RESERVE)

    @property
    def turns_per_poll(self) -> float:
        """How many readings in turn there are between two polls of the orders, on average."""
        return math.inf if self.gap == 0 else self.turns * self.period / self.window

    @property
    def spread(self) -> float:
        """The seconds between readings in turn; 0 where they needn't be spread out.

        Where the orders are asked for often they are, so that neither has to pause.
        """
        return 0.0 if self.period >= self.interval else self.window / self.turns

    @property
    def sure_turns(self) -> float:
        """How many readings in turn a window has at least, however it lies."""
        polls = self.window / self.period
        return max(1, math.floor(polls + self.turns + HAIR) - math.ceil(polls - HAIR))

    def bound(self, turns: int, *, flags_rise: bool) -> float:
        """Return how many seconds so many readings in turn take at most."""
        if turns == 0 or self.gap == 0:
            return self.period if turns else 0.0
        sure = self.sure_turns
        if not flags_rise and self.period == self.window / _GRID_POLLS:
            # Others may come in between.
            return math.ceil(turns * _GRID_POLLS / sure) * self.period + (_GRID_POLLS + _RESERVE) * self.gap
        if flags_rise:  # they are read until the orders are due by the interval, every fourth time a list in turn
            sure = min(sure, evolve(self, period=self.interval).sure_turns / (FLAGGED_IN_A_ROW + 1))
        # What is read first in a window may be last in the next.
        return turns * (self.window / sure + 2 * self.gap * flags_rise) + self.window


class Budget:
    """Counts polling's requests, and tells when its quota has room for another.

    What isn't used is credit. Readings in turn leave a part of it to what is urgent, and both leave the orders theirs.
    Moments are on anyio's clock.
    """

    def __init__(self) -> None:
        self._begun: deque[float] = deque()
        self._next_in_turn = -math.inf

    def note(self, now: float) -> None:
        """Take note of a request of polling that begins now."""
        self._begun.append(now)

    def note_in_turn(self, now: float, quota: Quota) -> None:
        """Take note that a list is read in turn from now on."""
        # By plan rather than from the last, so that one which had to wait for its tick doesn't delay all others.
        begins = self._next_in_turn if now < self._next_in_turn + quota.spread else now
        self._next_in_turn = begins + quota.spread

    def orders_from(self, now: float, quota: Quota) -> float:
        """Return when the orders may be asked for."""
        return self._free(quota.requests, now, quota.window)

    def urgent_from(self, now: float, quota: Quota) -> float:
        """Return when a list may be read whose flag rose, or a request made again that failed."""
        return self._free(quota.urgent, now, quota.window)

    def in_turn_from(self, now: float, quota: Quota) -> float:
        """Return when a list may be read in turn."""
        return max(self._free(quota.unhurried, now, quota.window), self.spread_from(now, quota))

    def spread_from(self, now: float, quota: Quota) -> float:
        """Return the same as far as it is only about spreading them out."""
        return min(self._next_in_turn, now + quota.spread)  # the pace may have become quicker

    def _free(self, most: float, now: float, window: float) -> float:
        """Return from when on there are fewer requests than `most` within a window."""
        while self._begun and self._begun[0] <= now - window + HAIR:
            self._begun.popleft()
        if most == math.inf:
            return now
        count = math.floor(most + HAIR)
        return now if len(self._begun) < count else self._begun[len(self._begun) - count] + window
