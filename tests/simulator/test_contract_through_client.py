"""All calls of the client with the dialect `contract`, in all forms that the contract allows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from smspva_async import (
    Country,
    CountryOffer,
    Offer,
    Order,
    OrderState,
    Pace,
    Period,
    Rental,
    RestoreQuote,
    Service,
    SmspvaClient,
    Stock,
)
from smspva_async.simulator import Simulator

if TYPE_CHECKING:
    from smspva_async.simulator import MultiOrders, UntilText

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("until", ["unix", "datetime", "iso"])
@pytest.mark.parametrize("form", ["own_ids", "joined", "row_per_service", "one_row"])
async def test_the_client_reads_every_answer_of_the_contract(form: MultiOrders, until: UntilText) -> None:
    sim = Simulator(dialect="contract", balance=1000)
    sim.behavior.multi_orders, sim.behavior.until_text = form, until
    order = sim.add_order("PL", "opt16", days=5)
    sim.deliver(order.id, "Code Instagram: 671 094.", sender="Instagram")
    expired = sim.add_order("PL", "opt29", until=sim.now)
    async with SmspvaClient("key", transport=sim.transport(), pace=Pace(gap=0)) as client:
        countries = await client.countries()
        assert all(isinstance(it, Country) and isinstance(it.switch_type, str) for it in countries)
        services = await client.services()
        assert all(isinstance(it, Service) and isinstance(it.price_day, Decimal) for it in services)
        countries_for = await client.countries_for("opt16")
        assert all(isinstance(it, CountryOffer) and it.count is not None for it in countries_for)
        assert [it.price for it in countries_for] == sorted(it.price for it in countries_for if it.price is not None)
        offers, detailed = await client.offers("PL"), await client.offers("PL", by_provider=True)
        assert all(isinstance(it, Offer) and it.by_provider == {} for it in offers)
        assert [it.count for it in offers] == [sum(it.by_provider.values()) for it in detailed]
        stock = await client.stock("PL")
        assert {it.service: it.count for it in offers} == {code: it.total for code, it in stock.items()}
        assert all(isinstance(it, Stock) and sum(it.by_provider.values()) == it.total for it in stock.values())
        assert await client.stock_multi("PL", ["opt16", "opt29"]) > 0
        assert await client.canada_paypal_days()
        assert await client.minimum_paypal_days("PL", "opt83") > 0

        rented = await client.rent("PL", "opt29", Period.weeks(2))
        assert (rented.services, rented.phone) == (("opt29",), sim.order(rented.id).phone)
        assert rented.until == sim.order(rented.id).until
        (multi,) = await client.rent_multi("PL", ["opt29", "opt16"])
        assert multi.services == ("opt16", "opt29")
        added = await client.add_service(order.id, "opt7")
        assert isinstance(added, Rental)
        assert (added.services, added.phone) == (("opt7",), order.phone)
        await client.prolong_days(order.id, 1)
        await client.prolong(order.id)
        await client.activate(order.id)

        orders = await client.orders()
        assert all(isinstance(it, Order) and it.state is not OrderState.UNKNOWN for it in orders)
        assert {it.id for it in orders} == {it.id for it in sim.orders}
        assert [sms.code for sms in await client.sms(order.id)] == ["671094"]
        assert [past.order_id async for past in client.iter_history()] == [expired.id]
        quote = await client.restore_quote(expired.id)
        assert isinstance(quote, RestoreQuote)
        assert quote.order_id == expired.id
        assert await client.restore(expired.id) in {it.id for it in sim.orders}
        await client.delete(rented.id)
        assert client.unsettled == ()
    assert sim.violations == []
    assert all(rows.skipped == () for rows in (countries, services, countries_for, offers, detailed, orders))
