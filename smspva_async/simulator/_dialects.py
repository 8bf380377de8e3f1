"""Encodings of responses: as on the rental page, on the live server, or in the provider's contract.

A dialect encodes a method's data, which have the contract's names, as a response. Nothing here depends on how a client
decodes it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Protocol
from zlib import crc32

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._http import Response
from smspva_async.simulator._methods import MAPPING_METHODS
from smspva_async.simulator._refusals import BANNED, KEY_MISSING, KEY_UNKNOWN, NO_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async.simulator._behavior import Behavior, RefusalForm
    from smspva_async.simulator._methods import Data, Json, Row

DialectName = Literal["page", "live", "contract"]
"""Response formats: the rental page's samples, the live server (random), or the contract in the provider's SDK."""

_JSON = "application/json"


class Dialect(Protocol):
    """An encoding of responses."""

    def success(self, method: str, data: Data, *, zero: bool = False) -> Response:
        """Encode a success; with `zero`, `status` is 0 instead of 1."""
        ...

    def refusal(self, texts: tuple[str, ...]) -> Response:
        """Encode a refusal."""
        ...


def _dump(value: Json, *, escaped: bool) -> bytes:
    """Return JSON. With `escaped` it has PHP's default format: ASCII only, and a backslash before each slash."""
    text = json.dumps(value, ensure_ascii=escaped, default=_to_number)
    # In JSON, a slash occurs only inside strings.
    return (text.replace("/", r"\/") if escaped else text).encode()


def _to_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


_RENTAL = ("id", "pnumber", "ccode", "service", "until")

# The keys in the page's samples.
_PAGE_KEYS: dict[str, tuple[str, ...]] = {
    "getcountries": ("name", "code"),
    "getdata": ("name", "service", "price_day", "count"),
    "create": _RENTAL,
    "create_multi": _RENTAL,
    "orders": (
        "id",
        "scode",
        "sname",
        "state",
        "pnumber",
        "ccode",
        "cname",
        "hasnewsms",
        "until",
        "canprolong",
        "canprolongmax",
        "canprolonguntil",
        "lastonline",
    ),
    "sms": ("text", "sender", "date"),
    "prolong": ("id",),
    "activate": ("id",),
    "delete": ("id",),
    "get_rent_history": (
        "orderId",
        "resourceCode",
        "number",
        "branchId",
        "haveSms",
        "days",
        "country",
        "begin",
        "end",
        "closed",
    ),
    "restore_user_precalc": ("ccode", "scode", "price", "sname", "pnumber", "outdays", "orderid", "prolongTo"),
}


# Newer texts of the provider; other refusals have the page's texts (assumed).
_CONTRACT_TEXTS: dict[tuple[str, ...], str] = {
    refusals.KEY_MISSING: "APIKEY_NOT_SET",
    refusals.KEY_UNKNOWN: "Wrong apikey",
    refusals.TOO_MANY: "Too many requests, slow down",
    refusals.NO_NUMBERS: "No numbers available.",
    refusals.NO_MONEY: "Not enough money",
    refusals.ORDER_UNKNOWN: "Order id not found",
    refusals.NOT_YOURS: "Order id not found",
}


class ContractDialect:
    """The formats of the provider's contract, which do not vary between responses."""

    def __init__(self, behavior: Behavior) -> None:
        self._behavior = behavior

    def success(self, method: str, data: Data, *, zero: bool = False) -> Response:
        """Encode a success with the contract's types. Prolonging has no `data`."""
        answer: Row = {"status": 0 if zero else 1}
        if method not in {"prolong", "prolong_max"}:
            answer["data"] = self._shape(method, data)
        return Response(_dump(answer, escaped=True), _JSON)

    def refusal(self, texts: tuple[str, ...]) -> Response:
        """Encode a refusal with its text in `msg`."""
        return Response(_dump({"status": 0, "msg": _CONTRACT_TEXTS.get(texts, texts[0])}, escaped=True), _JSON)

    def _shape(self, method: str, data: Data) -> Json:
        if method in MAPPING_METHODS:
            return _by_key(data)
        match method:
            case "getdata" | "getdataWithProviders":
                data = _offers(data, by_provider=method == "getdataWithProviders")
            case "create":
                data = self._rental(data)
            case "create_multi":
                data = self._rental(data[0])
            case "activate":
                data = [data]
            case "add_service_to_order":
                data = _select(data, ("id", "pnumber", "service", "until"))
            case "sms":
                service, other = _split_messages(data)
                data = {"SmsList": service, "OtherSms": other}
            case _:
                pass
        return _without_internal_keys(data)

    def _rental(self, row: Row) -> Row:
        return row | {"until": self._until(row["until"])}

    def _until(self, seconds: int) -> str:
        moment = datetime.fromtimestamp(seconds, UTC)
        match self._behavior.until_text:
            case "unix":
                return str(seconds)
            case "datetime":
                return f"{moment:%Y-%m-%d %H:%M:%S}"
            case "iso":
                return moment.isoformat()


