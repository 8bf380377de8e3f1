"""The state of a watch: all that it remembers from poll to poll.

Every message ever seen is counted in it, so that a list that shrinks and grows again brings nothing back.
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

__all__ = ["OrderTrack", "WatchState", "read_part", "write_part"]


@frozen
class OrderTrack:
    """The memory of one order. Moments are seconds on `WatchState.clock`."""

    order: Order
    """The order as it was when more than its passing fields last changed, so that nothing is written for those."""
    seen_at: datetime
    """The server's time at which it was seen so."""
    in_baseline: bool = False
    """True if the first poll listed it."""
    counts: Mapping[str, int] = field(factory=dict[str, int])
    """The key of each message ever listed -> the highest number of times."""
    is_read: bool = False
    """True once its messages were read."""
    read_had_new: bool = False
    """True if messages were new since the last poll, so that a flag that is up in the next one announces another."""
    flag_seen: bool = False
    """True if the flag was up, or unknown, at any poll so far."""
    flag_rose: bool = False
    """True if the flag rose since the messages were last asked for and read."""
    rose_at: float | None = None
    """The moment of the poll that showed it."""
    missing_since: float | None = None
    """The moment of the first poll that lacks it."""
    missing_polls: int = 0
    """Polls in a row that lack it."""
    suspected_at: float | None = None
    """The moment since which one `sms` call that finds no such order removes it."""
    failing_since: float | None = None
    """The moment at which reading its messages began to fail."""
    expiry_noticed: datetime | None = None
    """The `until` that `OrderExpiring` was reported for."""
    removed_at: datetime | None = None
    """The server's time at which it was removed."""


@frozen
class WatchState:
    """The state of a watch, for a `Journal` to keep. Only the watcher makes and changes one.

    A journal stores `to_dict` beside the events and returns `from_dict` of it at the next start. The form of the dict
    belongs to the library and may change with its version.
    """

    seq: int = 0
    """The newest event's."""
    clock: float = 0.0
    """Seconds watched so far, over all runs, when the state last changed."""
    replay: bool = False
    """True if messages found on the first poll are new."""
    since: datetime | None = None
    """The server's time of the first good poll; None before it."""
    baseline: int = 0
    """The newest event's `seq` after the first good poll."""
    failing_since: float | None = None
    """The moment at which `orders` began to fail."""
    skipped: tuple[str, ...] = ()
    """Fingerprints of the rows last reported as unreadable."""
    tracks: Mapping[int, OrderTrack] = field(factory=dict[int, OrderTrack])
    """Orders that are listed, or missing for a while."""
    removed: Mapping[int, OrderTrack] = field(factory=dict[int, OrderTrack])
    """Orders that were removed, the oldest removal first; one that comes back brings no message twice."""
    orders: Mapping[int, Order] = field(
        default=Factory(
            lambda state: {order_id: track.order for order_id, track in state.tracks.items()}, takes_self=True
        ),
        eq=False,
        repr=False,
    )
    """The listed orders as last seen."""
    next_expiry: datetime | None = field(default=None, eq=False, repr=False)
    """The server's time from which on an order will be near its `until`; None where that is not known."""
    listed_at: datetime | None = field(default=None, eq=False, repr=False)
    """The server's time of the last good poll that changed anything."""

    def to_dict(self) -> dict[str, Any]:
        """Return the state as a dict that `json.dumps` writes."""
        return {
            **write_part(self),
            "tracks": [_write_track(track) for track in self.tracks.values()],
            "removed": [_write_track(track) for track in self.removed.values()],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the state that `to_dict` made this of.

        Args:
            fields: The dict, also after a way through JSON.

        Raises:
            ValueError: It was made of no state.

        """
        try:
            found = [{track.order.id: track for track in map(_read_track, fields[name])} for name in _APART[:2]]
            return evolve(
                cast("Self", read_part(fields, cls)), tracks=found[0], removed=found[1], orders=_orders(found[0])
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"no state of a watch: {error}") from error


_APART = ("tracks", "removed", "orders", "next_expiry", "listed_at")


def _orders(tracks: Mapping[int, OrderTrack]) -> Mapping[int, Order]:
    return {order_id: track.order for order_id, track in tracks.items()}


def _write_track(track: OrderTrack) -> dict[str, Any]:
    return {**write_part(track), "counts": dict(track.counts)}


def _read_track(fields: Mapping[str, Any]) -> OrderTrack:
    track: OrderTrack = read_part(fields, OrderTrack)
    return evolve(track, counts={str(key): int(count) for key, count in fields["counts"].items()})


def write_part(part: WatchState | OrderTrack) -> dict[str, Any]:
    """Return a state without its orders, or a track without its counts, as a dict that `json.dumps` writes."""
    _register()
    return _serialization.write(part, type(part))


def read_part(fields: Mapping[str, Any], kind: type[Any]) -> Any:  # noqa: ANN401 - an instance of that type
    """Return what `write_part` made this of; `ValueError` if it is none."""
    _register()
    return _serialization.read(fields, kind)


@cache
def _register() -> None:
    converter = _serialization.converter()
    for kind, apart in ((WatchState, _APART), (OrderTrack, ("counts",))):
        omitted: dict[str, Any] = dict.fromkeys(apart, override(omit=True))
        converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **omitted))
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **omitted))
