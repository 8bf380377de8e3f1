"""The two parsers, orjson and the standard one, give equal results."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, strategies as st

from smspva_async._api import decoding

TEXTS = [
    *(b"", b" ", b"{", b"[1,]", b"01", b"1.", b"+1", b"[1] 2", b"nul", b'"\x1f"', b"\x0b1", b"\xa01"),
    *(b"NaN", b"[Infinity, -Infinity]", b"1e400", b"-0", b"-0.0", b"1E5", b"5e-324", b"0.1", b"1.0"),
    *(b"9" * 18, b"9" * 19, b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"9" * 400),
    *(b"9" * 5000, b'"' + b"9" * 30 + b'"', b"0." + b"1" * 30),
    *(b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc3"', "\ufeff1".encode()),
    *(b"{'a': 1}", b'{"a": 1, "b": 2, "a": 3}', b'{"\\u0061": 1, "a": 2}', b'{"": {"": []}}', b"\xfe\xff"),
    *(b"[" * depth + b"]" * depth for depth in (50, 99, 100, 101, 102, 400, 1023, 1024, 1025, 100_000)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (99, 101, 1024, 1025, 100_000)),
    *(b"[" + b",".join([b'{"a": [1]}'] * count) + b"]" for count in (10, 200)),
]


def parsed(read: Any, text: bytes) -> str:
    try:
        return repr(read(text))
    except (ValueError, RecursionError) as error:
        return "ValueError" if isinstance(error, ValueError) else "RecursionError"


@pytest.fixture(params=["orjson", "json"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = pytest.importorskip("orjson").loads if request.param == "orjson" else None
    monkeypatch.setattr(decoding, "_orjson", quick)


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:20]) + str(len(text)))
def test_both_parsers_give_the_same_result(text: bytes) -> None:
    assert parsed(decoding.parse, text) == parsed(json.loads, text)


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@pytest.mark.skipif(find_spec("orjson") is None, reason="needs the extra `fast`")
@given(_json_values, st.booleans(), st.binary(max_size=2), st.integers(0, 40))
def test_orjson_parses_any_text_like_json(value: Any, ascii_only: bool, slip: bytes, place: int) -> None:  # noqa: FBT001
    quick, before = importlib.import_module("orjson").loads, decoding._orjson
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    decoding._orjson = quick
    try:
        for whole in (text, text[:place] + slip + text[place:], text[:place]):
            assert parsed(decoding.parse, whole) == parsed(json.loads, whole)
    finally:
        decoding._orjson = before


@pytest.mark.parametrize("blocked", [True, False])
def test_without_orjson_the_standard_parser_is_used(blocked: bool) -> None:  # noqa: FBT001
    if not blocked:
        pytest.importorskip("orjson")
    block = "import sys; sys.modules['orjson'] = None; " if blocked else ""
    code = f"{block}from smspva_async._api import decoding; print(decoding._orjson is None, decoding.parse(b'[1]'))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)  # noqa: S603
    assert done.stdout.split() == [str(blocked), "[1]"]
