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

from smspva_async import InvalidKey, Retry, Sms, SmspvaClient, SmsReceived, Watcher, event_from_dict
from smspva_async.cli._event_lines import EventLines
from smspva_async.cli._live_view import LiveView
from smspva_async.cli._selection import EVERYTHING
from smspva_async.cli._watch import follow_events
from smspva_async.simulator import Simulator
from tests.support.command_processes import HEIGHT, Piped, Result
from tests.support.commands import KEY, Commands, serving
from tests.support.terminal import ESCAPE, RICH_READS_TTY_INTERACTIVE, columns, console, printed
from tests.support.virtual_time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = ("--interval", "0.2")


@pytest.fixture
def sim() -> Simulator:
    return Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract")


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
        until = f"{order.until.astimezone():%Y-%m-%d %H:%M}"
        rest = f"At the provider, 1 number stays rented (the first until {until})."
        assert child.result() == Result(130, "", f"The watch ended; nothing was canceled. {rest}\n")


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
        result = child.result()
        assert (result.code, result.out, result.err.count("\n")) == (143, "", 1)


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
        assert child.result().err.count("\n") == 1


def test_a_signal_ends_a_watch_while_a_request_is_not_answered(sim: Simulator, commands: Commands) -> None:
    sim.faults.always("orders", "latency", seconds=60)
    with commands.start("watch") as child:
        child.line()
        child.wait_until(lambda: sim.requests)
        child.send_signal(signal.SIGTERM)
        assert child.result() == Result(143, "", "The watch ended. Nothing was changed at the provider.\n")


def test_sigterm_ends_a_watch_in_the_background_of_a_script(sim: Simulator, commands: Commands) -> None:
    sim.add_order()
    # A shell ignores the signal for what a script starts with `&`.
    with commands.start("watch", "--json", *QUICK, ignored=(signal.SIGINT,)) as child:
        child.line()
        child.send_signal(signal.SIGTERM)
        assert child.result().code == 143


def test_a_watch_shows_the_interval_that_the_gap_allows(sim: Simulator, commands: Commands) -> None:
    sim.add_order()
    with commands.start("watch", "--interval", "2", "--gap", "1.5") as child:
        assert " every 3 s. " in child.line()
        child.send_signal(signal.SIGINT)
        child.result()


# -- lines in virtual time ---------------------------------------------------------------------------------------------


async def follow(client: SmspvaClient, view: LiveView | EventLines) -> None:
    await follow_events(Watcher(client), view, after=0, consumer=None, selection=EVERYTHING, bell=False)


def watch_lines(sim: Simulator, seconds: float) -> list[str]:
    """Run a watch for some seconds and return its lines."""
    shown = console()

    async def watch() -> None:
        with anyio.move_on_after(seconds):
            async with SmspvaClient(KEY, transport=sim.transport()) as client:
                await follow(client, EventLines(shown))

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


def table(screen: list[str]) -> list[str]:
    """Return the lines from the title on, which must be on the screen once."""
    (title,) = (number for number, line in enumerate(screen) if line.startswith("Watching "))
    assert screen[title - 1] == ""
    return screen[title:]


def rows(screen: list[str]) -> list[list[str]]:
    """Return the rows of the table."""
    return [columns(line) for line in table(screen) if line[:1].isdigit()]


def has(text: str) -> Callable[[list[str]], bool]:
    return lambda screen: any(text in line for line in screen)


