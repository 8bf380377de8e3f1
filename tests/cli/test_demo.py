"""The demo and a watch, as a person sees them, in virtual time."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

import anyio
import pytest
from rich.cells import cell_len

from smspva_async import SmspvaClient, SmsReceived, Watcher, event_from_dict
from smspva_async.cli._demo import demo
from smspva_async.cli._lines import JsonLines, Lines
from smspva_async.cli._output import Printer
from smspva_async.cli._watch import LineView, follow
from smspva_async.simulator import Simulator
from tests.support.commands import KEY
from tests.support.documents import block
from tests.support.terminal import ESCAPE, columns, console, plain, printed


@cache
def shown_demo(width: int | None = None) -> list[str]:
    """Return the lines of a demo."""
    return run_demo(width)


def run_demo(width: int | None = None) -> list[str]:
    """Run the demo and return its lines."""
    shown = console(width)

    async def tell() -> None:
        with anyio.fail_after(16):
            await demo(Lines(shown))

    assert in_virtual_time(tell()) > 10
    return printed(shown)


def test_the_demo_tells_its_whole_story() -> None:
    lines = shown_demo()
    story, summary = lines[: lines.index("Summary")], lines[lines.index("Summary") :]
    events = [columns(line) for line in story if re.match(r"\d\d:\d\d:\d\d ", line)]
    numbers = list(dict.fromkeys(event[1] for event in events if event[1].startswith("+")))
    told = {number: [event[2:] for event in events if event[1] == number] for number in numbers}

    assert [(number[:3], told[number][0][0]) for number in numbers] == [
        ("+79", "Instagram"),
        ("+37", "WhatsApp"),
        ("+48", "Telegram"),
    ]
    once = ["0 -> 2", "2 -> 1"]
    steps = {number: [what for _, what, *_ in told[number] if "->" in what] for number in numbers}
    assert list(steps.values()) == [[*once, "1 -> 0", *once], once, once]

    messages = {number: [rest for _, what, *rest in told[number] if what == "message"] for number in numbers}
    assert list(messages.values()) == [
        [["671094", "Code Instagram: 671 094."], ["305871", "Your code is 305 871."]],
        [["417205", "WhatsApp code 417-205"]],
        [["53821", "Twój kod Telegram: 53821"], ["86420", "Telegram login code: 86420"]],
    ]
    (failed,) = [place for place, event in enumerate(events) if event[1].startswith("polling fails: ")]
    assert events[failed + 1][1] == "polling works again after 3 s"
    assert events[failed + 2][-1] == "Telegram login code: 86420"

    told_again = [columns(line) for line in summary]
    chains = {number: " -> ".join(["0", *(step[-1] for step in steps[number])]) for number in numbers}
    assert [row[1:] for row in told_again if row[0] == "number"] == [[number, chains[number]] for number in numbers]
    (row,) = [row for row in told_again if row[0] == "messages"]
    codes = [event[4] for event in events if event[3:4] == ["message"]]
    assert row[1] == f"{len(codes)}, with the codes {', '.join(codes)}"
    (row,) = [row for row in told_again if row[0] == "outage"]
    assert row[1].startswith("of 3 s, survived")


def test_for_programs_the_demo_is_its_events(capsys: pytest.CaptureFixture[str]) -> None:
    in_virtual_time(demo(JsonLines(Printer(as_json=True))))
    events = [event_from_dict(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert [event.sms.code for event in events if isinstance(event, SmsReceived)][-1] == "86420"


def test_the_demo_counts_its_requests_and_its_money(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Simulator] = []

    def make(**settings: Any) -> Simulator:
        made.append(Simulator(**settings))
        return made[0]

    monkeypatch.setattr("smspva_async.cli._demo.Simulator", make)
    summary = {row[0]: row[1] for row in map(columns, run_demo()) if len(row) == 2}
    (sim,) = made
    assert sim.violations == []
    failed = [request for request in sim.requests if request.fault]
    assert {request.method for request in failed} == {"orders", "sms"}
    assert summary["requests"] == f"{len(sim.requests)}, of which {len(failed)} failed in the outage"
    prices = sum(sim.catalogue[order.country].offers[order.service].price_day * 7 for order in sim.orders)
    assert summary["spent"].startswith(f"${prices} ")


@pytest.mark.parametrize(
    "seeds", [range(2), pytest.param(range(2, 10), marks=pytest.mark.slow)], ids=["two seeds", "eight seeds"]
)
def test_the_demo_is_the_same_each_time(seeds: range) -> None:
    def without_times_and_counts() -> list[str]:
        return [re.sub(r"^\d\d:\d\d:\d\d|^  requests .*", "", line) for line in run_demo()]

    first = without_times_and_counts()
    for seed in seeds:
        random.seed(seed)  # the watcher's phase is drawn from it
        assert without_times_and_counts() == first


def test_the_guide_shows_what_the_demo_prints() -> None:
    def without_times_and_counts(lines: list[str]) -> list[str]:
        changing = r"^\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d|(?<=^  requests  )\d+"
        return [re.sub(changing, "", line) for line in lines if line]

    assert without_times_and_counts(block("demo").code.splitlines()) == without_times_and_counts(shown_demo())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_demo_fits_the_terminal_and_says_there_what_it_says_in_a_pipe(width: int) -> None:
    lines = shown_demo(width)
    assert any(ESCAPE.search(line) for line in lines)
    assert max(map(cell_len, plain(lines))) <= width

    def words(lines: list[str]) -> list[str]:
        # How many polls there are depends on the watcher's phase.
        told = re.sub(r"requests +\d+", "requests", " ".join(plain(lines)))
        return [word for word in told.split() if not re.fullmatch(r"\d\d:\d\d:\d\d", word)]

    piped = shown_demo()
    assert words(lines) == words(piped)
    assert not any(ESCAPE.search(line) for line in piped)


def test_only_an_outage_is_too_long_for_80_columns() -> None:
    assert [line for line in shown_demo() if len(line) > 80 and "polling fails" not in line] == []
    assert sum(line.startswith(" " * 10 + "attempts failed") for line in plain(shown_demo(80))) == 1


# -- watching ----------------------------------------------------------------------------------------------------------


def shown_watch(sim: Simulator, seconds: float) -> list[str]:
    """Watch for a while and return the lines."""
    shown = console()

    async def watch() -> None:
        client = SmspvaClient(KEY, transport=sim.transport())
        with anyio.move_on_after(seconds):
            await follow(client, Watcher(client), LineView(Lines(shown)))

    in_virtual_time(watch())
    return printed(shown)


def test_watch_begins_with_what_there_is() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.deliver(sim.add_order(phone="+79096068511").id, "Old code 111222", date=1)
    sim.add_order(country="UK", service="opt29", phone="+447700900123")
    until = f"until {sim.orders[0].until.astimezone():%Y-%m-%d}"
    assert [line.partition("  ")[2] for line in shown_watch(sim, 300)] == [
        f"+79096068511   Instagram  listed   #40300, inactive, {until}",
        f"+447700900123  Telegram   listed   #40301, active, {until}",
    ]


def test_watch_says_that_there_is_nothing() -> None:
    assert shown_watch(Simulator(), 300) == ["No number is rented yet."]


def test_watch_shows_an_outage_that_was_there_before() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.add_order()
    sim.faults.next("orders", "refused", count=4)
    failed, recovered, listed = shown_watch(sim, 300)
    assert "polling fails: orders: no connection" in failed
    assert "polling works again after" in recovered
    assert "listed" in listed


def test_a_key_that_is_refused_once_ends_nothing() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.faults.next("orders", "refusal", msg="Invalid apikey")
    failed, recovered = shown_watch(sim, 300)
    assert "polling fails: orders: refused: Invalid apikey" in failed
    assert "polling works again after" in recovered
