"""Programs that are killed: each runs in a process of its own until somebody kills it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

from smspva_async import Pace, Retry, SmspvaClient, SqliteJournal, Watcher, event_to_dict

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

KEY = "key-of-the-chaos"
INTERVAL = 0.05

# Forked from a process that has this module already, so that a program runs at once.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def start(program: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a program in a process."""
    process = _processes.Process(target=program, args=arguments, daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """Kill a process, which has no time for last words."""
    process.kill()
    process.join()


def impatient_client(url: str, ledger: Path | None = None) -> SmspvaClient:
    """Return a client for a world that doesn't last."""
    return SmspvaClient(KEY, base_url=url, pace=Pace(gap=0.001), retry=Retry(attempts=1), timeout=0.2)


def watch(url: str, journal: Path, report: Path) -> None:
    """Watch, and write down each event that is given."""

    async def main() -> None:
        with report.open("a") as reported:
            async with impatient_client(url) as client, watcher(client, journal) as watch:
                async for event in watch.events("the consumer"):
                    # One write, so that a kill leaves a line whole or not at all.
                    os.write(reported.fileno(), f"{json.dumps(event_to_dict(event))}\n".encode())

    asyncio.run(main())


def watcher(client: SmspvaClient, journal: Path) -> Watcher:
    return Watcher(client, interval=INTERVAL, eager_interval=INTERVAL, journal=SqliteJournal(journal))
