"""The pace: requests begin one by one, never two within the gap, urgent ones first."""

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

__all__ = ["Pace", "Permit", "Priority", "RateLimiter", "grown", "next_priority", "shrunk", "skipped"]

_SLOTS_PER_SHARE = 4
_LEAST_GROWTH = 0.5
_MOST_GROWTH = 16
_LONGEST_GROWN_GAP = 60.0
_SHRINKING = 0.95
_NEARLY_BACK = 0.05


@frozen
class Pace:
    """How quickly a client may ask.

    The default is 40 requests a minute: for its other API the provider states so many connections at most (and 4 to 5
    seconds between queries), for rentals it states nothing. A gap that can't be right raises `ValueError`.

    When the server says that there were too many requests, the gap doubles, to half a second at least, and to sixteen
    times the setting or a minute at most; each answer after that takes a twentieth of the growth away again. A wait
    that the server asks for (``Retry-After``, up to two minutes) is kept by every request of the client.
    """

    gap: float = 1.5
    """Least seconds between the beginnings of two requests; 0 is no gap."""

    def __attrs_post_init__(self) -> None:
        seconds("the gap", self.gap, zero=True)


class Priority(Enum):
    """The classes of requests, the most urgent first."""

    SPENDING = "spending"
    """Spends or destroys."""
    FOREGROUND = "foreground"
    """A caller waits for the answer."""
    POLLS = "polls"
    """A watcher polls."""


@define(eq=False)
class Permit:
    """A caller's place in the queue, and then its permission to begin one request."""

    priority: Priority
    queue: _Queue
    number: int = 0
    """Of its request, from 1; 0: none has begun."""
    woken: anyio.Event = field(factory=anyio.Event)


class _Queue:
    """The permits of one event loop that wait: first come, first served within a priority.

    One waiter at a time runs the timer. When a slot is free, it grants it to the permit that is next by then. The next
    slot is granted after that request has begun or was given up.
    """

    def __init__(self, loop: object) -> None:
        self.loop = loop
        self.waiting = {priority: OrderedDict[Permit, None]() for priority in Priority}
        self.skips: dict[Priority, int] = {}
        """Of the priorities that have a waiter."""
        self.timer: Permit | None = None
        """The permit whose owner runs the timer."""
        self.granted: Permit | None = None
        self.last = self.free_at = -math.inf
        """The beginning of the last request and the next free slot, by the loop's clock."""
        self.last_monotonic = 0.0
        """The former by a clock that every loop has."""

    def join(self, priority: Priority) -> Permit:
        """Return a new permit, which waits."""
        permit = Permit(priority, self)
        self.waiting[priority][permit] = None
        self.skips.setdefault(priority, 0)
        self._appoint_timer()
        return permit

    async def sleep_until_free(self) -> None:
        """Return when a slot is free."""
        moment = math.nan
        while moment != self.free_at:  # it moves on if the server asks for it
            moment = self.free_at
            await anyio.sleep_until(moment)

    def grant(self, timer: Permit) -> None:
        """Grant a free slot to the permit that is next."""
        self.timer = None
        self.granted = self._next()
        self._remove(self.granted)
        timer.woken = anyio.Event()
        self.granted.woken.set()

    def leave(self, permit: Permit) -> None:
        """Take a permit out, waiting or granted. A second time does nothing."""
        self._remove(permit)
        if permit is self.timer:
            self.timer = None
        if permit is self.granted:
            self.granted = None
        self._appoint_timer()

    def _next(self) -> Permit:
        return next(iter(self.waiting[next_priority(self.skips)]))

    def _remove(self, permit: Permit) -> None:
        waiting = self.waiting[permit.priority]
        waiting.pop(permit, None)
        if not waiting:
            self.skips.pop(permit.priority, None)

    def _appoint_timer(self) -> None:
        if self.skips and self.timer is None and self.granted is None:
            self.timer = self._next()  # likely to be the next one then, too
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
                self.timer.woken.set()


