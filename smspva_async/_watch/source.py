"""What a watcher asks: a client, or anything that can be asked the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from smspva_async._http.rate_limiter import Pace
from smspva_async.client import SmspvaClient, polling_view
from smspva_async.errors import SmspvaError
from smspva_async.models import Order, Rows, Sms, merge_orders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["PolledSource", "Source", "polled"]

T = TypeVar("T")

_CALLS = ("orders", "sms", "activate")


class Source(Protocol):
    """What a watcher can watch: a `SmspvaClient`, or anything with these three methods.

    Lists will do; `Rows` can also tell of rows that couldn't be read and of the server's clock. `ClientClosed` ends the
    watch, and so does `InvalidKey` the second time; any other exception of `orders` and `sms` is a failed poll. So is a
    call that takes longer than two intervals, or than a minute if that is more. It is polled within the default `Pace`.
    """

    async def orders(self) -> Sequence[Order]:
        """Return all orders, as `SmspvaClient.orders` does. One that is left out for long counts as removed."""
        ...

    async def sms(self, order_id: int, /) -> Sequence[Sms]:
        """Return all messages of an order, old ones too, as `SmspvaClient.sms` does.

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order; one that `orders` no longer lists is removed then.

        """
        ...

    async def activate(self, order_id: int, /) -> None:
        """Ask for the activation of an order's number, as `SmspvaClient.activate` does. For `Watcher.activated` alone.

        A failure that may pass, such as `ConnectionFailed`, `TimeoutError` or `OrderNotFound`, has it asked again after
        the next poll; any other is raised where the number is used.

        Args:
            order_id: The order's id.

        """
        ...


class PolledSource(Protocol):
    """A source made ready for polling: each call has a deadline, tells when a request begins, and asks for more."""

    @property
    def gap(self) -> float:
        """Least seconds between two requests now."""
        ...

    @property
    def account(self) -> Callable[[], str] | None:
        """What makes a fingerprint of the account, which takes a while; None if it is unknown."""
        ...

    async def orders(self, begun: Callable[[], None], again: Callable[[], Awaitable[None]], /) -> Sequence[Order]:
        """Return all orders; calls `begun` when a request leaves, and awaits `again` before each after the first."""
        ...

    async def sms(
        self, order_id: int, begun: Callable[[], None], again: Callable[[], Awaitable[None]], /
    ) -> Sequence[Sms]:
        """Return all messages of an order; calls `begun` and awaits `again` as `orders` does."""
        ...

    async def activate(self, order_id: int) -> None:
        """Ask for the activation of an order's number."""
        ...


class _PlainSource:
    """A source that isn't our client: it has no pace of its own, and its calls are made once, at once."""

    gap = Pace().gap
    account = None

    def __init__(self, source: Source, deadline: float) -> None:
        self._source = source
        self._deadline = deadline

    async def orders(self, begun: Callable[[], None], _: Callable[[], Awaitable[None]]) -> Sequence[Order]:
        begun()
        orders = _checked(await self._within_deadline(self._source.orders()), Order)
        merged = merge_orders(orders)
        if merged is orders or not isinstance(orders, Rows):
            return merged
        return Rows(merged, skipped=orders.skipped, date=orders.date, took=orders.took, extra=orders.extra)

    async def sms(self, order_id: int, begun: Callable[[], None], _: Callable[[], Awaitable[None]]) -> Sequence[Sms]:
        begun()
        return _checked(await self._within_deadline(self._source.sms(order_id)), Sms)

    async def activate(self, order_id: int) -> None:
        await self._within_deadline(self._source.activate(order_id))

    async def _within_deadline(self, call: Awaitable[T]) -> T:
        try:
            with anyio.fail_after(self._deadline):
                return await call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody has cancelled the watch: the source awaits something of its own that was cancelled.
            raise SmspvaError("the source was cancelled by itself") from None


def _checked(rows: Sequence[T], kind: type[T]) -> Sequence[T]:
    """Return rows that are what they should be; anything else is a failed poll, rather than the end of the watch."""
    for row in rows:
        if not isinstance(row, kind):
            raise TypeError(f"the source answers with {type(row).__name__} where {kind.__name__} is due")
        time = row.until if isinstance(row, Order) else row.received if isinstance(row, Sms) else None
        if time is not None and time.tzinfo is None:
            raise TypeError(f"the source answers with a time without a zone: {row!r}")
    return rows


def polled(source: Source, deadline: float) -> PolledSource:
    """Return a source made ready for polling.

    Args:
        source: A source; our client brings a view of its own.
        deadline: Seconds for each call.

    """
    # A subclass, or a test, may have put something of its own in the place of our calls.
    if isinstance(source, SmspvaClient) and all(
        getattr(getattr(source, name), "__func__", None) is getattr(SmspvaClient, name) for name in _CALLS
    ):
        return polling_view(source, deadline)
    return _PlainSource(source, deadline)
