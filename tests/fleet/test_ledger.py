"""The ledger that the processes of a fleet share in Redis."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve

from smspva_async import Pace, Period, Retry, SmspvaClient
from smspva_async._api import methods
from smspva_async._api.decoding import Answer
from smspva_async._purchases.store import Record
from smspva_async._purchases.tracker import PurchaseTracker
from smspva_async.errors import JournalError, OutcomeUnknown
from smspva_async.fleet._ledger import RedisLedger
from smspva_async.fleet._link import Link
from smspva_async.simulator import Simulator
from tests.support import PATIENCE, lua
from tests.support.network import Network
from tests.support.processes import Worker, until
from tests.support.redis_server import RedisServer, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from multiprocessing.connection import Connection

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend",
        [("asyncio", {"loop_factory": asyncio.new_event_loop}), ("trio", {})],
        ids=["asyncio", "trio"],
    ),
]

WEEK = Period.weeks(1)
LEDGER = "smspva:{main}:ledger"
MEMBERS = "smspva:{main}:members"
RENT = {"country": "RU", "service": "opt16", "dtype": "week", "dcount": "1"}


def link_of(server: RedisServer | Network, lease: float = 10.0) -> Link:
    return Link(server.url, "main", lease, lambda: "f" * 64)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Return a Redis that confirms a write at once; by default, 7.2 and newer need a second."""
    yield from running("--appendfsync", "always")


@pytest.fixture
def account() -> Simulator:
    return Simulator(balance=10**6)


@asynccontextmanager
async def process(server: RedisServer, account: Simulator, lease: float = 10.0) -> AsyncIterator[SmspvaClient]:
    """Return the client of another process, except that it is in this one."""
    link = link_of(server, lease)
    client = SmspvaClient(
        "key-of-the-fleet", transport=account.transport(), pace=Pace(gap=0), retry=Retry(attempts=1), timeout=0.5
    )
    client._purchases = client._executor.purchases = PurchaseTracker(RedisLedger(link))
    try:
        async with client:
            yield client
    finally:
        await link.aclose()


async def rent(client: SmspvaClient) -> int:
    return (await client.rent("RU", "opt16", WEEK)).id


async def unknown_rent(client: SmspvaClient, account: Simulator, *, done: bool) -> OutcomeUnknown:
    account.faults.next("rent", "lost", done=done)
    with pytest.raises(OutcomeUnknown) as failed:
        await rent(client)
    return failed.value


def bought(client: SmspvaClient) -> list[tuple[str, tuple[int, ...]]]:
    return [(purchase.outcome, purchase.order_ids) for purchase in client.purchases()]


def rents_sent(account: Simulator) -> int:
    return sum(request.method == "create" for request in account.requests)


def sent(order_id: int) -> Callable[[list[str]], Awaitable[Answer]]:
    """Return a function that sends a request and gets an order."""

    async def send(_: list[str]) -> Answer:
        data = {"id": order_id, "pnumber": "79000000000", "service": "opt16", "until": 1_900_000_000}
        return Answer(200, "application/json", json.dumps({"status": 1, "data": data}).encode())

    return send


async def never_sent(_: list[str]) -> Answer:
    raise AssertionError("a request was sent")


@asynccontextmanager
async def tracker_of(server: RedisServer | Network, lease: float = 10.0) -> AsyncIterator[PurchaseTracker]:
    link = link_of(server, lease)
    tracker = PurchaseTracker(RedisLedger(link))
    try:
        await tracker.enter()
        yield tracker
        await tracker.aclose()
    finally:
        await link.aclose()


async def read_by_another(server: RedisServer) -> list[tuple[str, tuple[int, ...]]]:
    async with tracker_of(server) as tracker:
        return [(purchase.outcome, purchase.order_ids) for purchase in tracker.purchases()]


# -- two processes ---------------------------------------------------------------------------------------------------


async def test_processes_see_each_others_purchases(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account) as one, process(redis_server, account) as other:
        ids = [await rent(one), await rent(other), await rent(one)]
        assert bought(one) == [("done", (order_id,)) for order_id in ids]
        assert await read_by_another(redis_server) == bought(one)


async def test_a_write_does_not_hide_earlier_ones_of_other_processes(redis_server: RedisServer) -> None:
    async with tracker_of(redis_server) as one, tracker_of(redis_server) as other:
        await one.spend(methods.RENT, RENT, sent(1))
        await other.spend(methods.RENT, RENT, sent(2))
        await other.read()
        assert [purchase.order_ids for purchase in other.purchases()] == [(1,), (2,)]


