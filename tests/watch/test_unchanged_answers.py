"""The cache of `orders` answers: it saves work, and gives exactly the result of a full decoding."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st

from smspva_async import Event, Order, PollRecovered, Sms
from smspva_async._api import decoding
from smspva_async._api.decoding import Answer, OrderCache, decode
from smspva_async._api.methods import ORDERS
from smspva_async._watch.diff import CallFailed, Observation, OrdersListed, SmsListed, step
from smspva_async.errors import SmspvaError
from smspva_async.journal.state import WatchState
from smspva_async.models import Rows, utc
from tests.support.order_rows import BEGIN, ROW, answers
from tests.support.samples import without


def all_data(rows: Rows[Order]) -> tuple[object, ...]:
    """Return all data of the rows, including fields that equality ignores. 1, 1.0 and True differ."""
    return (
        [(repr(order), repr(order.extra)) for order in rows],
        [(row.reason, repr(row.raw), row.order_id) for row in rows.skipped],
        (rows.date, rows.took, repr(rows.extra)),
    )


def outcome(latest: OrderCache | None, answer: Answer) -> tuple[Rows[Order] | None, object]:
    try:
        rows = (decode if latest is None else latest.decode)(ORDERS, {}, answer)
    except SmspvaError as error:
        return None, (type(error), str(error), repr(getattr(error, "data", None)))
    return rows, all_data(rows)


@settings(max_examples=settings().max_examples * 6 // 5)
@given(answers(), st.lists(st.sampled_from(["sms", "no sms", "down", None]), min_size=8, max_size=8))
def test_the_cache_changes_no_rows_events_or_states(given: list[Answer], between: list[str | None]) -> None:
    latest = OrderCache()
    cached = full = WatchState()
    for number, (answer, what) in enumerate(zip(given, between, strict=False)):
        (rows, result), (full_rows, expected) = outcome(latest, answer), outcome(None, answer)
        assert result == expected
        at = utc(BEGIN + 30 * number)
        if rows is None or full_rows is None:
            observations: tuple[Observation, Observation] = (
                CallFailed(at=at, now=30.0 * number, requested_at=30.0 * number, order_id=None, kind="", message=""),
            ) * 2
        else:
            observations = tuple(  # type: ignore[assignment]
                OrdersListed(at=at, now=30.0 * number, orders=seen, skipped=seen.skipped, interval=30)
                for seen in (rows, full_rows)
            )
        cached, events = step(cached, observations[0])
        full, expected_events = step(full, observations[1])
        assert [repr(event) for event in events] == [repr(event) for event in expected_events]
        later: Observation = SmsListed(
            at=at,
            now=30.0 * number,
            requested_at=30.0 * number,
            order_id=1,
            messages=[Sms("code", None, at)] if what == "sms" else [],
        )
        if what == "down":
            later = CallFailed(at=at, now=30.0 * number, requested_at=30.0 * number, order_id=None, kind="", message="")
        if what is not None:
            (cached, events), (full, expected_events) = step(cached, later), step(full, later)
            assert [repr(event) for event in events] == [repr(event) for event in expected_events]
        assert repr(evolve(cached, clock=0)) == repr(evolve(full, clock=0))  # without a change, the clock may differ


_FIELDS = json.dumps({**without(ROW, "lastonline")}, separators=(",", ":"))[1:-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'{{{_FIELDS},"lastonline":5}}', f'{{{_FIELDS},"lastonline":6}}'),
        (f'{{"lastonline":5,{_FIELDS}}}', f'{{"lastonline":6,{_FIELDS}}}'),
        (f'{{"a":1,"lastonline": 5 ,{_FIELDS}}}', f'{{"a":1,"lastonline": 6 ,{_FIELDS}}}'),
        *(
            (f'{{{_FIELDS},"lastonline":5{more}}}', f'{{{_FIELDS},"lastonline":{number}{more}}}')
            for more in (
                "",
                ',"lastonline":"5"',
                ',"lastonline" :5',
                ',"lastonlin\\u0065":5',
                ',"x":"a,\\"lastonline\\":5"',
                ',"lastonline":5,"y":1',
            )
            for number in ("6", "06", "-6", "6.5", "6e1", "999999999999", "9999999999999", "null", "[6]", "+6", " 6")
        ),
        (f'{{{_FIELDS},"lastonline":5}}', f'{{{_FIELDS},"lastonline":6,}}'),
        (f'{{{_FIELDS},"lastonline":5}}', f'{{{_FIELDS},"lastonline":6x}}'),
        (f'{{{_FIELDS},"x":"a,b","lastonline":5,"y":1}}', f'{{{_FIELDS},"x":"a,"lastonline":5,b","y":1}}'),
        (f'{{{_FIELDS},"x":"a,\\"lastonline\\":5,"}}', f'{{{_FIELDS},"x":"a,\\"lastonline\\":6,"}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS},"x":"}},{{"}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"a":1}},5,{{"id":"x"}},{{"b":2}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"x":"}},{{","y":2}},5,{{"id":6,"a":1'),
        (f'{{{_FIELDS},"a\\"lastonline":5}}', f'{{{_FIELDS},"a\\"lastonline":6}}'),
        (f'{{{_FIELDS}}},{{"x":"}},{{"}} , {{"id":6}}', f'{{{_FIELDS}}},{{"x":"}},{{"b":2}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"x":[{{"id":2}},{{"id":3}}]}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"a":"}},{{"b":2}},{{"c":3}}'),
        (f"{{{_FIELDS}}}", f'{{{_FIELDS}}},{{"id":4,"x":"a}},{{b"}},7,{{"id":5}}'),
    ],
)
def test_an_answer_similar_to_the_last_one_is_read_correctly(before: str, after: str) -> None:
    latest = OrderCache()
    for text in (before, after, before, f"{before},{after}", f"{after},{before}"):
        answer = Answer(200, "", b'{"status":1,"data":[%b]}' % text.encode())
        assert outcome(latest, answer)[1] == outcome(None, answer)[1]


def body(*rows: dict[str, Any]) -> Answer:
    return Answer(200, "", json.dumps({"status": 1, "data": rows}).encode())


def test_equal_rows_are_the_same_objects() -> None:
    latest = OrderCache()
    first = latest.decode(ORDERS, {}, body(ROW, {**ROW, "id": 2}))
    again = latest.decode(ORDERS, {}, body(ROW, {**ROW, "id": 2}))
    assert all(map(lambda one, other: one is other, first, again))
    second = latest.decode(ORDERS, {}, body({**ROW, "id": 3}, {**ROW, "id": 2, "state": 1}, ROW))
    assert second[2] is first[0]
    assert [order.id for order in second] == [3, 2, ROW["id"]]


def test_an_identical_answer_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    latest, answer = OrderCache(), body(ROW, {**ROW, "id": 2})
    first = latest.decode(ORDERS, {}, answer)
    for name in ("parse", "decode"):
        monkeypatch.setattr(decoding, name, None)
    again = latest.decode(ORDERS, {}, evolve(answer, took=0.5))
    assert [*map(id, again)] == [*map(id, first)]
    assert again.took == 0.5


def listed(seconds: int, rows: Rows[Order]) -> OrdersListed:
    at = utc(BEGIN + seconds)
    return OrdersListed(at=at, now=float(seconds), orders=rows, interval=30)


def play(state: WatchState, *observations: Observation) -> tuple[WatchState, list[Event]]:
    events: list[Event] = []
    for observation in observations:
        state, new = step(state, observation)
        events += new
    return state, events


def test_a_poll_without_changes_keeps_every_track() -> None:
    latest = OrderCache()
    polls = [listed(30 * number, latest.decode(ORDERS, {}, body(ROW, {**ROW, "id": 2}))) for number in range(3)]
    state, _ = play(WatchState(), *polls[:2])
    after, events = step(state, polls[2])
    assert after is state
    assert not events


def test_a_poll_without_changes_ends_an_outage_and_counts_absences() -> None:
    latest = OrderCache()
    both, one = body(ROW, {**ROW, "id": 2}), body(ROW)
    first = listed(0, latest.decode(ORDERS, {}, both))
    state, _ = play(WatchState(), first, listed(30, latest.decode(ORDERS, {}, one)))
    state, events = play(
        state,
        CallFailed(at=utc(BEGIN + 40), now=40, requested_at=40, order_id=None, kind="", message=""),
        listed(60, latest.decode(ORDERS, {}, one)),
        listed(90, latest.decode(ORDERS, {}, one)),
        CallFailed(at=utc(BEGIN + 91), now=91, requested_at=90, order_id=2, kind="", message="", no_such_order=True),
    )
    assert [type(event).__name__ for event in events] == ["PollFailed", "PollRecovered", "OrderRemoved"]
    assert isinstance(events[1], PollRecovered)


def test_a_flag_still_set_after_a_message_was_read_counts_as_risen_again() -> None:
    latest = OrderCache()
    flagged = body({**ROW, "hasnewsms": True})
    message_read = SmsListed(
        at=utc(BEGIN + 31), now=31, requested_at=31, order_id=ROW["id"], messages=[Sms("code", None, utc(BEGIN + 31))]
    )
    state, _ = play(
        WatchState(), *(listed(30 * number, latest.decode(ORDERS, {}, flagged)) for number in range(2)), message_read
    )
    assert not state.tracks[ROW["id"]].flag_rose
    state, _ = step(state, listed(60, latest.decode(ORDERS, {}, flagged)))
    assert state.tracks[ROW["id"]].flag_rose
