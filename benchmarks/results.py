"""Results of a run: rows with their goals, and the machine."""

from __future__ import annotations

import operator
import os
import platform
from datetime import UTC, datetime
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from attrs import frozen
from cattrs import Converter

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Form", "Goal", "Machine", "Results", "Row", "at_least", "at_most"]

T = TypeVar("T")

_COMPARISONS = {"<=": operator.le, ">=": operator.ge}


class Form(Enum):
    """The thoroughness of a run."""

    FULL = "full"
    SHORT = "short"

    def pick(self, *, full: T, short: T) -> T:
        """Return the value for this form."""
        return full if self is Form.FULL else short


@frozen
class Goal:
    """The goal of a row."""

    of: Literal["measured", "ratio"]
    sign: Literal["<=", ">="]
    limit: float


def at_most(limit: float, *, of: Literal["measured", "ratio"] = "ratio") -> Goal:
    """Return a goal that sets an upper limit."""
    return Goal(of, "<=", limit)


def at_least(limit: float, *, of: Literal["measured", "ratio"] = "ratio") -> Goal:
    """Return a goal that sets a lower limit."""
    return Goal(of, ">=", limit)


@frozen
class Row:
    """One figure, with its baseline."""

    group: str
    name: str
    unit: str
    measured: float
    goal: Goal
    against: float | None = None
    """The figure of the baseline, measured in the same run."""
    baseline: str = ""
    """A description of the baseline."""
    spread: tuple[float, float] | None = None
    """The quartiles of the ratio over the repetitions."""
    deterministic: bool = False
    """True if the figure is the same on every machine: a virtual time or a number of requests."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The ratio of the figure to its baseline."""
        return self.measured / self.against if self.against else None

    @property
    def reached(self) -> bool:
        """True if the figure reaches the goal."""
        value = self.measured if self.goal.of == "measured" else self.ratio
        return value is not None and _COMPARISONS[self.goal.sign](value, self.goal.limit)


@frozen
class Machine:
    """The machine of a run."""

    cpu: str
    cores: int
    system: str
    python: str

    @classmethod
    def here(cls) -> Machine:
        """Return this machine."""
        with_orjson = " and orjson" if find_spec("orjson") else ""  # the client uses it if it is installed
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            system=platform.system(),
            python=f"{platform.python_implementation()} {platform.python_version()}{with_orjson}",
        )


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


_converter = Converter()
_converter.register_unstructure_hook(datetime, lambda time: time.isoformat(timespec="seconds"))
_converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))


@frozen
class Results:
    """The results of a run."""

    date: datetime
    form: Form
    machine: Machine
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, form: Form, rows: Sequence[Row]) -> Results:
        """Return the results of a run that ended now, on this machine."""
        return cls(datetime.now(UTC), form, Machine.here(), tuple(rows))

    def to_json(self) -> dict[str, object]:
        """Return the results as JSON types, with the derived values of each row."""
        plain: dict[str, object] = _converter.unstructure(self)
        derived = [{"ratio": row.ratio, "reached": row.reached} for row in self.rows]
        return plain | {
            "rows": [_converter.unstructure(row) | more for row, more in zip(self.rows, derived, strict=True)]
        }

    @classmethod
    def from_json(cls, plain: dict[str, object]) -> Results:
        """Return the results from the output of `to_json`."""
        return _converter.structure(plain, cls)
