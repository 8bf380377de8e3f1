"""A read, a purchase and the balance: made on one client, and answered as the provider does."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from smspva_async import Pace, Retry, SmspvaClient
from smspva_async.errors import SmspvaError
from tests.support.keys import KEY, shown
from tests.support.samples import CALLS, ORDER, RENTAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "BALANCE",
    "RESULTS",
    "THREE_CALLS",
    "answer_to",
    "body_for",
    "carries_key",
    "client_of",
    "make_three_calls",
    "told_by_three_calls",
]

THREE_CALLS: list[Callable[[SmspvaClient], Awaitable[object]]] = [
    CALLS["orders"].make,
    CALLS["create"].make,
    SmspvaClient.balance,
]
BALANCE = {"statusCode": 200, "data": {"balance": "12.30"}}
RESULTS = [[ORDER], RENTAL, Decimal("12.30")]
"""What the calls return."""


def answer_to(target: str) -> dict[str, Any]:
    """Return the answer to one of the calls, as JSON."""
    query = parse_qs(urlsplit(target).query)
    return CALLS[query["method"][0]].sample if "method" in query else BALANCE


def body_for(target: str) -> str:
    return json.dumps(answer_to(target))


def carries_key(head: bytes) -> bool:
    """Return whether a request has the key where it belongs: in the header for the balance, else in the query."""
    first, _, headers = head.decode().partition("\r\n")
    if "/activation/balance" in first:
        return f"apikey: {KEY}\r\n" in headers
    return f"&apikey={quote(KEY, safe='')} HTTP/1.1" in first


def client_of(url: str = "https://smspva.com/api/rent.php", **settings: Any) -> SmspvaClient:
    """Return a client without delays that tries everything once."""
    return SmspvaClient(KEY, **{"base_url": url, "pace": Pace(gap=0), "retry": Retry(attempts=1), **settings})


async def make_three_calls(client: SmspvaClient) -> list[object]:
    """Return the results of the calls."""
    return [await call(client) for call in THREE_CALLS]


async def told_by_three_calls(client: SmspvaClient) -> list[str]:
    """Return whatever comes of each call, as text."""
    told = []
    for call in THREE_CALLS:
        try:
            told.append(repr(await call(client)))
        except SmspvaError as error:
            told.append(shown(error))
    return told
