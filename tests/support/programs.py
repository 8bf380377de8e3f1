"""Run a program of the documentation as it is, in virtual time, on a simulator instead of the network."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from smspva_async.simulator import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.support.documents import Block


def run_program(program: Block, meanwhile: Coroutine[Any, Any, None] | None = None) -> None:
    """Run a program that calls `asyncio.run(main())`, concurrently with `meanwhile`.

    When `meanwhile` ends, the program is cancelled. Without it, the program runs to its end.
    """

    def run_both(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main if meanwhile is None else _run_until_end(meanwhile, main))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(asyncio, "run", run_both)
        exec(program.compiled(), {"__name__": "__main__"})  # noqa: S102 - the program is from this repository


async def _run_until_end(meanwhile: Coroutine[Any, Any, None], main: Coroutine[Any, Any, None]) -> None:
    program = asyncio.create_task(main)
    await meanwhile
    program.cancel("the test has ended")
    await asyncio.wait([program])
    if not program.cancelled():
        program.result()
