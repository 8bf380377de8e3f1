"""Encodings of answers: as on the rental page, as seen on the live server, or as in the provider's contract.

A dialect gets a method's answer under the contract's names and returns the response. Nothing here knows how a client
decodes it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol
from zlib import crc32

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._http import Response
from smspva_async.simulator._methods import MAPPING_METHODS
from smspva_async.simulator._refusals import BANNED, KEY_MISSING, KEY_UNKNOWN, NO_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async.simulator._methods import Json, Row
    from smspva_async.simulator._switches import RefusalForm, Switches

__all__ = ["BalanceDialect", "ContractDialect", "Dialect", "DialectName", "LiveDialect", "PageDialect", "refusal_in"]

DialectName = Literal["page", "live", "contract"]
"""Shapes of the rental page's samples, of the live server (random), or of the contract in the provider's SDK."""

_JSON = "application/json"


class Dialect(Protocol):
    """An encoding of answers."""

    def success(self, method: str, data: Json, *, zero: bool = False) -> Response:
        """Encode a success; `zero` puts `status` 0 beside the data."""
        ...

    def refusal(self, wordings: tuple[str, ...]) -> Response:
        """Encode a refusal."""
        ...


def _dump(value: Json, *, escaped: bool) -> bytes:
    """Return JSON; `escaped` is PHP's default: ASCII only, and a backslash before each slash."""
    text = json.dumps(value, ensure_ascii=escaped, default=_plain_number)
    # A slash can only stand inside a string there.
    return (text.replace("/", r"\/") if escaped else text).encode()


def _plain_number(value: object) -> int | float:
    number = Decimal(str(value))
    return int(number) if number == number.to_integral_value() else float(number)


_RENTAL = ("id", "pnumber", "ccode", "service", "until")

# The page's samples, key by key.
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


# Texts of newer answers; the others are the page's (assumed).
_CONTRACT_WORDINGS: dict[tuple[str, ...], str] = {
    refusals.KEY_MISSING: "APIKEY_NOT_SET",
    refusals.KEY_UNKNOWN: "Wrong apikey",
    refusals.TOO_MANY: "Too many requests, slow down",
    refusals.NO_NUMBERS: "No numbers available.",
    refusals.NO_MONEY: "Not enough money",
    refusals.ORDER_UNKNOWN: "Order id not found",
    refusals.NOT_YOURS: "Order id not found",
}


class ContractDialect:
    """Shapes and types of the provider's contract, the same in every answer."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def success(self, method: str, data: Json, *, zero: bool = False) -> Response:
        """Encode an answer with the contract's types; prolonging has no `data`."""
        answer: Row = {"status": 0 if zero else 1}
        if method not in {"prolong", "prolong_max"}:
            answer["data"] = self._shape(method, data)
        return Response(_dump(answer, escaped=True), _JSON)

    def refusal(self, wordings: tuple[str, ...]) -> Response:
        """Encode a refusal with its text in `msg`."""
        return Response(_dump({"status": 0, "msg": _CONTRACT_WORDINGS.get(wordings, wordings[0])}, escaped=True), _JSON)

    def _shape(self, method: str, data: Json) -> Json:
        if method in MAPPING_METHODS:
            return _by_key(data)
        match method:
            case "getdata" | "getdataWithProviders":
                data = _offers(data, by_provider=method == "getdataWithProviders")
            case "create":
                data = self._rental(data)
            case "create_multi":
                data = self._rental(_rows(data)[0])
            case "activate":
                data = [data]
            case "add_service_to_order":
                data = _select(data, ("id", "pnumber", "service", "until"))
            case "sms":
                service, other = _messages(data)
                data = {"SmsList": [*service], "OtherSms": [*other]}
            case _:
                pass
        return _public(data)

    def _rental(self, data: Json) -> Json:
        if isinstance(data, dict) and isinstance(until := data["until"], int):
            return data | {"until": self._until(until)}
        return data

    def _until(self, seconds: int) -> str:
        moment = datetime.fromtimestamp(seconds, UTC)
        match self._switches.until_text:
            case "unix":
                return str(seconds)
            case "datetime":
                return f"{moment:%Y-%m-%d %H:%M:%S}"
            case "iso":
                return moment.isoformat()


