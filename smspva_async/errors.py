"""The errors, in one class tree.

    SmspvaError
    ├── ConnectionFailed             no connection, or the connection broke
    ├── RequestTimeout               no answer in time; also a TimeoutError
    ├── UnexpectedResponse           an unreadable answer
    ├── OutcomeUnknown               a spending call without a readable answer; it may have been carried out
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
    ├── DeliveryFailed               the receiver of `forward` doesn't accept an event
    ├── JournalError
    │   └── JournalLocked
    ├── ClientClosed
    ├── ClientInUse                  another event loop uses the client
    └── WatcherClosed

The error of a call has the client's method, the provider's method and the elapsed time. Errors can be pickled and
copied, and never contain the key.
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
    "DeliveryFailed",
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
_DEEPEST_DATA = 64
LONGEST_DATA = 64 * 1024
"""Characters of an answer's text that an error or a ledger keeps."""


def one_line(text: str) -> str:
    """Return the beginning of a server's text as one printable line, safe for errors, logs and terminals."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * _LONGEST_EXCERPT])
    return " ".join(printable.split())[:_LONGEST_EXCERPT]


def describe(error: BaseException) -> str:
    """Return an error's message on one line, or the name of its class if there is no message."""
    return one_line(str(error)) or type(error).__name__


def bounded(data: object) -> object:
    """Return a server's data in a form that can be pickled and stored: as JSON text if it is nested too deeply."""
    level: list[object] = [data]
    for _ in range(_DEEPEST_DATA):
        dicts = (cast("dict[object, object]", item).values() for item in level if isinstance(item, dict))
        lists = (cast("list[object]", item) for item in level if isinstance(item, list))
        level = [inner for container in (*dicts, *lists) for inner in container]
        if not level:
            return data
    try:
        return json.dumps(data)[:LONGEST_DATA]
    except RecursionError:
        return json.dumps(_objects_in(data))[:LONGEST_DATA]


def _objects_in(data: object) -> list[dict[str, object]]:
    """Return all objects in the data without their nested values. They may contain an order's id."""
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
    """The base class of this library's errors. Invalid input raises `ValueError` instead.

    Attributes:
        message: The reason and the advice, without the method and the time.
        method: The provider's method, such as ``"create"``; None if the error isn't about a call. The error's text
            begins with the client's method, such as `rent`.
        elapsed: Seconds from the call to the failure, including the wait for the pace; None if not measured.

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
        # The default calls the class with `args` alone, without the keyword arguments.
        return _restore, (type(self), self.args, self.__dict__)


def name_call(error: SmspvaError, method: str, python_name: str, elapsed: float | None = None) -> None:
    """Add the failed call to an error: its wire name, its Python name and the elapsed seconds."""
    error.method, error._python_name = method, python_name  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    error.elapsed = error.elapsed if elapsed is None else elapsed


def _restore(cls: type[SmspvaError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SmspvaError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConnectionFailed(SmspvaError):
    """The server couldn't be reached, or the connection broke before the answer.

    A spending call raises it only if nothing was sent, and `OutcomeUnknown` otherwise.

    Attributes:
        sent: True if the request may have left this machine.

    """

    def __init__(self, message: str, *, sent: bool, method: str | None = None, elapsed: float | None = None) -> None:
        super().__init__(message, method=method, elapsed=elapsed)
        self.sent = sent


class RequestTimeout(SmspvaError, TimeoutError):
    """No answer within the client's `timeout`, or within a watcher's deadline, to a call that doesn't spend."""


