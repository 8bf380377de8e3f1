"""The tick's plan: which lists are read, in which order, and how much of the pace polling may use."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from smspva_async._diff import Track

__all__ = ["Budget", "Line", "Read", "plan", "turns_of_all"]

_SHARE = 0.75
_SHORTEST_WINDOW = 16  # gaps
_HAIR = 1e-6  # of what rounding does to times
_GRID_POLLS = 2  # in a window
_RESERVE = 2
_FLAGGED_IN_A_ROW = 3
_TURNS = ("awaited", "awaited", "rest", "awaited", "awaited", "up")
_KINDS = ("rest", "up", "awaited")  # in the order in which they get the turns of a kind that has no orders


@frozen
class Read:
    """A list to be read."""

    order_id: int
    flagged: bool
    """Whether its flag rose since it was read, rather than that it is its turn."""


class Line:
    """The orders as they queue up to be read, the longest unread first.

    Only what changes is moved, so that thousands of orders cost what the few cost that changed.
    """

    def __init__(self) -> None:
        self._tracks: Mapping[int, Track] = {}
        # Kind -> orders, in the order in which they were last asked for.
        self._kinds: dict[str, dict[int, None]] = {kind: {} for kind in ("flagged", "new", "up", "rest")}
        self._kind_of: dict[int, str] = {}
        # In order of the attempts themselves: a server's clocks may differ, and its time go back.
        self._attempts = itertools.count(1)
        self._attempt_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def take_in(self, tracks: Mapping[int, Track]) -> None:
        """Sort in what has changed."""
        before, self._tracks = self._tracks, tracks
        if tracks is before:
            return
        changed = [order_id for order_id, track in tracks.items() if before.get(order_id) is not track]
        if not before:
            changed.sort(key=lambda order_id: tracks[order_id].tried_at or tracks[order_id].seen_at)
        for order_id in changed:
            self._sort_in(order_id, before.get(order_id), tracks[order_id])
        if len(self._kind_of) != len(tracks):
            for order_id in self._kind_of.keys() - tracks.keys():
                del self._kinds[self._kind_of.pop(order_id)][order_id], self._attempt_of[order_id]

    def _sort_in(self, order_id: int, before: Track | None, track: Track) -> None:
        kind = _kind(track)
        known = self._kind_of.get(order_id)
        tried = before is None or before.tried_at != track.tried_at
        if tried:
            self._attempt_of[order_id] = 0 if track.tried_at is None else next(self._attempts)
        if kind == known and not tried:
            return
        if known is not None:
            del self._kinds[known][order_id]
        self._kind_of[order_id] = kind
        self._kinds[kind][order_id] = None

    def flagged(self) -> Iterator[int]:
        """Return the orders whose flag rose since they were read."""
        return iter(self._kinds["flagged"])

    def up(self) -> Iterator[int]:
        """Return those whose flag stays up although they were read."""
        return iter(self._kinds["up"])

    def rest(self) -> Iterator[int]:
        """Return all others, first those never read."""
        return itertools.chain(self._kinds["new"], self._kinds["rest"])

    def awaited(self, waits: Collection[int]) -> list[int]:
        """Return those that somebody waits for and whose flag didn't rise."""
        listed = [order_id for order_id in waits if self._kind_of.get(order_id, "flagged") != "flagged"]
        return sorted(listed, key=self._attempt_of.__getitem__)

    def sizes(self, waits: Collection[int]) -> dict[str, int]:
        """Return how many orders there are of each kind that has turns; a flag that rose is down again once read."""
        awaited = [order_id for order_id in waits if order_id in self._kind_of]
        up = len(self._kinds["up"]) - sum(order_id in self._kinds["up"] for order_id in awaited)
        return {"rest": len(self) - len(awaited) - up, "up": up, "awaited": len(awaited)}


def _kind(track: Track) -> str:
    failed = track.tried_at != track.read_at
    if track.flag_rose and not failed:
        return "flagged"
    if track.tried_at is None:
        return "new"
    return "up" if track.order.has_new_sms else "rest"


def plan(line: Line, waits: Collection[int], *, fits: int, flagged_fit: int, turn: int, in_a_row: int) -> list[Read]:
    """Return the lists to read in a tick, in this order.

    First come those whose flag rose. Then, in weighted turns, those that somebody waits for, the rest, and those whose
    flag stays up although they were read; within each the longest unread. Where there is none of a kind, its turn
    goes to the next. So that no flags keep the others waiting for ever, every fourth reading is one in turn.

    Args:
        line: The orders.
        waits: Those that somebody waits for.
        fits: How many readings fit before the orders are asked for again.
        flagged_fit: How many readings of risen flags do.
        turn: How many readings in turn there were before, as the turns go on from tick to tick.
        in_a_row: How many of risen flags there were since the last in turn.

    """
    awaited = line.awaited(waits)
    passed = set(awaited)
    kinds = {
        "rest": (order_id for order_id in line.rest() if order_id not in passed),
        "up": (order_id for order_id in line.up() if order_id not in passed),
        "awaited": iter(awaited),
    }

    def in_turn() -> Iterator[Read]:
        for place in itertools.count(turn):
            due = _TURNS[place % len(_TURNS)]
            for kind in (due, *_KINDS):
                order_id = next(kinds[kind], None)
                if order_id is not None:
                    yield Read(order_id, flagged=False)
                    break
            else:
                return

    others = in_turn()
    planned: list[Read] = []
    for order_id in itertools.islice(line.flagged(), max(0, flagged_fit)):
        if in_a_row >= _FLAGGED_IN_A_ROW and (other := next(others, None)) is not None:
            planned.append(other)
            in_a_row = 0
        planned.append(Read(order_id, flagged=True))
        in_a_row += 1
    planned.extend(itertools.islice(others, max(0, fits - len(planned))))
    return planned


