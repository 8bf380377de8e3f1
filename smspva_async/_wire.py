"""The API on the wire: the table of its methods, and how the data of each answer is read.

What varies from answer to answer, and where that was seen, stands at the method concerned; "rental page" is the
provider's own documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from operator import itemgetter
from typing import Any, Generic, TypeAlias, TypeVar, cast

from attrs import evolve, frozen

from smspva_async._reader import (
    TOO_LARGE,
    Reader,
    UnreadableError,
    boolean,
    integer,
    is_object,
    items,
    one,
    read_rows,
    row,
)
from smspva_async.errors import RestoreRefused
from smspva_async.models import (
    Country,
    Offer,
    Order,
    OrderState,
    PastOrder,
    Rental,
    RestoreQuote,
    Rows,
    Sms,
    utc,
)

__all__ = [
    "ACTIVATE",
    "ADD_SERVICE",
    "CREATE",
    "CREATE_MULTI",
    "DELETE",
    "GET_COUNTRIES",
    "GET_DATA",
    "HISTORY",
    "MISSING",
    "ORDERS",
    "PROLONG",
    "RESTORE",
    "RESTORE_QUOTE",
    "SMS",
    "SPENDING",
    "Kind",
    "Method",
    "Params",
    "read_order",
]

T = TypeVar("T")
Params: TypeAlias = Mapping[str, str]
Decoder: TypeAlias = Callable[[object, Params], T]

MISSING = object()
"""The data of an answer that has none."""


class Kind(Enum):
    """What repeating a call does."""

    READ = "R"
    """Nothing."""
    IDEMPOTENT = "I"
    """No harm."""
    SPEND = "S"
    """Spends or destroys a second time: such a call is sent once."""


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

_ORDER_ON_THE_PAGE: Mapping[str, type] = {
    "id": int,
    "scode": str,
    "sname": str,
    "state": int,
    "pnumber": str,
    "ccode": str,
    "cname": str,
    "hasnewsms": bool,
    "until": int,
    "canprolong": bool,
    "canprolongmax": int,
    "canprolonguntil": int,
    "lastonline": int,
}
_values_on_the_page = itemgetter(*_ORDER_ON_THE_PAGE)
_types_on_the_page = tuple(_ORDER_ON_THE_PAGE.values())
_states = {int(state): state for state in OrderState}


def _order_on_the_page(fields: dict[str, Any]) -> Order | None:
    """Read a row that has every field of the rental page's, in the page's form, whatever else it has.

    An account may have thousands of orders: this takes a tenth of the time that a row in any form takes.
    """
    try:
        values = _values_on_the_page(fields)
        if (*map(type, values),) != _types_on_the_page:
            return None
        key, service, name, state, number, dial_code, country, new, until, can, days, can_until, online = values
        dial = dial_code.removeprefix("+")
        digits = dial + number
        are_digits = dial and number and digits.isdecimal() and digits.isascii()
        if not (are_digits and max(key, state, days) < TOO_LARGE and min(key, state, days) > -TOO_LARGE):
            return None
        return Order(
            key,
            service,
            name,
            _states.get(state, OrderState.UNKNOWN),
            f"+{digits}",
            country,
            new,
            utc(until),
            can,
            days,
            utc(can_until) if can_until else None,
            utc(online) if online else None,
            state,
            extra={}
            if len(fields) == len(values)
            else {name: value for name, value in fields.items() if name not in _ORDER_ON_THE_PAGE},
        )
    except (KeyError, OverflowError, ValueError, OSError):  # a field is missing, or no time that there is
        return None


read_order = Reader(
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
    shortcut=_order_on_the_page,
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
    return None if data is MISSING or data in (None, [], {}) else _rental(data, params)


def _orders(data: object, _: Params) -> Rows[Order]:
    return read_rows(((item, read_order) for item in items(data)), "id")


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

SPENDING: Mapping[str, Method[Any]] = {
    method.name: method for method in (CREATE, CREATE_MULTI, ADD_SERVICE, PROLONG, DELETE, RESTORE)
}
