"""The scheduler alone, in simulated time."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import defaultdict
from functools import partial
from itertools import count, pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from attrs import Factory, define, evolve, frozen
from hypothesis import given, strategies as st

from smspva_async._watch.scheduler import ORDERS, Scheduler, Wants
from smspva_async.journal.state import OrderTrack
from tests.support import accounts
from tests.support.accounts import order
from tests.support.watching import gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

GAP, INTERVAL, EAGER = 1.5, 30.0, 3.0
EPSILON = 1e-6
START = 1000.0
"""The moment at which a simulation begins."""


def track(order_id: int, *, rose_at: float | None = None, suspected_at: float | None = None) -> OrderTrack:
    return OrderTrack(
        order(order_id), accounts.START, flag_rose=rose_at is not None, rose_at=rose_at, suspected_at=suspected_at
    )


def tracks_of(ids: Iterable[int]) -> dict[int, OrderTrack]:
    return {order_id: track(order_id) for order_id in ids}


def spacing(wants: Wants, gap: float) -> float:
    return max(gap / (0.9 if wants.messages else 0.75), 0.05)


# -- a poll loop in simulated time -----------------------------------------------------------------------------------


@frozen
class World:
    """The settings of a simulated account, server and client; shares are between 0 and 1."""

    orders: int = 5
    interval: float = INTERVAL
    eager: float = EAGER
    gap: float = GAP
    wants: Wants = Factory(Wants)
    rising: float = 0.0
    """Share of flags that rise at each poll."""
    always_rise: frozenset[int] = frozenset()
    """Orders whose flags rise at each poll."""
    suspected: float = 0.0
    churn: float = 0.0
    """Share of orders that are removed, or added, at each poll."""
    restless: bool = False
    """True if the waits and the gap change all the time."""
    orders_fail: float = 0.0
    reads_fail: float = 0.0
    retried: float = 0.0
    """Share of failures that the client retries."""
    delay: float = 0.0
    """The longest time by which other calls delay a request."""
    latency: float = 0.4
    seed: int = 0


@define(eq=False)
class Request:
    what: int | None
    attempts: int = 0
    sent_at: float = math.nan
    refresh: int = 0


class Simulation:
    """A poll loop without I/O: it simulates `PollLoop` and the client's rate limiter in a random `World`.

    Subclasses check properties in `begins`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.wants, self.gap = world.wants, world.gap
        self.random = Random(world.seed)
        self.now = START
        self.scheduler = Scheduler(self.now, interval=world.interval, eager_interval=world.eager)
        self.tracks = tracks_of(range(1, world.orders + 1))
        self.begun: list[tuple[float, int | None]] = []
        self.sent: list[tuple[float, int | None]] = []
        self.in_flight: set[int | None] = set()
        self.last = -math.inf
        """The moment of the last request, chosen or sent."""
        self.free = -math.inf
        self._newest_refresh = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self.scheduler.update(self.tracks)
        if world.restless:
            self._in(1, self._change_wants)

    def run(self, requests: int) -> None:
        """Continue until this number of requests has begun."""
        until = len(self.begun) + requests
        while len(self.begun) < until:
            at, what = self.scheduler.next(self.wants, self.gap, self.now)
            if at > self.now:
                self.pass_time(at)
                continue
            request = Request(what)
            self.begins(what)
            self.begun.append((self.now, what))
            self.scheduler.record_chosen(what, self.wants, self.now)
            self.last = self.now
            self.in_flight.add(what)
            self._permit(request)
            while not request.attempts:
                self.pass_time(math.inf)

    def times(self, what: int | None) -> list[float]:
        return [time for time, sent in self.sent if sent == what]

    def begins(self, what: int | None) -> None:
        """Check a request that begins."""

    def retries(self) -> None:
        """Check a request that is retried."""

    # The world's behavior, which subclasses override.

    def listed(self) -> None:
        """Change the tracks as an answer to `orders` does."""
        world, draw = self.world, self.random.random
        for order_id in list(self.tracks):
            if draw() < world.churn:
                del self.tracks[order_id]
            elif draw() < world.rising or order_id in world.always_rise:
                self.rise(order_id)
            elif draw() < world.suspected:
                self.tracks[order_id] = evolve(self.tracks[order_id], suspected_at=self.now)
            elif self.tracks[order_id].suspected_at is not None:
                self.tracks[order_id] = evolve(self.tracks[order_id], suspected_at=None)
        for order_id in range(1, world.orders + 1):
            if order_id not in self.tracks and draw() < 0.3:
                self.tracks[order_id] = track(order_id, rose_at=self.now if draw() < world.rising else None)

    def rise(self, order_id: int) -> None:
        self.tracks[order_id] = evolve(self.tracks[order_id], flag_rose=True, rose_at=self.now)

    def read(self, order_id: int, requested_at: float) -> int:
        """Change the tracks as an answer to `sms` does; return the number of new messages."""
        known = self.tracks.get(order_id)
        if known is not None and known.flag_rose:
            self.tracks[order_id] = evolve(known, flag_rose=known.rose_at is not None and requested_at < known.rose_at)
        return int(self.random.random() < 0.2)

    # The simulation's mechanics.

    def pass_time(self, until: float) -> None:
        """Go to the next event, or to `until` if that is sooner."""
        if not self._events or self._events[0][0] > until:
            assert until < math.inf, "no event is left"
            self.now = until
            return
        self.now, _, happen = heapq.heappop(self._events)
        happen()

    def _in(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), happen))

    def _permit(self, request: Request) -> None:
        delay = self.random.uniform(0, self.world.delay) if self.random.random() < 0.5 else 0
        moment = max(self.now, self.free) + delay
        self.free = moment + self.gap
        self._in(moment - self.now, lambda: self._send(request))

    def _send(self, request: Request) -> None:
        request.attempts += 1
        request.sent_at, request.refresh = self.now, self._newest_refresh
        self.scheduler.record_sent(request.what, self.now)
        self.last = self.now
        self.sent.append((self.now, request.what))
        self.is_sent(request.what)
        share = self.world.orders_fail if request.what is ORDERS else self.world.reads_fail
        failed = self.random.random() < share
        if failed and request.attempts < 3 and self.random.random() < self.world.retried:
            self._in(self.random.uniform(0.05, 3), lambda: self._retry(request))
        else:
            self._in(self.random.uniform(0.05, self.world.latency), lambda: self._answer(request, failed=failed))

    def _retry(self, request: Request) -> None:
        free = self.scheduler.free_at(self.wants, self.gap)
        if free > self.now:
            self._in(free - self.now, lambda: self._retry(request))
            return
        self.retries()
        self.scheduler.record_retry(self.now)
        self.last = self.now
        self._permit(request)

    def is_sent(self, what: int | None) -> None:
        """Record a request that is sent."""

    def ended(self, what: int | None, *, failed: bool) -> None:
        """Record a request that was answered or has failed."""

    def _answer(self, request: Request, *, failed: bool) -> None:
        new, known = 0, self.tracks
        self.tracks = dict(known)
        if request.what is ORDERS and not failed:
            self.listed()
            if request.refresh == self._newest_refresh:
                self.wants = evolve(self.wants, refresh=False)
        elif request.what is not ORDERS and not failed:
            new = self.read(request.what, request.sent_at)
        elif request.what in self.tracks and self.tracks[request.what].suspected_at is not None:
            del self.tracks[request.what]  # `sms` does not find the order
        self.tracks = known if known == self.tracks else self.tracks
        self.scheduler.update(self.tracks)
        self.in_flight.discard(request.what)
        self.ended(request.what, failed=failed)
        self.scheduler.record_end(request.what, self.now, failed=failed, new=new)

    def _change_wants(self) -> None:
        draw, most = self.random, self.world.orders + 2  # two that aren't listed
        match draw.randrange(5):
            case 0:
                ids = draw.sample(range(1, most + 1), k=draw.randint(0, most))
                self.wants = evolve(self.wants, messages=frozenset(ids))
            case 1:
                self.wants = evolve(self.wants, messages=frozenset())
            case 2:
                self.wants = evolve(self.wants, states=frozenset(draw.sample(range(1, most + 1), k=draw.randint(0, 1))))
            case 3:
                self._newest_refresh += 1
                self.wants = evolve(self.wants, refresh=True)
            case _:
                self.gap = self.world.gap * draw.choice([1, 1, 2, 8])
        self._in(draw.uniform(0.1, 20) * max(self.world.gap, 0.5), self._change_wants)


