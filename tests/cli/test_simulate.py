"""`smspva simulate`: the simulator on a port, with other commands against it."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from smspva_async.simulator import Simulator
from tests.support.command_processes import Result
from tests.support.commands import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_processes import Piped
    from tests.support.commands import Commands


def use(commands: Commands, simulating: Piped) -> str:
    """Let commands use the simulator of a running `smspva simulate`, and return the line that it printed."""
    line = simulating.line()
    address = re.search(r"http://\S+", line)
    assert address is not None
    commands.url = address[0]
    return line


def test_every_command_works_against_the_simulator_on_its_port(tmp_path: Path) -> None:
    with serving(Simulator(), tmp_path) as commands:
        with commands.start("simulate", "--port", "0", "--json") as simulating:
            assert json.loads(simulating.line())["url"].startswith("http://127.0.0.1:")
        arguments = ("--port", "0", "--orders", "2", "--queue", "0.05", "--messages", "0.05")
        with commands.start("simulate", *arguments) as simulating:
            line = use(commands, simulating)
            expected = f"The simulated provider runs at {commands.url} and accepts any API key. Press Ctrl-C to stop."
            assert line == expected
            first, second = commands.run("orders", "--json").rows
            assert [first["country"], second["country"]] == ["RU", "LT"]
            with commands.terminal("activate", f"{first['id']}", "--wait") as terminal:
                assert terminal.exit_code() == 0
            received = commands.run("sms", f"{first['id']}", "--wait", "--json")
            assert received.rows[0]["code"]
            port = commands.url.split(":")[2].partition("/")[0]
            taken = commands.run("simulate", "--port", port)
            assert (taken.code, taken.out) == (2, "")
            assert re.fullmatch(rf"smspva: can't listen on port {port} \(.*\); --port 0 picks a free one\n", taken.err)
            simulating.send_signal(signal.SIGTERM)
            assert simulating.result() == Result(143, "", "\n")


def test_the_simulator_refuses_any_key_but_its_own(tmp_path: Path) -> None:
    arguments = ("simulate", "--port", "0", "--api-key", "mine")
    with serving(Simulator(), tmp_path) as commands, commands.start(*arguments) as simulating:
        assert " and accepts only the key of --api-key. " in use(commands, simulating)
        assert commands.run("orders", SMSPVA_API_KEY="mine") == Result(0, "No rented numbers.\n", "")
        refused = commands.run("orders", SMSPVA_API_KEY="yours")
        assert (refused.code, refused.out) == (1, "")
        assert re.fullmatch(r"smspva: orders: [^\n]*key[^\n]*\n", refused.err)
        assert "yours" not in refused.err


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
def test_each_dialect_of_the_simulator_can_be_served(dialect: str, tmp_path: Path) -> None:
    arguments = ("simulate", "--port", "0", "--dialect", dialect)
    with serving(Simulator(), tmp_path) as commands, commands.start(*arguments) as simulating:
        use(commands, simulating)
        assert len(commands.run("countries").lines) > 3
        assert commands.run("services").code == (1 if dialect == "page" else 0)
