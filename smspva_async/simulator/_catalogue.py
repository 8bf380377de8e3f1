"""What the provider has to offer: countries, services, prices and stock."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

if TYPE_CHECKING:
    from random import Random

__all__ = ["Activation", "Country", "Offer", "build_catalogue"]

Activation = Literal["always", "on_demand", "both"]
"""The rental page's three kinds of country: numbers always active, activated on demand, or of both types."""


@define(kw_only=True)
class Offer:
    """One service in one country."""

    service: str
    """Service code, such as `opt16`."""
    name: str
    """The service's name, such as `Instagram`."""
    price_day: Decimal
    """USD per day."""
    stock: dict[str, int]
    """Free numbers by provider, the companies that the numbers come from."""

    @property
    def count(self) -> int:
        """Free numbers of all providers together."""
        return sum(self.stock.values())


@frozen(kw_only=True)
class Country:
    """A country, its numbers and its offers."""

    name: str
    """As the provider writes it, some in Russian."""
    code: str
    """Country code as the provider has it: the United Kingdom is `UK`."""
    dial: str
    """Dial code with its plus, such as `+7`."""
    activation: Activation
    """Whether its numbers are always active, activated on demand, or of both types."""
    prefix: str
    """How its mobile numbers begin after the dial code."""
    digits: int
    """How long they are without the dial code."""
    offers: dict[str, Offer] = field(factory=dict[str, Offer], repr=False)
    """What can be rented there, by the service's code; more can be put in."""


# Codes and names of opt16, opt46 and opt59 are the rental page's; the others are assumed.
_SERVICES = {
    "opt1": "Google",
    "opt2": "Facebook",
    "opt6": "OLX",
    "opt7": "PayPal",
    "opt16": "Instagram",
    "opt20": "WhatsApp",
    "opt29": "Telegram",
    "opt46": "Airbnb",
    "opt59": "Avito",
    "opt89": "Tinder",
}


def build_catalogue(rng: Random) -> dict[str, Country]:
    """Return the countries by code; prices and stock are drawn, save for the one that the page shows."""
    countries = [
        Country(name="Россия", code="RU", dial="+7", activation="on_demand", prefix="90", digits=10),
        Country(name="Казахстан", code="KZ", dial="+7", activation="both", prefix="70", digits=10),
        Country(name="United Kingdom", code="UK", dial="+44", activation="always", prefix="7", digits=10),
        Country(name="United States", code="US", dial="+1", activation="both", prefix="33", digits=10),
        Country(name="Netherlands", code="NL", dial="+31", activation="always", prefix="6", digits=9),
        Country(name="Lithuania", code="LT", dial="+370", activation="both", prefix="6", digits=8),
        Country(name="Poland", code="PL", dial="+48", activation="on_demand", prefix="5", digits=9),
    ]
    for country in countries:
        for code, name in _SERVICES.items():
            country.offers[code] = Offer(
                service=code,
                name=name,
                price_day=Decimal(rng.randint(20, 250)) / 100,
                stock={"A": rng.randint(20, 400), "B": rng.randint(0, 200)},
            )
    page_sample = countries[0].offers["opt46"]
    page_sample.price_day, page_sample.stock = Decimal(6), {"A": 359}
    return {country.code: country for country in countries}
