"""Commands for rented numbers: text on terminals and in pipes, and JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
from attrs import evolve

from smspva_async import Order, Rows, SmspvaClient
from smspva_async.simulator import Simulator
from tests.support.command_processes import Result
from tests.support.commands import KEY, Commands, serving
from tests.support.redis_server import running
from tests.support.terminal import RICH_READS_TTY_INTERACTIVE, columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIDTHS = [60, 120]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with three numbers: inactive, active, and absent from the provider's system."""
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract", activation=(0.3, 0.3))
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    for order_id, (service, state) in enumerate([("opt16", 0), ("opt20", 1), ("opt29", -1)], 40300):
        sim.add_order("PL", service, order_id=order_id, state=state, until=until, phone=f"+48500{order_id}")
    sim.deliver(40300, "Code Instagram: 671 094.", sender="FACEBOOK", date=1586948100)
    sim.deliver(40300, "Welcome to Instagram", sender=None, date=None)
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def test_orders_are_listed_as_on_the_providers_page(commands: Commands) -> None:
    expires = f"{commands.simulator.orders[0].until.astimezone():%Y-%m-%d %H:%M}"
    table = [
        ["id", "status", "number", "service", "expires"],
        ["40300", "inactive", "+4850040300", "Instagram", expires],
        ["40301", "active", "+4850040301", "WhatsApp", expires],
        ["40302", "absent", "+4850040302", "Telegram", expires],
    ]
    done = commands.run("orders")
    assert (done.code, done.err) == (0, "")
    assert [columns(line) for line in done.lines] == table
    for width in WIDTHS:
        *shown, hint = commands.on_terminal(width, "orders")
        assert [columns(line) for line in shown] == table
        assert hint == "Next: smspva activate 40300"
    rows = commands.run("orders", "--json").rows
    assert [(row["id"], row["state"], row["phone"]) for row in rows] == [
        (40300, 0, "+4850040300"),
        (40301, 1, "+4850040301"),
        (40302, -1, "+4850040302"),
    ]
    assert datetime.fromisoformat(rows[0]["until"]) == commands.simulator.orders[0].until


def test_a_narrow_terminal_shows_whole_ids_and_numbers(commands: Commands) -> None:
    whole = [line.split()[:3] for line in commands.run("orders").lines]
    assert [line.split()[:3] for line in commands.on_terminal(40, "orders")[:4]] == whole


def test_an_order_with_several_services_is_one_row(commands: Commands) -> None:
    commands.on_server(lambda: commands.simulator.add_order("PL", ["opt16", "opt29"], order_id=7))
    rows = [columns(line) for line in commands.run("orders").lines]
    assert [row[3] for row in rows if row[0] == "7"] == ["Instagram (opt16, opt29)"]
    listed = commands.run("orders", "--json").rows
    assert [order["services"] for order in listed if order["id"] == 7] == [["opt16", "opt29"]]


def test_messages_are_printed_with_their_codes(commands: Commands) -> None:
    at = datetime.fromtimestamp(1586948100, UTC).astimezone()
    lines = ["Welcome to Instagram", f"{at:%Y-%m-%d %H:%M:%S}  671094  FACEBOOK: Code Instagram: 671 094."]
    assert commands.run("sms", "40300").lines == lines
    assert commands.on_terminal(120, "sms", "40300") == lines
    assert "".join(commands.on_terminal(60, "sms", "40300")).replace(" ", "") == "".join(lines).replace(" ", "")
    assert [row["code"] for row in commands.run("sms", "40300", "--json").rows] == [None, "671094"]
    assert commands.run("sms", "40301").out == "No messages.\n"
    assert commands.run("sms", "40301", "--json").out == ""


def test_activate_returns_at_once_or_waits(commands: Commands) -> None:
    done = commands.run("activate", "40300")
    assert (done.code, done.out) == (0, "Requested the activation of #40300. Check its status with smspva orders.\n")
    assert commands.run("activate", "40300", "--json").rows == [{"done": "activate", "id": 40300}]
    commands.simulator.set_state(40300, 0)
    done = commands.run("activate", "40300", "--wait", "--json")
    assert (done.code, done.err) == (0, "")
    assert [(row["id"], row["state"]) for row in done.rows] == [(40300, 1)]
    for waits in ([], ["--wait"]):
        assert commands.on_terminal(120, "activate", "40300", *waits)[-1] == "Next: smspva sms 40300 --wait"
    commands.simulator.set_state(40300, 1)
    assert not any(line.startswith("Next: ") for line in commands.on_terminal(120, "orders"))


