"""`smspva completion` and the words that a shell completes."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import PATIENCE
from tests.support.commands import run
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from tests.support.commands import Commands


def complete(commands: Commands, *words: str, form: str = "fish") -> dict[str, str]:
    """Return the words that complete the last one, with their descriptions."""
    done = run(
        HOME=str(commands.folder),
        SMSPVA_BASE_URL=commands.url,
        _SMSPVA_COMPLETE=f"{form}_complete",
        COMP_WORDS=" ".join(["smspva", *words]),
        COMP_CWORD=words[-1] if form == "fish" else str(len(words)),
    )
    assert (done.code, done.err) == (0, "")
    lines = [line.partition(",")[2].partition("\t") for line in done.lines if line]
    return {value: text for value, _, text in lines}


def test_commands_are_completed_with_their_summaries(commands: Commands) -> None:
    assert complete(commands, "re") == {
        "rent": "Rent a number for one or more services.",
        "renew": "Prolong the rentals that end soon, within a budget.",
        "restore": "Restore an expired rental.",
    }
    assert "--months" in complete(commands, "rent", "PL", "--m")
    assert complete(commands, "simulate", "--dialect", "") == {"page": "", "live": "", "contract": ""}


def test_codes_and_ids_of_the_last_answers_are_completed(commands: Commands) -> None:
    assert complete(commands, "activate", "") == {}
    for command in (["orders"], ["offers", "PL"], ["countries"]):
        assert commands.run(*command).code == 0
    requests = len(commands.simulator.requests)
    (order,) = commands.simulator.orders
    assert complete(commands, "activate", "4") == {"40300": f"{order.service_name} {order.phone}"}
    assert complete(commands, "rent", "P") == {"PL": "Poland"}
    assert complete(commands, "rent", "PL", "opt2") == {"opt2": "Facebook", "opt20": "WhatsApp", "opt29": "Telegram"}
    assert complete(commands, "rent", "PL", "tele") == {"opt29": "Telegram"}
    assert [*complete(commands, "rent", "PL", "opt15", form="bash")] == ["opt154"]
    assert len(commands.simulator.requests) == requests  # nothing is sent
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0
    assert [*complete(commands, "sms", "4")] == ["40300", "40301"]
    (known,) = commands.folder.rglob("known-*.json")
    assert stat.S_IMODE(known.stat().st_mode) == 0o600
    assert stat.S_IMODE(known.parent.stat().st_mode) == 0o700


def test_restorable_orders_are_completed_for_restore(commands: Commands) -> None:
    sim = commands.simulator
    for number in (500, 501):
        ended = sim.now - timedelta(days=2)
        commands.on_server(
            lambda number=number, ended=ended: sim.add_order("PL", "opt29", order_id=number, until=ended)
        )
    assert commands.run("orders").code == 0
    assert complete(commands, "restore", "") == {}
    assert commands.run("history").code == 0
    phones = {str(number): sim.order(number).phone for number in (500, 501)}
    assert complete(commands, "restore", "") == {number: f"Telegram {phone}" for number, phone in phones.items()}
    assert [*complete(commands, "activate", "")] == ["40300"]
    assert commands.run("restore", "500", "--yes").code == 0
    assert commands.run("history", "--json").code == 0
    assert [*complete(commands, "restore", "")] == ["501"]


def test_a_failed_write_leaves_no_file(commands: Commands) -> None:
    assert commands.run("orders").code == 0
    (known,) = commands.folder.rglob("known-*.json")
    known.unlink()
    known.mkdir()
    assert commands.run("orders").code == 0
    assert [*known.parent.iterdir()] == [known]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"orders": 7}', '{"orders": []}'])
def test_a_damaged_file_of_known_values_is_no_error(commands: Commands, content: str) -> None:
    assert commands.run("orders").code == 0
    (known,) = commands.folder.rglob("known-*.json")
    known.write_text(content)
    assert complete(commands, "activate", "") == {}
    assert commands.run("orders").code == 0
    assert [*complete(commands, "activate", "")] == ["40300"]


def test_text_from_others_is_completed_without_control_characters(commands: Commands) -> None:
    commands.simulator.orders[0].service_name = "\x1b[2J\x07"
    assert commands.run("orders").code == 0
    (description,) = complete(commands, "activate", "").values()
    assert description.isprintable()


def test_a_command_works_if_the_cache_folder_cannot_be_written(commands: Commands) -> None:
    (commands.folder / "file").write_text("")
    done = commands.run("orders", XDG_CACHE_HOME=str(commands.folder / "file"))
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_where_to_put_it(shell: str) -> None:
    done = run("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert "_smspva_completion" in done.out
    last = done.lines[-1]
    assert last.startswith("# For every new shell, ")
    assert f"smspva completion {shell}" in last


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_words_with_the_script(commands: Commands) -> None:
    assert commands.run("orders").code == 0
    program = commands.folder / "smspva"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m smspva_async "$@"\n')
    program.chmod(0o700)
    script = (
        'eval "$(smspva completion bash)"; COMP_WORDS=(smspva activate 4); COMP_CWORD=2;'
        ' _smspva_completion smspva; echo "${COMPREPLY[@]}"'
    )
    variables = {"HOME": str(commands.folder), "SMSPVA_BASE_URL": commands.url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603
        [str(shutil.which("bash")), "--norc", "-c", script],
        check=True,
        capture_output=True,
        env={**variables, "PATH": f"{commands.folder}:{Path(sys.executable).parent}:/usr/bin:/bin"},
        text=True,
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr) == ("40300\n", "")
