"""The ledger: whatever ends the program, the next one finds the calls that have no outcome."""

from __future__ import annotations

import os
import pickle
import stat
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import SmspvaClient
from smspva_async.errors import ApiError, ConnectionFailed, OutcomeUnknown
from tests.support.fake_server import KEY, FakeServer, nothing_ever
from tests.support.ledgers import CREATE, at_next_start, lines, outcomes, written_by
from tests.support.samples import CALLS, ORDER, Call, every_spending_call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("accounts_are_told_apart_quickly")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


# -- what stands in it ---------------------------------------------------------------------------------------------


@every_spending_call
async def test_a_call_is_on_disk_before_its_request_leaves(
    call: Call, path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[dict[str, Any]]] = []
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    async def answer() -> Any:
        assert set(synced) == {path.stat().st_ino, path.parent.stat().st_ino}
        found.append(lines(path))
        return call.sample

    fake_server.on("orders", CALLS["orders"].sample)
    fake_server.call(call, answer)
    async with fake_server.client(ledger=path) as client:
        await client.orders()
        assert not path.exists()
        await call.make(client)
    ((header, begun),) = found
    assert header == {"ledger": 1, "account": header["account"]}
    assert (begun["method"], begun["params"], begun["listed"]) == (call.method, call.query, True)
    assert begun["known"] == {str(ORDER.id): "2020-04-22T10:44:00+00:00"}
    assert len(lines(path)) == 3


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
async def test_nobody_else_may_read_it(umask: int, path: Path, fake_server: FakeServer) -> None:
    before = os.umask(umask)
    try:
        await written_by(fake_server, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_is_there_keeps_its_mode(path: Path, fake_server: FakeServer) -> None:
    path.touch()
    path.chmod(0o640)
    await written_by(fake_server, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(at_next_start(path)) == 1


@every_spending_call
async def test_the_key_is_never_in_it(call: Call, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(call, f'{{"status": 1, "data": "{KEY}', {"status": 2, "data": {KEY: [KEY]}}, call.sample)
    async with fake_server.client(ledger=path) as client:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await call.make(client)
        await call.make(client)
    assert "[key]" in path.read_text()
    assert KEY not in path.read_text()
    assert all("[key]" in str(error.data) for error in at_next_start(path))


async def test_without_a_ledger_nothing_is_written(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_server.call(CREATE, httpx.ReadError("lost"))
    async with fake_server.client() as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
        client.settle(client.unsettled[0])
    assert list(tmp_path.iterdir()) == []


async def test_an_answer_too_large_for_a_line_is_kept_in_part(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, {"status": 1, "data": ["x" * 1000] * 1000})
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    (error,) = at_next_start(path)
    assert isinstance(error.data, str)
    assert error.data.startswith('{"status": 1, "data": ["xxx')
    assert len(error.data) == 64 * 1024


# -- the next start ------------------------------------------------------------------------------------------------


async def lost(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(call, '{"status": 1, "data": {"id": 40370, "pnum')
    with pytest.raises(OutcomeUnknown):
        await call.make(client)


async def cancelled(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    scope = anyio.CancelScope()  # rather than a time-out: virtual time doesn't wait for the file

    async def cancel() -> None:
        scope.cancel()
        await nothing_ever()

    fake_server.call(call, cancel)
    with scope:
        await call.make(client)


async def killed(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    """Leave the file as it is while the request is under way."""

    async def die() -> Any:
        raise SystemExit

    fake_server.call(call, die)
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
    fake_server: FakeServer,
) -> None:
    fake_server.on("orders", CALLS["orders"].sample)
    client = fake_server.client(ledger=path)
    await client.orders()
    await way(call, client, fake_server)
    (told,) = client.unsettled
    if closed:
        await client.aclose()
    (error,) = at_next_start(path)
    assert (error.call, error.method, error.params) == (told.call, call.method, call.query)
    assert (error.started_at, error.known, error.listed) == (told.started_at, {ORDER.id: ORDER.until}, True)
    assert error.data == (told.data if closed else None)
    assert str(error).startswith(f"{call.name}: outcome unknown, ")
    assert f"the ledger '{path}'" in str(error)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301 - our own
    await client.aclose()


@every_spending_call
async def test_a_call_with_an_outcome_is_not(call: Call, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(call, call.sample, {"status": 0, "msg": "closed for lunch"}, httpx.ConnectError("down"))
    async with fake_server.client(ledger=path) as client:
        assert await call.make(client) == call.expected
        with pytest.raises(ApiError):
            await call.make(client)
        with pytest.raises(ConnectionFailed):
            await call.make(client)
    assert outcomes(path) == ["done", "refused", *["not_sent"] * 4]
    assert at_next_start(path) == ()


async def test_what_is_found_stands_before_what_happens_now(path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path, CALLS["delete"])
    (first,) = at_next_start(path)
    fake_server.call(CREATE, httpx.ReadError("lost"))
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
        assert [error.call for error in client.unsettled] == [first.call, failed.value.call]
        assert client.unsettled[1] is failed.value
        assert client.unsettled[0] is client.unsettled[0]


async def test_it_is_read_again_by_each_client_and_never_twice_by_one(path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path)
    client = fake_server.client(ledger=path)
    for _ in range(2):
        async with client:
            assert len(client.unsettled) == 1


@every_spending_call
async def test_what_was_settled_stays_settled(call: Call, path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path, call)
    client = SmspvaClient(KEY, ledger=path)
    twin = pickle.loads(pickle.dumps(client.unsettled[0]))  # noqa: S301 - our own
    for _ in range(2):
        client.settle(twin)
        assert client.unsettled == ()
    assert outcomes(path) == ["unknown", "settled"]
    assert at_next_start(path) == ()


@every_spending_call
async def test_another_clients_call_may_be_settled(call: Call, path: Path, fake_server: FakeServer) -> None:
    async with fake_server.client(ledger=path) as client:
        await written_by(fake_server, path, call)
        (error,) = at_next_start(path)
        assert client.unsettled == ()
        for _ in range(2):
            client.settle(error)
        client.settle(OutcomeUnknown("", method="create", params={}, started_at=error.started_at, known={}))
    assert outcomes(path) == ["unknown", "settled"]
    assert at_next_start(path) == ()


async def test_on_entering_again_it_is_read_again(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    client = fake_server.client(ledger=path)
    async with client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
    await written_by(fake_server, path)
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
async def test_what_is_settled_at_once_stays_settled(call: Call, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(call, httpx.ReadError("lost"))
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await call.make(client)
        client.settle(failed.value)
        assert client.unsettled == at_next_start(path) == ()
    assert at_next_start(path) == ()


async def test_settling_needs_no_ledger(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    first, second = client.unsettled
    client.settle(pickle.loads(pickle.dumps(first)))  # noqa: S301 - our own
    client.settle(first)
    assert client.unsettled == (second,)


# -- several programs ----------------------------------------------------------------------------------------------


async def test_several_programs_may_share_it(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    async with (
        fake_server.client(ledger=path) as one,
        fake_server.client(ledger=path) as other,
        anyio.create_task_group() as tasks,
    ):

        async def rent(client: SmspvaClient) -> None:
            for _ in range(5):
                with pytest.raises(OutcomeUnknown):
                    await CREATE.make(client)

        tasks.start_soon(rent, one)
        tasks.start_soon(rent, other)
    assert {error.call for error in at_next_start(path)} == {error.call for error in (*one.unsettled, *other.unsettled)}
    assert len(at_next_start(path)) == 10
