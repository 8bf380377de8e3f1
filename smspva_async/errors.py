"""What can go wrong, as one tree.

    SmspvaError
    ├── ConnectionFailed             no connection, or it broke
    ├── RequestTimeout               no answer in time
    ├── UnexpectedResponse           an answer that can't be read
    ├── OutcomeUnknown               a spending call without a readable answer: it may have been done
    ├── ApiError                     the provider refused; nothing was done
    │   ├── InvalidKey
    │   ├── NoNumbers
    │   ├── InsufficientFunds
    │   ├── OrderNotFound
    │   ├── RateLimited
    │   ├── PriceTooHigh
    │   └── RestoreRefused
    ├── WaitTimeout                  also a TimeoutError
    ├── OrderGone
    ├── Lagged
    ├── CursorTaken
    ├── JournalError
    │   └── JournalLocked
    ├── ClientClosed
    ├── ClientInUse                  another event loop has the client
    └── WatcherClosed

Each names the client's method, the provider's and the elapsed time where there are such, can be pickled and copied, and
never holds the key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from smspva_async.models import OrderState

__all__ = [
    "ApiError",
    "ClientClosed",
    "ClientInUse",
    "ConnectionFailed",
    "CursorTaken",
    "InsufficientFunds",
    "InvalidKey",
    "JournalError",
    "JournalLocked",
    "Lagged",
    "NoNumbers",
    "OrderGone",
    "OrderNotFound",
    "OutcomeUnknown",
    "PriceTooHigh",
    "RateLimited",
    "RequestTimeout",
    "RestoreRefused",
    "SmspvaError",
    "UnexpectedResponse",
    "WaitTimeout",
    "WatcherClosed",
    "bounded",
    "describe",
    "name_call",
    "one_line",
]

_LONGEST_EXCERPT = 200
_DEEPEST = 64
_LONGEST_TEXT = 64 * 1024


def one_line(text: str) -> str:
    """Return the beginning of a server's text as one printable line, fit for errors, logs and terminals."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * _LONGEST_EXCERPT])
    return " ".join(printable.split())[:_LONGEST_EXCERPT]


def describe(error: BaseException) -> str:
    """Return the message of an error on one line, or the name of its class if it has none."""
    return one_line(str(error)) or type(error).__name__


def bounded(data: object) -> object:
    """Return data of the server's that can be pickled and stored: as text where it is nested too deeply."""
    level: list[object] = [data]
    for _ in range(_DEEPEST):
        dicts = (cast("dict[object, object]", item).values() for item in level if isinstance(item, dict))
        lists = (cast("list[object]", item) for item in level if isinstance(item, list))
        level = [inner for container in (*dicts, *lists) for inner in container]
        if not level:
            return data
    try:
        return json.dumps(data)[:_LONGEST_TEXT]
    except RecursionError:
        return json.dumps(_objects_in(data))[:_LONGEST_TEXT]


def _objects_in(data: object) -> list[dict[str, object]]:
    """Return all objects in some data, each without what is nested in it: the id of an order may be in one."""
    found: list[dict[str, object]] = []
    values = [data]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            found.append({name: field for name, field in fields.items() if not isinstance(field, dict | list)})
            values += fields.values()
        elif isinstance(value, list):
            values += cast("list[object]", value)
    return found


