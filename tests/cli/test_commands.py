"""Each command as people and programs meet it: on terminals of two widths, and through a pipe."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, cast

import pytest
from attrs import evolve
from rich.cells import cell_len

from smspva_async import CountryOffer, Offer, Retry, Rows, Service, SmspvaClient
from smspva_async.simulator import Simulator
from tests.support.command_processes import Result
from tests.support.commands import KEY, Commands, minimal_environment, run, serving
from tests.support.terminal import RICH_READS_TTY_INTERACTIVE, columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIDTHS = [60, 120]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Serve an account with three numbers: one to be activated, one active, one the provider has lost."""
    sim = Simulator(start=datetime.now(UTC), api_key=KEY, dialect="contract", activation=(0.3, 0.3))
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    for order_id, (service, state) in enumerate([("opt16", 0), ("opt20", 1), ("opt29", -1)], 40300):
        sim.add_order("PL", service, order_id=order_id, state=state, until=until, phone=f"+48500{order_id}")
    sim.deliver(40300, "Code Instagram: 671 094.", sender="FACEBOOK", date=1586948100)
    sim.deliver(40300, "Welcome to Instagram", sender=None, date=None)
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


def local(commands: Commands, form: str) -> str:
    return f"{commands.simulator.orders[0].until.astimezone():{form}}"


def shown(commands: Commands, width: int, name: str, *arguments: str) -> list[str]:
    """Run a command on a terminal to its good end and return its lines."""
    with commands.terminal(name, *arguments, width=width) as terminal:
        assert terminal.exit_code() == 0
    lines = terminal.screen
    assert max(map(cell_len, lines)) <= width
    return lines


def test_orders_show_what_the_providers_page_does(commands: Commands) -> None:
    expires = local(commands, "%Y-%m-%d %H:%M")
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
        assert [columns(line) for line in shown(commands, width, "orders")] == table
    rows = commands.run("orders", "--json").rows
    assert [(row["id"], row["state"], row["phone"]) for row in rows] == [
        (40300, 0, "+4850040300"),
        (40301, 1, "+4850040301"),
        (40302, -1, "+4850040302"),
    ]
    assert datetime.fromisoformat(rows[0]["until"]) == commands.simulator.orders[0].until


def test_countries_and_offers(commands: Commands) -> None:
    assert ["PL", "Poland"] in [columns(line) for line in commands.run("countries").lines]
    assert ("KZ", "Казахстан") in [(row["code"], row["name"]) for row in commands.run("countries", "--json").rows]
    offers = commands.simulator.catalogue["PL"].offers
    by_price = sorted(offers.values(), key=lambda offer: (offer.price_day, offer.name))
    table = [[offer.service, offer.name, f"{offer.price_day:.2f}", str(offer.count)] for offer in by_price]
    assert [columns(line) for line in commands.run("offers", "pl").lines[1:]] == table
    for width in WIDTHS:
        assert [columns(line) for line in shown(commands, width, "offers", "PL", "--months", "2")[1:]] == table
        assert ["PL", "Poland"] in [columns(line) for line in shown(commands, width, "countries")]
    cheapest = commands.run("offers", "PL", "--json").rows[0]
    assert (cheapest["service"], cheapest["price_day"]) == (by_price[0].service, str(by_price[0].price_day))
    asked = [request.params["dtype"] for request in commands.simulator.requests if request.method == "getdata"]
    assert asked == ["week", "month", "month", "week"]


def test_services_by_name(commands: Commands) -> None:
    sim = commands.simulator
    by_name = {offer.name: offer.service for country in sim.catalogue.values() for offer in country.offers.values()}
    done = commands.run("services")
    assert (done.code, done.err) == (0, "")
    assert columns(done.lines[0]) == ["code", "service", "$ a day"]
    assert [columns(line)[:2] for line in done.lines[1:]] == [
        [by_name[name], name] for name in sorted(by_name, key=str.casefold)
    ]
    prices = [country.offers["opt16"].price_day for country in sim.catalogue.values()]
    assert ["opt16", "Instagram", f"{min(prices):.2f}"] in [columns(line) for line in done.lines]
    row = next(row for row in commands.run("services", "--json").rows if row["service"] == "opt16")
    assert (row["name"], row["price_day"]) == ("Instagram", str(min(prices)))


