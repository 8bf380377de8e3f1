"""The command `simulate`: the simulator as a local server."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime
from random import Random
from typing import get_args

import anyio
import click

from smspva_async.cli._help import examples
from smspva_async.cli._output import Printer, with_printer
from smspva_async.cli._parameters import SECONDS, NumberRange
from smspva_async.simulator import DialectName, Simulator

_SHUTDOWN_SECONDS = 1
_COUNTRIES = ("RU", "LT", "PL")
_SERVICES = ("opt16", "opt20", "opt29")
_ACTIVE_SECONDS = (600.0, 1800.0)


@click.command(epilog=examples("smspva simulate --port 8000 --orders 3"))
@click.option(
    "--port", type=NumberRange(0, 65535), default=8000, show_default=True, help="TCP port; 0 picks a free one."
)
@click.option(
    "--orders", type=NumberRange(0, 1000), default=0, show_default=True, help="Numbers that are rented at the start."
)
@click.option("--queue", type=SECONDS, default=10, show_default=True, help="Duration of an activation.")
@click.option(
    "--messages",
    type=SECONDS,
    default=15,
    show_default=True,
    help="Time between two messages, each to one of the active numbers.",
)
@click.option(
    "--dialect",
    type=click.Choice(get_args(DialectName)),
    default="contract",
    show_default=True,
    help="Format of the answers: as on the rental page, as seen on the live server, or as in the contract of the"
    " provider's SDK.",
)
@click.option("--api-key", metavar="KEY", help="Accept only this API key. By default, accept any.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random choices.")
@with_printer
async def simulate(
    printer: Printer,
    port: int,
    orders: int,
    queue: float,
    messages: float,
    dialect: DialectName,
    api_key: str | None,
    seed: int,
) -> None:
    """Run a simulated provider on this machine.

    Use it to try commands and programs without an account. Active numbers receive messages with codes, and an
    activation takes seconds; at the real provider it takes 10 to 15 minutes. Commands find it with the variables
    SMSPVA_BASE_URL, the printed address, and SMSPVA_API_KEY.
    """
    simulator = Simulator(
        seed=seed,
        start=datetime.now(UTC),
        dialect=dialect,
        api_key=api_key,
        activation=(queue, queue),
        active=_ACTIVE_SECONDS,
    )
    for number in range(orders):
        simulator.add_order(_COUNTRIES[number % len(_COUNTRIES)], _SERVICES[number % len(_SERVICES)])
    try:
        import uvicorn  # noqa: PLC0415 - in a separate extra
    except ModuleNotFoundError:
        raise click.UsageError("uvicorn is not installed; run: pip install 'smspva-async[sim]'") from None
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise click.UsageError(f"can't listen on port {port} ({error.strerror}); --port 0 picks a free one") from None
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/rent.php"
        keys = "any API key" if api_key is None else "only the key of --api-key"
        text = f"The simulated provider runs at {url} and accepts {keys}. Press Ctrl-C to stop."
        printer.print_result({"url": url}, text)
        key = "any" if api_key is None else "KEY"
        printer.print_hint("Next, in another terminal:")
        printer.print_hint(f"export SMSPVA_API_KEY={key}")
        printer.print_hint(f"export SMSPVA_BASE_URL={url}")
        config = uvicorn.Config(
            simulator, ws="none", log_level=logging.ERROR, timeout_graceful_shutdown=_SHUTDOWN_SECONDS
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_deliver_messages, simulator, messages, Random(seed))  # noqa: S311 - not cryptography
            await uvicorn.Server(config).serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _deliver_messages(simulator: Simulator, interval: float, random: Random) -> None:
    while True:
        await anyio.sleep(interval)
        active = [order for order in simulator.orders if order.state == 1]
        if active:
            order = random.choice(active)
            code = f"{random.randrange(1000):03} {random.randrange(1000):03}"
            simulator.deliver(order.id, f"Your {order.service_name} code: {code}", sender=order.service_name)
