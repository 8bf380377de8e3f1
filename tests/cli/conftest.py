"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from smspva_async.simulator import Simulator
from tests.support.commands import KEY, Commands, minimal_environment, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def only_minimal_environment(tmp_path: Path) -> Iterator[None]:
    """Run commands without the environment variables of this machine."""
    with mock.patch.dict(os.environ, minimal_environment(tmp_path), clear=True):
        yield


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with one number."""
    simulator = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract")
    simulator.add_order()
    with serving(simulator, tmp_path) as commands:
        yield commands
    assert simulator.violations == []
