"""Processes of a fleet, with a redis-server and the provider behind a socket, for real time."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import time
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import anyio
import anyio.to_thread
import httpx

from benchmarks.latency import wait_repeatedly
from benchmarks.server import Server
from smspva_async import Pace, SmspvaClient, Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from smspva_async.fleet import RedisFleet

__all__ = ["GAP", "LEASE", "ORDERS", "Processes", "new_fleet", "redis_server"]

ORDERS = 100
GAP = 1.5 / 75
"""Seconds between two requests: 1/75 of the default."""
LEASE = 2.0
_processes = multiprocessing.get_context("spawn")


@contextmanager
def redis_server(folder: Path) -> Generator[str]:
    """Run a redis-server on a unix socket, and yield its URL."""
    path = folder / "socket"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
    server = subprocess.Popen([*command, "--save", "", "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    try:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            while connection.connect_ex(str(path)):
                if server.poll() is not None:
                    raise RuntimeError(f"redis-server failed: exit code {server.returncode}")
                time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        server.kill()
        server.wait()


def new_fleet(redis: str, name: str, lease: float = LEASE) -> RedisFleet:
    """Return a fleet. Import coredis only here: it may be missing, and it takes a second."""
    from smspva_async.fleet import RedisFleet  # noqa: PLC0415

    logging.getLogger("smspva_async").setLevel(logging.ERROR)  # it warns of Redis's default `appendfsync`
    return RedisFleet(redis, name=name, lease=lease)


class Processes:
    """The processes of a fleet. In each, a task waits for the messages of the first order.

    Args:
        redis: The URL of Redis.
        orders: The number of orders.
        gap: Seconds between two requests.

    """

    def __init__(self, redis: str, *, orders: int = ORDERS, gap: float = GAP) -> None:
        self.server = Server(orders)
        self._redis = (redis, uuid4().hex)
        self._gap = gap
        self._port = 0
        self._members: dict[str, tuple[SpawnProcess, Connection]] = {}
        self._polls: list[tuple[str, float]] = []
        """The member and the time of each answer to `orders`."""

    @asynccontextmanager
    async def running(self, members: int) -> AsyncGenerator[Self]:
        """Run the provider and some members."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listener:
            self._port = listener.sockets[0].getsockname()[1]
            try:
                await asyncio.gather(*(self.join() for _ in range(members)))
                yield self
            finally:
                for process, _ in self._members.values():
                    process.kill()
                    await anyio.to_thread.run_sync(process.join)
                await anyio.sleep(0.1)  # until the connections are closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while True:
                url = httpx.URL((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
                answer = await self.server.handle_async_request(httpx.Request("GET", url))
                head = [f"{name}: {value}" for name, value in answer.headers.items()]
                writer.write("\r\n".join(["HTTP/1.1 200 OK", *head, "", ""]).encode() + answer.content)
                await writer.drain()
                if url.params["method"] == "orders":
                    self._polls.append((url.path.strip("/"), time.monotonic()))

    async def join(self) -> float:
        """Start a member and return the longest time for which its event loop was held until it was entered."""
        member = uuid4().hex
        pipe, other = _processes.Pipe()
        url = f"http://127.0.0.1:{self._port}/{member}"
        arguments = (other, *self._redis, url, self._gap, self.server.ids[0])
        process = _processes.Process(target=_run_member, args=arguments, daemon=True)
        self._members[member] = process, pipe
        process.start()
        other.close()
        held: float = await anyio.to_thread.run_sync(pipe.recv)
        return held

    @property
    def _leader(self) -> str:
        return self._polls[-1][0]

    async def failover(self, number: signal.Signals) -> float:
        """Send a signal to the leader, and return the seconds until another member has polled."""
        leader, began = self._leader, time.monotonic()
        process, _ = self._members.pop(leader)
        os.kill(process.pid or 0, number)
        while self._leader == leader:  # noqa: ASYNC110 - an event would take more code
            await anyio.sleep(0.001)
        took = self._polls[-1][1] - began
        await anyio.to_thread.run_sync(process.join)
        return took

    async def leave(self) -> list[dict[int, float]]:
        """End all members, and return the time of each event by `seq` in each of them, the leader first."""
        members = sorted(self._members, key=lambda member: member != self._leader)
        for member in members:
            self._members[member][0].terminate()
        return [await anyio.to_thread.run_sync(self._members[member][1].recv) for member in members]


def _run_member(pipe: Connection, redis: str, name: str, url: str, gap: float, order_id: int) -> None:
    client = SmspvaClient("key", base_url=url, pace=Pace(gap=gap), fleet=new_fleet(redis, name))
    watcher = Watcher(client, interval=20 * gap, eager_interval=2 * gap)
    asyncio.run(_member(pipe, client, watcher, order_id))


async def _member(pipe: Connection, client: SmspvaClient, watcher: Watcher, order_id: int) -> None:
    """Wait for an order's messages until SIGTERM; send what `join` and `leave` return."""
    held, seen = list[float](), dict[int, float]()

    async def measure() -> None:
        while True:
            began = time.monotonic()
            await anyio.sleep(0.001)
            held.append(time.monotonic() - began - 0.001)

    async def read() -> None:
        async for event in watcher.events(after=watcher.cursor):
            seen[event.seq] = time.monotonic()

    measuring = asyncio.create_task(measure())
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with client, watcher, anyio.create_task_group() as tasks:
            measuring.cancel()
            pipe.send(max(held))
            tasks.start_soon(read)
            tasks.start_soon(wait_repeatedly, watcher, order_id)
            await anext(signals)
            tasks.cancel_scope.cancel()
    pipe.send(seen)
