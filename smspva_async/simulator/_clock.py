"""The server's clock: an epoch, plus the time that has passed on anyio's clock."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["DAY", "Clock"]

DAY = 86_400.0

_numbers = count()


class Clock:
    """Seconds since the start, which is the first use inside an event loop.

    Outside of a loop the clock stands still. In a second loop it goes on from where the first one left it.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC)")
        # The API speaks in whole seconds; a whole epoch keeps what it shows equal to what happens.
        self._start = start.astimezone(UTC).replace(microsecond=0)
        self._elapsed = 0.0
        self._held = False
        # Every event loop counts from a zero of its own. The name is unique since old anyio goes by it.
        self._offset: RunVar[float] = RunVar(f"smspva simulator {next(_numbers)}")

    def elapsed(self) -> float:
        """Return the seconds since the start, to the microsecond."""
        if self._held:
            return self._elapsed
        try:
            now = anyio.current_time()
        except RuntimeError:  # no event loop
            return self._elapsed
        offset = self._offset.get(None)
        if offset is None:
            offset = self._elapsed - now
            self._offset.set(offset)
        # Rounded, so that a sleep of 600 s doesn't end a hair before what is due in 600 s.
        self._elapsed = round(now + offset, 6)
        return self._elapsed

    @contextmanager
    def held(self) -> Generator[None]:
        """Stop the clock for a while, so that an answer is of one instant."""
        self.elapsed()
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def at(self, seconds: float) -> datetime:
        """Return the aware UTC time of a second on this clock."""
        return self._start + timedelta(seconds=seconds)

    def unix(self, seconds: float) -> int:
        """Return the unix time of a second on this clock, rounded down."""
        return int(self._start.timestamp() + seconds)

    def seconds(self, moment: datetime) -> float:
        """Return the second on this clock of an aware time."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment!r} has no time zone")
        return (moment - self._start).total_seconds()
