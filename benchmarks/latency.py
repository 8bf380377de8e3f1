"""Latency from a message's arrival at the server to its event in a subscription, in virtual time.

Messages arrive at random times for random orders, one a minute on average, or one every 20 seconds if tasks wait for
one or two orders. For each awaited order, one task waits for the next message again and again. An answer of the server
takes 0.05 to 0.4 seconds and contains the data at the arrival of the request. The watch runs for two minutes before the
first message. The first messages of awaited orders don't count: the watch needs them to measure if the flags work.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from benchmarks.measuring import SEED, in_virtual_time, percentile, until
from benchmarks.results import Row, at_most
from benchmarks.server import Flags, Server
from smspva_async import SmspvaClient, SmsReceived, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.results import Form, Goal
    from smspva_async import Subscription

__all__ = ["DELAY", "GAP", "Arrival", "arrivals", "in_turn", "rows", "wait_repeatedly"]

GAP = 1.5
"""The default of `Pace`: seconds between two requests."""
DELAY = (0.05, 0.4)
"""The shortest and the longest time of an answer, in seconds."""
_MEAN, _MEAN_OF_FEW = 60.0, 20.0
"""Average seconds between two messages; the second value applies to one or two awaited orders."""
_BEFORE = 120.0
"""Seconds from the start of the watch to the first possible message."""
_MEASURED = 20
"""Messages that the watch needs to measure if the flags work."""
_FIRST = 3
"""Messages per awaited order after which most orders have got one, so that `Flags.STAY_UP` has raised their flags."""
_LONG = 30 * 86_400.0
_GROUP = "Latency from a message's arrival at the server to its event"
_PLAIN_LOOP = "a plain loop that calls `sms` for the awaited orders in turn, with the same gap and messages"
_IDLE = "the same messages and flags without a waiting task"


@frozen
class Arrival:
    """A message and the time of its arrival."""

    text: str
    at: float
    """Seconds from the start."""
    index: int
    """The index of its order among those that get messages."""


def arrivals(orders: int, count: int, *, mean: float = _MEAN) -> list[Arrival]:
    """Return messages for random orders, at random times that are `mean` seconds apart on average."""
    rng = random.Random(f"{SEED} {orders}")
    at, found = 0.0, list[Arrival]()
    for number in range(count):
        at += rng.expovariate(1 / mean)
        found.append(Arrival(str(number), at, rng.randrange(orders)))
    return found


def in_turn(orders: int, schedule: Sequence[Arrival], *, delay: tuple[float, float] = DELAY) -> list[float]:
    """Return the latencies of a plain loop that reads the orders in turn, from index 0."""
    rng = random.Random(SEED)
    return [(arrival.index * GAP - arrival.at) % (orders * GAP) + rng.uniform(*delay) for arrival in schedule]


# -- the table ---------------------------------------------------------------------------------------------------


@frozen
class _Goals:
    """The goals for awaited orders, in seconds."""

    median: float
    most: float
    """The 99th percentile."""
    short: int
    """Messages in the short form."""


@frozen
class _Wait:
    """A number of orders, some of them awaited."""

    orders: int
    awaited: int
    mean: float
    """Average seconds between two messages."""
    full: int
    """Messages in the full form."""
    flags_work: _Goals
    otherwise: _Goals


_WAITS = (
    _Wait(1, 1, _MEAN_OF_FEW, 1_000, _Goals(1.2, 3.4, short=120), _Goals(1.2, 3.4, short=120)),
    _Wait(100, 1, _MEAN_OF_FEW, 1_000, _Goals(1.8, 5.0, short=201), _Goals(1.8, 5.0, short=201)),
    _Wait(100, 2, _MEAN_OF_FEW, 1_000, _Goals(3.0, 7.2, short=201), _Goals(3.0, 7.2, short=201)),
    _Wait(100, 3, _MEAN, 500, _Goals(3.3, 5.8, short=180), _Goals(4.6, 10.5, short=60)),
    _Wait(1_000, 10, _MEAN, 500, _Goals(3.6, 5.8, short=240), _Goals(15, 29, short=60)),
)
_OTHERS: Mapping[int, Goal] = {10: at_most(60, of="measured"), 100: at_most(2.5)}
_IDLE_COUNTS: Mapping[int, tuple[int, int]] = {
    1: (1_000, 100),
    100: (1_000, 80),
    1_000: (600, 50),
    10_000: (200, 10),
}
"""Messages in the full and in the short form, by the number of orders."""
_FEW = 12


def rows(form: Form) -> Iterator[Row]:
    """Measure awaited messages, those of other orders at the same time, and a watch without waiting tasks."""
    for wait in _WAITS:
        for flags in Flags:
            yield from _awaited(form, wait, flags)
    for orders, goal in _OTHERS.items():
        for flags in Flags:
            yield _others(orders, flags, goal, form.pick(full=600, short=120))
    for orders, (full, short) in _IDLE_COUNTS.items():
        yield _idle(orders, Flags.WORK, form.pick(full=full, short=short), goal=35)
    yield _idle(_FEW, Flags.NEVER_UP, form.pick(full=1_000, short=80), goal=33)


def _awaited(form: Form, wait: _Wait, flags: Flags) -> Iterator[Row]:
    goals = wait.flags_work if flags is Flags.WORK else wait.otherwise
    server = Server(wait.orders, flags=flags, delay=DELAY)
    awaited = random.Random(SEED).sample(server.ids, wait.awaited)
    first = _MEASURED + _FIRST * wait.awaited
    schedule = arrivals(wait.awaited, first + form.pick(full=wait.full, short=goals.short), mean=wait.mean)
    ours = _latencies(server, awaited, awaited, schedule)[first:]
    theirs = in_turn(wait.awaited, schedule)[first:]
    name = f"{wait.awaited:,} of {_orders(wait.orders)} waited for, `hasnewsms` {flags.value}"
    for share, figure, goal in (("median", median, goals.median), ("99 %", _most, goals.most)):
        yield _row(f"{name}: {share}", figure(ours), at_most(goal, of="measured"), figure(theirs), _PLAIN_LOOP)


def _others(orders: int, flags: Flags, goal: Goal, count: int) -> Row:
    schedule = arrivals(orders - 1, count, mean=_MEAN_OF_FEW)

    def measure(*, is_awaited: bool) -> float:
        server = Server(orders, flags=flags, delay=DELAY)
        first, *others = server.ids
        return _most(_latencies(server, [first] if is_awaited else [], others, schedule))

    name = f"the others while 1 of {_orders(orders)} is waited for, `hasnewsms` {flags.value}: 99 %"
    return _row(name, measure(is_awaited=True), goal, measure(is_awaited=False), _IDLE)


def _idle(orders: int, flags: Flags, count: int, *, goal: float) -> Row:
    server = Server(orders, flags=flags, delay=DELAY)
    schedule = arrivals(orders, count)
    ours = _most(_latencies(server, [], server.ids, schedule))
    theirs = _most(in_turn(orders, schedule))
    name = f"no waiting, {_orders(orders)}, `hasnewsms` {flags.value}: 99 %"
    return _row(name, ours, at_most(goal, of="measured"), theirs, _PLAIN_LOOP.replace("the awaited", "all"))


def _most(latencies: Sequence[float]) -> float:
    return percentile(latencies, 0.99)


def _orders(count: int) -> str:
    return f"{count:,} order{'' if count == 1 else 's'}"


def _row(name: str, measured: float, goal: Goal, against: float, baseline: str) -> Row:
    return Row(
        group=_GROUP,
        name=name,
        unit="s",
        measured=measured,
        against=against,
        baseline=baseline,
        goal=goal,
        deterministic=True,
    )


# -- a watch -----------------------------------------------------------------------------------------------------


def _latencies(
    server: Server, awaited: Sequence[int], receivers: Sequence[int], schedule: Sequence[Arrival]
) -> list[float]:
    """Return the latencies of the messages, in the order of arrival."""
    return in_virtual_time(_watch(server, awaited, receivers, schedule))


async def _watch(
    server: Server, awaited: Sequence[int], receivers: Sequence[int], schedule: Sequence[Arrival]
) -> list[float]:
    latencies: dict[str, float] = {}
    async with (
        SmspvaClient("key", transport=server) as client,
        Watcher(client) as watcher,
        anyio.create_task_group() as tasks,
    ):
        for order_id in awaited:
            tasks.start_soon(wait_repeatedly, watcher, order_id)
        await anyio.sleep(_BEFORE)
        began = anyio.current_time()
        tasks.start_soon(_listen, watcher.events(after=watcher.cursor), schedule, began, latencies)
        for arrival in schedule:
            await anyio.sleep_until(began + arrival.at)
            server.deliver(receivers[arrival.index], arrival.text)
        await until(lambda: len(latencies) == len(schedule))
        tasks.cancel_scope.cancel()
    return [latencies[arrival.text] for arrival in schedule]


async def wait_repeatedly(watcher: Watcher, order_id: int) -> None:
    """Wait for an order's next message again and again, until cancelled."""
    after = watcher.cursor
    while True:
        after = (await watcher.wait_for_sms(order_id, after=after, timeout=_LONG)).seq


async def _listen(events: Subscription, schedule: Sequence[Arrival], began: float, latencies: dict[str, float]) -> None:
    """Record the latency of each message, by its text."""
    arrived = {arrival.text: began + arrival.at for arrival in schedule}
    async for event in events:
        if isinstance(event, SmsReceived):
            latencies[event.sms.text] = anyio.current_time() - arrived[event.sms.text]
