"""The catalogue, the balance and the archive: `services`, `countries`, `offers`, `stock`, `balance`, `history`."""

from __future__ import annotations

import anyio
import click

from smspva_async import to_dict
from smspva_async.cli import _tables
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._output import Printer, printing, say_aside
from smspva_async.cli._values import COUNTRY, SERVICE, example, period_of, period_options
from smspva_async.cli._words import clean, dollars

__all__ = ["balance", "countries", "history", "offers", "services", "stock"]

_TAKE = 50


@click.command(epilog=example("smspva services", "smspva services --json"))
@with_account
@printing
def services(printer: Printer, account: Account) -> None:
    """List the services that numbers can be rented for.

    By name, with the code that other commands take and a price in US dollars a day. `smspva offers COUNTRY` has the
    prices of a country.
    """

    async def run() -> None:
        async with account.client() as client:
            found = await client.services()
        found.sort(key=lambda service: (service.name.casefold(), service.service))
        printer.rows(found, _tables.services, "No service is listed now.")

    anyio.run(run)


@click.command(epilog=example("smspva countries", "smspva countries --for opt16 --weeks 2"))
@click.option("--for", "service", type=SERVICE, metavar="SERVICE", help="Only those that offer it, the cheapest first.")
@period_options
@with_account
@printing
def countries(printer: Printer, account: Account, service: str | None, weeks: int | None, months: int | None) -> None:
    """List the countries that have numbers.

    With --for only those that offer a service such as opt16, with the price in US dollars that the provider states for
    the period, a week by default, and the numbers available.
    """
    period = period_of(weeks, months)
    if service is None and (weeks, months) != (None, None):
        raise click.UsageError("--weeks and --months go with --for SERVICE")

    async def run() -> None:
        async with account.client() as client:
            if service is None:
                printer.rows(await client.countries(), _tables.countries, "No country has numbers now.")
            else:
                found = await client.countries_for(service, period)
                printer.rows(found, _tables.countries_for, f"No country offers {service} now.")

    anyio.run(run)


@click.command(epilog=example("smspva offers PL", "smspva offers PL --months 1 --json", "smspva offers PL --providers"))
@click.argument("country", type=COUNTRY)
@click.option("--providers", "by_provider", is_flag=True, help="Also show how many numbers each provider has.")
@period_options
@with_account
@printing
def offers(
    printer: Printer, account: Account, country: str, weeks: int | None, months: int | None, *, by_provider: bool
) -> None:
    """List what can be rented in a country.

    COUNTRY is two letters; the cheapest service comes first. Prices are US dollars a day; they may depend on the
    period, a week by default.
    """
    period = period_of(weeks, months)
    table = _tables.offers_by_provider if by_provider else _tables.offers

    async def run() -> None:
        async with account.client() as client:
            found = await client.offers(country, period, by_provider=by_provider)
        found.sort(key=lambda offer: (offer.price_day is None, offer.price_day, offer.name, offer.service))
        printer.rows(found, table, f"Nothing can be rented in {country} now.")

    anyio.run(run)


@click.command(epilog=example("smspva stock PL", "smspva stock PL opt16 opt29 --months 1"))
@click.argument("country", type=COUNTRY)
@click.argument("services", type=SERVICE, nargs=-1)
@period_options
@with_account
@printing
def stock(
    printer: Printer,
    account: Account,
    country: str,
    services: tuple[str, ...],
    weeks: int | None,
    months: int | None,
) -> None:
    """Show how many numbers a country has for each service.

    COUNTRY is two letters. With SERVICES such as opt16 only these are shown, and for several also how many numbers
    serve all of them. The period is a week by default.
    """
    period = period_of(weeks, months)
    wanted = {service.casefold(): service for service in services}

    async def run() -> None:
        async with account.client() as client:
            found = await client.stock(country, period)
            codes = sorted(found, key=lambda code: (len(code), code))
            rows = [(code, found[code]) for code in codes if not wanted or code.casefold() in wanted]
            if printer.as_json:
                for code, row in rows:
                    printer.json_line({"service": code, **to_dict(row)})
            elif rows:
                printer.table(_tables.stock(rows))
            elif not wanted:
                printer.say(f"No service has a number in {country} now.")
            listed = {code.casefold() for code in found}
            for unlisted in (service for folded, service in wanted.items() if folded not in listed):
                say_aside(f"smspva: {unlisted} isn't listed in {country}")
            if len(wanted) > 1:
                together = await client.stock_multi(country, wanted.values(), period)
                told = (
                    f"{together} number{' serves' if together == 1 else 's serve'} all of {', '.join(wanted.values())}."
                )
                printer.tell({"services": [*wanted.values()], "total": together}, clean(told))

    anyio.run(run)


@click.command(epilog=example("smspva balance", "smspva balance --json"))
@with_account
@printing
def balance(printer: Printer, account: Account) -> None:
    """Show the account's balance in US dollars.

    The balance has a host of its own at the provider. The environment variable SMSPVA_ACCOUNT_URL names another.
    """

    async def run() -> None:
        async with account.client() as client:
            amount = await client.balance()
        sign = "-" if amount < 0 else ""
        printer.tell({"balance": str(amount)}, f"The balance is {sign}${dollars(abs(amount))}.")

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
