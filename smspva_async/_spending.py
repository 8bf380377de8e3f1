"""Calls that spend or destroy: each is sent once, and none is lost sight of."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import anyio.lowlevel
from attrs import define

from smspva_async import _wire
from smspva_async._envelope import decode
from smspva_async._ledger_entries import Begun, Ended
from smspva_async._reconcile import LENGTHENING, PURCHASES, Others, is_longer
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ConnectionFailed,
    OutcomeUnknown,
    RequestTimeout,
    UnexpectedResponse,
)
from smspva_async.models import Order, Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from smspva_async._envelope import Answer
    from smspva_async._ledger import Ledger
    from smspva_async._ledger_entries import Contents, Outcome
    from smspva_async._wire import Method

__all__ = ["Spending"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_ADVICE = (
    "Don't repeat it: await client.reconcile(error) compares with the server; it stays in client.unsettled until"
    " client.settle(error)"
)
_VERDICTS: Mapping[Outcome, Literal["done", "not_done"]] = {
    "done": "done",
    "refused": "not_done",
    "not_sent": "not_done",
}


@define(eq=False)
class _Past:
    """A call that is over, though other calls may yet be taken for it."""

    call: OutcomeUnknown
    ended: datetime
    done: bool
    until: datetime | None = None
    """Calls that began later can't; None: they can as well."""

    @property
    def order_id(self) -> int | None:
        """The order that it lengthened or restored."""
        return int(self.call.params["id"]) if self.call.method in LENGTHENING else None