def _without_internal_keys(data: Json) -> Json:
    match data:
        case list():
            return [_without_internal_keys(item) for item in data]
        case dict():
            return {key: _without_internal_keys(item) for key, item in data.items() if not key.startswith("_")}
        case _:
            return data


def _by_key(rows: list[Row]) -> Row:
    return {row["_key"]: _without_internal_keys(row) for row in rows}


def _offers(rows: list[Row], *, by_provider: bool) -> Row:
    data: Row = {"services": rows, "totalAmount": sum(row["_count"] for row in rows)}
    if by_provider:
        data["allOperators"] = [*dict.fromkeys(provider for row in rows for provider in row["_stock"])]
    return data


def _split_messages(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the messages of the order's services, and the other messages."""
    return [row for row in rows if not row["_other"]], [row for row in rows if row["_other"]]


class PageDialect:
    """The formats of the rental page's samples.

    The page doesn't list all calls: `create_multi` returns a list of rows as in `create`, the other missing calls have
    the contract's formats.
    """

    def __init__(self, contract: ContractDialect) -> None:
        self._contract = contract

    def success(self, method: str, data: Data, *, zero: bool = False) -> Response:
        """Encode only the keys of the page's sample of the method."""
        answer: Row = {"status": 0 if zero else 1}
        if method == "restore_user":
            answer["data"] = data is not False
        elif method in _PAGE_KEYS:
            answer["data"] = _select(data, _PAGE_KEYS[method])
        elif method != "add_service_to_order":  # its success has no data
            return self._contract.success(method, data)
        return Response(_dump(answer, escaped=False), _JSON)

    def refusal(self, texts: tuple[str, ...]) -> Response:
        """Encode the first text as `msg`."""
        return Response(_dump({"status": 0, "msg": texts[0]}, escaped=False), _JSON)


def _select(data: list[Row] | Row, keys: tuple[str, ...]) -> list[Row] | Row:
    if isinstance(data, list):
        return [{key: row[key] for key in keys if key in row} for row in data]
    return {key: data[key] for key in keys if key in data}


_OPTIONAL = ("sname", "canprolong", "canprolongmax", "canprolonguntil", "lastonline")
_MISSING_PROBABILITY = 0.2
_PROVIDER_PROBABILITY = 0.5


class LiveDialect:
    """The formats that existing programs for the live server handle, chosen at random.

    Two choices are the same in every response, because a client would report a difference as a change: the optional
    fields that an order lacks, and the format of a message in `OtherSms`.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} dialect")  # noqa: S311 - not cryptography
        self._encoders: dict[str, Callable[[Any], Json]] = {
            "getcountries": self._countries,
            "get_default_services": self._loose_rows,
            "get_country_by_service": self._mapping_or_list,
            "getdata": self._offers,
            "getdataWithProviders": lambda data: self._loose(_offers(data, by_provider=True)),
            "getcount": self._loose,
            "getCountWithProviders": lambda data: self._loose(_by_key(data)),
            "get_count_multi": self._loose,
            "get_days_canada_paypal": self._loose_rows,
            "get_min_paypal_days": self._loose,
            "create": self._one_rental,
            "create_multi": self._rentals,
            "orders": self._orders,
            "add_service_to_order": self._added_service,
            "sms": self._sms,
            "prolong": self._id_or_empty,
            "prolong_max": self._id_or_empty,
            "activate": self._activation,
            "delete": self._id_or_empty,
            "get_rent_history": self._loose_rows,
            "restore_user_precalc": self._loose_row,
            "restore_user": self._restore,
        }

    def success(self, method: str, data: Data, *, zero: bool = False) -> Response:
        """Encode a success in one of its formats. Some calls can have `status` 0 although they succeeded."""
        may_be_zero = method in {"getcountries", "sms", "getdata", "restore_user_precalc"}
        zero = zero or (may_be_zero and bool(data) and self._chance(0.25))
        status = 0 if zero else 1
        answer: Row = {"status": self._rng.choice((status, str(status)))}
        encoded = self._encoders[method](data)
        if method != "add_service_to_order" or encoded is not None:
            answer["data"] = encoded
        return self._dump(answer)

    def refusal(self, texts: tuple[str, ...]) -> Response:
        """Encode a random one of the texts as `msg`, as `error_msg` or, for some refusals, as plain text."""
        text = self._rng.choice(texts)
        if texts in {KEY_MISSING, KEY_UNKNOWN, BANNED, NO_NUMBERS} and self._chance(0.2):
            return Response(text.encode(), self._content_type())
        key = self._rng.choice(("msg", "error_msg"))
        return self._dump({"status": self._rng.choice((0, "0")), key: text})

    def _dump(self, answer: Row) -> Response:
        if self._chance(0.5):
            answer["server"] = "rent/3"
        return Response(_dump(answer, escaped=True), self._content_type())

    def _content_type(self) -> str:
        """Return JSON or HTML: PHP sends HTML unless the program sets the type (assumed)."""
        return self._rng.choice((_JSON, "text/html; charset=UTF-8"))

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _stable_share(self, *key: Json) -> float:
        """Return a number from 0 to 1 that depends on the seed and the key only."""
        return crc32(repr((self._seed, key)).encode()) / 2**32

    # Building blocks

    def _loose(self, value: Json) -> Json:
        """Write some numbers and booleans as strings, as PHP programs do."""
        if isinstance(value, bool):
            return self._rng.choice((value, int(value), str(int(value))))
        if isinstance(value, int | Decimal):
            return self._rng.choice((value, str(value)))
        if isinstance(value, list):
            return [self._loose(item) for item in value]
        if isinstance(value, dict):
            return self._loose_values(value)
        return value

    def _loose_values(self, row: Row) -> Row:
        return {key: self._loose(value) for key, value in row.items() if not key.startswith("_")}

    def _loose_row(self, row: Row) -> Row:
        """Write a row, sometimes with extra keys."""
        loose = self._loose_values(row)
        if self._chance(0.5):
            loose["comment"] = "Номер проверен"
            loose["icon"] = "/img/rent/icon.png"
        return loose

    def _loose_list(self, rows: list[Any]) -> Json:
        """Write an empty list in one of three ways, and some other lists as a mapping with gaps between the indexes."""
        if not rows:
            return self._rng.choice(([], None, {}))
        if self._chance(0.3):
            return {str(index * 2): row for index, row in enumerate(rows)}
        return rows

    # Formats of the methods

    def _countries(self, rows: list[Row]) -> Json:
        countries: list[Row] = []
        for row in rows:
            padding, name = self._rng.choice(("", " ", "\t")), row["name"]
            if isinstance(name, str):  # not in a corrupt row
                name = f"{padding}{name}{padding}"
            countries.append({"name": name, "code": row["code"], "rent_switch_type": row["rent_switch_type"]})
        return self._loose_list(countries)

    def _loose_rows(self, rows: list[Row]) -> Json:
        return self._loose_list([self._loose_row(row) for row in rows])

    def _mapping_or_list(self, rows: list[Row]) -> Json:
        return self._rng.choice((self._loose(_by_key(rows)), self._loose_rows(rows)))

    def _offers(self, rows: list[Row]) -> Json:
        by_provider, form = self._chance(0.4), self._rng.choice(("rows", "services", "by code"))
        offers: list[Row] = []
        by_code: Row = {}
        for index, row in enumerate(rows):
            # In a corrupt row, a value can have another type.
            count = row["_stock"] if by_provider and isinstance(row["count"], int) else row["count"]
            offers.append(self._loose_row({key: row[key] for key in _PAGE_KEYS["getdata"]} | {"count": count}))
            code = row["service"]
            by_code[code if isinstance(code, str) else str(index)] = offers[-1]
        if form == "rows":
            return self._loose_list(offers)
        return {"services": by_code if form == "by code" else self._loose_list(offers)}

    def _rental(self, rental: Row) -> Row:
        """Write a purchase, with its number in two parts or as a whole."""
        row = dict(rental)
        whole = f"{row['ccode']}{row['pnumber']}"
        match self._rng.choice(("parts", "whole", "whole, no plus", "no ccode", "whole with ccode")):
            case "whole":
                row.update(ccode="", pnumber=whole)
            case "whole, no plus":
                row.update(ccode="", pnumber=whole.removeprefix("+"))
            case "no ccode":
                del row["ccode"]
                row["pnumber"] = whole
            case "whole with ccode":
                row["pnumber"] = whole
            case _:
                pass
        return self._loose_row(row)

    def _one_rental(self, rental: Row) -> Json:
        row = self._rental(rental)
        return self._rng.choice((row, [row]))

    def _rentals(self, rentals: list[Row]) -> Json:
        rows = [self._rental(row) for row in rentals]
        return rows[0] if len(rows) == 1 and self._chance(0.5) else self._loose_list(rows)

    def _orders(self, orders: list[Row]) -> Json:
        rows: list[Row] = []
        for order in orders:
            missing = {key for key in _OPTIONAL if self._stable_share("order", order["id"], key) < _MISSING_PROBABILITY}
            row = {key: value for key, value in order.items() if key not in missing}
            if self._stable_share("order", order["id"]) < _PROVIDER_PROBABILITY:
                row["provider"] = order["_provider"]
            rows.append(self._loose_row(row))
        return self._loose_list(rows)

    def _added_service(self, rental: Row) -> Json:
        if self._chance(0.4):
            return None
        # The live server writes the whole number here.
        row = {key: value for key, value in rental.items() if key != "ccode"}
        row["pnumber"] = f"{self._rng.choice(('', '+'))}{row['_phone']}"
        return self._loose_row(row)

    def _sms(self, rows: list[Row]) -> Json:
        of_service, others = _split_messages(rows)
        service = [self._loose_row(row) for row in of_service]
        other = [self._other_message(row) for row in others]
        if not other and self._chance(0.5):
            return self._loose_list(service)
        return {"SmsList": self._loose_list(service), "OtherSms": self._loose_list(other)}

    def _other_message(self, row: Row) -> Json:
        forms = ("bare", "text", "message", "fullText")
        text: Json = row["text"]
        form = forms[int(self._stable_share("message", row["_number"], text) * len(forms))]
        if form == "bare":
            return text
        return self._loose_row({form if key == "text" else key: value for key, value in row.items()})

    def _id_or_empty(self, row: Row) -> Json:
        return self._rng.choice((self._loose_row(row), {}))

    def _activation(self, row: Row) -> Json:
        loose = self._loose_row(row)
        return self._rng.choice((loose, [loose], [], {}))

    def _restore(self, data: Literal[False] | Row) -> Json:
        if data is False or self._chance(0.3):
            return self._loose(data is not False)
        return self._loose_row(data)


# `statusCode` and description by type. The first three types are from the contract, and code 407 for a missing key was
# seen on the live server; the other types and codes, and all descriptions, are assumed.
_BALANCE_ERRORS = {
    "APIKEY_NOT_SET": (407, "The apikey is not set"),
    "LOW_BALANCE": (407, "The balance is too low"),
    "SERVER_BUSY": (503, "The server is busy"),
    "WRONG_APIKEY": (401, "Wrong apikey"),
    "BANNED": (403, "The account is banned"),
    "TOO_MANY_REQUESTS": (429, "Too many requests, slow down"),
}
_BALANCE_ERROR_TYPES: dict[tuple[str, ...], str] = {
    KEY_MISSING: "APIKEY_NOT_SET",
    KEY_UNKNOWN: "WRONG_APIKEY",
    refusals.TOO_MANY: "TOO_MANY_REQUESTS",
}


class BalanceDialect:
    """The responses of `/activation/balance`, which are the same in all dialects of the rental API."""

    def __init__(self, behavior: Behavior) -> None:
        self._behavior = behavior

    def success(self, method: str, data: Data, *, zero: bool = False) -> Response:  # noqa: ARG002 - one format for all
        """Encode the data and `statusCode` 200."""
        return Response(_dump({"statusCode": 200, "data": data}, escaped=False), _JSON)

    def refusal(self, texts: tuple[str, ...]) -> Response:
        """Encode an error with its type; an unknown one has the type `ERROR` and its text as the description."""
        name = _BALANCE_ERROR_TYPES.get(texts, texts[0])
        status, description = _BALANCE_ERRORS.get(name, (400, name))
        error = {"type": name if name in _BALANCE_ERRORS else "ERROR", "description": description}
        body = _dump({"statusCode": status, "error": error}, escaped=False)
        return Response(body, _JSON, status=200 if self._behavior.account_errors_as_200 else status)


def encode_refusal(form: RefusalForm, text: str) -> Response:
    """Encode a refusal of the rental API in the given form."""
    answer: Row = {"status": 0}
    if form == "error_object":
        answer["error"] = {"type": text.partition(":")[0].upper().replace(" ", "_"), "description": text}
    else:
        answer[form] = text
    return Response(_dump(answer, escaped=False), _JSON)
