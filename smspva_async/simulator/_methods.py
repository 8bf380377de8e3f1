"""The API's methods: their parameters and their data.

A method returns all data, with the names and types of the provider's contract. A dialect selects from the data and
encodes it. Keys that begin with `_` are internal: the dialects use them but never send them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from attrs import frozen

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._catalogue import REBATE_DAYS
from smspva_async.simulator._clock import DAY
from smspva_async.simulator._provider import MAX_DAYS, MIN_DAYS, RESTORE_DAYS, Provider, common_stock
from smspva_async.simulator._refusals import RefusedError

if TYPE_CHECKING:
    from decimal import Decimal

    from smspva_async.simulator._catalogue import Country, Offer
    from smspva_async.simulator._orders import SimulatedOrder

Json: TypeAlias = "bool | int | float | Decimal | str | list[Any] | dict[str, Any] | None"
"""A JSON value, with a `Decimal` for an amount of money."""
Data: TypeAlias = Any
"""The data of a method: a JSON value whose type depends on the method."""
Row: TypeAlias = dict[str, Any]
"""A JSON object."""
Params: TypeAlias = Mapping[str, str]

MethodName = Literal[
    "getcountries",
    "get_default_services",
    "get_country_by_service",
    "getdata",
    "getdataWithProviders",
    "getcount",
    "getCountWithProviders",
    "get_count_multi",
    "get_days_canada_paypal",
    "get_min_paypal_days",
    "create",
    "create_multi",
    "add_service_to_order",
    "orders",
    "activate",
    "sms",
    "prolong",
    "prolong_max",
    "delete",
    "get_rent_history",
    "restore_user_precalc",
    "restore_user",
    "balance",
]
"""The provider's methods: the 22 values of `method` in the rental API, and `balance`, which has its own path."""
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)

LIST_METHODS: tuple[MethodName, ...] = (
    "getcountries",
    "get_default_services",
    "get_country_by_service",
    "getdata",
    "getdataWithProviders",
    "getCountWithProviders",
    "get_days_canada_paypal",
    "orders",
    "sms",
    "get_rent_history",
)
"""Methods whose data are rows, in a list or a mapping."""
MAPPING_METHODS: tuple[MethodName, ...] = ("get_country_by_service", "getCountWithProviders")
"""The methods of `LIST_METHODS` whose data are a mapping."""

_DAYS = {"week": 7, "month": 30}
_DEFAULT_PERIOD = {"dtype": "week", "dcount": "1"}
"""The period of a catalogue call without a period (assumed)."""
_PAYPAL = "opt83"


@frozen
class Method:
    """A method of the API."""

    call: Callable[[Provider, Params], Data]
    """Executes the method and returns its data."""
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    key: Literal["required", "optional", "ignored"] = "required"
    """`optional`: the key is checked only if the request has one (assumed)."""
    on_page: bool = True
    """False for a call that `Behavior.page_calls_only` refuses."""


# Parameters


def _days(params: Params) -> int:
    kind, count = params.get("dtype", ""), params.get("dcount", "")
    if kind not in _DAYS or not _is_number(count):
        raise RefusedError(refusals.DURATION)
    return _DAYS[kind] * int(count)


def _catalogue_days(params: Params) -> int:
    return _days({**_DEFAULT_PERIOD, **params})


def _order_id(params: Params) -> int:
    text = params.get("id", "")
    if not _is_number(text):
        raise RefusedError(refusals.ORDER_ID)
    return int(text)


def _is_number(text: str) -> bool:
    # The length is limited because `int` refuses numbers of thousands of digits.
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


# Data of the methods


def _getcountries(provider: Provider, _params: Params) -> list[Row]:
    # "FAST" was seen on the live server; the other two values are made up.
    switch_types = {"always": "FAST", "on_demand": "SLOW", "both": "BOTH"}
    return [
        {
            "name": country.name,
            "code": country.code,
            "url_country_name": country.url_name,
            "rent_switch_type": switch_types[country.activation],
            "rent_avail_prolong": "1",
        }
        for country in provider.catalogue.values()
    ]


