"""The calls of the API: a table, and how the data of each answer is read.

"Contract" is the provider's own statement, published with its SDKs in October 2026; "page" is its rental page. Other
forms were seen on the live server, or stand on the provider's reference site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from attrs import evolve, frozen

from smspva_async._api.rows import (
    Field,
    RowReader,
    UnreadableError,
    as_sent,
    boolean,
    code,
    gather,
    integer,
    integer_or_text,
    is_object,
    items,
    moment,
    one,
    optional_text,
    order_id,
    price,
    read_orders,
    read_rows,
    row,
    service_codes,
    some_readable,
    state,
)
from smspva_async.errors import ApiError, RestoreRefused, one_line
from smspva_async.models import (
    Country,
    CountryOffer,
    Offer,
    Order,
    OrderState,
    PastOrder,
    Rental,
    RestoreQuote,
    Rows,
    Service,
    Sms,
    Stock,
)

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = [
    "ACTIVATE",
    "ADD_SERVICE",
    "BALANCE",
    "CANADA_PAYPAL_DAYS",
    "COUNTRIES",
    "COUNTRIES_FOR",
    "DELETE",
    "HISTORY",
    "MINIMUM_PAYPAL_DAYS",
    "MISSING",
    "OFFERS",
    "OFFERS_BY_PROVIDER",
    "ORDERS",
    "PROLONG",
    "PROLONG_DAYS",
    "RENT",
    "RENT_MULTI",
    "RESTORE",
    "RESTORE_QUOTE",
    "SERVICES",
    "SMS",
    "SPENDING",
    "STOCK",
    "STOCK_MULTI",
    "KeyPlace",
    "Method",
    "Params",
    "Safety",
    "read_order",
]

T = TypeVar("T")
Params: TypeAlias = Mapping[str, str]
Decoder: TypeAlias = Callable[[object, Params], T]

MISSING = object()
"""The data of an answer without any."""


class Safety(Enum):
    """The effect of repeating a call."""

    SAFE = "safe"
    """None: the call only reads."""
    IDEMPOTENT = "idempotent"
    """None that matters."""
    NON_IDEMPOTENT = "non-idempotent"
    """It spends or destroys a second time. Such a call is sent once."""


class KeyPlace(Enum):
    """Where a request has the API key."""

    NOWHERE = "nowhere"
    QUERY = "query"
    HEADER = "header"


@frozen
class Method(Generic[T]):
    """A call of the API."""

    name: str
    """The wire name."""
    python_name: str
    """The name of the client's method."""
    safety: Safety
    read: Decoder[T]
    key_place: KeyPlace = KeyPlace.QUERY
    account_path: str | None = None
    """The path of a call at the account's address; None for a call of the rental API, named in the query."""
    unknown_outcome_note: str = "it may have been charged"
    refusal_note: str = "nothing was charged"


# -- rows ----------------------------------------------------------------------------------------------------------

