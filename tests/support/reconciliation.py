"""What the tests of `reconcile` share: a client of the simulator, calls without an outcome, and their verdicts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest

from smspva_async import Pace, Period, SmspvaClient
from smspva_async.errors import OutcomeUnknown
from tests.support.fake_server import KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from smspva_async.simulator import Simulator

WEEK = Period.weeks(1)
both_dialects = pytest.mark.parametrize("dialect", ["page", "live"])
Dialect = Literal["page", "live", "contract"]


@asynccontextmanager
async def client_of(sim: Simulator, *, listed: bool = True, **arguments: Any) -> AsyncIterator[SmspvaClient]:
    """Return a client that knows which orders there are."""
    async with SmspvaClient(KEY, pace=Pace(gap=0), transport=sim.transport(), **arguments) as client:
        if listed:
            await client.orders()
        yield client
    assert sim.violations == []


async def unknown(make: Awaitable[Any]) -> OutcomeUnknown:
    """Make a call whose outcome isn't told."""
    with pytest.raises(OutcomeUnknown) as failed:
        await make
    return failed.value


async def verdict(client: SmspvaClient, error: OutcomeUnknown) -> tuple[str, list[int]]:
    found = await client.reconcile(error)
    return found.verdict, [order.id for order in found.candidates]


def ids(sim: Simulator) -> list[int]:
    return [order.id for order in sim.orders]