class CheckedSimulation(Simulation):
    """A simulation that checks the scheduler's rule for every request that begins."""

    def __init__(self, world: World) -> None:
        self.read_at: dict[int, float] = {}
        self.urgent: set[int] = set()
        self.failed: set[int] = set()
        self.urgent_in_row = 0
        self.turns: list[bool] = []
        """For each reading in turn, True if it was awaited."""
        self.orders_failed = self.read_failed = False
        self.ticked = self.orders_sent = math.nan
        self.overtaken = 0
        super().__init__(world)

    @property
    def is_down(self) -> bool:
        return self.orders_failed and self.read_failed

    def in_turn(self, *, awaited: bool) -> set[int]:
        """Return the lists that may be read in turn now."""
        if self.is_down and not awaited:
            return set()
        pause = self.world.eager / 2 if awaited else self.world.interval
        return {
            order_id
            for order_id in self.tracks.keys() - self.in_flight
            if (order_id in self.wants.messages) is awaited
            and self.read_at.get(order_id, -math.inf) + pause <= self.now + EPSILON
        }

    def in_turn_now(self) -> set[int]:
        return self.in_turn(awaited=True) | self.in_turn(awaited=False)

    def urgent_now(self) -> set[int]:
        return {
            order_id for order_id in self.urgent - self.in_flight if order_id in self.wants.messages or not self.is_down
        }

    # The rule.

    def begins(self, what: int | None) -> None:
        self.keeps_the_pace()
        assert what not in self.in_flight
        if what is ORDERS:
            if self.begun and self.begun[-1][1] is ORDERS:
                assert not self.urgent_now() | self.in_turn_now(), "orders twice in a row"
            self.overtaken = 0
            return
        assert what in self.tracks
        assert what in self.wants.messages or not self.is_down
        self.overtakes_orders_once_at_most()
        # A list that is next in turn is read in turn, even if its flag rose.
        if what in self.urgent and not (self.urgent_in_row >= 3 and what in self.in_turn_now()):
            self.is_urgent(what)
        else:
            self.is_in_turn(what)
        self.urgent.discard(what)

    def retries(self) -> None:
        self.keeps_the_pace()

    def keeps_the_pace(self) -> None:
        assert self.now >= self.last + spacing(self.wants, self.gap) - EPSILON
        assert self.now >= self.last + 0.05 - EPSILON

    def overtakes_orders_once_at_most(self) -> None:
        period = self.scheduler.period(self.wants, self.gap)
        since = self.ticked if period == self.world.interval else self.orders_sent
        if ORDERS not in self.in_flight and self.now > since + period + EPSILON:
            self.overtaken += 1
        # One list may be read although `orders` is due, and so may three awaited ones whose flags rose.
        assert self.world.restless or self.overtaken <= (4 if self.wants.messages else 1)

    def is_urgent(self, what: int) -> None:
        if self.urgent_in_row >= 3:
            assert not self.in_turn_now(), "four urgent lists in a row"
        if what not in self.wants.messages:
            assert not self.urgent_now() & self.wants.messages, "an awaited list whose flag rose comes first"
        self.urgent_in_row += 1

    def is_in_turn(self, what: int) -> None:
        if self.urgent_now():
            assert self.urgent_in_row >= 3, "a list whose flag rose comes first"
        is_awaited = what in self.wants.messages
        assert what in self.in_turn(awaited=is_awaited), "the list was read too soon"
        oldest = min(self.read_at.get(order_id, -math.inf) for order_id in self.in_turn(awaited=is_awaited))
        assert self.read_at.get(what, -math.inf) == oldest, "the list read longest ago comes first"
        had_two = self.turns[-2:] == [True, True]
        if is_awaited:
            assert not (had_two and self.in_turn(awaited=False)), "three awaited in a row"
        else:
            assert had_two or not self.in_turn(awaited=True), "two awaited lists come before each other list"
        self.urgent_in_row = 0
        self.turns.append(is_awaited)

    # The data for the assertions.

    def is_sent(self, what: int | None) -> None:
        if what is ORDERS:
            self.ticked = self.orders_sent = self.now
            self.read_failed = False
        elif what in self.tracks:
            self.read_at[what] = self.now

    def ended(self, what: int | None, *, failed: bool) -> None:
        if what is ORDERS:
            self.ticked = self.now
            self.orders_failed = failed
        else:
            self.read_failed = failed
        urgent_orders = {
            known.order.id for known in self.tracks.values() if known.flag_rose or known.suspected_at is not None
        }
        if what is ORDERS and not failed:  # an urgent list that couldn't be read is tried after the next poll
            self.urgent |= self.failed
            self.failed = set()
        elif what in urgent_orders and failed:
            self.failed.add(what)
        self.urgent &= urgent_orders
        self.read_at = {order_id: time for order_id, time in self.read_at.items() if order_id in self.tracks}

    def listed(self) -> None:
        before = dict(self.tracks)
        super().listed()
        for order_id, now in self.tracks.items():
            then = before.get(order_id, track(order_id))
            rose = now.flag_rose and now.rose_at == self.now
            if rose or (now.suspected_at is not None and then.suspected_at is None):
                self.urgent.add(order_id)


