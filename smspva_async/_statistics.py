"""What there is to measure, as snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["ClientStatistics"]


@frozen
class ClientStatistics:
    """What a client has done since it was made, and how things stand (`SmspvaClient.statistics`)."""

    requests: Mapping[str, int] = field(hash=False)
    """Requests that were begun, by the provider's method, such as ``"orders"``; each attempt counts."""
    waiting: Mapping[str, int] = field(hash=False)
    """Calls that wait for the pace now, by class: ``"spending"``, ``"foreground"`` and ``"polls"``."""
    gap: float
    """Seconds between the beginnings of two requests now: the setting, or more after too many requests."""
    errors: Mapping[str, int] = field(hash=False)
    """Requests that failed, by the error's class, such as ``"RequestTimeout"``; those tried again are among them."""
