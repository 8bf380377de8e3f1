"""Time of the import, and of the import with a first client."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measuring import compare
from benchmarks.results import Row, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_IMPORT = "import smspva_async"
_FIRST_CLIENT = "from smspva_async import SmspvaClient; SmspvaClient('key')"
_HTTPX = "import httpx"
_DEPENDENCIES = "import asyncio, attrs, cattrs, httpx"
_PROGRAM = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def rows(form: Form) -> Iterator[Row]:
    """Measure each statement in a new interpreter, alternately with `import httpx`, from compiled bytecode."""
    seconds: dict[str, list[float]] = {statement: [] for statement in (_IMPORT, _FIRST_CLIENT, _HTTPX, _DEPENDENCIES)}
    with tempfile.TemporaryDirectory() as bytecode:
        for statement in seconds:
            _seconds(statement, bytecode)  # compiles the modules
        for _ in range(form.pick(full=25, short=3)):
            for statement, taken in seconds.items():
                taken.append(_seconds(statement, bytecode))
    dependencies = f"`{_DEPENDENCIES}` alone takes {median(seconds[_DEPENDENCIES]) * 1e3:.0f} ms"
    for statement, name, note in (
        (_IMPORT, f"`{_IMPORT}`, which doesn't import httpx", ""),
        (_FIRST_CLIENT, f"import and first client: `{_FIRST_CLIENT}`", dependencies),
    ):
        compared = compare(seconds[statement], seconds[_HTTPX])
        yield Row(
            group="Import",
            name=name,
            unit="ms",
            measured=compared.ours * 1e3,
            against=compared.theirs * 1e3,
            baseline=f"`{_HTTPX}`",
            spread=compared.spread,
            goal=at_most(1.5),
            note=note,
        )


def _seconds(statement: str, bytecode: str) -> float:
    program = [sys.executable, "-c", _PROGRAM.format(statement)]
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    return float(subprocess.run(program, env=environment, check=True, capture_output=True, text=True).stdout)
