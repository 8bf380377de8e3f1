"""Price estimates, from the price per day of the country's offers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import frozen

from smspva_async import ApiError, InvalidKey
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._output import warn_of_skipped_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smspva_async import Offer, Order, Period, Rows, SmspvaClient


@frozen
class RentalEstimate:
    """The estimated price of a rental."""

    lines: list[str]
    """A line for each service, and one for the total."""
    price: Decimal | None
    """US dollars for all services and the whole period, without rebates; None if a price is unknown."""


async def read_offers(client: SmspvaClient, country: str, period: Period) -> tuple[Rows[Offer] | None, str]:
    """Return a country's offers, or None and the reason if the provider refuses to list them."""
    try:
        rows = await client.offers(country, period)
    except InvalidKey:
        raise
    except ApiError as error:
        return None, fmt.clean(error.msg)
    except ValueError:  # the server didn't name an order's country
        return None, "the country is unknown"
    warn_of_skipped_rows(rows)
    return rows, ""


def estimate_rental(offers: Rows[Offer] | None, reason: str, services: Sequence[str], period: Period) -> RentalEstimate:
    """Return the estimated price of a rental."""
    if offers is None:
        return RentalEstimate([f"the price is unknown: {reason}"], None)
    by_service = {offer.service: offer for offer in offers}
    lines = [_describe_offer(service, by_service.get(service), period) for service in services]
    price_day = daily_price(offers, services)
    price = None if price_day is None else price_day * period.days
    if price is not None and len(services) > 1:
        lines.append(f"total: about ${price:.2f}")
    return RentalEstimate(lines, price)


async def prolongation_prices(client: SmspvaClient, orders: Iterable[Order], period: Period) -> dict[int, Decimal]:
    """Return the estimated price of prolonging each order, by its id, without orders whose price is unknown."""
    offers: dict[str, Rows[Offer] | None] = {}
    prices: dict[int, Decimal] = {}
    for order in orders:
        if order.country not in offers:
            offers[order.country], _ = await read_offers(client, order.country, period)
        price_day = daily_price(offers[order.country], order.services)
        if price_day is not None:
            prices[order.id] = price_day * period.days
    return prices


def daily_price(offers: Rows[Offer] | None, services: Sequence[str]) -> Decimal | None:
    """Return the price per day of all services, or None if a price is unknown."""
    by_service = {offer.service: offer.price_day for offer in offers or ()}
    prices = [price for service in services if (price := by_service.get(service)) is not None and price > 0]
    return sum(prices, Decimal()) if 0 < len(prices) == len(services) else None


def format_estimate(price_day: Decimal, count: int) -> str:
    """Return a text such as ``about $3.50 (7 days at $0.50 per day)``."""
    return f"about ${price_day * count:.2f} ({fmt.days(count)} at ${price_day:.2f} per day)"


def _describe_offer(service: str, offer: Offer | None, period: Period) -> str:
    if offer is None:
        return f"{service}: the price is unknown, because it isn't offered now"
    available = "availability unknown" if offer.count is None else f"{offer.count} available"
    price = "the price is unknown" if offer.price_day is None else format_estimate(offer.price_day, period.days)
    return f"{fmt.clean(f'{service} {offer.name}')}: {price}; {available}"