async def test_a_call_that_one_process_settles_is_settled_in_the_others(
    redis_server: RedisServer, account: Simulator
) -> None:
    async with process(redis_server, account) as one, process(redis_server, account) as other:
        error = await unknown_rent(one, account, done=False)
        await rent(other)
        assert [it.call for it in other.unsettled] == [it.call for it in one.unsettled] == [error.call]
        other.settle(other.unsettled[0])
        await rent(other)
        await rent(one)
        assert one.unsettled == ()
        assert [outcome for outcome, _ in bought(one)] == ["settled", "done", "done", "done"]


async def test_closing_writes_what_was_settled(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account) as one:
        one.settle(await unknown_rent(one, account, done=False))
    assert await read_by_another(redis_server) == [("settled", ())]


async def test_a_call_is_in_flight_while_its_process_is_a_member(redis_server: RedisServer, account: Simulator) -> None:
    async with (
        tracker_of(redis_server) as one,
        process(redis_server, account) as other,
        anyio.create_task_group() as tg,
    ):

        async def hang(_: list[str]) -> Answer:
            await anyio.sleep_forever()
            raise AssertionError

        tg.start_soon(one.spend, methods.RENT, RENT, hang)
        await until(lambda: redis_server.cli("HLEN", LEDGER).strip() == "1")
        await rent(other)
        assert other.unsettled == ()
        assert [outcome for outcome, _ in bought(other)] == ["unknown", "done"]
        redis_server.cli("ZADD", MEMBERS, "1", owners_in_flight(redis_server)[0])
        await other._purchases.read()
        assert len(other.unsettled) == 1
        tg.cancel_scope.cancel()


async def test_a_call_that_ends_while_another_process_reads_is_done(redis_server: RedisServer) -> None:
    link = link_of(redis_server)
    ledger = RedisLedger(link)
    reader = PurchaseTracker(ledger)
    scan, is_begun, is_read, is_over = ledger._scan, anyio.Event(), anyio.Event(), anyio.Event()

    async def send(received: list[str]) -> Answer:
        is_begun.set()
        await is_read.wait()
        return await sent(1)(received)

    async def other_process() -> None:
        async with tracker_of(redis_server) as tracker:
            await tracker.spend(methods.RENT, RENT, send)
        is_over.set()

    async def scan_before_the_end(redis: Any) -> dict[str, str]:
        rows = await scan(redis)
        is_read.set()
        await is_over.wait()
        return rows

    ledger._scan = scan_before_the_end  # type: ignore[method-assign]
    async with anyio.create_task_group() as tg:
        tg.start_soon(other_process)
        await is_begun.wait()
        await reader.enter()
    assert reader.unsettled == ()
    assert [purchase.order_ids for purchase in reader.purchases()] == [(1,)]
    await reader.aclose()
    await link.aclose()


async def test_a_call_stays_in_flight_while_redis_does_not_know_the_members(redis_server: RedisServer) -> None:
    async with tracker_of(redis_server) as one, tracker_of(redis_server) as other, anyio.create_task_group() as tg:

        async def hang(_: list[str]) -> Answer:
            await anyio.sleep_forever()
            raise AssertionError

        tg.start_soon(one.spend, methods.RENT, RENT, hang)
        await until(lambda: redis_server.cli("HLEN", LEDGER).strip() == "1")
        await other.read()
        redis_server.cli("FLUSHALL")
        await other.read()
        assert redis_server.cli("HLEN", LEDGER).strip() == "1"
        assert other.unsettled == ()
        tg.cancel_scope.cancel()


def owners_in_flight(server: RedisServer) -> list[str]:
    rows = [json.loads(line) for line in server.cli("HVALS", LEDGER).splitlines()]
    return [row[1] for row in rows if row[9] is None]


def rent_and_hang(url: str, pipe: Connection) -> None:
    async def main() -> None:
        tracker = PurchaseTracker(RedisLedger(Link(url, "main", 10.0, lambda: "f" * 64)))
        await tracker.enter()
        await tracker.spend(methods.RENT, RENT, sent(1))

        async def hang(_: list[str]) -> Answer:
            pipe.send("sent")
            await anyio.sleep_forever()
            raise AssertionError

        await tracker.spend(methods.RENT, RENT, hang)

    asyncio.run(main())


