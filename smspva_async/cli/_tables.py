"""Answers as tables, with columns as narrow as they are useful."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from smspva_async import Country, Offer, Order, OrderState, PastOrder
from smspva_async.cli._words import clean, date, minute, service, status

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["countries", "history", "offers", "orders"]

_STYLE = {OrderState.ACTIVATING: "yellow", OrderState.ACTIVE: "green", OrderState.INACTIVE: ""}
_ALARM = "red"


def countries(rows: Iterable[Country]) -> Table:
    """Return countries by name."""
    table = _table("code", "*country")
    for row in sorted(rows, key=lambda row: row.name):
        table.add_row(Text(clean(row.code)), _flexible(clean(row.name)))
    return table


def offers(rows: Iterable[Offer]) -> Table:
    """Return offers as they come."""
    table = _table("code", "*service", ">$ a day", ">available")
    for row in rows:
        table.add_row(
            Text(clean(row.service)),
            _flexible(clean(row.name)),
            Text("?" if row.price_day is None else f"{row.price_day:.2f}"),
            Text("?" if row.count is None else str(row.count)),
            style=None if row.count else "dim",
        )
    return table


def orders(rows: Iterable[Order]) -> Table:
    """Return orders as the provider's own page shows them, with their ids."""
    table = _table(">id", "status", "number", "*service", "expires")
    for row in rows:
        state = Text(status(row), _STYLE.get(row.state, _ALARM))
        table.add_row(
            Text(str(row.id)), state, Text(clean(row.phone)), _flexible(service(row)), Text(minute(row.until))
        )
    return table


def history(rows: Iterable[PastOrder]) -> Table:
    """Return past orders as the archive of the provider's page shows them, with their ids."""
    table = _table(">id", "begin", "closed", "*service", "number")
    for row in rows:
        closed = "" if row.closed is None else date(row.closed)
        days = Text(date(row.begin)), Text(closed)
        table.add_row(Text(str(row.order_id)), *days, _flexible(clean(row.service)), Text(clean(row.phone)))
    return table


def _table(*heads: str) -> Table:
    """Return an empty table. A head with `*` is of the column that gives way, one with `>` of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(
            head.lstrip("*>"), justify="right" if head.startswith(">") else "left", no_wrap=not head.startswith("*")
        )
    return table


def _flexible(text: str) -> Text:
    """Return the cell of a column that gives way: still one line."""
    return Text(text, no_wrap=True, overflow="ellipsis")
