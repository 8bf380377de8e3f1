"""Finds the new events: `step(state, observation) -> (state, events)`, a pure function without clock, I/O or logging.

Its limits: an undated message that is identical to one that left the list, or that comes before the first reading of a
list whose flag never rises; an edited text; a date that jitters; a message date more than five minutes behind the
answers' clock, if the list is read for the first time before a poll could show its flag.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, is_
from typing import Any, TypeAlias

from attrs import evolve, fields, frozen

from smspva_async.events import (
    Event,
    OrderAdded,
    OrderExpiring,
    OrderRemoved,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    SmsReceived,
    StateChanged,
)
from smspva_async.journal.state import OrderTrack, WatchState
from smspva_async.models import Order, SkippedRow, Sms, fingerprints

_ROWS_REMEMBERED = 1024
_CLOCKS_DIFFER = timedelta(minutes=5)
"""The maximum time by which the clock of message dates may be behind the clock of answers."""
_SURELY_OLD = timedelta(days=1)
_SUSPECT_AFTER = (3, 2)
"""Polls and intervals without an order after which an `sms` call checks whether it is removed."""
_REMOVE_AFTER = (5, 600.0)
"""Polls and seconds without an order after which it is removed in any case."""
_FORGET_AFTER = timedelta(days=90)
_MOVES_WITH_CLOCK = timedelta(minutes=1)

_state = attrgetter("state", "raw_state")
_updated = attrgetter("services", "phone", "country", "until", "can_prolong", "can_prolong_days")
_TRANSIENT = ("last_online", "extra", "can_prolong_until")
_lasting = attrgetter(*(attribute.name for attribute in fields(Order) if attribute.name not in _TRANSIENT))
_NOT_MISSING: dict[str, Any] = {"missing_since": None, "missing_polls": 0, "suspected_at": None}


@frozen(kw_only=True)
class OrdersListed:
    """A good poll of the orders.

    In all observations `at` is the server's time of the answer. `now` is the moment of the answer and `requested_at`
    that of the request, in seconds on `WatchState.clock`.
    """

    at: datetime
    now: float
    orders: Sequence[Order]
    skipped: Sequence[SkippedRow] = ()
    interval: float
    began: datetime | None = None
    """The server's time of the watch's first poll, as known now; None: the state's `since` is used."""
    is_time_certain: bool = True
    """False while `at` relies on a first `Date` alone. Then it causes no change that can't be undone."""
    expiry_notice: timedelta | None = None


@frozen(kw_only=True)
class SmsListed:
    """A good reading of an order's messages."""

    at: datetime
    now: float
    requested_at: float
    order_id: int
    messages: Sequence[Sms]
    skipped: Sequence[SkippedRow] = ()
    began: datetime | None = None


@frozen(kw_only=True)
class CallFailed:
    """A failure of `orders`, or of reading an order's messages."""

    at: datetime
    now: float
    requested_at: float
    order_id: int | None
    kind: str
    message: str
    no_such_order: bool = False
    """True if the answer was that there is no such order."""


Observation: TypeAlias = OrdersListed | SmsListed | CallFailed


class _Events(list[Event]):
    """The events of a step, numbered from the state's `seq`."""

    def __init__(self, state: WatchState, at: datetime) -> None:
        super().__init__()
        self.newest = state.seq
        self._state = state
        self._at = at

    def add(
        self, kind: Callable[..., Event], *values: object, order_id: int | None = None, identity: object = None
    ) -> None:
        """Add an event. Its id is derived from `identity`, or from its time and number if that is None."""
        self.newest += 1
        parts = [kind.__name__, order_id, [self._at.timestamp(), self.newest] if identity is None else identity]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        self.append(kind(*values, seq=self.newest, id=digest, at=self._at, order_id=order_id))

    def changed(
        self,
        now: float,
        listed_at: datetime | None = None,
        **changes: Any,  # noqa: ANN401 - the fields
    ) -> tuple[WatchState, Sequence[Event]]:
        """Return the changed state, and these events; the same state object if nothing has changed."""
        if not self and all(getattr(self._state, name) is value for name, value in changes.items()):
            return self._state, self
        changes["listed_at"] = listed_at or self._state.listed_at
        return evolve(self._state, seq=self.newest, clock=now, **changes), self


