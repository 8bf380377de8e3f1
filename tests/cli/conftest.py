"""The environment of the command line's tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests.support.commands import minimal_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def only_minimal_environment(tmp_path: Path) -> Iterator[None]:
    """Let no variable of this machine reach what a test runs in this process or starts."""
    with mock.patch.dict(os.environ, minimal_environment(tmp_path), clear=True):
        yield
