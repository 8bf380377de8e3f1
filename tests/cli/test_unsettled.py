"""`smspva unsettled`: a call is settled only after its verdict is printed, or by hand."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from smspva_async.cli import _purchases
from smspva_async.simulator import Simulator
from tests.support.command_processes import CLOSED_PIPE, Result, needs_full_disk
from tests.support.commands import KEY, Commands, retry_at_once, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account after a rental and a deletion whose answers were lost."""
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, balance=100)
    sim.add_order("PL", "opt16", order_id=40300, until=datetime.now(UTC) + timedelta(days=5))
    with serving(sim, tmp_path) as commands:
        for method, arguments in {"create": ["rent", "PL", "opt29"], "delete": ["delete", "40300"]}.items():
            sim.faults.next(method, "lost")  # type: ignore[arg-type]
            assert commands.run(*arguments, "--yes").code == 3
        yield commands
    assert [request.method for request in sim.requests if request.method in ("create", "delete")] == [
        "create",
        "delete",
    ]


@needs_full_disk
def test_a_call_whose_verdict_cannot_be_printed_stays_unsettled(commands: Commands) -> None:
    with commands.start("unsettled", stdout="/dev/full") as checking:
        failed = checking.result()
    message = "can't write the verdict to standard output (No space left on device); the call stays unsettled"
    assert (failed.code, failed.err) == (3, f"smspva: {message}\n")
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3  # it may already be rented
    assert [row["verdict"] for row in commands.run("unsettled", "--json").rows] == ["done", "done"]


def test_after_a_closed_pipe_calls_stay_unsettled(commands: Commands) -> None:
    with commands.start("unsettled", stdout=CLOSED_PIPE) as checking:
        assert checking.result() == Result(3, "", "")
    found = commands.run("unsettled")
    assert (found.code, len(found.lines)) == (0, 2)
    assert commands.run("unsettled").out == "No unsettled purchases.\n"


@pytest.mark.parametrize("reason", ["no answer", "refused key"])
def test_calls_that_cannot_be_checked_are_listed_and_can_be_settled(
    commands: Commands, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch)
    sim = commands.simulator
    if reason == "no answer":
        sim.faults.always("orders", "http_500")
    else:
        sim.api_key = "another"
    requests = len(sim.requests)
    found = commands.run("unsettled")
    assert (found.code, found.err) == (3, "")
    assert len(sim.requests) - requests == (4 if reason == "no answer" else 1)  # once, not for each call
    assert [line.split()[3] for line in found.lines] == ["rent", "delete"]
    assert all(": can't be checked now: orders: " in line for line in found.lines)
    rows = commands.run("unsettled", "--json").rows
    assert [(row["verdict"], row["settled"], row["candidates"]) for row in rows] == [(None, False, [])] * 2
    assert all(row["reason"].startswith("orders: ") for row in rows)
    names = [row["call"][:8] for row in rows]
    settled = commands.run("unsettled", "--settle", names[0], "--settle", names[1], "--settle", names[0][:7], "--yes")
    assert (settled.code, [line.split()[1] for line in settled.lines]) == (0, names)
    assert commands.run("unsettled").out == "No unsettled purchases.\n"


def test_a_refused_check_of_one_call_does_not_stop_the_others(commands: Commands) -> None:
    commands.simulator.faults.always("sms", "refusal", msg="TRY LATER")  # `sms` is called for the deleted order
    found = commands.run("unsettled", "--json")
    assert (found.code, [row["verdict"] for row in found.rows]) == (3, ["done", None])
    assert "TRY LATER" in found.rows[1]["reason"]
    assert [row["method"] for row in commands.run("unsettled", "--json").rows] == ["delete"]


def test_settled_calls_are_printed_on_standard_error_after_a_closed_pipe(commands: Commands) -> None:
    names = [row["call"] for row in commands.run("unsettled", "--json", "--ledger", copy_ledger(commands)).rows]
    with commands.start("unsettled", *(f"--settle={name}" for name in names), "--yes", stdout=CLOSED_PIPE) as settling:
        done = settling.result()
    assert (done.code, done.err.count("Settled: ")) == (0, 2)
    assert commands.run("unsettled").out == "No unsettled purchases.\n"


def test_ctrl_c_says_that_calls_stay_unsettled(commands: Commands) -> None:
    sim = commands.simulator
    requests = len(sim.requests)
    sim.faults.always("sms", "hang")  # `sms` is called for the deleted order
    with commands.start("unsettled") as checking:
        checking.wait_until(lambda: "sms" in [request.method for request in sim.requests[requests:]])
        checking.send_signal(signal.SIGINT)
        done = checking.result()
    assert (done.code, done.err) == (130, "Calls that aren't shown as settled stay unsettled.\n")
    assert (len(done.out.splitlines()), done.out.count("settled")) == (1, 1)
    sim.faults.clear()
    assert [row["method"] for row in commands.run("unsettled", "--json").rows] == ["delete"]


def test_a_call_that_the_ledger_cannot_settle_stays_open(commands: Commands) -> None:
    first, *_ = commands.run("unsettled", "--json", "--ledger", copy_ledger(commands)).rows
    ledger = commands.ledger
    with commands.terminal("unsettled", "--settle", first["call"]) as settling:
        settling.wait_for_question()
        ledger.rename(ledger.with_suffix(".kept"))
        ledger.mkdir()
        settling.type("y\n")
        assert settling.exit_code() == 3
        screen = " ".join(settling.screen)
    assert f"Settled: {first['call'][:8]}" in screen
    assert "smspva: the printed result isn't in the ledger: the ledger " in screen
    ledger.rmdir()
    ledger.with_suffix(".kept").rename(ledger)
    assert commands.run("unsettled").lines[0].startswith(first["call"][:8])


def test_after_an_hour_the_user_is_asked_to_decide_about_an_open_call(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.simulator.faults.next("prolong", "lost", done=False)
    assert commands.run("prolong", "40301", "--yes").code == 3
    commands.run("unsettled")  # settles the other two
    lost = commands.simulator.order(40301)
    for hour, advice in (
        (timedelta(hours=1), "check again later, or --settle it"),
        (timedelta(0), "decide yourself and --settle it"),
    ):
        monkeypatch.setattr(_purchases, "LONG_LAG", hour)
        checked = commands.run("unsettled")
        (line,) = checked.lines
        assert (checked.code, line.partition("--weeks 1: ")[2]) == (
            3,
            f"may have been done (candidates: #40301 {lost.phone}); {advice}",
        )


def test_a_row_that_cannot_be_read_is_reported(commands: Commands) -> None:
    commands.on_server(commands.simulator.add_order)
    commands.simulator.faults.always("orders", "nameless_row")  # it may be the rented number
    found = commands.run("unsettled")
    assert "smspva: skipped a row of the answer that can't be read: " in found.err


def copy_ledger(commands: Commands) -> str:
    """Copy the ledger, so that calls can be settled in the copy, and return the path."""
    (copy := commands.folder / "copy").write_bytes(commands.ledger.read_bytes())
    return str(copy)