_read_country = RowReader(
    Country,
    {
        "name": Field("name", default=""),
        "code": Field("code", read=code, identifies=True),
        "switch_type": Field("rent_switch_type", read=as_sent),
    },
)
_read_service = RowReader(
    Service,
    {
        "service": Field("service", read=code, identifies=True),
        "name": Field("name", default=""),
        "price_day": Field("priceForDay", read=price),
    },
)
_read_country_offer = RowReader(
    CountryOffer,
    {
        "country": Field("code", "country", read=code, identifies=True),
        "name": Field("country", default=""),
        "price": Field("price", read=price),
        "count": Field("phoneAmount", read=integer),
    },
)
_read_offer = RowReader(
    Offer,
    {
        "name": Field("name", default=""),
        "service": Field("service", read=code, identifies=True),
        "price_day": Field("price_day", read=price),
        "count": Field("count", "totalCount", read=integer),
    },
)
_read_rental = RowReader(
    Rental,
    {
        "id": Field("id", read=order_id, identifies=True),
        "services": Field("service", read=service_codes, default=()),
        "until": Field("until", read=moment),
    },
    phone=("ccode", "pnumber"),
)
read_order = RowReader(
    Order,
    {
        "id": Field("id", read=order_id, identifies=True),
        "services": Field("scode", read=service_codes, default=()),
        "service_name": Field("sname", default=""),
        "state": Field("state", read=state, default=OrderState.UNKNOWN),
        "raw_state": Field("state", read=integer_or_text),
        "country": Field("cname", default=""),
        "has_new_sms": Field("hasnewsms", read=boolean),
        "until": Field("until", read=moment),
        "can_prolong": Field("canprolong", read=boolean),
        "can_prolong_days": Field("canprolongmax", read=integer),
        "can_prolong_until": Field("canprolonguntil", read=moment),
        "last_online": Field("lastonline", read=moment),
    },
    phone=("ccode", "pnumber"),
)
_TEXTS = ("text", "message", "fullText", "sms")
_read_sms = RowReader(
    Sms,
    {
        # The last three were seen among messages of other services.
        "text": Field(*_TEXTS, identifies=True),
        "sender": Field("sender", read=optional_text),
        "received": Field("date", read=moment),
    },
)
_read_past_order = RowReader(
    PastOrder,
    {
        "order_id": Field("orderId", read=order_id, identifies=True),
        "service": Field("resourceCode", default=""),
        "had_sms": Field("haveSms", read=boolean),
        "days": Field("days", read=integer),
        "country": Field("country", default=""),
        "begin": Field("begin", read=moment),
        "end": Field("end", read=moment),
        "closed": Field("closed", read=moment),
        "restorable": Field("isAvailForRestore", read=boolean),
    },
    phone=(None, "number"),
)
_read_quote = RowReader(
    RestoreQuote,
    {
        "order_id": Field("orderid", read=integer),
        "country": Field("ccode", default=""),
        "service": Field("scode", default=""),
        "service_name": Field("sname", default=""),
        "price": Field("price", read=price, identifies=True),
        "overdue_days": Field("outdays", read=integer),
        "prolong_days": Field("prolongTo", read=integer),
    },
    phone=(None, "pnumber"),
)


# -- catalogue -----------------------------------------------------------------------------------------------------


def _coded_items(data: object, name: str) -> list[object]:
    """Return rows from a list, or from a mapping by code, whose key is then in the row under that name too."""
    if is_object(data) and not all(map(str.isdecimal, data)):
        return [{**it, name: it.get(name) or key} if is_object(it) else it for key, it in data.items()]
    return list(items(data))


def _countries(data: object, _: Params) -> Rows[Country]:
    def read(item: object) -> Country:
        country = _read_country(item)
        return evolve(country, name=country.name.strip(), code=country.code.strip())  # padded on the live server

    return read_rows(items(data), read)


def _services(data: object, _: Params) -> Rows[Service]:
    return read_rows(_coded_items(data, "service"), _read_service)


def _country_offers(data: object, _: Params) -> Rows[CountryOffer]:
    rows = read_rows(_coded_items(data, "code"), _read_country_offer)
    rows.sort(key=lambda offer: (offer.price is None, offer.price, offer.country))
    return rows


def _offers(data: object, _: Params) -> Rows[Offer]:
    if is_object(data) and isinstance(data.get("services", 0), list | dict | None):
        data = data["services"]  # contract; on the page the data are the rows
    return read_rows(_coded_items(data, "service"), _offer)


def _offer(item: object) -> Offer:
    count: object = row(item).get("count")
    try:
        by_provider = _numbers(count)
    except UnreadableError:
        return _read_offer(item)
    offer = _read_offer({**row(item), "count": sum(by_provider.values()) or row(item).get("totalCount", 0)})
    return evolve(offer, by_provider=by_provider)


def _numbers(value: object) -> dict[str, int]:
    """Read a mapping from providers to how many numbers each has; PHP writes an empty one as a list."""
    if isinstance(value, list):
        value = {str(place): number for place, number in enumerate(cast("list[object]", value))}
    return {name: integer(number) for name, number in row(value).items()}


def _stock(data: object, _: Params) -> Mapping[str, Stock]:
    rows = read_rows(row(data or {}).items(), _stock_of)
    return dict(rows)


def _stock_of(item: Any) -> tuple[str, Stock]:  # noqa: ANN401 - an item of a mapping
    service, fields = item
    if not is_object(fields):
        return service, Stock(integer(fields))
    by_provider: dict[str, int] = {}
    with suppress(UnreadableError):
        by_provider = _numbers(fields.get("Amount") or {})
    total = fields.get("Total")
    return service, Stock(sum(by_provider.values()) if by_provider and total is None else integer(total), by_provider)


