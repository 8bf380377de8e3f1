"""Fixtures for tests of OpenTelemetry."""

from __future__ import annotations

import pytest

from tests.support.telemetry import Recorded


@pytest.fixture
def recorded() -> Recorded:
    """Return a `Telemetry` whose spans and metrics are kept in memory."""
    return Recorded()
