"""The command `forward`: send each event to a URL as a signed webhook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from smspva_async import SqliteJournal, Watcher
from smspva_async.cli._account import Account, read_secret, with_account
from smspva_async.cli._event_lines import EventLines, JsonEventLines
from smspva_async.cli._help import examples
from smspva_async.cli._output import Printer, explain_ctrl_c, with_printer
from smspva_async.cli._parameters import SECONDS
from smspva_async.cli._stderr import print_stderr
from smspva_async.forwarding import DAY, forward as forward_events

if TYPE_CHECKING:
    from smspva_async import Event

_SECRET_VARIABLE = "SMSPVA_WEBHOOK_SECRET"  # noqa: S105 - a name


@click.command(
    epilog=examples(
        "smspva forward https://example.com/ --journal a.db",
        "smspva forward http://localhost:80/ --fleet redis://host",
    )
)
@click.argument("url")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    help=f"Read the webhook's secret from this file instead of the environment variable {_SECRET_VARIABLE}.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store events in this file. The next run continues after the last event that the URL accepted.",
)
@click.option(
    "--name",
    default="smspva forward",
    show_default=True,
    help="Name of the position in the journal or fleet; each URL needs its own.",
)
@click.option("--interval", type=SECONDS, default=30, show_default=True, help="Time between two polls.")
@click.option(
    "--give-up-after",
    type=SECONDS,
    default=DAY,
    show_default=True,
    metavar="N",
    help="Number of seconds for which a failing event is retried.",
)
@with_account
@with_printer
async def forward(
    printer: Printer,
    account: Account,
    url: str,
    secret_file: Path | None,
    journal: Path | None,
    name: str,
    interval: float,
    give_up_after: float,
) -> None:
    """Send each event to your server as a signed webhook.

    Each event is sent with POST to the URL, in order and at least once, as the JSON that `smspva watch --json` prints.
    The headers follow the specification Standard Webhooks. An event that fails is retried with growing delays, and
    later events wait. If it fails for a day (--give-up-after), or the URL answers HTTP 410, the command ends with exit
    code 4, and the next run begins with that event. The first run begins with the oldest event in the journal, or in a
    fleet with the next event. Nothing is bought.
    """
    if (account.fleet is None) == (journal is None):
        raise click.UsageError("use either --journal or --fleet, which keeps the position; a fleet has its own journal")
    from smspva_async._http.webhook import webhook_secret, webhook_url  # noqa: PLC0415 - httpx is slow to import

    secret = read_secret("webhook's secret", secret_file, "--secret-file", _SECRET_VARIABLE)
    webhook_secret(secret)  # before anything is sent
    receiver = webhook_url(url)
    client = account.client()
    watcher = Watcher(client, interval=interval, journal=None if journal is None else SqliteJournal(journal))
    view = JsonEventLines(printer) if printer.as_json else EventLines(printer.output)
    printer.print_text(f"Forwarding events to {receiver.host}. Press Ctrl-C to stop.")

    def show(event: Event, failure: str | None) -> None:
        if failure is None:
            view.show(event)
        else:
            print_stderr(f"smspva: event {event.seq} was not delivered: {failure}")

    with explain_ctrl_c(lambda: "Forwarding ended; the next run begins with the first event that isn't delivered."):
        async with client, watcher, view.showing(watcher):
            await forward_events(
                watcher,
                url,
                secret=secret,
                name=name,
                after=0 if account.fleet is None else None,
                give_up_after=give_up_after,
                on_attempt=show,
            )
