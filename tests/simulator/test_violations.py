"""`Simulator.violations`: the provider's rules that requests break."""

from __future__ import annotations

import httpx
import pytest

from smspva_async.simulator import Simulator
from tests.support.backends import on_both_backends
from tests.support.fake_server import URL

pytestmark = [pytest.mark.anyio, on_both_backends]


@pytest.mark.parametrize(
    ("query", "violation"),
    [
        ("method=orders&apikey=k&limit=5", "orders: unknown parameter limit"),
        ("method=sms&apikey=k", "sms: missing parameter id"),
        ("method=sms&apikey=k&id=1x", "sms: malformed parameter id"),
        ("method=create&apikey=k&country=ru&service=opt6&dtype=week&dcount=1", "create: malformed parameter country"),
        (
            "method=add_service_to_order&apikey=k&id=1&service=opt6&pnumber=%2B7901",
            "add_service_to_order: malformed parameter pnumber",
        ),
        ("method=orders&apikey=k&apikey=k", "orders: repeated parameter apikey"),
        ("method=buy&apikey=k", "buy: unknown method"),
        ("apikey=k", "no method: unknown method"),
    ],
)
async def test_wrong_parameters_are_recorded_as_violations(query: str, violation: str) -> None:
    sim = Simulator()
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        await client.get(f"{URL}?{query}")
    assert sim.violations == [violation]


async def test_wrong_requests_are_recorded_as_violations_without_the_key() -> None:
    sim = Simulator()
    key = "0123456789abcdef"
    params = {"method": "orders", "apikey": key}
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        answer = await client.post(URL, params=params)
        assert answer.json()["msg"] == "Incorrect method"
        await client.request("GET", URL, params=params, content=b"x")
        await client.get(URL, params=params, headers={"X-Trace": f"key={key}"})
        await client.get(URL, params={**params, "apikey": "k"}, headers={"X-Token": "k"})
        await client.get(URL, params=params, headers={"Authorization": "Basic eA=="})
        await client.get(f"https://smspva.com/{key}", params=params)
    assert sim.violations == [
        "orders: POST instead of GET",
        "orders: a body",
        "orders: key in the header x-trace",
        "orders: key in the header x-token",
        "orders: key in the header authorization",
        "orders: unknown path",
        "orders: key in the path",
    ]
