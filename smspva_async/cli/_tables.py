"""Answers as tables, with columns as narrow as they are useful."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from smspva_async import Country, CountryOffer, Offer, Order, OrderState, PastOrder, Purchase, Service, Stock
from smspva_async.cli._words import as_typed, clean, count, date, dollars, minute, second, service, status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "countries",
    "countries_for",
    "history",
    "offers",
    "offers_by_provider",
    "orders",
    "purchases",
    "services",
    "stock",
]

_STYLE = {OrderState.ACTIVATING: "yellow", OrderState.ACTIVE: "green", OrderState.INACTIVE: ""}
_ALARM = "red"


def services(rows: Iterable[Service]) -> Table:
    """Return services as they come."""
    table = _table("code", "*service", ">$ a day")
    for row in rows:
        table.add_row(Text(clean(row.service)), _flexible(clean(row.name)), Text(dollars(row.price_day)))
    return table


def countries(rows: Iterable[Country]) -> Table:
    """Return countries by name."""
    table = _table("code", "*country")
    for row in sorted(rows, key=lambda row: row.name):
        table.add_row(Text(clean(row.code)), _flexible(clean(row.name)))
    return table


def countries_for(rows: Iterable[CountryOffer]) -> Table:
    """Return the countries that offer a service as they come, with their names where the provider states them."""
    listed = [*rows]
    has_names = any(row.name not in ("", row.country) for row in listed)
    table = _table("code", *(["*country"] if has_names else []), ">$", ">available")
    for row in listed:
        name = [_flexible(clean(row.name))] if has_names else []
        price, available = Text(dollars(row.price)), Text(count(row.count))
        table.add_row(Text(clean(row.country)), *name, price, available, style=None if row.count else "dim")
    return table


def offers(rows: Iterable[Offer]) -> Table:
    """Return offers as they come."""
    table = _table("code", "*service", ">$ a day", ">available")
    for row in rows:
        table.add_row(*_offer(row), style=None if row.count else "dim")
    return table


def offers_by_provider(rows: Iterable[Offer]) -> Table:
    """Return offers as they come, with the numbers of each provider."""
    table = _table("code", "*service", ">$ a day", ">available", "*by provider")
    for row in rows:
        table.add_row(*_offer(row), Text(_by_provider(row.by_provider)), style=None if row.count else "dim")
    return table


def stock(rows: Iterable[tuple[str, Stock]]) -> Table:
    """Return the numbers of services as they come, by provider."""
    table = _table("code", ">available", "*by provider")
    for code, row in rows:
        cells = Text(clean(code)), Text(str(row.total)), Text(_by_provider(row.by_provider))
        table.add_row(*cells, style=None if row.total else "dim")
    return table


def orders(rows: Iterable[Order]) -> Table:
    """Return orders as the provider's own page shows them, with their ids."""
    table = _table(">id", "status", "number", "*service", "expires")
    for row in rows:
        state = Text(status(row), _STYLE.get(row.state, _ALARM))
        number = Text(clean(row.phone) or "?")
        table.add_row(Text(str(row.id)), state, number, _flexible(service(row)), Text(minute(row.until)))
    return table


def history(rows: Iterable[PastOrder]) -> Table:
    """Return past orders as the archive of the provider's page shows them, with their ids."""
    table = _table(">id", "begin", "closed", "*service", "number")
    for row in rows:
        days = Text(date(row.begin)), Text(date(row.closed))
        number = Text(clean(row.phone) or "?")
        table.add_row(Text(str(row.order_id)), *days, _flexible(clean(row.service) or "?"), number)
    return table


def purchases(rows: Iterable[Purchase]) -> Table:
    """Return the calls of a ledger as they come, with the orders that their answers named."""
    table = _table("began", "*command", "outcome", "orders")
    for row in rows:
        outcome = Text(row.outcome.replace("_", " "), _ALARM if row.outcome == "unknown" else "")
        orders = Text(", ".join(map(str, row.order_ids)))
        table.add_row(Text(second(row.started_at)), _flexible(as_typed(row)), outcome, orders)
    return table


def _offer(row: Offer) -> tuple[Text, Text, Text, Text]:
    price, available = Text(dollars(row.price_day)), Text(count(row.count))
    return Text(clean(row.service)), _flexible(clean(row.name)), price, available


def _by_provider(numbers: Mapping[str, int]) -> str:
    return clean(", ".join(f"{provider} {number}" for provider, number in numbers.items()))


def _table(*heads: str) -> Table:
    """Return an empty table. A head with `*` is of a column that gives way, one with `>` of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(
            head.lstrip("*>"), justify="right" if head.startswith(">") else "left", no_wrap=not head.startswith("*")
        )
    return table


def _flexible(text: str) -> Text:
    """Return the cell of a column that gives way: still one line."""
    return Text(text, no_wrap=True, overflow="ellipsis")
