"""What spent money, or not: `unsettled`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import click

from smspva_async.cli._asking import ask, yes_option
from smspva_async.cli._ledgers import Books, with_books
from smspva_async.cli._output import Printer, printing, to_dict
from smspva_async.cli._values import example
from smspva_async.cli._words import clean, second

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async import OutcomeUnknown, Reconciliation

__all__ = ["unsettled"]

_LISTED_BY_THEN = timedelta(minutes=10)  # an order that was prolonged, deleted or restored may be listed late
_ID = 8  # letters of a call's id that people are shown


@click.command(epilog=example("smspva unsettled", "smspva unsettled --settle 5f0c12ab"))
@click.option(
    "--settle", "settled", metavar="CALL", multiple=True, help="Take a call as settled: you know its outcome."
)
@yes_option
@with_books
@printing
def unsettled(printer: Printer, books: Books, settled: tuple[str, ...], *, yes: bool) -> int:
    """Look into purchases whose outcome isn't known.

    Lists what the ledger has open: calls that spend or destroy and had no readable answer. Each is compared with the
    server. What is found to be done is settled, and what is found not to be done ten minutes after it was begun. As
    long as a call is open the exit code is 3.
    """

    async def run() -> bool:
        async with books.client() as client:
            if settled:
                for error in [_find(client.unsettled, call) for call in settled]:
                    ask(f"Settle {_told(error)}", "it is forgotten then, done or not; nothing is sent", yes=yes)
                    client.settle(error)
                    printer.tell({**_fields(error), "verdict": None, "settled": True}, f"Settled: {_told(error)}")
                return False
            found = client.unsettled
            if not found:
                printer.say("Nothing is unsettled.")
            is_open = False
            for error in found:
                result = await client.reconcile(error)
                is_settled = _is_certain(error, result)
                if is_settled:
                    client.settle(error)
                is_open |= not is_settled
                _show(printer, error, result, is_settled=is_settled)
            return is_open

    return 3 if anyio.run(run) else 0


def _is_certain(error: OutcomeUnknown, result: Reconciliation) -> bool:
    is_late = datetime.now(UTC) - error.started_at > _LISTED_BY_THEN
    return result.verdict == "done" or (result.verdict == "not_done" and is_late)


def _show(printer: Printer, error: OutcomeUnknown, result: Reconciliation, *, is_settled: bool) -> None:
    orders = ", ".join(f"#{order.id} {clean(order.phone)}" for order in result.candidates)
    match result.verdict:
        case "done":
            told = f"was done{orders and f': {orders}'}; settled"
        case "not_done" if is_settled:
            told = "was not done, so it may be repeated; settled"
        case "not_done":
            told = "isn't seen to be done yet: look again in some minutes, before you repeat it"
        case "open":
            told = (
                f"may have been done{orders and f' (candidates: {orders})'}: look again in some minutes, or --settle it"
            )
    fields = {
        **_fields(error),
        "verdict": result.verdict,
        "settled": is_settled,
        "candidates": [to_dict(order) for order in result.candidates],
    }
    printer.tell(fields, f"{_told(error)}: {told}")


def _fields(error: OutcomeUnknown) -> dict[str, object]:
    return {
        "call": error.call,
        "method": error.method,
        "params": dict(error.params),
        "started_at": error.started_at.isoformat(),
    }


def _told(error: OutcomeUnknown) -> str:
    about = " ".join(f"{name}={clean(value)}" for name, value in error.params.items())
    return f"{error.call[:_ID]}  {second(error.started_at)}  {error.method} {about}"


def _find(calls: Sequence[OutcomeUnknown], call: str) -> OutcomeUnknown:
    """Return the call whose id begins so."""
    found = [error for error in calls if call and error.call.startswith(call)]
    if len(found) != 1:
        which = "more than one call begins" if found else "no unsettled call begins"
        raise click.UsageError(f"{which} with {call!r}; smspva unsettled lists them, and nothing was settled")
    return found[0]
