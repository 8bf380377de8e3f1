"""Commands that spend money or delete: `rent`, `add-service`, `prolong`, `restore`, `delete`.

Each command shows the action and its price, asks for confirmation, and records the call in a ledger.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from attrs import evolve

from smspva_async import WEEK, Order, Period, PriceTooHigh, Rows, SmspvaClient, to_dict
from smspva_async._api import methods, validation
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._account import Account, with_ledger
from smspva_async.cli._estimates import Offers, format_estimate, read_offers
from smspva_async.cli._help import examples
from smspva_async.cli._names import Catalogue, remember_orders, remember_rentals
from smspva_async.cli._output import Printer, warn_of_skipped_rows, with_printer
from smspva_async.cli._parameters import (
    COUNTRY,
    DOLLARS,
    ORDER_ID,
    PAST_ORDER_ID,
    PROVIDER,
    SERVICE,
    NumberRange,
    with_period,
)
from smspva_async.cli._prompts import yes_option
from smspva_async.cli._spending_call import SpendingCall, prolongation_obstacle
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from smspva_async import Rental

_RENT, _RENT_MULTI, _ADD_SERVICE = methods.RENT.name, methods.RENT_MULTI.name, methods.ADD_SERVICE.name
_PROLONG, _PROLONG_DAYS = methods.PROLONG.name, methods.PROLONG_DAYS.name
_RESTORE, _DELETE = methods.RESTORE.name, methods.DELETE.name
_NOTHING_SENT = "; nothing was sent"


class TooExpensiveError(click.ClickException):
    """The estimated price of a rental is above ``--max-price`` or unknown."""

    def __init__(self, service: str, country: str, period: Period, price: Decimal | None, *, refusal: str = "") -> None:
        if price is None or price.is_nan():
            cause = f" ({refusal})" if refusal else ""
            reason = f"the price of {service} in {country} is unknown{cause}, so it can't be compared with --max-price"
        else:
            cost = f"about ${price:.2f} for {fmt.days(period.days)}"
            reason = f"{service} in {country} costs {cost} (an estimate without rebates), more than --max-price"
        super().__init__(f"rent: {reason}{_NOTHING_SENT}")


@click.command(
    epilog=examples(
        "smspva rent RU opt16",
        "smspva rent PL opt29 --months 1 --yes --json",
        "smspva rent PL opt29 --max-price 7.50",
        "smspva rent LT opt16 opt20",
    )
)
@click.argument("country", type=COUNTRY)
@click.argument("services", type=SERVICE, nargs=-1, required=True)
@with_period
@click.option("--provider", type=PROVIDER, help="Rent from this provider; see `smspva offers --providers`.")
@click.option(
    "--max-price", type=DOLLARS, help="Don't rent if the estimated total price is higher. For one service only."
)
@yes_option
@with_ledger
@with_printer
async def rent(
    printer: Printer,
    account: Account,
    country: str,
    services: tuple[str, ...],
    period: Period | None,
    provider: str | None,
    max_price: Decimal | None,
    *,
    yes: bool,
) -> None:
    """Rent a number for one or more services.

    COUNTRY and SERVICES are codes or names, such as PL or Poland, opt16 or Instagram; `smspva offers COUNTRY` lists
    them. Several services share one number. The command shows the price and asks before it spends money.
    """
    period = period or WEEK
    if max_price is not None and len(services) > 1:
        raise click.UsageError(f"--max-price works with one service only{_NOTHING_SENT}")
    _require_distinct(services, services)
    call = SpendingCall(account, _RENT if len(services) == 1 else _RENT_MULTI, _rental(country, services), yes)
    async with call.client() as client:
        await _list_orders(account, client)  # records the orders before the purchase, for `unsettled`
        catalogue = Catalogue(account, client, _NOTHING_SENT)
        country = await catalogue.country(country)
        offers = await read_offers(client, country, period)
        if offers.rows is None:
            await catalogue.check_country(country)
        codes = await catalogue.offered(country, services, offers.rows)
        _require_distinct(codes, services)
        if sold_out := offers.names(offers.sold_out(codes)):
            raise click.ClickException(f"{country} has no numbers for {', '.join(sold_out)} now{_NOTHING_SENT}")
        call = evolve(call, params=_rental(country, codes))
        estimate = offers.estimate_rental(codes, period)
        if max_price is not None and (estimate.price is None or estimate.price > max_price):
            raise TooExpensiveError(codes[0], country, period, estimate.price, refusal=offers.refusal)
        length = f"{fmt.period(period)} ({fmt.days(period.days)})"
        action = f"Rent a number in {country} for {', '.join(offers.names(codes))}, {length}"
        await call.confirm(client, action, *estimate.lines)
        if len(codes) > 1:
            rentals = await client.rent_multi(country, codes, period, provider=provider)
            _print_rented(printer, account, rentals, offers)
            return
        try:
            rental = await client.rent(country, codes[0], period, provider=provider, max_price=max_price)
        except PriceTooHigh as error:  # the price has risen since the estimate
            raise TooExpensiveError(codes[0], country, period, error.price) from None
        _print_rented(printer, account, [rental], offers)


@click.command(
    "add-service", epilog=examples("smspva add-service 40300 opt29", "smspva add-service 40300 opt29 --days 7")
)
@click.argument("order_id", type=ORDER_ID)
@click.argument("service", type=SERVICE)
@click.option("--days", "rent_days", type=NumberRange(1, 90), help="Number of days; by default, the provider decides.")
@yes_option
@with_ledger
@with_printer
async def add_service(
    printer: Printer, account: Account, order_id: int, service: str, rent_days: int | None, *, yes: bool
) -> None:
    """Rent another service on a number.

    SERVICE is a code or a name, such as opt16 or Instagram; `smspva orders` lists the order ids. The command shows the
    price and asks before it spends money.
    """
    call = SpendingCall(account, _ADD_SERVICE, {"id": str(order_id), "service": service}, yes)
    async with call.client() as client:
        order = await _find_order(account, client, order_id)
        if order is None:
            raise _not_listed(order_id)
        try:
            validation.phone(order.phone)
        except ValueError as error:
            raise click.UsageError(f"order {order_id} has no valid phone number: {error}{_NOTHING_SENT}") from None
        offers = await read_offers(client, order.country, WEEK)
        (service,) = await Catalogue(account, client, _NOTHING_SENT).offered(order.country, [service], offers.rows)
        if service in order.services:
            has = f"#{order_id} already has {offers.names([service])[0]}"
            raise click.ClickException(f"{has}{_NOTHING_SENT}; smspva prolong {order_id} prolongs it")
        call = evolve(call, params={"id": str(order_id), "service": service})
        price = offers.daily_price([service])
        if price is None:
            detail = offers.missing_price
        elif rent_days is None:
            detail = f"${price:.2f} per day; the provider decides the number of days"
        else:
            detail = format_estimate(price, rent_days)
        await call.confirm(client, f"Add {offers.names([service])[0]} to {fmt.order(order)}", detail)
        rental = await client.add_service(order_id, service, phone=order.phone, rent_days=rent_days)
        if rental is None:
            _print_done(printer, _ADD_SERVICE, order_id, f"{service} was added to #{order_id}.")
            _print_next(printer, "orders")
        else:
            _print_rented(printer, account, [rental], offers)


@click.command(epilog=examples("smspva prolong 40300 --weeks 2", "smspva prolong 40300 --days 3"))
@click.argument("order_id", type=ORDER_ID)
@with_period
@click.option("--days", type=NumberRange(1, 6), help="Number of days, instead of a period.")
@yes_option
@with_ledger
@with_printer
async def prolong(
    printer: Printer, account: Account, order_id: int, period: Period | None, days: int | None, *, yes: bool
) -> None:
    """Prolong a rental.

    The provider allows this in the last 7 days of a rental. `smspva orders` lists the order ids. The command shows the
    price and asks before it spends money.
    """
    if days is not None and period is not None:
        raise click.UsageError("use only one of --days, --weeks and --months")
    period = period or WEEK
    length = fmt.period(period) if days is None else fmt.days(days)
    in_days = f" ({fmt.days(period.days)})" if days is None else ""
    call = SpendingCall(account, _PROLONG if days is None else _PROLONG_DAYS, {"id": str(order_id)}, yes)
    async with call.client() as client:
        order = await _find_order(account, client, order_id)
        detail = "the price is unknown: the order isn't listed"
        if order is not None:
            if obstacle := prolongation_obstacle(order, days or period.days, datetime.now(UTC)):
                raise click.ClickException(
                    f"#{order_id} {obstacle}{_NOTHING_SENT}; its end is {fmt.minute(order.until)}"
                )
            offers = await read_offers(client, order.country, period)
            price = offers.daily_price(order.services)
            detail = offers.missing_price if price is None else format_estimate(price, days or period.days)
        target = f"order {order_id}, which isn't listed," if order is None else fmt.order(order)
        await call.confirm(client, f"Prolong {target} by {length}{in_days}", detail)
        if days is None:
            await client.prolong(order_id, period)
        else:
            await client.prolong_days(order_id, days)
        _print_done(printer, call.method, order_id, f"#{order_id} was prolonged by {length}.")


@click.command(epilog=examples("smspva restore 317017"))
@click.argument("order_id", type=PAST_ORDER_ID)
@yes_option
@with_ledger
@with_printer
async def restore(printer: Printer, account: Account, order_id: int, *, yes: bool) -> None:
    """Restore an expired rental.

    `smspva history` lists the order ids. The command shows the provider's quote and asks before it spends money.
    """
    call = SpendingCall(account, _RESTORE, {"id": str(order_id)}, yes)
    async with call.client() as client:
        await _list_orders(account, client)  # records the orders before the purchase, for `unsettled`
        quote = await client.restore_quote(order_id)
        service = fmt.services([quote.service_name or quote.service])
        days = f"{fmt.days(quote.overdue_days)} overdue, {fmt.days(quote.prolong_days)} prepaid"
        action = f"Restore #{order_id}, {fmt.phone(quote.phone)}, {service}"
        await call.confirm(client, action, f"${quote.price:.2f} ({days})")
        new_id = await client.restore(order_id)
        renamed = "" if new_id in (None, order_id) else f"; its new id is {new_id}"
        _print_done(printer, _RESTORE, new_id or order_id, f"#{order_id} was restored{renamed}.")
        _print_next(printer, f"activate {new_id or order_id}")


@click.command(epilog=examples("smspva delete 40300"))
@click.argument("order_id", type=ORDER_ID)
@yes_option
@with_ledger
@with_printer
async def delete(printer: Printer, account: Account, order_id: int, *, yes: bool) -> None:
    """Delete a rented number.

    This can't be undone, so the command asks first. `smspva orders` lists the order ids.
    """
    call = SpendingCall(account, _DELETE, {"id": str(order_id)}, yes)
    async with call.client() as client:
        order = await _find_order(account, client, order_id)
        target = f"order {order_id}, which isn't listed" if order is None else fmt.order(order)
        warning = "this can't be undone; there is no refund once a message was received"
        await call.confirm(client, f"Delete {target}", warning)
        await client.delete(order_id)
        _print_done(printer, _DELETE, order_id, f"#{order_id} was deleted.")


def _require_distinct(codes: Sequence[str], services: Sequence[str]) -> None:
    if len({code.casefold() for code in codes}) < len(codes):
        raise click.UsageError(f"the services contain a duplicate ({', '.join(services)}){_NOTHING_SENT}")


def _rental(country: str, services: Sequence[str]) -> Mapping[str, str]:
    """Return the parameters that identify a rental."""
    return {"country": country, "service": ",".join(services)}


async def _list_orders(account: Account, client: SmspvaClient) -> Rows[Order]:
    orders = await client.orders()
    warn_of_skipped_rows(orders)
    remember_orders(account, orders)
    return orders


async def _find_order(account: Account, client: SmspvaClient, order_id: int) -> Order | None:
    """Return a listed order, or None if it may be in a row that can't be read."""
    orders = await _list_orders(account, client)
    order = next((order for order in orders if order.id == order_id), None)
    if order is None and not orders.skipped:
        raise _not_listed(order_id)
    return order


