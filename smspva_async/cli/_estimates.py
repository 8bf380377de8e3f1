"""Price estimates, from the price per day of the country's offers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import frozen

from smspva_async import ApiError, InvalidKey, Offer, RateLimited, Rows
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._output import warn_of_skipped_rows
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smspva_async import Order, Period, SmspvaClient


@frozen
class RentalEstimate:
    """The estimated price of a rental."""

    lines: list[str]
    """A line for each service, and one for the total."""
    price: Decimal | None
    """US dollars for all services and the whole period, without rebates; None if a price is unknown."""


@frozen
class Offers:
    """A country's offers."""

    rows: Rows[Offer] | None
    """None if the provider refuses to list them."""
    refusal: str = ""

    @property
    def missing_price(self) -> str:
        """A text for a price that isn't listed."""
        return f"the price is unknown: {self.refusal or 'the provider lists none now'}"

    def names(self, services: Iterable[str]) -> list[str]:
        """Return services as their codes and names, such as ``opt29 Telegram``."""
        names = {offer.service: offer.name for offer in self.rows or ()}
        return [fmt.clean(f"{service} {names.get(service, '')}") for service in services]

    def sold_out(self, services: Iterable[str]) -> list[str]:
        """Return the services that have no numbers now."""
        counts = {offer.service: offer.count for offer in self.rows or ()}
        return [service for service in services if counts.get(service) == 0]

    def daily_price(self, services: Sequence[str]) -> Decimal | None:
        """Return the price per day of all services in US dollars, or None if a price is unknown."""
        by_service = {offer.service: offer.price_day for offer in self.rows or ()}
        prices = [price for service in services if (price := by_service.get(service)) is not None and price > 0]
        return sum(prices, Decimal()) if 0 < len(prices) == len(services) else None

    def estimate_rental(self, services: Sequence[str], period: Period) -> RentalEstimate:
        """Return the estimated price of a rental."""
        if self.rows is None:
            return RentalEstimate([self.missing_price], None)
        by_service = {offer.service: offer for offer in self.rows}
        lines = [_describe_offer(service, by_service.get(service), period) for service in services]
        price_day = self.daily_price(services)
        price = None if price_day is None else price_day * period.days
        if price is not None and len(services) > 1:
            lines.append(f"total: about ${price:.2f}")
        return RentalEstimate(lines, price)


async def read_offers(client: SmspvaClient, country: str, period: Period) -> Offers:
    """Return a country's offers."""
    try:
        rows = await client.offers(country, period)
    except (InvalidKey, RateLimited):
        raise  # the call whose price is needed would fail too
    except ApiError as error:
        return Offers(None, fmt.clean(error.msg) or "no reason given")
    except ValueError:  # the server didn't name an order's country
        return Offers(None, "the country is unknown")
    warn_of_skipped_rows(rows)
    return Offers(rows)


async def prolongation_prices(client: SmspvaClient, orders: Iterable[Order], period: Period) -> dict[int, Decimal]:
    """Return the estimated price of prolonging each order, by its id, without orders whose price is unknown.

    A price list that the provider refuses is reported on standard error.
    """
    offers: dict[str, Offers] = {}
    prices: dict[int, Decimal] = {}
    for order in orders:
        if order.country not in offers:
            offers[order.country] = found = await read_offers(client, order.country, period)
            if found.refusal:
                print_stderr(
                    f"smspva: the price list ({fmt.clean(order.country) or '?'}) can't be read: {found.refusal}"
                )
        price_day = offers[order.country].daily_price(order.services)
        if price_day is not None:
            prices[order.id] = price_day * period.days
    return prices


def format_estimate(price_day: Decimal, count: int) -> str:
    """Return a text such as ``about $3.50 (7 days at $0.50 per day)``."""
    return f"about ${price_day * count:.2f} ({fmt.days(count)} at ${price_day:.2f} per day)"


def _describe_offer(service: str, offer: Offer | None, period: Period) -> str:
    if offer is None:
        return f"{service}: the price is unknown, because it isn't offered now"
    available = "availability unknown" if offer.count is None else f"{offer.count} available"
    price = "the price is unknown" if offer.price_day is None else format_estimate(offer.price_day, period.days)
    return f"{fmt.clean(f'{service} {offer.name}')}: {price}; {available}"
