"""Judgement of a call whose outcome isn't known: what the server shows now, against what was known before.

An order that the answer named, or enough new orders that nobody else was given, prove that a purchase
was made. Nothing proves that it wasn't: nobody knows how late a purchase is listed. Whatever can't be told is open.
"""

from __future__ import annotations

import contextlib
import re
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, cast

from attrs import frozen

from smspva_async._api import methods
from smspva_async._api.rows import UnreadableError, integer, is_object
from smspva_async.errors import ApiError, InvalidKey, OrderNotFound, RateLimited
from smspva_async.models import Order, PastOrder, Reconciliation, Rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Sequence, Set as AbstractSet

    from smspva_async._purchases.store import Record
    from smspva_async.models import RestoreQuote, Sms

__all__ = ["EXTENDING", "LONG_LAG", "Evidence", "decide", "gather_evidence"]

_PURCHASES = frozenset({methods.RENT.name, methods.RENT_MULTI.name, methods.ADD_SERVICE.name})
EXTENDING = frozenset({methods.PROLONG.name, methods.PROLONG_DAYS.name, methods.RESTORE.name})
"""Calls that move the end of an order that exists."""
_LEAST_EXTENSION = timedelta(hours=12)  # the shortest period is a day, and an end may be written a little differently
_LAG = timedelta(minutes=10)
LONG_LAG = timedelta(hours=1)
"""The longest time after a call for which lists may lack what it did."""
# Only with what follows it: a number at the end of half an answer may be half a number.
_NAMED = re.compile(r'"id"\s*:\s*"?([0-9]{1,18})(?=[^0-9])')


@frozen
class Evidence:
    """What the server shows now."""

    orders: Rows[Order]
    is_gone: bool = False
    """Whether the server says that there is no order which the call was about."""
    past: PastOrder | None = None
    """The archived order that was to be restored."""
    is_restorable: bool = False
    """Whether the server still quotes a price for restoring it."""

    def of(self, order_id: int) -> Order | None:
        """Return an order, if it is listed."""
        return next((order for order in self.orders if order.id == order_id), None)


class _Client(Protocol):
    """The calls of `SmspvaClient` that are made here."""

    async def orders(self) -> Rows[Order]: ...
    async def sms(self, order_id: int) -> Rows[Sms]: ...
    def iter_history(self) -> AsyncGenerator[PastOrder, None]: ...
    async def restore_quote(self, order_id: int) -> RestoreQuote: ...


async def gather_evidence(client: _Client, call: Record) -> Evidence:
    """Ask the server about a call. Spends nothing."""
    orders = await client.orders()
    subject = int(call.params.get("id", 0))
    may_be_old = call.method == methods.RESTORE.name and subject in call.known
    if any(order.id == subject for order in orders) and not may_be_old:
        return Evidence(orders)
    if call.method == methods.DELETE.name:
        return Evidence(orders, is_gone=await _is_gone(client, subject))
    if call.method == methods.RESTORE.name:
        past = await _past(client, subject)
        return Evidence(orders, past=past, is_restorable=await _is_restorable(client, subject))
    return Evidence(orders)


async def _is_gone(client: _Client, order_id: int) -> bool:
    try:
        await client.sms(order_id)
    except OrderNotFound:
        return True
    return False


async def _past(client: _Client, order_id: int) -> PastOrder | None:
    async with aclosing(client.iter_history()) as orders:
        async for order in orders:
            if order.order_id == order_id:
                return order
    return None


async def _is_restorable(client: _Client, order_id: int) -> bool:
    try:
        await client.restore_quote(order_id)
    except (RateLimited, InvalidKey):
        raise
    except ApiError:
        return False
    return True


# -- verdicts --------------------------------------------------------------------------------------------------------


