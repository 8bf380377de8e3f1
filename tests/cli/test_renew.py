"""`smspva renew` prolongs what ends soon, the cheapest first, within a budget, and nothing twice."""

from __future__ import annotations

import re
import resource
import signal
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import WEEK, Order, OrderState, Pace, Period, Purchase, SmspvaClient
from smspva_async._http.rate_limiter import Permit, Priority, RateLimiter
from smspva_async._http.redaction import ApiKey
from smspva_async._purchases.store import Record, SqliteLedger
from smspva_async._purchases.tracker import PurchaseTracker, StaleOrder
from smspva_async.cli._renew import Terms, decide, is_due
from smspva_async.client import competing_call, prolong_once
from smspva_async.simulator import Simulator
from smspva_async.simulator._provider import Provider
from tests.support.backends import on_a_real_loop
from tests.support.command_processes import Piped, needs_full_disk
from tests.support.commands import KEY, Commands, retry_at_once, serving
from tests.support.documents import block
from tests.support.redis_server import RedisServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from smspva_async.simulator._orders import SimulatedOrder

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
TERMS = Terms(timedelta(days=2), WEEK)
RENEW = ("renew", "--within", "2d", "--max-total")


def order(number: int, hours: float | None, *, can: bool | None = None, days: int | None = None) -> Order:
    """Return an order that ends in some hours."""
    until = None if hours is None else NOW + timedelta(hours=hours)
    return Order(
        number, ("opt16",), "", OrderState.ACTIVE, "+48", "PL", None, until, can_prolong=can, can_prolong_days=days
    )


def call(order_id: int, outcome: Any, *, method: str = "prolong") -> Purchase:
    return Purchase(method, {"id": str(order_id)}, NOW - timedelta(minutes=9), outcome)


BOTH = [order(1, 40), order(2, 20)]
ONE = [order(1, 40)]
DECISIONS: Mapping[str, tuple[Sequence[Order], Mapping[int, str], Sequence[Purchase], str, Sequence[str]]] = {
    # name: orders, prices, competing calls, budget, decisions
    "the cheapest first": (BOTH, {1: "2", 2: "3"}, [], "5", ["buy 1", "buy 2"]),
    "of equal prices the first to end": (BOTH, {1: "2", 2: "2.00"}, [], "5", ["buy 2", "buy 1"]),
    "of equal ends the lowest id": ([order(2, 9), order(1, 9)], {1: "2", 2: "2"}, [], "5", ["buy 1", "buy 2"]),
    "a budget that is met exactly": (BOTH, {1: "2", 2: "3"}, [], "5.00", ["buy 1", "buy 2"]),
    "a budget for one": (
        BOTH,
        {1: "2", 2: "3"},
        [],
        "4.99",
        ["buy 1", r"2: it costs more than what is left of --max-total, \$2.99"],
    ),
    "a budget for none": (ONE, {1: "2"}, [], "1.99", ["1: it costs more than what is left"]),
    "an end in the past": ([order(1, -1)], {1: "2"}, [], "5", ["buy 1"]),
    "an unknown end": ([order(1, None)], {1: "2"}, [], "5", ["1: its end is unknown"]),
    "an unknown price": (BOTH, {2: "9"}, [], "9", ["buy 2", "1: the price is unknown"]),
    "not allowed": ([order(1, 40, can=False)], {1: "2"}, [], "5", ["1: it can't be prolonged now"]),
    "too long": ([order(1, 40, can=True, days=6)], {1: "2"}, [], "5", ["1: it can be prolonged by at most 6 days now"]),
    "just long enough": ([order(1, 40, can=True, days=7)], {1: "2"}, [], "5", ["buy 1"]),
    "an obstacle takes no budget": (
        [order(1, 40, can=False), order(2, 40)],
        {1: "2", 2: "3"},
        [],
        "3",
        ["1: it can't", "buy 2"],
    ),
    "an unknown outcome": (ONE, {1: "2"}, [call(1, "unknown")], "5", ["1: the outcome of prolong 1, .* is unknown"]),
    "an unknown deletion": (ONE, {1: "2"}, [call(1, "unknown", method="delete")], "5", ["1: the outcome of delete 1"]),
    "an unknown outcome of another order": (ONE, {1: "2"}, [call(2, "unknown")], "5", ["buy 1"]),
    "prolonged just now": (ONE, {1: "2"}, [call(1, "done")], "5", ["1: prolong 1, .* may have moved"]),
    "settled just now": (ONE, {1: "2"}, [call(1, "settled")], "5", ["1: prolong 1, .* may have moved"]),
    "nothing": ([], {}, [], "5", []),
}


