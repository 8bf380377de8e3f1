"""Commands accept names as well as codes, suggest similar ones, and ask nothing that can only be refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from smspva_async import Offer, Order, OrderState, Rows, SmspvaClient
from tests.support.command_processes import Result
from tests.support.documents import block
from tests.support.terminal import columns

if TYPE_CHECKING:
    from tests.support.commands import Commands

SPENDING = {"create", "create_multi", "prolong", "prolong_max", "add_service_to_order", "delete", "restore_user"}


def spent(commands: Commands) -> list[dict[str, str]]:
    """Return the parameters of the spending requests that the server received."""
    return [dict(request.params) for request in commands.simulator.requests if request.method in SPENDING]


@pytest.mark.parametrize(
    ("country", "service"),
    [("PL", "telegram"), ("pl", "Telegram"), ("poland", "OPT29"), ("Poland", " TELEGRAM ")],
)
def test_a_number_is_rented_by_name(commands: Commands, country: str, service: str) -> None:
    done = commands.run("rent", country, service, "--yes", "--json")
    assert (done.code, done.rows[0]["services"]) == (0, ["opt29"])
    assert done.err.startswith("Rent a number in PL for opt29 Telegram, 1 week (7 days)\n  opt29 Telegram: about $")
    assert [(request["country"], request["service"]) for request in spent(commands)] == [("PL", "opt29")]


def test_a_country_is_found_by_its_english_name(commands: Commands) -> None:
    done = commands.run("offers", "russia", "--json")
    assert (done.code, commands.simulator.requests[-1].params["country"]) == (0, "RU")


def test_several_names_and_codes_are_one_rental(commands: Commands) -> None:
    assert commands.run("rent", "PL", "telegram", "opt16", "PayPal and eBay", "--yes").code == 0
    assert [request["services"] for request in spent(commands)] == ["opt29,opt16,opt83"]
    done = commands.run("rent", "PL", "telegram", "opt29", "--yes")
    message = "the services contain a duplicate (telegram, opt29); nothing was sent"
    assert done == Result(2, "", f"smspva: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PL", "telegrm"], "PL doesn't offer 'telegrm'; nothing was sent; did you mean opt29 Telegram?"),
        (["PL", "insta"], "PL doesn't offer 'insta'; nothing was sent; did you mean opt16 Instagram?"),
        (["PL", "otp29"], "PL doesn't offer 'otp29'; nothing was sent; did you mean opt29 Telegram?"),
        (
            ["PL", "in"],
            "PL doesn't offer 'in'; nothing was sent; did you mean opt8 LinkedIn, opt9 Tinder or opt16 Instagram?",
        ),
        (["PL", "opt28"], "PL doesn't offer 'opt28'; nothing was sent; smspva offers PL lists the codes"),
        (["Polnad", "opt29"], "no country is called 'Polnad'; nothing was sent; did you mean PL Poland?"),
        (["Atlantis", "opt29"], "no country is called 'Atlantis'; nothing was sent; smspva countries lists the codes"),
        (["XX", "opt29"], "there is no country XX; nothing was sent; smspva countries lists the codes"),
    ],
)
@pytest.mark.parametrize("confirmed", [[], ["--yes"]], ids=str)
def test_an_unknown_name_is_refused_without_a_question(
    commands: Commands, arguments: list[str], message: str, confirmed: list[str]
) -> None:
    done = commands.run("rent", *arguments, *confirmed)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"smspva: {message}\n"
    assert spent(commands) == []


def test_the_guide_shows_a_suggestion(commands: Commands) -> None:
    command, message = block("unknown name").code.splitlines()
    assert commands.run(*command.split()[2:]) == Result(2, "", f"{message}\n")


def test_a_name_of_several_services_is_refused(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    async def offers(*_: object) -> Rows[Offer]:
        return Rows([Offer("Mail", "opt4"), Offer("Mail", "opt33")])

    monkeypatch.setattr(SmspvaClient, "offers", offers)
    done = commands.run("rent", "PL", "mail", "--yes")
    message = "PL doesn't offer 'mail'; nothing was sent; did you mean opt4 Mail or opt33 Mail?"
    assert done == Result(2, "", f"smspva: {message}\n")


def test_a_code_is_not_taken_for_another_services_name(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    async def offers(*_: object) -> Rows[Offer]:
        return Rows([Offer("opt2", "opt20")])

    monkeypatch.setattr(SmspvaClient, "offers", offers)
    done = commands.run("rent", "PL", "opt2", "--yes")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("smspva: PL doesn't offer 'opt2'; nothing was sent; ")


def test_a_service_that_a_number_has_is_not_added_again(commands: Commands) -> None:
    order = commands.simulator.orders[0]
    done = commands.run("add-service", str(order.id), order.service, "--yes")
    assert (done.code, done.out) == (1, "")
    assert f"#{order.id} already has {order.service}" in done.err
    assert spent(commands) == []


def test_a_service_is_added_by_name(commands: Commands) -> None:
    done = commands.run("add-service", "40300", "telegram", "--yes")
    assert done.code == 0
    assert done.err.startswith("Add opt29 Telegram to #40300, ")
    assert [request["service"] for request in spent(commands)] == ["opt29"]
    done = commands.run("add-service", "40300", "telegrm", "--yes")
    assert (done.code, done.err.count("did you mean opt29 Telegram?")) == (2, 1)
    assert len(spent(commands)) == 1


def test_a_name_is_looked_up_among_all_services_if_the_offers_are_unknown(commands: Commands) -> None:
    commands.simulator.faults.next("getdata", "refusal", msg="Closed for lunch")
    done = commands.run("rent", "PL", "telegram", "--yes")
    assert (done.code, [request["service"] for request in spent(commands)]) == (0, ["opt29"])
    assert "the price is unknown: Closed for lunch" in done.err


def test_a_lost_rental_is_not_repeated_by_name(commands: Commands) -> None:
    commands.simulator.faults.next("create", "lost")
    assert commands.run("rent", "PL", "opt29", "--yes").code == 3
    done = commands.run("rent", "poland", "telegram")  # without a question
    assert (done.code, len(done.err.splitlines())) == (3, 1)
    assert done.err.startswith("smspva: the outcome of rent PL opt29 --weeks 1, started ")
    assert len(spent(commands)) == 1


def test_reading_commands_accept_names(commands: Commands) -> None:
    assert [columns(line)[0] for line in commands.run("stock", "Poland", "telegram").lines[1:]] == ["opt29"]
    assert commands.run("countries", "--for", "telegram").out == commands.run("countries", "--for", "opt29").out
    done = commands.run("countries", "--for", "telegrm")
    assert done == Result(2, "", "smspva: no service is called 'telegrm'; did you mean opt29 Telegram?\n")
    done = commands.run("offers", "Polan")
    assert done == Result(2, "", "smspva: no country is called 'Polan'; did you mean PL Poland?\n")


@pytest.mark.parametrize("confirmed", [[], ["--yes"]], ids=str)
@pytest.mark.parametrize("arguments", ["delete 77", "prolong 77", "add-service 77 opt29"])
def test_an_order_that_is_not_listed_is_refused_without_a_question(
    commands: Commands, arguments: str, confirmed: list[str]
) -> None:
    done = commands.run(*arguments.split(), *confirmed)
    assert done == Result(1, "", "smspva: order 77 isn't listed; nothing was sent; smspva orders lists yours\n")
    assert spent(commands) == []


@pytest.mark.parametrize("options", [[], ["--yes"], ["--days", "2"]], ids=" ".join)
def test_a_rental_that_cannot_be_prolonged_now_is_refused_without_a_question(
    commands: Commands, options: list[str]
) -> None:
    until = datetime.now(UTC) + timedelta(days=30)
    commands.simulator.order(40300).until = until
    done = commands.run("prolong", "40300", *options)
    message = (
        "#40300 can't be prolonged now, only in its last 7 days; nothing was sent;"
        f" its end is {until.astimezone():%Y-%m-%d %H:%M}"
    )
    assert done == Result(1, "", f"smspva: {message}\n")
    assert spent(commands) == []


def list_order(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Let the provider list one order with these fields."""
    order = Order(40300, ("opt16",), "", OrderState.ACTIVE, "+48500403000", "PL", None, **fields)

    async def orders(*_: object) -> Rows[Order]:
        return Rows([order])

    monkeypatch.setattr(SmspvaClient, "orders", orders)


