"""Arguments: input that can't be right raises `ValueError` here, before anything is sent."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smspva_async._api.methods import SPENDING
from smspva_async.errors import OutcomeUnknown

if TYPE_CHECKING:
    from smspva_async.models import Period

__all__ = [
    "DEFAULT_BASE_URL",
    "account_url",
    "api_key_problem",
    "base_url",
    "country",
    "is_address",
    "is_loopback",
    "max_price",
    "name",
    "number",
    "order_id",
    "outcome_unknown",
    "path",
    "period",
    "phone",
    "provider",
    "seconds",
    "service",
    "services",
    "timeout",
]

DEFAULT_BASE_URL = "https://smspva.com/api/rent.php"
_DEFAULT_ACCOUNT_URL = "https://api.smspva.com"
_HTTPS_PORT = 443
_PROVIDERS_HOSTS = {"smspva.com", "www.smspva.com", "smspva.io", "www.smspva.io"}
_PROVIDERS_OWN = {"GB": "UK"}


def api_key_problem(key: object) -> str:
    """Return what is wrong with an API key, "" for nothing. It raises nothing: a traceback would show the key."""
    if not isinstance(key, str):
        return f"the API key is a text, not of the type {type(key).__name__}"
    if not key.strip():
        return "there is no API key: pass api_key or set the environment variable SMSPVA_API_KEY"
    if not key.isascii():
        return "the API key has a letter that isn't ASCII: is it the whole key and nothing else?"
    if not key.strip().isprintable():
        return "the API key has a line break or a control character in it: is it the whole key and nothing else?"
    return ""


def country(code: str) -> str:
    """Return a country's code as the provider writes it: ``UK`` for the United Kingdom, whose ISO code is ``GB``."""
    if not isinstance(code, str) or not re.fullmatch("[A-Za-z]{2}", code):
        raise ValueError(f"a country is given by its two letters, such as 'RU': {code!r}")
    return _PROVIDERS_OWN.get(code.upper(), code.upper())


def service(code: str) -> str:
    """Return a service's code."""
    if not isinstance(code, str) or not re.fullmatch("[A-Za-z0-9_.-]+", code):
        raise ValueError(f"a service is given by its code, such as 'opt16': {code!r}")
    return code


def services(codes: Iterable[str]) -> str:
    """Return several services' codes as one parameter."""
    if isinstance(codes, str) or not isinstance(codes, Iterable) or not (listed := [service(code) for code in codes]):
        raise ValueError(f"services are a list of one code or more: {codes!r}")
    if len({code.casefold() for code in listed}) < len(listed):
        raise ValueError(f"a service is given twice: {', '.join(listed)}")
    return ",".join(listed)


def provider(name: str) -> str:
    """Return a provider's name."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"a provider is given by its name: {name!r}")
    return name


def order_id(value: int) -> str:
    """Return an order's id."""
    return number("an order's id", value, 1)


def number(what: str, value: int, least: int, most: int | None = None) -> str:
    """Return a whole number within bounds."""
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{what} is a whole number, {bounds}: {value!r}")
    return str(value)


def period(value: Period) -> dict[str, str]:
    """Return a period's two parameters."""
    try:
        return {"dtype": value.kind, "dcount": str(value.count)}
    except AttributeError:
        raise ValueError(f"a period is made with Period.weeks(n) or Period.months(n): {value!r}") from None


def max_price(dollars: Decimal) -> Decimal:
    """Return the most that a rental may cost."""
    if not isinstance(dollars, Decimal | int) or isinstance(dollars, bool) or not Decimal(dollars).is_finite():
        raise ValueError(f"max_price is a Decimal, in US dollars for the whole period: {dollars!r}")
    return Decimal(dollars)


def outcome_unknown(what: str, error: OutcomeUnknown) -> None:
    """Check that an error is an `OutcomeUnknown` of a call."""
    if not isinstance(error, OutcomeUnknown) or error.method not in SPENDING:
        raise ValueError(f"{what} takes an OutcomeUnknown, such as those of client.unsettled: {error!r}")


def phone(whole: str) -> str:
    """Return a whole phone number as the provider wants it: digits, country code first, no ``+`` (rental page)."""
    digits = re.sub(r"[\s()-]", "", whole.removeprefix("+")) if isinstance(whole, str) else ""
    if not re.fullmatch("[0-9]{5,15}", digits):
        raise ValueError(f"a phone number is given whole, such as '+79096037108': {whole!r}")
    return digits


def base_url(url: str | None) -> str:
    """Return the server's address: https, or http on this machine; without a query, which has the key."""
    return DEFAULT_BASE_URL if url is None else _address("the base address", url, DEFAULT_BASE_URL)


def account_url(url: str | None, base_url_: str) -> str:
    """Return the address of the account's calls, without a slash at its end."""
    if url is not None:
        return _address("the account address", url, _DEFAULT_ACCOUNT_URL).rstrip("/")
    parts = urlsplit(base_url_)
    if parts.hostname in _PROVIDERS_HOSTS and parts.port in (None, _HTTPS_PORT):
        return _DEFAULT_ACCOUNT_URL
    return f"{parts.scheme}://{parts.netloc}"


def _address(what: str, url: str, example: str) -> str:
    """Return an address that the key may be sent to: https, or http on this machine; no query and no user."""
    if not isinstance(url, str):
        raise ValueError(f"{what} is a text, not of the type {type(url).__name__}")  # noqa: TRY004 - all input
    # A malformed address isn't shown: a key or a password may stand in it.
    unusable = ValueError(f"{what} isn't written as one, such as {example}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port  # reading a port that can't be one raises
    except ValueError:
        raise unusable from None
    if not host or port == 0 or not re.fullmatch("[!-~]+", url):
        raise unusable
    if "?" in url or "#" in url or parts.username is not None:
        raise ValueError(f"{what} is a plain one without query or user, such as {example!r}: {host!r}")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"the key must not travel in the clear, so https is needed for {what}: {url!r}")
    return url


def is_loopback(host: str) -> bool:
    """Tell whether a host is this very machine."""
    return ipaddress.ip_address(host).is_loopback if is_address(host) else host == "localhost"


def is_address(host: str) -> bool:
    """Tell whether a host is given by its number."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def seconds(what: str, value: float, *, zero: bool = False) -> float:
    """Return a finite duration."""
    if type(value) not in (int, float) or not 0 <= value < math.inf or (value == 0 and not zero):
        raise ValueError(f"{what} is in seconds, {'0 or more' if zero else 'more than 0'}: {value!r}")
    return value


def timeout(value: float) -> float:
    """Return a time-out in seconds. Infinity is allowed; negative values become 0."""
    if type(value) not in (int, float) or math.isnan(value):
        raise ValueError(f"the timeout is in seconds: {value!r}")
    return max(0.0, value)


def name(value: str) -> str:
    """Return a cursor's name."""
    try:
        usable = bool(value) and bool(value.encode())
    except (AttributeError, UnicodeEncodeError):
        usable = False
    if not usable:
        raise ValueError(f"a name is a text that can be written to a file: {value!r}")
    return value


def path(what: str, value: Path | str) -> Path:
    """Return a file's place."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"{what} is a file, given by its path: {value!r}")
    return Path(value)
