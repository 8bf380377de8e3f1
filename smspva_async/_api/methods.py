"""The methods of the API: a table, and decoders for the data of each answer.

"Contract" is the provider's statement published with its SDKs in October 2026; "page" is its rental page. Other forms
come from the live server or from the provider's reference site.
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
    fields_of,
    integer,
    integer_or_text,
    is_object,
    items_of,
    only_item_of,
    optional_text,
    order_id,
    price,
    read_any_rows,
    read_orders,
    read_rows,
    require_readable,
    service_codes,
    state,
    timestamp,
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

T = TypeVar("T")
Params: TypeAlias = Mapping[str, str]
Decoder: TypeAlias = Callable[[object, Params], T]

MISSING = object()
"""The data of an answer without data."""


class Safety(Enum):
    """The effect of repeating a call."""

    SAFE = "safe"
    """No effect: the call only reads."""
    IDEMPOTENT = "idempotent"
    """No effect that matters."""
    NON_IDEMPOTENT = "non-idempotent"
    """It spends or destroys a second time. Such a call is sent once."""


class KeyLocation(Enum):
    """The part of a request that holds the API key."""

    NOWHERE = "nowhere"
    QUERY = "query"
    HEADER = "header"


@frozen
class Method(Generic[T]):
    """A method of the API."""

    name: str
    """The wire name."""
    python_name: str
    """The name of the client's method."""
    safety: Safety
    read: Decoder[T]
    """Decodes the data of an answer, given the request's parameters."""
    key_location: KeyLocation = KeyLocation.QUERY
    account_path: str | None = None
    """The path at the account's address; None for a method of the rental API, which is named in the query."""
    unknown_outcome_note: str = "it may have been charged"
    refusal_note: str = "nothing was charged"


# -- rows ----------------------------------------------------------------------------------------------------------

_read_country = RowReader(
    Country,
    {
        "name": Field("name", default=""),
        "code": Field("code", read=code, required=True),
        "switch_type": Field("rent_switch_type", read=as_sent),
    },
)
_read_service = RowReader(
    Service,
    {
        "service": Field("service", read=code, required=True),
        "name": Field("name", default=""),
        "price_day": Field("priceForDay", read=price),
    },
)
_read_country_offer = RowReader(
    CountryOffer,
    {
        "country": Field("code", "country", read=code, required=True),
        "name": Field("country", default=""),
        "price": Field("price", read=price),
        "count": Field("phoneAmount", read=integer),
    },
)
_read_offer_row = RowReader(
    Offer,
    {
        "name": Field("name", default=""),
        "service": Field("service", read=code, required=True),
        "price_day": Field("price_day", read=price),
        "count": Field("count", "totalCount", read=integer),
    },
)
_read_rental_row = RowReader(
    Rental,
    {
        "id": Field("id", read=order_id, required=True),
        "services": Field("service", read=service_codes, default=()),
        "until": Field("until", read=timestamp),
    },
    phone=("ccode", "pnumber"),
)
read_order = RowReader(
    Order,
    {
        "id": Field("id", read=order_id, required=True),
        "services": Field("scode", read=service_codes, default=()),
        "service_name": Field("sname", default=""),
        "state": Field("state", read=state, default=OrderState.UNKNOWN),
        "raw_state": Field("state", read=integer_or_text),
        "country": Field("cname", default=""),
        "has_new_sms": Field("hasnewsms", read=boolean),
        "until": Field("until", read=timestamp),
        "can_prolong": Field("canprolong", read=boolean),
        "can_prolong_days": Field("canprolongmax", read=integer),
        "can_prolong_until": Field("canprolonguntil", read=timestamp),
        "last_online": Field("lastonline", read=timestamp),
    },
    phone=("ccode", "pnumber"),
)
_TEXT_NAMES = ("text", "message", "fullText", "sms")
"""The names of a message's text; the last three come from the live server."""
_read_sms_row = RowReader(
    Sms,
    {
        "text": Field(*_TEXT_NAMES, required=True),
        "sender": Field("sender", read=optional_text),
        "received": Field("date", read=timestamp),
    },
)
_read_past_order = RowReader(
    PastOrder,
    {
        "order_id": Field("orderId", read=order_id, required=True),
        "service": Field("resourceCode", default=""),
        "had_sms": Field("haveSms", read=boolean),
        "days": Field("days", read=integer),
        "country": Field("country", default=""),
        "begin": Field("begin", read=timestamp),
        "end": Field("end", read=timestamp),
        "closed": Field("closed", read=timestamp),
        "restorable": Field("isAvailForRestore", read=boolean),
    },
    phone=(None, "number"),
)
_read_quote_row = RowReader(
    RestoreQuote,
    {
        "order_id": Field("orderid", read=integer),
        "country": Field("ccode", default=""),
        "service": Field("scode", default=""),
        "service_name": Field("sname", default=""),
        "price": Field("price", read=price, required=True),
        "overdue_days": Field("outdays", read=integer),
        "prolong_days": Field("prolongTo", read=integer),
    },
    phone=(None, "pnumber"),
)


