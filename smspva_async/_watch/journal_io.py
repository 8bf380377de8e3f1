"""A watch's access to its journal: commits of new events, reads of old ones, and the positions of named consumers."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from smspva_async._concurrency import Signal, finish
from smspva_async._server_clock import EPSILON
from smspva_async._watch.diff import CallFailed, OrdersListed, SmsListed, step
from smspva_async.errors import CursorTaken, JournalError, Lagged
from smspva_async.events import PollFailed, PollRecovered
from smspva_async.journal.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence
    from datetime import datetime

    from smspva_async._watch.diff import Observation
    from smspva_async.errors import SmspvaError
    from smspva_async.events import Event
    from smspva_async.journal import Journal
    from smspva_async.journal.shared import SharedJournal
    from smspva_async.models import Order

_log = logging.getLogger("smspva_async.watch")

EVERYTHING = -1
"""The position before the oldest event that is kept, whatever its number."""
_BATCH = 256
"""Events to read at once when only those of one order are wanted."""
_MAX_UNWRITTEN = 50
"""The maximum number of events from a consumer's position in the journal to its current position."""
_OVERDUE_AFTER = 0.2
"""Seconds after which the next step of any consumer writes the positions."""
_WRITE_AFTER = 0.8
"""Seconds after which the positions are written even if no consumer takes a step."""
_CHECK_EVERY = 0.05
_LAST_WRITE = 5.0
"""Seconds for which closing a consumer waits for a shared journal."""


@contextlib.contextmanager
def _as_journal_errors() -> Generator[None]:
    """Raise the errors of a user's own journal as `JournalError`."""
    try:
        yield
    except (JournalError, Lagged):
        raise
    except Exception as error:
        raise JournalError(f"the journal has failed: {error!r}") from error


# -- reading -----------------------------------------------------------------------------------------------------------


class JournalReader:
    """Reads a journal's events, and wakes its readers when there are more."""

    def __init__(self, journal: Journal) -> None:
        self.ended: bool = False
        """True once no more events will come."""
        self.newest: int = 0
        """The newest event's `seq`."""
        self.baseline: int | None = None
        """The newest event's `seq` after the first good poll; None before it."""
        self._journal = journal
        self._news = Signal()
        self._failure: SmspvaError | None = None

    def publish(self, newest: int, baseline: int | None) -> None:
        """Let readers read the events up to `newest`."""
        if (newest, baseline) != (self.newest, self.baseline):
            self.newest, self.baseline = newest, baseline
            self.notify()

    def notify(self) -> None:
        """Wake all readers."""
        self._news.set()

    def end(self, failure: SmspvaError | None = None) -> None:
        """End the readers' waits: no more events will come. A failure is raised in each reader."""
        if not self.ended:
            self.ended, self._failure = True, failure
            self.notify()

    async def next(self, after: int, order_id: int | None) -> tuple[Event | None, int]:
        """Return the next event after a position, None if there is none yet, and the position after it."""
        while True:
            try:
                events = await self._read(max(0, after), 1 if order_id is None else _BATCH)
            except Lagged as lagged:
                if after != EVERYTHING:
                    raise
                after = lagged.resume
                continue
            after = max(0, after)
            for event in events:
                if event.seq > self.newest:
                    return None, after  # written, but not published yet
                if event.seq != after + 1:
                    raise JournalError(
                        f"the journal is damaged: event {after + 1} is missing. Read on after it: "
                        f"events(after={event.seq - 1}), or consumer(name, after={event.seq - 1})"
                    )
                after = event.seq
                if order_id is None or event.order_id == order_id:
                    return event, after
            if not events:
                if after < self.newest:
                    raise JournalError(f"the journal is damaged: the events after {after} are missing")
                return None, after

    async def oldest(self) -> int:
        """Return the position before the oldest event that is kept."""
        try:
            await self._read(0, 1)
        except Lagged as lagged:
            return lagged.resume
        return 0

    async def _read(self, after: int, limit: int) -> Sequence[Event]:
        with _as_journal_errors():
            return await self._journal.read(after, limit)

    async def change(self) -> bool:
        """Wait until something may be new; return False if nothing will be, because the watcher was left.

        Raises:
            SmspvaError: The error that ended the watch.

        """
        if self._failure is not None:
            raise copy.copy(self._failure)
        if not self.ended:
            await self._news.wait()
            return True
        return False


# -- writing -----------------------------------------------------------------------------------------------------------


