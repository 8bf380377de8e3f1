"""The README: its programs and commands run as they are, and it stays short."""

from __future__ import annotations

import asyncio
import re
import shlex
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import MockClock

from smspva_async import SmspvaClient
from smspva_async.simulator import Simulator
from tests.support.commands import serving
from tests.support.documents import ROOT, block, blocks
from tests.support.programs import run_program

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [block.code for block in blocks() if block.file == "README.md" and block.language == "sh"]
CODE = "Code Instagram: 671 094."


def test_the_readme_has_at_most_1200_words() -> None:
    assert len(README.split()) <= 1200


def test_the_first_program_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(block("first program"))
    assert capsys.readouterr().out == block("first program, printed").code


async def send_code_when_active(simulator: Simulator) -> None:
    while not simulator.orders or simulator.orders[0].state != 1:  # noqa: ASYNC110 - nothing to await
        await asyncio.sleep(60)
    simulator.deliver(simulator.orders[0].id, CODE)
    await asyncio.sleep(60)


def test_one_changed_line_runs_the_first_program_live(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    program = block("first program")
    *lines, last = program.code.splitlines()
    live = block("live line").code
    assert last.endswith(f"  # live: {live.strip()}")
    run_program(replace(program, code="\n".join([*lines, live])), send_code_when_active(simulator))
    assert capsys.readouterr().out == f"ready: {simulator.orders[0].phone}\ncode: 671094\n"
    assert simulator.violations == []


def test_the_first_program_runs_under_trio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    simulator = Simulator(activation=(2, 4))

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program["main"], SmspvaClient("any key", transport=simulator.transport()))
            while not simulator.orders or simulator.orders[0].state != 1:  # noqa: ASYNC110 - nothing to await
                await trio.sleep(1)
            simulator.deliver(simulator.orders[0].id, CODE)

    monkeypatch.setattr(asyncio, "run", lambda main: main.close())
    program: dict[str, Any] = {}
    exec(block("first program").compiled(), program)  # noqa: S102 - the program is from this repository
    trio.run(both, clock=MockClock(autojump_threshold=0))
    assert capsys.readouterr().out == f"ready: {simulator.orders[0].phone}\ncode: 671094\n"


def test_the_event_stream_is_printed(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    order = simulator.add_order(country="RU", service="opt16")

    async def meanwhile() -> None:
        await asyncio.sleep(60)
        simulator.deliver(order.id, CODE, sender="FB")
        simulator.faults.next("orders", "html", count=8)
        await asyncio.sleep(60)
        simulator.set_state(order.id, 1)
        await asyncio.sleep(60)

    run_program(block("event stream"), meanwhile())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{order.phone} Instagram INACTIVE"
    assert f"{order.phone} FB {CODE}" in printed
    assert f"{order.phone} INACTIVE -> ACTIVE" in printed
    assert any(line.startswith("polling fails for now: orders: ") for line in printed)


def test_the_windows_commands_are_those_for_unix() -> None:
    def for_unix(code: str) -> str:
        lines = code.replace(".venv\\Scripts\\", ".venv/bin/").replace("py -3 ", "python3 ").splitlines()
        return " && ".join(line for line in lines if line)

    assert for_unix(block("windows").code) == " && ".join(code.strip() for code in SHELL[:2])
    assert for_unix(block("windows install").code) == " && ".join(code.strip() for code in SHELL[2:])


def test_the_commands_of_the_readme_work(tmp_path: Path) -> None:
    simulator = Simulator(activation=(0.1, 0.1))
    lines = [shlex.split(line, comments=True)[2:] for line in block("commands").code.splitlines()]
    with serving(simulator, tmp_path) as commands:
        for line in lines:
            with commands.terminal(*line) as terminal:
                if line[0] == "rent":
                    terminal.wait_for_question()
                    terminal.type("y\n")
                elif line[0] == "watch":
                    terminal.wait_for(lambda screen: any("Instagram" in row for row in screen))
                    terminal.type("\x03")
                assert terminal.exit_code() == (130 if line[0] == "watch" else 0), line
    assert [request.method for request in simulator.requests].count("create") == 1
    assert simulator.violations == []


def test_the_readme_names_every_extra() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = re.findall(r"^- ((?:`\w+`(?:, )?)+): ", README.partition("The extras are:\n")[2], re.MULTILINE)
    assert {*re.findall(r"\w+", " ".join(named))} == pyproject["project"]["optional-dependencies"].keys()
