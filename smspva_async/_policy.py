"""Decisions as pure functions: whether to try again and when.

`Pace` and `Retry` are the settings that a user gives a client.
"""

from __future__ import annotations

from attrs import frozen

from smspva_async._params import number, seconds
from smspva_async._wire import Kind
from smspva_async.errors import ConnectionFailed, RateLimited, RequestTimeout, SmspvaError, UnexpectedResponse

__all__ = ["Pace", "Retry", "is_worth_retrying", "retry_delay"]

_LONGEST_RETRY_AFTER = 120.0


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
