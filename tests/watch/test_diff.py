"""Properties of `step`: the events are complete for any answers, and report each message once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from smspva_async import (
    Event,
    Order,
    OrderAdded,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    SkippedRow,
    Sms,
    SmsReceived,
    StateChanged,
)
from smspva_async._watch.diff import CallFailed, Observation, OrdersListed, SmsListed, step
from smspva_async.journal.state import WatchState
from smspva_async.models import utc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

BEGIN = 1_800_000_000


def order(order_id: int, state: int = 0, *, flag: bool = False, until: int = 10**6, service: str = "opt16") -> Order:
    return Order(
        id=order_id,
        services=(service,),
        service_name="Instagram",
        state=OrderState(state),
        phone=f"+7900{order_id:07}",
        country="RU",
        has_new_sms=flag,
        until=utc(BEGIN + until),
    )


def at(seconds: float) -> datetime:
    return utc(BEGIN + seconds)


def listed(seconds: float, *orders: Order, skipped: Sequence[SkippedRow] = ()) -> OrdersListed:
    return OrdersListed(at=at(seconds), now=seconds, orders=orders, skipped=skipped, interval=30)


def read(seconds: float, order_id: int, *messages: Sms) -> SmsListed:
    return SmsListed(at=at(seconds), now=seconds, requested_at=seconds, order_id=order_id, messages=messages)


def unknown(seconds: float, order_id: int) -> CallFailed:
    return evolve(failed(seconds, order_id), no_such_order=True)


def failed(seconds: float, order_id: int | None = None) -> CallFailed:
    return CallFailed(at=at(seconds), now=seconds, requested_at=seconds, order_id=order_id, kind="x", message="y")


def play(observations: Sequence[Observation], state: WatchState) -> tuple[WatchState, list[Event]]:
    events: list[Event] = []
    for observation in observations:
        state, new = step(state, observation)
        events += new
    return state, events


orders_ = st.builds(
    order,
    st.integers(1, 3),
    st.sampled_from([0, 1, 2, -1]),
    flag=st.booleans(),
    until=st.sampled_from([40, 10**6]),
    service=st.sampled_from(["opt16", "opt1"]),
)
messages_ = st.builds(
    Sms,
    st.sampled_from(["code 1234", "code 5678"]),
    st.sampled_from(["FB", "TG"]),
    st.sampled_from([None, at(-5), at(5)]),
)
observations_ = st.one_of(
    st.builds(
        lambda orders, ids, blind: listed(
            0,
            *orders,
            skipped=[SkippedRow("?", {"id": row}, row) for row in ids] + [SkippedRow("?", "nonsense")] * blind,
        ),
        st.lists(orders_, max_size=4),
        st.sets(st.integers(1, 3), max_size=1),
        st.booleans(),
    ),
    st.builds(lambda order_id, messages: read(0, order_id, *messages), st.integers(1, 4), st.lists(messages_)),
    st.builds(lambda order_id: unknown(0, order_id), st.integers(1, 4)),
    st.builds(
        CallFailed,
        at=st.just(at(0)),
        now=st.just(0),
        requested_at=st.just(0),
        order_id=st.none() | st.integers(1, 4),
        kind=st.just("x"),
        message=st.just("y"),
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Observation]:
    """Return observations in any order, each some time after the previous one."""
    seconds = 0.0
    history: list[Observation] = []
    for observation in draw(st.lists(observations_, max_size=40)):
        seconds += draw(st.sampled_from([0.5, 3, 30, 45]))
        if isinstance(observation, SmsListed | CallFailed):
            observation = evolve(observation, requested_at=seconds)  # noqa: PLW2901
        history.append(evolve(observation, at=at(seconds), now=seconds))
    return history


@given(histories(), st.booleans())
def test_replaying_the_events_leads_to_the_final_state(history: list[Observation], replay: bool) -> None:  # noqa: FBT001
    final, events = play(history, WatchState(replay=replay))

    known: dict[int, Order] = {}
    for event in events:
        match event:
            case OrderAdded(added):
                assert added.id not in known
                known[added.id] = added
            case StateChanged(changed, previous, current):
                assert (known[changed.id].state, changed.state) == (previous, current)
                assert previous is not current
                known[changed.id] = changed
            case OrderUpdated(updated, _):
                known[updated.id] = updated
            case OrderRemoved(removed, _):
                del known[removed.id]
            case _:
                pass

    def reported(order: Order) -> tuple[object, ...]:
        return (order.state, order.service, order.phone, order.until)

    assert {key: reported(order) for key, order in known.items()} == {
        key: reported(track.order) for key, track in final.tracks.items()
    }


@given(histories())
def test_each_message_is_reported_as_often_as_any_answer_listed_it(history: list[Observation]) -> None:
    state = WatchState(replay=True)
    most: dict[int, Counter[Sms]] = {}
    reported: dict[int, Counter[Sms]] = {}
    for observation in history:
        if isinstance(observation, SmsListed) and observation.order_id in {*state.tracks, *state.removed}:
            most.setdefault(observation.order_id, Counter())
            most[observation.order_id] |= Counter(observation.messages)
        state, events = step(state, observation)
        for event in events:
            if isinstance(event, SmsReceived):
                reported.setdefault(event.order.id, Counter())[event.sms] += 1
    assert reported == {order_id: counts for order_id, counts in most.items() if counts}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sampled_from([None, at(5)]),
            st.sampled_from(["FB", "TG"]),
            st.integers(0, 5),
            st.integers(0, 3),
        ),
        max_size=8,
    ),
    st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_a_sender_that_becomes_known_later_repeats_no_message(
    messages: list[tuple[str, datetime | None, str, int, int]],
    shortened: list[bool],
) -> None:
    state, events = play([listed(0, order(1)), read(1, 1)], WatchState())
    for turn, is_shortened in enumerate([*shortened, False]):
        shown = [
            Sms(text, sender if turn >= arrived + named_after else None, received)
            for text, received, sender, arrived, named_after in messages
            if turn >= arrived
        ]
        state, new = step(state, read(10 * turn + 10, 1, *(shown[1:] if is_shortened else shown)))
        events += new
    assert Counter(
        (event.sms.text, event.sms.received) for event in events if isinstance(event, SmsReceived)
    ) == Counter((text, received) for text, received, *_ in messages)
    assert len({event.id for event in events}) == len(events)


@given(histories(), st.booleans())
def test_events_are_numbered_without_a_gap_and_no_two_share_an_id(
    history: list[Observation],
    replay: bool,  # noqa: FBT001
) -> None:
    final, events = play(history, WatchState(replay=replay))
    assert [event.seq for event in events] == list(range(1, final.seq + 1))
    assert len({event.id for event in events}) == len(events)


@given(histories())
def test_outages_begin_and_end_in_turn(history: list[Observation]) -> None:
    failing: set[int | None] = set()
    for event in play(history, WatchState())[1]:
        match event:
            case PollFailed():
                assert event.order_id not in failing
                failing.add(event.order_id)
            case PollRecovered():
                failing.remove(event.order_id)
            case _:
                pass


@given(histories())
def test_step_is_a_pure_function(history: list[Observation]) -> None:
    assert play(history, WatchState()) == play(history, WatchState())


@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 200) | st.integers(-10_000, -5_000), st.sampled_from(["a", "b"])), max_size=12
    ),
    polls=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    reads_clear=st.booleans(),
)
def test_exactly_the_messages_that_arrive_while_watching_are_reported(
    arrivals: list[tuple[int, str]],
    polls: list[int],
    reads_clear: bool,  # noqa: FBT001
) -> None:
    state, events, now, last_read = WatchState(), list[Event](), 0, -(10**9)

    def listed_messages(at_time: int) -> list[Sms]:
        return [Sms(text, None, at(when)) for when, text in arrivals if when <= at_time]

    def unread(at_time: int) -> bool:
        return any(last_read < when <= at_time for when, _ in arrivals)

    for gap in [0, *polls, 200]:
        now += gap
        state, new = step(state, listed(now, order(1, flag=unread(now))))
        events += new
        if gap % 2 == 0 or gap == 200:
            state, new = step(state, read(now, 1, *listed_messages(now)))
            events += new
            last_read = now if reads_clear else last_read

    reported = Counter(event.sms for event in events if isinstance(event, SmsReceived))
    assert reported == Counter(Sms(text, None, at(when)) for when, text in arrivals if 0 <= when <= now)


# -- the first reading of an order that was there on the first poll ----------------------------------------------


@pytest.mark.parametrize(
    ("flags", "messages", "new"),
    [
        pytest.param([False], [Sms("old", received=at(-301))], [], id="dated five minutes before: known"),
        pytest.param([False], [Sms("new", received=at(-299))], ["new"], id="dated less before: new"),
        pytest.param([False, False], [Sms("undated")], [], id="undated, the flag always down: known"),
        pytest.param([True, False], [Sms("undated")], ["undated"], id="undated, the flag up at some poll: new"),
        pytest.param(
            [False, True],
            [Sms("older", received=at(-9000)), Sms("newest", received=at(-2000))],
            ["newest"],
            id="the flag rose and none is dated since: the newest is new",
        ),
        pytest.param(
            [False, True],
            [Sms("newest of the old", received=at(-2000)), Sms("new", received=at(3))],
            ["new"],
            id="the flag rose and one is dated since: that is it",
        ),
        pytest.param([True, True], [Sms("old", received=at(-2000))], [], id="the flag was up all the time: known"),
    ],
)
def test_the_first_reading_reports_only_new_messages(flags: list[bool], messages: list[Sms], new: list[str]) -> None:
    polls = [listed(10 * number, order(1, flag=flag)) for number, flag in enumerate(flags)]
    _, events = play([*polls, read(60, 1, *messages)], WatchState())
    assert [event.sms.text for event in events if isinstance(event, SmsReceived)] == new


def test_messages_of_an_order_first_listed_while_watching_are_new() -> None:
    messages = [Sms("days before", received=at(-90_000)), Sms("before", received=at(-80_000)), Sms("undated")]
    _, events = play([listed(0), listed(30, order(1)), read(31, 1, *messages)], WatchState())
    assert [event.sms.text for event in events if isinstance(event, SmsReceived)] == ["before", "undated"]


def test_identical_messages_are_counted() -> None:
    twice = [Sms("1234", "FB", at(1))] * 2
    _, events = play([listed(0, order(1)), read(2, 1, *twice[:1]), read(3, 1), read(4, 1, *twice)], WatchState())
    received = [event for event in events if isinstance(event, SmsReceived)]
    assert [event.at for event in received] == [at(2), at(4)]
    assert received[0].id != received[1].id


def test_the_event_id_of_a_message_is_the_same_in_another_run() -> None:
    message, other = Sms("1234", "FB", at(1)), Sms("other", received=at(0))
    one: list[Observation] = [listed(0, order(1)), read(2, 1, message)]
    another: list[Observation] = [failed(-1), listed(1, order(7), order(1, 2)), read(99, 1, message, other)]
    ids = [
        {event.id for event in play(history, WatchState(replay=True))[1] if isinstance(event, SmsReceived)}
        for history in (one, another)
    ]
    assert len(ids[1] - ids[0]) == len(ids[0]) == 1


def test_the_last_messages_of_an_order_that_was_just_removed_are_reported() -> None:
    last = SmsListed(at=at(101), now=101, requested_at=59, order_id=1, messages=[Sms("last", received=at(58))])
    absent = [listed(seconds) for seconds in (30, 60, 90)]
    state, events = play([listed(0, order(1)), *absent, unknown(91, 1), last, last], WatchState())
    assert [type(event) for event in events] == [OrderAdded, OrderRemoved, SmsReceived]
    assert not state.tracks


def test_a_flag_that_is_up_after_a_reading_with_new_messages_has_risen() -> None:
    up, down = listed(30, order(1, flag=True)), listed(0, order(1))
    new_message, nothing = read(31, 1, Sms("new", received=at(20))), read(31, 1)
    again = listed(60, order(1, flag=True))
    assert play([down, up, new_message, again], WatchState())[0].tracks[1].flag_rose
    assert (
        play([down, up, new_message, evolve(nothing, now=32, requested_at=32), again], WatchState())[0]
        .tracks[1]
        .flag_rose
    )
    assert not play([down, up, nothing, again], WatchState())[0].tracks[1].flag_rose


def test_a_list_requested_before_its_flag_rose_is_read_again() -> None:
    in_doubt, new = Sms("in doubt", received=at(-500)), Sms("new", received=at(29))
    late = SmsListed(at=at(45), now=45, requested_at=1, order_id=1, messages=[Sms("old", received=at(-900)), in_doubt])
    state, events = play([listed(0, order(1)), listed(30, order(1, flag=True)), late], WatchState())
    assert [event.sms.text for event in events if isinstance(event, SmsReceived)] == ["in doubt"]
    assert state.tracks[1].flag_rose
    state, events = play([read(46, 1, in_doubt, new)], state)
    assert [event.sms.text for event in events if isinstance(event, SmsReceived)] == ["new"]
    assert not state.tracks[1].flag_rose


# -- absence ---------------------------------------------------------------------------------------------------------


def removals(*observations: Observation) -> list[tuple[datetime, bool]]:
    _, events = play([listed(0, order(1, until=500), order(2)), *observations], WatchState())
    return [(event.at, event.expired) for event in events if isinstance(event, OrderRemoved)]


def absent(*seconds: float) -> list[Observation]:
    return [listed(moment, order(2)) for moment in seconds]


def test_an_order_is_removed_after_two_intervals_and_three_polls_if_sms_confirms() -> None:
    assert removals(*absent(30, 60, 90), unknown(91, 1)) == [(at(91), False)]
    assert removals(*absent(30, 60, 90)) == []
    assert removals(*absent(30, 60, 90), evolve(unknown(91, 1), requested_at=89)) == []
    assert removals(*absent(*range(30, 90, 3)), unknown(90, 1)) == []
    assert removals(*absent(30, 200), unknown(201, 1)) == []


def test_an_order_is_removed_after_ten_minutes_and_five_polls_without_confirmation_by_sms() -> None:
    assert removals(*absent(*range(30, 600, 30)), read(601, 1)) == []
    assert removals(*absent(*range(30, 660, 30))) == [(at(630), True)]
    assert removals(*absent(30, 400, 800, 1200)) == []
    assert removals(*absent(30, 400, 800, 1200, 1600)) == [(at(1600), True)]


def test_a_failed_poll_does_not_count_as_an_absence() -> None:
    assert removals(*(failed(30 * number) for number in range(1, 40)), unknown(1200, 1)) == []


def test_an_order_that_comes_back_in_time_is_not_removed() -> None:
    back = listed(90, order(1, until=500), order(2))
    assert removals(*absent(30, 60), back, *absent(120), unknown(121, 1)) == []


def test_an_order_that_expires_is_removed_like_any_other() -> None:
    assert removals(*absent(500)) == []
    assert removals(*absent(500, 530, 560), unknown(561, 1)) == [(at(561), True)]


def test_a_listed_order_is_not_removed_although_sms_does_not_find_it() -> None:
    assert removals(unknown(31, 1)) == []


def test_unreadable_rows_are_reported_once_and_are_not_absences() -> None:
    named, nameless = SkippedRow("bad state", {"id": 1}, 1), SkippedRow("no object", "nonsense")
    polls = [listed(30 * n, order(2), skipped=[row]) for row in (named, nameless) for n in range(1, 9)]
    assert removals(*polls) == []
    _, events = play([listed(0, order(1), order(2)), *polls], WatchState())
    assert [(event.raw, event.order_id) for event in events if isinstance(event, RowSkipped)] == [
        ({"id": 1}, 1),
        ("nonsense", None),
    ]


def test_an_unreadable_row_ends_an_absence() -> None:
    unread = [listed(n, order(2), skipped=[SkippedRow("bad state", {"id": 1}, 1)]) for n in (90, 120)]
    assert removals(*absent(30, 60), *unread, *absent(150, 180), unknown(181, 1)) == []
    assert removals(*absent(30, 60, 70), *unread, unknown(121, 1)) == []


def test_an_unreadable_row_that_stays_is_not_reported_again() -> None:
    steady = [SkippedRow("?", {"number": number}, number) for number in range(1, 1501)]
    moving = [[SkippedRow("?", {"new": number}, number)] for number in range(2001, 5001)]
    polls = [listed(30 * n, order(1), skipped=[*steady, *moved]) for n, moved in enumerate(moving[:3])]
    polls += [listed(100 + n, order(1), skipped=[steady[0], *moved]) for n, moved in enumerate(moving)]
    _, events = play(polls, WatchState())
    reported = Counter(str(event.raw) for event in events if isinstance(event, RowSkipped))
    assert len(reported) == 4500
    assert reported[str(steady[0].raw)] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SkippedRow("id is missing", {"lastonline": 1}), SkippedRow("id is missing", {"lastonline": 2})),
        (SkippedRow("id: expected an integer, got 1.5", {}), SkippedRow("id: expected an integer, got 2.5", {})),
    ],
)
def test_an_unreadable_row_with_other_values_is_the_same(first: SkippedRow, second: SkippedRow) -> None:
    polls = [listed(30 * n, order(1), skipped=rows) for n, rows in enumerate([[first], [second], [second, first]])]
    _, events = play(polls, WatchState())
    assert [event.raw for event in events if isinstance(event, RowSkipped)] == [first.raw, first.raw]


@pytest.mark.parametrize("other", [SkippedRow("a", {}, 2), SkippedRow("b", {}, 1), SkippedRow("a", {})])
def test_an_unreadable_row_of_another_order_or_for_another_reason_is_another(other: SkippedRow) -> None:
    _, events = play(
        [listed(30 * n, skipped=[row]) for n, row in enumerate([SkippedRow("a", {}, 1), other])], WatchState()
    )
    assert [type(event) for event in events] == [RowSkipped, RowSkipped]


def test_orders_are_updated_even_without_an_event() -> None:
    seen = evolve(order(1), extra={"provider": "B"}, last_online=at(7))
    state, events = play([listed(0, order(1)), listed(30, seen)], WatchState())
    assert state.orders[1] is seen
    assert len(events) == 1


def test_a_state_change_is_reported_before_other_changes() -> None:
    _, events = play([listed(0, order(1, 0)), listed(30, order(1, 1, service="opt1"))], WatchState())
    assert [type(event) for event in events] == [OrderAdded, StateChanged, OrderUpdated]
    changed = events[1]
    assert isinstance(changed, StateChanged)
    assert (changed.previous, changed.current) == (OrderState.INACTIVE, OrderState.ACTIVE)


def test_a_list_that_fails_while_orders_fails_belongs_to_the_same_outage() -> None:
    down = [failed(30, number) for number in (None, 1)]
    _, events = play([listed(0, order(1)), *down, listed(60, order(1))], WatchState())
    assert [type(event) for event in events] == [OrderAdded, PollFailed, PollRecovered]