def turns_of_all(sizes: Mapping[str, int]) -> int:
    """Return how many readings in turn it takes until every order has had one.

    Args:
        sizes: How many orders there are of each kind.

    """
    if not any(sizes.values()):
        return 0
    shares = Counter(next(kind for kind in (due, *_KINDS) if sizes[kind]) for due in _TURNS)
    return max(math.ceil(sizes[kind] / share) * len(_TURNS) for kind, share in shares.items())


class Budget:
    """How many requests polling may make: three quarters of the pace, over any two intervals.

    What isn't used is credit. Readings in turn leave a part of it to risen flags, and both leave the orders theirs.

    Args:
        interval: Seconds between two polls of the orders.

    """

    def __init__(self, interval: float) -> None:
        self.flags_work = False
        """Whether a flag was ever seen up. If not, messages are found by reading in turn alone."""
        self._interval = interval
        self._begun: deque[float] = deque()
        self._next_in_turn = -math.inf

    def note(self, now: float) -> None:
        """Take note of a request of polling that begins now."""
        self._begun.append(now)

    def note_in_turn(self, now: float, gap: float, period: float) -> None:
        """Take note that a list is read in turn from now on."""
        spread = self._spread(gap, period)
        # By plan rather than from the last, so that one which had to wait for its tick doesn't delay all others.
        self._next_in_turn = (self._next_in_turn if now < self._next_in_turn + spread else now) + spread

    def _spread(self, gap: float, period: float) -> float:
        """Return the seconds between readings in turn; 0 where they needn't be spread out.

        Where the orders are asked for often they are, so that neither has to pause.
        """
        return 0.0 if period >= self._interval else self.window(gap) / self.reads(period, gap)

    def window(self, gap: float) -> float:
        """Return the seconds over which requests are counted."""
        return max(2 * self._interval, _SHORTEST_WINDOW * gap)

    def share(self, gap: float) -> float:
        """Return how many requests a window may have."""
        return math.inf if gap == 0 else math.floor(_SHARE * self.window(gap) / gap)

    def period(self, wanted: float, gap: float) -> float:
        """Return the seconds between two polls of the orders, where somebody wants them to be so many."""
        return max(wanted, self.window(gap) / (self.share(gap) * (2 / 3 if self.flags_work else 1 / 2)))

    def reads(self, period: float, gap: float) -> float:
        """Return how many readings in turn a window may have beside the polls of the orders."""
        return max(1.0, self.share(gap) - self.window(gap) / period - _GRID_POLLS - _RESERVE)

    def turns_per_poll(self, period: float, gap: float) -> float:
        """Return how many readings in turn there are between two polls of the orders, on average."""
        return math.inf if gap == 0 else self.reads(period, gap) * period / self.window(gap)

    def seconds(self, turns: int, period: float, gap: float, *, flags_rise: bool) -> float:
        """Return how long so many readings in turn take at most."""
        if turns == 0 or gap == 0:
            return period if turns else 0.0
        window, reads = self.window(gap), self._sure_reads(period, gap)
        if not flags_rise and period == window / _GRID_POLLS:
            # Others may come in between.
            return math.ceil(turns * _GRID_POLLS / reads) * period + (_GRID_POLLS + _RESERVE) * gap
        if flags_rise:  # they are read until the orders are due by the interval, every fourth time a list in turn
            reads = min(reads, self._sure_reads(self._interval, gap) / (_FLAGGED_IN_A_ROW + 1))
        # What is read first in a window may be last in the next.
        return turns * (window / reads + 2 * gap * flags_rise) + window

    def _sure_reads(self, period: float, gap: float) -> float:
        """Return how many readings in turn a window has at least, however it lies."""
        polls = self.window(gap) / period
        return max(1, math.floor(polls + self.reads(period, gap) + _HAIR) - math.ceil(polls - _HAIR))

    def orders_from(self, now: float, gap: float) -> float:
        """Return when the orders may be asked for."""
        return self._free(self.share(gap), now, gap)

    def read_from(self, now: float, gap: float, period: float, *, flagged: bool) -> float:
        """Return when a list may be read."""
        if flagged:
            return self.again_from(now, gap)
        share = self.window(gap) / period + self.reads(period, gap)
        return max(self._free(share, now, gap), self.in_turn_from(now, gap, period))

    def again_from(self, now: float, gap: float) -> float:
        """Return when a request may be made again that failed."""
        return self._free(self.share(gap) - _GRID_POLLS, now, gap)

    def in_turn_from(self, now: float, gap: float, period: float) -> float:
        """Return when a list may be read in turn again, as far as these are spread out."""
        return min(self._next_in_turn, now + self._spread(gap, period))  # the pace may have become quicker

    def _free(self, share: float, now: float, gap: float) -> float:
        """Return from when on there are fewer than `share` requests within a window."""
        window = self.window(gap)
        while self._begun and self._begun[0] <= now - window + _HAIR:
            self._begun.popleft()
        if share == math.inf:
            return now
        count = math.floor(share + _HAIR)
        return now if len(self._begun) < count else self._begun[len(self._begun) - count] + window
