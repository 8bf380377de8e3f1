"""Decoding of an HTTP answer: into the call's result, or into an error."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import evolve, frozen

from smspva_async._api.methods import MISSING, Method, Params, Safety, read_order
from smspva_async._api.rows import UnreadableError, boolean, integer, is_object, read_orders
from smspva_async.errors import (
    ApiError,
    InsufficientFunds,
    InvalidKey,
    NoNumbers,
    OrderNotFound,
    RateLimited,
    RestoreRefused,
    UnexpectedResponse,
    bounded,
    one_line,
)
from smspva_async.models import Order, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_CHARSET = re.compile(r"charset=\"?((?:windows-|cp)125\d|koi8-[ru]|iso-8859-\d\d?|cp866)\b", re.IGNORECASE)
"""Charsets whose bytes below 128 are always ASCII. Another one may form the key from bytes that don't contain it."""


@frozen
class Answer:
    """An HTTP answer, from which the key has been removed."""

    status: int
    content_type: str
    body: bytes
    date: datetime | None = None
    """The ``Date`` header."""
    took: float = 0.0
    """Seconds from sending the request to the end of the answer."""
    retry_after: float | None = None
    """The ``Retry-After`` header in seconds."""
    location: str = ""
    """The target of a redirect."""

    @property
    def ok(self) -> bool:
        """True if the HTTP status is 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP's class of successes

    @property
    def text(self) -> str:
        """The body as text without byte order marks: UTF-8, or the content type's charset if it isn't UTF-8."""
        charset = _CHARSET.search(self.content_type)
        text = self.body.decode("utf-8", "replace")
        not_ascii = len(text) - len(text.encode("ascii", "ignore"))
        if charset and 2 * text.count("\ufffd") > not_ascii:  # more than a few bad bytes
            with contextlib.suppress(LookupError):
                text = self.body.decode(charset[1], "replace")
        return text.strip("\ufeff\0 \t\r\n")


# -- bytes -> JSON ---------------------------------------------------------------------------------------------------

_AFTER_JSON = re.compile(r"(?>[\s\0]+|<!--.*?-->|/\*.*?\*/|//[^\n]*)*+", re.DOTALL)
_OBJECT_START = re.compile(r"\{\s*\"")
_MAX_NOISE = 100
"""The maximum number of places to try where an object may begin. A PHP notice has fewer."""
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_TOO_LONG_FOR_ORJSON = b"0" * 19

try:
    _orjson: Callable[[bytes], Any] | None = importlib.import_module("orjson").loads
except ImportError:
    _orjson = None


def parse(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON, with orjson if it is installed.

    Raises:
        ValueError: The body isn't JSON.
        RecursionError: The JSON is nested too deeply.

    """
    # orjson decodes long integers as floats, and rejects NaN and lone surrogates.
    if _orjson is not None and _TOO_LONG_FOR_ORJSON not in body.translate(_DIGITS_AS_ZERO):
        with contextlib.suppress(ValueError):
            return _orjson(body)
    # Not the bytes, which `json` could take for UTF-16.
    return json.loads(body.decode("utf-8-sig", "surrogatepass"))


def _parse_noisy(text: str) -> object:
    """Parse an answer that may have a PHP notice before it and a comment after it. Return other text unchanged."""
    decoder = json.JSONDecoder(strict=False)
    after = 0
    for _ in range(_MAX_NOISE):
        found = _OBJECT_START.search(text, after)
        if found is None:
            break
        begin = found.start()
        if begin and not text[:begin].strip("[{ \t\r\n"):
            break  # a truncated list, not a notice before an answer
        try:
            value, after = decoder.raw_decode(text, begin)
        except RecursionError:
            break
        except ValueError as error:
            if begin == 0:
                break  # a truncated answer, not a notice before one
            after = max(getattr(error, "pos", 0), begin + 1)
            continue
        if is_object(value) and (begin == 0 or not {"status", "statusCode"}.isdisjoint(value)):
            # Only if nothing else follows: a second answer may contradict the first.
            return value if _AFTER_JSON.fullmatch(text, after) else text
    return text


def _json(answer: Answer) -> object:
    """Return the body as JSON, or as text if it isn't JSON."""
    try:
        return parse(answer.body)
    except (ValueError, RecursionError):
        return _parse_noisy(answer.text)


# -- refusals --------------------------------------------------------------------------------------------------------