def step(state: WatchState, observation: Observation) -> tuple[WatchState, Sequence[Event]]:
    """Return the state after an observation, and the observation's events, oldest first."""
    match observation:
        case OrdersListed():
            return _orders_listed(state, observation)
        case SmsListed():
            return _sms_listed(state, observation)
        case CallFailed():
            return _call_failed(state, observation)


# -- orders ------------------------------------------------------------------------------------------------------


def _orders_listed(state: WatchState, seen: OrdersListed) -> tuple[WatchState, Sequence[Event]]:
    events = _Events(state, seen.at)
    if state.failing_since is not None:
        events.add(PollRecovered, seen.now - state.failing_since)
    skipped = _report_skipped(state, seen.skipped, events)
    is_first = state.since is None
    tracks, removed = dict(state.tracks), _remembered(state.removed, seen)
    orders = _by_id(seen.orders, state.orders)
    for order_id, order in orders.items() if orders is not state.orders else ():
        before = state.orders.get(order_id)
        if before is None:
            returned = removed.pop(order_id, None)
            if returned is None:
                tracks[order_id] = _new_track(order, seen.at, in_baseline=is_first)
            else:
                tracks[order_id] = evolve(_seen_again(returned, order, seen), removed_at=None)
            events.add(OrderAdded, order, order_id=order_id)
        elif before is not order and _report_changes(state, before, order, seen, events):
            tracks[order_id] = _seen_again(tracks[order_id], order, seen)
    for order_id, track in state.tracks.items():
        # The order is unchanged, but its absence ends, or its flag, if up, is for a message that wasn't read.
        if (track.missing_polls or track.read_had_new) and order_id in orders and tracks[order_id] is track:
            tracks[order_id] = _seen_again(track, orders[order_id], seen)
    if len(tracks) > len(orders):
        absent = {order_id: order for order_id, order in state.orders.items() if order_id not in orders}
        _count_absence(absent.values(), seen, events, tracks, removed)
        orders = {order_id: order for order_id, order in {**absent, **orders}.items() if order_id in tracks}
    next_expiry = state.next_expiry
    if orders is not state.orders or next_expiry is None or next_expiry <= seen.at:
        next_expiry = _report_expiring(orders, seen, events, tracks)
    return events.changed(
        seen.now,
        seen.at,
        next_expiry=next_expiry,
        since=_since(state, seen),
        baseline=events.newest if is_first else state.baseline,
        tracks=_reuse_if_same(tracks, state.tracks),
        removed=_reuse_if_same(removed, state.removed),
        failing_since=None,
        skipped=skipped,
        orders=orders,
    )


def _by_id(orders: Sequence[Order], before: Mapping[int, Order]) -> Mapping[int, Order]:
    """Return the orders by id; the earlier mapping if it has the same objects."""
    same = len(orders) == len(before) and all(map(is_, orders, before.values()))
    return before if same else {order.id: order for order in orders}


def _reuse_if_same(tracks: dict[int, OrderTrack], before: Mapping[int, OrderTrack]) -> Mapping[int, OrderTrack]:
    """Return the tracks; the earlier mapping if it has the same objects, so that they aren't written again."""
    same = len(tracks) == len(before) and all(map(is_, tracks.values(), before.values()))
    return before if same else tracks


def _since(state: WatchState, seen: OrdersListed | SmsListed) -> datetime | None:
    """Return the server's time of the first poll. A small correction is ignored, because it isn't worth a write."""
    if state.since is None:
        return seen.began or seen.at
    return seen.began if seen.began and abs(seen.began - state.since) >= _MOVES_WITH_CLOCK else state.since


def _new_track(order: Order, at: datetime, *, in_baseline: bool) -> OrderTrack:
    is_up = order.has_new_sms is True
    return OrderTrack(
        order,
        at,
        in_baseline=in_baseline,
        flag_seen=order.has_new_sms is not False,
        flag_rose=is_up and not in_baseline,  # a new order's flag is also new
    )