async def test_a_call_of_a_killed_process_becomes_unsettled(redis_server: RedisServer) -> None:
    async with tracker_of(redis_server) as tracker:
        with Worker(rent_and_hang, redis_server.url, piped=True) as worker:
            await anyio.to_thread.run_sync(worker.receive)
            await tracker.read()
            assert tracker.unsettled == ()
            worker.kill()
        (owner,) = owners_in_flight(redis_server)
        redis_server.cli("ZADD", MEMBERS, "1", owner)  # instead of waiting for the lease to end
        await tracker.read()
        assert [purchase.outcome for purchase in tracker.purchases()] == ["done", "unknown"]
        assert len(tracker.unsettled) == 1
        assert f"from the ledger of the fleet 'main' at {redis_server.socket}" in tracker.unsettled[0].message


def fork_and_rent(url: str, pipe: Connection) -> None:
    tracker = PurchaseTracker(RedisLedger(Link(url, "main", 10.0, lambda: "f" * 64)))

    asyncio.run(_spend_once(tracker, 1))
    if (child := os.fork()) == 0:
        try:
            asyncio.run(_spend_once(tracker, 3))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    asyncio.run(_spend_once(tracker, 4))
    pipe.send([purchase.order_ids for purchase in tracker.purchases()])


async def _spend_once(tracker: PurchaseTracker, order_id: int) -> None:
    await tracker.read()
    await tracker.spend(methods.RENT, RENT, sent(order_id))


async def test_a_forked_process_is_another_member(redis_server: RedisServer) -> None:
    with Worker(fork_and_rent, redis_server.url, piped=True) as worker:
        seen = await anyio.to_thread.run_sync(worker.receive)
    assert seen == [(1,), (3,), (4,)]
    rows = sorted((json.loads(line) for line in redis_server.cli("HVALS", LEDGER).splitlines()), key=lambda row: row[4])
    first, child, again = (row[1] for row in rows)
    assert first == again != child


async def test_an_order_that_another_process_was_given_is_no_candidate(
    redis_server: RedisServer, account: Simulator
) -> None:
    async with process(redis_server, account) as one, process(redis_server, account) as other:
        await one.orders()
        error = await unknown_rent(one, account, done=False)
        await rent(other)
        found = await one.reconcile(error)
        assert (found.verdict, found.candidates) == ("open", ())


async def test_one_order_is_not_claimed_for_the_calls_of_two_processes(
    redis_server: RedisServer, account: Simulator
) -> None:
    async with process(redis_server, account) as one, process(redis_server, account) as other:
        await one.orders()
        await other.orders()
        errors = [await unknown_rent(one, account, done=True), await unknown_rent(other, account, done=False)]
        for client, error in zip((one, other), errors, strict=True):
            found = await client.reconcile(error)
            assert (found.verdict, len(found.candidates)) == ("open", 1)
        one.settle(errors[0])
        await rent(one)
        found = await other.reconcile(errors[1])
        assert (found.verdict, len(found.candidates)) == ("open", 1)


async def test_an_outcome_outlives_a_late_write_that_says_less(redis_server: RedisServer) -> None:
    links = link_of(redis_server), link_of(redis_server)
    one, other = (RedisLedger(link) for link in links)
    tracker = PurchaseTracker(one)
    try:
        await tracker.enter()

        async def lose(_: list[str]) -> Answer:
            raise OSError("broken")

        with pytest.raises(OSError, match="broken"):
            await tracker.spend(methods.RENT, RENT, lose)
        (unknown,) = await other.load() or ()
        settled = evolve(unknown, outcome="settled", complete=False)
        found = evolve(unknown, outcome="settled", order_ids=(5,))
        done = evolve(unknown, outcome="done", order_ids=(7,))
        for record, kept in [
            (settled, ("settled", ())),
            (unknown, ("settled", ())),
            (found, ("settled", (5,))),
            (done, ("done", (7,))),
            (settled, ("done", (7,))),
        ]:
            writer = RedisLedger(links[0])
            await writer.save(partial(list, [record]))
            await writer.aclose()
            assert await read_by_another(redis_server) == [kept]
    finally:
        await one.aclose()
        await other.aclose()
        for link in links:
            await link.aclose()


# -- Redis fails -----------------------------------------------------------------------------------------------------


async def test_purchases_outlive_a_kill_of_redis(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account) as one, process(redis_server, account) as other:
        ids = [await rent(one)]
        redis_server.kill()
        redis_server.start()
        ids += [await rent(other), await rent(one)]
        assert bought(one) == [("done", (order_id,)) for order_id in ids]


