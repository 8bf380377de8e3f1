"""The books of the calls that spend: which are open, and which are over."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import anyio.lowlevel
from attrs import frozen

from smspva_async._api import methods
from smspva_async._money.ledger_entries import Begun, Ended
from smspva_async._money.reconcile import PROLONGING, PURCHASES, Others, is_longer
from smspva_async._money.sightings import Sightings
from smspva_async.errors import OutcomeUnknown, name_call

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from smspva_async._api.methods import Method
    from smspva_async._money.ledger import Ledger
    from smspva_async._money.ledger_entries import Contents, Outcome

__all__ = ["Books"]

_LISTED_BY_THEN = timedelta(minutes=10)
_VERDICTS: Mapping[Outcome, Literal["done", "not_done"]] = {
    "done": "done",
    "refused": "not_done",
    "not_sent": "not_done",
}


@frozen(eq=False)
class _Past:
    """A call that is over, though other calls may yet be taken for it."""

    call: OutcomeUnknown
    ended: datetime
    done: bool
    """Rather than settled, which doesn't tell."""

    def may_be(self, error: OutcomeUnknown) -> bool:
        """Tell whether it may have done what a call without an outcome is looked for by."""
        if self.call.method in PURCHASES:
            return True
        order_id = int(self.call.params["id"])
        before, known = self.call.known.get(order_id), error.known.get(order_id)
        if before is not None and known is not None and is_longer(known, before):
            return False  # what it did was known by then
        # A list may lag, though not for ever.
        return self.done or error.known_at is None or error.known_at < self.ended + _LISTED_BY_THEN


class Books:
    """The books of a client's calls that spend.

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
        self._sightings = Sightings()
        self.note_orders = self._sightings.take_note
        """Records which orders an answer shows."""
        self.has_ledger = ledger is not None

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
        call = OutcomeUnknown(
            _message(methods.SPENDING[begun.method], reason),
            method=begun.method,
            params=begun.params,
            started_at=begun.started_at,
            known=begun.known,
            known_at=begun.known_at,
            listed=begun.listed,
            call=begun.call,
            data=None if ended is None else ended.data,
        )
        name_call(call, begun.method, methods.SPENDING[begun.method].python_name)
        return call

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
        past = [entry for entry in past if entry.call.call != error.call and entry.may_be(error)]
        mine |= {entry.call.call: entry.call for entry in past if not entry.done and entry.call.method not in PURCHASES}
        mine.pop(error.call, None)
        return Others(
            given,
            tuple(mine.values()),
            tuple(entry.call for entry in past if entry.done),
            settled=tuple(entry.call for entry in past if not entry.done and entry.call.method in PURCHASES),
            ahead=self._sightings.ahead,
            outcome=None if ended is None else _VERDICTS.get(ended.outcome),
            orders=None if ended is None or not ended.told else frozenset(ended.orders),
        )

    def _past_of(self, call: OutcomeUnknown, ended: Ended) -> list[_Past]:
        """Return what a call that is over still means for others."""
        is_clear = ended.outcome == "done" and ended.told and call.method not in PROLONGING
        is_over = ended.outcome in ("done", "settled") and not is_clear
        return [_Past(call, ended.at, done=ended.outcome == "done")] if is_over else []

    # -- calls -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def under_way(self, method: Method[Any], params: Mapping[str, str]) -> Generator[OutcomeUnknown]:
        """Keep a call in the books while it is under way, as what is left of it if its outcome stays unknown."""
        call = OutcomeUnknown(
            "",
            method=method.name,
            params=dict(params),
            started_at=datetime.now(UTC),
            known=dict(self._sightings.known),
            known_at=self._sightings.asked_at(int(params["id"]) if "id" in params else None),
            listed=self._sightings.listed,
        )
        name_call(call, method.name, method.python_name)
        self._own.add(call.call)
        self._under_way[call.call] = call
        try:
            yield call
        finally:
            del self._under_way[call.call]

    async def write_down(self, call: OutcomeUnknown) -> None:
        """Write down that a call is about to be sent.

        Raises:
            JournalError: It can't be written, so that it must not be sent.

        """
        if self._ledger is None:
            return
        try:
            await self._ledger.begin(
                Begun(call.call, str(call.method), call.params, call.started_at, call.known, call.listed, call.known_at)
            )
            # Writing doesn't notice a cancellation, and sending would when it can't be told any more what was sent.
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self.end(call, "not_sent")
            raise

    def leave_open(self, call: OutcomeUnknown, method: Method[Any], reason: str) -> None:
        """Take note that a call's outcome isn't known."""
        self._unsettled.append(call)
        call.message = _message(method, reason)
        self.end(call, "unknown", reason=reason, data=call.data)

    def done(self, call: OutcomeUnknown, orders: tuple[int, ...], *, told: bool) -> None:
        """Take note that a call was done.

        Args:
            call: Which.
            orders: The orders that its caller is given.
            told: Whether they are all that it made.

        """
        self._given.update(orders)
        ended = self.end(call, "done", orders=orders, told=told)
        self._past += self._past_of(call, ended)

    def end(self, call: OutcomeUnknown, outcome: Outcome, **details: Any) -> Ended:  # noqa: ANN401 - those of `Ended`
        """Have an outcome written."""
        ended = Ended(call.call, outcome, datetime.now(UTC), **details)
        if self._ledger is not None:
            self._ledger.end(ended)
            if self._is_closed:
                self._ledger.flush_now()
        return ended


def _message(method: Method[Any], reason: str) -> str:
    return (
        f"outcome unknown, {method.unknown_outcome_note}: {reason}. Don't repeat it: await client.reconcile(error)"
        " compares with the server; it stays in client.unsettled until client.settle(error)"
    )
