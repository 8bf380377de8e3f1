"""The server's clock: a start time plus the time that has passed on anyio's clock."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import Generator

DAY = 86_400.0

_clock_numbers = count()


class Clock:
    """A clock that starts at its first use inside an event loop, and counts seconds.

    The clock stops outside an event loop and continues in the next one.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC)")
        # The API has whole seconds only. With a whole start time, whole seconds on this clock are exact in the API.
        self._start = start.astimezone(UTC).replace(microsecond=0)
        self._elapsed = 0.0
        self._paused = False
        # Each event loop has its own time origin. The name must be unique: old versions of anyio use it as the key.
        self._offset: RunVar[float] = RunVar(f"smspva simulator {next(_clock_numbers)}")

    def elapsed(self) -> float:
        """Return the seconds since the start, rounded to microseconds."""
        if self._paused:
            return self._elapsed
        try:
            now = anyio.current_time()
        except RuntimeError:  # no event loop
            return self._elapsed
        offset = self._offset.get(None)
        if offset is None:
            offset = self._elapsed - now
            self._offset.set(offset)
        # Rounding prevents a sleep of 600 s from ending slightly before an event that is due in 600 s.
        self._elapsed = round(now + offset, 6)
        return self._elapsed

    @contextmanager
    def paused(self) -> Generator[None]:
        """Stop the clock during a `with` block, so that an answer shows the state at one instant."""
        self.elapsed()
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def at(self, seconds: float) -> datetime:
        """Convert seconds on this clock to an aware UTC time."""
        return self._start + timedelta(seconds=seconds)

    def unix(self, seconds: float) -> int:
        """Convert seconds on this clock to unix time, rounded down."""
        return int(self._start.timestamp() + seconds)

    def seconds(self, moment: datetime) -> float:
        """Convert an aware time to seconds on this clock."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment!r} has no time zone")
        return (moment - self._start).total_seconds()
