"""Fixtures for programs of the documentation: a simulator instead of the network, and a clock that follows it."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any

import httpx
import pytest

from smspva_async.simulator import Simulator
from tests.support.backends import hold_time_while_a_thread_works


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Return a simulator that answers every client, so that programs run unchanged."""
    hold_time_while_a_thread_works(monkeypatch)  # one reads the certificates
    simulator = Simulator(seed=1)
    monkeypatch.setenv("SMSPVA_API_KEY", "key-of-the-documents")
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: simulator.transport())
    return simulator


@pytest.fixture
def wall_clock(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `datetime.now` follow the simulator's virtual time in programs that import `datetime` afterwards."""
    began, start = datetime.now(UTC), simulator.now

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return (began + (simulator.now - start)).astimezone(tz)

    monkeypatch.setattr("datetime.datetime", Clock)
