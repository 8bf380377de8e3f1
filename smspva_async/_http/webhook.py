"""Webhooks: a signed POST request to the user's own server.

Requests are signed as the specification Standard Webhooks (https://www.standardwebhooks.com) says.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING

import anyio
import httpx
from attrs import frozen

from smspva_async._api import validation
from smspva_async._http.redaction import ApiKey
from smspva_async._http.transport import Pool, open_pool, seconds_until
from smspva_async.errors import one_line

if TYPE_CHECKING:
    from typing import Self

_LONGEST_ANSWER = 1024
_ACCEPTED = range(200, 300)
_BUSY = {429, 503}
_PORTS = range(1, 2**16)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the same for every secret
_SECRET_SIZES = range(24, 65)
_HEADERS = {"User-Agent": "smspva-async", "Content-Type": "application/json", "Accept-Encoding": "identity"}


@frozen
class Failure:
    """An attempt that failed."""

    reason: str
    """The reason without anything that the receiver sent, which may be the request."""
    quote: str
    """The beginning of an answer, or the text of an error that may quote it."""
    status: int | None
    """The answer's HTTP status; None if there was no answer."""
    retry_after: float
    """Seconds for which the receiver wants no other attempt."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.quote}" if self.quote else self.reason


class Receiver:
    """The user's server. Its text is the address without the path, which may contain a token."""

    def __init__(self, url: httpx.URL, key: ApiKey, timeout: float, pool: Pool) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._pool = pool

    @classmethod
    async def open(cls, url: httpx.URL, key: ApiKey, timeout: float) -> Self:
        """Return a receiver, by the certificates and proxy settings of the environment.

        Raises:
            ConnectionFailed: The certificates or settings are unusable.

        """
        return cls(url, key, timeout, await open_pool(str(url)))

    def __str__(self) -> str:
        return f"{self._url.scheme}://{self._url.netloc.decode()}"

    async def post(self, message_id: str, body: bytes) -> Failure | None:
        """Send a message once, and return the failure; None if the receiver accepted the message."""
        headers = {**_HEADERS, **self._sign(message_id, body)}
        request = httpx.Request("POST", self._url, content=body, headers=headers)
        status: int | None = None
        retry_after, is_complete, answer = 0.0, False, b""
        reason, quote = f"no answer within {self._timeout:g} s", ""
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
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, the event is sent again
            reason, quote = type(error).__name__, one_line(self._key.redact(str(error)))
            if isinstance(error, httpx.ConnectError):  # nothing was sent yet
                reason, quote = f"{reason}: {quote}", ""
        if not is_complete:
            await self.aclose()  # httpcore may leak the connection of a cancelled request
            self._pool = Pool(self._pool.connect)
        if status is None:
            return Failure(reason, quote, None, 0.0)
        if status in _ACCEPTED:
            return None
        quote = one_line(self._key.redact_truncated(answer))
        return Failure(f"HTTP {status}", quote, status, retry_after)

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
    if not parsed.host or (parsed.port is not None and parsed.port not in _PORTS):
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
        del secret, encoded
        raise ValueError(f"the webhook's secret must be {_SECRET_PREFIX} and 24 to 64 random bytes in base64")
    return ApiKey(encoded)
