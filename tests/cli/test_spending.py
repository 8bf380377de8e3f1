"""Commands that spend money show the price, ask, and are not repeated by accident."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle
from time import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from smspva_async import JournalError, Offer, Rental, Rows, SmspvaClient
from smspva_async._purchases.store import SqliteLedger
from smspva_async.simulator import Simulator
from tests.support.command_processes import CLOSED_PIPE, Result, needs_full_disk
from tests.support.commands import KEY, Commands, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from smspva_async._purchases.store import Record

SPENDING = {"create", "create_multi", "prolong", "prolong_max", "add_service_to_order", "delete", "restore_user"}


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with one number and one past order."""
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract", balance=100)
    sim.set_offer("PL", "opt29", price_day="0.50", count=7)
    sim.set_offer("PL", "opt16", price_day="0.25", count=9)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    sim.add_order("PL", "opt16", order_id=40300, phone="+48500403000", until=until)
    sim.add_order("PL", "opt16", order_id=500, phone="+48500000500", until=sim.now - timedelta(days=2))
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def spending_requests(commands: Commands) -> list[str]:
    """Return the methods of the spending requests that the server received."""
    return [request.method for request in commands.simulator.requests if request.method in SPENDING]


CASES = {
    "rent": (
        ["rent", "PL", "opt29", "--weeks", "2"],
        "Rent a number in PL for opt29 Telegram, 2 weeks (14 days)",
        ["opt29 Telegram: about $7.00 (14 days at $0.50 per day); 7 available"],
        "create",
    ),
    "rent several": (
        ["rent", "PL", "opt29", "opt16"],
        "Rent a number in PL for opt29 Telegram, opt16 Instagram, 1 week (7 days)",
        [
            "opt29 Telegram: about $3.50 (7 days at $0.50 per day); 7 available",
            "opt16 Instagram: about $1.75 (7 days at $0.25 per day); 9 available",
            "total: about $5.25",
        ],
        "create_multi",
    ),
    "prolong": (
        ["prolong", "40300", "--months", "1"],
        "Prolong #40300, +48500403000, Instagram, until {until} by 1 month (30 days)",
        ["about $7.50 (30 days at $0.25 per day)"],
        "prolong",
    ),
    "prolong by days": (
        ["prolong", "40300", "--days", "3"],
        "Prolong #40300, +48500403000, Instagram, until {until} by 3 days",
        ["about $0.75 (3 days at $0.25 per day)"],
        "prolong_max",
    ),
    "add service": (
        ["add-service", "40300", "opt29", "--days", "3"],
        "Add opt29 Telegram to #40300, +48500403000, Instagram, until {until}",
        ["about $1.50 (3 days at $0.50 per day)"],
        "add_service_to_order",
    ),
    "restore": (
        ["restore", "500"],
        "Restore #500, +48500000500, Instagram",
        ["$8.25 (3 days overdue, 30 days prepaid)"],
        "restore_user",
    ),
    "delete": (
        ["delete", "40300"],
        "Delete #40300, +48500403000, Instagram, until {until}",
        ["this can't be undone; there is no refund once a message was received"],
        "delete",
    ),
}


def question(commands: Commands, case: str) -> list[str]:
    """Return the lines that a command shows before it asks."""
    until = f"{commands.simulator.order(40300).until.astimezone():%Y-%m-%d %H:%M}"
    return [CASES[case][1].format(until=until), *(f"  {detail}" for detail in CASES[case][2])]


@pytest.mark.parametrize("case", CASES)
def test_without_a_terminal_the_option_yes_is_required(commands: Commands, case: str) -> None:
    arguments, _, _, method = CASES[case]
    shown = question(commands, case)
    done = commands.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        *shown,
        "smspva: there is no terminal to ask on; nothing was sent; confirm with --yes",
    ]
    assert spending_requests(commands) == []
    done = commands.run(*arguments, "--yes", "--json")
    assert (done.code, done.err.splitlines()) == (0, shown)
    assert spending_requests(commands) == [method]
    assert len([row["id"] for row in done.rows]) == 1
    assert KEY.encode() not in commands.ledger.read_bytes()
    assert stat.S_IMODE(commands.ledger.stat().st_mode) == 0o600
    recorded = commands.run("purchases", "--json").rows
    assert [(row["method"], row["outcome"]) for row in recorded] == [(method, "done")]