class StateStore:
    """The state of the watch. Applies one observation after another, each as one commit to the journal.

    Args:
        journal: The journal.
        positions: The positions of named consumers, which are part of each commit.
        reader: Publishes the committed events.
        shared: The journal if it is a shared one.

    """

    def __init__(
        self, journal: Journal, positions: ConsumerPositions, reader: JournalReader, shared: SharedJournal | None
    ) -> None:
        self.state: WatchState = WatchState()
        self.orders: Mapping[int, Order] = MappingProxyType({})
        """The orders as last seen; they change together with the state."""
        self.last_success: datetime | None = None
        """The server's time of the last good poll of the orders."""
        self.last_failure: str | None = None
        """The message of the last poll that failed."""
        self._failures: dict[int | None, str] = {}
        """The message of the last failure of `orders` (None), and of reading each order's messages."""
        self.activation_failures: dict[int, str] = {}
        """The messages of the activations that failed and will be tried again, by order."""
        self._journal = journal
        self._positions = positions
        self._reader = reader
        self._shared = shared
        self._commit = anyio.Lock()

    def lasting_failure(self, order_id: int) -> str | None:
        """Return the reason why waits for an order may get nothing now: a failure that lasts; None if all works."""
        if self._shared is not None and self._shared.failure is not None:
            return self._shared.failure
        if self.state.failing_since is not None:
            return self._failures.get(None, self.last_failure)
        track = self.state.tracks.get(order_id)
        if track is not None and track.failing_since is not None:
            return self._failures.get(order_id, self.last_failure)
        return self.activation_failures.get(order_id)

    def resume(self, state: WatchState) -> None:
        """Continue from a state, and publish it."""
        self.orders = MappingProxyType(state.orders)
        self.state = state
        self._reader.publish(state.seq, _baseline(state))

    async def apply(self, observation: Observation) -> Sequence[Event]:
        """Commit the events that follow from an observation, and return them.

        Raises:
            JournalError: The journal can't be written.

        """
        match observation:
            case OrdersListed(at=at):
                self.last_success = at
            case CallFailed(order_id=order_id, message=message):
                self.last_failure = self._failures[order_id] = message
            case SmsListed(order_id=order_id):
                self._failures.pop(order_id, None)
        async with self._commit:
            state, events = step(self.state, observation)
            if state is self.state:
                return events
            # Events that were written are also published, even if the watcher is left meanwhile.
            await finish(partial(self._write, events, state))
        for event in events:
            _log_outage(event)
        return events

    async def _write(self, events: Sequence[Event], state: WatchState) -> None:
        positions = await self._positions.for_commit(_baseline(state))
        with _as_journal_errors():
            await self._journal.append(events, state, positions)
        self._positions.written(positions)
        self.resume(state)


def _baseline(state: WatchState) -> int | None:
    """Return the newest event's `seq` after the first good poll; None before it."""
    return None if state.since is None else state.baseline


def _log_outage(event: Event) -> None:
    order_id = event.order_id
    polled = "orders" if order_id is None else f"the messages of order {order_id}"
    fields = {"method": "orders" if order_id is None else "sms", "order_id": order_id}
    match event:
        case PollFailed(kind, message):
            _log.warning("polling %s fails from now on (%s): %s", polled, kind, message, extra={**fields, "kind": kind})
        case PollRecovered(downtime):
            _log.info("polling %s works again after %.0f s", polled, downtime, extra={**fields, "seconds": downtime})
        case _:
            pass


# -- positions of named consumers -------------------------------------------------------------------------------------


