"""Commands that spend money or delete: `rent`, `add-service`, `prolong`, `restore`, `delete`.

Each command shows the action and its price, asks for confirmation, and records the call in a ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click
from attrs import frozen

from smspva_async import (
    WEEK,
    JournalError,
    Order,
    OutcomeUnknown,
    Period,
    PriceTooHigh,
    Purchase,
    Rows,
    SmspvaClient,
    SmspvaError,
    to_dict,
)
from smspva_async._api import methods, validation
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._account import Account, with_ledger
from smspva_async.cli._estimates import daily_price, estimate_rental, format_estimate
from smspva_async.cli._ledger_client import open_ledger_client, read_ledger
from smspva_async.cli._output import Printer, print_stderr, warn_of_skipped_rows, with_printer
from smspva_async.cli._parameters import (
    COUNTRY,
    DOLLARS,
    ORDER_ID,
    PROVIDER,
    SERVICE,
    NumberRange,
    examples,
    with_period,
)
from smspva_async.cli._prompts import confirm, yes_option
from smspva_async.cli._vocabulary import as_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from decimal import Decimal

    from smspva_async import Rental

_RENT, _RENT_MULTI, _ADD_SERVICE = methods.RENT.name, methods.RENT_MULTI.name, methods.ADD_SERVICE.name
_PROLONG, _PROLONG_DAYS = methods.PROLONG.name, methods.PROLONG_DAYS.name
_RESTORE, _DELETE = methods.RESTORE.name, methods.DELETE.name


class PossibleRepeatError(click.ClickException):
    """The ledger has the same call with an unknown outcome, so this call could repeat it."""

    exit_code = 3


class TooExpensiveError(click.ClickException):
    """The estimated price of a rental is above ``--max-price`` or unknown."""

    def __init__(self, service: str, country: str, period: Period, price: Decimal | None) -> None:
        if price is None or price.is_nan():
            reason = f"the price of {service} in {country} is unknown, so it can't be compared with --max-price"
        else:
            cost = f"about ${price:.2f} for {fmt.days(period.days)}"
            reason = f"{service} in {country} costs {cost} (an estimate without rebates), more than --max-price"
        super().__init__(f"rent: {reason}; nothing was sent")


@frozen
class _SpendingCall:
    """A call that is sent only after confirmation, and only if the ledger has no such call with an unknown outcome."""

    account: Account
    method: str
    params: Mapping[str, str]
    """The parameters that identify the call."""
    yes: bool

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[SmspvaClient]:
        """Open a client. Errors raised before the call is sent get a note that nothing was bought or deleted."""
        try:
            async with open_ledger_client(self.account) as client:
                await self._refuse_to_repeat()
                yield client
        except JournalError as error:
            if "nothing was sent" not in error.message.casefold():
                error.message += "; nothing was sent"
            raise
        except SmspvaError as error:
            if error.method != self.method:  # an error of the spending call itself says what happened
                error.message += f"; nothing was {'deleted' if self.method == _DELETE else 'bought'}"
            raise

    async def confirm(self, action: str, *details: str) -> None:
        """Ask for confirmation, and then read the ledger again, because the answer may have taken a long time."""
        confirm(action, *details, yes=self.yes)
        await self._refuse_to_repeat()

    async def _refuse_to_repeat(self) -> None:
        async with read_ledger(self.account) as ledger:
            unsettled, purchases = ledger.unsettled, ledger.purchases()
        for error in unsettled:
            if self._is_same(error):
                raise PossibleRepeatError(
                    f"the outcome of {as_command(error)}, started {fmt.second(error.started_at)}"
                    f" ({fmt.short_id(error)}), is unknown; nothing was sent, because this could repeat it;"
                    " run smspva unsettled to check"
                )
        for purchase in purchases:
            if purchase.outcome == "unknown" and self._is_same(purchase):
                raise PossibleRepeatError(
                    f"{as_command(purchase)}, started {fmt.second(purchase.started_at)}, is in progress in another"
                    " program; nothing was sent, because this could repeat it; smspva purchases shows its outcome"
                    " later"
                )

    def _is_same(self, other: OutcomeUnknown | Purchase) -> bool:
        both = {self.method, other.method}
        if both <= {_RENT, _RENT_MULTI}:  # a service in both would be paid twice
            common = _service_codes(self.params) & _service_codes(other.params)
            return self.params["country"] == other.params.get("country") and bool(common)
        if len(both) > 1 and not both <= {_PROLONG, _PROLONG_DAYS}:
            return False
        is_same_order = self.params["id"] == other.params.get("id")
        return is_same_order and _service_codes(self.params) == _service_codes(other.params)


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

    COUNTRY is a two-letter code, and SERVICES are codes such as opt16; `smspva offers COUNTRY` lists them. Several
    services share one number. The command shows the price and asks before it spends money.
    """
    first, period = services[0], period or WEEK
    if max_price is not None and len(services) > 1:
        raise click.UsageError("--max-price works with one service only; nothing was sent")
    if len({service.casefold() for service in services}) < len(services):
        raise click.UsageError(f"the services contain a duplicate ({', '.join(services)}); nothing was sent")
    method = _RENT if len(services) == 1 else _RENT_MULTI
    call = _SpendingCall(account, method, {"country": country, "service": ",".join(services)}, yes)
    async with call.client() as client:
        warn_of_skipped_rows(await client.orders())  # records the orders before the purchase, for `unsettled`
        estimate = await estimate_rental(client, country, services, period)
        if max_price is not None and (estimate.price is None or estimate.price > max_price):
            raise TooExpensiveError(first, country, period, estimate.price)
        length = f"{fmt.period(period)} ({fmt.days(period.days)})"
        await call.confirm(f"Rent a number in {country} for {', '.join(services)}, {length}", *estimate.lines)
        if len(services) > 1:
            _print_rented(printer, await client.rent_multi(country, services, period, provider=provider))
            return
        try:
            rental = await client.rent(country, first, period, provider=provider, max_price=max_price)
        except PriceTooHigh as error:  # the price has risen since the estimate
            raise TooExpensiveError(first, country, period, error.price) from None
        _print_rented(printer, [rental])


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

    SERVICE is a code such as opt16; `smspva orders` lists the order ids. The command shows the price and asks before it
    spends money.
    """
    call = _SpendingCall(account, _ADD_SERVICE, {"id": str(order_id), "service": service}, yes)
    async with call.client() as client:
        order = await _find_order(client, order_id)
        if order is None:
            raise click.UsageError(f"order {order_id} isn't listed, so its number is unknown; nothing was sent")
        try:
            validation.phone(order.phone)
        except ValueError as error:
            raise click.UsageError(f"order {order_id} has no valid phone number: {error}; nothing was sent") from None
        price = await daily_price(client, order.country, [service], WEEK)
        if price is None:
            detail = f"the price is unknown: the provider lists none for {service} now"
        elif rent_days is None:
            detail = f"${price:.2f} per day; the provider decides the number of days"
        else:
            detail = format_estimate(price, rent_days)
        await call.confirm(f"Add {service} to {_describe_order(order)}", detail)
        rental = await client.add_service(order_id, service, phone=order.phone, rent_days=rent_days)
        if rental is None:
            _print_done(printer, _ADD_SERVICE, order_id, f"{service} was added to #{order_id}.")
        else:
            _print_rented(printer, [rental])


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
    call = _SpendingCall(account, _PROLONG if days is None else _PROLONG_DAYS, {"id": str(order_id)}, yes)
    async with call.client() as client:
        order = await _find_order(client, order_id)
        price = None if order is None else await daily_price(client, order.country, order.services, period)
        if price is not None:
            details = [format_estimate(price, days or period.days)]
        else:
            reason = "the order isn't listed" if order is None else "the provider lists none now"
            details = [f"the price is unknown: {reason}"]
        if order is not None and order.can_prolong is False:
            details.append("the provider doesn't allow this now")
        target = f"order {order_id}, which isn't listed," if order is None else _describe_order(order)
        await call.confirm(f"Prolong {target} by {length}{in_days}", *details)
        if days is None:
            await client.prolong(order_id, period)
        else:
            await client.prolong_days(order_id, days)
        _print_done(printer, call.method, order_id, f"#{order_id} was prolonged by {length}.")


@click.command(epilog=examples("smspva restore 317017"))
@click.argument("order_id", type=ORDER_ID)
@yes_option
@with_ledger
@with_printer
async def restore(printer: Printer, account: Account, order_id: int, *, yes: bool) -> None:
    """Restore an expired rental.

    `smspva history` lists the order ids. The command shows the provider's quote and asks before it spends money.
    """
    call = _SpendingCall(account, _RESTORE, {"id": str(order_id)}, yes)
    async with call.client() as client:
        warn_of_skipped_rows(await client.orders())  # records the orders before the purchase, for `unsettled`
        quote = await client.restore_quote(order_id)
        service = fmt.services([quote.service_name or quote.service])
        days = f"{fmt.days(quote.overdue_days)} overdue, {fmt.days(quote.prolong_days)} prepaid"
        await call.confirm(f"Restore #{order_id}, {fmt.phone(quote.phone)}, {service}", f"${quote.price:.2f} ({days})")
        new_id = await client.restore(order_id)
        renamed = "" if new_id in (None, order_id) else f"; its new id is {new_id}"
        _print_done(printer, _RESTORE, new_id or order_id, f"#{order_id} was restored{renamed}.")


@click.command(epilog=examples("smspva delete 40300"))
@click.argument("order_id", type=ORDER_ID)
@yes_option
@with_ledger
@with_printer
async def delete(printer: Printer, account: Account, order_id: int, *, yes: bool) -> None:
    """Delete a rented number.

    This can't be undone, so the command asks first. `smspva orders` lists the order ids.
    """
    call = _SpendingCall(account, _DELETE, {"id": str(order_id)}, yes)
    async with call.client() as client:
        order = await _find_order(client, order_id)
        target = f"order {order_id}, which isn't listed" if order is None else _describe_order(order)
        await call.confirm(f"Delete {target}", "this can't be undone; there is no refund once a message was received")
        await client.delete(order_id)
        _print_done(printer, _DELETE, order_id, f"#{order_id} was deleted.")


def _service_codes(params: Mapping[str, str]) -> set[str]:
    """Return the services of a call in lower case, because the provider may accept ``OPT16`` as ``opt16``."""
    return {code.casefold() for code in params.get("services", params.get("service", "")).split(",")}


async def _find_order(client: SmspvaClient, order_id: int) -> Order | None:
    orders = await client.orders()
    warn_of_skipped_rows(orders)
    return next((order for order in orders if order.id == order_id), None)


def _describe_order(order: Order) -> str:
    return f"#{order.id}, {fmt.phone(order.phone)}, {fmt.service(order)}, until {fmt.minute(order.until)}"


def _print_rented(printer: Printer, rentals: Iterable[Rental]) -> None:
    printer.print_done(*((to_dict(rental), f"Rented: {_describe_rental(rental)}") for rental in rentals))
    for skipped in rentals.skipped if isinstance(rentals, Rows) else ():
        print_stderr(
            f"smspva: paid for a rental that can't be read ({fmt.shorten(skipped.reason)}); smspva orders lists it"
        )


def _describe_rental(rental: Rental) -> str:
    services, until = fmt.services(rental.services), fmt.minute(rental.until)
    return f"#{rental.id}  {fmt.phone(rental.phone)}  {services}  until {until}"


def _print_done(printer: Printer, method: str, order_id: int, text: str) -> None:
    printer.print_done(({"done": method, "id": order_id}, text))