@pytest.mark.parametrize(
    ("width", "heads", "expires"),
    [
        (60, ["id", "status", "number", "service", "code", "expires"], "%d %b"),
        (80, ["id", "status", "number", "service", "code", "expires"], "%Y-%m-%d %H:%M"),
        (120, ["id", "status", "number", "service", "country", "code", "expires"], "%Y-%m-%d %H:%M"),
        (200, ["id", "status", "number", "service", "country", "code", "expires"], "%Y-%m-%d %H:%M"),
    ],
)
def test_on_a_terminal_events_scroll_above_a_table(
    sim: Simulator, commands: Commands, width: int, heads: list[str], expires: str
) -> None:
    rent(sim, 3)
    inactive = sim.orders[2]
    with commands.terminal("watch", *QUICK, width=width) as terminal:
        screen = table(terminal.wait_for(has("40302")))
        assert re.search(r"  last answer \d\d:\d\d:\d\d$", screen[0])
        assert columns(screen[1]) == heads
        until = f"{inactive.until.astimezone():{expires}}"
        country = ["PL"] if "country" in heads else []
        assert [columns(row) for row in screen[2:5]] == [
            ["40300", "active", "+48500100000", "Instagram", *country, until],
            ["40301", "queued", "+48500100001", "Instagram", *country, until],
            ["40302", "inactive", "+48500100002", "Instagram", *country, until],
        ]
        commands.on_server(lambda: sim.set_state(inactive.id, 1))
        terminal.wait_for(has("0 -> 1"))
        commands.on_server(lambda: sim.deliver(inactive.id, "Code Instagram: 671 094.", sender="FB"))
        screen = terminal.wait_for(has("671094 new"))
        assert [row[1] for row in rows(screen)] == ["active", "queued", "active"]
        events = [columns(line) for line in screen[: -len(table(screen))] if "0 -> 1" in line]
        assert events[0][1:4] == ["+48500100002", "Instagram", "0 -> 1"]
        terminal.type("\x03")
        assert terminal.exit_code() == 130
        *last, note = "\n".join(terminal.screen).split("\n\n")
        assert "40302  active" in last[-1]  # the last table stays
        rest = f"3 numbers stay rented (the first until {inactive.until.astimezone():%Y-%m-%d %H:%M})"
        assert "".join(note.split()) == "".join(
            f"The watch ended; nothing was canceled. At the provider, {rest}, and 1 activation goes on.".split()
        )
        assert "\x1b[?25h" in terminal.raw  # the cursor is shown again


def test_on_a_narrow_terminal_events_are_wrapped_above_a_whole_table(sim: Simulator, commands: Commands) -> None:
    rent(sim, 3)
    with commands.terminal("watch", *QUICK, width=40) as terminal:
        terminal.wait_for(has("40302"))
        for text in ("Code 112233", "Code 445566"):
            commands.on_server(lambda text=text: sim.deliver(40302, text))
            screen = terminal.wait_for(has(text))
        assert [row[:3] for row in rows(screen)] == [
            ["40300", "active", "+48500100000"],
            ["40301", "queued", "+48500100001"],
            ["40302", "inactive", "+48500100002"],
        ]
        events = [columns(line)[-2:] for line in screen[: -len(table(screen))] if line]
        assert events == [
            ["+48500100002", "Instagram"],
            ["message"],
            ["112233", "INFO: Code 112233"],
            ["+48500100002", "Instagram"],
            ["message"],
            ["445566", "INFO: Code 445566"],
        ]


def test_events_stay_in_the_scrollback(sim: Simulator, commands: Commands) -> None:
    rent(sim, 2)
    with commands.terminal("watch", *QUICK) as terminal:
        terminal.wait_for(has("40301"))
        for number in range(40):
            commands.on_server(lambda number=number: sim.deliver(40300, f"message number {number}", sender="FB"))
        screen = terminal.wait_for(has("message number 39"))
        lines = [*terminal.scrollback, *screen]
        assert sum("Watching" in line for line in lines) == 1
        shown = [int(found[1]) for line in lines if (found := re.search(r"message number (\d+)", line))]
        assert sorted(shown) == [*range(40)]


def is_drawn(screen: list[str], *, with_country: bool) -> bool:
    """Return whether the title and the heads are whole and of a wide or a narrow table."""
    title, heads, *_ = *(line for line in screen if line.startswith(("Watching ", "   id"))), "", ""
    is_whole = re.search(r"  last answer \d\d:\d\d:\d\d$", title) and heads.endswith("expires")
    return bool(is_whole) and ("country" in heads) is with_country


