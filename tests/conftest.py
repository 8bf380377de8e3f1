"""What every test may ask for: both event loops in virtual time, and a client at the edge of a strict fake server."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from trio.testing import MockClock

from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.activating import ACTIVATION, STAY
from tests.consumers import Disk
from tests.edge import Edge
from tests.watching import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from smspva_async import SmspvaClient


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, object]]:
    """Run each `anyio` test on both event loops, whose clocks jump instead of waiting, but not over a thread's work."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    clock = MockClock(autojump_threshold=0)
    monkeypatch.setattr("anyio.to_thread.run_sync", _stopping(clock, anyio.to_thread.run_sync))
    return "trio", {"clock": clock}


def _stopping(clock: MockClock, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return the same, with the clock standing still meanwhile, as asyncio's virtual one does by itself."""
    under_way = 0

    async def stopping(*arguments: Any, **options: Any) -> Any:
        nonlocal under_way
        under_way += 1
        clock.autojump_threshold = math.inf
        try:
            return await run(*arguments, **options)
        finally:
            under_way -= 1
            clock.autojump_threshold = math.inf if under_way else 0

    return stopping


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualTimeLoop]]:
    """Run each `asyncio` test in virtual time as well."""
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
def local_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a watcher be entered at `START`, and a fraction of a second, by the local clock."""
    monkeypatch.setattr("smspva_async._clock.time", SimpleNamespace(time=lambda: START.timestamp() + 0.6))


@pytest.fixture
def accounts_are_told_apart_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an account's fingerprint cost nothing."""
    monkeypatch.setattr("smspva_async._secret._ROUNDS", 1)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Return a simulator whose numbers are quick to be active, and then to lapse."""
    sim = Simulator(activation=(ACTIVATION, ACTIVATION), active=(STAY, STAY))
    yield sim
    assert sim.violations == []


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """Return what outlasts the processes of a test, for each journal."""
    return Disk(None if request.param == "memory" else tmp_path / "journal")


@pytest.fixture
def memory() -> Disk:
    """Return the same for the journal in memory alone."""
    return Disk(None)


@pytest.fixture
def edge() -> Iterator[Edge]:
    """Return a server that answers what it was told to, and nothing else."""
    edge = Edge()
    yield edge
    assert edge.strangers == [], "the client asked for what the test didn't provide"


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[SmspvaClient]:
    """Return an open client of that server, without a gap between requests."""
    async with edge.client() as client:
        yield client
