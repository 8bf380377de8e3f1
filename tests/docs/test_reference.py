"""The pages of the documentation are complete."""

from __future__ import annotations

import re

import smspva_async
import smspva_async.fleet
from smspva_async import otel, pytest_plugin, simulator
from tests.support.documents import ROOT

REFERENCE = ROOT / "docs" / "reference"


def test_the_reference_has_every_public_name_once() -> None:
    pages = [page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")]
    described = [name for page in pages for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    public = [
        f"{module.__name__}.{name}"
        for module in (smspva_async, smspva_async.fleet, otel, simulator, pytest_plugin)
        for name in module.__all__
    ]
    assert sorted(described) == sorted(public)


def test_the_navigation_has_every_page_once() -> None:
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\nplugins:")[0]
    assert sorted(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == sorted(pages)