def _stock_multi(data: object, _: Params) -> int:
    return integer(data.get("count") if is_object(data) else data)


def _canada_paypal_days(data: object, _: Params) -> Mapping[int, int]:
    return dict(read_rows(items(data), lambda item: (integer(row(item).get("Days")), integer(row(item).get("Amount")))))


def _minimum_paypal_days(data: object, _: Params) -> int:
    fields = row(one(data))
    if fields.get("Status") in (0, "0", False):
        message = str(fields.get("Message") or "")
        raise ApiError(f"refused: {one_line(message) or 'no reason given'}", msg=message, data=data)
    return integer(fields.get("Days"))


# -- spending: status 1 is a success, and the request names what the answer leaves out -----------------------------


def _rental(data: object, params: Params) -> Rental:
    fields = one(data)
    if not is_object(fields):
        fields = {"id": None if fields in (1, "1") else fields}  # a bare id, or true
    rental = _read_rental(fields)
    if "pnumber" in params and not fields.get("ccode"):
        rental = evolve(rental, phone=f"+{params['pnumber']}")  # a local number says less than the request
    return rental if rental.services else evolve(rental, services=service_codes(params["service"]))


def _rentals(data: object, params: Params) -> Rows[Rental]:
    found = [data] if is_object(data) and "id" in data else _coded_items(data, "service")
    if not found:
        raise UnreadableError("no rental in it")
    rows = read_rows(found, _read_rental, id_name="id")
    by_id: dict[int, Rental] = {}
    for rental in rows:
        before = by_id.get(rental.id, rental)
        by_id[rental.id] = evolve(
            before,
            services=tuple(sorted({*before.services, *rental.services})),
            phone=before.phone or rental.phone,
            until=before.until or rental.until,
        )
    # The contract answers with one number for all services, whichever of them it names.
    has_all = len(by_id) == 1 and not rows.skipped
    asked = service_codes(params["services"])
    rows[:] = [evolve(it, services=asked) if has_all or not it.services else it for it in by_id.values()]
    return rows


def _added_service(data: object, params: Params) -> Rental | None:
    fields = one(data)
    try:
        return _rental(fields, params)
    except UnreadableError:
        return None  # the page answers without data


def _restored(data: object, _: Params) -> int | None:
    answered = one(data)
    if isinstance(answered, bool | int | str) and str(answered).lower() in ("false", "0"):
        raise RestoreRefused("refused: not restored, no reason given", data=data)  # although the status is 1
    with suppress(UnreadableError):
        if is_object(answered):
            return order_id(answered.get("id"))
        if str(answered).lower() not in ("true", "1"):
            return order_id(answered)
    return None


def _nothing(_data: object, _params: Params) -> None:
    return None


# -- orders and messages -------------------------------------------------------------------------------------------


def _messages(data: object, _: Params) -> Rows[Sms]:
    if not (is_object(data) and ("SmsList" in data or "OtherSms" in data)):
        return read_rows(items(data), _message)
    # Contract: the messages of the order's service, and others.
    others = data.get("OtherSms")
    try:
        apart = items(others)
    except UnreadableError:
        apart = [others]  # of unknown form, which must not hide the order's own messages
    try:
        own = items(data.get("SmsList"))
    except UnreadableError:
        own = [{"SmsList": data.get("SmsList")}]  # which can't hide the other messages either
    messages, further = gather(own, _message), gather(apart, _other)
    rows = [*messages, *_not_among(messages, further)]
    return some_readable(Rows(rows, skipped=(*messages.skipped, *further.skipped)))


def _message(item: object) -> Sms:
    if isinstance(item, str):
        return Sms(item)
    if is_object(item) and item.get("text") == "" and len(item.keys() & {*_TEXTS}) > 1:
        item = {name: value for name, value in item.items() if name != "text"}  # it is under another name
    return _read_sms(item)


def _other(item: object) -> Sms:
    return evolve(_message(item), other=True)


