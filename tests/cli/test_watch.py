"""`smspva watch`: lines and JSON in a pipe, a live table on a terminal."""

from __future__ import annotations

import json
import re
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from rich.cells import cell_len

from smspva_async import InvalidKey, Sms, SmspvaClient, SmsReceived, Watcher, event_from_dict
from smspva_async.cli._event_lines import EventLines
from smspva_async.cli._watch import follow_events
from smspva_async.simulator import Simulator
from tests.support.command_processes import HEIGHT, Piped, Result
from tests.support.commands import KEY, Commands, serving
from tests.support.terminal import ESCAPE, RICH_READS_TTY_INTERACTIVE, columns, console, printed
from tests.support.virtual_time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = ("--interval", "0.2")


@pytest.fixture
def sim() -> Simulator:
    return Simulator(start=datetime.now(UTC), api_key=KEY)


@pytest.fixture
def commands(sim: Simulator, tmp_path: Path) -> Iterator[Commands]:
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def rent(sim: Simulator, count: int) -> None:
    """Rent numbers, of which every tenth is active and every tenth queued."""
    until = datetime.now(UTC) + timedelta(days=3)
    for number in range(count):
        state = {0: 1, 1: 2}.get(number % 10, 0)
        sim.add_order("PL", "opt16", state=state, until=until, phone=f"+4850010{number:04}")


