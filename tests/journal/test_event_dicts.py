"""Events as dicts: the form in a journal's file, which other programs can read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given

from smspva_async import Event, OrderAdded, OrderState, RowSkipped, event_from_dict, event_to_dict
from tests.support.event_forms import AT, FORMS, ORDER, ORDER_DICT
from tests.support.samples import without
from tests.support.strategies import any_event

BY_TYPE = {form["type"]: form for _, form in FORMS}
RECOVERED, ADDED, EXPIRING = BY_TYPE["PollRecovered"], BY_TYPE["OrderAdded"], BY_TYPE["OrderExpiring"]


@pytest.mark.parametrize(("event", "form"), FORMS, ids=lambda value: value.get("type") if type(value) is dict else "")
def test_the_documented_form_of_each_event(event: Event, form: dict[str, Any]) -> None:
    assert event_to_dict(event) == form
    assert event_from_dict(form) == event
    assert json.dumps(event_to_dict(event_from_dict(form)), sort_keys=True) == json.dumps(form, sort_keys=True)


@given(any_event)
def test_an_event_survives_a_round_trip_through_json(event: Event) -> None:
    written = json.dumps(event_to_dict(event), allow_nan=False)
    again = event_from_dict(json.loads(written))
    assert again == event
    assert type(again) is type(event)
    assert event_to_dict(again) == event_to_dict(event), "also fields that equality ignores"


@pytest.mark.parametrize("form", [form for _, form in FORMS], ids=lambda form: form["type"])
def test_unknown_keys_are_ignored(form: dict[str, Any]) -> None:
    later = {
        name: {**value, "mood": 1} if name in {"order", "sms", "previous"} and type(value) is dict else value
        for name, value in form.items()
    }
    assert event_from_dict({**later, "mood": "calm"}) == event_from_dict(form)


class FailingRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def nested(depth: int, outer: str) -> object:
    value: object = "innermost"
    for _ in range(depth):
        value = [value] if outer == "[" else {"in": value}
    return value


@pytest.mark.parametrize(
    "odd",
    [
        math.nan,
        math.inf,
        -math.inf,
        (1, (2.5, None)),
        {3, 4},
        AT,
        b"bytes",
        object(),
        FailingRepr(),
        10**5000,
        nested(1000, "["),
        nested(1000, "{"),
        {1: "one", None: "none", (2, 3): "pair", AT: "date"},
        {FailingRepr(): 1},
        "half of a pair: \ud83d",
        {"\udc80": ["\udc80"]},
        OrderState.ACTIVE,
    ],
    ids=lambda odd: type(odd).__name__,
)
def test_any_extra_values_of_a_source_can_be_written(odd: object) -> None:
    order = evolve(ORDER, extra={"odd": odd})
    for event in (RowSkipped("?", odd, seq=1, id="1", at=AT), OrderAdded(order, seq=1, id="1", at=AT)):
        form = event_to_dict(event)
        written = json.dumps(form, allow_nan=False)
        assert json.loads(written) == form
        written.encode()
        assert event_to_dict(event_from_dict(json.loads(written))) == form


def test_values_without_a_json_form_become_text() -> None:
    raw = {"nan": math.nan, "pair": (1, 2), "set": {3}, 4: "four"}
    form = event_to_dict(RowSkipped("?", raw, seq=1, id="1", at=AT))
    assert form["raw"] == {"nan": "nan", "pair": [1, 2], "set": "{3}", "4": "four"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        None,
        5,
        "PollRecovered",
        [],
        ["type", "PollRecovered"],
        without(RECOVERED, "type"),
        {**RECOVERED, "type": "PollPostponed"},
        {**RECOVERED, "type": "two\nlines"},
        {**RECOVERED, "type": None},
        {**RECOVERED, "type": []},
        without(RECOVERED, "seq"),
        without(RECOVERED, "downtime"),
        {**RECOVERED, "seq": "many"},
        {**RECOVERED, "seq": None},
        {**RECOVERED, "seq": math.inf},
        {**RECOVERED, "at": "yesterday\nevening"},
        {**RECOVERED, "at": 5},
        {**RECOVERED, "downtime": []},
        without(EXPIRING, "left"),
        {**EXPIRING, "left": None},
        {**EXPIRING, "left": "a day"},
        {**EXPIRING, "left": math.inf},
        {**EXPIRING, "left": math.nan},
        {**EXPIRING, "order": None},
        {**ADDED, "order": 40300},
        {**ADDED, "order": None},
        {**ADDED, "order": without(ORDER_DICT, "phone")},
        {**ADDED, "order": {**ORDER_DICT, "state": 77}},
        {**ADDED, "order": {**ORDER_DICT, "until": "soon"}},
        {**ADDED, "order": {**ORDER_DICT, "services": None}},
    ],
    ids=str,
)
def test_invalid_dicts_raise_a_readable_value_error(fields: Any) -> None:
    with pytest.raises(
        ValueError, match=r"\Anot the dict of an event: .{5,}\Z"
    ) as caught:  # `.` does not match a line break
        event_from_dict(fields)
    assert len(str(caught.value)) < 250


def test_the_error_names_the_field() -> None:
    with pytest.raises(ValueError, match=r"it\.order\.state"):
        event_from_dict({**ADDED, "order": {**ORDER_DICT, "state": 77}})
    with pytest.raises(ValueError, match="seq"):
        event_from_dict(without(RECOVERED, "seq"))
