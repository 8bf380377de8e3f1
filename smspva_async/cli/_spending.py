"""The commands that spend money or destroy: `rent`, `add-service`, `prolong`, `restore`, `delete`.

Each shows what it is about to do and what that costs, asks, and keeps a ledger.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import anyio
import click
from attrs import frozen

from smspva_async import (
    WEEK,
    ApiError,
    InvalidKey,
    JournalError,
    Offer,
    Order,
    PriceTooHigh,
    Rows,
    SmspvaClient,
    SmspvaError,
    to_dict,
)
from smspva_async._api import methods, validation
from smspva_async.cli._asking import ask, yes_option
from smspva_async.cli._ledgers import Books, short_id, with_books
from smspva_async.cli._output import Printer, printing, say_aside, tell_of_skipped
from smspva_async.cli._values import COUNTRY, DOLLARS, ORDER, PROVIDER, SERVICE, example, period_of, period_options
from smspva_async.cli._words import (
    as_typed,
    clean,
    days,
    minute,
    period as in_words,
    phone,
    second,
    service as service_name,
    services as in_list,
    short,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from smspva_async import OutcomeUnknown, Period, Purchase, Rental

__all__ = ["add_service", "delete", "prolong", "rent", "restore"]

_RENT, _RENT_MULTI, _ADD_SERVICE = methods.RENT.name, methods.RENT_MULTI.name, methods.ADD_SERVICE.name
_PROLONG, _PROLONG_DAYS = methods.PROLONG.name, methods.PROLONG_DAYS.name
_RESTORE, _DELETE = methods.RESTORE.name, methods.DELETE.name
_RENTING = {_RENT, _RENT_MULTI}
_PROLONGING = {_PROLONG, _PROLONG_DAYS}


class UnsettledBeforeError(click.ClickException):
    """The same was begun before, and it isn't known whether it was done."""

    exit_code = 3


class TooExpensiveError(click.ClickException):
    """The estimate of a rental is above the most that it may cost, or there is none."""

    def __init__(self, service: str, country: str, period: Period, price: Decimal | None) -> None:
        if price is None or price.is_nan():
            told = f"no price of {service} in {country} is known to compare with --max-price"
        else:
            cost = f"about ${price:.2f} for {days(period.days)}"
            told = f"{service} in {country} costs {cost} (an estimate without rebates), more than --max-price"
        super().__init__(f"rent: {told}; nothing was sent")


@click.command(
    epilog=example(
        "smspva rent RU opt16",
        "smspva rent PL opt29 --months 1 --yes --json",
        "smspva rent PL opt29 --max-price 7.50",
        "smspva rent LT opt16 opt20",
    )
)
@click.argument("country", type=COUNTRY)
@click.argument("services", type=SERVICE, nargs=-1, required=True)
@period_options
@click.option(
    "--provider",
    type=PROVIDER,
    metavar="NAME",
    help="One of the providers behind the offer, as `smspva offers --providers` names them.",
)
@click.option(
    "--max-price",
    type=DOLLARS,
    metavar="USD",
    help="Rent for at most so many US dollars in all, by the estimate. For one service only.",
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
    max_price: Decimal | None,
    *,
    yes: bool,
) -> None:
    """Rent a number, for one service or for several.

    In COUNTRY (two letters), for SERVICES such as opt16, for a week by default. Spends money, so it shows the price
    and asks. `smspva offers COUNTRY` lists the services. Several services share one number.
    """
    first, period = services[0], period_of(weeks, months)
    if max_price is not None and len(services) > 1:
        raise click.UsageError("--max-price is for one service: nothing was sent")
    if len({service.casefold() for service in services}) < len(services):
        raise click.UsageError(f"a service is given twice ({', '.join(services)}): nothing was sent")
    method = _RENT if len(services) == 1 else _RENT_MULTI
    about = {"country": country, "service": ",".join(services)}

    async def run() -> None:
        async with _spending(books, method, about) as client:
            tell_of_skipped(await client.orders())  # so that a new order can be told from the old ones
            estimate = await _estimate_rental(client, country, services, period)
            if max_price is not None and (estimate.price is None or estimate.price > max_price):
                raise TooExpensiveError(first, country, period, estimate.price)
            what = f"Rent a number in {country} for {', '.join(services)}"
            ask(f"{what}, {in_words(period)} ({days(period.days)})", *estimate.lines, yes=yes)
            _refuse_to_repeat(books, method, about)
            if len(services) > 1:
                _tell_rented(printer, await client.rent_multi(country, services, period, provider=provider))
                return
            try:
                rental = await client.rent(country, first, period, provider=provider, max_price=max_price)
            except PriceTooHigh as error:  # the price has risen since
                raise TooExpensiveError(first, country, period, error.price) from None
            _tell_rented(printer, [rental])

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
        async with _spending(books, _ADD_SERVICE, about) as client:
            order = await _order(client, order_id)
            if order is None:
                raise click.UsageError(f"order {order_id} isn't listed, so its number isn't known; nothing was sent")
            try:
                validation.phone(order.phone)
            except ValueError as error:
                raise click.UsageError(f"{error}; nothing was sent, as #{order_id} has no such number") from None
            price = await _price_day(client, order.country, [service], WEEK)
            if price is None:
                told = f"no price can be computed: the provider states none for {service} now"
            elif rent_days is None:
                told = f"${price:.2f} a day; for how long, and so the price, is left to the provider"
            else:
                told = _estimate(price, rent_days)
            ask(f"Add {service} to {_named(order)}", told, yes=yes)
            _refuse_to_repeat(books, _ADD_SERVICE, about)
            rental = await client.add_service(order_id, service, phone=order.phone, rent_days=rent_days)
            if rental is None:
                _tell_done(printer, _ADD_SERVICE, order_id, f"{service} was added to #{order_id}.")
            else:
                _tell_rented(printer, [rental])

    anyio.run(run)


