"""Errors and questions break between words on terminals, and not at all elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.commands import Commands

WIDTHS = [60, 80, 120, 200]
LONG = "ledger-" + "x" * 70


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["prolong", "77", "--yes"],
        ["rent", "PL", "telegrm", "--yes"],
        ["rent", "PL", "opt29", "--ledger", "/no-such-folder/of-a-long-name/ledger.sqlite"],
        ["sms", "77"],
        ["stock", "PL", "--weeks", "13"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_error_never_breaks_inside_a_word(commands: Commands, arguments: list[str], width: int) -> None:
    piped = commands.run(*arguments)
    assert piped.err.count("\n") == 1
    with commands.terminal(*arguments, width=width) as terminal:
        assert terminal.exit_code() == piped.code
    shown = " ".join(terminal.screen)
    assert shown.partition(" [after")[0] == piped.err.strip().partition(" [after")[0]
    assert len(terminal.screen) == 1 or width < len(piped.err)


def test_a_path_wider_than_the_terminal_is_not_broken_by_the_command(commands: Commands) -> None:
    with commands.terminal("rent", "PL", "opt29", "--ledger", f"no/{LONG}", width=60) as terminal:
        assert terminal.exit_code() == 2
    assert f"no/{LONG};" in terminal.raw


@pytest.mark.parametrize("width", WIDTHS)
def test_a_question_never_breaks_inside_a_word(commands: Commands, width: int) -> None:
    arguments = ["add-service", "40300", "paypal and ebay", "--days", "30"]
    *asked, _ = commands.run(*arguments).err.splitlines()
    with commands.terminal(*arguments, width=width) as terminal:
        terminal.wait_for_question()
        *shown, question = terminal.screen
    assert question == "Continue? [y/N]:"
    assert " ".join(" ".join(shown).split()) == " ".join(" ".join(asked).split())
