"""The account's numbers: `orders`, `sms`, `activate`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import click

from smspva_async import Order, OrderNotFound, OrderState, Sms, SmspvaClient, Watcher, to_dict
from smspva_async._api import methods
from smspva_async.cli import _tables
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._output import Printer, printing, tell_of_skipped
from smspva_async.cli._progress import progress
from smspva_async.cli._values import ORDER, SECONDS, example
from smspva_async.cli._words import minute, phone, second, service, short, status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["activate", "orders", "sms"]

_LEAST_INTERVAL = 0.01  # seconds


@click.command(epilog=example("smspva orders", "smspva orders --json"))
@with_account
@printing
def orders(printer: Printer, account: Account) -> None:
    """List your numbers.

    As on the provider's page: status, number, service, and when it expires, in local time.
    """

    async def run() -> None:
        async with account.client() as client:
            printer.rows(await client.orders(), _tables.orders, "No number is rented.")

    anyio.run(run)


@click.command(epilog=example("smspva sms 40300", "smspva sms 40300 --wait --timeout 300"))
@click.argument("order_id", metavar="ID", type=ORDER)
@click.option("--wait", is_flag=True, help="Wait for the next message, print it and end.")
@click.option("--timeout", type=SECONDS, default=600.0, metavar="SECONDS", show_default="600", help="With --wait.")
@with_account
@printing
def sms(printer: Printer, account: Account, order_id: int, *, wait: bool, timeout: float) -> None:
    """Print the messages of a number.

    Those that the number of order ID received, with the codes in them. With --wait none that was there before is
    printed.
    """

    async def run() -> None:
        async with account.client() as client:
            if not wait:
                rows = await client.sms(order_id)
                for message in sorted(rows, key=_received):
                    printer.tell(to_dict(message), _line(message))
                if not rows:
                    printer.say("No message.")
                tell_of_skipped(rows)
                return
            before = list(await client.sms(order_id))

            def is_new(message: Sms) -> bool:
                if message in before:
                    before.remove(message)  # a second one like it is new
                    return False
                return True

            async with _watching(account, client, order_id) as (watcher, order):
                if order.state is not OrderState.ACTIVE:
                    advice = f": smspva activate {order_id} has it receive"
                    told = f"#{order_id} is {status(order)}{advice if order.state is OrderState.INACTIVE else ''}"
                    click.echo(told, err=True)
                with progress(lambda: "waiting for a message"):
                    event = await watcher.wait_for_sms(order_id, after=0, match=is_new, timeout=timeout)
                printer.tell(to_dict(event.sms), _line(event.sms))

    anyio.run(run)


@click.command(epilog=example("smspva activate 40300", "smspva activate 40300 --wait"))
@click.argument("order_id", metavar="ID", type=ORDER)
@click.option("--wait", is_flag=True, help="Wait until the number is active.")
@click.option("--timeout", type=SECONDS, default=3600.0, metavar="SECONDS", show_default="3600", help="With --wait.")
@with_account
@printing
def activate(printer: Printer, account: Account, order_id: int, *, wait: bool, timeout: float) -> None:
    """Have a number activated, so that it can receive messages.

    It is the number of order ID. That takes 10 to 15 minutes on average, sometimes much longer; then it can receive
    messages for 10 to 30 minutes.
    """

    async def run() -> None:
        async with account.client() as client:
            if not wait:
                await client.activate(order_id)
                told = f"The activation of #{order_id} is asked for; smspva orders shows its state."
                printer.tell({"done": "activate", "id": order_id}, told)
                return
            async with _watching(account, client, order_id) as (watcher, order):

                def state() -> str:
                    return f"{status(watcher.orders.get(order_id, order))}; it usually takes 10 to 15 minutes"

                with progress(state):
                    async with watcher.activated(order_id, timeout=timeout) as number:
                        active = number.order
                told = f"#{order_id} is active: {phone(active.phone)}, {service(active)}, until {minute(active.until)}"
                printer.tell(to_dict(active), told)

    anyio.run(run)


@asynccontextmanager
async def _watching(account: Account, client: SmspvaClient, order_id: int) -> AsyncGenerator[tuple[Watcher, Order]]:
    """Watch the account; the order that is meant has to be listed, or else nothing would ever come."""
    listed = {order.id: order for order in await client.orders()}
    if order_id not in listed:
        raise OrderNotFound(f"order {order_id} isn't listed; smspva orders shows which are", method=methods.ORDERS.name)
    # With replay: a message that comes before the first poll must not be taken for an old one.
    async with Watcher(client, eager_interval=max(2 * account.gap, _LEAST_INTERVAL), start="replay") as watcher:
        yield watcher, listed[order_id]


def _received(message: Sms) -> tuple[bool, float]:
    """Return a sort key for messages: by time, undated ones first."""
    return message.received is not None, message.received.timestamp() if message.received is not None else 0.0


def _line(message: Sms) -> str:
    """Return a message on a line: time, code, sender, text."""
    parts = [second(message.received) if message.received is not None else "", message.code or ""]
    sender = f"{short(message.sender)}: " if message.sender else ""
    return "  ".join([*filter(None, parts), f"{sender}{short(message.text)}"])