shares = st.sampled_from([0.0, 0.1, 0.5, 1.0])
worlds = st.builds(
    World,
    orders=st.integers(0, 12),
    interval=st.sampled_from([INTERVAL, 5.0, 0.5, 120.0]),
    eager=st.sampled_from([EAGER, 1.0, 20.0]),
    gap=st.sampled_from([GAP, 0.0, 0.1, 5.0]),
    wants=st.builds(Wants, messages=st.frozensets(st.integers(1, 14), max_size=14)),
    rising=shares,
    always_rise=st.frozensets(st.integers(1, 12), max_size=12),
    suspected=shares,
    churn=st.sampled_from([0.0, 0.1]),
    restless=st.booleans(),
    orders_fail=shares,
    reads_fail=shares,
    retried=st.sampled_from([0.0, 0.5]),
    delay=st.sampled_from([0.0, 3.0, 100.0]),
    latency=st.sampled_from([0.05, 0.4, 40.0]),
    seed=st.integers(0, 2**32),
)


@given(world=worlds)
def test_every_request_follows_the_rule(world: World) -> None:
    CheckedSimulation(world).run(150)


# -- the rule by examples --------------------------------------------------------------------------------------------


def next_requests(simulation: Simulation, requests: int) -> list[int | None]:
    """Run the simulation and return the requests that begin."""
    simulation.run(requests)
    return [what for _, what in simulation.begun[-requests:]]


