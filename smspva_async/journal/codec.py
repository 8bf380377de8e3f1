"""Conversion of events and states to the records of a database and back.

A state is large and a poll changes little of it. So the track of each order is a separate record, and so is each
message count.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, cast

from attrs import evolve, field, frozen

from smspva_async.events import event_from_dict, event_to_dict
from smspva_async.journal.state import OrderTrack, WatchState, read_part, write_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smspva_async.events import Event

TrackRecord: TypeAlias = tuple[int, bool, str]
"""An order's id, True if it was removed, and its track without the messages."""
MessageRecord: TypeAlias = tuple[int, str, int]
"""An order's id, a message's key, and the highest number of times it was listed."""


def save_event(event: Event) -> str:
    """Return an event as JSON."""
    return json.dumps(event_to_dict(event))


def load_event(text: str) -> Event:
    """Return the event that `save_event` wrote; raise `ValueError` if it is invalid."""
    return event_from_dict(json.loads(text))


def save_state(state: WatchState) -> str:
    """Return a state without its orders as JSON."""
    return json.dumps(write_part(state))


def load_state(saved: str, tracks: Iterable[TrackRecord], messages: Iterable[MessageRecord]) -> WatchState:
    """Return the state of these records; raise `ValueError` if they are invalid."""
    counts: dict[int, dict[str, int]] = {}
    for order_id, message, count in messages:
        counts.setdefault(order_id, {})[message] = count
    loaded: dict[bool, dict[int, OrderTrack]] = {False: {}, True: {}}
    for order_id, is_removed, text in tracks:
        track: OrderTrack = read_part(json.loads(text), OrderTrack)
        loaded[bool(is_removed)][order_id] = evolve(track, counts=counts.get(order_id, {}))
    orders = {order_id: track.order for order_id, track in loaded[False].items()}
    state = cast("WatchState", read_part(json.loads(saved), WatchState))
    return evolve(state, tracks=loaded[False], removed=_oldest_first(loaded[True]), orders=orders)


@frozen
class Changes:
    """The records to write to a database and to delete from it, to give it a new state."""

    tracks: list[TrackRecord] = field(factory=list[TrackRecord])
    messages: list[MessageRecord] = field(factory=list[MessageRecord])
    lost_tracks: list[tuple[int]] = field(factory=list[tuple[int]])
    lost_messages: list[tuple[int, str]] = field(factory=list[tuple[int, str]])

    @property
    def any(self) -> bool:
        """True if there is a change."""
        return bool(self.tracks or self.lost_tracks)


def changes(old: WatchState, new: WatchState) -> Changes:
    """Return the changes from an old state to a new one. A track that is the same object is unchanged."""
    found = Changes()
    for is_removed, before, after in ((False, old.tracks, new.tracks), (True, old.removed, new.removed)):
        if before is after:
            continue
        for order_id, track in after.items():
            if before.get(order_id) is not track:
                known = old.tracks.get(order_id) or old.removed.get(order_id)
                _add(found, order_id, known, track, is_removed=is_removed)
        lost = (order_id for order_id in before if order_id not in new.tracks and order_id not in new.removed)
        found.lost_tracks.extend((order_id,) for order_id in lost)
    return found


def _add(found: Changes, order_id: int, old: OrderTrack | None, track: OrderTrack, *, is_removed: bool) -> None:
    found.tracks.append((order_id, is_removed, json.dumps(write_part(track))))
    known: Mapping[str, int] = {} if old is None else old.counts
    if known is not track.counts:
        found.messages.extend((order_id, key, count) for key, count in track.counts.items() if known.get(key) != count)
        found.lost_messages.extend((order_id, key) for key in known if key not in track.counts)


def apply(state: WatchState, saved: str, found: Changes) -> WatchState:
    """Return the state after some changes: the same as that of `load_state` with all records.

    Args:
        state: The state before.
        saved: The result of `save_state` for the state after.
        found: The result of `changes` from one to the other.

    """
    new = evolve(cast("WatchState", read_part(json.loads(saved), WatchState)), tracks=state.tracks, orders=state.orders)
    if not found.any:
        return evolve(new, removed=state.removed)
    counts: dict[int, dict[str, int]] = {}
    for order_id, _, _ in found.tracks:
        known = state.tracks.get(order_id) or state.removed.get(order_id)
        counts[order_id] = {} if known is None else dict(known.counts)
    for order_id, key, count in found.messages:
        counts[order_id][key] = count
    for order_id, key in found.lost_messages:
        del counts[order_id][key]
    tracks, removed, orders = dict(state.tracks), dict(state.removed), dict(state.orders)
    for (order_id,) in found.lost_tracks:
        tracks.pop(order_id, None)
        removed.pop(order_id, None)
        orders.pop(order_id, None)
    for order_id, is_removed, text in found.tracks:
        track: OrderTrack = evolve(read_part(json.loads(text), OrderTrack), counts=counts[order_id])
        (removed if is_removed else tracks)[order_id] = track
        (tracks if is_removed else removed).pop(order_id, None)
        if is_removed:
            orders.pop(order_id, None)
        else:
            orders[order_id] = track.order
    return evolve(new, tracks=tracks, removed=_oldest_first(removed), orders=orders)


def _oldest_first(removed: Mapping[int, OrderTrack]) -> dict[int, OrderTrack]:
    return dict(sorted(removed.items(), key=lambda item: item[1].removed_at or datetime.max.replace(tzinfo=UTC)))
