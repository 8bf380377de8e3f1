"""The scheduler decides which request of a watch comes next, and when. `Waiters` is its input: what callers wait for.

One rule, in this order, for each free slot:

a. `orders`, if it is due; not twice in a row while a list is ready, nor before an awaited list whose flag rose;
b. a list of messages whose flag rose, or whose order seems to be removed; after three of these in a row one of (c);
c. lists in turn: awaited ones and all others, two slots to one, each the longest unread first.

While orders and lists both fail, only orders and awaited lists are requested.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections import Counter, deque
from itertools import chain
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from attrs import define, field, frozen

from smspva_async._concurrency import Signal
from smspva_async._server_clock import EPSILON
from smspva_async.journal.shared import Demand

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from smspva_async._watch.journal_io import JournalReader
    from smspva_async.journal.state import OrderTrack

ORDERS: Final = None
"""The request for the orders. The request for a list of messages is the id of its order."""

_SHARE, _SHARE_IF_AWAITED = 3 / 4, 9 / 10
"""Polling's share of the pace."""
_MIN_SPACING = 0.05
_URGENT_IN_A_ROW = 3
_AWAITED_IN_A_ROW = 2
_FEW = 2
"""The number of awaited lists up to which reading them in turn is quicker than polling for flags."""
_FLAGS_MEASURED = 20
_FLAGS_NEEDED = 2
_FLAGS_WORK = 1 / 4


# -- what callers wait for ---------------------------------------------------------------------------------------------


@frozen
class Wants:
    """A snapshot of what callers wait for."""

    messages: frozenset[int] = frozenset()
    """Orders whose messages are waited for."""
    states: frozenset[int] = frozenset()
    """Orders whose state is waited for."""
    refresh: bool = False
    """True if a caller needs a fresh `orders` poll."""


@define(eq=False)
class RefreshRequest:
    """A caller's request for fresh answers about an order. Only requests sent from now on give them."""

    order_id: int
    token: str = field(factory=lambda: uuid4().hex[:16], init=False)
    """Its name in a fleet."""
    orders_listed: bool = False
    """True once such a request for `orders` is answered."""
    read_at: int | None = None
    """The newest event's `seq` once such a request for the order's messages is answered."""


class Waiters:
    """The open waits of a watcher.

    Args:
        reader: Wakes callers when their refresh requests are answered.

    """

    def __init__(self, reader: JournalReader) -> None:
        self.changed: Signal = Signal()
        """Set when a wait begins or ends."""
        self._reader = reader
        self._messages: Counter[int] = Counter()
        self._states: Counter[int] = Counter()
        self._refreshes: list[RefreshRequest] = []

    @property
    def wants(self) -> Wants:
        """A snapshot of the open waits."""
        refresh = any(not request.orders_listed for request in self._refreshes)
        return Wants(frozenset(self._messages), frozenset(self._states), refresh)

    @property
    def demand(self) -> Demand:
        """The open waits, for the process that polls."""
        open_requests = (request for request in self._refreshes if not request.orders_listed or request.read_at is None)
        refreshes = {request.token: request.order_id for request in open_requests}
        return Demand(frozenset(self._messages), frozenset(self._states), refreshes)

    @property
    def counts(self) -> dict[str, int]:
        """The number of open waits by kind."""
        return {"message": self._messages.total(), "state": self._states.total()}

    def waiting_for_message(self, order_id: int) -> contextlib.AbstractContextManager[None]:
        """Count one more wait for an order's message."""
        return self._waiting(self._messages, order_id)

    def waiting_for_state(self, order_id: int) -> contextlib.AbstractContextManager[None]:
        """Count one more wait for an order's state."""
        return self._waiting(self._states, order_id)

    @contextlib.contextmanager
    def _waiting(self, waits: Counter[int], order_id: int) -> Generator[None]:
        waits[order_id] += 1
        self.changed.set()
        try:
            yield
        finally:
            waits[order_id] -= 1
            if not waits[order_id]:
                del waits[order_id]
            self.changed.set()

    @contextlib.contextmanager
    def refreshing(self, order_id: int) -> Generator[RefreshRequest]:
        """Have `orders` polled and an order's messages read."""
        request = RefreshRequest(order_id)
        self._refreshes.append(request)
        self.changed.set()
        try:
            yield request
        finally:
            self._refreshes.remove(request)
            self.changed.set()

    @property
    def refreshes(self) -> Iterable[RefreshRequest]:
        """The open refresh requests. A request of the poll loop that is sent now can answer them."""
        return tuple(self._refreshes)

    def orders_listed(self, refreshes: Iterable[RefreshRequest]) -> None:
        """Record that `orders` was answered, for the refresh requests that were open when it was sent."""
        for request in refreshes:
            request.orders_listed = True
        self._answered()

    def messages_read(self, order_id: int, refreshes: Iterable[RefreshRequest], newest: int) -> None:
        """Record that an order's messages were read; `newest` is the newest event's `seq` after that."""
        for request in refreshes:
            if request.order_id == order_id and request.read_at is None:
                request.read_at = newest
        self._answered()

    def answered(self, token: str, read_at: int | None) -> None:
        """Record an answer of the process that polls: `orders` was answered, or else the order's messages were read."""
        for request in self._refreshes:
            if request.token == token and read_at is None:
                request.orders_listed = True
            elif request.token == token:
                request.read_at = read_at
        self._answered()

    def _answered(self) -> None:
        if self._refreshes:
            self._reader.notify()


