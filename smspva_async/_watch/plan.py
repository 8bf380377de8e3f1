"""The tick's plan: which lists are read, and in which order."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from smspva_async._state import Track

__all__ = ["FLAGGED_IN_A_ROW", "Read", "ReadQueue", "plan", "turns_of_all"]

FLAGGED_IN_A_ROW = 3
"""How many lists are read because of their flags for one that is read in turn."""
_TURNS = ("awaited", "awaited", "rest", "awaited", "awaited", "up")
_KINDS = ("rest", "up", "awaited")  # in the order in which they get the turns of a kind that has no orders


@frozen
class Read:
    """A list to be read."""

    order_id: int
    flagged: bool
    """Whether its flag rose since it was read, rather than that it is its turn."""


class ReadQueue:
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


def plan(
    queue: ReadQueue, waits: Collection[int], *, fits: int, flagged_fit: int, turn: int, in_a_row: int
) -> list[Read]:
    """Return the lists to read in a tick, in this order.

    First come those whose flag rose. Then, in weighted turns, those that somebody waits for, the rest, and those whose
    flag stays up although they were read; within each the longest unread. Where there is none of a kind, its turn
    goes to the next. So that no flags keep the others waiting for ever, every fourth reading is one in turn.

    Args:
        queue: The orders.
        waits: Those that somebody waits for.
        fits: How many readings fit before the orders are asked for again.
        flagged_fit: How many readings of risen flags do.
        turn: How many readings in turn there were before, as the turns go on from tick to tick.
        in_a_row: How many of risen flags there were since the last in turn.

    """
    awaited = queue.awaited(waits)
    passed = set(awaited)
    kinds = {
        "rest": (order_id for order_id in queue.rest() if order_id not in passed),
        "up": (order_id for order_id in queue.up() if order_id not in passed),
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
    for order_id in itertools.islice(queue.flagged(), max(0, flagged_fit)):
        if in_a_row >= FLAGGED_IN_A_ROW and (other := next(others, None)) is not None:
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
