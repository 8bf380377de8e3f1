"""Helpers for the tests of real connections: a client without delays, and an empty answer."""

from __future__ import annotations

from typing import Any

from smspva_async import Pace, Retry, SmspvaClient
from tests.support.fake_server import KEY

EMPTY = '{"status": 1, "data": []}'
DEFAULT_HOST = "smspva.com"


def client_of(url: str = f"https://{DEFAULT_HOST}/api/rent.php", **settings: Any) -> SmspvaClient:
    """Return a client that asks at once, and once."""
    return SmspvaClient(KEY, **{"base_url": url, "pace": Pace(gap=0), "retry": Retry(attempts=1), **settings})