class RateLimiter:
    """Grants permits one by one, in one event loop after another.

    Args:
        gap: Least seconds between the beginnings of two requests.

    """

    def __init__(self, gap: float) -> None:
        self.gap = gap
        """The gap now: it grows when the server says that there were too many requests."""
        self._setting = gap
        self._begun = 0
        self._begun_when_grown = 0
        self._queue = _Queue(None)

    def waiting(self) -> dict[str, int]:
        """Return how many wait, by priority."""
        return {priority.value: len(waiting) for priority, waiting in self._queue.waiting.items()}

    async def acquire(self, priority: Priority) -> Permit:
        """Return a permit when a request may begin.

        The caller then calls `begin` as its request is sent, and `release` in any case.
        """
        if (loop := anyio.lowlevel.current_token()) != self._queue.loop:
            before, self._queue = self._queue, _Queue(loop)  # waiters of another loop keep their queue
            if before.last > -math.inf:
                self._queue.last = anyio.current_time() - (time.monotonic() - before.last_monotonic)
                self._queue.free_at = self._queue.last + (before.free_at - before.last)
        queue = self._queue
        permit = queue.join(priority)
        try:
            while permit is not queue.granted:
                if permit is queue.timer:
                    await queue.sleep_until_free()
                    queue.grant(permit)
                else:
                    await permit.woken.wait()
        except BaseException:
            self.release(permit)
            raise
        return permit

    def begin(self, permit: Permit) -> None:
        """Record that the request is being sent, possibly later than it was allowed."""
        self._begun += 1
        permit.number = self._begun
        queue = permit.queue
        queue.skips = skipped(queue.skips, permit.priority)
        queue.last, queue.last_monotonic = anyio.current_time(), time.monotonic()
        queue.free_at = max(queue.free_at, queue.last + self.gap)
        self.release(permit)

    def release(self, permit: Permit) -> None:
        """Let the next one begin. A second call does nothing."""
        permit.queue.leave(permit)

    def accepted(self, permit: Permit) -> None:
        """Record that the server accepted a request."""
        if permit.number > self._begun_when_grown and self.gap != self._setting:
            self.gap = shrunk(self.gap, self._setting)

    def refused(self, permit: Permit) -> None:
        """Record that the server refused a request as one too many."""
        # Requests that began before the gap grew say nothing about the gap now.
        if permit.number > self._begun_when_grown:
            self.gap = grown(self.gap, self._setting)
            self._begun_when_grown = self._begun
            permit.queue.free_at = max(permit.queue.free_at, permit.queue.last + self.gap)

    def pause(self, seconds: float) -> None:
        """Let nothing begin for some seconds."""
        self._queue.free_at = max(self._queue.free_at, anyio.current_time() + seconds)


def next_priority(skips: Mapping[Priority, int]) -> Priority:
    """Return the priority that the next slot goes to.

    It is the most urgent one, unless another one that waits would then miss its share, one slot in four.

    Args:
        skips: The priorities that wait, one at least, and how many slots each has seen go to others meanwhile.

    """
    if len(skips) == 1:
        return next(iter(skips))

    def latest(priority: Priority) -> int:
        """Return how many slots some priority will need for one of its own, if the next goes to `priority`."""
        others = sorted((count for other, count in skips.items() if other is not priority), reverse=True)
        return max([_SLOTS_PER_SHARE, *(count + place for place, count in enumerate(others, 2))])

    return min((priority for priority in Priority if priority in skips), key=latest)


def skipped(skips: Mapping[Priority, int], priority: Priority) -> dict[Priority, int]:
    """Return how many slots each waiting priority has seen go to others, once one has gone to `priority`."""
    return {other: 0 if other is priority else count + 1 for other, count in skips.items()}


def grown(gap: float, setting: float) -> float:
    """Return the gap after the server has said that there were too many requests.

    Args:
        gap: Seconds until now.
        setting: Seconds that the user asked for, which may be more than a gap grows to.

    """
    unit = max(setting, _LEAST_GROWTH)
    return max(gap, min(max(2 * gap, unit), _MOST_GROWTH * unit, _LONGEST_GROWN_GAP))


def shrunk(gap: float, setting: float) -> float:
    """Return the gap after an answer to a request that began no sooner than this gap allows.

    Args:
        gap: Seconds until now.
        setting: Seconds that the user asked for.

    """
    growth = _SHRINKING * (gap - setting)
    return setting if growth < _NEARLY_BACK * max(setting, _LEAST_GROWTH) else setting + growth
