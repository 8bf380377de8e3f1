"""Forwarding: each event of a watch as a webhook, a signed POST request to the user's own server.

Requests are signed as the specification Standard Webhooks (https://www.standardwebhooks.com) says.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import logging
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import httpx
from attrs import frozen

from smspva_async._api import validation
from smspva_async._http.redaction import ApiKey
from smspva_async._http.transport import Pool, open_pool, seconds_until
from smspva_async.errors import DeliveryFailed, one_line
from smspva_async.events import to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async.events import Event
    from smspva_async.watcher import Watcher

__all__ = ["forward"]

_log = logging.getLogger("smspva_async")

DAY = 86_400
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 300.0
_LONGEST_ANSWER = 1024
_ACCEPTED = range(200, 300)
_GONE = 410
_BUSY = {429, 503}
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the same for every secret
_SECRET_SIZES = range(24, 65)
_HEADERS = {"User-Agent": "smspva-async", "Content-Type": "application/json", "Accept-Encoding": "identity"}


async def forward(
    watcher: Watcher,
    url: str,
    *,
    secret: str,
    name: str = "forward",
    after: int | None = None,
    timeout: float = 30.0,
    give_up_after: float = DAY,
    on_attempt: Callable[[Event, str | None], None] | None = None,
) -> None:
    """POST each event of a watch to a URL, in order and at least once, until the watcher is left.

    The body is the JSON of `to_dict`, signed as a Standard Webhook. The header ``webhook-id`` is the event's `id`, the
    same in each attempt and after a restart, so that a receiver can drop repetitions. An event is delivered, and
    acknowledged in the journal, once the receiver answers with HTTP 2xx. Until then it is sent again, and later events
    wait: after 1 s, 2 s, 4 s and so on up to 5 minutes, a random part of each left out, or later if HTTP 429 or 503
    comes with ``Retry-After``. Redirects are not followed. Nothing is bought.

    Args:
        watcher: An entered watcher. Only with a `SqliteJournal` or a fleet does the position survive a restart.
        url: The receiver's address: https, or http on this machine.
        secret: The secret that the receiver knows too: ``whsec_`` and 24 to 64 random bytes in base64.
        name: The consumer's name in the journal. Each receiver needs its own.
        after: The `seq` after which a new name begins, as for `Watcher.consumer`.
        timeout: Seconds for one request.
        give_up_after: Seconds from an event's first failure to `DeliveryFailed`; this run's failures count.
        on_attempt: Called after each attempt with the event and the failure; None as the failure: it was acknowledged.

    Raises:
        DeliveryFailed: The receiver didn't accept an event in time, or answered HTTP 410. The position stays.
        ConnectionFailed: The certificates or the proxy in the environment are unusable.
        CursorTaken: Another consumer has taken over this name.
        Lagged: The position is no longer kept, or is in the future; `Lagged.resume` is the nearest one.
        JournalError: The journal can't be read or written.
        SmspvaError: The error that ended the watch: `InvalidKey`, `ClientClosed` or `JournalError`.
        WatcherClosed: The watcher is not entered yet, or was left.
        ValueError: An argument is invalid.

    """
    address, key = webhook_url(url), webhook_secret(secret)
    del secret  # no traceback that shows variables has it
    validation.seconds("the timeout", timeout)
    validation.seconds("give_up_after", give_up_after)
    events = watcher.consumer(name, after=after, auto_ack=False)
    async with aclosing(_Receiver(address, key, timeout, await open_pool(str(address)))) as receiver:
        async for event in events:
            await _deliver(receiver, event, give_up_after, on_attempt)
            await events.ack(event)
            if on_attempt is not None:
                on_attempt(event, None)


async def _deliver(
    receiver: _Receiver,
    event: Event,
    give_up_after: float,
    on_attempt: Callable[[Event, str | None], None] | None,
) -> None:
    """Send an event until the receiver accepts it."""
    body = json.dumps(to_dict(event)).encode()
    failing_since: float | None = None
    is_last = False
    for attempt in itertools.count(1):
        failure = await receiver.post(event.id, body)
        now = anyio.current_time()
        if failure is None:
            if failing_since is not None:
                _log.info("forwarding to %s works again after %.0f s", receiver, now - failing_since)
            return
        if on_attempt is not None:
            on_attempt(event, failure.reason)
        if failing_since is None:
            failing_since = now
            _log.warning("forwarding to %s fails from now on, at event %d: %s", receiver, event.seq, failure.reason)
        elapsed = now - failing_since
        if is_last or failure.status == _GONE:
            raise DeliveryFailed(
                f"event {event.seq} ({type(event).__name__}) was not delivered to {receiver}: {failure.reason}; "
                f"attempts: {attempt}; its position stays, so forwarding again begins with it; nothing was bought",
                seq=event.seq,
                status=failure.status,
                elapsed=elapsed,
            )
        backoff = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(attempt - 1, 60)) * random.uniform(0.5, 1)  # noqa: S311 - no secret
        delay, left = max(backoff, failure.retry_after), give_up_after - elapsed
        is_last = delay >= left
        await anyio.sleep(min(delay, left))


@frozen
class _Failure:
    """An attempt that failed."""

    reason: str
    status: int | None
    """The answer's HTTP status; None if there was no answer."""
    retry_after: float
    """Seconds for which the receiver wants no other attempt."""