@pytest.mark.parametrize("rewraps", [True, False])
def test_resizing_leaves_one_table(sim: Simulator, commands: Commands, *, rewraps: bool) -> None:
    rent(sim, 100)
    with commands.terminal("watch", *QUICK, width=120) as terminal:
        terminal.wait_for(has("40300"))
        for message, width in enumerate([70, 150, 60, 200]):
            terminal.resize(width, rewraps=rewraps)
            commands.on_server(lambda message=message: sim.deliver(40300, f"message number {message}", sender="FB"))
            terminal.wait_for(has(f"message number {message}"))
            screen = terminal.wait_for(partial(is_drawn, with_country=width > 100))
            assert len(rows(screen)) == HEIGHT // 2 - 4
            assert sum("Watching" in line or line.startswith("   id") for line in screen) == 2
        assert not any("Watching" in line for line in terminal.scrollback)


def test_the_table_has_the_last_code_from_before_the_watch(sim: Simulator, commands: Commands) -> None:
    rent(sim, 2)
    # A message of the last five minutes would be an event in case of doubt, because clocks may differ.
    hour_ago = int(datetime.now(UTC).timestamp()) - 3600
    for seconds, text in enumerate(["Code 111222", "Code 333444", "Welcome"]):
        sim.deliver(40300, text, sender="FB", date=hour_ago + seconds)
    with commands.terminal("watch", *QUICK) as terminal:
        screen = terminal.wait_for(has("333444"))
        assert "333444" in rows(screen)[0]  # not marked as new
        assert not any("message" in line for line in screen)


def test_a_message_from_before_the_start_is_not_marked_as_new(sim: Simulator, commands: Commands) -> None:
    rent(sim, 1)
    received = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    sim.deliver(40300, "Code 112233", date=int(received.timestamp()))
    with commands.terminal("watch", *QUICK) as terminal:
        screen = terminal.wait_for(has("message"))
        (event,) = [columns(line) for line in screen if "message" in line]
        assert event[0] == f"{received.astimezone():%H:%M:%S}"
        assert "112233" in rows(screen)[0]  # not marked as new
        commands.on_server(lambda: sim.deliver(40300, "Code 445566"))
        terminal.wait_for(has("445566 new"))


def test_the_most_relevant_of_a_hundred_orders_are_shown(sim: Simulator, commands: Commands) -> None:
    rent(sim, 100)
    with commands.terminal("watch", "--interval", "1") as terminal:
        screen = terminal.wait_for(has("and "))
        ids = [row[0] for row in rows(screen)]
        # Active orders are shown first, and hidden orders are counted.
        assert {row[1] for row in rows(screen)} == {"active"}
        assert ids == sorted(ids)
        hidden = re.fullmatch(r"and (\d+) more: (.*)", screen[-1])
        assert hidden is not None
        assert int(hidden[1]) + len(ids) == 100
        assert sum(map(int, re.findall(r"(\d+) \w+", hidden[2]))) == int(hidden[1])

        # An order with a new event is shown.
        last = sim.orders[-1]
        commands.on_server(lambda: sim.deliver(last.id, "Code: 112233", sender="FB"))
        screen = terminal.wait_for(has("112233 new"))
        assert rows(screen)[-1][:2] == [str(last.id), "inactive"]


