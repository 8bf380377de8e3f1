"""The fences in the scripts: each law holds because of its fence, and breaks if that is taken out of the script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio
import pytest

from smspva_async import WatchState
from smspva_async._http.rate_limiter import Priority
from smspva_async._purchases.store import Record
from smspva_async.fleet._journal import RedisJournal
from smspva_async.fleet._ledger import RedisLedger
from smspva_async.fleet._link import Link
from smspva_async.fleet._pace import SharedRateLimiter
from smspva_async.journal.shared import NotLeading
from tests.support import lua
from tests.support.journals import events
from tests.support.processes import until

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop}), ("trio", {})], ids=["asyncio", "trio"]
    ),
]

KEYS = "smspva:{main}:"


class Members:
    """Processes of a fleet, except that they are all in this one."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._stack = AsyncExitStack()

    def link(self) -> Link:
        link = Link(self.server.url, "main", 30.0, lambda: "account")
        self._stack.push_async_callback(link.aclose)
        return link

    async def journal(self) -> RedisJournal:
        journal = RedisJournal(self.link(), None, may_lead=True)
        await journal.open(None)
        self._stack.push_async_callback(journal.aclose)
        return journal

    async def leader(self) -> RedisJournal:
        journal = await self.journal()
        assert (await journal.lead()).is_mine
        await journal.take_over()
        return journal

    def limiter(self) -> SharedRateLimiter:
        limiter = SharedRateLimiter(self.link(), 30.0)
        self._stack.push_async_callback(limiter.aclose)
        return limiter

    async def save(self, outcome: Literal["done", "unknown"]) -> None:
        """Write the same call's outcome as another process."""
        ledger = RedisLedger(self.link())
        record = Record("call", "create", {}, datetime(2026, 1, 1, tzinfo=UTC), outcome=outcome)
        await ledger.save(lambda: [record])
        await ledger.aclose()

    async def aclose(self) -> None:
        await self._stack.aclose()


async def writes(journal: RedisJournal) -> bool:
    try:
        await journal.append(events(1, 1), WatchState(seq=1), {})
    except NotLeading:
        return False
    return True


# -- the laws: each scenario returns true if its law holds -----------------------------------------------------------


async def a_leader_without_the_lease_writes_nothing(members: Members) -> bool:
    leader = await members.leader()
    members.server.cli("DEL", f"{KEYS}lease")
    return not await writes(leader)


async def a_deposed_leader_writes_nothing(members: Members) -> bool:
    old = await members.leader()
    members.server.cli("DEL", f"{KEYS}lease")
    await members.leader()
    return not await writes(old)


async def a_leader_of_an_earlier_reign_writes_nothing(members: Members) -> bool:
    leader = await members.leader()
    members.server.cli("HINCRBY", f"{KEYS}meta", "epoch", "1")
    return not await writes(leader)


async def a_lease_has_one_holder(members: Members) -> bool:
    await members.leader()
    return not (await (await members.journal()).lead()).is_mine


async def a_member_that_lost_a_name_moves_nothing(members: Members) -> bool:
    first, second = await members.journal(), await members.journal()
    for journal in (first, second):
        await journal.take_name("billing", 3)
    lost = await first.move_held({"billing": 8})
    return (list(lost), await first.places()) == (["billing"], {"billing": 3})


async def a_claim_has_one_holder(members: Members) -> bool:
    first, second = await members.journal(), await members.journal()
    assert await first.claim("activate:1", 60)
    return not await second.claim("activate:1", 60)


async def an_outcome_outlives_a_late_write_that_says_less(members: Members) -> bool:
    await members.save("done")
    await members.save("unknown")
    (record,) = await RedisLedger(members.link()).load() or ()
    return record.outcome == "done"


async def one_process_at_a_time_has_a_slot(members: Members) -> bool:
    first, other = members.limiter(), members.limiter()
    await first.acquire(Priority.FOREGROUND)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other.acquire, Priority.SPENDING)
        await until(lambda: members.server.cli("ZCARD", f"{KEYS}pace:spending").strip() == "1")
        granted = members.server.cli("HGET", f"{KEYS}pace", "number").strip()
        tasks.cancel_scope.cancel()
    return granted == "1"


Law: TypeAlias = Callable[[Members], Awaitable[bool]]

LEASE = "redis.call('GET', key .. 'lease') ~= me or "
FENCES: list[tuple[Law, str, str, str]] = [
    (a_leader_without_the_lease_writes_nothing, "append", LEASE, ""),
    (a_deposed_leader_writes_nothing, "append", LEASE + "known[4] ~= me or known[3] ~= epoch", "false"),
    (a_leader_of_an_earlier_reign_writes_nothing, "append", "known[3] ~= epoch", "false"),
    (a_lease_has_one_holder, "lead", "if holder == me or ", "if true or "),
    (a_member_that_lost_a_name_moves_nothing, "move", "holder ~= me and ", "false and "),
    (a_claim_has_one_holder, "claim", "holder ~= me", "false"),
    (an_outcome_outlives_a_late_write_that_says_less, "ledger_save", "new > old or ", "true or "),
    (one_process_at_a_time_has_a_slot, "take", "state[3]", "false"),
]
"""For each law the script that holds it, the fence in its text, and the text that takes the fence out."""


@pytest.mark.parametrize("is_fenced", [True, False], ids=["fenced", "without the fence"])
@pytest.mark.parametrize(("law", "script", "fence", "hole"), FENCES, ids=[fence[0].__name__ for fence in FENCES])
async def test_a_law_holds_because_of_its_fence(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    law: Law,
    script: str,
    fence: str,
    hole: str,
    *,
    is_fenced: bool,
) -> None:
    if not is_fenced:
        lua.replace(monkeypatch, script, fence, hole)
    members = Members(redis_server)
    try:
        assert await law(members) is is_fenced
    finally:
        await members.aclose()
