"""What the tests of the watcher share: an account to watch, and ways to look at what a watcher tells of it."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.lowlevel
from attrs import evolve

from smspva_async import (
    ConnectionFailed,
    Event,
    MemoryJournal,
    Order,
    OrderNotFound,
    OrderState,
    Rows,
    SkippedRow,
    Sms,
    SmspvaClient,
    SmsReceived,
    Subscription,
    Watcher,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from smspva_async import Journal
    from smspva_async.journal.state import WatchState
    from smspva_async.simulator import Simulator

INTERVAL = 30.0
START = datetime(2026, 1, 1, tzinfo=UTC)
"""The second in which a watch of an `Account` begins, by the fixture `local_clock`."""
ORDERS = None
"""`Account` names its calls by the order whose messages they ask for; this is the call that asks for the orders."""
HANGS = 1e9
"""Seconds that nobody waits for."""
OUTAGE = ConnectionFailed("the server is down", sent=False)


def order(order_id: int = 1, state: OrderState = OrderState.INACTIVE, **changes: Any) -> Order:
    sample = Order(
        id=order_id,
        services=("opt16",),
        service_name="Instagram",
        state=state,
        phone=f"+7909{order_id:07}",
        country="RU",
        has_new_sms=False,
        until=START + timedelta(days=3650),  # also by the local clock of a test that doesn't set it
    )
    return evolve(sample, **changes)


def sms(text: str, seconds: float | None = 0, sender: str | None = "INFO") -> Sms:
    """Return a message, dated by the seconds since `START`; None: undated."""
    return Sms(text, sender, None if seconds is None else START + timedelta(seconds=seconds))


class Account:
    """What a watcher watches, without a server: a source that answers with plain lists.

    Attributes:
        listed: The orders.
        messages: Their messages by order id.
        skipped: Rows of `orders` that can't be read.
        failures: What a call raises: `ORDERS`, or an order's messages.
        seconds: How long a call takes.
        clock: The server's clock, if it tells it.
        calls: Every call that was made, and when.

    """

    def __init__(self, *orders: Order) -> None:
        self.listed = list(orders)
        self.messages: defaultdict[int, list[Sms]] = defaultdict(list)
        self.skipped: list[SkippedRow] = []
        self.failures: dict[int | None, Exception] = {}
        self.seconds: dict[int | None, float] = {}
        self.clock: Callable[[], datetime] | None = None
        self.calls: list[tuple[float, int | None]] = []

    async def orders(self) -> Sequence[Order]:
        await self._asked(ORDERS)
        if self.clock is None and not self.skipped:
            return list(self.listed)
        return Rows(self.listed, skipped=self.skipped, date=self.clock and self.clock())

    async def sms(self, order_id: int) -> Sequence[Sms]:
        await self._asked(order_id)
        return list(self.messages[order_id])

    async def activate(self, order_id: int) -> None:
        raise NotImplementedError(f"nobody has asked for the activation of {order_id}")

    async def _asked(self, what: int | None) -> None:
        self.calls.append((anyio.current_time(), what))
        await anyio.sleep(self.seconds.get(what, 0))
        if what in self.failures:
            raise self.failures[what]

    def change(self, order_id: int, **changes: Any) -> None:
        self.listed = [evolve(known, **changes) if known.id == order_id else known for known in self.listed]

    def drop(self, order_id: int) -> None:
        """Leave an order out of the list; its messages can still be read."""
        self.listed = [known for known in self.listed if known.id != order_id]

    def remove(self, order_id: int) -> None:
        """Leave an order out, and say that there is none when its messages are asked for."""
        self.drop(order_id)
        self.failures[order_id] = OrderNotFound("there is no such order", msg="Order not found")

    def times(self, what: int | None = ORDERS) -> list[float]:
        """Return when a call was made."""
        return [time for time, asked in self.calls if asked == what]


class SlowJournal(MemoryJournal):
    """A journal that takes its time, as one on disk does."""

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        await anyio.lowlevel.checkpoint()
        return await super().open(account)

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        await super().append(events, state, places)
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        await super().aclose()


@asynccontextmanager
async def watching(
    sim: Simulator,
    *,
    interval: float = INTERVAL,
    journal: Journal | None = None,
    start: Literal["baseline", "replay"] = "baseline",
) -> AsyncIterator[Watcher]:
    """Watch a simulator through the client."""
    async with (
        SmspvaClient("any-key", transport=sim.transport()) as client,
        Watcher(client, interval=interval, journal=journal, start=start) as watcher,
    ):
        yield watcher


async def polls(count: int, interval: float = INTERVAL) -> None:
    """Let the watcher poll some times more."""
    await anyio.sleep(count * interval)


async def so_far(watcher: Watcher, *, after: int = 0) -> list[Event]:
    """Return the events up to now."""
    events = watcher.events(after=after)
    return [await anext(events) for _ in range(watcher.cursor - after)]


async def within(seconds: float, events: Subscription) -> list[Event]:
    """Return what a subscription gives within some seconds."""
    given: list[Event] = []
    with anyio.move_on_after(seconds):
        async for event in events:
            given.append(event)  # noqa: PERF401 - a comprehension would be lost when the time is up
    return given


def texts(events: Iterable[Event]) -> list[str]:
    """Return the texts of the messages among events."""
    return [event.sms.text for event in events if isinstance(event, SmsReceived)]


def kinds(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def gaps(times: Sequence[float]) -> list[float]:
    """Return the seconds between successive times."""
    return [later - earlier for earlier, later in pairwise(times)]
