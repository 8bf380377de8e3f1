"""`smspva purchases`: the calls in the ledger, without a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from smspva_async.simulator import Simulator
from tests.support.command_processes import Result
from tests.support.commands import KEY, Commands, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, balance=100)
    sim.add_order("PL", "opt16", order_id=40300, until=datetime.now(UTC) + timedelta(days=5))
    with serving(sim, tmp_path) as commands:
        yield commands


def test_an_empty_ledger_is_reported(commands: Commands) -> None:
    assert commands.run("purchases") == Result(0, "The ledger has no purchases.\n", "")
    assert commands.run("purchases", "--json") == Result(0, "", "")
    assert [*commands.folder.glob("state/smspva/*")] == []
    assert commands.simulator.requests == []


def test_every_call_is_listed_with_its_outcome_and_order_ids(commands: Commands) -> None:
    sim = commands.simulator
    assert commands.run("rent", "PL", "opt29", "--weeks", "2", "--yes").code == 0
    sim.faults.next("prolong", "refusal", msg="Closed for lunch")
    assert commands.run("prolong", "40300", "--yes").code == 1
    sim.faults.next("create", "lost")
    assert commands.run("rent", "PL", "opt1", "--yes").code == 3
    requests = len(sim.requests)
    done = commands.run("purchases")
    assert (done.code, done.err, len(sim.requests)) == (0, "", requests)
    bought, _ = (order.id for order in sim.orders if order.id != 40300)
    assert [line.split()[2:] for line in done.lines[1:]] == [
        ["rent", "PL", "opt29", "--weeks", "2", "done", str(bought)],
        ["prolong", "40300", "--weeks", "1", "refused"],
        ["rent", "PL", "opt1", "--weeks", "1", "unknown"],
    ]
    assert done.lines[0].split() == ["began", "command", "outcome", "orders"]

    rows = commands.run("purchases", "--json").rows
    assert [(row["method"], row["outcome"], row["order_ids"]) for row in rows] == [
        ("create", "done", [bought]),
        ("prolong", "refused", []),
        ("create", "unknown", []),
    ]
    assert rows[0]["params"] == {"country": "PL", "service": "opt29", "dtype": "week", "dcount": "2"}
    assert [row["started_at"] for row in rows] == sorted(row["started_at"] for row in rows)

    assert commands.run("unsettled").code == 0
    assert [row["outcome"] for row in commands.run("purchases", "--json").rows][2] == "settled"


def test_on_a_terminal_unknown_outcomes_get_a_hint(commands: Commands) -> None:
    commands.simulator.faults.next("create", "lost")
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3
    with commands.terminal("purchases") as terminal:
        assert terminal.exit_code() == 0
        assert terminal.screen[-1] == "To check unknown outcomes: smspva unsettled"
    assert commands.run("unsettled").code == 0
    with commands.terminal("purchases") as terminal:
        assert terminal.exit_code() == 0
        assert terminal.screen[-1].split()[2:] == ["rent", "PL", "opt29", "--weeks", "1", "settled", "40301"]


def test_a_given_ledger_is_read_unless_it_belongs_to_another_account(commands: Commands) -> None:
    mine = str(commands.folder / "mine")
    assert commands.run("delete", "40300", "--yes", "--ledger", mine).code == 0
    assert [row["method"] for row in commands.run("purchases", "--json", "--ledger", mine).rows] == ["delete"]
    assert commands.run("purchases").out == "The ledger has no purchases.\n"
    done = commands.run("purchases", "--ledger", mine, SMSPVA_API_KEY="another")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "another account" in done.err