def _report_changes(state: WatchState, before: Order, order: Order, seen: OrdersListed, events: _Events) -> bool:
    """Report an order's changes; return False if there are none but those of transient fields."""
    track = state.tracks[order.id]
    seen_before = track.seen_at if before is track.order or state.listed_at is None else state.listed_at
    can_prolong_longer = not _moved_with_clock(before.can_prolong_until, order.can_prolong_until, seen.at - seen_before)
    if _state(order) != _state(before):
        events.add(StateChanged, order, before.state, order.state, order_id=order.id)
    if _updated(order) != _updated(before) or can_prolong_longer:
        events.add(OrderUpdated, order, before, order_id=order.id)
    return can_prolong_longer or _lasting(order) != _lasting(before)


def _moved_with_clock(before: datetime | None, after: datetime | None, elapsed: timedelta) -> bool:
    """Return whether a time is the same, or moved forward by at most the elapsed time and a minute."""
    if before is None or after is None:
        return before is after
    return before == after or timedelta(0) < after - before <= elapsed + _MOVES_WITH_CLOCK


def _seen_again(track: OrderTrack, order: Order, seen: OrdersListed) -> OrderTrack:
    """Return the track of an order that is listed again, or still."""
    rose = order.has_new_sms is True and (track.read_had_new or not track.order.has_new_sms)
    return evolve(
        track,
        order=order,
        seen_at=seen.at,
        flag_seen=track.flag_seen or order.has_new_sms is not False,
        flag_rose=track.flag_rose or rose,
        rose_at=seen.now if rose else track.rose_at,
        read_had_new=False,
        **_NOT_MISSING,
    )


def _count_absence(
    absent: Iterable[Order],
    seen: OrdersListed,
    events: _Events,
    tracks: dict[int, OrderTrack],
    removed: dict[int, OrderTrack],
) -> None:
    """Count one more poll without these orders; remove those that have been missing for long."""
    # An unreadable row without an id may belong to any order.
    unread = {row.order_id for row in seen.skipped}
    for order in absent:
        track = tracks[order.id]
        if order.id in unread:
            if track.missing_polls:
                tracks[order.id] = evolve(track, **_NOT_MISSING)
        elif None not in unread:
            since = seen.now if track.missing_since is None else track.missing_since
            polls, seconds = track.missing_polls + 1, seen.now - since
            is_suspected = polls >= _SUSPECT_AFTER[0] and seconds >= _SUSPECT_AFTER[1] * seen.interval
            suspected_at = seen.now if is_suspected and track.suspected_at is None else track.suspected_at
            tracks[order.id] = evolve(track, missing_since=since, missing_polls=polls, suspected_at=suspected_at)
            if polls >= _REMOVE_AFTER[0] and seconds >= _REMOVE_AFTER[1]:
                _remove(order, seen.at, events, tracks, removed)


def _remove(
    order: Order, at: datetime, events: _Events, tracks: dict[int, OrderTrack], removed: dict[int, OrderTrack]
) -> None:
    track = tracks.pop(order.id)
    removed[order.id] = evolve(track, order=order, removed_at=at, **_NOT_MISSING)
    events.add(OrderRemoved, order, order.until is not None and at >= order.until, order_id=order.id)


def _remembered(removed: Mapping[int, OrderTrack], seen: OrdersListed) -> dict[int, OrderTrack]:
    """Return the removed orders that aren't forgotten yet."""
    return {
        order_id: track
        for order_id, track in removed.items()
        if not seen.is_time_certain or track.removed_at is None or seen.at - track.removed_at < _FORGET_AFTER
    }


