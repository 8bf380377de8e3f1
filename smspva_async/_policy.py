"""Decisions as pure functions: whose request comes next and how long after, and when to try again.

`Pace` and `Retry` are the settings that a user gives a client.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from smspva_async._api.methods import Safety
from smspva_async._api.validation import number, seconds
from smspva_async.errors import ConnectionFailed, RateLimited, RequestTimeout, SmspvaError, UnexpectedResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Pace",
    "Rank",
    "Retry",
    "grown",
    "is_worth_retrying",
    "next_rank",
    "passed_over",
    "retry_delay",
    "sensible_wait",
    "shrunk",
]

_LONGEST_RETRY_AFTER = 120.0
_SLOTS_PER_SHARE = 4
_LEAST_GROWTH = 0.5
_MOST_GROWTH = 16
_LONGEST_GROWN_GAP = 60.0
_SHRINKING = 0.95
_NEARLY_BACK = 0.05


@frozen
class Pace:
    """How quickly a client may ask.

    The default is 40 requests a minute: for its other API the provider states so many connections at most (and 4 to 5
    seconds between queries), for rentals it states nothing. A gap that can't be right raises `ValueError`.

    When the server says that there were too many requests, the gap doubles, to half a second at least, and to sixteen
    times the setting or a minute at most; each answer after that takes a twentieth of the growth away again. A wait
    that the server asks for (``Retry-After``, up to two minutes) is kept by every request of the client.
    """

    gap: float = 1.5
    """Least seconds between the beginnings of two requests; 0 is no gap."""

    def __attrs_post_init__(self) -> None:
        seconds("the gap", self.gap, zero=True)


@frozen
class Retry:
    """How often and when a failed call is tried again. What spends money is never sent twice.

    Tried again are connections that fail, answers that don't come in time, HTTP 5xx, answers that aren't JSON, and too
    many requests. A longer wait that the server asks for (``Retry-After``) is kept up to two minutes; if it asks for
    more, the call fails at once. A setting that can't be right raises `ValueError`.
    """

    attempts: int = 4
    """Attempts in all; 1 tries nothing again."""
    first: float = 0.5
    """Seconds to wait before the second attempt; doubled for each one after, and drawn from the upper half."""
    cap: float = 30.0
    """The longest wait in seconds, those that the server asks for aside."""

    def __attrs_post_init__(self) -> None:
        number("the number of attempts", self.attempts, 1)
        seconds("the first wait", self.first, zero=True)
        seconds("the longest wait", self.cap, zero=True)


class Rank(Enum):
    """The classes of requests, the most urgent first."""

    SPENDING = "spending"
    """Spends or destroys."""
    FOREGROUND = "foreground"
    """Somebody waits for the answer."""
    POLLS = "polls"
    """The watch goes on by itself."""


def next_rank(passed: Mapping[Rank, int]) -> Rank:
    """Return the class that the next slot goes to.

    It is the most urgent one, unless another class that waits would then miss its share, one slot in four.

    Args:
        passed: The classes that wait, one at least, and how many slots each has seen go to others meanwhile.

    """

    def latest(rank: Rank) -> int:
        """Return how many slots some class will need for one of its own, if the next goes to `rank`."""
        others = sorted((count for other, count in passed.items() if other is not rank), reverse=True)
        return max([_SLOTS_PER_SHARE, *(count + place for place, count in enumerate(others, 2))])

    return min((rank for rank in Rank if rank in passed), key=latest)


def passed_over(passed: Mapping[Rank, int], rank: Rank) -> dict[Rank, int]:
    """Return how many slots each class that waits has seen go to others, once one has gone to `rank`."""
    return {other: 0 if other is rank else count + 1 for other, count in passed.items()}


def grown(gap: float, setting: float) -> float:
    """Return the gap after the server has said that there were too many requests.

    Args:
        gap: Seconds until now.
        setting: Seconds that the user asked for, which may be more than a gap grows to.

    """
    unit = max(setting, _LEAST_GROWTH)
    return max(gap, min(max(2 * gap, unit), _MOST_GROWTH * unit, _LONGEST_GROWN_GAP))


def shrunk(gap: float, setting: float) -> float:
    """Return the gap after an answer to a request that came no sooner than this gap allows.

    Args:
        gap: Seconds until now.
        setting: Seconds that the user asked for.

    """
    growth = _SHRINKING * (gap - setting)
    return setting if growth < _NEARLY_BACK * max(setting, _LEAST_GROWTH) else setting + growth


def sensible_wait(error: BaseException | None) -> float:
    """Return the seconds that the server asks to wait before any other request; 0 if it asks for none or too many."""
    asked = _asked_wait(error)
    return asked if asked <= _LONGEST_RETRY_AFTER else 0.0


def _asked_wait(error: BaseException | None) -> float:
    asked: float | None = getattr(error, "retry_after", None)
    return asked or 0.0


def is_worth_retrying(safety: Safety, error: SmspvaError) -> bool:
    """Tell whether a call that failed like this may be sent again, and whether that may help."""
    if safety is Safety.NON_IDEMPOTENT:
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
    asked = _asked_wait(error)
    if asked > _LONGEST_RETRY_AFTER:
        return None
    backoff = min(retry.cap, retry.first * 2.0 ** min(attempt - 1, 60))
    return max(asked, backoff * (1 + chance) / 2)
