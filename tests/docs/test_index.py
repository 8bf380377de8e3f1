"""The documentation's start page."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from tests.support.documents import ROOT, block, blocks
from tests.support.programs import run_program

if TYPE_CHECKING:
    import pytest


def test_the_program_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(block("a number's events"))
    assert capsys.readouterr().out == block("a number's events, printed").code


def test_it_is_installed_as_the_readme_says() -> None:
    command = block("install").code.removeprefix("$ python -m ").strip()
    shown = [it.code for it in blocks() if it.file == "README.md" and it.language == "sh"]
    assert any(code.strip().endswith(f" && .venv/bin/python -m {command}") for code in shown)


def test_the_extra_for_the_reference_has_mkdocs() -> None:
    install, serve = block("read the reference").code.removeprefix("$ ").strip().split(" && ")
    assert install == ".venv/bin/python -m pip install -e '.[docs]'"
    assert serve == ".venv/bin/mkdocs serve"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert any(requirement.startswith("mkdocs>") for requirement in extras["docs"])
