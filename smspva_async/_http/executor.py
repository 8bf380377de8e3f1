"""Execution of calls: session, permit, attempts, statistics."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections import Counter, deque
from contextlib import nullcontext
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from smspva_async._api.decoding import decode
from smspva_async._api.methods import Method, Safety
from smspva_async._http.rate_limiter import Priority
from smspva_async._http.retry import Retry, is_worth_retrying, requested_pause, retry_delay
from smspva_async._operations import Call
from smspva_async.errors import ApiError, ClientClosed, OutcomeUnknown, RateLimited, SmspvaError, name_call
from smspva_async.models import Rows, fingerprints
from smspva_async.statistics import ClientStatistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smspva_async._api.decoding import Answer
    from smspva_async._http.fleet import Fleet
    from smspva_async._http.rate_limiter import Permit, RateLimiter
    from smspva_async._http.transport import HttpSession
    from smspva_async._operations import Observer
    from smspva_async._purchases.tracker import PurchaseTracker

T = TypeVar("T")

_log = logging.getLogger("smspva_async.client")

_WARNINGS_REMEMBERED = 1024


class RequestExecutor:
    """Executes calls in one event loop at a time, with one session for each.

    Args:
        connect: Creates a session in the running event loop.
        base_url: The address of the rental API.
        account_url: The address of the account API.
        timeout: Seconds for one attempt.
        rate_limiter: Grants permits to send requests.
        retry: The retry settings.
        purchases: Tracks spending calls.
        fleet: Closed with the client.

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
        fleet: Fleet | None = None,
    ) -> None:
        self.purchases = purchases
        self.observe: Observer = nullcontext
        self._fleet = fleet
        self._connect = connect
        self._base_url = base_url
        self._account_url = account_url
        self._timeout = timeout
        self._rate_limiter = rate_limiter
        self._retry = retry
        self._connecting = Lock()
        self._session: HttpSession | None = None
        self._entered = self._closed = False
        self._warned: deque[str] = deque(maxlen=_WARNINGS_REMEMBERED)
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    @property
    def gap(self) -> float:
        """The current minimum number of seconds between two requests."""
        return self._rate_limiter.gap

    async def open(self) -> None:
        """Open the client for a context. A call without a context needs no opening."""
        if self._entered and (self._session is None or self._session.belongs_to_this_loop()):
            raise RuntimeError("the client is already open")
        session = self._session_of_this_loop()
        self._entered = True
        try:
            if self._fleet is not None:
                self._fleet.open()
            await self.purchases.enter()
            await session.open(self._base_url)
        except BaseException:
            self._entered = False
            await self._close_shared()
            raise
        self._closed = False

    async def aclose(self) -> None:
        """Close the session, from any event loop; later calls raise `ClientClosed`."""
        self._entered, self._closed = False, True
        try:
            if self._session is not None:
                await self._session.aclose()
        finally:
            await self._close_shared()

    async def _close_shared(self) -> None:
        try:
            await self.purchases.aclose()
        finally:
            if self._fleet is not None:
                await self._fleet.aclose()

    def _current(self) -> HttpSession:
        """Return the session of the running event loop."""
        if self._closed:
            raise ClientClosed("the client is closed; nothing was sent")
        return self._session_of_this_loop()

    def _session_of_this_loop(self) -> HttpSession:
        session = self._session
        if session is None or session.is_closed or not session.belongs_to_this_loop():
            with self._connecting:  # event loops in two threads may get here at once
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
        on_send: Callable[[], None] | None = None,
        before_retry: Callable[[], Awaitable[None]] | None = None,
        decode: Callable[[Method[T], Mapping[str, str], Answer], T] = decode,
        exclusive: bool = False,
    ) -> T:
        """Call a method: wait for the pace, send the request, decode the answer, and retry if that is safe.

        Args:
            method: The method.
            params: Its parameters.
            priority: The priority for the pace; a spending call has its own.
            retry: Overrides the client's settings.
            deadline: Seconds for all attempts together, without the waits for the pace.
            on_send: Called when a request is about to be sent.
            before_retry: Awaited before each retry; its time doesn't count towards the deadline.
            decode: Decodes the answer if the call doesn't spend.
            exclusive: Don't send a spending call if another one may have changed its order.

        """
        if method.safety is Safety.NON_IDEMPOTENT:
            priority = Priority.SPENDING
        call = Call(method.name, int(params["id"]) if "id" in params else None)
        began = anyio.current_time()
        left = deadline
        with self.observe(call):
            for attempt in itertools.count(1):
                sent = anyio.current_time()
                try:
                    await self._current().open(self._url(method))  # may take a while, so before the permit
                    if method.safety is Safety.NON_IDEMPOTENT or not self.purchases.is_read:
                        await self.purchases.read()
                    asked = anyio.current_time()
                    permit = await self._rate_limiter.acquire(priority)
                    try:
                        sent = anyio.current_time()
                        call.waited += sent - asked
                        self._current()  # raises if the client was closed meanwhile, before the ledger is written
                        if on_send is not None:
                            on_send()
                        timeout = min(self._timeout, left)
                        return await self._attempt(call, method, params, permit, timeout, decode, exclusive=exclusive)
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
                if before_retry is not None:
                    await before_retry()
        raise AssertionError("the loop ends by returning or raising")

    def _url(self, method: Method[T]) -> str:
        return self._base_url if method.account_path is None else self._account_url + method.account_path

    async def _attempt(
        self,
        call: Call,
        method: Method[T],
        params: Mapping[str, str],
        permit: Permit,
        timeout: float,
        decode: Callable[[Method[T], Mapping[str, str], Answer], T],
        *,
        exclusive: bool,
    ) -> T:
        async def begin() -> None:
            self._current()  # the client may have been closed meanwhile
            await self._rate_limiter.begin(permit)
            self._requests[method.name] += 1
            call.requests, call.status = call.requests + 1, None

        async def send(received: list[str] | None) -> Answer:
            session = self._current()
            query = {"method": method.name, **params} if method.account_path is None else params
            answer = await session.get(
                self._url(method), query, method.key_location, timeout=timeout, received=received
            )
            call.status = answer.status
            return answer

        try:
            if method.safety is Safety.NON_IDEMPOTENT:
                value = await self.purchases.spend(method, params, send, begin, exclusive=exclusive)
            else:
                await begin()
                value = decode(method, params, await send(None))
        except SmspvaError as error:
            if permit.number:
                self._count_failure(permit, error)
            raise
        self._rate_limiter.accepted(permit)
        self._note_answer(call, method, value)
        return value

    def _count_failure(self, permit: Permit, error: SmspvaError) -> None:
        """Count a failed request, and slow down if the server requests it."""
        self._errors[type(error).__name__] += 1
        if isinstance(error, RateLimited):
            self._rate_limiter.refused(permit)
        elif isinstance(error, ApiError):
            self._rate_limiter.accepted(permit)
        failure = error.__cause__ if isinstance(error, OutcomeUnknown) else error
        self._rate_limiter.pause(requested_pause(failure))

    def _note_answer(self, call: Call, method: Method[T], value: T) -> None:
        """Record the orders of an answer, and log a warning for each new row that can't be decoded."""
        self.purchases.known_orders.note(method, value)
        skipped = cast("Rows[object]", value).skipped if isinstance(value, Rows) else ()
        for row, identity in zip(skipped, fingerprints(skipped, method.name), strict=True):
            if identity not in self._warned:
                self._warned.append(identity)
                fields = {"method": method.name, "order_id": call.order_id}
                _log.warning("%s: skipped a row, see Rows.skipped: %s", method.python_name, row.reason, extra=fields)

    def statistics(self) -> ClientStatistics:
        """Return a snapshot of the statistics."""
        return ClientStatistics(
            requests=dict(self._requests),
            waiting=self._rate_limiter.waiting(),
            gap=self._rate_limiter.gap,
            errors=dict(self._errors),
        )
