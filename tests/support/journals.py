"""What the tests of the journals share: the journals that there are, and things to keep in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from attrs import frozen
from hypothesis import strategies as st

from smspva_async import (
    Event,
    Journal,
    MemoryJournal,
    Order,
    OrderAdded,
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
)
from smspva_async._state import State, Track
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


# A third kind is added here, and to no test.
KINDS = [
    Kind("memory", _memory, drops_unread=True),
    Kind("sqlite", _sqlite, drops_unread=False),
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
counts = st.dictionaries(st.tuples(texts, st.none() | texts, st.none() | dates), st.integers(1, 1000), max_size=3)
tracks = st.builds(
    Track,
    order=orders,
    seen_at=dates,
    counts=counts,
    read_at=st.none() | dates,
    tried_at=st.none() | dates,
    known_before=st.none() | dates,
    flag_seen=st.booleans(),
    flag_rose=st.booleans(),
    rose_at=st.none() | dates,
    brought=st.booleans(),
    missing_since=st.none() | dates,
    missing_polls=st.integers(0, 100),
    failing_since=st.none() | dates,
)


@st.composite
def states(draw: st.DrawFn) -> State:
    listed = draw(st.dictionaries(numbers, tracks, max_size=3))
    gone = draw(st.dictionaries(numbers.filter(lambda number: number not in listed), tracks, max_size=2))
    return State(
        seq=draw(st.integers(0, 2**62)),
        replay=draw(st.booleans()),
        since=draw(st.none() | dates),
        baseline=draw(st.integers(0, 2**62)),
        tracks=listed,
        gone=gone,
        failing_since=draw(st.none() | dates),
        skipped=tuple(draw(st.lists(texts, max_size=3))),
    )


def extras_of(state: State) -> list[object]:
    """Return what takes no part in a state's equality."""
    return [(key, track.order.extra) for kept in (state.tracks, state.gone) for key, track in sorted(kept.items())]
