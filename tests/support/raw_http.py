"""Requests to a simulator without the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.support.fake_server import URL

if TYPE_CHECKING:
    from smspva_async.simulator import Simulator


async def get(sim: Simulator, method: str, /, **params: str | int) -> httpx.Response:
    """Call a method and return the response."""
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        return await client.get(URL, params={"method": method, "apikey": "key", **params})


async def call(sim: Simulator, method: str, /, **params: str | int) -> Any:
    """Call a method and return the JSON body of the response, which must have HTTP status 200."""
    response = await get(sim, method, **params)
    assert response.status_code == 200
    return response.json()


async def rows(sim: Simulator, method: str = "orders", /, **params: str | int) -> Any:
    """Call a method and return the data of its answer."""
    return (await call(sim, method, **params))["data"]