async def test_lost_writes_are_written_back(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account) as one, process(redis_server, account) as other:
        ids = [await rent(one), await rent(other)]
        error = await unknown_rent(one, account, done=False)
        await rent(other)
        redis_server.cli("FLUSHALL")
        assert await read_by_another(redis_server) == []
        await one._purchases.read()
        expected = [("done", (ids[0],)), ("done", (ids[1],)), ("unknown", ())]
        assert (await read_by_another(redis_server))[:3] == expected
        ids.append(await rent(other))
        assert len(await read_by_another(redis_server)) == 5
        assert [it.call for it in other.unsettled] == [error.call]


async def test_saving_writes_back_too(redis_server: RedisServer) -> None:
    async with tracker_of(redis_server) as tracker:
        await tracker.spend(methods.RENT, RENT, sent(1))
        redis_server.cli("FLUSHALL")
        await tracker.spend(methods.RENT, RENT, sent(2))
    assert await read_by_another(redis_server) == [("done", (1,)), ("done", (2,))]


async def test_rows_lost_with_an_older_file_are_written_back_although_others_wrote_since(
    redis_server: RedisServer, account: Simulator
) -> None:
    files, backup = redis_server.folder / "appendonlydir", redis_server.folder / "backup"
    async with process(redis_server, account) as one:
        ids = [await rent(one)]
        error = await unknown_rent(one, account, done=False)
        redis_server.kill()
        shutil.copytree(files, backup)
        redis_server.start()
        one.settle(error)
        ids.append(await rent(one))
        redis_server.kill()
        shutil.rmtree(files)
        backup.rename(files)
        redis_server.start()
        async with process(redis_server, account) as other:
            assert len(bought(other)) == 2
            ids += [await rent(other) for _ in range(4)]
        await rent(one)
        found = await read_by_another(redis_server)
        assert [outcome for outcome, _ in found] == ["done", "settled", *["done"] * 6]
        assert {order_id for _, found_ids in found for order_id in found_ids} > set(ids)


async def test_a_damaged_row_is_an_error(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account) as one:
        await rent(one)
        (call,) = redis_server.cli("HKEYS", LEDGER).split()
        row = redis_server.cli("HGET", LEDGER, call).strip()
        for damaged in ["", "[]", "{}", row[:-9], row.replace("opt16", "opt17"), "[" + row[3:]]:
            redis_server.cli("HSET", LEDGER, call, damaged)
            with pytest.raises(JournalError, match=f"the record of call {call}.*nothing was sent") as failed:
                await read_by_another(redis_server)
            assert str(redis_server.socket) in failed.value.message
        redis_server.cli("HSET", LEDGER, "another", row)
        redis_server.cli("HDEL", LEDGER, call)
        with pytest.raises(JournalError, match="the record of call another"):
            await read_by_another(redis_server)