def _not_among(messages: Sequence[Sms], further: Sequence[Sms]) -> list[Sms]:
    """Return further messages but those that are among the others as well; either may lack the sender."""
    exact = Counter((sms.text, sms.received, sms.sender) for sms in messages)
    total = Counter((sms.text, sms.received) for sms in messages)
    # Those with the same sender first, so that one without a sender can't take another's place.
    rest: list[Sms] = []
    for sms in further:
        key = (sms.text, sms.received, sms.sender)
        if exact[key]:
            exact[key] -= 1
            total[key[:2]] -= 1
        else:
            rest.append(sms)
    kept: list[Sms] = []
    for sms in rest:
        key = (sms.text, sms.received, None)
        if total[key[:2]] and (sms.sender is None or exact[key]):
            exact[key] -= sms.sender is not None
            total[key[:2]] -= 1
        else:
            kept.append(sms)
    return kept


# -- the archive ---------------------------------------------------------------------------------------------------


def _past_orders(data: object, _: Params) -> Rows[PastOrder]:
    return read_rows(items(data), _read_past_order, id_name="orderId")


def _quote(data: object, params: Params) -> RestoreQuote:
    quote = _read_quote(one(data))
    return evolve(quote, order_id=int(params["id"])) if quote.order_id is None else quote  # pyright: ignore[reportUnnecessaryComparison]


def _balance(data: object, _: Params) -> Decimal:
    return price(row(data).get("balance"))


# -- the table -----------------------------------------------------------------------------------------------------

_SAFE, _SPENDS = Safety.SAFE, Safety.NON_IDEMPOTENT
_NO_KEY = KeyPlace.NOWHERE

COUNTRIES = Method("getcountries", "countries", _SAFE, _countries, key_place=_NO_KEY)
SERVICES = Method("get_default_services", "services", _SAFE, _services, key_place=_NO_KEY)
COUNTRIES_FOR = Method("get_country_by_service", "countries_for", _SAFE, _country_offers, key_place=_NO_KEY)
OFFERS = Method("getdata", "offers", _SAFE, _offers)
OFFERS_BY_PROVIDER = Method("getdataWithProviders", "offers", _SAFE, _offers)
STOCK = Method("getCountWithProviders", "stock", _SAFE, _stock)
STOCK_MULTI = Method("get_count_multi", "stock_multi", _SAFE, _stock_multi, key_place=_NO_KEY)
CANADA_PAYPAL_DAYS = Method(
    "get_days_canada_paypal", "canada_paypal_days", _SAFE, _canada_paypal_days, key_place=_NO_KEY
)
MINIMUM_PAYPAL_DAYS = Method(
    "get_min_paypal_days", "minimum_paypal_days", _SAFE, _minimum_paypal_days, key_place=_NO_KEY
)
RENT = Method("create", "rent", _SPENDS, _rental)
RENT_MULTI = Method("create_multi", "rent_multi", _SPENDS, _rentals)
ADD_SERVICE = Method("add_service_to_order", "add_service", _SPENDS, _added_service)
PROLONG = Method("prolong", "prolong", _SPENDS, _nothing)
PROLONG_DAYS = Method("prolong_max", "prolong_days", _SPENDS, _nothing)
DELETE = Method(
    "delete",
    "delete",
    _SPENDS,
    _nothing,
    unknown_outcome_note="the number may be gone",
    refusal_note="nothing was deleted",
)
RESTORE = Method("restore_user", "restore", _SPENDS, _restored)
ORDERS = Method("orders", "orders", _SAFE, partial(read_orders, read=read_order))
SMS = Method("sms", "sms", _SAFE, _messages)
ACTIVATE = Method("activate", "activate", Safety.IDEMPOTENT, _nothing)
HISTORY = Method("get_rent_history", "history", _SAFE, _past_orders)
RESTORE_QUOTE = Method("restore_user_precalc", "restore_quote", _SAFE, _quote)
BALANCE = Method(
    "balance",
    "balance",
    _SAFE,
    _balance,
    key_place=KeyPlace.HEADER,
    account_path="/activation/balance",
)

SPENDING: Mapping[str, Method[Any]] = {
    method.name: method for method in (RENT, RENT_MULTI, ADD_SERVICE, PROLONG, PROLONG_DAYS, DELETE, RESTORE)
}
"""The calls that spend or destroy, by wire name."""