@pytest.mark.parametrize(("case", "width"), [*zip(CASES, cycle([60, 120]))])
def test_on_a_terminal_the_command_asks(commands: Commands, case: str, width: int) -> None:
    arguments, _, _, method = CASES[case]
    shown = "".join(question(commands, case))
    with commands.terminal(*arguments, width=width) as terminal:
        terminal.wait_for_question()
        assert "".join("".join(terminal.screen).split()) == "".join(f"{shown}Continue? [y/N]:".split())
        assert spending_requests(commands) == []
        terminal.type("y\n")
        assert terminal.exit_code() == 0
        assert re.search(r"rented|prolonged|added|restored|deleted", "".join(terminal.screen), re.IGNORECASE)
    assert spending_requests(commands) == [method]


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x03", "\x04"], ids=["n", "enter", "ctrl-c", "ctrl-d"])
def test_nothing_is_sent_after_the_answer_no(commands: Commands, answer: str) -> None:
    with commands.terminal("rent", "PL", "opt29") as terminal:
        terminal.wait_for_question()
        terminal.type(answer)
        assert terminal.exit_code() == 130
        assert terminal.screen[-1] == "Nothing was sent."
    assert spending_requests(commands) == []


def test_an_unknown_price_is_reported(commands: Commands) -> None:
    sim = commands.simulator
    done = commands.run("add-service", "40300", "opt29", "--yes")
    assert "  $0.50 per day; the provider decides the number of days" in done.err.splitlines()
    del sim.catalogue["PL"].offers["opt16"]
    shown = commands.run("prolong", "40300").err.splitlines()
    assert "  the price is unknown: the provider lists none now" in shown
    sim.faults.next("orders", "nameless_row")  # it may be the order's
    done = commands.run("prolong", "77")
    assert done.err.splitlines()[-3:-1] == [
        "Prolong order 77, which isn't listed, by 1 week (7 days)",
        "  the price is unknown: the order isn't listed",
    ]
    sim.faults.next("getdata", "nameless_row")  # it may be the service's
    done = commands.run("rent", "PL", "opt16", "--yes")
    assert "  opt16: the price is unknown, because it isn't offered now" in done.err.splitlines()
    assert (done.code, "nothing was charged" in done.err.splitlines()[-1]) == (1, True)


def test_several_services_share_one_number(commands: Commands) -> None:
    commands.simulator.behavior.multi_orders = "joined"
    done = commands.run("rent", "PL", "opt29", "opt16", "--yes")
    assert done.code == 0
    order = commands.simulator.orders[-1]
    until = f"{order.until.astimezone():%Y-%m-%d %H:%M}"
    assert done.out == f"Rented: #{order.id}  {order.phone}  opt16 Instagram, opt29 Telegram  until {until}\n"
    # The number is prolonged for all services.
    shown = commands.run("prolong", str(order.id), "--days", "2").err.splitlines()
    assert (
        shown[0] == f"Prolong #{order.id}, {order.phone}, Telegram, Instagram (opt16, opt29), until {until} by 2 days"
    )
    assert shown[1] == "  about $1.50 (2 days at $0.75 per day)"


@pytest.mark.parametrize("price", ["7", "7.00", "100"])
def test_a_number_is_rented_up_to_max_price(commands: Commands, price: str) -> None:
    done = commands.run("rent", "PL", "opt29", "--weeks", "2", "--max-price", price, "--yes")
    assert (done.code, done.err.splitlines()) == (0, question(commands, "rent"))
    assert done.out.startswith("Rented: #")
    assert spending_requests(commands) == ["create"]