# -- catalogue -----------------------------------------------------------------------------------------------------


def _coded_items(data: object, name: str) -> Sequence[object]:
    """Return the rows of a list, or of a mapping by code, with the code added to each row under `name`."""
    if is_object(data) and not all(map(str.isdecimal, data)):
        return [{**item, name: item.get(name) or key} if is_object(item) else item for key, item in data.items()]
    return items_of(data)


def _countries(data: object, _: Params) -> Rows[Country]:
    rows = read_rows(items_of(data), _read_country)
    rows[:] = [evolve(it, name=it.name.strip(), code=it.code.strip()) for it in rows]  # padded on the live server
    return rows


def _services(data: object, _: Params) -> Rows[Service]:
    return read_rows(_coded_items(data, "service"), _read_service)


def _country_offers(data: object, _: Params) -> Rows[CountryOffer]:
    rows = read_rows(_coded_items(data, "code"), _read_country_offer)
    rows.sort(key=lambda offer: (offer.price is None, offer.price, offer.country))
    return rows


def _offers(data: object, _: Params) -> Rows[Offer]:
    if is_object(data) and isinstance(data.get("services", 0), list | dict | None):
        data = data["services"]  # contract; on the page the data are the rows
    return read_rows(_coded_items(data, "service"), _read_offer)


def _read_offer(item: object) -> Offer:
    fields = fields_of(item)
    try:
        by_provider = _counts(fields.get("count"))
    except UnreadableError:
        return _read_offer_row(fields)
    offer = _read_offer_row({**fields, "count": sum(by_provider.values()) or fields.get("totalCount", 0)})
    return evolve(offer, by_provider=by_provider)


def _counts(value: object) -> dict[str, int]:
    """Decode a mapping from providers to numbers available. PHP writes an empty one as a list."""
    if isinstance(value, list):
        value = {str(index): count for index, count in enumerate(cast("list[object]", value))}
    return {name: integer(count) for name, count in fields_of(value).items()}


def _stock(data: object, _: Params) -> Mapping[str, Stock]:
    return dict(read_rows(fields_of(data or {}).items(), _read_stock))


def _read_stock(item: Any) -> tuple[str, Stock]:  # noqa: ANN401 - an item of a mapping
    service, fields = item
    if not is_object(fields):
        return service, Stock(integer(fields))
    by_provider: dict[str, int] = {}
    with suppress(UnreadableError):
        by_provider = _counts(fields.get("Amount") or {})
    total = fields.get("Total")
    return service, Stock(sum(by_provider.values()) if by_provider and total is None else integer(total), by_provider)


def _stock_multi(data: object, _: Params) -> int:
    return integer(data.get("count") if is_object(data) else data)


def _canada_paypal_days(data: object, _: Params) -> Mapping[int, int]:
    def read(item: object) -> tuple[int, int]:
        fields = fields_of(item)
        return integer(fields.get("Days")), integer(fields.get("Amount"))

    return dict(read_rows(items_of(data), read))


def _minimum_paypal_days(data: object, _: Params) -> int:
    fields = fields_of(only_item_of(data))
    if fields.get("Status") in (0, "0", False):
        message = str(fields.get("Message") or "")
        raise ApiError(f"refused: {one_line(message) or 'no reason given'}", msg=message, data=data)
    return integer(fields.get("Days"))


# -- spending: status 1 is a success, and the parameters fill in what the answer lacks -------------------------------


def _rental(data: object, params: Params) -> Rental:
    fields = only_item_of(data)
    if not is_object(fields):
        fields = {"id": None if fields in (1, "1") else fields}  # an id by itself, or true
    rental = _read_rental_row(fields)
    if "pnumber" in params and not fields.get("ccode"):
        rental = evolve(rental, phone=f"+{params['pnumber']}")  # the answer's number lacks the dial code
    return rental if rental.services else evolve(rental, services=service_codes(params["service"]))


def _rentals(data: object, params: Params) -> Rows[Rental]:
    items = [data] if is_object(data) and "id" in data else _coded_items(data, "service")
    if not items:
        raise UnreadableError("there is no rental")
    rows = read_rows(items, _read_rental_row, id_name="id")
    by_id: dict[int, Rental] = {}
    for rental in rows:
        first = by_id.get(rental.id, rental)
        by_id[rental.id] = evolve(
            first,
            services=tuple(sorted({*first.services, *rental.services})),
            phone=first.phone or rental.phone,
            until=first.until or rental.until,
        )
    # Contract: a single rental has all services, even if it names only one.
    has_all = len(by_id) == 1 and not rows.skipped
    requested = service_codes(params["services"])
    rows[:] = [evolve(it, services=requested) if has_all or not it.services else it for it in by_id.values()]
    return rows


