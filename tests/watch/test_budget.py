"""How much of the pace polling may use, as functions."""

from __future__ import annotations

import pytest

from smspva_async._watch.budget import Budget, Quota

GAP = 1.5
INTERVAL = 30.0
QUOTA = Quota(INTERVAL, GAP, period=INTERVAL)


def test_any_two_intervals_have_three_quarters_of_the_pace_at_most() -> None:
    budget = Budget()
    now, begun = 0.0, list[float]()
    while now < 600:
        now = max(now + GAP, budget.urgent_from(now, QUOTA))
        budget.note(now)
        begun.append(now)
    most = max(sum(time <= other < time + 2 * INTERVAL for other in begun) for time in begun)
    assert most == 28  # of 40; two of the share of 30 are left to the orders
    assert begun[1] - begun[0] == GAP  # what isn't used is credit


def test_readings_in_turn_leave_a_reserve_to_flags() -> None:
    budget = Budget()
    for number in range(26):
        assert budget.in_turn_from(number * GAP, QUOTA) == number * GAP
        budget.note(number * GAP)
    now = 26 * GAP
    assert budget.in_turn_from(now, QUOTA) == 2 * INTERVAL
    assert budget.urgent_from(now, QUOTA) == now
    assert budget.orders_from(now, QUOTA) == now


@pytest.mark.parametrize(("flags_work", "period"), [(False, 4), (True, 3)])
def test_eager_polls_take_half_of_the_share_until_a_flag_is_seen(flags_work: bool, period: float) -> None:  # noqa: FBT001
    assert Quota.of(INTERVAL, GAP, wanted=3, flags_work=flags_work).period == period
    assert Quota.of(INTERVAL, GAP, wanted=INTERVAL, flags_work=flags_work).period == INTERVAL


def test_without_a_gap_there_is_no_limit() -> None:
    quota, budget = Quota.of(INTERVAL, 0, wanted=3, flags_work=False), Budget()
    for _ in range(1000):
        budget.note(0.0)
    assert quota.period == 3
    assert budget.orders_from(0.0, quota) == 0
    assert budget.in_turn_from(0.0, quota) == 0