def test_nothing_is_sent_above_max_price(commands: Commands) -> None:
    for form in ([], ["--json"]):
        done = commands.run("rent", "PL", "opt29", "--weeks", "2", "--max-price", "6.99", *form)  # no question
        assert done == Result(
            1,
            "",
            "smspva: rent: opt29 in PL costs about $7.00 for 14 days (an estimate without rebates), more than"
            " --max-price; nothing was sent\n",
        )
    assert spending_requests(commands) == []


def test_nothing_is_sent_if_max_price_is_set_and_the_price_is_unknown(commands: Commands) -> None:
    commands.simulator.faults.next("getdata", "refusal", msg="UNKNOWN SERVICE OR COUNTRY")
    done = commands.run("rent", "PL", "opt29", "--max-price", "100", "--yes")
    price = "the price of opt29 in PL is unknown (UNKNOWN SERVICE OR COUNTRY)"
    message = f"{price}, so it can't be compared with --max-price; nothing was sent"
    assert done == Result(1, "", f"smspva: rent: {message}\n")
    assert spending_requests(commands) == []


def test_a_price_that_rises_during_the_question_is_not_paid(commands: Commands) -> None:
    with commands.terminal("rent", "PL", "opt29", "--max-price", "3.50") as terminal:
        terminal.wait_for_question()
        commands.on_server(lambda: commands.simulator.set_offer("PL", "opt29", price_day="0.51"))
        terminal.type("y\n")
        assert terminal.exit_code() == 1
        screen = " ".join(terminal.screen)
    assert "rent: opt29 in PL costs about $3.57 for 7 days (an estimate without rebates), more than" in screen
    assert spending_requests(commands) == []


def test_a_prolongation_with_a_lost_answer_is_not_repeated_with_days(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "lost")
    assert commands.run("prolong", "40300", "--yes").code == 3
    done = commands.run("prolong", "40300", "--days", "2", "--yes")
    assert done.code == 3
    assert done.err.startswith("smspva: the outcome of prolong 40300 --weeks 1, started ")
    assert spending_requests(commands) == ["prolong"]


def test_missing_values_are_shown_as_unknown(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    async def offers(*_: object) -> Rows[Offer]:
        return Rows([Offer("Telegram", "opt29", None, 4), Offer("Instagram", "opt16", Decimal("0.5"), None)])

    async def rent(*_: object, **__: object) -> Rental:
        return Rental(77)

    monkeypatch.setattr(SmspvaClient, "offers", offers)
    monkeypatch.setattr(SmspvaClient, "rent", rent)
    shown = commands.run("rent", "PL", "opt29", "opt16").err.splitlines()
    assert shown[1:3] == [
        "  opt29 Telegram: the price is unknown; 4 available",
        "  opt16 Instagram: about $3.50 (7 days at $0.50 per day); availability unknown",
    ]
    assert not any("total" in line for line in shown)
    done = commands.run("rent", "PL", "opt16", "--yes")
    assert done.out == "Rented: #77  unknown number  unknown service  until unknown\n"


def test_a_call_with_a_lost_answer_exits_with_3_and_is_not_repeated(commands: Commands) -> None:
    sim = commands.simulator
    sim.faults.next("create", "lost")
    done = commands.run("rent", "PL", "opt29", "--yes")
    assert (done.code, done.out) == (3, "")
    assert re.fullmatch(
        r"smspva: rent: the request was sent, but its outcome is unknown \(.*\); don't repeat it; run smspva unsettled"
        " to check",
        done.err.splitlines()[-1],
    )
    again = commands.run("rent", "PL", "opt29", "--yes")
    assert again.code == 3
    refused = re.fullmatch(
        r"smspva: the outcome of rent PL opt29 --weeks 1, started \S+ \S+ \((\w{8})\), is unknown; nothing was sent,"
        r" because this could repeat it; run smspva unsettled to check\n",
        again.err,
    )
    assert refused is not None
    assert spending_requests(commands) == ["create"]
    several = commands.run("rent", "PL", "opt16", "opt29", "--yes")
    assert several.code == 3
    assert "rent PL opt29 --weeks 1, started " in several.err
    assert commands.run("rent", "PL", "OPT29", "--yes").code == 3  # the provider may accept both
    assert spending_requests(commands) == ["create"]
    assert commands.run("rent", "PL", "opt16", "--yes").code == 0  # another purchase is no repetition
    found = commands.run("unsettled")
    assert found.out.startswith(f"{refused[1]}  ")
    bought = next(order for order in sim.orders if order.service == "opt29")
    assert (found.code, found.err) == (0, "")
    assert found.out.endswith(f": was done: #{bought.id} {bought.phone}; settled\n")
    assert commands.run("unsettled").out == "No unsettled purchases.\n"
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0


def test_ctrl_c_before_the_call_says_that_nothing_was_bought(commands: Commands) -> None:
    commands.simulator.faults.always("getdata", "hang")
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "getdata" in [request.method for request in commands.simulator.requests])
        renting.send_signal(signal.SIGINT)
        assert renting.result() == Result(130, "", "This command bought or deleted nothing.\n")
    assert spending_requests(commands) == []


