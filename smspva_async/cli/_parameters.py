"""Parameter types, options and help parts that several commands use."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from smspva_async import Period
from smspva_async._api import validation
from smspva_async.cli import _formatting as fmt, _known, _names

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Parsed(click.ParamType):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument] - not generic in click 8.1
    """A parameter type that reads values with a function, which raises `ValueError` for an invalid one.

    Args:
        name: The name in help texts.
        parse: The function.
        kind: The known values with which a shell completes words.

    """

    def __init__(self, name: str, parse: Callable[[Any], object], *, kind: _known.Kind | None = None) -> None:
        self.name = name
        self._parse = parse
        self._kind: _known.Kind | None = kind

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the parsed value."""
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's
        incomplete: str,
    ) -> list[CompletionItem[str]]:
        """Return the known values whose code or name begins with a word, in any letter case.

        They come from the network: only letters and digits are inserted into a command line.
        """
        base_url = ctx.params.get("base_url") or os.environ.get(validation.BASE_URL_VARIABLE)
        known = {} if self._kind is None else _known.recall(base_url or validation.DEFAULT_BASE_URL, self._kind)
        start = incomplete.casefold()
        return [
            CompletionItem(code, help=fmt.clean(name))
            for code, name in known.items()
            if re.fullmatch("[A-Za-z0-9]+", code)
            and (code.casefold().startswith(start) or name.casefold().startswith(start))
        ]


class NumberRange(click.IntRange):
    """A range of integers. Help texts show the value of an option as N."""

    name = "integer"  # click's messages would say "integer range"

    def get_metavar(self, param: click.Parameter, *_: object, **__: object) -> str | None:
        """Return the name of the value in help texts, or None for the name of the parameter."""
        return "N" if isinstance(param, click.Option) else None


def _seconds(value: str | float) -> float:
    try:
        return validation.seconds("", float(value))
    except ValueError:
        raise ValueError(f"expected a number of seconds above 0, got {value!r}") from None


def _dollars(value: object) -> Decimal:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", str(value)) or Decimal(str(value)) == 0:
        raise ValueError(f"expected an amount of US dollars above 0, such as 7.50, got {value!r}")
    return Decimal(str(value))


def _age(value: object) -> float:
    """Return the seconds of a text such as ``2m``."""
    parts = re.fullmatch(r"([0-9]{1,6})([smhd]?)", str(value))
    if parts is None:
        raise ValueError(f"expected a time such as 90s, 2m or 1h, got {value!r}")
    return float(int(parts[1]) * _UNITS[parts[2] or "s"])


def _order_id(value: object) -> int:
    if not re.fullmatch("[1-9][0-9]{0,17}", str(value)):
        raise ValueError(f"expected an order id such as 40300, got {value!r}")
    return int(str(value))


def _country(text: str) -> str:
    """Return a country's code as the provider writes it, or the text of its name."""
    return validation.country(text) if _names.is_country_code(text) else _name(text, "a country, such as PL or Poland")


def _service(text: str) -> str:
    return _name(text, "a service, such as opt29 or Telegram")


def _name(text: str, expected: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"expected {expected}, got {text!r}")
    return text.strip()


URL = _Parsed("url", validation.base_url)
AGE = _Parsed("time", _age)
COUNTRY = _Parsed("country", _country, kind="countries")
DOLLARS = _Parsed("usd", _dollars)
ORDER_ID = _Parsed("integer", _order_id, kind="orders")
PAST_ORDER_ID = _Parsed("integer", _order_id, kind="past")
PROVIDER = _Parsed("name", validation.provider)
SECONDS = _Parsed("seconds", _seconds)
SERVICE = _Parsed("service", _service, kind="services")


def with_period(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options ``--weeks`` and ``--months`` to a command, which gets a `Period`, or None if neither is given."""

    @click.option("--weeks", type=NumberRange(1, 12), help="Period in weeks; one week by default.")
    @click.option("--months", type=NumberRange(1, 3), help="Period in months.")
    @wraps(command)
    def run_with_period(*args: Any, weeks: int | None, months: int | None, **options: Any) -> R:  # noqa: ANN401 - click's
        if weeks is not None and months is not None:
            raise click.UsageError("use either --weeks or --months, not both")
        period = None
        if weeks is not None:
            period = Period.weeks(weeks)
        elif months is not None:
            period = Period.months(months)
        return command(*args, period=period, **options)

    return run_with_period