def _report_expiring(
    orders: Mapping[int, Order], seen: OrdersListed, events: _Events, tracks: dict[int, OrderTrack]
) -> datetime | None:
    """Report the orders whose `until` is near, once for each `until`; return the time of the next report."""
    if seen.expiry_notice is None:
        return None
    earliest: datetime | None = None
    for order_id, order in orders.items():
        if order.until is None:
            continue
        track = tracks[order_id]
        if order.until - seen.at > seen.expiry_notice:
            earliest = order.until if earliest is None else min(earliest, order.until)
            if track.expiry_noticed == order.until:  # reported because of a wrong clock
                tracks[order_id] = evolve(track, expiry_noticed=None)
        elif track.expiry_noticed is None or track.expiry_noticed < order.until:
            tracks[order_id] = evolve(track, expiry_noticed=order.until)
            events.add(OrderExpiring, order, max(order.until - seen.at, timedelta(0)), order_id=order_id)
    return None if earliest is None else earliest - seen.expiry_notice


# -- messages ----------------------------------------------------------------------------------------------------


def _sms_listed(state: WatchState, seen: SmsListed) -> tuple[WatchState, Sequence[Event]]:
    # An order may have been removed since the request was sent: these are its last messages.
    place = "removed" if seen.order_id in state.removed else "tracks"
    track: OrderTrack | None = getattr(state, place).get(seen.order_id)
    if track is None:
        return state, []
    order = state.orders.get(seen.order_id, track.order)
    events = _Events(state, seen.at)
    if track.failing_since is not None:
        events.add(PollRecovered, seen.now - track.failing_since, order_id=seen.order_id)
    skipped = _report_skipped(state, seen.skipped, events, seen.order_id)
    counts, found = _counted(track.counts, seen.messages)
    is_old = _is_old(state, track, seen)
    had_new = False
    for sms, number in found:
        if not is_old(sms):
            identity = [sms.text, sms.sender, sms.received and sms.received.timestamp(), number]
            events.add(SmsReceived, order, sms, order_id=seen.order_id, identity=identity)
            had_new = True
    after = evolve(
        track,
        counts=counts,
        is_read=True,
        read_had_new=had_new or track.read_had_new,
        # A list that was requested before the flag rose may lack the message it rose for, and is read again.
        flag_rose=track.flag_rose and track.rose_at is not None and seen.requested_at < track.rose_at,
        failing_since=None,
    )
    changes: dict[str, Any] = {"skipped": skipped}
    if after != track:
        changes[place] = {**getattr(state, place), seen.order_id: after}
    return events.changed(seen.now, **changes)


def _is_old(state: WatchState, track: OrderTrack, seen: SmsListed) -> Callable[[Sms], bool]:
    """Return a test for messages that were there before the watch began. In doubt a message is new."""
    since = _since(state, seen)
    if track.is_read or state.replay or since is None:
        return lambda _: False
    if not track.in_baseline:
        return lambda sms: sms.received is not None and since - sms.received > _SURELY_OLD
    newest = max((sms.received for sms in seen.messages if sms.received is not None), default=None)
    # The clock of message dates may be wrong, so they are compared with each other.
    window = max(seen.at - since, timedelta(0)) + _CLOCKS_DIFFER

    def is_old(sms: Sms) -> bool:
        if sms.received is None or newest is None:
            return not track.flag_seen
        may_have_raised_flag = track.flag_rose and newest - sms.received <= window
        return since - sms.received > _CLOCKS_DIFFER and not may_have_raised_flag

    return is_old


_NO_SENDER, _NAMED_LATER = "-", "+"
"""Keys used instead of a sender's: for messages without a sender, and for those that were listed with one later."""


