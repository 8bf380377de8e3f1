"""The README's session on the command line, run as it stands there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from smspva_async.simulator import Simulator
from tests.support.commands import serving

if TYPE_CHECKING:
    from tests.support.commands import Commands

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SESSION = re.findall(
    r"^\$ (.+)\n((?:[^$`].*\n)*)", README.partition("```console\n")[2].partition("```")[0], re.MULTILINE
)
WATCH = README.partition("```text\nWatching ")[2].partition("```")[0]
CHANGING = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?|(?<!\d)\d{3} ?\d{3}(?=$|  )|:\d+/|(?<= )\d\d:\d\d:\d\d$|^\d\d:\d\d:\d\d(?=  )"
)


def without_times_and_codes(text: str) -> list[str]:
    return [CHANGING.sub("…", line) for line in text.splitlines()]


def test_the_session_prints_what_the_readme_shows(tmp_path: Path) -> None:
    assert len(SESSION) == 9
    with serving(Simulator(), tmp_path) as commands:
        simulate = [*shlex.split(SESSION[0][0].removesuffix("&"))[1:], "--port", "0"]
        with commands.start(*simulate) as simulating:
            told = simulating.line()
            assert without_times_and_codes(told) == without_times_and_codes(SESSION[0][1])
            commands.url = told.split()[5].rstrip(",")
            for command, printed in SESSION[2:]:
                assert without_times_and_codes(shown(commands, command)) == without_times_and_codes(printed), command
            table, _, messages = f"Watching {WATCH}".partition("\n\n")
            printed = watched(commands, "--interval", "2")
            assert without_times_and_codes(printed[0]) == without_times_and_codes(table)
            assert {*without_times_and_codes(printed[1])} <= {*without_times_and_codes(messages)}


def shown(commands: Commands, command: str) -> str:
    with commands.terminal(*shlex.split(command)[1:], width=100) as terminal:
        if command.startswith("smspva rent"):
            terminal.wait_for_question()
            terminal.type("y\n")
        assert terminal.exit_code() == 0
        return "\n".join(terminal.screen)


def watched(commands: Commands, *arguments: str) -> tuple[str, str]:
    """Return the table of a watch, and what it tells of the first messages."""
    with commands.terminal("watch", *arguments, width=100) as terminal:
        terminal.wait_for(lambda screen: any("  message  " in line for line in screen))
        terminal.type("\x03")
        terminal.exit_code()
        table, _, messages = "\n".join(terminal.screen).partition("\n\n")
        return table, messages.removesuffix("^C").rstrip()


def test_the_extras_that_are_named_are_those_for_users() -> None:
    named = re.findall(r"`(\w+)`\s(?:is|reads|puts)\s", README.partition("with extras: ")[2].partition("\n\n")[0])
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert {*named, "lint"} == pyproject["project"]["optional-dependencies"].keys()
