"""Calls that spend or destroy: each is sent once, recorded before that, and never lost sight of."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime, timedelta
from time import time
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import anyio
import anyio.lowlevel
from attrs import evolve

from smspva_async._api import methods
from smspva_async._api.decoding import decode
from smspva_async._concurrency import finish, has_ended
from smspva_async._purchases.reconcile import EXTENDING, LONG_LAG
from smspva_async._purchases.store import Record
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ClientInUse,
    ConnectionFailed,
    JournalError,
    OutcomeUnknown,
    RequestTimeout,
    UnexpectedResponse,
    bounded,
    name_call,
)
from smspva_async.models import Order, Purchase, Reconciliation, Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from anyio.lowlevel import EventLoopToken

    from smspva_async._api.decoding import Answer
    from smspva_async._api.methods import Method
    from smspva_async._purchases.store import Outcome, PurchaseStore

__all__ = ["PurchaseTracker"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_FIRST_YEAR, _LAST_YEAR = 2000, 9998


class PurchaseTracker:
    """The purchases of a client.

    Args:
        store: Where they are kept when the program ends; None: nowhere.

    """

    def __init__(self, store: PurchaseStore | None) -> None:
        self._store = store
        self.is_read = store is None
        """Whether the store has been read."""
        self._records: dict[str, Record] = {}
        self._unsettled: dict[str, OutcomeUnknown] = {}
        self._is_closed = False
        self._own: set[str] = set()
        """Calls of this client in this process; of those the memory is right, not the store."""
        self._in_progress: dict[str, EventLoopToken] = {}
        """Those without an outcome yet, and the event loop of each."""
        self._process = os.getpid()
        self._unsaved: dict[str, Record] = {}
        """Records that are newer than the store's."""
        self._known: dict[int, tuple[datetime | None, datetime | None]] = {}
        """Order id -> end, and the server's time when it told that, of all orders that were ever listed or bought."""
        self._known_ids: frozenset[int] = frozenset()
        self._listed = False
        self._seen_at: tuple[datetime, float, float] | None = None
        """The last time that the server told, and when that was by anyio's clock and by this machine's."""
        self._findings: dict[str, Reconciliation] = {}
        """What `reconcile` found last, call by call."""

    # -- what the store has ------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Read the store for a client that is opened.

        Raises:
            JournalError: It can't be read whole.

        """
        await self.read()
        self._is_closed = False

    async def read(self) -> None:
        """Read the store, on which other programs may write too.

        Raises:
            JournalError: It can't be read whole.

        """
        self._abandon_dead_calls()
        if self._store is not None:
            try:
                self._merge(await self._store.load())
            except JournalError:
                self._reopen_settled()
                raise

    def _merge(self, records: Sequence[Record] | None) -> None:
        """Add what the store has; what is newer here stays."""
        self.is_read = True
        for record in records or ():
            is_newer_here = record.call in self._unsaved or (record.call in self._own and record.outcome != "settled")
            if is_newer_here:
                continue
            self._records[record.call] = record
            if not record.is_open or record.in_flight:
                self._unsettled.pop(record.call, None)
            elif record.call not in self._unsettled:
                self._unsettled[record.call] = self._error(record)

    def _error(self, record: Record) -> OutcomeUnknown:
        where = self._store.name if self._store is not None else ""
        return _error_of(record, f"{record.reason or 'the program ended before it was known'} (from {where})")

    async def save(self) -> None:
        """Write what isn't in the store yet.

        Raises:
            JournalError: It can't be written. Calls that were settled since appear again.

        """
        self._abandon_dead_calls()
        if self._store is None or not self._unsaved:
            return
        records = list(self._unsaved.values())
        try:
            await self._store.save(records)
        except JournalError:
            self._reopen_settled()
            raise
        for record in records:
            if self._unsaved.get(record.call) is record:
                del self._unsaved[record.call]

    def _reopen_settled(self) -> None:
        """Let calls appear again that were settled since the last writing."""
        for record in [record for record in self._unsaved.values() if record.outcome == "settled"]:
            del self._unsaved[record.call]
            self._records[record.call] = evolve(record, outcome="unknown", order_ids=(), complete=True)
            self._unsettled[record.call] = self._error(self._records[record.call])

    async def aclose(self) -> None:
        """Write what isn't in the store yet, also if the caller is cancelled, and give the store back.

        Raises:
            JournalError: It can't be written. Calls that were settled since appear again.

        """
        self._is_closed = True
        is_needed = any(record.outcome != "not_sent" for record in self._unsaved.values())
        try:
            await finish(self.save)
        except JournalError:
            if is_needed:  # a call that couldn't be recorded has raised already
                raise
        finally:
            await self._close_store()

    async def _close_store(self) -> None:
        """Give the store back; a call in progress that outlives the client keeps it."""
        if self._store is not None and not self._in_progress:
            await finish(self._store.aclose)

    def _read_once(self) -> None:
        if self._store is not None and not self.is_read:
            self._merge(self._store.load_now())

    def _abandon_dead_calls(self) -> None:
        """Mark the calls unknown whose event loop has ended, and forget those that a parent process makes."""
        if self._process != os.getpid():
            self._process, self._own, self._in_progress, self._unsaved = os.getpid(), set(), {}, {}
        for call, loop in list(self._in_progress.items()):
            if has_ended(loop):
                self._mark_unknown(self._records[call], "its event loop ended before the answer came")

    def _mark_unknown(self, record: Record, reason: str, data: object = None) -> OutcomeUnknown:
        """Record that a call's outcome isn't known, and return the error for it."""
        error = self._unsettled[record.call] = _error_of(self._end(record, "unknown", reason=reason, data=data), reason)
        return error

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> Sequence[OutcomeUnknown]:
        """The calls whose outcome isn't known, in the order in which they began."""
        self._read_once()
        self._abandon_dead_calls()
        return tuple(sorted(self._unsettled.values(), key=lambda error: error.started_at))

    @property
    def records(self) -> Collection[Record]:
        """All calls."""
        return self._records.values()

    def purchases(self) -> Sequence[Purchase]:
        """Return all calls, in the order in which they began."""
        self._read_once()
        records = sorted(self._records.values(), key=lambda record: record.started_at)
        return tuple(
            Purchase(
                record.method,
                record.params,
                record.started_at,
                record.outcome or "unknown",
                # Those of a settled call are the candidates that were found, unless it was proved to be done.
                record.order_ids if record.outcome == "done" or record.complete else (),
            )
            for record in records
        )

    def record_of(self, error: OutcomeUnknown) -> Record:
        """Return what is recorded of a call, which may be another client's."""
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
        """Take a call out of `unsettled`; it is written later."""
        self._read_once()
        if self._unsettled.pop(error.call, None) is not None:
            found = self._findings.pop(error.call, Reconciliation("open"))
            order_ids = tuple(order.id for order in found.candidates)
            settled = evolve(self._records[error.call], outcome="settled", ended_at=datetime.now(UTC))
            self._keep(evolve(settled, order_ids=order_ids, complete=found.verdict == "done"))

    def note_finding(self, error: OutcomeUnknown, found: Reconciliation) -> None:
        """Record which orders a call may have made: what is known of it once it is settled."""
        self._findings[error.call] = found

    def note_orders(self, method: Method[Any], rows: Rows[object]) -> None:
        """Record which orders an answer shows."""
        if rows and not rows.repeated and isinstance(rows[0], (Order, Rental)):
            date = rows.date or self._server_time()
            self._known |= {order.id: (order.until, date) for order in cast("Sequence[Order | Rental]", rows)}
            if len(self._known) != len(self._known_ids):
                self._known_ids = frozenset(self._known)
        if method.name == methods.ORDERS.name:
            self._listed = not rows.skipped
            # Never backwards: an answer may be old, or another machine's with a clock of its own.
            is_sane = rows.date is not None and _FIRST_YEAR <= rows.date.year <= _LAST_YEAR
            if rows.date is not None and is_sane and rows.date >= (self._server_time() or rows.date):
                self._seen_at = rows.date, anyio.current_time(), time()

    def _server_time(self) -> datetime | None:
        """Return the time now by the server's clock: rather too late, where the clocks here disagree.

        The event loop's clock may stand still while the machine sleeps, and the machine's may be set.
        """
        if self._seen_at is None:
            return None
        date, then, then_here = self._seen_at
        with contextlib.suppress(OverflowError):
            return date + timedelta(seconds=max(0.0, anyio.current_time() - then, time() - then_here))
        return None

    def _shows_all(self, params: Mapping[str, str], date: datetime | None) -> bool:
        """Return whether a list of a time certainly shows what earlier calls did: it may lag.

        Only calls matter that moved the end of the same order, or made an order that their answer didn't name.
        """
        return not any(
            (
                (record.outcome == "done" and not record.complete)
                or (record.method in EXTENDING and record.params["id"] == params.get("id"))
            )
            and record.outcome not in ("refused", "not_sent")
            and (record.seen_at is None or date is None or record.seen_at > date - LONG_LAG)
            for record in self._records.values()
        )

    # -- a call ------------------------------------------------------------------------------------------------------

    async def spend(
        self, method: Method[T], params: Mapping[str, str], send: Callable[[list[str]], Awaitable[Answer]]
    ) -> T:
        """Return what a call that is sent once answers, or raise and keep an `OutcomeUnknown`.

        Args:
            method: Which.
            params: Its parameters.
            send: Sends the request; its argument gets the text of the answer as it comes.

        """
        last_list = None if self._seen_at is None else self._seen_at[0]
        ends_at, told_at = self._known.get(int(params.get("id", 0)), (None, last_list))
        record = Record(
            uuid4().hex,
            method.name,
            dict(params),
            datetime.now(UTC),
            known=self._known_ids,
            listed=self._listed and self._shows_all(params, told_at if method.name in EXTENDING else last_list),
            ends_at=ends_at,
            seen_at=self._server_time(),
        )
        self._abandon_dead_calls()
        self._own.add(record.call)
        self._in_progress[record.call] = anyio.lowlevel.current_token()
        self._keep(record)
        try:
            await self.save()
            # Writing doesn't notice a cancellation, and sending would when nobody can tell any more what was sent.
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException as error:
            self._end(record, "not_sent")
            if isinstance(error, JournalError):
                error.message += "; nothing was sent"
            elif not isinstance(error, GeneratorExit):
                await self._save_outcome()
            raise
        try:
            value = await self._send(record, method, send)
        except GeneratorExit:  # a coroutine that is closed can't await: the next call writes its outcome
            raise
        except BaseException:
            await self._save_outcome()
            raise
        await self._save_outcome()
        return value

    async def _send(self, record: Record, method: Method[T], send: Callable[[list[str]], Awaitable[Answer]]) -> T:
        began = anyio.current_time()
        received: list[str] = []

        def leave(reason: str, data: object = None) -> OutcomeUnknown:
            # What can't be read may be half an answer, with a paid order's id.
            error = self._mark_unknown(record, reason, bounded(data) or "".join(received) or None)
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
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
        except ConnectionFailed as error:
            if not error.sent:
                self._end(record, "not_sent")
                raise
            failure: ConnectionFailed | RequestTimeout | UnexpectedResponse = error
        except (RequestTimeout, UnexpectedResponse) as error:
            failure = error
        except BaseException as error:
            if record.call in self._in_progress:  # or it was left open when its event loop had ended
                _log.warning("%s", leave(f"interrupted after its request began ({type(error).__name__})"))
            raise
        else:
            return value
        raise leave(failure.message, getattr(failure, "data", None)) from failure

    def _keep(self, record: Record) -> None:
        """Keep a record, to be written with the next ones."""
        self._records[record.call] = record
        if self._store is not None:
            self._unsaved[record.call] = record

    def _end(self, record: Record, outcome: Outcome, **details: Any) -> Record:  # noqa: ANN401 - those of `Record`
        """Record an outcome."""
        self._in_progress.pop(record.call, None)
        ended = evolve(record, outcome=outcome, ended_at=datetime.now(UTC), **details)
        self._keep(ended if ended.is_open else evolve(ended, known=frozenset()))
        return ended

    async def _save_outcome(self) -> None:
        """Write an outcome, also if the caller is cancelled. If it can't be written, the next call tries again."""
        try:
            await finish(self.save)
            if self._is_closed:
                await self._close_store()
        except JournalError as error:
            _log.warning("%s; a call with a known outcome may appear as unsettled at the next start", error)


def _error_of(record: Record, reason: str) -> OutcomeUnknown:
    method = methods.SPENDING[record.method]
    error = OutcomeUnknown(
        f"outcome unknown, {method.unknown_outcome_note}: {reason}. Don't repeat it: await client.reconcile(error)"
        " compares with the server; it stays in client.unsettled until client.settle(error)",
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
    """Return the orders that a call's answer named, and whether they are all that it made."""
    if isinstance(value, Rental):
        return (value.id,), True
    if isinstance(value, int):
        return (value,), True
    if isinstance(value, Rows):
        rentals = cast("Rows[Rental]", value)
        ids = [*(rental.id for rental in rentals), *(row.order_id for row in rentals.skipped)]
        return tuple(order_id for order_id in ids if order_id is not None), None not in ids
    # The order is the same one, or a new one that the server left out.
    if record.method == methods.RESTORE.name:
        return (int(record.params["id"]),), False
    return (), record.method != methods.ADD_SERVICE.name