def _get_default_services(provider: Provider, _params: Params) -> list[Row]:
    cheapest: dict[str, Offer] = {}
    for country in provider.catalogue.values():
        for code, offer in country.offers.items():
            if code not in cheapest or offer.price_day < cheapest[code].price_day:
                cheapest[code] = offer
    return [
        {
            "name": offer.name,
            "service": offer.service,
            "priceForDay": _format(offer.price_day),  # the lowest price of all countries (assumed)
            "img": _image(offer),
            "DAYP": str(REBATE_DAYS),
            "PROC": str(offer.rebate),
        }
        for offer in cheapest.values()
    ]


def _get_country_by_service(provider: Provider, params: Params) -> list[Row]:
    days, service = _days({"dcount": "1", **params}), params.get("service", "")
    offers = {
        code: country.offers[service] for code, country in provider.catalogue.items() if service in country.offers
    }
    if not offers:
        raise RefusedError(refusals.SERVICE_UNKNOWN)
    return [
        {
            "service_name": offer.name,
            "price": _format(offer.rate(days)),  # per day (assumed)
            "procent_days": str(REBATE_DAYS),
            "procent": str(offer.rebate),
            "day_step": "1",
            "country": code,
            "phoneAmount": offer.count,
            "_key": code,
        }
        for code, offer in offers.items()
    ]


def _getdata(provider: Provider, params: Params) -> list[Row]:
    # `extend=1` is accepted and changes nothing (assumed).
    days, country = _catalogue_days(params), _country(provider, params)
    return [_offer_row(offer, days) | {"count": offer.count} for offer in country.offers.values()]


def _getdata_with_providers(provider: Provider, params: Params) -> list[Row]:
    days, country = _catalogue_days(params), _country(provider, params)
    return [
        _offer_row(offer, days) | {"count": dict(offer.stock), "totalCount": offer.count}
        for offer in country.offers.values()
    ]


def _offer_row(offer: Offer, days: int) -> Row:
    return {
        "name": offer.name,
        "service": offer.service,
        "price_day": offer.rate(days),
        "img": _image(offer),
        "procent_days": REBATE_DAYS,
        "procent": offer.rebate,
        "day_step": 1,
        "_stock": dict(offer.stock),
        "_count": offer.count,
    }


def _getcount(provider: Provider, params: Params) -> int | Row:
    _catalogue_days(params)
    counts = {code: offer.count for code, offer in _country(provider, params).offers.items()}
    return sum(counts.values()) if provider.behavior.getcount_is_total else counts


def _get_count_with_providers(provider: Provider, params: Params) -> list[Row]:
    _catalogue_days(params)
    return [
        {"Amount": dict(offer.stock), "Total": offer.count, "_key": code}
        for code, offer in _country(provider, params).offers.items()
    ]


def _get_count_multi(provider: Provider, params: Params) -> Row:
    _days(params)
    offers = provider.offers(_country(provider, params).code, params.get("services", "").split(","))
    return {"count": sum(common_stock(offers).values())}


