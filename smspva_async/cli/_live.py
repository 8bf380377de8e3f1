"""A watch on a terminal: a table of the orders that keeps itself current, and events scrolling below."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from smspva_async import Order, OrderAdded, OrderState
from smspva_async.cli import _tables
from smspva_async.cli._lines import Lines
from smspva_async.cli._words import local, status

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
        self._events: deque[Text] = deque(maxlen=_KEPT)
        self._lines = Lines(console, self._events.append)
        self._changed: dict[int, int] = {}
        """Order id -> `seq` of the last event about it."""

    @contextmanager
    def showing(self, watcher: Watcher) -> Generator[None]:
        """Show the watch while inside; its last picture stays."""
        self._watcher = watcher
        self._entered_at = watcher.cursor
        self._lines.fit(watcher.orders.values())
        # Drawn by another thread each second, so that a terminal's new size is noticed.
        with Live(console=self._console, get_renderable=self._picture, refresh_per_second=1) as self._live:
            yield

    def show(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, OrderAdded) and event.seq <= self._entered_at:
            return  # the table has it
        if event.order_id is not None:
            self._changed[event.order_id] = event.seq
        self._lines.show(event)
        self._live.refresh()

    def _picture(self) -> RenderableType:
        orders = sorted(self._watcher.orders.values(), key=lambda order: order.id)
        room = max(self._console.height - 1 - _AROUND, 2)
        events = list(self._events)
        rows = min(len(orders), room - min(len(events), max(_LEAST_EVENTS, room - len(orders))))
        shown = self._most_telling(orders, max(rows, 1))
        parts: list[RenderableType] = [self._head(), _tables.orders(shown) if orders else Text("No number is rented.")]
        if len(shown) < len(orders):
            parts.append(Text(_rest(orders, shown), "dim"))
        left = self._console.height - 1 - len(shown) - _AROUND
        return Group(*parts, Text(), *events[-left:] if left > 0 else ())

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
            return -self._changed.get(order.id, 0), _URGENCY.get(order.state, 2), order.until.timestamp()

        chosen = {order.id for order in sorted(orders, key=rank)[:count]}
        return [order for order in orders if order.id in chosen]


def _rest(orders: Sequence[Order], shown: Sequence[Order]) -> str:
    """Return how many orders there are beside those that are shown, by their states."""
    counts = Counter(map(status, orders)) - Counter(map(status, shown))
    return f"and {len(orders) - len(shown)} more: {', '.join(f'{count} {state}' for state, count in counts.items())}"