def _public(data: Json) -> Json:
    """Return the data without notes."""
    if isinstance(data, list):
        return [_public(item) for item in data]
    if isinstance(data, dict):
        return {key: _public(item) for key, item in data.items() if not key.startswith("_")}
    return data


def _by_key(data: Json) -> Row:
    return {str(row["_key"]): _public(row) for row in _rows(data)}


def _offers(data: Json, *, by_provider: bool) -> Row:
    rows = _rows(data)
    answer: Row = {
        "services": data,
        "totalAmount": sum(count for row in rows if isinstance(count := row["_count"], int)),
    }
    if by_provider:
        stocks = [stock for row in rows if isinstance(stock := row["_stock"], dict)]
        answer["allOperators"] = [*dict.fromkeys(name for stock in stocks for name in stock)]
    return answer


def _messages(data: Json) -> tuple[list[Row], list[Row]]:
    """Return the messages of the order's services, and the others."""
    rows = _rows(data)
    return [row for row in rows if not row["_other"]], [row for row in rows if row["_other"]]


class PageDialect:
    """Shapes and types of the rental page's samples.

    Of the calls that the page lacks, `create_multi` is a list of rows as of `create`; the others are the contract's.
    """

    def __init__(self, contract: ContractDialect) -> None:
        self._contract = contract

    def success(self, method: str, data: Json, *, zero: bool = False) -> Response:
        """Encode what the page's sample of the method shows, and nothing else."""
        answer: Row = {"status": 0 if zero else 1}
        if method == "restore_user":
            answer["data"] = data is not False
        elif method in _PAGE_KEYS:
            answer["data"] = _select(data, _PAGE_KEYS[method])
        elif method != "add_service_to_order":  # whose success is the status alone
            return self._contract.success(method, data)
        return Response(_dump(answer, escaped=False), _JSON)

    def refusal(self, wordings: tuple[str, ...]) -> Response:
        """Encode the first wording as `msg`."""
        return Response(_dump({"status": 0, "msg": wordings[0]}, escaped=False), _JSON)


def _select(data: Json, keys: tuple[str, ...]) -> Json:
    if isinstance(data, list):
        return [_select(row, keys) for row in data]
    if isinstance(data, dict):
        return {key: data[key] for key in keys if key in data}
    return data


_OPTIONAL = ("sname", "canprolong", "canprolongmax", "canprolonguntil", "lastonline")
_SHARE_MISSING = 0.2
_SHARE_WITH_PROVIDER = 0.5


