"""What every test may ask for: both event loops in virtual time, and a client at the edge of a strict fake server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from smspva_async.simulator import VirtualTimeLoop
from tests.edge import Edge
from tests.watching import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from smspva_async import SmspvaClient


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run each `anyio` test on both event loops, whose clocks jump instead of waiting."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualTimeLoop]]:
    """Run each `asyncio` test in virtual time as well."""
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
def local_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a watcher be entered at `START`, and a fraction of a second, by the local clock."""
    monkeypatch.setattr("smspva_async._clock.time", SimpleNamespace(time=lambda: START.timestamp() + 0.6))


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
