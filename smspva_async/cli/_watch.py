"""The command `watch`: show the account's numbers and events."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from smspva_async import OrderState, SmsReceived, SqliteJournal, Watcher
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._event_lines import EventLines, JsonEventLines
from smspva_async.cli._help import examples
from smspva_async.cli._live_view import LiveView
from smspva_async.cli._names import Catalogue
from smspva_async.cli._output import Printer, explain_ctrl_c, with_printer
from smspva_async.cli._parameters import COUNTRY, SECONDS, SERVICE
from smspva_async.cli._selection import SORTS, Selection
from smspva_async.cli._vocabulary import STATE_WORDS

_CONSUMER = "smspva watch"


@click.command(
    epilog=examples(
        "smspva watch --api-key-file ~/.config/smspva-key",
        "smspva watch --service telegram --sort newest --bell",
        "smspva watch --json --journal smspva.db | my-program",
    )
)
@click.option("--interval", type=SECONDS, default=30, show_default=True, help="Time between two polls.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store events in this file. The next watch continues after the last event shown, so this one must show all:"
    " it takes no --service, --state or --country.",
)
@click.option("--service", "services", type=SERVICE, multiple=True, help="Show numbers of this service.")
@click.option(
    "--state",
    "states",
    type=click.Choice([*STATE_WORDS.values()]),
    metavar="STATE",
    multiple=True,
    help=f"Show numbers in this state: {', '.join(STATE_WORDS.values())}.",
)
@click.option("--country", "countries", type=COUNTRY, multiple=True, help="Show numbers of this country.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    metavar="COLUMN",
    help=f"Sort the table: {', '.join(SORTS)} (by the last message since the start). The first rows are shown.",
)
@click.option("--bell", is_flag=True, help="Ring the terminal's bell once for each new message.")
@click.option("--plain", is_flag=True, help="Print a line per event, and no table.")
@with_account
@with_printer
async def watch(
    printer: Printer,
    account: Account,
    interval: float,
    journal: Path | None,
    services: tuple[str, ...],
    states: tuple[str, ...],
    countries: tuple[str, ...],
    sort: str | None,
    *,
    bell: bool,
    plain: bool,
) -> None:
    """Watch your numbers and messages.

    On a terminal, events scroll above a live table of the numbers, with the last code of each. In a pipe, or with
    --plain, print a line per event. A message has the time at which it was received. Messages from before the start are
    not shown as events, except those that arrived since the last watch with the same --journal, and some from the five
    minutes before the start, because clocks may differ. After a network failure, the watch continues.

    --service, --state and --country can be given several times. Services and countries are codes or names.
    """
    if journal is not None and (services or states or countries):
        raise click.UsageError(
            "use either --journal or --service, --state and --country: the next watch wouldn't show what this one hides"
        )
    is_live = printer.output.can_redraw and not plain and not printer.as_json
    if sort is not None and not is_live:
        raise click.UsageError("--sort is for the table, which needs a terminal, no --plain and no --json")
    if account.fleet is not None and journal is not None:
        raise click.UsageError("use either --journal or --fleet, not both: a fleet has its own journal")
    client = account.client()
    watcher = Watcher(client, interval=interval, journal=None if journal is None else SqliteJournal(journal))
    # Polling takes two requests, so the gap sets the shortest interval.
    title = f"Watching {account.base_url} every {max(interval, 2 * account.gap):g} s. Press Ctrl-C to stop."
    # A fleet's journal may have the events of months; without `after`, those of this run are shown.
    after = 0 if account.fleet is None else None
    consumer = None if journal is None else _CONSUMER
    with explain_ctrl_c(lambda: _describe_rest(watcher)):
        async with client:
            catalogue = Catalogue(account, client)
            service_codes = {code.lower() for code in await catalogue.services(services)}
            selection = Selection(service_codes, states, {await catalogue.country(text) for text in countries})
            view: LiveView | EventLines
            if is_live:
                view = LiveView(printer.output, title, client, selection, sort)
            elif printer.as_json:
                view = JsonEventLines(printer)
            else:
                printer.print_text(title)
                view = EventLines(printer.output, selection)
            await follow_events(watcher, view, after=after, consumer=consumer, selection=selection, bell=bell)


async def follow_events(
    watcher: Watcher,
    view: LiveView | EventLines,
    *,
    after: int | None,
    consumer: str | None,
    selection: Selection,
    bell: bool,
) -> None:
    """Show the selected events of a watch until it ends.

    A named consumer acknowledges each event after it is shown.
    """
    async with watcher, view.showing(watcher):
        events = watcher.events(after=after) if consumer is None else watcher.consumer(consumer, after=after)
        async for event in events:
            if not selection.shows(event, watcher.orders):
                continue
            view.show(event)
            if bell and isinstance(event, SmsReceived):
                _ring()


def _ring() -> None:
    """Ring the terminal's bell, also if standard output is a pipe."""
    terminal = next((stream for stream in (sys.stdout, sys.stderr) if stream.isatty()), None)
    if terminal is not None:
        terminal.write("\a")
        terminal.flush()


def _describe_rest(watcher: Watcher) -> str:
    """Return a sentence about what goes on at the provider after a watch."""
    orders = watcher.orders.values()
    if not orders:
        return "The watch ended. Nothing was changed at the provider."
    first = min((order.until for order in orders if order.until is not None), default=None)
    until = "" if first is None else f" (the first until {fmt.minute(first)})"
    numbers = "1 number stays" if len(orders) == 1 else f"{len(orders)} numbers stay"
    queued = sum(order.state is OrderState.ACTIVATING for order in orders)
    activations = {0: "", 1: ", and 1 activation goes on"}.get(queued, f", and {queued} activations go on")
    return f"The watch ended; nothing was canceled. At the provider, {numbers} rented{until}{activations}."
