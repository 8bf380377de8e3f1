"""The provider's catalogue: countries, services, prices and stock."""

from __future__ import annotations

from copy import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

if TYPE_CHECKING:
    from random import Random

Activation = Literal["always", "on_demand", "both"]
"""The rental page's three kinds of country: numbers are always active, activated on demand, or of both types."""


@define(kw_only=True)
class Offer:
    """One service in one country."""

    service: str
    """Service code, such as `opt16`."""
    name: str
    """The service's name, such as `Instagram`."""
    price_day: Decimal
    """USD per day of a short rental."""
    stock: dict[str, int]
    """Free numbers by provider. These providers are the companies that supply the numbers."""
    rebate: int = 0
    """The discount in percent for rentals of `REBATE_DAYS` days or more."""

    @property
    def count(self) -> int:
        """The number of free numbers at all providers."""
        return sum(self.stock.values())

    def rate(self, days: int) -> Decimal:
        """Return the price of one day of a rental.

        Args:
            days: The length of the rental.

        """
        return self.price_day * (100 - self.rebate) / 100 if days >= REBATE_DAYS else self.price_day


@frozen(kw_only=True)
class Country:
    """A country, its numbers and its offers."""

    name: str
    """The name as the provider writes it; some names are Russian."""
    url_name: str
    """The name in the website's URLs (assumed: English, lower case)."""
    code: str
    """The provider's country code: the United Kingdom is `UK`."""
    dial: str
    """The dial code with its plus, such as `+7`."""
    activation: Activation
    """The type of the country's numbers."""
    prefix: str
    """The first digits of the mobile numbers after the dial code."""
    digits: int
    """The number of digits without the dial code."""
    offers: dict[str, Offer] = field(factory=dict[str, Offer], repr=False)
    """The offers by service code; more can be added."""


REBATE_DAYS = 30
"""The rental length in days from which the discount applies (assumed: a month)."""

# Codes and names are from the provider's contract; prices, stock and rebates are made up.
_SERVICES = {
    "opt1": "Google",
    "opt2": "Facebook",
    "opt6": "Fiverr",
    "opt7": "Wirex",
    "opt8": "LinkedIn",
    "opt9": "Tinder",
    "opt16": "Instagram",
    "opt20": "WhatsApp",
    "opt29": "Telegram",
    "opt46": "Airbnb",
    "opt59": "Avito",
    "opt83": "PayPal and eBay",
    "opt89": "imagin",
    "opt142": "Any other",
    "opt147": "Discord",
    "opt154": "Apple",
}
# The prices and stock of these come from a copy of the random generator, so that those of the others don't change.
_SEPARATELY_DRAWN = {"CA", "opt8", "opt9", "opt83", "opt142", "opt147", "opt154"}

# Name, URL name, code, dial code, activation, prefix, digits, rebate.
_COUNTRIES: tuple[tuple[str, str, str, str, Activation, str, int, int], ...] = (
    ("Россия", "russia", "RU", "+7", "on_demand", "90", 10, 0),
    ("Казахстан", "kazakhstan", "KZ", "+7", "both", "70", 10, 10),
    ("United Kingdom", "united-kingdom", "UK", "+44", "always", "7", 10, 25),
    ("United States", "united-states", "US", "+1", "both", "33", 10, 10),
    ("Netherlands", "netherlands", "NL", "+31", "always", "6", 9, 0),
    ("Lithuania", "lithuania", "LT", "+370", "both", "6", 8, 0),
    ("Poland", "poland", "PL", "+48", "on_demand", "5", 9, 0),
    ("Canada", "canada", "CA", "+1", "both", "43", 10, 25),
)


def build_catalogue(rng: Random) -> dict[str, Country]:
    """Return the countries by code. Prices and stock are random, except for the rental page's sample offer."""
    countries: dict[str, Country] = {}
    separate = copy(rng)
    for name, url_name, code, dial, activation, prefix, digits, rebate in _COUNTRIES:
        countries[code] = country = Country(
            name=name,
            url_name=url_name,
            code=code,
            dial=dial,
            activation=activation,
            prefix=prefix,
            digits=digits,
        )
        for service, service_name in _SERVICES.items():
            source = separate if {code, service} & _SEPARATELY_DRAWN else rng
            country.offers[service] = Offer(
                service=service,
                name=service_name,
                price_day=Decimal(source.randint(20, 250)) / 100,
                stock={"A": source.randint(20, 400), "B": source.randint(0, 200)},
                rebate=rebate,
            )
    page_sample = countries["RU"].offers["opt46"]
    page_sample.price_day, page_sample.stock = Decimal(6), {"A": 359}
    return countries
