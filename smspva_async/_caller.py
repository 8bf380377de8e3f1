"""How a call is made: pace, attempts, and what is kept of a spending call whose outcome isn't known."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
from attrs import frozen

from smspva_async._pacer import Pacer
from smspva_async._policy import Retry, is_worth_retrying, retry_delay
from smspva_async._transport import Session
from smspva_async._wire import ORDERS, Answer, Kind, Method, decode
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ConnectionFailed,
    OutcomeUnknown,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
)
from smspva_async.models import Order, Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Caller"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_ROWS_REMEMBERED = 1024


@frozen
class _Opened:
    session: Session
    pacer: Pacer


class Caller:
    """Makes calls, one session at a time.

    Args:
        connect: Opens a session.
        timeout: Seconds for one attempt as a whole.
        gap: Least seconds between the beginnings of two requests.
        retry: How often and when to try again.

    """

    def __init__(self, connect: Callable[[], Session], *, timeout: float, gap: float, retry: Retry) -> None:
        self.gap = gap
        self.unsettled: list[OutcomeUnknown] = []
        self._connect = connect
        self._timeout = timeout
        self._retry = retry
        self._opened: _Opened | None = None
        self._entered = self._closed = False
        self._known: dict[int, datetime] = {}
        self._warned: deque[str] = deque(maxlen=_ROWS_REMEMBERED)

    def open(self) -> None:
        """Open for one context; a call outside of any opens by itself."""
        if self._entered:
            raise RuntimeError("the client is open already")
        self._entered, self._closed = True, False
        self._current()

    async def aclose(self) -> None:
        """Close the session; calls raise `ClientClosed` from now on."""
        opened, self._opened = self._opened, None
        self._entered, self._closed = False, True
        if opened is not None:
            await opened.session.aclose()

    def _current(self) -> _Opened:
        if self._closed:
            raise ClientClosed("the client is closed; nothing was sent")
        if self._opened is None:
            self._opened = _Opened(self._connect(), Pacer(self.gap))
        return self._opened

    async def call(
        self,
        method: Method[T],
        params: Mapping[str, str],
        *,
        deadline: float = math.inf,
        begun: Callable[[], None] | None = None,
    ) -> T:
        """Call a method: wait for the pace, send, read the answer, and try again where that is safe.

        Args:
            method: Which.
            params: Its parameters.
            deadline: Seconds for all attempts together; waiting for the pace is not counted.
            begun: Called when a request is about to leave.

        """
        began = anyio.current_time()
        left = deadline
        for attempt in itertools.count(1):
            sent = anyio.current_time()
            try:
                await self._current().pacer.wait()
                sent = anyio.current_time()
                if begun is not None:
                    begun()
                # Asked for again: the client may have been closed while this waited.
                return await self._attempt(self._current().session, method, params, min(self._timeout, left))
            except SmspvaError as error:
                now = anyio.current_time()
                error.method, error.elapsed = method.name, now - began
                if not is_worth_retrying(method.kind, error):
                    raise
                left -= now - sent
                delay = retry_delay(self._retry, attempt, error, random.random())  # noqa: S311 - no secret
                if delay is None or delay >= left:
                    error.message += f"; tried {attempt} times" if attempt > 1 else ""
                    raise
                left -= delay
            await anyio.sleep(delay)
        raise AssertionError("the loop ends by returning or raising")

    async def _attempt(self, session: Session, method: Method[T], params: Mapping[str, str], timeout: float) -> T:
        if method.kind is Kind.SPEND:
            value = await self._spend(session, method, params, timeout)
        else:
            value = decode(method, params, await _send(session, method, params, timeout))
        self._take_note(method, value)
        return value

    async def _spend(self, session: Session, method: Method[T], params: Mapping[str, str], timeout: float) -> T:
        known, started_at, began = dict(self._known), datetime.now(UTC), anyio.current_time()

        def unknown(reason: str, data: object = None) -> OutcomeUnknown:
            error = OutcomeUnknown(
                f"outcome unknown, {method.stake}: {reason}. Don't repeat it before orders() has shown whether it was"
                " done; it stays in client.unsettled",
                method=method.name,
                params=dict(params),
                started_at=started_at,
                known=known,
                data=data,
                elapsed=anyio.current_time() - began,
            )
            self.unsettled.append(error)
            return error

        try:
            return decode(method, params, await _send(session, method, params, timeout))
        except ApiError as error:
            error.message += f"; {method.spared}"
            raise
        except ConnectionFailed as error:
            if not error.sent:
                raise
            failure: ConnectionFailed | RequestTimeout | UnexpectedResponse = error
        except (RequestTimeout, UnexpectedResponse) as error:
            failure = error
        except BaseException:
            _log.warning("%s", unknown("cancelled after it was sent"))
            raise
        # What can't be read may be half an answer, with a paid order's id.
        data = getattr(failure, "data", None) or getattr(failure, "excerpt", None) or None
        raise unknown(failure.message, data) from failure

    def _take_note(self, method: Method[T], value: T) -> None:
        """Remember which orders there are, and warn of rows that can't be read, once for each."""
        rows = cast("Rows[object]", value) if isinstance(value, Rows) else Rows[object]([value])
        seen = {row.id: row.until for row in rows if isinstance(row, Order | Rental)}
        if method is ORDERS:
            unread = {row.order_id for row in rows.skipped}
            self._known = {order_id: until for order_id, until in self._known.items() if order_id in unread}
        self._known |= seen
        for row in rows.skipped:
            fingerprint = f"{method.name} {row.raw!r}"
            if fingerprint not in self._warned:
                self._warned.append(fingerprint)
                _log.warning("%s: a row can't be read and is set aside, see Rows.skipped: %s", method.name, row.reason)


async def _send(session: Session, method: Method[T], params: Mapping[str, str], timeout: float) -> Answer:
    return await session.get({"method": method.name, **params}, keyed=method.needs_key, timeout=timeout)