SERVER_BUSY = "SERVER_BUSY"
_RESTORE_CODES = ("NOAVAILDAYS", "NOREMOTEDATA", "NOORDERCOUNTRY", "DATEDIFFINVERT", "NOSERVICEDATA")
_TOO_MANY = 429
_TOO_MANY_MESSAGE = "TOO MANY REQUESTS"
_CODES = (*_RESTORE_CODES, "NOTOWNER", "NOBALANCE", "APIKEY_NOT_SET", "LOW_BALANCE", SERVER_BUSY)
# The error and the advice for each of the provider's messages. The messages come from the rental page (restoring), the
# contract, and other parts of the provider's API.
_REFUSALS: tuple[tuple[type[ApiError], str, str], ...] = (
    (InvalidKey, "check the API key", "API KEY not received|API KEY NOT FOUND|Invalid apikey|Wrong apikey|BANNED"),
    (InvalidKey, "check the API key", "APIKEY_NOT_SET"),
    (RateLimited, "ask less often", _TOO_MANY_MESSAGE),
    (InsufficientFunds, "top up the balance", "NOBALANCE|Balance is not enough|Insufficient balance|LOW_BALANCE"),
    (InsufficientFunds, "top up the balance", "Not enough money"),
    (NoNumbers, "try later, or another country, service or period", "No number available|No numbers available"),
    (OrderNotFound, "check the order's id", "NOTOWNER|the user had not this order|Order not found"),
    (OrderNotFound, "check the order's id", "Order id not found|Incorrect order id"),
    (RestoreRefused, "the order can't be restored now", "|".join(_RESTORE_CODES)),
    (ApiError, "check the service's code", "Service not found"),
    (ApiError, "check the service and the country", "UNKNOWN SERVICE OR COUNTRY"),
    (ApiError, "choose another period", "Incorrect duration count"),
    (ApiError, "choose another period", "Incorrect duration count. Min 7 days. Max 90 days."),
    (ApiError, "this server doesn't offer the method", "Incorrect method"),
    (ApiError, "try again later", SERVER_BUSY),
)


def _words(text: str) -> str:
    """Return the words of a text in lower case, separated by single spaces, without punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


_KNOWN = {_words(phrase): (error, advice) for error, advice, phrases in _REFUSALS for phrase in phrases.split("|")}


def _known(message: str) -> tuple[type[ApiError], str] | None:
    """Return the error and the advice for a message, by its first words. Case and punctuation don't matter."""
    words = _words(one_line(message))
    return next((known for phrase, known in _KNOWN.items() if f"{words} ".startswith(f"{phrase} ")), None)


def _message(payload: dict[str, Any], *, spends: bool) -> str:
    """Return the server's message for a failure, or "". For a call that spends, only text counts as a refusal."""
    for name in ("msg", "error_msg", "message", "error"):
        message = payload.get(name)
        if is_object(message):  # the newer API's form
            parts = [message.get(part) for part in ("type", "description", "message")]
            message = ": ".join(part for part in parts if part and isinstance(part, str)) or message
        if isinstance(message, str) and message.strip():
            return message.strip()
        if message and not spends:
            return json.dumps(message, ensure_ascii=False)
    return ""


def _refusal(answer: Answer, message: str, data: object = None) -> ApiError:
    too_many = (RateLimited, "ask less often") if answer.status == _TOO_MANY else None
    kind, advice = too_many or _known(message) or (ApiError, "")
    first = "".join(re.findall(r"^\s*(\w+)", message)).upper()
    return kind(
        f"refused: {one_line(message) or 'no reason given'}" + (f" ({advice})" if advice else ""),
        msg=message,
        code=first if first in _CODES else None,
        data=None if data is MISSING else bounded(data),
        retry_after=answer.retry_after,
    )


# -- the whole answer ------------------------------------------------------------------------------------------------

_ENVELOPE = {"status", "statusCode", "msg", "error_msg", "data"}
_CONTAINERS = {"SmsList", "OtherSms", "services"}


def decode(method: Method[T], params: Params, answer: Answer) -> T:
    """Decode an answer into the result of a call.

    Raises:
        ApiError: The provider refused the call; nothing was done.
        UnexpectedResponse: The answer can't be read. The outcome of a call that spends is unknown then.

    """
    payload = _json(answer)
    spends = method.safety is Safety.NON_IDEMPOTENT
    if not is_object(payload):
        message = payload.strip() if isinstance(payload, str) and _words(payload) in _KNOWN else ""
        if answer.status == _TOO_MANY or (message and (answer.ok or not spends)):
            raise _refusal(answer, message or _TOO_MANY_MESSAGE)
        if isinstance(payload, str):
            raise _unexpected(answer, "not JSON")
        raise _unexpected(answer, "not an object", payload)
    succeeded, message, data = _succeeded(payload), _message(payload, spends=spends), payload.get("data", MISSING)
    too_many = answer.status == _TOO_MANY or (answer.ok and payload.get("statusCode") in (_TOO_MANY, str(_TOO_MANY)))
    may_be_paid = spends and succeeded and data not in (MISSING, None, [], {})
    if too_many and not may_be_paid:
        raise _refusal(evolve(answer, status=_TOO_MANY), message or _TOO_MANY_MESSAGE, data)
    if answer.ok and succeeded:
        return _value(method, params, answer, payload)
    if spends:
        refused = answer.ok and succeeded is False and message != ""
    else:
        refused = message != "" and (_known(message) is not None or answer.status < 500)  # noqa: PLR2004 - HTTP's server errors
    if refused:
        raise _refusal(answer, message, data)
    if spends or not answer.ok or succeeded is None:
        raise _unexpected(answer, "neither a success nor a refusal", payload)
    # Some of the provider's samples have status 0 and usable data: without a message, the call succeeded.
    if data and isinstance(data, dict | list):
        with contextlib.suppress(UnexpectedResponse):
            return _value(method, params, answer, payload)
    raise _refusal(answer, "", payload.get("data", MISSING))


