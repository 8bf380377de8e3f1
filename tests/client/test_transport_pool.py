"""A pool that loses a connection, which heals, and one that is merely slow, which is left alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx
import pytest
from attrs import define, field

from smspva_async.errors import ConnectionFailed
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.connections import EMPTY, client_of
from tests.support.loopback import http

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("plain_environment")]


@define
class Line(httpcore.AsyncNetworkBackend):
    """A network in memory, whose server answers when it is let, and then hangs up."""

    may_answer: anyio.Event = field(factory=anyio.Event)
    may_connect: anyio.Event = field(factory=anyio.Event)
    connections: int = 0

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connections += 1
        await self.may_connect.wait()
        return _Stream(self)


@define
class _Stream(httpcore.AsyncNetworkStream):
    line: Line
    answer: bytes = http(EMPTY)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert max_bytes > len(self.answer), timeout
        await self.line.may_answer.wait()
        answer, self.answer = self.answer, b""
        return answer

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert buffer.startswith(b"GET ") or not buffer, timeout

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> None:
        assert info


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Let every transport have one connection at a time, on a network in memory."""
    line = Line()
    line.may_connect.set()

    class OneConnection(httpx.AsyncHTTPTransport):
        def __init__(self, **settings: Any) -> None:
            super().__init__(limits=httpx.Limits(max_connections=1), **settings)
            self._pool._network_backend = line

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", OneConnection)
    return line


async def lose_a_connection(get: Callable[[], Any], line: Line) -> None:
    """Cancel a request in the one step between its being given a connection and its running again."""

    async def first() -> None:
        await get()
        second.cancel()  # by asyncio itself; anyio's cancellation would let the second run once more

    under_way = asyncio.ensure_future(first())
    await anyio.sleep(0.1)
    second = asyncio.ensure_future(get())
    await anyio.sleep(0.1)
    line.may_answer.set()
    await asyncio.wait([under_way, second], timeout=60)
    assert second.cancelled()


@on_asyncio
async def test_httpcore_does_lose_a_connection(line: Line) -> None:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(), timeout=httpx.Timeout(5)) as bare:
        await lose_a_connection(lambda: bare.get("http://127.0.0.1/"), line)
        for _ in range(2):  # if this fails, httpcore was mended and the cure may go
            with pytest.raises(httpx.PoolTimeout):
                await bare.get("http://127.0.0.1/")
    assert line.connections == 1


@on_asyncio
async def test_a_client_that_lost_its_connection_heals(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        await lose_a_connection(client.orders, line)
        began = anyio.current_time()
        assert await client.orders() == []
        assert anyio.current_time() - began == pytest.approx(5)  # the wait for a connection showed that it was lost
        assert await client.orders() == []
        assert anyio.current_time() - began == pytest.approx(5)


@on_asyncio
async def test_all_who_wait_for_a_lost_connection_are_served(line: Line) -> None:
    got: list[object] = []

    async with client_of("http://127.0.0.1/", timeout=15) as client:
        await lose_a_connection(client.orders, line)

        async def ask() -> None:
            got.append(await client.orders())

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
    assert got == [[], [], []]


@pytest.mark.parametrize("slow", ["may_connect", "may_answer"])
async def test_a_pool_that_is_still_connecting_or_merely_busy_is_left_alone(line: Line, slow: str) -> None:
    line.may_answer.set()
    setattr(line, slow, go_on := anyio.Event())
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.orders)
            await anyio.sleep(1)
            with pytest.raises(ConnectionFailed, match=r"PoolTimeout.*nothing was sent"):
                await client.countries()
            go_on.set()
        assert line.connections == 1
