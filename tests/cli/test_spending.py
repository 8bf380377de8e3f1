"""What spends money shows its price, asks, and is never done twice."""

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
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smspva_async import JournalError, Offer, Rental, Rows, SmspvaClient
from smspva_async._purchases.store import SqliteLedger
from smspva_async.simulator import Simulator
from tests.support.command_processes import CLOSED_PIPE, Result
from tests.support.commands import KEY, Commands, serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smspva_async._purchases.store import Record

SPENDING = {"create", "create_multi", "prolong", "prolong_max", "add_service_to_order", "delete", "restore_user"}


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with one number, and one of the archive."""
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract", balance=100)
    sim.set_offer("PL", "opt29", price_day="0.50", count=7)
    sim.set_offer("PL", "opt16", price_day="0.25", count=9)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    sim.add_order("PL", "opt16", order_id=40300, phone="+48500403000", until=until)
    sim.add_order("PL", "opt16", order_id=500, phone="+48500000500", until=sim.now - timedelta(days=2))
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def spent(commands: Commands) -> list[str]:
    """Return the spending calls that the server was sent."""
    return [request.method for request in commands.simulator.requests if request.method in SPENDING]


DEEDS = {
    "rent": (
        ["rent", "PL", "opt29", "--weeks", "2"],
        "Rent a number in PL for opt29, 2 weeks (14 days)",
        ["opt29 Telegram: about $7.00: 14 days at $0.50 a day, an estimate; 7 available"],
        "create",
    ),
    "rent several": (
        ["rent", "PL", "opt29", "opt16"],
        "Rent a number in PL for opt29, opt16, 1 week (7 days)",
        [
            "opt29 Telegram: about $3.50: 7 days at $0.50 a day, an estimate; 7 available",
            "opt16 Instagram: about $1.75: 7 days at $0.25 a day, an estimate; 9 available",
            "together about $5.25",
        ],
        "create_multi",
    ),
    "prolong": (
        ["prolong", "40300", "--months", "1"],
        "Prolong #40300, +48500403000, Instagram, until {until} by 1 month (30 days)",
        ["about $7.50: 30 days at $0.25 a day, an estimate"],
        "prolong",
    ),
    "prolong by days": (
        ["prolong", "40300", "--days", "3"],
        "Prolong #40300, +48500403000, Instagram, until {until} by 3 days",
        ["about $0.75: 3 days at $0.25 a day, an estimate"],
        "prolong_max",
    ),
    "add service": (
        ["add-service", "40300", "opt29", "--days", "3"],
        "Add opt29 to #40300, +48500403000, Instagram, until {until}",
        ["about $1.50: 3 days at $0.50 a day, an estimate"],
        "add_service_to_order",
    ),
    "restore": (
        ["restore", "500"],
        "Restore #500, +48500000500, Instagram",
        ["$8.25: 3 days overdue, 30 days prepaid"],
        "restore_user",
    ),
    "delete": (
        ["delete", "40300"],
        "Delete #40300, +48500403000, Instagram, until {until}",
        ["it can't be undone; no refund once a message was received"],
        "delete",
    ),
}


def asked(commands: Commands, deed: str) -> list[str]:
    """Return what a deed shows before it is done."""
    until = f"{commands.simulator.order(40300).until.astimezone():%Y-%m-%d %H:%M}"
    return [DEEDS[deed][1].format(until=until), *(f"  {fact}" for fact in DEEDS[deed][2])]


@pytest.mark.parametrize("deed", DEEDS)
def test_without_a_terminal_it_takes_a_yes(commands: Commands, deed: str) -> None:
    arguments, _, _, method = DEEDS[deed]
    shown = asked(commands, deed)
    done = commands.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        *shown,
        "smspva: nothing was sent: there is no terminal to ask at, and without that it takes --yes",
    ]
    assert spent(commands) == []
    done = commands.run(*arguments, "--yes", "--json")
    assert (done.code, done.err.splitlines()) == (0, shown)
    assert spent(commands) == [method]
    assert len([row["id"] for row in done.rows]) == 1
    assert KEY.encode() not in commands.ledger.read_bytes()
    assert stat.S_IMODE(commands.ledger.stat().st_mode) == 0o600
    recorded = commands.run("purchases", "--json").rows
    assert [(row["method"], row["outcome"]) for row in recorded] == [(method, "done")]


@pytest.mark.parametrize(("deed", "width"), [*zip(DEEDS, cycle([60, 120]))])
def test_on_a_terminal_it_asks(commands: Commands, deed: str, width: int) -> None:
    arguments, _, _, method = DEEDS[deed]
    shown = "".join(asked(commands, deed))
    with commands.terminal(*arguments, width=width) as terminal:
        terminal.wait_for_question()
        assert "".join("".join(terminal.screen).split()) == "".join(f"{shown}Go on? [y/N]:".split())
        assert spent(commands) == []
        terminal.type("y\n")
        assert terminal.exit_code() == 0
        assert re.search(r"rented|prolonged|added|restored|deleted", "".join(terminal.screen), re.IGNORECASE)
    assert spent(commands) == [method]


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x03", "\x04"], ids=["n", "enter", "ctrl-c", "ctrl-d"])
def test_a_no_sends_nothing(commands: Commands, answer: str) -> None:
    with commands.terminal("rent", "PL", "opt29") as terminal:
        terminal.wait_for_question()
        terminal.type(answer)
        assert terminal.exit_code() == 130
        assert terminal.screen[-1] == "Nothing was sent."
    assert spent(commands) == []


def test_where_no_price_can_be_computed_it_says_so(commands: Commands) -> None:
    sim = commands.simulator
    done = commands.run("add-service", "40300", "opt29", "--yes")
    assert "  $0.50 a day; for how long, and so the price, is left to the provider" in done.err.splitlines()
    del sim.catalogue["PL"].offers["opt16"]
    shown = commands.run("prolong", "40300").err.splitlines()
    assert "  no price can be computed: the provider states none for it now" in shown
    done = commands.run("rent", "PL", "opt16", "--yes")
    assert "  opt16: no price can be computed: it isn't offered now" in done.err.splitlines()
    assert done.code == 1
    assert "nothing was charged" in done.err.splitlines()[-1]
    done = commands.run("prolong", "77")
    assert done.err.splitlines()[:2] == [
        "Prolong order 77, which isn't listed, by 1 week (7 days)",
        "  no price can be computed: the order isn't listed",
    ]


def test_several_services_are_one_number(commands: Commands) -> None:
    commands.simulator.behavior.multi_orders = "joined"
    done = commands.run("rent", "PL", "opt29", "opt16", "--yes")
    assert done.code == 0
    order = commands.simulator.orders[-1]
    until = f"{order.until.astimezone():%Y-%m-%d %H:%M}"
    assert done.out == f"Rented: #{order.id}  {order.phone}  opt16, opt29  until {until}\n"
    # It is prolonged for all of them.
    shown = commands.run("prolong", str(order.id), "--days", "2").err.splitlines()
    assert (
        shown[0] == f"Prolong #{order.id}, {order.phone}, Telegram, Instagram (opt16, opt29), until {until} by 2 days"
    )
    assert shown[1] == "  about $1.50: 2 days at $0.75 a day, an estimate"


@pytest.mark.parametrize("price", ["7", "7.00", "100"])
def test_within_the_highest_price_it_rents(commands: Commands, price: str) -> None:
    done = commands.run("rent", "PL", "opt29", "--weeks", "2", "--max-price", price, "--yes")
    assert (done.code, done.err.splitlines()) == (0, asked(commands, "rent"))
    assert done.out.startswith("Rented: #")
    assert spent(commands) == ["create"]


def test_above_the_highest_price_it_is_one_line_and_1(commands: Commands) -> None:
    for form in ([], ["--json"]):
        done = commands.run("rent", "PL", "opt29", "--weeks", "2", "--max-price", "6.99", *form)  # not even asked
        assert done == Result(
            1,
            "",
            "smspva: rent: opt29 in PL costs about $7.00 for 14 days (an estimate without rebates), more than"
            " --max-price; nothing was sent\n",
        )
    assert spent(commands) == []


@pytest.mark.parametrize("reason", ["not offered", "refused"])
def test_without_a_price_to_compare_it_is_one_line_and_1(commands: Commands, reason: str) -> None:
    if reason == "refused":
        commands.simulator.faults.next("getdata", "refusal", msg="UNKNOWN SERVICE OR COUNTRY")
    else:
        del commands.simulator.catalogue["PL"].offers["opt29"]
    done = commands.run("rent", "PL", "opt29", "--max-price", "100", "--yes")
    told = "smspva: rent: no price of opt29 in PL is known to compare with --max-price; nothing was sent\n"
    assert done == Result(1, "", told)
    assert spent(commands) == []


def test_a_price_that_rises_during_the_question_is_not_paid(commands: Commands) -> None:
    with commands.terminal("rent", "PL", "opt29", "--max-price", "3.50") as terminal:
        terminal.wait_for_question()
        commands.on_server(lambda: commands.simulator.set_offer("PL", "opt29", price_day="0.51"))
        terminal.type("y\n")
        assert terminal.exit_code() == 1
        told = " ".join(terminal.screen)
    assert "rent: opt29 in PL costs about $3.57 for 7 days (an estimate without rebates), more than" in told
    assert spent(commands) == []


def test_a_lost_prolongation_is_not_repeated_by_days(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "lost")
    assert commands.run("prolong", "40300", "--yes").code == 3
    done = commands.run("prolong", "40300", "--days", "2", "--yes")
    assert done.code == 3
    assert done.err.startswith("smspva: prolong 40300 --weeks 1 of ")
    assert spent(commands) == ["prolong"]


def test_what_the_server_leaves_out_is_told_as_unknown(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    async def offers(*_: object) -> Rows[Offer]:
        return Rows([Offer("Telegram", "opt29", None, 4), Offer("Instagram", "opt16", Decimal("0.5"), None)])

    async def rent(*_: object, **__: object) -> Rental:
        return Rental(77)

    monkeypatch.setattr(SmspvaClient, "offers", offers)
    monkeypatch.setattr(SmspvaClient, "rent", rent)
    shown = commands.run("rent", "PL", "opt29", "opt16").err.splitlines()
    assert shown[1:3] == [
        "  opt29 Telegram: no price can be computed: the provider states none; 4 available",
        "  opt16 Instagram: about $3.50: 7 days at $0.50 a day, an estimate; how many are available is unknown",
    ]
    assert not any("together" in line for line in shown)
    done = commands.run("rent", "PL", "opt16", "--yes")
    assert done.out == "Rented: #77  unknown number  unknown service  until unknown\n"


def test_a_lost_answer_is_3_and_is_not_repeated(commands: Commands) -> None:
    sim = commands.simulator
    sim.faults.next("create", "lost")
    done = commands.run("rent", "PL", "opt29", "--yes")
    assert (done.code, done.out) == (3, "")
    assert re.fullmatch(
        r"smspva: rent: it was sent, and it isn't known whether it was done \(.*\); don't repeat it: smspva unsettled"
        " looks into it",
        done.err.splitlines()[-1],
    )
    again = commands.run("rent", "PL", "opt29", "--yes")
    assert again.code == 3
    refused = re.fullmatch(
        r"smspva: rent PL opt29 --weeks 1 of \S+ \S+ \((\w{8})\) has no known outcome: nothing was sent,"
        r" as that might be the second time; smspva unsettled looks into it\n",
        again.err,
    )
    assert refused is not None
    assert spent(commands) == ["create"]
    several = commands.run("rent", "PL", "opt16", "opt29", "--yes")
    assert several.code == 3
    assert "rent PL opt29 --weeks 1 of " in several.err
    assert commands.run("rent", "PL", "OPT29", "--yes").code == 3  # which may be the same to the provider
    assert spent(commands) == ["create"]
    assert commands.run("rent", "PL", "opt16", "--yes").code == 0  # another purchase is nobody's second
    found = commands.run("unsettled")
    assert found.out.startswith(f"{refused[1]}  ")
    bought = next(order for order in sim.orders if order.service == "opt29")
    assert (found.code, found.err) == (0, "")
    assert found.out.endswith(f": was done: #{bought.id} {bought.phone}; settled\n")
    assert commands.run("unsettled").out == "Nothing is unsettled.\n"
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0


def test_what_stays_open_is_3_until_it_is_settled(commands: Commands) -> None:
    sim = commands.simulator
    sim.faults.next("create", "hang", done=False)
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spent(commands))
        renting.send_signal(signal.SIGINT)
        ended = renting.result()
    assert ended.code == 3  # Ctrl-C, but what it ended may have been done
    told = ended.err
    assert told.count("\n") == 3  # what it is about, with a price, and once how it ended
    assert "rent: it was sent, and it isn't known whether it was done" in told.splitlines()[-1]

    done = commands.run("unsettled", "--json")
    assert done.code == 3
    (row,) = done.rows
    assert (row["method"], row["verdict"], row["settled"], row["candidates"]) == ("create", "open", False, [])
    assert row["params"]["service"] == "opt29"
    assert "may have been done: look again later, or --settle it" in commands.run("unsettled").out

    assert commands.run("unsettled", "--settle", "zzz", "--yes").code == 2
    refused = commands.run("unsettled", "--settle", row["call"][:8])
    assert refused.code == 2
    assert refused.err.startswith(f"Settle {row['call'][:8]}  ")
    settled = commands.run("unsettled", "--settle", row["call"][:8], "--yes", "--json")
    assert (settled.code, settled.rows[0]["settled"]) == (0, True)
    assert commands.run("unsettled").out == "Nothing is unsettled.\n"


def test_what_is_proved_not_to_be_done_is_settled(commands: Commands) -> None:
    commands.simulator.faults.next("delete", "hang", done=False)
    with commands.start("delete", "40300", "--yes") as deleting:
        deleting.wait_until(lambda: "delete" in spent(commands))
        deleting.send_signal(signal.SIGKILL)  # before it could write that it ends
        assert deleting.result().code == -signal.SIGKILL
    order = commands.simulator.order(40300)
    done = commands.run("unsettled")
    assert done.code == 3  # the list may be as old as the call
    assert f"may have been done (candidates: #40300 {order.phone}): look again later, or --settle it" in done.out
    order._previous_online = 1200.0
    done = commands.run("unsettled")
    assert done.code == 0
    assert "was not done, so it may be repeated; settled" in done.out
    assert commands.run("delete", "40300", "--yes").code == 0


def test_the_ledger_may_be_elsewhere(commands: Commands, tmp_path: Path) -> None:
    assert commands.run("rent", "PL", "opt29", "--yes", "--ledger", str(tmp_path / "mine")).code == 0
    assert b"create" in (tmp_path / "mine").read_bytes()
    assert not (commands.folder / "state").exists()
    (tmp_path / "file").write_text("")
    done = commands.run("rent", "PL", "opt29", "--yes", XDG_STATE_HOME=str(tmp_path / "file"))
    assert done.code == 2
    assert "for the ledger can't be made" in done.err
    assert spent(commands) == ["create"]


def test_another_account_and_another_server_have_ledgers_of_their_own(commands: Commands) -> None:
    commands.simulator.api_key = None
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0
    assert commands.run("rent", "PL", "opt29", "--yes", SMSPVA_API_KEY="another-account").code == 0
    with serving(Simulator(start=datetime.now(UTC)), commands.folder) as elsewhere:
        assert elsewhere.run("rent", "PL", "opt29", "--yes").code == 0
    assert len(list((commands.folder / "state" / "smspva").iterdir())) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes to read from")
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_key_may_come_through_a_pipe(commands: Commands, mark: str) -> None:
    os.mkfifo(pipe := commands.folder / "pipe")

    def write_once() -> bool:  # as `<(pass smspva)` does
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            return False
        os.write(writer, f"{mark}{KEY}\n".encode())
        os.close(writer)
        return True

    key = ("--api-key-file", str(pipe))
    with commands.start("rent", "PL", "opt29", "--yes", *key, variables={"SMSPVA_API_KEY": "another"}) as renting:
        renting.wait_until(write_once)
        done = renting.result()
    assert (done.code, done.out[:8]) == (0, "Rented: "), done.err


needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")


@needs_full_disk
@pytest.mark.parametrize("deed", ["rent several", "delete"])
@pytest.mark.parametrize("form", ["--json", ""])
def test_what_cannot_be_printed_is_told_all_the_same(commands: Commands, deed: str, form: str) -> None:
    arguments, _, _, method = DEEDS[deed]
    with commands.start(*arguments, "--yes", *form.split(), stdout="/dev/full") as process:
        done = process.result()
    assert done.code == 3  # not 1, which says that nothing was done
    *_, one, last = done.err.splitlines()
    assert re.match(r"Rented: #\d|#40300 was deleted", one)
    assert done.err.count("Rented: #") == (1 if deed == "rent several" else 0)
    assert last.startswith("smspva: that was done, and can't be written to standard output: No space left")
    assert spent(commands) == [method]


@needs_full_disk
def test_a_new_interpreter_exits_with_3_on_a_full_disk(commands: Commands) -> None:
    done = commands.run_in_shell("rent PL opt29 --yes --json > /dev/full")
    assert (done.code, done.err.count("Rented: #"), "Traceback" in done.err) == (3, 1, False)


@needs_full_disk
def test_nothing_is_bought_when_its_price_cannot_be_shown(commands: Commands) -> None:
    for stdout in (None, "/dev/full"):
        with commands.start("rent", "PL", "opt29", "--yes", stdout=stdout, stderr="/dev/full") as renting:
            assert renting.result() == Result(2, "", "")
    assert spent(commands) == []


def test_what_a_closed_pipe_does_not_take_is_told_all_the_same(commands: Commands) -> None:
    with commands.start("rent", "PL", "opt29", "opt16", "--yes", stdout=CLOSED_PIPE) as renting:
        done = renting.result()
    assert (done.code, done.err.count("Rented: #")) == (0, 1)


@pytest.mark.parametrize(
    "closed", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("<&-", ">&-", "2>&-")), "<&- >&- 2>&-"]
)
def test_closed_streams_lead_nowhere(commands: Commands, closed: str) -> None:
    done = commands.run_in_shell(f"rent PL opt29 {closed}")
    assert done.code == 2
    assert "Traceback" not in done.err
    assert commands.run_in_shell(f"rent PL opt29 --yes {closed}").code == 0
    assert spent(commands) == ["create"]


def test_what_another_command_lost_while_it_was_asked_is_not_repeated(commands: Commands) -> None:
    with commands.terminal("rent", "PL", "opt29", "opt16") as terminal:
        terminal.wait_for_question()
        commands.simulator.faults.next("create_multi", "lost")
        assert commands.run("rent", "PL", "opt16", "opt29", "--yes").code == 3
        terminal.type("y\n")
        assert terminal.exit_code() == 3
        assert "rent PL opt16 opt29 --weeks 1 of " in " ".join(terminal.screen)
    assert spent(commands) == ["create_multi"]


def test_impatience_does_not_keep_it_from_saying_what_was_sent(commands: Commands) -> None:
    commands.simulator.faults.next("create", "hang", done=True)
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spent(commands))

        def has_ended() -> bool:
            if not renting.has_ended:
                renting.send_signal(signal.SIGINT)
            return renting.has_ended

        renting.wait_until(has_ended)  # more quickly than anybody's finger, and not so that Python does nothing else
        done = renting.result()
    assert (done.code, "Traceback" in done.err) == (3, False)
    assert "rent: it was sent, and it isn't known whether it was done" in done.err.splitlines()[-1]


def test_a_refused_look_at_prices_keeps_nobody_from_it(commands: Commands) -> None:
    commands.simulator.faults.next("getdata", "refusal", count=3, msg="UNKNOWN SERVICE OR COUNTRY")
    told = "no price can be computed"
    assert told in commands.run("prolong", "40300", "--yes").err
    assert f"{told}: UNKNOWN SERVICE OR COUNTRY" in commands.run("rent", "PL", "opt29", "--yes").err
    assert told in commands.run("add-service", "40300", "opt29", "--yes").err
    assert spent(commands) == ["prolong", "create", "add_service_to_order"]


def test_what_is_wrong_with_the_ledger_is_told(commands: Commands) -> None:
    assert commands.run("rent", "PL", "opt29", "--yes").code == 0
    with closing(sqlite3.connect(commands.ledger)) as ledger, ledger:
        ledger.execute("UPDATE calls SET outcome = 'refused'")
    for command in (["unsettled"], ["purchases"], ["rent", "PL", "opt16", "--yes"]):
        done = commands.run(*command)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert re.match(r"smspva: the ledger .* can't be used: it is damaged .* Nothing was sent", done.err)
    assert spent(commands) == ["create"]


def test_what_another_program_does_just_now_is_not_repeated(commands: Commands) -> None:
    commands.simulator.faults.next("create", "hang")
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spent(commands))
        again = commands.run("rent", "PL", "opt29", "--yes")
        assert again.code == 3
        assert re.fullmatch(
            r"smspva: rent PL opt29 --weeks 1 of \S+ \S+ is in progress in another program: nothing was sent, as that"
            r" might be the second time; smspva purchases lists its outcome later\n",
            again.err,
        )
        assert commands.run("unsettled").out == "Nothing is unsettled.\n"
        assert [row["outcome"] for row in commands.run("purchases", "--json").rows] == ["unknown"]
        renting.send_signal(signal.SIGKILL)
        assert renting.result().code == -signal.SIGKILL
    assert spent(commands) == ["create"]
    assert commands.run("unsettled").out.count(": was done: #") == 1


def test_a_purchase_whose_outcome_cannot_be_recorded_is_3(commands: Commands) -> None:
    commands.simulator.faults.next("create", "latency", seconds=0.5)
    with commands.start("rent", "PL", "opt29", "--yes") as renting:
        renting.wait_until(lambda: "create" in spent(commands))
        ledger = commands.ledger
        ledger.rename(ledger.with_suffix(".kept"))
        ledger.mkdir()
        done = renting.result()
    assert done.code == 3  # not 2, which says that nothing was sent
    assert done.out.startswith("Rented: #")
    assert "smspva: what was printed isn't in the ledger: the ledger " in done.err.splitlines()[-1]
    ledger.rmdir()
    ledger.with_suffix(".kept").rename(ledger)
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3
    assert spent(commands) == ["create"]


def test_a_lost_answer_is_told_although_the_ledger_fails_as_well(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SqliteLedger.save

    async def save_no_outcome(ledger: SqliteLedger, records: Iterable[Record]) -> None:
        if any(record.outcome for record in records):
            raise JournalError("the ledger is full")
        await save(ledger, records)

    monkeypatch.setattr(SqliteLedger, "save", save_no_outcome)
    commands.simulator.faults.next("create", "cut")
    done = commands.run("rent", "PL", "opt29", "--yes")
    assert (done.code, done.out) == (3, "")
    *_, failing, last = done.err.splitlines()
    assert failing.startswith("smspva: what was printed isn't in the ledger: the ledger is full; ")
    assert re.match(r"smspva: rent: it was sent, and it isn't known whether it was done \(.+\); don't repeat", last)


def test_a_file_that_is_no_ledger_is_refused(commands: Commands, tmp_path: Path) -> None:
    (first := tmp_path / "ledger.txt").write_text("Dear diary")
    for command in (["unsettled"], ["purchases"], ["rent", "PL", "opt29", "--yes"]):
        done = commands.run(*command, "--ledger", str(first))
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert re.search("it isn't a ledger .*Nothing was sent", done.err)
    assert spent(commands) == []


def test_what_the_library_warns_of_is_told_once(commands: Commands) -> None:
    commands.on_server(commands.simulator.add_order)
    commands.simulator.faults.next("orders", "nameless_row")
    told = commands.run("rent", "PL", "opt29", "--yes").err
    assert (told.count("smspva: "), told.count("a row of the answer can't be read and is left out")) == (1, 1)


@pytest.mark.parametrize("deed", DEEDS)
def test_what_it_fails_on_before_says_that_nothing_was_done(commands: Commands, deed: str) -> None:
    arguments, _, _, method = DEEDS[deed]
    commands.simulator.faults.next("orders", "refusal", msg="Closed for lunch")
    done = commands.run(*arguments, "--yes")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    spared = "nothing was deleted" if method == "delete" else "nothing was bought"
    assert re.fullmatch(rf"smspva: orders: refused: Closed for lunch; {spared} \[.*\]\n", done.err)
    commands.simulator.faults.next(method, "refusal", msg="Closed for lunch")  # type: ignore[arg-type]
    last = commands.run(*arguments, "--yes").err.splitlines()[-1]
    assert last.startswith(f"smspva: {arguments[0]}: refused: Closed for lunch")  # as it was typed
    assert last.count("nothing was") == 1


@pytest.mark.parametrize("place", ["/proc/ledger", "/dev/null", "{folder}/text"])
def test_a_ledger_that_cannot_be_used_is_one_line_and_2(commands: Commands, place: str) -> None:
    (commands.folder / "text").write_text("no ledger\n")
    done = commands.run("rent", "PL", "opt29", "--yes", "--ledger", place.format(folder=commands.folder))
    assert (done.code, done.out, done.err.count("smspva: ")) == (2, "", 1)
    assert "nothing was sent" in done.err.splitlines()[-1].casefold()
    assert spent(commands) == []


@pytest.mark.parametrize("phone", ["+481", "+481234567890123456"])
def test_a_service_is_not_added_to_what_is_no_number(commands: Commands, phone: str) -> None:
    commands.on_server(lambda: commands.simulator.add_order("PL", "opt16", order_id=7, phone=phone))
    done = commands.run("add-service", "7", "opt29", "--yes")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(
        rf"smspva: expected a phone number[^\n]*{re.escape(phone)}[^\n]*nothing was sent[^\n]*\n", done.err
    )
    assert spent(commands) == []


@pytest.mark.parametrize("deed", DEEDS)
def test_no_deed_without_an_outcome_is_repeated(commands: Commands, deed: str) -> None:
    arguments, _, _, method = DEEDS[deed]
    commands.simulator.faults.next(method, "lost")  # type: ignore[arg-type]
    for _ in range(2):
        assert commands.run(*arguments, "--yes").code == 3
    assert spent(commands) == [method]
    assert stat.S_IMODE(commands.ledger.parent.stat().st_mode) == 0o700


def test_what_the_provider_will_not_prolong_is_told_before(commands: Commands) -> None:
    commands.simulator.order(40300).until += timedelta(days=30)
    assert "  the provider says that it can't be prolonged now" in commands.run("prolong", "40300").err.splitlines()


def test_a_mistyped_key_is_an_error_and_no_missing_price(commands: Commands) -> None:
    commands.simulator.faults.next("getdata", "refusal", msg="Invalid apikey")
    done = commands.run("rent", "PL", "opt29", "--yes")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert spent(commands) == []
