"""Forwarding: each event of a watch as a webhook, in order and at least once."""

from __future__ import annotations

import itertools
import json
import logging
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio

from smspva_async._api import validation
from smspva_async.errors import DeliveryFailed
from smspva_async.events import to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async._http.webhook import Receiver
    from smspva_async.events import Event
    from smspva_async.watcher import Watcher

__all__ = ["forward"]

_log = logging.getLogger("smspva_async.forward")

DAY = 86_400
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 300.0
_GONE = 410


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
    wait: after 1 s, 2 s, 4 s and so on up to 5 minutes, each shortened at random by up to half, or later if HTTP 429 or
    503 comes with ``Retry-After``. Redirects are not followed. Nothing is bought.

    Args:
        watcher: An entered watcher. Only with a `SqliteJournal` or a fleet does the position survive a restart.
        url: The receiver's address: https, or http on this machine.
        secret: The secret that the receiver knows too: ``whsec_`` and 24 to 64 random bytes in base64.
        name: The consumer's name in the journal. Each receiver needs its own.
        after: The `seq` after which a new name begins, as for `Watcher.consumer`.
        timeout: Seconds for one request.
        give_up_after: Seconds from an event's first failure in this run to `DeliveryFailed`; a day by default.
        on_attempt: Called after each attempt with the event and the failure; None as the failure: it was acknowledged.
            The failure quotes the receiver's answer, which may repeat the event or the URL. Errors and logs don't.

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
    from smspva_async._http.webhook import Receiver, webhook_secret, webhook_url  # noqa: PLC0415 - httpx is slow to import

    try:
        key = webhook_secret(secret)
    finally:
        del secret  # no traceback that shows variables has it
    address = webhook_url(url)
    validation.seconds("the timeout", timeout)
    validation.seconds("give_up_after", give_up_after)
    events = watcher.consumer(name, after=after, auto_ack=False)
    async with aclosing(await Receiver.open(address, key, timeout)) as receiver:
        async for event in events:
            await _deliver(receiver, event, give_up_after, on_attempt)
            await events.ack(event)
            if on_attempt is not None:
                on_attempt(event, None)


async def _deliver(
    receiver: Receiver,
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
                fields = {"order_id": event.order_id, "seconds": now - failing_since}
                _log.info("forwarding to %s works again after %.0f s", receiver, now - failing_since, extra=fields)
            return
        if on_attempt is not None:
            on_attempt(event, str(failure))
        if failing_since is None:
            failing_since = now
            outage = {"order_id": event.order_id, "kind": DeliveryFailed.__name__}
            _log.warning(
                "forwarding to %s fails from now on, at event %d: %s", receiver, event.seq, failure.reason, extra=outage
            )
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
        delay, left = max(backoff, failure.retry_after), max(0.0, give_up_after - elapsed)
        is_last = delay >= left
        await anyio.sleep(min(delay, left))
