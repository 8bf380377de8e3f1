"""Waits for a state, a message or an activation."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

import anyio

from smspva_async.errors import OrderGone, WaitTimeout, WatcherClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smspva_async._operations import Observer, Wait
    from smspva_async._watch.journal_io import JournalReader, StateStore
    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event

T = TypeVar("T")


class Waits:
    """Waits for an order's events, with the errors that end them."""

    def __init__(self, store: StateStore, reader: JournalReader) -> None:
        self.observe: Observer = nullcontext
        self._store = store
        self._reader = reader

    async def within(self, seconds: float, wait: Wait, action: str, result: Awaitable[T]) -> T:
        """Return the result of a wait, or raise `WaitTimeout`: the order didn't do the action in time."""
        with self.observe(wait):
            with anyio.move_on_after(seconds):
                return await result
            raise self._timeout(seconds, wait.order_id, action)

    def _timeout(self, seconds: float, order_id: int, action: str) -> WaitTimeout:
        known = self._store.orders.get(order_id)
        state = "never listed" if known is None else f"last seen {known.state.name}"
        last = self._store.last_success
        failure = self._store.lasting_failure(order_id)
        success = "none" if last is None else f"{last:%Y-%m-%d %H:%M:%S} UTC"
        return WaitTimeout(
            f"order {order_id} didn't {action} within {seconds:g} s; {state}; last good poll: {success}; last failure: "
            f"{failure or 'none'}. No event is lost; you can wait again",
            order_id=order_id,
            state=None if known is None else known.state,
            last_success=last,
            last_failure=failure,
            elapsed=seconds,
        )

    async def first(self, order_id: int, after: int, pick: Callable[[Event], T | None]) -> T:
        """Return the first result of `pick` that isn't None, called with an order's events after a position."""
        while True:
            event, after = await self._reader.next(after, order_id)
            if event is None:
                await self.more(order_id, after)
            elif (found := pick(event)) is not None:
                return found

    async def more(
        self, order_id: int, after: int, activation_error: Callable[[], SmspvaError | None] = lambda: None
    ) -> None:
        """Wait until there may be an event after a position. Raise the errors of `check` and `change`."""
        self.check(order_id, activation_error)
        if self._reader.newest <= after:
            await self.change(order_id)

    async def change(self, order_id: int) -> None:
        """Wait until something may be new; raise the error that ended the watch."""
        if not await self._reader.change():
            raise WatcherClosed(f"the watcher was left during a wait for order {order_id}")

    def check(self, order_id: int, activation_error: Callable[[], SmspvaError | None] = lambda: None) -> None:
        """Raise `OrderGone` if the order was removed, or else the activation's error, if there is one."""
        removed = self._store.state.removed.get(order_id)
        if removed is not None:
            order = removed.order
            until = "" if order.until is None else f", until {order.until:%Y-%m-%d %H:%M} UTC"
            raise OrderGone(f"order {order_id} ({order.phone}{until}) was removed", order_id=order_id)
        error = None if self._reader.ended else activation_error()
        if error is not None:
            raise copy.copy(error)
