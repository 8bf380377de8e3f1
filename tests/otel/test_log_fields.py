"""The loggers and the fields of what is logged."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import smspva_async
from smspva_async import Pace, SmspvaClient, Watcher
from tests.support.accounts import ORDERS, OUTAGE, Account, order
from tests.support.backends import on_both_backends
from tests.support.keys import HEAD, KEY
from tests.support.logs import fields
from tests.support.shared_journal import MemoryFleet, Server
from tests.support.watching import polls

if TYPE_CHECKING:
    from smspva_async.simulator import Simulator

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Return the part of the library and the fields of each log record."""
    return [(record.name.removeprefix("smspva_async."), fields(record)) for record in caplog.records]


async def test_a_skipped_row_names_the_call(caplog: pytest.LogCaptureFixture, sim: Simulator) -> None:
    order_id, _ = sim.add_order(state=1).id, sim.add_order()
    for _ in range(2):
        sim.deliver(order_id, "Code Instagram: 671 094.")
    async with SmspvaClient(KEY, transport=sim.transport(), pace=Pace(gap=0)) as client:
        sim.faults.next("orders", "nameless_row")
        await client.orders()
        sim.faults.next("sms", "bad_row")
        await client.sms(order_id)
    assert logged(caplog) == [
        ("client", {"method": "orders", "order_id": None}),
        ("client", {"method": "sms", "order_id": order_id}),
    ]
    assert HEAD not in caplog.text
    assert "671" not in caplog.text


async def test_an_interrupted_purchase_names_the_call_and_its_time(
    caplog: pytest.LogCaptureFixture, sim: Simulator
) -> None:
    async with SmspvaClient(KEY, transport=sim.transport(), pace=Pace(gap=0)) as client:
        sim.faults.next("rent", "hang")
        with anyio.move_on_after(3):
            await client.rent("RU", "opt16")
    assert logged(caplog) == [("purchases", {"method": "create", "seconds": pytest.approx(3)})]
    assert HEAD not in caplog.text


@pytest.mark.parametrize(("failing", "method"), [(ORDERS, "orders"), (1, "sms")])
async def test_an_outage_names_the_poll_the_error_and_the_downtime(
    failing: int | None, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    account = Account(order(1), order(2))
    async with Watcher(account):
        await anyio.sleep(1)
        account.failures[failing] = OUTAGE
        await polls(5)
        account.failures.clear()
        await polls(2)
    (_, began), (_, ended) = logged(caplog)
    assert began == {"method": method, "order_id": failing, "kind": "ConnectionFailed"}
    assert ended == {"method": method, "order_id": failing, "seconds": pytest.approx(5 * 30, abs=30)}
    assert {part for part, _ in logged(caplog)} == {"watch"}


async def test_a_fleet_without_a_leader_says_for_how_long(caplog: pytest.LogCaptureFixture, sim: Simulator) -> None:
    fleet = MemoryFleet(Server(), may_lead=False)
    async with SmspvaClient("any-key", transport=sim.transport(), fleet=fleet) as client:
        with anyio.move_on_after(60):
            async with Watcher(client):
                pass
    ((part, found),) = logged(caplog)
    assert part == "watch"
    assert found == {"seconds": pytest.approx(fleet.journal.lease, abs=fleet.journal.lease / 2)}


def test_every_log_call_without_a_traceback_has_fields() -> None:
    calls = [
        (path.name, node)
        for path in sorted(Path(smspva_async.__file__).parent.rglob("*.py"))  # it may be installed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("_log.info", "_log.warning", "_log.error")
    ]
    assert len(calls) > 5
    without = [f"{name}:{node.lineno}" for name, node in calls if "extra" not in {word.arg for word in node.keywords}]
    assert without == []