def decide(call: Record, records: Iterable[Record], evidence: Evidence) -> Reconciliation:
    """Return what the evidence shows of a call.

    Args:
        call: The call.
        records: All calls, this one included or not.
        evidence: What the server shows.

    """
    others = [other for other in records if other.call != call.call]
    subject = evidence.of(int(call.params.get("id", 0)))
    if call.outcome in ("refused", "not_sent"):
        return Reconciliation("not_done", _listed([subject]))
    if call.outcome == "done":
        named = [evidence.of(order_id) for order_id in call.order_ids]
        return Reconciliation("done", _listed(named if call.method in _PURCHASES else [subject, *named]))
    match call.method:
        case methods.PROLONG.name | methods.PROLONG_DAYS.name:
            return _extended(call, others, subject)
        case methods.DELETE.name:
            return _deleted(call, subject, evidence)
        case methods.RESTORE.name:
            return _restored(call, others, subject, evidence)
        case _:
            return _bought(call, others, evidence)


def _listed(orders: Iterable[Order | None]) -> tuple[Order, ...]:
    return tuple({order.id: order for order in orders if order is not None}.values())


def _extended(call: Record, others: Iterable[Record], order: Order | None) -> Reconciliation:
    if order is None or order.until is None or call.ends_at is None:
        return Reconciliation("open", _listed([order]))
    if order.until - call.ends_at >= _LEAST_EXTENSION:
        is_done = call.listed and not _is_contested(call, others)
        return Reconciliation("done" if is_done else "open", (order,))
    return Reconciliation("not_done" if _is_fresh(order, call) else "open", (order,))


def _is_contested(call: Record, others: Iterable[Record]) -> bool:
    """Return whether another call may have moved the end of the same order, in the hour before the call or since.

    What was moved earlier is known, if the call goes by a good list.
    """
    return any(
        other.method in EXTENDING
        and other.params["id"] == call.params["id"]
        and other.outcome not in ("refused", "not_sent")
        and _is_recent(other, call)
        for other in others
    )


def _is_recent(other: Record, call: Record) -> bool:
    """Return whether a call began in the hour before another one, or later, or nobody knows when."""
    return other.seen_at is None or call.seen_at is None or other.seen_at > call.seen_at - LONG_LAG


def _is_fresh(order: Order, call: Record) -> bool:
    """Return whether the row of an order was certainly made after the call. A list may lag."""
    return order.last_online is not None and call.seen_at is not None and order.last_online >= call.seen_at + _LAG


def _deleted(call: Record, order: Order | None, evidence: Evidence) -> Reconciliation:
    if order is not None:
        return Reconciliation("not_done" if _is_fresh(order, call) else "open", (order,))
    return Reconciliation("done" if evidence.is_gone else "open")


def _restored(call: Record, others: Sequence[Record], order: Order | None, evidence: Evidence) -> Reconciliation:
    # Under its id again (rental page) or under a new one (seen on the live server).
    if order is not None and order.id in call.known:
        extended = _extended(call, others, order)
        if extended.verdict == "done":
            return extended
    elif order is not None:
        return Reconciliation("done" if call.listed and not _is_contested(call, others) else "open", (order,))
    new = _new(call, others, evidence)
    named = [found for found in new if found.id in _named(call.data)]
    if named:
        return Reconciliation("done", tuple(named))
    past = evidence.past
    if past is not None:
        new = [it for it in new if past.service in it.services and _digits(it.phone) == _digits(past.phone)]
    if new:
        is_done = past is not None and call.listed and len(new) > _competitors(call, others, new, evidence)
        return Reconciliation("done" if is_done else "open", tuple(new))
    now = evidence.orders.date
    is_late = now is not None and call.seen_at is not None and now >= call.seen_at + LONG_LAG
    return Reconciliation("not_done" if evidence.is_restorable and is_late else "open", _listed([order]))


