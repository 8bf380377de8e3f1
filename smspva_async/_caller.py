"""How a call is made: the session, the pace, the attempts."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections import Counter, deque
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from smspva_async._api.decoding import decode
from smspva_async._api.methods import Method, Safety
from smspva_async._money.books import Books
from smspva_async._money.spending import spend
from smspva_async._pacer import Pacer
from smspva_async._policy import Rank, Retry, is_worth_retrying, retry_delay, sensible_wait
from smspva_async._statistics import ClientStatistics
from smspva_async.errors import ApiError, ClientClosed, OutcomeUnknown, RateLimited, SmspvaError, name_call
from smspva_async.models import Rows, fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smspva_async._api.decoding import Answer
    from smspva_async._money.ledger import Ledger
    from smspva_async._pacer import Turn
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
        ledger: Where calls that spend are written down; None: nowhere.

    """

    def __init__(
        self, connect: Callable[[], Session], *, timeout: float, gap: float, retry: Retry, ledger: Ledger | None
    ) -> None:
        self.pacer = Pacer(gap)
        self.books = Books(ledger)
        self._connect = connect
        self._timeout = timeout
        self._retry = retry
        self._session: Session | None = None
        self._entered = self._closed = False
        self._warned: deque[str] = deque(maxlen=_ROWS_REMEMBERED)
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    async def open(self) -> None:
        """Open for one context; a call outside of any opens by itself."""
        if self._entered:
            raise RuntimeError("the client is open already")
        self._entered = True
        try:
            await self.books.enter()
            self._closed = False
            self._current()
        except BaseException:
            self._entered = False
            await self.books.aclose()
            raise

    async def aclose(self) -> None:
        """Close the session; calls raise `ClientClosed` from now on."""
        session, self._session = self._session, None
        self._entered, self._closed = False, True
        try:
            if session is not None:
                await session.aclose()
        finally:
            await self.books.aclose()

    def _current(self) -> Session:
        if self._closed:
            raise ClientClosed("the client is closed; nothing was sent")
        if self._session is None:
            self._session = self._connect()
        return self._session

    async def call(
        self,
        method: Method[T],
        params: Mapping[str, str],
        *,
        rank: Rank = Rank.FOREGROUND,
        deadline: float = math.inf,
        begun: Callable[[], None] | None = None,
        again: Callable[[], Awaitable[None]] | None = None,
        decode: Callable[[Method[T], Mapping[str, str], Answer], T] = decode,
    ) -> T:
        """Call a method: wait for the pace, send, read the answer, and try again where that is safe.

        Args:
            method: Which.
            params: Its parameters.
            rank: How urgent it is; a call that spends has a rank of its own.
            deadline: Seconds for all attempts together; waiting for the pace is not counted.
            begun: Called when a request is about to leave.
            again: Awaited before each further attempt; like the pace's, its time is not counted.
            decode: Reads the answer, where the call doesn't spend.

        """
        if method.safety is Safety.NON_IDEMPOTENT:
            rank = Rank.SPENDING
        began = anyio.current_time()
        left = deadline
        for attempt in itertools.count(1):
            sent = anyio.current_time()
            try:
                self._current()
                await self.books.open()
                if method.safety is not Safety.NON_IDEMPOTENT:
                    await self.books.flush()
                turn = await self.pacer.wait(rank)
                try:
                    sent = anyio.current_time()
                    self._current()  # closed while this waited: then nothing is written to the ledger either
                    if begun is not None:
                        begun()
                    return await self._attempt(method, params, turn, min(self._timeout, left), decode)
                finally:
                    self.pacer.leave(turn)
            except SmspvaError as error:
                now = anyio.current_time()
                name_call(error, method.name, method.python_name, now - began)
                if not is_worth_retrying(method.safety, error):
                    raise
                left -= now - sent
                delay = retry_delay(self._retry, attempt, error, random.random())  # noqa: S311 - no secret
                if delay is None or delay >= left:
                    error.message += f"; tried {attempt} times" if attempt > 1 else ""
                    raise
                left -= delay
            await anyio.sleep(delay)
            if again is not None:
                await again()
        raise AssertionError("the loop ends by returning or raising")

    async def _attempt(
        self,
        method: Method[T],
        params: Mapping[str, str],
        turn: Turn,
        timeout: float,
        decode: Callable[[Method[T], Mapping[str, str], Answer], T],
    ) -> T:
        async def ask(arrived: list[str] | None) -> Answer:
            # Asked for again: the client may have been closed meanwhile.
            session = self._current()
            self.pacer.begin(turn)
            self._requests[method.name] += 1
            query = {"method": method.name, **params}
            return await session.get(query, keyed=method.needs_key, timeout=timeout, arrived=arrived)

        try:
            if method.safety is Safety.NON_IDEMPOTENT:
                value = await spend(self.books, method, params, ask)
            else:
                value = decode(method, params, await ask(None))
        except SmspvaError as error:
            if turn.number:
                self._take_failure(turn, error)
            raise
        self.pacer.answered(turn)
        self._take_note(method, value)
        return value

    def _take_failure(self, turn: Turn, error: SmspvaError) -> None:
        """Count the failure of a request, and do as the server asks in it."""
        self._errors[type(error).__name__] += 1
        if isinstance(error, RateLimited):
            self.pacer.refused(turn)
        elif isinstance(error, ApiError):
            self.pacer.answered(turn)
        failure = error.__cause__ if isinstance(error, OutcomeUnknown) else error
        self.pacer.hold(sensible_wait(failure))

    def statistics(self) -> ClientStatistics:
        """Return how things stand."""
        return ClientStatistics(
            requests=dict(self._requests),
            waiting=self.pacer.waiting(),
            gap=self.pacer.gap,
            errors=dict(self._errors),
        )

    def _take_note(self, method: Method[T], value: T) -> None:
        """Remember which orders there are, and warn of rows that can't be read, once for each."""
        name = method.python_name
        rows = cast("Rows[object]", value) if isinstance(value, Rows) else Rows[object]([value])
        self.books.take_note(method, rows)
        for row in rows.skipped:
            known_by = fingerprint(row, method.name)
            if known_by not in self._warned:
                self._warned.append(known_by)
                _log.warning("%s: a row can't be read and is left out, see Rows.skipped: %s", name, row.reason)
