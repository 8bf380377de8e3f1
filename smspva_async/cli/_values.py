"""Arguments and options that several commands take."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import click

from smspva_async import Period
from smspva_async._api import validation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ADDRESS",
    "COUNTRY",
    "DOLLARS",
    "ORDER",
    "PROVIDER",
    "SECONDS",
    "SERVICE",
    "example",
    "period_of",
    "period_options",
]

F = TypeVar("F", bound="Callable[..., object]")

ORDER = click.IntRange(min=1)
"""An order's id."""


class _Seconds(click.ParamType):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument] - old ones aren't generic
    """A duration that the library accepts."""

    name = "seconds"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        try:
            return validation.seconds("it", float(value))
        except ValueError:
            self.fail(f"{value!r} is no number of seconds above 0", param, ctx)


SECONDS = _Seconds()


class _Dollars(click.ParamType):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument] - as above
    """An amount of US dollars, such as ``7.50``."""

    name = "amount"

    def convert(self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Return the amount."""
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", str(value)) or Decimal(value) == 0:
            self.fail(f"{value!r} is no amount of US dollars above 0, such as 7.50", param, ctx)
        return Decimal(value)


DOLLARS = _Dollars()


class _Checked(click.ParamType):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument] - as above
    """A text that the library accepts."""

    def __init__(self, name: str, check: Callable[[str], str]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is sent."""
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = _Checked("address", validation.base_url)
COUNTRY = _Checked("country", validation.country)
SERVICE = _Checked("service", validation.service)
PROVIDER = _Checked("provider", validation.provider)


def period_options(command: F) -> F:
    """Give a command the two options that make a period."""
    for unit, most in (("months", 3), ("weeks", 12)):
        option = click.option(f"--{unit}", type=click.IntRange(1, most), help=f"For so many {unit}, 1 to {most}.")
        command = option(command)
    return command


def period_of(weeks: int | None, months: int | None) -> Period:
    """Return the period of the two options, a week without them."""
    if weeks is not None and months is not None:
        raise click.UsageError("a period is given in --weeks or in --months, not in both")
    return Period.weeks(weeks or 1) if months is None else Period.months(months)


def example(*commands: str) -> str:
    """Return the end of a help text."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
