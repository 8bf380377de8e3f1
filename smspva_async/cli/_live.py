"""A watch on a terminal: a table of the orders that keeps itself current, and events scrolling below."""

from __future__ import annotations

import math
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from smspva_async import Order, OrderAdded, OrderState, PollRecovered
from smspva_async.cli import _tables
from smspva_async.cli._lines import Lines, order_of
from smspva_async.cli._words import date, local, status

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rich.console import Console, RenderableType

    from smspva_async import Event, Watcher

__all__ = ["LiveView"]

_AROUND = 4  # lines that are neither orders nor events: title, heads, "more", an empty one
_LEAST_EVENTS = 5
_KEPT = 500
_URGENCY = {OrderState.ACTIVE: 0, OrderState.ACTIVATING: 1}


class LiveView:
    """Shows a watch.

    Args:
        console: The terminal.
        title: What is watched, in words.

    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._lines = Lines(console)
        self._changed: dict[int, int] = {}
        """Order id -> `seq` of the last event about it."""

    @contextmanager
    def showing(self, watcher: Watcher) -> Generator[None]:
        """Show the watch while inside; its last picture stays."""
        self._watcher = watcher
        self._is_listed = watcher.last_success is not None
        self._began_at = watcher.cursor
        self._lines.fit(watcher.orders.values())
        # Drawn by another thread each second, so that a terminal's new size is noticed.
        with Live(console=self._console, get_renderable=self._picture, refresh_per_second=1) as self._live:
            yield

    def show(self, event: Event) -> None:
        """Show an event."""
        order = order_of(event)
        if order is not None:
            self._lines.fit([order])
        is_whole = isinstance(event, PollRecovered) and event.order_id is None
        if is_whole and event.seq > self._began_at and not self._is_listed:
            # The first good poll, whose other events are known by now.
            self._is_listed, self._began_at = True, self._watcher.cursor
        if isinstance(event, OrderAdded) and event.seq <= self._began_at:
            return  # the table began with it
        if event.order_id is not None:
            self._changed[event.order_id] = event.seq
        self._events.append(event)
        self._live.refresh()

    def _picture(self) -> RenderableType:
        orders = sorted(self._watcher.orders.values(), key=lambda order: order.id)
        room = max(self._console.height - 1 - _AROUND, 2)
        wanted = len(self._latest(room))
        rows = min(len(orders), room - min(wanted, max(_LEAST_EVENTS, room - len(orders))))
        shown = self._most_telling(orders, max(rows, 1))
        parts: list[RenderableType] = [self._head()]
        if orders:
            parts.append(_tables.orders(shown))
        elif self._watcher.last_success:
            parts.append(Text("No number is rented."))
        if len(shown) < len(orders):
            parts.append(Text(_rest(orders, shown), "dim"))
        return Group(*parts, Text(), *self._latest(self._console.height - 1 - len(shown) - _AROUND))

    def _latest(self, room: int) -> list[Text]:
        """Return the last events that there is room for, each whole unless it is the only one."""
        events = list(self._events)
        lines: list[Text] = []
        while events:
            event = events.pop()
            told = self._lines.lines_of(event, date(events[-1].at) if events else self._lines.day)
            if len(lines) + len(told) > room:
                return lines or told[: max(room, 0)]
            lines[:0] = told
        return lines

    def _head(self) -> Text:
        seen = self._watcher.last_success
        told = "no answer yet" if seen is None else f"last answer {local(seen):%H:%M:%S}"
        head = Text(self._title, "bold", no_wrap=True, overflow="ellipsis")
        # How old the picture is has to be seen before the address is.
        head.truncate(max(self._console.width - len(told) - 2, 0), overflow="ellipsis")
        return head.append(f"  {told}")

    def _most_telling(self, orders: Sequence[Order], count: int) -> list[Order]:
        """Return those that something happened to last, then those that can receive messages, in their order."""

        def rank(order: Order) -> tuple[int, int, float]:
            return (
                -self._changed.get(order.id, 0),
                _URGENCY.get(order.state, 2),
                order.until.timestamp() if order.until else math.inf,
            )

        chosen = {order.id for order in sorted(orders, key=rank)[:count]}
        return [order for order in orders if order.id in chosen]


def _rest(orders: Sequence[Order], shown: Sequence[Order]) -> str:
    """Return how many orders there are beside those that are shown, by their states."""
    counts = Counter(map(status, orders)) - Counter(map(status, shown))
    return f"and {len(orders) - len(shown)} more: {', '.join(f'{count} {state}' for state, count in counts.items())}"
