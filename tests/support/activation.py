"""Helpers for the tests of `Watcher.activated`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from smspva_async import ApiError, OrderState, Sms
from tests.support.accounts import HANGS, START, Account
from tests.support.watching import SlowJournal, polls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from smspva_async import ActiveNumber, Event, Order
    from smspva_async.simulator import Simulator

INACTIVE, ACTIVE, ACTIVATING = OrderState.INACTIVE, OrderState.ACTIVE, OrderState.ACTIVATING
ACTIVATE = 0
"""The name of an activation among the calls of `Numbers`."""
ACTIVATION, STAY = 110.0, 240.0
"""Seconds until a simulated number is active, and for which it stays active."""
TWO_MINUTES = 120.0
STEPS = 40
"""More scheduler steps than any operation here takes."""


class Numbers(Account):
    """An account whose numbers change to a state of the test's choice when they are activated."""

    def __init__(self, *orders: Order, becomes: OrderState = ACTIVE) -> None:
        super().__init__(*orders)
        self.becomes = becomes
        self._news = defaultdict[int | None, anyio.Event](anyio.Event)

    async def activate(self, order_id: int) -> None:
        await self._asked(ACTIVATE)
        self.change(order_id, state=self.becomes)

    async def _asked(self, what: int | None) -> None:
        self._news.pop(what, anyio.Event()).set()
        await super()._asked(what)

    async def call(self, what: int | None) -> None:
        """Wait until a call is made."""
        await self._news[what].wait()


class SlowReads(SlowJournal):
    """A journal whose reads are slow too."""

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        await anyio.lowlevel.checkpoint()
        found = await super().read(after, limit)
        await anyio.lowlevel.checkpoint()
        return found


def asked(sim: Simulator, method: str, order_id: int | None = None) -> list[float]:
    """Return the times of a call."""
    return [
        request.time
        for request in sim.requests
        if request.method == method and (order_id is None or request.params["id"] == str(order_id))
    ]


def seconds(sim: Simulator) -> float:
    """Return the simulator's clock."""
    return (sim.now - START).total_seconds()


async def steps(count: int) -> None:
    """Let all tasks run for some scheduler steps."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def held(
    entering: AbstractAsyncContextManager[ActiveNumber], given: list[Sms] | None = None, seconds: float = 10_000
) -> None:
    """Stay inside a session for some seconds, and take every message."""
    async with entering as number:
        with anyio.move_on_after(seconds):
            while True:
                message = await number.next_sms(timeout=HANGS)
                if given is not None:
                    given.append(message)


async def entered(entering: AbstractAsyncContextManager[object]) -> None:
    """Enter and leave a session."""
    async with entering:
        pass


async def lapses_and_is_refused(sim: Simulator, number: ActiveNumber) -> None:
    """Let a number lapse, refuse its activation with "Rent is blocked", and check that the session raises it."""
    sim.set_state(number.order.id, 0)
    with pytest.raises(ApiError, match="Rent is blocked"):
        await number.next_sms()


async def assert_nothing_is_kept(sim: Simulator) -> None:
    """Check that the watch polls as if there were no waits and no sessions."""
    await polls(1)
    sim.requests.clear()
    await polls(10)
    assert asked(sim, "activate") == []
    assert len(asked(sim, "orders")) <= 10
