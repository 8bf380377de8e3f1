"""`smspva demo`, in virtual time."""

from __future__ import annotations

import json
import random
import re
from functools import cache
from typing import Any

import anyio
import pytest
from rich.cells import cell_len

from smspva_async import SmsReceived, event_from_dict
from smspva_async.cli._demo import run_demo
from smspva_async.cli._event_lines import EventLines, JsonEventLines
from smspva_async.cli._output import Printer
from smspva_async.simulator import Simulator
from tests.support.documents import block
from tests.support.terminal import ESCAPE, columns, console, plain, printed
from tests.support.virtual_time import in_virtual_time


def demo_lines(width: int | None = None) -> list[str]:
    """Run the demo and return its lines."""
    shown = console(width)

    async def run() -> None:
        with anyio.fail_after(16):
            await run_demo(EventLines(shown))

    assert in_virtual_time(run()) > 10
    return printed(shown)


cached_demo_lines = cache(demo_lines)


def test_the_demo_shows_all_events_and_a_summary() -> None:
    lines = cached_demo_lines()
    events_part, summary = lines[: lines.index("Summary")], lines[lines.index("Summary") :]
    events = [columns(line) for line in events_part if re.match(r"\d\d:\d\d:\d\d ", line)]
    numbers = list(dict.fromkeys(event[1] for event in events if event[1].startswith("+")))
    by_number = {number: [event[2:] for event in events if event[1] == number] for number in numbers}

    assert [(number[:3], by_number[number][0][0]) for number in numbers] == [
        ("+79", "Instagram"),
        ("+37", "WhatsApp"),
        ("+48", "Telegram"),
    ]
    once = ["0 -> 2", "2 -> 1"]
    changes = {number: [tag for _, tag, *_ in by_number[number] if "->" in tag] for number in numbers}
    assert list(changes.values()) == [[*once, "1 -> 0", *once], once, once]

    messages = {number: [rest for _, tag, *rest in by_number[number] if tag == "message"] for number in numbers}
    assert list(messages.values()) == [
        [["671094", "Code Instagram: 671 094."], ["305871", "Your code is 305 871."]],
        [["417205", "WhatsApp code 417-205"]],
        [["53821", "Twój kod Telegram: 53821"], ["86420", "Telegram login code: 86420"]],
    ]
    (failed,) = [index for index, event in enumerate(events) if event[1].startswith("polling fails: ")]
    assert events[failed + 1][1] == "polling works again after 3 s"
    assert events[failed + 2][-1] == "Telegram login code: 86420"

    totals = [columns(line) for line in summary]
    states = {number: " -> ".join(["0", *(change[-1] for change in changes[number])]) for number in numbers}
    assert [row[1:] for row in totals if row[0] == "number"] == [[number, states[number]] for number in numbers]
    (row,) = [row for row in totals if row[0] == "messages"]
    codes = [event[4] for event in events if event[3:4] == ["message"]]
    assert row[1] == f"{len(codes)}, with the codes {', '.join(codes)}"
    (row,) = [row for row in totals if row[0] == "outage"]
    assert row[1].startswith("3 s; ")


def test_with_json_the_demo_prints_its_events(capsys: pytest.CaptureFixture[str]) -> None:
    in_virtual_time(run_demo(JsonEventLines(Printer(as_json=True))))
    events = [event_from_dict(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert [event.sms.code for event in events if isinstance(event, SmsReceived)][-1] == "86420"


def test_the_summary_counts_the_requests_and_the_money_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Simulator] = []

    def make(**settings: Any) -> Simulator:
        made.append(Simulator(**settings))
        return made[0]

    monkeypatch.setattr("smspva_async.cli._demo.Simulator", make)
    summary = {row[0]: row[1] for row in map(columns, demo_lines()) if len(row) == 2}
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
        return [re.sub(r"^\d\d:\d\d:\d\d|^  requests .*", "", line) for line in demo_lines()]

    first = without_times_and_counts()
    for seed in seeds:
        random.seed(seed)  # the watcher's phase is drawn from it
        assert without_times_and_counts() == first


def test_the_guide_shows_what_the_demo_prints() -> None:
    def without_times_and_counts(lines: list[str]) -> list[str]:
        changing = r"^\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d|(?<=^  requests  )\d+"
        return [re.sub(changing, "", line) for line in lines if line]

    assert without_times_and_counts(block("demo").code.splitlines()) == without_times_and_counts(cached_demo_lines())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_demo_fits_the_terminal_and_has_the_same_words_in_a_pipe(width: int) -> None:
    lines = cached_demo_lines(width)
    assert any(ESCAPE.search(line) for line in lines)
    assert max(map(cell_len, plain(lines))) <= width

    def words(lines: list[str]) -> list[str]:
        # The number of polls depends on the watcher's phase.
        text = re.sub(r"requests +\d+", "requests", " ".join(plain(lines)))
        return [word for word in text.split() if not re.fullmatch(r"\d\d:\d\d:\d\d", word)]

    piped = cached_demo_lines()
    assert words(lines) == words(piped)
    assert not any(ESCAPE.search(line) for line in piped)


def test_only_the_outage_is_longer_than_80_columns() -> None:
    assert [line for line in cached_demo_lines() if len(line) > 80 and "polling fails" not in line] == []
    assert sum(line.startswith(" " * 10 + "attempts failed") for line in plain(cached_demo_lines(80))) == 1
