"""Helpers to measure alternately and repeatedly, in real or virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from attrs import frozen

from smspva_async.simulator import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

__all__ = ["SEED", "Compared", "compare", "in_real_time", "in_virtual_time", "percentile", "until"]

T = TypeVar("T")

SEED = 20_260_101


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, with the same random numbers in every run."""
    random.seed(SEED)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def in_real_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in real time."""
    with asyncio.Runner() as runner:
        return runner.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Wait in virtual time until a condition is true, for a day at most."""
    with anyio.fail_after(86_400):
        while not condition():  # noqa: ASYNC110 - in virtual time, a check costs almost nothing
            await anyio.sleep(1)


@frozen
class Compared:
    """The medians of two alternately measured series."""

    ours: float
    theirs: float
    spread: tuple[float, float]
    """The quartiles of the ratio."""


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Compared:
    """Return the medians of two alternately measured series, and the quartiles of their ratio."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    least, _, most = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Compared(median(ours), median(theirs), (least, most))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value with at least a share of the values at or below it."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
