"""JSON text -> values: by orjson where it is installed and says the same, by the standard `json` otherwise."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["NESTED", "parse", "parse_flat", "quick", "standard"]

_Parser: TypeAlias = Callable[[bytes], Any]

NESTED = 100
"""Objects and lists within each other that any parser reads, on any stack."""
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


def standard(text: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the value of a JSON text.

    Raises:
        ValueError: It isn't JSON, or not in UTF-8.
        RecursionError: It is nested too deeply.

    """
    return json.loads(text.decode("utf-8-sig"))


def _orjson() -> _Parser | None:
    try:
        return importlib.import_module("orjson").loads  # type: ignore[no-any-return]
    except ImportError:
        return None


quick: _Parser | None = _orjson()
"""orjson's own, which reads less than `standard` does; None where it isn't installed."""


def parse(text: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the value of a JSON text, whatever is installed as `standard` does; raises what that raises."""
    # orjson has a depth of its own. Of two objects side by side only one holds what is innermost.
    nested = text.count(b"{") + text.count(b"[")
    if nested > NESTED:
        nested -= text.count(b"},{") + text.count(b"}, {")
    return standard(text) if nested > NESTED else parse_flat(text)


def parse_flat(text: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the same of a text that is known not to be nested deeply."""
    # orjson makes floats of longer numbers. What it refuses may be NaN, half of a surrogate pair, a byte order mark.
    if quick is not None and _LONG_NUMBER not in text.translate(_ZEROS):
        with contextlib.suppress(ValueError):
            return quick(text)
    return standard(text)