@click.command(epilog=example("smspva prolong 40300 --weeks 2", "smspva prolong 40300 --days 3"))
@click.argument("order_id", metavar="ID", type=ORDER)
@period_options
@click.option("--days", "only_days", type=click.IntRange(1, 6), help="For so many days, 1 to 6.")
@yes_option
@with_books
@printing
def prolong(
    printer: Printer,
    books: Books,
    order_id: int,
    weeks: int | None,
    months: int | None,
    only_days: int | None,
    *,
    yes: bool,
) -> None:
    """Prolong a rental.

    That of order ID, by a week by default. Spends money, so it shows the price and asks. The provider allows it within
    the last 7 days of a rental.
    """
    period = period_of(weeks, months)
    if only_days is not None and (weeks, months) != (None, None):
        raise click.UsageError("it is prolonged by --days, by --weeks or by --months, not by two of them")
    method, length, by = _PROLONG, period.days, f"{in_words(period)} ({days(period.days)})"
    if only_days is not None:
        method, length, by = _PROLONG_DAYS, only_days, days(only_days)
    about = {"id": str(order_id)}

    async def run() -> None:
        async with _spending(books, method, about) as client:
            order = await _order(client, order_id)
            price = None if order is None else await _price_day(client, order.country, order.services, period)
            if price is not None:
                facts = [_estimate(price, length)]
            else:
                why = "the order isn't listed" if order is None else "the provider states none for it now"
                facts = [f"no price can be computed: {why}"]
            if order is not None and order.can_prolong is False:
                facts.append("the provider says that it can't be prolonged now")
            told = f"order {order_id}, which isn't listed," if order is None else _named(order)
            ask(f"Prolong {told} by {by}", *facts, yes=yes)
            _refuse_to_repeat(books, method, about)
            if only_days is None:
                await client.prolong(order_id, period)
            else:
                await client.prolong_days(order_id, only_days)
            _tell_done(printer, method, order_id, f"#{order_id} was prolonged by {by.partition(' (')[0]}.")

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
        async with _spending(books, _RESTORE, about) as client:
            tell_of_skipped(await client.orders())  # so that a new order can be told from the old ones
            quote = await client.restore_quote(order_id)
            what = in_list([quote.service_name or quote.service])
            ask(
                f"Restore #{order_id}, {phone(quote.phone)}, {what}",
                f"${quote.price:.2f}: {days(quote.overdue_days)} overdue, {days(quote.prolong_days)} prepaid",
                yes=yes,
            )
            _refuse_to_repeat(books, _RESTORE, about)
            new = await client.restore(order_id)
            told = "" if new in (None, order_id) else f"; its id is {new} now"
            _tell_done(printer, _RESTORE, new or order_id, f"#{order_id} was restored{told}.")

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
        async with _spending(books, _DELETE, about) as client:
            order = await _order(client, order_id)
            told = f"order {order_id}, which isn't listed" if order is None else _named(order)
            ask(f"Delete {told}", "it can't be undone; no refund once a message was received", yes=yes)
            _refuse_to_repeat(books, _DELETE, about)
            await client.delete(order_id)
            _tell_done(printer, _DELETE, order_id, f"#{order_id} was deleted.")

    anyio.run(run)


@asynccontextmanager
async def _spending(books: Books, method: str, about: Mapping[str, str]) -> AsyncGenerator[SmspvaClient]:
    """Open a client to spend with, unless the same was begun before. Errors of the calls before say it wasn't sent."""
    try:
        async with books.client() as client:
            _refuse_to_repeat(books, method, about)
            yield client
    except JournalError as error:
        if "nothing was sent" not in error.message.casefold():
            error.message += "; nothing was sent"
        raise
    except SmspvaError as error:
        if error.method != method:  # a failure of the call that spends says it itself
            error.message += f"; nothing was {'deleted' if method == _DELETE else 'bought'}"
        raise