@pytest.mark.parametrize(
    ("width", "variables"), [(60, {"TTY_COMPATIBLE": "0"}), (60, {"FORCE_COLOR": ""}), (120, {})], ids=str
)
def test_waiting_for_an_activation_shows_the_state(commands: Commands, width: int, variables: dict[str, str]) -> None:
    commands.simulator.behavior.activation = (2, 2)
    with commands.terminal("activate", "40300", "--wait", width=width, variables=variables) as terminal:
        line = terminal.wait_for(lambda lines: lines and "queued" in lines[0])[0]
        assert line.endswith("queued; activation usually takes 10 to 15 minutes")
        assert line.startswith("00:0")
        assert terminal.exit_code() == 0
    # The progress line is gone.
    assert " ".join(terminal.screen).startswith("#40300 is active: +4850040300, Instagram, until ")


@pytest.mark.parametrize(
    "variables",
    [
        {"TERM": "dumb"},
        {"TERM": None},
        pytest.param(
            {"TTY_INTERACTIVE": "0"},
            marks=pytest.mark.skipif(
                not RICH_READS_TTY_INTERACTIVE, reason="this version of rich doesn't read the variable"
            ),
        ),
    ],
    ids=str,
)
def test_a_terminal_that_cannot_redraw_gets_a_line_for_each_change(
    commands: Commands, variables: dict[str, str | None]
) -> None:
    commands.simulator.behavior.activation = (2, 2)
    with commands.terminal("activate", "40300", "--wait", variables=variables) as terminal:
        terminal.wait_for(lambda lines: lines and "queued" in lines[-1])
        assert terminal.exit_code() == 0
    queued, *others = terminal.screen[terminal.screen.index("queued; activation usually takes 10 to 15 minutes") :]
    assert queued not in others
    assert others[-2].startswith("#40300 is active: ")


def test_only_an_inactive_number_gets_the_hint_to_activate_it(commands: Commands) -> None:
    commands.simulator.set_state(40300, 2)
    done = commands.run("sms", "40300", "--wait", "--timeout", "0.05")
    assert done.code == 1
    newest, state, message = done.err.splitlines()
    assert newest.startswith("The newest so far, ")
    assert state == "#40300 is queued"
    assert re.fullmatch(
        r"smspva: order 40300 didn't receive the message within 0.05 s; it is queued; last answer: \S+ [\d:]{8};"
        r" last failure: none; you can wait again",
        message,
    )


def test_sms_waits_for_a_new_message(commands: Commands) -> None:
    with commands.start("sms", "40300", "--wait", "--json") as waiting:
        waiting.wait_until(lambda: "sms" in [request.method for request in commands.simulator.requests])
        commands.on_server(lambda: commands.simulator.deliver(40300, "Your code: 112233", sender="Instagram"))
        done = waiting.result()
    assert (done.code, [row["code"] for row in done.rows]) == (0, ["112233"])
    assert done.err.splitlines()[1:] == ["#40300 is inactive; activate it with smspva activate 40300"]


def deliver(commands: Commands, text: str, *, seconds: int) -> None:
    """Deliver a message that came some seconds ago."""
    date = int((datetime.now(UTC) - timedelta(seconds=seconds)).timestamp())
    commands.on_server(lambda: commands.simulator.deliver(40301, text, date=date))


def test_a_wait_that_begins_after_the_message_shows_it_with_its_age(commands: Commands) -> None:
    deliver(commands, "Code 112233", seconds=290)
    deliver(commands, "Code 445566", seconds=130)
    done = commands.run("sms", "40301", "--wait", "--timeout", "0.05")
    assert (done.code, done.out) == (1, "")
    newest, _ = done.err.splitlines()
    assert re.fullmatch(
        r"The newest so far, 2 min old: \S+ [\d:]{8}  445566  INFO: Code 445566 \(--since 3m takes it\)", newest
    )
    taken = commands.run("sms", "40301", "--wait", "--since", "3m", "--json")
    assert (taken.code, taken.err, [row["code"] for row in taken.rows]) == (0, "", ["445566"])
    assert commands.run("sms", "40301", "--wait", "--since", "5m", "--code").out == "445566\n"