@pytest.mark.parametrize(("orders", "prices", "calls", "budget", "expected"), DECISIONS.values(), ids=DECISIONS)
def test_decisions(
    orders: Sequence[Order],
    prices: Mapping[int, str],
    calls: Sequence[Purchase],
    budget: str,
    expected: Sequence[str],
) -> None:
    exact = {number: Decimal(price) for number, price in prices.items()}
    competitors = {int(call.params["id"]): call for call in calls}
    decisions = decide(orders, exact, competitors, TERMS, budget=Decimal(budget), now=NOW)
    found = [f"{it.order.id}: {it.obstacle}" if it.obstacle else f"buy {it.order.id}" for it in decisions]
    assert len(found) == len(expected)
    for text, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, text), text


@pytest.mark.parametrize(("hours", "due"), [(-1, True), (48, True), (48.01, False), (None, True)])
def test_a_rental_is_due_at_the_limit_and_if_its_end_is_unknown(hours: float | None, *, due: bool) -> None:
    assert is_due(order(1, hours), TERMS, NOW) is due


def test_a_longer_period_needs_more_allowed_days() -> None:
    terms = Terms(timedelta(days=2), Period.months(1))
    (decision,) = decide([order(1, 9, days=29)], {1: Decimal(9)}, {}, terms, budget=Decimal(9), now=NOW)
    assert decision.obstacle == "it can be prolonged by at most 29 days now"


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with three numbers that end within two days, and one that ends later."""
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract", balance=100)
    for code, price in (("opt16", "0.25"), ("opt29", "0.50"), ("opt20", "1.00")):
        sim.set_offer("PL", code, price_day=price)
    start = datetime.now(UTC).replace(microsecond=0)
    for number, code, hours in ((1, "opt20", 5), (2, "opt16", 40), (3, "opt29", 30), (4, "opt16", 72)):
        sim.add_order("PL", code, order_id=number, phone=f"+4850040300{number}", until=start + timedelta(hours=hours))
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def prolonged(commands: Commands) -> list[int]:
    """Return the orders in the requests that spend, in the order of the requests."""
    requests = [it for it in commands.simulator.requests if it.method in ("prolong", "prolong_max")]
    return [int(request.params["id"]) for request in requests]


def outcomes(fields: Mapping[str, Any]) -> dict[int, str]:
    return {row["order"]["id"]: row["outcome"] for row in fields["orders"]}


def line(commands: Commands, number: int, name: str, price: str) -> str:
    until = commands.simulator.order(number).until.astimezone()
    return f"#{number}, +4850040300{number}, {name}, until {until:%Y-%m-%d %H:%M}, about ${price}"


def test_the_cheapest_are_renewed_within_the_budget_and_all_is_shown_before(commands: Commands) -> None:
    cheap, middle = line(commands, 2, "Instagram", "1.75"), line(commands, 3, "Telegram", "3.50")
    shown = [
        "Renew 2 rentals by 1 week (7 days): about $5.25, of at most $12.24",
        f"  {cheap}",
        f"  {middle}",
        f"  not {line(commands, 1, 'WhatsApp', '7.00')}: it costs more than what is left of --max-total, $6.99",
    ]
    done = commands.run(*RENEW, "12.24")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        *shown,
        "smspva: there is no terminal to ask on; nothing was sent; confirm with --yes",
    ]
    assert prolonged(commands) == []
    done = commands.run(*RENEW, "12.24", "--yes")
    assert (done.code, done.err.splitlines()) == (1, shown)  # 1: one that ends soon isn't renewed
    renewed = [f"Renewed: {line}".replace("until", "beyond") for line in (cheap, middle)]
    assert done.lines == renewed  # the new end isn't known
    assert prolonged(commands) == [2, 3]
    assert [row["outcome"] for row in commands.run("purchases", "--json").rows] == ["done", "done"]


def test_json_is_one_object(commands: Commands) -> None:
    done = commands.run(*RENEW, "9", "--months", "1", "--yes", "--json")
    (fields,) = done.rows
    assert (done.code, outcomes(fields)) == (1, {2: "renewed", 3: "skipped", 1: "skipped"})
    assert (Decimal(fields["total"]), Decimal(fields["max_total"])) == (Decimal("7.5"), Decimal(9))
    assert [Decimal(row["price"]) for row in fields["orders"]] == [Decimal("7.5"), 15, 30]
    assert fields["orders"][0]["reason"] is None
    assert "left of --max-total, $1.50" in fields["orders"][1]["reason"]
    assert fields["orders"][0]["order"]["phone"] == "+48500403002"
    until = commands.simulator.order(2).until - datetime.fromisoformat(fields["orders"][0]["order"]["until"])
    assert until == timedelta(days=30)


@pytest.mark.parametrize("price", [None, "0"])
def test_a_price_that_is_missing_or_zero_is_unknown(commands: Commands, price: str | None) -> None:
    if price is None:
        del commands.simulator.catalogue["PL"].offers["opt16"]
    else:
        commands.simulator.set_offer("PL", "opt16", price_day=price)
    done = commands.run(*RENEW, "20", "--yes")
    assert (done.code, prolonged(commands)) == (1, [3, 1])
    assert re.search("  not #2, .*: the price is unknown$", done.err, re.MULTILINE)


@pytest.mark.parametrize(("message", "shown"), [("Closed for lunch",) * 2, ("", "no reason given")])
def test_a_price_list_that_the_provider_refuses_is_reported(commands: Commands, message: str, shown: str) -> None:
    commands.simulator.faults.always("getdata", "refusal", msg=message)
    done = commands.run(*RENEW, "20", "--yes")
    first, second, *rest = done.err.splitlines()
    assert (done.code, first) == (1, f"smspva: the price list (PL) can't be read: {shown}")
    assert (second, len(rest)) == ("No rental can be renewed now.", 3)
    assert prolonged(commands) == []


@pytest.mark.parametrize(("fault", "code"), [("too_many", 1), ("http_500", 4), ("refused", 4)])
def test_a_price_list_that_cannot_be_read_stops_the_run(
    commands: Commands, fault: Any, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch, attempts=1)
    commands.simulator.faults.next("getdata", fault)
    done = commands.run(*RENEW, "20", "--yes")
    assert (done.code, done.err.count("\n"), prolonged(commands)) == (code, 1, [])
    assert re.match(r"smspva: offers: .+; nothing was bought \[", done.err)


def test_a_run_with_nothing_to_do_succeeds(commands: Commands) -> None:
    done = commands.run("renew", "--within", "4h", "--max-total", "20")
    assert (done.code, done.out, done.err) == (0, "", "No rental ends soon.\n")
    done = commands.run("renew", "--within", "4h", "--max-total", "20", "--json")
    assert (done.code, done.rows) == (0, [{"orders": [], "total": "0", "max_total": "20"}])
    assert prolonged(commands) == []


def test_a_second_run_renews_nothing_even_if_the_list_lags(commands: Commands) -> None:
    ends = {it.id: it.until for it in commands.simulator.orders}
    assert commands.run(*RENEW, "20", "--yes").code == 0
    assert commands.run(*RENEW, "20", "--yes").err == "No rental ends soon.\n"
    for it in commands.simulator.orders:
        it.until = ends[it.id]
    done = commands.run(*RENEW, "20", "--yes")
    assert (done.code, done.err.count("may have moved its end already")) == (0, 3)
    assert prolonged(commands) == [2, 3, 1]


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_on_a_terminal_the_command_asks(commands: Commands, answer: str) -> None:
    with commands.terminal(*RENEW, "20") as terminal:
        terminal.wait_for_question()
        assert prolonged(commands) == []
        terminal.type(answer)
        assert terminal.exit_code() == (0 if answer == "y\n" else 130)
    assert prolonged(commands) == ([2, 3, 1] if answer == "y\n" else [])


def test_a_rental_that_is_missing_from_the_list_or_unreadable_is_no_success(commands: Commands) -> None:
    with commands.terminal(*RENEW, "20", width=160) as terminal:
        terminal.wait_for_question()
        commands.on_server(lambda: commands.simulator.remove_order(2))
        terminal.type("y\n")
        assert terminal.exit_code() == 1
        assert "it isn't listed now" in "\n".join(terminal.screen)
    assert prolonged(commands) == [3, 1]
    commands.simulator.faults.next("orders", "nameless_row")
    done = commands.run(*RENEW, "20", "--yes")
    assert (done.code, done.err.count("smspva: skipped a row of the answer that can't be read: ")) == (1, 1)


def test_what_changed_during_the_question_counts(commands: Commands) -> None:
    with commands.terminal(*RENEW, "20", width=160) as terminal:
        terminal.wait_for_question()

        def change() -> None:
            commands.simulator.order(2).until += timedelta(days=7)  # on the website
            commands.simulator.set_offer("PL", "opt29", price_day="2.00")
            commands.simulator.set_offer("PL", "opt20", price_day="0.90")

        commands.on_server(change)
        terminal.type("y\n")
        assert terminal.exit_code() == 1
        screen = " ".join("\n".join(terminal.screen).split())
    assert re.search("not renewed: #2, .*: its end has moved", screen)
    assert re.search("Renewed: #3, .* about \\$14.00", screen)  # the higher price counts: 14 + 6.30 is more than 20
    assert re.search(r"not renewed: #1, .*: it costs more than what is left of --max-total, \$6.00", screen)
    assert prolonged(commands) == [3]


def test_a_price_above_the_budget_stops_the_rest(commands: Commands) -> None:
    with commands.terminal(*RENEW, "20", width=160) as terminal:
        terminal.wait_for_question()
        commands.on_server(lambda: commands.simulator.set_offer("PL", "opt29", price_day="3.00"))
        terminal.type("y\n")
        assert terminal.exit_code() == 1
        screen = " ".join("\n".join(terminal.screen).split())
    assert re.search("not renewed: #1, .*: renewing stopped before its request was sent$", screen)
    assert prolonged(commands) == [2]


def test_a_call_with_an_unknown_outcome_counts_as_paid_and_is_not_repeated(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "lost")
    done = commands.run(*RENEW, "8.74", "--yes", "--json")  # 1.75 + 7.00 is more
    (fields,) = done.rows
    assert (done.code, outcomes(fields)) == (3, {2: "unknown", 3: "renewed", 1: "skipped"})
    assert Decimal(fields["total"]) == Decimal("5.25")
    commands.simulator.order(2).until -= timedelta(days=7)  # the list lags
    done = commands.run(*RENEW, "1.75", "--yes")
    assert done.code == 3
    assert re.search("not #2, .*: the outcome of prolong 2 --weeks 1, started .*, is unknown", done.err)
    assert prolonged(commands) == [2, 3]


def test_people_read_about_an_unknown_outcome(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "lost")
    done = commands.run(*RENEW, "2", "--yes")
    assert (done.code, done.out) == (3, "")
    assert re.match(
        r"smspva: not renewed: #2, .*: the request was sent, but its outcome is unknown \(.+\); don't repeat it; run"
        r" smspva unsettled to check$",
        done.err.splitlines()[-1],
    )


def test_a_refused_rental_does_not_stop_the_others(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "refusal", msg="Not today")
    done = commands.run(*RENEW, "20", "--yes", "--json")
    assert (done.code, outcomes(done.rows[0])) == (1, {2: "refused", 3: "renewed", 1: "renewed"})
    assert "Not today; nothing was charged" in done.rows[0]["orders"][0]["reason"]
    assert Decimal(done.rows[0]["total"]) == Decimal("10.5")


@pytest.mark.parametrize("reason", ["NOBALANCE", "Invalid apikey", "TOO MANY REQUESTS"])
def test_a_refusal_that_the_others_would_get_too_stops_the_run(commands: Commands, reason: str) -> None:
    commands.simulator.faults.next("prolong", "latency", seconds=0.001)
    commands.simulator.faults.next("prolong", "refusal", msg=reason)
    done = commands.run(*RENEW, "20", "--yes", "--json")
    assert (done.code, outcomes(done.rows[0])) == (1, {2: "renewed", 3: "refused", 1: "skipped"})
    assert re.search(
        rf"prolong: .*{reason}.*; nothing was charged; stopped at #3, after renewing 1 rental \[.*\]$",
        done.err,
        re.IGNORECASE,
    )
    assert prolonged(commands) == [2, 3]


def test_a_failure_of_the_server_stops_the_run(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    retry_at_once(monkeypatch)
    commands.simulator.faults.next("orders", "latency", count=2, seconds=0.001)
    commands.simulator.faults.next("orders", "http_500", count=4)
    done = commands.run(*RENEW, "20", "--yes", "--json")
    assert (done.code, outcomes(done.rows[0])) == (4, {2: "renewed", 3: "skipped", 1: "skipped"})
    assert re.search(r"smspva: orders: .*500.*; stopped at #3, after renewing 1 rental \[.*\]$", done.err)
    commands.simulator.faults.next("orders", "http_500", count=4)
    done = commands.run(*RENEW, "20", "--yes", "--json")
    assert (done.code, done.out) == (4, "")
    assert re.search(r"smspva: orders: .*500.*; nothing was bought \[.*\]$", done.err)
    assert prolonged(commands) == [2]


def test_an_unknown_outcome_outweighs_a_later_failure(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "lost")
    commands.simulator.faults.next("prolong", "refusal", msg="NOBALANCE")
    done = commands.run(*RENEW, "20", "--yes", "--json")
    assert (done.code, outcomes(done.rows[0])) == (3, {2: "unknown", 3: "refused", 1: "skipped"})
    assert "NOBALANCE" in done.err.splitlines()[-1]


def test_ctrl_c_reports_what_was_renewed(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "latency", seconds=0.001)
    commands.simulator.faults.next("prolong", "hang")
    with commands.start(*RENEW, "20", "--yes", "--json") as renewing:
        renewing.wait_until(lambda: prolonged(commands) == [2, 3])
        renewing.send_signal(signal.SIGINT)
        done = renewing.result()
    assert (done.code, outcomes(done.rows[0])) == (3, {2: "renewed", 3: "unknown", 1: "skipped"})
    assert "prolong: the request was sent, but its outcome is unknown" in done.err.splitlines()[-1]


@pytest.mark.parametrize("sent", [[], [2]], ids=["before", "between"])
def test_ctrl_c_before_a_call_says_what_was_done(commands: Commands, sent: list[int]) -> None:
    if sent:
        commands.simulator.faults.next("orders", "latency", count=2, seconds=0.001)
    commands.simulator.faults.next("orders", "hang")
    with commands.start(*RENEW, "20", "--yes") as renewing:
        requests = commands.simulator.requests
        listed = 3 if sent else 1  # for the plan, for the first rental, for the second
        renewing.wait_until(lambda: [it.method for it in requests].count("orders") == listed)
        renewing.send_signal(signal.SIGINT)
        done = renewing.result()
    assert (done.code, prolonged(commands)) == (130, sent)
    *_, last = done.err.splitlines()
    if sent:
        assert done.out.startswith("Renewed: #2, ")
        assert re.findall(
            "not renewed: #(.).*: renewing stopped before its request was sent$", done.err, re.MULTILINE
        ) == ["3", "1"]
        assert last == "smspva purchases lists what was done."
    else:
        assert (done.out, last) == ("", "This command bought or deleted nothing.")


@pytest.mark.parametrize(("sent", "total"), [([], "0"), ([2], "1.75")], ids=["before", "between"])
def test_ctrl_c_while_a_call_waits_for_the_pace_says_that_it_was_not_sent(
    commands: Commands, sent: list[int], total: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = RateLimiter.acquire

    async def acquire_or_interrupt(limiter: RateLimiter, priority: Priority) -> Permit:
        if priority is Priority.SPENDING and prolonged(commands) == sent:
            signal.raise_signal(signal.SIGINT)
            await anyio.sleep_forever()
        return await acquire(limiter, priority)

    monkeypatch.setattr(RateLimiter, "acquire", acquire_or_interrupt)
    done = commands.run(*RENEW, "20", "--yes", "--json")
    (fields,) = done.rows
    assert (done.code, prolonged(commands), Decimal(fields["total"])) == (130, sent, Decimal(total))
    rows = [row for row in fields["orders"] if row["order"]["id"] not in sent]
    assert {row["outcome"] for row in rows} == {"skipped"}
    assert {row["reason"] for row in rows} == {"renewing stopped before its request was sent"}
    last = "smspva purchases lists what was done." if sent else "This command bought or deleted nothing."
    assert done.err.splitlines()[-1] == last


def test_ctrl_c_during_a_call_names_its_rental(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "hang")
    with commands.start(*RENEW, "20", "--yes") as renewing:
        renewing.wait_until(lambda: prolonged(commands) == [2])
        renewing.send_signal(signal.SIGINT)
        done = renewing.result()
    assert (done.code, done.out) == (3, "")
    assert re.search("not renewed: #2, .*: interrupted; smspva purchases shows its outcome", done.err)
    assert "prolong: the request was sent, but its outcome is unknown" in done.err.splitlines()[-1]


@needs_full_disk
@pytest.mark.parametrize(("form", "sent"), [((), [2]), (("--json",), [2, 3, 1])], ids=["text", "json"])
def test_a_result_that_cannot_be_printed_goes_to_standard_error(
    commands: Commands, form: tuple[str, ...], sent: list[int]
) -> None:
    with commands.start(*RENEW, "20", "--yes", *form, stdout="/dev/full") as renewing:
        done = renewing.result()
    assert (done.code, prolonged(commands)) == (3, sent)
    assert ('"outcome": "renewed"' if form else "\nRenewed: #2, ") in done.err
    assert "can't be written to standard output: No space left" in done.err.splitlines()[-1]


@needs_full_disk
def test_nothing_is_bought_if_the_plan_cannot_be_shown(commands: Commands) -> None:
    with commands.start(*RENEW, "20", "--yes", stderr="/dev/full") as renewing:
        assert renewing.result().code == 2
    assert prolonged(commands) == []


# -- a ledger on a full disk -----------------------------------------------------------------------------------------


def test_nothing_is_sent_if_the_disk_of_the_ledger_is_full(commands: Commands) -> None:
    assert commands.run("prolong", "4", "--yes").code == 0
    done = commands.run_in_shell(" ".join([*RENEW, "20", "--yes", "--json"]), setup="ulimit -f 1")
    (fields,) = done.rows
    assert (done.code, outcomes(fields)) == (2, {2: "skipped", 3: "skipped", 1: "skipped"})
    assert re.search(r"smspva: prolong: the ledger .*full.*nothing was sent; stopped at #2, after renewing 0", done.err)
    assert prolonged(commands) == [4]
    assert commands.run(*RENEW, "20", "--yes").code == 0
    assert prolonged(commands) == [4, 2, 3, 1]


@pytest.mark.parametrize("problem", ["another account", "no file"])
def test_a_ledger_that_changes_during_the_wait_for_the_pace_says_once_that_nothing_was_sent(
    commands: Commands, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.run("prolong", "4", "--yes").code == 0
    acquire = RateLimiter.acquire

    async def change_ledger_and_acquire(limiter: RateLimiter, priority: Priority) -> Permit:
        if priority is Priority.SPENDING:
            ledger = commands.ledger
            if problem == "another account":
                with closing(sqlite3.connect(ledger)) as connection, connection:
                    connection.execute("UPDATE meta SET value = 'other' WHERE key = 'account'")
            else:
                ledger.unlink()
                ledger.mkdir()
        return await acquire(limiter, priority)

    monkeypatch.setattr(RateLimiter, "acquire", change_ledger_and_acquire)
    done = commands.run(*RENEW, "20", "--yes")
    assert (done.code, done.err.count("othing was sent"), prolonged(commands)) == (2, 1, [4])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process")
def test_a_disk_that_becomes_full_stops_the_run_and_nothing_is_renewed_again(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[Piped] = []
    prolong = Provider.prolong

    def fill_disk_and_prolong(provider: Provider, order_id: int, days: int) -> SimulatedOrder:
        resource.prlimit(processes[0].pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        return prolong(provider, order_id, days)

    monkeypatch.setattr(Provider, "prolong", fill_disk_and_prolong)
    with commands.start(*RENEW, "20", "--yes", "--json") as renewing:
        processes.append(renewing)
        done = renewing.result()
    assert (done.code, outcomes(done.rows[0])) == (3, {2: "renewed", 3: "skipped", 1: "skipped"})
    assert re.match(r"smspva: the printed result isn't in the ledger: the ledger .*full", done.err.splitlines()[-1])
    monkeypatch.undo()
    commands.simulator.order(2).until -= timedelta(days=7)  # the list lags
    done = commands.run(*RENEW, "20", "--yes", "--json")
    assert (done.code, outcomes(done.rows[0])) == (3, {2: "skipped", 3: "renewed", 1: "renewed"})
    assert prolonged(commands) == [2, 3, 1]


# -- at the same time ------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    yield from running("--appendfsync", "always")


@pytest.mark.parametrize("shared", ["ledger", "fleet"])
def test_two_processes_at_once_renew_each_rental_once(
    commands: Commands, shared: str, request: pytest.FixtureRequest
) -> None:
    variables = {"SMSPVA_FLEET": request.getfixturevalue("redis_server").url} if shared == "fleet" else {}
    arguments = (*RENEW, "20", "--yes", "--json")
    with (
        commands.start(*arguments, variables=variables) as one,
        commands.start(*arguments, variables=variables) as two,
    ):
        results = [one.result(), two.result()]
    renewed = [
        number
        for result in results
        for row in result.rows
        for number, outcome in outcomes(row).items()
        if outcome == "renewed"
    ]
    assert (sorted(prolonged(commands)), sorted(renewed)) == ([1, 2, 3], [1, 2, 3])
    assert {result.code for result in results} <= {0, 3}  # 3: the other process is renewing one


def test_a_call_in_progress_in_another_process_is_not_repeated(commands: Commands) -> None:
    commands.simulator.faults.next("prolong", "hang")
    with commands.start(*RENEW, "20", "--yes") as renewing:
        renewing.wait_until(lambda: prolonged(commands) == [2])
        commands.simulator.order(2).until -= timedelta(days=7)  # the list lags
        done = commands.run(*RENEW, "20", "--yes", "--json")
        assert (done.code, outcomes(done.rows[0])) == (3, {2: "skipped", 3: "renewed", 1: "renewed"})
        renewing.send_signal(signal.SIGKILL)
        assert renewing.result().code == -signal.SIGKILL
    assert commands.run(*RENEW, "20", "--yes").code == 3
    assert prolonged(commands) == [2, 3, 1]


class Meeting:
    """Lets the calls of two clients be in the ledger before either client looks for the other's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._arrived, self._both = 0, anyio.Event()
        look = PurchaseTracker._check_competitors

        async def check_competitors(tracker: PurchaseTracker, record: Record) -> None:
            self._arrived += 1
            if self._arrived == 2:
                self._both.set()
            await self._both.wait()
            await look(tracker, record)

        monkeypatch.setattr(PurchaseTracker, "_check_competitors", check_competitors)


