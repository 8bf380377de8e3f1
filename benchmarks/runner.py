"""The command line: run all benchmarks, print the tables, write the results."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cpu, decoding, deliveries, fleet, imports, journal, latency, ledger, load, memory
from benchmarks.results import Form, Results
from benchmarks.tables import in_page, text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GROUPS", "PAGE", "RESULTS", "main"]

_HERE = Path(__file__).parent
RESULTS = _HERE / "results.json"
PAGE = _HERE.parent / "docs" / "benchmarks.md"
GROUPS = (latency, load, decoding, cpu, deliveries, memory, journal, ledger, fleet, imports)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run all benchmarks, print the results and write them to benchmarks/results.json.",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--short",
        action="store_true",
        help="few repetitions: fail if a goal that doesn't depend on the machine isn't reached; write nothing",
    )
    choice.add_argument(
        "--docs", action="store_true", help="run nothing; write the tables of results.json into docs/benchmarks.md"
    )
    chosen = parser.parse_args(arguments)
    if chosen.docs:
        results = Results.from_json(json.loads(RESULTS.read_text(encoding="utf-8")))
        PAGE.write_text(in_page(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
        return
    results = _run(Form.SHORT if chosen.short else Form.FULL)
    print(text(results))
    if chosen.short:
        missed = [row.name for row in results.rows if row.deterministic and not row.reached]
        if missed:
            sys.exit(f"goals that don't depend on the machine aren't reached: {'; '.join(missed)}")
        return
    RESULTS.write_text(json.dumps(results.to_json(), indent=2) + "\n", encoding="utf-8")


def _run(form: Form) -> Results:
    began = time.monotonic()
    rows = []
    for group in GROUPS:
        for row in group.rows(form):
            print(f"{time.monotonic() - began:6.0f} s  {row.name}", file=sys.stderr)
            rows.append(row)
    return Results.of(form, rows)