def test_another_reason_against_prolonging_is_not_guessed(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    until = datetime.now(UTC) + timedelta(days=3)
    list_order(monkeypatch, until=until, can_prolong=False)
    end = f"{until.astimezone():%Y-%m-%d %H:%M}"
    message = f"#40300 can't be prolonged now; nothing was sent; its end is {end}"
    assert commands.run("prolong", "40300") == Result(1, "", f"smspva: {message}\n")


@pytest.mark.parametrize(
    ("options", "is_refused"),
    [(["--weeks", "2"], True), ([], True), (["--days", "5"], False), (["--days", "6"], True)],
    ids=str,
)
def test_a_longer_prolongation_than_the_provider_allows_is_refused_without_a_question(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, options: list[str], *, is_refused: bool
) -> None:
    list_order(monkeypatch, until=None, can_prolong=True, can_prolong_days=5)
    done = commands.run("prolong", "40300", *options)
    message = "#40300 can be prolonged by at most 5 days now; nothing was sent; its end is unknown"
    assert (done == Result(1, "", f"smspva: {message}\n")) is is_refused
    assert done.err.startswith("Prolong #40300, ") is not is_refused


@pytest.mark.parametrize("services", [["telegram"], ["opt16", "opt29"]], ids=" ".join)
def test_a_service_without_numbers_is_refused_without_a_question(commands: Commands, services: list[str]) -> None:
    commands.simulator.set_offer("PL", "opt29", count=0)
    done = commands.run("rent", "PL", *services)
    assert done == Result(1, "", "smspva: PL has no numbers for opt29 Telegram now; nothing was sent\n")
    assert spent(commands) == []


def test_the_next_command_is_not_a_rental_without_numbers(commands: Commands) -> None:
    sim = commands.simulator
    sim.set_offer("PL", "opt46", count=0)
    assert commands.on_terminal(80, "offers", "PL")[-1] == "Next: smspva rent PL opt7"
    sim.set_offer("LT", "opt16", price_day="0.01", count=0)
    sim.set_offer("PL", "opt16", price_day="0.02", count=1)
    assert commands.on_terminal(80, "countries", "--for", "opt16")[-1] == "Next: smspva rent PL opt16"
    for country in sim.catalogue:
        sim.set_offer(country, "opt16", count=0)
    assert "Next" not in commands.on_terminal(80, "countries", "--for", "opt16")[-1]


def test_a_terminal_shows_the_next_command(commands: Commands) -> None:
    with commands.terminal("rent", "PL", "telegram", "--yes") as terminal:
        assert terminal.exit_code() == 0
        bought = max(order.id for order in commands.simulator.orders)
        assert re.fullmatch(rf"Rented: #{bought}  \+\d+  opt29 Telegram  until .*", terminal.screen[-2])
        assert terminal.screen[-1] == f"Next: smspva activate {bought}"
    with commands.terminal("rent", "PL", "opt16", "--yes", "--json") as terminal:
        assert terminal.exit_code() == 0
        assert "Next" not in "".join(terminal.screen)
    assert "Next" not in commands.run("rent", "PL", "opt20", "--yes").out
    assert commands.on_terminal(80, "services")[-1].startswith("Next: smspva countries --for opt")
    assert commands.on_terminal(80, "countries", "--for", "opt16")[-1].startswith("Next: smspva rent ")
