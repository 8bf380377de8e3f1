"""A consumer of a name after another: whatever happens to them, in any order."""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from smspva_async import CursorTaken
from tests.support.backends import virtual_time
from tests.support.consumers import Disk, account_with, cancelled_after, deliver, seqs, step, until

if TYPE_CHECKING:
    from smspva_async import Event, Subscription, Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

ACTIONS = st.one_of(
    st.tuples(st.just("arrive"), st.integers(1, 3)),
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.just("next, cancelled"), st.integers(0, 8)),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.just("ack, cancelled"), st.integers(0, 60)),
    st.tuples(st.just("take over"), st.integers(0, 1)),
    st.tuples(st.just("leave"), st.integers(0, 1)),
    st.tuples(st.just("kill"), st.integers(0, 1)),
)


class Consumer:
    """One consumer after another under one name, and what may be expected of the events it is given."""

    def __init__(self, disk: Disk) -> None:
        self.given: dict[int, Event] = {}
        """All that were ever given."""
        self._disk = disk
        self._account = account_with(1)
        self._auto_ack = True
        self._begin(0, 0)

    def _begin(self, least: int, greatest: int) -> None:
        self._least = least
        self._greatest = greatest  # another one, when a step was cancelled that would have told the journal
        self._here: list[Event] = []
        self._acked: set[int] = set()
        self._tried: set[int] = set()

    def _bounds(self) -> tuple[int, int]:
        """Return the least and the greatest place that the name may have."""
        if not self._here:
            return self._least, self._greatest
        begun = self._here[0].seq - 1
        least, greatest = (
            next(seq for seq in itertools.count(begun + 1) if seq not in done) - 1
            for done in (self._acked, self._acked | self._tried)
        )
        # Before its first event is acknowledged, the place may be behind where this consumer began.
        return (self._least if least == begun else least), greatest

    async def live(self, actions: list[tuple[str, int]]) -> None:
        script = [*actions, ("leave", 1)]
        while script:
            async with self._disk.watch(self._account, start="replay") as watcher:
                events = self._subscribe(watcher)
                while True:
                    what, number = script.pop(0)
                    if what in ("leave", "kill"):
                        break
                    events = await self._do(what, number, watcher, events)
                await until(watcher, len(self._account.messages[1]) + 1)
                self._disk.journal.dead = what == "kill"
            if not script:
                await self._finish(events, len(self._account.messages[1]) + 1)
            if not number:
                self._auto_ack = not self._auto_ack
            self._begin(*self._bounds())

    def _subscribe(self, watcher: Watcher) -> Subscription:
        return watcher.events("name", auto_ack=self._auto_ack)

    async def _do(self, what: str, number: int, watcher: Watcher, events: Subscription) -> Subscription:
        match what:
            case "arrive":
                deliver(self._account, number)
                await until(watcher, len(self._account.messages[1]) + 1)
            case "next":
                await until(watcher, len(self._account.messages[1]) + 1)
                if (self._here[-1].seq if self._here else self._greatest) < watcher.cursor:
                    await self._next(events)
            case "next, cancelled":
                await cancelled_after(number, partial(self._next, events))
            case "ack" if self._here:
                await self._ack(events, number)
            case "ack, cancelled" if self._here:
                await cancelled_after(number // 10, partial(self._ack, events, number))
            case "take over":
                self._auto_ack = bool(number)
                older, events = events, self._subscribe(watcher)
                self._begin(*self._bounds())
                with pytest.raises(CursorTaken):
                    await step(older)
            case _:
                pass
        return events

    async def _next(self, events: Subscription) -> None:
        if self._auto_ack:
            self._tried.update(seqs(self._here))
        self._take(await step(events))
        if self._auto_ack:
            self._acked.update(seqs(self._here[:-1]))

    def _take(self, event: Event) -> None:
        if self._here:
            assert event.seq == self._here[-1].seq + 1, "one was passed over, or given twice"
        else:
            assert self._least < event.seq <= self._greatest + 1, "the name began where it wasn't left"
        assert self.given.setdefault(event.seq, event) == event
        self._here.append(event)

    async def _ack(self, events: Subscription, number: int) -> None:
        event = self._here[number % len(self._here)]
        self._tried.add(event.seq)
        await events.ack(event)
        self._acked.add(event.seq)

    async def _finish(self, events: Subscription, newest: int) -> None:
        async for event in events:
            self._take(event)
        assert [*sorted(self.given)] == [*range(1, newest + 1)]
        assert len({event.id for event in self.given.values()}) == newest


@pytest.mark.parametrize("where", ["memory", "sqlite"])
def test_whatever_happens_each_event_is_given_and_none_again_that_is_done(anyio_backend_name: str, where: str) -> None:
    most = settings().max_examples

    @settings(max_examples=most if where == "memory" else most // 8, suppress_health_check=[*HealthCheck])
    @given(st.lists(ACTIONS, max_size=30))
    def check(actions: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            disk = Disk(None if where == "memory" else Path(folder) / "journal")
            options = virtual_time(anyio_backend_name)
            anyio.run(Consumer(disk).live, actions, backend=anyio_backend_name, backend_options=options)

    check()