def _added_service(data: object, params: Params) -> Rental | None:
    with suppress(UnreadableError):
        return _rental(data, params)
    return None  # the page's answer has no data


def _restored(data: object, _: Params) -> int | None:
    value = only_item_of(data)
    if is_object(value):
        value = value.get("id")
    elif isinstance(value, bool | int | str) and str(value).lower() in ("false", "0"):
        raise RestoreRefused("refused: not restored, no reason given", data=data)  # although the status is 1
    elif value in (1, "1"):
        return None  # PHP's true
    with suppress(UnreadableError):
        return order_id(value)
    return None


def _nothing(_data: object, _params: Params) -> None:
    return None


# -- messages ------------------------------------------------------------------------------------------------------


def _messages(data: object, _: Params) -> Rows[Sms]:
    if not (is_object(data) and ("SmsList" in data or "OtherSms" in data)):
        return read_rows(items_of(data), _read_sms)
    # Contract: the messages of the order's service, and others. If the form of one is unknown, the other is still read.
    try:
        own_items = items_of(data.get("SmsList"))
    except UnreadableError:
        own_items = [{"SmsList": data.get("SmsList")}]
    try:
        other_items = items_of(data.get("OtherSms"))
    except UnreadableError:
        other_items = [data.get("OtherSms")]
    own, others = read_any_rows(own_items, _read_sms), read_any_rows(other_items, _read_other_sms)
    rows = [*own, *_without_duplicates(others, own)]
    return require_readable(Rows(rows, skipped=(*own.skipped, *others.skipped)))


def _read_sms(item: object) -> Sms:
    if isinstance(item, str):
        return Sms(item)
    if is_object(item) and item.get("text") == "" and len(item.keys() & {*_TEXT_NAMES}) > 1:
        item = {name: value for name, value in item.items() if name != "text"}  # the text has another name
    return _read_sms_row(item)


def _read_other_sms(item: object) -> Sms:
    return evolve(_read_sms(item), other=True)


def _without_duplicates(others: Sequence[Sms], own: Sequence[Sms]) -> list[Sms]:
    """Return the other messages that aren't among the order's own; in either list the sender may be missing."""
    exact = Counter((sms.text, sms.received, sms.sender) for sms in own)
    total = Counter((sms.text, sms.received) for sms in own)
    # Equal senders are matched first, so that a message without a sender can't take another one's match.
    rest: list[Sms] = []
    for sms in others:
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


# -- the archive and the account -----------------------------------------------------------------------------------


def _past_orders(data: object, _: Params) -> Rows[PastOrder]:
    return read_rows(items_of(data), _read_past_order, id_name="orderId")


def _quote(data: object, params: Params) -> RestoreQuote:
    quote = _read_quote_row(only_item_of(data))
    return quote if quote.order_id else evolve(quote, order_id=int(params["id"]))


def _balance(data: object, _: Params) -> Decimal:
    return price(fields_of(data).get("balance"))


# -- the table -----------------------------------------------------------------------------------------------------

_SAFE, _SPENDS = Safety.SAFE, Safety.NON_IDEMPOTENT
_NO_KEY = KeyLocation.NOWHERE

COUNTRIES = Method("getcountries", "countries", _SAFE, _countries, _NO_KEY)
SERVICES = Method("get_default_services", "services", _SAFE, _services, _NO_KEY)
COUNTRIES_FOR = Method("get_country_by_service", "countries_for", _SAFE, _country_offers, _NO_KEY)
OFFERS = Method("getdata", "offers", _SAFE, _offers)
OFFERS_BY_PROVIDER = Method("getdataWithProviders", "offers", _SAFE, _offers)
STOCK = Method("getCountWithProviders", "stock", _SAFE, _stock)
STOCK_MULTI = Method("get_count_multi", "stock_multi", _SAFE, _stock_multi, _NO_KEY)
CANADA_PAYPAL_DAYS = Method("get_days_canada_paypal", "canada_paypal_days", _SAFE, _canada_paypal_days, _NO_KEY)
MINIMUM_PAYPAL_DAYS = Method("get_min_paypal_days", "minimum_paypal_days", _SAFE, _minimum_paypal_days, _NO_KEY)
BALANCE = Method("balance", "balance", _SAFE, _balance, KeyLocation.HEADER, account_path="/activation/balance")
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

SPENDING: Mapping[str, Method[Any]] = {
    method.name: method for method in (RENT, RENT_MULTI, ADD_SERVICE, PROLONG, PROLONG_DAYS, DELETE, RESTORE)
}
"""The methods that spend or destroy, by wire name."""
