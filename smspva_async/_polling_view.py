"""A client as its watcher sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

from smspva_async._api import methods, validation
from smspva_async._api.decoding import OrderCache
from smspva_async._http.executor import RequestExecutor
from smspva_async._http.rate_limiter import Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from smspva_async.models import Order, Rows, Sms

__all__ = ["PollingView"]


@frozen
class PollingView:
    """The calls of a client that a watcher makes, with a deadline in seconds that leaves out the pace's waits.

    They are its `PolledSource`.
    """

    _executor: RequestExecutor
    account: Callable[[], str]
    """Makes a fingerprint of the account, which takes a while."""
    _deadline: float
    _latest: OrderCache = field(factory=OrderCache, init=False)

    @property
    def gap(self) -> float:
        """The least seconds between two requests now."""
        return self._executor.gap

    async def orders(self, begun: Callable[[], None], again: Callable[[], Awaitable[None]]) -> Rows[Order]:
        return await self._executor.call(
            methods.ORDERS,
            {},
            priority=Priority.POLLS,
            deadline=self._deadline,
            begun=begun,
            again=again,
            decode=self._latest.decode,
        )

    async def sms(self, order_id: int, begun: Callable[[], None], again: Callable[[], Awaitable[None]]) -> Rows[Sms]:
        params = {"id": validation.order_id(order_id)}
        return await self._executor.call(
            methods.SMS, params, priority=Priority.POLLS, deadline=self._deadline, begun=begun, again=again
        )

    async def activate(self, order_id: int) -> None:
        # Not a poll: somebody waits for the number.
        await self._executor.call(methods.ACTIVATE, {"id": validation.order_id(order_id)}, deadline=self._deadline)