# -- which request comes next ------------------------------------------------------------------------------------------


class Scheduler:
    """Decides which request comes next. The caller passes the time, in seconds of one clock.

    Args:
        now: The current time.
        interval: Seconds between two polls of the orders, and between two readings of a list that isn't awaited.
        eager_interval: Seconds; it sets the shorter periods while a caller waits.

    """

    def __init__(self, now: float, *, interval: float, eager_interval: float) -> None:
        self.polls = 0
        """Good answers to `orders`."""
        self.flags = Counter(announced=0, unannounced=0)
        """New messages that a flag announced, and others, as `WatchStatistics.flags` counts them."""
        self._interval = interval
        self._eager_interval = eager_interval
        self._recent: deque[bool] = deque(maxlen=_FLAGS_MEASURED)
        self._tracks: Mapping[int, OrderTrack] = {}
        self._unread: dict[int, None] = {}
        """Lists that this run has not requested yet."""
        self._read: dict[int, float] = {}
        """The other lists, each with the moment of its last request, the longest unread first."""
        self._urgent: dict[int, None] = {}
        self._stayed_up: set[int] = set()
        """Lists whose flag rose again without having fallen."""
        self._failed: set[int] = set()
        """Urgent lists that could not be read."""
        self._in_flight: set[int | None] = set()
        self._polls_at: dict[int, int] = {}
        """The number of polls before each list's last request."""
        self._announced: dict[int, bool | None] = {}
        """For a list that is being read: True if a flag announced its messages; None: that can't be measured."""
        self._urgent_in_row = self._awaited_in_row = 0
        self._last = self._orders_sent = -math.inf
        # The grid of polls. Each watcher has its own phase, so that many watchers don't poll at the same moment.
        self._grid = now - random.uniform(0, interval / 10)  # noqa: S311 - no secret
        self._ticked = now
        self._poll_again_at = math.inf
        self._orders_fail = self._reads_fail = self._orders_were_last = self._urgent_is_next = False

    # -- what is next ------------------------------------------------------------------------------------------------

    def next(self, wants: Wants, gap: float, now: float) -> tuple[float, int | None]:
        """Return the moment of the next request, and the request. They are valid until something changes.

        Args:
            wants: What callers wait for.
            gap: The client's current gap: the minimum number of seconds between two requests.
            now: The current time.

        """
        slot = max(now, self.free_at(wants, gap))
        due = self._orders_due(wants, gap)
        in_turn, urgent = self._next_in_turn(wants, slot), self._next_urgent(wants)
        is_turn = in_turn is not None and in_turn[0] <= slot + EPSILON
        are_many_urgent = self._urgent_in_row >= _URGENT_IN_A_ROW
        if due <= slot + EPSILON:
            # Other calls may delay each request until `orders` is due again. Then lists get every other slot.
            is_list_next = self._orders_were_last and (is_turn or urgent is not None)
            if not (is_list_next or (urgent in wants.messages and not are_many_urgent)):
                return slot, ORDERS
        self._urgent_is_next = urgent is not None and not (is_turn and are_many_urgent)
        if self._urgent_is_next:
            return slot, urgent
        if in_turn is not None and (is_turn or in_turn[0] < due):
            return max(slot, in_turn[0]), in_turn[1]
        return max(slot, due), ORDERS

    def free_at(self, wants: Wants, gap: float) -> float:
        """Return the moment from which the watch may send another request."""
        return self._last + _spacing(wants, gap)

    def period(self, wants: Wants, gap: float) -> float:
        """Return the seconds between two polls of the orders."""
        period = self._interval
        if wants.states or any(order_id not in self._tracks for order_id in wants.messages):
            period = min(period, 3 * self._eager_interval)
        if len(wants.messages) > _FEW and self._flags_work:
            period = min(period, self._eager_interval)
        return max(period, 2 * gap, 2 * _MIN_SPACING)

    def full_scan(self, wants: Wants, gap: float) -> float:
        """Return the seconds to read every list once while no flag rises and nothing delays requests."""
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
            # The next point of the grid. Missed ticks, for instance of a suspended machine, are not repeated.
            passed = math.floor((self._ticked - self._grid) / self._interval + EPSILON)
            due = self._grid + (passed + 1) * self._interval
        else:
            due = self._orders_sent + period
        if wants.refresh:
            due = min(due, self._orders_sent + (3 * self._eager_interval if self._orders_fail else 2 * gap))
        return min(due, self._poll_again_at)

    def _next_urgent(self, wants: Wants) -> int | None:
        ready = [order_id for order_id in self._urgent if order_id not in self._in_flight]
        awaited = (order_id for order_id in ready if order_id in wants.messages)
        return next(chain(awaited, () if self._is_down else ready), None)

    def _next_in_turn(self, wants: Wants, slot: float) -> tuple[float, int] | None:
        """Return the moment from which the list that is next in turn may be read, and its order's id."""
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
        """True while orders and lists both fail."""
        return self._orders_fail and self._reads_fail

    def _has_urgent_reason(self, order_id: int) -> bool:
        """Return whether a list's flag rose and it isn't read yet, or its order seems to be removed."""
        track = self._tracks.get(order_id)
        return track is not None and (track.flag_rose or track.suspected_at is not None)

    @property
    def _flags_work(self) -> bool:
        return len(self._recent) >= _FLAGS_NEEDED and sum(self._recent) >= _FLAGS_WORK * len(self._recent)

    # -- what happens ------------------------------------------------------------------------------------------------

    def update(self, tracks: Mapping[int, OrderTrack]) -> None:
        """Apply the orders' changes since the last update."""
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
            elif not self._has_urgent_reason(order_id):
                self._urgent.pop(order_id, None)
        for order_id in before.keys() - tracks.keys() if len(self._unread) + len(self._read) != len(tracks) else ():
            self._stayed_up.discard(order_id)
            self._failed.discard(order_id)
            for lists in (self._unread, self._read, self._urgent, self._polls_at):
                lists.pop(order_id, None)

    def record_chosen(self, request: int | None, wants: Wants, now: float) -> None:
        """Record that the request of the last `next` is made. The client sends it when its pace permits."""
        self._in_flight.add(request)
        self._last = now
        self._orders_were_last = request is ORDERS
        if request is None:  # ORDERS
            return
        self._urgent.pop(request, None)
        if self._urgent_is_next:
            self._urgent_in_row += 1
            return
        self._urgent_in_row = 0
        self._awaited_in_row = self._awaited_in_row + 1 if request in wants.messages else 0

    def record_sent(self, request: int | None, now: float) -> None:
        """Record that a request is being sent, for the first time or again."""
        self._last = now
        if request is None:  # ORDERS
            self._orders_sent = self._ticked = now
            self._poll_again_at = math.inf
            self._reads_fail = False
            return
        polls_before = self._polls_at.get(request)
        if request in self._tracks:
            self._unread.pop(request, None)
            self._read.pop(request, None)
            self._read[request] = now
            self._polls_at[request] = self.polls
        is_measured = polls_before is not None and polls_before < self.polls and request in self._tracks
        if request in self._stayed_up:  # it may be up for an older message
            self._stayed_up.discard(request)
            is_measured = False
        if request not in self._announced or is_measured:
            self._announced[request] = self._tracks[request].flag_rose if is_measured else None

    def record_retry(self, now: float) -> None:
        """Record that a request that failed is about to be sent again."""
        self._last = now

    def record_end(
        self, request: int | None, now: float, *, failed: bool, new: int = 0, poll_again_at: float = math.inf
    ) -> None:
        """Record that a request was answered, or failed.

        Args:
            request: The request.
            now: The current time.
            failed: True if it failed.
            new: The number of new messages in the answer.
            poll_again_at: The latest moment for the next `orders` poll.

        """
        self._in_flight.discard(request)
        if request is None:  # ORDERS
            self.polls += not failed
            if not failed:  # urgent lists that couldn't be read are tried once more
                self._urgent.update(dict.fromkeys(filter(self._has_urgent_reason, self._failed)))
                self._failed.clear()
            self._ticked = now
            self._orders_fail = failed
            self._poll_again_at = poll_again_at
            return
        self._reads_fail = failed
        if failed and self._has_urgent_reason(request):
            self._failed.add(request)
        announced = self._announced.pop(request, None)
        if announced is not None:
            self.flags["announced" if announced else "unannounced"] += new
            self._recent.extend([announced] * min(new, _FLAGS_MEASURED))


def _spacing(wants: Wants, gap: float) -> float:
    """Return the minimum number of seconds between two requests of the watch."""
    return max(gap / (_SHARE_IF_AWAITED if wants.messages else _SHARE), _MIN_SPACING)
