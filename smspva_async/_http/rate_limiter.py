"""The pace: requests begin one by one, never two within the gap, urgent ones first."""

from __future__ import annotations

import contextlib
import math
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
    number: int = 0
    """Of its request, from 1; 0: none has begun."""
    woken: anyio.Event = field(factory=anyio.Event)


class RateLimiter:
    """Grants permits one by one, first come first served within a priority.

    One waiter at a time runs the timer. When a slot is free, the timer's owner grants it to the permit that is next by
    then. The next one is granted after that request has begun or was given up.

    Args:
        gap: Least seconds between the beginnings of two requests.

    """

    def __init__(self, gap: float) -> None:
        self.gap = gap
        """The gap now: it grows when the server says that there were too many requests."""
        self._setting = gap
        self._begun = 0
        self._begun_when_grown = 0
        self._last = self._free_at = -math.inf
        self._loop: object = None
        self._forget_waiters()

    def _forget_waiters(self) -> None:
        self._queues = {priority: OrderedDict[Permit, None]() for priority in Priority}
        self._skipped: dict[Priority, int] = {}  # of the queues that aren't empty
        self._timer: Permit | None = None
        self._granted: Permit | None = None

    def waiting(self) -> dict[str, int]:
        """Return how many wait, by priority."""
        return {priority.value: len(queue) for priority, queue in self._queues.items()}

    async def acquire(self, priority: Priority) -> Permit:
        """Return a permit when a request may begin.

        The caller then calls `begin` as its request is sent, and `release` in any case.
        """
        if (loop := anyio.lowlevel.current_token()) != self._loop:
            self._change_loop(loop)
        permit = Permit(priority)
        self._queues[priority][permit] = None
        self._skipped.setdefault(priority, 0)
        try:
            self._appoint_timer()
            while permit is not self._granted:
                if permit is self._timer:
                    await self._run_timer(permit)
                else:
                    await permit.woken.wait()
        except BaseException:
            self.release(permit)
            raise
        return permit

    def _change_loop(self, loop: object) -> None:
        """Begin anew in another event loop: the waiters are gone, and by its clock the last request may lie ahead."""
        self._loop = loop
        self._forget_waiters()
        if self._last > anyio.current_time():
            self._last = self._free_at = -math.inf

    async def _run_timer(self, owner: Permit) -> None:
        """Sleep until a slot is free, and grant it."""
        moment = math.nan
        while moment != self._free_at:  # it moves on if the server asks for it
            moment = self._free_at
            await anyio.sleep_until(moment)
        self._timer = None
        self._granted = self._next()
        self._remove(self._granted)
        owner.woken = anyio.Event()
        self._granted.woken.set()

    def _next(self) -> Permit:
        return next(iter(self._queues[next_priority(self._skipped)]))

    def _remove(self, permit: Permit) -> None:
        queue = self._queues[permit.priority]
        queue.pop(permit, None)
        if not queue:
            self._skipped.pop(permit.priority, None)

    def _appoint_timer(self) -> None:
        if self._skipped and self._timer is None and self._granted is None:
            self._timer = self._next()  # likely to be the next one then, too
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
                self._timer.woken.set()

    def begin(self, permit: Permit) -> None:
        """Record that the request is being sent, possibly later than it was allowed."""
        self._begun += 1
        permit.number = self._begun
        self._skipped = skipped(self._skipped, permit.priority)
        self._last = anyio.current_time()
        self._free_at = max(self._free_at, self._last + self.gap)
        self.release(permit)

    def release(self, permit: Permit) -> None:
        """Let the next one begin. A second call does nothing."""
        self._remove(permit)
        if permit is self._timer:
            self._timer = None
        if permit is self._granted:
            self._granted = None
        self._appoint_timer()

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
            self._free_at = max(self._free_at, self._last + self.gap)

    def pause(self, seconds: float) -> None:
        """Let nothing begin for some seconds."""
        self._free_at = max(self._free_at, anyio.current_time() + seconds)


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
