"""The log of the library."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

_STANDARD = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of level WARNING or higher."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that a call passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
