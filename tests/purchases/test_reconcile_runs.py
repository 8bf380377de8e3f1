"""`reconcile` with errors of other clients, programs and runs, and with many calls."""

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Pace, SmspvaClient
from smspva_async.errors import (
    ApiError,
    ConnectionFailed,
    InvalidKey,
    JournalError,
    OutcomeUnknown,
    SmspvaError,
    UnexpectedResponse,
)
from smspva_async.simulator import Simulator
from tests.support.fake_server import KEY
from tests.support.reconciliation import WEEK, Dialect, both_dialects, client_of, ids, unknown, verdict
from tests.support.samples import CALLS, SPENDING, Call, name_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_server import FakeServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("cheap_fingerprints")]

# -- arguments and failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", SPENDING, ids=name_of)
async def test_reconcile_raises_the_errors_of_its_requests(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.ReadError("lost"))
    error = await unknown(call.make(client))
    fake_server.on("orders", {"status": 1}, {"status": 0, "msg": "BANNED"})
    with pytest.raises(UnexpectedResponse):
        await client.reconcile(error)
    with pytest.raises(InvalidKey):
        await client.reconcile(error)
    assert client.unsettled == (error,)


async def test_only_order_not_found_proves_that_an_order_is_deleted(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    fake_server.on("sms", {"status": 0, "msg": "closed for lunch"}, {"status": 0, "msg": "Order not found"}, id="123")
    fake_server.on("get_rent_history", {"status": 1, "data": []}, skip="0", take="50")
    fake_server.on("restore_user_precalc", httpx.ReadError("lost"), {"status": 0, "msg": "BANNED"}, id="517017")
    for method in ("delete", "restore_user"):
        fake_server.call(CALLS[method], httpx.ReadError("lost"))
    deleted = await unknown(CALLS["delete"].make(client))
    with pytest.raises(SmspvaError, match="lunch"):
        await client.reconcile(deleted)
    assert await verdict(client, deleted) == ("done", [])
    restored = await unknown(CALLS["restore_user"].make(client))
    with pytest.raises((InvalidKey, ConnectionFailed)):
        await client.reconcile(restored)


@pytest.mark.parametrize("error", [None, "create", ConnectionFailed("down", sent=True, method="create")])
async def test_reconcile_rejects_other_arguments(error: Any, client: SmspvaClient) -> None:
    with pytest.raises(ValueError, match="OutcomeUnknown"):
        await client.reconcile(error)


async def test_an_unknown_method_is_rejected(client: SmspvaClient) -> None:
    error = OutcomeUnknown("", method="orders", params={}, started_at=datetime.now(UTC))
    with pytest.raises(ValueError, match="OutcomeUnknown"):
        await client.reconcile(error)


@both_dialects
@pytest.mark.parametrize("again", ["pickled", "settled", "another client", "next start"])
async def test_reconcile_accepts_copies_and_works_in_other_clients_and_runs(
    again: str, dialect: Dialect, tmp_path: Path
) -> None:
    sim = Simulator(dialect=dialect)
    sim.add_order()
    path = tmp_path / "ledger"
    async with client_of(sim, ledger=path) as client:
        first = await client.rent("RU", "opt16", WEEK)
        sim.faults.next("create", "lost")
        error = await unknown(client.rent("RU", "opt16", WEEK))
        await client.rent("RU", "opt16", WEEK)
        bought = ids(sim)[2]
        assert first.id != bought
        if again == "settled":
            client.settle(error)
        if again in ("pickled", "settled"):
            second = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
            assert await verdict(client, second) == ("done", [bought])
    if again == "another client":
        async with client_of(sim) as other:  # which doesn't know the third order
            assert await verdict(other, error) == ("done", [bought, ids(sim)[3]])
    if again == "next start":
        async with client_of(sim, ledger=path) as other:
            (found,) = other.unsettled
            assert await verdict(other, found) == ("done", [bought])


# -- several programs with one ledger --------------------------------------------------------------------------------


async def test_an_order_bought_by_another_program_is_not_a_candidate(tmp_path: Path) -> None:
    sim = Simulator()
    ledger = tmp_path / "ledger"
    async with client_of(sim, ledger=ledger) as client, client_of(sim, ledger=ledger) as other:
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        await other.rent("RU", "opt16", WEEK)
        assert await verdict(client, error) == ("open", [])


async def test_an_order_that_another_program_may_have_restored_is_not_a_candidate(tmp_path: Path) -> None:
    sim = Simulator(dialect="page")
    past = sim.add_order(until=sim.now - timedelta(days=3)).id
    ledger = tmp_path / "ledger"
    async with client_of(sim, ledger=ledger) as client, client_of(sim, ledger=ledger) as other:
        sim.faults.next("restore", "lost")
        await unknown(other.restore(past))
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert ids(sim) == [past]
        assert await verdict(client, error) == ("open", [])


@pytest.mark.parametrize("rival", ["in progress", "unknown", "settled"])
async def test_an_order_that_another_program_may_have_bought_proves_nothing(rival: str, tmp_path: Path) -> None:
    sim = Simulator()
    ledger = tmp_path / "ledger"
    async with (
        client_of(sim, ledger=ledger) as client,
        client_of(sim, ledger=ledger) as other,
        anyio.create_task_group() as tasks,
    ):
        if rival == "in progress":
            sim.faults.next("create", "latency", seconds=20)
            tasks.start_soon(other.rent, "RU", "opt16", WEEK)
            await anyio.sleep(1)
        else:
            sim.faults.next("create", "lost")
            lost = await unknown(other.rent("RU", "opt16", WEEK))
        if rival == "settled":
            assert await verdict(other, lost) == ("done", ids(sim))
            other.settle(lost)
            await other.orders()
            await other.delete(sim.add_order(service="opt7").id)  # which also writes the settled call
        sim.faults.next("create", "lost", done=False)
        error = await unknown(client.rent("RU", "opt16", WEEK))  # whose last list is older
        assert await verdict(client, error) == ("open", ids(sim))
        sim.faults.next("create", "lost")
        second = await unknown(client.rent("RU", "opt16", WEEK))
        assert len(ids(sim)) == 2
        assert await verdict(client, second) == ("open", ids(sim)[1:])
        assert await verdict(client, error) == ("open", ids(sim))  # two orders, three calls


class FailingDisk(httpx.AsyncBaseTransport):
    """A transport to a simulator, and a ledger that can't be written once a rental has been answered."""

    def __init__(self, sim: Simulator, ledger: Path) -> None:
        self._inner = sim.transport()
        self._ledger = ledger
        self._aside = ledger.with_name("aside")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if request.url.params["method"] == "create":
            self._ledger.rename(self._aside)
            self._ledger.mkdir()  # so that it can't be written
        return answer

    def repair(self) -> None:
        self._ledger.rmdir()
        self._aside.rename(self._ledger)


@pytest.mark.parametrize(("end", "expected"), [("done", "done"), ("refused", "not_done")])
async def test_the_outcome_that_another_program_wrote_is_the_verdict(end: str, expected: str, tmp_path: Path) -> None:
    sim = Simulator()
    ledger = tmp_path / "ledger"
    disk = FailingDisk(sim, ledger)
    if end == "refused":
        sim.faults.next("create", "refusal", msg="closed for lunch")
    client = SmspvaClient(KEY, pace=Pace(gap=0), transport=disk, ledger=ledger)
    await client.__aenter__()
    with suppress(ApiError):
        await client.rent("RU", "opt16", WEEK)
    with pytest.raises(JournalError):
        await client.aclose()
    disk.repair()
    async with client_of(sim, ledger=ledger) as other:
        (error,) = other.unsettled
        assert (await verdict(other, error))[0] == "open"
        async with client:  # which writes the outcome on leaving
            pass
        assert await verdict(other, error) == (expected, ids(sim))
        assert other.unsettled == ()


# -- many calls, and interruptions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False, None], ids=["all done", "none done", "some done"])
async def test_no_rental_is_lost_among_a_hundred_concurrent_ones(done: bool | None, tmp_path: Path) -> None:  # noqa: FBT001
    sim = Simulator(balance=10**6)
    sim.set_offer("RU", "opt16", count=1000)
    sim.add_order()
    returned: list[int] = []
    ledger = tmp_path / "ledger"
    async with client_of(sim, ledger=ledger) as client, anyio.create_task_group() as tasks:

        async def rent() -> None:
            with suppress(OutcomeUnknown):
                returned.append((await client.rent("RU", "opt16", WEEK)).id)

        for number in range(50):
            sim.faults.next("create", "lost", done=number % 2 == 0 if done is None else done)
            sim.faults.next("create", "latency", seconds=number % 7)
        for _ in range(100):
            tasks.start_soon(rent)
    lost = set(ids(sim)[1:]) - set(returned)
    async with client_of(sim, ledger=ledger, listed=False) as client:
        assert (len(returned), len(set(returned)), len(client.unsettled)) == (50, 50, 50)
        assert {order_id for purchase in client.purchases() for order_id in purchase.order_ids} == set(returned)
        for error in client.unsettled:
            found, candidates = await verdict(client, error)
            assert (found, set(candidates)) == ("done" if done else "open", lost)
            client.settle(error)


async def test_a_call_settled_without_reconcile_competes_for_all_matching_orders(tmp_path: Path) -> None:
    sim = Simulator()
    async with client_of(sim, ledger=tmp_path / "ledger") as client:
        sim.faults.next("create", "lost", done=True)
        made = await unknown(client.rent("RU", "opt16", WEEK))
        sim.faults.next("create", "lost", done=False)
        not_made = await unknown(client.rent("RU", "opt16", WEEK))
        async with client_of(sim, ledger=tmp_path / "ledger") as person:
            person.settle(next(error for error in person.unsettled if error.call == made.call))
        assert (await client.reconcile(not_made)).verdict == "open"


async def test_a_settled_purchase_is_listed_with_its_proven_order(tmp_path: Path) -> None:
    sim = Simulator()
    async with client_of(sim, ledger=tmp_path / "ledger") as client:
        sim.faults.next("create", "lost", done=True)
        error = await unknown(client.rent("RU", "opt16", WEEK))
        assert await verdict(client, error) == ("done", ids(sim))
        client.settle(error)
    async with client_of(sim, ledger=tmp_path / "ledger") as client:
        (purchase,) = client.purchases()
        assert (purchase.outcome, list(purchase.order_ids)) == ("settled", ids(sim))


async def test_an_interrupt_while_an_answer_is_decoded_leaves_the_call_unsettled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sim = Simulator()
    async with client_of(sim) as client:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("smspva_async._purchases.tracker._orders_of", interrupt)
        with pytest.raises(KeyboardInterrupt):
            await client.rent("RU", "opt16", WEEK)
        assert [purchase.outcome for purchase in client.purchases()] == ["unknown"]
        (error,) = client.unsettled
        assert await verdict(client, error) == ("done", ids(sim))
