"""A server that costs next to nothing, so that what is measured is the client.

It answers as the rental page says, like the simulator's dialect of that name, but knows nothing else: its orders are
always active, and their messages are delivered by whoever runs it. The body of `orders` is kept, and of it only the
rows that change are encoded again.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import anyio.lowlevel
import httpx

__all__ = ["EPOCH", "Server"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The server's time at the clock's 0."""
_FIRST_ID = 40_300
_SERVICES = (("opt16", "Instagram"), ("opt20", "WhatsApp"), ("opt29", "Telegram"), ("opt1", "Google"))
_COUNTRIES = (("+7", "RU"), ("+370", "LT"), ("+48", "PL"), ("+44", "UK"))


class Server(httpx.AsyncBaseTransport):
    """An httpx transport that answers `orders` and `sms` at once.

    Args:
        orders: How many orders there are.
        flags: Whether `hasnewsms` works: up from a message's arrival until the list is read. If not, it is never up.

    """

    def __init__(self, orders: int, *, flags: bool = True) -> None:
        self.ids = range(_FIRST_ID, _FIRST_ID + orders)
        self.requests: Counter[str] = Counter()
        """How often each method was asked for."""
        self._flags = flags
        self._orders = [_order(order_id) for order_id in self.ids]
        self._encoded = [json.dumps(order).encode() for order in self._orders]
        self._body: bytes | None = None
        self._messages: defaultdict[int, list[dict[str, object]]] = defaultdict(list)

    @property
    def body(self) -> bytes:
        """The answer to `orders`."""
        if self._body is None:
            self._body = b'{"status": 1, "data": [' + b", ".join(self._encoded) + b"]}"
        return self._body

    def change(self, order_id: int, **fields: object) -> None:
        """Change fields of an order, by the server's names."""
        place = order_id - _FIRST_ID
        self._orders[place].update(fields)
        self._encoded[place] = json.dumps(self._orders[place]).encode()
        self._body = None

    def deliver(self, order_id: int, text: str) -> None:
        """Have a message arrive."""
        now = EPOCH + timedelta(seconds=anyio.current_time())
        self._messages[order_id].append({"text": text, "sender": "INFO", "date": int(now.timestamp())})
        if self._flags:
            self.change(order_id, hasnewsms=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        await anyio.lowlevel.checkpoint()
        params = request.url.params
        method = params["method"]
        self.requests[method] += 1
        body = self.body if method == "orders" else self._sms(int(params["id"]))
        date = format_datetime(EPOCH + timedelta(seconds=anyio.current_time()), usegmt=True)
        return httpx.Response(200, headers={"date": date, "content-type": "application/json"}, content=body)

    def _sms(self, order_id: int) -> bytes:
        if self._orders[order_id - _FIRST_ID]["hasnewsms"]:
            self.change(order_id, hasnewsms=False)
        return json.dumps({"status": 1, "data": self._messages[order_id]}).encode()


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
