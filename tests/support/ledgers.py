"""What the tests of the ledger share: what stands in its file, and what the next start makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smspva_async import SmspvaClient
from smspva_async.errors import OutcomeUnknown
from tests.support.fake_server import KEY, FakeServer
from tests.support.samples import CALLS, Call

if TYPE_CHECKING:
    from pathlib import Path

CREATE = CALLS["create"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(path: Path) -> list[str]:
    return [line["outcome"] for line in lines(path) if "outcome" in line]


def at_next_start(path: Path) -> tuple[OutcomeUnknown, ...]:
    """Return what a new program finds; it needn't enter its client for that."""
    return tuple(SmspvaClient(KEY, ledger=path).unsettled)


async def written_by(fake_server: FakeServer, path: Path, call: Call = CREATE, answer: Any = httpx.ReadError) -> bytes:
    """Return a ledger in which one call has no outcome."""
    fake_server.call(call, answer("lost"))
    async with fake_server.client(ledger=path) as client:
        with pytest.raises(OutcomeUnknown):
            await call.make(client)
    return path.read_bytes()