def test_an_open_call_exits_with_3_until_it_is_settled(commands: Commands) -> None:
    sim = commands.simulator
    sim.faults.next("create", "hang", done=False)
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spending_requests(commands))
        renting.send_signal(signal.SIGINT)
        ended = renting.result()
    assert ended.code == 3  # interrupted, but the call may have been done
    assert ended.err.count("\n") == 3  # the action, its price and the outcome
    assert "rent: the request was sent, but its outcome is unknown" in ended.err.splitlines()[-1]

    done = commands.run("unsettled", "--json")
    assert done.code == 3
    (row,) = done.rows
    assert (row["method"], row["verdict"], row["settled"], row["candidates"]) == ("create", "open", False, [])
    assert row["params"]["service"] == "opt29"
    assert "may have been done; check again later, or --settle it" in commands.run("unsettled").out

    assert commands.run("unsettled", "--settle", "zzz", "--yes").code == 2
    refused = commands.run("unsettled", "--settle", row["call"][:8])
    assert refused.code == 2
    assert refused.err.startswith(f"Settle {row['call'][:8]}  ")
    settled = commands.run("unsettled", "--settle", row["call"][:8], "--yes", "--json")
    assert (settled.code, settled.rows[0]["settled"]) == (0, True)
    assert commands.run("unsettled").out == "No unsettled purchases.\n"


