"""What is wanted of a watch: who waits for what, and who wants to know what is there now."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import anyio
from attrs import define

if TYPE_CHECKING:
    from collections.abc import Generator

    from smspva_async._watch.feed import Feed

__all__ = ["Demand", "Look"]


@define(eq=False)
class Look:
    """Somebody who wants to know what is there now, from answers to requests that begin from now on."""

    order_id: int
    orders_asked: bool = False
    """Whether the orders have been asked for since."""
    orders_listed: bool = False
    """Whether that has been answered."""
    messages_asked: bool = False
    """Whether the order's messages have been asked for since."""
    read_at: int | None = None
    """The newest event's `seq` once that has been answered."""


class Demand:
    """Those who wait and those who look.

    Args:
        feed: Where those who look wait.

    """

    def __init__(self, feed: Feed) -> None:
        self.messages: Counter[int] = Counter()
        """How many wait for a message, by order."""
        self.states: Counter[int] = Counter()
        """How many wait for a state, by order."""
        self._looks: list[Look] = []
        self._feed = feed
        self._risen = anyio.Event()

    async def rise(self) -> None:
        """Wait until somebody wants something more."""
        await self._risen.wait()
        self._risen = anyio.Event()

    def waiting_for_message(self, order_id: int) -> contextlib.AbstractContextManager[None]:
        """Let it be known that somebody waits for an order's message."""
        return self._waiting(self.messages, order_id)

    def waiting_for_state(self, order_id: int) -> contextlib.AbstractContextManager[None]:
        """Let it be known that somebody waits for an order's state."""
        return self._waiting(self.states, order_id)

    @contextlib.contextmanager
    def _waiting(self, waits: Counter[int], order_id: int) -> Generator[None]:
        waits[order_id] += 1
        self._risen.set()
        try:
            yield
        finally:
            waits[order_id] -= 1
            if not waits[order_id]:
                del waits[order_id]

    @contextlib.contextmanager
    def looking(self, order_id: int) -> Generator[Look]:
        """Have the orders asked for, and an order's messages read."""
        look = Look(order_id)
        self._looks.append(look)
        self._risen.set()
        try:
            yield look
        finally:
            self._looks.remove(look)

    # -- what those who look are told --------------------------------------------------------------------------------

    @property
    def wants_orders(self) -> bool:
        """Whether the orders have to be asked for because somebody looks."""
        return any(not look.orders_asked for look in self._looks)

    def orders_asked(self) -> None:
        """Take note that a request for the orders begins."""
        for look in self._looks:
            look.orders_asked = True

    def orders_listed(self) -> None:
        """Take note that it was answered."""
        for look in self._looks:
            look.orders_listed = look.orders_asked
        self._tell()

    def messages_asked(self, order_id: int) -> None:
        """Take note that a request for an order's messages begins."""
        for look in self._of(order_id):
            look.messages_asked = True

    def messages_read(self, order_id: int, newest: int) -> None:
        """Take note that it was answered, `newest` being the newest event's `seq` after that."""
        for look in self._of(order_id):
            if look.messages_asked and look.read_at is None:
                look.read_at = newest
        self._tell()

    def _of(self, order_id: int) -> list[Look]:
        return [look for look in self._looks if look.order_id == order_id]

    def _tell(self) -> None:
        if self._looks:
            self._feed.wake()