class UnexpectedResponse(SmspvaError):
    """The answer isn't in a documented form: not JSON, another structure, or an HTTP status that is an error.

    Attributes:
        status: The HTTP status.
        content_type: The answer's ``Content-Type``; ``""`` if missing.
        excerpt: The beginning of the answer's text.
        data: The decoded JSON, or None.
        retry_after: Seconds until the server accepts another request, or None.

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
    """A call that spends or destroys was sent without a readable answer. It may or may not have been carried out.

    Don't repeat the call before you know its outcome: `SmspvaClient.reconcile` checks the server's state. The error is
    also in `SmspvaClient.unsettled`, until `SmspvaClient.settle` removes it.

    Attributes:
        call: The call's id, the same in copies, pickles and the ledger.
        params: The call's parameters, without the key.
        started_at: The start of the call by this machine's clock, aware UTC.
        known: The ids of the orders that were listed before the call.
        listed: True if `known` and `ends_at` certainly include the effects of earlier calls: the client had a
            complete answer to `orders`, an hour later than earlier calls whose effect isn't known otherwise.
        ends_at: The end of the order that the call is about, as last listed; None if it wasn't listed.
        seen_at: The time of the call by the server's clock; None if unknown.
        data: The part of the answer that could be read; it may contain a paid order's id.

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
    """The provider refused the call. Nothing was done and nothing was charged.

    Attributes:
        msg: The provider's message.
        code: The code at the beginning of `msg`, such as ``"NOBALANCE"``; None if the message has none.
        data: The answer's data as JSON, or None.
        retry_after: Seconds until the server accepts another request, or None.

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
    """The API key is missing, unknown or banned. A watch ends if further polls get the same answer.

    The provider's messages are ``API KEY not received!``, ``API KEY NOT FOUND!``, ``Invalid apikey`` or ``BANNED``.
    They come from its other API; the rental page has no message for this.
    """


class NoNumbers(ApiError):
    """No number is available for this country, service and period. Try others, or try again later.

    The provider's messages are ``No number available`` or ``No numbers available``, from its other API.
    """


class InsufficientFunds(ApiError):
    """The account's balance is too low.

    The provider's messages are ``NOBALANCE`` or ``Balance is not enough`` (rental page, about restoring), or
    ``Insufficient balance`` (its other API). `msg` may contain the amount.
    """


class OrderNotFound(ApiError):
    """There is no such order, or it belongs to another account.

    The provider's messages are ``NOTOWNER`` or ``the user had not this order`` (rental page, about restoring), or
    ``Order not found`` or ``Incorrect order id`` (its other API).
    """


class RateLimited(ApiError):
    """Too many requests: HTTP 429, or the message ``TOO MANY REQUESTS`` from the provider's other API.

    The client slows down by itself (see `Pace`), and retries calls that may be repeated (see `Retry`).
    """


class PriceTooHigh(ApiError):
    """The estimated price is above the `max_price` of `SmspvaClient.rent`. Nothing was sent and nothing charged.

    Attributes:
        price: The estimate in US dollars: the price per day times the days of the period, without rebates; None if the
            server sends no price.

    """

    def __init__(self, message: str, *, price: Decimal | None) -> None:
        super().__init__(message)
        self.price = price


class RestoreRefused(ApiError):
    """The order can't be restored. `code` is the provider's reason; None if it gives none.

    The codes are (rental page): ``NOAVAILDAYS`` (the number has too few days left), ``NOREMOTEDATA`` (the order isn't
    in the archive), ``DATEDIFFINVERT`` (it hasn't expired), ``NOORDERCOUNTRY`` and ``NOSERVICEDATA`` (its data are
    missing; the provider's support may help).
    """


class WaitTimeout(SmspvaError, TimeoutError):
    """A wait ended without its event. Nothing is lost: a later event can still be read from the journal.

    Attributes:
        order_id: The order of the wait.
        state: The order's last state; None if it was never listed.
        last_success: The time of the last good `orders` poll, aware UTC, or None.
        last_failure: The message of the last failed poll or activation of the order, if it still failed when the wait
            ended; otherwise None.

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
    """The order of a wait was removed or has expired.

    Attributes:
        order_id: The order of the wait.

    """

    def __init__(self, message: str, *, order_id: int, elapsed: float | None = None) -> None:
        super().__init__(message, elapsed=elapsed)
        self.order_id = order_id


class Lagged(SmspvaError):
    """The position to resume from isn't in the journal: its events were dropped, or it is in the future.

    Attributes:
        resume: The nearest position in the journal, a `seq` to pass as ``events(after=...)``.

    """

    def __init__(self, message: str, *, resume: int) -> None:
        super().__init__(message)
        self.resume = resume


class CursorTaken(SmspvaError):
    """Another consumer has taken over this name, and continues after the last acknowledged event.

    Attributes:
        name: The cursor's name.

    """

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


class DeliveryFailed(SmspvaError):
    """The receiver of `forward` didn't accept an event in time, or answered that it is gone for good (HTTP 410).

    The position stays: forwarding again under the same name begins with this event. `elapsed` is the time since the
    event's first failure.

    Attributes:
        seq: The event's number in the journal.
        status: The HTTP status of the receiver's last answer; None if there was none.

    """

    def __init__(self, message: str, *, seq: int, status: int | None, elapsed: float | None = None) -> None:
        super().__init__(message, elapsed=elapsed)
        self.seq = seq
        self.status = status


class JournalError(SmspvaError):
    """A journal or ledger can't be read or written, or the file isn't a usable one."""


class JournalLocked(JournalError):
    """Another watcher has the journal open."""


class ClientClosed(SmspvaError):
    """The client was closed before the call, or before its request was sent."""


class ClientInUse(SmspvaError):
    """The client is in use in another event loop that hasn't ended. Nothing was sent."""


class WatcherClosed(SmspvaError):
    """The watcher hasn't been entered yet, or was left during a wait."""
