"""The API's methods: which parameters they take and what they answer.

A method answers with what is known, under the names that the rental page uses; the dialects choose from it and write
it down. Keys that begin with `_` are notes for the dialects and never sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from attrs import frozen

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._clock import DAY
from smspva_async.simulator._provider import LONGEST, RESTORED_DAYS, Provider
from smspva_async.simulator._refusals import RefusedError

if TYPE_CHECKING:
    from decimal import Decimal

    from smspva_async.simulator._orders import SimulatedOrder

__all__ = ["LIST_METHODS", "METHODS", "METHOD_NAMES", "Json", "MethodName", "Params", "Row", "complaints"]

Json: TypeAlias = "bool | int | float | Decimal | str | list[Json] | dict[str, Json] | None"
Row: TypeAlias = "dict[str, Json]"
Params: TypeAlias = Mapping[str, str]

MethodName = Literal[
    "getcountries",
    "getdata",
    "create",
    "create_multi",
    "orders",
    "add_service_to_order",
    "sms",
    "prolong",
    "activate",
    "delete",
    "get_rent_history",
    "restore_user_precalc",
    "restore_user",
]
"""The methods that are simulated; `create_multi` is of the provider's reference site, the others of the rental page."""
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)

LIST_METHODS: tuple[MethodName, ...] = ("getcountries", "getdata", "orders", "sms", "get_rent_history")
"""Methods that answer with a list."""

_DAYS = {"week": 7, "month": 30}


@frozen
class Method:
    """A method of the API."""

    answer: Callable[[Provider, Params], Json]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    needs_key: bool = True


# Reading parameters


def _days(params: Params) -> int:
    kind, count = params.get("dtype", ""), params.get("dcount", "")
    if kind not in _DAYS or not _is_number(count):
        raise RefusedError(refusals.DURATION)
    return _DAYS[kind] * int(count)


def _order_id(params: Params) -> int:
    text = params.get("id", "")
    if not _is_number(text):
        raise RefusedError(refusals.ORDER_ID)
    return int(text)


def _is_number(text: str) -> bool:
    # The length is bounded since `int` refuses to read numbers of thousands of digits.
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


# Answers


def _getcountries(provider: Provider, _params: Params) -> Json:
    return [
        {"name": country.name, "code": country.code, "rent_switch_type": country.activation}
        for country in provider.catalogue.values()
    ]


def _getdata(provider: Provider, params: Params) -> Json:
    if "dtype" in params or "dcount" in params:
        _days(params)
    country = provider.catalogue.get(params.get("country", ""))
    if country is None:
        raise RefusedError(refusals.UNKNOWN_OFFER)
    return [
        {
            "name": offer.name,
            "service": offer.service,
            "price_day": offer.price_day,
            "count": offer.count,
            "_stock": dict[str, "Json"](offer.stock),
        }
        for offer in country.offers.values()
    ]


def _rental(provider: Provider, order: SimulatedOrder) -> Row:
    return {
        "id": order.id,
        "pnumber": order.number,
        "ccode": order.ccode,
        "service": order.service,
        "until": provider.clock.unix(order.ends),
    }


def _create(provider: Provider, params: Params) -> Json:
    services = [params.get("service", "")]
    (order,) = provider.rent(params.get("country", ""), services, _days(params), params.get("provider"))
    return _rental(provider, order)


def _create_multi(provider: Provider, params: Params) -> Json:
    services = params.get("services", "").split(",")
    orders = provider.rent(params.get("country", ""), services, _days(params), params.get("provider"))
    return [_rental(provider, order) for order in orders]


def _orders(provider: Provider, _params: Params) -> Json:
    unix = provider.clock.unix
    return [
        {
            "id": order.id,
            "scode": order.service,
            "sname": order.service_name,
            "state": order.state,
            # Where the dial code is left empty the number is told whole, with its plus.
            "pnumber": order.number if order.ccode else order.phone,
            "ccode": order.ccode,
            "cname": order.country,
            "hasnewsms": provider.has_new_sms(order),
            "until": unix(order.ends),
            "canprolong": order.can_prolong,
            "canprolongmax": LONGEST,
            "canprolonguntil": unix(order.ends + LONGEST * DAY),
            "lastonline": unix(order.last_online),
            "_provider": order.provider,
        }
        for order in provider.listed_orders()
    ]


