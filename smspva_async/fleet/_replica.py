"""A member's copy of the journal, and the texts by which Redis keeps it. Nothing here uses the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import field, fields, frozen

from smspva_async.journal import codec
from smspva_async.journal.database import unix_time
from smspva_async.journal.memory import RingBuffer
from smspva_async.journal.shared import Demand, LeaderStatus
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smspva_async.events import Event

IN_MEMORY = 1024
"""The number of newest events in a replica."""
_LARGEST_NEWS = 65_536
"""The maximum number of characters of one entry of the news."""


@frozen
class Facts:
    """The place in the journal's history that a replica is from: the fields of the hash `meta` that a replica needs."""

    version: int = 0
    """The number of writes so far."""
    mark: str = ""
    """The last write's unique name."""
    news: int = 0
    """The number of the last entry of the news."""
    epoch: int = 0
    """The number of the last reign."""
    oldest: int = 0
    """The position before the oldest event that Redis keeps."""
    seq: int = 0
    """The newest event's number."""
    form: str = "1"
    account: str = ""

    @classmethod
    def of(cls, meta: Mapping[str, str]) -> Facts:
        """Return the facts in a hash."""
        return cls(
            mark=meta.get("mark", ""),
            form=meta.get("form", "1"),
            account=meta.get("account", ""),
            **{name: int(meta.get(name, 0)) for name in ("version", "news", "epoch", "oldest", "seq")},
        )


FACTS = tuple(attribute.name for attribute in fields(Facts))


@frozen
class Replica:
    """A copy of the state and of the newest events."""

    facts: Facts = Facts()
    state: WatchState | None = None
    ring: RingBuffer = field(factory=lambda: RingBuffer(IN_MEMORY))


def load(
    meta: Mapping[str, str],
    tracks: Mapping[str, str],
    messages: Mapping[str, str],
    events: Sequence[str],
) -> Replica:
    """Return the replica of what Redis holds. It takes seconds if there are many orders.

    Args:
        meta: The hash of the same name.
        tracks: The hash of the same name.
        messages: The hash of the same name.
        events: The newest events, the oldest of them first.

    """
    facts = Facts.of(meta)
    ring = RingBuffer(IN_MEMORY, facts.seq - len(events))
    ring.extend([codec.load_event(event) for event in events])
    if "head" not in meta:
        return Replica(facts, None, ring)
    records = ((int(order_id), *json.loads(track)) for order_id, track in tracks.items())
    counts = ((int(key.partition(":")[0]), key.partition(":")[2], int(messages[key])) for key in messages)
    return Replica(facts, codec.load_state(meta["head"], records, counts), ring)


@frozen
class Write:
    """The arguments by which a script writes a state and events."""

    head: str
    news: str
    """The whole change for the other members; empty if it is too large."""
    lists: Sequence[str | float]
    """Events, tracks and messages, and what is lost of the latter: each list after its length."""


def write(old: WatchState, new: WatchState, events: Sequence[Event]) -> Write:
    """Return a change as arguments."""
    found = codec.changes(old, new)
    head, texts = codec.save_state(new), [codec.save_event(event) for event in events]
    known = {order_id: old.tracks.get(order_id) or old.removed[order_id] for (order_id,) in found.lost_tracks}
    lost = [*found.lost_messages, *((order_id, key) for order_id, track in known.items() for key in track.counts)]
    lists: list[str | float] = [len(events)]
    for event, text in zip(events, texts, strict=True):
        lists += [event.seq, unix_time(event), text]
    lists.append(len(found.tracks))
    for order_id, is_removed, track in found.tracks:
        lists += [order_id, json.dumps([is_removed, track])]
    lists.append(len(found.messages))
    for order_id, key, count in found.messages:
        lists += [f"{order_id}:{key}", count]
    lists += [len(known), *known, len(lost), *(f"{order_id}:{key}" for order_id, key in lost)]
    news = json.dumps([head, texts, [found.tracks, found.messages, found.lost_tracks, found.lost_messages]])
    return Write(head, news if len(news) <= _LARGEST_NEWS else "", lists)


def read_change(state: WatchState | None, news: str) -> tuple[WatchState, Sequence[Event]]:
    """Return the state after the change of an entry of the news, and the change's events."""
    head, texts, found = json.loads(news)
    return codec.apply(state or WatchState(), head, codec.Changes(*found)), [codec.load_event(text) for text in texts]


# -- small values ------------------------------------------------------------------------------------------------------


def save_demand(demand: Demand) -> str:
    """Return a demand as JSON; ``null`` if it is empty."""
    if demand == Demand():
        return "null"
    return json.dumps([sorted(demand.messages), sorted(demand.states), dict(demand.refreshes)])


def load_demand(text: str) -> Demand | None:
    """Return the demand that `save_demand` wrote; None if it was empty."""
    saved = json.loads(text)
    return None if saved is None else Demand(frozenset(saved[0]), frozenset(saved[1]), saved[2])


def save_status(status: LeaderStatus) -> str:
    """Return a status as JSON."""
    success = None if status.last_success is None else status.last_success.isoformat()
    return json.dumps([status.period, status.full_scan, success, status.last_failure])


def load_status(text: str) -> LeaderStatus:
    """Return the status that `save_status` wrote."""
    period, full_scan, success, failure = json.loads(text)
    return LeaderStatus(period, full_scan, success and datetime.fromisoformat(success), failure)
