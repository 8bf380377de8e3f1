"""Commands that read: `services`, `countries`, `offers`, `stock`, `balance`, `history`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from smspva_async import WEEK, Period, SmspvaError, to_dict
from smspva_async.cli import _formatting as fmt, _tables
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._help import examples
from smspva_async.cli._names import Catalogue, remember_restorable
from smspva_async.cli._output import Printer, with_printer
from smspva_async.cli._parameters import COUNTRY, SERVICE, NumberRange, with_period
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE_SIZE = 50


@click.command(epilog=examples("smspva services", "smspva services --json"))
@with_account
@with_printer
async def services(printer: Printer, account: Account) -> None:
    """List all services by name.

    Show the code of each service and its price in US dollars per day. For the prices in one country, see `smspva
    offers`.
    """
    async with account.client() as client:
        rows = await client.services()
        Catalogue(account, client).remember_services(rows)
    rows.sort(key=lambda service: (service.name.casefold(), service.service))
    printer.print_rows(rows, _tables.services, empty="No services are listed now.")
    if rows:
        printer.print_hint(f"Next: smspva countries --for {fmt.clean(rows[0].service)}")


@click.command(epilog=examples("smspva countries", "smspva countries --for opt16 --weeks 2"))
@click.option("--for", "service", type=SERVICE, help="Service, such as opt16 or Instagram.")
@with_period
@with_account
@with_printer
async def countries(printer: Printer, account: Account, service: str | None, period: Period | None) -> None:
    """List the countries that have numbers.

    With --for, list only the countries that offer the service, cheapest first, with the price in US dollars for the
    period and how many numbers are available.
    """
    if service is None and period is not None:
        raise click.UsageError("--weeks and --months need --for SERVICE")
    async with account.client() as client:
        catalogue = Catalogue(account, client)
        if service is None:
            countries = await client.countries()
            catalogue.remember_countries(countries)
            printer.print_rows(countries, _tables.countries, empty="No countries have numbers now.")
            return
        (service,) = await catalogue.services([service])
        rows = await client.countries_for(service, period or WEEK)
    printer.print_rows(rows, _tables.countries_for, empty=f"No country offers {service} now.")
    if country := next((row.country for row in rows if row.count != 0), None):
        printer.print_hint(f"Next: smspva rent {fmt.clean(country)} {service}")


@click.command(
    epilog=examples("smspva offers PL", "smspva offers PL --months 1 --json", "smspva offers PL --providers")
)
@click.argument("country", type=COUNTRY)
@click.option("--providers", "by_provider", is_flag=True, help="Also show how many numbers each provider has.")
@with_period
@with_account
@with_printer
async def offers(printer: Printer, account: Account, country: str, period: Period | None, *, by_provider: bool) -> None:
    """List the services in a country, cheapest first.

    COUNTRY is a code or a name, such as PL or Poland. Prices are in US dollars per day, and may depend on the period.
    """
    async with account.client() as client:
        catalogue = Catalogue(account, client)
        country = await catalogue.country(country)
        rows = await client.offers(country, period or WEEK, by_provider=by_provider)
        catalogue.remember_services(rows)
    rows.sort(key=lambda offer: (offer.price_day is None, offer.price_day, offer.name, offer.service))
    make_table = partial(_tables.offers, by_provider=by_provider)
    printer.print_rows(rows, make_table, empty=f"Nothing can be rented in {country} now.")
    if service := next((row.service for row in rows if row.count != 0), None):
        printer.print_hint(f"Next: smspva rent {country} {fmt.clean(service)}")


@click.command(epilog=examples("smspva stock PL", "smspva stock PL opt16 opt29 --months 1"))
@click.argument("country", type=COUNTRY)
@click.argument("services", type=SERVICE, nargs=-1)
@with_period
@with_account
@with_printer
async def stock(
    printer: Printer, account: Account, country: str, services: tuple[str, ...], period: Period | None
) -> None:
    """Show how many numbers a country has for each service.

    COUNTRY is a code or a name, such as PL or Poland. With SERVICES, such as opt16 or Instagram, show only these, and
    for two or more also how many numbers support all of them.
    """
    period = period or WEEK
    async with account.client() as client:
        catalogue = Catalogue(account, client)
        country = await catalogue.country(country)
        wanted = {service.casefold(): service for service in await catalogue.services(services)}
        found = await client.stock(country, period)
        codes = sorted(found, key=lambda code: (len(code), code))
        rows = [(code, found[code]) for code in codes if not wanted or code.casefold() in wanted]
        if printer.as_json:
            for code, row in rows:
                printer.print_json({"service": code, **to_dict(row)})
        elif rows:
            printer.print_table(_tables.stock(rows))
        elif not wanted:
            printer.print_text(f"{country} has no numbers now.")
        listed = {code.casefold() for code in found}
        for unlisted in (service for folded, service in wanted.items() if folded not in listed):
            print_stderr(f"smspva: {unlisted} isn't listed in {country}")
        if len(wanted) > 1:
            total = await client.stock_multi(country, wanted.values(), period)
            text = f"{total} number{' supports' if total == 1 else 's support'} all of {', '.join(wanted.values())}."
            printer.print_result({"services": [*wanted.values()], "total": total}, fmt.clean(text))


@click.command(epilog=examples("smspva balance", "smspva balance --json"))
@with_account
@with_printer
async def balance(printer: Printer, account: Account) -> None:
    """Show the account balance in US dollars.

    The provider reports the balance on another host. Set the environment variable SMSPVA_ACCOUNT_URL to change it.
    """
    async with account.client() as client:
        amount = await client.balance()
    sign = "-" if amount < 0 else ""
    printer.print_result({"balance": str(amount)}, f"The balance is {sign}${fmt.price(abs(amount))}.")


@click.command(epilog=examples("smspva history", "smspva history --page 2 --json"))
@click.option("--page", type=NumberRange(min=1), default=1, show_default=True, help="Page number.")
@click.option(
    "--take", type=NumberRange(1, 1000), default=_PAGE_SIZE, show_default=True, help="Number of orders per page."
)
@with_account
@with_printer
async def history(printer: Printer, account: Account, page: int, take: int) -> None:
    """List past orders, as in the archive on the provider's page.

    The names of services are requested if they aren't known from an earlier command.
    """
    names: Mapping[str, str] = {}
    async with account.client() as client:
        rows = await client.history(skip=(page - 1) * take, take=take)
        if rows and not printer.as_json:
            with suppress(SmspvaError):  # the list has the codes too
                names = await Catalogue(account, client).names(row.service for row in rows)
    remember_restorable(account, rows, names, replace=page == 1)
    printer.print_rows(
        rows,
        partial(_tables.history, names=names),
        empty="No past orders." if page == 1 else f"No past orders on page {page}.",
    )
    if len(rows) + len(rows.skipped) == take:
        same_size = "" if take == _PAGE_SIZE else f" --take {take}"
        printer.print_hint(f"Page {page}. Next page: smspva history --page {page + 1}{same_size}")
    if restorable := next((row.order_id for row in rows if row.restorable), None):
        printer.print_hint(f"Next: smspva restore {restorable}")
