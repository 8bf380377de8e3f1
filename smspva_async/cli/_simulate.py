"""The simulator on a socket: `simulate`."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime
from random import Random
from typing import get_args

import anyio
import click

from smspva_async.cli._output import Printer, printing
from smspva_async.cli._values import SECONDS, example
from smspva_async.simulator import DialectName, Simulator

__all__ = ["simulate"]

_GRACE = 1  # seconds for answers under way when it ends
_COUNTRIES = ("RU", "LT", "PL")
_ACTIVE = (600.0, 1800.0)


@click.command(
    epilog=example(
        "smspva simulate --port 8000 --orders 3",
        "export SMSPVA_API_KEY=any SMSPVA_BASE_URL=http://127.0.0.1:8000/api/rent.php",
        "smspva watch",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--orders", type=click.IntRange(0, 1000), default=0, show_default=True, help="Numbers rented already.")
@click.option(
    "--queue", type=SECONDS, default=10.0, show_default="10", metavar="SECONDS", help="How long an activation takes."
)
@click.option(
    "--messages",
    type=SECONDS,
    default=15.0,
    show_default="15",
    metavar="SECONDS",
    help="How often a message reaches one of the active numbers.",
)
@click.option(
    "--dialect",
    type=click.Choice(get_args(DialectName)),
    default="contract",
    show_default=True,
    help="Answers as on the rental page, as seen on the live server, or as in the contract of the provider's SDK.",
)
@click.option("--api-key", metavar="KEY", help="The only key that is accepted; by default any is.")
@click.option("--seed", type=int, default=0, show_default=True, help="What is left to chance is drawn from it.")
@printing
def simulate(
    printer: Printer,
    port: int,
    orders: int,
    queue: float,
    messages: float,
    dialect: DialectName,
    api_key: str | None,
    seed: int,
) -> None:
    """Serve a simulated provider on this machine.

    For trying commands and programs without an account. It takes any key, or only that of --api-key. Active numbers
    receive messages with codes now and then, and an activation takes seconds, where the real provider needs 10 to 15
    minutes.
    """
    simulator = Simulator(
        seed=seed,
        start=datetime.now(UTC),
        dialect=dialect,
        api_key=api_key,
        activation=(queue, queue),
        active=_ACTIVE,
    )
    for number in range(orders):
        simulator.add_order(_COUNTRIES[number % len(_COUNTRIES)], ["opt16", "opt20", "opt29"][number % 3])
    anyio.run(_serve, printer, simulator, port, messages, Random(seed))  # noqa: S311 - not cryptography


async def _serve(printer: Printer, simulator: Simulator, port: int, pause: float, chance: Random) -> None:
    """Serve until a signal ends it."""
    try:
        import uvicorn  # noqa: PLC0415 - of an extra of its own
    except ModuleNotFoundError:
        raise click.UsageError("uvicorn is missing; pip install 'smspva-async[sim]' brings it") from None
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise click.UsageError(f"port {port} can't be had ({error.strerror}); --port 0 takes a free one") from None
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/rent.php"
        keys = "any key" if simulator.api_key is None else "the key of --api-key only"
        printer.tell({"url": url}, f"The simulated provider answers at {url}, to {keys}. Ctrl-C ends it.")
        config = uvicorn.Config(simulator, ws="none", log_level=logging.ERROR, timeout_graceful_shutdown=_GRACE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_deliver, simulator, pause, chance)
            await uvicorn.Server(config).serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _deliver(simulator: Simulator, pause: float, chance: Random) -> None:
    """Let messages arrive."""
    while True:
        await anyio.sleep(pause)
        active = [order for order in simulator.orders if order.state == 1]
        if active:
            order = chance.choice(active)
            code = f"{chance.randrange(1000):03} {chance.randrange(1000):03}"
            simulator.deliver(order.id, f"Your {order.service_name} code: {code}", sender=order.service_name)
