"""How a call is made: pace, attempts, and what is kept of a spending call whose outcome isn't known."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import random
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from smspva_async._envelope import Answer, decode
from smspva_async._pacer import Pacer
from smspva_async._policy import Retry, is_worth_retrying, retry_delay
from smspva_async._wire import Kind, Method
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
    from collections.abc import Awaitable, Callable, Mapping

    from smspva_async._transport import Session

__all__ = ["Caller"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_ROWS_REMEMBERED = 1024


class Caller:
    """Makes calls, one session at a time.

    Args:
        connect: Opens a session.
        timeout: Seconds for one attempt as a whole.
        gap: Least seconds between the beginnings of two requests.
        retry: How often and when to try again.

    """

    def __init__(self, connect: Callable[[], Session], *, timeout: float, gap: float, retry: Retry) -> None:
        self.pacer = Pacer(gap)
        self.unsettled: list[OutcomeUnknown] = []
        self._connect = connect
        self._timeout = timeout
        self._retry = retry
        self._session: Session | None = None
        self._entered = self._closed = False
        self._known: dict[int, datetime] = {}
        self._warned: deque[str] = deque(maxlen=_ROWS_REMEMBERED)

    def open(self) -> None:
        """Open for one context; a call outside of any opens by itself."""
        if self._entered:
            raise RuntimeError("the client is open already")
        self._closed = False
        self._current()
        self._entered = True

    async def aclose(self) -> None:
        """Close the session; calls raise `ClientClosed` from now on."""
        session, self._session = self._session, None
        self._entered, self._closed = False, True
        if session is not None:
            await session.aclose()

    def _current(self) -> Session:
        if self._closed:
            raise ClientClosed("the client is closed; nothing was sent")
        if self._session is None:
            self.pacer.renew()
            self._session = self._connect()
        return self._session

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
                self._current()
                await self.pacer.wait()
                sent = anyio.current_time()
                if begun is not None:
                    begun()
                # Asked for again: the client may have been closed while this waited.
                return await self._attempt(self._current(), method, params, min(self._timeout, left))
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
        # What came of an answer that can't be read is evidence where money is at stake.
        arrived: list[str] | None = [] if method.kind is Kind.SPEND else None
        asked = session.get({"method": method.name, **params}, keyed=method.needs_key, timeout=timeout, arrived=arrived)
        if arrived is not None:
            value = await self._spend(asked, arrived, method, params)
        else:
            value = decode(method, params, await asked)
        self._take_note(method, value)
        return value

    async def _spend(
        self, asked: Awaitable[Answer], arrived: list[str], method: Method[T], params: Mapping[str, str]
    ) -> T:
        """Return what a call that is sent once answers, or leave an `OutcomeUnknown` behind."""
        began = anyio.current_time()
        unknown = OutcomeUnknown(
            "", method=method.name, params=dict(params), started_at=datetime.now(UTC), known=dict(self._known)
        )

        def leave(reason: str, data: object = None) -> OutcomeUnknown:
            self.unsettled.append(unknown)
            with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
                unknown.elapsed = anyio.current_time() - began
            unknown.message = (
                f"outcome unknown, {method.stake}: {reason}. Don't repeat it before orders() has shown whether it was"
                " done; it stays in client.unsettled"
            )
            # What can't be read may be half an answer, with a paid order's id.
            unknown.data = data or "".join(arrived) or None
            return unknown

        try:
            return decode(method, params, await asked)
        except ApiError as error:
            error.message += f"; {method.spared}"
            raise
        except ConnectionFailed as error:
            if not error.sent:
                raise
            failure: ConnectionFailed | RequestTimeout | UnexpectedResponse = error
        except (RequestTimeout, UnexpectedResponse) as error:
            failure = error
        except BaseException as error:
            _log.warning("%s", leave(f"interrupted after its request began ({type(error).__name__})"))
            raise
        raise leave(failure.message, getattr(failure, "data", None)) from failure

    def _take_note(self, method: Method[T], value: T) -> None:
        """Remember which orders there are, and warn of rows that can't be read, once for each."""
        rows = cast("Rows[object]", value) if isinstance(value, Rows) else Rows[object]([value])
        # None is ever forgotten: a list may lack an order, and a purchase may be listed late.
        self._known |= {row.id: row.until for row in rows if isinstance(row, Order | Rental)}
        for row in rows.skipped:
            fingerprint = f"{method.name} {row.raw!r}"
            if fingerprint not in self._warned:
                self._warned.append(fingerprint)
                _log.warning("%s: a row can't be read and is set aside, see Rows.skipped: %s", method.name, row.reason)
