"""Connections: their maximum number, and no leaks after cancelled requests."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import httpx
import pytest
from attrs import define, field

from smspva_async.errors import OutcomeUnknown, RequestTimeout
from smspva_async.models import Period
from tests.support.backends import on_asyncio, on_both_backends
from tests.support.clients import EMPTY, client_of
from tests.support.loopback import http

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("plain_environment")]

MOST = 100


@define
class Line(httpcore.AsyncNetworkBackend):
    """A network in memory, whose server answers once `may_answer` is set."""

    may_answer: anyio.Event = field(factory=anyio.Event)
    open: int = 0
    """Open connections."""
    made: int = 0

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        await anyio.lowlevel.checkpoint()
        self.made += 1
        self.open += 1
        return _Stream(self)


@define
class _Stream(httpcore.AsyncNetworkStream):
    line: Line
    answer: bytes = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert max_bytes > len(self.answer), timeout
        await self.line.may_answer.wait()
        answer, self.answer = self.answer, b""
        return answer

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert timeout is None
        body = '{"status": 1, "data": {"id": 7}}' if b"method=create" in buffer else EMPTY
        if buffer:
            self.answer = http(body, Connection="keep-alive")

    async def aclose(self) -> None:
        self.line.open -= 1

    def get_extra_info(self, info: str) -> bool | None:
        return False if info == "is_readable" else None


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Let every transport use a network in memory."""
    line = Line()

    class InMemory(httpx.AsyncHTTPTransport):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._pool._network_backend = line

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", InMemory)
    return line


async def test_at_most_a_hundred_reads_have_a_connection_at_once(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(MOST + 50):
                tasks.start_soon(client.orders)
            await anyio.sleep(10)
            assert line.open == MOST
            line.may_answer.set()
            await anyio.sleep(1)
        # The wait for a connection doesn't count towards the timeout: all are answered, and 20 connections are kept.
        assert line.open <= 20
    assert line.open == 0


async def test_a_purchase_does_not_wait_for_reads(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client, anyio.create_task_group() as tasks:
        for _ in range(MOST):
            tasks.start_soon(client.orders)
        await anyio.sleep(1)
        tasks.start_soon(client.rent, "RU", "opt16", Period.weeks(1))
        await anyio.sleep(1)
        assert line.open == MOST + 1
        line.may_answer.set()


async def test_each_purchase_opens_and_closes_its_own_connection(line: Line) -> None:
    line.may_answer.set()
    async with client_of("http://127.0.0.1/") as client:
        for _ in range(3):
            await client.orders()
        assert (line.made, line.open) == (1, 1)
        for _ in range(3):
            assert (await client.rent("RU", "opt16", Period.weeks(1))).id == 7
        await client.delete(7)
        assert (line.made, line.open) == (5, 1)


@on_asyncio
async def test_reads_cancelled_at_any_step_leak_no_connection(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        for steps in range(12):
            reads = [asyncio.ensure_future(client.orders()) for _ in range(MOST)]
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            for read in reads:
                read.cancel()  # through asyncio, after which httpcore may leak a connection
            await asyncio.gather(*reads, return_exceptions=True)
            assert line.open == 0
        line.may_answer.set()
        async with anyio.create_task_group() as tasks:
            for _ in range(MOST):
                tasks.start_soon(client.orders)


@on_asyncio
async def test_a_purchase_cancelled_at_any_step_leaks_no_connection(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        for steps in range(12):
            purchase = asyncio.ensure_future(client.rent("RU", "opt16", Period.weeks(1)))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            purchase.cancel()
            await asyncio.gather(purchase, return_exceptions=True)
            assert line.open == 0


async def test_a_request_that_times_out_leaks_no_connection(line: Line) -> None:
    async with client_of("http://127.0.0.1/", timeout=15) as client:
        for call in (client.orders, lambda: client.rent("RU", "opt16", Period.weeks(1))):
            with pytest.raises((RequestTimeout, OutcomeUnknown)):
                await call()
            assert line.open == 0
