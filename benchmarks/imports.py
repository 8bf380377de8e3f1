"""How long the import takes."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measuring import compare
from benchmarks.results import Row, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_IMPORT = "import smspva_async"
_PROGRAM = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def rows(form: Form) -> Iterator[Row]:
    """Measure the import in an interpreter of its own each time, by turns with httpx."""
    repetitions = form.pick(full=25, short=3)
    ours, theirs, needed = list[float](), list[float](), list[float]()
    for _ in range(repetitions):
        ours.append(_seconds(_IMPORT))
        theirs.append(_seconds("import httpx"))
        needed.append(_seconds("import asyncio, attrs, cattrs, httpx"))
    compared = compare(ours, theirs)
    yield Row(
        group="Import",
        name=f"`{_IMPORT}`",
        unit="ms",
        measured=compared.ours * 1e3,
        against=compared.theirs * 1e3,
        baseline="`import httpx`, which it imports as well",
        spread=compared.spread,
        goal=at_most(1.5),
        note=f"`import asyncio, attrs, cattrs, httpx` by itself takes {median(needed) * 1e3:.0f} ms",
    )


def _seconds(statement: str) -> float:
    program = [sys.executable, "-c", _PROGRAM.format(statement)]
    return float(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
