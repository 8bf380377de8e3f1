"""Runs everything, prints the tables and writes them down."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cpu, decoding, deliveries, imports, journal, latency, ledger, load, memory
from benchmarks.results import Form, Results
from benchmarks.tables import in_readme, text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GROUPS", "README", "RESULTS", "main"]

_HERE = Path(__file__).parent
RESULTS = _HERE / "results.json"
README = _HERE.parent / "README.md"
GROUPS = (latency, load, decoding, cpu, deliveries, memory, journal, ledger, imports)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures everything, prints it and writes it to benchmarks/results.json.",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--short",
        action="store_true",
        help="check that all of it runs and that what doesn't depend on the machine is reached; writes nothing",
    )
    choice.add_argument("--readme", action="store_true", help="measure nothing; show results.json in the README")
    chosen = parser.parse_args(arguments)
    if chosen.readme:
        results = Results.from_json(json.loads(RESULTS.read_text(encoding="utf-8")))
        README.write_text(in_readme(README.read_text(encoding="utf-8"), results), encoding="utf-8")
        return
    results = _run(Form.SHORT if chosen.short else Form.FULL)
    print(text(results))
    if chosen.short:
        missed = [row.name for row in results.rows if row.deterministic and not row.reached]
        if missed:
            sys.exit(f"not reached, on any machine: {'; '.join(missed)}")
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
