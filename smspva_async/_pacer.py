"""The pace: one request after another, never two within the gap, the urgent ones first."""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict

import anyio
import anyio.lowlevel
from attrs import define, field

from smspva_async._policy import Rank, grown, next_rank, passed_over, shrunk

__all__ = ["Pacer", "Turn"]


@define(eq=False)
class Turn:
    """A caller's place in the queue, and then its right to begin one request."""

    rank: Rank
    number: int = 0
    """Of its request, from 1; 0: none has begun."""
    woken: anyio.Event = field(factory=anyio.Event)


class Pacer:
    """Lets requests begin one by one, first come first served within a class.

    Of those who wait, one keeps the time, whoever it is. When a slot is free, it is given to who is next by then, and
    nobody is given another before that one's request has begun or will not.

    Args:
        gap: Least seconds between the beginnings of two.

    """

    def __init__(self, gap: float) -> None:
        self.gap = gap
        """The same as things stand: it grows when the server says that there were too many."""
        self._setting = gap
        self._begun = 0
        self._begun_when_grown = 0
        self._last = self._free_at = -math.inf
        self._loop: object = None
        self._forget_who_waits()

    def _forget_who_waits(self) -> None:
        self._queues = {rank: OrderedDict[Turn, None]() for rank in Rank}
        self._passed: dict[Rank, int] = {}  # of the queues that aren't empty
        self._timekeeper: Turn | None = None
        self._holder: Turn | None = None

    def waiting(self) -> dict[str, int]:
        """Return how many wait, by class."""
        return {rank.value: len(queue) for rank, queue in self._queues.items()}

    async def wait(self, rank: Rank) -> Turn:
        """Return when a request may begin. Who is cancelled leaves the queue.

        The caller then calls `begin` as its request leaves, and `leave` in any case.
        """
        self._renew()
        turn = Turn(rank)
        self._queues[rank][turn] = None
        self._passed.setdefault(rank, 0)
        try:
            self._hand_on()
            while turn is not self._holder:
                if turn is self._timekeeper:
                    await self._keep_time(turn)
                else:
                    await turn.woken.wait()
        except BaseException:
            self.leave(turn)
            raise
        return turn

    def _renew(self) -> None:
        """Begin anew in another event loop: who waited is gone, and by its clock the last request may be to come."""
        loop = anyio.lowlevel.current_token()
        if loop == self._loop:
            return
        self._loop = loop
        self._forget_who_waits()
        if self._last > anyio.current_time():
            self._last = self._free_at = -math.inf

    async def _keep_time(self, timekeeper: Turn) -> None:
        """Sleep until a slot is free, and give it away."""
        moment = math.nan
        while moment != self._free_at:  # it moves on if the server asks for it
            moment = self._free_at
            await anyio.sleep_until(moment)
        self._timekeeper = None
        self._holder = self._next()
        self._remove(self._holder)
        timekeeper.woken = anyio.Event()
        self._holder.woken.set()

    def _next(self) -> Turn:
        return next(iter(self._queues[next_rank(self._passed)]))

    def _remove(self, turn: Turn) -> None:
        queue = self._queues[turn.rank]
        queue.pop(turn, None)
        if not queue:
            self._passed.pop(turn.rank, None)

    def _hand_on(self) -> None:
        """See to it that somebody keeps the time while anybody waits for a slot."""
        if self._passed and self._timekeeper is None and self._holder is None:
            self._timekeeper = self._next()  # likely to be the next one then, too
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
                self._timekeeper.woken.set()

    def begin(self, turn: Turn) -> None:
        """Take note that the request leaves now, which may be later than it was let to."""
        self._begun += 1
        turn.number = self._begun
        self._passed = passed_over(self._passed, turn.rank)
        self._last = anyio.current_time()
        self._free_at = max(self._free_at, self._last + self.gap)
        self.leave(turn)

    def leave(self, turn: Turn) -> None:
        """Give way to the next one; who has begun already gives nothing up."""
        self._remove(turn)
        if turn is self._timekeeper:
            self._timekeeper = None
        if turn is self._holder:
            self._holder = None
        self._hand_on()

    def answered(self, turn: Turn) -> None:
        """Take note that the server didn't mind a request."""
        if turn.number > self._begun_when_grown:
            self.gap = shrunk(self.gap, self._setting)

    def refused(self, turn: Turn) -> None:
        """Take note that the server found a request to be one too many."""
        # Requests that began before the gap grew say nothing of the gap as it is.
        if turn.number > self._begun_when_grown:
            self.gap = grown(self.gap, self._setting)
            self._begun_when_grown = self._begun
            self._free_at = max(self._free_at, self._last + self.gap)

    def hold(self, seconds: float) -> None:
        """Let nothing begin for some seconds."""
        self._free_at = max(self._free_at, anyio.current_time() + seconds)
