"""Events as lines for people: aligned columns on a terminal, one line per event in a pipe."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from smspva_async import (
    Event,
    Order,
    OrderAdded,
    OrderExpiring,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    Sms,
    SmsReceived,
    StateChanged,
    to_dict,
)
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._selection import EVERYTHING, Selection, event_order, event_time
from smspva_async.cli._vocabulary import ALARM, STATE_MEANINGS, STATE_STYLES, raw_state, state_word

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from rich.console import Console

    from smspva_async import Watcher
    from smspva_async.cli._output import Printer

_TIME_WIDTH = len("19:04:12  ")
_TAG_WIDTH = len("0 -> -1")
_CODE_WIDTH = len("671094")
_WIDEST_COLUMN = 16  # a phone number has at most 15 digits
_NARROWEST_TEXT = 24

_CAN_PROLONG = {
    True: "can be prolonged now",
    False: "can no longer be prolonged",
    None: "unknown if it can be prolonged",
}


class EventLines:
    """Prints events, and other text between them.

    Args:
        console: The output. Lines fit the width of a terminal, and are printed whole to anything else.
        selection: The orders whose events will be shown.

    """

    def __init__(self, console: Console, selection: Selection = EVERYTHING) -> None:
        self._console = console
        self._selection = selection
        self._day = fmt.date(datetime.now().astimezone())
        """The date of the last line."""
        self._phone_width = len("+79052798263")
        self._service_width = len("Instagram")
        self._orders: dict[int, Order] = {}

    @asynccontextmanager
    async def showing(self, watcher: Watcher) -> AsyncGenerator[None]:
        """Prepare for a watch's events: fit the columns, and say if there are no orders."""
        self.fit_columns(watcher.orders.values())
        if watcher.last_success and not any(map(self._selection.has, watcher.orders.values())):
            self.print_text("No rented number matches the options yet." if watcher.orders else "No rented numbers yet.")
        yield

    def fit_columns(self, orders: Iterable[Order]) -> None:
        """Make the columns wide enough for these orders, and remember the orders."""
        for order in orders:
            self._orders[order.id] = order
            self._phone_width = max(self._phone_width, _column_width(fmt.phone(order.phone)))
            self._service_width = max(self._service_width, _column_width(fmt.service(order)))

    def print_text(self, text: str = "", style: str = "", *, prefix: str = "") -> None:
        """Print text that isn't an event."""
        self._print(self._lay_out(Text(prefix), Text(text, style), len(prefix)))

    def show(self, event: Event) -> None:
        """Print an event."""
        self._print(self.next_lines(event))

    def next_lines(self, event: Event) -> list[Text]:
        """Return an event as the next lines, which fit the console. A date that differs from the last is a line too."""
        order = event_order(event)
        if order is not None:
            self.fit_columns([order])
        time = event_time(event)
        columns = [Text(f"{fmt.local_time(time):%H:%M:%S}", "dim")]
        order = order or self._orders.get(event.order_id or 0)
        tag, text = _describe(event)
        if order is not None:
            phone, service = Text(fmt.phone(order.phone)), Text(fmt.service(order))
            phone.truncate(self._phone_width, overflow="ellipsis", pad=True)
            service.truncate(self._service_width, overflow="ellipsis", pad=True)
            tag.align("left", _TAG_WIDTH)
            columns += [phone, service, tag]
        heading = [] if fmt.date(time) == self._day else [Text(fmt.date(time), "dim")]
        self._day = fmt.date(time)
        return heading + self._lay_out(Text("  ").join([*columns, Text()]), text, _TIME_WIDTH)

    def _lay_out(self, prefix: Text, text: Text, indent: int) -> list[Text]:
        """Return lines with the text beside the prefix, or below it if there is too little room."""
        if not self._console.is_terminal:
            return [_join(prefix, text)]
        lines: list[Text] = []
        width = self._console.width - prefix.cell_len
        if text.cell_len > width and width < _NARROWEST_TEXT and prefix.cell_len > indent:
            lines += [_join(part) for part in prefix.wrap(self._console, self._console.width)]
            prefix = Text(" " * indent)
            width = self._console.width - indent
        for part in text.wrap(self._console, max(width, 1)):
            lines.append(_join(prefix, part))
            prefix = Text(" " * prefix.cell_len)
        return lines

    def _print(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)


class JsonEventLines(EventLines):
    """Prints a JSON object for each event, made by `to_dict`, and nothing else."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(printer.output)
        self._printer = printer

    def print_text(self, text: str = "", style: str = "", *, prefix: str = "") -> None:
        """Print nothing."""

    def show(self, event: Event) -> None:
        """Print an event."""
        self._printer.print_json(to_dict(event))


def _join(*parts: Text) -> Text:
    line = Text.assemble(*parts)
    line.rstrip()
    return line


def _describe(event: Event) -> tuple[Text, Text]:
    """Return an event's tag and its description."""
    style = ""
    match event:
        case OrderAdded(order):
            tag, text = "listed", f"#{order.id}, {state_word(order)}, until {fmt.date(order.until)}"
        case StateChanged(order, previous, current):
            before = "?" if previous is OrderState.UNKNOWN else int(previous)
            tag, text = f"{before} -> {raw_state(order)}", STATE_MEANINGS.get(current, "unknown state")
            style = ALARM if current is OrderState.INACTIVE else STATE_STYLES.get(current, ALARM)
        case SmsReceived(order, sms):
            return Text("message", "bold"), _describe_message(order, sms)
        case OrderUpdated(order, previous):
            tag, text = "changed", _describe_changes(order, previous)
        case OrderRemoved(order, expired):
            tag, text, style = "removed", f"#{order.id}, {'expired' if expired else 'no longer listed'}", ALARM
        case OrderExpiring(order, _):
            tag, text, style = "expires", f"#{order.id}, on {fmt.minute(order.until)}", ALARM
        case PollFailed(_, message):
            tag, text, style = "failing", f"polling fails: {fmt.shorten(message)}", ALARM
        case PollRecovered(downtime):
            tag, text, style = "working", f"polling works again after {downtime:.0f} s", "green"
        case RowSkipped(reason, _):
            tag, text, style = "skipped", f"skipped a row that can't be read: {fmt.shorten(reason)}", ALARM
    return Text(tag, style), Text(text, style)


def _describe_message(order: Order, sms: Sms) -> Text:
    """Return a message's code, its sender unless that is the service, and its text."""
    text = fmt.shorten(sms.text)
    if sms.sender and sms.sender.casefold() != order.service_name.casefold():
        text = f"{fmt.shorten(sms.sender)}: {text}"
    return Text(text) if sms.code is None else Text.assemble((f"{sms.code:<{_CODE_WIDTH}}", "bold green"), "  ", text)


def _describe_changes(order: Order, previous: Order) -> str:
    changes = [
        f"{name} {fmt.clean(new)}, was {fmt.clean(old)}"
        for name, new, old in [
            ("number", fmt.phone(order.phone), fmt.phone(previous.phone)),
            ("service", fmt.service(order), fmt.service(previous)),
            ("country", order.country or "unknown", previous.country or "unknown"),
            ("until", fmt.minute(order.until), fmt.minute(previous.until)),
        ]
        if new != old
    ]
    if order.can_prolong != previous.can_prolong:
        changes.append(_CAN_PROLONG[order.can_prolong])
    return "; ".join(changes) or "the limits for prolonging"


def _column_width(text: str) -> int:
    return min(Text(text).cell_len, _WIDEST_COLUMN)
