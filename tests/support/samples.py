"""Every call of the client, with the sample answer of the provider's rental page or contract."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve, frozen

from smspva_async import SmspvaClient
from smspva_async.models import (
    Country,
    CountryOffer,
    Offer,
    Order,
    OrderState,
    PastOrder,
    Period,
    Rental,
    RestoreQuote,
    Service,
    Sms,
    Stock,
)

RENTAL = Rental(40370, "+79096037108", ("opt6",), datetime(2020, 4, 23, 9, 26, tzinfo=UTC))
OFFER = Offer("Airbnb", "opt46", Decimal(6), 359)
ORDER = Order(
    id=40300,
    services=("opt16",),
    service_name="Instagram",
    state=OrderState.INACTIVE,
    phone="+79096068511",
    country="RU",
    has_new_sms=False,
    until=datetime(2020, 4, 22, 10, 44, tzinfo=UTC),
    can_prolong=True,
    can_prolong_days=162,
    can_prolong_until=datetime(2021, 10, 22, 6, 23, tzinfo=UTC),
    last_online=datetime(2020, 4, 15, 10, 52, tzinfo=UTC),
)
MESSAGE = Sms("Code Instagram: 671 094.", "FACEBOOK", datetime(2020, 4, 15, 10, 55, tzinfo=UTC))
PAST_ORDER = PastOrder(
    order_id=517017,
    service="opt59",
    phone="+79020831944",
    had_sms=True,
    days=7,
    country="EN",
    begin=datetime(2008, 9, 24, 2, 10, 31, tzinfo=UTC),
    end=datetime(2021, 1, 20, 3, 5, 31, tzinfo=UTC),
    closed=datetime(2021, 9, 24, 0, 59, 4, tzinfo=UTC),
)
QUOTE = RestoreQuote(317017, "EN", "opt59", "Avito", "+79929831844", Decimal("2.4"), 32, 30)


@frozen
class Call:
    """A call of the client, with its query, a sample answer and the expected result."""

    method: str
    """The wire name."""
    make: Callable[[SmspvaClient], Awaitable[Any]]
    query: dict[str, str]
    sample: dict[str, Any]
    expected: Any

    @property
    def name(self) -> str:
        """The name of the client's method, with which error messages begin."""
        return _PYTHON_NAMES.get(self.method, self.method)


_PYTHON_NAMES = {
    "getcountries": "countries",
    "get_default_services": "services",
    "get_country_by_service": "countries_for",
    "getdata": "offers",
    "getdataWithProviders": "offers",
    "getCountWithProviders": "stock",
    "get_count_multi": "stock_multi",
    "get_days_canada_paypal": "canada_paypal_days",
    "get_min_paypal_days": "minimum_paypal_days",
    "create": "rent",
    "create_multi": "rent_multi",
    "add_service_to_order": "add_service",
    "prolong_max": "prolong_days",
    "get_rent_history": "history",
    "restore_user_precalc": "restore_quote",
    "restore_user": "restore",
}


def _call(
    method: str,
    make: Callable[[SmspvaClient], Awaitable[Any]],
    sample: str,
    expected: Any = None,
    **query: str,
) -> Call:
    return Call(method, make, query, json.loads(sample), expected)


_RENTAL = '{"id": 40370, "pnumber": "9096037108", "ccode": "+7", "service": "opt6", "until": 1587633960}'

