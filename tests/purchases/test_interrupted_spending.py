"""Spending calls that are cancelled or answered incompletely: the received part of the answer is kept."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import pytest

from smspva_async import Pace, Period, SmspvaClient
from smspva_async.errors import OutcomeUnknown
from smspva_async.simulator import Simulator
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.fake_server import KEY, never_answer
from tests.support.logs import warnings
from tests.support.samples import CALLS, HALF, Call, every_spending_call, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.fake_server import FakeServer

pytestmark = [pytest.mark.anyio, on_both_backends]


# -- cancelled -------------------------------------------------------------------------------------------------------


async def cancelled_scope(make: Callable[[], Any]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()


async def timed_out(make: Callable[[], Any]) -> None:
    with anyio.move_on_after(1):
        await make()


@pytest.mark.parametrize("cancelled", [cancelled_scope, timed_out])
@every_spending_call
async def test_a_call_cancelled_after_sending_is_unsettled(
    call: Call,
    cancelled: Callable[[Callable[[], Any]], Any],
    client: SmspvaClient,
    fake_server: FakeServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_server.call(call, never_answer)
    await cancelled(lambda: call.make(client))
    (error,) = client.unsettled
    assert len(fake_server.queries) == 1
    assert (error.method, error.params, error.data) == (call.method, call.query, None)
    assert error.elapsed == pytest.approx(1)
    assert warnings(caplog) == [str(error)]


@on_asyncio
async def test_cancelling_an_asyncio_task_leaves_the_call_unsettled(
    client: SmspvaClient, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.call(CALLS["delete"], never_answer)
    task = asyncio.ensure_future(client.delete(123))
    await anyio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [error.method for error in client.unsettled] == ["delete"]
    assert len(warnings(caplog)) == 1


@every_spending_call
async def test_a_call_cancelled_while_it_waits_for_the_pace_is_not_sent(
    call: Call, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    async with fake_server.client(pace=Pace(gap=60)) as client:
        await client.orders()
        await timed_out(lambda: call.make(client))
        await cancelled_scope(lambda: call.make(client))
        await anyio.sleep(300)
        assert client.unsettled == ()
    assert fake_server.methods == ["orders"]
    assert warnings(caplog) == []


async def test_a_call_cancelled_between_attempts_is_not_sent(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CALLS["create"], httpx.ConnectError("down"))
    with anyio.move_on_after(0.1):  # the second attempt comes at least a quarter of a second later
        await CALLS["create"].make(client)
    assert client.unsettled == ()


async def test_closing_the_client_does_not_abort_a_call_in_progress(fake_server: FakeServer) -> None:
    fake_server.call(CALLS["create"], never_answer)
    async with fake_server.client(timeout=5) as client, anyio.create_task_group() as tasks:

        async def rent() -> None:
            with pytest.raises(OutcomeUnknown):
                await CALLS["create"].make(client)

        tasks.start_soon(rent)
        await anyio.sleep(1)
        await client.aclose()
    assert len(client.unsettled) == 1
    assert len(fake_server.queries) == 1


@on_asyncio
@every_spending_call
async def test_a_coroutine_closed_after_sending_is_unsettled(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, never_answer)

    async def make() -> None:
        await call.make(client)

    coroutine = make()
    while not fake_server.queries:
        coroutine.send(None)
    coroutine.close()
    assert [(error.method, error.params) for error in client.unsettled] == [(call.method, call.query)]


# -- incomplete answers ----------------------------------------------------------------------------------------------

ANSWER = json.dumps(CALLS["create"].sample)
WARNED = "<br />\n<b>Warning</b>: mysql_connect() in /var/www/rent.php" * 9 + ANSWER


class Broken(httpx.AsyncByteStream):
    """A body that sends one piece, and then fails or sends nothing more."""

    def __init__(self, piece: bytes, failure: Exception | None = None) -> None:
        self.piece = piece
        self.failure = failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.piece
        if self.failure is None:
            await anyio.sleep_forever()
        else:
            raise self.failure


def client_of(body: bytes, failure: Exception | None = None) -> SmspvaClient:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Broken(body, failure)))
    return SmspvaClient(KEY, pace=Pace(gap=0), transport=transport)


@every_spending_call
async def test_php_warnings_before_the_answer_do_not_hide_it(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, f"{WARNED} and then nothing")
    with pytest.raises(OutcomeUnknown) as failed:
        await call.make(client)
    assert failed.value.data == f"{WARNED} and then nothing"


@pytest.mark.parametrize("failure", [httpx.RemoteProtocolError("cut"), None], ids=["cut", "time-out"])
@every_spending_call
async def test_the_received_part_of_a_body_is_kept_without_the_key(call: Call, failure: Exception | None) -> None:
    async with client_of(f"{HALF} by {KEY}".encode(), failure) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await call.make(client)
    assert failed.value.data == f"{HALF} by [key]"


@on_asyncio
@pytest.mark.parametrize("step", range(8))
async def test_the_result_of_a_call_that_is_cancelled_at_any_step_is_returned_or_found(
    step: int, client: SmspvaClient, fake_server: FakeServer
) -> None:
    call = CALLS["create"]
    fake_server.call(call, call.sample)
    before = {**row_of("orders"), "id": 1, "scode": call.query["service"]}
    new = {**before, "id": call.expected.id, "pnumber": "9096037999"}
    fake_server.on("orders", {"status": 1, "data": [before]}, {"status": 1, "data": [before, new]})
    await client.orders()
    sent = len(fake_server.queries)
    task = asyncio.ensure_future(call.make(client))
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled() and len(fake_server.queries) > sent:
        (error,) = client.unsettled
        if client.purchases()[0].outcome == "done":
            found = await client.reconcile(error)
            assert (found.verdict, [order.id for order in found.candidates]) == ("done", [call.expected.id])
            async with fake_server.client() as another:  # without the record
                found = await another.reconcile(error)
            assert (found.verdict, [order.id for order in found.candidates]) == ("done", [call.expected.id])
            client.settle(error)
            assert [(it.outcome, it.order_ids) for it in client.purchases()] == [("done", (call.expected.id,))]
            assert client.unsettled == ()


@pytest.mark.parametrize("cancelled", [cancelled_scope, timed_out])
async def test_the_part_received_before_a_cancellation_is_kept(cancelled: Callable[[Callable[[], Any]], Any]) -> None:
    async with client_of(f"{HALF} by {KEY}".encode()) as client:
        await cancelled(lambda: CALLS["create"].make(client))
    assert [error.data for error in client.unsettled] == [f"{HALF} by [key]"]


async def test_64_kib_of_a_large_answer_are_kept() -> None:
    async with client_of(WARNED.ljust(100_000).encode(), httpx.ReadError("lost")) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await CALLS["create"].make(client)
    assert failed.value.data == WARNED.ljust(64 * 1024)


@pytest.mark.parametrize("fault", ["cut", "half"])
async def test_the_order_id_in_a_truncated_answer_is_kept(fault: Literal["cut", "half"]) -> None:
    simulator = Simulator()
    simulator.faults.next("create", fault)
    async with SmspvaClient(KEY, transport=simulator.transport()) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
    assert f'"id": {simulator.orders[0].id}' in str(failed.value.data)


@pytest.mark.parametrize(("fault", "has_part"), [("slow_body", True), ("latency", False)])
async def test_a_slow_answer_times_out_and_its_received_part_is_kept(
    fault: Literal["slow_body", "latency"],
    has_part: bool,  # noqa: FBT001
) -> None:
    simulator = Simulator()
    simulator.faults.next("create", fault, seconds=40)
    async with SmspvaClient(KEY, transport=simulator.transport()) as client:
        with pytest.raises(OutcomeUnknown, match="no answer within 30 s") as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
    assert (f'"id": {simulator.orders[0].id}' in str(failed.value.data)) is has_part
    assert has_part or failed.value.data is None
