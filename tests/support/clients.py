"""Clients for the tests of connections, without delays and retries."""

from __future__ import annotations

from typing import Any

from smspva_async import Pace, Retry, SmspvaClient
from tests.support.fake_server import KEY, URL

EMPTY = '{"status": 1, "data": []}'


def client_of(url: str = URL, *, key: str = KEY, **settings: Any) -> SmspvaClient:
    """Return a client without a gap that makes one attempt."""
    return SmspvaClient(key, **{"base_url": url, "pace": Pace(gap=0), "retry": Retry(attempts=1), **settings})
