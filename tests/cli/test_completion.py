"""`smspva completion` and the words that a shell completes."""

from __future__ import annotations

import json
import os
import re
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
    for page, numbers in (("1", 1), ("2", 2)):
        assert commands.run("history", "--take", "1", "--page", page).code == 0
        assert len(complete(commands, "restore", "")) == numbers
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


SCRIPTS = {
    "bash": r"""
eval "$(smspva completion bash)"
COMP_WORDS=(smspva rent PL opt2) COMP_CWORD=3
_smspva_completion smspva
printf "%s\n" "${COMPREPLY[@]}"
""",
    "zsh": r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -U compinit; compinit -D -u; eval "$(smspva completion zsh)"; print READ""Y'
zpty -r shell shown '*READY*'
zpty -w -n shell $'smspva rent PL opt2\t\t'
zpty -r shell shown '*opt2 *--*'
print -r -- $shown
""",
    "fish": 'smspva completion fish | source; complete -C "smspva rent PL opt2"',
}
"""Print the words that complete ``opt2``, with descriptions in zsh and fish; zsh completes only on a terminal."""
HOSTILE = "$(touch bad) `touch bad` ' \" ; : , \\ % * \n touch bad"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes_codes_and_runs_no_text_of_others(commands: Commands, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    assert commands.run("services").code == 0
    (known,) = commands.folder.rglob("known-*.json")
    hostile = {
        f"opt2{end}": "" for end in (HOSTILE, "$(touch bad)", "`touch bad`", "\ntouch bad", ";touch bad", ":", "*")
    }
    known.write_text(json.dumps({"services": {"--yes": "opt2", **hostile, "opt29": f"A {HOSTILE}", "opt2": HOSTILE}}))
    (command := commands.folder / "smspva").write_text(f'#!/bin/sh\nexec {sys.executable} -m smspva_async "$@"\n')
    command.chmod(0o700)
    variables = {
        "HOME": str(commands.folder),
        "SMSPVA_BASE_URL": commands.url,
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
    }
    done = subprocess.run(  # noqa: S603
        [program, "-c", SCRIPTS[shell]],
        capture_output=True,
        check=True,
        cwd=commands.folder,
        env={**variables, "PATH": f"{commands.folder}:{Path(sys.executable).parent}:{os.defpath}", "TERM": "xterm"},
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr == ""
    found = re.findall(r"(opt[^\s]*)\s+--" if shell == "zsh" else r"^([^\t\n]+)", done.stdout, re.MULTILINE)
    assert sorted(found) == ["opt2", "opt29"]
    assert not (commands.folder / "bad").exists()