def settled(world: World) -> Simulation:
    """Return a simulation in which each list has just been read, and then `orders`."""
    simulation = Simulation(world)
    simulation.run(world.orders)
    while simulation.begun[-1][1] is not ORDERS:
        simulation.run(1)
    simulation.pass_time(math.inf)
    return simulation


def test_orders_come_first_when_they_are_due() -> None:
    simulation = Simulation(World(orders=100, rising=1.0))
    simulation.run(100)
    polled = simulation.times(ORDERS)
    assert len(polled) >= 5
    # A request in progress delays a poll by at most one slot.
    ticks = [polled[0] + INTERVAL * number for number in range(len(polled))]
    assert all(abs(time - tick) <= 2 * GAP / 0.75 for time, tick in zip(polled, ticks, strict=True))


def test_orders_never_come_twice_in_a_row_while_a_list_is_ready() -> None:
    # Each request is delayed by more than the period of `orders`, so that a poll is always due.
    world = World(orders=20, wants=Wants(messages=frozenset({1}), states=frozenset({1})))
    simulation = Simulation(world)
    for _ in range(30):
        simulation.run(1)
        simulation.free = simulation.now + 10
    begun = [what for _, what in simulation.begun]
    assert begun.count(ORDERS) == 15
    assert (ORDERS, ORDERS) not in pairwise(begun)


def test_orders_that_were_delayed_until_the_next_tick_do_not_come_twice_in_a_row() -> None:
    scheduler = Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER)
    wants, tracks = Wants(), tracks_of([1])
    tick = poll(scheduler, wants, 0.0)
    scheduler.update(tracks)
    read_at = tick - INTERVAL + 1.0
    scheduler.record_chosen(1, wants, read_at)
    scheduler.record_sent(1, read_at)
    scheduler.record_end(1, read_at, failed=False)
    # The list is ready 1 s after the tick, and the slot is free 2 s after it.
    scheduler.record_chosen(ORDERS, wants, tick - INTERVAL + 2.0)
    scheduler.record_sent(ORDERS, tick - 0.01)
    scheduler.record_end(ORDERS, tick - 0.005, failed=False)
    at, what = scheduler.next(wants, GAP, tick - 0.005)
    assert what == 1
    assert at == pytest.approx(tick - 0.01 + GAP / 0.75)


def poll(scheduler: Scheduler, wants: Wants, now: float) -> float:
    """Poll `orders`, and return when the next request is due. Without lists, it is the next poll."""
    scheduler.record_chosen(ORDERS, wants, now)
    scheduler.record_sent(ORDERS, now)
    scheduler.record_end(ORDERS, now, failed=False)
    return scheduler.next(wants, GAP, now)[0]


def test_a_list_whose_flag_rose_comes_next() -> None:
    simulation = settled(World(orders=9))
    assert next_requests(simulation, 2) == [1, 2]
    simulation.tracks = {**simulation.tracks, 7: track(7, rose_at=simulation.now)}
    simulation.scheduler.update(simulation.tracks)
    assert next_requests(simulation, 3) == [7, 3, 4]


def test_a_list_whose_order_seems_to_be_removed_comes_next() -> None:
    simulation = settled(World(orders=9))
    simulation.tracks = {**simulation.tracks, 7: track(7, suspected_at=simulation.now)}
    simulation.scheduler.update(simulation.tracks)
    assert next_requests(simulation, 3) == [7, 1, 2]  # and once only


def test_an_awaited_list_is_read_first_if_two_flags_rose() -> None:
    simulation = settled(World(orders=9))
    simulation.wants = Wants(messages=frozenset({8}))
    risen = {order_id: track(order_id, rose_at=simulation.now) for order_id in (7, 8, 9)}
    simulation.tracks = {**simulation.tracks, **risen}
    simulation.scheduler.update(simulation.tracks)
    assert next_requests(simulation, 3) == [8, 7, 9]


