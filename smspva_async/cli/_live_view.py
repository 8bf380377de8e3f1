"""The live view of a watch on a terminal: a table of the orders at the bottom, with events scrolling above it."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import anyio
from rich.text import Text

from smspva_async import (
    ApiError,
    InvalidKey,
    Order,
    OrderAdded,
    OrderState,
    PollRecovered,
    RateLimited,
    SmspvaError,
    SmsReceived,
)
from smspva_async._concurrency import BackgroundTask
from smspva_async.cli import _formatting as fmt, _tables
from smspva_async.cli._event_lines import EventLines
from smspva_async.cli._live_region import LiveRegion
from smspva_async.cli._output import table_lines
from smspva_async.cli._selection import Selection, event_order, event_time, sort_key
from smspva_async.cli._vocabulary import state_word

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from rich.console import Console

    from smspva_async import Event, SmspvaClient, Watcher

_OTHER_LINES = 4  # an empty line, title, column heads, "and N more"
_REDRAW_SECONDS = 0.25
_NEW_SECONDS = 120.0
"""The time for which a code that came after the start counts as new."""
_CLOCKS_DIFFER = timedelta(seconds=10)
"""The age at the start up to which a message counts as one that came later, because its date isn't exact."""
_STATE_ORDER = {OrderState.ACTIVE: 0, OrderState.ACTIVATING: 1}


class LiveView:
    """Shows the orders and events of a watch.

    Args:
        console: The terminal.
        title: The first line.
        client: Reads the messages that came before the watch, for the codes in the table.
        selection: The orders to show.
        sort: How to sort the table: one of `SORTS`. None sorts by id; if the orders don't fit, it shows those with the
            latest events.

    """

    def __init__(
        self, console: Console, title: str, client: SmspvaClient, selection: Selection, sort: str | None
    ) -> None:
        self._console = console
        self._title = title
        self._client = client
        self._selection = selection
        self._sort = sort
        self._region = LiveRegion(console, at_bottom=True)
        self._lines = EventLines(console)
        self._shown: Sequence[Order] = ()
        # The keys of these are order ids.
        self._last_seq: dict[int, int] = {}
        self._last_message: dict[int, int] = {}
        self._codes: dict[int, str] = {}
        self._new_until: dict[int, float] = {}

    @asynccontextmanager
    async def showing(self, watcher: Watcher) -> AsyncGenerator[None]:
        """Show the watch while inside. The last screen stays."""
        self._watcher = watcher
        self._has_orders = watcher.last_success is not None
        self._started_at = watcher.last_success or datetime.now(UTC)
        self._initial_cursor = watcher.cursor
        self._lines.fit_columns(watcher.orders.values())
        redrawing, reading = BackgroundTask(), BackgroundTask()
        with self._region.showing():
            self._draw()
            await redrawing.start(self._redraw)
            await reading.start(self._read_codes)
            try:
                yield
            finally:
                await reading.stop()
                await redrawing.stop()
                self._draw()

    def show(self, event: Event) -> None:
        """Show an event."""
        order = event_order(event)
        if order is not None:
            self._lines.fit_columns([order])
        is_recovery = isinstance(event, PollRecovered) and event.order_id is None
        if is_recovery and event.seq > self._initial_cursor and not self._has_orders:
            # The first good poll: the table shows the orders, so their events are not shown.
            self._has_orders, self._initial_cursor = True, self._watcher.cursor
        if isinstance(event, OrderAdded) and event.seq <= self._initial_cursor:
            return
        if event.order_id is not None:
            self._last_seq[event.order_id] = event.seq
        if isinstance(event, SmsReceived):
            self._last_message[event.order.id] = event.seq
            if event.sms.code is not None:
                self._codes[event.order.id] = event.sms.code
                if self._started_at - event_time(event) < _CLOCKS_DIFFER:
                    self._new_until[event.order.id] = monotonic() + _NEW_SECONDS
        self._draw(self._lines.next_lines(event))

    async def _redraw(self) -> None:
        """Draw again when a code is no longer new, an answer has come or the terminal was resized."""
        while True:
            await anyio.sleep(_REDRAW_SECONDS)
            self._draw()

    async def _read_codes(self) -> None:
        """Read the last code of each order in the table from before the watch, slowly, so that polling goes on."""
        read: set[int] = set()
        while True:
            for order_id in [order.id for order in self._shown if order.id not in read]:
                try:
                    messages = await self._client.sms(order_id)
                except SmspvaError as error:
                    # A refusal is an answer. After any other failure, the order is read again.
                    if isinstance(error, ApiError) and not isinstance(error, InvalidKey | RateLimited):
                        read.add(order_id)
                else:
                    read.add(order_id)
                    codes = [sms.code for sms in sorted(messages, key=fmt.received_at) if sms.code is not None]
                    if codes:
                        self._codes.setdefault(order_id, codes[-1])
                await self._pause_reading()
            await self._pause_reading()

    async def _pause_reading(self) -> None:
        await anyio.sleep(max(_REDRAW_SECONDS, 2 * self._client.statistics().gap))

    def _draw(self, events: Sequence[Text] = ()) -> None:
        self._region.draw(self._render(), above=events)

    def _render(self) -> list[Text]:
        listed = self._watcher.orders.values()
        orders = [order for order in listed if self._selection.has(order)]
        # Half of the screen: so all lines are still on it if a narrower terminal wraps each into two.
        rows = max(self._console.height // 2 - _OTHER_LINES, 1)
        if self._sort is None:
            self._shown = sorted(self._most_relevant(orders, rows), key=lambda order: order.id)
        else:
            sort = self._sort
            self._shown = sorted(orders, key=lambda order: sort_key(order, sort, self._last_message))[:rows]
        lines = [Text(), self._title_line()]
        if self._shown:
            now = monotonic()
            new = {order_id for order_id, until in self._new_until.items() if now < until}
            table = _tables.watched(self._shown, self._codes, new, self._region.width)
            table.width = min(self._region.width, self._console.measure(table).maximum)
            lines += table_lines(self._console, table)
        elif self._watcher.last_success:
            lines.append(Text("No rented number matches the options." if listed else "No rented numbers."))
        if len(self._shown) < len(orders):
            lines.append(Text(_count_hidden(orders, self._shown), "dim"))
        return lines

    def _title_line(self) -> Text:
        last = self._watcher.last_success
        age = "no answer yet" if last is None else f"last answer {fmt.local_time(last):%H:%M:%S}"
        line = Text(self._title, "bold", no_wrap=True, overflow="ellipsis")
        # The time of the last answer matters more than the title.
        line.truncate(max(self._region.width - len(age) - 2, 0), overflow="ellipsis")
        return line.append(f"  {age}")

    def _most_relevant(self, orders: Sequence[Order], count: int) -> list[Order]:
        """Return the orders with the latest events, then those that can receive messages."""

        def rank(order: Order) -> tuple[int, int, float]:
            return (
                -self._last_seq.get(order.id, 0),
                _STATE_ORDER.get(order.state, 2),
                order.until.timestamp() if order.until else math.inf,
            )

        return sorted(orders, key=rank)[:count]


def _count_hidden(orders: Sequence[Order], shown: Sequence[Order]) -> str:
    """Return the number of orders that are not shown, by state."""
    counts = Counter(map(state_word, orders)) - Counter(map(state_word, shown))
    by_state = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"and {len(orders) - len(shown)} more: {by_state}"
