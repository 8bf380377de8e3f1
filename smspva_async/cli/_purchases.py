"""Commands that read the ledger: `purchases`, `unsettled`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from smspva_async import JournalError, Reconciliation, SmspvaError, to_dict
from smspva_async._purchases.store import LONG_LAG
from smspva_async.cli import _formatting as fmt, _tables
from smspva_async.cli._account import Account, with_ledger
from smspva_async.cli._exit_codes import UNKNOWN
from smspva_async.cli._help import examples
from smspva_async.cli._ledger_client import open_ledger_client, read_ledger
from smspva_async.cli._output import OutputError, Printer, explain_ctrl_c, warn_of_skipped_rows, with_printer
from smspva_async.cli._prompts import confirm, yes_option
from smspva_async.cli._vocabulary import as_command, describe_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async import OutcomeUnknown, SmspvaClient


@click.command(epilog=examples("smspva purchases", "smspva purchases --json"))
@with_ledger
@with_printer
async def purchases(printer: Printer, account: Account) -> None:
    """List recorded purchases and deletions, oldest first.

    Show the calls of all programs that use the ledger: each command, its outcome and the order ids in its answer. The
    outcome of a call that is still in progress is unknown. No request is sent.
    """
    async with read_ledger(account) as client:
        calls = client.purchases()
    printer.print_rows(calls, _tables.purchases, empty="The ledger has no purchases.")
    if any(call.outcome == "unknown" for call in calls):
        printer.print_hint("To check unknown outcomes: smspva unsettled")


@click.command(epilog=examples("smspva unsettled", "smspva unsettled --settle 5f0c12ab"))
@click.option(
    "--settle", "ids", metavar="CALL", multiple=True, help="Mark a call as settled, because you know its outcome."
)
@yes_option
@with_ledger
@with_printer
async def unsettled(printer: Printer, account: Account, ids: tuple[str, ...], *, yes: bool) -> int:
    """Check purchases and deletions whose outcome is unknown.

    Compare each call that got no readable answer with the orders on the server, and settle the call if the orders prove
    that it was done or not done. They never prove that a rental was not made: such a call stays open until you --settle
    it. The exit code is 3 while a call stays open. Calls that another program has in progress are not checked;
    `smspva purchases` lists them.
    """
    async with open_ledger_client(account) as client:
        if not ids:
            with explain_ctrl_c(lambda: "Calls that aren't shown as settled stay unsettled."):
                return UNKNOWN if await _check_all(printer, client) else 0
        errors = list(dict.fromkeys(_find_call(client.unsettled, call_id) for call_id in ids))
        for error in errors:
            confirm(f"Settle {_describe_call(error)}", "marks the call as settled, done or not; sends nothing", yes=yes)
        settled: list[tuple[dict[str, object], str]] = []
        try:
            for error in errors:
                client.settle(error)
                fields = {**_call_fields(error), "verdict": None, "settled": True}
                settled.append((fields, f"Settled: {_describe_call(error)}"))
        finally:
            printer.print_done(*settled)
        return 0


async def _check_all(printer: Printer, client: SmspvaClient) -> bool:
    """Print the verdict on each call, settle it if the verdict is certain, and return True if any call stays open.

    A settled call can be repeated without a warning, so it is settled only after its verdict is printed.
    """
    calls = client.unsettled
    if not calls:
        printer.print_text("No unsettled purchases.")
        return False
    any_open = False
    no_orders = await _request_orders(client)
    for error in calls:
        result: Reconciliation | SmspvaError
        try:
            result = no_orders or await client.reconcile(error)
        except JournalError:
            raise
        except SmspvaError as failure:
            result = failure
        is_settled = isinstance(result, Reconciliation) and result.verdict != "open"
        try:
            _print_verdict(printer, error, result, is_settled=is_settled)
        except (BrokenPipeError, SystemExit):  # the reader closed the pipe: the remaining calls stay open
            return True
        except (OSError, ValueError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise OutputError(
                f"can't write the verdict to standard output ({reason}); the call stays unsettled"
            ) from None
        if is_settled:
            client.settle(error)
        any_open |= not is_settled
    return any_open


async def _request_orders(client: SmspvaClient) -> SmspvaError | None:
    """Return the error if the orders can't be read: without them no call can be checked."""
    try:
        warn_of_skipped_rows(await client.orders())
    except JournalError:
        raise
    except SmspvaError as failure:
        return failure
    return None


def _print_verdict(
    printer: Printer, error: OutcomeUnknown, result: Reconciliation | SmspvaError, *, is_settled: bool
) -> None:
    fields: dict[str, object] = {**_call_fields(error), "verdict": None, "settled": is_settled, "candidates": []}
    if isinstance(result, Reconciliation):
        fields |= {
            "verdict": result.verdict,
            "candidates": [to_dict(order) for order in result.candidates],
            "reason": None,
        }
        verdict = _describe_verdict(error, result)
    else:
        fields["reason"] = str(result)
        verdict = f"can't be checked now: {fmt.shorten(describe_error(result))}"
    printer.print_result(fields, f"{_describe_call(error)}: {verdict}")


def _describe_verdict(error: OutcomeUnknown, result: Reconciliation) -> str:
    orders = ", ".join(f"#{order.id} {fmt.phone(order.phone)}" for order in result.candidates)
    match result.verdict:
        case "done":
            return f"was done{orders and f': {orders}'}; settled"
        case "not_done":
            return "was not done and can be repeated; settled"
        case "open":
            is_late = datetime.now(UTC) - error.started_at > LONG_LAG
            advice = "decide yourself and --settle it" if is_late else "check again later, or --settle it"
            return f"may have been done{orders and f' (candidates: {orders})'}; {advice}"


def _call_fields(error: OutcomeUnknown) -> dict[str, object]:
    return {
        "call": error.call,
        "method": error.method,
        "params": dict(error.params),
        "started_at": error.started_at.isoformat(),
    }


def _describe_call(error: OutcomeUnknown) -> str:
    return f"{fmt.short_id(error)}  {fmt.second(error.started_at)}  {as_command(error)}"


def _find_call(calls: Sequence[OutcomeUnknown], prefix: str) -> OutcomeUnknown:
    """Return the one call whose id begins with the prefix."""
    found = [error for error in calls if prefix and error.call.startswith(prefix)]
    if len(found) != 1:
        count = "several unsettled calls begin" if found else "no unsettled call begins"
        raise click.UsageError(f"{count} with {prefix!r}; nothing was settled; smspva unsettled lists them")
    return found[0]