def _not_listed(order_id: int) -> click.ClickException:
    return click.ClickException(f"order {order_id} isn't listed{_NOTHING_SENT}; smspva orders lists yours")


def _print_rented(printer: Printer, account: Account, rentals: Sequence[Rental], offers: Offers) -> None:
    printer.print_done(*((to_dict(rental), f"Rented: {_describe_rental(rental, offers)}") for rental in rentals))
    for skipped in rentals.skipped if isinstance(rentals, Rows) else ():
        print_stderr(
            f"smspva: paid for a rental that can't be read ({fmt.shorten(skipped.reason)}); smspva orders lists it"
        )
    remember_rentals(account, rentals)
    if rentals:
        _print_next(printer, f"activate {rentals[0].id}")


def _describe_rental(rental: Rental, offers: Offers) -> str:
    services, until = fmt.services(offers.names(rental.services)), fmt.minute(rental.until)
    return f"#{rental.id}  {fmt.phone(rental.phone)}  {services}  until {until}"


def _print_done(printer: Printer, method: str, order_id: int, text: str) -> None:
    printer.print_done(({"done": method, "id": order_id}, text))


def _print_next(printer: Printer, command: str) -> None:
    with suppress(OSError):  # the terminal may be gone, but the call was done
        printer.print_hint(f"Next: smspva {command}")
