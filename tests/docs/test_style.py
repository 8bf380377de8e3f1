"""Docstrings, comments and documents are in plain English."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from typing import TYPE_CHECKING

from tests.support.documents import ROOT, documents

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ["smspva_async", "benchmarks", "examples", "tests"]
INDIRECT = re.compile(r"(What|Whether|Who|How|Those|Where)\b")
"""A summary that begins with one of these doesn't say directly what the thing is or does."""
ARCHAIC = re.compile(r"\b(told|whoever|lest|stands in|none is)\b", re.IGNORECASE)


def comments() -> Iterator[tuple[str, str]]:
    """Yield each comment with its place."""
    for path in (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type == tokenize.COMMENT:
                yield f"{path.relative_to(ROOT)}:{token.start[0]}", token.string


@cache
def docstrings() -> dict[str, str]:
    """Return every docstring, including those of attributes, by its place."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {
        f"{path.relative_to(ROOT)}:{statement.lineno}": str(statement.value.value)
        for path in files
        for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }


def lines() -> Iterator[tuple[str, str]]:
    """Yield each line of the documents with its place."""
    for path in [*documents(), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_a_summary_is_direct() -> None:
    assert {place: text for place, text in docstrings().items() if INDIRECT.match(text)} == {}


def test_docstrings_use_modern_words() -> None:
    assert {place: found[0] for place, text in docstrings().items() if (found := ARCHAIC.search(text))} == {}


def test_comments_use_modern_words() -> None:
    assert {place: found[0] for place, text in comments() if (found := ARCHAIC.search(text))} == {}


def test_documents_use_modern_words() -> None:
    assert {place: found[0] for place, text in lines() if (found := ARCHAIC.search(text))} == {}
