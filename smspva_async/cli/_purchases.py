"""The calls of the ledger: `purchases`."""

from __future__ import annotations

import click

from smspva_async import to_dict
from smspva_async.cli import _tables
from smspva_async.cli._ledgers import Books, with_books
from smspva_async.cli._output import Printer, printing
from smspva_async.cli._values import example

__all__ = ["purchases"]


@click.command(epilog=example("smspva purchases", "smspva purchases --json"))
@with_books
@printing
def purchases(printer: Printer, books: Books) -> None:
    """List the calls that spent or destroyed, newest last.

    As the ledger has them, of all programs: what was called, its outcome, and the orders that the answer named. The
    server isn't asked. The outcome of a call in progress is unknown as well.
    """
    calls = books.reader().purchases()
    if printer.as_json:
        for call in calls:
            printer.json_line(to_dict(call))
    elif calls:
        printer.table(_tables.purchases(calls))
    else:
        printer.say("The ledger has no purchases.")
    if any(call.outcome == "unknown" for call in calls):
        printer.hint("smspva unsettled looks into what is unknown")
