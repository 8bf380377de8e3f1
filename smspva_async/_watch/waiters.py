"""Waits for messages and states, and requests for a fresh look at an order, as one value for the poll loop."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, frozen

from smspva_async._concurrency import Signal

if TYPE_CHECKING:
    from collections.abc import Generator

    from smspva_async._watch.reader import JournalReader

__all__ = ["RefreshRequest", "Waiters", "Wants"]


@frozen
class Wants:
    """Everything that is wanted of the poll loop, as one value."""

    messages: frozenset[int] = frozenset()
    """Orders whose messages are waited for."""
    states: frozenset[int] = frozenset()
    """Orders whose state is waited for."""
    refresh: int = 0
    """The number of the newest request for a fresh look that no `orders` answer has served; 0: none."""


@define(eq=False)
class RefreshRequest:
    """A request for answers about an order that are asked for from now on."""

    number: int
    """Higher than that of any request before."""
    order_id: int
    orders_listed: bool = False
    """True once `orders` was asked for since, and answered."""
    read_at: int | None = None
    """The newest event's `seq` once the order's messages were read since."""


class Waiters:
    """All waits of a watcher.

    Args:
        reader: The readers' side, where those who need a fresh look wait.

    """

    def __init__(self, reader: JournalReader) -> None:
        self.changed: Signal = Signal()
        """Set when more is wanted."""
        self.newest_request: int = 0
        self._reader = reader
        self._messages: Counter[int] = Counter()
        self._states: Counter[int] = Counter()
        self._requests: list[RefreshRequest] = []
        self._wants: Wants | None = Wants()

    @property
    def wants(self) -> Wants:
        """Everything that is wanted now."""
        if self._wants is None:
            unserved = (request.number for request in self._requests if not request.orders_listed)
            self._wants = Wants(frozenset(self._messages), frozenset(self._states), max(unserved, default=0))
        return self._wants

    @property
    def counts(self) -> dict[str, int]:
        """The number of waits by kind."""
        return {"message": self._messages.total(), "state": self._states.total()}

    def waiting_for_message(self, order_id: int) -> contextlib.AbstractContextManager[None]:
        """Count somebody who waits for an order's message."""
        return self._waiting(self._messages, order_id)

    def waiting_for_state(self, order_id: int) -> contextlib.AbstractContextManager[None]:
        """Count somebody who waits for an order's state."""
        return self._waiting(self._states, order_id)

    @contextlib.contextmanager
    def _waiting(self, waits: Counter[int], order_id: int) -> Generator[None]:
        waits[order_id] += 1
        self._change()
        try:
            yield
        finally:
            waits[order_id] -= 1
            if not waits[order_id]:
                del waits[order_id]
            self._wants = None

    @contextlib.contextmanager
    def refreshing(self, order_id: int) -> Generator[RefreshRequest]:
        """Have `orders` asked for and an order's messages read."""
        self.newest_request += 1
        request = RefreshRequest(self.newest_request, order_id)
        self._requests.append(request)
        self._change()
        try:
            yield request
        finally:
            self._requests.remove(request)
            self._wants = None

    def _change(self) -> None:
        self._wants = None
        self.changed.set()

    def serve_orders(self, up_to: int) -> None:
        """Note an answer to `orders` that was asked for when `up_to` was the newest request."""
        for request in self._requests:
            request.orders_listed = request.orders_listed or request.number <= up_to
        self._served()

    def serve_messages(self, order_id: int, up_to: int, newest: int) -> None:
        """Note the same of an order's messages; `newest` is the newest event's `seq` after them."""
        for request in self._requests:
            if request.order_id == order_id and request.number <= up_to and request.read_at is None:
                request.read_at = newest
        self._served()

    def _served(self) -> None:
        if self._requests:
            self._wants = None
            self._reader.notify()
