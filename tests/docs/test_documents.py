"""Every code block of the README and of `docs` is run, by a test or by `nox -s readme`."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import ROOT, blocks, documents

if TYPE_CHECKING:
    from pathlib import Path

NOT_CODE = "diagram"
"""The language of a block that nothing can run."""
RUN_BY_NOX = "sh"
"""The language of blocks that `nox -s readme` runs in a fresh copy of the repository."""
LANGUAGES = {"python", "console", "text", "powershell", "toml", "ini", "yaml", "json", "sql", NOT_CODE, RUN_BY_NOX}


@cache
def claimed() -> set[str]:
    """Return the names in all calls `block("name")` in the tests."""
    calls = [
        call
        for path in (ROOT / "tests").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "block"
    ]
    return {str(name.value) for call in calls for name in call.args if isinstance(name, ast.Constant)}


def test_every_block_is_run() -> None:
    to_claim = [block for block in blocks() if block.language not in {NOT_CODE, RUN_BY_NOX}]
    assert [str(block) for block in to_claim if block.name not in claimed()] == []


def test_every_name_belongs_to_one_block() -> None:
    names = Counter(block.name for block in blocks() if block.name)
    assert [name for name, count in names.items() if count > 1] == []
    assert claimed() - names.keys() == set()


def test_every_block_has_a_known_language() -> None:
    assert [str(block) for block in blocks() if block.language not in LANGUAGES] == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_fence_is_read(path: Path) -> None:
    fences = re.findall(r"^ *```", path.read_text(encoding="utf-8"), re.MULTILINE)
    read = [block for block in blocks() if ROOT / block.file == path]
    assert len(fences) == 2 * len(read)


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