def test_a_call_proved_not_done_is_settled(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    commands.simulator.faults.next("delete", "hang", done=False)
    with commands.start("delete", "40300", "--yes") as deleting:
        deleting.wait_until(lambda: "delete" in spending_requests(commands))
        deleting.send_signal(signal.SIGKILL)  # before it can record an outcome
        assert deleting.result().code == -signal.SIGKILL
    order = commands.simulator.order(40300)
    done = commands.run("unsettled")
    assert done.code == 3  # the list may be older than the call
    assert f"may have been done (candidates: #40300 {order.phone}); check again later, or --settle it" in done.out
    # Twenty minutes later, on this machine and at the provider.
    clock = commands.simulator._clock
    monkeypatch.setattr(clock, "_start", clock._start + timedelta(minutes=20))
    monkeypatch.setattr("smspva_async._server_clock.time", SimpleNamespace(time=lambda: time() + 1200))
    order._previous_online = 0.0
    done = commands.run("unsettled")
    assert done.code == 0
    assert "was not done and can be repeated; settled" in done.out
    assert commands.run("delete", "40300", "--yes").code == 0


def test_the_ledger_option_replaces_the_default_ledger(commands: Commands, tmp_path: Path) -> None:
    assert commands.run("rent", "PL", "opt29", "--yes", "--ledger", str(tmp_path / "mine")).code == 0
    assert b"create" in (tmp_path / "mine").read_bytes()
    assert not (commands.folder / "state").exists()
    (tmp_path / "file").write_text("")
    done = commands.run("rent", "PL", "opt29", "--yes", XDG_STATE_HOME=str(tmp_path / "file"))
    assert done.code == 2
    assert re.match("smspva: can't create the folder .* for the ledger", done.err)
    assert spending_requests(commands) == ["create"]


def test_each_account_and_local_server_has_its_own_ledger(commands: Commands) -> None:
    commands.simulator.api_key = None
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0
    assert commands.run("rent", "PL", "opt29", "--yes", SMSPVA_API_KEY="another-account").code == 0
    with serving(Simulator(start=datetime.now(UTC)), commands.folder) as elsewhere:
        assert elsewhere.run("rent", "PL", "opt29", "--yes").code == 0
    assert len(list((commands.folder / "state" / "smspva").iterdir())) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in the file system")
@pytest.mark.parametrize("byte_order_mark", ["", "\ufeff"])
def test_the_key_can_be_read_from_a_pipe(commands: Commands, byte_order_mark: str) -> None:
    os.mkfifo(pipe := commands.folder / "pipe")

    def write_once() -> bool:  # as `<(pass smspva)` does
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no reader yet
            return False
        os.write(writer, f"{byte_order_mark}{KEY}\n".encode())
        os.close(writer)
        return True

    key = ("--api-key-file", str(pipe))
    with commands.start("rent", "PL", "opt29", "--yes", *key, variables={"SMSPVA_API_KEY": "another"}) as renting:
        renting.wait_until(write_once)
        done = renting.result()
    assert (done.code, done.out[:8]) == (0, "Rented: "), done.err


@needs_full_disk
@pytest.mark.parametrize("case", ["rent several", "delete"])
@pytest.mark.parametrize("form", ["--json", ""])
def test_a_result_that_cannot_be_printed_goes_to_standard_error(commands: Commands, case: str, form: str) -> None:
    arguments, _, _, method = CASES[case]
    with commands.start(*arguments, "--yes", *form.split(), stdout="/dev/full") as process:
        done = process.result()
    assert done.code == 3  # 1 would mean that nothing was done
    *_, one, last = done.err.splitlines()
    assert re.match(r"Rented: #\d|#40300 was deleted", one)
    assert done.err.count("Rented: #") == (1 if case == "rent several" else 0)
    assert last.startswith(
        "smspva: the call was done, but its result can't be written to standard output: No space left"
    )
    assert spending_requests(commands) == [method]


@needs_full_disk
def test_a_new_interpreter_exits_with_3_on_a_full_disk(commands: Commands) -> None:
    done = commands.run_in_shell("rent PL opt29 --yes --json > /dev/full")
    assert (done.code, done.err.count("Rented: #"), "Traceback" in done.err) == (3, 1, False)


@needs_full_disk
def test_nothing_is_bought_if_the_price_cannot_be_shown(commands: Commands) -> None:
    for stdout in (None, "/dev/full"):
        with commands.start("rent", "PL", "opt29", "--yes", stdout=stdout, stderr="/dev/full") as renting:
            assert renting.result() == Result(2, "", "")
    assert spending_requests(commands) == []


def test_after_a_closed_pipe_the_result_goes_to_standard_error(commands: Commands) -> None:
    with commands.start("rent", "PL", "opt29", "opt16", "--yes", stdout=CLOSED_PIPE) as renting:
        done = renting.result()
    assert (done.code, done.err.count("Rented: #")) == (0, 1)


@pytest.mark.parametrize(
    "closed", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("<&-", ">&-", "2>&-")), "<&- >&- 2>&-"]
)
def test_closed_standard_streams_are_not_an_error(commands: Commands, closed: str) -> None:
    done = commands.run_in_shell(f"rent PL opt29 {closed}")
    assert done.code == 2
    assert "Traceback" not in done.err
    assert commands.run_in_shell(f"rent PL opt29 --yes {closed}").code == 0
    assert spending_requests(commands) == ["create"]


