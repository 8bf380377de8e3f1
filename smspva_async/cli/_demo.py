"""The demo: three rented numbers on the simulator, told in 15 seconds.

What the watcher reports brings about what happens next, so that the story is the same every time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from smspva_async import (
    Event,
    OrderAdded,
    OrderState,
    Pace,
    Period,
    PollFailed,
    PollRecovered,
    Rental,
    Retry,
    SmspvaClient,
    SmsReceived,
    StateChanged,
    Watcher,
)
from smspva_async.simulator import Simulator

if TYPE_CHECKING:
    from smspva_async.cli._lines import Lines

__all__ = ["demo"]

_SEED = 6  # draws three numbers none of which is active from the start
_BALANCE = Decimal(100)
_INTERVAL = 1.0
_ASIDE = " " * len("19:04:12  ")


@frozen
class _Turn:
    """A time of being active."""

    lasts: float
    text: str
    """The message that arrives in it."""


@frozen
class _Wish:
    """A number to rent, and what befalls it. The seconds are chosen to end well between two polls."""

    country: str
    service: str
    queue: float
    turns: tuple[_Turn, ...]


_WISHES = (
    _Wish("RU", "opt16", 1.2, (_Turn(4.0, "Code Instagram: 671 094."), _Turn(3600.0, "Your code is 305 871."))),
    _Wish("LT", "opt20", 2.2, (_Turn(3600.0, "WhatsApp code 417-205"),)),
    _Wish("PL", "opt29", 3.2, (_Turn(3600.0, "Twój kod Telegram: 53821"),)),
)
_BEFORE_OUTAGE = sum(len(wish.turns) for wish in _WISHES)
_DURING_OUTAGE = "Telegram login code: 86420"


async def demo(lines: Lines) -> None:
    """Tell the story.

    Args:
        lines: Where to.

    """
    lines.say("smspva demo: the provider is simulated. No account, no network, no money.", "bold")
    lines.say("What takes 10 to 30 minutes there takes seconds here.", "dim")
    lines.say("Lines with a time are the watcher's events, > is a call, ~ happens elsewhere.", "dim")
    lines.say()
    sim = Simulator(seed=_SEED, start=datetime.now(UTC), balance=_BALANCE)
    async with (
        SmspvaClient("demo", transport=sim.transport(), pace=Pace(gap=0.1), retry=Retry(attempts=1)) as client,
        Watcher(client, interval=_INTERVAL) as watcher,
    ):
        story = _Story(sim, client, lines)
        for wish in _WISHES:
            await story.rent(wish)
        async for event in watcher.events(after=0):
            lines.show(event)
            if not await story.go_on(event):
                break
    lines.say()
    story.sum_up()
    lines.say()
    lines.say("The same for numbers of your own: smspva watch --api-key-file PATH", "dim")


class _Story:
    """The program's calls, the simulated events and their results."""

    def __init__(self, sim: Simulator, client: SmspvaClient, lines: Lines) -> None:
        self._sim = sim
        self._client = client
        self._lines = lines
        self._wishes: dict[int, _Wish] = {}  # by order id, as the next two
        self._rentals: dict[int, Rental] = {}
        self._states: dict[int, list[OrderState]] = {}
        self._codes: list[str | None] = []
        self._outages: list[float] = []

    async def rent(self, wish: _Wish) -> None:
        """Rent a number."""
        self._do(f'rent("{wish.country}", "{wish.service}", Period.weeks(1))')
        rental = await self._client.rent(wish.country, wish.service, Period.weeks(1))
        self._wishes[rental.id], self._rentals[rental.id] = wish, rental

    async def go_on(self, event: Event) -> bool:
        """Do what follows from an event; return whether the story goes on."""
        match event:
            case OrderAdded(order):
                self._states[order.id] = [order.state]
                await self._activate(order.id)
            case StateChanged(order, _, current):
                self._states[order.id].append(current)
                if current is OrderState.ACTIVE:
                    await self._receive(order.id)
                elif current is OrderState.INACTIVE:
                    await self._activate(order.id)
            case SmsReceived(_, sms):
                self._codes.append(sms.code)
                if len(self._codes) == _BEFORE_OUTAGE:
                    self._narrate("the network breaks down, and a message comes meanwhile")
                    self._sim.faults.always("orders", "refused")
            case PollFailed():
                # Not before: a reading that failed sooner than the orders do would count as an outage of its own.
                self._sim.faults.always("sms", "refused")
                await anyio.sleep(2.5 * _INTERVAL)
                self._sim.deliver(max(self._wishes), _DURING_OUTAGE, sender="Telegram")
                self._sim.faults.clear()
            case PollRecovered(downtime):
                self._outages.append(downtime)
            case _:
                pass
        return len(self._codes) <= _BEFORE_OUTAGE

    async def _activate(self, order_id: int) -> None:
        wish, turn = self._wishes[order_id], self._turns(order_id)
        lasts = wish.turns[turn].lasts
        self._sim.behavior.activation, self._sim.behavior.active = (wish.queue, wish.queue), (lasts, lasts)
        self._do(f"activate({order_id})")
        await self._client.activate(order_id)

    async def _receive(self, order_id: int) -> None:
        # Half way between two polls, so that it is always the next one that finds it.
        await anyio.sleep(_INTERVAL / 2)
        text = self._wishes[order_id].turns[self._turns(order_id) - 1].text
        self._sim.deliver(order_id, text, sender=self._sim.order(order_id).service_name)

    def _turns(self, order_id: int) -> int:
        return self._states[order_id].count(OrderState.ACTIVE)

    def _do(self, call: str) -> None:
        self._lines.say(call, "cyan", head=f"{_ASIDE}> ")

    def _narrate(self, text: str) -> None:
        self._lines.say(text, "magenta", head=f"{_ASIDE}~ ")

    def sum_up(self) -> None:
        """Say what came of it."""
        failed = sum(request.fault is not None for request in self._sim.requests)
        spent = _BALANCE - self._sim.balance
        self._lines.say("Summary", "bold")
        for order_id, rental in self._rentals.items():
            states = " -> ".join(str(int(state)) for state in self._states[order_id])
            self._total("number", f"{rental.phone}  {states}")
        self._total("messages", f"{len(self._codes)}, with the codes {', '.join(filter(None, self._codes))}")
        for downtime in self._outages:
            self._total("outage", f"of {downtime:.0f} s, survived: what was sent meanwhile arrived after it")
        self._total("requests", f"{len(self._sim.requests)}, of which {failed} failed in the outage")
        self._total("spent", f"${spent} for {len(self._rentals)} numbers and a week, simulated like the rest")

    def _total(self, what: str, text: str) -> None:
        self._lines.say(text, head=f"  {what:<10}")
