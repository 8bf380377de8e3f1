"""The tick's plan: which lists are read, in which order, and how much of the pace polling may use."""

from __future__ import annotations

import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from smspva_async._diff import Track

__all__ = ["Budget", "Line", "Read", "plan"]

_SHARE = 0.75
_SHORTEST_WINDOW = 16  # gaps
_HAIR = 1e-6  # of what rounding does to times
_GRID_POLLS = 2  # in a window
_RESERVE = 2
_FLAGGED_IN_A_ROW = 3
_TURNS = ("awaited", "awaited", "rest", "awaited", "awaited", "up")


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
                del self._kinds[self._kind_of.pop(order_id)][order_id]

    def _sort_in(self, order_id: int, before: Track | None, track: Track) -> None:
        kind = _kind(track)
        known = self._kind_of.get(order_id)
        if kind == known and before is not None and before.tried_at == track.tried_at:
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
        return sorted(listed, key=self._last_tried)

    def _last_tried(self, order_id: int) -> float:
        tried_at = self._tracks[order_id].tried_at
        return -math.inf if tried_at is None else tried_at.timestamp()


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
            for kind in (due, *kinds):
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
        self._last_in_turn = -math.inf

    def note(self, now: float) -> None:
        """Take note of a request of polling that begins now."""
        self._begun.append(now)

    def note_in_turn(self, now: float) -> None:
        """Take note that it is one in turn."""
        self._last_in_turn = now

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

    def orders_from(self, now: float, gap: float) -> float:
        """Return when the orders may be asked for."""
        return self._free(self.share(gap), now, gap)

    def read_from(self, now: float, gap: float, period: float, *, flagged: bool) -> float:
        """Return when a list may be read."""
        if flagged:
            return self._free(self.share(gap) - _GRID_POLLS, now, gap)
        reads = self.reads(period, gap)
        # Where the orders are asked for often they are spread out, so that neither has to pause.
        spread = 0.0 if period >= self._interval else self.window(gap) / reads
        return max(self._free(self.window(gap) / period + reads, now, gap), self._last_in_turn + spread)

    def _free(self, share: float, now: float, gap: float) -> float:
        """Return from when on there are fewer than `share` requests within a window."""
        window = self.window(gap)
        while self._begun and self._begun[0] <= now - window + _HAIR:
            self._begun.popleft()
        if len(self._begun) < share:
            return now
        return self._begun[len(self._begun) - int(share)] + window
