"""Fixtures for tests of the fleet: a real Redis, and real time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.redis_server import RedisServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Return a running Redis without any data."""
    yield from running()