class ConsumerPositions:
    """The positions of all named consumers. Every event up to a consumer's position is done.

    Args:
        journal: The journal, which keeps the positions.
        reader: Wakes the consumers when a name is taken over.
        shared: The journal if it is a shared one.

    """

    def __init__(self, journal: Journal, reader: JournalReader, shared: SharedJournal | None) -> None:
        self._journal = journal
        self._shared = shared
        self._reader = reader
        self._kept: dict[str, int] = {}
        """The positions that the journal has."""
        self._new: dict[str, int | None] = {}
        """Names that the journal may lack, and their first positions; None: the baseline."""
        self._moved: dict[str, int] = {}
        """Places that the journal lacks."""
        self._something_moved = Signal()
        self._moved_at = 0.0
        self._is_overdue = False
        self._owners: dict[str, object] = {}
        self._held: set[str] = set()
        """Names that this process has taken in a shared journal."""

    async def load(self) -> None:
        """Read the positions that the journal has."""
        with _as_journal_errors():
            self._kept = dict(await self._journal.places())

    def take(self, name: str, owner: object, default: int | None, after: int | None) -> int | None:
        """Make a consumer the owner of a name, instead of an earlier one; return where it begins.

        Args:
            name: The name.
            owner: The consumer.
            default: The position where a new name begins; None: the baseline.
            after: The position where to begin, if it is after the kept one.

        """
        if self._shared is not None:  # `start` asks for the position, which another process may move
            self._owners[name] = owner
            self._reader.notify()
            return default if after is None else after
        if name in self._kept or name in self._new:
            position = self._moved.get(name, self._kept.get(name, self._new.get(name)))
        else:
            position = default if after is None else after
        if name not in self._moved and (position is None or position <= self._reader.newest):
            self._new[name] = position  # also for a known name, which may have been forgotten meanwhile
        if position is None:
            position = self._reader.baseline
        if position is not None and after is not None:
            position = max(position, after)
        self._owners[name] = owner
        self._reader.notify()
        return position

    async def start(self, name: str, after: int, *, is_explicit: bool) -> int:
        """Return the position where a consumer begins, after making sure that the journal knows its name.

        Args:
            name: The name.
            after: The position that `take` returned.
            is_explicit: True if the consumer begins at this position if it is after the kept one.

        """
        if self._shared is None:
            await self.write_new()
            return after
        default = await self._reader.oldest() if after == EVERYTHING else min(after, self._reader.newest)
        with _as_journal_errors():
            kept = await self._shared.take_name(name, default)
        self._kept[name] = kept
        self._held.add(name)
        return max(kept, self._moved.get(name, kept), after if is_explicit else kept)

    def lose(self, name: str) -> None:
        """End this process's consumer of a name: a consumer in another process has taken it over."""
        if name in self._held:
            self._held.discard(name)
            self._owners[name] = None
            self._moved.pop(name, None)
            self._reader.notify()

    def write_again(self) -> None:
        """Write all positions of this process's consumers again, since the journal may have lost them."""
        self._moved = {name: self._kept[name] for name in self._held} | self._moved
        self._moved_at = anyio.current_time()
        self._something_moved.set()

    def check(self, name: str, owner: object) -> None:
        """Raise `CursorTaken` if another consumer owns the name now."""
        if self._owners[name] is not owner:
            raise _cursor_taken(name)

    def move(self, name: str, position: int) -> bool:
        """Move a name forward; return True if its position should be written now instead of with the next commit."""
        unwritten = position - self._kept.get(name, 0)
        if unwritten <= 0:
            return False
        if not self._moved:
            self._moved_at = anyio.current_time()
            self._something_moved.set()
        self._moved[name] = position
        return unwritten >= _MAX_UNWRITTEN or self._is_overdue or self._reader.ended

    async def for_commit(self, baseline: int | None) -> Mapping[str, int]:
        """Return the positions to write with a commit: none to a shared journal, which has to check the holders."""
        return {} if self._shared is not None else await self.unwritten(baseline)

    async def unwritten(self, baseline: int | None) -> Mapping[str, int]:
        """Return the positions that the journal lacks, except those that depend on a baseline that isn't known yet."""
        positions: dict[str, int] = {}
        for name, start in list(self._new.items()):
            position = baseline if start is None else start
            if position == EVERYTHING:
                position = await self._reader.oldest()
            if position is not None:
                positions[name] = position
        return positions | self._moved

    def written(self, positions: Mapping[str, int]) -> None:
        """Record that the journal has these positions."""
        for name, position in positions.items():
            self._new.pop(name, None)
            self._kept[name] = max(position, self._kept.get(name, 0))
            if self._moved.get(name, position + 1) <= position:
                del self._moved[name]
        self._is_overdue = self._is_overdue and bool(self._moved)

    async def write(self, name: str | None = None) -> None:
        """Write all positions that the journal lacks. With a name: only if its position is among them."""
        if name is None or name in self._moved or name in self._new:
            positions = await self.unwritten(self._reader.baseline)
            if positions:
                lost: Collection[str] = ()
                with _as_journal_errors():
                    if self._shared is None:
                        await self._journal.move(positions)
                    else:
                        lost = await self._shared.move_held(positions)
                for taken in lost:
                    self.lose(taken)
                self.written(positions)
                if name is not None and name in lost:
                    raise _cursor_taken(name)

    async def write_last(self, name: str) -> None:
        """Write a consumer's last position. A shared journal that can't be reached is waited for only briefly."""
        with (
            contextlib.suppress(CursorTaken),
            anyio.move_on_after(math.inf if self._shared is None else _LAST_WRITE),
        ):
            await self.write(name)

    async def write_new(self) -> None:
        """Write the positions of new names."""
        if self._new:
            await self.write()

    async def run(self) -> None:
        """Write the positions that consumers leave unwritten, until cancelled."""
        while True:
            if not self._moved:
                await self._something_moved.wait()
            age = anyio.current_time() - self._moved_at + EPSILON
            self._is_overdue = age >= _OVERDUE_AFTER
            if age >= _WRITE_AFTER:
                # The consumer's next step tries again, and raises the error.
                with contextlib.suppress(JournalError):
                    await self.write()
                self._moved_at = anyio.current_time()  # for the next try, if it failed
            await anyio.sleep(_CHECK_EVERY)


def _cursor_taken(name: str) -> CursorTaken:
    return CursorTaken(
        f"another consumer took over the name {name!r}; it gets the events that were not acknowledged", name=name
    )
