"""Parameter types, options and help parts that several commands use."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smspva_async import Period
from smspva_async._api import validation

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


class _Parsed(click.ParamType):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument] - not generic in click 8.1
    """A parameter type that reads values with a function, which raises `ValueError` for an invalid one."""

    def __init__(self, name: str, parse: Callable[[Any], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the parsed value."""
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


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


URL = _Parsed("url", validation.base_url)
COUNTRY = _Parsed("country", validation.country)
DOLLARS = _Parsed("usd", _dollars)
ORDER_ID = NumberRange(min=1)
PROVIDER = _Parsed("name", validation.provider)
SECONDS = _Parsed("seconds", _seconds)
SERVICE = _Parsed("service", validation.service)


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


def examples(*commands: str) -> str:
    """Return the end of a help text: the examples."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