def _add_service(provider: Provider, params: Params) -> Json:
    days = params.get("rent_days")
    if days is not None and not (_is_number(days) and 1 <= int(days) <= LONGEST):
        raise RefusedError(refusals.DURATION)
    order = provider.add_service(
        _order_id(params),
        params.get("service", ""),
        params.get("pnumber", ""),
        None if days is None else int(days),
    )
    # The live server tells this number whole.
    return {**_rental(provider, order), "pnumber": order.phone.removeprefix("+")}


def _sms(provider: Provider, params: Params) -> Json:
    rows: list[Json] = []
    for message in provider.read(_order_id(params)):
        row: Row = {"text": message.text, "_other": message.other, "_number": message.number}
        if message.sender is not None:
            row["sender"] = message.sender
        if message.date is not None:
            row["date"] = message.date
        rows.append(row)
    return rows


def _prolong(provider: Provider, params: Params) -> Json:
    return {"id": provider.prolong(_order_id(params), _days(params)).id}


def _activate(provider: Provider, params: Params) -> Json:
    order = provider.open_order(_order_id(params))
    provider.activate(order)
    return {"id": order.id}


def _delete(provider: Provider, params: Params) -> Json:
    return {"id": provider.delete(_order_id(params)).id}


def _get_rent_history(provider: Provider, params: Params) -> Json:
    skip, take = (
        int(text) if _is_number(text) else default
        for text, default in ((params.get("skip", ""), 0), (params.get("take", ""), 50))
    )
    unix = provider.clock.unix
    return [
        {
            "orderId": order.id,
            "resourceCode": order.service,
            "number": order.phone.removeprefix("+"),
            "branchId": 1235,
            "haveSms": bool(order.messages),
            "days": order.days,
            "country": order.country,
            "begin": unix(order.begins),
            "end": unix(order.ends),
            "closed": unix(provider.closed_at(order)),
            "_restorable": provider.is_restorable(order),
        }
        for order in provider.archive()[skip : skip + take]
    ]


def _restore_user_precalc(provider: Provider, params: Params) -> Json:
    order, overdue, price = provider.quote(_order_id(params))
    return {
        "ccode": order.country,
        "scode": order.service,
        "price": price,
        "sname": order.service_name,
        "pnumber": order.phone.removeprefix("+"),
        "outdays": overdue,
        "orderid": order.id,
        "prolongTo": RESTORED_DAYS,
    }


def _restore_user(provider: Provider, params: Params) -> Json:
    order = provider.restore(_order_id(params))
    return False if order is None else {"id": order.id}


METHODS: dict[str, Method] = {
    # The page's example of `getdata` has no key, yet the page doesn't say that it may be left out.
    "getcountries": Method(_getcountries, needs_key=False),
    "getdata": Method(_getdata, ("country",), ("dtype", "dcount")),
    "create": Method(_create, ("dtype", "dcount", "country", "service"), ("provider",)),
    "create_multi": Method(_create_multi, ("dtype", "dcount", "country", "services"), ("provider",)),
    "orders": Method(_orders),
    "add_service_to_order": Method(_add_service, ("id", "service", "pnumber"), ("rent_days",)),
    "sms": Method(_sms, ("id",)),
    "prolong": Method(_prolong, ("id", "dtype", "dcount")),
    "activate": Method(_activate, ("id",)),
    "delete": Method(_delete, ("id",)),
    "get_rent_history": Method(_get_rent_history, ("skip", "take")),
    "restore_user_precalc": Method(_restore_user_precalc, ("id",)),
    "restore_user": Method(_restore_user, ("id",)),
}

_FORMS = {
    "id": r"[0-9]+",
    "dtype": r"week|month",
    "dcount": r"[1-9][0-9]*",
    "country": r"[A-Z]{2}",
    "service": r"[^,\s]+",
    "services": r"[^,\s]+(,[^,\s]+)*",
    "pnumber": r"[0-9]+",
    "provider": r"\S+",
    "rent_days": r"[1-9][0-9]*",
    "skip": r"[0-9]+",
    "take": r"[1-9][0-9]*",
}


def complaints(name: str, params: Params) -> list[str]:
    """Return what is wrong with a request by the page's rules, without a word of its values."""
    method = METHODS.get(name)
    if method is None:
        return ["unknown method"]
    known = {*method.required, *method.optional}
    return [
        *(f"missing parameter {key}" for key in method.required if key not in params),
        *(f"unknown parameter {key}" for key in params if key not in known),
        *(
            f"malformed parameter {key}"
            for key, value in params.items()
            if key in known and re.fullmatch(_FORMS[key], value) is None
        ),
    ]
