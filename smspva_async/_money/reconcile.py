"""Whether a call whose outcome isn't known was done: what speaks for it, as pure functions.

Evidence, never a guess. A new order that nobody was given speaks for a purchase; that there is none speaks for nothing,
since nobody knows how late a purchase is listed.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Collection, Sequence, Set as AbstractSet
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, cast

from attrs import frozen

from smspva_async._api import methods
from smspva_async._api.rows import UnreadableError, integer, is_object
from smspva_async.errors import OutcomeUnknown
from smspva_async.models import Order, PastOrder, Reconciliation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LENGTHENING", "PROLONGING", "PURCHASES", "Evidence", "Others", "decide", "is_longer"]

PURCHASES = frozenset({methods.RENT.name, methods.RENT_MULTI.name, methods.ADD_SERVICE.name})
PROLONGING = frozenset({methods.PROLONG.name, methods.PROLONG_DAYS.name})
LENGTHENING = PROLONGING | {methods.RESTORE.name}
"""Calls that give an order that there was a later end."""

# Only with what follows it: a number at the end of half an answer may be half a number.
_NAMED = re.compile(r'"id"\s*:\s*"?([0-9]{1,18})(?=[^0-9])')
_WANTS_ONE = "*"
_LEAST_GROWTH = timedelta(hours=12)  # the shortest period is a day
_INACCURACY = timedelta(days=2)  # of a purchase's end: time zones, a day begun, a slow answer
_DAYS = {"week": (7, 7), "month": (28, 31)}


@frozen
class Others:
    """What is known of the other calls that spend."""

    given: AbstractSet[int] = frozenset()
    """The orders that their callers were given."""
    open: Sequence[OutcomeUnknown] = ()
    """Those that may have been done: without an outcome, under way, or settled since."""
    done: Sequence[OutcomeUnknown] = ()
    """Those that were done without all their orders being told."""
    settled: Sequence[OutcomeUnknown] = ()
    """Purchases that were settled without their orders being told; they may yet be listed."""
    ahead: timedelta | None = None
    """How far the server's clock is ahead of this machine's; None: it isn't known."""
    outcome: Literal["done", "not_done"] | None = None
    """What the ledger tells of the call itself by now: another program had it under way."""
    orders: AbstractSet[int] | None = None
    """The orders that its caller was then given, if they were all told."""


@frozen
class Evidence:
    """What the server shows now."""

    orders: Collection[Order]
    others: Others = Others()
    is_gone: bool = False
    """Whether the server says that there is no order which the call was about."""
    past: PastOrder | None = None
    """The archived order that was to be restored."""
    is_restorable: bool = False
    """Whether the server still quotes a price for restoring it."""

    def of(self, order_id: int) -> Order | None:
        """Return an order, if it is listed."""
        return next((order for order in self.orders if order.id == order_id), None)


def decide(error: OutcomeUnknown, evidence: Evidence) -> Reconciliation:
    """Return what the evidence shows of a call."""
    if evidence.others.outcome is not None:
        return _ended(error, evidence, evidence.others.outcome)
    return _judged(error, evidence)


def _ended(error: OutcomeUnknown, evidence: Evidence, outcome: Literal["done", "not_done"]) -> Reconciliation:
    ids = evidence.others.orders
    if outcome == "done" and ids is None:
        return Reconciliation(outcome, _judged(error, evidence).candidates)
    if error.method in PROLONGING or error.method == methods.DELETE.name:
        ids = {int(error.params["id"])}
    return Reconciliation(outcome, tuple(order for order in evidence.orders if order.id in (ids or ())))


def _judged(error: OutcomeUnknown, evidence: Evidence) -> Reconciliation:
    match error.method:
        case methods.PROLONG.name | methods.PROLONG_DAYS.name:
            return _prolonged(error, evidence)
        case methods.DELETE.name:
            return _deleted(error, evidence)
        case methods.RESTORE.name:
            return _restored(error, evidence)
        case _:
            return _bought(error, evidence)


def _prolonged(error: OutcomeUnknown, evidence: Evidence) -> Reconciliation:
    order_id = int(error.params["id"])
    order, before = evidence.of(order_id), error.known.get(order_id)
    if order is None or order.until is None or before is None:
        return Reconciliation("open", () if order is None else (order,))
    if order.until == before:
        return Reconciliation("not_done", (order,))
    is_done = is_longer(order.until, before) and not _is_contested(error, evidence)
    return Reconciliation("done" if is_done else "open", (order,))


def _is_later(until: datetime | None, before: datetime) -> bool:
    return until is not None and until > before


def is_longer(until: datetime, before: datetime) -> bool:
    """Tell whether an order was prolonged; an end may be written a little differently each time."""
    return until - before >= _LEAST_GROWTH