class Spending:
    """Makes the calls that spend, and keeps the books of them.

    Args:
        ledger: Where they are remembered when the program ends; None: nowhere.

    """

    def __init__(self, ledger: Ledger | None) -> None:
        self._ledger = ledger
        self._is_read = ledger is None
        self._is_closed = False
        self._unsettled: list[OutcomeUnknown] = []
        self._under_way: dict[str, OutcomeUnknown] = {}
        self._own: set[str] = set()
        self._given: set[int] = set()
        self._past: list[_Past] = []
        # None is ever forgotten: a list may lack an order, and a purchase may be listed late.
        self._known: dict[int, datetime] = {}
        # When it was asked, when it was answered, and the end that was new then.
        self._growth: dict[int, list[tuple[datetime, datetime, datetime]]] = {}
        self._ahead: timedelta | None = None
        self._listed = False

    # -- the ledger --------------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Read the ledger, once more where it was read: other programs may have written to it.

        Raises:
            JournalError: It can't be used.

        """
        self._is_read = self._ledger is None
        await self.open()
        self._is_closed = False

    async def open(self) -> None:
        """Read the ledger, once.

        Raises:
            JournalError: It can't be used.

        """
        if self._ledger is not None and not self._is_read:
            self._take(await self._ledger.read_aside())

    async def flush(self) -> None:
        """Write what waits for the ledger; a call that spends does so by itself."""
        if self._ledger is not None:
            await self._ledger.flush()

    async def aclose(self) -> None:
        """Write what waits for the ledger, also if the caller is cancelled, and end its thread.

        Calls under way may end later: their outcomes are then written at once, since nothing comes that would do it.
        """
        self._is_closed = True
        if self._ledger is not None:
            with anyio.CancelScope(shield=True):
                await self._ledger.finish()
            self._ledger.stop()

    def _take(self, contents: Contents) -> None:
        if self._is_read:
            return
        self._is_read = True
        had = {call.call: call for call in self._unsettled}
        found = [had.get(call.call, call) for call in self._without_outcome(contents)]
        # What the ledger doesn't tell of is kept: it was moved away, or couldn't be written.
        kept = [call for call in self._unsettled if call.call in self._own or call.call not in contents.begun]
        self._unsettled[:] = found + kept

    def _without_outcome(self, contents: Contents) -> list[OutcomeUnknown]:
        return [
            self._remembered(begun, contents.ended.get(call))
            for call, begun in contents.begun.items()
            if call not in self._own and (call not in contents.ended or contents.ended[call].outcome == "unknown")
        ]

    def _remembered(self, begun: Begun, ended: Ended | None) -> OutcomeUnknown:
        where = f"the ledger {str(self._ledger.path)!r}" if self._ledger is not None else ""
        reason = f"{where} has no outcome, since the program ended before it or another one has it under way"
        if ended is not None and ended.reason:
            reason = f"{ended.reason} (from {where})"
        return OutcomeUnknown(
            f"outcome unknown, {_wire.SPENDING[begun.method].stake}: {reason}. {_ADVICE}",
            method=begun.method,
            params=begun.params,
            started_at=begun.started_at,
            known=begun.known,
            listed=begun.listed,
            call=begun.call,
            data=None if ended is None else ended.data,
        )

    # -- what isn't settled ------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> Sequence[OutcomeUnknown]:
        """Calls whose outcome isn't known."""
        if self._ledger is not None and not self._is_read:
            self._take(self._ledger.read())
        return tuple(self._unsettled)

    def settle(self, error: OutcomeUnknown) -> None:
        """Take a call out of `unsettled`.

        Raises:
            JournalError: The ledger can't be written.

        """
        now = datetime.now(UTC)
        mine = [call for call in self.unsettled if call.call == error.call]
        if self._ledger is not None and (mine or self._is_open_in(self._ledger, error.call)):
            self._ledger.settle(Ended(error.call, "settled", now))
        for call in mine:
            self._unsettled.remove(call)
            if call.call in self._own:  # others are found in the ledger
                self._past += self._past_of(call, Ended(call.call, "settled", now))

    def _is_open_in(self, ledger: Ledger, call: str) -> bool:
        return any(begun.call == call for begun in self._without_outcome(ledger.read()))

    async def others(self, error: OutcomeUnknown) -> Others:
        """Return what is known of the calls beside one, those of other programs with the same ledger included."""
        mine = {call.call: call for call in (*self.unsettled, *self._under_way.values())}
        given, past = set(self._given), list(self._past)
        ended: Ended | None = None
        if self._ledger is not None:
            contents = await self._ledger.read_aside()
            mine = {call.call: call for call in self._without_outcome(contents)} | mine
            for call, end in contents.ended.items():
                if call not in self._own and call in contents.begun:
                    given.update(end.orders)
                    past += self._past_of(self._remembered(contents.begun[call], None), end)
            ended = contents.ended.get(error.call)
        past = [entry for entry in past if entry.until is None or entry.until > error.started_at]
        past = [entry for entry in past if entry.call.call != error.call]
        mine |= {entry.call.call: entry.call for entry in past if not entry.done and entry.call.method not in PURCHASES}
        mine.pop(error.call, None)
        return Others(
            given,
            tuple(mine.values()),
            tuple(entry.call for entry in past if entry.done),
            settled=tuple(entry.call for entry in past if not entry.done and entry.call.method in PURCHASES),
            ahead=self._ahead,
            outcome=None if ended is None else _VERDICTS.get(ended.outcome),
            orders=None if ended is None or not ended.told else frozenset(ended.orders),
        )

    def _past_of(self, call: OutcomeUnknown, ended: Ended) -> list[_Past]:
        """Return what a call that is over still means for others."""
        if ended.outcome == "settled":
            # A purchase may be listed late, whatever is thought of it.
            return [_Past(call, ended.at, done=False, until=None if call.method in PURCHASES else ended.at)]
        if ended.outcome != "done" or (ended.told and call.method != _wire.PROLONG.name):
            return []
        past = _Past(call, ended.at, done=True)
        before = call.known.get(past.order_id or 0)
        for asked, listed, until in self._growth.get(past.order_id or 0, ()):
            if past.until is None and asked > ended.at and before is not None and is_longer(until, before):
                past.until = listed
        return [past]

    # -- calls -------------------------------------------------------------------------------------------------------

    def take_note(self, method: Method[T], rows: Rows[object]) -> None:
        """Remember which orders there are."""
        has_new = bool(rows) and not rows.repeated and isinstance(rows[0], (Order, Rental))
        orders = cast("Sequence[Order | Rental]", rows) if has_new else ()
        # A watch is told of the same orders again and again.
        new = [order for order in orders if self._known.get(order.id) is not order.until]
        self._known |= {order.id: order.until for order in new}
        if method.name == _wire.ORDERS.name:
            self._listed = not rows.skipped
            now = datetime.now(UTC)
            asked = now - timedelta(seconds=rows.took)
            self._ahead = None if rows.date is None else rows.date - now
            for order in new:
                growth = self._growth.setdefault(order.id, [])
                if not growth or is_longer(order.until, growth[-1][2]):
                    growth.append((asked, now, order.until))
            self._see_lengthened(cast("Rows[Order]", rows), asked, now)

    def _see_lengthened(self, orders: Rows[Order], asked: datetime, now: datetime) -> None:
        """Look in a new list for what calls that are over did."""
        awaited = [past for past in self._past if past.done and past.until is None and past.ended < asked]
        listed = {order.id: order.until for order in orders} if awaited else {}
        for past in awaited:
            # A list that lags shows the end of before.
            before, until = past.call.known.get(past.order_id or 0), listed.get(past.order_id or 0)
            if before is not None and until is not None and is_longer(until, before):
                past.until = now

    async def spend(
        self, method: Method[T], params: Mapping[str, str], ask: Callable[[list[str]], Awaitable[Answer]]
    ) -> T:
        """Return what a call that is sent once answers, or leave an `OutcomeUnknown` behind.

        Args:
            method: Which.
            params: Its parameters.
            ask: Sends the request; its argument gets the text of the answer as it comes.

        """
        call = OutcomeUnknown(
            "",
            method=method.name,
            params=dict(params),
            started_at=datetime.now(UTC),
            known=dict(self._known),
            listed=self._listed,
        )
        self._own.add(call.call)
        self._under_way[call.call] = call
        try:
            await self._write_down(call)
            return await self._send(call, method, ask)
        finally:
            del self._under_way[call.call]

    async def _write_down(self, call: OutcomeUnknown) -> None:
        if self._ledger is None:
            return
        try:
            await self._ledger.begin(
                Begun(call.call, str(call.method), call.params, call.started_at, call.known, call.listed)
            )
            # Writing doesn't notice a cancellation, and sending would when it can't be told any more what was sent.
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self._end(call, "not_sent")
            raise

    async def _send(self, call: OutcomeUnknown, method: Method[T], ask: Callable[[list[str]], Awaitable[Answer]]) -> T:
        began = anyio.current_time()
        arrived: list[str] = []

        def leave(reason: str, data: object = None) -> OutcomeUnknown:
            self._unsettled.append(call)
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
                call.elapsed = anyio.current_time() - began
            call.message = f"outcome unknown, {method.stake}: {reason}. {_ADVICE}"
            # What can't be read may be half an answer, with a paid order's id.
            call.data = data or "".join(arrived) or None
            self._end(call, "unknown", reason=reason, data=call.data)
            return call

        try:
            value = decode(method, call.params, await ask(arrived))
        except ApiError as error:
            self._end(call, "refused")
            error.message += f"; {method.spared}"
            raise
        except ClientClosed:
            self._end(call, "not_sent")
            raise
        except ConnectionFailed as error:
            if not error.sent:
                self._end(call, "not_sent")
                raise
            failure: ConnectionFailed | RequestTimeout | UnexpectedResponse = error
        except (RequestTimeout, UnexpectedResponse) as error:
            failure = error
        except BaseException as error:
            _log.warning("%s", leave(f"interrupted after its request began ({type(error).__name__})"))
            raise
        else:
            # Nothing is awaited from here on, so that what was paid for reaches the caller.
            self._done(call, value)
            return value
        raise leave(failure.message, getattr(failure, "data", None)) from failure

    def _done(self, call: OutcomeUnknown, value: object) -> None:
        orders, told = _told(call, value)
        self._given.update(orders)
        ended = self._end(call, "done", orders=orders, told=told)
        self._past += self._past_of(call, ended)

    def _end(self, call: OutcomeUnknown, outcome: Outcome, **details: Any) -> Ended:  # noqa: ANN401 - those of `Ended`
        ended = Ended(call.call, outcome, datetime.now(UTC), **details)
        if self._ledger is not None:
            self._ledger.end(ended)
            if self._is_closed:
                self._ledger.flush_now()
        return ended


def _told(call: OutcomeUnknown, value: object) -> tuple[tuple[int, ...], bool]:
    """Return the orders that a call's caller was given, and whether they are all that it made."""
    if isinstance(value, Rental):
        return (value.id,), True
    if isinstance(value, int):
        return (value,), True
    if isinstance(value, Rows):
        rentals = cast("Rows[Rental]", value)
        ids = [*(rental.id for rental in rentals), *(row.order_id for row in rentals.skipped)]
        missing = len(call.params["services"].split(",")) - len(ids)
        if missing > 0:
            _log.warning(
                "%s: %d of its rentals are missing from the answer, though they may be paid: look at orders()",
                call.method,
                missing,
            )
        return tuple(order_id for order_id in ids if order_id is not None), None not in ids and missing <= 0
    # The order is the same one, or a new one that the server left untold.
    if call.method == _wire.RESTORE.name:
        return (int(call.params["id"]),), False
    return (), call.method != _wire.ADD_SERVICE.name
