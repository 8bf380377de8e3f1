"""Retries: the failures that are retried, and the delays."""

from __future__ import annotations

from attrs import frozen

from smspva_async._api.decoding import SERVER_BUSY
from smspva_async._api.methods import Safety
from smspva_async._api.validation import integer, seconds
from smspva_async.errors import (
    ApiError,
    ConnectionFailed,
    RateLimited,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
)

_LONGEST_RETRY_AFTER = 120.0


@frozen
class Retry:
    """The settings for retrying failed calls. Calls that spend money are never sent twice.

    Retried are failed connections, timeouts, HTTP 5xx, answers that aren't JSON, too many requests, and the refusal
    ``SERVER_BUSY``. A longer ``Retry-After`` of up to two minutes is respected; if it is longer than that, the call
    fails at once. An invalid setting raises `ValueError`.
    """

    attempts: int = 4
    """The maximum number of attempts; 1 for no retry."""
    first: float = 0.5
    """Seconds before the second attempt, doubled for each later one. The delay is random, from half to all of this."""
    cap: float = 30.0
    """The maximum delay in seconds, except for ``Retry-After``."""

    def __attrs_post_init__(self) -> None:
        integer("attempts", self.attempts, 1)
        seconds("first", self.first, zero=True)
        seconds("cap", self.cap, zero=True)


def is_worth_retrying(safety: Safety, error: SmspvaError) -> bool:
    """Return whether a retry of a failed call is safe and may help."""
    if safety is Safety.NON_IDEMPOTENT:
        return isinstance(error, ConnectionFailed) and not error.sent
    if isinstance(error, UnexpectedResponse):
        # An outage or a proxy's error page is temporary; JSON in an unknown form isn't.
        return error.status // 100 == 5 or (error.status // 100 == 2 and error.data is None)  # noqa: PLR2004
    if isinstance(error, ApiError) and error.code == SERVER_BUSY:
        return True
    return isinstance(error, ConnectionFailed | RequestTimeout | RateLimited)


def retry_delay(retry: Retry, attempt: int, error: SmspvaError, jitter: float) -> float | None:
    """Return the delay in seconds before the next attempt, or None if there is none.

    Args:
        retry: The settings.
        attempt: The number of the failed attempt, from 1.
        error: The failure, whose `retry_after` may require a longer delay.
        jitter: A random number from 0 to 1, so that many clients don't retry at the same moment.

    """
    if attempt >= retry.attempts:
        return None
    requested = _retry_after(error)
    if requested > _LONGEST_RETRY_AFTER:
        return None
    backoff = min(retry.cap, retry.first * 2.0 ** min(attempt - 1, 60))
    return max(requested, backoff * (1 + jitter) / 2)


def requested_pause(error: BaseException | None) -> float:
    """Return the seconds for which all requests have to wait after a failure: its ``Retry-After``, or 0 if too long."""
    requested = _retry_after(error)
    return requested if requested <= _LONGEST_RETRY_AFTER else 0.0


def _retry_after(error: BaseException | None) -> float:
    requested: float | None = getattr(error, "retry_after", None)
    return requested or 0.0
