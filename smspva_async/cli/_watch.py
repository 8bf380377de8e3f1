"""The command `watch`: show the account's numbers and events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from smspva_async import SmspvaClient, SqliteJournal, Watcher
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._event_lines import EventLines, JsonEventLines
from smspva_async.cli._help import examples
from smspva_async.cli._live_view import LiveView
from smspva_async.cli._output import Printer, with_printer
from smspva_async.cli._parameters import SECONDS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from smspva_async import Event

_CONSUMER = "smspva watch"


@click.command(
    epilog=examples(
        "smspva watch --api-key-file ~/.config/smspva-key", "smspva watch --json --journal smspva.db | my-program"
    )
)
@click.option("--interval", type=SECONDS, default=30, show_default=True, help="Time between two polls.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store events in this file. The next watch continues after the last event shown.",
)
@with_account
@with_printer
async def watch(printer: Printer, account: Account, interval: float, journal: Path | None) -> None:
    """Watch your numbers and messages.

    On a terminal, show a live table of the numbers with events below it. In a pipe, or if NO_COLOR is set, print a
    line per event. Messages from before the start are not shown, except those that arrived since the last watch with
    the same --journal. After a network failure, the watch continues.
    """
    if account.fleet is not None and journal is not None:
        raise click.UsageError("use either --journal or --fleet, not both: a fleet has its own journal")
    client = account.client()
    watcher = Watcher(client, interval=interval, journal=None if journal is None else SqliteJournal(journal))
    # Polling takes two requests, so the gap sets the shortest interval.
    title = f"Watching {account.base_url} every {max(interval, 2 * account.gap):g} s. Press Ctrl-C to stop."
    view: View
    if printer.as_json:
        view = JsonEventLines(printer)
    elif printer.output.can_redraw:
        view = LiveView(printer.output, title)
    else:
        printer.print_text(title)
        view = EventLines(printer.output)
    # A fleet's journal may have the events of months; without `after`, those of this run are shown.
    after = 0 if account.fleet is None else None
    await follow_events(client, watcher, view, after=after, consumer=None if journal is None else _CONSUMER)


class View(Protocol):
    """A display of a watch's orders and events."""

    def showing(self, watcher: Watcher, /) -> AbstractContextManager[None]:
        """Show the watch while inside."""
        ...

    def show(self, event: Event) -> None:
        """Show an event."""
        ...


async def follow_events(
    client: SmspvaClient, watcher: Watcher, view: View, *, after: int | None = 0, consumer: str | None = None
) -> None:
    """Show the events of a watch until it ends. A named consumer acknowledges each event after it is shown."""
    async with client, watcher:
        with view.showing(watcher):
            events = watcher.events(after=after) if consumer is None else watcher.consumer(consumer, after=after)
            async for event in events:
                view.show(event)