class _Receiver:
    """The user's server. Its text is the address without the path, which may contain a token."""

    def __init__(self, url: httpx.URL, key: ApiKey, timeout: float, pool: Pool) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._pool = pool

    def __str__(self) -> str:
        return f"{self._url.scheme}://{self._url.netloc.decode()}"

    async def post(self, message_id: str, body: bytes) -> _Failure | None:
        """Send a message once, and return the failure; None if the receiver accepted the message."""
        headers = {**_HEADERS, **self._sign(message_id, body)}
        request = httpx.Request("POST", self._url, content=body, headers=headers)
        status: int | None = None
        retry_after, is_complete, answer = 0.0, False, b""
        reason = f"no answer within {self._timeout:g} s"
        try:
            with anyio.move_on_after(self._timeout):
                # Not through `httpx.AsyncClient`, which logs the whole URL.
                response = await self._pool.transport.handle_async_request(request)
                status = response.status_code
                if status in _BUSY:
                    retry_after = seconds_until(response.headers.get("retry-after", "")) or 0.0
                async for chunk in response.aiter_raw():
                    answer += chunk[: _LONGEST_ANSWER - len(answer)]
                is_complete = True
        except httpx.HTTPError as error:
            reason = one_line(self._key.redact(f"{type(error).__name__}: {error}"))
        if not is_complete:
            await self.aclose()  # httpcore may leak the connection of a cancelled request
            self._pool = Pool(self._pool.connect)
        if status is None:
            return _Failure(reason, None, 0.0)
        if status in _ACCEPTED:
            return None
        excerpt = one_line(self._key.redact_truncated(answer.decode("utf-8", "replace")))
        return _Failure(f"HTTP {status}{f': {excerpt}' if excerpt else ''}", status, retry_after)

    def _sign(self, message_id: str, body: bytes) -> dict[str, str]:
        sent_at = str(int(time.time()))
        content = f"{message_id}.{sent_at}.".encode() + body
        digest = hmac.digest(base64.b64decode(self._key.key), content, hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        return {"webhook-id": message_id, "webhook-timestamp": sent_at, "webhook-signature": f"v1,{signature}"}

    async def aclose(self) -> None:
        """Close the connection."""
        with anyio.CancelScope(shield=True):
            await self._pool.transport.aclose()


def webhook_url(url: str) -> httpx.URL:
    """Return a validated address. The messages don't quote it, since its path may contain a token."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL()
    if not parsed.host or parsed.port == 0:
        raise ValueError("the webhook's URL is malformed; expected an address such as https://example.com/webhook")
    if parsed.userinfo:
        raise ValueError(
            f"the webhook's URL (host {parsed.host}) must have no user name; the signature proves the sender"
        )
    if parsed.scheme != "https" and not (parsed.scheme == "http" and validation.is_loopback(parsed.host)):
        raise ValueError(
            f"the webhook's URL (host {parsed.host}) must use https, since events contain messages "
            "(http is allowed on this machine only)"
        )
    return parsed


def webhook_secret(secret: str) -> ApiKey:
    """Return a validated secret without its prefix, in an object that doesn't show it."""
    encoded = secret.removeprefix(_SECRET_PREFIX) if isinstance(secret, str) else ""
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except ValueError:
        size = 0
    if size not in _SECRET_SIZES or encoded == secret:
        raise ValueError(f"the webhook's secret must be {_SECRET_PREFIX} and 24 to 64 random bytes in base64")
    return ApiKey(encoded)
