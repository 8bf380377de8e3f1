"""The scheduler: which request of a watch comes next, and when.

One rule, in this order, for each free slot:

a. `orders`, if it is due; not twice in a row while a list is ready, nor before an awaited list whose flag rose;
b. a list of messages whose flag rose, or whose order seems to be gone; after three of these in a row another one;
c. lists in turn: awaited ones and all others, two slots to one, each the longest unread first.

While orders and lists both fail, only orders and awaited lists are asked for.

All moments are seconds on one clock, which the caller brings.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from itertools import chain
from typing import TYPE_CHECKING, Final

from smspva_async._watch.clock import EPSILON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smspva_async._watch.waiters import Wants
    from smspva_async.journal.state import OrderTrack

__all__ = ["ORDERS", "Scheduler"]

ORDERS: Final = None
"""The request for the orders; that for a list of messages is the id of its order."""

_SHARE, _SHARE_IF_AWAITED = 3 / 4, 9 / 10
_LEAST_SPACING = 0.05
_URGENT_IN_A_ROW = 3
_AWAITED_IN_A_ROW = 2
_FEW = 2
"""Orders waited for up to which reading their lists in turn is quicker than asking for flags."""
_FLAGS_MEASURED = 20
_FLAGS_NEEDED = 2
_FLAGS_WORK = 1 / 4


class Scheduler:
    """Decides which request comes next.

    Args:
        now: The moment.
        interval: Seconds between two polls of the orders, and between two readings of a list that nobody waits for.
        eager_interval: Seconds from which those follow that apply while somebody waits.

    """

    def __init__(self, now: float, *, interval: float, eager_interval: float) -> None:
        self.polls = 0
        """Good answers to `orders`."""
        self.flags = Counter(announced=0, unannounced=0)
        """Messages that a flag announced, and that none did although it was looked at in time."""
        self._interval = interval
        self._eager_interval = eager_interval
        self._recent: deque[bool] = deque(maxlen=_FLAGS_MEASURED)
        self._tracks: Mapping[int, OrderTrack] = {}
        self._unread: dict[int, None] = {}
        """Lists that this run has not asked for yet."""
        self._read: dict[int, float] = {}
        """The others, each with the moment at which it was last asked for, the longest unread first."""
        self._urgent: dict[int, None] = {}
        self._stayed_up: set[int] = set()
        """Lists whose flag did not fall before it rose."""
        self._failed: set[int] = set()
        """Urgent lists that could not be read."""
        self._in_flight: set[int | None] = set()
        self._polls_at: dict[int, int] = {}
        """The number of polls before each list was last asked for."""
        self._announced: dict[int, bool | None] = {}
        """For a list that is being read, whether its flag announced what it brings; None: that can't be told."""
        self._urgent_in_row = self._awaited_in_row = 0
        self._last = self._orders_sent = -math.inf
        # The grid of polls: each watcher has its own phase, so that many don't ask at once.
        self._grid = now - random.uniform(0, interval / 10)  # noqa: S311 - no secret
        self._ticked = now
        self._orders_by = math.inf
        self._refresh_sent = 0
        self._orders_fail = self._reads_fail = self._orders_were_last = self._is_urgent = False

    # -- what is next ------------------------------------------------------------------------------------------------

    def next(self, wants: Wants, gap: float, now: float) -> tuple[float, int | None]:
        """Return the next request and its moment; nothing needs to be done before, unless something changes.

        Args:
            wants: What is waited for.
            gap: The least seconds between two requests of the client now.
            now: The moment.

        """
        slot = max(now, self.free_at(wants, gap))
        due = self._orders_due(wants, gap)
        in_turn, urgent = self._next_in_turn(wants, slot), self._next_urgent(wants)
        is_turn = in_turn is not None and in_turn[0] <= slot + EPSILON
        are_many_urgent = self._urgent_in_row >= _URGENT_IN_A_ROW
        if due <= slot + EPSILON:
            # However long other calls of the client delay polling.
            is_list_next = self._orders_were_last and (is_turn or urgent is not None)
            if not (is_list_next or (urgent in wants.messages and not are_many_urgent)):
                return slot, ORDERS
        self._is_urgent = urgent is not None and not (is_turn and are_many_urgent)
        if self._is_urgent:
            return slot, urgent
        if in_turn is not None and (is_turn or in_turn[0] < due):
            return max(slot, in_turn[0]), in_turn[1]
        return max(slot, due), ORDERS

    def free_at(self, wants: Wants, gap: float) -> float:
        """Return the moment from which polling may send another request."""
        return self._last + _spacing(wants, gap)

    def period(self, wants: Wants, gap: float) -> float:
        """Return the seconds between two polls of the orders."""
        period = self._interval
        if wants.states or any(order_id not in self._tracks for order_id in wants.messages):
            period = min(period, 3 * self._eager_interval)
        if len(wants.messages) > _FEW and self._flags_work:
            period = min(period, self._eager_interval)
        return max(period, 2 * gap, 2 * _LEAST_SPACING)

    def full_scan(self, wants: Wants, gap: float) -> float:
        """Return the seconds that a turn over all lists takes, while no flag rises and nothing delays polling."""
        awaited = sum(order_id in self._tracks for order_id in wants.messages)
        others = len(self._tracks) - awaited
        spacing = _spacing(wants, gap)
        rate = 1 / spacing - 1 / max(self.period(wants, gap), 2 * spacing)
        most = rate * _AWAITED_IN_A_ROW / (_AWAITED_IN_A_ROW + 1) if others else rate
        rate_awaited = min(most, awaited / (self._eager_interval / 2))
        turn_awaited = awaited / rate_awaited if awaited else 0.0
        return max(turn_awaited, self._interval, others / (rate - rate_awaited)) if others else turn_awaited

    def _orders_due(self, wants: Wants, gap: float) -> float:
        if ORDERS in self._in_flight:
            return math.inf
        period = self.period(wants, gap)
        if period == self._interval:
            # Never two for ticks missed, by a suspended machine for instance: the next point of the grid is meant.
            passed = math.floor((self._ticked - self._grid) / self._interval + EPSILON)
            due = self._grid + (passed + 1) * self._interval
        else:
            due = self._orders_sent + period
        if wants.refresh > self._refresh_sent or (wants.refresh and self._orders_fail):
            due = min(due, self._orders_sent + (3 * self._eager_interval if self._orders_fail else 2 * gap))
        return min(due, self._orders_by)

    def _next_urgent(self, wants: Wants) -> int | None:
        ready = (order_id for order_id in self._urgent if order_id not in self._in_flight)
        first = next(ready, None)
        if first is None or (first in wants.messages):
            return first
        awaited = next((order_id for order_id in ready if order_id in wants.messages), None) if wants.messages else None
        return None if awaited is None and self._is_down else awaited or first

    def _next_in_turn(self, wants: Wants, slot: float) -> tuple[float, int] | None:
        """Return the list that is next in turn, and the moment from which it may be read."""
        awaited = [
            (self._read.get(order_id, -math.inf) + self._eager_interval / 2, order_id)
            for order_id in wants.messages
            if order_id in self._tracks and order_id not in self._in_flight
        ]
        others = (
            (self._read.get(order_id, -math.inf) + self._interval, order_id)
            for order_id in chain(self._unread, self._read)
            if order_id not in wants.messages and order_id not in self._in_flight
        )
        found = [min(awaited, default=None), None if self._is_down else next(others, None)]
        if self._awaited_in_row >= _AWAITED_IN_A_ROW:
            found.reverse()
        ready = [candidate for candidate in found if candidate is not None]
        in_time = (candidate for candidate in ready if candidate[0] <= slot + EPSILON)
        return next(in_time, min(ready, default=None))

    @property
    def _is_down(self) -> bool:
        """True while orders and lists both fail: then only orders and awaited lists are asked for."""
        return self._orders_fail and self._reads_fail

    def _is_worth_hurry(self, order_id: int) -> bool:
        track = self._tracks.get(order_id)
        return track is not None and (track.flag_rose or track.suspected_at is not None)

    @property
    def _flags_work(self) -> bool:
        return len(self._recent) >= _FLAGS_NEEDED and sum(self._recent) >= _FLAGS_WORK * len(self._recent)

    # -- what happens ------------------------------------------------------------------------------------------------

    def update(self, tracks: Mapping[int, OrderTrack]) -> None:
        """Take over what has changed about the orders."""
        before, self._tracks = self._tracks, tracks
        if tracks is before:
            return
        for order_id, track in tracks.items():
            old = before.get(order_id)
            if old is track:
                continue
            if old is None:
                self._unread[order_id] = None
            rose = track.flag_rose and (old is None or not old.flag_rose or old.rose_at != track.rose_at)
            if rose and old is not None and old.order.has_new_sms:
                self._stayed_up.add(order_id)
            suspected = track.suspected_at is not None and (old is None or old.suspected_at is None)
            if rose or suspected:
                self._urgent[order_id] = None
            elif not self._is_worth_hurry(order_id):
                self._urgent.pop(order_id, None)
        for order_id in before.keys() - tracks.keys() if len(self._unread) + len(self._read) != len(tracks) else ():
            self._stayed_up.discard(order_id)
            self._failed.discard(order_id)
            for places in (self._unread, self._read, self._urgent, self._polls_at):
                places.pop(order_id, None)

    def begin(self, request: int | None, wants: Wants, now: float) -> None:
        """Note that the request of the last `next` is chosen; it is sent as soon as the client's pace permits it."""
        self._in_flight.add(request)
        self._last = now
        self._orders_were_last = request is ORDERS
        if request is None:  # ORDERS
            return
        self._urgent.pop(request, None)
        if self._is_urgent:
            self._urgent_in_row += 1
            return
        self._urgent_in_row = 0
        self._awaited_in_row = self._awaited_in_row + 1 if request in wants.messages else 0

    def sent(self, request: int | None, now: float, newest_refresh: int = 0) -> None:
        """Note that a request is sent, for the first time or again."""
        self._last = now
        if request is None:  # ORDERS
            self._orders_sent = self._ticked = now
            self._refresh_sent = newest_refresh
            self._orders_by = math.inf
            self._reads_fail = False
            return
        polls_before = self._polls_at.get(request)
        if request in self._tracks:
            self._unread.pop(request, None)
            self._read.pop(request, None)
            self._read[request] = now
            self._polls_at[request] = self.polls
        is_measured = polls_before is not None and polls_before < self.polls and request in self._tracks
        if request in self._stayed_up:  # a flag that didn't fall announces nothing for certain
            self._stayed_up.discard(request)
            is_measured = False
        if request not in self._announced or is_measured:
            self._announced[request] = self._tracks[request].flag_rose if is_measured else None

    def retry(self, now: float) -> None:
        """Note that a request that failed is about to be sent again."""
        self._last = now

    def end(self, request: int | None, now: float, *, failed: bool, new: int = 0, orders_by: float = math.inf) -> None:
        """Note that a request has been answered or has failed.

        Args:
            request: The request.
            now: The moment.
            failed: Whether it failed.
            new: How many new messages it brought.
            orders_by: The moment at which the orders are asked for again, if that is sooner than otherwise.

        """
        self._in_flight.discard(request)
        if request is None:  # ORDERS
            self.polls += not failed
            if not failed:  # urgent lists that couldn't be read are tried once more
                self._urgent.update(dict.fromkeys(filter(self._is_worth_hurry, self._failed)))
                self._failed.clear()
            self._ticked = now
            self._orders_fail = failed
            self._orders_by = orders_by
            return
        self._reads_fail = failed
        if failed and self._is_worth_hurry(request):
            self._failed.add(request)
        announced = self._announced.pop(request, None)
        if announced is not None:
            self.flags["announced" if announced else "unannounced"] += new
            self._recent.extend([announced] * min(new, _FLAGS_MEASURED))


def _spacing(wants: Wants, gap: float) -> float:
    """Return the least seconds between two requests of polling."""
    return max(gap / (_SHARE_IF_AWAITED if wants.messages else _SHARE), _LEAST_SPACING)
