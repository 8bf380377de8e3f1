"""The protocol of a fleet: the parts of a client that several processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async._http.rate_limiter import RateLimiter
    from smspva_async._purchases.store import PurchaseStore
    from smspva_async.journal.shared import SharedJournal


class Fleet(Protocol):
    """The pace, the ledger and the journal of one account, shared by several processes.

    They connect by themselves at the first use, which raises `JournalError` if that fails.
    """

    @property
    def journal(self) -> SharedJournal:
        """The journal for watchers."""
        ...

    @property
    def ledger(self) -> PurchaseStore:
        """The ledger of spending calls."""
        ...

    def attach(self, account: Callable[[], str], gap: float) -> RateLimiter:
        """Bind the fleet to the only client that uses it, and return the client's rate limiter.

        Args:
            account: A slow function that returns the account's fingerprint.
            gap: The client's minimum number of seconds between two requests.

        Raises:
            ValueError: Another client uses this object.

        """
        ...

    def open(self) -> None:
        """Stay connected from the next use on, also after `aclose`."""
        ...

    async def aclose(self) -> None:
        """Leave the fleet and close the connections. A later use connects for the moment only."""
        ...
