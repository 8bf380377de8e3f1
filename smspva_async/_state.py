"""What a watch remembers from poll to poll.

Every message ever seen is among it, counted, so that a list that shrinks and grows again brings nothing back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from attrs import Factory, field, frozen

from smspva_async.models import Order

__all__ = ["MessageKey", "State", "Track"]

MessageKey: TypeAlias = tuple[str, str | None, datetime | None]
"""By which a message is known: its text, sender and time."""


@frozen
class Track:
    """What is remembered of an order."""

    order: Order
    """As it was when more than `last_online` or `extra` last changed, so that nothing is written for those alone."""
    seen_at: datetime
    """When it was first seen."""
    counts: Mapping[MessageKey, int] = field(factory=dict[MessageKey, int])
    """Each message ever listed -> how often at most."""
    read_at: datetime | None = None
    """When its messages were last read; None if never."""
    tried_at: datetime | None = None
    """When they were last asked for, with or without success; None if never."""
    known_before: datetime | None = None
    """At the first reading, messages dated before this were there already; None: all of them are new."""
    flag_seen: bool = False
    """Whether the flag was up at any poll before the first reading."""
    flag_rose: bool = False
    """Whether the flag rose since the messages were last asked for and read."""
    rose_at: datetime | None = None
    """When it was seen to have risen."""
    brought: bool = False
    """Whether the last reading brought a message, so that a flag that is up in the next poll tells of another."""
    missing_since: datetime | None = None
    missing_polls: int = 0
    failing_since: datetime | None = None
    """When reading its messages began to fail."""


@frozen
class State:
    """All that a watch remembers."""

    seq: int = 0
    """The newest event's."""
    replay: bool = False
    """Whether messages found on the first poll are new."""
    since: datetime | None = None
    """The second of the first good poll; None before it."""
    baseline: int = 0
    """The newest event's `seq` after the first good poll."""
    tracks: Mapping[int, Track] = field(factory=dict[int, Track])
    gone: Mapping[int, Track] = field(factory=dict[int, Track])
    """Orders that were removed; one that comes back brings no message twice."""
    failing_since: datetime | None = None
    """When `orders` began to fail."""
    skipped: tuple[str, ...] = ()
    """Fingerprints of the rows last reported as unreadable."""
    orders: Mapping[int, Order] = field(
        default=Factory(
            lambda state: {order_id: track.order for order_id, track in state.tracks.items()}, takes_self=True
        ),
        eq=False,
        repr=False,
    )
    """The tracked orders as last seen."""
