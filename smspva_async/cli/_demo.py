"""The command `demo`: three rented numbers on the simulator, in 15 seconds.

The watcher's events trigger the next steps, so the demo is the same every time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import anyio
import click
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
from smspva_async.cli._event_lines import EventLines, JsonEventLines
from smspva_async.cli._help import examples
from smspva_async.cli._output import Printer, with_printer
from smspva_async.simulator import Simulator

_SEED = 6  # gives three numbers that are not active from the start
_BALANCE = Decimal(100)
_INTERVAL = 1.0
_INDENT = " " * len("19:04:12  ")


@frozen
class _ActiveTime:
    """A time during which a number is active."""

    seconds: float
    text: str
    """The message that arrives during this time."""


@frozen
class _Scenario:
    """A number to rent and its events. No event is close to a poll."""

    country: str
    service: str
    queue_seconds: float
    active_times: tuple[_ActiveTime, ...]


_SCENARIOS = (
    _Scenario(
        "RU", "opt16", 1.2, (_ActiveTime(4.0, "Code Instagram: 671 094."), _ActiveTime(3600.0, "Your code is 305 871."))
    ),
    _Scenario("LT", "opt20", 2.2, (_ActiveTime(3600.0, "WhatsApp code 417-205"),)),
    _Scenario("PL", "opt29", 3.2, (_ActiveTime(3600.0, "Twój kod Telegram: 53821"),)),
)
_MESSAGES_BEFORE_OUTAGE = sum(len(scenario.active_times) for scenario in _SCENARIOS)
_MESSAGE_DURING_OUTAGE = "Telegram login code: 86420"


@click.command(epilog=examples("smspva demo"))
@with_printer
async def demo(printer: Printer) -> None:
    """Show a 15-second demo without an account.

    Rent three numbers from a simulated provider, activate them and receive messages. One number lapses and is
    activated again, and the network fails once.
    """
    await run_demo(JsonEventLines(printer) if printer.as_json else EventLines(printer.output))


async def run_demo(lines: EventLines) -> None:
    """Run the demo and print it.

    Args:
        lines: The output.

    """
    lines.print_text("smspva demo: the provider is simulated. No account, no network, no money.", "bold")
    lines.print_text("What takes 10 to 30 minutes at the real provider takes seconds here.", "dim")
    lines.print_text("Lines with a time are watcher events, > is a call, ~ is outside the program.", "dim")
    lines.print_text()
    sim = Simulator(seed=_SEED, start=datetime.now(UTC), balance=_BALANCE)
    async with (
        SmspvaClient("demo", transport=sim.transport(), pace=Pace(gap=0.1), retry=Retry(attempts=1)) as client,
        Watcher(client, interval=_INTERVAL) as watcher,
    ):
        script = _Script(sim, client, lines)
        for scenario in _SCENARIOS:
            await script.rent(scenario)
        async for event in watcher.events(after=0):
            lines.show(event)
            if not await script.handle(event):
                break
    lines.print_text()
    script.print_summary()
    lines.print_text()
    lines.print_text("To watch your own numbers: smspva watch --api-key-file PATH", "dim")


class _Script:
    """Makes the calls, simulates the provider's events and collects the results."""

    def __init__(self, sim: Simulator, client: SmspvaClient, lines: EventLines) -> None:
        self._sim = sim
        self._client = client
        self._lines = lines
        # The keys of these three are order ids.
        self._scenarios: dict[int, _Scenario] = {}
        self._rentals: dict[int, Rental] = {}
        self._states: dict[int, list[OrderState]] = {}
        self._codes: list[str | None] = []
        self._outages: list[float] = []

    async def rent(self, scenario: _Scenario) -> None:
        """Rent a number."""
        self._print_call(f'rent("{scenario.country}", "{scenario.service}", Period.weeks(1))')
        rental = await self._client.rent(scenario.country, scenario.service, Period.weeks(1))
        self._scenarios[rental.id], self._rentals[rental.id] = scenario, rental

    async def handle(self, event: Event) -> bool:
        """Run the steps that follow an event, and return False at the end of the demo."""
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
                if len(self._codes) == _MESSAGES_BEFORE_OUTAGE:
                    self._lines.print_text(
                        "the network fails, and a message arrives meanwhile", "magenta", prefix=f"{_INDENT}~ "
                    )
                    self._sim.faults.always("orders", "refused")
            case PollFailed():
                # Only now: if `sms` failed before `orders`, its failure would count as a separate outage.
                self._sim.faults.always("sms", "refused")
                await anyio.sleep(2.5 * _INTERVAL)
                self._sim.deliver(max(self._scenarios), _MESSAGE_DURING_OUTAGE, sender="Telegram")
                self._sim.faults.clear()
            case PollRecovered(downtime):
                self._outages.append(downtime)
            case _:
                pass
        return len(self._codes) <= _MESSAGES_BEFORE_OUTAGE

    async def _activate(self, order_id: int) -> None:
        scenario = self._scenarios[order_id]
        queue, active = scenario.queue_seconds, scenario.active_times[self._activations(order_id)].seconds
        self._sim.behavior.activation, self._sim.behavior.active = (queue, queue), (active, active)
        self._print_call(f"activate({order_id})")
        await self._client.activate(order_id)

    async def _receive(self, order_id: int) -> None:
        # Halfway between two polls, so that the next poll always finds the message.
        await anyio.sleep(_INTERVAL / 2)
        text = self._scenarios[order_id].active_times[self._activations(order_id) - 1].text
        self._sim.deliver(order_id, text, sender=self._sim.order(order_id).service_name)

    def _activations(self, order_id: int) -> int:
        return self._states[order_id].count(OrderState.ACTIVE)

    def _print_call(self, call: str) -> None:
        self._lines.print_text(call, "cyan", prefix=f"{_INDENT}> ")

    def print_summary(self) -> None:
        """Print the results of the demo."""
        failed = sum(request.fault is not None for request in self._sim.requests)
        spent = _BALANCE - self._sim.balance
        self._lines.print_text("Summary", "bold")
        for order_id, rental in self._rentals.items():
            states = " -> ".join(str(int(state)) for state in self._states[order_id])
            self._print_total("number", f"{rental.phone}  {states}")
        self._print_total("messages", f"{len(self._codes)}, with the codes {', '.join(filter(None, self._codes))}")
        for downtime in self._outages:
            self._print_total("outage", f"{downtime:.0f} s; the message sent during it arrived afterwards")
        self._print_total("requests", f"{len(self._sim.requests)}, of which {failed} failed in the outage")
        self._print_total("spent", f"${spent} (simulated) for {len(self._rentals)} numbers for a week")

    def _print_total(self, name: str, text: str) -> None:
        self._lines.print_text(text, prefix=f"  {name:<10}")
