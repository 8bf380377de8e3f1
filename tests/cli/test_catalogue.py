"""Commands that read the catalogue, the balance and past orders: text on terminals and in pipes, and JSON."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from smspva_async import CountryOffer, Offer, Rows, Service, SmspvaClient
from tests.support.command_processes import Result
from tests.support.commands import KEY, minimal_environment, retry_at_once, run
from tests.support.terminal import columns

if TYPE_CHECKING:
    import pytest

    from tests.support.commands import Commands

WIDTHS = [60, 120]


def test_countries_and_offers_are_listed(commands: Commands) -> None:
    assert ["PL", "Poland"] in [columns(line) for line in commands.run("countries").lines]
    assert ("KZ", "Казахстан") in [(row["code"], row["name"]) for row in commands.run("countries", "--json").rows]
    offers = commands.simulator.catalogue["PL"].offers
    by_price = sorted(offers.values(), key=lambda offer: (offer.price_day, offer.name))
    table = [[offer.service, offer.name, f"{offer.price_day:.2f}", str(offer.count)] for offer in by_price]
    assert [columns(line) for line in commands.run("offers", "pl").lines[1:]] == table
    for width in WIDTHS:
        _, *listed, hint = commands.on_terminal(width, "offers", "PL", "--months", "2")
        assert [columns(line) for line in listed] == table
        assert hint == f"Next: smspva rent PL {table[0][0]}"
        assert ["PL", "Poland"] in [columns(line) for line in commands.on_terminal(width, "countries")]
    cheapest = commands.run("offers", "PL", "--json").rows[0]
    assert (cheapest["service"], cheapest["price_day"]) == (by_price[0].service, str(by_price[0].price_day))
    requested = [request.params["dtype"] for request in commands.simulator.requests if request.method == "getdata"]
    assert requested == ["week", "month", "month", "week"]


def test_services_are_listed_by_name(commands: Commands) -> None:
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


def test_countries_for_a_service_are_listed_cheapest_first(commands: Commands) -> None:
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
    requested = [request.params for request in sim.requests if request.method == "get_country_by_service"]
    assert [(params["service"], params["dtype"], params["dcount"]) for params in requested] == [
        ("opt16", "week", "2"),
        ("opt16", "week", "1"),
    ]
    refused = commands.run("countries", "--for", "opt4711")
    assert (refused.code, refused.out) == (1, "")
    assert re.fullmatch(r"smspva: countries: refused: [^\n]+\n", refused.err)


def test_offers_are_listed_by_provider(commands: Commands) -> None:
    offer = commands.simulator.catalogue["PL"].offers["opt16"]
    by_provider = ", ".join(f"{provider} {number}" for provider, number in offer.stock.items())
    done = commands.run("offers", "PL", "--providers")
    assert columns(done.lines[0]) == ["code", "service", "$ a day", "available", "by provider"]
    row = ["opt16", "Instagram", f"{offer.price_day:.2f}", str(offer.count), by_provider]
    assert row in [columns(line) for line in done.lines]
    for width in WIDTHS:
        assert row in [columns(line) for line in commands.on_terminal(width, "offers", "PL", "--providers")]
    for option, stock in ((["--providers"], offer.stock), ([], {})):
        rows = {found["service"]: found for found in commands.run("offers", "PL", "--json", *option).rows}
        assert (rows["opt16"]["count"], rows["opt16"]["by_provider"]) == (offer.count, stock)


def test_the_stock_of_a_country_is_listed_by_service(commands: Commands) -> None:
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


def test_the_stock_of_given_services_is_listed_with_a_total(commands: Commands) -> None:
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
    assert done.lines[3] == "5 numbers support all of opt29, opt16."
    assert commands.run("stock", "PL", "opt20", "opt16").lines[3] == "1 number supports all of opt20, opt16."
    done = commands.run("stock", "PL", "opt4711")
    assert (done.code, done.out, done.err) == (0, "", "smspva: opt4711 isn't listed in PL\n")


def test_the_balance_is_shown_in_dollars(commands: Commands) -> None:
    sim = commands.simulator
    for amount, text in (("100", "$100.00"), ("0", "$0.00"), ("0.5", "$0.50"), ("-1.50", "-$1.50")):
        sim.balance = Decimal(amount)
        assert commands.run("balance") == Result(0, f"The balance is {text}.\n", "")
    for width in WIDTHS:
        assert commands.on_terminal(width, "balance") == ["The balance is -$1.50."]
    sim.balance = Decimal("12.34")
    assert commands.run("balance", "--json") == Result(0, '{"balance": "12.34"}\n', "")
    assert {request.method for request in sim.requests} == {"balance"}


def test_the_balance_of_a_simulator_needs_only_its_base_url(commands: Commands) -> None:
    environment = {"SMSPVA_BASE_URL": commands.url, "SMSPVA_API_KEY": KEY}
    done = run("balance", **minimal_environment(commands.folder), **environment)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"The balance is \$[0-9.]+\.\n", done.out)


def test_the_environment_sets_the_host_of_the_balance(commands: Commands) -> None:
    host = commands.url.removesuffix("/api/rent.php")
    address = "https://mirror.example/api/rent.php"
    done = commands.run("balance", "--json", "--base-url", address, SMSPVA_ACCOUNT_URL=host)
    assert (done.code, done.err) == (0, "")
    wrong = commands.run("balance", SMSPVA_ACCOUNT_URL="http://user:password@mirror.example")
    assert (wrong.code, wrong.out) == (2, "")
    assert re.fullmatch(r"smspva: the account [^\n]+\n", wrong.err)
    assert "password" not in wrong.err


def test_a_balance_refused_or_failed_is_reported_in_one_line(commands: Commands) -> None:
    refused = commands.run("balance", SMSPVA_API_KEY="another-key")
    assert (refused.code, refused.out) == (1, "")
    assert re.fullmatch(r"smspva: balance: refused: [^\n]* \[after [^\n]+\n", refused.err)
    assert "another-key" not in refused.err
    commands.simulator.faults.next("balance", "redirect")
    failed = commands.run("balance", "--json")
    assert (failed.code, failed.out) == (4, "")
    assert re.fullmatch(r"smspva: balance: unexpected answer: [^\n]+\n", failed.err)


def test_a_balance_refused_by_a_busy_server_is_retried(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    retry_at_once(monkeypatch)
    sim = commands.simulator
    sim.faults.next("balance", "refusal", msg="SERVER_BUSY")
    assert commands.run("balance").code == 0
    assert [request.method for request in sim.requests] == ["balance"] * 2
    sim.faults.always("balance", "refusal", msg="SERVER_BUSY")
    busy = commands.run("balance")
    assert (busy.code, busy.out) == (1, "")
    assert re.fullmatch(
        r"smspva: balance: refused: SERVER_BUSY[^\n]*\(try again later\)[^\n]*4 times \[after [^\n]+\n", busy.err
    )


def test_unknown_prices_and_counts_are_question_marks_and_last(
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


def test_history_is_listed_in_pages(commands: Commands) -> None:
    sim = commands.simulator
    ended = sim.now - timedelta(days=2)
    for order_id in range(500, 505):
        commands.on_server(lambda order_id=order_id: sim.add_order("PL", "opt29", order_id=order_id, until=ended))
    pages = [commands.run("history", "--take", "2", "--page", page).lines for page in ("1", "2", "3", "4")]
    assert [columns(page[0]) for page in pages[:3]] == [["id", "begin", "closed", "service", "number"]] * 3
    listed = [columns(line) for page in pages[:3] for line in page[1:]]
    assert sorted(row[0] for row in listed) == [f"{order_id}" for order_id in range(500, 505)]
    assert {(row[1], row[3]) for row in listed} == {
        (f"{(ended - timedelta(days=7)).astimezone():%Y-%m-%d}", "opt29 Telegram")
    }
    assert pages[3] == ["No past orders on page 4."]
    for width in WIDTHS:
        lines = commands.on_terminal(width, "history", "--take", "2")
        assert [columns(line) for line in lines[:3]] == [columns(line) for line in pages[0]]
        assert lines[3] == "Page 1. Next page: smspva history --page 2 --take 2"
        assert lines[4] == f"Next: smspva restore {columns(lines[1])[0]}"
    requested = [request.method for request in sim.requests]
    assert requested.count("get_default_services") == 1  # then the names are known
    row = commands.run("history", "--json").rows[0]
    assert {"order_id", "begin", "closed", "service", "phone"} <= row.keys()
