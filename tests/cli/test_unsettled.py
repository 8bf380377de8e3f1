"""`smspva unsettled`: nothing is settled that nobody was shown, and what can't be compared can be settled by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smspva_async.cli import _unsettled
from smspva_async.simulator import Simulator
from tests.support.command_processes import CLOSED_PIPE, Result
from tests.support.commands import KEY, Commands, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account that has rented a number and deleted another, and whose program has seen no answer to either."""
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_what_cannot_be_printed_stays_unsettled(commands: Commands) -> None:
    with commands.start("unsettled", stdout="/dev/full") as looking:
        lost = looking.result()
    assert lost.code == 3
    told = "what was found can't be written to standard output (No space left on device): it stays unsettled"
    assert lost.err == f"smspva: {told}\n"
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3  # it was rented already
    assert [row["verdict"] for row in commands.run("unsettled", "--json").rows] == ["done", "done"]


def test_what_a_closed_pipe_does_not_take_stays_unsettled(commands: Commands) -> None:
    with commands.start("unsettled", stdout=CLOSED_PIPE) as looking:
        assert looking.result() == Result(3, "", "")
    found = commands.run("unsettled")
    assert (found.code, len(found.lines)) == (0, 2)
    assert commands.run("unsettled").out == "Nothing is unsettled.\n"


@pytest.mark.parametrize("reason", ["no answer", "refused key"])
def test_what_cannot_be_compared_is_listed_and_can_be_settled(commands: Commands, reason: str) -> None:
    sim = commands.simulator
    if reason == "no answer":
        sim.faults.always("orders", "http_500")
    else:
        sim.api_key = "another"
    asked = len(sim.requests)
    found = commands.run("unsettled")
    assert (found.code, found.err) == (3, "")
    assert len(sim.requests) - asked == (4 if reason == "no answer" else 1)  # not for each call
    assert [line.split()[3] for line in found.lines] == ["rent", "delete"]
    assert all(": can't be compared now: orders: " in line for line in found.lines)
    rows = commands.run("unsettled", "--json").rows
    assert [(row["verdict"], row["settled"], row["candidates"]) for row in rows] == [(None, False, [])] * 2
    assert all(row["reason"].startswith("orders: ") for row in rows)
    names = [row["call"][:8] for row in rows]
    settled = commands.run("unsettled", "--settle", names[0], "--settle", names[1], "--settle", names[0][:7], "--yes")
    assert (settled.code, [line.split()[1] for line in settled.lines]) == (0, names)
    assert commands.run("unsettled").out == "Nothing is unsettled.\n"


def test_what_only_one_call_is_refused_keeps_no_other_from_being_compared(commands: Commands) -> None:
    commands.simulator.faults.always("sms", "refusal", msg="TRY LATER")  # asked for the deleted order
    found = commands.run("unsettled", "--json")
    assert (found.code, [row["verdict"] for row in found.rows]) == (3, ["done", None])
    assert "TRY LATER" in found.rows[1]["reason"]
    assert [row["method"] for row in commands.run("unsettled", "--json").rows] == ["delete"]


def test_what_is_settled_and_cannot_be_printed_is_told_all_the_same(commands: Commands) -> None:
    names = [row["call"] for row in commands.run("unsettled", "--json", "--ledger", copied(commands)).rows]
    with commands.start("unsettled", *(f"--settle={name}" for name in names), "--yes", stdout=CLOSED_PIPE) as settling:
        done = settling.result()
    assert (done.code, done.err.count("Settled: ")) == (0, 2)
    assert commands.run("unsettled").out == "Nothing is unsettled.\n"


def test_what_the_ledger_does_not_take_stays_open_and_says_so(commands: Commands) -> None:
    first, *_ = commands.run("unsettled", "--json", "--ledger", copied(commands)).rows
    ledger = commands.ledger
    with commands.terminal("unsettled", "--settle", first["call"]) as settling:
        settling.wait_for_question()
        ledger.rename(ledger.with_suffix(".kept"))
        ledger.mkdir()
        settling.type("y\n")
        assert settling.exit_code() == 3
        told = " ".join(settling.screen)
    assert f"Settled: {first['call'][:8]}" in told
    assert "smspva: what was printed isn't in the ledger: the ledger " in told
    ledger.rmdir()
    ledger.with_suffix(".kept").rename(ledger)
    assert commands.run("unsettled").lines[0].startswith(first["call"][:8])


def test_after_an_hour_an_open_purchase_is_left_to_a_person(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.simulator.faults.next("prolong", "lost", done=False)
    assert commands.run("prolong", "40301", "--yes").code == 3
    commands.run("unsettled")  # settles the other two
    lost = commands.simulator.order(40301)
    for hour, advice in (
        (timedelta(hours=1), "look again later, or --settle it"),
        (timedelta(0), "decide by what you know of it, and --settle it"),
    ):
        monkeypatch.setattr(_unsettled, "LONG_LAG", hour)
        looking = commands.run("unsettled")
        (line,) = looking.lines
        assert (looking.code, line.partition("--weeks 1: ")[2]) == (
            3,
            f"may have been done (candidates: #40301 {lost.phone}): {advice}",
        )


def test_a_row_that_cannot_be_read_is_told_of(commands: Commands) -> None:
    commands.on_server(commands.simulator.add_order)
    commands.simulator.faults.always("orders", "nameless_row")  # it may be what was bought
    found = commands.run("unsettled")
    assert "smspva: a row of the answer can't be read and is left out: " in found.err


def copied(commands: Commands) -> str:
    """Return a copy of the ledger, which may be settled without the ledger being so."""
    (copy := commands.folder / "copy").write_bytes(commands.ledger.read_bytes())
    return str(copy)
