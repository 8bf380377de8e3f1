"""The ledger: when an outcome is written, and what is written of a call that is given up."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import JournalError, Pace, SmspvaClient
from smspva_async.errors import ClientClosed, SmspvaError
from tests.support.backends import for_other_threads, on_asyncio, on_both_backends
from tests.support.ledgers import CREATE, at_next_start, lines, outcomes
from tests.support.samples import NOTHING, RENTAL, SPENDING, Call, every_spending_call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fake_server import FakeServer

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("accounts_are_told_apart_quickly")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.mark.parametrize("then", ["any call", "a call that spends", "aclose"])
@every_spending_call
async def test_the_caller_has_its_turn_before_the_ledger_forgets_the_call(
    call: Call, then: str, path: Path, fake_server: FakeServer
) -> None:
    fake_server.on("orders", NOTHING)
    fake_server.call(call, call.sample)
    client = fake_server.client(ledger=path)
    await call.make(client)
    assert outcomes(path) == []
    await anyio.sleep(3600)
    assert [error.method for error in at_next_start(path)] == [call.method]
    if then == "any call":
        await client.orders()
    elif then == "a call that spends":
        await call.make(client)
    else:
        await client.aclose()
    assert outcomes(path) == ["done"]
    await client.aclose()


async def test_it_tells_which_orders_the_caller_was_given(path: Path, fake_server: FakeServer) -> None:
    for call in SPENDING:
        fake_server.call(call, call.sample)
    async with fake_server.client(ledger=path) as client:
        for call in SPENDING:
            await call.make(client)
    done = [line["orders"] for line in lines(path) if line.get("outcome") == "done"]
    assert done == [[RENTAL.id], [RENTAL.id], [], [], [], [], [517017]]


@pytest.mark.parametrize("make", ["cancelled", "closed"])
async def test_a_cancelled_end_still_writes_the_outcome(make: str, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, CREATE.sample)
    with anyio.CancelScope() as scope:
        async with fake_server.client(ledger=path) as client:
            await CREATE.make(client)
            if make == "cancelled":
                scope.cancel()
                await anyio.sleep(1)
    assert outcomes(path) == ["done"]


async def test_cancelled_while_it_is_written_down_nothing_is_sent(path: Path, fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        await client.orders()
        for _ in range(2):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await CREATE.make(client)
        with anyio.CancelScope() as scope:
            while_writing(client, scope.cancel)
            await CREATE.make(client)
        assert client.unsettled == ()
    assert fake_server.methods == ["orders"]
    assert at_next_start(path) == ()


def while_writing(client: SmspvaClient, do: Callable[[], object]) -> None:
    """Do something as soon as the line is being written."""
    on_the_loop = for_other_threads()
    ledger: Any = client._executor.books._ledger
    write = ledger._write

    def do_and_write(*args: Any, **options: Any) -> None:
        ledger._write = write
        on_the_loop(do)
        write(*args, **options)

    ledger._write = do_and_write


# On trio's clock the gap is over while the thread works.
@on_asyncio
async def test_closed_while_it_waits_for_the_pace_nothing_is_written(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, CREATE.sample)
    client = fake_server.client(ledger=path, pace=Pace(gap=60))
    await CREATE.make(client)
    async with anyio.create_task_group() as tasks:

        async def close() -> None:
            await anyio.sleep(30)
            await client.aclose()

        tasks.start_soon(close)
        with pytest.raises(ClientClosed):
            await CREATE.make(client)
    assert [json.loads(line).get("outcome", "begun") for line in path.read_bytes().splitlines()[1:]] == [
        "begun",
        "done",
    ]
    assert [thread.name for thread in threading.enumerate() if "ledger" in thread.name] == []


async def test_closed_while_it_is_written_down_nothing_is_sent(path: Path, fake_server: FakeServer) -> None:
    async with fake_server.client(ledger=path) as client:
        while_writing(client, lambda: setattr(client._executor, "_closed", True))
        with pytest.raises(ClientClosed):
            await CREATE.make(client)
        assert client.unsettled == ()
    assert fake_server.queries == []
    assert at_next_start(path) == ()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (CREATE.sample, "done"),
        ('{"status": 1, "data": {"id": 40370, "pnum', "unknown"),
        ({"status": 0, "msg": "closed for lunch"}, "refused"),
    ],
)
# On trio's clock the call would time out while the thread works.
@on_asyncio
async def test_closed_under_way_its_outcome_is_written_when_it_comes(
    answer: Any, outcome: str, path: Path, fake_server: FakeServer
) -> None:
    asked, closed = anyio.Event(), anyio.Event()

    async def answer_when_closed() -> Any:
        asked.set()
        await closed.wait()
        return answer

    async def make() -> None:
        with contextlib.suppress(SmspvaError):
            await CREATE.make(client)

    fake_server.call(CREATE, answer_when_closed)
    client = fake_server.client(ledger=path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await asked.wait()
        await client.aclose()
        closed.set()
    (written,) = (line for line in lines(path) if "outcome" in line)
    assert written["outcome"] == outcome
    assert "40370" in str(written) or outcome == "refused"
    assert [thread.name for thread in threading.enumerate() if "ledger" in thread.name] == []


async def test_closed_while_it_is_written_down_it_is_written_that_nothing_was_sent(
    path: Path, fake_server: FakeServer
) -> None:
    client = fake_server.client(ledger=path)
    async with anyio.create_task_group() as tasks:
        while_writing(client, lambda: tasks.start_soon(client.aclose))
        with pytest.raises(ClientClosed):
            await CREATE.make(client)
    assert fake_server.queries == []
    assert outcomes(path) == ["not_sent"]


async def test_no_thread_is_left_behind(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, CREATE.sample)
    for _ in range(2):
        async with fake_server.client(ledger=path) as client:
            await CREATE.make(client)
        assert [thread.name for thread in threading.enumerate() if "ledger" in thread.name] == []


async def test_no_thread_is_left_behind_by_a_ledger_that_cannot_be_used(path: Path, fake_server: FakeServer) -> None:
    path.mkdir()
    with pytest.raises(JournalError):
        await fake_server.client(ledger=path).__aenter__()
    assert [thread.name for thread in threading.enumerate() if "ledger" in thread.name] == []


async def test_closed_while_it_waits_for_the_pace_nothing_is_sent(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, CREATE.sample)
    client = fake_server.client(ledger=path, pace=Pace(gap=10))
    fake_server.on("orders", NOTHING)
    await client.orders()
    async with anyio.create_task_group() as tasks:

        async def rent() -> None:
            with pytest.raises(ClientClosed):
                await CREATE.make(client)

        tasks.start_soon(rent)
        await anyio.sleep(1)
        await client.aclose()
    assert fake_server.methods == ["orders"]
    assert at_next_start(path) == ()
