"""Purchases that need another request first: a price limit, and an order's phone number."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from smspva_async import NoNumbers, OrderNotFound, Period, PriceTooHigh
from tests.support.samples import CALLS, RENTAL, row_of, without

if TYPE_CHECKING:
    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

pytestmark = pytest.mark.anyio

OFFER = row_of("getdata")  # opt46 in RU for 6 dollars a day


def offered(fake_server: FakeServer, **changes: Any) -> None:
    rows = [{**OFFER, "service": "opt6", **changes}]
    fake_server.on("getdata", {"status": 1, "data": rows}, country="RU", dtype="week", dcount="1")
    fake_server.call(CALLS["create"], CALLS["create"].sample)


@pytest.mark.parametrize("most", [Decimal(42), Decimal("42.01"), 100])
async def test_a_rental_within_max_price_is_bought(most: Any, client: SmspvaClient, fake_server: FakeServer) -> None:
    offered(fake_server)
    assert await client.rent("RU", "opt6", max_price=most) == RENTAL
    assert fake_server.methods == ["getdata", "create"]


@pytest.mark.parametrize("most", [Decimal("41.99"), Decimal(0)])
async def test_a_rental_above_max_price_is_not_bought(
    most: Decimal, client: SmspvaClient, fake_server: FakeServer
) -> None:
    offered(fake_server)
    with pytest.raises(
        PriceTooHigh, match=r"^rent: opt6 in RU costs about \$42.00 for 7 days .*estimate.*nothing was sent \[create\]$"
    ) as refused:
        await client.rent("RU", "opt6", max_price=most)
    assert refused.value.price == Decimal(42)
    assert pickle.loads(pickle.dumps(refused.value)).price == Decimal(42)  # noqa: S301 - our own
    assert fake_server.methods == ["getdata"]
    assert client.unsettled == ()


async def test_the_estimate_is_for_the_whole_period(client: SmspvaClient, fake_server: FakeServer) -> None:
    rows = [{**OFFER, "service": "opt6"}]
    fake_server.on("getdata", {"status": 1, "data": rows}, country="RU", dtype="month", dcount="2")
    with pytest.raises(PriceTooHigh) as refused:
        await client.rent("RU", "opt6", Period.months(2), max_price=Decimal(359))
    assert refused.value.price == Decimal(360)


@pytest.mark.parametrize("price", ["free", 0, "-3", "1e1000000", None])
async def test_a_service_without_a_price_is_not_bought_with_max_price(
    price: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    offered(fake_server, price_day=price)
    with pytest.raises(PriceTooHigh, match=r"states no price.*nothing was sent") as refused:
        await client.rent("RU", "opt6", max_price=Decimal(1000))
    assert refused.value.price is None
    assert fake_server.methods == ["getdata"]


async def test_the_highest_price_of_a_service_counts(client: SmspvaClient, fake_server: FakeServer) -> None:
    rows = [{**OFFER, "service": code, "price_day": price} for code, price in (("opt6", 1), ("OPT6", 9), ("opt7", 90))]
    fake_server.on("getdata", {"status": 1, "data": rows}, country="RU", dtype="week", dcount="1")
    with pytest.raises(PriceTooHigh) as refused:
        await client.rent("RU", "opt6", max_price=Decimal(50))
    assert refused.value.price == Decimal(63)


async def test_a_service_that_is_not_offered_is_not_bought(client: SmspvaClient, fake_server: FakeServer) -> None:
    offered(fake_server, service="opt7")
    with pytest.raises(NoNumbers, match=r"^rent: opt6 isn't offered in RU .*nothing was sent"):
        await client.rent("RU", "opt6", max_price=Decimal(1000))
    assert fake_server.methods == ["getdata"]


async def test_the_phone_number_of_an_order_is_looked_up(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", CALLS["orders"].sample)
    fake_server.on("add_service_to_order", {"status": 1}, id="40300", service="opt89", pnumber="79096068511")
    assert await client.add_service(40300, "opt89") is None
    assert fake_server.methods == ["orders", "add_service_to_order"]


@pytest.mark.parametrize(
    "rows",
    [[], [{**row_of("orders"), "id": 5}], [without(row_of("orders"), "pnumber")]],
    ids=["none", "other", "no number"],
)
async def test_no_service_is_added_if_the_phone_number_is_unknown(
    rows: list[Any], client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", {"status": 1, "data": rows})
    with pytest.raises(OrderNotFound, match=r"^add_service: order 40300 isn't listed .*nothing was sent; pass phone"):
        await client.add_service(40300, "opt89")
    assert fake_server.methods == ["orders"]


async def test_a_week_is_the_default_period(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CALLS["create"], CALLS["create"].sample)
    fake_server.call(CALLS["prolong"], CALLS["prolong"].sample)
    assert await client.rent("RU", "opt6") == RENTAL
    await client.prolong(123)
