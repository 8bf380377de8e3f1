"""Invalid input raises `ValueError`, and nothing is sent."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smspva_async import Pace, Retry, SmspvaClient, Watcher, extract_code
from smspva_async.models import Period
from tests.support.fake_server import KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.fake_server import FakeServer

WEEK = Period.weeks(1)

COUNTRIES = ("", "R", "RUS", "R1", "+7", "РФ", "ru ", "RU\n", None, 7)
SERVICES = ("", "opt 16", "opt16,opt17", "opt16&id=1", "opt/16", "opt16\n", None, 16)
IDS = (0, -1, 40300.0, "40300", True, None)
PHONES = ("", "+", "123", "79096037108x", "+7909603710812345", "++79096037108", 79096037108)

# Invalid values of an argument, and the calls with that argument.
CALLS: dict[str, tuple[tuple[Any, ...], tuple[Callable[[SmspvaClient, Any], Awaitable[object]], ...]]] = {
    "country": (
        COUNTRIES,
        (
            lambda client, country: client.offers(country),
            lambda client, country: client.rent(country, "opt16", WEEK),
            lambda client, country: client.rent_multi(country, ["opt16"], WEEK),
            lambda client, country: client.stock(country),
            lambda client, country: client.stock_multi(country, ["opt16"]),
            lambda client, country: client.minimum_paypal_days(country, "opt83"),
        ),
    ),
    "service": (
        SERVICES,
        (
            lambda client, service: client.rent("RU", service, WEEK),
            lambda client, service: client.rent_multi("RU", ["opt16", service], WEEK),
            lambda client, service: client.add_service(5, service, phone="+79096037108"),
            lambda client, service: client.countries_for(service),
            lambda client, service: client.minimum_paypal_days("RU", service),
        ),
    ),
    "services": (
        ([], (), "opt16", None, 5, ["opt16", "OPT16"]),
        (
            lambda client, services: client.rent_multi("RU", services, WEEK),
            lambda client, services: client.stock_multi("RU", services),
        ),
    ),
    "days": ((0, 7, -1, 1.0, "5", True, None), (lambda client, days: client.prolong_days(5, days),)),
    "max price": (
        (1.5, "2", True, Decimal("NaN"), Decimal("Infinity")),
        (lambda client, most: client.rent("RU", "opt16", max_price=most),),
    ),
    "period": (
        (None, 1, "week", ("week", 1)),
        (
            lambda client, period: client.offers("RU", period),
            lambda client, period: client.rent("RU", "opt16", period),
            lambda client, period: client.rent_multi("RU", ["opt16"], period),
            lambda client, period: client.prolong(5, period),
            lambda client, period: client.countries_for("opt16", period),
            lambda client, period: client.stock("RU", period),
        ),
    ),
    "provider": (
        ("", " ", 5, "a\nb", "\ud800"),
        (
            lambda client, provider: client.rent("RU", "opt16", WEEK, provider=provider),
            lambda client, provider: client.rent_multi("RU", ["opt16"], WEEK, provider=provider),
        ),
    ),
    "order id": (
        IDS,
        (
            lambda client, order_id: client.sms(order_id),
            lambda client, order_id: client.activate(order_id),
            lambda client, order_id: client.prolong(order_id, WEEK),
            lambda client, order_id: client.delete(order_id),
            lambda client, order_id: client.restore_quote(order_id),
            lambda client, order_id: client.restore(order_id),
            lambda client, order_id: client.add_service(order_id, "opt16", phone="+79096037108"),
        ),
    ),
    "phone": (PHONES, (lambda client, phone: client.add_service(5, "opt16", phone=phone),)),
    "rent_days": (
        (0, -7, 91, 7.0, "7", True),
        (lambda client, days: client.add_service(5, "opt16", phone="+79096037108", rent_days=days),),
    ),
    "skip": ((-1, 0.0, "0", False, None), (lambda client, skip: client.history(skip=skip),)),
    "take": (
        (0, -1, 50.0, "50", True, None),
        (
            lambda client, take: client.history(take=take),
            lambda client, page: anext(client.iter_history(page=page)),
        ),
    ),
}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "value"),
    [
        pytest.param(make, value, id=f"{what}={value!r} in call {number}")
        for what, (values, makers) in CALLS.items()
        for value in values
        for number, make in enumerate(makers, 1)
    ],
)
async def test_invalid_arguments_are_not_sent(
    make: Callable[[SmspvaClient, Any], Awaitable[object]], value: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        await make(client, value)
    assert fake_server.queries == []
    assert client.unsettled == ()


# -- periods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "count"),
    [(Period.weeks, count) for count in (0, -1, 13, 1.0, True, "1", None)]
    + [(Period.months, count) for count in (0, -1, 4, 1.5, False, "1", None)],
    ids=lambda value: repr(value) if not callable(value) else value.__name__,
)
def test_a_period_outside_of_7_to_90_days_is_invalid(make: Callable[[Any], Period], count: Any) -> None:
    with pytest.raises(ValueError, match=r"period|rental"):
        make(count)


@pytest.mark.parametrize("kind", ["day", "weeks", "", None, []])
def test_a_period_is_in_weeks_or_months(kind: Any) -> None:
    with pytest.raises(ValueError, match="weeks or months"):
        Period(kind, 1)


def test_the_longest_periods_are_twelve_weeks_and_three_months_of_thirty_days() -> None:
    assert (Period.weeks(12).days, Period.months(3).days) == (84, 90)


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://smspva.com/api/rent.php",
        "http://127.0.0.1.example/",
        "http://10.0.0.1/",
        "http://localhost.example/",
        "ftp://smspva.com/",
        "smspva.com/api/rent.php",
        "https://",
        "",
        "https://smspva.com/?apikey=1",
        "https://smspva.com/#part",
        "https://user:password@smspva.com/",
        "https://smspva.com:99999/",
        "https://smspva.com:port/",
        "https://[::1",
        "https://sms pva.com/",
        "https://smspva\0.com/",
    ],
    ids=repr,
)
def test_a_malformed_or_insecure_base_url_is_invalid(address: str, fake_server: FakeServer) -> None:
    with pytest.raises(ValueError, match=r"the base URL") as refused:
        fake_server.client(base_url=address)
    assert "password" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3:8080", "[::1]:8000"])
def test_http_is_allowed_on_this_machine(host: str, fake_server: FakeServer) -> None:
    assert repr(fake_server.client(base_url=f"http://{host}/rent")) == f"<SmspvaClient http://{host}/rent>"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "there is no API key"),
        ("  ", "there is no API key"),
        ("ключ", "a character that isn't ASCII"),
        ("two\nlines", "a line break or control character"),
        ("k\n x", "a line break or control character"),
        ("nul\0", "a line break or control character"),
        (5, "must be text, not int"),
        (b"bytes", "must be text, not bytes"),
    ],
    ids=repr,
)
def test_an_invalid_api_key_is_refused_without_showing_it(key: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        SmspvaClient(key)
    assert not isinstance(key, str) or not key.strip() or key not in str(refused.value)


def test_the_base_url_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSPVA_BASE_URL", "http://127.0.0.1:8000/api/rent.php")
    assert repr(SmspvaClient(KEY)) == "<SmspvaClient http://127.0.0.1:8000/api/rent.php>"
    assert repr(SmspvaClient(KEY, base_url="https://a.example/")) == "<SmspvaClient https://a.example/>"
    for nothing in ("", None):
        if nothing is None:
            monkeypatch.delenv("SMSPVA_BASE_URL")
        else:
            monkeypatch.setenv("SMSPVA_BASE_URL", nothing)
        assert repr(SmspvaClient(KEY)) == "<SmspvaClient https://smspva.com/api/rent.php>"


@pytest.mark.anyio
async def test_only_an_outcome_unknown_can_be_settled_or_reconciled(client: SmspvaClient) -> None:
    error: Any
    for error in (None, "5f0c12ab", ValueError()):
        with pytest.raises(ValueError, match="settle expects an OutcomeUnknown"):
            client.settle(error)
        with pytest.raises(ValueError, match="reconcile expects an OutcomeUnknown"):
            await client.reconcile(error)


@pytest.mark.parametrize("journal", ["x.db", 5, SmspvaClient])
def test_the_error_for_an_invalid_journal_says_what_is_expected(journal: Any) -> None:
    with pytest.raises(ValueError, match=r"journal.*SqliteJournal\('x.db'\)"):
        Watcher(SmspvaClient(KEY), journal=journal)


@pytest.mark.parametrize("text", [None, 5, b"code 1234"])
def test_the_error_of_extract_code_says_that_it_expects_text(text: Any) -> None:
    with pytest.raises(ValueError, match="extract_code: expected a string, got "):
        extract_code(text)


@pytest.mark.parametrize("key", [None, "", " "], ids=repr)
def test_the_error_for_a_missing_api_key_names_the_environment_variable(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMSPVA_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("SMSPVA_API_KEY", key)
    with pytest.raises(ValueError, match="SMSPVA_API_KEY"):
        SmspvaClient()


@pytest.mark.parametrize("timeout", [0, -1.0, math.inf, math.nan])
def test_an_invalid_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        SmspvaClient(KEY, timeout=timeout, transport=httpx.MockTransport(lambda _: httpx.Response(200)))


@pytest.mark.parametrize("gap", [-0.1, math.inf, math.nan])
def test_an_invalid_gap_is_refused(gap: float) -> None:
    with pytest.raises(ValueError, match="gap"):
        Pace(gap=gap)


@pytest.mark.parametrize(
    "settings",
    [{"attempts": 0}, {"attempts": -1}, {"first": -1}, {"first": math.nan}, {"cap": -1}, {"cap": math.inf}],
    ids=str,
)
def test_an_invalid_retry_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"attempts|first|cap"):
        Retry(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        *({"timeout": timeout} for timeout in (None, "30", True)),
        *({"base_url": url} for url in (5, b"https://smspva.com/")),
        *({"pace": pace} for pace in (None, 1.5, Retry())),
        *({"retry": retry} for retry in (None, 4, Pace())),
    ],
    ids=str,
)
def test_a_setting_of_the_wrong_type_is_refused(settings: dict[str, Any], fake_server: FakeServer) -> None:
    with pytest.raises(ValueError, match=r"timeout|base URL|pace") as refused:
        fake_server.client(**settings)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("gap", ["1", None, True], ids=repr)
def test_a_gap_of_the_wrong_type_is_refused(gap: Any) -> None:
    with pytest.raises(ValueError, match="gap"):
        Pace(gap)


@pytest.mark.parametrize(
    "settings",
    [{"attempts": attempts} for attempts in ("4", 2.5, True, None)] + [{"first": "1"}, {"cap": None}],
    ids=str,
)
def test_a_retry_setting_of_the_wrong_type_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"attempts|first|cap"):
        Retry(**settings)