def test_the_countries_for_a_service_come_with_the_cheapest_first(commands: Commands) -> None:
    sim = commands.simulator
    for price, code in enumerate(("LT", "KZ", "PL"), 1):
        sim.set_offer(code, "opt16", price_day=f"0.0{price}", count=price * 10)
    done = commands.run("countries", "--for", "opt16", "--weeks", "2")
    assert (done.code, done.err) == (0, "")
    assert [columns(line) for line in done.lines[:4]] == [
        ["code", "$", "available"],
        ["LT", "0.01", "10"],
        ["KZ", "0.02", "20"],
        ["PL", "0.03", "30"],
    ]
    row = commands.run("countries", "--for", "opt16", "--json").rows[0]
    assert (row["country"], row["price"], row["count"]) == ("LT", "0.01", 10)
    asked = [request.params for request in sim.requests if request.method == "get_country_by_service"]
    assert [(params["service"], params["dtype"], params["dcount"]) for params in asked] == [
        ("opt16", "week", "2"),
        ("opt16", "week", "1"),
    ]
    refused = commands.run("countries", "--for", "opt4711")
    assert (refused.code, refused.out) == (1, "")
    assert re.fullmatch(r"smspva: countries: refused: [^\n]+\n", refused.err)


def test_offers_by_provider(commands: Commands) -> None:
    offer = commands.simulator.catalogue["PL"].offers["opt16"]
    told = ", ".join(f"{provider} {number}" for provider, number in offer.stock.items())
    done = commands.run("offers", "PL", "--providers")
    assert columns(done.lines[0]) == ["code", "service", "$ a day", "available", "by provider"]
    row = ["opt16", "Instagram", f"{offer.price_day:.2f}", str(offer.count), told]
    assert row in [columns(line) for line in done.lines]
    for width in WIDTHS:
        assert row in [columns(line) for line in shown(commands, width, "offers", "PL", "--providers")]
    for option, stock in ((["--providers"], offer.stock), ([], {})):
        rows = {found["service"]: found for found in commands.run("offers", "PL", "--json", *option).rows}
        assert (rows["opt16"]["count"], rows["opt16"]["by_provider"]) == (offer.count, stock)


def test_stock_of_a_country(commands: Commands) -> None:
    offers = commands.simulator.catalogue["PL"].offers
    done = commands.run("stock", "pl")
    assert (done.code, done.err) == (0, "")
    table = [columns(line) for line in done.lines]
    assert table[0] == ["code", "available", "by provider"]
    assert [row[0] for row in table[1:]] == sorted(offers, key=lambda code: (len(code), code))
    assert {row[0]: int(row[1]) for row in table[1:]} == {code: offer.count for code, offer in offers.items()}
    rows = {row["service"]: row for row in commands.run("stock", "PL", "--months", "1", "--json").rows}
    assert rows.keys() == offers.keys()
    assert (rows["opt29"]["total"], rows["opt29"]["by_provider"]) == (offers["opt29"].count, offers["opt29"].stock)
    assert {request.method for request in commands.simulator.requests} == {"getCountWithProviders"}


def test_stock_of_some_services(commands: Commands) -> None:
    sim = commands.simulator
    for service, count in (("opt16", 7), ("opt29", 5), ("opt20", 1)):
        sim.set_offer("PL", service, count=count)
    assert commands.run("stock", "PL", "opt29").lines == ["code   available  by provider", "opt29          5  A 5"]
    assert [request.method for request in sim.requests] == ["getCountWithProviders"]
    done = commands.run("stock", "PL", "opt29", "OPT16", "--weeks", "2")
    assert [columns(line) for line in done.lines[1:3]] == [["opt16", "7", "A 7"], ["opt29", "5", "A 5"]]
    together = commands.run("stock", "PL", "opt29", "opt16", "--json").rows[2]
    assert together == {"services": ["opt29", "opt16"], "total": 5}
    done = commands.run("stock", "PL", "opt29", "opt16")
    assert done.lines[3] == "5 numbers serve all of opt29, opt16."
    assert commands.run("stock", "PL", "opt20", "opt16").lines[3] == "1 number serves all of opt20, opt16."
    done = commands.run("stock", "PL", "opt4711")
    assert (done.code, done.out, done.err) == (0, "", "smspva: opt4711 isn't listed in PL\n")


