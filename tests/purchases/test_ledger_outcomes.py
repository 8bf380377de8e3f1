"""The ledger: when outcomes are written, also for calls that are cancelled or that outlive their client."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import sniffio

from smspva_async import ClientClosed, JournalError, OutcomeUnknown, Pace, SmspvaError
from tests.support import PATIENCE
from tests.support.backends import for_other_threads, on_asyncio, on_both_backends
from tests.support.fake_server import FakeServer
from tests.support.ledgers import CREATE, at_next_start, outcomes, purchases, threads, written_by
from tests.support.samples import HALF, NOTHING, RENTAL
from tests.support.selection import mostly_slow
from tests.support.sqlite_files import folder_content, sql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smspva_async import SmspvaClient

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("cheap_fingerprints")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


class Statements:
    """Interrupts the ledger's thread before an SQL statement."""

    def __init__(self) -> None:
        self._run: Callable[[Callable[[], object]], object] = lambda _: None
        self._do: Callable[[], object] | None = None
        self._at: int | str = ""
        self.number = 0

    def before(self, at: int | str, do: Callable[[], object]) -> None:
        """Run a function in the event loop before a statement, given by its text or by its number, counted from now."""
        self._run, self._at, self._do, self.number = for_other_threads(), at, do, 0

    def pause_before(self, at: int | str, event: threading.Event) -> None:
        """Let the ledger's thread wait for an event before a statement, given in the same way."""
        self._run, self._at, self._do, self.number = lambda do: do(), at, lambda: event.wait(PATIENCE), 0

    def on_statement(self, statement: str) -> None:
        if threading.current_thread() is threading.main_thread():
            return  # the test's own statement
        do = self._do
        if do is not None and self._at in (self.number, statement):
            self._do = None
            self._run(do)
        self.number += 1


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    statements = Statements()

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
            statements.on_statement(statement)
            return super().execute(statement, *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kw: connect(*args, **{"factory": Connection, **kw}))
    return statements


# -- off the event loop ----------------------------------------------------------------------------------------------


async def test_reading_and_writing_never_block_the_event_loop(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = await written_by(fake_server, path)
    fake_server.on("orders", NOTHING)
    fake_server.call(CREATE, CREATE.sample)
    connect, used = sqlite3.connect, set[threading.Thread]()

    def connect_here(*arguments: Any, **options: Any) -> Any:
        used.add(threading.current_thread())
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_here)
    async with fake_server.client(ledger=path) as client:
        await client.reconcile(earlier)
        client.settle(earlier)
        assert client.purchases()
        await CREATE.make(client)
    assert used
    assert threading.current_thread() not in used


async def test_closing_leaves_no_thread_and_no_open_file(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, CREATE.sample)
    for _ in range(2):
        async with fake_server.client(ledger=path) as client:
            await CREATE.make(client)
        assert threads() == []
        assert folder_content(path) == {"ledger"}


async def test_outcomes_that_arrive_together_share_transactions(
    path: Path, fake_server: FakeServer, statements: Statements
) -> None:
    async def answer() -> Any:
        if len(fake_server.queries) == 20:
            all_sent.set()
        await answered.wait()
        return CREATE.sample

    def transactions() -> int:
        return int(sql(path, "SELECT value FROM meta WHERE key = 'changes'")[0][0])

    fake_server.call(CREATE, answer)
    all_sent, answered, all_done = anyio.Event(), anyio.Event(), threading.Event()
    async with fake_server.client(ledger=path) as client, anyio.create_task_group() as tasks:

        async def rent() -> None:
            await CREATE.make(client)

        for _ in range(20):
            tasks.start_soon(rent)
        await all_sent.wait()
        before = transactions()
        statements.pause_before("COMMIT", all_done)
        answered.set()
        while [purchase.outcome for purchase in client.purchases()] != ["done"] * 20:
            await anyio.lowlevel.checkpoint()
        all_done.set()
    assert transactions() <= before + 2, "one for the first outcome, and one for all others"
    assert outcomes(path) == ["done"] * 20


# -- cancelled -------------------------------------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {"done": CREATE.sample, "unknown": HALF, "nothing readable": "<html>"}
MAX_STATEMENTS = 36
"""The largest number of SQL statements of a call."""


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("step", mostly_slow(range(MAX_STATEMENTS), every=4))
@pytest.mark.parametrize("way", ["scope", "task"])
async def test_a_call_cancelled_at_any_step_writes_its_outcome_before_it_returns(
    way: str, step: int, answer: str, path: Path, fake_server: FakeServer, statements: Statements
) -> None:
    if way == "task" and sniffio.current_async_library() != "asyncio":
        pytest.skip("only asyncio cancels tasks directly")
    fake_server.call(CREATE, ANSWERS[answer])
    returned: list[object] = []
    await written_by(FakeServer(), path)

    async def rent(client: SmspvaClient) -> None:
        with contextlib.suppress(OutcomeUnknown):
            returned.append(await CREATE.make(client))

    async with fake_server.client(ledger=path) as client:
        if way == "task":
            task = asyncio.ensure_future(rent(client))
            statements.before(step, task.cancel)
            await asyncio.wait([task])
        else:
            with anyio.CancelScope() as scope:
                statements.before(step, scope.cancel)
                await rent(client)
        assert statements.number <= MAX_STATEMENTS
        _, *outcome = outcomes(path)
        if outcome == ["done"] and not returned:
            _, lost = client.unsettled
            client.settle(lost)  # which leaves the outcome as it is
        assert [error.call for error in at_next_start(path)] == [error.call for error in client.unsettled]
    if not fake_server.queries:
        assert outcome in ([], ["not_sent"])
    else:
        assert outcome == ["done" if answer == "done" else "unknown"]
    assert len(returned) <= (outcome == ["done"])


