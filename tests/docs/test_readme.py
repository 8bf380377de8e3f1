"""The README's code, run as it stands there."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from smspva_async import SmspvaClient
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.readme import BLOCKS
from tests.support.selection import slow
from tests.support.web_service import streamed

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Stand in for the network, so that the README's programs run as they are."""
    simulator = Simulator(seed=1)
    monkeypatch.setenv("SMSPVA_API_KEY", "key-of-the-readme")
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: simulator.transport())
    return simulator


def run(block: str, world: Coroutine[Any, Any, None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program in virtual time beside the world that it watches, and end it when the world ends it."""

    def run_both(main: Coroutine[Any, Any, None]) -> None:
        async def both() -> None:
            program = asyncio.create_task(main)
            await world
            program.cancel("the world has ended")
            await asyncio.wait([program])
            if not program.cancelled():
                program.result()

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(both())

    monkeypatch.setattr(asyncio, "run", run_both)
    exec(compile(BLOCKS[block], f"README.md, {block}", "exec"), {"__name__": "__main__"})  # noqa: S102


def test_the_quick_start_prints_the_code(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def world() -> None:
        while not simulator.orders or simulator.orders[0].state != 1:  # noqa: ASYNC110 - it is the simulator that acts
            await asyncio.sleep(60)
        simulator.deliver(simulator.orders[0].id, "Code Instagram: 671 094.", sender="FB")
        await asyncio.sleep(60)

    run("quick start", world(), monkeypatch)
    assert capsys.readouterr().out == f"ready: {simulator.orders[0].phone}\ncode: 671094\n"
    assert simulator.violations == []


def test_the_quick_start_runs_under_trio(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def world() -> None:
        while not simulator.orders or simulator.orders[0].state != 1:  # noqa: ASYNC110 - it is the simulator that acts
            await trio.sleep(60)
        simulator.deliver(simulator.orders[0].id, "Code Instagram: 671 094.", sender="FB")

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world)
            nursery.start_soon(program["main"])

    monkeypatch.setattr(asyncio, "run", lambda main: main.close())
    program: dict[str, Any] = {}
    exec(compile(BLOCKS["quick start"], "README.md, quick start", "exec"), program)  # noqa: S102
    trio.run(both, clock=MockClock(autojump_threshold=0))
    assert capsys.readouterr().out == f"ready: {simulator.orders[0].phone}\ncode: 671094\n"
    assert simulator.violations == []


@pytest.mark.parametrize("count", [10, slow(100)])
def test_a_hundred_numbers_are_used_at_once(
    count: int, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(count):
        simulator.add_order()
    waiting = {order.id: order for order in simulator.orders}

    async def world() -> None:
        while waiting:
            await asyncio.sleep(30)
            for order in [order for order in waiting.values() if order.state == 1]:
                assert simulator.deliver(order.id, "Welcome!", network=True)
                assert simulator.deliver(order.id, f"Your code: {order.id}", network=True)
                del waiting[order.id]
        await asyncio.sleep(600)

    run("hundred", world(), monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    orders = simulator.orders
    assert sorted(line for line in printed if "ready" in line) == sorted(f"ready: {order.phone}" for order in orders)
    codes = sorted(f"code: {order.phone} {order.id}" for order in orders)
    assert sorted(line for line in printed if "ready" not in line) == codes
    assert [asked.method for asked in simulator.requests].count("activate") == count
    assert simulator.violations == []


def test_what_is_not_acknowledged_is_printed_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    order = simulator.add_order()

    async def world(text: str) -> None:
        await asyncio.sleep(60)
        simulator.deliver(order.id, text, sender="FB")
        await asyncio.sleep(120)

    texts: list[str] = []
    for text in ("one", "two"):
        run("journal", world(text), monkeypatch)
        texts += [line.split(" ", 2)[2] for line in capsys.readouterr().out.splitlines()]
    assert texts == ["one", "two"]
    # Killed before the last `ack` was in the file:
    with closing(sqlite3.connect("smspva.db", isolation_level=None)) as journal:
        journal.execute("UPDATE cursors SET place = place - 1")
    run("journal", asyncio.sleep(60), monkeypatch)
    assert capsys.readouterr().out.splitlines()[0].endswith(" two")


def test_the_events_are_printed_as_they_come(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def world() -> None:
        order = simulator.add_order(country="RU", service="opt16")
        await asyncio.sleep(60)
        simulator.deliver(order.id, "Code Instagram: 671 094.", sender="FB")
        simulator.faults.next("orders", "html", count=8)
        await asyncio.sleep(120)

    run("events", world(), monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1] for line in printed[:1]] == ["Instagram INACTIVE"]
    assert any("FB Code Instagram: 671 094." in line for line in printed)
    assert any(line.startswith("polling fails for now: orders: ") for line in printed)


def test_a_web_service_streams_the_events(simulator: Simulator) -> None:
    order = simulator.add_order()
    found: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(BLOCKS["web"], "README.md, web", "exec"), found)  # noqa: S102

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        sent = runner.run(streamed(found["app"], 200, lambda: simulator.deliver(order.id, "Code 671 094")))
    events = [dict(line.split(": ", 1) for line in text.splitlines() if line) for _, text in sent]
    assert [(event["id"], json.loads(event["data"])["type"]) for event in events] == [
        ("1", "OrderAdded"),
        ("2", "SmsReceived"),
    ]


@pytest.fixture
def machine_s_clock(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine's clock go on with the virtual time of the programs that run."""
    began, start = datetime.now(UTC), simulator.now

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return (began + (simulator.now - start)).astimezone(tz)

    monkeypatch.setattr("datetime.datetime", Clock)


async def until_it_ends() -> None:
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


@pytest.mark.usefixtures("machine_s_clock")
def test_a_purchase_is_found_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    simulator.faults.next("create", "lost")
    for _ in range(2):
        run("ledger", until_it_ends(), monkeypatch)
    (lost,) = simulator.orders
    assert capsys.readouterr().out.splitlines() == [
        f"create done {lost.phone}",
        f"use what earlier runs bought: {lost.id}",
    ]
    assert simulator.violations == []


@pytest.mark.usefixtures("machine_s_clock")
def test_a_purchase_that_stays_open_is_left_to_a_person(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    simulator.faults.next("create", "hang", done=False)
    began = simulator.now
    run("ledger", until_it_ends(), monkeypatch)
    assert timedelta(hours=1) < simulator.now - began < timedelta(hours=1.2)
    began = simulator.now
    for _ in range(2):
        run("ledger", until_it_ends(), monkeypatch)
    assert simulator.now - began < timedelta(minutes=1)
    assert capsys.readouterr().out.splitlines() == 3 * [
        "it isn't known what was bought; a person decides: smspva unsettled --ledger smspva-ledger.sqlite",
    ]
    assert [asked.method for asked in simulator.requests].count("create") == 1


def test_what_a_program_bought_and_never_had_is_listed(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def ended_early() -> None:
        async with SmspvaClient(ledger="smspva-ledger.sqlite") as client:
            renting = asyncio.gather(*(client.rent("PL", "opt29") for _ in range(3)))
            while len(simulator.orders) < 2:  # noqa: ASYNC110 - it is the simulator that acts
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
            renting.cancel()

    monkeypatch.chdir(tmp_path)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(ended_early())
    first, second = simulator.orders
    run("ledger", until_it_ends(), monkeypatch)
    assert capsys.readouterr().out.splitlines() == [f"use what earlier runs bought: {first.id} {second.id}"]
    assert simulator.orders == [first, second]


def test_the_simulator_runs_in_virtual_time(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(BLOCKS["simulator"], "README.md, simulator", "exec"), {"__name__": "__main__"})  # noqa: S102
    assert capsys.readouterr().out == "671094\n"
