"""The account as it changes: `watch`."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import click

from smspva_async import SmspvaClient, SqliteJournal, Watcher
from smspva_async.cli._account import Account, with_account
from smspva_async.cli._lines import JsonLines, Lines
from smspva_async.cli._live import LiveView
from smspva_async.cli._output import Printer, printing
from smspva_async.cli._values import SECONDS, example

if TYPE_CHECKING:
    from collections.abc import Generator

    from smspva_async import Event

__all__ = ["LineView", "View", "follow", "watch"]

_CONSUMER = "smspva watch"


@click.command(
    epilog=example(
        "smspva watch --api-key-file ~/.config/smspva-key", "smspva watch --json --journal smspva.db | my-program"
    )
)
@click.option(
    "--interval", type=SECONDS, default=30.0, metavar="SECONDS", show_default="30", help="The time between two polls."
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep events in this file, and go on at the next start where this watch ended.",
)
@with_account
@printing
def watch(printer: Printer, account: Account, interval: float, journal: Path | None) -> None:
    """Show your numbers, messages and codes as they come.

    On a terminal that is a table that keeps itself current, with events below it; elsewhere, and with NO_COLOR set, a
    line for each event. Messages that were there before are not shown, save for those that came since the last watch
    with the same journal. If the network fails, the watch goes on as soon as it is back.
    """
    client = account.client()
    watcher = Watcher(client, interval=interval, journal=None if journal is None else SqliteJournal(journal))
    # Two requests of the pace are the shortest period.
    title = f"Watching {account.base_url} every {max(interval, 2 * account.gap):g} s. Ctrl-C ends it."
    view: View
    if printer.as_json:
        view = LineView(JsonLines(printer))
    elif printer.output.is_lively:
        view = LiveView(printer.output, title)
    else:
        printer.say(title)
        view = LineView(Lines(printer.output))
    anyio.run(follow, client, watcher, view, None if journal is None else _CONSUMER)


class View(Protocol):
    """Shows a watch."""

    def showing(self, watcher: Watcher, /) -> AbstractContextManager[None]:
        """Show it while inside."""
        ...

    def show(self, event: Event) -> None:
        """Show an event."""
        ...


class LineView:
    """A line for each event."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.show = lines.show

    @contextmanager
    def showing(self, watcher: Watcher) -> Generator[None]:
        """Make room for what there is."""
        self._lines.fit(watcher.orders.values())
        if watcher.last_success and not watcher.orders:
            self._lines.say("No number is rented yet.")
        yield


async def follow(client: SmspvaClient, watcher: Watcher, view: View, name: str | None = None) -> None:
    """Show the events of a watch until it ends; under a name, each is acknowledged once it was shown."""
    async with client, watcher:
        with view.showing(watcher):
            async for event in watcher.events(after=0) if name is None else watcher.consumer(name, after=0):
                view.show(event)