async def test_nothing_is_sent_while_redis_is_out_of_memory(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account, lease=0.2) as client:
        await rent(client)
        redis_server.cli("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(JournalError, match=r"can't be reached for .*OOM.*; nothing was sent"):
            await rent(client)
        assert rents_sent(account) == 1
        redis_server.cli("CONFIG", "SET", "maxmemory", "0")
        await rent(client)
        assert [outcome for outcome, _ in bought(client)] == ["done", "not_sent", "done"]


@pytest.mark.parametrize("concurrent", [1, 20])
async def test_nothing_is_sent_while_redis_is_down(redis_server: RedisServer, concurrent: int) -> None:
    async with tracker_of(redis_server, lease=0.2) as tracker:
        redis_server.kill()
        failed: list[str] = []

        async def spend() -> None:
            with pytest.raises(JournalError) as error:
                await tracker.spend(methods.RENT, RENT, never_sent)
            failed.append(error.value.message)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tg:
                for _ in range(concurrent):
                    tg.start_soon(spend)
        assert len(failed) == concurrent
        assert all(it.endswith("; nothing was sent") and str(redis_server.socket) in it for it in failed)
        with pytest.raises(JournalError, match="nothing was sent"):
            await tracker.read()
        redis_server.start()
        await tracker.spend(methods.RENT, RENT, sent(1))
        assert [outcome for outcome, _ in await read_by_another(redis_server)] == ["not_sent"] * concurrent + ["done"]


async def test_an_outcome_that_could_not_be_written_is_written_later(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with tracker_of(redis_server, lease=0.2) as tracker:

        async def send(received: list[str]) -> Answer:
            redis_server.kill()
            return await sent(1)(received)

        assert (await tracker.spend(methods.RENT, RENT, send)).id == 1
        assert "a call with a known outcome may appear as unsettled" in caplog.text
        redis_server.start()
    assert await read_by_another(redis_server) == [("done", (1,))]


async def test_settling_fails_if_it_can_not_be_written(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account, lease=0.2) as client:
        error = await unknown_rent(client, account, done=False)
        redis_server.kill()
        client.settle(error)
        with pytest.raises(JournalError):
            await rent(client)
        assert [it.call for it in client.unsettled] == [error.call]
        redis_server.start()


async def test_a_call_that_the_disk_does_not_confirm_is_not_sent(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Redis has WAITAOF since 7.2. Here an older one counts as that, and the network answers WAITAOF.
    lua.replace(monkeypatch, "ledger_head", "0x00070200", "0x00070000")
    async with anyio.create_task_group() as tasks:
        network = Network(redis_server, tasks)
        await network.repair()
        async with tracker_of(network) as tracker:
            network.replies[b"\r\nWAITAOF\r\n"] = b"*2\r\n:0\r\n:0\r\n"
            with pytest.raises(JournalError, match=r"confirm within 4 s .* set appendfsync .*; nothing was sent$"):
                await tracker.spend(methods.RENT, RENT, never_sent)
            network.replies[b"\r\nWAITAOF\r\n"] = b"*2\r\n:1\r\n:0\r\n"
            await tracker.spend(methods.RENT, RENT, sent(1))
        tasks.cancel_scope.cancel()
    assert await read_by_another(redis_server) == [("not_sent", ()), ("done", (1,))]


async def test_a_cancelled_call_is_recorded(redis_server: RedisServer) -> None:
    async with tracker_of(redis_server) as tracker:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await tracker.spend(methods.RENT, RENT, never_sent)
        assert await read_by_another(redis_server) == [("not_sent", ())]


async def test_a_cancelled_write_is_finished(redis_server: RedisServer) -> None:
    link = link_of(redis_server)
    ledger = RedisLedger(link)
    record = Record("call", "create", RENT, datetime.now(UTC), outcome="done", order_ids=(1,))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ledger.save(lambda: [record])
    await ledger.aclose()
    await link.aclose()
    assert await read_by_another(redis_server) == [("done", (1,))]


# -- use -------------------------------------------------------------------------------------------------------------


async def test_a_client_must_be_entered_before_its_calls_are_listed(redis_server: RedisServer) -> None:
    tracker = PurchaseTracker(RedisLedger(Link("redis://user:secret@host/0", "main", 10.0, lambda: "f" * 64)))
    for use in (lambda: tracker.unsettled, tracker.purchases):
        with pytest.raises(JournalError, match="enter the client first") as failed:
            use()
        assert "'main' at host:6379" in failed.value.message
        assert "secret" not in failed.value.message
    assert redis_server.cli("DBSIZE").strip() == "0"


async def test_every_field_of_a_record_is_kept(redis_server: RedisServer, account: Simulator) -> None:
    async with process(redis_server, account) as one:
        await rent(one)
        await one.orders()
        account.faults.next("rent", "cut")
        with pytest.raises(OutcomeUnknown):
            await rent(one)
        (error,) = one.unsettled
        async with process(redis_server, account) as other:
            (read,) = other.unsettled
        assert (read.method, read.params, read.started_at) == (error.method, error.params, error.started_at)
        assert (read.known, read.listed, read.seen_at, read.data) == (
            error.known,
            error.listed,
            error.seen_at,
            error.data,
        )
        assert len(read.known) == 1


async def test_many_calls_at_once_are_written_in_few_batches(redis_server: RedisServer) -> None:
    async with tracker_of(redis_server) as tracker:
        async with anyio.create_task_group() as tg:
            for order_id in range(1, 101):
                tg.start_soon(tracker.spend, methods.RENT, RENT, sent(order_id))
        # One write for the beginning of all, and a few for the outcomes.
        changes = int(redis_server.cli("HGET", "smspva:{main}:meta", "ledger").split(":")[1])
        assert changes < 20
    assert sorted(ids for _, ids in await read_by_another(redis_server)) == [(it,) for it in range(1, 101)]
