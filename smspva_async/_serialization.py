"""Models as JSON and back, for what is kept in files and printed for programs.

Times are ISO 8601 in UTC, durations seconds, states the provider's numbers, prices texts such as ``"0.73"``, which lose
nothing; all else is as it stands in the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cache
from reprlib import repr as shortened
from typing import Any, cast

from cattrs import BaseValidationError, transform_error
from cattrs.preconf.json import JsonConverter, make_converter

from smspva_async.models import OrderState

__all__ = ["converter", "read", "write"]

_DEEPEST = 64
_LONGEST = 14_000  # bits; Python writes no longer number in decimal


@cache
def converter() -> JsonConverter:
    """Return what reads and writes models. It is made when first needed, as most programs keep no files."""
    made = make_converter()
    made.register_unstructure_hook(OrderState, int)
    made.register_unstructure_hook(Decimal, str)
    made.register_unstructure_hook(timedelta, timedelta.total_seconds)
    made.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))
    made.register_structure_hook_func(_is_the_servers, _as_it_is)
    made.register_unstructure_hook_func(_is_the_servers, _plain)
    return made


def write(value: object, kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a type or a union of types
    """Return a model as what `json` writes."""
    return cast("dict[str, Any]", converter().unstructure(value, kind))


def read(value: object, kind: Any) -> Any:  # noqa: ANN401 - an instance of that type
    """Return the model that `write` made this of. What a later version has added is passed over.

    Raises:
        ValueError: It was made of no such model.

    """
    try:
        return converter().structure(value, kind)
    except BaseValidationError as error:
        raise ValueError("; ".join(transform_error(error, "it"))) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{shortened(value)} is of no known kind") from error


def _is_the_servers(kind: Any) -> bool:  # noqa: ANN401
    """Tell whether a field holds what the server sent, as it came."""
    return kind is object or kind == Mapping[str, object]


def _as_it_is(value: object, _: object) -> object:
    return value


def _plain(value: object, depth: int = 0) -> object:
    """Return a value as JSON has it; a source that isn't our client may hand over anything."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _LONGEST else hex(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_plain(item, depth + 1) for item in cast("list[object]", value)]
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {
            name if isinstance(name, str) else str(_plain(name, depth + 1)): _plain(item, depth + 1)
            for name, item in cast("Mapping[object, object]", value).items()
        }
    return shortened(cast("Any", value))
