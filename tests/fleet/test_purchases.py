"""Two processes of a fleet that rent at the same time while answers get lost and processes are killed."""

from __future__ import annotations

from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chaos
from tests.support.backends import on_a_real_loop
from tests.support.loopback import Served
from tests.support.processes import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async import OutcomeUnknown
    from tests.support.redis_server import RedisServer

LEASE = 1.0


@pytest.mark.anyio
@on_a_real_loop
@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize(("seed", "kills"), [(1, 3), pytest.param(2, 20, marks=pytest.mark.slow)])
async def test_every_purchase_is_in_the_ledger_or_a_candidate(
    seed: int, kills: int, tmp_path: Path, redis_server: RedisServer
) -> None:
    chance = Random(seed)
    sim = Simulator(seed=seed, balance=10**9)
    for service in ("opt16", "opt20"):
        sim.set_offer("RU", service, count=10**6)
    sim.add_order()  # not bought by the programs
    reports: list[Path] = []

    def started(number: int, stack: ExitStack) -> Worker:
        reports.append(tmp_path / f"report-{len(reports)}")
        backend = ("asyncio", "trio")[number]
        return stack.enter_context(
            Worker(chaos.rent_in_fleet, server.url, redis_server.url, LEASE, backend, reports[-1])
        )

    async def wait_for_sales(more: int) -> None:
        before = len(sim.orders)
        with anyio.fail_after(PATIENCE):
            while len(sim.orders) < before + more:  # noqa: ASYNC110 - the programs act
                await anyio.sleep(0.01)

    async with Served(sim) as server:
        sim.faults.rate(0.3, kinds=["lost", "reset", "cut", "http_500", "html", "refused"], methods=["create"])
        with ExitStack() as stack:
            programs = [started(0, stack), started(1, stack)]
            for _ in range(kills):
                await wait_for_sales(6)
                killed = chance.randrange(2)
                programs[killed].kill()
                programs[killed] = started(killed, stack)
            redis_server.kill()
            redis_server.start()
            await wait_for_sales(6)
        sim.faults.clear()
        bought = {order.id for order in sim.orders[1:]}
        candidates: list[int] = []
        async with chaos.fleet_client(server.url, redis_server.url, LEASE, PATIENCE) as client:
            unsettled: list[OutcomeUnknown] = []
            with anyio.fail_after(PATIENCE):
                # Calls of a killed process are in flight until its last sign of life is a lease old.
                while len(unsettled) < sum(purchase.outcome == "unknown" for purchase in client.purchases()):
                    await anyio.sleep(LEASE / 10)
                    for error in client.unsettled:
                        found = await client.reconcile(error)  # reads the ledger, too
                        candidates += [order.id for order in found.candidates]
                    unsettled = list(client.unsettled)
            purchases = client.purchases()

    returned = [int(order_id) for report in reports for order_id in chaos.read_records(report)]
    in_ledger = [order_id for purchase in purchases if purchase.outcome == "done" for order_id in purchase.order_ids]
    assert unsettled
    assert len({*returned}) == len(returned), "two calls returned the same order"
    assert len({*in_ledger}) == len(in_ledger), "two calls claim the same order"
    assert {*returned} <= {*in_ledger} <= bought
    assert bought <= {*in_ledger, *candidates}
    assert sim.orders[0].id not in {*in_ledger}
    assert not {*in_ledger} & {*candidates}
    assert len(bought) <= len(purchases)  # each was sent once
    assert sim.violations == []
