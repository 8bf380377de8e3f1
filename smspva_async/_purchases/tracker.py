"""Spending calls: each is recorded before it is sent, sent once, and kept until its outcome is known."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime
from functools import partial
from operator import is_
from time import time
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import anyio
import anyio.lowlevel
from attrs import define, evolve

from smspva_async._api import methods
from smspva_async._api.decoding import decode
from smspva_async._concurrency import finish, has_ended
from smspva_async._purchases.store import EXTENDING, Record, surplus
from smspva_async._server_clock import JUMP, ServerClock
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ClientInUse,
    ConnectionFailed,
    JournalError,
    OutcomeUnknown,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
    bounded,
    name_call,
)
from smspva_async.models import Order, Purchase, Reconciliation, Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from anyio.lowlevel import EventLoopToken

    from smspva_async._api.decoding import Answer
    from smspva_async._api.methods import Method
    from smspva_async._purchases.store import Outcome, PurchaseStore

T = TypeVar("T")

_log = logging.getLogger("smspva_async.purchases")

_COMPETITOR_DELAY = 0.2
"""Seconds between two looks at a call that another program is making."""
_LONGEST_COMPETITION = 5.0
"""Seconds for which to wait for such a call."""
_LONGEST_LIST_AGE = 120.0
"""The greatest age in seconds of the list of orders on which a call is based that must not be a repetition."""


class StaleOrder(SmspvaError):
    """A call wasn't sent, because another call may have changed its order since the order was last listed.

    Attributes:
        other: The other call; None if any may have, because the list is too old.

    """

    def __init__(self, other: Purchase | None = None) -> None:
        super().__init__("another call may have changed the order; nothing was sent")
        self.other = other


@define
class _Reading:
    """The time of an answer, or of its last repetition."""

    date: datetime | None = None
    """By the server's clock; None if it isn't certain."""
    moment: float = 0.0
    """By anyio's clock."""
    local: float = 0.0
    """By this machine's clock, as a Unix time."""


class KnownOrders:
    """The orders that the server has listed or sold so far, and the time by its clock."""

    def __init__(self) -> None:
        self.ids: frozenset[int] = frozenset()
        self._ends: dict[int, tuple[datetime | None, _Reading]] = {}
        """Order id -> the order's end, and when it was read."""
        self._last: Sequence[Order | Rental] = ()
        """The orders of the last answer."""
        self._reading = _Reading()
        """Its time."""
        self._is_complete = False
        """True if every row of the last list could be read."""
        self._listed_at: datetime | None = None
        """The server's time of the last list."""
        self._loop: EventLoopToken | None = None
        """The event loop to which the clock belongs."""
        self._clock: ServerClock | None = None
        self._corrected_at = (0.0, 0.0)
        """The times by anyio's clock and by this machine's clock when a date last agreed with the server's clock."""

    def note(self, method: Method[Any], value: object) -> None:
        """Record the orders and the date of an answer."""
        if isinstance(value, Rental):
            self._add([value], self.server_time())
        if not isinstance(value, Rows):
            return
        rows = cast("Rows[object]", value)
        self._correct_clock(rows)
        now = self.server_time()
        # An answer may be old, or from another machine with its own clock.
        read_at = now if now is None or rows.date is None else min(now, rows.date)
        if rows and isinstance(rows[0], (Order, Rental)):
            self._add(cast("Rows[Order | Rental]", rows), read_at)
        if method.name == methods.ORDERS.name:
            self._is_complete, self._listed_at = not rows.skipped, read_at

    def _add(self, orders: Sequence[Order | Rental], date: datetime | None) -> None:
        is_repeated = len(orders) == len(self._last) and all(map(is_, orders, self._last))
        if not is_repeated:  # a poll of a large account mostly repeats the last one
            self._last, self._reading = orders, _Reading()
            self._ends |= {order.id: (order.until, self._reading) for order in orders}
            if len(self._ends) != len(self.ids):
                self.ids = frozenset(self._ends)
        self._reading.date, self._reading.moment, self._reading.local = date, anyio.current_time(), time()

    def _correct_clock(self, rows: Rows[object]) -> None:
        if rows.date is None:
            return
        loop = anyio.lowlevel.current_token()
        if self._clock is None or self._loop != loop:
            self._loop, self._clock = loop, ServerClock()
        if self._clock.correct(rows.date, rows.took):
            self._corrected_at = anyio.current_time(), time()

    def server_time(self) -> datetime | None:
        """Return the time by the server's clock; None if it isn't certain, because no second clock confirms it."""
        if self._clock is None or not self._clock.is_certain or self._loop != anyio.lowlevel.current_token():
            return None
        now, (then, local_then) = anyio.current_time(), self._corrected_at
        # The event loop's clock may stop while the machine sleeps.
        return None if time() - local_then > now - then + JUMP else self._clock.at(now)

    def read_at(self, order_id: int) -> datetime | None:
        """Return the server's time when an order's end was last read; None if it is unknown."""
        return self._ends[order_id][1].date if order_id in self._ends else None

    def age(self, order_id: int) -> float:
        """Return the seconds since an order's end was last read, by the clock that counts the most; 0 if it wasn't."""
        if order_id not in self._ends:
            return 0.0
        _, reading = self._ends[order_id]
        now = self.server_time()
        by_server = 0.0 if now is None or reading.date is None else (now - reading.date).total_seconds()
        return max(by_server, anyio.current_time() - reading.moment, time() - reading.local)

    def before_call(self, record: Record, records: Iterable[Record]) -> Record:
        """Return the record of a new call with the orders and dates that are known before it.

        Args:
            record: The record.
            records: The records of earlier calls.

        """
        ends_at, reading = self._ends.get(record.order_id, (None, None))
        date = reading.date if reading is not None and record.method in EXTENDING else self._listed_at
        # Orders that an answer named are known without a list.
        is_outdated = any(
            (earlier.outcome == "done" and not earlier.complete and earlier.is_recent(date))
            or earlier.may_have_extended(record.order_id, date)
            for earlier in records
        )
        return evolve(
            record,
            known=self.ids,
            listed=self._is_complete and not is_outdated,
            ends_at=ends_at,
            seen_at=self.server_time(),
        )


