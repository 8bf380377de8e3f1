"""Commands for rented numbers: `orders`, `sms`, `activate`."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

from smspva_async import Order, OrderNotFound, OrderState, Sms, SmspvaClient, Watcher, to_dict
from smspva_async._api import methods
from smspva_async.cli import _formatting as fmt, _tables
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._help import examples
from smspva_async.cli._names import remember_orders
from smspva_async.cli._output import Printer, explain_ctrl_c, warn_of_skipped_rows, with_printer
from smspva_async.cli._parameters import AGE, ORDER_ID, SECONDS
from smspva_async.cli._progress import show_progress
from smspva_async.cli._stderr import print_stderr
from smspva_async.cli._vocabulary import state_word

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

_SHORTEST_INTERVAL = 0.01  # seconds
_TIMEOUT_HELP = "Maximum time for --wait."
_LONGEST_HINT = 3600  # seconds; an older code is of no use


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
    if inactive := next((order.id for order in rows if order.state is OrderState.INACTIVE), None):
        printer.print_hint(f"Next: smspva activate {inactive}")


@click.command(
    epilog=examples(
        "smspva sms 40300",
        "smspva sms 40300 --wait --timeout 300",
        "CODE=$(smspva sms 40300 --wait --since 2m --code)",
    )
)
@click.argument("order_id", type=ORDER_ID)
@click.option("--wait", is_flag=True, help="Wait for the next message, print it and exit.")
@click.option("--timeout", type=SECONDS, default=600, show_default=True, help=_TIMEOUT_HELP)
@click.option("--since", type=AGE, help="Only messages of this time, such as 90s, 2m or 1h; --wait takes the newest.")
@click.option("--code", "only_code", is_flag=True, help="Print only the code of the newest message that has one.")
@with_account
@with_printer
async def sms(
    printer: Printer,
    account: Account,
    order_id: int,
    *,
    wait: bool,
    timeout: float,
    since: float | None,
    only_code: bool,
) -> None:
    """Print a number's messages and their codes.

    With --wait, print only the next new message, or one that came before if it isn't older than --since. `smspva
    orders` lists the order ids.
    """
    if only_code and printer.as_json:
        raise click.UsageError("use either --code or --json, not both: JSON has the code too")
    async with account.client() as client:
        rows = await client.sms(order_id)
        warn_of_skipped_rows(rows)
        now = rows.date or datetime.now(UTC)
        messages = sorted((row for row in rows if row.code or not only_code), key=fmt.received_at)
        recent = [message for message in messages if since is None or _age(message, now) <= since]
        if wait and not (recent and since is not None):
            if messages:
                age, hint = _describe_age(messages[-1], now)
                print_stderr(f"The newest so far, {age}: {_format_message(messages[-1])}{hint}")
            recent = [await _wait_for_sms(account, client, order_id, rows, timeout=timeout, only_code=only_code)]
        for message in recent[-1:] if wait or only_code else recent:
            text = fmt.clean(message.code or "") if only_code else _format_message(message)
            printer.print_result(to_dict(message), text)
        if recent:
            return
        older = ""
        if messages:
            age, hint = _describe_age(messages[-1], now)
            older = f" in the last {since:g} s; the newest is {age}{hint}"
        if only_code:
            raise click.ClickException(f"sms: #{order_id} has no message with a code{older}; --wait waits for one")
        printer.print_text(f"No message{older}." if older else "No messages.")


async def _wait_for_sms(
    account: Account, client: SmspvaClient, order_id: int, rows: Sequence[Sms], *, timeout: float, only_code: bool
) -> Sms:
    """Wait for a message that isn't in these rows."""
    known = Counter(map(_identity, rows))

    def is_wanted(message: Sms) -> bool:
        if known[_identity(message)]:
            known[_identity(message)] -= 1  # a second identical message is new
            return False
        return message.code is not None or not only_code

    async with _watch_order(account, client, order_id) as (watcher, order):
        after = 0
        if account.fleet is not None:  # its journal has older events, perhaps also of messages since the rows were read
            after = watcher.cursor
            listed = await client.sms(order_id)
            if new := next(filter(is_wanted, sorted(listed, key=fmt.received_at)), None):
                return new
            known = Counter(map(_identity, listed))
        if order.state is not OrderState.ACTIVE:
            hint = f"; activate it with smspva activate {order_id}" if order.state is OrderState.INACTIVE else ""
            print_stderr(f"#{order_id} is {state_word(order)}{hint}")
        rest = (
            f"The wait ended; #{order_id} stays rented until {fmt.minute(order.until)}. smspva sms {order_id} prints"
            " what comes later."
        )
        with explain_ctrl_c(lambda: rest):
            async with show_progress(lambda: "waiting for a message"):
                event = await watcher.wait_for_sms(order_id, after=after, match=is_wanted, timeout=timeout)
    return event.sms


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
    hint = f"Next: smspva sms {order_id} --wait"
    async with account.client() as client:
        if not wait:
            await client.activate(order_id)
            text = f"Requested the activation of #{order_id}. Check its status with smspva orders."
            printer.print_result({"done": "activate", "id": order_id}, text)
            printer.print_hint(hint)
            return
        async with _watch_order(account, client, order_id) as (watcher, order):

            def status() -> str:
                return f"{state_word(watcher.orders.get(order_id, order))}; activation usually takes 10 to 15 minutes"

            rest = (
                f"The wait ended; if the activation of #{order_id} was requested, it goes on. smspva orders shows its"
                " status."
            )
            with explain_ctrl_c(lambda: rest):
                async with show_progress(status), watcher.activated(order_id, timeout=timeout) as number:
                    active = number.order
            number_and_service = f"{fmt.phone(active.phone)}, {fmt.service(active)}"
            text = f"#{order_id} is active: {number_and_service}, until {fmt.minute(active.until)}"
            printer.print_result(to_dict(active), text)
            printer.print_hint(hint)


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


def _identity(message: Sms) -> tuple[str, datetime | None]:
    """Return what identifies a message. Its sender may be named later."""
    return message.text, message.received


def _age(message: Sms, now: datetime) -> float:
    """Return the seconds since a message came; infinity if that isn't known."""
    return math.inf if message.received is None else (now - message.received).total_seconds()


def _describe_age(message: Sms, now: datetime) -> tuple[str, str]:
    """Return a message's age in words, and a hint to the option that takes it."""
    age = _age(message, now)
    words = "of unknown age" if age == math.inf else f"{fmt.age(age)} old"
    return words, f" (--since {max(math.ceil(age / 60), 1)}m takes it)" if age <= _LONGEST_HINT else ""


def _format_message(message: Sms) -> str:
    """Return a message as one line: time, code, sender, text."""
    parts = [fmt.second(message.received) if message.received is not None else "", message.code or ""]
    sender = f"{fmt.shorten(message.sender)}: " if message.sender else ""
    return "  ".join([*filter(None, parts), f"{sender}{fmt.shorten(message.text)}"])
