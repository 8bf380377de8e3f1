"""A transport that keeps the raw answers of a client, for the comparison with the provider's documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from smspva_async._http.transport import Transport, as_utf_8, open_pool

if TYPE_CHECKING:
    import httpx

    from smspva_async._http.redaction import ApiKey


@frozen
class RawAnswer:
    """An answer as the server sent it, in UTF-8 and without the key."""

    status: int
    headers: Mapping[str, str]
    """The headers, by name in lower case."""
    body: bytes
    took: float
    """Seconds from sending the request to the end of the answer."""


class RecordingTransport(Transport):
    """A transport to the network that keeps each answer.

    Args:
        api_key: The key, which is removed from what is kept.

    """

    def __init__(self, api_key: ApiKey) -> None:
        self.answers: list[RawAnswer] = []
        self._api_key = api_key
        self._servers: dict[str, Transport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its answer with the whole body."""
        server = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if server not in self._servers:
            self._servers[server] = (await open_pool(server)).transport
        began = anyio.current_time()
        response = await self._servers[server].handle_async_request(request)
        body = await response.aread()
        answer = RawAnswer(
            status=response.status_code,
            headers={name.lower(): self._api_key.redact(value) for name, value in response.headers.items()},
            body=self._api_key.redact_body(as_utf_8(body)),
            took=anyio.current_time() - began,
        )
        self.answers.append(answer)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._servers.values():
            await transport.aclose()
