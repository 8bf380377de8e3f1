"""What spends money or destroys: `rent`, `add-service`, `prolong`, `restore`, `delete`.

Each shows what it is about to do and what that costs, asks, and keeps a ledger.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import click

from smspva_async import ApiError, InvalidKey, JournalError, Order, Period, Rows, SmspvaClient, SmspvaError
from smspva_async._api import validation
from smspva_async.cli._asking import ask, yes_option
from smspva_async.cli._ledgers import Books, short_id, with_books
from smspva_async.cli._output import Printer, printing, say_aside, tell_of_skipped, to_dict
from smspva_async.cli._values import COUNTRY, ORDER, PROVIDER, SERVICE, example, period_of, period_options
from smspva_async.cli._words import clean, days, minute, period as in_words, second, service as service_name, short

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from decimal import Decimal

    from smspva_async import OutcomeUnknown, Rental

__all__ = ["add_service", "delete", "prolong", "rent", "restore"]

_RENTING = {"create", "create_multi"}
_ABOUT = ("id", "country", "service", "services")


class UnsettledBeforeError(click.ClickException):
    """The same was begun before, and it isn't known whether it was done."""

    exit_code = 3


@click.command(
    epilog=example("smspva rent RU opt16", "smspva rent PL opt29 --months 1 --yes --json", "smspva rent LT opt16 opt20")
)
@click.argument("country", type=COUNTRY)
@click.argument("services", type=SERVICE, nargs=-1, required=True)
@period_options
@click.option(
    "--provider",
    type=PROVIDER,
    metavar="NAME",
    help="One of the providers behind the offer, where the server names them.",
)
@yes_option
@with_books
@printing
def rent(
    printer: Printer,
    books: Books,
    country: str,
    services: tuple[str, ...],
    weeks: int | None,
    months: int | None,
    provider: str | None,
    *,
    yes: bool,
) -> None:
    """Rent a number, for one service or for several.

    In COUNTRY (two letters), for SERVICES such as opt16, for a week by default. Spends money, so it shows the price
    and asks. `smspva offers COUNTRY` lists the services.
    """
    period = period_of(weeks, months)
    if len({service.casefold() for service in services}) < len(services):
        raise click.UsageError(f"a service is given twice ({', '.join(services)}): nothing was sent")
    method = "create" if len(services) == 1 else "create_multi"
    about = {"country": country, "service": ",".join(services)}

    async def run() -> None:
        async with _spending(books, method, about) as client:
            tell_of_skipped(await client.orders())  # so that a new order can be told from the old ones
            prices = await _prices(client, country, services, period)
            # How many numbers several services get is the provider's to decide.
            what = f"Rent {'a number' if len(services) == 1 else 'numbers'} in {country} for {', '.join(services)}"
            ask(f"{what}, {in_words(period)} ({days(period.days)})", *prices, yes=yes)
            _refuse_to_repeat(books, method, about)
            if len(services) == 1:
                rented = Rows([await client.rent(country, services[0], period, provider=provider)])
            else:
                rented = await client.rent_multi(country, services, period, provider=provider)
            _tell_rented(printer, rented)

    anyio.run(run)


@click.command(
    "add-service", epilog=example("smspva add-service 40300 opt29", "smspva add-service 40300 opt29 --days 7")
)
@click.argument("order_id", metavar="ID", type=ORDER)
@click.argument("service", type=SERVICE)
@click.option("--days", "rent_days", type=click.IntRange(1, 90), help="For so many days; else the provider decides.")
@yes_option
@with_books
@printing
def add_service(
    printer: Printer, books: Books, order_id: int, service: str, rent_days: int | None, *, yes: bool
) -> None:
    """Rent a further service on a number.

    SERVICE is added to the number of order ID. Spends money, so it shows the price and asks.
    """
    about = {"id": str(order_id), "service": service}

    async def run() -> None:
        async with _spending(books, "add_service_to_order", about) as client:
            order = await _order(client, order_id)
            if order is None:
                raise click.UsageError(f"order {order_id} isn't listed, so its number isn't known; nothing was sent")
            try:
                validation.phone(order.phone)
            except ValueError as error:
                raise click.UsageError(f"{error}; nothing was sent, as #{order_id} has no such number") from None
            price = await _price_day(client, order.country, service, Period.weeks(1))
            if price is None:
                told = f"no price can be computed: {service} isn't offered for this number now"
            elif rent_days is None:
                told = f"${price:.2f} a day; for how long, and so the price, is left to the provider"
            else:
                told = _estimate(price, rent_days)
            ask(f"Add {service} to {_named(order)}", told, yes=yes)
            _refuse_to_repeat(books, "add_service_to_order", about)
            rental = await client.add_service(order_id, service, phone=order.phone, rent_days=rent_days)
            if rental is None:
                _tell_done(printer, "add_service_to_order", order_id, f"{service} was added to #{order_id}.")
            else:
                _tell_rented(printer, [rental])

    anyio.run(run)


