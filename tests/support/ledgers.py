"""The ledger's file, and what a client reads from it at the next start."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from smspva_async import SmspvaClient
from smspva_async.errors import OutcomeUnknown
from tests.support.fake_server import KEY, FakeServer
from tests.support.samples import CALLS, Call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from smspva_async import Purchase

CREATE = CALLS["create"]


def at_next_start(path: Path) -> tuple[OutcomeUnknown, ...]:
    """Return the unsettled calls of a new client, which isn't entered."""
    return tuple(SmspvaClient(KEY, ledger=path).unsettled)


def purchases(path: Path) -> Sequence[Purchase]:
    """Return the purchases of a new client."""
    return SmspvaClient(KEY, ledger=path).purchases()


def outcomes(path: Path) -> list[str]:
    return [purchase.outcome for purchase in purchases(path)]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("smspva ledger")]


async def written_by(fake_server: FakeServer, path: Path, call: Call = CREATE) -> OutcomeUnknown:
    """Write a ledger with one call whose outcome is unknown, and return that call."""
    fake_server.call(call, httpx.ReadError("lost"))
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await call.make(client)
    return failed.value