def _deleted(error: OutcomeUnknown, evidence: Evidence) -> Reconciliation:
    order = evidence.of(int(error.params["id"]))
    if order is not None:
        return Reconciliation("not_done", (order,))
    return Reconciliation("done" if evidence.is_gone else "open")


def _restored(error: OutcomeUnknown, evidence: Evidence) -> Reconciliation:
    order_id = int(error.params["id"])
    # The rental page's server gives the same order back, the live one a new one.
    order, before = evidence.of(order_id), error.known.get(order_id)
    if order is not None and (before is None or _is_later(order.until, before)):
        # Where the list wasn't known, it may have been on it before.
        was_known = before is not None or error.listed
        return Reconciliation("done" if was_known and not _is_contested(error, evidence) else "open", (order,))
    named = _named_orders(error, evidence, _WANTS_ONE)
    if named:
        return Reconciliation("done", tuple(named))
    candidates = [order for order in _new(error, evidence) if order.id not in _claimed(error, evidence)]
    if evidence.past is not None:
        service, phone = evidence.past.service, _digits(evidence.past.phone)
        candidates = [it for it in candidates if service in it.services and _digits(it.phone) == phone]
    if candidates and (evidence.past is not None or not evidence.is_restorable):
        wanted = 1 + _wanted_by_others(error, evidence, candidates)
        is_done = error.listed and evidence.past is not None and len(candidates) >= wanted
        return Reconciliation("done" if is_done else "open", tuple(candidates))
    return Reconciliation("not_done" if evidence.is_restorable else "open")


def _is_contested(error: OutcomeUnknown, evidence: Evidence) -> bool:
    """Tell whether another call may have lengthened the same order."""
    others = (*evidence.others.open, *evidence.others.done)
    return any(call.method in LENGTHENING and call.params["id"] == error.params["id"] for call in others)


def _bought(error: OutcomeUnknown, evidence: Evidence) -> Reconciliation:
    found: dict[int, Order] = {}
    is_done = True
    claimed = _claimed(error, evidence)
    unclaimed = [it for it in _new(error, evidence) if _fits(error, it) and it.id not in claimed]
    of_one_number = unclaimed
    if error.method == methods.RENT_MULTI.name:
        named = {it.id for it in unclaimed if it.id in _named(error.data)}
        numbers = {it.phone for it in unclaimed if it.id in named and it.phone}
        if named:  # one number was rented, and the answer names an order on it
            return Reconciliation("done", tuple(it for it in unclaimed if it.id in named or it.phone in numbers))
        of_one_number = _of_one_number(unclaimed, _wanted(error).keys())
    for service, count in _wanted(error).items():
        candidates = _named_orders(error, evidence, service)
        if not candidates:
            candidates = [order for order in unclaimed if _is_for(error, order, service)]
            # Any of them may be it, though only those that end as they must speak for it.
            fitting = [order for order in candidates if order in of_one_number]
            ending = [order for order in fitting if _ends_accordingly(error, order, evidence)]
            enough = count + _wanted_by_others(error, evidence, ending, service)
            is_done = is_done and error.listed and len(ending) >= enough
        found |= {order.id: order for order in candidates}
    if is_done and error.method == methods.RENT_MULTI.name:
        return Reconciliation("done", tuple(order for order in found.values() if order in of_one_number))
    return Reconciliation("done" if is_done else "open", tuple(found.values()))


def _is_for(call: OutcomeUnknown, order: Order, service: str) -> bool:
    """Return whether an order may be a call's for a service. Renting for one service makes no order with several."""
    return order.services == (service,) if call.method == methods.RENT.name else service in order.services


def _of_one_number(orders: Collection[Order], services: AbstractSet[str]) -> list[Order]:
    """Return the orders of those numbers that have all services, in one order or in several."""
    on_number: dict[str, set[str]] = {}
    for order in orders:
        on_number.setdefault(order.phone, set()).update(order.services)
    return [order for order in orders if order.phone and on_number[order.phone] >= services]


# -- which order may be which call's ---------------------------------------------------------------------------------


def _new(call: OutcomeUnknown, evidence: Evidence) -> list[Order]:
    """Return the listed orders that there weren't before and nobody was given, each once."""
    orders = {order.id: order for order in evidence.orders}
    given = evidence.others.given
    return [order for order in orders.values() if order.id not in call.known and order.id not in given]


def _wanted(call: OutcomeUnknown) -> Mapping[str, int]:
    """Return how many orders of which service a call makes."""
    if call.method == methods.RESTORE.name:
        return {_WANTS_ONE: 1}
    if call.method == methods.RENT_MULTI.name:
        return Counter(call.params["services"].split(","))
    return {call.params["service"]: 1} if call.method in PURCHASES else {}


