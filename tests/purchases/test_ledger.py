"""The ledger: the next start lists all calls, and those without an outcome are unsettled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import stat
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Purchase, Retry, SmspvaClient
from smspva_async.errors import ApiError, ConnectionFailed, OutcomeUnknown, SmspvaError
from tests.support.backends import on_asyncio
from tests.support.fake_server import KEY, FakeServer, never_answer
from tests.support.ledgers import CREATE, at_next_start, outcomes, purchases, written_by
from tests.support.samples import CALLS, HALF, ORDER, RENTAL, SPENDING, Call, every_spending_call
from tests.support.selection import slow
from tests.support.sqlite_files import folder_content, sql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("cheap_fingerprints")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


# -- the file --------------------------------------------------------------------------------------------------------


@every_spending_call
async def test_a_call_is_written_before_it_is_sent_and_its_outcome_before_it_returns(
    call: Call, path: Path, fake_server: FakeServer
) -> None:
    at_sending: list[tuple[Any, ...]] = []

    async def answer() -> Any:
        at_sending.extend(sql(path, "SELECT method, outcome FROM calls"))
        return call.sample

    fake_server.call(call, answer)
    async with fake_server.client(ledger=path) as client:
        assert not path.exists()
        await call.make(client)
        assert at_sending == [(call.method, None)]
        assert outcomes(path) == ["done"]


async def test_purchases_list_the_orders_named_in_the_answers(path: Path, fake_server: FakeServer) -> None:
    for call in SPENDING:
        fake_server.call(call, call.sample)
    fake_server.call(CALLS["delete"], {"status": 0, "msg": "NOTOWNER"})
    async with fake_server.client(ledger=path) as client:
        for call in SPENDING:
            if call.method == "delete":
                with pytest.raises(ApiError):
                    await call.make(client)
            else:
                await call.make(client)
        listed = client.purchases()
    named = [(RENTAL.id,), (RENTAL.id,), (), (), (), (), (517017,)]
    assert [(it.method, it.params, it.order_ids) for it in listed] == [
        (call.method, call.query, order_ids) for call, order_ids in zip(SPENDING, named, strict=True)
    ]
    assert [it.outcome for it in listed] == ["refused" if it.method == "delete" else "done" for it in listed]
    assert purchases(path) == listed
    assert all(isinstance(it, Purchase) for it in listed)


async def test_without_a_ledger_a_client_lists_its_own_calls_and_writes_no_file(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_server.call(CREATE, CREATE.sample, httpx.ReadError("lost"))
    client = fake_server.client()
    assert client.purchases() == ()
    async with client:
        await CREATE.make(client)
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
        assert [(it.outcome, it.order_ids) for it in client.purchases()] == [("done", (RENTAL.id,)), ("unknown", ())]
        client.settle(client.unsettled[0])
    assert [it.outcome for it in client.purchases()] == ["done", "settled"]
    assert list(tmp_path.iterdir()) == []


async def test_an_existing_file_keeps_its_mode(path: Path, fake_server: FakeServer) -> None:
    path.touch()
    path.chmod(0o640)
    await written_by(fake_server, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(at_next_start(path)) == 1


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
async def test_only_the_owner_can_read_the_files(umask: int, path: Path, fake_server: FakeServer) -> None:
    modes: dict[str, int] = {}

    async def answer() -> Any:
        sql(path, "SELECT * FROM calls")
        modes.update((found.name, stat.S_IMODE(found.stat().st_mode)) for found in path.parent.iterdir())
        return CREATE.sample

    fake_server.call(CREATE, answer)
    before = os.umask(umask)
    try:
        async with fake_server.client(ledger=path) as client:
            await CREATE.make(client)
    finally:
        os.umask(before)
    assert len(modes) > 1, "its lock has a file too"
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@every_spending_call
async def test_the_ledger_never_contains_the_key(call: Call, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(call, f'{{"status": 1, "data": "{KEY}', {"status": 2, "data": {KEY: [KEY]}}, call.sample)
    async with fake_server.client(ledger=path) as client:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await call.make(client)
        await call.make(client)
    assert b"[key]" in path.read_bytes()
    assert KEY.encode() not in path.read_bytes()
    assert all("[key]" in str(error.data) for error in at_next_start(path))


async def test_64_kib_of_a_large_answer_are_kept(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, {"status": 1, "data": ["x" * 1000] * 1000})
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    (error,) = at_next_start(path)
    assert isinstance(error.data, str)
    assert error.data.startswith('{"status": 1, "data": ["xxx')
    assert len(error.data) == 64 * 1024


async def test_the_order_id_in_a_large_non_ascii_answer_is_kept(path: Path, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, '{"status": 1, "data": {"id": 40370, "note": "' + "я" * 20_000)
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    (error,) = at_next_start(path)
    assert isinstance(error.data, str)
    assert '"id": 40370,' in error.data


@pytest.mark.parametrize("depth", [900, 1000])
async def test_the_order_id_in_deeply_nested_data_is_kept(depth: int, path: Path, fake_server: FakeServer) -> None:
    data = "[" * depth + '{"id": 40370}' + "]" * depth
    fake_server.call(CREATE, f'{{"status": 1, "data": {data}}}')
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CREATE.make(client)
    for error in (*at_next_start(path), failed.value):
        kept = pickle.loads(pickle.dumps(error)).data  # noqa: S301 - our own
        assert isinstance(kept, str)
        assert '"id": 40370' in kept


@pytest.mark.parametrize(("count", "outcome"), [(60, "done"), slow(60, "settled"), slow(1000, "done")])
@on_asyncio
async def test_a_purchase_takes_at_most_2_kib_with_5000_known_orders(
    count: int, outcome: str, path: Path, fake_server: FakeServer
) -> None:
    row = CALLS["orders"].sample["data"][0]
    fake_server.on("orders", {"status": 1, "data": [{**row, "id": 10**7 + 7 * n} for n in range(5000)]})
    fake_server.call(CREATE, CREATE.sample if outcome == "done" else httpx.ReadError("lost"))
    async with fake_server.client(ledger=path) as client:
        await client.orders()
        for _ in range(count):
            if outcome == "done":
                await CREATE.make(client)
                continue
            with pytest.raises(OutcomeUnknown) as failed:
                await CREATE.make(client)
            client.settle(failed.value)
    assert outcomes(path) == [outcome] * count
    assert path.stat().st_size / count <= 2048


# -- the next start --------------------------------------------------------------------------------------------------


async def lost(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(call, HALF)
    with pytest.raises(OutcomeUnknown):
        await call.make(client)


async def cancelled(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    scope = anyio.CancelScope()  # not a timeout: virtual time doesn't wait for the file

    async def cancel() -> None:
        scope.cancel()
        await never_answer()

    fake_server.call(call, cancel)
    with scope:
        await call.make(client)


async def left(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    async def leave() -> Any:
        raise SystemExit

    fake_server.call(call, leave)
    with pytest.raises((SystemExit, BaseExceptionGroup)):
        await call.make(client)


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "abandoned"])
@pytest.mark.parametrize("way", [lost, cancelled, left])
@every_spending_call
async def test_a_call_without_an_outcome_is_unsettled_at_the_next_start(
    call: Call,
    way: Callable[..., Any],
    is_closed: bool,  # noqa: FBT001
    path: Path,
    fake_server: FakeServer,
) -> None:
    fake_server.on("orders", CALLS["orders"].sample)
    client = fake_server.client(ledger=path)
    await client.orders()
    await way(call, client, fake_server)
    (raised,) = client.unsettled
    if is_closed:
        await client.aclose()
    (error,) = at_next_start(path)
    assert (error.call, error.method, error.params) == (raised.call, call.method, call.query)
    assert (error.started_at, error.known, error.listed) == (raised.started_at, frozenset({ORDER.id}), True)
    assert (error.ends_at, error.seen_at, error.data) == (raised.ends_at, raised.seen_at, raised.data)
    assert (way is lost) == (error.data == HALF)
    assert str(error).startswith(f"{call.name}: outcome unknown, ")
    assert f"the ledger '{path}'" in str(error)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301 - our own
    assert [(it.outcome, it.started_at) for it in purchases(path)] == [("unknown", raised.started_at)]
    await client.aclose()


async def test_the_orders_end_and_the_server_time_survive_a_restart(path: Path, fake_server: FakeServer) -> None:
    row = {**CALLS["orders"].sample["data"][0], "id": 123}

    def listed(second: int) -> httpx.Response:
        date = {"Date": f"Wed, 15 Apr 2020 10:53:0{second} GMT"}
        return httpx.Response(200, json={"status": 1, "data": [row]}, headers=date)

    fake_server.on("orders", listed(0), listed(1))
    fake_server.call(CALLS["prolong"], httpx.ReadError("lost"))
    async with fake_server.client(ledger=path) as client:
        await client.orders()
        await anyio.sleep(1)
        await client.orders()  # the second date confirms the first one
        await anyio.sleep(59)
        with pytest.raises(OutcomeUnknown) as failed:
            await CALLS["prolong"].make(client)
    (error,) = at_next_start(path)
    assert error.ends_at == failed.value.ends_at == ORDER.until
    assert error.seen_at == failed.value.seen_at
    assert error.seen_at is not None
    assert error.seen_at.isoformat() == "2020-04-15T10:54:00+00:00"


@every_spending_call
async def test_a_call_with_an_outcome_is_not_unsettled(call: Call, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(call, call.sample, {"status": 0, "msg": "closed for lunch"}, httpx.ConnectError("down"))
    async with fake_server.client(ledger=path) as client:
        assert await call.make(client) == call.expected
        with pytest.raises(ApiError):
            await call.make(client)
        with pytest.raises(ConnectionFailed):
            await call.make(client)
    assert outcomes(path) == ["done", "refused", *["not_sent"] * 4]
    assert at_next_start(path) == ()


@pytest.mark.parametrize("is_entered", [True, False], ids=["entered", "not entered"])
async def test_calls_of_earlier_runs_come_first(
    is_entered: bool,  # noqa: FBT001
    path: Path,
    fake_server: FakeServer,
) -> None:
    earlier = await written_by(fake_server, path, CALLS["delete"])
    fake_server.call(CREATE, httpx.ReadError("lost"))
    client = fake_server.client(ledger=path)
    if is_entered:
        await client.__aenter__()
    assert [error.call for error in client.unsettled] == [earlier.call]
    assert [purchase.method for purchase in client.purchases()] == ["delete"]
    with pytest.raises(OutcomeUnknown) as failed:
        await CREATE.make(client)
    assert [error.call for error in client.unsettled] == [earlier.call, failed.value.call]
    assert [purchase.method for purchase in client.purchases()] == ["delete", "create"]
    assert client.unsettled[1] is failed.value
    assert client.unsettled[0] is client.unsettled[0]
    await client.aclose()


async def test_the_ledger_is_read_each_time_the_client_is_entered(path: Path, fake_server: FakeServer) -> None:
    client = fake_server.client(ledger=path)
    for count in range(1, 4):
        await written_by(fake_server, path)
        async with client:
            assert len(client.unsettled) == len(client.purchases()) == count


@on_asyncio
async def test_a_cancelled_reading_hides_no_call(path: Path, fake_server: FakeServer) -> None:
    await written_by(fake_server, path)
    client = fake_server.client(ledger=path)
    entering = asyncio.create_task(client.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    async with client:
        assert len(client.unsettled) == len(client.purchases()) == 1


# -- settled ---------------------------------------------------------------------------------------------------------


@every_spending_call
async def test_a_settled_call_stays_settled(call: Call, path: Path, fake_server: FakeServer) -> None:
    fake_server.call(call, httpx.ReadError("lost"))
    await written_by(fake_server, path, call)
    async with fake_server.client(ledger=path) as client:
        duplicate = pickle.loads(pickle.dumps(client.unsettled[0]))  # noqa: S301 - our own
        with pytest.raises(OutcomeUnknown) as failed:
            await call.make(client)
        for error in (duplicate, failed.value) * 2:
            client.settle(error)
        assert client.unsettled == ()
        assert [purchase.outcome for purchase in client.purchases()] == ["settled", "settled"]
    assert outcomes(path) == ["settled", "settled"]
    assert at_next_start(path) == ()


async def test_settle_works_without_a_ledger(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CREATE, httpx.ReadError("lost"))
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(client)
    first, second = client.unsettled
    client.settle(pickle.loads(pickle.dumps(first)))  # noqa: S301 - our own
    client.settle(first)
    client.settle(OutcomeUnknown("", method="create", params={}, started_at=first.started_at))  # an unknown call
    assert client.unsettled == (second,)


async def test_settling_is_written_before_the_next_spending_call_is_sent(path: Path, fake_server: FakeServer) -> None:
    earlier = await written_by(fake_server, path)

    async def answer() -> Any:
        assert sql(path, "SELECT outcome FROM calls ORDER BY started_at") == [("settled",), (None,)]
        return CREATE.sample

    fake_server.call(CREATE, answer)
    async with fake_server.client(ledger=path) as client:
        client.settle(earlier)
        assert client.unsettled == ()
        await CREATE.make(client)
    assert outcomes(path) == ["settled", "done"]


# -- several clients -------------------------------------------------------------------------------------------------


async def test_clients_of_one_account_can_share_a_ledger(path: Path, fake_server: FakeServer) -> None:
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
    assert len(at_next_start(path)) == len(purchases(path)) == 10
    assert {error.call for error in at_next_start(path)} == {error.call for error in (*one.unsettled, *other.unsettled)}
    assert folder_content(path) == {"ledger"}


async def test_another_clients_call_is_unsettled_when_its_outcome_is_unknown_but_not_while_in_progress(
    path: Path, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS["delete"], CALLS["delete"].sample)
    sent, broken, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def answer() -> Any:
        sent.set()
        await broken.wait()
        return httpx.ReadError("lost")

    async def rent() -> None:
        with pytest.raises(OutcomeUnknown):
            await CREATE.make(buying)
        ended.set()

    fake_server.call(CREATE, answer)
    async with (
        fake_server.client(ledger=path) as buying,
        fake_server.client(ledger=path) as looking,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(rent)
        await sent.wait()
        await CALLS["delete"].make(looking)
        assert not looking.unsettled
        assert at_next_start(path) == ()
        assert [(it.method, it.outcome) for it in looking.purchases()] == [("create", "unknown"), ("delete", "done")]
        broken.set()
        await ended.wait()
        assert not looking.unsettled  # a snapshot
        await CALLS["delete"].make(looking)
        assert [error.call for error in looking.unsettled] == [buying.unsettled[0].call]
        looking.settle(buying.unsettled[0])
    assert outcomes(path) == ["settled", "done", "done"]


async def test_a_call_settled_by_another_client_is_settled_after_the_next_call(
    path: Path, fake_server: FakeServer
) -> None:
    earlier = await written_by(fake_server, path)
    fake_server.call(CREATE, CREATE.sample)
    async with fake_server.client(ledger=path) as client:
        async with fake_server.client(ledger=path) as other:
            other.settle(earlier)
        assert [error.call for error in client.unsettled] == [earlier.call]  # a snapshot
        await CREATE.make(client)
        assert not client.unsettled
        assert [purchase.outcome for purchase in client.purchases()] == ["settled", "done"]


@pytest.mark.parametrize("is_kept", [True, False], ids=["ledger", "memory"])
async def test_of_the_calls_without_effect_the_newest_are_kept(
    is_kept: bool,  # noqa: FBT001
    path: Path,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smspva_async._purchases.store._MOST_WITHOUT_EFFECT", 3)
    call, no = CALLS["create"], {"status": 0, "msg": "no"}
    down = httpx.ConnectError("down")
    fake_server.call(call, no, call.sample, no, httpx.ReadError("lost"), no, no, down)
    async with fake_server.client(ledger=path if is_kept else None, retry=Retry(attempts=1)) as client:
        for _ in range(7):
            with contextlib.suppress(SmspvaError):
                await call.make(client)
        kept = ["done", "unknown", "refused", "refused", "not_sent"]
        assert [purchase.outcome for purchase in client.purchases()] == kept
        if is_kept:
            assert sql(path, "SELECT count(*) FROM calls") == [(5,)]
            assert outcomes(path) == kept
            async with fake_server.client(ledger=path, retry=Retry(attempts=1)) as another:
                with pytest.raises(ConnectionFailed):
                    await call.make(another)
            assert outcomes(path) == ["done", "unknown", "refused", "not_sent", "not_sent"]


async def test_a_call_that_another_program_has_dropped_is_no_longer_in_progress(
    path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smspva_async._purchases.store._MOST_WITHOUT_EFFECT", 1)
    call, no = CALLS["prolong"], {"status": 0, "msg": "no"}
    fake_server.on("orders", {"status": 1, "data": []})
    async with fake_server.client(ledger=path) as client, fake_server.client(ledger=path) as another:
        lost = await written_by(FakeServer(), path)

        async def refuse() -> object:
            await another.reconcile(lost)  # which reads the ledger
            assert [purchase.outcome for purchase in another.purchases()] == ["unknown", "unknown"]
            return no

        fake_server.call(call, refuse, no)
        for _ in range(2):
            with pytest.raises(ApiError):
                await call.make(client)
        await another.reconcile(lost)
        assert [purchase.outcome for purchase in another.purchases()] == ["unknown", "refused"]


async def test_programs_that_open_a_ledger_by_two_names_see_each_other_s_calls(
    tmp_path: Path, path: Path, fake_server: FakeServer
) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(path)

    async def answer() -> object:
        async with fake_server.client(ledger=link) as another:
            assert [purchase.outcome for purchase in another.purchases()] == ["unknown"]
            assert another.unsettled == ()  # the other program is making the call now
        return CREATE.sample

    fake_server.call(CREATE, answer)
    async with fake_server.client(ledger=path) as client:
        assert await CREATE.make(client) == CREATE.expected
