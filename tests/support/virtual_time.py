"""Run a coroutine in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from smspva_async.simulator import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine


def in_virtual_time(main: Coroutine[Any, Any, None]) -> float:
    """Run a coroutine in virtual time, and return the seconds that it took."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)
        return runner.get_loop().time()