def test_a_call_lost_by_another_command_during_the_question_is_not_repeated(commands: Commands) -> None:
    with commands.terminal("rent", "PL", "opt29", "opt16") as terminal:
        terminal.wait_for_question()
        commands.simulator.faults.next("create_multi", "lost")
        assert commands.run("rent", "PL", "opt16", "opt29", "--yes").code == 3
        terminal.type("y\n")
        assert terminal.exit_code() == 3
        assert "rent PL opt16 opt29 --weeks 1, started " in " ".join(terminal.screen)
    assert spending_requests(commands) == ["create_multi"]


def test_repeated_ctrl_c_does_not_hide_what_was_sent(commands: Commands) -> None:
    commands.simulator.faults.next("create", "hang", done=True)
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spending_requests(commands))

        def has_ended() -> bool:
            if not renting.has_ended:
                renting.send_signal(signal.SIGINT)
            return renting.has_ended

        renting.wait_until(has_ended)
        done = renting.result()
    assert (done.code, "Traceback" in done.err) == (3, False)
    assert "rent: the request was sent, but its outcome is unknown" in done.err.splitlines()[-1]


def test_refused_prices_do_not_prevent_a_purchase(commands: Commands) -> None:
    commands.simulator.faults.next("getdata", "refusal", count=3, msg="UNKNOWN SERVICE OR COUNTRY")
    for command in (["prolong", "40300"], ["rent", "PL", "opt29"], ["add-service", "40300", "opt29"]):
        shown = commands.run(*command, "--yes").err.splitlines()
        assert "  the price is unknown: UNKNOWN SERVICE OR COUNTRY" in shown
    assert spending_requests(commands) == ["prolong", "create", "add_service_to_order"]


def test_a_damaged_ledger_is_reported(commands: Commands) -> None:
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0
    with closing(sqlite3.connect(commands.ledger)) as ledger, ledger:
        ledger.execute("UPDATE calls SET outcome = 'refused'")
    for command in (["unsettled"], ["purchases"], ["rent", "PL", "opt16", "--yes"]):
        done = commands.run(*command)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert re.match(r"smspva: the ledger .*damaged.*nothing was sent", done.err, re.IGNORECASE)
    assert spending_requests(commands) == ["create"]


def test_a_call_in_progress_in_another_program_is_not_repeated(commands: Commands) -> None:
    commands.simulator.faults.next("create", "hang")
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spending_requests(commands))
        again = commands.run("rent", "PL", "opt29", "--yes")
        assert again.code == 3
        assert re.fullmatch(
            r"smspva: rent PL opt29 --weeks 1, started \S+ \S+, is in progress in another program; nothing was sent,"
            r" because this could repeat it; smspva purchases shows its outcome later\n",
            again.err,
        )
        assert commands.run("unsettled").out == "No unsettled purchases.\n"
        assert [row["outcome"] for row in commands.run("purchases", "--json").rows] == ["unknown"]
        renting.send_signal(signal.SIGKILL)
        assert renting.result().code == -signal.SIGKILL
    assert spending_requests(commands) == ["create"]
    assert commands.run("unsettled").out.count(": was done: #") == 1


def test_a_purchase_whose_outcome_cannot_be_recorded_exits_with_3(commands: Commands) -> None:
    commands.simulator.faults.next("create", "latency", seconds=0.5)
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spending_requests(commands))
        ledger = commands.ledger
        ledger.rename(ledger.with_suffix(".kept"))
        ledger.mkdir()
        done = renting.result()
    assert done.code == 3  # 2 would mean that nothing was sent
    assert done.out.startswith("Rented: #")
    assert "smspva: the printed result isn't in the ledger: the ledger " in done.err.splitlines()[-1]
    ledger.rmdir()
    ledger.with_suffix(".kept").rename(ledger)
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3
    assert spending_requests(commands) == ["create"]


