"""Output on terminals and in pipes, and output that can't be written."""

from __future__ import annotations

import io
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from smspva_async.cli._event_lines import EventLines
from smspva_async.cli._output import Output
from tests.support.command_processes import CLOSED_PIPE, Piped, Result, needs_full_disk
from tests.support.commands import minimal_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Commands


@pytest.mark.parametrize(("no_color", "has_color"), [(None, True), ("", True), ("1", False)])
def test_a_terminal_gets_color_unless_no_color_is_set(
    no_color: str | None, *, has_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    EventLines(Output()).print_text("well", "bold green")
    assert ("\x1b" in terminal.getvalue()) is has_color


def test_a_pipe_gets_whole_lines_without_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", pipe := io.StringIO())
    EventLines(Output()).print_text("word " * 99, "bold green")
    assert pipe.getvalue() == " ".join(["word"] * 99) + "\n"


READING = [
    ["orders"],
    ["orders", "--json"],
    ["orders", "--help"],
    ["services"],
    ["countries"],
    ["countries", "--for", "opt16"],
    ["stock", "PL", "opt16", "opt29"],
    ["balance"],
    ["sms", "40300"],
    ["history"],
    ["unsettled"],
    ["watch"],
    ["watch", "--json"],
    ["demo"],
    ["demo", "--json"],
    ["simulate", "--port", "0"],
]


@needs_full_disk
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_full_disk_is_reported_in_one_line(commands: Commands, arguments: list[str]) -> None:
    with commands.start(*arguments, stdout="/dev/full") as reading:
        assert reading.result() == Result(1, "", "smspva: No space left on device\n")


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_closed_pipe_is_not_an_error(commands: Commands, arguments: list[str]) -> None:
    commands.simulator.faults.next("orders", "latency", seconds=0.3)
    with commands.start(*arguments, stdout=CLOSED_PIPE) as reading:
        assert reading.result() == Result(0, "", "")


@needs_full_disk
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_full_disk_is_reported_without_a_command(arguments: list[str], tmp_path: Path) -> None:
    with Piped(arguments, minimal_environment(tmp_path), stdout="/dev/full") as helping:
        assert helping.result() == Result(1, "", "smspva: No space left on device\n")


@needs_full_disk
def test_a_full_standard_error_changes_no_exit_code(commands: Commands) -> None:
    with commands.start("orders", "--nonsense", stderr="/dev/full") as wrong:
        assert wrong.result() == Result(2, "", "")
    commands.on_server(commands.simulator.add_order)
    commands.simulator.faults.next("orders", "nameless_row")
    with commands.start("orders", stderr="/dev/full") as listing:
        assert listing.result().code == 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with commands.start("watch", stderr="/dev/full") as watching:
            assert "listed" in [watching.line(), watching.line()][1]
            watching.send_signal(number)
            assert watching.result().code == 128 + number
