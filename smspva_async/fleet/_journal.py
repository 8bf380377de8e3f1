"""The fleet's journal in Redis: one member leads and appends, and each keeps a replica."""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import anyio
import anyio.lowlevel
from attrs import evolve

from smspva_async._concurrency import WorkerThread, finish
from smspva_async.errors import JournalError, JournalLocked
from smspva_async.fleet import _replica
from smspva_async.fleet._link import Unreachable
from smspva_async.fleet._replica import IN_MEMORY, Replica
from smspva_async.journal import WatchState, codec
from smspva_async.journal.database import AgeClock
from smspva_async.journal.memory import check_position
from smspva_async.journal.shared import (
    Demand,
    DemandChanged,
    LeaderLeft,
    LeaderStatus,
    Lease,
    NameTaken,
    NotLeading,
    RefreshAnswered,
    Restored,
)
from smspva_async.journal.sqlite import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import coredis
    from coredis.response.types import StreamEntry

    from smspva_async.events import Event
    from smspva_async.fleet._link import Link
    from smspva_async.journal.shared import News
    from smspva_async.journal.sqlite import Keep

T = TypeVar("T")

_REPAIR_FIRST = 1.0
"""Seconds after an outage in which members restore what Redis has lost, and take no lease."""
_WAIT = 2000
"""Milliseconds to wait for news."""
_BATCH = 100
"""Entries of the news to read at once."""
_PAGE = 100
_PAGES = 16


