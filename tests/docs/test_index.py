"""The documentation's start page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.documents import block
from tests.support.programs import run_program

if TYPE_CHECKING:
    import pytest


def test_the_program_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(block("a number's events"))
    assert capsys.readouterr().out == block("a number's events, printed").code
