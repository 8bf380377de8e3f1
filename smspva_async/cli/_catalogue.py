"""What there is to rent, and what was rented: `countries`, `offers`, `history`."""

from __future__ import annotations

import anyio
import click

from smspva_async.cli import _tables
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._output import Printer, printing
from smspva_async.cli._values import COUNTRY, example, period_of, period_options

__all__ = ["countries", "history", "offers"]

_TAKE = 50


@click.command(epilog=example("smspva countries"))
@with_account
@printing
def countries(printer: Printer, account: Account) -> None:
    """List the countries that have numbers."""

    async def run() -> None:
        async with account.client() as client:
            printer.rows(await client.countries(), _tables.countries, "No country has numbers now.")

    anyio.run(run)


@click.command(epilog=example("smspva offers PL", "smspva offers PL --months 1 --json"))
@click.argument("country", type=COUNTRY)
@period_options
@with_account
@printing
def offers(printer: Printer, account: Account, country: str, weeks: int | None, months: int | None) -> None:
    """List what can be rented in a country.

    COUNTRY is two letters; the cheapest service comes first. Prices are US dollars a day; they may depend on the
    period, a week by default.
    """
    period = period_of(weeks, months)

    async def run() -> None:
        async with account.client() as client:
            found = await client.offers(country, period)
        found.sort(key=lambda offer: (offer.price_day, offer.name))
        printer.rows(found, _tables.offers, f"Nothing can be rented in {country} now.")

    anyio.run(run)


@click.command(epilog=example("smspva history", "smspva history --page 2 --json"))
@click.option("--page", type=click.IntRange(min=1), default=1, show_default=True, help="Which page.")
@click.option(
    "--take", type=click.IntRange(1, 1000), default=_TAKE, show_default=True, help="How many orders on a page."
)
@with_account
@printing
def history(printer: Printer, account: Account, page: int, take: int) -> None:
    """List past orders: the archive of the provider's page."""

    async def run() -> None:
        async with account.client() as client:
            rows = await client.history(skip=(page - 1) * take, take=take)
        printer.rows(rows, _tables.history, "No past order." if page == 1 else f"No past order on page {page}.")
        if len(rows) + len(rows.skipped) == take:
            same = "" if take == _TAKE else f" --take {take}"
            printer.hint(f"page {page}; the next: smspva history --page {page + 1}{same}")

    anyio.run(run)
