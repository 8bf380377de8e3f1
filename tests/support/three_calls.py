"""A read, a purchase and the balance, made with one client and answered as by the provider."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from smspva_async import SmspvaClient
from smspva_async.errors import SmspvaError
from tests.support import clients
from tests.support.fake_server import URL
from tests.support.keys import KEY, dump
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
    "dump_three_calls",
    "make_three_calls",
]

THREE_CALLS: list[Callable[[SmspvaClient], Awaitable[object]]] = [
    CALLS["orders"].make,
    CALLS["create"].make,
    SmspvaClient.balance,
]
BALANCE = {"statusCode": 200, "data": {"balance": "12.30"}}
RESULTS = [[ORDER], RENTAL, Decimal("12.30")]
"""The results of the calls."""


def answer_to(target: str) -> dict[str, Any]:
    """Return the answer to one of the calls."""
    query = parse_qs(urlsplit(target).query)
    return CALLS[query["method"][0]].sample if "method" in query else BALANCE


def body_for(target: str) -> str:
    """Return the answer to one of the calls as JSON text."""
    return json.dumps(answer_to(target))


def carries_key(head: bytes) -> bool:
    """Return whether a request has the key in its place: in a header for the balance, in the query otherwise."""
    first, _, headers = head.decode().partition("\r\n")
    if "/activation/balance" in first:
        return f"apikey: {KEY}\r\n" in headers
    return f"&apikey={quote(KEY, safe='')} HTTP/1.1" in first


def client_of(url: str = URL, **settings: Any) -> SmspvaClient:
    """Return a client with the recognizable key, without a gap, that makes one attempt."""
    return clients.client_of(url, key=KEY, **settings)


async def make_three_calls(client: SmspvaClient) -> list[object]:
    """Return the results of the calls."""
    return [await call(client) for call in THREE_CALLS]


async def dump_three_calls(client: SmspvaClient) -> list[str]:
    """Return the result or error of each call as text."""
    texts = []
    for call in THREE_CALLS:
        try:
            texts.append(repr(await call(client)))
        except SmspvaError as error:
            texts.append(dump(error))
    return texts