def when_orders_are_due() -> Scheduler:
    """Return a scheduler that has read the lists of its two orders, and whose next poll is due at 30."""
    scheduler, wants = Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER), Wants()
    scheduler.update(tracks_of([1, 2]))
    poll(scheduler, wants, 0.0)
    for order_id in (1, 2):
        answer(scheduler, order_id, 10.0 * order_id)
    return scheduler


def answer(scheduler: Scheduler, order_id: int, now: float, new: int = 0) -> None:
    """Read a list."""
    scheduler.record_chosen(order_id, Wants(), now)
    scheduler.record_sent(order_id, now)
    scheduler.record_end(order_id, now, failed=False, new=new)


@pytest.mark.parametrize(("awaited", "first"), [(1, 1), (2, ORDERS)])
def test_only_an_awaited_list_whose_flag_rose_is_read_before_due_orders(awaited: int, first: int | None) -> None:
    scheduler, wants = when_orders_are_due(), Wants(messages=frozenset({awaited}))
    assert scheduler.next(wants, GAP, 30.0)[1] is ORDERS
    scheduler.update({1: track(1, rose_at=29.0), 2: track(2)})
    assert scheduler.next(wants, GAP, 30.0)[1] == first


@pytest.mark.parametrize(("was_up", "counted"), [(False, 1), (True, 0)])
def test_a_flag_that_rose_without_falling_first_is_not_measured(*, was_up: bool, counted: int) -> None:
    scheduler = when_orders_are_due()
    before = evolve(track(1), order=order(1, has_new_sms=was_up))
    scheduler.update({1: before, 2: track(2)})
    poll(scheduler, Wants(), 30.0)
    scheduler.update({1: evolve(before, flag_rose=True, rose_at=30.0), 2: track(2)})
    answer(scheduler, 1, 32.0, new=1)
    assert scheduler.flags == {"announced": counted, "unannounced": 0}


def test_every_fourth_list_is_read_in_turn_even_if_many_flags_rise() -> None:
    simulation = settled(World(orders=14))
    risen = {order_id: track(order_id, rose_at=simulation.now) for order_id in range(6, 15)}
    simulation.tracks = {**simulation.tracks, **risen}
    simulation.scheduler.update(simulation.tracks)
    assert next_requests(simulation, 9) == [6, 7, 8, 1, 9, 10, 11, 2, 12]


def test_a_list_that_takes_its_turn_while_its_flag_is_up_counts_as_one_in_turn() -> None:
    simulation = settled(World(orders=14))
    risen = {order_id: track(order_id, rose_at=simulation.now) for order_id in (1, 2, 3, 4, 8)}
    simulation.tracks = {**simulation.tracks, **risen}
    simulation.scheduler.update(simulation.tracks)
    assert next_requests(simulation, 6) == [1, 2, 3, 4, 8, 5]


def test_lists_never_read_come_first_then_those_read_longest_ago() -> None:
    simulation = settled(World(orders=8))
    simulation.tracks = {**simulation.tracks, 9: track(9)}
    simulation.scheduler.update(simulation.tracks)
    assert next_requests(simulation, 3) == [9, 1, 2]


def test_awaited_lists_take_two_turns_of_three() -> None:
    simulation = settled(World(orders=14))
    simulation.wants = Wants(messages=frozenset({11, 12, 13, 14}))
    assert next_requests(simulation, 9) == [11, 12, 1, 13, 14, 2, 11, 12, 3]


def test_an_awaited_list_is_read_at_most_once_in_half_an_eager_interval() -> None:
    for eager in (EAGER, 10.0):
        simulation = Simulation(World(orders=1, eager=eager, gap=0.1, wants=Wants(messages=frozenset({1}))))
        simulation.run(50)
        assert min(gaps(simulation.times(1))) == pytest.approx(eager / 2, abs=0.01)


def test_other_lists_are_read_at_most_once_in_an_interval() -> None:
    simulation = Simulation(World(orders=3, gap=0.1))
    simulation.run(50)
    for order_id in (1, 2, 3):
        assert gaps(simulation.times(order_id)) == pytest.approx(
            [INTERVAL] * (len(simulation.times(order_id)) - 1), abs=1
        )


# -- starvation --------------------------------------------------------------------------------------------------------


