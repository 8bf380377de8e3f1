"""The command `doctor`: compares the server's answers with what is known of them, and writes a report."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smspva_async.cli import _doctor_report, _formatting as fmt, _tables
from smspva_async.cli._account import Account, with_ledger
from smspva_async.cli._exit_codes import FAILED, REFUSED
from smspva_async.cli._help import examples
from smspva_async.cli._output import Printer, with_printer
from smspva_async.cli._progress import show_progress
from smspva_async.cli._stderr import print_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command(epilog=examples("smspva doctor", "smspva doctor --output report.json"))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="with the time in its name, here",
    help="Write the report to this new file.",
)
@with_ledger
@with_printer
async def doctor(printer: Printer, account: Account, output: Path | None) -> int:
    """Compare the server's answers with what is known of them.

    Send about 20 requests that buy, activate and delete nothing. The messages of up to three orders are read, which may
    mark them as read at the provider. Write a report without your key, phone numbers, order ids and texts, which you
    can send to the project. The exit code is 1 if an answer differs, 4 if one is missing.
    """
    path = output or Path(f"smspva-doctor-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.json")
    _check(path)
    # Imported late: httpx takes long to import.
    from smspva_async.cli._doctor_questions import open_examination  # noqa: PLC0415

    async with (
        open_examination(account) as examination,
        show_progress(lambda: f"asking for {examination.current}"),
    ):
        await examination.run()
    report = _doctor_report.make(examination, account)
    _write(report, path)
    if printer.as_json:
        printer.print_json(report)
    else:
        printer.print_table(_tables.calls(report["calls"]))
        for line in _doctor_report.lines(report, str(path)):
            printer.print_text(line)
    for message in examination.unknown_messages:
        print_stderr(f"smspva: a message that isn't in the report: {fmt.shorten(message)}")
    if report["drift"]:
        return REFUSED
    return FAILED if any(call.failed for call in examination.calls) else 0


def _check(path: Path) -> None:
    """Raise before any request if the report can't be written."""
    if path.exists():
        raise click.UsageError(f"{path} already exists; nothing was sent; use another --output")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"can't write a report in {path.parent}; nothing was sent; use another --output")


def _write(report: Mapping[str, object], path: Path) -> None:
    """Write the report to a new file."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise click.UsageError(f"can't write the report to {path} ({error.strerror}); use another --output") from None
