"""How long a message takes from its arrival at the server to its event, in virtual time.

One message a minute arrives, at random moments and for orders drawn at random, from the moment of entering, when the
watch has yet to read each list for the first time. Nothing else is asked of the client, and an answer takes no time.
Where somebody waits, one task waits for the message that comes next, on its order; or, for another order, for one that
never comes, on the first.
"""

from __future__ import annotations

import random
from enum import Enum
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from benchmarks.measuring import SEED, in_virtual_time, percentile, until
from benchmarks.results import Row, at_most
from benchmarks.server import Server
from smspva_async import SmspvaClient, SmsReceived, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.results import Form
    from smspva_async import Sms, Subscription

__all__ = ["GAP", "Arrival", "arrivals", "in_turn", "rows"]

GAP = 1.5
"""The pace's default: seconds between two requests."""
_BASELINE = "one `sms` call per order in turn, same gap, same messages"
_SIZES = (1, 100, 1_000, 10_000)
_FEW = 12
_MANY = 100
_LONG = 30 * 86_400.0


@frozen
class Arrival:
    """A message to come."""

    text: str
    at: float
    """Seconds from the beginning."""
    place: int
    """Which of the orders gets it."""


def arrivals(orders: int, count: int) -> list[Arrival]:
    """Return messages that arrive at random, one a minute, for orders drawn at random."""
    dice = random.Random(f"{SEED} {orders}")
    at, found = 0.0, list[Arrival]()
    for number in range(count):
        at += dice.expovariate(1 / 60)
        found.append(Arrival(str(number), at, dice.randrange(orders)))
    return found


class _Waiting(Enum):
    """Who waits for a message meanwhile."""

    NOBODY = "nobody waits"
    FOR_IT = "somebody waits"
    ELSEWHERE = "somebody waits for another order"


def rows(form: Form) -> Iterator[Row]:
    """Measure: somebody waits, nobody waits, and a flag that fails."""
    fewest: Mapping[int, int] = {1: 100, 100: 40, 1_000: 40, 10_000: 10}
    for orders in _SIZES:
        count = form.pick(full=1_000, short=fewest[orders])
        yield from _measure(orders, count, _Waiting.FOR_IT, goals={"median": 4, "99 %": 8})
    count = form.pick(full=1_000, short=fewest[_MANY])
    yield from _measure(_MANY, count, _Waiting.ELSEWHERE, goals={"median": 4, "99 %": 8})
    for orders in _SIZES:
        count = form.pick(full=1_000, short=fewest[orders])
        yield from _measure(orders, count, _Waiting.NOBODY, goals={"99 %": 35})
    for waiting in (_Waiting.NOBODY, _Waiting.FOR_IT):
        count = form.pick(full=1_000, short=100)
        yield from _measure(_FEW, count, waiting, flags=False, goals={"99 %": 33})


def _measure(
    orders: int, count: int, waiting: _Waiting, *, flags: bool = True, goals: Mapping[str, float]
) -> Iterator[Row]:
    coming = arrivals(orders, count)
    took = in_virtual_time(_Watch(Server(orders, flags=flags), coming).run(waiting))
    theirs = in_turn(orders, coming)
    flag = "" if flags else ", `hasnewsms` never up"
    for share, goal in goals.items():
        pick = median if share == "median" else _most
        yield Row(
            group="From a message's arrival at the server to its event",
            name=f"{waiting.value}, {orders:,} order{'s' if orders > 1 else ''}{flag}: {share}",
            unit="s",
            measured=pick(took),
            against=pick(theirs),
            baseline=_BASELINE,
            goal=at_most(goal, of="measured"),
            deterministic=True,
        )


def _most(values: Sequence[float]) -> float:
    return percentile(values, 0.99)


class _Watch:
    """A watch of some messages."""

    def __init__(self, server: Server, coming: Sequence[Arrival]) -> None:
        self.took: dict[str, float] = {}
        """How long each message took, by its text."""
        self._server = server
        self._coming = coming

    async def run(self, waiting: _Waiting) -> list[float]:
        """Return how long each message took, in the order of their events."""
        async with (
            SmspvaClient("key", transport=self._server) as client,
            Watcher(client) as watcher,
            anyio.create_task_group() as tasks,
        ):
            began = anyio.current_time()
            events = watcher.events(after=watcher.cursor)
            tasks.start_soon(self._listen, events, began)
            if waiting is _Waiting.FOR_IT:
                tasks.start_soon(self._wait, watcher, events)
            elif waiting is _Waiting.ELSEWHERE:
                tasks.start_soon(self._wait_elsewhere, watcher)
            await self._deliver(began)
            await until(lambda: len(self.took) == len(self._coming))
            tasks.cancel_scope.cancel()
        return list(self.took.values())

    async def _deliver(self, began: float) -> None:
        for arrival in self._coming:
            await anyio.sleep_until(began + arrival.at)
            self._server.deliver(self._server.ids[arrival.place], arrival.text)

    async def _listen(self, events: Subscription, began: float) -> None:
        arrived = {arrival.text: began + arrival.at for arrival in self._coming}
        async for event in events:
            if isinstance(event, SmsReceived):
                self.took[event.sms.text] = anyio.current_time() - arrived[event.sms.text]

    async def _wait(self, watcher: Watcher, events: Subscription) -> None:
        for arrival in self._coming:
            if arrival.text not in self.took:
                is_it = partial(_says, arrival.text)
                order_id = self._server.ids[arrival.place]
                await watcher.wait_for_sms(order_id, after=events.cursor, match=is_it, timeout=_LONG)

    async def _wait_elsewhere(self, watcher: Watcher) -> None:
        await watcher.wait_for_sms(self._server.ids[0], match=partial(_says, "never sent"), timeout=_LONG)


def _says(text: str, sms: Sms) -> bool:
    return sms.text == text


def in_turn(orders: int, coming: Sequence[Arrival]) -> list[float]:
    """Return how long each message takes where the orders are read in turn, order 0 first."""
    return [(arrival.place * GAP - arrival.at) % (orders * GAP) for arrival in coming]
