"""Retries: which failures are tried again, and when."""

from __future__ import annotations

from attrs import frozen

from smspva_async._api.methods import Safety
from smspva_async._api.validation import number, seconds
from smspva_async.errors import (
    ApiError,
    ConnectionFailed,
    RateLimited,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
)

__all__ = ["Retry", "is_worth_retrying", "requested_pause", "retry_delay"]

_LONGEST_RETRY_AFTER = 120.0
_BUSY = "SERVER_BUSY"


@frozen
class Retry:
    """How often and when a failed call is tried again. What spends money is never sent twice.

    Tried again are connections that fail, answers that don't come in time, HTTP 5xx, answers that aren't JSON, too many
    requests, and the refusal ``SERVER_BUSY``. A longer wait that the server asks for (``Retry-After``) is kept up to
    two minutes; if it asks for more, the call fails at once. A setting that can't be right raises `ValueError`.
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


def is_worth_retrying(safety: Safety, error: SmspvaError) -> bool:
    """Return whether a call that failed like this may be sent again, and whether that may help."""
    if safety is Safety.NON_IDEMPOTENT:
        return isinstance(error, ConnectionFailed) and not error.sent
    if isinstance(error, UnexpectedResponse):
        # A server that is down or a page of some proxy passes; a known server's unknown form doesn't.
        return error.status // 100 == 5 or (error.status // 100 == 2 and error.data is None)  # noqa: PLR2004
    if isinstance(error, ApiError) and error.code == _BUSY:
        return True
    return isinstance(error, ConnectionFailed | RequestTimeout | RateLimited)


def retry_delay(retry: Retry, attempt: int, error: SmspvaError, jitter: float) -> float | None:
    """Return the seconds to wait after the failed attempt number `attempt`, or None if that was the last.

    Args:
        retry: The settings.
        attempt: 1 for the first.
        error: The failure. The server may ask in it for a longer wait.
        jitter: From 0 to 1, so that many clients don't come back at once.

    """
    if attempt >= retry.attempts:
        return None
    asked = _retry_after(error)
    if asked > _LONGEST_RETRY_AFTER:
        return None
    backoff = min(retry.cap, retry.first * 2.0 ** min(attempt - 1, 60))
    return max(asked, backoff * (1 + jitter) / 2)


def requested_pause(error: BaseException | None) -> float:
    """Return the seconds that the server asks to wait before any other request; 0 if it asks for none or too many."""
    asked = _retry_after(error)
    return asked if asked <= _LONGEST_RETRY_AFTER else 0.0


def _retry_after(error: BaseException | None) -> float:
    asked: float | None = getattr(error, "retry_after", None)
    return asked or 0.0
