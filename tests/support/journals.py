"""Helpers for the tests of journals: each kind of journal, and strategies for events and states."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from attrs import evolve, frozen
from hypothesis import strategies as st

from smspva_async import (
    Event,
    Journal,
    JournalLocked,
    Lagged,
    MemoryJournal,
    Order,
    OrderAdded,
    OrderExpiring,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    Sms,
    SmsReceived,
    SqliteJournal,
    StateChanged,
    WatchState,
    event_from_dict,
    event_to_dict,
)
from smspva_async.journal.state import OrderTrack
from tests.support.watching import START

Restart: TypeAlias = Callable[[], Journal]
"""Returns a journal as a new run of the program has it: what was kept is in it."""


@frozen
class Kind:
    """A kind of journal that is held to the protocol.

    Attributes:
        name: What to call it in a test's id.
        make: Given a folder and how many events to keep (None: all of a test's), returns a new one.
        drops_unread: Whether it drops events that a named cursor has not read.

    """

    name: str
    make: Callable[[Path, int | None], Restart]
    drops_unread: bool


def _memory(_: Path, keep: int | None) -> Restart:
    journal = MemoryJournal() if keep is None else MemoryJournal(keep)
    return lambda: journal


def _sqlite(folder: Path, keep: int | None) -> Restart:
    return lambda: SqliteJournal(folder / "journal.db", keep=keep)


class JsonJournal:
    """A journal as a user may write one, from public names alone: a file with a line of JSON for each write."""

    _open: ClassVar[set[Path]] = set()

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self._path = path
        self._keep = keep
        self._is_mine = False
        self._forget_all()

    def _forget_all(self) -> None:
        self._events: list[Event] = []
        self._newest = 0
        self._state: WatchState | None = None
        self._places: dict[str, int] = {}

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:  # noqa: ARG002 - it is of one account
        if self._path in self._open:
            raise JournalLocked("another watcher has it")
        self._open.add(self._path)
        self._is_mine = True
        self._forget_all()
        if self._path.exists():
            for line in self._path.read_text(encoding="ascii").splitlines():
                self._apply(json.loads(line))
        return self._state

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        assert self._is_mine
        new = [event_to_dict(event) for event in events]
        self._write({"events": new, "state": state.to_dict(), "places": dict(places)})

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        oldest = self._newest - len(self._events)
        if after > self._newest:
            raise Lagged(f"event {after} hasn't happened", resume=self._newest)
        if after < oldest:
            raise Lagged("the events are no longer kept", resume=oldest)
        return self._events[after - oldest : after - oldest + limit]

    async def places(self) -> Mapping[str, int]:
        return dict(self._places)

    async def move(self, places: Mapping[str, int]) -> None:
        self._write({"places": dict(places)})

    async def forget(self, name: str) -> None:
        self._write({"forget": name})

    async def aclose(self) -> None:
        if self._is_mine:
            self._open.discard(self._path)
        self._is_mine = False

    def _write(self, record: dict[str, Any]) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.write(f"{json.dumps(record)}\n")
        self._apply(record)

    def _apply(self, record: dict[str, Any]) -> None:
        new = [event_from_dict(event) for event in record.get("events", ())]
        self._events += new
        self._newest += len(new)
        if new and self._keep is not None:
            # As many as were added, so that a reader that was caught up gets them all.
            self._events = self._events[-max(self._keep, len(new)) :]
        if "state" in record:
            self._state = WatchState.from_dict(record["state"])
        for name, place in record.get("places", {}).items():
            self._places[name] = max(place, self._places.get(name, 0))
        if "forget" in record:
            self._places.pop(record["forget"], None)


def _json(folder: Path, keep: int | None) -> Restart:
    return lambda: JsonJournal(folder / "journal.jsonl", keep)


# Another kind is added here, and to no test.
KINDS = [
    Kind("memory", _memory, drops_unread=True),
    Kind("sqlite", _sqlite, drops_unread=False),
    Kind("json", _json, drops_unread=True),
]


def recovered(seq: int) -> PollRecovered:
    return PollRecovered(seq / 8, seq=seq, id=str(seq), at=START + timedelta(seconds=seq))


def events(first: int, last: int) -> list[Event]:
    """Return the events with these numbers, each a second after the one before."""
    return [recovered(seq) for seq in range(first, last + 1)]


# -- anything --------------------------------------------------------------------------------------------------------

_letters = st.characters(exclude_categories=())  # half of a pair as well, which JSON may have
texts = st.text(_letters, max_size=12)
dates = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it
spans = st.timedeltas(timedelta(0), timedelta(days=400))
numbers = st.integers(1, 2**63 - 1)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
extras = st.dictionaries(texts, any_json, max_size=2)
orders = st.builds(
    Order,
    id=numbers,
    services=st.lists(texts, max_size=2).map(tuple),
    service_name=texts,
    state=st.sampled_from(OrderState),
    phone=texts,
    country=texts,
    has_new_sms=st.none() | st.booleans(),
    until=st.none() | dates,
    can_prolong=st.none() | st.booleans(),
    can_prolong_days=st.none() | st.integers(),
    can_prolong_until=st.none() | dates,
    last_online=st.none() | dates,
    raw_state=st.none() | st.integers() | texts,
    extra=extras,
)
messages = st.builds(
    Sms, text=texts, sender=st.none() | texts, received=st.none() | dates, other=st.booleans(), extra=extras
)
_base = {"seq": numbers, "id": texts, "at": dates, "order_id": st.none() | numbers}
any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(OrderAdded, order=orders, **_base),
    st.builds(OrderUpdated, order=orders, previous=orders, **_base),
    st.builds(OrderRemoved, order=orders, expired=st.booleans(), **_base),
    st.builds(OrderExpiring, order=orders, left=spans, **_base),
    st.builds(
        StateChanged,
        order=orders,
        previous=st.sampled_from(OrderState),
        current=st.sampled_from(OrderState),
        **_base,
    ),
    st.builds(SmsReceived, order=orders, sms=messages, **_base),
    st.builds(PollFailed, kind=texts, message=texts, **_base),
    st.builds(PollRecovered, downtime=st.floats(0, 1e9), **_base),
    st.builds(RowSkipped, reason=texts, raw=any_json, **_base),
)
counts = st.dictionaries(st.text("AZaz09+/=-", min_size=1, max_size=24), st.integers(1, 1000), max_size=3)
moments = st.floats(0, 1e9)
tracks = st.builds(
    OrderTrack,
    order=orders,
    seen_at=dates,
    in_baseline=st.booleans(),
    counts=counts,
    is_read=st.booleans(),
    read_had_new=st.booleans(),
    flag_seen=st.booleans(),
    flag_rose=st.booleans(),
    rose_at=st.none() | moments,
    missing_since=st.none() | moments,
    missing_polls=st.integers(0, 100),
    suspected_at=st.none() | moments,
    failing_since=st.none() | moments,
    expiry_noticed=st.none() | dates,
)


def numbered(tracks: Mapping[int, OrderTrack]) -> dict[int, OrderTrack]:
    """Return tracks whose orders have the ids under which they stand."""
    return {order_id: evolve(track, order=evolve(track.order, id=order_id)) for order_id, track in tracks.items()}


@st.composite
def states(draw: st.DrawFn) -> WatchState:
    """Return any state: all of its fields, and tracks of any kind."""
    listed = numbered(draw(st.dictionaries(numbers, tracks, max_size=3)))
    others = numbers.filter(lambda number: number not in listed)
    removed = numbered(draw(st.dictionaries(others, tracks, max_size=3)))
    removals = sorted(draw(st.lists(dates, min_size=len(removed), max_size=len(removed), unique=True)))
    return WatchState(
        seq=draw(st.integers(1, 2**62)),
        clock=draw(moments),
        replay=draw(st.booleans()),
        since=draw(st.none() | dates),
        baseline=draw(st.integers(0, 2**62)),
        failing_since=draw(st.none() | moments),
        skipped=tuple(draw(st.lists(texts, max_size=3))),
        tracks=listed,
        removed={
            order_id: evolve(track, removed_at=at)
            for (order_id, track), at in zip(removed.items(), removals, strict=True)
        },
    )


def assert_same(stored: WatchState | None, state: WatchState) -> None:
    """Check that a state has come back as it was, with what takes no part in equality."""
    assert stored == state
    assert stored is not None
    assert list(stored.removed) == list(state.removed), "the oldest removal comes first"
    assert stored.orders == {order_id: track.order for order_id, track in state.tracks.items()}
    assert _extras_of(stored) == _extras_of(state)


def _extras_of(state: WatchState) -> list[object]:
    return [(key, track.order.extra) for kept in (state.tracks, state.removed) for key, track in sorted(kept.items())]
