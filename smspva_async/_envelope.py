"""An answer as a whole -> what its method gives, or the error that it means: one pure function, `decode`."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import frozen

from smspva_async._parse import parse
from smspva_async._reader import UnreadableError, boolean, is_object
from smspva_async._wire import MISSING, Kind, Method, Params
from smspva_async.errors import (
    ApiError,
    InsufficientFunds,
    InvalidKey,
    NoNumbers,
    OrderNotFound,
    RateLimited,
    RestoreRefused,
    UnexpectedResponse,
)
from smspva_async.models import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "decode"]

T = TypeVar("T")


@frozen
class Answer:
    """An HTTP answer, with the key already taken out of it."""

    status: int
    content_type: str
    body: bytes
    date: datetime | None = None
    """The ``Date`` header."""
    took: float = 0.0
    """Seconds from sending to the answer's end."""
    retry_after: float | None = None
    """Seconds."""
    location: str = ""
    """Where a redirect leads."""

    @property
    def ok(self) -> bool:
        """Whether the HTTP status is one of success."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP's own class

    @property
    def text(self) -> str:
        """The body as text, whatever its bytes."""
        return self.body.decode("utf-8", "replace")


_CODES = ("NOAVAILDAYS", "NOREMOTEDATA", "NOORDERCOUNTRY", "DATEDIFFINVERT", "NOSERVICEDATA")
# What the provider says -> the error, and what to do about it. The rental page lists the restore errors; the others
# were seen on the same provider.
_REFUSALS: Mapping[str, tuple[type[ApiError], str]] = {
    message.casefold(): (error, advice)
    for error, advice, messages in (
        (
            InvalidKey,
            "check the API key",
            ("API KEY not received!", "API KEY NOT FOUND!", "Invalid apikey", "BANNED"),
        ),
        (RateLimited, "ask less often", ("TOO MANY REQUESTS",)),
        (InsufficientFunds, "top up the balance", ("NOBALANCE", "Balance is not enough", "Insufficient balance")),
        (
            NoNumbers,
            "try later, or another country, service or period",
            ("No number available", "No numbers available"),
        ),
        (
            OrderNotFound,
            "check the order's id",
            ("NOTOWNER", "the user had not this order", "Order not found", "Incorrect order id"),
        ),
        (RestoreRefused, "the order can't be restored now", _CODES),
        (ApiError, "check the service's code", ("Service not found",)),
        (ApiError, "check the service and the country", ("UNKNOWN SERVICE OR COUNTRY",)),
        (ApiError, "choose another period", ("Incorrect duration count. Min 7 days. Max 90 days.",)),
        (ApiError, "this server doesn't offer it", ("Incorrect method",)),
    )
    for message in messages
}
_EXCERPT = 200
_TOO_MANY = 429
_ENVELOPE = {"status", "msg", "error_msg", "data"}
_CONTAINERS = {"SmsList", "OtherSms", "services"}


def decode(method: Method[T], params: Params, answer: Answer) -> T:
    """Return what the answer to a call says.

    Raises:
        ApiError: The provider refused the call, so that nothing was done.
        UnexpectedResponse: The answer can't be read. If the call spends, its outcome is unknown then.

    """
    if answer.status == _TOO_MANY:
        raise _refusal(answer, *_words(answer))
    payload = _payload(method, answer)
    succeeded, msg, data = _status(payload), _message(payload), payload.get("data", MISSING)
    if answer.ok and succeeded:
        return _value(method, params, answer, payload)
    if method.kind is Kind.SPEND:
        refused = answer.ok and succeeded is False and msg != ""
    else:
        refused = msg != "" and (_is_known(msg) or answer.status < 500)  # noqa: PLR2004 - HTTP's server errors
    if refused:
        raise _refusal(answer, msg, data)
    if method.kind is Kind.SPEND or not answer.ok or succeeded is None:
        raise _unexpected(answer, "neither a success nor a refusal", payload)
    # The provider's own samples have status 0 beside usable data: without a message that is no failure.
    if data is not MISSING and data:
        with contextlib.suppress(UnexpectedResponse):
            return _value(method, params, answer, payload)
    raise _refusal(answer, "", data)


def _value(method: Method[T], params: Params, answer: Answer, payload: dict[str, Any]) -> T:
    data = payload.get("data", MISSING)
    try:
        value = method.read(data, params)
    except UnreadableError as error:
        reason = "no data" if data is MISSING else str(error)
    else:
        _stamp(value, answer, payload)
        return value
    raise _unexpected(answer, f"the data has an unknown form, {reason}", payload)


def _stamp(value: object, answer: Answer, payload: dict[str, Any]) -> None:
    """Tell rows what came with them."""
    if isinstance(value, Rows):
        rows = cast("Rows[object]", value)
        rows.date, rows.took = answer.date, answer.took
        beside = {key: known for key, known in payload.items() if key not in _ENVELOPE}
        data = payload.get("data")
        if is_object(data) and not _CONTAINERS.isdisjoint(data):
            beside |= {key: known for key, known in data.items() if key not in _CONTAINERS}
        rows.extra = beside


def _json(answer: Answer) -> object:
    """Return the body as JSON, or as the text that it is."""
    try:
        return parse(answer.body)
    except (ValueError, RecursionError):
        return answer.text


def _words(answer: Answer) -> tuple[str, object]:
    """Return what a refusal says, and the data beside it, in whatever form."""
    said = _json(answer)
    if not is_object(said):
        return "TOO MANY REQUESTS", None
    return _message(said) or "TOO MANY REQUESTS", said.get("data")


def _payload(method: Method[Any], answer: Answer) -> dict[str, Any]:
    payload = _json(answer)
    if isinstance(payload, str):
        if _is_known(payload) and (answer.ok or method.kind is not Kind.SPEND):
            raise _refusal(answer, payload.strip())
        raise _unexpected(answer, "not JSON")
    if not is_object(payload):
        raise _unexpected(answer, "not an object", payload)
    return payload


def _status(payload: dict[str, Any]) -> bool | None:
    status = payload.get("status")
    try:
        return None if status == "" else boolean(status)
    except UnreadableError:
        return None


def _message(payload: dict[str, Any]) -> str:
    message = payload.get("msg") or payload.get("error_msg") or ""  # the second was seen on the live server
    return message.strip() if isinstance(message, str) else json.dumps(message, ensure_ascii=False)


def _known(msg: str) -> tuple[type[ApiError], str] | None:
    return _REFUSALS.get(_head(msg).casefold()) or _REFUSALS.get(msg.strip().casefold())


def _is_known(msg: str) -> bool:
    return _known(msg) is not None


def _head(msg: str) -> str:
    return msg.partition(":")[0].strip()


def _refusal(answer: Answer, msg: str, data: object = None) -> ApiError:
    kind, advice = _known("TOO MANY REQUESTS" if answer.status == _TOO_MANY else msg) or (ApiError, "")
    code = _head(msg).upper()
    return kind(
        f"refused: {_one_line(msg) or 'no reason given'}" + (f" ({advice})" if advice else ""),
        msg=msg,
        code=code if code in (*_CODES, "NOTOWNER", "NOBALANCE") else None,
        data=None if data is MISSING else data,
        retry_after=answer.retry_after,
    )


def _one_line(text: str) -> str:
    """Return the beginning of a text of somebody else's, as one printable line."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * _EXCERPT])
    return " ".join(printable.split())[:_EXCERPT]


def _unexpected(answer: Answer, reason: str, data: object = None) -> UnexpectedResponse:
    excerpt = _one_line(answer.text)
    told = [f"HTTP {answer.status}", answer.content_type or "no content type"]
    if answer.location:
        told.append(f"redirects to {answer.location}")
    return UnexpectedResponse(
        f"unexpected answer: {reason} ({', '.join(told)}): {excerpt or 'empty'}",
        status=answer.status,
        content_type=answer.content_type,
        excerpt=excerpt,
        data=data,
        retry_after=answer.retry_after,
    )
