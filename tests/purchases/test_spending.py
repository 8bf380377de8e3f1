"""Spending calls are sent once, and the outcome of each is known, or the call is unsettled."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smspva_async import Period, SmspvaClient
from smspva_async.errors import ApiError, ConnectionFailed, InvalidKey, OutcomeUnknown
from smspva_async.simulator import Simulator
from tests.support.fake_server import KEY, never_answer
from tests.support.samples import CALLS, HALF, REPEATABLE, Call, every_spending_call, name_of

if TYPE_CHECKING:
    from tests.support.fake_server import FakeServer

pytestmark = pytest.mark.anyio


# -- unknown outcomes ------------------------------------------------------------------------------------------------

STRANGE = {"status": "paid", "data": {"paid": {"id": 40370}}}

# For each case, the answer and the data that the error keeps.
UNKNOWN: dict[str, tuple[Any, object]] = {
    "lost answer": (httpx.ReadError("connection reset"), None),
    "cut body": (httpx.RemoteProtocolError("peer closed connection without sending complete message body"), None),
    "broken while sending": (httpx.WriteError("broken pipe"), None),
    "time-out of the transport": (httpx.ReadTimeout(""), None),
    "time-out of the client": (never_answer, None),
    "HTTP 500": (httpx.Response(500), None),
    "HTTP 502 with HTML": (httpx.Response(502, text="<h1>Bad gateway</h1>"), "<h1>Bad gateway</h1>"),
    "HTTP 503 with a message": (
        httpx.Response(503, json={"status": 0, "msg": "later"}),
        {"status": 0, "msg": "later"},
    ),
    "HTTP 302": (httpx.Response(302, headers={"Location": "https://smspva.com/login"}), None),
    "HTTP 400 with a message": (httpx.Response(400, json={"status": 0, "msg": "no"}), {"status": 0, "msg": "no"}),
    "HTTP 404": (httpx.Response(404, text="not here"), "not here"),
    "HTML": ("<html></html>", "<html></html>"),
    "plain text": ("Сервис недоступен", "Сервис недоступен"),
    "half JSON": (HALF, HALF),
    "empty body": ("", None),
    "JSON of another form": ([40370], [40370]),
    "status of unknown form": (STRANGE, STRANGE),
    "no status": ({"data": {"id": 40370}}, {"data": {"id": 40370}}),
    "failure without a message": ({"status": 0}, {"status": 0}),
    "failure with an empty message": ({"status": 0, "msg": " "}, {"status": 0, "msg": " "}),
}


@pytest.mark.parametrize(("answer", "data"), UNKNOWN.values(), ids=UNKNOWN)
@every_spending_call
async def test_without_a_readable_answer_the_outcome_is_unknown(
    call: Call, answer: Any, data: object, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, answer)
    with pytest.raises(OutcomeUnknown, match=f"^{call.name}: outcome unknown") as failed:
        await call.make(client)
    error = failed.value
    assert len(fake_server.queries) == 1
    assert client.unsettled == (error,)
    assert (error.method, error.params, error.data) == (call.method, call.query, data)
    assert datetime.now(UTC) - error.started_at < timedelta(hours=1)
    assert pickle.loads(pickle.dumps(error)).params == call.query  # noqa: S301 - our own


@every_spending_call
async def test_a_failure_with_usable_data_leaves_the_outcome_unknown(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    answer = {**call.sample, "status": 0}
    fake_server.call(call, answer)
    with pytest.raises(OutcomeUnknown) as failed:
        await call.make(client)
    assert failed.value.data == answer
    assert len(fake_server.queries) == 1


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("create", []),
        ("create", None),
        ("create", 1),
        ("create", "1"),
        ("create", True),
        ("create", {**CALLS["create"].sample["data"], "id": None}),
        ("create", {**CALLS["create"].sample["data"], "id": "many"}),
        ("create", [CALLS["create"].sample["data"]] * 2),
        ("create_multi", []),
        ("create_multi", None),
        ("create_multi", {"pnumber": "9096037108"}),
        ("create_multi", [{"id": None}]),
    ],
    ids=str,
)
async def test_a_rental_without_an_id_leaves_the_outcome_unknown(
    method: str, data: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    answer = {"status": 1, "data": data}
    fake_server.call(CALLS[method], answer)
    with pytest.raises(OutcomeUnknown, match="can't be decoded") as failed:
        await CALLS[method].make(client)
    assert failed.value.data == answer
    assert len(fake_server.queries) == 1


@pytest.mark.parametrize("method", ["create", "create_multi"])
async def test_a_rental_without_data_leaves_the_outcome_unknown(
    method: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS[method], {"status": 1})
    with pytest.raises(OutcomeUnknown, match="no data"):
        await CALLS[method].make(client)


@pytest.mark.parametrize("more", [{}, {"data": None}, {"data": []}, {"data": {}}, {"data": "done"}, {"data": {"x": 1}}])
@pytest.mark.parametrize("method", ["prolong", "prolong_max", "delete", "add_service_to_order", "restore_user"])
async def test_status_1_without_data_is_a_success_for_other_methods(
    method: str, more: dict[str, Any], client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS[method], {"status": 1, **more})
    assert await CALLS[method].make(client) is None
    assert client.unsettled == ()
    assert len(fake_server.queries) == 1


async def test_an_unknown_outcome_lists_the_known_orders(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", CALLS["orders"].sample)
    fake_server.call(CALLS["create"], CALLS["create"].sample, httpx.ReadError("lost"), httpx.ReadError("lost"))
    await client.orders()
    await CALLS["create"].make(client)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown) as failed:
            await CALLS["create"].make(client)
        assert failed.value.known == {40300, 40370}
    assert len(client.unsettled) == 2


async def test_a_purchase_is_a_known_order_before_it_is_listed() -> None:
    simulator = Simulator()
    simulator.behavior.listing_delay = 3600
    listed = simulator.add_order()
    simulator.faults.next("prolong", "lost")
    async with SmspvaClient(KEY, transport=simulator.transport()) as client:
        await client.orders()
        rental = await client.rent("RU", "opt16", Period.weeks(1))
        assert [order.id for order in await client.orders()] == [listed.id]
        simulator.faults.next("orders", "empty")
        assert await client.orders() == []
        with pytest.raises(OutcomeUnknown) as failed:
            await client.prolong(rental.id, Period.weeks(1))
    assert failed.value.known == {listed.id, rental.id}
    assert failed.value.ends_at == rental.until


@pytest.mark.parametrize("call", REPEATABLE, ids=name_of)
async def test_calls_that_spend_nothing_are_never_unsettled(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.ReadError("lost"), call.sample)
    assert await call.make(client) == call.expected
    assert client.unsettled == ()
    assert len(fake_server.queries) == 2


# -- calls that were not done ----------------------------------------------------------------------------------------


@every_spending_call
async def test_a_refused_call_is_not_unsettled(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(call, {"status": 0, "msg": "closed for lunch"})
    with pytest.raises(ApiError, match=r"nothing was (charged|deleted)"):
        await call.make(client)
    assert len(fake_server.queries) == 1
    assert client.unsettled == ()


NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@pytest.mark.parametrize("failure", NEVER_CONNECTED)
@every_spending_call
async def test_a_failed_connection_is_retried(
    call: Call, failure: type[httpx.TransportError], client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, failure("down"), failure("down"), call.sample)
    assert await call.make(client) == call.expected
    assert len(fake_server.queries) == 3
    assert client.unsettled == ()


@every_spending_call
async def test_nothing_is_sent_if_every_connection_fails(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.ConnectError("down"))
    with pytest.raises(ConnectionFailed, match="nothing was sent; tried 4 times") as failed:
        await call.make(client)
    assert not failed.value.sent
    assert len(fake_server.queries) == 4
    assert client.unsettled == ()


@every_spending_call
async def test_the_first_request_after_a_failed_connection_is_sent_once(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.ConnectError("down"), httpx.ReadError("lost"), call.sample)
    with pytest.raises(OutcomeUnknown):
        await call.make(client)
    assert len(fake_server.queries) == 2


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 500, 503])
@pytest.mark.parametrize("said", ["NOBALANCE", "Invalid apikey", "No numbers available", "Order not found."])
@every_spending_call
async def test_a_plain_text_refusal_counts_only_with_http_200(
    call: Call, said: str, status: int, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.Response(status, text=said), said)
    with pytest.raises(OutcomeUnknown) as failed:
        await call.make(client)
    assert failed.value.data == said
    with pytest.raises(ApiError, match=said):
        await call.make(client)
    assert len(client.unsettled) == 1


@pytest.mark.parametrize("status", [200, 302, 500, 503])
@pytest.mark.parametrize("call", REPEATABLE, ids=name_of)
async def test_a_plain_text_refusal_always_counts_for_calls_that_spend_nothing(
    call: Call, status: int, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.Response(status, text="Invalid apikey"))
    with pytest.raises(InvalidKey):
        await call.make(client)
    assert len(fake_server.queries) == 1


@every_spending_call
async def test_an_empty_status_is_not_a_refusal(call: Call, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(call, {"status": "", "msg": "closed for lunch"})
    with pytest.raises(OutcomeUnknown):
        await call.make(client)
