"""Names of services and countries, which commands accept as well as codes."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from smspva_async.cli import _known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from smspva_async import Country, Offer, Order, PastOrder, Rental, Rows, Service, SmspvaClient
    from smspva_async.cli._account import Account

_SUGGESTIONS = 3


class Catalogue:
    """The codes and names at an account's server.

    Args:
        account: The account, whose server's names are remembered for completion.
        client: An open client.
        note: A part of each error message, such as ``; nothing was sent``.

    """

    def __init__(self, account: Account, client: SmspvaClient, note: str = "") -> None:
        self._account = account
        self._client = client
        self._note = note

    async def country(self, text: str) -> str:
        """Return the code of a country. Two letters are a code; for a name, the countries are requested."""
        if is_country_code(text):
            return text
        countries = await self._client.countries()
        self.remember_countries(countries)
        names = {row.code: row.name for row in countries}
        english = {row.code: str(row.extra.get("url_country_name", "")) for row in countries}
        return self._code(text, names, "no country is called", "smspva countries", english)

    async def check_country(self, code: str) -> None:
        """Raise if the provider doesn't list the country with this code, unless a row couldn't be read."""
        countries = await self._client.countries()
        self.remember_countries(countries)
        if not countries.skipped and code not in {row.code for row in countries}:
            raise click.UsageError(f"there is no country {code}{self._note}; smspva countries lists the codes")

    async def services(self, texts: Iterable[str]) -> list[str]:
        """Return the codes of services. The services are requested if a text isn't like ``opt16``."""
        texts = list(texts)
        if all(map(is_service_code, texts)):
            return texts
        services = await self._client.services()
        self.remember_services(services)
        names = {row.service: row.name for row in services}
        return [
            text if is_service_code(text) else self._code(text, names, "no service is called", "smspva services")
            for text in texts
        ]

    async def offered(self, country: str, texts: Iterable[str], offers: Rows[Offer] | None) -> list[str]:
        """Return the codes of services that a country offers.

        A service that isn't offered is an error, unless the offers are unknown or a row of them couldn't be read.
        """
        if offers is None or offers.skipped:
            return await self.services(texts)
        self.remember_services(offers)
        names = {offer.service: offer.name for offer in offers}
        problem = f"{country} doesn't offer"
        return [self._code(text, names, problem, f"smspva offers {country}") for text in texts]

    async def names(self, codes: Iterable[str]) -> dict[str, str]:
        """Return the names of services. They are requested only if one isn't known yet."""
        known = _known.recall(self._account.base_url, "services")
        if not known.keys() >= {*codes}:
            services = await self._client.services()
            self.remember_services(services)
            known |= {row.service: row.name for row in services}
        return known

    def remember_services(self, rows: Iterable[Service | Offer]) -> None:
        """Remember services for completion."""
        _known.remember(self._account.base_url, "services", {row.service: row.name for row in rows})

    def remember_countries(self, rows: Iterable[Country]) -> None:
        """Remember countries for completion."""
        _known.remember(self._account.base_url, "countries", {row.code: row.name for row in rows})

    def _code(
        self, text: str, names: Mapping[str, str], problem: str, command: str, others: Mapping[str, str] | None = None
    ) -> str:
        """Return the code that has this code, name or other name, in any letter case."""
        forms = {code: {_folded(form) for form in (name, (others or {}).get(code, ""))} for code, name in names.items()}
        wanted = _folded(text)
        codes = [code for code in names if _folded(code) == wanted]
        if not codes and not is_service_code(text):  # another service may have a code as its name
            codes = [code for code in names if wanted in forms[code]]
        if len(codes) == 1:
            return codes[0]
        advice = suggest(codes or _similar(wanted, forms), names) or f"{command} lists the codes"
        raise click.UsageError(f"{problem} {text!r}{self._note}; {advice}")


def remember_orders(account: Account, orders: Iterable[Order]) -> None:
    """Remember all orders of an account for completion."""
    names = {str(order.id): f"{order.service_name or order.service} {order.phone}" for order in orders}
    _known.remember(account.base_url, "orders", names, replace=True)


def remember_restorable(
    account: Account, orders: Iterable[PastOrder], services: Mapping[str, str], *, replace: bool
) -> None:
    """Remember past orders that can be restored for completion, in addition to the known ones or instead of them."""
    names = {
        str(order.order_id): f"{services.get(order.service) or order.service} {order.phone}"
        for order in orders
        if order.restorable
    }
    _known.remember(account.base_url, "past", names, replace=replace)


def remember_rentals(account: Account, rentals: Iterable[Rental]) -> None:
    """Remember new orders of an account for completion."""
    names = {str(rental.id): f"{rental.service} {rental.phone}" for rental in rentals}
    _known.remember(account.base_url, "orders", names)


def is_country_code(text: str) -> bool:
    """Return True for two letters."""
    return re.fullmatch("[A-Za-z]{2}", text) is not None


def is_service_code(text: str) -> bool:
    """Return True for a text such as ``opt16``."""
    return re.fullmatch("opt[0-9]+", text, re.IGNORECASE) is not None


def suggest(codes: Sequence[str], names: Mapping[str, str]) -> str:
    """Return a question such as ``did you mean opt29 Telegram?``, or "" without codes."""
    *others, last = [f"{code} {names[code]}".rstrip() for code in codes] or [""]
    return last and f"did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"


def _similar(wanted: str, forms: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the codes with a name that contains the text, or else the one with the most similar name or code."""
    if is_service_code(wanted):  # a similar number is another service
        return []
    if found := [code for code, names in forms.items() if any(wanted in name for name in names)]:
        return found[:_SUGGESTIONS]
    codes = {form: code for code, names in forms.items() for form in (*names, _folded(code))}
    return [codes[close] for close in get_close_matches(wanted, codes, 1)]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
