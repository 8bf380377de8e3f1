"""The log of the library."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of level WARNING or higher."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
