"""The live view of a watch on a terminal: a table of the orders, with events below it."""

from __future__ import annotations

import math
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from smspva_async import Order, OrderAdded, OrderState, PollRecovered
from smspva_async.cli import _formatting as fmt, _tables
from smspva_async.cli._event_lines import EventLines, event_order
from smspva_async.cli._vocabulary import state_word

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rich.console import Console, RenderableType

    from smspva_async import Event, Watcher

_OTHER_LINES = 4  # title, column heads, "and N more", an empty line
_FEWEST_EVENT_LINES = 5
_KEPT_EVENTS = 500
_STATE_ORDER = {OrderState.ACTIVE: 0, OrderState.ACTIVATING: 1}


class LiveView:
    """Shows the orders and events of a watch.

    Args:
        console: The terminal.
        title: The first line.

    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._lines = EventLines(console)
        self._last_seq: dict[int, int] = {}
        """Order id -> `seq` of its last event."""

    @contextmanager
    def showing(self, watcher: Watcher) -> Generator[None]:
        """Show the watch while inside. The last screen stays."""
        self._watcher = watcher
        self._has_orders = watcher.last_success is not None
        self._initial_cursor = watcher.cursor
        self._lines.fit_columns(watcher.orders.values())
        # Another thread redraws every second, so a resized terminal is filled again.
        with Live(console=self._console, get_renderable=self._render, refresh_per_second=1) as self._live:
            yield

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
        self._events.append(event)
        self._live.refresh()

    def _render(self) -> RenderableType:
        orders = sorted(self._watcher.orders.values(), key=lambda order: order.id)
        height = max(self._console.height - 1 - _OTHER_LINES, 2)
        event_lines = len(self._latest_events(height))
        rows = min(len(orders), height - min(event_lines, max(_FEWEST_EVENT_LINES, height - len(orders))))
        shown = self._most_relevant(orders, max(rows, 1))
        parts: list[RenderableType] = [self._title_line()]
        if orders:
            parts.append(_tables.orders(shown))
        elif self._watcher.last_success:
            parts.append(Text("No rented numbers."))
        if len(shown) < len(orders):
            parts.append(Text(_count_hidden(orders, shown), "dim"))
        return Group(*parts, Text(), *self._latest_events(self._console.height - 1 - len(shown) - _OTHER_LINES))

    def _latest_events(self, height: int) -> list[Text]:
        """Return the lines of the last events that fit. If the last event alone doesn't fit, it is cut off."""
        events = list(self._events)
        lines: list[Text] = []
        while events:
            event = events.pop()
            added = self._lines.format_event(event, fmt.date(events[-1].at) if events else self._lines.day)
            if len(lines) + len(added) > height:
                return lines or added[: max(height, 0)]
            lines[:0] = added
        return lines

    def _title_line(self) -> Text:
        last = self._watcher.last_success
        age = "no answer yet" if last is None else f"last answer {fmt.local_time(last):%H:%M:%S}"
        line = Text(self._title, "bold", no_wrap=True, overflow="ellipsis")
        # The time of the last answer matters more than the title.
        line.truncate(max(self._console.width - len(age) - 2, 0), overflow="ellipsis")
        return line.append(f"  {age}")

    def _most_relevant(self, orders: Sequence[Order], count: int) -> list[Order]:
        """Return the orders with the latest events, then those that can receive messages, in their given order."""

        def rank(order: Order) -> tuple[int, int, float]:
            return (
                -self._last_seq.get(order.id, 0),
                _STATE_ORDER.get(order.state, 2),
                order.until.timestamp() if order.until else math.inf,
            )

        chosen = {order.id for order in sorted(orders, key=rank)[:count]}
        return [order for order in orders if order.id in chosen]


def _count_hidden(orders: Sequence[Order], shown: Sequence[Order]) -> str:
    """Return the number of orders that are not shown, by state."""
    counts = Counter(map(state_word, orders)) - Counter(map(state_word, shown))
    by_state = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"and {len(orders) - len(shown)} more: {by_state}"
