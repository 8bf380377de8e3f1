"""Sources that a watcher polls: a client, or anything else with the same three methods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
from attrs import field, frozen

from smspva_async import _serialization
from smspva_async._api import methods
from smspva_async._api.decoding import OrderCache
from smspva_async._http.executor import RequestExecutor
from smspva_async._http.rate_limiter import Pace, Priority
from smspva_async._http.retry import Retry
from smspva_async.errors import SmspvaError
from smspva_async.models import Order, Rows, Sms, merge_orders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Container, Iterable, Sequence

__all__ = ["ClientSource", "PlainSource", "PolledSource", "Source"]

T = TypeVar("T")

_LARGEST_ID = 2**63 - 1


class Source(Protocol):
    """The interface that a watcher polls: a `SmspvaClient`, or anything with these three methods.

    Lists will do; `Rows` can also have rows that couldn't be read and the server's time. `ClientClosed` ends the watch,
    and so does `InvalidKey` as the answer to every call of `orders` for ten seconds; any other exception of `orders`
    and `sms` is a failed poll. So is a call that takes longer than two intervals, or than a minute if that is more. It
    is polled within the default `Pace`.
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

        A call that fails is repeated, after 5 s at first and up to two minutes later. Failures other than those that
        may pass, such as `ConnectionFailed`, `TimeoutError` or `OrderNotFound`, are also raised where the number is
        used.

        Args:
            order_id: The order's id.

        """
        ...


class PolledSource(Protocol):
    """A source made ready for polling: each call has a deadline, and reports and asks before each attempt."""

    @property
    def gap(self) -> float:
        """Least seconds between two requests now."""
        ...

    @property
    def account(self) -> Callable[[], str] | None:
        """Makes a fingerprint of the account, which takes a while; None if it is unknown."""
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
        """Ask once for the activation of an order's number."""
        ...


@frozen
class ClientSource:
    """A client as a source. Its deadline in seconds leaves out the waits for the pace."""

    _executor: RequestExecutor
    account: Callable[[], str]
    _deadline: float
    _orders: OrderCache = field(factory=OrderCache, init=False)

    @property
    def gap(self) -> float:
        return self._executor.gap

    async def orders(self, begun: Callable[[], None], again: Callable[[], Awaitable[None]]) -> Rows[Order]:
        return await self._executor.call(
            methods.ORDERS,
            {},
            priority=Priority.POLLS,
            deadline=self._deadline,
            on_send=begun,
            before_retry=again,
            decode=self._orders.decode,
        )

    async def sms(self, order_id: int, begun: Callable[[], None], again: Callable[[], Awaitable[None]]) -> Rows[Sms]:
        params = {"id": str(order_id)}
        return await self._executor.call(
            methods.SMS, params, priority=Priority.POLLS, deadline=self._deadline, on_send=begun, before_retry=again
        )

    async def activate(self, order_id: int) -> None:
        # Not a poll: somebody waits for the number.
        params = {"id": str(order_id)}
        await self._executor.call(methods.ACTIVATE, params, retry=Retry(attempts=1), deadline=self._deadline)


class PlainSource:
    """A source that isn't our client: it has no pace of its own, and each call is one attempt."""

    gap = Pace().gap
    account = None

    def __init__(self, source: Source, deadline: float) -> None:
        self._source = source
        self._deadline = deadline
        self._checked_orders: frozenset[Order] = frozenset()

    async def orders(self, begun: Callable[[], None], _: Callable[[], Awaitable[None]]) -> Sequence[Order]:
        begun()
        orders = _checked(await self._within_deadline(self._source.orders()), Order, self._checked_orders)
        self._checked_orders = frozenset(orders)
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


def _checked(rows: Iterable[T], kind: type[T], known: Container[T] = ()) -> Sequence[T]:
    """Return rows that a journal can keep; anything else is a failed poll, rather than the end of the watch."""
    rows = rows if isinstance(rows, Rows) else list(rows)
    for row in rows:
        if row in known:
            continue
        if not isinstance(row, kind):
            raise TypeError(f"the source answers with {type(row).__name__} where {kind.__name__} is due")
        time = row.until if isinstance(row, Order) else row.received if isinstance(row, Sms) else None
        if time is not None and time.tzinfo is None:
            raise TypeError(f"the source answers with a time without a zone: {row!r}")
        if isinstance(row, Order) and not -_LARGEST_ID <= row.id <= _LARGEST_ID:
            raise ValueError(f"the source answers with an id that is too large: {row.id}")
        _serialization.read(json.loads(json.dumps(_serialization.write(row, kind))), kind)
    return rows
