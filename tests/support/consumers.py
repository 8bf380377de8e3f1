"""Helpers for the tests of named consumers: successive processes that watch one account, and their shared disk."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.lowlevel
import pytest

from smspva_async import CursorTaken, Event, JournalError, MemoryJournal, SqliteJournal, Watcher
from tests.support.accounts import Account, order, sms
from tests.support.watching import polls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from smspva_async import Journal, Subscription
    from smspva_async.journal.state import WatchState

LONG = 2e5
"""Seconds of virtual time after which a test gives up waiting."""
WRITTEN = 1.0
"""Seconds after which the journal must have the places."""
both_ends = pytest.mark.parametrize("end", ["left", "killed"])
"""The ways in which the watching process can end."""


class Run:
    """The journal of one process. It yields at each step; once the process is killed, writes are dropped.

    Attributes:
        dead: True if the process was killed.
        broken: The error that writing a place raises.
        before: Functions that are awaited before a place is written or an event is read.
        written: The number of writes of places.

    """

    def __init__(self, inner: Journal) -> None:
        self.dead = False
        self.broken: JournalError | None = None
        self.before: dict[Literal["move", "read"], Callable[[], Awaitable[None]]] = {}
        self.written = 0
        self._inner = inner

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        return await self._inner.open(account)

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        if not self.dead:
            await self._inner.append(events, state, places)

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        await anyio.lowlevel.checkpoint()
        if "read" in self.before:
            await self.before["read"]()
        return await self._inner.read(after, limit)

    async def places(self) -> Mapping[str, int]:
        return await self._inner.places()

    async def move(self, places: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        if "move" in self.before:
            await self.before["move"]()
        if self.broken is not None:
            raise self.broken
        self.written += 1
        if not self.dead:
            await self._inner.move(places)

    async def forget(self, name: str) -> None:
        await self._inner.forget(name)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Disk:
    """The storage that survives a process: a file, or for journals in memory the journal itself."""

    def __init__(self, path: Path | None, keep: int = 1000) -> None:
        self.journal: Run
        """The journal of the last process."""
        self._path = path
        self._keep = keep
        self._memory = MemoryJournal(keep)

    def watch(self, account: Account, start: Literal["baseline", "replay"] = "baseline") -> Watcher:
        """Return the watcher of a new process."""
        self.journal = Run(self._memory if self._path is None else SqliteJournal(self._path, keep=self._keep))
        return Watcher(account, journal=self.journal, start=start)

    @asynccontextmanager
    async def watching(
        self, account: Account, *, end: str = "left", start: Literal["baseline", "replay"] = "baseline"
    ) -> AsyncIterator[Watcher]:
        """Watch in a new process, which is left or killed at the end."""
        async with self.watch(account, start) as watcher:
            yield watcher
            self.journal.dead = end == "killed"

    async def places(self) -> Mapping[str, int]:
        return await self.journal.places()


def account_with(count: int) -> Account:
    """Return an account with an order, which is event 1, and messages, each named by the number of its event."""
    account = Account(order())
    deliver(account, count)
    return account


def deliver(account: Account, count: int) -> None:
    first = len(account.messages[1]) + 2
    account.messages[1] += [sms(str(number), number) for number in range(first, first + count)]


async def take(events: Subscription, count: int) -> list[int]:
    """Return the numbers of the next events."""
    return seqs([await step(events) for _ in range(count)])


async def step(events: Subscription) -> Event:
    """Return the next event."""
    with anyio.fail_after(LONG):
        return await anext(events)


async def until(watcher: Watcher, seq: int) -> None:
    """Wait until an event has been written."""
    with anyio.fail_after(LONG):
        while watcher.cursor < seq:
            await polls(1)


async def rest(events: Subscription) -> list[int]:
    """Return the numbers of the remaining events until the watcher is left."""
    return seqs([event async for event in events])


def seqs(events: Iterable[Event]) -> list[int]:
    return [event.seq for event in events]


async def waiting(events: Subscription, tasks: anyio.abc.TaskGroup) -> list[Exception]:
    """Start a task that waits for the next event; return a list that gets the exception that ends the wait."""
    raised: list[Exception] = []

    async def wait() -> None:
        try:
            await anext(events)
        except (CursorTaken, StopAsyncIteration) as error:
            raised.append(error)

    tasks.start_soon(wait)
    await let_others_run()
    return raised


async def let_others_run() -> None:
    """Let other tasks run until they wait; no time passes."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def cancelled_after(checkpoints: int, function: Callable[[], Awaitable[Any]]) -> bool:
    """Call a function and cancel it after some scheduler steps. Return True if it ended earlier."""
    ended = False

    async def call() -> None:
        nonlocal ended
        with scope:
            await function()
            ended = True

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        tasks.start_soon(call)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        scope.cancel()
    return ended
