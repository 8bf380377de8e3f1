"""The kinds of journal for the tests of the protocol, and events to fill them with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from attrs import frozen

from smspva_async import (
    Event,
    Journal,
    JournalLocked,
    Lagged,
    MemoryJournal,
    PollRecovered,
    SqliteJournal,
    WatchState,
    event_from_dict,
    event_to_dict,
)
from tests.support.accounts import START

Restart: TypeAlias = Callable[[], Journal]
"""Returns the journal for a new run of the program, with the kept events."""


@frozen
class Kind:
    """A kind of journal for the tests of the protocol.

    Attributes:
        name: The name in test ids.
        make: A function of a folder and the number of events to keep (None: all) that returns a new one.
        drops_unread: True if it drops events that a named cursor has not read.

    """

    name: str
    make: Callable[[Path, int | None], Restart]
    drops_unread: bool


def _memory(_: Path, keep: int | None) -> Restart:
    journal = MemoryJournal() if keep is None else MemoryJournal(keep)
    return lambda: journal


def _sqlite(folder: Path, keep: int | None) -> Restart:
    return lambda: SqliteJournal(folder / "journal.db", keep=keep)


class JsonJournal:
    """A journal as a user might write it, with public names only. Its file has a line of JSON for each write."""

    _open: ClassVar[set[Path]] = set()

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self._path = path
        self._keep = keep
        self._is_mine = False
        self._forget_all()

    def _forget_all(self) -> None:
        self._events: list[Event] = []
        self._newest = 0
        self._state: WatchState | None = None
        self._places: dict[str, int] = {}

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:  # noqa: ARG002 - it has one account
        if self._path in self._open:
            raise JournalLocked("another watcher has it")
        self._open.add(self._path)
        self._is_mine = True
        self._forget_all()
        if self._path.exists():
            for line in self._path.read_text(encoding="ascii").splitlines():
                self._apply(json.loads(line))
        return self._state

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        assert self._is_mine
        new = [event_to_dict(event) for event in events]
        self._write({"events": new, "state": state.to_dict(), "places": dict(places)})

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        oldest = self._newest - len(self._events)
        if after > self._newest:
            raise Lagged(f"event {after} hasn't happened", resume=self._newest)
        if after < oldest:
            raise Lagged("the events are no longer kept", resume=oldest)
        return self._events[after - oldest : after - oldest + limit]

    async def places(self) -> Mapping[str, int]:
        return dict(self._places)

    async def move(self, places: Mapping[str, int]) -> None:
        self._write({"places": dict(places)})

    async def forget(self, name: str) -> None:
        self._write({"forget": name})

    async def aclose(self) -> None:
        if self._is_mine:
            self._open.discard(self._path)
        self._is_mine = False

    def _write(self, record: dict[str, Any]) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.write(f"{json.dumps(record)}\n")
        self._apply(record)

    def _apply(self, record: dict[str, Any]) -> None:
        new = [event_from_dict(event) for event in record.get("events", ())]
        self._events += new
        self._newest += len(new)
        if new and self._keep is not None:
            # At least as many as were added, so that a caught-up reader gets them all.
            self._events = self._events[-max(self._keep, len(new)) :]
        if "state" in record:
            self._state = WatchState.from_dict(record["state"])
        for name, place in record.get("places", {}).items():
            self._places[name] = max(place, self._places.get(name, 0))
        if "forget" in record:
            self._places.pop(record["forget"], None)


def _json(folder: Path, keep: int | None) -> Restart:
    return lambda: JsonJournal(folder / "journal.jsonl", keep)


# Add another kind here; the tests need no change.
KINDS = [
    Kind("memory", _memory, drops_unread=True),
    Kind("sqlite", _sqlite, drops_unread=False),
    Kind("json", _json, drops_unread=True),
]


def recovered(seq: int) -> PollRecovered:
    return PollRecovered(seq / 8, seq=seq, id=str(seq), at=START + timedelta(seconds=seq))


def events(first: int, last: int) -> list[Event]:
    """Return the events with these numbers, each a second after the one before."""
    return [recovered(seq) for seq in range(first, last + 1)]