@click.command(epilog=example("smspva prolong 40300 --weeks 2"))
@click.argument("order_id", metavar="ID", type=ORDER)
@period_options
@yes_option
@with_books
@printing
def prolong(printer: Printer, books: Books, order_id: int, weeks: int | None, months: int | None, *, yes: bool) -> None:
    """Prolong a rental.

    That of order ID, by a week by default. Spends money, so it shows the price and asks. The provider allows it within
    the last 7 days of a rental.
    """
    period = period_of(weeks, months)
    about = {"id": str(order_id)}

    async def run() -> None:
        async with _spending(books, "prolong", about) as client:
            order = await _order(client, order_id)
            price = None if order is None else await _price_day(client, order.country, order.service, period)
            if price is not None:
                facts = [_estimate(price, period.days)]
            else:
                why = "the order isn't listed" if order is None else "the number isn't offered now"
                facts = [f"no price can be computed: {why}"]
            if order is not None and not order.can_prolong:
                facts.append("the provider says that it can't be prolonged now")
            told = f"order {order_id}, which isn't listed," if order is None else _named(order)
            ask(f"Prolong {told} by {in_words(period)} ({days(period.days)})", *facts, yes=yes)
            _refuse_to_repeat(books, "prolong", about)
            await client.prolong(order_id, period)
            _tell_done(printer, "prolong", order_id, f"#{order_id} was prolonged by {in_words(period)}.")

    anyio.run(run)


@click.command(epilog=example("smspva restore 317017"))
@click.argument("order_id", metavar="ID", type=ORDER)
@yes_option
@with_books
@printing
def restore(printer: Printer, books: Books, order_id: int, *, yes: bool) -> None:
    """Restore an expired rental.

    That of order ID. Spends money, so it shows the provider's quote and asks. `smspva history` lists past orders.
    """
    about = {"id": str(order_id)}

    async def run() -> None:
        async with _spending(books, "restore_user", about) as client:
            tell_of_skipped(await client.orders())  # so that a new order can be told from the old ones
            quote = await client.restore_quote(order_id)
            what = clean(quote.service_name or quote.service)
            ask(
                f"Restore #{order_id}, {clean(quote.phone)}, {what}",
                f"${quote.price:.2f}: {days(quote.overdue_days)} overdue, {days(quote.prolong_days)} prepaid",
                yes=yes,
            )
            _refuse_to_repeat(books, "restore_user", about)
            new = await client.restore(order_id)
            told = "" if new in (None, order_id) else f"; its id is {new} now"
            _tell_done(printer, "restore_user", new or order_id, f"#{order_id} was restored{told}.")

    anyio.run(run)


@click.command(epilog=example("smspva delete 40300"))
@click.argument("order_id", metavar="ID", type=ORDER)
@yes_option
@with_books
@printing
def delete(printer: Printer, books: Books, order_id: int, *, yes: bool) -> None:
    """Give a number up.

    That of order ID. It can't be undone, so it asks.
    """
    about = {"id": str(order_id)}

    async def run() -> None:
        async with _spending(books, "delete", about) as client:
            order = await _order(client, order_id)
            told = f"order {order_id}, which isn't listed" if order is None else _named(order)
            ask(f"Delete {told}", "it can't be undone; no refund once a message was received", yes=yes)
            _refuse_to_repeat(books, "delete", about)
            await client.delete(order_id)
            _tell_done(printer, "delete", order_id, f"#{order_id} was deleted.")

    anyio.run(run)