class Turns(Simulation):
    """Counts, for each list, the readings of other lists from the moment when it may be read until it is read."""

    def __init__(self, world: World) -> None:
        self.overtaken: defaultdict[int, int] = defaultdict(int)
        self.longest: defaultdict[int, int] = defaultdict(int)
        self.read_at: dict[int | None, float] = {}
        super().__init__(world)

    def is_sent(self, what: int | None) -> None:
        self.read_at[what] = self.now

    def begins(self, what: int | None) -> None:
        if what is ORDERS:
            return
        for order_id in self.tracks.keys() - self.in_flight:
            pause = self.world.eager / 2 if order_id in self.wants.messages else self.world.interval
            if self.read_at.get(order_id, -math.inf) + pause <= self.now + EPSILON:
                self.overtaken[order_id] += 1
        self.longest[what] = max(self.longest[what], self.overtaken.pop(what, 0))


def check_turns(simulation: Turns) -> None:
    """Check that no list was overtaken by more readings than the rule permits."""
    awaited = len(simulation.wants.messages)
    others = len(simulation.tracks) - awaited
    for order_id in simulation.tracks:
        # At least one reading in four is in turn. Two in three of these are of awaited lists.
        most = 6 * awaited + 8 if order_id in simulation.wants.messages else (12 if awaited else 4) * (others + 1)
        assert max(simulation.longest[order_id], simulation.overtaken[order_id]) <= most, order_id


@given(
    orders=st.integers(1, 9),
    awaited=st.integers(0, 9),
    rising=st.sampled_from([0.0, 0.5]),
    always_rise=st.frozensets(st.integers(1, 9), max_size=9),
    eager=st.sampled_from([EAGER, 0.5]),
    gap=st.sampled_from([GAP, 0.1]),
    delay=st.sampled_from([0.0, 20.0]),
    seed=st.integers(0, 2**32),
)
def test_each_list_is_read_within_a_bound_for_any_behavior_of_the_flags(
    orders: int,
    awaited: int,
    rising: float,
    always_rise: frozenset[int],
    eager: float,
    gap: float,
    delay: float,
    seed: int,
) -> None:
    wants = Wants(messages=frozenset(range(1, min(awaited, orders) + 1)))
    world = World(orders, INTERVAL, eager, gap, wants, rising=rising, always_rise=always_rise, delay=delay, seed=seed)
    simulation = Turns(world)
    simulation.run(400)
    check_turns(simulation)


def test_awaited_lists_whose_flags_always_rise_do_not_starve_others() -> None:
    awaited = frozenset({1, 2, 3})
    simulation = Turns(World(5, wants=Wants(messages=awaited, states=awaited), always_rise=awaited))
    simulation.run(400)
    check_turns(simulation)


def test_other_lists_whose_flags_always_rise_do_not_starve_awaited_lists() -> None:
    simulation = Turns(World(40, 5.0, wants=Wants(messages=frozenset({1})), always_rise=frozenset(range(2, 41))))
    simulation.run(400)
    check_turns(simulation)


@given(world=worlds)
def test_the_time_between_polls_of_orders_is_bounded(world: World) -> None:
    simulation = Simulation(evolve(world, restless=False, delay=0.0, retried=0.0, latency=0.05))
    simulation.run(150)
    longest = max(gaps([START, *simulation.times(ORDERS), simulation.now]))
    assert longest <= max(world.interval, 2 * world.gap) + 5 * spacing(simulation.wants, world.gap) + 0.1


# -- the pace ----------------------------------------------------------------------------------------------------------


def most_within(seconds: float, times: Sequence[float]) -> int:
    """Return the highest number of requests in any period of that length."""
    return max(bisect_left(times, time + seconds - EPSILON) - place for place, time in enumerate(times))


@pytest.mark.parametrize(("awaited", "most"), [(1, 36), (4, 36), (0, 30)])
@pytest.mark.parametrize("delay", [0.0, 5.0])
@pytest.mark.parametrize("retried", [0.0, 1.0])
def test_polling_leaves_a_share_of_the_pace_free_in_any_minute(
    awaited: int, most: int, delay: float, retried: float
) -> None:
    wants = Wants(messages=frozenset(range(1, awaited + 1)))
    simulation = Simulation(
        World(
            20, wants=wants, rising=0.5, orders_fail=retried / 2, reads_fail=retried / 2, retried=retried, delay=delay
        )
    )
    simulation.run(1000)
    assert most_within(60, [time for time, _ in simulation.sent]) <= most
    if not delay:
        assert most_within(60, [time for time, _ in simulation.sent]) >= most - 1


# -- periods -----------------------------------------------------------------------------------------------------------


class Messages(Simulation):
    """Messages that arrive, with flags that announce them or never rise."""

    def __init__(self, world: World, *, flags_work: bool) -> None:
        self.flags_work = flags_work
        self.arrivals: dict[int, float] = {}
        super().__init__(world)
        for order_id in self.tracks:
            self._in(self.random.uniform(0, 40), partial(self._arrive, order_id))

    def _arrive(self, order_id: int) -> None:
        self.arrivals[order_id] = self.now
        self._in(self.random.uniform(20, 40), lambda: self._arrive(order_id))

    def listed(self) -> None:
        for order_id in self.arrivals if self.flags_work else ():
            if not self.tracks[order_id].flag_rose:
                self.rise(order_id)

    def read(self, order_id: int, requested_at: float) -> int:
        super().read(order_id, requested_at)
        return int(self.arrivals.pop(order_id, None) is not None)


