"""What a benchmark tells: rows, with what each is to reach, and where they were measured."""

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
    """How thorough a run is."""

    FULL = "full"
    SHORT = "short"

    def pick(self, *, full: T, short: T) -> T:
        """Return what applies to this form."""
        return full if self is Form.FULL else short


@frozen
class Goal:
    """What a row is to reach."""

    of: Literal["measured", "ratio"]
    sign: Literal["<=", ">="]
    limit: float


def at_most(limit: float, *, of: Literal["measured", "ratio"] = "ratio") -> Goal:
    """Return the goal of being no more than something."""
    return Goal(of, "<=", limit)


def at_least(limit: float, *, of: Literal["measured", "ratio"] = "ratio") -> Goal:
    """Return the goal of being no less than something."""
    return Goal(of, ">=", limit)


@frozen
class Row:
    """One figure, beside what it is measured against."""

    group: str
    name: str
    unit: str
    measured: float
    goal: Goal
    against: float | None = None
    baseline: str = ""
    """What it is measured against."""
    spread: tuple[float, float] | None = None
    """The quartiles of the ratio over the repetitions."""
    deterministic: bool = False
    """Whether it goes by virtual time or counts requests, so that it is the same wherever it is run."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times what it is measured against."""
        return self.measured / self.against if self.against else None

    @property
    def reached(self) -> bool:
        """Whether the goal is."""
        value = self.measured if self.goal.of == "measured" else self.ratio
        return value is not None and _COMPARISONS[self.goal.sign](value, self.goal.limit)


@frozen
class Machine:
    """Where the rows were measured."""

    cpu: str
    cores: int
    system: str
    python: str

    @classmethod
    def here(cls) -> Machine:
        """Return this machine."""
        with_orjson = " and orjson" if find_spec("orjson") else ""  # the client uses it where it is installed
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            system=platform.system(),
            python=f"{platform.python_implementation()} {platform.python_version()}{with_orjson}",
        )


def _cpu() -> str:
    described = Path("/proc/cpuinfo")
    for line in described.read_text(encoding="utf-8").splitlines() if described.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


_converter = Converter()
_converter.register_unstructure_hook(datetime, lambda time: time.isoformat(timespec="seconds"))
_converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))


@frozen
class Results:
    """A run."""

    date: datetime
    form: Form
    machine: Machine
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, form: Form, rows: Sequence[Row]) -> Results:
        """Return the results of a run that has just ended here."""
        return cls(datetime.now(UTC), form, Machine.here(), tuple(rows))

    def to_json(self) -> dict[str, object]:
        """Return them as JSON's types, with what follows from the figures beside them."""
        plain: dict[str, object] = _converter.unstructure(self)
        derived = [{"ratio": row.ratio, "reached": row.reached} for row in self.rows]
        return plain | {
            "rows": [_converter.unstructure(row) | more for row, more in zip(self.rows, derived, strict=True)]
        }

    @classmethod
    def from_json(cls, plain: dict[str, object]) -> Results:
        """Return what `to_json` wrote down."""
        return _converter.structure(plain, cls)