class PurchaseTracker:
    """The spending calls of a client.

    Args:
        store: Keeps the calls when the program ends; None: they are kept in memory only.

    """

    def __init__(self, store: PurchaseStore | None) -> None:
        self.known_orders = KnownOrders()
        self.is_read = store is None
        """True once the store has been read."""
        self._store = store
        self._records: dict[str, Record] = {}
        self._unsettled: dict[str, OutcomeUnknown] = {}
        self._is_closed = False
        self._process = os.getpid()
        self._own: set[str] = set()
        """Calls of this client in this process. Their records in memory are newer than those in the store."""
        self._in_progress: dict[str, EventLoopToken] = {}
        """Own calls without an outcome, and their event loops."""
        self._unsaved: dict[str, Record] = {}
        """Records that the store doesn't have yet."""
        self._findings: dict[str, Reconciliation] = {}
        """The last result of `reconcile` for each call."""

    # -- the store ---------------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Read the store for a client that is being opened.

        Raises:
            JournalError: It can't be read completely.

        """
        await self.read()
        self._is_closed = False

    async def read(self) -> None:
        """Read the store. Other programs may write to it too.

        Raises:
            JournalError: It can't be read completely.

        """
        self._abandon_dead_calls()
        if self._store is not None:
            try:
                await finish(partial(self._load, self._store))  # the store returns unchanged records only once
            except JournalError:
                self._reopen_settled()
                raise

    async def _load(self, store: PurchaseStore) -> None:
        self._merge(await store.load())

    def _read_once(self) -> None:
        if self._store is not None and not self.is_read:
            self._merge(self._store.load_now())

    def _merge(self, records: Sequence[Record] | None) -> None:
        """Replace records by those of the store, unless the record in memory is newer."""
        self.is_read = True
        if records is not None:  # another program's call may have been refused and dropped since
            stored = {record.call for record in records}
            for call in [it.call for it in self._records.values() if it.in_flight and it.call not in stored]:
                del self._records[call]
        for record in records or ():
            if record.call in self._unsaved or (record.call in self._own and record.outcome != "settled"):
                continue
            self._records[record.call] = record
            if not record.is_open or record.in_flight:
                self._unsettled.pop(record.call, None)
            elif record.call not in self._unsettled:
                self._unsettled[record.call] = self._stored_error(record)
        self._drop_surplus()

    def _drop_surplus(self) -> None:
        for call in surplus(self._records.values()):
            del self._records[call]
            self._own.discard(call)

    def _stored_error(self, record: Record) -> OutcomeUnknown:
        where = self._store.name if self._store is not None else ""
        return _error_of(record, f"{record.reason or 'the program ended before the outcome was known'} (from {where})")

    async def save(self) -> None:
        """Write the records that the store doesn't have.

        Raises:
            JournalError: They can't be written. Calls that were settled since the last save become unsettled again.

        """
        self._abandon_dead_calls()
        if self._store is None or not self._unsaved:
            return
        records = list(self._unsaved.values())
        try:
            await self._store.save(lambda: list(self._unsaved.values()))
        except JournalError:
            self._reopen_settled()
            raise
        for record in records:
            if self._unsaved.get(record.call) is record:
                del self._unsaved[record.call]

    def _reopen_settled(self) -> None:
        """Make settled calls unsettled again if that wasn't written."""
        for record in [record for record in self._unsaved.values() if record.outcome == "settled"]:
            del self._unsaved[record.call]
            reopened = self._records[record.call] = evolve(record, outcome="unknown", order_ids=(), complete=True)
            self._unsettled[record.call] = self._stored_error(reopened)
            if record.call in self._own:  # the store may lack its outcome
                self._unsaved[record.call] = reopened

    async def aclose(self) -> None:
        """Write the records that the store doesn't have, even if the caller is cancelled, and close the store.

        Raises:
            JournalError: They can't be written. Calls that were settled since the last save become unsettled again.

        """
        self._is_closed = True
        is_needed = any(record.outcome != "not_sent" for record in self._unsaved.values())
        try:
            await finish(self.save)
        except JournalError:
            if is_needed:  # otherwise the calls have raised the error already
                raise
        finally:
            await self._close_store()

    async def _close_store(self) -> None:
        """Close the store, unless a call is in progress, which closes it later."""
        if self._store is not None and not self._in_progress:
            await finish(self._store.aclose)

    def _abandon_dead_calls(self) -> None:
        """Forget a parent process's own calls, and mark calls whose event loop has ended as unknown."""
        if self._process != os.getpid():
            self._process, self._own, self._in_progress = os.getpid(), set(), {}
            self._unsaved = {}
        for call, loop in list(self._in_progress.items()):
            if has_ended(loop):
                self._mark_unknown(self._records[call], "its event loop ended before the answer came")

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> Sequence[OutcomeUnknown]:
        """The calls whose outcome isn't known, in the order of their start."""
        self._read_once()
        self._abandon_dead_calls()
        return tuple(sorted(self._unsettled.values(), key=lambda error: error.started_at))

    @property
    def records(self) -> Collection[Record]:
        """The records of all calls."""
        return self._records.values()

    def purchases(self) -> Sequence[Purchase]:
        """Return all calls in the order of their start."""
        self._read_once()
        return tuple(map(purchase_of, sorted(self._records.values(), key=lambda record: record.started_at)))

    def competitors(self, order_id: int) -> Sequence[Record]:
        """Return the calls about an order whose effect its last list may lack, those with an unknown outcome first."""
        self._read_once()
        read_at = self.known_orders.read_at(order_id)

        def may_have_extended(record: Record) -> bool:
            if read_at is None or record.seen_at is None:  # this machine's clock has to do
                return evolve(record, seen_at=record.started_at).may_have_extended(order_id, datetime.now(UTC))
            return record.may_have_extended(order_id, read_at)

        found = [
            record
            for record in self._records.values()
            if record.order_id == order_id and (record.is_open or may_have_extended(record))
        ]
        return sorted(found, key=lambda record: not record.is_open)

    def record_of(self, error: OutcomeUnknown) -> Record:
        """Return the record of a call, which may be another client's."""
        record = self._records.get(error.call)
        if record is not None and record.outcome != "settled":
            return record
        return Record(
            error.call,
            str(error.method),
            error.params,
            error.started_at,
            known=error.known,
            listed=error.listed,
            ends_at=error.ends_at,
            seen_at=error.seen_at,
            outcome="unknown",
            data=error.data,
        )

    def settle(self, error: OutcomeUnknown) -> None:
        """Remove a call from `unsettled`. The next `save` writes it."""
        self._read_once()
        # The outcome of a call that was cancelled during its answer is known already.
        if self._unsettled.pop(error.call, None) is not None and self._records[error.call].is_open:
            found = self._findings.pop(error.call, Reconciliation("open"))
            order_ids = tuple(order.id for order in found.candidates)
            settled = evolve(self._records[error.call], outcome="settled", ended_at=datetime.now(UTC))
            self._keep(evolve(settled, order_ids=order_ids, complete=found.verdict == "done"))

    def note_finding(self, error: OutcomeUnknown, found: Reconciliation) -> None:
        """Record a result of `reconcile`: `settle` keeps its candidates."""
        self._findings[error.call] = found

    # -- a call ------------------------------------------------------------------------------------------------------

    async def spend(
        self,
        method: Method[T],
        params: Mapping[str, str],
        send: Callable[[list[str]], Awaitable[Answer]],
        begin: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint_if_cancelled,
        *,
        exclusive: bool = False,
    ) -> T:
        """Make a call that is sent once, and return its result. If it raises `OutcomeUnknown`, it is unsettled.

        Args:
            method: The method.
            params: Its parameters.
            send: Sends the request, and adds the received text of the answer to its argument.
            begin: Waits until the request may be sent, after the call was recorded.
            exclusive: Raise `StaleOrder` instead of sending if another call may have changed the call's order.

        """
        self._abandon_dead_calls()
        new = Record(uuid4().hex, method.name, dict(params), datetime.now(UTC))
        record = self.known_orders.before_call(new, self.records)
        self._own.add(record.call)
        self._in_progress[record.call] = anyio.lowlevel.current_token()
        self._keep(record)
        try:
            await self._save_before_sending(record, begin, exclusive=exclusive)
            value = await self._send(record, method, send)
        except (GeneratorExit, JournalError):
            # A closed coroutine can't await, or the store has just failed. The next call writes the outcome.
            raise
        except BaseException:
            await self._save_outcome()
            raise
        try:
            await self._save_outcome()
        except BaseException:  # cancelled: nobody gets the result
            self._unsettled[record.call] = _error_of(record, "its answer came while it was being cancelled")
            raise
        return value

    async def _save_before_sending(
        self, record: Record, begin: Callable[[], Awaitable[None]], *, exclusive: bool
    ) -> None:
        try:
            await self.save()
            # A cancellation, which `save` ignores, must end the call here: in `send` the request may be sent already.
            await anyio.lowlevel.checkpoint_if_cancelled()
            if exclusive:
                await self._check_competitors(record)
            await begin()
            if exclusive:
                self._check_age_of_list(record)
        except BaseException as error:
            self._end(record, "not_sent")
            if isinstance(error, JournalError) and "nothing was sent" not in error.message.casefold():
                error.message += "; nothing was sent"
            raise

    def _check_age_of_list(self, record: Record) -> None:
        """Raise `StaleOrder` if the call had to wait for so long that its order may have changed."""
        if self.known_orders.age(record.order_id) > _LONGEST_LIST_AGE:
            raise StaleOrder

    async def _check_competitors(self, record: Record) -> None:
        """Return once certainly no other call has changed the record's order since the order was last listed.

        The record is written before the others are read. So of two programs that do this at once, at least one sees the
        other's call. If both do, the call with the higher id gives way, and the other one waits until it has.

        Raises:
            StaleOrder: Another call may have changed the order.

        """
        deadline = anyio.current_time() + _LONGEST_COMPETITION
        while True:
            await self.read()
            competitors = [other for other in self.competitors(record.order_id) if other.call != record.call]
            if not competitors:
                return
            for other in competitors:
                if not other.in_flight or other.call < record.call or anyio.current_time() > deadline:
                    raise StaleOrder(purchase_of(other))
            await anyio.sleep(_COMPETITOR_DELAY)

    async def _send(self, record: Record, method: Method[T], send: Callable[[list[str]], Awaitable[Answer]]) -> T:
        began = anyio.current_time()
        received: list[str] = []

        def unknown(reason: str, data: object = None) -> OutcomeUnknown:
            # An answer that can't be read may be cut off, and have the id of a paid order.
            error = self._mark_unknown(record, reason, bounded(data) or "".join(received) or None)
            with contextlib.suppress(RuntimeError):  # the event loop may have ended
                error.elapsed = anyio.current_time() - began
            return error

        try:
            value = decode(method, record.params, await send(received))
            order_ids, complete = _orders_of(record, value)
            self._end(record, "done", order_ids=order_ids, complete=complete)
        except ApiError as error:
            self._end(record, "refused")
            error.message += f"; {method.refusal_note}"
            raise
        except (ClientClosed, ClientInUse):
            self._end(record, "not_sent")
            raise
        except (ConnectionFailed, RequestTimeout, UnexpectedResponse) as error:
            if isinstance(error, ConnectionFailed) and not error.sent:
                self._end(record, "not_sent")
                raise
            raise unknown(error.message, getattr(error, "data", None)) from error
        except BaseException as error:
            if record.call in self._in_progress:  # otherwise its event loop has ended, and it is unknown already
                interrupted = unknown(f"interrupted after its request began ({type(error).__name__})")
                _log.warning("%s", interrupted, extra={"method": method.name, "seconds": interrupted.elapsed})
            raise
        return value

    def _keep(self, record: Record) -> None:
        """Keep a record. The next `save` writes it."""
        self._records[record.call] = record
        if self._store is not None:
            self._unsaved[record.call] = record

    def _end(self, record: Record, outcome: Outcome, **details: Any) -> Record:  # noqa: ANN401 - fields of `Record`
        """Record an outcome."""
        self._in_progress.pop(record.call, None)
        ended = evolve(record, outcome=outcome, ended_at=datetime.now(UTC), **details)
        self._keep(ended if ended.is_open else evolve(ended, known=frozenset()))
        if not ended.may_be_done:
            self._drop_surplus()
        return ended

    def _mark_unknown(self, record: Record, reason: str, data: object = None) -> OutcomeUnknown:
        """Record an unknown outcome, and return the error for it."""
        error = self._unsettled[record.call] = _error_of(self._end(record, "unknown", reason=reason, data=data), reason)
        return error

    async def _save_outcome(self) -> None:
        """Write an outcome, even if the caller is cancelled. If it can't be written, the next call tries again."""
        try:
            await finish(self.save)
            if self._is_closed:
                await self._close_store()
        except JournalError as error:
            _log.warning(
                "%s; a call with a known outcome may appear as unsettled at the next start",
                error,
                extra={"kind": type(error).__name__},
            )