async def test_a_call_cancelled_while_it_is_recorded_is_not_sent(
    path: Path, fake_server: FakeServer, statements: Statements
) -> None:
    fake_server.call(CREATE, CREATE.sample)
    await written_by(fake_server, path)
    sent = len(fake_server.queries)
    async with fake_server.client(ledger=path) as client:
        with anyio.CancelScope() as scope:
            statements.before("COMMIT", scope.cancel)
            await CREATE.make(client)
        assert scope.cancelled_caught
        assert len(client.unsettled) == 1
    assert len(fake_server.queries) == sent
    assert outcomes(path) == ["unknown", "not_sent"]


async def test_a_call_cancelled_while_its_outcome_is_written_is_done(
    path: Path, fake_server: FakeServer, statements: Statements
) -> None:
    scope = anyio.CancelScope()

    async def answer() -> Any:
        statements.before("COMMIT", scope.cancel)
        return CREATE.sample

    fake_server.call(CREATE, answer)
    async with fake_server.client(ledger=path) as client:
        with scope:
            assert await CREATE.make(client) == RENTAL
        assert [(it.outcome, it.order_ids) for it in purchases(path)] == [("done", (RENTAL.id,))]


@on_asyncio
async def test_a_coroutine_closed_while_it_is_recorded_is_not_sent(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:

        async def make() -> None:
            await CREATE.make(client)

        coroutine = make()
        while True:
            waiting: Any = coroutine.send(None)
            if client.purchases():
                break
            if waiting is not None:
                waiting._asyncio_future_blocking = False
                await asyncio.wait([waiting])
        coroutine.close()
        assert [purchase.outcome for purchase in client.purchases()] == ["not_sent"]
    assert fake_server.queries == []
    assert outcomes(path) == ["not_sent"]
    assert folder_content(path) == {"ledger"}
    assert threads() == []


@pytest.mark.parametrize("how", ["aclose", "cancelled"])
async def test_a_cancelled_close_still_writes_settled_calls(how: str, path: Path, fake_server: FakeServer) -> None:
    earlier = await written_by(fake_server, path)
    with anyio.CancelScope() as scope:
        async with fake_server.client(ledger=path) as client:
            client.settle(earlier)
            scope.cancel()
            if how == "cancelled":
                await anyio.sleep(1)
    assert outcomes(path) == ["settled"]
    assert folder_content(path) == {"ledger"}


# -- closed ----------------------------------------------------------------------------------------------------------


# On trio the virtual clock passes the gap while the thread works.
@on_asyncio
async def test_closing_while_a_call_waits_for_the_pace_sends_and_writes_nothing(
    path: Path, fake_server: FakeServer
) -> None:
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
    assert fake_server.methods == ["create"]
    assert outcomes(path) == ["done"]
    assert threads() == []


async def test_closing_while_a_call_is_recorded_sends_nothing(
    path: Path, fake_server: FakeServer, statements: Statements
) -> None:
    await written_by(fake_server, path)
    sent = len(fake_server.queries)
    client = fake_server.client(ledger=path)
    async with anyio.create_task_group() as tasks:
        statements.before("COMMIT", lambda: tasks.start_soon(client.aclose))
        with pytest.raises(ClientClosed):
            await CREATE.make(client)
    assert len(fake_server.queries) == sent
    assert outcomes(path) == ["unknown", "not_sent"]
    assert threads() == []
    assert folder_content(path) == {"ledger"}


ENDS: dict[str, Any] = {
    "done": CREATE.sample,
    "unknown": HALF,
    "refused": {"status": 0, "msg": "closed for lunch"},
}


# On trio the virtual clock would time the call out while the thread works.
@on_asyncio
@pytest.mark.parametrize("outcome", ENDS)
async def test_a_call_in_progress_after_its_client_closed_is_not_unsettled(
    outcome: str, path: Path, fake_server: FakeServer
) -> None:
    sent, closed = anyio.Event(), anyio.Event()

    async def answer_when_closed() -> Any:
        sent.set()
        await closed.wait()
        return ENDS[outcome]

    async def make() -> None:
        with contextlib.suppress(SmspvaError):
            await CREATE.make(client)

    fake_server.call(CREATE, answer_when_closed)
    client = fake_server.client(ledger=path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await sent.wait()
        await client.aclose()
        assert at_next_start(path) == ()
        closed.set()
    assert outcomes(path) == [outcome]
    assert [error.data for error in at_next_start(path)] == ([HALF] if outcome == "unknown" else [])
    assert threads() == []
    assert folder_content(path) == {"ledger"}


async def test_an_unusable_ledger_leaves_no_thread(path: Path, fake_server: FakeServer) -> None:
    path.mkdir()
    with pytest.raises(JournalError):
        await fake_server.client(ledger=path).__aenter__()
    assert threads() == []
