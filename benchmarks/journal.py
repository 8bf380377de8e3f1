"""Speed of the SQLite journal: durable writes of polls, and reads by a named consumer."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from benchmarks.measuring import compare, in_real_time, in_virtual_time
from benchmarks.results import Row, at_least, at_most
from benchmarks.server import Server
from smspva_async import (
    Event,
    MemoryJournal,
    Pace,
    SmspvaClient,
    SqliteJournal,
    Watcher,
    WatchState,
    event_to_dict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.results import Form
    from smspva_async import Subscription

__all__ = ["record", "rows"]

_GROUP = "SQLite journal"
_ORDERS = 100
_INTERVAL = 30.0
_EVENTS = 5_000


def rows(form: Form) -> Iterator[Row]:
    """Measure polls with an event each, then a named consumer."""
    yield _polls(form)
    yield _consumer(form)


# -- writing -----------------------------------------------------------------------------------------------------


def _polls(form: Form) -> Row:
    polls = form.pick(full=1_000, short=40)
    recorded = in_virtual_time(record(_ORDERS, polls))
    ours, theirs = in_real_time(_append(recorded))
    compared = compare(ours, theirs)
    return Row(
        group=_GROUP,
        name=f"polls of {_ORDERS} orders with an event each, durable",
        unit="per s",
        measured=compared.ours,
        against=compared.theirs,
        baseline="one plain `INSERT` transaction per poll, also durable (WAL, `synchronous = FULL`)",
        spread=compared.spread,
        goal=at_least(0.5),
    )


@frozen
class _Poll:
    """The arguments of a watcher's call to its journal after a poll."""

    events: Sequence[Event]
    state: WatchState


class _Recorder(MemoryJournal):
    """A journal that records the calls to it."""

    def __init__(self) -> None:
        super().__init__()
        self.polls: list[_Poll] = []

    async def append(self, events: Sequence[Event], state: WatchState, places: Mapping[str, int]) -> None:
        await super().append(events, state, places)
        self.polls.append(_Poll(list(events), state))


async def record(orders: int, polls: int) -> list[_Poll]:
    """Return the first poll of a real watch, and later polls in which one order changed its state."""
    server, journal = Server(orders), _Recorder()
    async with SmspvaClient("key", transport=server) as client, Watcher(client, journal=journal):
        for poll in range(polls):
            server.change(server.ids[poll % orders], state=poll // orders % 2)
            await anyio.sleep(_INTERVAL)
    return journal.polls


async def _append(polls: Sequence[_Poll]) -> tuple[list[float], list[float]]:
    """Return the polls per second and the plain transactions per second, for each poll with an event."""
    ours, theirs = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, closing(_plain(Path(folder) / "plain.db")) as plain:
        journal = SqliteJournal(Path(folder) / "journal.db")
        await journal.open(None)
        try:
            first, *rest = polls
            await journal.append(first.events, first.state, {})
            for poll in rest:
                began = time.perf_counter()
                await journal.append(poll.events, poll.state, {})
                between = time.perf_counter()
                if poll.events:  # without an event, nothing waits for the disk
                    _insert(plain, poll.events[0])
                    ours.append(1 / (between - began))
                    theirs.append(1 / (time.perf_counter() - between))
        finally:
            await journal.aclose()
    return ours, theirs


def _plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, at REAL NOT NULL, event TEXT NOT NULL)")
    return connection


def _insert(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO events VALUES (?, ?, ?)", [event.seq, event.at.timestamp(), _json(event)])
    connection.execute("COMMIT")


def _json(event: Event) -> str:
    return json.dumps(event_to_dict(event))


# -- reading -----------------------------------------------------------------------------------------------------


def _consumer(form: Form) -> Row:
    ours, theirs = in_real_time(_read_alternately(form.pick(full=30, short=3)))
    compared = compare(ours, theirs)
    return Row(
        group=_GROUP,
        name=f"a named consumer reading {_EVENTS:,} events with `auto_ack`",
        unit="ms",
        measured=compared.ours * 1e3,
        against=compared.theirs * 1e3,
        baseline=f"an unnamed subscription reading the same {_EVENTS:,} events",
        spread=compared.spread,
        goal=at_most(2.5),
    )


async def _read_alternately(repetitions: int) -> tuple[list[float], list[float]]:
    """Return the seconds that a new consumer takes to read all events, and those of a new subscription."""
    ours, theirs = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        # Each order makes an event in the first poll. With this gap no other poll follows.
        async with (
            SmspvaClient("key", transport=Server(_EVENTS), pace=Pace(gap=3_600)) as client,
            Watcher(client, journal=journal) as watcher,
        ):
            await _read(watcher.events(after=0))  # loads the same pages into memory for both
            for repetition in range(repetitions):
                ours.append(await _read(watcher.consumer(f"consumer {repetition}", after=0)))
                theirs.append(await _read(watcher.events(after=0)))
    return ours, theirs


async def _read(events: Subscription) -> float:
    """Return the seconds that reading all events takes."""
    began = time.perf_counter()
    for _ in range(_EVENTS):
        await anext(events)
    return time.perf_counter() - began