def test_the_balance(commands: Commands) -> None:
    sim = commands.simulator
    for amount, told in (("100", "$100.00"), ("0", "$0.00"), ("0.5", "$0.50"), ("-1.50", "-$1.50")):
        sim.balance = Decimal(amount)
        assert commands.run("balance") == Result(0, f"The balance is {told}.\n", "")
    for width in WIDTHS:
        assert shown(commands, width, "balance") == ["The balance is -$1.50."]
    sim.balance = Decimal("12.34")
    assert commands.run("balance", "--json") == Result(0, '{"balance": "12.34"}\n', "")
    assert {request.method for request in sim.requests} == {"balance"}


def test_the_balance_needs_no_more_than_the_address_of_the_simulator(commands: Commands) -> None:
    environment = {"SMSPVA_BASE_URL": commands.url, "SMSPVA_API_KEY": KEY}
    done = run("balance", **minimal_environment(commands.folder), **environment)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"The balance is \$[0-9.]+\.\n", done.out)


def test_the_host_of_the_balance_comes_from_the_environment(commands: Commands) -> None:
    elsewhere = commands.url.removesuffix("/api/rent.php")
    address = "https://mirror.example/api/rent.php"
    done = commands.run("balance", "--json", "--base-url", address, SMSPVA_ACCOUNT_URL=elsewhere)
    assert (done.code, done.err) == (0, "")
    wrong = commands.run("balance", SMSPVA_ACCOUNT_URL="http://user:password@mirror.example")
    assert (wrong.code, wrong.out) == (2, "")
    assert re.fullmatch(r"smspva: the account address is a plain one [^\n]+\n", wrong.err)
    assert "password" not in wrong.err


def test_a_balance_that_is_refused_or_fails_is_one_line(commands: Commands) -> None:
    refused = commands.run("balance", SMSPVA_API_KEY="another-key")
    assert (refused.code, refused.out) == (1, "")
    assert re.fullmatch(r"smspva: balance: refused: [^\n]* \(check the API key\) \[after [^\n]+\n", refused.err)
    assert "another-key" not in refused.err
    commands.simulator.faults.next("balance", "redirect")
    failed = commands.run("balance", "--json")
    assert (failed.code, failed.out) == (4, "")
    assert re.fullmatch(r"smspva: balance: unexpected answer: [^\n]+\n", failed.err)


def test_a_busy_server_is_asked_again_for_the_balance(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = SmspvaClient.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "retry", Retry(first=0))
    sim = commands.simulator
    sim.faults.next("balance", "refusal", msg="SERVER_BUSY")
    assert commands.run("balance").code == 0
    assert [request.method for request in sim.requests] == ["balance"] * 2
    sim.faults.always("balance", "refusal", msg="SERVER_BUSY")
    busy = commands.run("balance")
    assert (busy.code, busy.out) == (1, "")
    told = r"smspva: balance: refused: SERVER_BUSY[^\n]* \(try again later\); tried 4 times \[after [^\n]+\n"
    assert re.fullmatch(told, busy.err)


