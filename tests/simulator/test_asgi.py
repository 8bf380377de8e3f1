"""The simulator as an ASGI app, with its faults as far as ASGI can show them."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from smspva_async.simulator import FaultName, Simulator

pytestmark = pytest.mark.anyio

URL = "https://smspva.com/api/rent.php"


async def test_as_an_asgi_app() -> None:
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


async def test_asgi_reads_bodies_in_parts_and_notes_them() -> None:
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


async def test_asgi_lifespan_and_other_protocols() -> None:
    sim = Simulator()
    coming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await sim({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(ValueError, match="websocket"):
        await sim({"type": "websocket"}, receive, send)


async def asgi(sim: Simulator, method: str) -> list[Any]:
    """Call the app itself, with a client that goes away after a while, and return what it sent."""
    sent: list[Any] = []
    coming: list[Any] = [{"type": "http.request"}]

    async def receive() -> Any:
        if coming:
            return coming.pop()
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
async def test_asgi_raises_where_the_connection_fails(fault: FaultName) -> None:
    sim = Simulator()
    sim.faults.next("orders", fault)
    (error,) = await asgi(sim, "orders")
    assert str(error) == f"simulated fault: {fault}"


async def test_asgi_cuts_the_body() -> None:
    sim = Simulator()
    sim.faults.next("orders", "cut")
    start, body, error = await asgi(sim, "orders")
    promised = int(dict(start["headers"])[b"content-length"])
    assert 0 < len(body["body"]) < promised
    assert body["more_body"] is True
    assert str(error) == "simulated fault: cut"


async def test_asgi_hangs_until_the_client_has_gone() -> None:
    sim = Simulator()
    sim.faults.next("orders", "hang")
    before = anyio.current_time()
    assert await asgi(sim, "orders") == []
    assert anyio.current_time() - before == pytest.approx(500)


async def test_asgi_takes_its_time() -> None:
    sim = Simulator()
    sim.faults.next("orders", "latency", seconds=3)
    sim.faults.next("orders", "slow_body", seconds=4)
    before = anyio.current_time()
    await asgi(sim, "orders")
    sent = await asgi(sim, "orders")
    assert anyio.current_time() - before == pytest.approx(7)
    assert b"".join(message["body"] for message in sent[1:]) == b'{"status": 1, "data": []}'
    assert sent[-1]["more_body"] is False
