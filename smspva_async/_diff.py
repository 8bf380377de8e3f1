"""What is new: `step(state, observation) -> (state, events)`, a pure function without clock, I/O or logging.

The one thing that it can't tell: an undated message identical to an earlier one that has left the list since.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, is_
from typing import Any, TypeAlias

from attrs import Factory, evolve, field, fields, frozen

from smspva_async._state import MessageKey, State, Track
from smspva_async.events import (
    Event,
    OrderAdded,
    OrderRemoved,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    SmsReceived,
    StateChanged,
)
from smspva_async.models import Order, SkippedRow, Sms, fingerprint

__all__ = ["Failed", "NoSuchOrder", "Observation", "OrdersListed", "SmsListed", "step"]

_ROWS_REMEMBERED = 1024
_POLLS_TO_BE_GONE = 3
_PASSING = ("last_online", "extra")
_state = attrgetter("state", "raw_state")
_updated = attrgetter("services", "phone", "country", "until", "can_prolong", "can_prolong_days", "can_prolong_until")
_all_but_passing = attrgetter(*(attribute.name for attribute in fields(Order) if attribute.name not in _PASSING))


@frozen(kw_only=True)
class OrdersListed:
    """A good poll of the orders."""

    at: datetime
    asked_at: datetime
    """When it was sent, by the server's clock."""
    orders: Sequence[Order]
    skipped: Sequence[SkippedRow] = ()
    interval: timedelta


@frozen(kw_only=True)
class SmsListed:
    """A good reading of an order's messages."""

    at: datetime
    asked_at: datetime = field(default=Factory(lambda listed: listed.at, takes_self=True))
    order_id: int
    messages: Sequence[Sms]
    skipped: Sequence[SkippedRow] = ()


@frozen(kw_only=True)
class NoSuchOrder:
    """Reading an order's messages was answered by "there is no such order"."""

    at: datetime
    order_id: int
    kind: str
    message: str


@frozen(kw_only=True)
class Failed:
    """A poll that failed: `orders`, or an order's messages."""

    at: datetime
    order_id: int | None
    kind: str
    message: str


Observation: TypeAlias = OrdersListed | SmsListed | NoSuchOrder | Failed


class _Events(list[Event]):
    """The events of a step, numbered on from the state."""

    def __init__(self, state: State, at: datetime) -> None:
        super().__init__()
        self._at = at
        self.newest = state.seq

    def add(
        self, kind: Callable[..., Event], *values: object, order_id: int | None = None, identity: object = None
    ) -> None:
        """Add an event; its id is made from `identity` if that is given, otherwise from time and place."""
        self.newest += 1
        told = [kind.__name__, order_id, [self._at.timestamp(), self.newest] if identity is None else identity]
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]
        self.append(kind(*values, seq=self.newest, id=digest, at=self._at, order_id=order_id))

    def into(self, state: State, **changes: Any) -> tuple[State, Sequence[Event]]:  # noqa: ANN401 - State's fields
        """Return the changed state, with these events counted in."""
        return evolve(state, seq=self.newest, **changes), self


def step(state: State, observation: Observation) -> tuple[State, Sequence[Event]]:
    """Return the state after an observation, and what it brought to light, oldest first."""
    match observation:
        case OrdersListed():
            return _orders_listed(state, observation)
        case SmsListed():
            return _sms_listed(state, observation)
        case NoSuchOrder(order_id=order_id) if order_id in state.tracks and state.tracks[order_id].missing_polls:
            events = _Events(state, observation.at)
            tracks, gone, orders = dict(state.tracks), dict(state.gone), dict(state.orders)
            _remove(orders.pop(order_id), observation.at, events, tracks, gone)
            return events.into(state, tracks=tracks, gone=gone, orders=orders)
        case NoSuchOrder() | Failed():
            return _failed(state, observation)


# -- orders ------------------------------------------------------------------------------------------------------


