"""The pace: requests begin one at a time, at least a gap apart, urgent ones first."""

from __future__ import annotations

import contextlib
import math
import time
from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from smspva_async._api.validation import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.lowlevel import EventLoopToken

_MIN_GROWN_GAP = 0.5
_MAX_GROWTH = 16
_LONGEST_GROWN_GAP = 60.0
_SHRINKING = 0.95
_NEARLY_SHRUNK = 0.05


@frozen
class Pace:
    """The limit on a client's request rate.

    The default is 40 requests a minute, the provider's limit for its other API (where it also asks for 4 to 5 seconds
    between queries); for rentals it states none. An invalid gap raises `ValueError`.

    When the server reports too many requests, the gap doubles, to at least half a second, and at most a minute or
    sixteen times the setting. Each later answer removes a twentieth of the growth. All requests of the client wait for
    a ``Retry-After`` of up to two minutes.
    """

    gap: float = 1.5
    """The minimum number of seconds between the starts of two requests; 0 for no gap."""

    def __attrs_post_init__(self) -> None:
        seconds("the gap", self.gap, zero=True)


class Priority(Enum):
    """The priorities of requests, the most urgent first."""

    SPENDING = "spending"
    """A call that spends or destroys."""
    FOREGROUND = "foreground"
    """Any other call by the user."""
    POLLS = "polls"
    """A watcher's poll."""


_MOST_SKIPS = {Priority.POLLS: 3, Priority.FOREGROUND: 2}
"""The skipped slots after which a priority goes first. Polls come before foreground, which can miss one more slot."""


@define(eq=False)
class Permit:
    """A caller's entry in the queue; once granted, the permission to send one request."""

    priority: Priority
    queue: Queue
    number: int = 0
    """The number of its request, from 1; 0 before the request has begun."""
    woken: anyio.Event = field(factory=anyio.Event)
    since: float = field(factory=anyio.current_time)
    """The time when it joined the queue, by the loop's clock."""


class Queue:
    """The waiting permits of one event loop, first come, first served within a priority.

    One waiter at a time runs the timer. When a slot is free, it grants the slot to the permit that is next by then. The
    next slot is granted after that request has begun or was cancelled.
    """

    def __init__(self, loop: EventLoopToken | None) -> None:
        self.loop: EventLoopToken | None = loop
        self.waiting: dict[Priority, OrderedDict[Permit, None]] = {priority: OrderedDict() for priority in Priority}
        self.skips: dict[Priority, int] = {}
        """Slots that went to other priorities, for each priority that has a waiter."""
        self.timer: Permit | None = None
        """The permit whose waiter runs the timer."""
        self.granted: Permit | None = None
        self.last: float = -math.inf
        """The time of the last request by the loop's clock."""
        self.free_at: float = -math.inf
        """The time of the next free slot by the loop's clock."""
        self.last_monotonic: float = 0.0
        """The time of the last request, by `time.monotonic`."""

    def join(self, priority: Priority) -> Permit:
        """Add a permit to the queue and return it."""
        permit = Permit(priority, self)
        self.waiting[priority][permit] = None
        self.skips.setdefault(priority, 0)
        self._appoint_timer()
        return permit

    async def take(self) -> Priority:
        """Wait until a slot is free, and return the priority that gets it."""
        wakeup = math.nan
        while wakeup != self.free_at:  # the server may have requested a later time meanwhile
            wakeup = self.free_at
            await anyio.sleep_until(wakeup)
        return next_priority(self.skips)

    def grant(self, timer: Permit, priority: Priority) -> None:
        """Grant the free slot to the first permit of a priority."""
        self.timer = None
        self.granted = next(iter(self.waiting[priority]))
        self._remove(self.granted)
        timer.woken = anyio.Event()
        self.granted.woken.set()

    def leave(self, permit: Permit) -> None:
        """Remove a waiting or granted permit. A second call does nothing."""
        self._remove(permit)
        if permit is self.timer:
            self.timer = None
        if permit is self.granted:
            self.granted = None
        self._appoint_timer()

    def _remove(self, permit: Permit) -> None:
        waiting = self.waiting[permit.priority]
        waiting.pop(permit, None)
        if not waiting:
            self.skips.pop(permit.priority, None)

    def _appoint_timer(self) -> None:
        if self.skips and self.timer is None and self.granted is None:
            self.timer = next(iter(self.waiting[next_priority(self.skips)]))  # it will probably get the slot, too
            with contextlib.suppress(RuntimeError):  # a call may be cancelled after its event loop has ended
                self.timer.woken.set()


