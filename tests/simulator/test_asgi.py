"""The simulator as an ASGI app, with the faults that ASGI supports."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from smspva_async.simulator import FaultName, Simulator
from tests.support.fake_server import URL

pytestmark = pytest.mark.anyio


async def test_the_asgi_app_answers_the_rental_api() -> None:
    sim = Simulator()
    sim.add_order()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sim)) as client:
        response = await client.get(URL, params={"method": "orders", "apikey": "k"})
    assert len(response.json()["data"]) == 1
    assert response.headers["content-length"] == str(len(response.content))
    assert "date" in response.headers
    assert sim.violations == []


async def test_the_asgi_app_answers_the_balance() -> None:
    sim = Simulator(balance="12.3", api_key="right")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sim), base_url="https://api.smspva.com") as client:
        response = await client.get("/activation/balance", headers={"apikey": "right"})
        assert response.json() == {"statusCode": 200, "data": {"balance": "12.30"}}
        response = await client.get("/activation/balance", params={"apikey": "right"})
        assert (response.status_code, response.json()["error"]["type"]) == (200, "APIKEY_NOT_SET")
    assert sim.violations == ["balance: key in the query"]


async def test_asgi_reads_a_body_in_parts_and_records_it_as_a_violation() -> None:
    sim = Simulator()
    parts = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/rent.php",
        "query_string": b"method=getcountries",
        "headers": [],
    }
    await sim(scope, receive, send)
    assert parts == []
    assert sim.violations == ["getcountries: a body"]
    assert sent[0]["status"] == 200


async def test_asgi_supports_the_lifespan_protocol_and_refuses_others() -> None:
    sim = Simulator()
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await sim({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(ValueError, match="websocket"):
        await sim({"type": "websocket"}, receive, send)


async def call_app(sim: Simulator, method: str) -> list[Any]:
    """Call the app directly, with a client that disconnects after 500 s. Return the messages and error of the app."""
    sent: list[Any] = []
    received: list[Any] = [{"type": "http.request"}]

    async def receive() -> Any:
        if received:
            return received.pop()
        await anyio.sleep(500)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    query = f"method={method}&apikey=k".encode()
    scope = {"type": "http", "method": "GET", "path": "/api/rent.php", "query_string": query, "headers": []}
    try:
        await sim(scope, receive, send)
    except ConnectionResetError as error:
        sent.append(error)
    return sent


@pytest.mark.parametrize("fault", ["refused", "connect_timeout", "lost", "reset"])
async def test_asgi_raises_when_the_connection_fails(fault: FaultName) -> None:
    sim = Simulator()
    sim.faults.next("orders", fault)
    (error,) = await call_app(sim, "orders")
    assert str(error) == f"simulated fault: {fault}"


async def test_asgi_cuts_the_body() -> None:
    sim = Simulator()
    sim.faults.next("orders", "cut")
    start, body, error = await call_app(sim, "orders")
    content_length = int(dict(start["headers"])[b"content-length"])
    assert 0 < len(body["body"]) < content_length
    assert body["more_body"] is True
    assert str(error) == "simulated fault: cut"


async def test_asgi_hangs_until_the_client_disconnects() -> None:
    sim = Simulator()
    sim.faults.next("orders", "hang")
    before = anyio.current_time()
    assert await call_app(sim, "orders") == []
    assert anyio.current_time() - before == pytest.approx(500)


async def test_asgi_delays_the_answer_and_the_body() -> None:
    sim = Simulator()
    sim.faults.next("orders", "latency", seconds=3)
    sim.faults.next("orders", "slow_body", seconds=4)
    before = anyio.current_time()
    await call_app(sim, "orders")
    sent = await call_app(sim, "orders")
    assert anyio.current_time() - before == pytest.approx(7)
    assert b"".join(message["body"] for message in sent[1:]) == b'{"status": 1, "data": []}'
    assert sent[-1]["more_body"] is False
