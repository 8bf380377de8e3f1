"""Fixtures for all tests."""

from __future__ import annotations

import logging
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.accounts import START
from tests.support.activation import ACTIVATION, STAY
from tests.support.backends import hold_time_while_a_thread_works, virtual_time
from tests.support.consumers import Disk
from tests.support.fake_server import FakeServer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from smspva_async import SmspvaClient

# A machine under load may be slow.
_relaxed: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("quick", max_examples=25, **_relaxed)
hypothesis.settings.register_profile("thorough", max_examples=500, **_relaxed)
hypothesis.settings.load_profile("quick")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run an `anyio` test on asyncio, and on trio in the slow run or where it is marked `on_both_backends`."""
    marks = metafunc.definition.iter_markers("parametrize")
    is_parametrized = any("anyio_backend" in (mark.args or [mark.kwargs["argnames"]])[0] for mark in marks)
    if "anyio_backend" in metafunc.fixturenames and not is_parametrized:
        is_marked = metafunc.definition.get_closest_marker("on_both_backends") is not None
        trio = pytest.param("trio", marks=() if is_marked else pytest.mark.slow)
        metafunc.parametrize("anyio_backend", ["asyncio", trio], indirect=True)


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_run(request: pytest.FixtureRequest) -> None:
    """Seed the random numbers, such as a watcher's phase, so that a test behaves the same in every run."""
    random.seed(request.node.nodeid)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """Return a backend in virtual time."""
    hold_time_while_a_thread_works(monkeypatch)
    return request.param, virtual_time(request.param)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """Run the tests of pytest-asyncio in virtual time."""
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
def local_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the local clock to `START` and a fraction of a second."""
    monkeypatch.setattr("smspva_async._server_clock.time", SimpleNamespace(time=lambda: START.timestamp() + 0.6))


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Remove proxies and certificates from the environment, and return the monkeypatch."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    return monkeypatch


@pytest.fixture
def cheap_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute account fingerprints with one round, so that they cost nothing."""
    monkeypatch.setattr("smspva_async._http.redaction._ROUNDS", 1)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Return a simulator whose numbers become active, and lapse, after a short time."""
    sim = Simulator(activation=(ACTIVATION, ACTIVATION), active=(STAY, STAY))
    yield sim
    assert sim.violations == []


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """Return storage that outlives a watching process, once for each kind of journal."""
    return Disk(None if request.param == "memory" else tmp_path / "journal")


@pytest.fixture
def memory() -> Disk:
    """Return storage that outlives a watching process, for the journal in memory only."""
    return Disk(None)


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """Return a server that gives the answers set by the test. Any other request fails the test."""
    fake_server = FakeServer()
    yield fake_server
    assert fake_server.unexpected == [], "the client sent requests that the test didn't expect"


@pytest.fixture
async def client(fake_server: FakeServer) -> AsyncIterator[SmspvaClient]:
    """Return an open client of `fake_server`, without a gap between requests."""
    async with fake_server.client() as client:
        yield client


@pytest.fixture
def log_everything(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the log level of all libraries to DEBUG, and use no proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with caplog.at_level(logging.DEBUG):
        yield
