"""The ledger: whatever ends the program, the next one finds the calls that have no outcome."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Pace, SmspvaClient
from smspva_async._ledger import Contents, Ended
from smspva_async.errors import ApiError, ClientClosed, ConnectionFailed, JournalError, OutcomeUnknown, SmspvaError
from tests.edge import KEY, Edge, nothing_ever
from tests.loopback import on_a_real_loop
from tests.samples import CALLS, ORDER, RENTAL, SPENDING, Call, name_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smspva_async._ledger import Outcome

pytestmark = pytest.mark.anyio

every_spending_call = pytest.mark.parametrize("call", SPENDING, ids=name_of)
CREATE = CALLS["create"]
NO_ORDERS = {"status": 1, "data": []}


@pytest.fixture(autouse=True)
def accounts_are_told_apart_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smspva_async._secret._ROUNDS", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(path: Path) -> list[str]:
    return [line["outcome"] for line in lines(path) if "outcome" in line]


def at_next_start(path: Path) -> tuple[OutcomeUnknown, ...]:
    """Return what a new program finds; it needn't enter its client for that."""
    return tuple(SmspvaClient(KEY, ledger=path).unsettled)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def written_by(edge: Edge, path: Path, call: Call = CREATE, answer: Any = httpx.ReadError) -> bytes:
    """Return a ledger in which one call has no outcome."""
    edge.call(call, answer("lost"))
    async with edge.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await call.make(client)
    return path.read_bytes()


# -- what stands in it ---------------------------------------------------------------------------------------------


