"""Hypothesis strategies for events and states of a watch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve
from hypothesis import strategies as st

from smspva_async import (
    Event,
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
    StateChanged,
    WatchState,
)
from smspva_async.journal.state import OrderTrack

if TYPE_CHECKING:
    from collections.abc import Mapping

_letters = st.characters(exclude_categories=())  # surrogates too, which JSON may have
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
    """Return tracks whose orders have the ids of their keys."""
    return {order_id: evolve(track, order=evolve(track.order, id=order_id)) for order_id, track in tracks.items()}


@st.composite
def states(draw: st.DrawFn) -> WatchState:
    """Return any state, with tracks of any kind."""
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
    """Check that a stored state equals the original, also in fields that equality ignores."""
    assert stored == state
    assert stored is not None
    assert list(stored.removed) == list(state.removed), "the oldest removal comes first"
    assert stored.orders == {order_id: track.order for order_id, track in state.tracks.items()}
    assert _extras_of(stored) == _extras_of(state)


def _extras_of(state: WatchState) -> list[object]:
    return [(key, track.order.extra) for kept in (state.tracks, state.removed) for key, track in sorted(kept.items())]