@pytest.mark.parametrize(
    ("eager", "gap", "period"), [(3, 1.5, 3), (3, 0.5, 3), (3, 4, 8), (10, 1.5, 10), (50, 1.5, 30)]
)
def test_with_working_flags_three_awaited_orders_shorten_the_orders_period(
    eager: float, gap: float, period: float
) -> None:
    wants = Wants(messages=frozenset({1, 2, 3}))
    simulation = Messages(World(6, eager=eager, gap=gap, wants=wants), flags_work=True)
    assert simulation.scheduler.period(wants, gap) == INTERVAL  # no flag is measured yet
    simulation.run(500)
    assert simulation.scheduler.period(wants, gap) == period
    assert simulation.scheduler.flags["announced"] > 1.5 * simulation.scheduler.flags["unannounced"]
    polled = gaps(simulation.times(ORDERS)[-10:])
    assert period <= sum(polled) / len(polled) <= 1.2 * period + gap
    assert simulation.scheduler.period(Wants(messages=frozenset({1, 2})), gap) == INTERVAL


def test_with_flags_that_never_rise_orders_keep_their_interval() -> None:
    simulation = Messages(World(6, wants=Wants(messages=frozenset({1, 2, 3}))), flags_work=False)
    simulation.run(1000)
    assert simulation.scheduler.flags["announced"] == 0
    assert simulation.scheduler.flags["unannounced"] > 20
    assert simulation.scheduler.period(simulation.wants, GAP) == INTERVAL
    assert min(gaps(simulation.times(ORDERS))) >= INTERVAL - 2 * GAP / 0.9 - 0.1


def test_flags_that_stop_or_start_working_are_noticed() -> None:
    simulation = Messages(World(6, wants=Wants(messages=frozenset({1, 2, 3}))), flags_work=True)
    simulation.run(500)
    assert simulation.scheduler.period(simulation.wants, GAP) == EAGER
    simulation.flags_work = False
    simulation.run(500)
    assert simulation.scheduler.period(simulation.wants, GAP) == INTERVAL
    simulation.flags_work = True
    simulation.run(1000)
    assert simulation.scheduler.period(simulation.wants, GAP) == EAGER


def test_a_message_that_no_poll_could_announce_is_not_measured() -> None:
    scheduler = Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER)
    scheduler.update(tracks_of([1]))
    for now in (0.0, 10.0):  # the first reading, and one without a poll since
        scheduler.record_chosen(1, Wants(), now)
        scheduler.record_sent(1, now)
        scheduler.record_end(1, now + 0.1, failed=False, new=1)
    assert scheduler.flags == {"announced": 0, "unannounced": 0}
    poll(scheduler, Wants(), 20.0)
    scheduler.record_chosen(1, Wants(), 30.0)
    scheduler.record_sent(1, 30.0)
    scheduler.record_end(1, 30.1, failed=False, new=2)
    assert scheduler.flags == {"announced": 0, "unannounced": 2}


@pytest.mark.parametrize("wants", [Wants(states=frozenset({1})), Wants(messages=frozenset({99}))])
@pytest.mark.parametrize(("eager", "gap", "period"), [(3, 1.5, 9), (1, 4, 8), (20, 1.5, 30)])
def test_while_a_state_or_an_unlisted_order_is_awaited_the_period_is_three_eager_intervals(
    wants: Wants, eager: float, gap: float, period: float
) -> None:
    simulation = Simulation(World(3, eager=eager, gap=gap, wants=wants))
    simulation.run(60)
    assert simulation.scheduler.period(wants, gap) == period
    polled = gaps(simulation.times(ORDERS))
    assert max(polled) <= period + 2 * spacing(wants, gap)
    assert min(polled) >= (period - EPSILON if period < INTERVAL else period / 2)


def test_a_refresh_comes_after_two_gaps_or_three_eager_intervals_while_orders_fails() -> None:
    scheduler, wants = Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER), Wants(refresh=True)
    poll(scheduler, Wants(), 0.0)
    assert scheduler.next(wants, GAP, 0.1) == (2 * GAP, ORDERS)
    scheduler.record_chosen(ORDERS, wants, 3.0)
    scheduler.record_sent(ORDERS, 3.0)
    scheduler.record_end(ORDERS, 3.1, failed=True)
    assert scheduler.next(wants, GAP, 3.1) == (3.0 + 3 * EAGER, ORDERS)
    scheduler.record_chosen(ORDERS, wants, 12.0)
    scheduler.record_sent(ORDERS, 12.0)
    scheduler.record_end(ORDERS, 12.1, failed=False)
    at, what = scheduler.next(Wants(), GAP, 12.1)
    assert (at > 20, what) == (True, ORDERS)


