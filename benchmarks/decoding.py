"""CPU time of decoding an answer to `orders`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.measuring import compare
from benchmarks.results import Row, at_most
from benchmarks.server import EPOCH, Server
from smspva_async._api.decoding import Answer, OrderCache
from smspva_async._api.methods import ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_INTERVAL = 30


def rows(form: Form) -> Iterator[Row]:
    """Measure kinds of answers alternately; a kind is named after its difference from the previous answer."""
    server = Server(form.pick(full=10_000, short=1_000))
    changes: list[tuple[str, float, Callable[[int], None]]] = [
        ("every `lastonline` changed", 4, lambda turn: _all_online(server, turn)),
        ("nothing changed", 0.15, lambda _: None),
        ("1 % changed state", 3, server.change_states),
    ]
    cache = OrderCache()
    _decode(cache, server.body)
    ours: list[list[float]] = [[] for _ in changes]
    theirs: list[list[float]] = [[] for _ in changes]
    for turn in range(form.pick(full=30, short=2)):
        for index, (_, _, change) in enumerate(changes):
            change(turn)
            # A new object, like a real answer: the cache doesn't compare an object with itself.
            body = bytes(bytearray(server.body))
            theirs[index].append(_seconds(lambda: json.loads(body)))  # noqa: B023 - called at once
            ours[index].append(_seconds(lambda: _decode(cache, body)))  # noqa: B023
    for (name, goal, _), our, their in zip(changes, ours, theirs, strict=True):
        compared = compare(our, their)
        yield Row(
            group="Decoding",
            name=f"an answer with {len(server.ids):,} orders, {name}",
            unit="ms",
            measured=compared.ours * 1e3,
            against=compared.theirs * 1e3,
            baseline="the CPU time of `json.loads` of the same body",
            spread=compared.spread,
            goal=at_most(goal),
        )


def _decode(cache: OrderCache, body: bytes) -> None:
    cache.decode(ORDERS, {}, Answer(200, "application/json", body))


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _all_online(server: Server, turn: int) -> None:
    """Set each `lastonline` to a second within the last interval."""
    now = int(EPOCH.timestamp()) + (turn + 1) * _INTERVAL
    for order_id in server.ids:
        server.change(order_id, lastonline=now - order_id % _INTERVAL)
