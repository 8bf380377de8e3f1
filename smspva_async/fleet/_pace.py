"""The pace of a fleet: processes get their slots from Redis."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import anyio.lowlevel

from smspva_async._concurrency import finish, start_in
from smspva_async._http.rate_limiter import Priority, Queue, RateLimiter, grown, shrunk
from smspva_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.lowlevel import EventLoopToken

    from smspva_async._http.rate_limiter import Permit
    from smspva_async.fleet._link import Link

_LONGEST_WAIT = 1.0
"""Seconds until a process asks again, for a slot may be given back."""
_LAST_POSTS = 0.5
"""Seconds for sending the last posts when the limiter is closed."""


class SharedRateLimiter(RateLimiter):
    """Grants permits like `RateLimiter`, but one at a time in all processes of a fleet.

    `gap` is the last known gap of the fleet. While Redis can't be reached, no permit is granted.

    Args:
        link: The connection to Redis.
        gap: This client's minimum gap. The largest one in the fleet counts, until ten minutes after its last use.

    """

    def __init__(self, link: Link, gap: float) -> None:
        self._link = link
        self._own_gap = gap
        super().__init__(gap)

    def _new_queue(self, loop: EventLoopToken | None) -> _SharedQueue:
        return _SharedQueue(loop, self._link, self._own_gap, self._note_gap)

    def _note_gap(self, gap: float, setting: float) -> None:
        self.gap, self._setting = gap, setting

    async def begin(self, permit: Permit) -> None:
        """Record that the request is being sent; take another slot first if the permit is too old by now."""
        number = await _shared(permit.queue).begin(permit)
        await super().begin(permit)
        permit.number = number

    def accepted(self, permit: Permit) -> None:
        """Record that the server accepted a request."""
        if self.gap != self._setting:
            self._change_gap(permit, shrunk(self.gap, self._setting))

    def refused(self, permit: Permit) -> None:
        """Record that the server refused a request because there were too many."""
        self._change_gap(permit, grown(self.gap, self._setting))

    def _change_gap(self, permit: Permit, new: float) -> None:
        old = self.gap
        _shared(permit.queue).post("regap", lambda: (permit.number, old, new))

    def pause(self, seconds: float) -> None:
        """Delay all requests of the fleet by some seconds."""
        if seconds > 0:
            until = anyio.current_time() + seconds
            _shared(self._queue).post("pause", lambda: (until - anyio.current_time(),))

    async def aclose(self) -> None:
        """Send what was posted, if Redis answers within a moment, and end the background task."""
        if self._queue.loop == anyio.lowlevel.current_token():
            await finish(_shared(self._queue).aclose)


def _shared(queue: Queue) -> _SharedQueue:
    assert isinstance(queue, _SharedQueue)  # noqa: S101 - for the type checkers
    return queue


class _SharedQueue(Queue):
    """The waiting permits of one event loop. Its next slot comes from Redis.

    Each slot that it asks for has a ticket. A repeated request with the same ticket returns an unused slot first.
    Messages are sent one at a time, so that a request for a slot can't overtake the end of an earlier one.
    """

    def __init__(
        self, loop: EventLoopToken | None, link: Link, setting: float, note_gap: Callable[[float, float], None]
    ) -> None:
        super().__init__(loop)
        self._link = link
        self._setting = setting
        self._note_gap = note_gap
        self._member = uuid4().hex[:12]  # not the link's, which changes after `aclose`
        self._ticket = 1
        self._number = 0
        """The number of the granted slot in the fleet."""
        self._usable_until = 0.0
        """The time until which the granted slot may be used."""
        self._asked: set[Priority] = set()
        """The priorities for which Redis expects this process to ask again."""
        self._changed = anyio.Event()
        """Set when another set of priorities waits."""
        self._posts: deque[tuple[str, Callable[[], tuple[str | float, ...]]]] = deque()
        self._posted = anyio.Event()
        self._sending = anyio.Lock()
        self._sender: anyio.CancelScope | None = None

    def join(self, priority: Priority) -> Permit:
        """Add a permit to the queue and return it."""
        is_new = priority not in self.skips
        permit = super().join(priority)
        if is_new:
            self._changed.set()
        return permit

    def leave(self, permit: Permit) -> None:
        """Remove a waiting or granted permit. A second call does nothing."""
        before = set(self.skips)
        super().leave(permit)
        if before != set(self.skips):
            with suppress(RuntimeError):  # a call may be cancelled after its event loop has ended
                self._changed.set()
        if self.timer is None and self.granted is None and self._asked:
            self._asked.clear()
            self.post("take", self._request)  # nothing waits, so this withdraws

    async def take(self, held: Permit | None = None) -> Priority:
        """Wait until Redis grants a slot, and return the priority that gets it.

        Args:
            held: Ask only for this permit, which was granted before.

        """
        self._start_sender()
        factor = 1
        while True:
            self._changed = anyio.Event()
            async with self._sending:
                await self._send_posts()
                self._asked = {held.priority, *self._asked} if held is not None else set(self.skips)
                asked = anyio.current_time()
                chosen, wait, number, gap, setting = await self._link.run("take", *self._request(held, factor))
            self._note_gap(float(gap), float(setting))
            if not chosen:
                with anyio.move_on_after(min(float(wait), _LONGEST_WAIT)):
                    await self._changed.wait()
                continue
            self._number = int(number)
            # With a gap of 0, any slot may be used at any time.
            self._usable_until = asked + factor * float(gap) / 4 if float(gap) else float("inf")
            priority = Priority(chosen)
            if anyio.current_time() > self._usable_until:
                factor *= 2  # Redis may always be as slow as this
            elif held is not None or priority in self.skips:
                return priority

    def _request(self, held: Permit | None = None, factor: int = 1) -> tuple[str | float, ...]:
        """Return the arguments of the script `take`."""
        now = anyio.current_time()
        waits: list[str | float] = []
        for priority in Priority:
            first = next(iter(self.waiting[priority]), None)
            if held is None:
                waits.append(-1 if first is None else now - first.since)
            else:
                waits.append(now - held.since if priority is held.priority else "")
        return self._member, self._name(), self._setting, factor, *waits

    def _name(self) -> str:
        return f"{self._member}:{self._ticket}"

    async def begin(self, permit: Permit) -> int:
        """Use the granted slot, or another one if it is too old, and return the request's number in the fleet."""
        while anyio.current_time() > self._usable_until:
            await self.take(permit)
        slot, begun = (self._member, self._name(), permit.priority.value, self._number), anyio.current_time()
        self.post("begun", lambda: (*slot, anyio.current_time() - begun))
        self._ticket += 1
        self._asked.discard(permit.priority)
        return self._number

    # -- messages in the background ----------------------------------------------------------------------------------

    def post(self, script: str, arguments: Callable[[], tuple[str | float, ...]]) -> None:
        """Run a script in the background, before the next request for a slot. Errors are dropped.

        Args:
            script: Its name.
            arguments: Returns its arguments at the time of sending, because they state how long ago something was.

        """
        self._posts.append((script, arguments))
        with suppress(RuntimeError):  # the event loop may have ended
            self._posted.set()

    def _start_sender(self) -> None:
        """Start the task that sends posts. It stays, because no task can be started while an event loop ends."""
        if self._sender is None and self.loop is not None:
            self._sender = scope = anyio.CancelScope()

            async def send() -> None:
                with scope:
                    while True:
                        self._posted = anyio.Event()
                        async with self._sending:
                            await self._send_posts()
                        await self._posted.wait()

            start_in(self.loop, send)

    async def _send_posts(self) -> None:
        while self._posts:
            script, arguments = self._posts[0]
            with suppress(JournalError):
                await self._link.run(script, *arguments())
            self._posts.popleft()

    async def aclose(self) -> None:
        """Send the last posts, and end the task."""
        with anyio.move_on_after(_LAST_POSTS):
            async with self._sending:
                await self._send_posts()
        self._posts.clear()
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None
