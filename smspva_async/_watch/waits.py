"""Waits for a state, a message or an activation."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import anyio

from smspva_async.errors import OrderGone, WaitTimeout, WatcherClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smspva_async._watch.reader import JournalReader
    from smspva_async._watch.store import StateStore
    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event

__all__ = ["Waits"]

T = TypeVar("T")


class Waits:
    """Waits for an order's events, with time-outs that tell what is known."""

    def __init__(self, store: StateStore, reader: JournalReader) -> None:
        self._store = store
        self._reader = reader

    async def within(self, seconds: float, order_id: int, what: str, wait: Awaitable[T]) -> T:
        """Return the result of a wait, or raise `WaitTimeout`, which says what the order didn't do."""
        with anyio.move_on_after(seconds):
            return await wait
        known = self._store.orders.get(order_id)
        state = "never listed" if known is None else f"last seen {known.state.name}"
        last = self._store.last_success
        success = "none" if last is None else f"{last:%Y-%m-%d %H:%M:%S} UTC"
        raise WaitTimeout(
            f"order {order_id} didn't {what} within {seconds:g} s; {state}; last good poll: {success}; last failure: "
            f"{self._store.last_failure or 'none'}. Nothing is discarded: it can still be waited for",
            order_id=order_id,
            state=None if known is None else known.state,
            last_success=last,
            last_failure=self._store.last_failure,
            elapsed=seconds,
        )

    async def first(
        self,
        order_id: int,
        after: int,
        wanted: Callable[[Event], T | None],
        refusal: Callable[[], SmspvaError | None] = lambda: None,
        passed: Callable[[int], None] | None = None,
    ) -> T:
        """Return the result of `wanted` for the first event of an order, after a place, where there is one.

        Args:
            order_id: The order.
            after: The place.
            wanted: Returns None for an event that isn't meant.
            refusal: Returns the reason why the number can't be activated, if that is to be raised.
            passed: Called with each place up to which the order has no event.

        """
        while True:
            event, after = await self._reader.next(after, order_id)
            if event is not None:
                found = wanted(event)
                if found is not None:
                    return found
                continue
            if passed is not None:
                passed(after)
            self.check(order_id, refusal)
            if self._reader.newest <= after:
                await self.change(order_id)

    async def change(self, order_id: int) -> None:
        """Wait until there is anything new; raise the error that ended the watch."""
        if not await self._reader.change():
            raise WatcherClosed(f"the watcher was left while order {order_id} was waited on")

    def check(self, order_id: int, refusal: Callable[[], SmspvaError | None] = lambda: None) -> None:
        """Raise `OrderGone` if the order was removed, or the reason why its activation was refused."""
        removed = self._store.state.removed.get(order_id)
        if removed is not None:
            order = removed.order
            until = "" if order.until is None else f", until {order.until:%Y-%m-%d %H:%M} UTC"
            raise OrderGone(f"order {order_id} ({order.phone}{until}) is gone", order_id=order_id)
        refused = None if self._reader.ended else refusal()
        if refused is not None:
            raise copy.copy(refused)