class LiveDialect:
    """Shapes that programs which talk to the live server were seen to handle, drawn from the seed.

    What a client would take for a change of the world stays the same from answer to answer: which optional fields an
    order lacks, and in which form a message of `OtherSms` comes.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} dialect")  # noqa: S311 - not cryptography
        self._shapers: dict[str, Callable[[Json], Json]] = {
            "getcountries": self._countries,
            "get_default_services": self._list,
            "get_country_by_service": self._mapping_or_list,
            "getdata": self._offers,
            "getdataWithProviders": lambda data: self._loose(_offers(data, by_provider=True)),
            "getcount": self._loose,
            "getCountWithProviders": lambda data: self._loose(_by_key(data)),
            "get_count_multi": self._loose,
            "get_days_canada_paypal": self._list,
            "get_min_paypal_days": self._loose,
            "create": self._one_rental,
            "create_multi": self._rentals,
            "orders": self._orders,
            "add_service_to_order": self._added,
            "sms": self._sms,
            "prolong": self._acknowledgement,
            "prolong_max": self._acknowledgement,
            "activate": self._activated,
            "delete": self._acknowledgement,
            "get_rent_history": self._list,
            "restore_user_precalc": self._extended,
            "restore_user": self._restored,
        }

    def success(self, method: str, data: Json, *, zero: bool = False) -> Response:
        """Encode an answer in one of its shapes; some calls come with `status` 0 although they went well."""
        documented = method in {"getcountries", "sms", "getdata", "restore_user_precalc"}
        zero = zero or (documented and bool(data) and self._chance(0.25))
        status: Json = 0 if zero else 1
        answer: Row = {"status": self._rng.choice((status, str(status)))}
        shaped = self._shapers[method](data)
        if method != "add_service_to_order" or shaped is not None:
            answer["data"] = shaped
        return self._dump(answer)

    def refusal(self, wordings: tuple[str, ...]) -> Response:
        """Encode one of the wordings as `msg`, `error_msg` or, for some messages, as bare text."""
        wording = self._rng.choice(wordings)
        if wordings in {KEY_MISSING, KEY_UNKNOWN, BANNED, NO_NUMBERS} and self._chance(0.2):
            return Response(wording.encode(), self._content_type())
        key = self._rng.choice(("msg", "error_msg"))
        return self._dump({"status": self._rng.choice((0, "0")), key: wording})

    def _dump(self, answer: Row) -> Response:
        if self._chance(0.5):
            answer["server"] = "rent/3"
        return Response(_dump(answer, escaped=True), self._content_type())

    def _content_type(self) -> str:
        """PHP labels its JSON as HTML unless the program says otherwise (assumed)."""
        return self._rng.choice((_JSON, "text/html; charset=UTF-8"))

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _steady(self, *what: Json) -> float:
        """Return a share that is the same for the same thing in every answer."""
        return crc32(repr((self._seed, what)).encode()) / 2**32

    # Building blocks

    def _loose(self, value: Json) -> Json:
        """Write numbers and booleans as PHP programs may: any of them as a string."""
        if isinstance(value, bool):
            return self._rng.choice((value, int(value), str(int(value))))
        if isinstance(value, int | Decimal):
            return self._rng.choice((value, str(value)))
        if isinstance(value, list):
            return [self._loose(item) for item in value]
        if isinstance(value, dict):
            return {key: self._loose(item) for key, item in value.items() if not key.startswith("_")}
        return value

    def _extended(self, data: Json) -> Json:
        loose = self._loose(data)
        if isinstance(loose, dict) and self._chance(0.5):
            loose["comment"] = "Номер проверен"
            loose["icon"] = "/img/rent/icon.png"
        return loose

    def _listed(self, rows: list[Json]) -> Json:
        """Write a list: an empty one in three ways, another perhaps as a mapping with gaps in its indexes."""
        if not rows:
            return self._rng.choice(([], None, {}))
        if self._chance(0.3):
            return {str(index * 2): row for index, row in enumerate(rows)}
        return rows

    # Shapes of the methods

    def _countries(self, data: Json) -> Json:
        rows: list[Json] = []
        for row in _rows(data):
            padding = self._rng.choice(("", " ", "\t"))
            name = f"{padding}{row['name']}{padding}" if isinstance(row["name"], str) else row["name"]
            rows.append({"name": name, "code": row["code"], "rent_switch_type": row["rent_switch_type"]})
        return self._listed(rows)

    def _list(self, data: Json) -> Json:
        return self._listed([self._extended(row) for row in _rows(data)])

    def _mapping_or_list(self, data: Json) -> Json:
        return self._rng.choice((self._loose(_by_key(data)), self._list(data)))

    def _offers(self, data: Json) -> Json:
        by_provider, shape = self._chance(0.4), self._rng.choice(("rows", "services", "by code"))
        rows: list[Json] = []
        by_code: Row = {}
        for index, row in enumerate(_rows(data)):
            count = row["_stock"] if by_provider and isinstance(row["count"], int) else row["count"]
            rows.append(self._extended({key: row[key] for key in _PAGE_KEYS["getdata"]} | {"count": count}))
            code = row["service"]
            by_code[code if isinstance(code, str) else str(index)] = rows[-1]
        if shape == "rows":
            return self._listed(rows)
        return {"services": by_code if shape == "by code" else self._listed(rows)}

    def _rental(self, data: Json) -> Json:
        """Write a purchase, with its number in two parts or whole."""
        row = dict(data) if isinstance(data, dict) else {}
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
        return self._extended(row)

    def _one_rental(self, data: Json) -> Json:
        row = self._rental(data)
        return self._rng.choice((row, [row]))

    def _rentals(self, data: Json) -> Json:
        rows: list[Json] = [self._rental(row) for row in _rows(data)]
        return rows[0] if len(rows) == 1 and self._chance(0.5) else self._listed(rows)

    def _orders(self, data: Json) -> Json:
        rows: list[Json] = []
        for row in _rows(data):
            missing = {key for key in _OPTIONAL if self._steady("order", row["id"], key) < _SHARE_MISSING}
            kept: Row = {key: value for key, value in row.items() if key not in missing}
            if self._steady("order", row["id"]) < _SHARE_WITH_PROVIDER:
                kept["provider"] = row["_provider"]
            rows.append(self._extended(kept))
        return self._listed(rows)

    def _added(self, data: Json) -> Json:
        if not isinstance(data, dict) or self._chance(0.4):
            return None
        # The live server writes this number whole.
        row = {key: value for key, value in data.items() if key != "ccode"}
        row["pnumber"] = f"{self._rng.choice(('', '+'))}{row['_whole']}"
        return self._extended(row)

    def _sms(self, data: Json) -> Json:
        of_service, others = _messages(data)
        service: list[Json] = [self._extended(row) for row in of_service]
        other: list[Json] = [self._other_message(row) for row in others]
        if not other and self._chance(0.5):
            return self._listed(service)
        return {"SmsList": self._listed(service), "OtherSms": self._listed(other)}

    def _other_message(self, row: Row) -> Json:
        forms = ("bare", "text", "message", "fullText")
        form = forms[int(self._steady("message", row["_number"], row["text"]) * len(forms))]
        if form == "bare":
            return row["text"]
        return self._extended({form if key == "text" else key: value for key, value in row.items()})

    def _acknowledgement(self, data: Json) -> Json:
        return self._rng.choice((self._extended(data), {}))

    def _activated(self, data: Json) -> Json:
        row = self._extended(data)
        return self._rng.choice((row, [row], [], {}))

    def _restored(self, data: Json) -> Json:
        if data is False or self._chance(0.3):
            return self._loose(data is not False)
        return self._extended(data)


def _rows(data: Json) -> list[Row]:
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []


# `statusCode` and description by type. The first three types are the contract's, and 407 without a key was seen on the
# live server; the other types and codes, and every description, are assumed.
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
    """The answers of `/activation/balance`, the same in every dialect of the rental API."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def success(self, method: str, data: Json, *, zero: bool = False) -> Response:  # noqa: ARG002 - one shape for all
        """Encode the data beside `statusCode` 200."""
        return Response(_dump({"statusCode": 200, "data": data}, escaped=False), _JSON)

    def refusal(self, wordings: tuple[str, ...]) -> Response:
        """Encode an error with its type: the one that is named, or `ERROR` with the text."""
        named = _BALANCE_ERROR_TYPES.get(wordings, wordings[0])
        status, text = _BALANCE_ERRORS.get(named, (400, named))
        error: Row = {"type": named if named in _BALANCE_ERRORS else "ERROR", "description": text}
        body: Row = {"statusCode": status, "error": error}
        return Response(
            _dump(body, escaped=False), _JSON, status=200 if self._switches.account_errors_as_200 else status
        )


def refusal_in(form: RefusalForm, text: str) -> Response:
    """Return a refusal of the rental API in one of the forms that no dialect has."""
    answer: Row = {"status": 0}
    if form == "error_object":
        answer["error"] = {"type": text.partition(":")[0].upper().replace(" ", "_"), "description": text}
    else:
        answer[form] = text
    return Response(_dump(answer, escaped=False), _JSON)