def purchase_of(record: Record) -> Purchase:
    """Return a record in the form that `SmspvaClient.purchases` returns."""
    # The ids of a settled call are only candidates, unless `reconcile` found it done.
    order_ids = record.order_ids if record.outcome == "done" or record.complete else ()
    return Purchase(record.method, record.params, record.started_at, record.outcome or "unknown", order_ids)


def _error_of(record: Record, reason: str) -> OutcomeUnknown:
    method = methods.SPENDING[record.method]
    error = OutcomeUnknown(
        f"outcome unknown, {method.unknown_outcome_note}: {reason}. Don't repeat the call: await"
        " client.reconcile(error) compares it with the server. It stays in client.unsettled until client.settle(error)",
        method=record.method,
        params=record.params,
        started_at=record.started_at,
        call=record.call,
        known=record.known,
        listed=record.listed,
        ends_at=record.ends_at,
        seen_at=record.seen_at,
        data=record.data,
    )
    name_call(error, method.name, method.python_name)
    return error


def _orders_of(record: Record, value: object) -> tuple[tuple[int, ...], bool]:
    """Return the ids of the orders in a call's result, and whether it created no others."""
    if isinstance(value, Rental):
        return (value.id,), True
    if isinstance(value, int):
        return (value,), True
    if isinstance(value, Rows):
        rentals = cast("Rows[Rental]", value)
        ids = [*(rental.id for rental in rentals), *(row.order_id for row in rentals.skipped)]
        return tuple(order_id for order_id in ids if order_id is not None), None not in ids
    # A restored order keeps its id, or has a new one that the answer doesn't state.
    if record.method == methods.RESTORE.name:
        return (record.order_id,), False
    return (), record.method != methods.ADD_SERVICE.name
