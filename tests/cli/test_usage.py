"""The commands' usage, and how they end."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from smspva_async import (
    ApiError,
    ConnectionFailed,
    JournalError,
    OrderGone,
    OrderState,
    OutcomeUnknown,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
    WaitTimeout,
    __version__,
    cli,
)
from smspva_async.cli._lines import Lines
from smspva_async.cli._output import Output
from smspva_async.simulator import Simulator
from tests.support import PATIENCE
from tests.support.commands import (
    CLOSED_PIPE,
    KEY,
    Commands,
    Done,
    Piped,
    minimal_environment,
    run as run_here,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = [
    "demo",
    "services",
    "countries",
    "offers",
    "stock",
    "balance",
    "rent",
    "orders",
    "sms",
    "activate",
    "watch",
    "prolong",
    "add-service",
    "delete",
    "history",
    "restore",
    "purchases",
    "unsettled",
    "simulate",
]


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the command line here and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["smspva", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return exited.value.code


def interpret(*arguments: str) -> Done:
    """Run an interpreter of its own."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["watch"],
            "there is no API key in the environment variable SMSPVA_API_KEY; --api-key-file names a file with one",
        ),
        (["watch", "--api-key-file", "nowhere"], "the API key can't be read from nowhere: No such file or directory"),
        (["watch", "--api-key-file", "empty"], "there is no API key in empty"),
        (["watch", "--api-key-file", "binary"], "the API key can't be read from binary: it is no text"),
        (["watch", "--api-key-file", "two-lines"], "two-lines: the API key contains a line break or control character"),
        (["watch", "--api-key-file", "good", "--base-url", "http://example.com"], "must use https"),
        *(
            (["orders", "--api-key-file", "good", "--base-url", address], "such as https://smspva.com/api/rent.php")
            for address in ("", "nonsense", "https://", "https://[::1", "https://smspva.com:port/", "https://a b/")
        ),
        (["orders", "--api-key-file", "good", "--base-url", "nonsense"], "Invalid value for '--base-url'"),
        (["rent", "PL", "opt1", "OPT1", "--api-key-file", "good"], "a service is given twice (opt1, OPT1)"),
        (
            ["rent", "PL", "opt1", "--api-key-file", "good", "--ledger", "no-folder/ledger"],
            "no ledger can be kept at no-folder/ledger: nothing was sent, give another path with --ledger",
        ),
        (["watch", "--api-key-file", "good", "--interval", "0"], "'0' is no number of seconds above 0"),
        (["watch", "--api-key-file", "good", "--interval", "nan"], "'nan' is no number of seconds above 0"),
        (["watch", "--api-key-file", "good", "--interval", "soon"], "'soon' is no number of seconds above 0"),
        (["watch", "--api-key", KEY], "No such option"),
        (["wach"], "No such command 'wach'"),
        (["orders", "--api-key-file", "good", "--gap", "fast"], "'fast' is no number of seconds above 0"),
        (["offers"], "Missing argument 'COUNTRY'"),
        (["offers", "Poland"], "expected a two-letter country code"),
        (["rent", "PL", "opt 1"], "expected a service code"),
        (
            ["rent", "PL", "opt1", "--api-key-file", "good", "--weeks", "1", "--months", "1"],
            "in --weeks or in --months, not in both",
        ),
        (["rent", "PL", "opt1", "--months", "4"], "4 is not in the range 1<=x<=3"),
        (["rent", "PL", "opt1", "--provider", ""], "expected a provider's name"),
        (
            ["rent", "PL", "opt1", "opt2", "--api-key-file", "good", "--max-price", "5"],
            "--max-price is for one service: nothing was sent",
        ),
        *(
            (["rent", "PL", "opt1", "--max-price", amount], f"'{amount}' is no amount of US dollars above 0")
            for amount in ("0", "0.00", "-1", "5,50", "nan", "1e3", "")
        ),
        (["countries", "--api-key-file", "good", "--weeks", "1"], "--weeks and --months go with --for SERVICE"),
        (["countries", "--for", "opt 1"], "expected a service code"),
        (["stock"], "Missing argument 'COUNTRY'"),
        (["stock", "PL", "opt 1"], "expected a service code"),
        (["prolong", "1", "--days", "7"], "7 is not in the range 1<=x<=6"),
        *(
            (
                ["prolong", "1", "--api-key-file", "good", "--days", "2", unit, "1"],
                "it is prolonged by --days, by --weeks or by --months, not by two of them",
            )
            for unit in ("--weeks", "--months")
        ),
        (["prolong", "forty"], "'forty' is not a valid integer"),
        (["sms", "0"], "0 is not in the range x>=1"),
        (["sms", "1", "--wait", "--timeout", "nan"], "'nan' is no number of seconds above 0"),
        (["add-service", "1", "opt1", "--days", "91"], "91 is not in the range 1<=x<=90"),
        (["history", "--page", "0"], "0 is not in the range x>=1"),
        (["simulate", "--port", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SMSPVA_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, content in {"empty": b"\n", "binary": b"\xff\xfe", "two-lines": b"a\nb\n", "good": b"key\n"}.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(anyio, "run", None)  # nothing is begun
    assert run(*arguments, monkeypatch=monkeypatch) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("smspva: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert KEY not in captured.err


@pytest.mark.parametrize("arguments", [[], ["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_has_an_example(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    assert ("--json" in captured.out) is (arguments[:-1] != [])
    assert f"\n  Example:\n    smspva {' '.join(arguments[:-1]) or 'demo'}" in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80


def test_the_help_lists_every_command_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch=monkeypatch) == 0
    _, _, listed = capsys.readouterr().out.partition("\nCommands:\n")
    lines = listed.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS
    assert not any(line.endswith("...") for line in lines)


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("", True), ("1", False)])
def test_colour_is_for_a_terminal_that_wants_it(
    no_color: str | None, *, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    Lines(Output()).say("well", "bold green")
    assert ("\x1b" in terminal.getvalue()) is coloured


def test_what_is_no_terminal_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", pipe := io.StringIO())
    Lines(Output()).say("word " * 99, "bold green")
    assert pipe.getvalue() == " ".join(["word"] * 99) + "\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiError("refused: no", method="orders"), 1),
        (JournalError("the journal is full"), 2),
        (
            OutcomeUnknown("who knows", method="create", params={}, started_at=datetime.now(UTC)),
            3,
        ),
        (ConnectionFailed("no connection", sent=False, method="orders"), 4),
        (RequestTimeout("no answer", method="orders"), 4),
        (UnexpectedResponse("no JSON", status=200, method="orders"), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SmspvaError) else "",
)
def test_failures_are_one_line_and_an_exit_code(
    error: SmspvaError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setenv("SMSPVA_API_KEY", KEY)
    monkeypatch.setattr(anyio, "run", fail)
    assert run("orders", monkeypatch=monkeypatch) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    called = "rent" if error.method == "create" else error.method  # as it is typed
    assert captured.err.startswith(f"smspva: {called or 'the journal'}")
    assert captured.err.count("\n") == 1
    assert "await" not in captured.err  # it speaks of commands, not of Python


@pytest.mark.parametrize("missing", ["click", "platformdirs", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_module('smspva_async', run_name='__main__')"
    done = interpret("-c", code)
    assert done.code == 1
    assert done.err == f"smspva: {missing} is missing; pip install 'smspva-async[cli]' brings it\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_without_the_extra_and_with_a_full_disk_it_exits_with_1() -> None:
    code = "import runpy, sys; sys.modules['click'] = None; runpy.run_module('smspva_async', run_name='__main__')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], check=False, stderr=full, timeout=PATIENCE)  # noqa: S603
    assert done.returncode == 1  # not Python's 120


SIGNALLED = """
import runpy, signal, sys

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "rich.console":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Impatient())
runpy.run_module("smspva_async", run_name="__main__")
"""


def test_ctrl_c_ends_it_also_while_it_is_loaded() -> None:
    done = interpret("-c", SIGNALLED)
    assert done == Done(130, "", "\n")


TERMINATED = """
import signal
from smspva_async.cli._ledgers import _ctrl_c_once
from smspva_async.cli._main import _sigterm_as_ctrl_c

with _sigterm_as_ctrl_c(), _ctrl_c_once():
    for number in map(int, {numbers}):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            print("cleaning up")
    print("clean")
"""


@pytest.mark.parametrize(
    ("signals", "told", "code"),
    [
        ([signal.SIGINT, signal.SIGINT], "cleaning up\nclean\n", 0),
        ([signal.SIGINT, signal.SIGTERM], "cleaning up\n", -signal.SIGTERM),
        ([signal.SIGTERM, signal.SIGTERM], "cleaning up\nclean\n", 0),  # as `timeout` sends it
    ],
)
def test_sigterm_ends_what_ctrl_c_has_clean_up(signals: list[int], told: str, code: int) -> None:
    program = TERMINATED.format(numbers=[*map(int, signals)])
    done = interpret("-u", "-c", program)
    assert done == Done(code, told, "")


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (
            WaitTimeout(
                "order 5 didn't become active within 9 s; last seen ACTIVATING; last good poll: 2026-01-01 00:00 UTC",
                order_id=5,
                state=OrderState.ACTIVATING,
                last_success=datetime(2026, 1, 1, tzinfo=UTC),
                last_failure="no",
                elapsed=9,
            ),
            (
                "order 5 didn't become active within 9 s; it is queued; last answer 2026-01-01 09:00:00;"
                " last failure: no; it can be waited for again"
            ),
            1,
        ),
        (
            OrderGone("order 5 (+1, until 2026-01-01 00:00 UTC) is gone", order_id=5),
            "order 5 is gone: it expired or was deleted; smspva history lists past orders",
            1,
        ),
        (ValueError("the page is a whole number"), "the page is a whole number", 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.usefixtures("in_tokyo")
def test_failures_are_told_in_the_words_of_commands(
    error: Exception, told: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setenv("SMSPVA_API_KEY", KEY)
    monkeypatch.setattr(anyio, "run", fail)
    assert run("orders", monkeypatch=monkeypatch) == code
    assert capsys.readouterr().err == f"smspva: {told}\n"


# -- output that can't be written --------------------------------------------------------------------------------------

needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with a number."""
    simulator = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract")
    simulator.add_order()
    with serving(simulator, tmp_path) as commands:
        yield commands


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
def test_a_full_disk_is_one_line(commands: Commands, arguments: list[str]) -> None:
    with commands.start(*arguments, stdout="/dev/full") as reading:
        assert reading.ended() == Done(1, "", "smspva: No space left on device\n")


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_closed_pipe_is_no_error(commands: Commands, arguments: list[str]) -> None:
    commands.simulator.faults.next("orders", "latency", seconds=0.3)
    with commands.start(*arguments, stdout=CLOSED_PIPE) as reading:
        assert reading.ended() == Done(0, "", "")


@needs_full_disk
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_full_disk_is_one_line_also_without_a_command(arguments: list[str], tmp_path: Path) -> None:
    with Piped(arguments, minimal_environment(tmp_path), stdout="/dev/full") as helping:
        assert helping.ended() == Done(1, "", "smspva: No space left on device\n")


@needs_full_disk
def test_a_full_disk_behind_standard_error_changes_no_exit_code(commands: Commands) -> None:
    with commands.start("orders", "--nonsense", stderr="/dev/full") as wrong:
        assert wrong.ended() == Done(2, "", "")
    for number in (signal.SIGINT, signal.SIGTERM):
        with commands.start("watch", stderr="/dev/full") as watching:
            assert "listed" in [watching.line(), watching.line()][1]
            watching.send_signal(number)
            assert watching.ended().code == 128 + number


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        "LC_ALL=POSIX PYTHONCOERCECLOCALE=0 PYTHONUTF8=0",
        *(pytest.param(slow, marks=pytest.mark.slow) for slow in ("LANG=C", "LC_ALL=C", "LANG=")),
    ],
)
def test_no_locale_keeps_it_from_printing(commands: Commands, variables: str) -> None:
    for form in ("", "--json"):
        done = commands.shell(f"countries {form}", before=f"export {variables}")
        assert (done.code, done.err) == (0, "")
        assert len(done.lines) > 3
    assert "Казахстан" in [json.loads(line)["name"] for line in done.lines]


def test_a_width_of_0_is_ignored(commands: Commands) -> None:
    with commands.terminal("orders", variables={"COLUMNS": "0"}) as terminal:
        assert terminal.exit_code() == 0
    assert [line.split()[0] for line in terminal.screen] == ["id", "40300"]


def test_without_a_home_folder_the_ledger_must_be_named(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_user(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", no_user)
    done = commands.run("rent", "PL", "opt16", "--yes", HOME=None, XDG_STATE_HOME=None)
    told = "smspva: there is no home folder for the ledger; nothing was sent, give --ledger\n"
    assert done == Done(2, "", told)


def test_the_ledger_is_in_the_home_folder(commands: Commands) -> None:
    assert commands.run("rent", "PL", "opt16", "--yes", XDG_STATE_HOME=None).code == 0
    assert len([*commands.folder.rglob("smspva/ledger-*.sqlite")]) == 1


def test_the_version_is_printed() -> None:
    assert run_here("--version") == Done(0, f"smspva {__version__}\n", "")


# -- the simulator on a socket -----------------------------------------------------------------------------------------


def test_every_command_works_against_the_simulator_on_its_port(tmp_path: Path) -> None:
    with serving(Simulator(), tmp_path) as commands:
        with commands.start("simulate", "--port", "0", "--json") as programs:
            assert json.loads(programs.line())["url"].startswith("http://127.0.0.1:")
        arguments = ("--port", "0", "--orders", "2", "--queue", "0.05", "--messages", "0.05")
        with commands.start("simulate", *arguments) as simulating:
            told = simulating.line()
            commands.url = told.split()[5].rstrip(",")
            assert told == f"The simulated provider answers at {commands.url}, to any key. Ctrl-C ends it."
            first, second = commands.run("orders", "--json").rows
            assert [first["country"], second["country"]] == ["RU", "LT"]
            with commands.terminal("activate", f"{first['id']}", "--wait") as terminal:
                assert terminal.exit_code() == 0
            received = commands.run("sms", f"{first['id']}", "--wait", "--json")
            assert received.rows[0]["code"]
            assert commands.run("simulate", "--port", commands.url.split(":")[2].partition("/")[0]).code == 2
            simulating.send_signal(signal.SIGTERM)
            assert simulating.ended() == Done(143, "", "\n")


def test_the_simulator_refuses_any_key_but_its_own(tmp_path: Path) -> None:
    arguments = ("simulate", "--port", "0", "--api-key", "mine")
    with serving(Simulator(), tmp_path) as commands, commands.start(*arguments) as simulating:
        told = simulating.line()
        commands.url = told.split()[5].rstrip(",")
        assert (
            told == f"The simulated provider answers at {commands.url}, to the key of --api-key only. Ctrl-C ends it."
        )
        assert commands.run("orders", SMSPVA_API_KEY="mine") == Done(0, "No number is rented.\n", "")
        refused = commands.run("orders", SMSPVA_API_KEY="yours")
        assert (refused.code, refused.out) == (1, "")
        assert re.fullmatch(r"smspva: orders: [^\n]*key[^\n]*\n", refused.err)
        assert "yours" not in refused.err


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
def test_each_dialect_of_the_simulator_can_be_served(dialect: str, tmp_path: Path) -> None:
    arguments = ("simulate", "--port", "0", "--dialect", dialect)
    with serving(Simulator(), tmp_path) as commands, commands.start(*arguments) as simulating:
        commands.url = simulating.line().split()[5].rstrip(",")
        assert len(commands.run("countries").lines) > 3
        assert commands.run("services").code == (1 if dialect == "page" else 0)


def test_without_its_extra_simulate_says_what_to_install() -> None:
    code = "import runpy, sys; sys.modules['uvicorn'] = None; sys.argv = ['smspva', 'simulate', '--port', '0'];"
    code += "runpy.run_module('smspva_async', run_name='__main__')"
    done = interpret("-c", code)
    assert (done.code, done.out) == (2, "")
    assert done.err == "smspva: uvicorn is missing; pip install 'smspva-async[sim]' brings it\n"
