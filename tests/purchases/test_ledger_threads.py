"""Clients of one ledger in several threads of a process, beside another process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from threading import Event, Thread
from typing import TYPE_CHECKING

from smspva_async import Pace, SmspvaClient
from tests.support import PATIENCE
from tests.support.fake_server import KEY
from tests.support.threaded_server import threaded_server

if TYPE_CHECKING:
    from pathlib import Path

RENT = """
import asyncio, sys
from smspva_async import Pace, SmspvaClient

async def main():
    async with SmspvaClient(sys.argv[1], base_url=sys.argv[2], pace=Pace(gap=0), ledger=sys.argv[3]) as client:
        for _ in range(25):
            await client.rent("RU", "opt16")

asyncio.run(main())
"""


def test_looking_at_the_ledger_in_another_thread_drops_no_lock(tmp_path: Path) -> None:
    """POSIX drops the locks that a process has on a file when it closes the file anywhere."""
    ledger = tmp_path / "ledger"
    is_over = Event()

    def look() -> None:
        while not is_over.is_set():
            SmspvaClient(KEY, ledger=ledger).purchases()

    with threaded_server() as server:

        async def rent() -> None:
            async with SmspvaClient(KEY, base_url=server.url, pace=Pace(gap=0), ledger=ledger) as client:
                for _ in range(25):
                    await client.rent("RU", "opt16")

        looking = Thread(target=look)
        looking.start()
        command = [sys.executable, "-c", RENT, KEY, server.url, str(ledger)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as other:  # noqa: S603
            try:
                asyncio.run(rent())
                _, complaints = other.communicate(timeout=PATIENCE)
            finally:
                other.kill()
                is_over.set()
                looking.join()
    assert complaints == ""
    purchases = SmspvaClient(KEY, ledger=ledger).purchases()
    assert [purchase.outcome for purchase in purchases] == ["done"] * 50