class SmspvaError(Exception):
    """Root of everything this library raises of its own accord, `ValueError` for impossible input aside.

    Attributes:
        message: What happened and what to do, without the method and the time.
        method: The provider's method that was called, such as ``"create"``; None where none was. The error's text
            begins with the client's method, such as `rent`.
        elapsed: Seconds from the call (its wait for the pace included) to the failure; None where nothing was timed.

    """

    def __init__(self, message: str, *, method: str | None = None, elapsed: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.method = method
        self.elapsed = elapsed
        self._python_name: str | None = None

    def __str__(self) -> str:
        name = self._python_name or self.method
        text = self.message if name is None else f"{name}: {self.message}"
        facts = [self.method] if self.method is not None and self.method != name else []
        facts += [] if self.elapsed is None else [f"after {self.elapsed:.1f} s"]
        return f"{text} [{', '.join(facts)}]" if facts else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` alone, which knows nothing of keyword arguments.
        return _restore, (type(self), self.args, self.__dict__)


def name_call(error: SmspvaError, method: str, python_name: str, elapsed: float | None = None) -> None:
    """Add to an error the call that failed, by its wire name and its Python name, and the seconds that it took."""
    error.method, error._python_name = method, python_name  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    error.elapsed = error.elapsed if elapsed is None else elapsed


def _restore(cls: type[SmspvaError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SmspvaError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConnectionFailed(SmspvaError):
    """The server could not be reached, or the connection broke before an answer.

    A call that spends raises it only where nothing was sent, and `OutcomeUnknown` otherwise.

    Attributes:
        sent: Whether the request may have left this machine.

    """

    def __init__(self, message: str, *, sent: bool, method: str | None = None, elapsed: float | None = None) -> None:
        super().__init__(message, method=method, elapsed=elapsed)
        self.sent = sent


class RequestTimeout(SmspvaError):
    """No answer within the client's `timeout`, or in a watch by a poll's deadline, to a call that spends nothing."""


class UnexpectedResponse(SmspvaError):
    """The answer is not what the API promises: no JSON, another shape, or an HTTP status that tells of a failure.

    Attributes:
        status: The HTTP status.
        content_type: The answer's ``Content-Type``, or ``""``.
        excerpt: The beginning of the answer's text.
        data: What was read as far as it could be, otherwise None.
        retry_after: Seconds that the server asks to wait, or None.

    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        content_type: str = "",
        excerpt: str = "",
        data: object = None,
        retry_after: float | None = None,
        method: str | None = None,
        elapsed: float | None = None,
    ) -> None:
        super().__init__(message, method=method, elapsed=elapsed)
        self.status = status
        self.content_type = content_type
        self.excerpt = excerpt
        self.data = data
        self.retry_after = retry_after


class OutcomeUnknown(SmspvaError):
    """A call that spends or destroys was sent, and no readable answer came: it may have been done or not.

    Don't repeat the call before you know: `SmspvaClient.reconcile` compares with the server. The error also stands in
    `SmspvaClient.unsettled`, until `SmspvaClient.settle` takes it out.

    Attributes:
        call: The call's id, the same in copies, pickles and the ledger.
        params: The call's parameters, without the key.
        started_at: Aware UTC time at which the call began, by the local clock.
        known: The orders that had been listed before.
        listed: Whether `known` and `ends_at` certainly show what earlier calls had done: the client had had a good
            answer to `orders`, an hour after those whose orders or ends nothing else tells.
        ends_at: The end of the order that the call is about, as it was listed last; None if it wasn't.
        seen_at: The time of the call by the server's clock; None where it had told none.
        data: What the server sent, as far as it could be read; a paid order's id may be in it.

    """

    def __init__(
        self,
        message: str,
        *,
        method: str,
        params: Mapping[str, str],
        started_at: datetime,
        call: str | None = None,
        known: frozenset[int] = frozenset(),
        listed: bool = False,
        ends_at: datetime | None = None,
        seen_at: datetime | None = None,
        data: object = None,
    ) -> None:
        super().__init__(message, method=method)
        self.call: str = uuid4().hex if call is None else call
        self.params = params
        self.started_at = started_at
        self.known = known
        self.listed = listed
        self.ends_at = ends_at
        self.seen_at = seen_at
        self.data = data


class ApiError(SmspvaError):
    """The provider refused the call and said so: nothing was done and nothing charged.

    Attributes:
        msg: The provider's own words.
        code: The code at the beginning of `msg`, such as ``"NOBALANCE"``; None for errors in prose.
        data: What came beside the message, read as JSON, or None.
        retry_after: Seconds that the server asks to wait, or None if it didn't say.

    """

    def __init__(
        self,
        message: str,
        *,
        msg: str = "",
        code: str | None = None,
        data: object = None,
        retry_after: float | None = None,
        method: str | None = None,
        elapsed: float | None = None,
    ) -> None:
        super().__init__(message, method=method, elapsed=elapsed)
        self.msg = msg
        self.code = code
        self.data = data
        self.retry_after = retry_after


class InvalidKey(ApiError):
    """The API key is missing, unknown or banned. A watch ends when the provider says so a second time.

    In the provider's words ``API KEY not received!``, ``API KEY NOT FOUND!``, ``Invalid apikey`` or ``BANNED``: seen
    elsewhere on it, the rental page has none for that.
    """


class NoNumbers(ApiError):
    """No number is available for this country, service and period; another, or another time, may have one.

    In the provider's words ``No number available`` or ``No numbers available``, seen elsewhere on it.
    """


class InsufficientFunds(ApiError):
    """The account's balance doesn't cover it.

    In the provider's words ``NOBALANCE`` or ``Balance is not enough`` (rental page, where a rental is restored), or
    ``Insufficient balance``, seen elsewhere on it. How much is needed may stand in `msg`.
    """


class OrderNotFound(ApiError):
    """There is no such order, or it belongs to another account.

    In the provider's words ``NOTOWNER`` or ``the user had not this order`` (rental page, where a rental is restored),
    ``Order not found`` or ``Incorrect order id``, seen elsewhere on it.
    """


class RateLimited(ApiError):
    """Too many requests: HTTP 429, or ``TOO MANY REQUESTS``, which was seen elsewhere on the provider.

    The client has slowed down by then, see `Pace`, and has tried again what may be repeated, see `Retry`.
    """


class PriceTooHigh(ApiError):
    """The estimated price is above the `max_price` of `SmspvaClient.rent`. Nothing was sent and nothing charged.

    Attributes:
        price: The estimate in US dollars: the price per day times the days of the period, without rebates. None if the
            server states no price.

    """

    def __init__(self, message: str, *, price: Decimal | None) -> None:
        super().__init__(message)
        self.price = price


class RestoreRefused(ApiError):
    """The order can't be restored; `code` says why where the provider gave a code.

    By the rental page: ``NOAVAILDAYS`` (the number has too few days left), ``NOREMOTEDATA`` (the order isn't in the
    archive), ``DATEDIFFINVERT`` (it hasn't expired), ``NOORDERCOUNTRY`` and ``NOSERVICEDATA`` (its data are missing,
    the provider's support may help). There is no code where the server answers no more than ``false``.
    """


class WaitTimeout(SmspvaError, TimeoutError):
    """What was waited for didn't happen in time. Nothing is discarded: it can still be read from the events.

    Attributes:
        order_id: The order that was waited on.
        state: Its state as last seen, None if the order was never listed.
        last_success: Aware UTC time of the last good `orders` poll, or None.
        last_failure: What the last failed poll or activation said, or None.

    """

    def __init__(
        self,
        message: str,
        *,
        order_id: int,
        state: OrderState | None,
        last_success: datetime | None,
        last_failure: str | None,
        elapsed: float | None = None,
    ) -> None:
        super().__init__(message, elapsed=elapsed)
        self.order_id = order_id
        self.state = state
        self.last_success = last_success
        self.last_failure = last_failure


class OrderGone(SmspvaError):
    """The order that was waited on has been removed or has expired.

    Attributes:
        order_id: The order that was waited on.

    """

    def __init__(self, message: str, *, order_id: int, elapsed: float | None = None) -> None:
        super().__init__(message, elapsed=elapsed)
        self.order_id = order_id


class Lagged(SmspvaError):
    """The place to read on from isn't in the journal: its events are no longer kept, or it lies in the future.

    Attributes:
        resume: The nearest place that can be read from, a `seq`, to be passed as ``events(after=...)``.

    """

    def __init__(self, message: str, *, resume: int) -> None:
        super().__init__(message)
        self.resume = resume


class CursorTaken(SmspvaError):
    """Another consumer reads under this name now; it goes on after the last event that was acknowledged.

    Attributes:
        name: The cursor's name.

    """

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


class JournalError(SmspvaError):
    """A journal or ledger can't be read or written, or the file isn't one that can be used here."""


class JournalLocked(JournalError):
    """Another watcher has the journal open."""


class ClientClosed(SmspvaError):
    """The client was used after it had been closed, or closed before the call's request left."""


class ClientInUse(SmspvaError):
    """The client was used in an event loop while another one that uses it has not ended. Nothing was sent."""


class WatcherClosed(SmspvaError):
    """The watcher is not entered yet, or has been left, which ends what still waits."""
