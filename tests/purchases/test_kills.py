"""A program that is killed repeatedly while it rents and answers get lost: every purchase is found."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async.simulator import FaultName, MethodName, Simulator
from tests.support import PATIENCE, chaos
from tests.support.backends import on_a_real_loop
from tests.support.loopback import Served
from tests.support.processes import Worker, until

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async import OutcomeUnknown

BUYING: list[MethodName] = ["create", "create_multi"]
KINDS: list[FaultName] = [
    *("refused", "connect_timeout", "lost", "reset", "hang", "latency", "slow_body", "cut", "half"),
    *("http_500", "http_503", "html_502", "html", "text", "redirect", "echo", "bad_row"),
]
"""No rate limit errors: with a larger gap, a program would buy too little before it is killed."""


async def wait_for_purchases(sim: Simulator, purchases: int, program: Worker) -> None:
    """Wait until a program has sent this many more purchases."""

    def count() -> int:
        return sum(request.method in BUYING for request in sim.requests)

    before = count()
    await until(lambda: count() >= before + purchases, program)


LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.anyio
@on_a_real_loop
@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize(("seed", "kills"), [(2, 6), *[pytest.param(seed, 40, marks=LONG) for seed in (1, 2)]])
async def test_every_purchase_is_returned_or_a_candidate(seed: int, kills: int, tmp_path: Path) -> None:
    chance = Random(seed)
    sim = Simulator(seed=seed, dialect="live" if seed % 2 else "page", balance=10**9)
    for service in ("opt16", "opt20"):
        sim.set_offer("RU", service, count=10**6)
    sim.add_order()  # not bought by the program
    ledger, report = tmp_path / "ledger", tmp_path / "report"
    async with Served(sim) as server:
        sim.faults.rate(0.3, kinds=KINDS, methods=BUYING)
        for _ in range(kills):
            with Worker(chaos.rent, server.url, ledger, report) as program:
                await wait_for_purchases(sim, chance.randint(1, 6), program)
                await anyio.sleep(chance.uniform(0, 0.02))
                program.kill()
        sim.faults.clear()

        bought = {order.id for order in sim.orders[1:]}
        returned = [int(order_id) for order_id in chaos.read_records(report)]
        candidates: set[int] = set()
        async with chaos.client(server.url, timeout=PATIENCE, ledger=ledger) as client:
            unsettled: list[OutcomeUnknown] = list(client.unsettled)
            for error in unsettled:
                found = await client.reconcile(error)
                candidates.update(order.id for order in found.candidates)
                client.settle(error)
            assert client.unsettled == ()
            purchases = client.purchases()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "report"]

    assert len(bought) > kills
    assert unsettled
    assert len(set(returned)) == len(returned), "two calls returned the same order"
    assert set(returned) <= bought
    assert sim.orders[0].id not in candidates
    # Each was sent once: the server sold no more orders than the calls in the ledger ask for.
    assert len(bought) <= sum(purchase.params.get("services", "").count(",") + 1 for purchase in purchases)
    # The next start lists what a killed program had bought.
    in_ledger = {order_id for purchase in purchases for order_id in purchase.order_ids}
    assert set(returned) <= in_ledger
    assert bought <= in_ledger | candidates
    assert sim.violations == []
