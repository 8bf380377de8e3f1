"""A server that takes almost no time, so that benchmarks measure the client.

It answers like the simulator's dialect `page`. Its orders are always active; the benchmark delivers their messages. The
body of `orders` is cached, and only changed rows are encoded again.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict, deque
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from benchmarks.measuring import SEED

__all__ = ["EPOCH", "Flags", "Server"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The server's time when the clock is at 0."""
_FIRST_ID = 40_300
_SERVICES = (("opt16", "Instagram"), ("opt20", "WhatsApp"), ("opt29", "Telegram"), ("opt1", "Google"))
_COUNTRIES = (("+7", "RU"), ("+370", "LT"), ("+48", "PL"), ("+44", "UK"))
_MESSAGES_KEPT = 20


class Flags(Enum):
    """The behavior of an order's flag `hasnewsms`."""

    WORK = "works"
    """Up from a message's arrival until its list is read."""
    NEVER_UP = "is never up"
    STAY_UP = "stays up"
    """Up from the arrival of the first message."""


class Server(httpx.AsyncBaseTransport):
    """An httpx transport that answers `orders` and `sms`.

    An answer contains the data at the arrival of the request. The newest 20 messages of each order are kept.

    Args:
        orders: The number of orders.
        flags: The behavior of the orders' flags.
        delay: The shortest and the longest time of an answer, in seconds; random with a fixed seed. None answers at
            once.

    """

    def __init__(self, orders: int, *, flags: Flags = Flags.WORK, delay: tuple[float, float] | None = None) -> None:
        self.ids = range(_FIRST_ID, _FIRST_ID + orders)
        self.requests: Counter[str] = Counter()
        """The number of requests, by method."""
        self._flags = flags
        self._delay = delay
        self._rng = random.Random(SEED)
        self._orders = [_order(order_id) for order_id in self.ids]
        self._encoded = [json.dumps(order).encode() for order in self._orders]
        self._body: bytes | None = None
        self._messages: defaultdict[int, deque[dict[str, object]]] = defaultdict(
            partial(deque[dict[str, object]], maxlen=_MESSAGES_KEPT)
        )

    @property
    def body(self) -> bytes:
        """The body of the answer to `orders`."""
        if self._body is None:
            self._body = b'{"status": 1, "data": [' + b", ".join(self._encoded) + b"]}"
        return self._body

    def change(self, order_id: int, **fields: object) -> None:
        """Change fields of an order, by the provider's names."""
        index = order_id - _FIRST_ID
        self._orders[index].update(fields)
        self._encoded[index] = json.dumps(self._orders[index]).encode()
        self._body = None

    def change_states(self, turn: int) -> None:
        """Change the state of one order in a hundred, different ones in each turn."""
        for order_id in self.ids[turn % 100 :: 100]:
            self.change(order_id, state=turn // 100 % 2)

    def deliver(self, order_id: int, text: str) -> None:
        """Add a message with the current time."""
        now = EPOCH + timedelta(seconds=anyio.current_time())
        self._messages[order_id].append({"text": text, "sender": "INFO", "date": int(now.timestamp())})
        if self._flags is not Flags.NEVER_UP:
            self.change(order_id, hasnewsms=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        await anyio.lowlevel.checkpoint()
        params = request.url.params
        method = params["method"]
        self.requests[method] += 1
        body = self.body if method == "orders" else self._sms(int(params["id"]))
        if self._delay is not None:
            await anyio.sleep(self._rng.uniform(*self._delay))
        date = format_datetime(EPOCH + timedelta(seconds=anyio.current_time()), usegmt=True)
        return httpx.Response(200, headers={"date": date, "content-type": "application/json"}, content=body)

    def _sms(self, order_id: int) -> bytes:
        if self._flags is Flags.WORK and self._orders[order_id - _FIRST_ID]["hasnewsms"]:
            self.change(order_id, hasnewsms=False)
        return json.dumps({"status": 1, "data": list(self._messages.get(order_id, ()))}).encode()


def _order(order_id: int) -> dict[str, Any]:
    service, service_name = _SERVICES[order_id % len(_SERVICES)]
    dial_code, country = _COUNTRIES[order_id // len(_SERVICES) % len(_COUNTRIES)]
    until = int((EPOCH + timedelta(days=60)).timestamp())
    return {
        "id": order_id,
        "scode": service,
        "sname": service_name,
        "state": 1,
        "pnumber": f"9{order_id * 7919 % 10**9:09}",
        "ccode": dial_code,
        "cname": country,
        "hasnewsms": False,
        "until": until,
        "canprolong": True,
        "canprolongmax": 30,
        "canprolonguntil": until + 30 * 86_400,
        "lastonline": int(EPOCH.timestamp()),
    }
