"""The tick's plan, as a function: which lists are read, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st

from smspva_async._state import Track
from smspva_async._watch.plan import ReadQueue, plan
from tests.support.plans import FLAGS, queue_of, track
from tests.support.watching import START, order

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def planned(
    queue: ReadQueue, waits: Collection[int] = (), *, fits: int = 100, turn: int = 0, in_a_row: int = 0
) -> list[int]:
    reads = plan(queue, waits, fits=fits, flagged_fit=100, turn=turn, in_a_row=in_a_row)
    return [read.order_id for read in reads]


# -- the order -----------------------------------------------------------------------------------------------------


def test_the_longest_unread_comes_first_and_before_it_what_was_never_read() -> None:
    assert planned(queue_of(track(1, tried=3), track(2, tried=1), track(3, tried=None), track(4, tried=2))) == [
        3,
        2,
        4,
        1,
    ]


def test_risen_flags_come_before_all_others() -> None:
    queue = queue_of(track(1), track(2, flag="rose"), track(3), track(4, flag="rose"))
    assert planned(queue, waits=[1]) == [2, 4, 1, 3]


def test_every_fourth_is_one_in_turn_however_many_flags_rise() -> None:
    queue = queue_of(track(1), *(track(order_id, flag="rose") for order_id in range(2, 9)))
    assert planned(queue) == [2, 3, 4, 1, 5, 6, 7, 8]
    assert planned(queue, in_a_row=3)[:2] == [1, 2]


def test_those_waited_for_have_two_turns_of_three() -> None:
    queue = queue_of(*(track(order_id) for order_id in range(1, 10)), track(10, flag="up"))
    assert planned(queue, waits=[7, 8, 9, 6]) == [6, 7, 1, 8, 9, 10, 2, 3, 4, 5]


def test_a_failed_reading_is_repeated_in_its_turn_and_not_at_once() -> None:
    failed = Track(order(1, has_new_sms=True), START, tried_at=START, flag_rose=True, rose_at=START)
    assert planned(queue_of(failed, track(2), track(3, flag="rose")), fits=2) == [3, 2]


def test_what_changes_is_moved_and_nothing_else() -> None:
    tracks = {order_id: track(order_id, tried=order_id) for order_id in range(1, 5)}
    queue = ReadQueue()
    queue.take_in(tracks)
    queue.take_in({**tracks, 1: track(1, tried=100)})
    assert planned(queue) == [2, 3, 4, 1]
    # Read again, though by a clock that was set back.
    queue.take_in({**tracks, 1: track(1, tried=100), 2: track(2, tried=-100)})
    assert planned(queue) == [3, 4, 1, 2]
    queue.take_in({3: tracks[3], 1: track(1, tried=100), 9: track(9, tried=None)})
    assert planned(queue) == [9, 3, 1]
    assert len(queue) == 3


@given(
    kinds=st.lists(FLAGS, min_size=1, max_size=12),
    waits=st.sets(st.integers(1, 14)),
    fits=st.integers(0, 15),
    turn=st.integers(0, 12),
    in_a_row=st.integers(0, 3),
)
def test_a_plan_has_each_order_once_and_no_more_than_fit(
    kinds: list[str], waits: set[int], fits: int, turn: int, in_a_row: int
) -> None:
    queue = queue_of(*(track(order_id, flag=kind) for order_id, kind in enumerate(kinds, start=1)))
    reads = plan(queue, waits, fits=fits, flagged_fit=15, turn=turn, in_a_row=in_a_row)
    ids = [read.order_id for read in reads]
    flagged = {order_id for order_id, kind in enumerate(kinds, start=1) if kind == "rose"}
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(range(1, len(kinds) + 1))
    assert {read.order_id for read in reads if read.flagged} == flagged
    assert len(ids) <= max(fits, len(flagged) + (len(flagged) + in_a_row) // 3)
    if fits >= len(kinds):
        assert len(ids) == len(kinds)


@given(flags=st.sets(st.integers(1, 10)), waits=st.sets(st.integers(1, 10)), fits=st.integers(1, 3))
def test_no_order_waits_for_ever_whatever_the_flags_do(flags: set[int], waits: set[int], fits: int) -> None:
    tracks: Mapping[int, Track] = {i: track(i, flag="rose" if i in flags else "") for i in range(1, 11)}
    queue, turn, in_a_row, unread = ReadQueue(), 0, 0, set(tracks)
    for tick in range(1, 100):
        queue.take_in(tracks)
        for read in plan(queue, waits, fits=fits, flagged_fit=fits, turn=turn, in_a_row=in_a_row)[:fits]:
            turn, in_a_row = (turn, in_a_row + 1) if read.flagged else (turn + 1, 0)
            unread.discard(read.order_id)
            # A flag that rises again as soon as it was read.
            flag = "rose" if read.order_id in flags else ""
            tracks = {**tracks, read.order_id: track(read.order_id, tried=tick, flag=flag)}
    assert unread == set()
