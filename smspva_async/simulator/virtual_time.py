"""Virtual time for asyncio: an event loop whose clock jumps to the next timer instead of waiting for it.

Trio brings `trio.testing.MockClock`; this is its counterpart. Everything that goes by `anyio.current_time` and
`anyio.sleep` runs in it at full speed: an hour of polling takes as long as its computation.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import SelectorKey


__all__ = ["VirtualTimeLoop"]


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits: what the loop would have slept is added to the clock."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # No timer is left, so only another thread or a socket can go on from here: wait for it.
            return super().select(None)
        self.elapsed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time.

    Sleeping costs nothing: when every task waits, the clock jumps to the next timer. It suits what happens in
    memory, such as the simulator's own transport. Work in threads and on sockets isn't waited for while a timer is
    due, since its duration means nothing on this clock.

    Use it with `asyncio.Runner(loop_factory=VirtualTimeLoop)`, or
    `anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})`.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual clock's seconds; it starts at 0."""
        return self._jumping.elapsed
