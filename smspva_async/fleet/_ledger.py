"""The fleet's ledger: the spending calls of all processes, in a hash in Redis."""

from __future__ import annotations

import json
import math
import os
import time
from base64 import b64decode, b64encode
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import anyio.lowlevel
from attrs import evolve
from coredis.exceptions import PersistenceError

from smspva_async._concurrency import WorkerThread, finish
from smspva_async._purchases.store import read_rows, row_of
from smspva_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    import coredis
    from anyio.lowlevel import EventLoopToken

    from smspva_async._purchases.store import Record
    from smspva_async.fleet._link import Link

_BATCH = 500
"""Rows to read or restore at a time."""
_DISK_TIMEOUT = 4.0
"""The longest time to wait for Redis's disk; shorter than the time that a reply may take."""


class RedisLedger:
    """A `PurchaseStore` that all processes of a fleet share.

    A call without an outcome is in flight while its process is a living member of the fleet. Each process keeps the
    rows that it has read or written, reads only changed ones, and writes back what Redis has lost.

    Args:
        link: The connection. The ledger doesn't close it.

    """

    def __init__(self, link: Link) -> None:
        self.name: str = f"the ledger of {link.where}"
        self._link = link
        self._worker = WorkerThread("smspva fleet ledger")
        self._stamp = ""
        """The ledger's stamp when it was last read or written; "" before the first time."""
        self._texts: dict[str, str] = {}
        """Call -> its row as JSON."""
        self._records: dict[str, Record] = {}
        self._owners: dict[str, str] = {}
        """Call without an outcome -> the member that makes it."""
        self._in_flight: set[str] = set()
        """The calls that were in flight at the last `load`."""
        self._lost_at = -math.inf
        """The time of `time.monotonic` at which this process last found that Redis had lost writes."""
        self._has_news = False
        """True if rows were read that no `load` has returned yet."""
        self._lock = anyio.Lock()
        self._user: tuple[int, EventLoopToken] | None = None
        """The process and the event loop of the lock."""

    async def load(self) -> Sequence[Record] | None:
        """Return all records; see `PurchaseStore.load`."""
        try:
            async with self._turn() as deadline:
                return await self._load(deadline)
        except JournalError as error:
            error.message += "; nothing was sent"
            raise

    def load_now(self) -> Sequence[Record] | None:
        """Return None: only `load` can ask Redis. Raise `JournalError` if it never has."""
        if not self._stamp:
            raise JournalError(f"{self.name} isn't read yet: enter the client first (`async with`)")
        return None

    async def save(self, unsaved: Callable[[], Sequence[Record]]) -> None:
        """Write records, even if the caller is cancelled; see `PurchaseStore.save`."""
        given = unsaved()
        await finish(partial(self._save, given, unsaved))

    async def aclose(self) -> None:
        """End the thread. The client closes the connection."""
        self._worker.stop()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[float]:
        """Wait until no other task reads or writes, and return the time until which to wait for Redis."""
        deadline = anyio.current_time() + self._link.lease
        user = os.getpid(), anyio.lowlevel.current_token()
        if self._user != user:  # a parent process or an event loop that has ended may have left the lock locked
            self._user, self._lock = user, anyio.Lock()
        async with self._lock:
            if self._link.failure is not None and anyio.current_time() > deadline:
                reason = self._link.failure
                raise JournalError(f"{self._link.where} can't be reached for {self._link.lease:g} s: {reason}")
            yield deadline

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _load(self, deadline: float) -> Sequence[Record] | None:
        stamp, _, _, alive = await self._head(deadline)
        while stamp != self._stamp:
            await self._read(stamp, deadline)
            # Again, so that the stamp and the members belong to these rows.
            stamp, _, _, alive = await self._head(deadline)
        in_flight = {call for call, owner in self._owners.items() if owner in alive}
        if time.monotonic() < max(self._link.back_at, self._lost_at) + self._link.lease:
            # The other processes may not have had the time to show that they are alive.
            in_flight |= self._in_flight & self._owners.keys()
        if not self._has_news and in_flight == self._in_flight:
            return None
        self._in_flight, self._has_news = in_flight, False
        return [evolve(it, in_flight=True) if it.call in in_flight else it for it in self._records.values()]

    async def _head(self, deadline: float) -> tuple[str, bool, bool, frozenset[str]]:
        """Return the stamp, whether writes are lost, whether `WAITAOF` works, and the living members."""
        head = await self._link.run("ledger_head", self._stamp, within=_left(deadline))
        stamp, is_lost, can_wait, alive = head
        return stamp, bool(is_lost), bool(can_wait), frozenset(alive)

    async def _read(self, stamp: str, deadline: float) -> None:
        """Read the changed rows, and write back those that Redis has lost."""
        found = await self._link.do(self._scan, within=_left(deadline))
        changed = {call: text for call, text in found.items() if self._texts.get(call) != text}
        try:
            records = await self._worker.run(lambda: _read_texts(changed))
        except ValueError as error:
            raise JournalError(
                f"{self.name} can't be used: {error}. Restore Redis from a backup, or check by hand which orders the"
                f" account has and remove the record from {self._link.key('ledger')}"
            ) from error
        lost = [call for call in self._texts if call not in found]
        for call, (owner, record) in records.items():
            if call in self._records and _rank(record) < _rank(self._records[call]):
                lost.append(call)
            else:
                self._keep(record, owner, changed[call])
        if lost:
            self._lost_at = time.monotonic()
            self._link.log.warning(
                "%s had lost the newest state of %d calls; writing it back", self._link.where, len(lost)
            )
            for i in range(0, len(lost), _BATCH):
                rows = chain.from_iterable((call, self._texts[call]) for call in lost[i : i + _BATCH])
                await self._link.run("ledger_save", "restore", self._stamp, uuid4().hex, *rows, within=_left(deadline))
        self._stamp, self._has_news = stamp, True

    async def _scan(self, redis: coredis.Redis[str]) -> dict[str, str]:
        rows: dict[str, str] = {}
        cursor = 0
        while True:  # in batches, so that the event loop and Redis stay responsive
            cursor, batch = await redis.hscan(self._link.key("ledger"), cursor=cursor, count=_BATCH)
            rows.update(batch)
            if not cursor:
                return rows

    def _has(self, record: Record) -> bool:
        """Return whether a record, or one that says more, is written."""
        known = self._records.get(record.call)
        return known is record or (known is not None and _rank(known) > _rank(record))

    def _keep(self, record: Record, owner: str, text: str) -> None:
        self._records[record.call], self._texts[record.call] = record, text
        if record.outcome is None:
            self._owners[record.call] = owner
        else:
            self._owners.pop(record.call, None)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _save(self, given: Sequence[Record], unsaved: Callable[[], Sequence[Record]]) -> None:
        async with self._turn() as deadline:
            if all(map(self._has, given)):  # another task has written them; don't let this one wait for newer ones
                return
            records = [record for record in unsaved() if not self._has(record)]
            stamp, is_lost, can_wait, _ = await self._head(deadline)  # connects, so that `member` is known
            if is_lost:
                await self._read(stamp, deadline)
            owner = self._link.member
            texts = await self._worker.run(lambda: [_text_of(record, owner) for record in records])
            rows = chain.from_iterable((record.call, text) for record, text in zip(records, texts, strict=True))
            write = partial(self._write, arguments=["save", "", uuid4().hex, *rows], can_wait=can_wait)
            if (written := await self._link.do(write, within=_left(deadline))) is None:
                raise JournalError(
                    f"{self._link.where} didn't confirm within {_DISK_TIMEOUT:g} s that its disk has the call;"
                    " set appendfsync to always or everysec"
                )
            before, after, rejected = written
            if before == self._stamp and not rejected:
                self._stamp = after
            for record, text in zip(records, texts, strict=True):
                if not self._has(record):
                    self._keep(record, owner, text)

    async def _write(self, redis: coredis.Redis[str], arguments: list[str], *, can_wait: bool) -> Any:  # noqa: ANN401 - Lua's
        """Write rows. Return None if Redis doesn't confirm in time that they are on its disk."""
        milliseconds = round(_DISK_TIMEOUT * 1000)
        with redis.ensure_persistence(1, 0, milliseconds) if can_wait else nullcontext():
            try:
                return await self._link.evaluate(redis, "ledger_save", arguments)
            except PersistenceError:
                return None