# The samples come from the page, without its comments and with the comma that its `orders` lacks, or from the contract
# if the page lacks the call.
CALLS = {
    call.method: call
    for call in (
        _call(
            "getcountries",
            lambda client: client.countries(),
            '{"status": 1, "data": [{"name": "Россия", "code": "RU"}]}',
            [Country("Россия", "RU")],
        ),
        _call(
            "getdata",
            lambda client: client.offers("RU"),
            '{"status": 1, "data": [{"name": "Airbnb", "service": "opt46", "price_day": 6, "count": 359}]}',
            [OFFER],
            country="RU",
            dtype="week",
            dcount="1",
        ),
        _call(
            "get_default_services",
            lambda client: client.services(),
            '{"status": 1, "data": [{"name": "Instagram", "service": "opt16", "priceForDay": "0.60", "img": "16.png",'
            ' "DAYP": "7", "PROC": "10"}]}',
            [Service("opt16", "Instagram", Decimal("0.60"))],
        ),
        _call(
            "get_country_by_service",
            lambda client: client.countries_for("opt16"),
            '{"status": 1, "data": {"RU": {"service_name": "Instagram", "price": "9.50", "procent_days": "30",'
            ' "procent": "10", "day_step": "1", "country": "Russia", "phoneAmount": 12}}}',
            [CountryOffer("RU", "Russia", Decimal("9.50"), 12)],
            service="opt16",
            dtype="week",
            dcount="1",
        ),
        _call(
            "getdataWithProviders",
            lambda client: client.offers("RU", by_provider=True),
            '{"status": 1, "data": {"services": [{"name": "Airbnb", "service": "opt46", "price_day": 6,'
            ' "count": {"north": 300, "south": 59}, "totalCount": 359}], "allOperators": ["north", "south"]}}',
            [evolve(OFFER, by_provider={"north": 300, "south": 59})],
            country="RU",
            dtype="week",
            dcount="1",
        ),
        _call(
            "getCountWithProviders",
            lambda client: client.stock("RU"),
            '{"status": 1, "data": {"opt46": {"Amount": {"north": 300, "south": 59}, "Total": 359}}}',
            {"opt46": Stock(359, {"north": 300, "south": 59})},
            country="RU",
            dtype="week",
            dcount="1",
        ),
        _call(
            "get_count_multi",
            lambda client: client.stock_multi("RU", ["opt6", "opt7"]),
            '{"status": 1, "data": {"count": 17}}',
            17,
            country="RU",
            services="opt6,opt7",
            dtype="week",
            dcount="1",
        ),
        _call(
            "get_days_canada_paypal",
            lambda client: client.canada_paypal_days(),
            '{"status": 1, "data": [{"Days": 7, "Amount": 12}, {"Days": 30, "Amount": 3}]}',
            {7: 12, 30: 3},
        ),
        _call(
            "get_min_paypal_days",
            lambda client: client.minimum_paypal_days("US", "opt83"),
            '{"status": 1, "data": {"Days": 14, "Status": 1, "Message": ""}}',
            14,
            country="US",
            service="opt83",
        ),
        _call(
            "create",
            lambda client: client.rent("RU", "opt6", Period.weeks(1)),
            f'{{"status": 1, "data": {_RENTAL}}}',
            RENTAL,
            country="RU",
            service="opt6",
            dtype="week",
            dcount="1",
        ),
        _call(
            "create_multi",
            lambda client: client.rent_multi("RU", ["opt6", "opt7"], Period.months(2)),
            f'{{"status": 1, "data": {_RENTAL}}}',
            [evolve(RENTAL, services=("opt6", "opt7"))],
            country="RU",
            services="opt6,opt7",
            dtype="month",
            dcount="2",
        ),
        _call(
            "orders",
            lambda client: client.orders(),
            '{"status": 1, "data": [{"id": 40300, "scode": "opt16", "sname": "Instagram", "state": 0,'
            ' "pnumber": "9096068511", "ccode": "+7", "cname": "RU", "hasnewsms": false, "until": 1587552240,'
            ' "canprolong": true, "canprolongmax": 162, "canprolonguntil": 1634883780, "lastonline": 1586947920}]}',
            [ORDER],
        ),
        _call(
            "add_service_to_order",
            lambda client: client.add_service(34567894, "opt89", phone="+79096068595"),
            '{"status": 1}',
            id="34567894",
            service="opt89",
            pnumber="79096068595",
        ),
        _call(
            "sms",
            lambda client: client.sms(123),
            '{"status": 1, "data": [{"text": "Code Instagram: 671 094.", "sender": "FACEBOOK", "date": 1586948100}]}',
            [MESSAGE],
            id="123",
        ),
        _call(
            "prolong",
            lambda client: client.prolong(123, Period.weeks(1)),
            '{"status": 1, "data": {"id": 123}}',
            id="123",
            dtype="week",
            dcount="1",
        ),
        _call(
            "prolong_max",
            lambda client: client.prolong_days(123, 5),
            '{"status": 1}',
            id="123",
            dtype="day",
            dcount="5",
        ),
        _call("activate", lambda client: client.activate(123), '{"status": 1, "data": {"id": 123}}', id="123"),
        _call("delete", lambda client: client.delete(123), '{"status": 1, "data": {"id": 123}}', id="123"),
        _call(
            "get_rent_history",
            lambda client: client.history(),
            '{"status": 1, "data": [{"orderId":517017,"resourceCode":"opt59","number":"79020831944",'
            '"branchId":1235,"haveSms":true,"days":7,"country":"EN","begin":1222222231,"end":1611111931,'
            '"closed":1632445144}]}',
            [PAST_ORDER],
            skip="0",
            take="50",
        ),
        _call(
            "restore_user_precalc",
            lambda client: client.restore_quote(317017),
            '{"status": 1, "data": {"ccode": "EN", "scode": "opt59", "price": 2.4, "sname": "Avito",'
            ' "pnumber": "79929831844", "outdays": 32, "orderid": 317017, "prolongTo": 30}}',
            QUOTE,
            id="317017",
        ),
        _call("restore_user", lambda client: client.restore(517017), '{"status":1,"data":true}', id="517017"),
    )
}

NOTHING: dict[str, Any] = {"status": 1, "data": []}
"""An answer without rows."""

HALF = '{"status": 1, "data": {"id": 40370, "pnum'
"""A truncated answer to `create`."""

_SPENDING = ("create", "create_multi", "add_service_to_order", "prolong", "prolong_max", "delete", "restore_user")
SPENDING = [CALLS[method] for method in _SPENDING]
REPEATABLE = [call for call in CALLS.values() if call not in SPENDING]
READING = [call for call in REPEATABLE if call.method != "activate"]


def name_of(value: object) -> str | None:
    """Return a call's name for the id of a test."""
    return value.method if isinstance(value, Call) else None


every_spending_call = pytest.mark.parametrize("call", SPENDING, ids=name_of)


def row_of(method: str) -> dict[str, Any]:
    """Return the only row, or the object, of a method's sample; empty if it has none."""
    data = CALLS[method].sample.get("data")
    row = data[0] if isinstance(data, list) else data
    return dict(row) if isinstance(row, dict) else {}


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a row without some of its fields."""
    return {name: value for name, value in row.items() if name not in names}
