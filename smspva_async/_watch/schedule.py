"""When polling is to ask, and when the pace lets it."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import anyio

from smspva_async._watch.budget import HAIR, Budget, Quota

if TYPE_CHECKING:
    from smspva_async._watch.demand import Demand
    from smspva_async._watch.source import PolledSource

__all__ = ["Schedule"]


class Schedule:
    """The times of a watch's requests, on anyio's clock.

    Args:
        source: What is polled, and at which pace.
        demand: Who waits, so that the orders are polled more often.
        interval: Seconds between two polls of the orders.
        eager_interval: The same while a message is waited for; three times that while only a state is.

    """

    def __init__(self, source: PolledSource, demand: Demand, *, interval: float, eager_interval: float) -> None:
        self.interval = interval
        self.flags_work = False
        """Whether a flag was ever seen up. If not, messages are found by reading in turn alone."""
        self._source = source
        self._demand = demand
        self._eager_interval = eager_interval
        self._budget = Budget()

    def begin(self) -> None:
        """Let the grid of polls begin now."""
        self._began = self._ticked = anyio.current_time()
        self._phase = random.uniform(0, self.interval / 10)  # noqa: S311 - spreads load

    @property
    def quota(self) -> Quota:
        """What polling may use as things stand."""
        gap = self._source.gap
        eager = max(self._eager_interval, 2 * gap)
        if not self._demand.messages:
            eager = 3 * eager if self._demand.states else math.inf
        return Quota.of(self.interval, gap, wanted=min(self.interval, eager), flags_work=self.flags_work)

    # -- the orders --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Take note that a poll of the orders is dealt with now."""
        self._ticked = anyio.current_time()

    def due(self, *, at_once: bool) -> float:
        """Return when the orders are to be polled next: on the grid, sooner if somebody waits, or as soon as it may."""
        quota = self.quota
        if at_once:
            due = self._ticked + 2 * quota.gap
        else:
            due = self.due_by_interval() if quota.period >= self.interval else self._ticked + quota.period
        return max(due, self._budget.orders_from(anyio.current_time(), quota))

    def due_by_interval(self) -> float:
        """Return the same if nobody waits: by the interval, which the pace may draw out."""
        period = self.quota.period
        return self._due_on_grid() if period <= self.interval else self._ticked + period

    def _due_on_grid(self) -> float:
        # Never two for ticks missed, by a suspended machine for instance: the next point of the grid is meant.
        # The hair's breadth is for a poll on a point, which rounding may put before it.
        passed = math.floor((self._ticked - self._began + self._phase) / self.interval + HAIR)
        return self._began + (passed + 1) * self.interval - self._phase

    # -- the pace ----------------------------------------------------------------------------------------------------

    def note_request(self) -> None:
        """Take note that a request begins."""
        self._budget.note(anyio.current_time())

    def note_in_turn(self) -> None:
        """Take note that a list is read in turn from now on."""
        self._budget.note_in_turn(anyio.current_time(), self.quota)

    def urgent_from(self) -> float:
        """Return when a list may be read whose flag rose, or a request made again that failed."""
        return self._budget.urgent_from(anyio.current_time(), self.quota)

    def in_turn_from(self) -> float:
        """Return when a list may be read in turn."""
        return self._budget.in_turn_from(anyio.current_time(), self.quota)

    def is_turn_due(self) -> bool:
        """Tell whether a list is to be read in turn now, whatever flags have risen."""
        now = anyio.current_time()
        return self._budget.spread_from(now, self.quota) <= now
