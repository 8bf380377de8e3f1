"""Reconciliation: compares the server's current state with the state before a call whose outcome is unknown.

A purchase is ``"done"`` if an order that the answer named is listed, or enough new orders that no other call created.
It is never ``"not_done"``: nobody knows how late the provider lists a purchase. A call that can't be judged is
``"open"``.
"""

from __future__ import annotations

import contextlib
import re
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, cast

from attrs import frozen

from smspva_async._api import methods
from smspva_async._api.rows import UnreadableError, integer, is_object
from smspva_async._purchases.store import LONG_LAG
from smspva_async._server_clock import JUMP
from smspva_async.errors import ApiError, InvalidKey, OrderNotFound, RateLimited
from smspva_async.models import Order, PastOrder, Reconciliation, Rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence, Set as AbstractSet

    from smspva_async._purchases.store import Record
    from smspva_async.models import RestoreQuote, Sms

_PURCHASES = frozenset({methods.RENT.name, methods.RENT_MULTI.name, methods.ADD_SERVICE.name})
_SHORTEST_EXTENSION = timedelta(hours=12)  # the shortest period is a day, and lists may differ a little
_LAG = timedelta(minutes=10)
_TOLERANCE = timedelta(seconds=JUMP)
"""The time by which a row may be later than the list that has it."""
# The number must not be the end of the text: it may be cut off.
_NAMED = re.compile(r'"id"\s*:\s*"?([0-9]{1,18})(?=[^0-9])')


@frozen
class Evidence:
    """The server's current state."""

    orders: Rows[Order]
    now: datetime | None = None
    """The server's time of the orders; None if it isn't certain."""
    is_gone: bool = False
    """True if the server answers that the call's order doesn't exist."""
    past: PastOrder | None = None
    """The archived order that the call was to restore."""
    is_restorable: bool = False
    """True if the server still quotes a price for restoring it."""

    def order(self, order_id: int) -> Order | None:
        """Return an order if it is listed."""
        return next((order for order in self.orders if order.id == order_id), None)


class _Client(Protocol):
    """The methods of `SmspvaClient` that `gather_evidence` uses."""

    async def orders(self) -> Rows[Order]: ...
    async def sms(self, order_id: int) -> Rows[Sms]: ...
    def iter_history(self) -> AsyncGenerator[PastOrder, None]: ...
    async def restore_quote(self, order_id: int) -> RestoreQuote: ...


async def gather_evidence(client: _Client, call: Record, server_time: Callable[[], datetime | None]) -> Evidence:
    """Request the server's state that shows a call's outcome. Spends nothing.

    Args:
        client: The client.
        call: The call.
        server_time: Returns the server's time after an answer; None if it isn't certain.

    """
    orders = await client.orders()
    now = server_time()
    is_listed = any(order.id == call.order_id for order in orders)
    if call.method == methods.DELETE.name and not is_listed:
        return Evidence(orders, now, is_gone=await _is_gone(client, call.order_id))
    # An order that was known before may be listed although it wasn't restored.
    if call.method == methods.RESTORE.name and (not is_listed or call.order_id in call.known):
        past = await _past_order(client, call.order_id)
        return Evidence(orders, now, past=past, is_restorable=await _is_restorable(client, call.order_id))
    return Evidence(orders, now)


async def _is_gone(client: _Client, order_id: int) -> bool:
    try:
        await client.sms(order_id)
    except OrderNotFound:
        return True
    return False


async def _past_order(client: _Client, order_id: int) -> PastOrder | None:
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
    """Return the verdict on a call.

    Args:
        call: The call.
        records: The records of all calls, with or without this one.
        evidence: The server's current state.

    """
    others = [other for other in records if other.call != call.call]
    subject = evidence.order(call.order_id)
    if not call.may_be_done:
        return Reconciliation("not_done", _listed([subject]))
    if call.outcome == "done":
        named = [evidence.order(order_id) for order_id in call.order_ids]
        return Reconciliation("done", _listed(named if call.method in _PURCHASES else [subject, *named]))
    match call.method:
        case methods.PROLONG.name | methods.PROLONG_DAYS.name:
            return _judge_extension(call, others, subject, evidence)
        case methods.DELETE.name:
            return _judge_deletion(call, subject, evidence)
        case methods.RESTORE.name:
            return _judge_restore(call, others, subject, evidence)
        case _:
            return _judge_purchase(call, others, evidence)


def _listed(orders: Iterable[Order | None]) -> tuple[Order, ...]:
    return tuple({order.id: order for order in orders if order is not None}.values())


def _judge_extension(call: Record, others: Iterable[Record], order: Order | None, evidence: Evidence) -> Reconciliation:
    if order is None or order.until is None or call.ends_at is None:
        return Reconciliation("open", _listed([order]))
    if order.until - call.ends_at >= _SHORTEST_EXTENSION:
        return Reconciliation("done" if _is_only_extension(call, others) else "open", (order,))
    return Reconciliation("not_done" if _is_fresh(order, call, evidence) else "open", (order,))


def _is_only_extension(call: Record, others: Iterable[Record]) -> bool:
    """Return whether certainly no other call has moved the order's end since it was last known."""
    return call.listed and not any(other.may_have_extended(call.order_id, call.seen_at) for other in others)


def _is_fresh(order: Order, call: Record, evidence: Evidence) -> bool:
    """Return whether the server certainly created an order's row after a call."""
    if order.last_online is None or call.seen_at is None or evidence.now is None:
        return False
    return order.last_online - call.seen_at >= _LAG and order.last_online - evidence.now <= _TOLERANCE


