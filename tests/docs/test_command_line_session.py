"""The session of the command line guide prints what the guide shows."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from smspva_async.simulator import Simulator
from tests.support.commands import serving
from tests.support.documents import block

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Commands

CHANGING = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"
    r"|(?<!\d)\d{3} ?\d{3}(?=$|  | new)|:\d+/|(?<= )\d\d:\d\d:\d\d$|^\d\d:\d\d:\d\d(?=  )"
)
"""Times, codes and ports, which differ between runs."""


def without_times_and_codes(text: str) -> list[str]:
    return [CHANGING.sub("…", line) for line in text.splitlines()]


def test_the_session_prints_what_the_guide_shows(tmp_path: Path) -> None:
    session = re.findall(r"^\$ (.+)\n((?:[^$].*\n)*)", block("command line session").code, re.MULTILINE)
    (simulate, address), (export, _), *shown = session
    assert export.startswith("export ")
    assert len(shown) >= 7
    with serving(Simulator(), tmp_path) as commands:
        arguments = [*shlex.split(simulate.removesuffix("&"))[1:], "--port", "0"]
        with commands.start(*arguments) as simulating:
            printed = simulating.line()
            assert without_times_and_codes(printed) == without_times_and_codes(address)
            commands.url = printed.split()[5].rstrip(",")
            for command, output in shown:
                assert without_times_and_codes(screen(commands, command)) == without_times_and_codes(output), command
            messages, table, note = block("watch table").code.split("\n\n")
            watched = watch(commands, "--interval", "2").split("\n\n")
            assert {*without_times_and_codes(watched[0])} <= {*without_times_and_codes(messages)}
            assert without_times_and_codes(watched[1]) == without_times_and_codes(table)
            assert without_times_and_codes(watched[2].replace("\n", " ")) == without_times_and_codes(note)


def screen(commands: Commands, command: str) -> str:
    with commands.terminal(*shlex.split(command)[1:], width=100) as terminal:
        if command.startswith("smspva rent"):
            terminal.wait_for_question()
            terminal.type("y\n")
        assert terminal.exit_code() == 0
        return "\n".join(terminal.screen)


def watch(commands: Commands, *arguments: str) -> str:
    """Return the last screen of a watch that is ended after its first message."""
    with commands.terminal("watch", *arguments, width=100) as terminal:
        terminal.wait_for(lambda screen: any(" new  " in line for line in screen))
        terminal.type("\x03")
        terminal.exit_code()
        return "\n".join(terminal.screen).strip()
