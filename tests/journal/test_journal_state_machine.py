"""A journal under random actions behaves like a simple model."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest
from attrs import evolve
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from smspva_async import Event, Journal, JournalLocked, Lagged, WatchState
from tests.support.journals import KINDS, Kind, events
from tests.support.strategies import numbered, tracks

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from smspva_async.journal.state import OrderTrack

T = TypeVar("T")

NAMES = st.sampled_from(["a", "b", "c"])
ORDERS = st.integers(1, 4)


class JournalMachine(RuleBasedStateMachine):
    """A journal, and a model of its content."""

    kind: ClassVar[Kind]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = TemporaryDirectory()
        self.is_open = False
        self.events: list[Event] = []
        self.oldest = 0
        self.places: dict[str, int] = {}
        self.stored: WatchState | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        if self.is_open:
            self.run(self.journal.aclose())
        self.runner.close()
        self.folder.cleanup()

    @property
    def newest(self) -> int:
        return len(self.events)

    @initialize(keep=st.sampled_from([None, 1, 3, 300, 1500]))
    def create(self, keep: int | None) -> None:
        self.keep = keep
        self.restart = self.kind.make(Path(self.folder.name), keep)
        self.journal: Journal = self.restart()
        self.open()

    @precondition(lambda self: not self.is_open)
    @rule()
    def open(self) -> None:
        stored = self.run(self.journal.open(None))
        assert (stored or WatchState()) == (self.stored or WatchState())
        self.is_open = True

    @precondition(lambda self: not self.is_open)
    @rule()
    def open_in_new_run(self) -> None:
        self.journal = self.restart()
        self.open()

    @precondition(lambda self: self.is_open)
    @rule(crash=st.booleans())
    def close(self, *, crash: bool) -> None:
        self.run(self.journal.aclose())
        self.is_open = False
        if crash:
            self.open_in_new_run()

    @precondition(lambda self: self.is_open)
    @rule(same=st.booleans())
    def second_open_is_refused(self, *, same: bool) -> None:
        second = self.journal if same else self.restart()
        with pytest.raises(JournalLocked):
            self.run(second.open(None))

    @precondition(lambda self: self.is_open)
    @rule(
        count=st.integers(0, 5) | st.sampled_from([250, 1100]),
        changed=st.dictionaries(ORDERS, tracks, max_size=2),
        removed=st.sets(ORDERS, max_size=2),
        lost=st.sets(ORDERS, max_size=1),
        places=st.dictionaries(NAMES, st.floats(0, 1), max_size=2),
    )
    def append(
        self, count: int, changed: dict[int, OrderTrack], removed: set[int], lost: set[int], places: dict[str, float]
    ) -> None:
        new = events(self.newest + 1, self.newest + count)
        self.events += new
        state = self.stored or WatchState()
        known = {**state.tracks, **numbered(changed)}
        state = evolve(
            state,
            seq=self.newest,
            tracks={key: track for key, track in known.items() if key not in removed | lost},
            removed={
                **{key: track for key, track in state.removed.items() if key not in lost | changed.keys()},
                **{key: track for key, track in known.items() if key in removed - lost},
            },
        )
        moved = {name: int(part * self.newest) for name, part in places.items()}
        self.run(self.journal.append(new, state, moved))
        self.stored = state
        self.record_moves(moved)
        if new and self.keep is not None:
            bound = self.newest - max(self.keep, count)
            if not self.kind.drops_unread:
                bound = min([bound, *self.places.values()])
            self.oldest = max(self.oldest, bound)

    def record_moves(self, moved: dict[str, int]) -> None:
        for name, place in moved.items():
            self.places[name] = max(place, self.places.get(name, 0))

    @rule(name=NAMES, part=st.floats(0, 1))
    def move(self, name: str, part: float) -> None:
        moved = {name: int(part * self.newest)}
        self.run(self.journal.move(moved))
        self.record_moves(moved)

    @rule(name=NAMES)
    def forget(self, name: str) -> None:
        self.run(self.journal.forget(name))
        self.places.pop(name, None)

    @rule()
    def read_places(self) -> None:
        assert self.run(self.journal.places()) == self.places

    @rule(part=st.floats(0, 1), beyond=st.integers(-2, 2), limit=st.sampled_from([1, 2, 100, 5000]))
    def read(self, part: float, beyond: int, limit: int) -> None:
        place = max(0, int(part * self.newest) + beyond)
        if self.oldest <= place <= self.newest:
            found = self.run(self.journal.read(place, limit))
            assert found == self.events[place : place + len(found)]
            assert len(found) <= limit
            assert found or place == self.newest
        else:
            with pytest.raises(Lagged) as caught:
                self.run(self.journal.read(place, limit))
            assert caught.value.resume == (self.oldest if place < self.oldest else self.newest)

    @rule(part=st.floats(0, 1))
    def read_to_the_end(self, part: float) -> None:
        place = self.oldest + int(part * (self.newest - self.oldest))
        while page := self.run(self.journal.read(place, 400)):
            assert page == self.events[place : place + len(page)]
            place += len(page)
        assert place == self.newest


@pytest.mark.parametrize("kind", KINDS, ids=attrgetter("name"))
def test_a_journal_equals_its_model(kind: Kind) -> None:
    machine = type("Machine", (JournalMachine,), {"kind": kind})
    examples = settings().max_examples // 2
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30))