def _refuse_to_repeat(books: Books, method: str, about: Mapping[str, str]) -> None:
    """Raise if the ledger has the same call without an outcome: to repeat it might pay twice.

    The ledger is read twice: before the question, and after the answer, which may take its time.
    """
    ledger = books.reader()
    for error in ledger.unsettled:
        if _is_same(error, method, about):
            raise UnsettledBeforeError(
                f"{as_typed(error)} of {second(error.started_at)} ({short_id(error)}) has no known outcome:"
                " nothing was sent, as that might be the second time; smspva unsettled looks into it"
            )
    for purchase in ledger.purchases():
        if purchase.outcome == "unknown" and _is_same(purchase, method, about):
            raise UnsettledBeforeError(
                f"{as_typed(purchase)} of {second(purchase.started_at)} is in progress in another program:"
                " nothing was sent, as that might be the second time; smspva purchases lists its outcome later"
            )


def _is_same(call: OutcomeUnknown | Purchase, method: str, about: Mapping[str, str]) -> bool:
    if {call.method, method} <= _RENTING:  # one of several services would be paid twice as well
        return call.params.get("country") == about["country"] and not _codes(call.params).isdisjoint(_codes(about))
    same = call.method == method or {call.method, method} <= _PROLONGING
    same = same and call.params.get("id") == about["id"]
    return same and (method != _ADD_SERVICE or _codes(call.params) == _codes(about))


def _codes(params: Mapping[str, str]) -> set[str]:
    """Return the services of a call in lower case: the provider may not tell ``OPT16`` from ``opt16``."""
    return {code.casefold() for code in params.get("services", params.get("service", "")).split(",")}


def _estimate(price_day: Decimal, count: int) -> str:
    """Return what some days cost by an offer."""
    return f"about ${price_day * count:.2f}: {days(count)} at ${price_day:.2f} a day, an estimate"


@frozen
class _RentalEstimate:
    lines: list[str]
    """A line for each service, and one for all."""
    price: Decimal | None
    """US dollars for all services and the whole period, without rebates; None where a price is unknown."""


async def _estimate_rental(
    client: SmspvaClient, country: str, services: Sequence[str], period: Period
) -> _RentalEstimate:
    try:
        offered = await client.offers(country, period)
    except InvalidKey:
        raise
    except ApiError as error:
        return _RentalEstimate([f"no price can be computed: {clean(error.msg)}"], None)
    tell_of_skipped(offered)
    offers = {offer.service: offer for offer in offered}
    lines = [_offered(service, offers.get(service), period) for service in services]
    price_day = _sum_prices(offered, services)
    price = None if price_day is None else price_day * period.days
    if price is not None and len(services) > 1:
        lines.append(f"together about ${price:.2f}")
    return _RentalEstimate(lines, price)


def _offered(service: str, offer: Offer | None, period: Period) -> str:
    if offer is None:
        return f"{service}: no price can be computed: it isn't offered now"
    available = "how many are available is unknown" if offer.count is None else f"{offer.count} available"
    estimate = (
        "no price can be computed: the provider states none"
        if offer.price_day is None
        else _estimate(offer.price_day, period.days)
    )
    return f"{clean(f'{service} {offer.name}')}: {estimate}; {available}"


async def _price_day(client: SmspvaClient, country: str, services: Sequence[str], period: Period) -> Decimal | None:
    """Return the price of services together; None where one has none, or the country is unknown."""
    try:
        offers = await client.offers(country, period)
    except InvalidKey:
        raise
    except (ApiError, ValueError):  # the country offers nothing, or the server leaves an order's country out
        return None
    tell_of_skipped(offers)
    return _sum_prices(offers, services)


def _sum_prices(offers: Iterable[Offer], services: Sequence[str]) -> Decimal | None:
    """Return the price of a day for all services; None where one has none."""
    by_service = {offer.service: offer.price_day for offer in offers}
    prices = [price for service in services if (price := by_service.get(service)) is not None]
    return sum(prices, Decimal()) if 0 < len(prices) == len(services) else None


async def _order(client: SmspvaClient, order_id: int) -> Order | None:
    orders = await client.orders()
    tell_of_skipped(orders)
    return next((order for order in orders if order.id == order_id), None)


def _named(order: Order) -> str:
    return f"#{order.id}, {phone(order.phone)}, {service_name(order)}, until {minute(order.until)}"


def _tell_rented(printer: Printer, rentals: Iterable[Rental]) -> None:
    printer.tell_done(*((to_dict(rental), f"Rented: {_rented(rental)}") for rental in rentals))
    for skipped in rentals.skipped if isinstance(rentals, Rows) else ():
        say_aside(f"smspva: a rental was paid that can't be read ({short(skipped.reason)}); smspva orders lists it")


def _rented(rental: Rental) -> str:
    return f"#{rental.id}  {phone(rental.phone)}  {in_list(rental.services)}  until {minute(rental.until)}"


def _tell_done(printer: Printer, method: str, order_id: int, told: str) -> None:
    printer.tell_done(({"done": method, "id": order_id}, told))
