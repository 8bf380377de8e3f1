"""A strict fake server behind the client's transport."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import httpx
import respx
from respx.models import AllMockedAssertionError

from smspva_async import Pace, SmspvaClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.samples import Call

KEY = "key-of-the-tests"
URL = "https://smspva.com/api/rent.php"
KEYLESS = {
    *("getcountries", "get_default_services", "get_country_by_service"),
    *("get_count_multi", "get_days_canada_paypal", "get_min_paypal_days"),
}
"""The methods that are called without the key."""

Answer: TypeAlias = (
    "dict[str, Any] | list[Any] | str | bytes | httpx.Response | Exception | Callable[[], Awaitable[Any]]"
)
"""JSON, a body, a response, an error of the transport, or an async function that returns one of them."""


class FakeServer:
    """Answers the requests that a test expects, and records all requests.

    Attributes:
        queries: The query of each request, without the key.
        times: The time of each request by anyio's clock.
        unexpected: The addresses of unexpected requests.

    """

    def __init__(self) -> None:
        self.router = respx.MockRouter(assert_all_called=False)
        self.queries: list[dict[str, str]] = []
        self.times: list[float] = []
        self.unexpected: list[str] = []

    @property
    def methods(self) -> list[str]:
        return [query["method"] for query in self.queries]

    @property
    def gaps(self) -> list[float]:
        """The seconds between successive requests."""
        return [later - earlier for earlier, later in pairwise(self.times)]

    def on(self, method: str, *answers: Answer, **query: str) -> None:
        """Answer requests for a method with exactly this query. The last answer is repeated."""
        left = list(answers)

        async def answer(_: httpx.Request) -> httpx.Response:
            return await _response(left.pop(0) if len(left) > 1 else left[0])

        key = {} if method in KEYLESS else {"apikey": KEY}
        self.router.get(URL, params__eq={"method": method, **key, **query}).mock(side_effect=answer)

    def call(self, call: Call, *answers: Answer) -> None:
        """Answer a call of `CALLS`."""
        self.on(call.method, *answers, **call.query)

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def client(self, **settings: Any) -> SmspvaClient:
        return SmspvaClient(KEY, **{"pace": Pace(gap=0), "transport": self.transport(), **settings})

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.queries.append({name: value for name, value in request.url.params.multi_items() if name != "apikey"})
        self.times.append(anyio.current_time())
        try:
            return await self.router.async_handler(request)
        except AllMockedAssertionError:
            self.unexpected.append(str(request.url))
            raise


async def _response(answer: Any) -> httpx.Response:
    if callable(answer):
        answer = await answer()
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, httpx.Response):
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    if isinstance(answer, str | bytes):
        return httpx.Response(200, content=answer)
    return httpx.Response(200, content=json.dumps(answer), headers={"Content-Type": "application/json"})


async def never_answer() -> None:
    """Wait forever instead of answering."""
    await anyio.sleep_forever()
