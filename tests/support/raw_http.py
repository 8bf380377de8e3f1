"""A simulator is asked, without the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.support.fake_server import URL

if TYPE_CHECKING:
    from smspva_async.simulator import Simulator


async def ask(sim: Simulator, method: str, /, **params: str | int) -> Any:
    """Return what the simulator answers, under HTTP 200."""
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        response = await client.get(URL, params={"method": method, "apikey": "key", **params})
        assert response.status_code == 200
        return response.json()
