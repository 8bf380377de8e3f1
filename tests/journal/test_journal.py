"""The promises of every journal: order, limits, atomic writes, one watcher at a time, nothing lost."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import assume, given, settings

from smspva_async import (
    Event,
    Journal,
    JournalLocked,
    Lagged,
    Order,
    OrderAdded,
    OrderState,
    OrderUpdated,
    RowSkipped,
    SmsReceived,
    Watcher,
    WatchState,
    event_to_dict,
)
from smspva_async.journal.state import OrderTrack
from tests.support.accounts import START, Account, order, sms
from tests.support.journals import KINDS, Kind, Restart, events
from tests.support.strategies import any_event, assert_same, states
from tests.support.watching import polls

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.anyio
each_kind = pytest.mark.parametrize("kind", KINDS, ids=attrgetter("name"))


@pytest.fixture(params=KINDS, ids=attrgetter("name"))
def restart(request: pytest.FixtureRequest, tmp_path: Path) -> Restart:
    kind: Kind = request.param
    return kind.make(tmp_path, None)


async def opened(restart: Restart) -> Journal:
    journal = restart()
    await journal.open(None)
    return journal


async def filled(restart: Restart, last: int, at_once: int = 1) -> Journal:
    """Return a new journal with events, added a few at a time."""
    journal = restart()
    assert await journal.open(None) is None
    for newest in range(0, last, at_once):
        upto = min(newest + at_once, last)
        await journal.append(events(newest + 1, upto), WatchState(seq=upto), {})
    return journal


async def reopened(journal: Journal, restart: Restart) -> tuple[Journal, WatchState | None]:
    await journal.aclose()
    again = restart()
    return again, await again.open(None)


async def everything(journal: Journal, after: int = 0, limit: int = 500) -> list[Event]:
    """Return all events after a place, in reads of any size."""
    found: list[Event] = []
    while page := await journal.read(after, limit):
        assert len(page) <= limit
        found += page
        after = found[-1].seq
    return found


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_read_returns_the_events_after_a_place_oldest_first(restart: Restart) -> None:
    journal = await filled(restart, 5)
    assert await journal.read(0, 100) == events(1, 5)
    assert await journal.read(3, 100) == events(4, 5)
    assert await journal.read(1, 2) == events(2, 3)
    assert await journal.read(5, 100) == []
    await journal.aclose()


async def test_a_new_journal_has_no_events_and_no_state(restart: Restart) -> None:
    journal = restart()
    assert await journal.open(None) is None
    assert await journal.read(0, 100) == []
    assert await journal.places() == {}
    journal, state = await reopened(journal, restart)
    assert state is None
    await journal.aclose()


PLACES = [0, 1, 255, 256, 257, 511, 512, 1023, 1024, 1975, 1976, 1977, 2047, 2048, 2998, 2999]


async def test_old_and_new_events_are_read_completely_in_pages(restart: Restart) -> None:
    journal = await filled(restart, 3000, at_once=700)
    for again in range(2):
        for place in PLACES:
            assert await journal.read(place, 1) == events(place + 1, place + 1), "each read returns events"
            page = await journal.read(place, 300)
            assert page == events(place + 1, place + len(page))
            assert len(page) <= 300
        assert await everything(journal) == events(1, 3000)
        if not again:
            journal, _ = await reopened(journal, restart)
    await journal.aclose()


async def test_readers_at_many_distant_places_get_the_right_events(restart: Restart) -> None:
    journal = await filled(restart, 7000, at_once=1000)
    random = Random(1)
    for place in random.sample(range(7000), 150):
        page = await journal.read(place, 40)
        assert page == events(place + 1, place + len(page))
        assert page
    await journal.aclose()


async def test_events_added_while_older_ones_are_read_are_read_too(restart: Restart) -> None:
    journal = await filled(restart, 1300, at_once=650)
    given: list[Event] = []
    newest = 1300
    while page := await journal.read(len(given), 100):
        given += page
        if newest < 3000:
            await journal.append(events(newest + 1, newest + 99), WatchState(seq=newest + 99), {})
            newest += 99
    assert given == events(1, newest)
    await journal.aclose()


async def test_reading_after_the_newest_raises_lagged_also_after_a_restart(restart: Restart) -> None:
    journal = await filled(restart, 5)
    with pytest.raises(Lagged, match="hasn't happened") as caught:
        await journal.read(6, 100)
    assert caught.value.resume == 5
    journal, _ = await reopened(journal, restart)
    with pytest.raises(Lagged, match="hasn't happened") as caught:
        await journal.read(6, 100)
    assert caught.value.resume == 5
    await journal.aclose()


@each_kind
@pytest.mark.parametrize(("keep", "last"), [(1, 1), (1, 9), (5, 5), (5, 6), (5, 11), (300, 2000), (1500, 2000)])
async def test_a_journal_keeps_the_newest_events_and_raises_lagged_for_older_ones(
    kind: Kind, keep: int, last: int, tmp_path: Path
) -> None:
    restart = kind.make(tmp_path, keep)
    journal = await filled(restart, last, at_once=1 if last < 100 else 200)
    oldest = max(0, last - keep)
    for again in range(2):
        assert await everything(journal, oldest) == events(oldest + 1, last)
        assert await journal.read(oldest, 1) == events(oldest + 1, oldest + 1)
        for place in {0, oldest // 2, oldest - 1} if oldest else ():
            with pytest.raises(Lagged, match="no longer kept") as caught:
                await journal.read(place, 100)
            assert caught.value.resume == oldest
        if not again:
            journal, _ = await reopened(journal, restart)
    await journal.aclose()


@each_kind
@pytest.mark.parametrize("again", [False, True])
async def test_a_caught_up_reader_can_read_a_write_larger_than_keep(kind: Kind, tmp_path: Path, *, again: bool) -> None:
    restart = kind.make(tmp_path, 3)
    journal = await filled(restart, 5)
    await journal.append(events(6, 25), WatchState(seq=25), {})
    if again:
        journal, _ = await reopened(journal, restart)
    assert await journal.read(5, 100) == events(6, 25)
    with pytest.raises(Lagged) as caught:
        await journal.read(4, 100)
    assert caught.value.resume == 5
    await journal.append([], WatchState(seq=25), {})
    assert await journal.read(5, 100) == events(6, 25), "a write without events drops nothing"
    await journal.append(events(26, 26), WatchState(seq=26), {})
    if again:
        journal, _ = await reopened(journal, restart)
    assert await journal.read(23, 100) == events(24, 26)
    with pytest.raises(Lagged) as caught:
        await journal.read(22, 100)
    assert caught.value.resume == 23
    await journal.aclose()


@each_kind
async def test_a_caught_up_subscription_gets_all_of_a_poll_larger_than_keep(kind: Kind, tmp_path: Path) -> None:
    account = Account(order())
    async with Watcher(account, journal=kind.make(tmp_path, 3)()) as watcher:
        events = watcher.events(after=0)
        assert (await anext(events)).seq == 1
        for first in (2, 22):
            account.listed += [order(order_id) for order_id in range(first, first + 20)]
            await polls(1)
            assert watcher.cursor == first + 19
            assert [(await anext(events)).seq for _ in range(20)] == list(range(first, first + 20))
        with pytest.raises(Lagged) as caught:
            await anext(watcher.events(after=20))
        assert caught.value.resume == 21


# -- writing ---------------------------------------------------------------------------------------------------------


async def test_events_state_and_places_survive_a_restart_together(restart: Restart) -> None:
    journal = await opened(restart)
    state = WatchState(seq=2, since=START)
    await journal.append(events(1, 2), state, {"a": 1, "b": 0})
    journal, stored = await reopened(journal, restart)
    assert stored == state
    assert await journal.read(0, 10) == events(1, 2)
    assert await journal.places() == {"a": 1, "b": 0}
    await journal.append([], state, {"a": 2})
    journal, stored = await reopened(journal, restart)
    assert stored == state
    assert await journal.places() == {"a": 2, "b": 0}
    await journal.aclose()


async def test_a_state_can_change_without_an_event(restart: Restart) -> None:
    journal = await filled(restart, 2)
    await journal.append([], WatchState(seq=2, replay=True), {})
    journal, state = await reopened(journal, restart)
    assert state == WatchState(seq=2, replay=True)
    assert await journal.read(0, 10) == events(1, 2)
    await journal.aclose()


async def test_events_continue_the_numbers_of_the_previous_run(restart: Restart) -> None:
    journal = await filled(restart, 3)
    journal, _ = await reopened(journal, restart)
    await journal.append(events(4, 5), WatchState(seq=5), {})
    assert await journal.read(0, 10) == events(1, 5)
    journal, state = await reopened(journal, restart)
    assert state == WatchState(seq=5)
    assert await journal.read(2, 10) == events(3, 5)
    await journal.aclose()


async def test_an_event_comes_back_with_fields_that_equality_ignores(restart: Restart) -> None:
    changed = order(1, extra={"provider": ["B", None, {"deep": 0.1}]})
    message = evolve(sms("text", None, None), extra={"cost": "1.50"})
    written: list[Event] = [
        OrderAdded(changed, seq=1, id="a", at=START, order_id=1),
        SmsReceived(changed, message, seq=2, id="b", at=START, order_id=1),
        RowSkipped("?", {"id": [1, "x", None]}, seq=3, id="c", at=START),
    ]
    journal = await opened(restart)
    await journal.append(written, WatchState(seq=3), {})
    journal, _ = await reopened(journal, restart)
    read = await journal.read(0, 10)
    assert read == written
    assert [event_to_dict(event) for event in read] == [event_to_dict(event) for event in written]
    await journal.aclose()


def track(order_id: int, *texts: str, removed_at: datetime | None = None) -> OrderTrack:
    counts = {text: number for number, text in enumerate(texts, 1)}
    return OrderTrack(order(order_id), START, counts=counts, removed_at=removed_at)


STATES = [
    WatchState(seq=1, tracks={1: track(1, "a", "b"), 2: track(2, "a"), 3: track(3)}),
    WatchState(seq=2, tracks={1: track(1, "b"), 3: track(3, "a")}, removed={2: track(2, "a", removed_at=START)}),
    WatchState(seq=3, tracks={3: track(3)}, removed={1: track(1, "b", "a", removed_at=START)}),
    WatchState(seq=4, tracks={1: track(1), 2: track(2, "z")}, skipped=("x", "y")),
    WatchState(seq=5),
]


async def test_a_state_replaces_the_previous_one_completely(restart: Restart) -> None:
    journal = await opened(restart)
    for state in [*STATES, *reversed(STATES)]:
        await journal.append([], state, {})
        journal, stored = await reopened(journal, restart)
        assert stored == state
    await journal.aclose()


async def test_changes_within_a_run_are_written(restart: Restart) -> None:
    journal = await opened(restart)
    for before, after in pairwise([*STATES, *reversed(STATES)]):
        kept = {key: known for key, known in before.tracks.items() if key in after.tracks}
        between = evolve(after, tracks={**after.tracks, **kept})
        for state in (before, between, after):
            await journal.append([], state, {})
    journal, stored = await reopened(journal, restart)
    assert stored == STATES[0]
    await journal.aclose()


LITTLE_KNOWN = Order(
    id=1,
    services=(),
    service_name="",
    state=OrderState.UNKNOWN,
    phone="",
    country="",
    has_new_sms=None,
    until=None,
    raw_state=None,
    extra={"until": [[]]},
)
SEVERAL_SERVICES = order(2, services=("opt16", "opt29"), can_prolong=False, raw_state="0")


@pytest.mark.parametrize("kept", [LITTLE_KNOWN, SEVERAL_SERVICES, evolve(LITTLE_KNOWN, raw_state="asleep")])
async def test_an_order_survives_a_restart_in_state_and_events(restart: Restart, kept: Order) -> None:
    journal = await opened(restart)
    written: list[Event] = [
        OrderAdded(kept, seq=1, id="1", at=START, order_id=kept.id),
        OrderUpdated(kept, order(kept.id), seq=2, id="2", at=START, order_id=kept.id),
    ]
    state = WatchState(seq=2, tracks={kept.id: OrderTrack(kept, START)})
    await journal.append(written, state, {})
    journal, stored = await reopened(journal, restart)
    read = await journal.read(0, 10)
    await journal.aclose()
    assert (stored, read) == (state, written)
    assert stored is not None
    found = [*stored.orders.values(), stored.tracks[kept.id].order]
    found += [event.order for event in read if isinstance(event, OrderAdded | OrderUpdated)]
    for again in found:
        assert (repr(again), again.extra) == (repr(kept), kept.extra), "0 and '0' are two things"


@each_kind
@settings(max_examples=settings().max_examples // 2)
@given(before=states(), after=states())
def test_any_state_survives_a_restart(kind: Kind, before: WatchState, after: WatchState) -> None:
    assume(evolve(after, clock=before.clock) != before)  # a change of the clock alone isn't written

    async def main() -> None:
        with TemporaryDirectory() as folder:
            restart = kind.make(Path(folder), None)
            journal = await opened(restart)
            for state in (before, after):
                await journal.append([], state, {})
                journal, stored = await reopened(journal, restart)
                assert_same(stored, state)
            await journal.aclose()

    asyncio.run(main())


@each_kind
@given(any_event)
def test_any_event_survives_a_restart(kind: Kind, event: Event) -> None:
    first = evolve(event, seq=1)

    async def main() -> None:
        with TemporaryDirectory() as folder:
            restart = kind.make(Path(folder), None)
            journal = await opened(restart)
            await journal.append([first], WatchState(seq=1), {})
            journal, _ = await reopened(journal, restart)
            assert await journal.read(0, 1) == [first]
            await journal.aclose()

    asyncio.run(main())


# -- named cursors ---------------------------------------------------------------------------------------------------


async def test_a_place_only_moves_forward(restart: Restart) -> None:
    journal = await filled(restart, 9)
    await journal.move({"a": 5, "b": 3})
    await journal.move({"a": 4, "b": 6, "c": 0})
    assert await journal.places() == {"a": 5, "b": 6, "c": 0}
    await journal.append([], WatchState(seq=9), {"a": 1, "b": 7})
    assert await journal.places() == {"a": 5, "b": 7, "c": 0}
    journal, _ = await reopened(journal, restart)
    await journal.move({"a": 2})
    assert await journal.places() == {"a": 5, "b": 7, "c": 0}
    await journal.aclose()


async def test_a_forgotten_name_begins_again(restart: Restart) -> None:
    journal = await filled(restart, 9)
    await journal.move({"a": 5, "b": 3})
    await journal.forget("a")
    await journal.forget("nobody")
    assert await journal.places() == {"b": 3}
    journal, _ = await reopened(journal, restart)
    assert await journal.places() == {"b": 3}
    await journal.move({"a": 2})
    assert await journal.places() == {"a": 2, "b": 3}
    await journal.aclose()


@pytest.mark.parametrize("name", ["", "'; DROP TABLE cursors; --", "имя", "a\nb", "\0", "x" * 5000])
async def test_a_name_can_be_any_text(restart: Restart, name: str) -> None:
    journal = await filled(restart, 3)
    await journal.move({name: 2})
    journal, _ = await reopened(journal, restart)
    assert await journal.places() == {name: 2}
    await journal.forget(name)
    assert await journal.places() == {}
    await journal.aclose()


async def test_places_returns_a_copy(restart: Restart) -> None:
    journal = await filled(restart, 3)
    handed = {"a": 1}
    await journal.move(handed)
    handed["a"] = 3
    dict(await journal.places())["a"] = 3
    assert await journal.places() == {"a": 1}
    await journal.aclose()


# -- one watcher at a time -------------------------------------------------------------------------------------------


async def test_a_journal_has_one_watcher_at_a_time(restart: Restart) -> None:
    journal = await filled(restart, 2)
    for second in (journal, restart()):
        with pytest.raises(JournalLocked):
            await second.open(None)
    await journal.append(events(3, 3), WatchState(seq=3), {})
    journal, state = await reopened(journal, restart)
    assert state == WatchState(seq=3)
    await journal.aclose()


async def test_a_released_journal_can_be_read_and_its_cursors_moved(restart: Restart) -> None:
    journal = await filled(restart, 3000, at_once=1000)
    await journal.aclose()
    assert await everything(journal) == events(1, 3000)
    await journal.move({"a": 1})
    await journal.move({"a": 5, "b": 4})
    await journal.forget("b")
    assert await journal.places() == {"a": 5}
    await journal.aclose()
    journal, state = await reopened(journal, restart)
    assert state == WatchState(seq=3000)
    assert await journal.places() == {"a": 5}
    await journal.aclose()


async def test_a_released_journal_can_be_opened_again(restart: Restart) -> None:
    journal = await filled(restart, 2)
    await journal.aclose()
    for newest in (3, 4):
        assert await journal.open(None) == WatchState(seq=newest - 1)
        await journal.append(events(newest, newest), WatchState(seq=newest), {})
        await journal.aclose()
    assert await journal.read(0, 10) == events(1, 4)


async def test_a_reopened_journal_has_the_events_of_another_watcher(restart: Restart) -> None:
    first = await filled(restart, 2)
    second, _ = await reopened(first, restart)
    await second.append(events(3, 5), WatchState(seq=5), {"a": 4})
    await second.aclose()
    assert await first.open(None) == WatchState(seq=5)
    assert await first.read(0, 10) == events(1, 5)
    assert await first.places() == {"a": 4}
    await first.aclose()