def _left(deadline: float) -> float:
    """Return the seconds until a deadline, in tenths because messages have them."""
    return max(0.0, math.ceil(10 * (deadline - anyio.current_time())) / 10)


# -- rows ------------------------------------------------------------------------------------------------------------


def _rank(record: Record) -> int:
    """Return the order in which outcomes replace each other, as in `ledger_save.lua`."""
    return {None: 0, "unknown": 1, "settled": 2}.get(record.outcome, 3)


def _text_of(record: Record, owner: str) -> str:
    return json.dumps([b64encode(it).decode() if isinstance(it, bytes) else it for it in row_of(record, owner)])


def _read_texts(texts: Mapping[str, str]) -> dict[str, tuple[str, Record]]:
    """Return owners and records by call; raise `ValueError` if a row is damaged."""
    rows = [_row(call, text) for call, text in texts.items()]
    owners = [row[1] for row in rows]
    # As if all owners were dead: `load` finds out which are alive.
    return {it.call: (owner, it) for owner, it in zip(owners, read_rows(rows, set(owners)), strict=True)}


def _row(call: str, text: str) -> tuple[Any, ...]:
    try:
        values = json.loads(text)
        row = (*values[:6], b64decode(values[6], validate=True), *values[7:])
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"the record of call {call} isn't readable") from None
    if row[0] != call:
        raise ValueError(f"the record of call {call} is that of call {row[0]}")
    return row
