"""How answers are written down: as the rental page prints them, or as the live server was seen to.

A dialect gets what a method answered under the page's names and gives the body. Nothing here knows how a client reads.
"""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol
from zlib import crc32

from smspva_async.simulator._refusals import BANNED, KEY_MISSING, KEY_UNKNOWN, NO_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async.simulator._methods import Json, Row

__all__ = ["Dialect", "DialectName", "LiveDialect", "PageDialect"]

DialectName = Literal["page", "live"]
"""The shapes of the rental page's samples, or those that the live server was seen to give, drawn from the seed."""


class Dialect(Protocol):
    """A way to write answers down."""

    @property
    def content_type(self) -> str:
        """What the next answer is said to be."""
        ...

    def success(self, method: str, data: Json, *, zero: bool = False) -> bytes:
        """Return the body of a success; `zero` puts `status` 0 beside the data."""
        ...

    def refusal(self, wordings: tuple[str, ...]) -> bytes:
        """Return the body of a refusal."""
        ...


def _dump(value: Json, *, escaped: bool) -> bytes:
    """Return JSON; `escaped` as PHP writes it unasked: ASCII alone, and a backslash before each slash."""
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


class PageDialect:
    """Shapes and types of the rental page's samples."""

    content_type = "application/json"

    def success(self, method: str, data: Json, *, zero: bool = False) -> bytes:
        """Write what the page's sample of the method shows, and nothing else."""
        answer: Row = {"status": 0 if zero else 1}
        if method == "restore_user":
            answer["data"] = data is not False
        elif method != "add_service_to_order":  # answered by the status alone
            answer["data"] = _page_rows(data, _PAGE_KEYS[method])
        return _dump(answer, escaped=False)

    def refusal(self, wordings: tuple[str, ...]) -> bytes:
        """Write the first wording as `msg`."""
        return _dump({"status": 0, "msg": wordings[0]}, escaped=False)


def _page_rows(data: Json, keys: tuple[str, ...]) -> Json:
    if isinstance(data, list):
        return [_page_rows(row, keys) for row in data]
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
            "getdata": self._offers,
            "create": self._one_rental,
            "create_multi": self._rentals,
            "orders": self._orders,
            "add_service_to_order": self._added,
            "sms": self._sms,
            "prolong": self._acknowledgement,
            "activate": self._activated,
            "delete": self._acknowledgement,
            "get_rent_history": self._history,
            "restore_user_precalc": self._extended,
            "restore_user": self._restored,
        }

    @property
    def content_type(self) -> str:
        """PHP calls its JSON HTML unless told otherwise (assumed)."""
        return self._rng.choice(("application/json", "text/html; charset=UTF-8"))

    def success(self, method: str, data: Json, *, zero: bool = False) -> bytes:
        """Write an answer in one of its shapes; some calls come with `status` 0 although they went well."""
        documented = method in {"getcountries", "sms", "getdata", "restore_user_precalc"}
        zero = zero or (documented and bool(data) and self._chance(0.25))
        status: Json = 0 if zero else 1
        answer: Row = {"status": self._rng.choice((status, str(status)))}
        shaped = self._shapers[method](data)
        if method != "add_service_to_order" or shaped is not None:
            answer["data"] = shaped
        return self._dump(answer)

    def refusal(self, wordings: tuple[str, ...]) -> bytes:
        """Write one of the wordings as `msg`, `error_msg` or, for some messages, as bare text."""
        wording = self._rng.choice(wordings)
        if wordings in {KEY_MISSING, KEY_UNKNOWN, BANNED, NO_NUMBERS} and self._chance(0.2):
            return wording.encode()
        key = self._rng.choice(("msg", "error_msg"))
        return self._dump({"status": self._rng.choice((0, "0")), key: wording})

    def _dump(self, answer: Row) -> bytes:
        if self._chance(0.5):
            answer["server"] = "rent/3"
        return _dump(answer, escaped=True)

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
        codes: dict[Json, int] = {"always": 1, "on_demand": 2, "both": 3}  # the values are assumed
        rows: list[Json] = []
        for row in _rows(data):
            kind = row["rent_switch_type"]
            loose = self._loose(row)
            if isinstance(loose, dict):
                padding = self._rng.choice(("", " ", "\t"))
                loose["name"] = f"{padding}{row['name']}{padding}" if isinstance(row["name"], str) else row["name"]
                loose["rent_switch_type"] = self._loose(codes.get(kind, 0)) if isinstance(kind, str) else kind
            rows.append(loose)
        return self._listed(rows)

    def _offers(self, data: Json) -> Json:
        by_provider, shape = self._chance(0.4), self._rng.choice(("rows", "services", "by code"))
        rows: list[Json] = []
        by_code: Row = {}
        for index, row in enumerate(_rows(data)):
            count = row["_stock"] if by_provider and isinstance(row["count"], int) else row["count"]
            rows.append(self._extended({**row, "count": count}))
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
        row = {key: value for key, value in data.items() if key != "ccode"}
        row["pnumber"] = f"{self._rng.choice(('', '+'))}{row['pnumber']}"
        return self._extended(row)

    def _sms(self, data: Json) -> Json:
        rows = _rows(data)
        service: list[Json] = [self._extended(row) for row in rows if row["_other"] is False]
        other: list[Json] = [self._other_message(row) for row in rows if row["_other"] is True]
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

    def _history(self, data: Json) -> Json:
        return self._listed([self._extended({**row, "isAvailForRestore": row["_restorable"]}) for row in _rows(data)])

    def _restored(self, data: Json) -> Json:
        if data is False or self._chance(0.3):
            return self._loose(data is not False)
        return self._extended(data)


def _rows(data: Json) -> list[Row]:
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