def _orders_listed(state: State, seen: OrdersListed) -> tuple[State, Sequence[Event]]:
    events = _Events(state, seen.at)
    if state.failing_since is not None:
        events.add(PollRecovered, _seconds(state.failing_since, seen.at))
    skipped = _report_skipped(state, seen.skipped, events)
    first = state.since is None
    since = seen.asked_at.replace(microsecond=0) if state.since is None else state.since
    tracks, gone = dict(state.tracks), dict(state.gone)
    orders = _by_id(seen.orders, state.orders)
    for order_id, order in orders.items() if orders is not state.orders else ():
        before = state.orders.get(order_id)
        if before is order:
            continue
        if before is not None:
            tracks[order_id] = _followed(tracks[order_id], before, order, seen.at, events)
            continue
        returned = gone.pop(order_id, None)
        tracks[order_id] = (
            _new_track(order, seen.at, since, first=first, replay=state.replay)
            if returned is None
            else _seen_again(returned, order, seen.at)
        )
        events.add(OrderAdded, order, order_id=order_id)
    # To the others nothing happened but that they are there, and that a flag which a reading reset is up.
    for order_id, track in state.tracks.items():
        if (track.brought or track.missing_polls) and order_id in orders and tracks[order_id] is track:
            tracks[order_id] = _seen_again(track, orders[order_id], seen.at)
    if len(tracks) > len(orders):
        absent = {order_id: order for order_id, order in state.orders.items() if order_id not in orders}
        _count_absence(absent.values(), seen, events, tracks, gone)
        orders = {order_id: order for order_id, order in {**absent, **orders}.items() if order_id in tracks}
    return events.into(
        state,
        since=since,
        baseline=events.newest if first else state.baseline,
        tracks=_if_changed(tracks, state.tracks),
        gone=_if_changed(gone, state.gone),
        failing_since=None,
        skipped=skipped,
        orders=orders,
    )


def _by_id(orders: Sequence[Order], before: Mapping[int, Order]) -> Mapping[int, Order]:
    """Return the orders by id, as the same mapping as before if they are the very same ones."""
    same = len(orders) == len(before) and all(map(is_, orders, before.values()))
    return before if same else {order.id: order for order in orders}


def _count_absence(
    absent: Iterable[Order], seen: OrdersListed, events: _Events, tracks: dict[int, Track], gone: dict[int, Track]
) -> None:
    """Count one more poll without some orders, and remove those that have been missing for long."""
    # A row that can't be read is the order's that its id names, or else may be any order's.
    unread = {row.order_id for row in seen.skipped}
    for order in absent:
        track = tracks[order.id]
        if order.id in unread:
            tracks[order.id] = evolve(track, missing_since=None, missing_polls=0) if track.missing_polls else track
        elif None not in unread:
            missing_since, polls = track.missing_since or seen.at, track.missing_polls + 1
            tracks[order.id] = evolve(track, missing_since=missing_since, missing_polls=polls)
            long_gone = polls >= _POLLS_TO_BE_GONE and seen.at - missing_since >= 2 * seen.interval
            if long_gone or _has_expired(order, seen.at):
                _remove(order, seen.at, events, tracks, gone)


def _if_changed(tracks: dict[int, Track], before: Mapping[int, Track]) -> Mapping[int, Track]:
    """Return the tracks, as the same object if they are: they needn't be written again."""
    same = len(tracks) == len(before) and all(map(is_, tracks.values(), before.values()))
    return before if same else tracks


def _new_track(order: Order, at: datetime, since: datetime, *, first: bool, replay: bool) -> Track:
    if replay:
        return Track(order, at)
    if first:
        return Track(order, at, known_before=since, flag_seen=order.has_new_sms is not False)
    # It came while somebody watched: its flag counts as down before, and what has no date as new.
    return Track(order, at, known_before=since, flag_seen=True, flag_rose=order.has_new_sms is True, rose_at=at)


def _followed(track: Track, before: Order, order: Order, at: datetime, events: _Events) -> Track:
    """Report what changed about an order, and return its track."""
    if _all_but_passing(order) != _all_but_passing(before):
        if _state(order) != _state(before):
            events.add(StateChanged, order, before.state, order.state, order_id=order.id)
        if _updated(order) != _updated(before):
            events.add(OrderUpdated, order, before, order_id=order.id)
    elif not (track.missing_polls or track.brought):
        return track
    return _seen_again(track, order, at)


def _seen_again(track: Track, order: Order, at: datetime) -> Track:
    rose = order.has_new_sms is True and (track.brought or not track.order.has_new_sms)
    return evolve(
        track,
        order=order,
        flag_seen=track.flag_seen or order.has_new_sms is not False,
        flag_rose=track.flag_rose or rose,
        rose_at=at if rose else track.rose_at,
        brought=False,
        missing_since=None,
        missing_polls=0,
    )


def _remove(order: Order, at: datetime, events: _Events, tracks: dict[int, Track], gone: dict[int, Track]) -> None:
    gone[order.id] = evolve(tracks.pop(order.id), order=order)
    events.add(OrderRemoved, order, _has_expired(order, at), order_id=order.id)


