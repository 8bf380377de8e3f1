"""Tables of results: for a terminal, and for the documentation."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.reasons import REASONS
from benchmarks.results import Form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Results, Row

__all__ = ["in_page", "markdown", "text"]

_MARKER = "<!-- `python -m benchmarks --docs` writes everything below this line -->\n"
_HEADS = ("", "measured", "baseline", "ratio", "goal", "reached")


def text(results: Results) -> str:
    """Return the results as text in columns."""
    parts = [_heading(results)]
    for group, rows in groupby(results.rows, key=lambda row: row.group):
        listed = list(rows)
        parts += ["", group, _columns([_HEADS, *map(_cells, listed)])]
        parts += [f"  * {remark}" for remark in _remarks(listed)]
    return "\n".join(parts) + "\n"


def markdown(results: Results) -> str:
    """Return the results as Markdown."""
    parts = [_heading(results), ""]
    for group, rows in groupby(results.rows, key=lambda row: row.group):
        listed = list(rows)
        lines = (_HEADS, ["---"] * len(_HEADS), *map(_cells, listed))
        parts += [f"## {group}", "", *("| " + " | ".join(cells) + " |" for cells in lines), ""]
        if remarks := _remarks(listed):
            parts += [*(f"- {remark}" for remark in remarks), ""]
    return "\n".join(parts)


def in_page(page: str, results: Results) -> str:
    """Return a page of the documentation with the results below its marker."""
    introduction, marker, _ = page.partition(_MARKER)
    if not marker:
        raise ValueError(f"the page has no marker: {_MARKER.strip()}")
    return f"{introduction}{marker}\n{markdown(results)}"


def _heading(results: Results) -> str:
    machine = results.machine
    short = " A short run with few repetitions." if results.form is Form.SHORT else ""
    return (
        f"Measured on {results.date:%Y-%m-%d} with {machine.python} on {machine.cores} cores of {machine.cpu}, "
        f"{machine.system}.{short}"
    )


def _cells(row: Row) -> tuple[str, ...]:
    goal = f"{row.goal.sign} {_number(row.goal.limit)}{'x' if row.goal.of == 'ratio' else f' {row.unit}'}"
    ratio = "" if row.ratio is None else f"{_number(row.ratio)}x"
    if row.spread is not None:
        ratio += f" ({_number(row.spread[0])} to {_number(row.spread[1])})"
    against = "-" if row.against is None else f"{_number(row.against)} {row.unit}"
    return (row.name, f"{_number(row.measured)} {row.unit}", against, ratio, goal, "yes" if row.reached else "no")


def _remarks(rows: Sequence[Row]) -> list[str]:
    """Return the remarks on some rows, without duplicates."""
    remarks = [f"Baseline: {row.baseline}." for row in rows if row.baseline]
    remarks += [f"{row.name}: {row.note}." for row in rows if row.note]
    remarks += [
        f"{row.name}, not reached: {REASONS[row.name]}." for row in rows if not row.reached and row.name in REASONS
    ]
    return list(dict.fromkeys(remarks))


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _number(value: float) -> str:
    """Return a number with three significant digits."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    written = f"{value:,.{places}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
