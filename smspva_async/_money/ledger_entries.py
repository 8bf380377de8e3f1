"""What the ledger tells of the calls that spend, and the lines in which it does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

from attrs import Factory, define, field, frozen

from smspva_async._api import methods
from smspva_async._api.rows import is_object

__all__ = ["Begun", "Contents", "Ended", "Outcome", "read_entry", "read_line", "write_line"]

_NUMBERS = {"id", "dcount", "rent_days"}
# What each call can't be judged without.
_NEEDED: Mapping[str, AbstractSet[str]] = {
    methods.RENT.name: {"service"},
    methods.RENT_MULTI.name: {"services"},
    methods.ADD_SERVICE.name: {"service", "id"},
    methods.PROLONG.name: {"id"},
    methods.PROLONG_DAYS.name: {"id"},
    methods.DELETE.name: {"id"},
    methods.RESTORE.name: {"id"},
}
_LONGEST_DATA = 64 * 1024

Outcome: TypeAlias = Literal["done", "refused", "not_sent", "unknown", "settled"]
_OUTCOMES: Mapping[str, Outcome] = {outcome: outcome for outcome in get_args(Outcome)}


@frozen
class Begun:
    """A call that was about to be sent."""

    call: str
    method: str
    params: Mapping[str, str]
    started_at: datetime
    known: Mapping[int, datetime | None]
    listed: bool
    known_at: datetime | None

    def line(self) -> bytes:
        """Return it as the ledger has it."""
        known = {order_id: until and until.isoformat() for order_id, until in self.known.items()}
        return write_line(
            call=self.call,
            method=self.method,
            params=dict(self.params),
            started_at=self.started_at.isoformat(),
            known=known,
            listed=self.listed,
            known_at=None if self.known_at is None else self.known_at.isoformat(),
        )


@frozen
class Ended:
    """What is known of a call's outcome."""

    call: str
    outcome: Outcome
    at: datetime = field(factory=lambda: datetime.now(UTC))
    orders: tuple[int, ...] = ()
    """The orders that the caller was given."""
    told: bool = True
    """Whether those are all that the call made."""
    reason: str = ""
    """Why it isn't known."""
    data: object = None
    """What the server sent then."""

    def line(self) -> bytes:
        """Return it as the ledger has it."""
        fields: dict[str, object] = {"call": self.call, "outcome": self.outcome, "at": self.at.isoformat()}
        if self.outcome == "done":
            fields |= {"orders": list(self.orders), "told": self.told}
        if self.outcome == "unknown":
            fields |= {"reason": self.reason, "data": _shortened(self.data)}
        return write_line(**fields)


@define
class Contents:
    """What a ledger tells."""

    begun: dict[str, Begun] = Factory(dict[str, Begun])
    ended: dict[str, Ended] = Factory(dict[str, Ended])
    """The last word on each call: an outcome stands before its being settled, and that before its being unknown."""

    def add(self, entry: Begun | Ended) -> None:
        """Take in a line."""
        if isinstance(entry, Begun):
            self.begun[entry.call] = entry
        elif entry.call not in self.ended or _weight(entry) >= _weight(self.ended[entry.call]):
            self.ended[entry.call] = entry


def _weight(entry: Ended) -> int:
    """Return how much an outcome tells."""
    return {"unknown": 0, "settled": 1}.get(entry.outcome, 2)


# -- lines -----------------------------------------------------------------------------------------------------------


def write_line(**fields: object) -> bytes:
    """Return fields as a line."""
    return json.dumps(fields).encode() + b"\n"


def _shortened(data: object) -> object:
    """Return data that fits in a line: what is too large as the beginning of its text."""
    try:
        text = json.dumps(data)
    except RecursionError:
        return "nested too deeply to be written down"
    return data if len(text) <= _LONGEST_DATA else text[:_LONGEST_DATA]


def read_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's fields, or None if it can't be read."""
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if is_object(value) else None


def read_entry(fields: dict[str, Any] | None) -> Begun | Ended | None:
    """Return what a line tells, or None if it can't be read."""
    try:
        return None if fields is None else _ended(fields) if "outcome" in fields else _begun(fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _begun(fields: dict[str, Any]) -> Begun:
    method = methods.SPENDING[fields["method"]].name
    params = {name: _text(value) for name, value in fields["params"].items()}
    if not params.keys() >= _NEEDED[method]:
        raise KeyError
    for name in _NUMBERS & params.keys():
        int(params[name])
    return Begun(
        call=_text(fields["call"]),
        method=method,
        params=params,
        started_at=_time(fields["started_at"]),
        known={int(order_id): None if until is None else _time(until) for order_id, until in fields["known"].items()},
        listed=bool(fields["listed"]),
        known_at=None if fields.get("known_at") is None else _time(fields["known_at"]),
    )


def _ended(fields: dict[str, Any]) -> Ended:
    return Ended(
        call=_text(fields["call"]),
        outcome=_OUTCOMES[fields["outcome"]],
        at=_time(fields["at"]),
        orders=tuple(int(order_id) for order_id in fields.get("orders", ())),
        told=bool(fields.get("told", True)),
        reason=str(fields.get("reason", "")),
        data=fields.get("data"),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _time(value: object) -> datetime:
    """Read a time, which has to have its zone."""
    time = datetime.fromisoformat(_text(value))
    if time.tzinfo is None:
        raise ValueError
    return time
