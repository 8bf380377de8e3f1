"""Purchases whose outcome isn't known: `unsettled`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import click

from smspva_async import JournalError, Reconciliation, SmspvaError, to_dict
from smspva_async._purchases.store import LONG_LAG
from smspva_async.cli._asking import ask, yes_option
from smspva_async.cli._ledgers import Books, short_id, with_books
from smspva_async.cli._output import Printer, UntoldError, printing, tell_of_skipped
from smspva_async.cli._values import example
from smspva_async.cli._words import as_typed, describe, phone, second, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async import OutcomeUnknown, SmspvaClient

__all__ = ["unsettled"]


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
    server, and settled once it was printed, if it is proved to be done or not done. That a rental wasn't made can't be
    proved: it stays open until you --settle it. As long as a call is open the exit code is 3, without --settle. A call
    that another program has in progress isn't listed: smspva purchases lists all.
    """

    async def run() -> bool:
        async with books.client() as client:
            if not settled:
                return await _look_into(printer, client)
            named = list(dict.fromkeys(_find(client.unsettled, call) for call in settled))
            for error in named:
                ask(f"Settle {_described(error)}", "it counts as settled then, done or not; nothing is sent", yes=yes)
            done: list[tuple[dict[str, object], str]] = []
            try:
                for error in named:
                    client.settle(error)
                    done.append(({**_fields(error), "verdict": None, "settled": True}, f"Settled: {_described(error)}"))
            finally:
                printer.tell_done(*done)
            return False

    return 3 if anyio.run(run) else 0


async def _look_into(printer: Printer, client: SmspvaClient) -> bool:
    """Print the finding about each call, then settle it if that is certain, and return True if any stays open.

    A settled call may be repeated without a warning, so a call is settled only after its finding was printed.
    """
    found = client.unsettled
    if not found:
        printer.say("Nothing is unsettled.")
    is_open = False
    silence = await _silence(client) if found else None
    for error in found:
        result: Reconciliation | SmspvaError
        try:
            result = silence or await client.reconcile(error)
        except JournalError:
            raise
        except SmspvaError as failure:
            result = failure
        is_settled = isinstance(result, Reconciliation) and result.verdict != "open"
        try:
            _show(printer, error, result, is_settled=is_settled)
        except (BrokenPipeError, SystemExit):  # the reader closed the pipe: the rest stays open
            return True
        except (OSError, ValueError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise UntoldError(
                f"what was found can't be written to standard output ({reason}): it stays unsettled"
            ) from None
        if is_settled:
            client.settle(error)
        is_open |= not is_settled
    return is_open


async def _silence(client: SmspvaClient) -> SmspvaError | None:
    """Return the error if the orders can't be listed, since nothing can be compared then."""
    try:
        tell_of_skipped(await client.orders())
    except JournalError:
        raise
    except SmspvaError as failure:
        return failure
    return None


def _show(printer: Printer, error: OutcomeUnknown, result: Reconciliation | SmspvaError, *, is_settled: bool) -> None:
    if not isinstance(result, Reconciliation):
        nothing: dict[str, object] = {"verdict": None, "settled": False, "candidates": [], "reason": str(result)}
        told = f"{_described(error)}: can't be compared now: {short(describe(result))}"
        printer.tell(_fields(error) | nothing, told)
        return
    orders = ", ".join(f"#{order.id} {phone(order.phone)}" for order in result.candidates)
    match result.verdict:
        case "done":
            told = f"was done{orders and f': {orders}'}; settled"
        case "not_done":
            told = "was not done, so it may be repeated; settled"
        case "open":
            is_late = datetime.now(UTC) - error.started_at > LONG_LAG
            advice = "decide by what you know of it, and --settle it" if is_late else "look again later, or --settle it"
            told = f"may have been done{orders and f' (candidates: {orders})'}: {advice}"
    fields = {
        **_fields(error),
        "verdict": result.verdict,
        "settled": is_settled,
        "candidates": [to_dict(order) for order in result.candidates],
        "reason": None,
    }
    printer.tell(fields, f"{_described(error)}: {told}")


def _fields(error: OutcomeUnknown) -> dict[str, object]:
    return {
        "call": error.call,
        "method": error.method,
        "params": dict(error.params),
        "started_at": error.started_at.isoformat(),
    }


def _described(error: OutcomeUnknown) -> str:
    return f"{short_id(error)}  {second(error.started_at)}  {as_typed(error)}"


def _find(calls: Sequence[OutcomeUnknown], call: str) -> OutcomeUnknown:
    """Return the call whose id begins so."""
    found = [error for error in calls if call and error.call.startswith(call)]
    if len(found) != 1:
        which = "more than one call begins" if found else "no unsettled call begins"
        raise click.UsageError(f"{which} with {call!r}; smspva unsettled lists them, and nothing was settled")
    return found[0]
