"""Validation of arguments: invalid input raises `ValueError` before anything is sent."""

from __future__ import annotations

import ipaddress
import math
import os
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

API_KEY_VARIABLE = "SMSPVA_API_KEY"
BASE_URL_VARIABLE = "SMSPVA_BASE_URL"
ACCOUNT_URL_VARIABLE = "SMSPVA_ACCOUNT_URL"

DEFAULT_BASE_URL = "https://smspva.com/api/rent.php"
DEFAULT_ACCOUNT_URL = "https://api.smspva.com"
_PROVIDER_HOSTS = {"smspva.com", "www.smspva.com", "smspva.io", "www.smspva.io"}
_HTTPS_PORT = 443
_PROVIDER_COUNTRIES = {"GB": "UK"}
"""The provider's code of a country, by the ISO code, where they differ."""


def api_key_problem(key: object) -> str:
    """Return the reason why an API key is invalid, or "". It doesn't raise: a traceback would show the key."""
    if not isinstance(key, str):
        return f"the API key must be text, not {type(key).__name__}"
    if not key.strip():
        return f"there is no API key: pass api_key or set the environment variable {API_KEY_VARIABLE}"
    if not key.isascii():
        return "the API key contains a character that isn't ASCII; check that it is the key and nothing else"
    if not key.strip().isprintable():
        return "the API key contains a line break or control character; check that it is the key and nothing else"
    return ""


def country(code: str) -> str:
    """Return a country's code as the provider writes it: ``UK`` for the United Kingdom, whose ISO code is ``GB``."""
    if not isinstance(code, str) or not re.fullmatch("[A-Za-z]{2}", code):
        raise ValueError(f"expected a two-letter country code such as 'RU', got {code!r}")
    return _PROVIDER_COUNTRIES.get(code.upper(), code.upper())


def service(code: str) -> str:
    """Validate a service's code."""
    if not isinstance(code, str) or not re.fullmatch("[A-Za-z0-9_.-]+", code):
        raise ValueError(f"expected a service code such as 'opt16', got {code!r}")
    return code


def services(codes: Iterable[str]) -> str:
    """Validate several services' codes, and return them as one parameter."""
    if isinstance(codes, str) or not isinstance(codes, Iterable) or not (listed := [service(code) for code in codes]):
        raise ValueError(f"expected a list of service codes, got {codes!r}")
    if len({code.casefold() for code in listed}) < len(listed):
        raise ValueError(f"the services must be different: {', '.join(listed)}")
    return ",".join(listed)


def provider(name: str) -> str:
    """Validate a provider's name."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"expected a provider's name, got {name!r}")
    return name


def order_id(value: int) -> str:
    """Validate an order's id, and return it as a parameter."""
    return integer("the order's id", value, 1)


def integer(name: str, value: int, minimum: int, maximum: int | None = None) -> str:
    """Validate an integer, and return it as a parameter."""
    if type(value) is not int or value < minimum or (maximum is not None and value > maximum):
        limits = f"of {minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{name} must be an integer {limits}, got {value!r}")
    return str(value)


def period(value: Period) -> dict[str, str]:
    """Validate a period, and return its two parameters."""
    try:
        return {"dtype": value.kind, "dcount": str(value.count)}
    except AttributeError:
        raise ValueError(f"expected Period.weeks(n) or Period.months(n), got {value!r}") from None


def max_price(dollars: Decimal) -> Decimal:
    """Validate the highest price for a rental, in US dollars."""
    if not isinstance(dollars, Decimal | int) or isinstance(dollars, bool) or not Decimal(dollars).is_finite():
        raise ValueError(f"max_price must be a Decimal, in US dollars for the whole period, got {dollars!r}")
    return Decimal(dollars)


def outcome_unknown(name: str, error: OutcomeUnknown) -> None:
    """Check that an error is an `OutcomeUnknown` of a client's call."""
    if not isinstance(error, OutcomeUnknown) or error.method not in SPENDING:
        raise ValueError(f"{name} expects an OutcomeUnknown, such as one of client.unsettled, got {error!r}")


def phone(number: str) -> str:
    """Return a phone number as the provider wants it: digits, country code first, no ``+`` (rental page)."""
    digits = re.sub(r"[\s()-]", "", number.removeprefix("+")) if isinstance(number, str) else ""
    if not re.fullmatch("[0-9]{5,15}", digits):
        raise ValueError(f"expected a phone number with country code such as '+79096037108', got {number!r}")
    return digits


def base_url(url: str | None) -> str:
    """Return the address of the rental API; None: from the environment, or else the provider's own."""
    url = os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL if url is None else url
    return _url("the base URL", url, DEFAULT_BASE_URL)


def account_url(url: str | None, base_url: str) -> str:
    """Return the address of the account API without a slash at its end.

    None: from the environment, or else the address that belongs to `base_url`.
    """
    url = os.environ.get(ACCOUNT_URL_VARIABLE) or None if url is None else url
    if url is not None:
        return _url("the account URL", url, DEFAULT_ACCOUNT_URL).rstrip("/")
    parts = urlsplit(base_url)
    if parts.hostname in _PROVIDER_HOSTS and parts.port in (None, _HTTPS_PORT):
        return DEFAULT_ACCOUNT_URL
    return f"{parts.scheme}://{parts.netloc}"


def _url(name: str, url: str, example: str) -> str:
    """Return an address that the key may be sent to: https, or http on this machine; no query and no user name."""
    if not isinstance(url, str):
        raise ValueError(f"{name} must be text, not {type(url).__name__}")  # noqa: TRY004 - all invalid input
    # The message doesn't quote a malformed address, which may contain a key or a password.
    malformed = ValueError(f"{name} is malformed; expected an address such as {example}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port  # raises for an invalid port
    except ValueError:
        raise malformed from None
    if not host or port == 0 or not re.fullmatch("[!-~]+", url):
        raise malformed
    if "?" in url or "#" in url or parts.username is not None:
        raise ValueError(f"{name} (host {host}) must have no query, fragment or user name; expected one like {example}")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(
            f"{name} must use https, since it gets the API key (http is allowed on this machine only): {url}"
        )
    return url


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    return ipaddress.ip_address(host).is_loopback if is_ip_address(host) else host == "localhost"


def is_ip_address(host: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def seconds(name: str, value: float, *, zero: bool = False) -> float:
    """Validate a finite duration in seconds; 0 is allowed if `zero` is true."""
    if type(value) not in (int, float) or not 0 <= value < math.inf or (value == 0 and not zero):
        raise ValueError(f"{name} must be a number of seconds {'of 0 or more' if zero else 'above 0'}, got {value!r}")
    return value


def timeout(value: float) -> float:
    """Validate a timeout in seconds. Infinity is allowed; negative values become 0."""
    if type(value) not in (int, float) or math.isnan(value):
        raise ValueError(f"the timeout must be a number of seconds, got {value!r}")
    return max(0.0, value)


def name(value: str) -> str:
    """Validate a cursor's name."""
    try:
        is_usable = bool(value) and bool(value.encode())
    except (AttributeError, UnicodeEncodeError):
        is_usable = False
    if not is_usable:
        raise ValueError(f"expected a name, as text that UTF-8 can encode, got {value!r}")
    return value


def path(name: str, value: Path | str) -> Path:
    """Validate the path of a file."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"{name} must be the path of a file, got {value!r}")
    return Path(value)