def test_a_message_older_than_since_is_not_taken(commands: Commands) -> None:
    deliver(commands, "Code 445566", seconds=130)
    done = commands.run("sms", "40301", "--wait", "--since", "2m", "--timeout", "0.05")
    assert (done.code, done.out) == (1, "")
    commands.on_server(lambda: commands.simulator.deliver(40301, "undated", date=None))
    assert commands.run("sms", "40301", "--wait", "--since", "2m", "--timeout", "0.05").code == 1


def test_old_messages_get_no_hint_and_undated_ones_no_age(commands: Commands) -> None:
    deliver(commands, "Code 445566", seconds=2 * 86_400 + 60)
    newest = commands.run("sms", "40301", "--wait", "--timeout", "0.05").err.splitlines()[0]
    assert newest.startswith("The newest so far, 2 days old: ")
    assert newest.endswith("Code 445566")
    commands.on_server(lambda: commands.simulator.deliver(40302, "Hello", date=None))
    newest = commands.run("sms", "40302", "--wait", "--timeout", "0.05").err.splitlines()[0]
    assert newest == "The newest so far, of unknown age: INFO: Hello"


def test_without_wait_since_chooses_the_messages(commands: Commands) -> None:
    deliver(commands, "Code 112233", seconds=290)
    deliver(commands, "Code 445566", seconds=130)
    deliver(commands, "Welcome", seconds=100)
    assert [row["code"] for row in commands.run("sms", "40301", "--since", "3m", "--json").rows] == ["445566", None]
    none = commands.run("sms", "40301", "--since", "20")
    assert none.out == "No message in the last 20 s; the newest is 1 min old (--since 2m takes it).\n"
    assert commands.run("sms", "40300", "--since", "20").out.startswith("No message in the last 20 s; the newest is ")
    assert commands.run("sms", "40302", "--since", "20").out == "No messages.\n"
    assert commands.run("sms", "40301", "--code").out == "445566\n"
    none = commands.run("sms", "40301", "--code", "--since", "2m")
    assert (none.code, none.out) == (1, "")
    assert none.err == (
        "smspva: sms: #40301 has no message with a code in the last 120 s; the newest is 2 min old"
        " (--since 3m takes it); --wait waits for one\n"
    )
    none = commands.run("sms", "40302", "--code")
    assert (none.code, none.out) == (1, "")
    assert none.err == "smspva: sms: #40302 has no message with a code; --wait waits for one\n"


def test_a_wait_for_a_code_passes_over_messages_without_one(commands: Commands) -> None:
    with commands.start("sms", "40301", "--wait", "--code") as waiting:
        waiting.wait_until(lambda: "sms" in [request.method for request in commands.simulator.requests])
        commands.on_server(lambda: commands.simulator.deliver(40301, "Welcome"))
        commands.on_server(lambda: commands.simulator.deliver(40301, "Code 112233"))
        assert waiting.result() == Result(0, "112233\n", "")


def test_a_wait_for_a_code_describes_the_newest_message_that_has_one(commands: Commands) -> None:
    deliver(commands, "Code 445566", seconds=130)
    deliver(commands, "Welcome", seconds=30)
    done = commands.run("sms", "40301", "--wait", "--code", "--since", "1m", "--timeout", "0.05")
    newest, _ = done.err.splitlines()
    assert newest.endswith("INFO: Code 445566 (--since 3m takes it)")
    commands.on_server(lambda: commands.simulator.deliver(40302, "Welcome"))
    done = commands.run("sms", "40302", "--wait", "--code", "--timeout", "0.05")
    assert "newest" not in done.err


@pytest.fixture
def fleet() -> Iterator[str]:
    for server in running():
        yield server.url


@pytest.mark.parametrize("variable", [None, "SMSPVA_FLEET"])
def test_a_message_between_the_first_read_and_the_wait_is_taken(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, variable: str | None
) -> None:
    environment = {} if variable is None else {variable: request.getfixturevalue("fleet")}
    deliver(commands, "Code 445566", seconds=130)
    orders = SmspvaClient.orders

    async def deliver_first(client: SmspvaClient) -> Rows[Order]:
        monkeypatch.setattr(SmspvaClient, "orders", orders)
        commands.on_server(lambda: commands.simulator.deliver(40301, "Code 112233"))
        return await orders(client)

    monkeypatch.setattr(SmspvaClient, "orders", deliver_first)
    done = commands.run("sms", "40301", "--wait", "--json", "--timeout", "2", **environment)
    assert [row["code"] for row in done.rows] == ["112233"]