@pytest.fixture
def mixed(sim: Simulator) -> Simulator:
    now = datetime.now(UTC)
    for country, service, state, days in (
        ("PL", "opt29", 1, 9),
        ("UK", ["opt16", "opt20"], 0, 5),
        ("LT", "opt29", 0, 7),
    ):
        sim.add_order(country, service, state=state, until=now + timedelta(days=days))
    return sim


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], [40300, 40301, 40302]),
        (["--service", "telegram"], [40300, 40302]),
        (["--service", "OPT16"], [40301]),
        (["--service", "whatsapp"], [40301]),  # its second service
        (["--country", "pl", "--country", "lithuania"], [40300, 40302]),
        (["--state", "inactive", "--service", "Telegram"], [40302]),
        (["--sort", "expires"], [40301, 40302, 40300]),
        (["--sort", "service"], [40301, 40300, 40302]),
        (["--sort", "country"], [40302, 40300, 40301]),
        (["--sort", "newest"], [40302, 40300, 40301]),
    ],
    ids=str,
)
def test_the_table_shows_the_chosen_numbers(
    mixed: Simulator, commands: Commands, options: list[str], ids: list[int]
) -> None:
    with commands.terminal("watch", *QUICK, *options) as terminal:
        terminal.wait_for(has(str(ids[-1])))
        commands.on_server(lambda: mixed.deliver(40302, "Code 112233"))
        screen = terminal.wait_for(has("112233 new")) if 40302 in ids else terminal.screen
        assert [int(row[0]) for row in rows(screen)] == ids


