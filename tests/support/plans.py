"""The input of a tick's plan: tracks of orders and the queue of their reads."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from smspva_async._state import Track
from smspva_async._watch.plan import ReadQueue
from tests.support.watching import START, order

FLAGS = st.sampled_from(["", "rose", "up"])
"""An order's flag: down, risen since the last read, or up as before."""


def track(order_id: int, *, tried: float | None = 0, flag: str = "") -> Track:
    """Return an order's track: when it was last read, and whether its flag rose since or stays up."""
    at = None if tried is None else START + timedelta(seconds=tried)
    return Track(
        order(order_id, has_new_sms=bool(flag)), START, read_at=at, tried_at=at, flag_rose=flag == "rose", rose_at=START
    )


def queue_of(*tracks: Track) -> ReadQueue:
    queue = ReadQueue()
    queue.take_in({track.order.id: track for track in tracks})
    return queue
