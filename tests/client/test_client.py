"""The client: every call with its documented sample answer, opening and closing."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

import smspva_async
from smspva_async import Pace, SmspvaClient
from smspva_async.errors import ClientClosed, ConnectionFailed
from smspva_async.models import Period
from tests.support.fake_server import KEY
from tests.support.samples import CALLS, RENTAL, Call, name_of

if TYPE_CHECKING:
    from tests.support.fake_server import FakeServer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_the_documented_sample_is_decoded_into_the_model(
    call: Call, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, call.sample)
    assert await call.make(client) == call.expected
    assert fake_server.queries == [{"method": call.method, **call.query}]


async def test_the_documented_branch_id_goes_to_extra(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CALLS["get_rent_history"], CALLS["get_rent_history"].sample)
    assert (await client.history())[0].extra == {"branchId": 1235}


async def test_the_code_in_the_documented_message_is_found(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CALLS["sms"], CALLS["sms"].sample)
    assert (await client.sms(123))[0].code == "671094"


# -- parameters ----------------------------------------------------------------------------------------------------

RENTED: dict[str, Any] = CALLS["create"].sample


async def test_gb_is_sent_as_uk(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("getdata", {"status": 1, "data": []}, country="UK", dtype="month", dcount="3")
    assert await client.offers("gb", Period.months(3)) == []


async def test_a_provider_is_sent_if_given(client: SmspvaClient, fake_server: FakeServer) -> None:
    week = {"dtype": "week", "dcount": "1", "country": "RU", "provider": "north"}
    fake_server.on("create", RENTED, service="opt6", **week)
    fake_server.on("create_multi", RENTED, services="opt6", **week)
    assert await client.rent("RU", "opt6", Period.weeks(1), provider="north") == RENTAL
    assert await client.rent_multi("RU", ["opt6"], Period.weeks(1), provider="north") == [RENTAL]


async def test_another_service_can_be_rented_for_some_days(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on(
        "add_service_to_order", {"status": 1}, id="5", service="opt89", pnumber="77012345678", rent_days="30"
    )
    assert await client.add_service(5, "opt89", phone="+7 (701) 234-56-78", rent_days=30) is None


@pytest.mark.parametrize("base_url", ["https://mirror.example/api/rent.php", "http://127.0.0.1:8000/rent"])
async def test_the_base_url_can_be_another_server(base_url: str) -> None:
    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return httpx.Response(200, json={"status": 1, "data": []})

    async with SmspvaClient(KEY, base_url=base_url, transport=httpx.MockTransport(answer)) as client:
        await client.orders()
    assert urls == [f"{base_url}?method=orders&apikey={KEY}"]


# -- the archive, page by page -------------------------------------------------------------------------------------


def past(*order_ids: int) -> dict[str, Any]:
    row = CALLS["get_rent_history"].sample["data"][0]
    return {"status": 1, "data": [{**row, "orderId": order_id} for order_id in order_ids]}


async def ids(client: SmspvaClient, page: int) -> list[int]:
    return [order.order_id async for order in client.iter_history(page=page)]


async def test_iter_history_yields_each_order_of_the_archive_once(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("get_rent_history", past(5, 4), skip="0", take="2")
    fake_server.on("get_rent_history", past(4, 3), skip="2", take="2")  # another order was archived meanwhile
    fake_server.on("get_rent_history", past(2), skip="4", take="2")
    fake_server.on("get_rent_history", past(), skip="5", take="2")
    assert await ids(client, 2) == [5, 4, 3, 2]


async def test_iter_history_continues_after_a_page_of_known_orders(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("get_rent_history", past(5), skip="0", take="1")
    fake_server.on("get_rent_history", past(5), skip="1", take="1")  # another order was archived meanwhile
    fake_server.on("get_rent_history", past(4), skip="2", take="1")
    fake_server.on("get_rent_history", past(), skip="3", take="1")
    assert await ids(client, 1) == [5, 4]


async def test_iter_history_counts_skipped_rows_in_its_offset(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("get_rent_history", {"status": 1, "data": [*past(5)["data"], "?"]}, skip="0", take="2")
    fake_server.on("get_rent_history", past(), skip="2", take="2")
    assert await ids(client, 2) == [5]


@pytest.mark.parametrize("page", [1, 2, 50])
async def test_iter_history_ends_if_the_server_ignores_skip(
    page: int, client: SmspvaClient, fake_server: FakeServer
) -> None:
    for skip in ("0", "2", "4"):
        fake_server.on("get_rent_history", past(5, 4), skip=skip, take=str(page))
    assert await ids(client, page) == [5, 4]


# -- open and closed -----------------------------------------------------------------------------------------------


async def test_a_call_works_without_entering_the_client(fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    client = fake_server.client()
    assert await client.orders() == []
    await client.aclose()


async def test_a_closed_client_sends_nothing(fake_server: FakeServer) -> None:
    async with fake_server.client() as client:
        pass
    with pytest.raises(ClientClosed, match=r"^orders: the client is closed; nothing was sent"):
        await client.orders()
    assert fake_server.queries == []


async def test_a_closed_client_can_be_opened_again(fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    client = fake_server.client()
    for _ in range(2):
        async with client:
            assert await client.orders() == []
        with pytest.raises(ClientClosed):
            await client.orders()


async def test_an_open_client_cannot_be_entered_again(fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    async with fake_server.client() as client:
        with pytest.raises(RuntimeError, match="already open"):
            await client.__aenter__()
        assert await client.orders() == []


async def test_closing_twice_does_no_harm(fake_server: FakeServer) -> None:
    client = fake_server.client()
    await client.aclose()
    await client.aclose()


async def test_closing_fails_calls_that_wait_for_the_pace(fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    client = fake_server.client(pace=Pace(gap=60))
    await client.orders()
    async with anyio.create_task_group() as tasks:

        async def second() -> None:
            with pytest.raises(ClientClosed):
                await client.orders()

        tasks.start_soon(second)
        await anyio.sleep(1)
        await client.aclose()
    assert len(fake_server.queries) == 1


async def test_an_injected_transport_is_closed_with_the_client() -> None:
    class Transport(httpx.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    transport = Transport(lambda _: httpx.Response(200, json={"status": 1, "data": []}))
    async with SmspvaClient(KEY, transport=transport) as client:
        await client.orders()
        assert transport.closed == 0
    assert transport.closed == 1


async def test_a_client_without_calls_leaves_nothing_open() -> None:
    async with SmspvaClient(KEY, base_url="http://127.0.0.1:1/"):
        pass
    gc.collect()  # an unclosed connection would cause a warning here, which is an error


# -- structure --------------------------------------------------------------------------------------------------------


async def test_orders_runs_through_at_most_eight_modules(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", CALLS["orders"].sample)
    await client.orders()
    package = Path(smspva_async.__file__).parent
    modules: set[Path] = set()
    profile = sys.getprofile()
    sys.setprofile(lambda frame, *_: modules.add(Path(frame.f_code.co_filename)))
    try:
        await client.orders()
    finally:
        sys.setprofile(profile)
    modules = {it for it in modules if it.is_relative_to(package) and not it.is_relative_to(package / "simulator")}
    assert len(modules) <= 8


# -- key, date, errors ---------------------------------------------------------------------------------------------


async def test_the_key_can_come_from_the_environment(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_server.on("orders", {"status": 1, "data": []})
    monkeypatch.setenv("SMSPVA_API_KEY", f" {KEY}\n")
    async with SmspvaClient(transport=fake_server.transport()) as client:
        assert await client.orders() == []


async def test_rows_have_the_servers_time(client: SmspvaClient, fake_server: FakeServer) -> None:
    date = {"Date": "Wed, 15 Apr 2020 10:55:00 GMT"}
    fake_server.on("orders", httpx.Response(200, headers=date, json={"status": 1, "data": []}))
    assert (await client.orders()).date == datetime(2020, 4, 15, 10, 55, tzinfo=UTC)


@pytest.mark.parametrize(
    "date", ["", "soon", "é", "Mon, 01 Jan 2024 00:00:00 +99999999999999999", "Fri, 31 Dec 9999 23:59:59 -0100"]
)
async def test_an_invalid_date_header_is_ignored(date: str, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", httpx.Response(200, headers={b"Date": date.encode()}, json={"status": 1, "data": []}))
    assert (await client.orders()).date is None


async def test_an_error_of_an_injected_transport_becomes_connection_failed(
    client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", RuntimeError("the fake\nfell over"))
    with pytest.raises(ConnectionFailed, match="the fake fell over") as failed:
        await client.orders()
    assert failed.value.sent
