"""Answers as tables for people. Only names of services and countries are cut off on a narrow terminal."""

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
        table.add_row(Text(member.id), Text(role), Text("" if member.behind is None else str(member.behind)))
    return table


def calls(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of the calls in a report of `smspva doctor`."""
    table = _table("call", ">answers", ">seconds", "*result")
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']['max']:.2f}"
        style = ALARM if row["result"].startswith(("HTTP", "no ")) else None
        table.add_row(
            Text(row["method"]), Text(str(len(row["http"]))), Text(seconds), _cuttable(row["result"]), style=style
        )
    return table


def services(rows: Iterable[Service]) -> Table:
    """Return a table of services."""
    table = _table("code", "*service", ">$ a day")
    for row in rows:
        table.add_row(Text(fmt.clean(row.service)), _cuttable(fmt.clean(row.name)), Text(fmt.price(row.price_day)))
    return table


def countries(rows: Iterable[Country]) -> Table:
    """Return a table of countries, sorted by name."""
    table = _table("code", "*country")
    for row in sorted(rows, key=lambda row: row.name):
        table.add_row(Text(fmt.clean(row.code)), _cuttable(fmt.clean(row.name)))
    return table


def countries_for(rows: Iterable[CountryOffer]) -> Table:
    """Return a table of the countries that offer a service, with their names if the provider gives any."""
    listed = [*rows]
    has_names = any(row.name not in ("", row.country) for row in listed)
    table = _table("code", *(["*country"] if has_names else []), ">$", ">available")
    for row in listed:
        name = [_cuttable(fmt.clean(row.name))] if has_names else []
        price, available = Text(fmt.price(row.price)), Text(fmt.count(row.count))
        table.add_row(Text(fmt.clean(row.country)), *name, price, available, style=None if row.count else "dim")
    return table


def offers(rows: Iterable[Offer]) -> Table:
    """Return a table of offers."""
    table = _table("code", "*service", ">$ a day", ">available")
    for row in rows:
        table.add_row(*_offer(row), style=None if row.count else "dim")
    return table


def offers_by_provider(rows: Iterable[Offer]) -> Table:
    """Return a table of offers with the count of each provider."""
    table = _table("code", "*service", ">$ a day", ">available", "*by provider")
    for row in rows:
        table.add_row(*_offer(row), Text(_by_provider(row.by_provider)), style=None if row.count else "dim")
    return table


def stock(rows: Iterable[tuple[str, Stock]]) -> Table:
    """Return a table of the available numbers for each service, by provider."""
    table = _table("code", ">available", "*by provider")
    for code, row in rows:
        cells = Text(fmt.clean(code)), Text(str(row.total)), Text(_by_provider(row.by_provider))
        table.add_row(*cells, style=None if row.total else "dim")
    return table


def orders(rows: Iterable[Order]) -> Table:
    """Return a table of orders with the columns of the provider's page, and their ids."""
    table = _table(">id", "status", "number", "*service", "expires")
    for row in rows:
        state = Text(state_word(row), STATE_STYLES.get(row.state, ALARM))
        number = Text(fmt.clean(row.phone) or "?")
        table.add_row(Text(str(row.id)), state, number, _cuttable(fmt.service(row)), Text(fmt.minute(row.until)))
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
        state = Text(state_word(row), STATE_STYLES.get(row.state, ALARM))
        number, code = Text(fmt.clean(row.phone) or "?"), fmt.clean(codes.get(row.id, ""))
        last = Text(f"{code} new", "bold green") if row.id in new else Text(code)
        country = [Text(fmt.clean(row.country))] if has_country else []
        until = fmt.minute(row.until) if has_time else fmt.day(row.until)
        table.add_row(Text(str(row.id)), state, number, _cuttable(fmt.service(row)), *country, last, Text(until))
    return table


def history(rows: Iterable[PastOrder], names: Mapping[str, str]) -> Table:
    """Return a table of past orders with the columns of the archive on the provider's page, and their ids.

    The names of services stand beside their codes.
    """
    table = _table(">id", "begin", "closed", "*service", "number")
    for row in rows:
        days = Text(fmt.date(row.begin)), Text(fmt.date(row.closed))
        service = fmt.clean(f"{row.service} {names.get(row.service, '')}")
        number = Text(fmt.clean(row.phone) or "?")
        table.add_row(Text(str(row.order_id)), *days, _cuttable(service or "?"), number)
    return table


def purchases(rows: Iterable[Purchase]) -> Table:
    """Return a table of the calls in a ledger, with the order ids in their answers."""
    table = _table("began", "*command", "outcome", "orders")
    for row in rows:
        outcome = Text(row.outcome.replace("_", " "), ALARM if row.outcome == "unknown" else "")
        orders = Text(", ".join(map(str, row.order_ids)))
        table.add_row(Text(fmt.second(row.started_at)), _cuttable(as_command(row)), outcome, orders)
    return table


def _offer(row: Offer) -> tuple[Text, Text, Text, Text]:
    price, available = Text(fmt.price(row.price_day)), Text(fmt.count(row.count))
    return Text(fmt.clean(row.service)), _cuttable(fmt.clean(row.name)), price, available


def _by_provider(numbers: Mapping[str, int]) -> str:
    return fmt.clean(", ".join(f"{provider} {number}" for provider, number in numbers.items()))


def _table(*heads: str) -> Table:
    """Return an empty table. `*` before a column's head lets it be cut off, `>` aligns it to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(
            head.lstrip("*>"), justify="right" if head.startswith(">") else "left", no_wrap=not head.startswith("*")
        )
    return table


def _cuttable(text: str) -> Text:
    """Return a cell that is cut off on a narrow terminal."""
    return Text(text, no_wrap=True, overflow="ellipsis")
