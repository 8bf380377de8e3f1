"""Snapshots of the statistics of a client and of a watch."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["ClientStatistics", "WatchStatistics"]


@frozen
class ClientStatistics:
    """Counts since the client was made, and its current pace (`SmspvaClient.statistics`)."""

    requests: Mapping[str, int] = field(hash=False)
    """Requests sent, by the provider's method, such as ``"orders"``; each attempt counts."""
    waiting: Mapping[str, int] = field(hash=False)
    """Calls that wait for the pace now, by priority: ``"spending"``, ``"foreground"`` and ``"polls"``."""
    gap: float
    """Seconds from the start of one request to the start of the next: the setting, or more after `RateLimited`."""
    errors: Mapping[str, int] = field(hash=False)
    """Requests that failed, by the error's class, such as ``"RequestTimeout"``; retried ones count too."""


@frozen
class WatchStatistics:
    """Counts since the watcher was entered, and its current periods (`Watcher.statistics`)."""

    orders: int
    """Orders being watched."""
    waiting: Mapping[str, int] = field(hash=False)
    """Open waits by kind: ``"message"`` and ``"state"``."""
    polls: int
    """Good answers to `orders`."""
    reads: int
    """Good answers to `sms`."""
    failures: int
    """Calls of `orders` and `sms` that failed."""
    period: float
    """The current seconds between two polls of the orders."""
    full_scan: float
    """Seconds to read every list of messages once at the current settings, if the server answers, no flag rises and no
    other call uses the client. Other calls go first (see `SmspvaClient`) and leave a quarter of the pace to polling."""
    flags: Mapping[str, int] = field(hash=False)
    """New messages that `has_new_sms` announced in time, ``"announced"``, and other new messages, ``"unannounced"``.
    Only messages that a poll of the orders could have announced count."""
    leads: bool = True
    """True if this process polls; always, except for a follower in a fleet, which shows the leader's `period` and
    `full_scan`."""
