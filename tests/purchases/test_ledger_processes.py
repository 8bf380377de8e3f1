"""Ledgers of programs that run at the same time, fork or are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import Purchase, SmspvaClient
from smspva_async.simulator import Simulator
from tests.support import PATIENCE, chaos
from tests.support.backends import on_a_real_loop
from tests.support.loopback import Served
from tests.support.processes import Worker, until
from tests.support.sqlite_files import folder_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from smspva_async import OutcomeUnknown, Rental

pytestmark = [pytest.mark.anyio, on_a_real_loop, pytest.mark.usefixtures("plain_environment")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    sim = Simulator(seed=1, balance=10**9)
    sim.set_offer("RU", "opt16", count=10**6)
    async with Served(sim) as server:
        yield server


def client_of(url: str, ledger: Path) -> SmspvaClient:
    return chaos.client(url, timeout=PATIENCE, ledger=ledger)


async def rent(client: SmspvaClient) -> Rental:
    return await client.rent("RU", "opt16", chaos.WEEK)


def at_next_start(path: Path) -> tuple[Sequence[Purchase], Sequence[OutcomeUnknown]]:
    client = SmspvaClient(chaos.KEY, ledger=path)
    return client.purchases(), client.unsettled


# -- killed ----------------------------------------------------------------------------------------------------------


def rent_six_and_never_return(url: str, ledger: Path) -> None:
    async def main() -> None:
        async with client_of(url, ledger) as client:
            await asyncio.gather(*(rent(client) for _ in range(6)), anyio.sleep_forever())

    asyncio.run(main())


async def test_purchases_of_a_program_killed_in_a_gather_are_listed_at_the_next_start(
    server: Served, path: Path
) -> None:
    def is_all_bought() -> bool:
        return [purchase.outcome for purchase in at_next_start(path)[0]] == ["done"] * 6

    with Worker(rent_six_and_never_return, server.url, path) as program:
        await until(is_all_bought, program)
        program.kill()
    async with client_of(server.url, path) as client:
        listed = {order.id for order in await client.orders()}
        bought = [order_id for purchase in client.purchases() for order_id in purchase.order_ids]
        assert sorted(bought) == sorted(listed)
        assert len(bought) == 6
        assert client.unsettled == ()
        await rent(client)  # a killed writer may leave an empty rollback journal until the next write
    assert folder_content(path) == {"ledger"}


def rent_one(url: str, ledger: Path) -> None:
    async def main() -> None:
        async with client_of(url, ledger) as client:
            await rent(client)

    asyncio.run(main())


async def test_a_call_in_progress_is_unsettled_once_its_program_is_killed(server: Served, path: Path) -> None:
    sim = server._simulator
    sim.faults.next("create", "hang")
    async with client_of(server.url, path) as client:
        with Worker(rent_one, server.url, path) as program:
            await until(lambda: bool(sim.requests), program)
            theirs = folder_content(path)
            await rent(client)
            purchases, unsettled = at_next_start(path)
            assert [purchase.outcome for purchase in purchases] == ["unknown", "done"]
            assert unsettled == client.unsettled == ()
            program.kill()
        (lock,) = (name for name in theirs if name.endswith(".lock"))
        with closing(sqlite3.connect(path.parent / lock, isolation_level=None)) as other_reader:
            other_reader.execute("BEGIN")
            other_reader.execute("SELECT * FROM sqlite_master").fetchall()
            assert len(at_next_start(path)[1]) == 1
        await client.reconcile(at_next_start(path)[1][0])
        assert len(client.unsettled) == 1
        client.settle(client.unsettled[0])
    assert folder_content(path) == {"ledger"}
    assert at_next_start(path)[1] == ()


# -- at the same time ------------------------------------------------------------------------------------------------


def rent_many(url: str, ledger: Path, pipe: Connection) -> None:
    async def main() -> None:
        async with client_of(url, ledger) as client, asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(rent(client)) for _ in range(10)]
        pipe.send([task.result().id for task in made])

    asyncio.run(main())


async def test_programs_can_rent_at_the_same_time(server: Served, path: Path) -> None:
    with (
        Worker(rent_many, server.url, path, piped=True) as one,
        Worker(rent_many, server.url, path, piped=True) as other,
    ):
        bought = [order_id for it in (one, other) for order_id in await anyio.to_thread.run_sync(it.receive)]
        await until(lambda: one.exit_code == other.exit_code == 0)
    purchases, unsettled = at_next_start(path)
    assert sorted(order_id for purchase in purchases for order_id in purchase.order_ids) == sorted(bought)
    assert len(bought) == 20
    assert unsettled == ()
    assert folder_content(path) == {"ledger"}


def fork_twice(url: str, ledger: Path, pipe: Connection) -> None:
    client = client_of(url, ledger)
    asyncio.run(rent(client))
    if not (closing_child := os.fork()):
        asyncio.run(client.aclose())
        os._exit(0)
    os.waitpid(closing_child, 0)
    if not (deleting_child := os.fork()):
        asyncio.run(client.delete(2))
        os._exit(0)
    pipe.send(deleting_child)
    os.waitpid(deleting_child, 0)
    asyncio.run(client.delete(1))


async def test_calls_of_a_killed_parent_or_forked_child_are_unsettled(server: Served, path: Path) -> None:
    sim = server._simulator
    sim.faults.next("delete", "hang", count=2)

    def unsettled() -> list[str]:
        return [error.params["id"] for error in at_next_start(path)[1]]

    with Worker(fork_twice, server.url, path, piped=True) as parent:
        child = await anyio.to_thread.run_sync(parent.receive)
        await until(lambda: len(sim.requests) == 2, parent)
        assert unsettled() == []
        os.kill(child, signal.SIGKILL)
        await until(lambda: len(sim.requests) == 3, parent)
        assert unsettled() == ["2"]
        parent.kill()
    assert unsettled() == ["2", "1"]
    assert [purchase.outcome for purchase in at_next_start(path)[0]] == ["done", "unknown", "unknown"]
    assert folder_content(path) == {"ledger"}


BEGIN = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error.sqlite_errorname)
"""


async def test_reading_a_ledger_releases_no_lock_of_this_process(server: Served, path: Path) -> None:
    """On POSIX, closing a file drops all locks that the process has on it."""
    async with client_of(server.url, path) as client:
        await rent(client)
    with closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        assert len(at_next_start(path)[0]) == 1
        other = await anyio.run_process([sys.executable, "-c", BEGIN, path])
    assert other.stdout.split() == [b"SQLITE_BUSY"]
