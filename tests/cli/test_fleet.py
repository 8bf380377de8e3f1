"""Commands that join a fleet: `--fleet`, `SMSPVA_FLEET` and `smspva fleet`."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from smspva_async.simulator import Simulator
from tests.support.commands import KEY, Commands, serving
from tests.support.redis_server import RedisServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    yield from running("--appendfsync", "always")


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, balance=100, activation=(0.1, 0.1))
    sim.add_order("PL", "opt16", order_id=40300)
    sim.add_order("PL", "opt20", order_id=40301, state=1)
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def test_purchases_of_a_fleet_are_in_its_ledger_and_in_no_file(commands: Commands, redis_server: RedisServer) -> None:
    fleet = {"SMSPVA_FLEET": redis_server.url}
    assert commands.run("rent", "PL", "opt29", "--yes", **fleet).code == 0
    commands.simulator.faults.next("create", "lost")
    assert commands.run("rent", "PL", "opt1", "--yes", **fleet).code == 3
    repeated = commands.run("rent", "PL", "opt1", "--yes", "--fleet", redis_server.url)
    assert (repeated.code, "this could repeat it" in repeated.err) == (3, True)
    listed = commands.run("purchases", "--json", **fleet).rows
    assert [(row["method"], row["outcome"]) for row in listed] == [("create", "done"), ("create", "unknown")]
    assert commands.run("unsettled", **fleet).code == 0
    assert commands.run("purchases").out == "The ledger has no purchases.\n"  # without the fleet


def test_waits_and_watches_join_the_fleet(commands: Commands, redis_server: RedisServer) -> None:
    fleet = {"SMSPVA_FLEET": redis_server.url}
    done = commands.run("activate", "40300", "--wait", "--json", **fleet)
    assert (done.code, done.err, done.rows[0]["state"]) == (0, "", 1)
    with commands.start("watch", "--json", "--interval", "0.1", variables=fleet) as watch:
        watch.wait_until(lambda: "leader" in commands.run("fleet", **fleet).out)
        shown = commands.run("fleet", **fleet)
        assert (shown.code, shown.err) == (0, "")
        member = shown.lines[1].split()
        assert member[1:] == ["leader", "0"]
        assert re.fullmatch(
            rf"Leader: {member[0]}, whose lease ends in \d+\.\d s\. Pace: one request per 0\.01 s\. "
            r"Newest event: \d+\.",
            shown.lines[2],
        )
        (fields,) = commands.run("fleet", "--json", **fleet).rows
        assert (fields["leader"], [row["leads"] for row in fields["members"]]) == (member[0], [True])
        commands.on_server(commands.simulator.deliver, 40301, "Your code is 1234")
        assert "1234" in watch.line()
        assert "1234" in commands.run("sms", "40301", **fleet).out


def test_a_fleet_without_processes_is_empty(commands: Commands, redis_server: RedisServer) -> None:
    shown = commands.run("fleet", "--fleet", redis_server.url)
    assert shown.out == (
        "No process is in the fleet now.\nLeader: none. Pace: no request in the last ten minutes. Newest event: 0.\n"
    )
    assert commands.simulator.requests == []


@pytest.mark.parametrize(
    ("command", "options", "reason"),
    [
        ("fleet", [], "there is no fleet to show"),
        ("watch", ["--fleet", "redis://localhost", "--journal", "j.db"], "either --journal or --fleet"),
        ("purchases", ["--fleet", "redis://localhost", "--ledger", "l.db"], "either --ledger or --fleet"),
        ("balance", ["--fleet", "http://user:secret@localhost"], "redis://"),
        ("balance", ["--fleet", "redis://user:secret@127.0.0.1:1"], "can't be used"),
    ],
)
def test_a_wrong_use_is_one_line_without_the_password(
    commands: Commands, command: str, options: list[str], reason: str
) -> None:
    done = commands.run(command, *options)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert reason in done.err
    assert "secret" not in done.err
    assert commands.simulator.requests == []


def test_a_missing_package_is_named(commands: Commands) -> None:
    hidden = {
        name: None for name in sys.modules if name.split(".")[0] == "coredis" or name.startswith("smspva_async.fleet")
    }
    with mock.patch.dict(sys.modules, {**hidden, "coredis": None}):
        for name in hidden:
            sys.modules.pop(name, None)
        sys.modules["coredis"] = None  # type: ignore[assignment]
        done = commands.run("balance", "--fleet", "redis://localhost")
    assert done.code == 2
    assert "smspva-async[redis]" in done.err