def test_orders_are_polled_at_poll_again_at_and_then_on_schedule() -> None:
    scheduler, wants = Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER), Wants()
    usual = poll(scheduler, wants, 0.0)
    scheduler.record_chosen(ORDERS, wants, usual)
    scheduler.record_sent(ORDERS, usual)
    scheduler.record_end(ORDERS, usual + 0.1, failed=True, poll_again_at=usual + 10.1)
    assert scheduler.next(wants, GAP, usual + 0.2) == (usual + 10.1, ORDERS)
    assert poll(scheduler, wants, usual + 10.1) == pytest.approx(usual + INTERVAL)


# -- the grid ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [INTERVAL, 5.0, 600.0])
@pytest.mark.parametrize("orders", [0, 2])
def test_polls_keep_to_a_grid_with_one_phase(interval: float, orders: int) -> None:
    simulation = Simulation(World(orders, interval=interval, latency=2.0))
    simulation.run(100)
    ticks = simulation.times(ORDERS)
    places = [(time - ticks[0]) / interval for time in ticks]
    assert [round(place) for place in places] == list(range(len(ticks)))
    slot = GAP / 0.75
    assert max(abs(place - round(place)) * interval for place in places) <= (slot + EPSILON if orders else EPSILON)


def test_missed_polls_are_not_repeated_after_a_jump_in_time() -> None:
    simulation = Simulation(World(0))
    simulation.run(5)
    simulation.pass_time(math.inf)  # the last answer
    simulation.now += 3605.0
    simulation.run(5)
    before, after = simulation.times(ORDERS)[:5], simulation.times(ORDERS)[5:]
    assert before[-1] + 3605 <= after[0]
    assert gaps(after[1:]) == pytest.approx([INTERVAL] * 3)
    assert 0 < after[1] - after[0] <= INTERVAL + EPSILON
    assert (after[1] - before[0]) / INTERVAL == pytest.approx(round((after[1] - before[0]) / INTERVAL))


def test_missed_polls_are_not_repeated_after_a_slow_answer() -> None:
    scheduler, wants = Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER), Wants()
    tick = poll(scheduler, wants, 0.0)
    scheduler.record_chosen(ORDERS, wants, tick)
    scheduler.record_sent(ORDERS, tick)
    assert scheduler.next(wants, GAP, tick + 50) == (math.inf, ORDERS)  # one is in flight
    scheduler.record_end(ORDERS, tick + 50, failed=True)
    at, what = scheduler.next(wants, GAP, tick + 50)
    assert what is ORDERS
    assert at == pytest.approx(tick + 2 * INTERVAL)


def test_each_scheduler_has_its_own_phase_within_a_tenth_of_the_interval() -> None:
    phases = {poll(Scheduler(0.0, interval=INTERVAL, eager_interval=EAGER), Wants(), 0.0) for _ in range(20)}
    assert len(phases) == 20
    assert all(0.9 * INTERVAL <= due <= INTERVAL for due in phases)


# -- failures ----------------------------------------------------------------------------------------------------------


def test_while_orders_and_lists_fail_only_awaited_lists_are_tried() -> None:
    wants = Wants(messages=frozenset({2}))
    simulation = Simulation(World(12, wants=wants, rising=1.0))
    simulation.run(100)
    simulation.world = evolve(simulation.world, orders_fail=1.0, reads_fail=1.0)
    simulation.run(60)
    since_poll: list[int | None] = []
    for what in [what for _, what in simulation.begun[-40:]]:
        # After each poll one of the other lists is tried, to see if lists still fail.
        since_poll = [] if what is ORDERS else [*since_poll, what]
        assert len([order_id for order_id in since_poll if order_id != 2]) <= 1
    assert [what for _, what in simulation.begun[-40:]].count(2) > 25
    simulation.world = evolve(simulation.world, orders_fail=0.0, reads_fail=0.0)
    simulation.run(60)
    assert {what for _, what in simulation.begun[-50:]} == {ORDERS, *range(1, 13)}


def test_while_only_lists_fail_each_is_still_read_in_turn() -> None:
    simulation = Simulation(World(8, reads_fail=1.0))
    simulation.run(100)
    for order_id in range(1, 9):
        assert all(seconds >= INTERVAL - 0.1 for seconds in gaps(simulation.times(order_id)))
        assert len(simulation.times(order_id)) >= 5
