"""The protocol of a journal that several processes share: one of them leads, the others follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from attrs import field, frozen

from smspva_async.errors import JournalError
from smspva_async.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from smspva_async.journal.state import WatchState


class NotLeading(JournalError):
    """Another process leads the fleet by now, so this one wrote nothing. A user never sees it."""


@frozen
class Demand:
    """Everything that the callers in one process wait for."""

    messages: frozenset[int] = frozenset()
    """Orders whose messages are waited for."""
    states: frozenset[int] = frozenset()
    """Orders whose state is waited for."""
    refreshes: Mapping[str, int] = field(factory=dict[str, int])
    """The open refresh requests: a token, and the order's id."""


@frozen
class LeaderStatus:
    """Facts about the leader's watch, for the statistics and errors of its followers."""

    period: float = 0.0
    full_scan: float = 0.0
    last_success: datetime | None = None
    last_failure: str | None = None


@frozen
class Lease:
    """The right to lead, for a time."""

    is_mine: bool
    seconds_left: float
    """Seconds until it ends, in this or another process; 0 if it is free."""


@frozen
class DemandChanged:
    """A process has a new demand."""

    member: str
    demand: Demand | None
    """None: the process has left or died."""


@frozen
class RefreshAnswered:
    """A refresh request is answered."""

    token: str
    read_at: int | None
    """The newest event's `seq` once the order's messages are read; None: only `orders` is answered."""


@frozen
class NameTaken:
    """Another process became the holder of a consumer's name, after this one if it had the name."""

    name: str
    member: str


@frozen
class LeaderLeft:
    """The leader gave up its lease."""

    invalid_key: str | None = None
    """The provider's message if the leader left because the key is invalid."""


@frozen
class Restored:
    """The server had lost its newest data, and a process has restored the events and the state."""


News: TypeAlias = DemandChanged | RefreshAnswered | NameTaken | LeaderLeft | Restored


class SharedJournal(Journal, Protocol):
    """A journal that several processes use at the same time. Each has a replica of the state and of the newest events.

    `open` joins the others instead of locking. The process that has the lease leads: it polls, and only it may append.
    `append` raises `NotLeading` in any other process, and if the journal can't be reached for as long as a lease. All
    other methods wait while the journal can't be reached; `failure` is then the reason.
    """

    lease: float
    """Seconds for which a leader leads without renewing its lease."""
    status: LeaderStatus
    """The leader's status, as of the last `lead`."""

    @property
    def state(self) -> WatchState | None:
        """The replica of the state, which `news`, `take_over` and `append` update; None: there is no state yet."""
        ...

    @property
    def member(self) -> str:
        """The process's id, made by `open`."""
        ...

    @property
    def failure(self) -> str | None:
        """The reason why the journal can't be reached now."""
        ...

    async def lead(self, status: LeaderStatus | None = None) -> Lease:
        """Take the lease if it is free, or renew it if this process has it; return the lease.

        Args:
            status: The status for followers, if this process leads.

        """
        ...

    async def take_over(self) -> WatchState | None:
        """Return the newest state, after this process has got the lease. Restore what the server has lost."""
        ...

    async def resign(self, invalid_key: str | None = None) -> None:
        """Give up the lease and the demand, so that another process leads at once. Does nothing without the lease.

        Args:
            invalid_key: The provider's message if this process leaves because the key is invalid.

        """
        ...

    async def news(self) -> Sequence[News]:
        """Wait for news, apply new events to the replica, and return the rest; possibly nothing.

        Only one task may call it.
        """
        ...

    async def want(self, demand: Demand) -> None:
        """Replace this process's demand."""
        ...

    async def wants(self) -> Mapping[str, Demand]:
        """Return the demands of the other processes that are alive, by member."""
        ...

    async def tell(self, answer: RefreshAnswered) -> None:
        """Tell the other processes that a refresh request is answered."""
        ...

    async def take_name(self, name: str, default: int) -> int:
        """Make this process the holder of a consumer's name, and return the name's position.

        Args:
            name: The name.
            default: The position of a new name.

        """
        ...

    async def move_held(self, places: Mapping[str, int]) -> Collection[str]:
        """Move named cursors as `move` does, but only those whose names this process holds; return the others."""
        ...

    async def claim(self, what: str, seconds: float) -> bool:
        """Claim the right to do something; return False if another process has it.

        Args:
            what: The name of the right.
            seconds: Seconds until the claim ends.

        """
        ...

    async def unclaim(self, what: str) -> None:
        """Give up a claim of this process."""
        ...


def shared(journal: Journal) -> SharedJournal | None:
    """Return a journal if it is a shared one, otherwise None."""
    return cast("SharedJournal", journal) if hasattr(journal, "take_over") else None
