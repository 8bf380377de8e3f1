"""Help texts, wrong usage, and the messages and exit codes of errors."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
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
    SmspvaClient,
    SmspvaError,
    UnexpectedResponse,
    WaitTimeout,
)
from tests.support import PATIENCE
from tests.support.command_processes import Result
from tests.support.commands import KEY, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    "forward",
    "prolong",
    "renew",
    "add-service",
    "delete",
    "history",
    "restore",
    "purchases",
    "unsettled",
    "fleet",
    "doctor",
    "simulate",
    "completion",
]
WITH_KEY = ["--api-key-file", "good"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["watch"], "there is no API key in the environment variable SMSPVA_API_KEY; set it or use --api-key-file"),
        (["watch", "--api-key-file", "nowhere"], "can't read the API key from nowhere: No such file or directory"),
        (["watch", "--api-key-file", "empty"], "there is no API key in empty"),
        (["watch", "--api-key-file", "binary"], "can't read the API key from binary: it isn't a text file"),
        (["watch", "--api-key-file", "two-lines"], "two-lines: the API key contains a line break or control character"),
        (["watch", *WITH_KEY, "--base-url", "http://example.com"], "the base URL must use https"),
        *(
            (["orders", *WITH_KEY, "--base-url", address], "such as https://smspva.com/api/rent.php")
            for address in ("", "nonsense", "https://", "https://[::1", "https://smspva.com:port/", "https://a b/")
        ),
        (["rent", "PL", "opt1", "OPT1", *WITH_KEY], "the services contain a duplicate (opt1, OPT1)"),
        (
            ["rent", "PL", "opt1", *WITH_KEY, "--ledger", "no-folder/ledger"],
            "can't read and write a ledger at no-folder/ledger; nothing was sent; use another --ledger",
        ),
        (["watch", *WITH_KEY, "--interval", "0"], "expected a number of seconds above 0, got '0'"),
        (["watch", *WITH_KEY, "--interval", "nan"], "expected a number of seconds above 0, got 'nan'"),
        (["watch", *WITH_KEY, "--interval", "soon"], "expected a number of seconds above 0, got 'soon'"),
        (["watch", "--api-key", KEY], "No such option"),
        (["wach"], "No such command 'wach'"),
        (["completion"], "Choose from: bash, zsh, fish; see smspva completion --help"),
        (["orders", *WITH_KEY, "--gap", "fast"], "expected a number of seconds above 0, got 'fast'"),
        (["offers"], "Missing argument 'COUNTRY'; see smspva offers --help"),
        (["offers", " "], "Invalid value for 'COUNTRY': expected a country, such as PL or Poland, got ' '"),
        (["rent", "PL", "opt\n1"], "Invalid value for 'SERVICES...': "),
        (
            ["rent", "PL", "opt1", *WITH_KEY, "--weeks", "1", "--months", "1"],
            "use either --weeks or --months, not both",
        ),
        (["rent", "PL", "opt1", "--months", "4"], "4 is not in the range 1<=x<=3"),
        (["rent", "PL", "opt1", "--provider", ""], "Invalid value for '--provider': "),
        (
            ["rent", "PL", "opt1", "opt2", *WITH_KEY, "--max-price", "5"],
            "--max-price works with one service only; nothing was sent",
        ),
        *(
            (["rent", "PL", "opt1", "--max-price", amount], f"such as 7.50, got '{amount}'")
            for amount in ("0", "0.00", "-1", "5,50", "nan", "1e3", "")
        ),
        (["countries", *WITH_KEY, "--weeks", "1"], "--weeks and --months need --for SERVICE"),
        (["countries", "--for", "opt\n1"], "Invalid value for '--for': "),
        (["stock"], "Missing argument 'COUNTRY'"),
        (["stock", "PL", ""], "Invalid value for '[SERVICES]...': "),
        (["prolong", "1", "--days", "7"], "7 is not in the range 1<=x<=6"),
        *(
            (
                ["renew", "--max-total", "9", "--within", time],
                f"'--within': expected days or hours up to 7d, such as 2d or 36h, got '{time}'",
            )
            for time in ("", "2", "0d", "8d", "169h", "-1d", "2w", "2 d")
        ),
        (["renew", "--within", "2d"], "Missing option '--max-total'"),
        *(
            (
                ["prolong", "1", *WITH_KEY, "--days", "2", unit, "1"],
                "use only one of --days, --weeks and --months",
            )
            for unit in ("--weeks", "--months")
        ),
        (["prolong", "forty"], "Invalid value for 'ORDER_ID': expected an order id such as 40300, got 'forty'"),
        (["sms", "0"], "expected an order id such as 40300, got '0'"),
        (["sms", "1", "--wait", "--timeout", "nan"], "expected a number of seconds above 0, got 'nan'"),
        (["sms", "1", "--since", "soon"], "expected a time such as 90s, 2m or 1h, got 'soon'"),
        (["sms", "1", *WITH_KEY, "--code", "--json"], "use either --code or --json, not both"),
        (["watch", *WITH_KEY, "--state", "asleep"], "'asleep' is not one of 'inactive', 'queued', 'active', 'absent'"),
        (["add-service", "1", "opt1", "--days", "91"], "91 is not in the range 1<=x<=90"),
        (["history", "--page", "0"], "0 is not in the range x>=1"),
        (["simulate", "--port", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_usage_is_reported_in_one_line_and_exits_with_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"empty": b"\n", "binary": b"\xff\xfe", "two-lines": b"a\nb\n", "good": b"key\n"}.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(SmspvaClient, "__aenter__", None)  # no client is opened
    done = run(*arguments, HOME=str(tmp_path))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("smspva: ")
    assert message in done.err
    assert KEY not in done.err


@pytest.mark.parametrize("arguments", [[], ["--help"], *([command, "--help"] for command in COMMANDS)])
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_each_help_text_has_examples_and_fits_the_terminal(arguments: list[str], width: int) -> None:
    done = run(*arguments, COLUMNS=str(width))
    assert done.code == 0
    assert ("--json" in done.out) is (arguments[:-1] not in ([], ["completion"]))
    shown = re.findall(r"^    (.*\S)", done.out.partition("\n  Examples:\n")[2].partition("\n\n")[0], re.MULTILINE)
    assert shown
    assert all(f"smspva {' '.join(arguments[:-1])}" in example for example in shown)
    assert shown[0].startswith("smspva ") or arguments[:-1] == ["completion"]
    assert max(map(len, done.lines)) <= min(width, 80)
    assert not any(line.endswith("-") for line in done.lines)  # no option is broken
    wide = run(*arguments, COLUMNS="80").out
    assert done.out.split() == wide.split()  # nothing is cut off


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_text_has_each_default_and_range_once(command: str) -> None:
    _, _, options = run(command, "--help").out.partition("\nOptions:\n")
    for option in re.split(r"\n  (?=-)", options.partition("\n\n")[0]):
        assert len(re.findall("default", option)) <= 1
        assert len(re.findall(r"x[<>]=|\bfrom \d|\d to \d", option)) <= 1


def test_the_help_lists_every_command_with_its_whole_summary() -> None:
    for width in ("60", "80"):
        _, _, listed = run(COLUMNS=width).out.partition("\nCommands:\n")
        section = re.sub(r"\n {4,}", " ", listed.partition("\n\n")[0])
        summaries = dict(line.split(maxsplit=1) for line in section.splitlines())
        assert [*summaries] == COMMANDS
        for command, summary in summaries.items():
            _, _, described = run(command, "--help", COLUMNS="200").out.partition("\n\n  ")
            assert " ".join(described.partition("\n\n")[0].split()) == summary


def test_a_help_text_imports_only_what_it_prints() -> None:
    code = "import sys; sys.argv = ['smspva', '--help']; from smspva_async.__main__ import main; main()"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert (
        imported & {"anyio", "attr", "attrs", "cattrs", "coredis", "httpx", "rich", "platformdirs", "sqlite3"} == set()
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiError("refused: no", method="orders"), 1),
        (JournalError("the journal is full"), 2),
        (OutcomeUnknown("no answer", method="create", params={}, started_at=datetime.now(UTC)), 3),
        (ConnectionFailed("no connection", sent=False, method="orders"), 4),
        (RequestTimeout("no answer", method="orders"), 4),
        (UnexpectedResponse("no JSON", status=200, method="orders"), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SmspvaError) else "",
)
def test_an_error_is_reported_in_one_line_and_an_exit_code(
    error: SmspvaError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_failing(error, monkeypatch)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    command = "rent" if error.method == "create" else error.method
    assert done.err.startswith(f"smspva: {command or 'the journal'}")
    assert "await" not in done.err  # it names commands, not Python


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("error", "message", "code"),
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
                "order 5 didn't become active within 9 s; it is queued; last answer: 2026-01-01 09:00:00;"
                " last failure: no; you can wait again"
            ),
            1,
        ),
        (
            OrderGone("order 5 (+1, until 2026-01-01 00:00 UTC) is gone", order_id=5),
            "order 5 is no longer listed: it expired or was deleted; smspva history lists past orders",
            1,
        ),
        (ValueError("expected a page"), "expected a page", 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.usefixtures("in_tokyo")
def test_an_error_names_commands_and_local_times(
    error: Exception, message: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_failing(error, monkeypatch) == Result(code, "", f"smspva: {message}\n")


def run_failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run a command that raises an error."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(anyio, "run", fail)
    return run("orders", SMSPVA_API_KEY=KEY)
