"""`WatchState.to_dict` and `from_dict`: the state as JSON, for journals outside this library."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given

from smspva_async import WatchState
from smspva_async.journal.state import OrderTrack
from tests.support.accounts import START, order
from tests.support.samples import without
from tests.support.strategies import any_json, assert_same, states


@given(states())
def test_any_state_survives_a_round_trip_through_json(state: WatchState) -> None:
    written = json.dumps(state.to_dict(), allow_nan=False)
    again = WatchState.from_dict(json.loads(written))
    assert_same(again, state)
    assert list(again.tracks) == list(state.tracks)
    assert again.to_dict() == state.to_dict(), "also fields that equality ignores"


@given(states())
def test_reading_a_dict_does_not_change_it(state: WatchState) -> None:
    fields = state.to_dict()
    before = json.dumps(fields)
    WatchState.from_dict(fields)
    assert json.dumps(fields) == before


def test_an_empty_state_survives_a_round_trip() -> None:
    assert WatchState.from_dict(json.loads(json.dumps(WatchState().to_dict()))) == WatchState()


STATE = WatchState(
    seq=3,
    since=START,
    skipped=("x",),
    tracks={1: OrderTrack(order(1), START, counts={"key": 2})},
    removed={2: OrderTrack(order(2), START, removed_at=START)},
).to_dict()
(TRACK,) = STATE["tracks"]


def with_track(**changes: object) -> dict[str, Any]:
    return {**STATE, "tracks": [{**TRACK, **changes}]}


def test_the_valid_state_from_which_the_invalid_ones_are_made_can_be_read() -> None:
    assert WatchState.from_dict(with_track()).to_dict() == STATE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        None,
        5,
        "state",
        [],
        [1, 2],
        {"type": "PollRecovered", "seq": 1},
        without(STATE, "tracks"),
        without(STATE, "removed"),
        {**STATE, "seq": "many"},
        {**STATE, "seq": None},
        {**STATE, "seq": math.inf},
        {**STATE, "clock": "noon"},
        {**STATE, "clock": None},
        {**STATE, "since": "yesterday"},
        {**STATE, "since": 5},
        {**STATE, "baseline": []},
        {**STATE, "skipped": 5},
        {**STATE, "tracks": None},
        {**STATE, "tracks": 5},
        {**STATE, "tracks": [5]},
        {**STATE, "tracks": [None]},
        {**STATE, "tracks": {"1": TRACK}},
        {**STATE, "removed": "none"},
        {**STATE, "tracks": [without(TRACK, "order")]},
        {**STATE, "tracks": [without(TRACK, "counts")]},
        with_track(order=None),
        with_track(order={**TRACK["order"], "state": 77}),
        with_track(order=without(TRACK["order"], "id")),
        with_track(counts=None),
        with_track(counts=[]),
        with_track(counts=5),
        with_track(counts={"key": None}),
        with_track(counts={"key": "many"}),
        with_track(counts={"key": math.inf}),
        with_track(counts={"key": math.nan}),
        with_track(missing_polls="few"),
        with_track(removed_at="soon"),
    ],
)
def test_invalid_states_raise_a_readable_value_error(fields: Any) -> None:
    one_line = r"\Anot the dict of a watch's state: .{3,}\Z"
    with pytest.raises(ValueError, match=one_line) as caught:
        WatchState.from_dict(fields)
    assert len(str(caught.value)) < 1000


def places_in(value: object, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value within a JSON value, as a tuple of keys."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [found for key, item in inner for found in [(*place, key), *places_in(item, (*place, key))]]


ODD: list[object] = [
    None,
    True,
    -1,
    1.5,
    math.inf,
    math.nan,
    10**400,
    "x",
    "1",
    [],
    [1],
    [[]],
    {},
    {"x": 1},
    {"x": None},
]


@pytest.mark.parametrize("place", places_in(STATE), ids=lambda place: ".".join(map(str, place)))
def test_a_state_with_any_value_replaced_is_read_or_raises_value_error(place: tuple[Any, ...]) -> None:
    *way, last = place
    for odd in ODD:
        fields = json.loads(json.dumps(STATE))
        within = fields
        for key in way:
            within = within[key]
        within[last] = odd
        try:
            read = WatchState.from_dict(fields)
        except ValueError:
            continue
        assert isinstance(read, WatchState)
    del within[last]
    with contextlib.suppress(ValueError):
        WatchState.from_dict(fields)


@given(any_json)
def test_other_json_raises_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="not the dict of a watch's state"):
        WatchState.from_dict(value)