def test_rows_that_cannot_be_read_are_reported_before_a_wait(commands: Commands) -> None:
    commands.simulator.faults.next("sms", "nameless_row")
    done = commands.run("sms", "40300", "--wait", "--timeout", "0.05")
    skipped, *_, state = done.err.splitlines()[:3]
    assert "skipped a row" in skipped
    assert state.startswith("#40300 is inactive")


def last_line_ends_with(end: str, lines: list[str]) -> bool:
    return bool(lines) and lines[-1].endswith(end)


def test_ctrl_c_says_what_goes_on_at_the_provider(commands: Commands) -> None:
    until = f"{commands.simulator.orders[0].until.astimezone():%Y-%m-%d %H:%M}"
    commands.simulator.behavior.activation = (60, 60)
    for name, order_id, progress, note in (
        (
            "sms",
            "40301",
            "waiting for a message",
            f"The wait ended; #40301 stays rented until {until}. smspva sms 40301 prints what comes later.",
        ),
        (
            "activate",
            "40300",
            "queued; activation usually takes 10 to 15 minutes",
            "The wait ended; if the activation of #40300 was requested, it goes on. smspva orders shows its status.",
        ),
    ):
        with commands.terminal(name, order_id, "--wait") as terminal:
            terminal.wait_for(partial(last_line_ends_with, progress))
            terminal.type("\x03")
            assert terminal.exit_code() == 130
            assert [line for line in terminal.screen if line] == [note]  # the progress line is gone


def test_a_message_equal_to_an_earlier_one_is_new(commands: Commands) -> None:
    with commands.start("sms", "40300", "--wait", "--json") as waiting:
        waiting.wait_until(lambda: "sms" in [request.method for request in commands.simulator.requests])
        text = "Code Instagram: 671 094."
        commands.on_server(lambda: commands.simulator.deliver(40300, text, sender="FACEBOOK", date=1586948100))
        done = waiting.result()
    assert (done.code, [row["code"] for row in done.rows]) == (0, ["671094"])


def test_a_wait_that_times_out_exits_with_1(commands: Commands) -> None:
    done = commands.run("sms", "40301", "--wait", "--timeout", "0.05")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("smspva: order 40301 didn't receive the message within 0.05 s")
    assert done.err.count("\n") == 1


def test_an_unlisted_order_is_not_waited_for(commands: Commands) -> None:
    for name, message in (("sms", "Order id not found"), ("activate", "order 7 isn't listed")):
        done = commands.run(name, "7", "--wait")
        assert (done.code, done.out) == (1, "")
        assert message in done.err


def test_rows_that_cannot_be_read_are_reported(commands: Commands) -> None:
    commands.simulator.faults.next("orders", "nameless_row")
    done = commands.run("orders", "--json")
    assert (done.code, len(done.rows)) == (0, 2)
    assert done.err.startswith("smspva: skipped a row of the answer that can't be read: ")


HOSTILE = "[taobao] a\x1b[2J\x1b]0;title\x07 [/b] [link=https://example.com]b[/link] :smile:\x9b31m\u202e"
PRINTED = r"[taobao] a\x1b[2J\x1b]0;title\x07 [/b] [link=https://example.com]b[/link] :smile:\x9b31m"


@pytest.mark.parametrize("terminal", [False, True])
def test_text_from_others_is_printed_without_control_characters(commands: Commands, *, terminal: bool) -> None:
    sim = commands.simulator
    sim.deliver(40301, HOSTILE, sender=HOSTILE)
    for order in sim.orders:
        order.service_name = HOSTILE
    poland = sim.catalogue["PL"]
    poland.offers["opt7"].name = HOSTILE
    cast("dict[str, object]", sim.catalogue)["PL"] = evolve(poland, name=HOSTILE)
    for times, arguments in [
        (2, ["sms", "40301"]),
        (3, ["orders"]),
        (1, ["offers", "PL"]),
        (1, ["offers", "PL", "--providers"]),
        (1, ["countries"]),
        (1, ["activate", "40301", "--wait"]),
        (3, ["rent", "PL", "opt7", "--yes"]),
        (1, ["delete", "40300", "--yes"]),
    ]:
        if terminal:
            with commands.terminal(*arguments, width=200) as process:
                code, printed = process.exit_code(), process.raw
        else:
            done = commands.run(*arguments)
            code, printed = done.code, done.out + done.err
        assert code == 0, printed
        assert printed.count(PRINTED) == times
        assert not {"\x07", "\x9b", "\u202e"} & set(printed)
        assert not re.search(r"\x1b(?!\[[0-9;?]*[A-Za-z])|\x1b\[2J", printed)
