"""Calls: the session, the permit to send, the attempts."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections import Counter, deque
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from smspva_async._api.decoding import decode
from smspva_async._api.methods import Method, Safety
from smspva_async._http.rate_limiter import Priority
from smspva_async._http.retry import Retry, is_worth_retrying, requested_pause, retry_delay
from smspva_async.errors import ApiError, ClientClosed, OutcomeUnknown, RateLimited, SmspvaError, name_call
from smspva_async.models import Rows, fingerprint
from smspva_async.statistics import ClientStatistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smspva_async._api.decoding import Answer
    from smspva_async._http.rate_limiter import Permit, RateLimiter
    from smspva_async._http.transport import HttpSession
    from smspva_async._purchases.tracker import PurchaseTracker

__all__ = ["RequestExecutor"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")

_ROWS_REMEMBERED = 1024


class RequestExecutor:
    """Makes calls, one session at a time, in one event loop at a time.

    Args:
        connect: Makes a session in the running event loop.
        base_url: The address of the rental API.
        account_url: The address of calls that have a path of their own.
        timeout: Seconds for one attempt as a whole.
        rate_limiter: Permits requests.
        retry: How often and when to try again.
        purchases: The calls that spend.

    """

    def __init__(
        self,
        connect: Callable[[], HttpSession],
        *,
        base_url: str,
        account_url: str,
        timeout: float,
        rate_limiter: RateLimiter,
        retry: Retry,
        purchases: PurchaseTracker,
    ) -> None:
        self.purchases = purchases
        self._connect = connect
        self._base_url = base_url
        self._account_url = account_url
        self._timeout = timeout
        self._rate_limiter = rate_limiter
        self._retry = retry
        self._connecting = Lock()
        self._session: HttpSession | None = None
        self._entered = self._closed = False
        self._warned: deque[str] = deque(maxlen=_ROWS_REMEMBERED)
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    @property
    def gap(self) -> float:
        """The least seconds between two requests now."""
        return self._rate_limiter.gap

    async def open(self) -> None:
        """Open for one context; a call outside of any opens by itself."""
        if self._entered and (self._session is None or self._session.belongs_here()):
            raise RuntimeError("the client is open already")
        session = self._session_here()
        self._entered = True
        try:
            await self.purchases.enter()
            await session.open(self._base_url)
        except BaseException:
            self._entered = False
            await self.purchases.aclose()
            raise
        self._closed = False

    async def aclose(self) -> None:
        """Close the session, in whichever event loop; calls raise `ClientClosed` from now on."""
        self._entered, self._closed = False, True
        try:
            if self._session is not None:
                await self._session.aclose()
        finally:
            await self.purchases.aclose()

    def _current(self) -> HttpSession:
        """Return the session of the running event loop."""
        if self._closed:
            raise ClientClosed("the client is closed; nothing was sent")
        return self._session_here()

    def _session_here(self) -> HttpSession:
        session = self._session
        if session is None or session.is_closed or not session.belongs_here():
            with self._connecting:  # two event loops in two threads may begin at once
                if self._session is not None:
                    self._session.check_replaceable()
                session = self._session = self._connect()
        return session

    async def call(
        self,
        method: Method[T],
        params: Mapping[str, str],
        *,
        priority: Priority = Priority.FOREGROUND,
        retry: Retry | None = None,
        deadline: float = math.inf,
        begun: Callable[[], None] | None = None,
        again: Callable[[], Awaitable[None]] | None = None,
        decode: Callable[[Method[T], Mapping[str, str], Answer], T] = decode,
    ) -> T:
        """Call a method: wait for the pace, send, read the answer, and try again where that is safe.

        Args:
            method: Which.
            params: Its parameters.
            priority: How urgent it is; a call that spends has a priority of its own.
            retry: Overrides the client's setting.
            deadline: Seconds for all attempts together; waiting for the pace is not counted.
            begun: Called when a request is about to leave.
            again: Awaited before each further attempt; like the pace's, its time is not counted.
            decode: Reads the answer, where the call doesn't spend.

        """
        if method.safety is Safety.NON_IDEMPOTENT:
            priority = Priority.SPENDING
        began = anyio.current_time()
        left = deadline
        for attempt in itertools.count(1):
            sent = anyio.current_time()
            try:
                await self._current().open(self._url(method))  # before the permit: it may take a while
                if method.safety is Safety.NON_IDEMPOTENT or not self.purchases.is_read:
                    await self.purchases.read()
                permit = await self._rate_limiter.acquire(priority)
                try:
                    sent = anyio.current_time()
                    self._current()  # closed while this waited: then nothing is written to the ledger either
                    if begun is not None:
                        begun()
                    return await self._attempt(method, params, permit, min(self._timeout, left), decode)
                finally:
                    self._rate_limiter.release(permit)
            except SmspvaError as error:
                now = anyio.current_time()
                name_call(error, method.name, method.python_name, now - began)
                if not is_worth_retrying(method.safety, error):
                    raise
                left -= now - sent
                delay = retry_delay(retry or self._retry, attempt, error, random.random())  # noqa: S311 - no secret
                if delay is None or delay >= left:
                    error.message += f"; tried {attempt} times" if attempt > 1 else ""
                    raise
                left -= delay
            await anyio.sleep(delay)
            if again is not None:
                await again()
        raise AssertionError("the loop ends by returning or raising")

    def _url(self, method: Method[T]) -> str:
        return self._base_url if method.account_path is None else self._account_url + method.account_path

    async def _attempt(
        self,
        method: Method[T],
        params: Mapping[str, str],
        permit: Permit,
        timeout: float,
        decode: Callable[[Method[T], Mapping[str, str], Answer], T],
    ) -> T:
        async def send(received: list[str] | None) -> Answer:
            # Asked for again: the client may have been closed meanwhile.
            session = self._current()
            self._rate_limiter.begin(permit)
            self._requests[method.name] += 1
            query = {"method": method.name, **params} if method.account_path is None else params
            return await session.get(self._url(method), query, method.key_place, timeout=timeout, received=received)

        try:
            if method.safety is Safety.NON_IDEMPOTENT:
                value = await self.purchases.spend(method, params, send)
            else:
                value = decode(method, params, await send(None))
        except SmspvaError as error:
            if permit.number:
                self._count_failure(permit, error)
            raise
        self._rate_limiter.accepted(permit)
        self._note_answer(method, value)
        return value

    def _count_failure(self, permit: Permit, error: SmspvaError) -> None:
        """Count the failure of a request, and slow down if the server asks for it."""
        self._errors[type(error).__name__] += 1
        if isinstance(error, RateLimited):
            self._rate_limiter.refused(permit)
        elif isinstance(error, ApiError):
            self._rate_limiter.accepted(permit)
        failure = error.__cause__ if isinstance(error, OutcomeUnknown) else error
        self._rate_limiter.pause(requested_pause(failure))

    def _note_answer(self, method: Method[T], value: T) -> None:
        """Record which orders there are, and warn of rows that can't be read, once for each."""
        self.purchases.known_orders.note(method, value)
        for row in cast("Rows[object]", value).skipped if isinstance(value, Rows) else ():
            identity = fingerprint(row, method.name)
            if identity not in self._warned:
                self._warned.append(identity)
                name = method.python_name
                _log.warning("%s: a row can't be read and is left out, see Rows.skipped: %s", name, row.reason)

    def statistics(self) -> ClientStatistics:
        """Return the present statistics."""
        return ClientStatistics(
            requests=dict(self._requests),
            waiting=self._rate_limiter.waiting(),
            gap=self._rate_limiter.gap,
            errors=dict(self._errors),
        )