@asynccontextmanager
async def _spending(books: Books, method: str, about: Mapping[str, str]) -> AsyncGenerator[SmspvaClient]:
    """Open a client to spend with, unless the same was begun before. What goes wrong before it is sent says so."""
    try:
        async with books.client() as client:
            _refuse_to_repeat(books, method, about)
            yield client
    except JournalError:
        raise  # it says so itself, as does a failure of the call that spends
    except SmspvaError as error:
        if error.method != method:
            error.message += f"; nothing was {'deleted' if method == 'delete' else 'bought'}"
        raise


def _refuse_to_repeat(books: Books, method: str, about: Mapping[str, str]) -> None:
    """Raise if the ledger has the same call without an outcome: to repeat it might pay twice.

    It is asked for twice: before there is a question, and after the answer, which may take its time.
    """
    for error in books.unsettled():
        if _is_same(error, method, about):
            before = " ".join(error.params[name] for name in _ABOUT if name in error.params)
            raise UnsettledBeforeError(
                f"{error.method} {before} of {second(error.started_at)} ({short_id(error)}) has no known outcome:"
                " nothing was sent, as that might be the second time; smspva unsettled looks into it"
            )


def _is_same(error: OutcomeUnknown, method: str, about: Mapping[str, str]) -> bool:
    if {error.method, method} <= _RENTING:  # one of several services would be paid twice as well
        return error.params.get("country") == about["country"] and not _codes(error.params).isdisjoint(_codes(about))
    same = error.method == method and error.params.get("id") == about["id"]
    return same and (method != "add_service_to_order" or _codes(error.params) == _codes(about))


def _codes(params: Mapping[str, str]) -> set[str]:
    """Return the services of a call. What letters they are written in may be no matter to the provider."""
    return {code.casefold() for code in params.get("services", params.get("service", "")).split(",")}


def _estimate(price_day: Decimal, count: int) -> str:
    """Return what some days cost by an offer."""
    return f"about ${price_day * count:.2f}: {days(count)} at ${price_day:.2f} a day, an estimate"


async def _prices(client: SmspvaClient, country: str, services: Iterable[str], period: Period) -> list[str]:
    """Return a line for each service, and one for all."""
    try:
        offered = await client.offers(country, period)
    except InvalidKey:
        raise
    except ApiError as error:
        return [f"no price can be computed: {clean(error.msg)}"]
    tell_of_skipped(offered)
    offers = {offer.service: offer for offer in offered}
    lines: list[str] = []
    for service in services:
        offer = offers.get(service)
        told = (
            "no price can be computed: it isn't offered now"
            if offer is None or offer.price_day is None
            else f"{_estimate(offer.price_day, period.days)}; {offer.count} available"
        )
        lines.append(f"{service if offer is None else f'{service} {clean(offer.name)}'}: {told}")
    found = [offers[service].price_day for service in services if service in offers]
    known = [price for price in found if price is not None]
    if len(lines) == len(known) > 1:
        lines.append(f"together about ${sum(known) * period.days:.2f}")
    return lines


async def _price_day(client: SmspvaClient, country: str, service: str, period: Period) -> Decimal | None:
    """Return an offer's price; None where there is none, or no country to look in."""
    try:
        offers = await client.offers(country, period)
    except InvalidKey:
        raise
    except (ApiError, ValueError):  # the country offers nothing, or the server leaves an order's country out
        return None
    tell_of_skipped(offers)
    return next((offer.price_day for offer in offers if offer.service == service), None)


async def _order(client: SmspvaClient, order_id: int) -> Order | None:
    orders = await client.orders()
    tell_of_skipped(orders)
    return next((order for order in orders if order.id == order_id), None)


def _named(order: Order) -> str:
    return f"#{order.id}, {clean(order.phone)}, {service_name(order)}, until {minute(order.until)}"


def _tell_rented(printer: Printer, rentals: Iterable[Rental]) -> None:
    printer.tell_done(
        *(
            (
                to_dict(rental),
                f"Rented: #{rental.id}  {clean(rental.phone)}  {clean(rental.service)}  until {minute(rental.until)}",
            )
            for rental in rentals
        ),
    )
    for skipped in rentals.skipped if isinstance(rentals, Rows) else ():
        say_aside(f"smspva: a rental was paid that can't be read ({short(skipped.reason)}); smspva orders lists it")


def _tell_done(printer: Printer, method: str, order_id: int, told: str) -> None:
    printer.tell_done(({"done": method, "id": order_id}, told))
