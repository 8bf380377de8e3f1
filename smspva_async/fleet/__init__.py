"""One account, many processes: `RedisFleet` shares the pace, the ledger and the journal. Needs the extra ``redis``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from smspva_async._api import validation
from smspva_async.errors import JournalError

try:
    from smspva_async.fleet._connection import url_problem
    from smspva_async.fleet._link import Link
except ModuleNotFoundError as _error:
    if _error.name != "coredis":
        raise
    raise ImportError('RedisFleet needs the package coredis: pip install "smspva-async[redis]"') from None

from smspva_async.fleet._journal import RedisJournal
from smspva_async.fleet._ledger import RedisLedger
from smspva_async.fleet._pace import SharedRateLimiter
from smspva_async.fleet._status import FleetMember, FleetStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async._http.rate_limiter import RateLimiter
    from smspva_async._purchases.store import PurchaseStore
    from smspva_async.journal.shared import SharedJournal
    from smspva_async.journal.sqlite import Keep

__all__ = ["FleetMember", "FleetStatus", "RedisFleet"]


class RedisFleet:
    """One account in many processes and on many machines, connected by a Redis server. It needs the extra ``redis``.

    Each process passes one to its client, which then also serves the watcher:

        async with SmspvaClient(fleet=RedisFleet("redis://localhost")) as client, Watcher(client) as watcher: ...

    - One process polls for all: the leader. The others get the same events. If the leader ends or dies, another one
      leads within a lease.
    - All requests of all processes keep one pace.
    - All processes share one ledger. Each purchase is written to Redis before it is sent.

    Redis must be version 7 or newer with the ``maxmemory-policy`` noeviction, and should have ``appendonly yes`` and
    ``appendfsync always``. It holds phone numbers and messages, and a fingerprint of the key, but not the key.

    A fleet connects at its client's first use, under asyncio or trio. While Redis can't be reached, calls and events
    wait, and the log has one WARNING. A fleet belongs to one client, and can't be pickled.

    Args:
        url: The address of Redis: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or
            ``unix:///path/to/socket``. Percent-encode special characters. A query may contain ``db``, and for TLS
            ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile``. No error, log line or `repr` shows the password.
        name: The fleet's name, for several accounts in one Redis: letters, digits, ``_``, ``.`` and ``-``.
        lease: Seconds without a sign of life after which another process leads. All processes should use the same.
        keep: The number of events to keep, the time for which to keep them, or both, as for `SqliteJournal`.
        may_lead: False for a process that lives for a short time only, such as a task: it never polls, so one of the
            others must.

    Raises:
        ValueError: An argument is invalid.

    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "main",
        lease: float = 10.0,
        keep: Keep = (1_000_000, timedelta(days=90)),
        may_lead: bool = True,
    ) -> None:
        problem = url_problem(url)
        link = None if problem else Link(url, name, lease, self._fingerprint)
        del url  # a traceback of the errors below must not show the password
        if link is None:
            raise ValueError(problem)
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
            raise ValueError(f"the fleet's name must be 1 to 100 letters, digits, '_', '.' or '-', got {name!r}")
        validation.seconds("the lease", lease)
        if not isinstance(may_lead, bool):
            raise ValueError(f"may_lead must be True or False, got {may_lead!r}")  # noqa: TRY004 - all invalid input
        self._link = link
        self._account: Callable[[], str] | None = None
        self._limiter: SharedRateLimiter | None = None
        self._journal = RedisJournal(link, keep, may_lead=may_lead)
        self._ledger = RedisLedger(link)

    def __repr__(self) -> str:
        # A traceback with local variables may show a fleet whose constructor failed.
        return f"<RedisFleet {self._link.where}>" if hasattr(self, "_link") else "<RedisFleet>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RedisFleet can't be pickled or copied: it may contain a password; make one in each process")

    @property
    def journal(self) -> SharedJournal:
        """The journal for watchers. A `Watcher` of the fleet's client uses it by itself."""
        return self._journal

    @property
    def ledger(self) -> PurchaseStore:
        """The ledger of spending calls. The fleet's client uses it by itself."""
        return self._ledger

    def attach(self, account: Callable[[], str], gap: float) -> RateLimiter:
        """Bind the fleet to its only client, and return the client's rate limiter. `SmspvaClient` calls it.

        Args:
            account: A slow function that returns the account's fingerprint.
            gap: The client's minimum number of seconds between two requests.

        Raises:
            ValueError: Another client uses this object.

        """
        if self._limiter is not None:
            raise ValueError("another client uses this RedisFleet; make one for each client")
        self._account = account
        self._limiter = SharedRateLimiter(self._link, gap)
        return self._limiter

    def open(self) -> None:
        """Stay connected from the next use on, also after `aclose`. The client calls it when it is entered."""
        self._link.open()

    async def status(self) -> FleetStatus:
        """Return the members of the fleet that are alive, its leader and its pace.

        Raises:
            JournalError: Redis can't be used.

        """
        return await read_status(self._link)

    async def aclose(self) -> None:
        """Leave the fleet and close the connections. The client calls it when it is closed."""
        try:
            if self._limiter is not None:
                await self._limiter.aclose()
        finally:
            await self._link.aclose()

    def _fingerprint(self) -> str:
        if self._account is None:
            raise JournalError("no client uses this RedisFleet; pass it to SmspvaClient(fleet=...)")
        return self._account()