def _get_days_canada_paypal(provider: Provider, _params: Params) -> list[Row]:
    canada = provider.catalogue.get("CA")
    if canada is None or _PAYPAL not in canada.offers:
        return []
    # Fewer numbers are available for longer rentals (assumed).
    count = canada.offers[_PAYPAL].count
    return [{"Days": days, "Amount": count // divisor} for days, divisor in ((7, 1), (14, 2), (30, 4))]


def _get_min_paypal_days(provider: Provider, params: Params) -> Row:
    country, service = provider.catalogue.get(params.get("country", "")), params.get("service", "")
    if country is None or service != _PAYPAL or service not in country.offers:
        return {"Days": 0, "Status": 0, "Message": "UNKNOWN SERVICE OR COUNTRY"}
    return {"Days": MIN_DAYS, "Status": 1, "Message": "OK"}


def _country(provider: Provider, params: Params) -> Country:
    try:
        return provider.catalogue[params.get("country", "")]
    except KeyError:
        raise RefusedError(refusals.UNKNOWN_OFFER) from None


def _image(offer: Offer) -> str:
    return f"/img/rent/{offer.service}.png"


def _format(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _rental(provider: Provider, order: SimulatedOrder) -> Row:
    return {
        "id": order.id,
        "pnumber": order.number,
        "ccode": order.ccode,
        "service": provider.listed_services(order)[0][0],
        "until": provider.clock.unix(order.ends),
    }


def _create(provider: Provider, params: Params) -> Row:
    services = [params.get("service", "")]
    (order,) = provider.rent(params.get("country", ""), services, _days(params), params.get("provider"))
    return _rental(provider, order)


def _create_multi(provider: Provider, params: Params) -> list[Row]:
    services = params.get("services", "").split(",")
    orders = provider.rent(params.get("country", ""), services, _days(params), params.get("provider"))
    return [_rental(provider, order) for order in orders]


def _orders(provider: Provider, _params: Params) -> list[Row]:
    unix = provider.clock.unix
    return [
        {
            "id": order.id,
            "scode": code,
            "sname": name,
            "state": order.state,
            # Without a dial code, `pnumber` is the whole number with its plus.
            "pnumber": order.number if order.ccode else order.phone,
            "ccode": order.ccode,
            "cname": order.country,
            "hasnewsms": provider.has_new_sms(order),
            "until": unix(order.ends),
            "canprolong": order.can_prolong,
            "canprolongmax": MAX_DAYS,
            "canprolonguntil": unix(order.ends + MAX_DAYS * DAY),
            "lastonline": unix(order.last_online),
            "_provider": order.provider,
        }
        for order in provider.listed_orders()
        for code, name in provider.listed_services(order)
    ]


def _add_service(provider: Provider, params: Params) -> Row:
    days = params.get("rent_days")
    if days is not None and not (_is_number(days) and 1 <= int(days) <= MAX_DAYS):
        raise RefusedError(refusals.DURATION)
    order = provider.add_service(
        _order_id(params),
        params.get("service", ""),
        params.get("pnumber", ""),
        None if days is None else int(days),
    )
    return {**_rental(provider, order), "_phone": order.phone.removeprefix("+")}


def _sms(provider: Provider, params: Params) -> list[Row]:
    rows: list[Row] = []
    for message in provider.read_messages(_order_id(params)):
        row: Row = {"text": message.text, "_other": message.other, "_number": message.number}
        if message.sender is not None:
            row["sender"] = message.sender
        if message.date is not None:
            row["date"] = message.date
        rows.append(row)
    return rows


def _prolong(provider: Provider, params: Params) -> Row:
    return {"id": provider.prolong(_order_id(params), _days(params)).id}


def _prolong_max(provider: Provider, params: Params) -> Row:
    count = params.get("dcount", "")
    if params.get("dtype") != "day" or not _is_number(count):
        raise RefusedError(refusals.DURATION_IN_DAYS)
    return {"id": provider.prolong_days(_order_id(params), int(count)).id}


def _activate(provider: Provider, params: Params) -> Row:
    order = provider.open_order(_order_id(params))
    provider.activate(order)
    return {"id": order.id}


def _delete(provider: Provider, params: Params) -> Row:
    return {"id": provider.delete(_order_id(params)).id}


def _get_rent_history(provider: Provider, params: Params) -> list[Row]:
    skip, take = (
        int(text) if _is_number(text) else default
        for text, default in ((params.get("skip", ""), 0), (params.get("take", ""), 50))
    )
    unix = provider.clock.unix
    return [
        {
            "orderId": order.id,
            "resourceCode": provider.listed_services(order)[0][0],
            "number": order.phone.removeprefix("+"),
            "branchId": 1235,
            "haveSms": bool(order.messages),
            "isAvailForRestore": provider.is_restorable(order),
            "days": order.days,
            "country": order.country,
            "begin": unix(order.begins),
            "end": unix(order.ends),
            "closed": unix(provider.closed_at(order)),
        }
        for order in provider.archive()[skip : skip + take]
    ]


def _restore_user_precalc(provider: Provider, params: Params) -> Row:
    order, overdue, price = provider.quote(_order_id(params))
    service, service_name = provider.listed_services(order)[0]
    return {
        "ccode": order.country,
        "scode": service,
        "price": price,
        "sname": service_name,
        "pnumber": order.phone.removeprefix("+"),
        "outdays": overdue,
        "orderid": order.id,
        "prolongTo": RESTORE_DAYS,
    }


def _restore_user(provider: Provider, params: Params) -> Literal[False] | Row:
    order = provider.restore(_order_id(params))
    return False if order is None else {"id": order.id}


def _balance(provider: Provider, _params: Params) -> Row:
    balance = provider.balance
    return {"balance": balance if provider.behavior.balance_is_number else f"{balance:.2f}"}


_PERIOD = ("dtype", "dcount")
_PURCHASE = ("provider", "partner_key")

METHODS: dict[str, Method] = {
    "getcountries": Method(_getcountries, key="ignored"),
    "get_default_services": Method(_get_default_services, key="ignored", on_page=False),
    "get_country_by_service": Method(
        _get_country_by_service, ("service", "dtype"), ("dcount",), key="ignored", on_page=False
    ),
    "getdata": Method(_getdata, ("country",), (*_PERIOD, "extend"), key="optional"),
    "getdataWithProviders": Method(
        _getdata_with_providers, ("country",), (*_PERIOD, "extend"), key="optional", on_page=False
    ),
    "getcount": Method(_getcount, ("country",), _PERIOD, key="ignored", on_page=False),
    "getCountWithProviders": Method(_get_count_with_providers, ("country",), _PERIOD, key="optional", on_page=False),
    "get_count_multi": Method(_get_count_multi, ("country", "services", *_PERIOD), key="ignored", on_page=False),
    "get_days_canada_paypal": Method(_get_days_canada_paypal, key="ignored", on_page=False),
    "get_min_paypal_days": Method(_get_min_paypal_days, ("country", "service"), key="ignored", on_page=False),
    "create": Method(_create, ("country", "service", *_PERIOD), _PURCHASE),
    # Documented on the provider's reference site instead of the page.
    "create_multi": Method(_create_multi, ("country", "services", *_PERIOD), _PURCHASE),
    "add_service_to_order": Method(_add_service, ("id", "service", "pnumber"), ("rent_days",)),
    "orders": Method(_orders),
    "activate": Method(_activate, ("id",)),
    "sms": Method(_sms, ("id",)),
    "prolong": Method(_prolong, ("id", *_PERIOD)),
    "prolong_max": Method(_prolong_max, ("id", *_PERIOD), on_page=False),
    "delete": Method(_delete, ("id",)),
    "get_rent_history": Method(_get_rent_history, (), ("skip", "take")),
    "restore_user_precalc": Method(_restore_user_precalc, ("id",)),
    "restore_user": Method(_restore_user, ("id",)),
}
"""The methods of the rental API."""

BALANCE = Method(_balance)
"""The method with its own path."""

_PATTERNS = {
    "id": r"[0-9]+",
    "dtype": r"week|month",
    "dcount": r"[1-9][0-9]*",
    "country": r"[A-Z]{2}",
    "service": r"[^,\s]+",
    "services": r"[^,\s]+(,[^,\s]+)*",
    "pnumber": r"[0-9]+",
    "provider": r"\S(.*\S)?",
    "partner_key": r"\S+",
    "extend": r"1",
    "rent_days": r"[1-9][0-9]*",
    "skip": r"[0-9]+",
    "take": r"[1-9][0-9]*",
}


def parameter_violations(name: str, method: Method | None, params: Params) -> list[str]:
    """Return the provider's rules that the parameters break. The texts never contain parameter values."""
    if method is None:
        return ["unknown method"]
    known = {*method.required, *method.optional}
    patterns = _PATTERNS | {"dtype": "day", "dcount": "[1-6]"} if name == "prolong_max" else _PATTERNS
    return [
        *(f"missing parameter {key}" for key in method.required if key not in params),
        *(f"unknown parameter {key}" for key in params if key not in known),
        *(
            f"malformed parameter {key}"
            for key, value in params.items()
            if key in known and re.fullmatch(patterns[key], value) is None
        ),
    ]
