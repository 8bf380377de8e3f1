"""Test parameters that only the slow run uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


def slow(*values: object, id: str | None = None) -> Any:  # noqa: A002 - as in `pytest.param`
    """Return a parameter set that the quick run skips."""
    return pytest.param(*values, marks=pytest.mark.slow, id=id)


def mostly_slow(cases: Sequence[Any], *, every: int) -> list[Any]:
    """Keep every n-th case in the quick run, starting with the first, and leave the others to the slow run.

    Use it for cases that test the same code. A case is a value, or a tuple with one value per argument.
    """
    return [
        case if number % every == 0 else slow(*(case if isinstance(case, tuple) else (case,)))
        for number, case in enumerate(cases)
    ]