def _succeeded(payload: dict[str, Any]) -> bool | None:
    """Return whether the call succeeded; None if the answer doesn't say."""
    with contextlib.suppress(UnreadableError):
        if "status" not in payload:  # the newer API's form; as for HTTP, 3xx and 5xx leave the outcome unknown
            return {2: True, 4: False}.get(integer(payload.get("statusCode")) // 100)
        return None if payload["status"] == "" else boolean(payload["status"])
    return None


def _value(method: Method[T], params: Params, answer: Answer, payload: dict[str, Any]) -> T:
    data: object = payload.get("data", payload if "id" in payload else MISSING)
    try:
        value = method.read(data, params)
    except UnreadableError as error:
        reason = "no data" if data is MISSING else str(error)
        raise _unexpected(answer, f"the data can't be decoded: {reason}", payload) from None
    _add_details(value, answer, payload)
    return value


def _add_details(value: object, answer: Answer, payload: dict[str, Any]) -> None:
    """Add an answer's date, duration and other fields to its rows."""
    if isinstance(value, Rows):
        rows, data = cast("Rows[object]", value), payload.get("data")
        rows.date, rows.took = answer.date, answer.took
        rows.extra = {name: field for name, field in payload.items() if name not in _ENVELOPE}
        if is_object(data) and not _CONTAINERS.isdisjoint(data):
            rows.extra |= {name: field for name, field in data.items() if name not in _CONTAINERS}


def _unexpected(answer: Answer, reason: str, data: object = None) -> UnexpectedResponse:
    excerpt = one_line(answer.text)
    facts = [f"HTTP {answer.status}", one_line(answer.content_type) or "no content type"]
    if answer.location:
        facts.append(f"redirects to {one_line(answer.location)}")
    return UnexpectedResponse(
        f"unexpected answer: {one_line(reason)} ({', '.join(facts)}): {excerpt or 'empty'}",
        status=answer.status,
        content_type=answer.content_type,
        excerpt=excerpt,
        data=bounded(data),
        retry_after=answer.retry_after,
    )


# -- the last answer -------------------------------------------------------------------------------------------------


def _is_same(before: dict[str, Any], row: dict[str, Any]) -> bool:
    """Return whether two rows have the same scalar values of the same types, since 1 == True in Python."""
    if before != row:
        return False
    types = [*map(type, row.values())]
    return types == [*map(type, before.values())] and dict not in types and list not in types


class OrderCache:
    """Decodes answers to `orders` as `decode` does, and reuses the result of the last good one.

    The same bytes are not parsed again. A row that equals the last one with its id gives the same `Order` object, which
    makes comparing cheap.
    """

    def __init__(self) -> None:
        self._answer: tuple[bytes, str] | None = None
        self._value = Rows[Order]()
        self._rows: dict[object, tuple[dict[str, Any], Order]] = {}

    def decode(self, method: Method[Rows[Order]], params: Params, answer: Answer) -> Rows[Order]:
        """Return the orders. Raises the errors of `decode`."""
        if answer.ok and (answer.body, answer.content_type) == self._answer:
            last = self._value
            return Rows(last, skipped=last.skipped, date=answer.date, took=answer.took, extra=last.extra)
        value = decode(evolve(method, read=self._read), params, answer)
        if answer.ok:
            self._answer, self._value = (answer.body, answer.content_type), value
        return value

    def _read(self, data: object, params: Params) -> Rows[Order]:
        last = self._rows
        now: dict[object, tuple[dict[str, Any], Order]] = {}

        def read(item: object) -> Order:
            if not is_object(item) or not isinstance(key := item.get("id"), int | str):
                return read_order(item)
            known = last.get(key)
            entry = known if known is not None and _is_same(known[0], item) else (item, read_order(item))
            now[key] = entry
            return entry[1]

        self._rows = now
        return read_orders(data, params, read=read)
