"""The API on the wire: its methods, and the reading of an answer as one pure function, `decode`.

What varies from answer to answer, and where that was seen, stands at the method concerned; "rental page" is the
provider's own documentation.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar, cast

from attrs import evolve, frozen

from smspva_async._reader import Reader, UnreadableError, boolean, integer, is_object, items, one, read_rows, row
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
from smspva_async.models import Country, Offer, Order, PastOrder, Rental, RestoreQuote, Rows, Sms

__all__ = [
    "ACTIVATE",
    "ADD_SERVICE",
    "CREATE",
    "CREATE_MULTI",
    "DELETE",
    "GET_COUNTRIES",
    "GET_DATA",
    "HISTORY",
    "ORDERS",
    "PROLONG",
    "RESTORE",
    "RESTORE_QUOTE",
    "SMS",
    "Answer",
    "Kind",
    "Method",
    "decode",
    "one_line",
]

T = TypeVar("T")
Params: TypeAlias = Mapping[str, str]
Decoder: TypeAlias = Callable[[object, Params], T]

_MISSING = object()


class Kind(Enum):
    """What repeating a call does."""

    READ = "R"
    """Nothing."""
    IDEMPOTENT = "I"
    """No harm."""
    SPEND = "S"
    """Spends or destroys a second time: such a call is sent once."""


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


@frozen
class Method(Generic[T]):
    """A method of the API."""

    name: str
    kind: Kind
    read: Decoder[T]
    needs_key: bool = True
    stake: str = "it may have been charged"
    """What an unknown outcome means."""
    spared: str = "nothing was charged"
    """What a refusal means."""


# -- what each method answers ------------------------------------------------------------------------------------

_read_country = Reader(Country, {"name": "name", "code": "code", "switch_type": "rent_switch_type"})
_read_offer = Reader(Offer, {"name": "name", "service": "service", "price_day": "price_day", "count": "count"})
_read_rental = Reader(Rental, {"id": "id", "service": "service", "until": "until"}, phone=("ccode", "pnumber"))
_read_sms = Reader(Sms, {"text": "text", "sender": "sender", "received": "date"})
_read_order = Reader(
    Order,
    {
        "id": "id",
        "service": "scode",
        "service_name": "sname",
        "state": "state",
        "raw_state": "state",
        "country": "cname",
        "has_new_sms": "hasnewsms",
        "until": "until",
        "can_prolong": "canprolong",
        "can_prolong_days": "canprolongmax",
        "can_prolong_until": "canprolonguntil",
        "last_online": "lastonline",
    },
    absent={"service_name": "", "country": "", "has_new_sms": False},
    phone=("ccode", "pnumber"),
)
_read_past_order = Reader(
    PastOrder,
    {
        "order_id": "orderId",
        "service": "resourceCode",
        "had_sms": "haveSms",
        "days": "days",
        "country": "country",
        "begin": "begin",
        "end": "end",
        "closed": "closed",
        "restorable": "isAvailForRestore",
    },
    absent={"closed": None},
    phone=(None, "number"),
)
_read_quote = Reader(
    RestoreQuote,
    {
        "order_id": "orderid",
        "country": "ccode",
        "service": "scode",
        "service_name": "sname",
        "price": "price",
        "overdue_days": "outdays",
        "prolong_days": "prolongTo",
    },
    absent={"service_name": ""},
    phone=(None, "pnumber"),
)


def _countries(data: object, _: Params) -> Rows[Country]:
    return read_rows((item, _country) for item in items(data))


def _country(item: object) -> Country:
    country = _read_country(item)
    return evolve(country, name=country.name.strip(), code=country.code.strip())  # padded on the live server


def _offers(data: object, _: Params) -> Rows[Offer]:
    # Seen on the live server: the rows under `services`, and those as a mapping from the service's code.
    if is_object(data) and isinstance(data.get("services", 0), list | dict | None):
        data = data["services"]
    if is_object(data) and not all(key.isdecimal() for key in data):
        data = [{"service": code, **fields} if is_object(fields) else fields for code, fields in data.items()]
    return read_rows((item, _offer) for item in items(data))


def _offer(item: object) -> Offer:
    count: object = row(item).get("count")
    if not isinstance(count, dict | list):
        return _read_offer(item)
    count = cast("object", count)
    # Seen on the live server: a count per provider, which PHP writes as a list where it is empty.
    counts = count.values() if is_object(count) else items(count)
    offer = _read_offer({**row(item), "count": sum(map(integer, counts))})
    return evolve(offer, extra={**offer.extra, "count": count})


def _rental(data: object, _: Params) -> Rental:
    return _read_rental(one(data))


def _rentals(data: object, _: Params) -> Rows[Rental]:
    rentals = [data] if is_object(data) and "id" in data else items(data)
    if not rentals:
        raise UnreadableError("no rental in it")
    return read_rows(((item, _read_rental) for item in rentals), "id")


def _added_service(data: object, params: Params) -> Rental | None:
    # The rental page answers without data; the live server was seen to name a new order.
    return None if data is _MISSING or data in (None, [], {}) else _rental(data, params)


def _orders(data: object, _: Params) -> Rows[Order]:
    return read_rows(((item, _read_order) for item in items(data)), "id")


def _messages(data: object, _: Params) -> Rows[Sms]:
    # Seen on the live server: two lists, the messages of the order's service and the others.
    if is_object(data) and ("SmsList" in data or "OtherSms" in data):
        rows: list[tuple[object, Callable[[object], Sms]]] = [(item, _read_sms) for item in items(data.get("SmsList"))]
        others = data.get("OtherSms")
        try:
            rows += [(item, _other_sms) for item in items(others)]
        except UnreadableError:
            rows.append((others, _other_sms))  # of unknown form, which must not hide the order's own messages
        return read_rows(rows)
    return read_rows((item, _read_sms) for item in items(data))


def _other_sms(item: object) -> Sms:
    """Read a message of unknown form: whatever else it holds, its text must not be lost."""
    if isinstance(item, str):
        return Sms(item, other=True)
    fields = row(item)
    text = next((key for key in ("text", "message", "fullText") if isinstance(fields.get(key), str)), "text")
    try:
        sms = Reader(Sms, {**_read_sms.names, "text": text})(fields)
    except UnreadableError:
        sms = Reader(Sms, {"text": text})(fields)
    return evolve(sms, other=True)


def _acknowledgement(data: object, params: Params) -> None:
    answered = one(data)
    if answered not in (None, [], {}) and integer(row(answered).get("id")) != int(params["id"]):
        raise UnreadableError(f"it is about another order, {row(answered)['id']}")


def _past_orders(data: object, _: Params) -> Rows[PastOrder]:
    return read_rows(((item, _read_past_order) for item in items(data)), "orderId")


def _quote(data: object, _: Params) -> RestoreQuote:
    return _read_quote(one(data))


def _restored(data: object, _: Params) -> int | None:
    answered = one(data)
    if is_object(answered):
        return integer(answered.get("id"))
    if answered == "":
        raise UnreadableError("neither true nor false")
    if boolean(answered):
        return None
    raise RestoreRefused("refused: not restored, no reason given", data=data)


GET_COUNTRIES = Method("getcountries", Kind.READ, _countries, needs_key=False)
GET_DATA = Method("getdata", Kind.READ, _offers)
CREATE = Method("create", Kind.SPEND, _rental)
CREATE_MULTI = Method("create_multi", Kind.SPEND, _rentals)
ORDERS = Method("orders", Kind.READ, _orders)
ADD_SERVICE = Method("add_service_to_order", Kind.SPEND, _added_service)
SMS = Method("sms", Kind.READ, _messages)
PROLONG = Method("prolong", Kind.SPEND, _acknowledgement)
ACTIVATE = Method("activate", Kind.IDEMPOTENT, _acknowledgement)
DELETE = Method("delete", Kind.SPEND, _acknowledgement, stake="the number may be gone", spared="nothing was deleted")
HISTORY = Method("get_rent_history", Kind.READ, _past_orders)
RESTORE_QUOTE = Method("restore_user_precalc", Kind.READ, _quote)
RESTORE = Method("restore_user", Kind.SPEND, _restored)


# -- the envelope ------------------------------------------------------------------------------------------------

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
    succeeded, msg, data = _status(payload), _message(payload), payload.get("data", _MISSING)
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
    if data is not _MISSING and data:
        with contextlib.suppress(UnexpectedResponse):
            return _value(method, params, answer, payload)
    raise _refusal(answer, "", data)


def _value(method: Method[T], params: Params, answer: Answer, payload: dict[str, Any]) -> T:
    data = payload.get("data", _MISSING)
    try:
        value = method.read(data, params)
    except UnreadableError as error:
        reason = "no data" if data is _MISSING else str(error)
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
        return json.loads(answer.body.decode("utf-8-sig"))
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
    error = kind(
        f"refused: {one_line(msg) or 'no reason given'}" + (f" ({advice})" if advice else ""),
        msg=msg,
        code=code if code in (*_CODES, "NOTOWNER", "NOBALANCE") else None,
        data=None if data is _MISSING else data,
    )
    if isinstance(error, RateLimited):
        error.retry_after = answer.retry_after
    return error


def one_line(text: str) -> str:
    """Return the beginning of a text of somebody else's, as one printable line."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * _EXCERPT])
    return " ".join(printable.split())[:_EXCERPT]


def _unexpected(answer: Answer, reason: str, data: object = None) -> UnexpectedResponse:
    excerpt = one_line(answer.text)
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
