"""Events as lines that a person likes to read: aligned columns on a terminal, one line for each event in a pipe."""

from __future__ import annotations

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
from smspva_async.cli._words import clean, date, local, minute, phone, service, short, state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from smspva_async.cli._output import Printer

__all__ = ["JsonLines", "Lines", "order_of"]

_TIME = len("19:04:12  ")
_TAG = len("0 -> -1")
_CODE = len("671094")
_WIDEST = 16  # a number has 15 digits at most
_LEAST_ROOM = 24

_STATE = {
    OrderState.INACTIVE: "inactive",
    OrderState.ACTIVATING: "waiting in queue",
    OrderState.ACTIVE: "active",
    OrderState.ABSENT: "not in the provider's system",
}
_BECAME = _STATE | {OrderState.INACTIVE: "needs activation", OrderState.ACTIVE: "can receive SMS"}
_CAN_PROLONG = {
    True: "can be prolonged now",
    False: "can't be prolonged any more",
    None: "whether it can be prolonged is unknown",
}
_STYLE = {OrderState.ACTIVATING: "yellow", OrderState.ACTIVE: "green"}
_ALARM = "red"


class Lines:
    """Prints events, and other texts between them.

    Args:
        console: Where to. A terminal gets lines that fit its width, anything else gets them whole.

    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.day = date(datetime.now().astimezone())
        """The date of the last line."""
        self._phone = len("+79052798263")
        self._service = len("Instagram")
        self._orders: dict[int, Order] = {}

    def fit(self, orders: Iterable[Order]) -> None:
        """Make the columns wide enough for these orders, and remember them."""
        for order in orders:
            self._orders[order.id] = order
            self._phone = max(self._phone, _cells(phone(order.phone)))
            self._service = max(self._service, _cells(service(order)))

    def say(self, text: str = "", style: str = "", *, head: str = "") -> None:
        """Print a text that is no event, after a head."""
        self._print(self._laid_out(Text(head), Text(text, style), len(head)))

    def show(self, event: Event) -> None:
        """Print an event, under the date if that isn't the last line's."""
        order = order_of(event)
        if order is not None:
            self.fit([order])
        self._print(self.lines_of(event, self.day))
        self.day = date(event.at)

    def lines_of(self, event: Event, day: str) -> list[Text]:
        """Return an event as lines that fit the console as it is now, under the event's date if it isn't this day's."""
        columns = [Text(f"{local(event.at):%H:%M:%S}", "dim")]
        order = order_of(event) or self._orders.get(event.order_id or 0)
        tag, text = _told(event)
        if order is not None:
            number, name = Text(phone(order.phone)), Text(service(order))
            number.truncate(self._phone, overflow="ellipsis", pad=True)
            name.truncate(self._service, overflow="ellipsis", pad=True)
            tag.align("left", _TAG)
            columns += [number, name, tag]
        heading = [] if date(event.at) == day else [Text(date(event.at), "dim")]
        return heading + self._laid_out(Text("  ").join([*columns, Text()]), text, _TIME)

    def _laid_out(self, head: Text, text: Text, indent: int) -> list[Text]:
        """Return a head and beside it a text; where there is too little room for that, below it."""
        if not self._console.is_terminal:
            return [_line(head, text)]
        lines: list[Text] = []
        room = self._console.width - head.cell_len
        if text.cell_len > room and room < _LEAST_ROOM and head.cell_len > indent:
            lines.append(_line(head))
            head = Text(" " * indent)
            room = self._console.width - indent
        for part in text.wrap(self._console, max(room, 1)):
            lines.append(_line(head, part))
            head = Text(" " * head.cell_len)
        return lines

    def _print(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)


class JsonLines(Lines):
    """Prints a JSON object for each event, as `to_dict` makes it, and nothing between them."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(printer.output)
        self._printer = printer

    def say(self, text: str = "", style: str = "", *, head: str = "") -> None:
        """Leave it out."""

    def show(self, event: Event) -> None:
        """Print an event."""
        self._printer.json_line(to_dict(event))


def order_of(event: Event) -> Order | None:
    """Return the order that an event brings with it."""
    order: Order | None = getattr(event, "order", None)
    return order


def _line(*parts: Text) -> Text:
    line = Text.assemble(*parts)
    line.rstrip()
    return line


def _told(event: Event) -> tuple[Text, Text]:
    """Return the kind of an event in a word, and its description."""
    style = ""
    match event:
        case OrderAdded(order):
            tag, told = "listed", f"#{order.id}, {_state(order)}, until {date(order.until)}"
        case StateChanged(order, previous, current):
            before = "?" if previous is OrderState.UNKNOWN else int(previous)
            tag, told = f"{before} -> {state(order)}", _BECAME.get(current, _state(order))
            style = _STYLE.get(current, _ALARM)
        case SmsReceived(order, sms):
            return Text("message", "bold"), _message(order, sms)
        case OrderUpdated(order, previous):
            tag, told = "changed", _changes(order, previous)
        case OrderRemoved(order, expired):
            tag, told, style = "gone", f"#{order.id}, {'expired' if expired else 'no longer listed'}", _ALARM
        case OrderExpiring(order, _):
            tag, told, style = "ending", f"#{order.id}, ends {minute(order.until)}", _ALARM
        case PollFailed(_, message):
            tag, told, style = "failing", f"polling fails: {short(message)}", _ALARM
        case PollRecovered(downtime):
            tag, told, style = "working", f"polling works again after {downtime:.0f} s", "green"
        case RowSkipped(reason, _):
            tag, told, style = "skipped", f"a row of an answer can't be read: {short(reason)}", _ALARM
    return Text(tag, style), Text(told, style)


def _message(order: Order, sms: Sms) -> Text:
    """Return a message after its code, with the sender if that isn't the service itself."""
    text = short(sms.text)
    if sms.sender and sms.sender.casefold() != order.service_name.casefold():
        text = f"{short(sms.sender)}: {text}"
    return Text(text) if sms.code is None else Text.assemble((f"{sms.code:<{_CODE}}", "bold green"), "  ", text)


def _changes(order: Order, previous: Order) -> str:
    changes = [
        f"{what} {clean(new)}, was {clean(old)}"
        for what, new, old in [
            ("number", phone(order.phone), phone(previous.phone)),
            ("service", service(order), service(previous)),
            ("country", order.country or "unknown", previous.country or "unknown"),
            ("until", minute(order.until), minute(previous.until)),
        ]
        if new != old
    ]
    if order.can_prolong != previous.can_prolong:
        changes.append(_CAN_PROLONG[order.can_prolong])
    return "; ".join(changes) or "how far it can be prolonged"


def _state(order: Order) -> str:
    return _STATE.get(order.state, f"in the unknown state {state(order)}")


def _cells(text: str) -> int:
    """Return how wide a column a text gets."""
    return min(Text(text).cell_len, _WIDEST)
