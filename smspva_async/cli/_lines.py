"""Events as lines that a person likes to read: aligned columns on a terminal, one line for each event in a pipe."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from smspva_async import (
    Event,
    Order,
    OrderAdded,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    Sms,
    SmsReceived,
    StateChanged,
    event_to_dict,
)
from smspva_async.cli._words import clean, date, local, minute, service, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from smspva_async.cli._output import Printer

__all__ = ["JsonLines", "Lines"]

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
_STYLE = {OrderState.ACTIVATING: "yellow", OrderState.ACTIVE: "green"}
_ALARM = "red"


class Lines:
    """Prints events, and whatever is to be said between them.

    Args:
        console: Where to. A terminal gets lines that fit its width, anything else gets them whole.
        put: Takes the lines instead of the console.

    """

    def __init__(self, console: Console, put: Callable[[Text], None] | None = None) -> None:
        self._console = console
        self._put_line = put or self._print_line
        self._day = datetime.now().astimezone().date()
        self._phone = len("+79052798263")
        self._service = len("Instagram")
        self._orders: dict[int, Order] = {}

    def fit(self, orders: Iterable[Order]) -> None:
        """Make the columns wide enough for these orders, and remember them."""
        for order in orders:
            self._orders[order.id] = order
            self._phone = max(self._phone, _cells(clean(order.phone)))
            self._service = max(self._service, _cells(service(order)))

    def say(self, text: str = "", style: str = "", *, head: str = "") -> None:
        """Print a text that is no event, behind a head."""
        self._print(Text(head), Text(text, style), len(head))

    def show(self, event: Event) -> None:
        """Print an event, under the date if that isn't the last line's."""
        at = local(event.at)
        if at.date() != self._day:
            self._day = at.date()
            self.say(f"{at:%Y-%m-%d}", "dim")
        columns = [Text(f"{at:%H:%M:%S}", "dim")]
        order = self._order_of(event)
        tag, text = _told(event)
        if order is not None:
            number, name = Text(clean(order.phone)), Text(service(order))
            number.truncate(self._phone, overflow="ellipsis", pad=True)
            name.truncate(self._service, overflow="ellipsis", pad=True)
            tag.align("left", _TAG)
            columns += [number, name, tag]
        self._print(Text("  ").join([*columns, Text()]), text, _TIME)

    def _order_of(self, event: Event) -> Order | None:
        order: Order | None = getattr(event, "order", None)
        if order is not None:
            self.fit([order])
        return order or self._orders.get(event.order_id or 0)

    def _print(self, head: Text, text: Text, indent: int) -> None:
        """Print a head and beside it a text; where there is too little room for that, below it."""
        if not self._console.is_terminal:
            self._put(head, text)
            return
        room = self._console.width - head.cell_len
        if text.cell_len > room and room < _LEAST_ROOM and head.cell_len > indent:
            self._put(head)
            head = Text(" " * indent)
            room = self._console.width - indent
        for line in text.wrap(self._console, max(room, 1)):
            self._put(head, line)
            head = Text(" " * head.cell_len)

    def _put(self, *parts: Text) -> None:
        line = Text.assemble(*parts)
        line.rstrip()
        self._put_line(line)

    def _print_line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


class JsonLines(Lines):
    """A JSON object for each event, in the form of `event_to_dict`, and nothing between them."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(printer.output)
        self._printer = printer

    def say(self, text: str = "", style: str = "", *, head: str = "") -> None:
        """Leave it out."""

    def show(self, event: Event) -> None:
        """Print an event."""
        self._printer.json_line(event_to_dict(event))


def _told(event: Event) -> tuple[Text, Text]:
    """Return what an event is in a word, and what there is to be said about it."""
    style = ""
    match event:
        case OrderAdded(order):
            tag, told = "listed", f"#{order.id}, {_state(order)}, until {date(order.until)}"
        case StateChanged(order, previous, current):
            before = "?" if previous is OrderState.UNKNOWN else int(previous)
            tag, told = f"{before} -> {order.raw_state}", _BECAME.get(current, _state(order))
            style = _STYLE.get(current, _ALARM)
        case SmsReceived(order, sms):
            return Text("message", "bold"), _message(order, sms)
        case OrderUpdated(order, previous):
            tag, told = "changed", _changes(order, previous)
        case OrderRemoved(order, expired):
            tag, told, style = "gone", f"#{order.id}, {'expired' if expired else 'no longer listed'}", _ALARM
        case PollFailed(_, message):
            tag, told, style = "failing", f"polling fails: {short(message)}", _ALARM
        case PollRecovered(downtime):
            tag, told, style = "working", f"polling works again after {downtime:.0f} s", "green"
        case RowSkipped(reason, _):
            tag, told, style = "skipped", f"a row of an answer can't be read: {short(reason)}", _ALARM
    return Text(tag, style), Text(told, style)


def _message(order: Order, sms: Sms) -> Text:
    """Return a message behind its code; the sender is told where it isn't the service itself."""
    text = short(sms.text)
    if sms.sender and sms.sender.casefold() != order.service_name.casefold():
        text = f"{short(sms.sender)}: {text}"
    return Text(text) if sms.code is None else Text.assemble((f"{sms.code:<{_CODE}}", "bold green"), "  ", text)


def _changes(order: Order, previous: Order) -> str:
    changes = [
        f"{what} {clean(new)}, was {clean(old)}"
        for what, new, old in [
            ("number", order.phone, previous.phone),
            ("service", service(order), service(previous)),
            ("country", order.country, previous.country),
            ("until", minute(order.until), minute(previous.until)),
        ]
        if new != old
    ]
    if order.can_prolong != previous.can_prolong:
        changes.append("can be prolonged now" if order.can_prolong else "can't be prolonged any more")
    return "; ".join(changes) or "how far it can be prolonged"


def _state(order: Order) -> str:
    return _STATE.get(order.state, f"in the unknown state {order.raw_state}")


def _cells(text: str) -> int:
    """Return how wide a column a text gets."""
    return min(Text(text).cell_len, _WIDEST)
