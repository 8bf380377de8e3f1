"""The answer before: what is the same in the next one, byte for byte, is neither parsed nor read again."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve, fields

from smspva_async import _wire
from smspva_async._envelope import decode
from smspva_async._parse import NESTED, parse, parse_flat
from smspva_async._reader import gather, read_row
from smspva_async.errors import SmspvaError
from smspva_async.models import Order, Rows, SkippedRow, utc

if TYPE_CHECKING:
    from datetime import datetime

    from smspva_async._envelope import Answer
    from smspva_async._wire import Method, Params

__all__ = ["LatestOrders"]

_Row: TypeAlias = Order | SkippedRow

_HOLE = b'"the rows"'
# What follows it holds no backslash, so no name in escapes.
_ONLINE = re.compile(rb'.*, ?"lastonline": ?([1-9][0-9]{0,11})(?:,[^\\]*)?', re.DOTALL)
_names = [attribute.name for attribute in fields(Order)]
_before_last_online = attrgetter(*_names[: _names.index("last_online")])


class LatestOrders:
    """Decodes answers to `orders`, each as `decode` does, with the last good one in mind.

    Rows that came before give the very same `Order` objects, so that who kept those needn't compare them.
    """

    def __init__(self) -> None:
        self._body: bytes | None = None
        self._value = Rows[Order]()
        self._known: dict[bytes, _Row] = {}
        """A row's text -> what was read, in the answer's order."""

    def decode(self, method: Method[Rows[Order]], params: Params, answer: Answer) -> Rows[Order]:
        """Return what the answer says; raises what `decode` raises."""
        if not answer.ok:
            return decode(method, params, answer)
        if answer.body == self._body:
            known = self._value
            date, took = answer.date, answer.took
            return Rows(known, skipped=known.skipped, date=date, took=took, extra=known.extra, repeated=True)
        value = self._by_rows(method, params, answer)
        if value is None:
            value, self._known = decode(method, params, answer), {}
        self._body, self._value = answer.body, value
        return value

    def _by_rows(self, method: Method[Rows[Order]], params: Params, answer: Answer) -> Rows[Order] | None:
        """Return the same, parsing those rows only that are new; None if the text doesn't fall into rows."""
        body = answer.body
        # As PHP writes it, and as Python does.
        between = b"},{" if b"},{" in body else b"}, {"
        begin, end = body.find(b"[{") + 1, body.rfind(b"}]") + 1
        if not 0 < begin < end or _HOLE in body:
            return None
        around = body[: begin - 1], body[end + 1 :]
        rows = body[begin + 1 : end - 1].split(between)
        read = self._recall(rows)
        new = [place for place, row in enumerate(read) if row is None]
        try:
            # Parsed by itself each part must be right, and stand where the whole has it.
            if parse(_HOLE.join(around)).get("data") != parse(_HOLE):
                return None
            value = decode(method, params, evolve(answer, body=b"[]".join(around)))
            for place, item in zip(new, _flat(between, [rows[place] for place in new]), strict=True):
                read[place] = read_row(item, _wire.read_order, "id")
            good, skipped = gather(row for row in read if row is not None)
        except (ValueError, AttributeError, RecursionError, SmspvaError):
            return None  # whatever is wrong is told by `decode` itself
        self._known = {text: row for text, row in zip(rows, read, strict=True) if row is not None}
        value[:], value.skipped = good, tuple(skipped)
        return value

    def _recall(self, rows: list[bytes]) -> list[_Row | None]:
        """Return what the rows are that were there before, but perhaps for `lastonline`, which changes most."""
        read = [*map(self._known.get, rows)]
        if len(rows) == len(self._known):
            for place, (before, known) in enumerate(self._known.items()):
                if read[place] is None and isinstance(known, Order):
                    read[place] = _seen_since(known, before, rows[place])
        return read


def _seen_since(order: Order, before: bytes, row: bytes) -> Order | None:
    """Return an order whose row differs from the one before in its `lastonline` alone; None if it may differ in more.

    Where a comma and a quotation mark stand before a field's name, in a row that is right, they do begin a field: in a
    string the mark would have a backslash. The last field of that name counts, so that none may follow.
    """
    found = _ONLINE.fullmatch(row)
    if found is None:
        return None
    begin, end = found.span(1)
    tail = row[end:]
    same = before.startswith(row[:begin]) and before.endswith(tail) and b'"lastonline"' not in tail
    if not (same and before[begin : len(before) - len(tail)].isdigit()):
        return None
    try:
        return _seen_online(order, utc(int(found[1])))
    except (OverflowError, ValueError, OSError):
        return None


def _seen_online(order: Order, at: datetime) -> Order:
    """Return what `evolve` does, in half of the time."""
    arguments = (*_before_last_online(order), at, order.raw_state)
    return Order(*arguments, extra=order.extra)  # type: ignore[misc]


def _flat(between: bytes, rows: list[bytes]) -> list[object]:
    """Return the rows whose texts these are, less their braces; `ValueError` unless each is a row by itself."""
    if not rows:
        return []
    text = b"[{%b}]" % between.join(rows)
    # With a brace for each row and no other, rows begin and end where the texts do. Other lists may hide no depth.
    if text.count(b"{") == len(rows) and text.count(b"[") <= NESTED:
        parsed: list[object] = parse_flat(text)
        if len(parsed) == len(rows) and {*map(type, parsed)} == {dict}:
            return parsed
    raise ValueError("not rows side by side")