def _counted(known: Mapping[str, int], messages: Iterable[Sms]) -> tuple[Mapping[str, int], list[tuple[Sms, int]]]:
    """Return the highest count of each message, and the new messages, oldest first, with their numbers.

    A message whose sender was None and is known now is the same message.
    """
    listed: dict[tuple[str, str], list[Sms]] = {}
    for sms in sorted(messages, key=_arrival):
        listed.setdefault(_key(sms), []).append(sms)
    counts, found = dict(known), list[tuple[Sms, int]]()
    for (text, sender), rows in listed.items():
        highest, named_later = counts.get(text + sender, 0), counts.get(text + _NAMED_LATER, 0)
        if sender == _NO_SENDER:
            new = len(rows) - (highest - _still_named(known, listed, text, named_later))
        else:
            # Known messages without a sender that are missing here now have this one.
            missing = counts.get(text + _NO_SENDER, 0) - named_later - len(listed.get((text, _NO_SENDER), ()))
            named_now = max(0, min(missing, len(rows) - highest))
            if named_now:
                highest += named_now
                counts[text + sender], counts[text + _NAMED_LATER] = highest, named_later + named_now
            new = len(rows) - highest
        if new > 0:
            counts[text + sender] = highest + new
            found += [(sms, highest + number) for number, sms in enumerate(rows[-new:], start=1)]
    found.sort(key=lambda numbered: _arrival(numbered[0]))
    return known if counts == known else counts, found


def _still_named(
    known: Mapping[str, int], listed: Mapping[tuple[str, str], Sequence[Sms]], text: str, named_later: int
) -> int:
    """Return the number of messages that got a sender later and are still listed with it."""
    if not named_later:
        return 0
    senders = {key.removeprefix(text): count for key, count in known.items() if key.startswith(text)}
    missing = sum(
        max(0, count - len(listed.get((text, sender), ())))
        for sender, count in senders.items()
        if sender not in (_NO_SENDER, _NAMED_LATER)
    )
    return max(0, named_later - missing)


def _key(sms: Sms) -> tuple[str, str]:
    """Return two compact keys: one of the message's text and date, one of its sender."""
    dated = "" if sms.received is None else repr(sms.received.timestamp())
    return _digest(f"{dated} {sms.text}", 12), _NO_SENDER if sms.sender is None else _digest(sms.sender, 6)


def _digest(text: str, size: int) -> str:
    return b64encode(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=size).digest()).decode()


def _arrival(sms: Sms) -> tuple[bool, float]:
    """Return a sort key: by date, undated messages last."""
    return (sms.received is None, 0.0 if sms.received is None else sms.received.timestamp())


# -- failures ----------------------------------------------------------------------------------------------------


def _call_failed(state: WatchState, seen: CallFailed) -> tuple[WatchState, Sequence[Event]]:
    events = _Events(state, seen.at)
    if seen.order_id is None:
        if state.failing_since is not None:
            return state, []
        events.add(PollFailed, seen.kind, seen.message)
        return events.changed(seen.now, failing_since=seen.now)
    track = state.tracks.get(seen.order_id)
    if track is None:
        return state, []
    is_missing = seen.no_such_order and track.missing_polls > 0
    if is_missing and track.suspected_at is not None and seen.requested_at >= track.suspected_at:
        tracks, removed, orders = dict(state.tracks), dict(state.removed), dict(state.orders)
        _remove(orders.pop(seen.order_id), seen.at, events, tracks, removed)
        return events.changed(seen.now, tracks=tracks, removed=removed, orders=orders)
    # While `orders` fails as well, it is the same outage, which is reported already.
    if is_missing or track.failing_since is not None or state.failing_since is not None:
        return state, []
    events.add(PollFailed, seen.kind, seen.message, order_id=seen.order_id)
    failing = evolve(track, failing_since=seen.now)
    return events.changed(seen.now, tracks={**state.tracks, seen.order_id: failing})


def _report_skipped(
    state: WatchState, rows: Sequence[SkippedRow], events: _Events, order_id: int | None = None
) -> tuple[str, ...]:
    """Report rows that weren't reported before, and return the fingerprints to remember."""
    if not rows:
        return state.skipped
    # Ordered by when they were last seen, so that rows that are no longer sent are forgotten first.
    known = dict.fromkeys(state.skipped)
    for row, identity in zip(rows, fingerprints(rows, order_id), strict=True):
        if identity in known:
            del known[identity]
        else:
            events.add(RowSkipped, row.reason, row.raw, order_id=row.order_id if order_id is None else order_id)
        known[identity] = None
    remembered = tuple(known)[-max(_ROWS_REMEMBERED, len(rows)) :]
    return state.skipped if remembered == state.skipped else remembered
