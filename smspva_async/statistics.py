"""Statistics of a client and of a watch, as snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["ClientStatistics", "WatchStatistics"]


@frozen
class ClientStatistics:
    """Counts since the client was made, and its present pace (`SmspvaClient.statistics`)."""

    requests: Mapping[str, int] = field(hash=False)
    """Requests that were begun, by the provider's method, such as ``"orders"``; each attempt counts."""
    waiting: Mapping[str, int] = field(hash=False)
    """Calls that wait for the pace now, by class: ``"spending"``, ``"foreground"`` and ``"polls"``."""
    gap: float
    """Seconds between the beginnings of two requests now: the setting, or more after too many requests."""
    errors: Mapping[str, int] = field(hash=False)
    """Requests that failed, by the error's class, such as ``"RequestTimeout"``; those tried again are among them."""


@frozen
class WatchStatistics:
    """Counts since the watcher was entered, and its present periods (`Watcher.statistics`)."""

    orders: int
    """Orders that are watched."""
    waiting: Mapping[str, int] = field(hash=False)
    """Waits that are open now: ``"message"`` and ``"state"``."""
    polls: int
    """Answers to `orders`."""
    reads: int
    """Answers to `sms`."""
    failures: int
    """Polls and readings that failed."""
    period: float
    """Seconds between two polls of the orders now."""
    full_scan: float
    """Seconds for one turn over all lists of messages at the present settings, while the server answers, no flag rises
    and nothing else asks the client. Other calls go first (see `SmspvaClient`), and leave polling a quarter of the
    pace."""
    flags: Mapping[str, int] = field(hash=False)
    """New messages that `has_new_sms` announced in time, ``"announced"``, and others, ``"unannounced"``; only messages
    that a poll of the orders could have announced are counted."""
