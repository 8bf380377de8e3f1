"""The command `fleet`: show the processes that share an account."""

from __future__ import annotations

import click
from attrs import asdict

from smspva_async import SmspvaClient
from smspva_async.cli import _tables
from smspva_async.cli._account import Account, redis_fleet, with_account
from smspva_async.cli._help import examples
from smspva_async.cli._output import Printer, with_printer


@click.command(epilog=examples("smspva fleet --fleet redis://localhost", "smspva fleet --json"))
@with_account
@with_printer
async def fleet(printer: Printer, account: Account) -> None:
    """Show the processes that share the account through Redis.

    Show which of them polls (the leader), how long its lease lasts, the pace of all requests, and how many changes each
    process has yet to apply. No request is sent to the provider.
    """
    shared = redis_fleet(account)
    async with SmspvaClient(account.key.key, base_url=account.base_url, fleet=shared):
        status = await shared.status()
    if printer.as_json:
        printer.print_json(asdict(status))
        return
    if status.members:
        printer.print_table(_tables.fleet(status))
    else:
        printer.print_text("No process is in the fleet now.")
    lease = "none" if status.leader is None else f"{status.leader}, whose lease ends in {status.lease_left:.1f} s"
    pace = "no request in the last ten minutes" if status.gap is None else f"one request per {status.gap:g} s"
    printer.print_text(f"Leader: {lease}. Pace: {pace}. Newest event: {status.events}.")
