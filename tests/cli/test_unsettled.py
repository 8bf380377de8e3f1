"""`smspva unsettled`: nothing is settled that nobody was shown, and what can't be compared can be settled by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smspva_async.simulator import Simulator
from tests.support.commands import CLOSED_PIPE, KEY, Commands, Done, serving

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
        lost = looking.ended()
    assert lost.code == 3
    told = "what was found can't be written to standard output (No space left on device): it stays unsettled"
    assert lost.err == f"smspva: {told}\n"
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3  # it was rented already
    assert [row["verdict"] for row in commands.run("unsettled", "--json").rows] == ["done", "done"]


def test_what_a_closed_pipe_does_not_take_stays_unsettled(commands: Commands) -> None:
    with commands.start("unsettled", stdout=CLOSED_PIPE) as looking:
        assert looking.ended() == Done(3, "", "")
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


def test_a_ledger_with_an_order_that_cannot_be_is_no_traceback(commands: Commands) -> None:
    (ledger,) = (commands.folder / "state" / "smspva").iterdir()
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    for line in lines:
        if "id" in line.get("params", {}):
            line["params"]["id"] = "0"
    ledger.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = commands.run("unsettled")
    assert (found.code, found.err) == (3, "")
    assert found.lines[1].endswith(": can't be compared now: an order's id is a whole number, 1 or more: 0")


def test_what_is_settled_and_cannot_be_printed_is_told_all_the_same(commands: Commands) -> None:
    names = [row["call"] for row in commands.run("unsettled", "--json", "--ledger", copied(commands)).rows]
    with commands.start("unsettled", *(f"--settle={name}" for name in names), "--yes", stdout=CLOSED_PIPE) as settling:
        done = settling.ended()
    assert (done.code, done.err.count("Settled: ")) == (0, 2)
    assert commands.run("unsettled").out == "Nothing is unsettled.\n"


def test_what_the_ledger_does_not_take_stays_open_and_says_so(commands: Commands) -> None:
    (ledger,) = (commands.folder / "state" / "smspva").iterdir()
    first, *_ = commands.run("unsettled", "--json", "--ledger", copied(commands)).rows
    # A disk that is full once the ledger has been read: the file may not grow.
    found = commands.shell("unsettled", before=f"ulimit -f {ledger.stat().st_size // 512}; trap '' XFSZ")
    assert found.code == 3
    assert found.lines[0].startswith(first["call"][:8])
    assert f"smspva: {first['call'][:8]} isn't settled, and stays open: the ledger " in found.err
    assert commands.run("unsettled").code == 0


def test_a_row_that_cannot_be_read_is_told_of(commands: Commands) -> None:
    commands.on_server(commands.simulator.add_order)
    commands.simulator.faults.always("orders", "nameless_row")  # it may be what was bought
    found = commands.run("unsettled")
    assert "smspva: a row of the answer can't be read and is left out: " in found.err


def copied(commands: Commands) -> str:
    """Return a copy of the ledger, which may be settled without the ledger being so."""
    (ledger,) = (commands.folder / "state" / "smspva").iterdir()
    (copy := commands.folder / "copy").write_bytes(ledger.read_bytes())
    return str(copy)
