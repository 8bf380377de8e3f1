"""Decisions as pure functions: whether to try again and when, what a tick of the watch reads.

`Pace` and `Retry` are the settings that a user gives a client.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

from attrs import frozen

from smspva_async._params import number, seconds
from smspva_async._wire import Kind
from smspva_async.errors import ConnectionFailed, RateLimited, RequestTimeout, SmspvaError, UnexpectedResponse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from smspva_async._diff import Track

__all__ = ["Pace", "Retry", "is_worth_retrying", "plan_reads", "retry_delay"]

_LONGEST_RETRY_AFTER = 120.0
_SHARE_OF_POLLING = 0.75


@frozen
class Pace:
    """How quickly a client may ask.

    The default is 40 requests a minute, which the provider states for its other API; for rentals it states nothing.
    """

    gap: float = 1.5
    """Seconds between the beginnings of two requests."""

    def __attrs_post_init__(self) -> None:
        seconds("the gap", self.gap, zero=True)


@frozen
class Retry:
    """How often and when a failed call is tried again. What spends money is never sent twice."""

    attempts: int = 4
    """Attempts in all."""
    first: float = 0.5
    """Seconds to wait before the second attempt; doubled for each one after, and drawn from the upper half."""
    cap: float = 30.0
    """The longest wait in seconds."""

    def __attrs_post_init__(self) -> None:
        number("the number of attempts", self.attempts, 1)
        seconds("the first wait", self.first, zero=True)
        seconds("the longest wait", self.cap, zero=True)


def is_worth_retrying(kind: Kind, error: SmspvaError) -> bool:
    """Tell whether a call that failed like this may be sent again, and whether that may help."""
    if kind is Kind.SPEND:
        return isinstance(error, ConnectionFailed) and not error.sent
    if isinstance(error, UnexpectedResponse):
        # A server that is down or a page of some proxy passes; a known server's unknown form doesn't.
        return error.status // 100 == 5 or (error.status // 100 == 2 and error.data is None)  # noqa: PLR2004
    return isinstance(error, ConnectionFailed | RequestTimeout | RateLimited)


def retry_delay(retry: Retry, attempt: int, error: SmspvaError, chance: float) -> float | None:
    """Return the seconds to wait after the failed attempt number `attempt`, or None if that was the last.

    Args:
        retry: The settings.
        attempt: 1 for the first.
        error: What went wrong; the server may ask in it for a longer wait, which is kept if it is a sensible one.
        chance: From 0 to 1, so that many clients don't come back at once.

    """
    if attempt >= retry.attempts:
        return None
    asked = getattr(error, "retry_after", None) or 0.0
    if asked > _LONGEST_RETRY_AFTER:
        return None
    backoff = min(retry.cap, retry.first * 2.0 ** min(attempt - 1, 60))
    return max(asked, backoff * (1 + chance) / 2)


def plan_reads(
    tracks: Mapping[int, Track], awaited: Collection[int], *, turn: int, now: datetime, period: float, gap: float
) -> list[int]:
    """Return the orders whose messages a tick reads, in this order.

    Of every four readings the first is for an order whose flag rose since it was read, the second for one never read,
    the third for one that somebody waits for and the fourth for any other, flags that stay up among them; where there
    is none of a kind its turn goes to the first kind that there is. Within a kind the longest unread comes first. So
    nothing keeps any order from its turn for ever. The fourth kind fills up polling's share of the pace, one at least.

    Args:
        tracks: What is known of each order.
        awaited: The orders that somebody waits for.
        turn: How many readings there were before, so that few in each tick take turns as well.
        now: The time.
        period: Seconds that the tick lasts.
        gap: The least seconds between two requests.

    """

    def last_tried(order_id: int) -> tuple[bool, datetime | None]:
        tried_at = tracks[order_id].tried_at
        # In the future: the server's clock was set back since, and nobody knows when it was.
        known = tried_at is not None and tried_at <= now
        return (known, tried_at if known else None)

    flagged: list[int] = []
    new: list[int] = []
    waited: list[int] = []
    others: list[int] = []
    for order_id, track in tracks.items():
        failed = track.tried_at != track.read_at
        if track.flag_rose and not failed:
            flagged.append(order_id)
        elif order_id in awaited:
            waited.append(order_id)
        elif track.tried_at is None:
            new.append(order_id)
        else:
            others.append(order_id)
    urgent = len(flagged) + len(new) + len(waited)
    share = len(others) if gap == 0 else int(_SHARE_OF_POLLING * period / gap) - 1 - urgent
    others = heapq.nsmallest(max(1, share), others, key=last_tried)
    kinds = [deque(sorted(kind, key=last_tried)) for kind in (flagged, new, waited, others)]
    plan: list[int] = []
    while any(kinds):
        due = kinds[(turn + len(plan)) % len(kinds)]
        plan.append((due or next(kind for kind in kinds if kind)).popleft())
    return plan