def _fits(call: OutcomeUnknown, order: Order) -> bool:
    """Tell whether a call may have made an order."""
    wanted = _wanted(call)
    if wanted.keys().isdisjoint(order.services) and _WANTS_ONE not in wanted:
        return False
    if "pnumber" in call.params and _digits(order.phone) != call.params["pnumber"]:
        return False
    asked, listed = _country(call.params.get("country", "")), _country(order.country)
    # Only two letters can be compared; a server may write a name as well.
    return not (asked and listed) or asked == listed


def _ends_accordingly(call: OutcomeUnknown, order: Order, evidence: Evidence) -> bool:
    """Tell whether an order ends when one that a call made would; True where that isn't known."""
    ahead = evidence.others.ahead
    if ahead is None or order.until is None or call.method == methods.RESTORE.name:
        return True
    if "rent_days" in call.params:
        least = most = int(call.params["rent_days"])
    elif call.params.get("dtype") in _DAYS:
        least, most = (days * int(call.params["dcount"]) for days in _DAYS[call.params["dtype"]])
    else:
        return True
    lasts = order.until - (call.started_at + ahead)
    return timedelta(days=least) - _INACCURACY <= lasts <= timedelta(days=most) + _INACCURACY


def _named_orders(call: OutcomeUnknown, evidence: Evidence, service: str) -> list[Order]:
    """Return the orders of a service that the answer to a call names: all that the call makes, or none."""
    named = _named(call.data)
    orders = [
        order
        for order in _new(call, evidence)
        if order.id in named and _fits(call, order) and service in (*order.services, _WANTS_ONE)
    ]
    return orders if len(orders) == _wanted(call)[service] else []


def _claimed(error: OutcomeUnknown, evidence: Evidence) -> AbstractSet[int]:
    """Return the orders that are known to be another call's."""
    named = {
        order.id
        for call in evidence.others.open
        for service in _wanted(call)
        for order in _named_orders(call, evidence, service)
    }
    if error.method in (methods.RENT.name, methods.RENT_MULTI.name):
        # A purchase is of a new number; whatever else is on the number of an order that was given is another call's.
        numbers = {order.phone for order in evidence.orders if order.id in evidence.others.given and order.phone}
        named |= {order.id for order in evidence.orders if order.phone in numbers}
        # The rental page doesn't tell the order of an added service, but it is on the number that had been there.
        added = [call for call in evidence.others.done if call.method == methods.ADD_SERVICE.name]
        named |= {order.id for order in evidence.orders for call in added if _fits(call, order)}
    return named


def _wanted_by_others(
    error: OutcomeUnknown, evidence: Evidence, candidates: Collection[Order], judged: str = _WANTS_ONE
) -> int:
    """Return how many of a service's candidates the other calls may have made."""
    total = _wanted_by_settled(error, evidence, candidates, judged)
    for call in (*evidence.others.open, *evidence.others.done):
        if call.method == methods.RESTORE.name and _is_accounted_for(int(call.params["id"]), error, evidence):
            continue
        fitting = _services_of(call, candidates, evidence)
        for service, count in _wanted(call).items():
            if _WANTS_ONE not in (service, judged) and service != judged:
                continue
            told = _named_orders(call, evidence, service)
            if not told and (service in fitting or (fitting and service == _WANTS_ONE)):
                total += count
    return total


def _wanted_by_settled(error: OutcomeUnknown, evidence: Evidence, candidates: Collection[Order], judged: str) -> int:
    """Return how many of a service's candidates purchases that were settled may have made.

    They leave what was listed before the call: an order that was new to them and that nobody was given is theirs.
    """
    total = 0
    listed = {order.id: order for order in evidence.orders if order.id in error.known}
    for call in evidence.others.settled:
        fitting = _services_of(call, candidates, evidence)
        new = [order for order in _new(call, evidence) if order.id in listed and _fits(call, order)]
        for service, count in _wanted(call).items():
            mine = [order for order in new if service in order.services and _ends_accordingly(call, order, evidence)]
            taken = mine[:count] if call.listed else []
            for order in taken:
                listed.pop(order.id, None)
            total += count - len(taken) if service in fitting and judged in (service, _WANTS_ONE) else 0
    return total


def _services_of(call: OutcomeUnknown, candidates: Collection[Order], evidence: Evidence) -> AbstractSet[str]:
    """Return the services of the candidates that a call may have made."""
    fitting = (it for it in candidates if _fits(call, it) and _ends_accordingly(call, it, evidence))
    return {service for order in fitting for service in order.services}


def _is_accounted_for(order_id: int, error: OutcomeUnknown, evidence: Evidence) -> bool:
    """Tell whether a restored order is the old one, so that it is no new one."""
    return order_id in error.known or evidence.of(order_id) is not None


def _named(data: object) -> AbstractSet[int]:
    """Return the ids that stand in what came of an answer."""
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
    """Return a country's code in one writing, or nothing where it is none."""
    code = code.strip().upper()
    return ("UK" if code == "GB" else code) if re.fullmatch("[A-Z]{2}", code) else ""