class RateLimiter:
    """Grants permits one at a time, in one event loop after another.

    Args:
        gap: The minimum number of seconds between the starts of two requests.

    """

    def __init__(self, gap: float) -> None:
        self.gap: float = gap
        """The current gap. It grows when the server reports too many requests."""
        self._setting = gap
        self._begun = 0
        self._begun_when_grown = 0
        self._queue = self._new_queue(None)

    def _new_queue(self, loop: EventLoopToken | None) -> Queue:
        return Queue(loop)

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting calls by priority."""
        return {priority.value: len(waiting) for priority, waiting in self._queue.waiting.items()}

    async def acquire(self, priority: Priority) -> Permit:
        """Wait until a request may begin, and return a permit for it.

        The caller calls `begin` when it sends the request, and `release` in any case.
        """
        if (loop := anyio.lowlevel.current_token()) != self._queue.loop:
            before, self._queue = self._queue, self._new_queue(loop)  # waiters of another loop keep their queue
            if before.last > -math.inf:
                self._queue.last = anyio.current_time() - (time.monotonic() - before.last_monotonic)
                self._queue.free_at = self._queue.last + (before.free_at - before.last)
        queue = self._queue
        permit = queue.join(priority)
        try:
            while permit is not queue.granted:
                if permit is queue.timer:
                    queue.grant(permit, await queue.take())
                else:
                    await permit.woken.wait()
        except BaseException:
            self.release(permit)
            raise
        return permit

    async def begin(self, permit: Permit) -> None:
        """Record that the request is being sent, possibly later than it was allowed."""
        self._begun += 1
        permit.number = self._begun
        queue = permit.queue
        queue.skips = skipped(queue.skips, permit.priority)
        queue.last, queue.last_monotonic = anyio.current_time(), time.monotonic()
        queue.free_at = max(queue.free_at, queue.last + self.gap)
        self.release(permit)

    def release(self, permit: Permit) -> None:
        """Give up a permit, so that the next request may begin. A second call does nothing."""
        permit.queue.leave(permit)

    def accepted(self, permit: Permit) -> None:
        """Record that the server accepted a request."""
        if permit.number > self._begun_when_grown and self.gap != self._setting:
            self.gap = shrunk(self.gap, self._setting)

    def refused(self, permit: Permit) -> None:
        """Record that the server refused a request because there were too many."""
        # Requests that began before the gap grew don't count against the current gap.
        if permit.number > self._begun_when_grown:
            self.gap = grown(self.gap, self._setting)
            self._begun_when_grown = self._begun
            permit.queue.free_at = max(permit.queue.free_at, permit.queue.last + self.gap)

    def pause(self, seconds: float) -> None:
        """Delay all requests by some seconds."""
        self._queue.free_at = max(self._queue.free_at, anyio.current_time() + seconds)


def next_priority(skips: Mapping[Priority, int]) -> Priority:
    """Return the priority that gets the next slot.

    It is one that was skipped too often, else the most urgent one. So each waiting one gets at least one slot in four.

    Args:
        skips: The slots that went to other priorities, for each priority that has a waiter; at least one.

    """
    overdue = (priority for priority, most in _MOST_SKIPS.items() if skips.get(priority, 0) >= most)
    return next(overdue, next(priority for priority in Priority if priority in skips))


def skipped(skips: Mapping[Priority, int], priority: Priority) -> dict[Priority, int]:
    """Return the updated counts of skipped slots after a slot went to `priority`."""
    return {other: 0 if other is priority else count + 1 for other, count in skips.items()}


def grown(gap: float, setting: float) -> float:
    """Return the gap after the server has reported too many requests.

    Args:
        gap: The current gap in seconds.
        setting: The user's gap in seconds; it may be longer than the limit of growth.

    """
    unit = max(setting, _MIN_GROWN_GAP)
    return max(gap, min(max(2 * gap, unit), _MAX_GROWTH * unit, _LONGEST_GROWN_GAP))


def shrunk(gap: float, setting: float) -> float:
    """Return the gap after an answer to a request that kept the current gap.

    Args:
        gap: The current gap in seconds.
        setting: The user's gap in seconds.

    """
    growth = _SHRINKING * (gap - setting)
    return setting if growth < _NEARLY_SHRUNK * max(setting, _MIN_GROWN_GAP) else setting + growth
