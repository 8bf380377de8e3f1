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
        self._next_calls = defaultdict[int | None, anyio.Event](anyio.Event)

    async def activate(self, order_id: int) -> None:
        await self._call(ACTIVATE)
        self.change(order_id, state=self.becomes)

    async def _call(self, what: int | None) -> None:
        self._next_calls.pop(what, anyio.Event()).set()
        await super()._call(what)

    async def wait_for_call(self, what: int | None) -> None:
        """Wait until the next call of a method or for an order is made."""
        await self._next_calls[what].wait()


class SlowReads(SlowJournal):
    """A journal whose reads are slow too."""

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        await anyio.lowlevel.checkpoint()
        found = await super().read(after, limit)
        await anyio.lowlevel.checkpoint()
        return found


def request_times(sim: Simulator, method: str, order_id: int | None = None) -> list[float]:
    """Return the times of the requests of a method, optionally for one order only."""
    return [
        request.time
        for request in sim.requests
        if request.method == method and (order_id is None or request.params["id"] == str(order_id))
    ]


def seconds(sim: Simulator) -> float:
    """Return the simulator's time in seconds since `START`."""
    return (sim.now - START).total_seconds()


async def steps(count: int) -> None:
    """Let all tasks run for some scheduler steps."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def stay(
    entering: AbstractAsyncContextManager[ActiveNumber], given: list[Sms] | None = None, seconds: float = 10_000
) -> None:
    """Stay inside a session for some seconds, and append every message to `given`."""
    async with entering as number:
        with anyio.move_on_after(seconds):
            while True:
                message = await number.next_sms(timeout=HANGS)
                if given is not None:
                    given.append(message)


async def enter_and_leave(entering: AbstractAsyncContextManager[object]) -> None:
    """Enter and leave a session."""
    async with entering:
        pass


async def check_refusal_after_lapse(sim: Simulator, number: ActiveNumber) -> None:
    """Let a number lapse, refuse its activation with "Rent is blocked", and check that the session raises it."""
    sim.set_state(number.order.id, 0)
    with pytest.raises(ApiError, match="Rent is blocked"):
        await number.next_sms()


async def assert_polls_as_usual(sim: Simulator) -> None:
    """Check that the watch polls as it does without waits and sessions."""
    await polls(1)
    sim.requests.clear()
    await polls(10)
    assert request_times(sim, "activate") == []
    assert len(request_times(sim, "orders")) <= 10
