"""Answers as tables for people. A narrow terminal cuts off names first, and then the right side of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from smspva_async.cli import _formatting as fmt
from smspva_async.cli._vocabulary import ALARM, STATE_STYLES, as_command, state_word

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from smspva_async import Country, CountryOffer, Offer, Order, PastOrder, Purchase, Service, Stock
    from smspva_async.fleet import FleetStatus

_WITH_COUNTRY, _WITH_TIME = 95, 75
"""The widths from which a watch's table has countries, and times beside the dates."""


def fleet(status: FleetStatus) -> Table:
    """Return a table of the members of a fleet."""
    table = _table("process", "role", ">changes behind")
    for member in status.members:
        role = "leader" if member.leads else "client only" if member.behind is None else "follower"
        _add(table, member.id, role, "" if member.behind is None else str(member.behind))
    return table


def calls(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of the calls in a report of `smspva doctor`."""
    table = _table("call", ">answers", ">seconds", "*result")
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']['max']:.2f}"
        style = ALARM if row["result"].startswith(("HTTP", "no ")) else ""
        _add(table, row["method"], str(len(row["http"])), seconds, row["result"], style=style)
    return table


def services(rows: Iterable[Service]) -> Table:
    """Return a table of services."""
    table = _table("code", "*service", ">$ a day")
    for row in rows:
        _add(table, row.service, row.name, fmt.price(row.price_day))
    return table


def countries(rows: Iterable[Country]) -> Table:
    """Return a table of countries, sorted by name."""
    table = _table("code", "*country")
    for row in sorted(rows, key=lambda row: row.name):
        _add(table, row.code, row.name)
    return table


def countries_for(rows: Iterable[CountryOffer]) -> Table:
    """Return a table of the countries that offer a service, with their names if the provider gives any."""
    listed = [*rows]
    has_names = any(row.name not in ("", row.country) for row in listed)
    table = _table("code", *(["*country"] if has_names else []), ">$", ">available")
    for row in listed:
        name = [row.name] if has_names else []
        _add(table, row.country, *name, fmt.price(row.price), fmt.count(row.count), style="" if row.count else "dim")
    return table


def offers(rows: Iterable[Offer], *, by_provider: bool = False) -> Table:
    """Return a table of offers, perhaps with the count of each provider."""
    table = _table("code", "*service", ">$ a day", ">available", *(["~by provider"] if by_provider else []))
    for row in rows:
        providers = [_by_provider(row.by_provider)] if by_provider else []
        cells = row.service, row.name, fmt.price(row.price_day), fmt.count(row.count), *providers
        _add(table, *cells, style="" if row.count else "dim")
    return table


def stock(rows: Iterable[tuple[str, Stock]]) -> Table:
    """Return a table of the available numbers for each service, by provider."""
    table = _table("code", ">available", "~by provider")
    for code, row in rows:
        _add(table, code, str(row.total), _by_provider(row.by_provider), style="" if row.total else "dim")
    return table


def orders(rows: Iterable[Order]) -> Table:
    """Return a table of orders with the columns of the provider's page, and their ids."""
    table = _table(">id", "status", "number", "*service", "expires")
    for row in rows:
        _add(table, str(row.id), _state(row), row.phone or "?", fmt.service(row), fmt.minute(row.until))
    return table


def watched(rows: Iterable[Order], codes: Mapping[int, str], new: Container[int], width: int) -> Table:
    """Return a table of orders with their last codes.

    Args:
        rows: The orders.
        codes: Order id -> code.
        new: The ids of the orders whose code is new.
        width: The width of the terminal. A narrow table has shorter dates and no countries.

    """
    has_country, has_time = width >= _WITH_COUNTRY, width >= _WITH_TIME
    table = _table(">id", "status", "number", "*service", *(["country"] if has_country else []), "code", "expires")
    for row in rows:
        code = fmt.clean(codes.get(row.id, ""))
        last = Text(f"{code} new", "bold green") if row.id in new else code
        country = [row.country] if has_country else []
        until = fmt.minute(row.until) if has_time else fmt.day(row.until)
        _add(table, str(row.id), _state(row), row.phone or "?", fmt.service(row), *country, last, until)
    return table


def history(rows: Iterable[PastOrder], names: Mapping[str, str]) -> Table:
    """Return a table of past orders with the columns of the archive on the provider's page, and their ids.

    The names of services stand beside their codes.
    """
    table = _table(">id", "begin", "closed", "*service", "number")
    for row in rows:
        service = f"{row.service} {names.get(row.service, '')}".strip() or "?"
        _add(table, str(row.order_id), fmt.date(row.begin), fmt.date(row.closed), service, row.phone or "?")
    return table


def purchases(rows: Iterable[Purchase]) -> Table:
    """Return a table of the calls in a ledger, with the order ids in their answers."""
    table = _table("began", "*command", "outcome", "orders")
    for row in rows:
        outcome = Text(row.outcome.replace("_", " "), ALARM if row.outcome == "unknown" else "")
        _add(table, fmt.second(row.started_at), as_command(row), outcome, ", ".join(map(str, row.order_ids)))
    return table


def _state(order: Order) -> Text:
    return Text(state_word(order), STATE_STYLES.get(order.state, ALARM))


def _by_provider(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{provider} {number}" for provider, number in numbers.items())


def _table(*heads: str) -> Table:
    """Return an empty table. `>` before a column's head aligns it to the right.

    On a narrow terminal, columns with `*` are cut off and columns with `~` are wrapped. The others keep their width.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(
            head.lstrip("*~>"),
            justify="right" if head.startswith(">") else "left",
            no_wrap=not head.startswith(("*", "~")),
            overflow="fold" if head.startswith("~") else "ellipsis",
        )
    return table


def _add(table: Table, *cells: str | Text, style: str = "") -> None:
    """Add a row of cells, which may be untrusted text."""
    texts = [Text(fmt.clean(cell)) if isinstance(cell, str) else cell for cell in cells]
    for column, text in zip(table.columns, texts, strict=True):
        text.no_wrap = column.overflow == "ellipsis"
        if column.no_wrap:  # alone it doesn't keep rich from cutting off
            column.min_width = max(column.min_width or len(str(column.header)), text.cell_len)
    table.add_row(*texts, style=style)