def test_a_lost_answer_is_reported_even_if_the_ledger_fails(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SqliteLedger.save

    async def save_no_outcome(ledger: SqliteLedger, unsaved: Callable[[], Sequence[Record]]) -> None:
        if any(record.outcome for record in unsaved()):
            raise JournalError("the ledger is full")
        await save(ledger, unsaved)

    monkeypatch.setattr(SqliteLedger, "save", save_no_outcome)
    commands.simulator.faults.next("create", "cut")
    done = commands.run("rent", "PL", "opt29", "--yes")
    assert (done.code, done.out) == (3, "")
    *_, failing, last = done.err.splitlines()
    assert failing.startswith("smspva: the printed result isn't in the ledger: the ledger is full; ")
    assert re.match(r"smspva: rent: the request was sent, but its outcome is unknown \(.+\); don't repeat", last)


def test_a_file_that_is_not_a_ledger_is_refused(commands: Commands, tmp_path: Path) -> None:
    (text := tmp_path / "ledger.txt").write_text("Dear diary")
    for command in (["unsettled"], ["purchases"], ["rent", "PL", "opt29", "--yes"]):
        done = commands.run(*command, "--ledger", str(text))
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert re.search("ledger.*nothing was sent", done.err, re.IGNORECASE)
    assert spending_requests(commands) == []


def test_a_skipped_row_is_reported_once(commands: Commands) -> None:
    commands.on_server(commands.simulator.add_order)
    commands.simulator.faults.next("orders", "nameless_row")
    printed = commands.run("rent", "PL", "opt29", "--yes").err
    assert (printed.count("smspva: "), printed.count("skipped a row of the answer that can't be read")) == (1, 1)


@pytest.mark.parametrize("case", CASES)
def test_an_error_before_the_call_says_that_nothing_was_bought_or_deleted(commands: Commands, case: str) -> None:
    arguments, _, _, method = CASES[case]
    commands.simulator.faults.next("orders", "refusal", msg="Closed for lunch")
    done = commands.run(*arguments, "--yes")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    note = "nothing was deleted" if method == "delete" else "nothing was bought"
    assert re.fullmatch(rf"smspva: orders: refused: Closed for lunch; {note} \[.*\]\n", done.err)
    commands.simulator.faults.next(method, "refusal", msg="Closed for lunch")  # type: ignore[arg-type]
    last = commands.run(*arguments, "--yes").err.splitlines()[-1]
    assert last.startswith(f"smspva: {arguments[0]}: refused: Closed for lunch")  # the command, not the method
    assert last.count("nothing was") == 1


@pytest.mark.parametrize("path", ["/proc/ledger", "/dev/null", "{folder}/text"])
def test_an_unusable_ledger_exits_with_2(commands: Commands, path: str) -> None:
    (commands.folder / "text").write_text("no ledger\n")
    done = commands.run("rent", "PL", "opt29", "--yes", "--ledger", path.format(folder=commands.folder))
    assert (done.code, done.out, done.err.count("smspva: ")) == (2, "", 1)
    assert "nothing was sent" in done.err.splitlines()[-1].casefold()
    assert spending_requests(commands) == []


@pytest.mark.parametrize("phone", ["+481", "+481234567890123456"])
def test_no_service_is_added_to_an_invalid_phone_number(commands: Commands, phone: str) -> None:
    commands.on_server(lambda: commands.simulator.add_order("PL", "opt16", order_id=7, phone=phone))
    done = commands.run("add-service", "7", "opt29", "--yes")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(
        rf"smspva: order 7 has no valid phone number: [^\n]*{re.escape(phone)}[^\n]*nothing was sent\n", done.err
    )
    assert spending_requests(commands) == []


@pytest.mark.parametrize("case", CASES)
def test_no_call_without_an_outcome_is_repeated(commands: Commands, case: str) -> None:
    arguments, _, _, method = CASES[case]
    commands.simulator.faults.next(method, "lost")  # type: ignore[arg-type]
    for _ in range(2):
        assert commands.run(*arguments, "--yes").code == 3
    assert spending_requests(commands) == [method]
    assert stat.S_IMODE(commands.ledger.parent.stat().st_mode) == 0o700


def test_a_refused_key_is_an_error_and_not_an_unknown_price(commands: Commands) -> None:
    commands.simulator.faults.next("getdata", "refusal", msg="Invalid apikey")
    done = commands.run("rent", "PL", "opt29", "--yes")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert spending_requests(commands) == []
