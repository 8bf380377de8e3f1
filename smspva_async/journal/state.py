"""The state of a watch: everything that it remembers from poll to poll.

It counts every message ever seen, so that a list that shrinks and grows again causes no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from attrs import Factory, evolve, field, frozen
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from smspva_async import _serialization
from smspva_async.models import Order

if TYPE_CHECKING:
    from typing import Self


@frozen
class OrderTrack:
    """The state of one order. A moment is in seconds on `WatchState.clock`."""

    order: Order
    """The order at its last change. Changes of transient fields alone are left out, because they aren't worth a write.
    """
    seen_at: datetime
    """The server's time of that change."""
    in_baseline: bool = False
    """True if the first poll listed it."""
    counts: Mapping[str, int] = field(factory=dict[str, int])
    """The key of each message ever listed, and the most times that one answer listed it."""
    is_read: bool = False
    """True once its messages were read."""
    read_had_new: bool = False
    """True if a reading since the last poll had new messages: a flag that is up in the next poll announces others."""
    flag_seen: bool = False
    """True if the flag was up, or unknown, in any poll so far."""
    flag_rose: bool = False
    """True if the flag rose, and no later request for the messages is answered yet."""
    rose_at: float | None = None
    """The moment of the poll in which the flag rose."""
    missing_since: float | None = None
    """The moment of the first poll without the order."""
    missing_polls: int = 0
    """Polls in a row without the order."""
    suspected_at: float | None = None
    """The moment from which the order is removed if an `sms` call answers that there is no such order."""
    failing_since: float | None = None
    """The moment from which reading its messages fails."""
    expiry_noticed: datetime | None = None
    """The `until` for which `OrderExpiring` was reported."""
    removed_at: datetime | None = None
    """The server's time of its removal."""


@frozen
class WatchState:
    """The state of a watch, for a `Journal` to keep. Only the watcher creates and changes it.

    A journal stores the result of `to_dict` with the events, and returns `from_dict` of it at the next start. The
    dict's form is private to the library and may change with its version.
    """

    seq: int = 0
    """The newest event's `seq`."""
    clock: float = 0.0
    """Seconds watched in all runs, up to the last change of the state."""
    replay: bool = False
    """True if messages found on the first poll count as new."""
    since: datetime | None = None
    """The server's time of the first good poll; None before it."""
    baseline: int = 0
    """The newest event's `seq` after the first good poll."""
    failing_since: float | None = None
    """The moment from which `orders` fails."""
    skipped: tuple[str, ...] = ()
    """Fingerprints of the last unreadable rows that were reported."""
    tracks: Mapping[int, OrderTrack] = field(factory=dict[int, OrderTrack])
    """Orders that are listed, or missing but not yet removed."""
    removed: Mapping[int, OrderTrack] = field(factory=dict[int, OrderTrack])
    """Orders that were removed, the oldest removal first. If one comes back, its old messages aren't reported again."""
    orders: Mapping[int, Order] = field(
        default=Factory(lambda state: _orders(state.tracks), takes_self=True),
        eq=False,
        repr=False,
    )
    """The listed orders as last seen."""
    next_expiry: datetime | None = field(default=None, eq=False, repr=False)
    """The server's time of the next `OrderExpiring`; None if it isn't known."""
    listed_at: datetime | None = field(default=None, eq=False, repr=False)
    """The server's time of the last good poll that changed anything."""

    def to_dict(self) -> dict[str, Any]:
        """Return the state as a dict that `json.dumps` can write."""
        return {
            **write_part(self),
            "tracks": [_write_track(track) for track in self.tracks.values()],
            "removed": [_write_track(track) for track in self.removed.values()],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the state that `to_dict` wrote.

        Args:
            fields: The dict, possibly after a round trip through JSON.

        Raises:
            ValueError: It isn't the dict of a state.

        """
        try:
            tracks, removed = (
                {track.order.id: track for track in map(_read_track, fields[name])} for name in ("tracks", "removed")
            )
            return evolve(cast("Self", read_part(fields, cls)), tracks=tracks, removed=removed, orders=_orders(tracks))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the dict of a watch's state: {error}") from error


_OMITTED = ("tracks", "removed", "orders", "next_expiry", "listed_at")


def _orders(tracks: Mapping[int, OrderTrack]) -> Mapping[int, Order]:
    return {order_id: track.order for order_id, track in tracks.items()}


def _write_track(track: OrderTrack) -> dict[str, Any]:
    return {**write_part(track), "counts": dict(track.counts)}


def _read_track(fields: Mapping[str, Any]) -> OrderTrack:
    track: OrderTrack = read_part(fields, OrderTrack)
    return evolve(track, counts={str(key): int(count) for key, count in fields["counts"].items()})


def write_part(part: WatchState | OrderTrack) -> dict[str, Any]:
    """Return a state without its orders, or a track without its counts, as a dict that `json.dumps` can write."""
    _register()
    return _serialization.write(part, type(part))


def read_part(fields: Mapping[str, Any], kind: type[Any]) -> Any:  # noqa: ANN401 - an instance of that type
    """Return the state or the track that `write_part` wrote; raise `ValueError` if it is invalid."""
    _register()
    return _serialization.read(fields, kind)


@cache
def _register() -> None:
    converter = _serialization.converter()
    for kind, names in ((WatchState, _OMITTED), (OrderTrack, ("counts",))):
        omitted: dict[str, Any] = dict.fromkeys(names, override(omit=True))
        converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **omitted))
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **omitted))
