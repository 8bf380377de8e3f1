"""Commands for rented numbers: `orders`, `sms`, `activate`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import click

from smspva_async import Order, OrderNotFound, OrderState, Sms, SmspvaClient, Watcher, to_dict
from smspva_async._api import methods
from smspva_async.cli import _formatting as fmt, _tables
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._help import examples
from smspva_async.cli._names import remember_orders
from smspva_async.cli._output import Printer, warn_of_skipped_rows, with_printer
from smspva_async.cli._parameters import ORDER_ID, SECONDS
from smspva_async.cli._progress import show_progress
from smspva_async.cli._vocabulary import state_word

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_SHORTEST_INTERVAL = 0.01  # seconds
_TIMEOUT_HELP = "Maximum time for --wait."


@click.command(epilog=examples("smspva orders", "smspva orders --json"))
@with_account
@with_printer
async def orders(printer: Printer, account: Account) -> None:
    """List your rented numbers.

    Show the status, number, service and expiry of each order, as on the provider's page. Times are local.
    """
    async with account.client() as client:
        rows = await client.orders()
    remember_orders(account, rows)
    printer.print_rows(rows, _tables.orders, empty="No rented numbers.")


@click.command(epilog=examples("smspva sms 40300", "smspva sms 40300 --wait --timeout 300"))
@click.argument("order_id", type=ORDER_ID)
@click.option("--wait", is_flag=True, help="Wait for the next message, print it and exit.")
@click.option("--timeout", type=SECONDS, default=600, show_default=True, help=_TIMEOUT_HELP)
@with_account
@with_printer
async def sms(printer: Printer, account: Account, order_id: int, *, wait: bool, timeout: float) -> None:
    """Print a number's messages and their codes.

    With --wait, print only the next new message. `smspva orders` lists the order ids.
    """
    async with account.client() as client:
        if not wait:
            rows = await client.sms(order_id)
            for message in sorted(rows, key=_received_at):
                printer.print_result(to_dict(message), _format_message(message))
            if not rows:
                printer.print_text("No messages.")
            warn_of_skipped_rows(rows)
            return
        known: list[Sms] = [] if account.fleet is not None else list(await client.sms(order_id))

        def is_new(message: Sms) -> bool:
            if message in known:
                known.remove(message)  # a second identical message is new
                return False
            return True

        async with _watch_order(account, client, order_id) as (watcher, order):
            after = 0
            if account.fleet is not None:  # its journal has older events; each new one follows, and isn't in the list
                after = watcher.cursor
                known += await client.sms(order_id)
            if order.state is not OrderState.ACTIVE:
                hint = f"; activate it with smspva activate {order_id}" if order.state is OrderState.INACTIVE else ""
                click.echo(f"#{order_id} is {state_word(order)}{hint}", err=True)
            with show_progress(lambda: "waiting for a message"):
                event = await watcher.wait_for_sms(order_id, after=after, match=is_new, timeout=timeout)
            printer.print_result(to_dict(event.sms), _format_message(event.sms))


@click.command(epilog=examples("smspva activate 40300", "smspva activate 40300 --wait"))
@click.argument("order_id", type=ORDER_ID)
@click.option("--wait", is_flag=True, help="Wait until the number is active.")
@click.option("--timeout", type=SECONDS, default=3600, show_default=True, help=_TIMEOUT_HELP)
@with_account
@with_printer
async def activate(printer: Printer, account: Account, order_id: int, *, wait: bool, timeout: float) -> None:
    """Activate a number, so that it can receive messages.

    Activation takes 10 to 15 minutes on average, and sometimes much longer. An active number can receive messages for
    10 to 30 minutes. `smspva orders` lists the order ids.
    """
    async with account.client() as client:
        if not wait:
            await client.activate(order_id)
            text = f"Requested the activation of #{order_id}. Check its status with smspva orders."
            printer.print_result({"done": "activate", "id": order_id}, text)
            return
        async with _watch_order(account, client, order_id) as (watcher, order):

            def status() -> str:
                return f"{state_word(watcher.orders.get(order_id, order))}; activation usually takes 10 to 15 minutes"

            with show_progress(status):
                async with watcher.activated(order_id, timeout=timeout) as number:
                    active = number.order
            number_and_service = f"{fmt.phone(active.phone)}, {fmt.service(active)}"
            text = f"#{order_id} is active: {number_and_service}, until {fmt.minute(active.until)}"
            printer.print_result(to_dict(active), text)


@asynccontextmanager
async def _watch_order(account: Account, client: SmspvaClient, order_id: int) -> AsyncGenerator[tuple[Watcher, Order]]:
    """Watch the account. Raise if the order isn't listed, because waiting for it would never end."""
    listed = {order.id: order for order in await client.orders()}
    if order_id not in listed:
        raise OrderNotFound(f"order {order_id} isn't listed; smspva orders shows yours", method=methods.ORDERS.name)
    # With "replay", a message that arrives before the first poll is not skipped as an old one.
    eager_interval = max(2 * account.gap, _SHORTEST_INTERVAL)
    start: Literal["baseline", "replay"] = "replay" if account.fleet is None else "baseline"
    async with Watcher(client, eager_interval=eager_interval, start=start) as watcher:
        yield watcher, listed[order_id]


def _received_at(message: Sms) -> tuple[bool, float]:
    """Return a sort key for messages: by time, undated ones first."""
    return message.received is not None, message.received.timestamp() if message.received is not None else 0.0


def _format_message(message: Sms) -> str:
    """Return a message as one line: time, code, sender, text."""
    parts = [fmt.second(message.received) if message.received is not None else "", message.code or ""]
    sender = f"{fmt.shorten(message.sender)}: " if message.sender else ""
    return "  ".join([*filter(None, parts), f"{sender}{fmt.shorten(message.text)}"])