def test_unknown_prices_and_counts_are_question_marks_and_come_last(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offers(*_: object, **__: object) -> Rows[Offer]:
        return Rows(
            [
                Offer("Zello", "opt5"),
                Offer("Avito", "opt59", None, 3),
                Offer("Airbnb", "opt46", Decimal("0.5"), None),
            ]
        )

    async def services(*_: object) -> Rows[Service]:
        return Rows([Service("opt5", ""), Service("opt46", "Airbnb", Decimal("0.5"))])

    async def countries_for(*_: object) -> Rows[CountryOffer]:
        return Rows([CountryOffer("PL", "Poland"), CountryOffer("LT", "LT", Decimal(2), 0)])

    for method in (offers, services, countries_for):
        monkeypatch.setattr(SmspvaClient, method.__name__, method)
    assert [columns(line) for line in commands.run("offers", "PL").lines[1:]] == [
        ["opt46", "Airbnb", "0.50", "?"],
        ["opt59", "Avito", "?", "3"],
        ["opt5", "Zello", "?", "?"],
    ]
    assert len(commands.run("offers", "PL", "--providers").lines) == 4
    assert [columns(line) for line in commands.run("services").lines[1:]] == [
        ["opt5", "?"],
        ["opt46", "Airbnb", "0.50"],
    ]
    assert [columns(line) for line in commands.run("countries", "--for", "opt5").lines] == [
        ["code", "country", "$", "available"],
        ["PL", "Poland", "?", "?"],
        ["LT", "LT", "2.00", "0"],
    ]


def test_an_order_with_several_services_is_one_row(commands: Commands) -> None:
    commands.on_server(lambda: commands.simulator.add_order("PL", ["opt16", "opt29"], order_id=7))
    rows = [columns(line) for line in commands.run("orders").lines]
    assert [row[3] for row in rows if row[0] == "7"] == ["Instagram (opt16, opt29)"]
    listed = commands.run("orders", "--json").rows
    assert [order["services"] for order in listed if order["id"] == 7] == [["opt16", "opt29"]]


def test_messages_with_their_codes(commands: Commands) -> None:
    at = datetime.fromtimestamp(1586948100, UTC).astimezone()
    lines = ["Welcome to Instagram", f"{at:%Y-%m-%d %H:%M:%S}  671094  FACEBOOK: Code Instagram: 671 094."]
    assert commands.run("sms", "40300").lines == lines
    assert shown(commands, 120, "sms", "40300") == lines
    assert "".join(shown(commands, 60, "sms", "40300")).replace(" ", "") == "".join(lines).replace(" ", "")
    assert [row["code"] for row in commands.run("sms", "40300", "--json").rows] == [None, "671094"]
    assert commands.run("sms", "40301").out == "No message.\n"
    assert commands.run("sms", "40301", "--json").out == ""


def test_history_in_pages(commands: Commands) -> None:
    sim = commands.simulator
    ended = sim.now - timedelta(days=2)
    for order_id in range(500, 505):
        commands.on_server(lambda order_id=order_id: sim.add_order("PL", "opt29", order_id=order_id, until=ended))
    pages = [commands.run("history", "--take", "2", "--page", page).lines for page in ("1", "2", "3", "4")]
    assert [columns(page[0]) for page in pages[:3]] == [["id", "begin", "closed", "service", "number"]] * 3
    listed = [columns(line) for page in pages[:3] for line in page[1:]]
    assert sorted(row[0] for row in listed) == [f"{order_id}" for order_id in range(500, 505)]
    assert {(row[1], row[3]) for row in listed} == {(f"{(ended - timedelta(days=7)).astimezone():%Y-%m-%d}", "opt29")}
    assert pages[3] == ["No past order on page 4."]
    for width in WIDTHS:
        lines = shown(commands, width, "history", "--take", "2")
        assert [columns(line) for line in lines[:3]] == [columns(line) for line in pages[0]]
        assert lines[3] == "page 1; the next: smspva history --page 2 --take 2"
    row = commands.run("history", "--json").rows[0]
    assert {"order_id", "begin", "closed", "service", "phone"} <= row.keys()


def test_activate_and_wait(commands: Commands) -> None:
    done = commands.run("activate", "40300")
    assert (done.code, done.out) == (0, "The activation of #40300 is asked for; smspva orders shows its state.\n")
    assert commands.run("activate", "40300", "--json").rows == [{"done": "activate", "id": 40300}]
    commands.simulator.set_state(40300, 0)
    done = commands.run("activate", "40300", "--wait", "--json")
    assert (done.code, done.err) == (0, "")
    assert [(row["id"], row["state"]) for row in done.rows] == [(40300, 1)]


@pytest.mark.parametrize(
    ("width", "variables"), [(60, {"TTY_COMPATIBLE": "0"}), (60, {"FORCE_COLOR": ""}), (120, {})], ids=str
)
def test_waiting_for_an_activation_shows_how_it_stands(
    commands: Commands, width: int, variables: dict[str, str]
) -> None:
    commands.simulator.behavior.activation = (2, 2)
    with commands.terminal("activate", "40300", "--wait", width=width, variables=variables) as terminal:
        line = terminal.wait_for(lambda lines: lines and "queued" in lines[0])[0]
        assert line.endswith("queued; it usually takes 10 to 15 minutes")
        assert line.startswith("00:0")
        assert terminal.exit_code() == 0
    (*told,) = terminal.screen  # the line is gone
    assert " ".join(told).startswith("#40300 is active: +4850040300, Instagram, until ")


@pytest.mark.parametrize(
    "variables",
    [
        {"TERM": "dumb"},
        {"TERM": None},
        pytest.param(
            {"TTY_INTERACTIVE": "0"}, marks=pytest.mark.skipif(not RICH_READS_TTY_INTERACTIVE, reason="an old rich")
        ),
    ],
    ids=str,
)
def test_a_terminal_that_draws_nothing_gets_a_line_for_each_change(
    commands: Commands, variables: dict[str, str | None]
) -> None:
    commands.simulator.behavior.activation = (2, 2)
    with commands.terminal("activate", "40300", "--wait", variables=variables) as terminal:
        terminal.wait_for(lambda lines: lines and "queued" in lines[-1])
        assert terminal.exit_code() == 0
    queued, *told = terminal.screen[terminal.screen.index("queued; it usually takes 10 to 15 minutes") :]
    assert queued not in told
    assert told[-1].startswith("#40300 is active: ")


def test_only_what_can_be_activated_is_to_be(commands: Commands) -> None:
    commands.simulator.set_state(40300, 2)
    done = commands.run("sms", "40300", "--wait", "--timeout", "0.05")
    assert done.code == 1
    state, told = done.err.splitlines()
    assert state == "#40300 is queued"
    assert re.fullmatch(
        r"smspva: order 40300 didn't receive the message within 0.05 s; it is queued; last answer \S+ [\d:]{8};"
        r" last failure: none; it can be waited for again",
        told,
    )


def test_waiting_for_a_message(commands: Commands) -> None:
    with commands.start("sms", "40300", "--wait", "--json") as waiting:
        waiting.wait_until(lambda: "sms" in [request.method for request in commands.simulator.requests])
        commands.on_server(lambda: commands.simulator.deliver(40300, "Your code: 112233", sender="Instagram"))
        done = waiting.result()
    assert (done.code, [row["code"] for row in done.rows]) == (0, ["112233"])
    assert done.err == "#40300 is inactive: smspva activate 40300 has it receive\n"


def test_a_message_like_one_before_is_new(commands: Commands) -> None:
    with commands.start("sms", "40300", "--wait", "--json") as waiting:
        waiting.wait_until(lambda: "sms" in [request.method for request in commands.simulator.requests])
        text = "Code Instagram: 671 094."
        commands.on_server(lambda: commands.simulator.deliver(40300, text, sender="FACEBOOK", date=1586948100))
        done = waiting.result()
    assert (done.code, [row["code"] for row in done.rows]) == (0, ["671094"])


def test_a_message_that_does_not_come_is_no_error_of_the_network(commands: Commands) -> None:
    done = commands.run("sms", "40301", "--wait", "--timeout", "0.05")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("smspva: order 40301 didn't receive the message within 0.05 s")
    assert done.err.count("\n") == 1


def test_what_is_not_listed_is_not_waited_for(commands: Commands) -> None:
    for name, told in (("sms", "Order id not found"), ("activate", "order 7 isn't listed")):
        done = commands.run(name, "7", "--wait")
        assert (done.code, done.out) == (1, "")
        assert told in done.err


def test_rows_that_cannot_be_read_are_told_of(commands: Commands) -> None:
    commands.simulator.faults.next("orders", "nameless_row")
    done = commands.run("orders", "--json")
    assert (done.code, len(done.rows)) == (0, 2)
    assert done.err.startswith("smspva: a row of the answer can't be read and is left out: ")


HOSTILE = "[taobao] a\x1b[2J\x1b]0;title\x07 [/b] [link=https://example.com]b[/link] :smile:\x9b31m\u202e"
TOLD = r"[taobao] a\x1b[2J\x1b]0;title\x07 [/b] [link=https://example.com]b[/link] :smile:\x9b31m"


@pytest.mark.parametrize("terminal", [False, True])
def test_what_others_wrote_is_printed_as_it_stands(commands: Commands, *, terminal: bool) -> None:
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
        (1, ["rent", "PL", "opt7", "--yes"]),
        (1, ["delete", "40300", "--yes"]),
    ]:
        if terminal:
            with commands.terminal(*arguments, width=200) as shown:
                code, printed = shown.exit_code(), shown.raw
        else:
            done = commands.run(*arguments)
            code, printed = done.code, done.out + done.err
        assert code == 0, printed
        assert printed.count(TOLD) == times
        assert not {"\x07", "\x9b", "\u202e"} & set(printed)
        assert not re.search(r"\x1b(?!\[[0-9;?]*[A-Za-z])|\x1b\[2J", printed)
