"""CPU time of one poll of the watcher, and of one call of the client."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx

from benchmarks.measuring import compare, in_real_time, in_virtual_time, until
from benchmarks.results import Row, at_most
from benchmarks.server import EPOCH, Server
from smspva_async import MemoryJournal, Pace, SmspvaClient, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_ORDERS = 10_000
_ADDRESS = "https://smspva.com/api/rent.php"


def rows(form: Form) -> Iterator[Row]:
    """Measure polls, then calls."""
    yield from _polls(form)
    yield _call(form)


# -- a poll ------------------------------------------------------------------------------------------------------


class _TimedServer(Server):
    """A server that measures the CPU time from an answer to `orders` until the next request.

    In that time the watcher decodes and compares the answer, writes the journal, wakes the waiters and plans the next
    request. The time of `json.loads` of the same body is measured too.
    """

    def __init__(self, orders: int) -> None:
        super().__init__(orders)
        self.polls: list[float] = []
        self.baseline: list[float] = []
        self._loading = 0.0
        self._answered: float | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._answered is not None:
            self.polls.append(time.process_time() - self._answered)
            self.baseline.append(self._loading)
            self._answered = None
        response = await super().handle_async_request(request)
        if request.url.params["method"] == "orders":
            began = time.process_time()
            json.loads(self.body)
            self._loading = time.process_time() - began
            self._answered = time.process_time()
        return response


def _polls(form: Form) -> Iterator[Row]:
    server = _TimedServer(form.pick(full=_ORDERS, short=1_000))
    changes: list[tuple[str, float, Callable[[int], None]]] = [
        ("every `lastonline` changed", 4, lambda turn: _all_online(server, turn)),
        ("nothing changed", 0.15, lambda _: None),
        ("1 % changed state", 3, server.change_states),
    ]
    repetitions = form.pick(full=15, short=2)
    in_virtual_time(_poll(server, [change for _, _, change in changes], repetitions))
    for index, (name, goal, _) in enumerate(changes):
        own = slice(index, None, len(changes))  # the changes take turns
        compared = compare(server.polls[own], server.baseline[own])
        yield Row(
            group="CPU time",
            name=f"a poll, {len(server.ids):,} orders, {name}",
            unit="ms",
            measured=compared.ours * 1e3,
            against=compared.theirs * 1e3,
            baseline="`json.loads` of the same body, for a poll",
            spread=compared.spread,
            goal=at_most(goal),
        )


async def _poll(server: _TimedServer, changes: list[Callable[[int], None]], repetitions: int) -> None:
    journal = MemoryJournal()
    # First read every list once, without a rate limit: the measured polls must be those of a long-running watch.
    async with SmspvaClient("key", transport=server, pace=Pace(gap=0)) as client, Watcher(client, journal=journal):
        await until(lambda: server.requests["sms"] >= len(server.ids))
    before = len(server.polls)
    async with SmspvaClient("key", transport=server) as client, Watcher(client, journal=journal):
        await until(lambda: len(server.polls) > before + 1)
        server.polls.clear()
        server.baseline.clear()
        for turn in range(repetitions):
            for change in changes:
                change(turn)
                seen = len(server.polls)
                await until(lambda: len(server.polls) > seen)  # noqa: B023 - awaited here


def _all_online(server: Server, turn: int) -> None:
    online = int(EPOCH.timestamp()) + turn + 1
    for order_id in server.ids:
        server.change(order_id, lastonline=online)


# -- a call ------------------------------------------------------------------------------------------------------


def _call(form: Form) -> Row:
    ours, theirs = in_real_time(_calls(form.pick(full=60, short=5), form.pick(full=100, short=20)))
    compared = compare(ours, theirs)
    return Row(
        group="CPU time",
        name="a call of the client, `sms`",
        unit="ms",
        measured=compared.ours * 1e3,
        against=compared.theirs * 1e3,
        baseline="a plain `httpx` call on the same transport, for a call",
        spread=compared.spread,
        goal=at_most(1.4),
    )


async def _calls(repetitions: int, calls: int) -> tuple[list[float], list[float]]:
    ours, theirs = list[float](), list[float]()
    server = Server(1)
    order_id = server.ids[0]
    server.deliver(order_id, "Your code: 671 094")
    query = {"method": "sms", "id": str(order_id), "apikey": "key"}
    async with (
        SmspvaClient("key", transport=server, pace=Pace(gap=0)) as client,
        httpx.AsyncClient(transport=server) as plain,
    ):
        for _ in range(repetitions):
            began = time.process_time()
            for _ in range(calls):
                await client.sms(order_id)
            between = time.process_time()
            for _ in range(calls):
                (await plain.get(_ADDRESS, params=query)).json()
            ours.append((between - began) / calls)
            theirs.append((time.process_time() - between) / calls)
    return ours, theirs
