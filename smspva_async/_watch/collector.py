"""The calls of a watch: what is asked, and what becomes of each answer and each failure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from smspva_async._diff import Failed, NoSuchOrder, OrdersListed, SmsListed
from smspva_async._watch.clock import ServerClock
from smspva_async._watch.keeper import asking
from smspva_async.errors import ApiError, ClientClosed, ClientInUse, InvalidKey, OrderNotFound, RateLimited
from smspva_async.models import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async._watch.demand import Demand
    from smspva_async._watch.keeper import Kept
    from smspva_async._watch.recorder import Recorder
    from smspva_async._watch.schedule import Schedule
    from smspva_async._watch.source import PolledSource

__all__ = ["Collector"]

_REFUSALS_TO_END = 2


class Collector:
    """Asks a source, and has what it answers recorded.

    Args:
        source: What to ask.
        recorder: What takes the answers in.
        demand: Who wants to know of them.
        schedule: What counts the requests.

    """

    def __init__(self, source: PolledSource, recorder: Recorder, demand: Demand, schedule: Schedule) -> None:
        self.polling = False
        """Whether the orders are being asked for."""
        self.reading: set[int] = set()
        """The orders whose messages are being asked for."""
        self.reads_fail = False
        """Whether the last reading failed."""
        self.polls = self.reads = self.failures = 0
        self._source = source
        self._recorder = recorder
        self._demand = demand
        self._schedule = schedule
        self._refused = 0

    def begin(self) -> None:
        """Take the time from now on."""
        self._clock = ServerClock()

    async def poll_orders(self, begun: Callable[[], None]) -> bool:
        """Ask for the orders, and return whether they were listed.

        Args:
            begun: Called when a request leaves.

        Raises:
            SmspvaError: What ends the watch.

        """
        self.polling = True
        try:
            return await self._poll_orders(begun)
        finally:
            self.polling = False

    async def _poll_orders(self, begun: Callable[[], None]) -> bool:
        asked_at = self._clock.now()

        def begins() -> None:
            self._schedule.note_request()
            self._demand.orders_asked()
            begun()

        try:
            orders = await self._source.orders(begins, self._may_ask_again)
            rows = orders if isinstance(orders, Rows) else Rows(orders)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            await self._take_failure(error, None)
            return False
        self._refused = 0
        self.polls += 1
        if rows.date is not None:
            self._clock.hear(rows.date, rows.took)
            asked_at = rows.date - timedelta(seconds=rows.took)
        if not (self._schedule.flags_work or rows.repeated):
            self._schedule.flags_work = any(order.has_new_sms is True for order in rows)
        await self._recorder.take_in(
            OrdersListed(
                at=self._clock.now(),
                asked_at=asked_at,
                orders=rows,
                skipped=rows.skipped,
                interval=timedelta(seconds=self._schedule.interval),
            )
        )
        self._demand.orders_listed()
        return True

    async def read_messages(self, order_id: int, begun: Callable[[], None]) -> None:
        """Ask for an order's messages.

        Args:
            order_id: The order.
            begun: Called when a request leaves.

        Raises:
            SmspvaError: What ends the watch.

        """
        self.reading.add(order_id)
        try:
            await self._read_messages(order_id, begun)
        finally:
            self.reading.discard(order_id)

    async def _read_messages(self, order_id: int, begun: Callable[[], None]) -> None:
        asked = anyio.current_time()

        def begins() -> None:
            self._schedule.note_request()
            self._demand.messages_asked(order_id)
            begun()

        try:
            messages = await self._source.sms(order_id, begins, self._may_ask_again)
            rows = messages if isinstance(messages, Rows) else Rows(messages)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self.reads_fail = True
            await self._take_failure(error, order_id)
            if isinstance(error, ApiError) and not isinstance(error, RateLimited | OrderNotFound):
                # A refusal is an answer, and may last until the number is active.
                self._demand.messages_read(order_id, self._recorder.state.seq)
            return
        self.reads_fail = False
        self.reads += 1
        if rows.date is not None:
            self._clock.hear(rows.date, rows.took)
        at = self._clock.now()
        asked_at = at - timedelta(seconds=anyio.current_time() - asked)
        await self._recorder.take_in(
            SmsListed(at=at, asked_at=asked_at, order_id=order_id, messages=rows, skipped=rows.skipped)
        )
        self._demand.messages_read(order_id, self._recorder.state.seq)

    async def activate(self, order_id: int, kept: Kept) -> None:
        """Ask for the activation of a number that is due."""
        try:
            with asking(kept):
                await self._source.activate(order_id)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self._recorder.note_failure(_told(error))

    async def _may_ask_again(self) -> None:
        """Wait until polling's share of the pace allows another attempt."""
        while True:
            free = self._schedule.urgent_from()
            if free <= anyio.current_time():
                break
            await anyio.sleep_until(free)
        # At once, as others may wait as well; it is counted once more as it leaves, which does no harm.
        self._schedule.note_request()

    async def _take_failure(self, error: Exception, order_id: int | None) -> None:
        """Take in a failed poll; raise what ends the watch."""
        if isinstance(error, ClientClosed | ClientInUse):
            raise error
        self.failures += 1
        at, kind = self._clock.now(), type(error).__name__
        if isinstance(error, OrderNotFound) and order_id is not None:
            await self._recorder.take_in(NoSuchOrder(at=at, order_id=order_id, kind=kind, message=_told(error)))
        else:
            await self._recorder.take_in(Failed(at=at, order_id=order_id, kind=kind, message=_told(error)))
        if isinstance(error, InvalidKey):
            self._refused += 1
            if self._refused >= _REFUSALS_TO_END:
                raise error


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
