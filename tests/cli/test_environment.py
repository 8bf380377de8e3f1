"""The environment of a command: missing packages, signals, locale and home folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from smspva_async import __version__, cli
from tests.support import PATIENCE
from tests.support.command_processes import Result, needs_full_disk
from tests.support.commands import run

if TYPE_CHECKING:
    from tests.support.commands import Commands


def run_python(*arguments: str) -> Result:
    """Run a new interpreter."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("missing", ["click", "platformdirs", "rich"])
def test_a_missing_package_is_named_with_the_extra_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cli.__name__)
    for name in [name for name in sys.modules if name.startswith(cli.__name__)]:
        monkeypatch.delitem(sys.modules, name)
    for name in [missing, *(name for name in sys.modules if name.startswith(f"{missing}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    assert run("orders") == Result(1, "", f"smspva: {missing} is not installed; run: pip install 'smspva-async[cli]'\n")


def test_a_missing_uvicorn_is_named_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = run("simulate", "--port", "0")
    assert done == Result(2, "", "smspva: uvicorn is not installed; run: pip install 'smspva-async[sim]'\n")


@needs_full_disk
def test_a_missing_package_exits_with_1_if_standard_error_is_full() -> None:
    code = "import runpy, sys; sys.modules['click'] = None; runpy.run_module('smspva_async', run_name='__main__')"
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = subprocess.run([sys.executable, "-c", code], check=False, stderr=full, timeout=PATIENCE)  # noqa: S603
    assert done.returncode == 1  # not Python's 120


CTRL_C_DURING_IMPORT = """
import runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "rich.console":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["smspva", "orders"]
runpy.run_module("smspva_async", run_name="__main__")
"""


def test_ctrl_c_during_the_import_exits_with_130() -> None:
    assert run_python("-c", CTRL_C_DURING_IMPORT) == Result(130, "", "\n")


SIGNALS = """
import signal
from smspva_async.cli._ledger_client import _only_first_ctrl_c
from smspva_async.cli._main import _sigterm_as_ctrl_c

with _sigterm_as_ctrl_c(), _only_first_ctrl_c():
    for number in map(int, {numbers}):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            print("cleaning up")
    print("clean")
"""


@pytest.mark.parametrize(
    ("signals", "printed", "code"),
    [
        ([signal.SIGINT, signal.SIGINT], "cleaning up\nclean\n", 0),
        ([signal.SIGINT, signal.SIGTERM], "cleaning up\n", -signal.SIGTERM),
        ([signal.SIGTERM, signal.SIGTERM], "cleaning up\nclean\n", 0),  # as `timeout` sends it
    ],
)
def test_only_sigterm_after_ctrl_c_interrupts_the_cleanup(signals: list[int], printed: str, code: int) -> None:
    program = SIGNALS.format(numbers=[*map(int, signals)])
    assert run_python("-u", "-c", program) == Result(code, printed, "")


@pytest.mark.parametrize(
    "variables",
    [
        "LC_ALL=POSIX PYTHONCOERCECLOCALE=0 PYTHONUTF8=0",
        *(pytest.param(slow, marks=pytest.mark.slow) for slow in ("LANG=C", "LC_ALL=C", "LANG=")),
    ],
)
def test_foreign_names_are_printed_in_every_locale(commands: Commands, variables: str) -> None:
    for form in ("", "--json"):
        done = commands.run_in_shell(f"countries {form}", setup=f"export {variables}")
        assert (done.code, done.err) == (0, "")
        assert len(done.lines) > 3
    assert "Казахстан" in [json.loads(line)["name"] for line in done.lines]


def test_a_width_of_0_is_ignored(commands: Commands) -> None:
    with commands.terminal("orders", variables={"COLUMNS": "0"}) as terminal:
        assert terminal.exit_code() == 0
    assert [line.split()[0] for line in terminal.screen] == ["id", "40300", "Next:"]


def test_without_a_home_folder_the_ledger_option_is_required(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_user(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", no_user)
    done = commands.run("rent", "PL", "opt16", "--yes", HOME=None, XDG_STATE_HOME=None)
    message = "smspva: there is no home folder for the ledger; nothing was sent; use --ledger\n"
    assert done == Result(2, "", message)


def test_the_default_ledger_is_in_the_home_folder(commands: Commands) -> None:
    assert commands.run("rent", "PL", "opt16", "--yes", XDG_STATE_HOME=None).code == 0
    assert len([*commands.folder.rglob("smspva/ledger-*.sqlite")]) == 1


def test_the_version_is_printed() -> None:
    assert run("--version") == Result(0, f"smspva {__version__}\n", "")
