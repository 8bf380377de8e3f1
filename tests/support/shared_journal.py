"""A shared journal in memory, for several watchers in one event loop and in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import anyio.lowlevel
from attrs import define, field

from smspva_async._concurrency import Signal
from smspva_async._http.rate_limiter import RateLimiter
from smspva_async._purchases.store import Record
from smspva_async.errors import JournalError
from smspva_async.journal.memory import RingBuffer, check_position
from smspva_async.journal.shared import (
    Demand,
    DemandChanged,
    LeaderLeft,
    LeaderStatus,
    Lease,
    NameTaken,
    News,
    NotLeading,
    RefreshAnswered,
)
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from smspva_async import Event
    from smspva_async._purchases.store import PurchaseStore

LEASE = 10.0


@define(eq=False)
class Server:
    """The data that the members share; each change reaches the others a moment later."""

    ring: RingBuffer = field(factory=lambda: RingBuffer(65_536))
    state: WatchState | None = None
    leader: str = ""
    lease_ends: float = 0.0
    status: LeaderStatus = field(factory=LeaderStatus)
    places: dict[str, int] = field(factory=dict)
    holders: dict[str, str] = field(factory=dict)
    demands: dict[str, Demand] = field(factory=dict)
    claims: dict[str, tuple[str, float]] = field(factory=dict)
    members: dict[str, SharedMemory] = field(factory=dict)
    rate_limiter: RateLimiter | None = None
    records: dict[str, Record] = field(factory=dict)
    reachable: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self.reachable.set()

    def post(self, sender: str, news: News | None) -> None:
        """Give news to all members but one; None: the state has changed."""
        for name, member in self.members.items():
            if name != sender:
                member.post(news)

    def stop(self) -> None:
        """Make the server unreachable."""
        self.reachable = anyio.Event()
        for member in self.members.values():
            member.failure = "the server is unreachable"

    def start(self) -> None:
        """Make the server reachable again."""
        self.reachable.set()
        for member in self.members.values():
            member.failure = None


class SharedMemory:
    """A process's member of the server's fleet. A paused process stops at its next step."""

    def __init__(self, server: Server, *, may_lead: bool = True) -> None:
        self.lease = LEASE
        self.member = ""
        self.state: WatchState | None = None
        self.status = LeaderStatus()
        self.failure: str | None = None
        self.appended = 0
        self._server = server
        self._may_lead = may_lead
        self._inbox: list[tuple[News | None, WatchState | None]] = []
        self._arrived = Signal()
        self._running = anyio.Event()
        self._running.set()

    def pause(self) -> None:
        """Stop this process at its next step, as SIGSTOP does."""
        self._running = anyio.Event()

    def resume(self) -> None:
        """Let this process go on."""
        self._running.set()

    def post(self, news: News | None) -> None:
        self._inbox.append((news, self._server.state))
        self._arrived.set()

    async def _reach(self) -> None:
        await anyio.lowlevel.checkpoint()
        await self._running.wait()
        await self._server.reachable.wait()

    @property
    def _leads(self) -> bool:
        return self._server.leader == self.member and anyio.current_time() < self._server.lease_ends

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:  # noqa: ARG002 - there is one account
        await self._reach()
        self.member = uuid4().hex
        self._server.members[self.member] = self
        self.state = self._server.state
        return self.state

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        assert not places
        with anyio.move_on_after(self.lease):
            await self._reach()
            if not self._leads:
                raise NotLeading("another process leads")
            self._server.ring.extend(events)
            self._server.state = self.state = state
            self.appended += 1
            self._server.post(self.member, None)
            return
        raise NotLeading("the server can't be reached")

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        check_position(after, self._server.ring.oldest, self._server.ring.newest)
        return self._server.ring.after(after, limit)

    async def places(self) -> Mapping[str, int]:
        return dict(self._server.places)

    async def move(self, places: Mapping[str, int]) -> None:
        self._server.places |= places

    async def forget(self, name: str) -> None:
        self._server.places.pop(name, None)

    async def aclose(self) -> None:
        self._server.members.pop(self.member, None)
        self._server.demands.pop(self.member, None)
        self._server.post(self.member, DemandChanged(self.member, None))

    async def lead(self, status: LeaderStatus | None = None) -> Lease:
        await self._reach()
        now = anyio.current_time()
        if self._may_lead and (self._server.leader in ("", self.member) or now >= self._server.lease_ends):
            self._server.leader, self._server.lease_ends = self.member, now + self.lease
        if status is not None and self._leads:
            self._server.status = status
        self.status = self._server.status
        return Lease(self._leads, max(0.0, self._server.lease_ends - now))

    async def take_over(self) -> WatchState | None:
        await self._reach()
        self.state = self._server.state
        return self.state

    async def resign(self, invalid_key: str | None = None) -> None:
        await self._reach()
        if self._server.leader == self.member:
            self._server.leader, self._server.lease_ends = "", 0.0
            self._server.post(self.member, LeaderLeft(invalid_key))

    async def news(self) -> Sequence[News]:
        if not self._inbox:
            await self._arrived.wait()
        await self._reach()
        inbox, self._inbox = self._inbox, []
        for _, state in inbox:
            if state is not None and (self.state is None or state.seq >= self.state.seq):
                self.state = state
        return [news for news, _ in inbox if news is not None]

    async def want(self, demand: Demand) -> None:
        await self._reach()
        self._server.demands[self.member] = demand
        self._server.post(self.member, DemandChanged(self.member, demand))

    async def wants(self) -> Mapping[str, Demand]:
        await self._reach()
        return {member: demand for member, demand in self._server.demands.items() if member != self.member}

    async def tell(self, answer: RefreshAnswered) -> None:
        await self._reach()
        self._server.post(self.member, answer)

    async def take_name(self, name: str, default: int) -> int:
        await self._reach()
        self._server.holders[name] = self.member
        self._inbox = [item for item in self._inbox if not (isinstance(item[0], NameTaken) and item[0].name == name)]
        self._server.post(self.member, NameTaken(name, self.member))
        return self._server.places.setdefault(name, default)

    async def move_held(self, places: Mapping[str, int]) -> Collection[str]:
        await self._reach()
        held = {name: place for name, place in places.items() if self._server.holders.get(name) == self.member}
        self._server.places |= held
        return places.keys() - held.keys()

    async def claim(self, what: str, seconds: float) -> bool:
        await self._reach()
        now = anyio.current_time()
        holder, until = self._server.claims.get(what, ("", 0.0))
        if holder not in ("", self.member) and now < until:
            return False
        self._server.claims[what] = self.member, now + seconds
        return True

    async def unclaim(self, what: str) -> None:
        await self._reach()
        if self._server.claims.get(what, ("", 0.0))[0] == self.member:
            del self._server.claims[what]


class MemoryFleet:
    """A fleet in memory: all its clients run in one event loop."""

    def __init__(self, server: Server, *, may_lead: bool = True) -> None:
        self.journal = SharedMemory(server, may_lead=may_lead)
        self.ledger: PurchaseStore = _Ledger(server)
        self._server = server

    def attach(self, account: Callable[[], str], gap: float) -> RateLimiter:  # noqa: ARG002 - there is one account
        if self._server.rate_limiter is None:
            self._server.rate_limiter = RateLimiter(gap)
        return self._server.rate_limiter

    def open(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class _Ledger:
    """A ledger in memory."""

    name = "the ledger in memory"

    def __init__(self, server: Server) -> None:
        self._server = server

    async def load(self) -> Sequence[Record] | None:
        return list(self._server.records.values())

    def load_now(self) -> Sequence[Record] | None:
        raise JournalError("enter the client first")

    async def save(self, unsaved: Callable[[], Sequence[Record]]) -> None:
        self._server.records |= {record.call: record for record in unsaved()}

    async def aclose(self) -> None:
        pass