def _judge_deletion(call: Record, order: Order | None, evidence: Evidence) -> Reconciliation:
    if order is not None:
        return Reconciliation("not_done" if _is_fresh(order, call, evidence) else "open", (order,))
    return Reconciliation("done" if evidence.is_gone else "open")


def _judge_restore(call: Record, others: Sequence[Record], order: Order | None, evidence: Evidence) -> Reconciliation:
    # A restored order has its old id (rental page) or a new one (seen on the live server).
    if order is not None and order.id in call.known:
        extended = _judge_extension(call, others, order, evidence)
        if extended.verdict == "done":
            return extended
    elif order is not None:
        return Reconciliation("done" if _is_only_extension(call, others) else "open", (order,))
    new = _new_orders(call, others, evidence)
    named = [found for found in new if found.id in _ids_in(call.data)]
    if named:
        return Reconciliation("done", tuple(named))
    past = evidence.past
    if past is not None:
        new = [it for it in new if past.service in it.services and _digits(it.phone) == _digits(past.phone)]
    if new:
        is_done = past is not None and _is_enough(len(new), new, call, others, evidence)
        return Reconciliation("done" if is_done else "open", tuple(new))
    is_late = evidence.now is not None and call.seen_at is not None and evidence.now - call.seen_at >= LONG_LAG
    return Reconciliation("not_done" if evidence.is_restorable and is_late else "open", _listed([order]))


def _judge_purchase(call: Record, others: Sequence[Record], evidence: Evidence) -> Reconciliation:
    new = [order for order in _new_orders(call, others, evidence) if _matches(call, order)]
    if call.method != methods.ADD_SERVICE.name:
        # The call rents a new number. If a number also has old orders, another call created its new ones.
        ids = {order.id for order in new}
        before = {order.phone for order in evidence.orders if order.phone and order.id not in ids}
        new = [order for order in new if order.phone not in before]
    named = [order for order in new if order.id in _ids_in(call.data)]
    if named:
        numbers = {order.phone for order in named if order.phone}
        multi = call.method == methods.RENT_MULTI.name
        return Reconciliation("done", tuple(it for it in new if it in named or (multi and it.phone in numbers)))
    count = len(new)
    if call.method == methods.RENT_MULTI.name:
        complete = _with_all_services(new, set(call.params["services"].split(",")))
        count = len({order.phone for order in complete})
        new = complete or new
    is_done = _is_enough(count, new, call, others, evidence)
    return Reconciliation("done" if is_done else "open", tuple(new))


# -- orders ----------------------------------------------------------------------------------------------------------


def _new_orders(call: Record, others: Iterable[Record], evidence: Evidence) -> list[Order]:
    """Return the orders that weren't known before the call and that no other call is known to have created."""
    claimed: set[int] = set()
    for other in others:
        claimed |= _ids_in(other.data)
        if other.outcome != "settled":  # the orders of a settled call are candidates, see `_count_competitors`
            claimed.update(other.order_ids)
        if other.method == methods.RESTORE.name:
            claimed.add(other.order_id)  # if it is listed, it is an old order
    return [order for order in evidence.orders if order.id not in call.known and order.id not in claimed]


def _is_enough(
    count: int, candidates: Collection[Order], call: Record, others: Iterable[Record], evidence: Evidence
) -> bool:
    """Return whether there are candidates for the call and for all calls that compete for them."""
    return count > 0 and call.listed and count > _count_competitors(call, others, candidates, evidence)


def _count_competitors(
    call: Record, others: Iterable[Record], candidates: Collection[Order], evidence: Evidence
) -> int:
    """Return the number of other calls that may have created one of the candidates.

    A settled call competes for its own candidates. If it was settled without `reconcile`, it competes for all that
    match it.
    """
    count = 0
    for other in others:
        is_incomplete = other.outcome in ("done", "settled") and not other.complete and other.is_recent(call.seen_at)
        if other.outcome == "settled" and other.order_ids:
            count += any(order.id in other.order_ids for order in candidates)
        elif not (other.is_open or is_incomplete) or any(evidence.order(named) for named in _ids_in(other.data)):
            continue
        elif other.method == methods.RESTORE.name:
            count += evidence.order(other.order_id) is None
        else:
            count += any(order.id not in other.known and _matches(other, order) for order in candidates)
    return count


def _matches(call: Record, order: Order) -> bool:
    """Return whether a purchase may have created an order."""
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
    requested, listed = _country(call.params.get("country", "")), _country(order.country)
    # A country can only be compared if both are codes: a server may also write a name.
    return has_service and (not (requested and listed) or requested == listed)


def _with_all_services(orders: Sequence[Order], services: AbstractSet[str]) -> list[Order]:
    """Return the orders of the numbers that have all services, in one order or in several."""
    on_number: dict[str, set[str]] = {}
    for order in orders:
        on_number.setdefault(order.phone, set()).update(order.services)
    return [order for order in orders if order.phone and on_number[order.phone] >= services]


def _ids_in(data: object) -> AbstractSet[int]:
    """Return the ids in an answer, or in the part of it that arrived."""
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
    """Return a country code in one form, or "" if it isn't a code."""
    code = code.strip().upper()
    return ("UK" if code == "GB" else code) if re.fullmatch("[A-Z]{2}", code) else ""