def _bought(call: Record, others: Sequence[Record], evidence: Evidence) -> Reconciliation:
    new = [order for order in _new(call, others, evidence) if _fits(call, order)]
    if call.method != methods.ADD_SERVICE.name:
        # A new number: further orders on the numbers that there were are another call's.
        ids = {order.id for order in new}
        before = {order.phone for order in evidence.orders if order.phone and order.id not in ids}
        new = [order for order in new if order.phone not in before]
    named = [order for order in new if order.id in _named(call.data)]
    if named:
        numbers = {order.phone for order in named if order.phone}
        multi = call.method == methods.RENT_MULTI.name
        return Reconciliation("done", tuple(it for it in new if it in named or (multi and it.phone in numbers)))
    if call.method == methods.RENT_MULTI.name:
        complete = _with_all_services(new, set(call.params["services"].split(",")))
        count = len({order.phone for order in complete})
        new = complete or new
    else:
        count = len(new)
    is_done = count > 0 and call.listed and count > _competitors(call, others, new, evidence)
    return Reconciliation("done" if is_done else "open", tuple(new))


# -- orders ----------------------------------------------------------------------------------------------------------


def _new(call: Record, others: Iterable[Record], evidence: Evidence) -> list[Order]:
    """Return the listed orders that weren't listed before the call and aren't known to be another call's."""
    claimed: set[int] = set()
    for other in others:
        claimed |= _named(other.data)
        if other.outcome != "settled":  # which competes for what it may have made
            claimed.update(other.order_ids)
        if other.method == methods.RESTORE.name:
            claimed.add(int(other.params["id"]))  # an old order, if it is listed again
    return [order for order in evidence.orders if order.id not in call.known and order.id not in claimed]


def _competitors(call: Record, others: Iterable[Record], candidates: Collection[Order], evidence: Evidence) -> int:
    """Return how many other calls may have made one of the candidates, without its being known which.

    A settled call competes for the candidates that were found for it; one that was never compared, for all that fit it.
    """
    count = 0
    for other in others:
        is_vague = other.outcome in ("done", "settled") and not other.complete and _is_recent(other, call)
        is_told = not other.is_open and not is_vague
        if other.outcome == "settled" and other.order_ids:
            count += any(order.id in other.order_ids for order in candidates)
        elif is_told or any(evidence.of(order_id) for order_id in _named(other.data)):
            continue
        elif other.method == methods.RESTORE.name:
            count += evidence.of(int(other.params["id"])) is None
        else:
            count += any(order.id not in other.known and _fits(other, order) for order in candidates)
    return count


def _fits(call: Record, order: Order) -> bool:
    """Return whether a purchase may have made an order."""
    match call.method:
        case methods.RENT.name:
            has_service = order.services == (call.params["service"],)
        case methods.RENT_MULTI.name:
            has_service = not set(order.services).isdisjoint(call.params["services"].split(","))
        case methods.ADD_SERVICE.name:
            has_service = call.params["service"] in order.services
            has_service = has_service and _digits(order.phone) == call.params["pnumber"]
        case _:
            return False
    asked, listed = _country(call.params.get("country", "")), _country(order.country)
    # Only two letters can be compared; a server may write a name as well.
    return has_service and (not (asked and listed) or asked == listed)


def _with_all_services(orders: Sequence[Order], services: AbstractSet[str]) -> list[Order]:
    """Return the orders of those numbers that have all services, in one order or in several."""
    on_number: dict[str, set[str]] = {}
    for order in orders:
        on_number.setdefault(order.phone, set()).update(order.services)
    return [order for order in orders if order.phone and on_number[order.phone] >= services]


def _named(data: object) -> AbstractSet[int]:
    """Return the ids in what came of an answer."""
    if isinstance(data, str):
        return {int(number) for number in _NAMED.findall(data)}
    found: set[int] = set()
    values = [data]
    while values:
        value = values.pop()
        if isinstance(value, list):
            values += cast("list[object]", value)
        elif is_object(value):
            values += value.values()
            with contextlib.suppress(UnreadableError):
                found.add(integer(value.get("id")))
    return found


def _digits(phone: str) -> str:
    return "".join(character for character in phone if character.isdigit())


def _country(code: str) -> str:
    """Return a country's code in one form, or nothing where it is none."""
    code = code.strip().upper()
    return ("UK" if code == "GB" else code) if re.fullmatch("[A-Z]{2}", code) else ""