@pytest.mark.anyio
@on_a_real_loop
async def test_of_two_calls_that_meet_in_the_ledger_one_is_sent(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commands.folder / "ledger"
    lost: list[Purchase | None] = []

    async def renew(client: SmspvaClient) -> None:
        try:
            await prolong_once(client, 2, WEEK)
        except StaleOrder as error:
            lost.append(error.other)

    async with (
        SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as one,
        SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as two,
    ):
        await one.orders()
        await two.orders()
        Meeting(monkeypatch)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renew, one)
            tasks.start_soon(renew, two)
    assert prolonged(commands) == [2]
    assert len(lost) == 1
    records = SqliteLedger(path, ApiKey(KEY).fingerprint).load_now() or ()
    assert [it.outcome for it in sorted(records, key=lambda it: it.call)] == [
        "done",
        "not_sent",
    ]  # the lower id is sent


@pytest.mark.anyio
@on_a_real_loop
async def test_a_call_does_not_wait_forever_for_a_suspended_program(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smspva_async._purchases.tracker._LONGEST_COMPETITION", 0.01)
    path = commands.folder / "ledger"
    suspended = SqliteLedger(path, ApiKey(KEY).fingerprint)
    suspended._save([Record("in-flight", "prolong", {"id": "2"}, datetime.now(UTC))])  # an id above all others
    async with SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as client:
        await client.orders()
        with pytest.raises(StaleOrder):
            await prolong_once(client, 2, WEEK)
    suspended._owner.release()
    assert prolonged(commands) == []


EARLIER: Mapping[str, tuple[str, str, Any, int, int | None, list[int]]] = {
    # name: method, order, outcome, started minutes ago, the server's time minutes ago, prolonged
    "by a client that never listed orders": ("prolong", "2", "done", 59, None, []),
    "long ago by such a client": ("prolong", "2", "done", 61, None, [2]),
    "on a machine whose clock is wrong": ("prolong_max", "2", "done", 999, 59, []),
    "long ago": ("prolong", "2", "done", 61, 61, [2]),
    "settled": ("restore_user", "2", "settled", 9, 9, []),
    "refused": ("prolong", "2", "refused", 9, 9, [2]),
    "not sent": ("prolong", "2", "not_sent", 9, 9, [2]),
    "another order": ("prolong", "3", "unknown", 9, 9, [2]),
    "a deletion": ("delete", "2", "unknown", 9999, 9999, []),
    "no extension": ("add_service_to_order", "2", "done", 9, 9, [2]),
}


@pytest.mark.anyio
@on_a_real_loop
@pytest.mark.parametrize(
    ("method", "order_id", "outcome", "started", "seen", "expected"), EARLIER.values(), ids=EARLIER
)
async def test_a_call_is_not_sent_if_an_earlier_one_may_have_moved_the_end(
    method: str,
    order_id: str,
    outcome: Any,
    started: int,
    seen: int | None,
    expected: list[int],
    commands: Commands,
) -> None:
    path, now = commands.folder / "ledger", datetime.now(UTC)
    seen_at = None if seen is None else now - timedelta(minutes=seen)
    earlier = Record("c1", method, {"id": order_id}, now - timedelta(minutes=started), seen_at=seen_at, outcome=outcome)
    SqliteLedger(path, ApiKey(KEY).fingerprint)._save([earlier])
    async with SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as client:
        await client.orders()
        assert (competing_call(client, 2) is None) == bool(expected)
        if expected:
            await prolong_once(client, 2, WEEK)
        else:
            with pytest.raises(StaleOrder, match="nothing was sent"):
                await prolong_once(client, 2, WEEK)
    assert prolonged(commands) == expected


@pytest.mark.anyio
@on_a_real_loop
async def test_of_two_earlier_calls_the_one_with_an_unknown_outcome_counts(commands: Commands) -> None:
    path, now = commands.folder / "ledger", datetime.now(UTC)
    calls = [Record(outcome, "prolong", {"id": "2"}, now, outcome=outcome) for outcome in ("done", "unknown")]
    SqliteLedger(path, ApiKey(KEY).fingerprint)._save(calls)
    async with SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as client:
        await client.orders()
        found = competing_call(client, 2)
    assert found is not None
    assert found.outcome == "unknown"


@pytest.mark.anyio
@on_a_real_loop
async def test_a_call_that_ended_long_after_it_began_counts_from_its_end(commands: Commands) -> None:
    path, now = commands.folder / "ledger", datetime.now(UTC)
    began, ended = now - timedelta(hours=3), now - timedelta(minutes=5)
    late = Record("c1", "prolong", {"id": "2"}, began, seen_at=began, ended_at=ended, outcome="done")
    SqliteLedger(path, ApiKey(KEY).fingerprint)._save([late])
    async with SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as client:
        await client.orders()
        with pytest.raises(StaleOrder):
            await prolong_once(client, 2, WEEK)
    assert prolonged(commands) == []


@pytest.mark.anyio
@on_a_real_loop
async def test_a_call_is_not_sent_if_the_list_is_too_old(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smspva_async._purchases.tracker._LONGEST_LIST_AGE", 0.0)
    path = commands.folder / "ledger"
    async with SmspvaClient(KEY, base_url=commands.url, ledger=path, pace=Pace(gap=0.01)) as client:
        await client.orders()
        with pytest.raises(StaleOrder, match="nothing was sent"):
            await prolong_once(client, 2, WEEK)
        assert [call.outcome for call in client.purchases()] == ["not_sent"]
    assert prolonged(commands) == []


# -- the guide -------------------------------------------------------------------------------------------------------


def test_the_guide_shows_what_the_command_prints(tmp_path: Path) -> None:
    sim = Simulator(start=datetime.now(UTC), api_key=KEY)
    for code, price in (("opt16", "0.25"), ("opt29", "0.50"), ("opt20", "2.26")):
        sim.set_offer("PL", code, price_day=price)
    for number, code, hours in ((0, "opt20", 5), (1, "opt16", 40), (2, "opt29", 30), (3, "opt16", 72)):
        until = sim.now + timedelta(hours=hours)
        sim.add_order("PL", code, order_id=40300 + number, phone=f"+4851601560{number}", until=until)
    first, _, shown = block("renew session").code.partition("\n")
    with serving(sim, tmp_path) as commands:
        with commands.terminal(*first.split()[2:], width=100) as terminal:
            terminal.wait_for_question()
            terminal.type("y\n")
            assert terminal.exit_code() == 1
        assert without_times(terminal.screen) == without_times(shown.splitlines())


def without_times(lines: Sequence[str]) -> list[str]:
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "…", line) for line in lines]


def test_the_line_of_the_crontab_renews(commands: Commands) -> None:
    (commands.folder / ".config").mkdir()
    (commands.folder / ".config" / "smspva-key").write_text(KEY)
    _, _, line = block("renew crontab").code.strip().partition("smspva ")
    home = str(commands.folder)
    done = commands.run(*line.replace("~", home).split(), SMSPVA_API_KEY=None)
    assert (done.code, prolonged(commands)) == (0, [2, 3, 1])
