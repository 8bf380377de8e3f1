"""A network between one process and Redis, which tests can break."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    from anyio.abc import ByteStream, Listener, SocketStream, TaskGroup

    from tests.support.redis_server import RedisServer


class Network:
    """A network that can be cut and repaired.

    Attributes:
        port: The port on 127.0.0.1, once it has been repaired for the first time.
        replies: Replies that it gives instead of Redis, by a part of the request.

    """

    def __init__(self, redis: RedisServer, tasks: TaskGroup) -> None:
        self.port = 0
        self.replies: dict[bytes, bytes] = {}
        self._redis = redis
        self._tasks = tasks
        self._connections = anyio.CancelScope()

    @property
    def url(self) -> str:
        """The address of Redis through this network."""
        return f"redis://127.0.0.1:{self.port}"

    async def repair(self) -> None:
        """Accept connections."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
        self.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        self._connections = anyio.CancelScope()
        self._tasks.start_soon(self._serve, listener)

    def cut(self) -> None:
        """Close all connections, and refuse others."""
        self._connections.cancel()

    async def _serve(self, listener: Listener[SocketStream]) -> None:
        with self._connections:
            async with listener:
                await listener.serve(self._connect)

    async def _connect(self, near: SocketStream) -> None:
        async with near, await anyio.connect_unix(self._redis.socket) as far, anyio.create_task_group() as pumps:
            pumps.start_soon(self._pump, near, far, pumps.cancel_scope)
            pumps.start_soon(self._pump, far, near, pumps.cancel_scope)

    async def _pump(self, source: ByteStream, target: ByteStream, ends: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                data = await source.receive()
                reply = next((reply for part, reply in self.replies.items() if part in data), None)
                await (target.send(data) if reply is None else source.send(reply))
        ends.cancel()
