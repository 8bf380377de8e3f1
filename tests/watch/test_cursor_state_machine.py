"""Successive consumers of one name, under random actions."""

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
from tests.support.consumers import WRITTEN, Disk, account_with, cancelled_after, deliver, seqs, step, until

if TYPE_CHECKING:
    from smspva_async import Consumer, Event, Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]

MANY = 60
"""More events than a kill may repeat."""
AGAIN = 50
ACTIONS = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from([1, 2, 3, MANY])),
    st.tuples(st.just("next"), st.sampled_from([1, 1, 2, MANY])),
    st.tuples(st.just("next"), st.sampled_from([1, 1, 2, MANY])),
    st.tuples(st.just("next, cancelled"), st.integers(0, 8)),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.just("ack"), st.integers(0, 10)),
    st.tuples(st.just("ack, cancelled"), st.integers(0, 60)),
    st.tuples(st.just("sleep, in tenths of a second"), st.sampled_from([1, 3, 11])),
    st.tuples(st.just("take over"), st.integers(0, 1)),
    st.tuples(st.just("close"), st.integers(0, 1)),
    st.tuples(st.just("close, cancelled"), st.integers(0, 8)),
    st.tuples(st.just("leave"), st.integers(0, 1)),
    st.tuples(st.just("kill"), st.integers(0, 1)),
)


class Consumers:
    """Successive consumers of one name, and the bounds for the events that they return."""

    def __init__(self, disk: Disk) -> None:
        self.given: dict[int, Event] = {}
        """All events that were returned."""
        self._disk = disk
        self._account = account_with(1)
        self._auto_ack = True
        self._written = 0
        """The least place that the journal may have."""
        self._reached: list[tuple[float, int]] = []
        """Places of this run that the journal may lack, and when they were reached."""
        self._begin(0, 0)

    def _begin(self, least: int, greatest: int) -> None:
        self._least = least
        self._greatest = greatest  # larger than `least` if a cancelled step may have moved the place
        self._here: list[Event] = []
        self._acked: set[int] = set()
        self._tried: set[int] = set()

    def _bounds(self) -> tuple[int, int]:
        """Return the least and the greatest place that the name may have in this process."""
        if not self._here:
            return self._least, self._greatest
        begun = self._here[0].seq - 1
        least, greatest = (
            next(seq for seq in itertools.count(begun + 1) if seq not in done) - 1
            for done in (self._acked, self._acked | self._tried)
        )
        # Before the first event is acknowledged, the place may be less than where this consumer began.
        return (self._least if least == begun else least), greatest

    def _record_place(self) -> None:
        """Record the current place. The journal must have the places of more than a second ago."""
        now = anyio.current_time()
        self._reached.append((now, self._bounds()[0]))
        while self._reached[0][0] < now - WRITTEN:
            self._record_written(self._reached.pop(0)[1])

    def _record_written(self, place: int) -> None:
        self._written = max(self._written, place)

    async def run(self, actions: list[tuple[str, int]]) -> None:
        script = [*actions, ("leave", 1)]
        while script:
            async with self._disk.watch(self._account, start="replay") as watcher:
                events = self._subscribe(watcher)
                while True:
                    what, number = script.pop(0)
                    if what in ("leave", "kill"):
                        break
                    events = await self._act(what, number, watcher, events)
                    self._record_place()
                await until(watcher, len(self._account.messages[1]) + 1)
                self._record_place()
                self._disk.journal.dead = what == "kill"
            if what == "leave":
                self._record_written(self._bounds()[0])
            self._reached.clear()
            stored = (await self._disk.places()).get("name", 0)
            assert self._written <= stored <= self._bounds()[1]
            if not script:
                await self._finish(events, len(self._account.messages[1]) + 1)
            if not number:
                self._auto_ack = not self._auto_ack
            self._begin(self._written, self._bounds()[1])

    def _subscribe(self, watcher: Watcher) -> Consumer:
        return watcher.consumer("name", auto_ack=self._auto_ack)

    async def _act(self, what: str, number: int, watcher: Watcher, events: Consumer) -> Consumer:
        """Perform an action on a consumer, and return the consumer that owns the name afterwards."""
        match what:
            case "take over":
                new = self._taken_over(watcher, number)
                with pytest.raises(CursorTaken):
                    await step(events)
                return new
            case "close":
                await events.aclose()
                self._record_written(self._bounds()[0])
                with pytest.raises(StopAsyncIteration):
                    await step(events)
                return self._taken_over(watcher, number)
            case "close, cancelled":
                if await cancelled_after(number, events.aclose):
                    self._record_written(self._bounds()[0])
                return self._taken_over(watcher, number % 2)
            case _:
                await self._act_on(what, number, watcher, events)
                return events

    async def _act_on(self, what: str, number: int, watcher: Watcher, events: Consumer) -> None:
        match what:
            case "arrive":
                deliver(self._account, number)
                await until(watcher, len(self._account.messages[1]) + 1)
            case "next":
                await until(watcher, len(self._account.messages[1]) + 1)
                left = watcher.cursor - (self._here[-1].seq if self._here else self._greatest)
                for _ in range(min(number, left)):
                    await self._next(events)
            case "next, cancelled":
                await cancelled_after(number, partial(self._next, events))
            case "ack" if self._here:
                await self._ack(events, number)
            case "ack, cancelled" if self._here:
                await cancelled_after(number // 10, partial(self._ack, events, number))
            case "sleep, in tenths of a second":
                self._record_place()
                await anyio.sleep(number / 10)
            case _:
                pass

    def _taken_over(self, watcher: Watcher, auto_ack: int) -> Consumer:
        self._auto_ack = bool(auto_ack)
        self._begin(*self._bounds())
        return self._subscribe(watcher)

    async def _next(self, events: Consumer) -> None:
        if self._auto_ack:
            self._tried.update(seqs(self._here))
        self._check_next(await step(events))
        if self._auto_ack:
            self._acked.update(seqs(self._here[:-1]))
            # The last event isn't acknowledged, so it counts among the events that a kill may repeat.
            self._record_written(self._bounds()[0] - (AGAIN - 1))

    def _check_next(self, event: Event) -> None:
        if self._here:
            assert event.seq == self._here[-1].seq + 1, "an event was skipped or repeated"
        else:
            assert self._least < event.seq <= self._greatest + 1, "the name began at a wrong place"
        assert self.given.setdefault(event.seq, event) == event
        self._here.append(event)

    async def _ack(self, events: Consumer, number: int) -> None:
        event = self._here[number % len(self._here)]
        self._tried.add(event.seq)
        await events.ack(event)
        self._acked.add(event.seq)
        if event.seq <= self._bounds()[0]:
            self._record_written(self._bounds()[0])

    async def _finish(self, events: Consumer, newest: int) -> None:
        async for event in events:
            self._check_next(event)
        assert [*sorted(self.given)] == [*range(1, newest + 1)]
        assert len({event.id for event in self.given.values()}) == newest


@pytest.mark.parametrize("where", ["memory", "sqlite"])
def test_each_event_is_delivered_and_few_acknowledged_events_are_repeated(anyio_backend_name: str, where: str) -> None:
    most = settings().max_examples

    @settings(max_examples=most if where == "memory" else most // 8, suppress_health_check=[*HealthCheck])
    @given(st.lists(ACTIONS, max_size=30))
    def check(actions: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            disk = Disk(None if where == "memory" else Path(folder) / "journal")
            options = virtual_time(anyio_backend_name)
            anyio.run(Consumers(disk).run, actions, backend=anyio_backend_name, backend_options=options)

    check()
