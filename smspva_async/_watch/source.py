"""Sources that a watcher polls: a client, or anything else with the same three methods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

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

T = TypeVar("T")
OnSend: TypeAlias = "Callable[[], None]"
BeforeRetry: TypeAlias = "Callable[[], Awaitable[None]]"

_LARGEST_ID = 2**63 - 1


class Source(Protocol):
    """The interface that a watcher polls: a `SmspvaClient`, or any object with these three methods.

    Plain lists are enough; `Rows` can also carry rows that couldn't be read and the server's time. `ClientClosed` and
    `ClientInUse` end the watch, and so does `InvalidKey` as the answer to every call of `orders` for ten seconds. Any
    other exception of `orders` and `sms` is a failed poll, and so is a call that takes longer than two intervals, or
    than a minute if that is more. A source other than a client is polled at the default `Pace`.
    """

    async def orders(self) -> Sequence[Order]:
        """Return all orders, as `SmspvaClient.orders` does. One that is missing for long counts as removed."""
        ...

    async def sms(self, order_id: int, /) -> Sequence[Sms]:
        """Return all messages of an order, old ones too, as `SmspvaClient.sms` does.

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order. If `orders` no longer lists it either, it is removed.

        """
        ...

    async def activate(self, order_id: int, /) -> None:
        """Request the activation of an order's number, as `SmspvaClient.activate` does. `Watcher.activated` calls it.

        A call that fails is repeated, after 5 s at first and later after up to two minutes. Failures that may be
        temporary, such as `ConnectionFailed`, `TimeoutError` or `OrderNotFound`, are only repeated; others are also
        raised where the number is used.

        Args:
            order_id: The order's id.

        """
        ...


class PolledSource(Protocol):
    """A source as the poll loop uses it: each call has a deadline, and reports each attempt.

    A call runs `on_send` when a request is about to be sent, and awaits `before_retry` before each further attempt.
    """

    @property
    def gap(self) -> float:
        """The current minimum number of seconds between two requests."""
        ...

    @property
    def account(self) -> Callable[[], str] | None:
        """A slow function that returns a fingerprint of the account; None if the account is unknown."""
        ...

    async def orders(self, on_send: OnSend, before_retry: BeforeRetry, /) -> Sequence[Order]:
        """Return all orders."""
        ...

    async def sms(self, order_id: int, on_send: OnSend, before_retry: BeforeRetry, /) -> Sequence[Sms]:
        """Return all messages of an order."""
        ...

    async def activate(self, order_id: int) -> None:
        """Request the activation of an order's number, in one attempt."""
        ...


@frozen
class ClientSource:
    """A client as a source. The deadline of a call, in seconds, excludes its waits for the pace."""

    _executor: RequestExecutor
    account: Callable[[], str]
    _deadline: float
    _orders: OrderCache = field(factory=OrderCache, init=False)

    @property
    def gap(self) -> float:
        return self._executor.gap

    async def orders(self, on_send: OnSend, before_retry: BeforeRetry) -> Rows[Order]:
        return await self._executor.call(
            methods.ORDERS,
            {},
            priority=Priority.POLLS,
            deadline=self._deadline,
            on_send=on_send,
            before_retry=before_retry,
            decode=self._orders.decode,
        )

    async def sms(self, order_id: int, on_send: OnSend, before_retry: BeforeRetry) -> Rows[Sms]:
        return await self._executor.call(
            methods.SMS,
            {"id": str(order_id)},
            priority=Priority.POLLS,
            deadline=self._deadline,
            on_send=on_send,
            before_retry=before_retry,
        )

    async def activate(self, order_id: int) -> None:
        # With the priority of the user's own calls, because a caller waits for the number.
        params = {"id": str(order_id)}
        await self._executor.call(methods.ACTIVATE, params, retry=Retry(attempts=1), deadline=self._deadline)


class PlainSource:
    """A source other than a client. It has no pace of its own, and each call is one attempt."""

    gap = Pace().gap
    account = None

    def __init__(self, source: Source, deadline: float) -> None:
        self._source = source
        self._deadline = deadline
        self._checked_orders: frozenset[Order] = frozenset()

    async def orders(self, on_send: OnSend, _: BeforeRetry) -> Sequence[Order]:
        on_send()
        orders = _checked(await self._within_deadline(self._source.orders()), Order, self._checked_orders)
        self._checked_orders = frozenset(orders)
        merged = merge_orders(orders)
        if merged is orders or not isinstance(orders, Rows):
            return merged
        return Rows(merged, skipped=orders.skipped, date=orders.date, took=orders.took, extra=orders.extra)

    async def sms(self, order_id: int, on_send: OnSend, _: BeforeRetry) -> Sequence[Sms]:
        on_send()
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
            # The watch isn't cancelled: a task that the source awaited was.
            raise SmspvaError("the source's call was cancelled from within the source") from None


def _checked(rows: Iterable[T], kind: type[T], known: Container[T] = ()) -> Sequence[T]:
    """Return rows that a journal can keep; raise for others, so that they are a failed poll and not a lost journal."""
    rows = rows if isinstance(rows, Rows) else list(rows)
    for row in rows:
        if row in known:
            continue
        if not isinstance(row, kind):
            raise TypeError(f"the source returned {type(row).__name__} instead of {kind.__name__}")
        time = row.until if isinstance(row, Order) else row.received if isinstance(row, Sms) else None
        if time is not None and time.tzinfo is None:
            raise TypeError(f"the source returned a time without a time zone: {row!r}")
        if isinstance(row, Order) and not -_LARGEST_ID <= row.id <= _LARGEST_ID:
            raise ValueError(f"the source returned an id that is too large: {row.id}")
        _serialization.read(json.loads(json.dumps(_serialization.write(row, kind))), kind)
    return rows