def test_lines_are_about_the_chosen_numbers(mixed: Simulator, commands: Commands) -> None:
    with commands.start("watch", *QUICK, "--service", "Telegram", "--state", "active") as child:
        child.line()
        assert "#40300, active" in child.line()
        commands.on_server(lambda: mixed.deliver(40301, "Code 445566"))  # another service
        commands.on_server(lambda: mixed.deliver(40302, "Code 112233"))  # its state may be an old one
        assert "112233" in child.line()
        commands.on_server(lambda: mixed.set_state(40300, 0))
        assert "1 -> 0" in child.line()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--service", "telegrm"], "no service is called 'telegrm'; did you mean opt29 Telegram?"),
        (["--country", "Polnad"], "no country is called 'Polnad'; did you mean PL Poland?"),
        (["--journal", "j.db", "--state", "active"], "the next watch wouldn't show what this one hides"),
        (["--journal", "j.db", "--service", "opt29"], "use either --journal or --service, --state and --country"),
        (["--journal", "j.db", "--country", "PL"], "use either --journal or --service, --state and --country"),
        (["--sort", "id"], "--sort is for the table"),
        (["--sort", "id", "--json"], "--sort is for the table"),
    ],
    ids=str,
)
def test_options_that_would_show_the_wrong_numbers_are_refused(
    sim: Simulator, commands: Commands, options: list[str], message: str
) -> None:
    done = commands.run("watch", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not {"orders", "sms"} & {request.method for request in sim.requests}


@pytest.mark.parametrize(("option", "start", "code"), [("--service", "tele", "opt29"), ("--country", "pol", "PL")])
def test_the_chosen_services_and_countries_are_completed(
    commands: Commands, option: str, start: str, code: str
) -> None:
    for command in (["offers", "PL"], ["countries"]):
        assert commands.run(*command).code == 0
    words = {"COMP_WORDS": f"smspva watch {option} {start}", "COMP_CWORD": start, "_SMSPVA_COMPLETE": "fish_complete"}
    assert code in commands.run("watch", SMSPVA_BASE_URL=commands.url, **words).out


def test_the_table_is_not_sorted_without_a_table(sim: Simulator, commands: Commands) -> None:
    with commands.terminal("watch", "--sort", "id", "--plain") as terminal:
        assert terminal.exit_code() == 2
        assert "--sort is for the table" in terminal.screen[0]
    assert sim.requests == []


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_a_choice_without_numbers_is_explained(mixed: Simulator, commands: Commands, options: list[str]) -> None:
    assert len(mixed.orders) == 3
    with commands.terminal("watch", *QUICK, "--country", "FR", *options) as terminal:
        terminal.wait_for(has("No rented number matches the options"))


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_the_bell_rings_once_for_each_message(sim: Simulator, commands: Commands, options: list[str]) -> None:
    rent(sim, 1)
    with commands.terminal("watch", *QUICK, "--bell", *options) as terminal:
        terminal.wait_for(has("40300"))
        assert terminal.bells == 0
        for code in ("112233", "445566"):
            commands.on_server(lambda code=code: sim.deliver(40300, f"Code {code}\a"))
            terminal.wait_for(has(code))
        commands.on_server(lambda: sim.set_state(40300, 0))
        terminal.wait_for(has("1 -> 0"))
        assert terminal.bells == 2


def test_no_color_takes_the_color_and_leaves_the_table(sim: Simulator, commands: Commands) -> None:
    rent(sim, 1)
    with commands.terminal("watch", *QUICK, variables={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for(has("40300"))
        commands.on_server(lambda: sim.deliver(40300, "Code 112233"))
        assert rows(terminal.wait_for(has("112233 new")))
        assert not ESCAPE.search(terminal.raw)


def test_text_from_others_cannot_control_the_terminal(sim: Simulator, commands: Commands) -> None:
    sim.add_order(state=1)
    sim.orders[0].service_name = "a\x1b[2Jb\r\n"
    with commands.terminal("watch", *QUICK) as terminal:
        terminal.wait_for(has("40300"))
        commands.on_server(lambda: sim.deliver(40300, "Code 112233 \x1b[2J\x1b]0;title\x07\x9b31m", sender="\x1b[H"))
        terminal.wait_for(has("112233 new"))
        assert not {"\x07", "\x9b"} & set(terminal.raw)
        assert "\x1b[2J" not in terminal.raw
        assert "\x1b[H" not in terminal.raw
        assert "\x1b]" not in terminal.raw


def test_typed_keys_are_not_shown(sim: Simulator, commands: Commands) -> None:
    rent(sim, 1)
    with commands.terminal("watch", *QUICK) as terminal:
        terminal.wait_for(has("40300"))
        terminal.type("\n\n\nabc")
        commands.on_server(lambda: sim.deliver(40300, "Code 112233"))
        screen = terminal.wait_for(has("112233 new"))
        assert len(table(screen)) == 3
        assert "abc" not in terminal.raw


def test_ctrl_z_is_ignored_while_the_table_is_shown(sim: Simulator, commands: Commands) -> None:
    rent(sim, 1)
    with commands.terminal("watch", *QUICK) as terminal:
        terminal.wait_for(has("40300"))
        assert terminal.suspend_key != b"\x1a"


def test_codes_are_read_again_after_a_failure() -> None:
    sim = Simulator(start=datetime.now(UTC))
    codes = ("333444", "555666")
    for code in codes:
        sim.deliver(sim.add_order().id, f"Code {code}", date=1)
    sim.faults.next("sms", "text", count=6)
    shown = console(120)

    async def watch() -> None:
        async with SmspvaClient(KEY, transport=sim.transport(), retry=Retry(attempts=1)) as client:
            with anyio.move_on_after(60):
                await follow(client, LiveView(shown, "Watching", client, EVERYTHING, None))

    in_virtual_time(watch())
    assert [code for code in codes if code in "".join(printed(shown))] == [*codes]


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
        assert len(rows(screen)) > 5
        new = commands.on_server(lambda: sim.add_order("PL", "opt29", state=0))
        screen = terminal.wait_for(has(f"#{new.id}, inactive"))  # an order that comes later is an event
        assert any(line.startswith(f"{new.id}  inactive") for line in screen)


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
        screen = terminal.wait_for(has("40302"))
        assert [row[0] for row in rows(screen)] == ["40300", "40301", "40302"]


def test_with_a_refused_key_the_table_says_nothing_about_numbers(sim: Simulator, commands: Commands) -> None:
    sim.api_key = "another"
    with commands.terminal("watch", *QUICK) as terminal:
        screen = terminal.wait_for(lambda lines: has("polling fails")(lines) and has("no answer yet")(lines))
        assert "no answer yet" in table(screen)[0]
        assert "rented" not in terminal.raw


@pytest.mark.parametrize(
    "variables",
    [{"TERM": "dumb"}, {"TERM": None}, {"TERM": ""}, {"TERM": "dumb", "TTY_INTERACTIVE": "1"}],
    ids=str,
)
def test_without_a_capable_terminal_a_watch_prints_plain_lines(
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
