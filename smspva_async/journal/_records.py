"""What a watch remembers, as the records of a database.

A state is large and a poll changes little of it. So the track of each order is a record by itself, and so is each
message that it counts.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import evolve, field, frozen
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from smspva_async import _serialization
from smspva_async._state import MessageKey, State, Track
from smspva_async.events import event_from_dict, event_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smspva_async.events import Event

__all__ = ["Changes", "changes", "load_event", "load_state", "save_event", "save_state"]

TrackRecord: TypeAlias = tuple[int, bool, str]
"""An order's id, whether it is gone, and its track without the messages."""
MessageRecord: TypeAlias = tuple[int, str, int]
"""An order's id, a message, and how often it was listed at most."""


def save_event(event: Event) -> str:
    """Return an event as JSON."""
    return json.dumps(event_to_dict(event))


def load_event(text: str) -> Event:
    """Return the event that was saved; `ValueError` if it is none."""
    return event_from_dict(json.loads(text))


def save_state(state: State) -> str:
    """Return a state without its orders as JSON."""
    _register()
    return json.dumps(_serialization.write(state, State))


def load_state(saved: str, tracks: Iterable[TrackRecord], messages: Iterable[MessageRecord]) -> State:
    """Return the state that was saved; `ValueError` if it is none."""
    _register()
    counts: dict[int, dict[MessageKey, int]] = {}
    for order_id, message, count in messages:
        counts.setdefault(order_id, {})[_load_key(message)] = count
    loaded: dict[bool, dict[int, Track]] = {False: {}, True: {}}
    for order_id, gone, text in tracks:
        track = cast("Track", _serialization.read(json.loads(text), Track))
        loaded[bool(gone)][order_id] = evolve(track, counts=counts.get(order_id, {}))
    state = cast("State", _serialization.read(json.loads(saved), State))
    orders = {order_id: track.order for order_id, track in loaded[False].items()}
    return evolve(state, tracks=loaded[False], gone=loaded[True], orders=orders)


@frozen
class Changes:
    """What has to be written so that a database which has one state has another instead."""

    tracks: list[TrackRecord] = field(factory=list[TrackRecord])
    messages: list[MessageRecord] = field(factory=list[MessageRecord])
    lost_tracks: list[tuple[int]] = field(factory=list[tuple[int]])
    lost_messages: list[tuple[int, str]] = field(factory=list[tuple[int, str]])

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.tracks or self.lost_tracks)


def changes(old: State, new: State) -> Changes:
    """Return what differs. A track that is the same object has not changed."""
    found = Changes()
    for gone, before, after in ((False, old.tracks, new.tracks), (True, old.gone, new.gone)):
        if before is after:
            continue
        for order_id, track in after.items():
            if before.get(order_id) is not track:
                was = old.tracks.get(order_id) or old.gone.get(order_id)
                _add(found, order_id, was, track, gone=gone)
        lost = (order_id for order_id in before if order_id not in new.tracks and order_id not in new.gone)
        found.lost_tracks.extend((order_id,) for order_id in lost)
    return found


def _add(found: Changes, order_id: int, was: Track | None, track: Track, *, gone: bool) -> None:
    _register()
    found.tracks.append((order_id, gone, json.dumps(_serialization.write(track, Track))))
    known: Mapping[MessageKey, int] = {} if was is None else was.counts
    if known is track.counts:
        return
    found.messages.extend(
        (order_id, _save_key(key), count) for key, count in track.counts.items() if known.get(key) != count
    )
    found.lost_messages.extend((order_id, _save_key(key)) for key in known if key not in track.counts)


def _save_key(key: MessageKey) -> str:
    text, sender, received = key
    return json.dumps([text, sender, None if received is None else received.isoformat()])


def _load_key(saved: str) -> MessageKey:
    return cast("MessageKey", tuple(_serialization.read(json.loads(saved), MessageKey)))


@cache
def _register() -> None:
    converter = _serialization.converter()
    for kind, apart in ((State, ("tracks", "gone", "orders")), (Track, ("counts",))):
        omitted: dict[str, Any] = dict.fromkeys(apart, override(omit=True))
        converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **omitted))
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **omitted))
