"""Conversion of models to JSON-ready values and back, for files and for output that programs read.

Times are ISO 8601 in UTC, durations are seconds, states are the provider's numbers and prices are strings such as
``"0.73"``, which keep every digit.
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

_DEEPEST = 64
_LONGEST = 14_000  # bits; Python refuses to write longer integers in decimal


@cache
def converter() -> JsonConverter:
    """Return the converter of models. Creating it takes a while, so the first use does it."""
    converter = make_converter()
    converter.register_unstructure_hook(OrderState, int)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))
    converter.register_structure_hook_func(_is_raw, lambda value, _: value)
    converter.register_unstructure_hook_func(_is_raw, _json_value)
    return converter


def write(value: object, kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a type or a union of types
    """Return a model as a JSON-ready dict."""
    return cast("dict[str, Any]", converter().unstructure(value, kind))


def read(value: object, kind: Any) -> Any:  # noqa: ANN401 - an instance of that type
    """Return the model that `write` converted. Fields that a later version added are ignored.

    Raises:
        ValueError: The value doesn't represent such a model.

    """
    try:
        return converter().structure(value, kind)
    except BaseValidationError as error:
        raise ValueError("; ".join(transform_error(error, "it"))) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{shortened(value)} has no known type") from error


def _is_raw(kind: Any) -> bool:  # noqa: ANN401 - a type
    """Return whether a field of that type holds raw data of the server."""
    return kind is object or kind == Mapping[str, object]


def _json_value(value: object, depth: int = 0) -> object:
    """Return a JSON-ready form of any value: a source other than our client may provide anything."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _LONGEST else hex(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_json_value(item, depth + 1) for item in cast("list[object]", value)]
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {
            name if isinstance(name, str) else str(_json_value(name, depth + 1)): _json_value(item, depth + 1)
            for name, item in cast("Mapping[object, object]", value).items()
        }
    return shortened(cast("Any", value))