def test_a_pipe_gets_a_line_for_each_event(sim: Simulator, commands: Commands) -> None:
    (commands.folder / "key").write_text(f"{KEY}\n")
    order = sim.add_order(phone="+79096068511")
    arguments = ("--api-key-file", str(commands.folder / "key"), *QUICK)
    # FORCE_COLOR must not add escape codes, and a character outside ASCII must not end the watch.
    variables = {"SMSPVA_API_KEY": "not-this-one", "FORCE_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    with commands.start("watch", *arguments, variables=variables) as child:
        assert re.fullmatch(r"Watching http://127\S+ every 0\.2 s\. Press Ctrl-C to stop\.", child.line())
        assert columns(child.line())[1:4] == ["+79096068511", "Instagram", "listed"]
        commands.on_server(lambda: sim.deliver(order.id, "Code Instagram ✓: 671 094.", sender="Instagram"))
        message = ["+79096068511", "Instagram", "message", "671094", r"Code Instagram \u2713: 671 094."]
        assert columns(child.line())[1:] == message
        child.send_signal(signal.SIGINT)
        assert child.result() == Result(130, "", "\n")


def test_with_json_a_watch_prints_an_object_for_each_event(sim: Simulator, commands: Commands) -> None:
    order = sim.add_order()
    with commands.start("watch", "--json", *QUICK) as child:
        assert json.loads(child.line())["type"] == "OrderAdded"
        commands.on_server(lambda: sim.deliver(order.id, "Код: 671 094 ✓", sender="Instagram"))
        fields = json.loads(child.line())
        assert fields["sms"]["code"] == "671094"
        event = event_from_dict(fields)
        assert isinstance(event, SmsReceived)
        assert event.sms == Sms("Код: 671 094 ✓", "Instagram", event.sms.received)
        child.send_signal(signal.SIGTERM)
        assert child.result() == Result(143, "", "\n")


def test_with_a_journal_a_watch_continues_where_it_ended(sim: Simulator, commands: Commands) -> None:
    order = sim.add_order()
    journal = ("--json", "--journal", str(commands.folder / "smspva.db"), *QUICK)

    def wait_for(text: str, child: Piped) -> None:
        got = json.loads(child.line())
        while got["type"] != "SmsReceived" or got["sms"]["text"] != text:
            assert got["seq"] < 3
            got = json.loads(child.line())

    with commands.start("watch", *journal) as child:
        assert json.loads(child.line())["type"] == "OrderAdded"
        commands.on_server(lambda: sim.deliver(order.id, "one"))
        wait_for("one", child)
        commands.on_server(lambda: sim.deliver(order.id, "two"))
        # It ends before it acknowledges the event, so the event comes again.
        child.send_signal(signal.SIGINT)
        assert child.result().code == 130
    with commands.start("watch", *journal) as child:
        wait_for("two", child)
        commands.on_server(lambda: sim.deliver(order.id, "three"))
        wait_for("three", child)


def test_a_warning_of_the_library_is_shown_once_as_an_event(sim: Simulator, commands: Commands) -> None:
    sim.add_order()
    sim.add_order()
    sim.faults.next("orders", "nameless_row")
    with commands.start("watch") as child:
        lines = [child.line() for _ in range(3)]
        assert sum("skipped a row that can't be read" in line for line in lines) == 1
        child.send_signal(signal.SIGINT)
        assert child.result() == Result(130, "", "\n")


def test_a_signal_ends_a_watch_while_a_request_is_not_answered(sim: Simulator, commands: Commands) -> None:
    sim.faults.always("orders", "latency", seconds=60)
    with commands.start("watch") as child:
        child.line()
        child.wait_until(lambda: sim.requests)
        child.send_signal(signal.SIGTERM)
        assert child.result() == Result(143, "", "\n")


def test_sigterm_ends_a_watch_in_the_background_of_a_script(sim: Simulator, commands: Commands) -> None:
    sim.add_order()
    # A shell ignores the signal for what a script starts with `&`.
    with commands.start("watch", "--json", *QUICK, ignored=(signal.SIGINT,)) as child:
        child.line()
        child.send_signal(signal.SIGTERM)
        assert child.result() == Result(143, "", "\n")


def test_a_watch_shows_the_interval_that_the_gap_allows(sim: Simulator, commands: Commands) -> None:
    sim.add_order()
    with commands.start("watch", "--interval", "2", "--gap", "1.5") as child:
        assert " every 3 s. " in child.line()
        child.send_signal(signal.SIGINT)
        child.result()


# -- lines in virtual time ---------------------------------------------------------------------------------------------


def watch_lines(sim: Simulator, seconds: float) -> list[str]:
    """Run a watch for some seconds and return its lines."""
    shown = console()

    async def watch() -> None:
        client = SmspvaClient(KEY, transport=sim.transport())
        with anyio.move_on_after(seconds):
            await follow_events(client, Watcher(client), EventLines(shown))

    in_virtual_time(watch())
    return printed(shown)


def test_a_watch_lists_the_orders_first() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.deliver(sim.add_order(phone="+79096068511").id, "Old code 111222", date=1)
    sim.add_order(country="UK", service="opt29", phone="+447700900123")
    until = f"until {sim.orders[0].until.astimezone():%Y-%m-%d}"
    assert [line.partition("  ")[2] for line in watch_lines(sim, 300)] == [
        f"+79096068511   Instagram  listed   #40300, inactive, {until}",
        f"+447700900123  Telegram   listed   #40301, active, {until}",
    ]


def test_a_watch_of_an_empty_account_says_so() -> None:
    assert watch_lines(Simulator(), 300) == ["No rented numbers yet."]


def test_a_watch_shows_an_outage_at_its_start() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.add_order()
    sim.faults.next("orders", "refused", count=4)
    failed, recovered, listed = watch_lines(sim, 300)
    assert "polling fails: orders: no connection" in failed
    assert "polling works again after" in recovered
    assert "listed" in listed


def test_a_key_refused_for_ten_seconds_ends_a_watch() -> None:
    sim = Simulator(start=datetime.now(UTC), api_key="another")
    with pytest.raises(InvalidKey):
        watch_lines(sim, 300)


def test_a_key_refused_once_does_not_end_a_watch() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.faults.next("orders", "refusal", msg="Invalid apikey")
    failed, recovered = watch_lines(sim, 300)
    assert "polling fails: orders: refused: Invalid apikey" in failed
    assert "polling works again after" in recovered


# -- the live table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 120])
def test_on_a_terminal_the_table_is_updated(sim: Simulator, commands: Commands, width: int) -> None:
    rent(sim, 3)
    inactive = sim.orders[2]
    with commands.terminal("watch", *QUICK, width=width) as terminal:
        screen = terminal.wait_for(lambda lines: len(lines) > 4)
        assert screen[0].startswith("Watching http://127.0.0.1:")
        assert re.search(r"  last answer \d\d:\d\d:\d\d$", screen[0])
        assert columns(screen[1]) == ["id", "status", "number", "service", "expires"]
        expires = f"{inactive.until.astimezone():%Y-%m-%d %H:%M}"
        assert [columns(row) for row in screen[2:5]] == [
            ["40300", "active", "+48500100000", "Instagram", expires],
            ["40301", "queued", "+48500100001", "Instagram", expires],
            ["40302", "inactive", "+48500100002", "Instagram", expires],
        ]
        commands.on_server(lambda: sim.set_state(inactive.id, 1))
        terminal.wait_for(lambda lines: any("0 -> 1" in line for line in lines))
        commands.on_server(lambda: sim.deliver(inactive.id, "Code Instagram: 671 094.", sender="FB"))
        screen = terminal.wait_for(lambda lines: any("671094" in line for line in lines))
        assert columns(screen[4])[:2] == ["40302", "active"]
        assert screen[5] == ""
        events = [columns(line) for line in screen[6:]]
        assert events[0][1:4] == ["+48500100002", "Instagram", "0 -> 1"]
        assert max(map(cell_len, screen)) <= width
        terminal.type("\x03")
        assert terminal.exit_code() == 130
        assert terminal.screen[: len(screen)] == screen  # the last screen stays
        assert "\x1b[?25h" in terminal.raw  # and the cursor is shown again


@pytest.mark.parametrize("width", [60, 120])
def test_the_most_relevant_of_a_hundred_orders_are_shown(sim: Simulator, commands: Commands, width: int) -> None:
    rent(sim, 100)
    with commands.terminal("watch", "--interval", "1", width=width) as terminal:
        screen = terminal.wait_for(lambda lines: len(lines) > 10)
        assert len(screen) < HEIGHT
        rows = [columns(row) for row in screen[2:-1]]
        assert all(len(row) == 5 for row in rows)
        # Active orders are shown first, and hidden orders are counted.
        assert [row[1] for row in rows].count("active") == 10
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        hidden = re.fullmatch(r"and (\d+) more: (.*)", screen[-1])
        assert hidden is not None
        assert int(hidden[1]) + len(rows) == 100
        assert sum(map(int, re.findall(r"(\d+) \w+", hidden[2]))) == int(hidden[1])

        # An order with a new event is shown, and its event below the table.
        last = sim.orders[-1]
        commands.on_server(lambda: sim.deliver(last.id, "Code: 112233", sender="FB"))
        screen = terminal.wait_for(lambda lines: any("112233" in line for line in lines))
        assert any(line.startswith(f"{last.id}  inactive") for line in screen)
        assert len(screen) < HEIGHT
        assert max(map(cell_len, screen)) <= width


def test_after_a_failed_first_poll_the_listed_orders_are_not_shown_as_events(
    sim: Simulator, commands: Commands
) -> None:
    rent(sim, 100)
    sim.faults.always("orders", "refusal", msg="Closed for lunch")
    with commands.terminal("watch", *QUICK, width=60) as terminal:
        terminal.wait_for(lambda lines: any("Closed for lunch" in line for line in lines))
        commands.on_server(sim.faults.clear)
        terminal.wait_for(lambda lines: any("works again" in line for line in lines))
        later = sim.orders[-1]
        commands.on_server(lambda: sim.deliver(later.id, "Code: 112233", sender="FB"))
        screen = terminal.wait_for(lambda lines: any("112233" in line for line in lines))
        assert "listed" not in "".join(screen)
        assert [columns(row)[1] for row in screen[2 : screen.index("")] if row[:1].isdigit()].count("active") == 10
        new = commands.on_server(lambda: sim.add_order("PL", "opt29", state=0))
        screen = terminal.wait_for(lambda lines: any(f"#{new.id}, inactive" in line for line in lines))
        assert any(line.startswith(f"{new.id}  inactive") for line in screen)  # an order that comes later is an event


def test_the_table_of_an_empty_account_says_so_after_the_first_good_poll(sim: Simulator, commands: Commands) -> None:
    sim.faults.always("orders", "refusal", msg="Closed for lunch")
    with commands.terminal("watch", *QUICK) as terminal:
        terminal.wait_for(lambda lines: any("Closed for lunch" in line for line in lines))
        assert "rented" not in terminal.raw  # not known yet
        commands.on_server(sim.faults.clear)
        assert terminal.wait_for(lambda lines: "No rented numbers." in lines)


def test_a_height_of_0_is_ignored(sim: Simulator, commands: Commands) -> None:
    rent(sim, 3)
    with commands.terminal("watch", *QUICK, variables={"LINES": "0"}) as terminal:
        screen = terminal.wait_for(lambda lines: len(lines) > 4)
        assert [line[:5] for line in screen[2:]] == ["40300", "40301", "40302"]


def test_with_a_refused_key_the_table_says_nothing_about_numbers(sim: Simulator, commands: Commands) -> None:
    sim.api_key = "another"
    with commands.terminal("watch", *QUICK) as terminal:
        terminal.wait_for(lambda lines: any("polling fails" in line for line in lines))
        assert "no answer yet" in terminal.screen[0]
        assert "rented" not in terminal.raw


def any_line_ends_with(end: str, lines: list[str]) -> bool:
    return any(line.endswith(end) for line in lines)


def test_an_event_is_wrapped_to_the_current_width(sim: Simulator, commands: Commands) -> None:
    order = sim.add_order(phone="+79096068511")
    text = "Code 671094. " + " ".join(f"word{number:02}" for number in range(40))
    with commands.terminal("watch", *QUICK, width=120) as terminal:
        terminal.wait_for(lambda lines: len(lines) > 2)
        for sent in (text, f"{text} too"):
            commands.on_server(lambda sent=sent: sim.deliver(order.id, sent, sender="FB"))
            terminal.wait_for(partial(any_line_ends_with, sent[-3:]))
        assert sum("671094  FB: Code 671094." in line for line in terminal.screen) == 2
        terminal.resize(70)
        screen = terminal.wait_for(lambda lines: sum("word" in line for line in lines) > 12)
        assert max(map(cell_len, screen)) <= 70
        first = screen.index("") + 1
        # There is no longer room for the whole older event.
        assert screen[first].endswith("message  671094  FB: Code 671094.")
        assert sum("message" in line for line in screen) == 1
        assert " ".join(" ".join(screen[first:]).split()).endswith("word39 too")


@pytest.mark.parametrize(
    "variables",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": None}, {"TERM": ""}, {"TERM": "dumb", "TTY_INTERACTIVE": "1"}],
    ids=str,
)
def test_without_color_or_a_capable_terminal_a_watch_prints_plain_lines(
    sim: Simulator, commands: Commands, variables: dict[str, str | None]
) -> None:
    sim.add_order(phone="+79096068511")
    with commands.terminal("watch", *QUICK, variables=variables) as terminal:
        screen = terminal.wait_for(lambda lines: any("listed" in line for line in lines))
        assert columns(screen[-1])[1:4] == ["+79096068511", "Instagram", "listed"]
        assert not ESCAPE.search(terminal.raw)
        terminal.type("\x03")
        assert terminal.exit_code() == 130


@pytest.mark.skipif(not RICH_READS_TTY_INTERACTIVE, reason="this release of rich doesn't read the variable")
def test_a_terminal_that_is_not_interactive_gets_lines(sim: Simulator, commands: Commands) -> None:
    sim.add_order(phone="+79096068511")
    with commands.terminal("watch", *QUICK, variables={"TTY_INTERACTIVE": "0"}) as terminal:
        screen = terminal.wait_for(lambda lines: any("listed" in line for line in lines))
        assert columns(screen[-1])[1:4] == ["+79096068511", "Instagram", "listed"]