def _has_expired(order: Order, at: datetime) -> bool:
    return order.until is not None and at >= order.until


# -- messages ----------------------------------------------------------------------------------------------------


def _sms_listed(state: State, seen: SmsListed) -> tuple[State, Sequence[Event]]:
    # An order may go while its messages are on their way: they are its last.
    place = "gone" if seen.order_id in state.gone else "tracks"
    track: Track | None = getattr(state, place).get(seen.order_id)
    if track is None:
        return state, []
    order = state.orders.get(seen.order_id, track.order)
    events = _Events(state, seen.at)
    if track.failing_since is not None:
        events.add(PollRecovered, _seconds(track.failing_since, seen.at), order_id=seen.order_id)
    skipped = _report_skipped(state, seen.skipped, events, seen.order_id)
    # A list that was asked for before the flag rose may have what it rose for, and need not: it is read again.
    rose_since = track.flag_rose and track.rose_at is not None and seen.asked_at < track.rose_at
    old = _known_before(track, seen.messages, rose=track.flag_rose) if track.read_at is None else set[MessageKey]()
    counts = dict(track.counts)
    listed: Counter[MessageKey] = Counter()
    for sms in sorted(seen.messages, key=_arrival):
        key = _key(sms)
        listed[key] += 1
        if listed[key] > counts.get(key, 0):
            counts[key] = listed[key]
            if key not in old:
                identity = [sms.text, sms.sender, sms.received and sms.received.timestamp(), listed[key]]
                events.add(SmsReceived, order, sms, order_id=seen.order_id, identity=identity)
    after = evolve(
        track,
        counts=counts if counts != track.counts else track.counts,  # the same object: it needn't be written again
        read_at=seen.at,
        tried_at=seen.at,
        flag_rose=rose_since,
        brought=any(isinstance(event, SmsReceived) for event in events),
        failing_since=None,
    )
    return events.into(state, **{place: {**getattr(state, place), seen.order_id: after}}, skipped=skipped)


def _known_before(track: Track, messages: Iterable[Sms], *, rose: bool) -> set[MessageKey]:
    """Return the messages of a first reading that were there before the watch began. In doubt a message is new."""
    if track.known_before is None:
        return set()
    dates = [sms.received for sms in messages if sms.received is not None]
    newest = max(dates, default=None)
    # The flag tells of a message that came since; if none is dated so, it is the newest, whatever its date.
    newest_is_new = rose and newest is not None and newest < track.known_before
    old: set[MessageKey] = set()
    for sms in messages:
        if sms.received is None:
            known = not track.flag_seen
        else:
            known = sms.received < track.known_before and not (newest_is_new and sms.received == newest)
        if known:
            old.add(_key(sms))
    return old


def _key(sms: Sms) -> MessageKey:
    return (sms.text, sms.sender, sms.received)


def _arrival(sms: Sms) -> tuple[bool, float]:
    """Sort by date, the undated last."""
    return (sms.received is None, 0.0 if sms.received is None else sms.received.timestamp())


# -- failures ----------------------------------------------------------------------------------------------------


def _failed(state: State, seen: Failed | NoSuchOrder) -> tuple[State, Sequence[Event]]:
    events = _Events(state, seen.at)
    if seen.order_id is None:
        if state.failing_since is not None:
            return state, []
        events.add(PollFailed, seen.kind, seen.message)
        return events.into(state, failing_since=seen.at)
    track = state.tracks.get(seen.order_id)
    if track is None:
        return state, []
    failing_since = track.failing_since
    # While `orders` fails as well, it is that outage, which is reported already.
    if failing_since is None and state.failing_since is None:
        failing_since = seen.at
        events.add(PollFailed, seen.kind, seen.message, order_id=seen.order_id)
    after = evolve(track, tried_at=seen.at, failing_since=failing_since)
    return events.into(state, tracks={**state.tracks, seen.order_id: after})


def _report_skipped(
    state: State, rows: Sequence[SkippedRow], events: _Events, order_id: int | None = None
) -> tuple[str, ...]:
    """Report rows that weren't reported yet, and return the fingerprints to remember."""
    # In the order in which they were last seen, so that the ones to be forgotten are those that are no longer sent.
    known = dict.fromkeys(state.skipped)
    for row in rows:
        known_by = fingerprint(row, order_id)
        if known_by in known:
            del known[known_by]
        else:
            events.add(RowSkipped, row.reason, row.raw, order_id=row.order_id if order_id is None else order_id)
        known[known_by] = None
    return tuple(known)[-max(_ROWS_REMEMBERED, len(rows)) :]


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())