@every_spending_call
async def test_a_call_is_on_disk_before_its_request_leaves(
    call: Call, path: Path, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[dict[str, Any]]] = []
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    async def answer() -> Any:
        assert set(synced) == {path.stat().st_ino, path.parent.stat().st_ino}
        found.append(lines(path))
        return call.sample

    edge.on("orders", CALLS["orders"].sample)
    edge.call(call, answer)
    async with edge.client(ledger=path) as client:
        await client.orders()
        assert not path.exists()
        await call.make(client)
    ((header, begun),) = found
    assert header == {"ledger": 1, "account": header["account"]}
    assert (begun["method"], begun["params"], begun["listed"]) == (call.method, call.query, True)
    assert begun["known"] == {str(ORDER.id): ORDER.until.isoformat()}
    assert len(lines(path)) == 3


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
async def test_nobody_else_may_read_it(umask: int, path: Path, edge: Edge) -> None:
    before = os.umask(umask)
    try:
        await written_by(edge, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_is_there_keeps_its_mode(path: Path, edge: Edge) -> None:
    path.touch()
    path.chmod(0o640)
    await written_by(edge, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(at_next_start(path)) == 1


@every_spending_call
async def test_the_key_is_never_in_it(call: Call, path: Path, edge: Edge) -> None:
    edge.call(call, f'{{"status": 1, "data": "{KEY}', {"status": 1, "data": {KEY: [KEY]}}, call.sample)
    async with edge.client(ledger=path) as client:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await call.make(client)
        await call.make(client)
    assert "[key]" in path.read_text()
    assert KEY not in path.read_text()
    assert all("[key]" in str(error.data) for error in at_next_start(path))


async def test_without_a_ledger_nothing_is_written(tmp_path: Path, edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edge.call(CREATE, httpx.ReadError("lost"))
    async with edge.client() as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
        client.settle(client.unsettled[0])
    assert list(tmp_path.iterdir()) == []


async def test_an_answer_too_large_for_a_line_is_kept_in_part(path: Path, edge: Edge) -> None:
    edge.call(CREATE, {"status": 1, "data": ["x" * 1000] * 1000})
    async with edge.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    (error,) = at_next_start(path)
    assert isinstance(error.data, str)
    assert error.data.startswith('{"status": 1, "data": ["xxx')
    assert len(error.data) == 64 * 1024


# -- the next start ------------------------------------------------------------------------------------------------


async def lost(call: Call, client: SmspvaClient, edge: Edge) -> None:
    edge.call(call, '{"status": 1, "data": {"id": 40370, "pnum')
    with pytest.raises(OutcomeUnknown):
        await call.make(client)


async def cancelled(call: Call, client: SmspvaClient, edge: Edge) -> None:
    scope = anyio.CancelScope()  # rather than a time-out: virtual time doesn't wait for the file

    async def cancel() -> None:
        scope.cancel()
        await nothing_ever()

    edge.call(call, cancel)
    with scope:
        await call.make(client)


async def killed(call: Call, client: SmspvaClient, edge: Edge) -> None:
    """Leave the file as it is while the request is under way."""

    async def die() -> Any:
        raise SystemExit

    edge.call(call, die)
    with pytest.raises((SystemExit, BaseExceptionGroup)):
        await call.make(client)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "abandoned"])
@pytest.mark.parametrize("way", [lost, cancelled, killed])
@every_spending_call
async def test_a_call_without_an_outcome_is_found_at_the_next_start(
    call: Call,
    way: Callable[..., Any],
    closed: bool,  # noqa: FBT001
    path: Path,
    edge: Edge,
) -> None:
    edge.on("orders", CALLS["orders"].sample)
    client = edge.client(ledger=path)
    await client.orders()
    await way(call, client, edge)
    (told,) = client.unsettled
    if closed:
        await client.aclose()
    (error,) = at_next_start(path)
    assert (error.call, error.method, error.params) == (told.call, call.method, call.query)
    assert (error.started_at, error.known, error.listed) == (told.started_at, {ORDER.id: ORDER.until}, True)
    assert error.data == (told.data if closed else None)
    assert str(error).startswith(f"{call.method}: outcome unknown, ")
    assert f"the ledger '{path}'" in str(error)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301 - our own
    await client.aclose()


@every_spending_call
async def test_a_call_with_an_outcome_is_not(call: Call, path: Path, edge: Edge) -> None:
    edge.call(call, call.sample, {"status": 0, "msg": "closed for lunch"}, httpx.ConnectError("down"))
    async with edge.client(ledger=path) as client:
        assert await call.make(client) == call.expected
        with pytest.raises(ApiError):
            await call.make(client)
        with pytest.raises(ConnectionFailed):
            await call.make(client)
    assert outcomes(path) == ["done", "refused", *["not_sent"] * 4]
    assert at_next_start(path) == ()


async def test_what_is_found_stands_before_what_happens_now(path: Path, edge: Edge) -> None:
    await written_by(edge, path, CALLS["delete"])
    (first,) = at_next_start(path)
    edge.call(CREATE, httpx.ReadError("lost"))
    async with edge.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
        assert [error.call for error in client.unsettled] == [first.call, failed.value.call]
        assert client.unsettled[1] is failed.value
        assert client.unsettled[0] is client.unsettled[0]


async def test_it_is_read_again_by_each_client_and_never_twice_by_one(path: Path, edge: Edge) -> None:
    await written_by(edge, path)
    client = edge.client(ledger=path)
    for _ in range(2):
        async with client:
            assert len(client.unsettled) == 1


@every_spending_call
async def test_what_was_settled_stays_settled(call: Call, path: Path, edge: Edge) -> None:
    await written_by(edge, path, call)
    client = SmspvaClient(KEY, ledger=path)
    twin = pickle.loads(pickle.dumps(client.unsettled[0]))  # noqa: S301 - our own
    for _ in range(2):
        client.settle(twin)
        assert client.unsettled == ()
    assert outcomes(path) == ["unknown", "settled"]
    assert at_next_start(path) == ()


@every_spending_call
async def test_another_clients_call_may_be_settled(call: Call, path: Path, edge: Edge) -> None:
    async with edge.client(ledger=path) as client:
        await written_by(edge, path, call)
        (error,) = at_next_start(path)
        assert client.unsettled == ()
        for _ in range(2):
            client.settle(error)
        client.settle(OutcomeUnknown("", method="create", params={}, started_at=error.started_at, known={}))
    assert outcomes(path) == ["unknown", "settled"]
    assert at_next_start(path) == ()


async def test_on_entering_again_it_is_read_again(path: Path, edge: Edge) -> None:
    edge.call(CREATE, httpx.ReadError("lost"))
    client = edge.client(ledger=path)
    async with client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
    await written_by(edge, path)
    async with client:
        mine, others = sorted(client.unsettled, key=lambda error: error is not failed.value)
        assert mine is failed.value
    SmspvaClient(KEY, ledger=path).settle(others)
    async with client:
        assert client.unsettled == (mine,)
    path.unlink()
    async with client:
        assert client.unsettled == (mine,)


@every_spending_call
async def test_what_is_settled_at_once_stays_settled(call: Call, path: Path, edge: Edge) -> None:
    edge.call(call, httpx.ReadError("lost"))
    async with edge.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await call.make(client)
        client.settle(failed.value)
        assert client.unsettled == at_next_start(path) == ()
    assert at_next_start(path) == ()


async def test_settling_needs_no_ledger(client: SmspvaClient, edge: Edge) -> None:
    edge.call(CREATE, httpx.ReadError("lost"))
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    first, second = client.unsettled
    client.settle(pickle.loads(pickle.dumps(first)))  # noqa: S301 - our own
    client.settle(first)
    assert client.unsettled == (second,)


# -- when an outcome is written ------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["any call", "a call that spends", "aclose"])
@every_spending_call
async def test_the_caller_has_its_turn_before_the_ledger_forgets_the_call(
    call: Call, then: str, path: Path, edge: Edge
) -> None:
    edge.on("orders", NO_ORDERS)
    edge.call(call, call.sample)
    client = edge.client(ledger=path)
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


async def test_it_tells_which_orders_the_caller_was_given(path: Path, edge: Edge) -> None:
    for call in SPENDING:
        edge.call(call, call.sample)
    async with edge.client(ledger=path) as client:
        for call in SPENDING:
            await call.make(client)
    done = [line["orders"] for line in lines(path) if line.get("outcome") == "done"]
    assert done == [[RENTAL.id], [RENTAL.id], [], [], [], [517017]]


@pytest.mark.parametrize("make", ["cancelled", "closed"])
async def test_a_cancelled_end_still_writes_the_outcome(make: str, path: Path, edge: Edge) -> None:
    edge.call(CREATE, CREATE.sample)
    with anyio.CancelScope() as scope:
        async with edge.client(ledger=path) as client:
            await CREATE.make(client)
            if make == "cancelled":
                scope.cancel()
                await anyio.sleep(1)
    assert outcomes(path) == ["done"]


async def test_cancelled_while_it_is_written_down_nothing_is_sent(path: Path, edge: Edge) -> None:
    edge.on("orders", NO_ORDERS)
    edge.call(CREATE, CREATE.sample)
    async with edge.client(ledger=path) as client:
        await client.orders()
        for _ in range(2):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await CREATE.make(client)
        with anyio.CancelScope() as scope:
            while_writing(client, scope.cancel)
            await CREATE.make(client)
        assert client.unsettled == ()
    assert edge.methods == ["orders"]
    assert at_next_start(path) == ()


def while_writing(client: SmspvaClient, do: Callable[[], object]) -> None:
    """Do something as soon as the line is being written."""
    token = anyio.lowlevel.current_token()
    ledger: Any = client._caller.spending._ledger
    write = ledger._write

    def do_and_write(*args: Any, **options: Any) -> None:
        ledger._write = write
        anyio.from_thread.run_sync(do, token=token)
        write(*args, **options)

    ledger._write = do_and_write


async def test_closed_while_it_is_written_down_nothing_is_sent(path: Path, edge: Edge) -> None:
    async with edge.client(ledger=path) as client:
        while_writing(client, lambda: setattr(client._caller, "_closed", True))
        with pytest.raises(ClientClosed):
            await CREATE.make(client)
        assert client.unsettled == ()
    assert edge.queries == []
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
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_closed_under_way_its_outcome_is_written_when_it_comes(
    answer: Any, outcome: str, path: Path, edge: Edge
) -> None:
    asked, closed = anyio.Event(), anyio.Event()

    async def answer_when_closed() -> Any:
        asked.set()
        await closed.wait()
        return answer

    async def make() -> None:
        with contextlib.suppress(SmspvaError):
            await CREATE.make(client)

    edge.call(CREATE, answer_when_closed)
    client = edge.client(ledger=path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await asked.wait()
        await client.aclose()
        closed.set()
    (written,) = (line for line in lines(path) if "outcome" in line)
    assert written["outcome"] == outcome
    assert "40370" in str(written) or outcome == "refused"
    assert [thread.name for thread in threading.enumerate() if "ledger" in thread.name] == []


async def test_closed_while_it_is_written_down_it_is_written_that_nothing_was_sent(path: Path, edge: Edge) -> None:
    client = edge.client(ledger=path)
    async with anyio.create_task_group() as tasks:
        while_writing(client, lambda: tasks.start_soon(client.aclose))
        with pytest.raises(ClientClosed):
            await CREATE.make(client)
    assert edge.queries == []
    assert outcomes(path) == ["not_sent"]


async def test_no_thread_is_left_behind(path: Path, edge: Edge) -> None:
    edge.call(CREATE, CREATE.sample)
    for _ in range(2):
        async with edge.client(ledger=path) as client:
            await CREATE.make(client)
        assert [thread.name for thread in threading.enumerate() if "ledger" in thread.name] == []


async def test_closed_while_it_waits_for_the_pace_nothing_is_sent(path: Path, edge: Edge) -> None:
    edge.call(CREATE, CREATE.sample)
    client = edge.client(ledger=path, pace=Pace(gap=10))
    edge.on("orders", NO_ORDERS)
    await client.orders()
    async with anyio.create_task_group() as tasks:

        async def rent() -> None:
            with pytest.raises(ClientClosed):
                await CREATE.make(client)

        tasks.start_soon(rent)
        await anyio.sleep(1)
        await client.aclose()
    assert edge.methods == ["orders"]
    assert at_next_start(path) == ()


# -- damage --------------------------------------------------------------------------------------------------------


async def test_a_last_line_torn_anywhere_is_passed_over(
    path: Path, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.call(CREATE, httpx.ReadError("lost"))
    first = await written_by(edge, path)
    async with edge.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    whole = path.read_bytes()
    begun = whole.index(b"\n", len(first)) + 1
    for end in range(len(first), begun):
        path.write_bytes(whole[:end])
        (error,) = SmspvaClient(KEY, ledger=path).unsettled
        SmspvaClient(KEY, ledger=path).settle(error)  # the next line isn't glued to it
        assert SmspvaClient(KEY, ledger=path).unsettled == ()
    path.write_bytes(whole[:begun])
    assert len(SmspvaClient(KEY, ledger=path).unsettled) == 2
    assert warnings(caplog) == []


async def test_a_header_torn_anywhere_begins_the_ledger_anew(path: Path, edge: Edge) -> None:
    whole = await written_by(edge, path)
    header = whole[: whole.index(b"\n")]
    for end in range(0, len(header) + 1, 4):
        path.write_bytes(header[:end])
        assert at_next_start(path) == ()
        await written_by(edge, path)
        assert len(at_next_start(path)) == 1


async def test_so_does_one_that_was_torn_twice(path: Path, edge: Edge) -> None:
    path.write_bytes(b'{"led\ttorn\n{"ledg')
    await written_by(edge, path)
    assert len(at_next_start(path)) == 1


@pytest.mark.parametrize(
    "damage",
    [b"\x00\xff", b"[]", b"5", b"{}", b'{"call": "1"}', b'{"call": "1", "outcome": "eaten", "at": "2026-01-01"}'],
)
async def test_a_line_that_cant_be_read_is_passed_over_with_a_warning(
    damage: bytes, path: Path, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    whole = await written_by(edge, path)
    header, rest = whole.split(b"\n", 1)
    path.write_bytes(b"\n".join([header, damage, rest]))
    assert len(at_next_start(path)) == 1
    (told,) = warnings(caplog)
    assert told.startswith(f"line 2 of the ledger '{path}' ")


WELL_FORMED = {
    "call": "1",
    "method": "prolong",
    "params": {"id": "5"},
    "started_at": "2026-01-01T00:00:00+00:00",
    "known": {},
    "listed": True,
}


@pytest.mark.parametrize(
    "damage",
    [
        {"call": ["1"]},
        {"params": {}},
        {"params": {"id": "five"}},
        {"params": {"id": 5}},
        {"method": "create"},
        {"method": "orders"},
        {"started_at": "2026-01-01T00:00:00"},
        {"known": {"5": "2026-01-01T00:00:00"}},
        {"outcome": "done", "at": "2026-01-01T00:00:00"},
        {"call": None, "outcome": "done", "at": "2026-01-01T00:00:00+00:00"},
    ],
    ids=str,
)
async def test_so_is_one_that_is_well_formed(
    damage: dict[str, Any], path: Path, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    await written_by(edge, path)
    with path.open("a") as file:
        file.write(json.dumps({**WELL_FORMED, **damage}) + "\n")
    assert len(at_next_start(path)) == 1
    assert len(warnings(caplog)) == 1
    with path.open("a") as file:
        file.write(json.dumps(WELL_FORMED) + "\n")
    assert len(at_next_start(path)) == 2


async def test_data_nested_too_deeply_is_left_out(path: Path, edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = json.dumps

    def shallow(value: Any, **options: Any) -> str:
        if value == [[[]]]:
            raise RecursionError
        return dumps(value, **options)

    monkeypatch.setattr("smspva_async._ledger.json.dumps", shallow)
    edge.call(CREATE, {"status": 1, "data": [[[]]]})
    async with edge.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    assert outcomes(path) == ["unknown"]


async def test_the_program_may_go_elsewhere(
    path: Path, edge: Edge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with edge.client(ledger=path.name) as client:
        monkeypatch.chdir(tmp_path / "elsewhere")
        edge.call(CREATE, CREATE.sample)
        await CREATE.make(client)
    assert outcomes(path) == ["done"]


@on_a_real_loop
async def test_a_slow_disk_brings_no_two_requests_together(
    path: Path, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = os.fsync

    def slowly(descriptor: int) -> None:
        time.sleep(0.15)
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", slowly)
    edge.on("orders", NO_ORDERS)

    async def rent() -> None:
        await CREATE.make(client)

    edge.call(CREATE, CREATE.sample)
    async with (
        edge.client(ledger=path, pace=Pace(gap=0.1)) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.orders)
        tasks.start_soon(rent)
        for _ in range(3):
            tasks.start_soon(client.orders)
    assert len(edge.times) == 5
    # By the machine's clock, and as they arrive: what it does meanwhile shortens the gap of 0.1 s.
    assert min(later - earlier for earlier, later in itertools.pairwise(edge.times)) >= 0.05


NO_LEDGERS = {
    "a text": (b"Dear diary\n", "no ledger"),
    "a text without an end": (b"Dear diary", "no ledger"),
    "another file of JSON lines": (b'{"call": "1"}\n', "no ledger"),
    "a newer version": (b'{"ledger": 2, "account": "", "more": 1}\n', "of version 2"),
    "another account's": (b'{"ledger": 1, "account": "00ff"}\n', "another account's"),
}


@pytest.mark.parametrize(("content", "reason"), NO_LEDGERS.values(), ids=NO_LEDGERS)
async def test_a_file_that_is_no_ledger_of_this_account_is_left_alone(
    content: bytes, reason: str, path: Path, edge: Edge
) -> None:
    path.write_bytes(content)
    client = edge.client(ledger=path)

    async def enter() -> None:
        async with client:
            pass

    for use in (lambda: CREATE.make(client), client.orders, enter):
        with pytest.raises(JournalError, match=reason) as failed:
            await use()
        assert str(path) in str(failed.value)
        assert "nothing was sent and nothing changed" in str(failed.value)
        assert KEY not in str(failed.value)
    with pytest.raises(JournalError, match=reason):
        _ = client.unsettled
    await client.aclose()
    assert edge.queries == []
    assert path.read_bytes() == content


@pytest.mark.parametrize(("content", "reason"), NO_LEDGERS.values(), ids=NO_LEDGERS)
async def test_so_is_one_that_is_put_there_later(content: bytes, reason: str, path: Path, edge: Edge) -> None:
    edge.call(CREATE, httpx.ReadError("lost"))
    client = edge.client(ledger=path)
    with pytest.raises(OutcomeUnknown) as failed:
        await CREATE.make(client)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=reason):
        await CREATE.make(client)
    with pytest.raises(JournalError, match=reason):
        client.settle(failed.value)
    assert client.unsettled == (failed.value,)
    await client.aclose()
    assert edge.methods == ["create"]
    assert path.read_bytes() == content


async def test_another_accounts_ledger_is_told_by_its_fingerprint(path: Path, edge: Edge) -> None:
    await written_by(edge, path)
    with pytest.raises(JournalError, match="another account's"):
        _ = SmspvaClient("another-key", ledger=path).unsettled


@pytest.mark.parametrize("ledger", ["", 5, b"ledger", "a\0b"])
def test_a_path_that_is_none_is_refused(ledger: Any) -> None:
    with pytest.raises(ValueError, match="the ledger is a file"):
        SmspvaClient(KEY, ledger=ledger)


# -- a disk that doesn't take it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/ledger.jsonl", "missing/ledger.jsonl"])
@every_spending_call
async def test_what_cant_be_written_down_isnt_sent(call: Call, place: str, tmp_path: Path, edge: Edge) -> None:
    path = tmp_path / place
    async with edge.client(ledger=path) as client:
        with pytest.raises(JournalError, match=f"^{call.method}: .*nothing was sent; make room") as failed:
            await call.make(client)
        assert str(path) in str(failed.value)
        assert client.unsettled == ()
    assert edge.queries == []


async def test_a_folder_or_a_pipe_is_no_ledger(tmp_path: Path, edge: Edge) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(JournalError, match="it is no file"):
            await CREATE.make(edge.client(ledger=path))
    assert edge.queries == []


FULL_DISK = """
import resource, sys
from pathlib import Path
import anyio, httpx
from smspva_async import JournalError, Pace, Period, SmspvaClient

path = Path(sys.argv[1])
sent = 0

def answer(request):
    global sent
    sent += 1
    return httpx.Response(200, json={"status": 0, "msg": "no"})

async def main():
    transport = httpx.MockTransport(answer)
    async with SmspvaClient("key-of-the-tests", pace=Pace(0), ledger=path, transport=transport) as client:
        for room in (0, 1, 7, 60):
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
            try:
                await client.rent("RU", "opt6", Period.weeks(1))
            except JournalError as error:
                print(error)
            assert sent == 0
            if room == 0:
                try:
                    client.settle(client.unsettled[0])
                except JournalError as error:
                    print(error)
                assert len(client.unsettled) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        try:
            await client.rent("RU", "opt6", Period.weeks(1))
        except Exception as error:
            print(error)
        assert sent == 1

anyio.run(main)
"""


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_on_a_full_disk_nothing_is_sent_and_nothing_else_is_lost(
    path: Path, edge: Edge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the child hashes as it must
    await written_by(edge, path)
    (before,) = at_next_start(path)
    ran = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)  # noqa: ASYNC221, S603
    assert ran.stderr == ""
    told = ran.stdout.splitlines()
    assert len(told) == 6
    assert ["nothing was sent" in line for line in told] == [True, False, True, True, True, False]
    assert "stays in client.unsettled" in told[1]
    assert [error.call for error in at_next_start(path)] == [before.call]
    assert warnings(caplog) == []


async def test_a_reading_call_doesnt_fail_for_an_outcome_that_cant_be_written(
    path: Path, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.on("orders", NO_ORDERS)
    edge.call(CREATE, CREATE.sample)
    hidden = path.with_name("hidden")
    async with edge.client(ledger=path) as client:
        await CREATE.make(client)
        path.rename(hidden)
        path.mkdir()
        for _ in range(3):
            assert await client.orders() == []
        assert len(warnings(caplog)) == 1
        assert str(path) in warnings(caplog)[0]
        path.rmdir()
        hidden.rename(path)
    assert outcomes(path) == ["done"]


async def test_nor_does_closing(path: Path, edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    edge.call(CREATE, CREATE.sample)
    async with edge.client(ledger=path) as client:
        await CREATE.make(client)
        path.unlink()
        path.mkdir()
    assert len(warnings(caplog)) == 1


async def test_a_ledger_that_was_moved_away_is_begun_anew(path: Path, edge: Edge) -> None:
    await written_by(edge, path)
    async with edge.client(ledger=path) as client:
        path.unlink()
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
    assert [error.call for error in at_next_start(path)] == [failed.value.call]


@pytest.mark.parametrize("later", ["unknown", "settled"])
@pytest.mark.parametrize("outcome", ["done", "refused", "not_sent"])
def test_an_outcome_is_replaced_by_no_lesser_word(outcome: Outcome, later: Outcome) -> None:
    for order in ((outcome, later), (later, outcome)):
        contents = Contents()
        for word in order:
            contents.add(Ended("1", word, orders=(5,) if word == "done" else ()))
        assert contents.ended["1"].outcome == outcome


# -- several programs ----------------------------------------------------------------------------------------------


async def test_several_programs_may_share_it(path: Path, edge: Edge) -> None:
    edge.call(CREATE, httpx.ReadError("lost"))
    async with edge.client(ledger=path) as one, edge.client(ledger=path) as other, anyio.create_task_group() as tasks:

        async def rent(client: SmspvaClient) -> None:
            for _ in range(5):
                with pytest.raises(OutcomeUnknown):
                    await CREATE.make(client)

        tasks.start_soon(rent, one)
        tasks.start_soon(rent, other)
    assert {error.call for error in at_next_start(path)} == {error.call for error in (*one.unsettled, *other.unsettled)}
    assert len(at_next_start(path)) == 10