class RedisJournal:
    """The journal of a fleet; see `SharedJournal`.

    Args:
        link: The connection.
        keep: As for `SqliteJournal`.
        may_lead: False if this process never leads.

    Raises:
        ValueError: `keep` is invalid.

    """

    def __init__(self, link: Link, keep: Keep, *, may_lead: bool) -> None:
        self.lease: float = link.lease
        self.status: LeaderStatus = LeaderStatus()
        self._link = link
        self._max_events, self._max_age = limits(keep)
        self._may_lead = may_lead
        self._clock = AgeClock()
        self._worker = WorkerThread("smspva fleet journal")
        self._lock = anyio.Lock()
        """Held while the replica changes."""
        self._replica = Replica()
        self._number = 0
        """The number of the last entry of the news that was applied."""
        self._epoch = 0
        """The highest epoch that this member has seen."""
        self._lease_epoch = 0
        """The epoch of this member's lease; 0 if it has none."""
        self._reign = 0
        """The epoch in which this member may append; 0 if it may not."""
        self._run_id = ""
        """The id that Redis has until it is restarted, which the link may not notice."""
        self._restarted_at = -math.inf
        self._taken: dict[str, int] = {}
        """Names that this member has taken, and the number of the last news at that moment."""
        self._unread: list[News] = []
        """News for the next call of `news`."""
        self._demand = Demand()
        self._pages: OrderedDict[int, Sequence[Event]] = OrderedDict()
        """A cache of older events: pages by number, the least recently used first."""
        self._is_open = False

    def __repr__(self) -> str:
        return f"<RedisJournal of {self._link.where}>"

    @property
    def member(self) -> str:
        """The process's id, made by `open`."""
        return self._link.member

    @property
    def failure(self) -> str | None:
        """The reason why Redis can't be reached now."""
        return self._link.failure

    @property
    def state(self) -> WatchState | None:
        """The process's replica of the state; None: there is none yet."""
        return self._replica.state

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:  # noqa: ARG002 - the link checks it
        """Join the fleet and load its newest state; see `SharedJournal`.

        Raises:
            JournalLocked: A watcher of this process uses this object.
            JournalError: Redis can't be used.

        """
        if self._is_open:
            raise JournalLocked("another watcher of this process uses the fleet's journal; share the watcher")
        self._is_open, self._lock = True, anyio.Lock()
        self._lease_epoch = self._reign = 0
        self._demand = Demand()
        self._unread.clear()
        try:
            self._number = await self._reload()
        except BaseException:
            self._is_open = False
            self._worker.stop()
            raise
        return self.state

    # -- leading -------------------------------------------------------------------------------------------------------

    async def lead(self, status: LeaderStatus | None = None) -> Lease:
        """Take the lease if it is free, or renew it, and notice lost data; see `SharedJournal.lead`."""
        number, replica = self._number, self._replica

        async def run(redis: coredis.Redis[str]) -> Any:  # noqa: ANN401 - Lua's
            # The replica that is the furthest ahead has to be restored before anybody leads without it.
            outage = max(self._link.back_at, self._restarted_at)
            is_calm = self.failure is None and time.monotonic() >= outage + _REPAIR_FIRST
            may_take = str(int(self._may_lead and is_calm))
            saved = "" if status is None else _replica.save_status(status)
            arguments: list[str | float] = [
                self.member,
                self.lease,
                may_take,
                self._lease_epoch,
                self._epoch,
                saved,
                self._run_id,
                replica.facts.version,
            ]
            return await self._link.evaluate(redis, "lead", arguments)

        is_mine, left, version, mark, newest, epoch, saved, run_id = await self._link.do(run, is_beat=True)
        if run_id != self._run_id:
            self._restarted_at = time.monotonic() if self._run_id else -math.inf
            if self._run_id:
                self._unread.append(Restored())  # it may have lost only this member's demand, which no number shows
            self._run_id = run_id
        self._epoch = max(self._epoch, epoch)
        self._lease_epoch = epoch if is_mine else 0
        if self._reign != self._lease_epoch:
            self._reign = 0  # until `take_over`
        if saved and not is_mine:
            self.status = _replica.load_status(saved)
        same = (version, mark) == (replica.facts.version, replica.facts.mark)
        if newest < number or version < replica.facts.version or (version == replica.facts.version and not same):
            async with self._lock:
                if replica.state is not None and (version < replica.facts.version or same):
                    await self._restore()
                else:
                    await self._resynchronize()
        return Lease(bool(is_mine), left / 1000)

    async def take_over(self) -> WatchState | None:
        """Return the newest state, and restore what Redis has lost; see `SharedJournal.take_over`."""
        async with self._lock:
            while entries := await self._link.do(self._after(self._number)):
                await self._take(entries)
            if (await self._facts()).version < self._replica.facts.version:
                await self._restore()
            await self._reload()
            self._reign = self._lease_epoch
        return self.state

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        """Add events, replace the state and move held names; see `Journal.append`.

        Raises:
            NotLeading: Another process leads, or Redis can't be reached within the lease.
            JournalError: Redis refuses to write.

        """
        await finish(partial(self._append, events, state, dict(places)))

    async def _append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        async with self._lock:
            if not self._reign:
                raise self._not_leading()
            replica, before = self._replica, self.state or WatchState()
            # A change of the clock alone isn't worth a write.
            others = evolve(state, clock=before.clock, tracks=before.tracks, removed=before.removed)
            if not (events or places or codec.changes(before, state).any or others != before):
                return
            write = await self._work(partial(_replica.write, before, state, events))
            mark = uuid4().hex
            arguments: list[str | float] = [self.member, self._reign, replica.facts.version, replica.facts.mark, mark]
            arguments += [write.head, write.news, *self._bounds(events), *write.lists, *_pairs(places)]
            answer = await self._within_lease(arguments)
            if answer[0] == "lost":
                await self._restore()
                answer = await self._within_lease(arguments)
            if answer[0] != "done":
                raise self._not_leading()
            replica.ring.extend(events)
            self._wrote(state, replica.facts.version + 1, mark, int(answer[1]))

    async def _within_lease(self, arguments: Sequence[str | float]) -> Any:  # noqa: ANN401 - Lua's
        try:
            return await self._link.run("append", *arguments, within=self.lease)
        except Unreachable:
            raise self._not_leading() from None

    def _not_leading(self) -> NotLeading:
        self._reign = 0
        return NotLeading(f"this process doesn't lead {self._link.where}; nothing was written")

    def _bounds(self, events: Sequence[Event]) -> list[str | float]:
        """Return the newest event's number, the one up to which events are too many, and the time before which old."""
        if not events:
            return [0, 0, ""]
        newest = events[-1]
        too_many = 0 if self._max_events is None else newest.seq - self._max_events
        now = None if self._max_age is None else self._clock.now(newest)
        # A number, because a date can't be that far in the past.
        young = "" if now is None or self._max_age is None else now - self._max_age.total_seconds()
        return [newest.seq, too_many, young]

    async def resign(self, invalid_key: str | None = None) -> None:
        """Give up the lease and the demand; see `SharedJournal.resign`."""
        self._lease_epoch = self._reign = 0
        if await self._link.run("resign", self.member, json.dumps(invalid_key)):
            self._demand = Demand()

    # -- following -----------------------------------------------------------------------------------------------------

    async def news(self) -> Sequence[News]:
        """Wait for news, apply new events, and return the rest; see `SharedJournal.news`."""
        if not self._unread:
            entries = await self._link.do(self._after(self._number, _WAIT))
            async with self._lock:
                await self._take(entries)
        unread, self._unread = self._unread, []
        if self._demand != Demand() and any(
            isinstance(new, Restored) or (isinstance(new, DemandChanged) and new.member == self.member)
            for new in unread
        ):
            # Redis has lost this process's demand, or the others took it for dead.
            self._unread = unread
            await self.want(self._demand)
            unread, self._unread = self._unread, []
        return [new for new in unread if not isinstance(new, DemandChanged) or new.member != self.member]

    def _after(self, number: int, wait: int | None = None) -> Callable[[coredis.Redis[str]], Any]:
        """Return an action that reads the next entries of the news, and waits for them."""
        key, position = self._link.key("news"), f"{number}-0"

        async def read(redis: coredis.Redis[str]) -> Sequence[tuple[int, Mapping[str, str]]]:
            found = await redis.xread({key: position}, count=_BATCH, block=wait)
            entries = found[key] if found else ()
            return [
                (_number(entry), {str(name): str(value) for name, value in entry.field_values.items()})
                for entry in entries
            ]

        return read

    async def _take(self, entries: Sequence[tuple[int, Mapping[str, str]]]) -> None:
        """Apply entries of the news to the replica, and keep the rest for `news`."""
        for number, entry in entries:
            if number <= self._number:
                continue
            if number != self._number + 1:
                await self._resynchronize()
                continue
            if entry["kind"] not in ("change", "reload"):
                self._keep(number, entry["kind"], entry["member"], entry["data"])
            elif int(entry["version"]) > self._replica.facts.version:
                if entry["kind"] == "reload" or entry["before"] != self._replica.facts.mark:
                    await self._reload()
                else:
                    self._apply(entry)
            self._number = number
            await anyio.lowlevel.checkpoint()

    def _keep(self, number: int, kind: str, member: str, data: str) -> None:
        """Keep an entry for `news`."""
        fields = json.loads(data)
        if kind == "demand":
            # A process's own demand is news only if the others took it for dead.
            if member != self.member or fields is None:
                self._unread.append(DemandChanged(member, _replica.load_demand(data)))
        elif member != self.member:
            if kind == "answer":
                self._unread.append(RefreshAnswered(*fields))
            elif kind == "taken" and number > self._taken.get(fields, 0):
                self._unread.append(NameTaken(fields, member))
            elif kind == "left":
                self._unread.append(LeaderLeft(fields))

    def _apply(self, entry: Mapping[str, str]) -> None:
        replica = self._replica
        state, events = _replica.read_change(replica.state, entry["data"])
        replica.ring.extend(events)
        self._wrote(state, int(entry["version"]), entry["mark"], int(entry["oldest"]))

    def _wrote(self, state: WatchState, version: int, mark: str, oldest: int) -> None:
        facts = evolve(self._replica.facts, version=version, mark=mark, oldest=oldest)
        self._replica = evolve(self._replica, state=state, facts=facts)

    async def _facts(self) -> _replica.Facts:
        """Return what Redis has now."""
        values = await self._link.do(lambda redis: redis.hmget(self._link.key("meta"), _replica.FACTS))
        return _replica.Facts.of(
            {name: str(value) for name, value in zip(_replica.FACTS, values, strict=True) if value}
        )

    async def _reload(self) -> int:
        """Load the replica again, unless it is the newest; return the number of the last news that it includes."""
        facts = await self._facts()
        if (facts.version, facts.mark) == (self._replica.facts.version, self._replica.facts.mark):
            self._replica = evolve(self._replica, facts=facts)
        else:
            meta, tracks, messages, events = await self._link.do(self._snapshot)
            texts = [entry.field_values["event"] for entry in reversed(events)]
            self._replica = await self._work(partial(_replica.load, meta, tracks, messages, texts))
            self._pages.clear()
        self._epoch = max(self._epoch, self._replica.facts.epoch)
        return self._replica.facts.news

    async def _snapshot(self, redis: coredis.Redis[str]) -> Any:  # noqa: ANN401 - a tuple of what the commands return
        async with redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(self._link.key("meta"))
            pipeline.hgetall(self._link.key("tracks"))
            pipeline.hgetall(self._link.key("messages"))
            pipeline.xrevrange(self._link.key("events"), count=IN_MEMORY)
        return pipeline.results

    async def _resynchronize(self) -> None:
        """Load the replica again after news were missed."""
        self._number = await self._reload()
        self._unread.append(Restored())

    async def _restore(self) -> None:
        """Write the replica, if Redis lost data that it has. The entry of the news makes every member reload."""
        replica = self._replica
        first = max(replica.ring.oldest, replica.ring.newest - IN_MEMORY)
        events = replica.ring.after(first, IN_MEMORY)
        write = await self._work(partial(_replica.write, WatchState(), replica.state or WatchState(), events))
        arguments: list[str | float] = [
            self.member,
            self._epoch,
            replica.facts.version,
            replica.facts.mark,
            self._number,
            replica.facts.form,
        ]
        arguments += [replica.facts.account, write.head, first, replica.ring.newest, *write.lists]
        await self._link.run("restore", *arguments)

    # -- events --------------------------------------------------------------------------------------------------------

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a position; see `Journal.read`.

        Raises:
            Lagged: The first of them is no longer kept, or the position is after the newest event.

        """
        newest = self._replica.ring.newest
        if self._is_open and after > newest:  # another process, which is ahead, has moved a name there
            await self._check(after)
            return []
        if self._is_open:
            check_position(after, min(self._replica.facts.oldest, newest), newest)
        else:
            newest = await self._check(after)
        if after >= self._replica.ring.oldest and newest == self._replica.ring.newest:
            return self._replica.ring.after(after, limit)
        number = after // _PAGE
        page = self._pages.get(number)
        if page is None:
            page = await self._page(number * _PAGE)
            await self._check(after)  # the page lacks events that were dropped meanwhile
            if len(page) == _PAGE:
                self._pages[number] = page
                if len(self._pages) > _PAGES:
                    self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(number)
        return [event for event in page if event.seq > after][:limit]

    async def _page(self, after: int) -> Sequence[Event]:
        entries = await self._link.do(
            lambda redis: redis.xrange(self._link.key("events"), start=f"{after + 1}-0", count=_PAGE)
        )
        return [
            codec.load_event(str(entry.field_values["event"])) for entry in entries if _number(entry) <= after + _PAGE
        ]

    async def _check(self, position: int) -> int:
        """Raise `Lagged` if Redis doesn't have the events after a position; return the newest event's number."""
        facts = await self._facts()
        check_position(position, facts.oldest, facts.seq)
        return facts.seq

    # -- names, demand and claims --------------------------------------------------------------------------------------

    async def places(self) -> Mapping[str, int]:
        """Return the position of each named cursor; see `Journal.places`."""
        places = await self._link.do(lambda redis: redis.hgetall(self._link.key("cursors")))
        return {name: int(place) for name, place in places.items()}

    async def move(self, places: Mapping[str, int]) -> None:
        """Move named cursors forward; see `Journal.move`."""
        await self._link.run("move", "", *_pairs(places)[1:])

    async def move_held(self, places: Mapping[str, int]) -> Collection[str]:
        """Move the names that this process holds, and return the others; see `SharedJournal.move_held`."""
        return list(await self._link.run("move", self.member, *_pairs(places)[1:]))

    async def take_name(self, name: str, default: int) -> int:
        """Become the holder of a name, and return its position; see `SharedJournal.take_name`."""
        place, number = await self._link.run("name", self.member, name, default, json.dumps(name))
        self._taken[name] = number
        return int(place)

    async def forget(self, name: str) -> None:
        """Remove a named cursor; see `Journal.forget`."""

        async def remove(redis: coredis.Redis[str]) -> None:
            await redis.hdel(self._link.key("cursors"), [name])
            await redis.hdel(self._link.key("holders"), [name])

        await self._link.do(remove)

    async def want(self, demand: Demand) -> None:
        """Replace this process's demand; see `SharedJournal.want`."""
        self._demand = demand
        await self._link.run("want", self.member, self.lease, _replica.save_demand(demand))

    async def wants(self) -> Mapping[str, Demand]:
        """Return the demands of the other processes; see `SharedJournal.wants`."""
        saved = await self._link.do(lambda redis: redis.hgetall(self._link.key("demand")))
        demands = {member: _replica.load_demand(text) for member, text in saved.items() if member != self.member}
        return {member: demand for member, demand in demands.items() if demand is not None}

    async def tell(self, answer: RefreshAnswered) -> None:
        """Tell the others that a refresh request is answered; see `SharedJournal.tell`."""
        await self._link.run("tell", self.member, "answer", json.dumps([answer.token, answer.read_at]))

    async def claim(self, what: str, seconds: float) -> bool:
        """Claim a right; see `SharedJournal.claim`."""
        return bool(await self._link.run("claim", self.member, what, max(1, round(seconds * 1000))))

    async def unclaim(self, what: str) -> None:
        """Give up a claim; see `SharedJournal.unclaim`."""
        await self._link.run("claim", self.member, what, 0)

    async def aclose(self) -> None:
        """Give up the lease and the demand; see `Journal.aclose`."""
        if self._is_open:
            self._is_open = False
            await finish(self._close)

    async def _close(self) -> None:
        with suppress(JournalError):  # the others notice within a lease
            await self._link.run("resign", self.member, "null", within=0)
            await self._link.run("want", self.member, self.lease, "null", within=0)
        self._lease_epoch = self._reign = 0
        self._worker.stop()

    async def _work(self, function: Callable[[], T]) -> T:
        try:
            return await self._worker.run(function)
        finally:
            if not self._is_open:
                self._worker.stop()


def _pairs(places: Mapping[str, int]) -> list[str | float]:
    """Return names and positions after their number."""
    return [len(places), *(part for place in places.items() for part in place)]


def _number(entry: StreamEntry) -> int:
    return int(str(entry.identifier).partition("-")[0])
