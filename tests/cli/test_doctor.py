"""The command `doctor`: what it asks, the differences that it finds, and what its report leaves out."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import pytest
from attrs import asdict
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from smspva_async import Retry, SmspvaClient
from smspva_async.simulator import DialectName, Simulator
from tests.support.commands import KEY, Commands, minimal_environment, retry_at_once, run, serving
from tests.support.documents import block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from smspva_async.simulator._transport import Receive, Scope, Send

DIALECTS: list[DialectName] = ["page", "live", "contract"]
READING = {
    *("getcountries", "get_default_services", "get_country_by_service", "getdata", "getdataWithProviders"),
    *("getCountWithProviders", "get_count_multi", "get_days_canada_paypal", "get_min_paypal_days", "balance"),
    *("orders", "sms", "get_rent_history", "restore_user_precalc"),
}


class Drifted(Simulator):
    """A simulator whose answers are changed by a function of the method and the JSON, and get more headers."""

    change: Callable[[str, Any], Any] = staticmethod(lambda _, payload: payload)
    headers: Mapping[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()

        async def changed(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in self.headers.items()]
                kept = [header for header in message["headers"] if header[0] != b"content-length"]
                await send({**message, "headers": [*kept, *added]})
                return
            body.extend(message["body"])
            if not message["more_body"]:
                if body.startswith(b"{"):
                    body[:] = json.dumps(self.change(self.requests[-1].method, json.loads(body))).encode()
                await send({**message, "body": bytes(body)})

        await super().__call__(scope, receive, changed)


def account(dialect: DialectName = "contract", **options: Any) -> Drifted:
    """Return a simulator with all calls, five orders, two messages and a past order."""
    simulator = Drifted(start=datetime.now(UTC), api_key=KEY, dialect=dialect, **options)
    simulator.behavior.page_calls_only = False
    for _ in range(5):
        simulator.add_order("PL", "opt29")
    simulator.add_order("PL", "opt29", until=datetime.now(UTC) - timedelta(days=2))
    first = simulator.orders[0].id
    simulator.deliver(first, "Your code: 671 094", date=int(simulator.now.timestamp()) - 60)
    simulator.deliver(first, "Your code: 417 205")
    return simulator


@contextmanager
def examining(simulator: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    monkeypatch.chdir(folder)
    with serving(simulator, folder) as commands:
        yield commands
    assert simulator.violations == []


def report_in(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("smspva-doctor-*.json")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def drift(report: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(it["method"], it["kind"], it["field"]) for it in report["drift"]}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_known_dialects_have_no_drift(
    dialect: DialectName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with examining(account(dialect, seed=3), tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert (done.code, done.err) == (0, "")
    assert "All readable answers agree with what is known." in done.lines
    report = report_in(tmp_path)
    assert report["drift"] == []
    # Only the live dialect sends fields that no source names.
    assert {it["field"] for it in report["new_fields"]} <= (
        {"comment", "icon", "server"} if dialect == "live" else set()
    )
    assert (report["new_fields"] != []) is (dialect == "live")
    assert {call["method"] for call in report["calls"]} == READING
    assert all(re.fullmatch(r"\d+ rows?|refused: [A-Z].*", call["result"]) for call in report["calls"])


def state_of(simulator: Simulator) -> list[object]:
    """Return everything of an account but its flags, which reading may lower."""
    orders = [asdict(order, filter=lambda attribute, _: attribute.name != "unread_since") for order in simulator.orders]
    return [simulator.balance, orders]


def test_nothing_is_bought_activated_or_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    before = state_of(simulator)
    with examining(simulator, tmp_path, monkeypatch) as commands:
        assert commands.run("doctor").code == 0
    assert {request.method for request in simulator.requests} == READING
    assert state_of(simulator) == before


DRIFT: dict[tuple[str, str, str], Callable[[Any], Any]] = {
    ("orders", "renamed", "canprolong"): lambda row: row.update(can_prolong=row.pop("canprolong", True)),
    ("orders", "missing", "lastonline"): lambda row: row.pop("lastonline", None),
    ("orders", "missing", "scode"): lambda row: row.pop("scode"),
    ("orders", "type", "until"): lambda row: row.update(until={"date": "tomorrow"}),
    ("orders", "type", "state"): lambda row: row.update(state=7),
    ("orders", "type", "hasnewsms"): lambda row: row.update(hasnewsms="no"),
    ("sms", "type", "date"): lambda row: row.update(date="just now"),
    ("sms", "renamed", "sender"): lambda row: row.update(sender_=row.pop("sender")),
    ("getcountries", "missing", "code"): lambda row: row.pop("code"),
    ("getdata", "renamed", "price_day"): lambda row: row.update(priceDay=row.pop("price_day")),
    ("getdata", "type", "count"): lambda row: row.update(count="many"),
    ("get_rent_history", "missing", "begin"): lambda row: row.pop("begin"),
    ("get_rent_history", "type", "number"): lambda row: row.update(number=int(row["number"])),
    ("restore_user_precalc", "type", "price"): lambda row: row.update(price="2.40 USD"),
    ("balance", "missing", "balance"): lambda row: row.update(balance=None),
}
SIGNS = {
    "orders": "pnumber",
    "sms": "text",
    "getcountries": "name",
    "getdata": "service",
    "get_rent_history": "orderId",
    "restore_user_precalc": "prolongTo",
    "balance": "balance",
}
"""A field by which the rows of a call are recognized."""


def rows_in(payload: Any, sign: str) -> Iterator[dict[str, Any]]:
    """Yield all objects with a field."""
    if isinstance(payload, dict):
        if sign in payload:
            yield payload
        payload = [*payload.values()]
    if isinstance(payload, list):
        for item in payload:
            yield from rows_in(item, sign)


def drifting(method: str, payload: Any) -> Any:
    if method in SIGNS and "data" in payload:
        for row in [*rows_in(payload["data"], SIGNS[method])]:
            for (changed, _, _), change in DRIFT.items():
                if changed == method:
                    change(row)
    return payload


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_drift_of_a_field_is_found(dialect: DialectName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account(dialect)
    simulator.change = drifting
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert (done.code, done.err) == (1, "")
    assert drift(report_in(tmp_path)) == DRIFT.keys()
    assert "  orders: state: expected -1, 0, 1 or 2, got integer in 5 rows" in done.lines
    assert "  getdata: price_day is missing in 16 rows; priceDay may be its new name" in done.lines
    assert "  orders: lastonline is missing in 5 rows (expected time)" in done.lines


UNREADABLE = {
    "id": 0,
    "scode": "opt16",
    "sname": "Instagram",
    "state": 0,
    "pnumber": "9096068511",
    "ccode": "+7",
    "cname": "RU",
    "hasnewsms": False,
    "until": 1893456000,
}
"""An order in a known form, with an id that the library doesn't accept."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda _: ["a list"], ("form", "answer")),
        (lambda _: {"status": 1, "data": "text"}, ("form", "data")),
        (lambda payload: {"status": "OK", "data": payload["data"]}, ("type", "status")),
        (lambda payload: {"state": 1, "data": payload["data"]}, ("missing", "status")),
        (lambda payload: {"status": 1, "orders": payload["data"]}, ("missing", "data")),
        (lambda _: {"status": 1, "data": [["a", "list"]]}, ("type", "row")),
        (lambda _: {"status": 0, "msg": "Come back later"}, ("message", "message")),
        (lambda _: {"status": 1, "data": [UNREADABLE]}, ("form", "answer")),
        (lambda _: {"status": 1, "data": [UNREADABLE, {**UNREADABLE, "id": 5}]}, ("form", "row")),
    ],
    ids=["list", "text", "status", "no status", "no data", "row", "message", "unreadable", "unreadable row"],
)
def test_each_drift_of_the_whole_answer_is_found(
    dialect: DialectName,
    change: Callable[[Any], Any],
    found: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator = account(dialect)
    simulator.change = lambda method, payload: change(payload) if method == "orders" else payload
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert done.code == 1
    # An order of a changed row has no messages.
    assert {it for it in drift(report_in(tmp_path)) if it[0] != "sms"} == {("orders", *found)}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_changed_message_is_found_and_printed_but_not_reported(
    dialect: DialectName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(method: str, payload: Any) -> Any:
        refused = "data" not in payload and method == "sms"
        return {"status": 0, "msg": "Nobody ordered this"} if refused else payload

    simulator = account(dialect)
    simulator.change = change
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert (done.code, done.err) == (1, "smspva: a message that isn't in the report: Nobody ordered this\n")
    assert drift(report_in(tmp_path)) == {("sms", "message", "message")}
    (probe,) = [it for it in report_in(tmp_path)["calls"] if it["result"] == "refused: an unknown message"]
    assert probe["method"] == "sms"


def test_a_known_but_unexpected_message_is_a_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    simulator.change = lambda method, payload: (
        {"status": 0, "msg": "No numbers available"} if method == "sms" and "data" not in payload else payload
    )
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert done.code == 1
    assert "  sms: message: expected such as 'Order not found', got 'No numbers available'" in done.lines


SENT_BACK = {"status": 0, "msg": "Incorrect method"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("refused", sorted(READING - {"balance"}))
def test_a_refusal_of_a_call_that_should_succeed_is_a_drift(
    refused: str, dialect: DialectName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account(dialect)
    simulator.change = lambda method, payload: SENT_BACK if method == refused and "data" in payload else payload
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert (done.code, done.err) == (1, "")
    assert drift(report_in(tmp_path)) == {(refused, "message", "message")}
    assert f"  {refused}: message: expected data, got 'Incorrect method'" in done.lines


IN_2030 = 1_893_456_000


def set_in_rows(method: str, **fields: object) -> Callable[[str, Any], Any]:
    """Return a change that sets fields of each row of a call."""

    def change(asked: str, payload: Any) -> Any:
        for row in rows_in(payload, next(iter(fields))) if asked == method and "data" in payload else ():
            row.update(fields)
        return payload

    return change


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("method", "name"),
    [
        *(("orders", name) for name in ("pnumber", "scode", "cname")),
        ("getcountries", "code"),
        *((method, "service") for method in ("get_default_services", "getdata", "getdataWithProviders")),
        ("get_rent_history", "number"),
        ("get_rent_history", "orderId"),
        ("restore_user_precalc", "scode"),
        ("restore_user_precalc", "pnumber"),
    ],
)
def test_an_emptied_identifier_is_a_drift(
    method: str, name: str, dialect: DialectName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account(dialect)
    simulator.change = set_in_rows(method, **{name: ""})
    with examining(simulator, tmp_path, monkeypatch) as commands:
        assert commands.run("doctor").code == 1
    assert (method, "type", name) in drift(report_in(tmp_path))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", [0, IN_2030 * 1000, str(IN_2030 * 1000), str(IN_2030)])
@pytest.mark.parametrize(("method", "name"), [("orders", "until"), ("get_rent_history", "begin")])
def test_a_time_that_is_not_in_seconds_is_a_drift(
    method: str, name: str, value: int | str, dialect: DialectName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account(dialect)
    simulator.change = set_in_rows(method, **{name: value})
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    is_known = int(value) == IN_2030
    assert done.code == (0 if is_known else 1)
    assert drift(report_in(tmp_path)) == (set() if is_known else {(method, "type", name)})


@pytest.mark.parametrize("method", ["orders", "get_default_services", "get_rent_history", "get_count_multi"])
def test_status_0_together_with_data_is_a_drift(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    simulator.change = lambda asked, payload: {**payload, "status": 0} if asked == method else payload
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert done.code == 1
    assert f"  {method}: status: expected 1 beside data, got 0" in done.lines


@pytest.mark.parametrize("method", ["getdata", "sms"])
def test_a_refusal_without_a_message_is_a_drift(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    simulator.change = lambda asked, payload: (
        {"status": 0, "data": None} if asked == method and "data" in payload else payload
    )
    with examining(simulator, tmp_path, monkeypatch) as commands:
        assert commands.run("doctor").code == 1
    assert (method, "form", "answer") in drift(report_in(tmp_path))


@pytest.mark.parametrize("empty", [[], {}, None])
@pytest.mark.parametrize("method", ["getcountries", "get_default_services"])
def test_an_empty_catalogue_is_a_drift(
    method: str, empty: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account()
    simulator.change = lambda asked, payload: {"status": 1, "data": empty} if asked == method else payload
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert done.code == 1
    assert f"  {method}: data: expected at least one row, got none" in done.lines


def test_a_server_without_the_calls_of_the_contract_has_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account("page")
    simulator.behavior.page_calls_only = True
    with examining(simulator, tmp_path, monkeypatch) as commands:
        assert commands.run("doctor").code == 1
    missing = {"get_default_services", "get_country_by_service", "getdataWithProviders", "getCountWithProviders"}
    missing |= {"get_count_multi", "get_days_canada_paypal", "get_min_paypal_days"}
    assert drift(report_in(tmp_path)) == {(method, "message", "message") for method in missing}


def test_a_probe_that_the_provider_does_not_know_is_a_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    simulator.change = lambda method, payload: SENT_BACK if method == "sms" and "data" not in payload else payload
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert done.code == 1
    assert "  sms: message: expected such as 'Order not found', got 'Incorrect method'" in done.lines


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("restore_user_precalc", "NOAVAILDAYS"),
        ("get_min_paypal_days", "No numbers available"),
        ("getcountries", "SERVER_BUSY"),
    ],
)
def test_a_refusal_that_depends_on_the_account_is_no_drift(
    refused: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch)
    simulator = account()
    simulator.change = lambda method, payload: {"status": 0, "msg": message} if method == refused else payload
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert (done.code, report_in(tmp_path)["drift"]) == (0, [])


@pytest.mark.parametrize(("deleted", "code"), [(True, 0), (False, 1)])
def test_only_a_deleted_order_may_have_no_messages(
    deleted: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account()
    gone = simulator.orders[0].id

    def change(method: str, payload: Any) -> Any:
        if method == "sms" and "data" in payload and simulator.requests[-1].params["id"] == str(gone):
            if deleted:
                simulator.remove_order(gone)
            return {"status": 0, "msg": "Order not found"}
        return payload

    simulator.change = change
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert done.code == code
    assert drift(report_in(tmp_path)) == (set() if deleted else {("sms", "message", "message")})


def test_a_key_that_is_refused_late_leaves_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    asked: list[str] = []

    def change(method: str, payload: Any) -> Any:
        asked.append(method)
        return payload if asked.count("get_rent_history") == 0 else {"status": 0, "msg": "API KEY NOT FOUND!"}

    simulator.change = change
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert (done.code, done.err) == (1, "")
    assert "  get_rent_history: message: expected data, got 'API KEY NOT FOUND'" in done.lines
    assert len(report_in(tmp_path)["calls"]) == len(simulator.requests)


@pytest.mark.parametrize(("clears", "fell"), [(True, 1), (False, 0)])
def test_the_effect_of_reading_on_flags_is_measured(
    clears: Any, fell: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account()
    simulator.behavior.read_clears_flag = clears
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert report_in(tmp_path)["flags"] == {"read": 1, "fell": fell}
    assert f"Flags: {fell} of 1 fell after reading the messages" in done.lines


def test_without_a_raised_flag_nothing_is_said_about_the_effect_of_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account()
    simulator.change = set_in_rows("orders", hasnewsms=False)
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert report_in(tmp_path)["flags"] == {"read": 0, "fell": 0}
    text = "no order with a raised flag was read, so it isn't known whether reading lowers flags"
    assert f"Flags: {text}" in done.lines


@pytest.mark.parametrize(("listed", "text"), [("oldest", "oldest first"), ("newest", "newest first")])
def test_the_order_of_messages_is_measured(
    listed: Any, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = account()
    simulator.behavior.sms_order = listed
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    assert f"Messages: {text}" in done.lines


def test_purchases_of_the_ledger_are_compared_with_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    with examining(simulator, tmp_path, monkeypatch) as commands:
        for delay in (0.0, 0.0, 3600.0):
            simulator.behavior.listing_delay = delay
            assert commands.run("rent", "PL", "opt29", "--yes").code == 0
        commands.on_server(simulator.remove_order, simulator.orders[5].id)
        done = commands.run("doctor")
    found = report_in(tmp_path)["purchases"]
    assert [(it["method"], it["found_in"]) for it in found] == [
        ("create", "archive"),
        ("create", "orders"),
        ("create", "nowhere"),
    ]
    assert all(0 <= it["age"] <= 60 for it in found)
    (line,) = [line for line in done.lines if line.startswith("Purchases: ")]
    assert re.fullmatch(
        r"Purchases: 2 listed, the latest after at most \d+ s; 1 in neither list, the latest after \d+ s", line
    )


def test_hints_of_a_rate_limit_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = SmspvaClient.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "retry", Retry(attempts=1))
    simulator = account()
    simulator.headers = {
        "X-RateLimit-Remaining": "39",
        "Retry-After": "never 79991234567",
        "X-RateLimit-Account": "40300",
    }
    asked: list[str] = []

    def change(method: str, payload: Any) -> Any:
        asked.append(method)  # the last call is the second one of its method
        is_last = method == "get_country_by_service" and asked.count(method) == 2
        return {"status": 0, "msg": "TOO MANY REQUESTS"} if is_last else payload

    simulator.change = change
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")
    limit = report_in(tmp_path)["rate_limit"]
    assert {(it["name"], it["value"]) for it in limit["headers"]} == {
        ("x-ratelimit-remaining", "39"),
        ("retry-after", "hidden"),
        ("x-ratelimit-account", "hidden"),
    }
    assert limit["refused_requests"] == 1
    assert limit["gap"] > 0.01
    (line,) = [line for line in done.lines if line.startswith("Rate limit: ")]
    assert line.endswith("; x-ratelimit-remaining 39; retry-after hidden; x-ratelimit-account hidden")
    assert done.code == 0


def test_a_call_without_an_answer_exits_with_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retry_at_once(monkeypatch)
    simulator = account()
    simulator.faults.always("balance", "http_503")
    simulator.faults.always("getdata", "lost")
    with examining(simulator, tmp_path, monkeypatch) as commands:
        commands.simulator.faults.always("getcountries", "reset")
        done = commands.run("doctor")
    assert (done.code, done.err) == (4, "")
    results = {call["method"]: call["result"] for call in report_in(tmp_path)["calls"] if call["asked_for"] == "data"}
    assert (results["balance"], results["getdata"], results["orders"]) == ("HTTP 503", "no answer", "5 rows")


def test_a_server_that_can_not_be_reached_exits_with_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retry_at_once(monkeypatch)
    monkeypatch.chdir(tmp_path)
    environment = {**minimal_environment(tmp_path), "SMSPVA_API_KEY": KEY, "SSL_CERT_DIR": str(tmp_path)}
    done = run("doctor", "--base-url", "http://127.0.0.1:1/", "--gap", "0.01", **environment)
    assert (done.code, done.out) == (4, "")
    assert re.fullmatch(r"smspva: orders: no connection [^\n]+\n", done.err)
    assert [*tmp_path.glob("*.json")] == []


def test_an_unknown_key_ends_the_examination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor", SMSPVA_API_KEY="another-key")
    assert (done.code, done.out) == (1, "")
    assert "check the API key" in done.err
    assert len(simulator.requests) == 1


def test_no_file_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    with examining(simulator, tmp_path, monkeypatch) as commands:
        (tmp_path / "mine.json").write_text("mine")
        refused = commands.run("doctor", "--output", "mine.json")
        assert (refused.code, refused.err) == (
            2,
            "smspva: mine.json already exists; nothing was sent; use another --output\n",
        )
        nowhere = commands.run("doctor", "--output", "nowhere/report.json")
        assert (nowhere.code, nowhere.err) == (
            2,
            "smspva: can't write a report in nowhere; nothing was sent; use another --output\n",
        )
        assert simulator.requests == []
        unnamed = commands.run("doctor")
        named = commands.run("doctor", "--output", "other.json", "--json")
    assert (tmp_path / "mine.json").read_text() == "mine"
    (written,) = tmp_path.glob("smspva-doctor-*.json")
    assert re.fullmatch(r"smspva-doctor-\d{4}-\d\d-\d\d-\d{6}\.json", written.name)
    assert f"in {written.name}." in unnamed.out
    assert named.rows == [json.loads((tmp_path / "other.json").read_text())]


# -- privacy ---------------------------------------------------------------------------------------------------------

# Letters that no other part of a report has, so that an occurrence is no accident.
private_texts = st.text(st.sampled_from("ЖЩЫαβγ漢字é~"), min_size=4, max_size=30)
private_words = st.text("qxzQXZ_", min_size=6, max_size=30).filter(lambda text: text.strip("_"))
private_numbers = st.integers(10**7, 10**11).map(str)


@given(
    key=private_words | st.uuids().map(str),
    text=private_texts | private_words | private_numbers,
    sender=private_texts | private_words,
    number=private_numbers,
    order_id=st.integers(10**6, 10**9),
    dialect=st.sampled_from(DIALECTS),
)
# Each example runs a server, so a failure isn't shrunk.
@settings(max_examples=10, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
def test_a_report_has_no_key_number_id_or_text_of_the_account(
    key: str, text: str, sender: str, number: str, order_id: int, dialect: DialectName, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("doctor")
    spelled = [separator.join(wrap(value, 2)) for value in (number, str(order_id)) for separator in "_-"]
    private = [key, text, sender, number, str(order_id), *spelled]

    def leak(method: str, payload: Any) -> Any:
        """Repeat everything private wherever a report could take it from."""
        payload.update(dict.fromkeys(private, True))
        for row in [*rows_in(payload, SIGNS.get(method, "name"))]:
            row.update(dict.fromkeys([*private, *(f"n_{value}" for value in [number, str(order_id), *spelled])], True))
        if "data" not in payload:
            payload["msg"] = " ".join(private)
        return payload

    simulator = Drifted(start=datetime.now(UTC), api_key=key, dialect=dialect)
    simulator.change = leak
    leaking = {f"X-RateLimit-{value}": number for value in [number, *spelled]}
    simulator.headers = {**leaking, "Retry-After": f"{number} {order_id}"}
    simulator.add_order("PL", "opt29", order_id=order_id, phone=number)
    simulator.add_order(
        "PL", "opt29", phone=number[::-1].replace("0", "1"), until=datetime.now(UTC) - timedelta(days=2)
    )
    simulator.deliver(order_id, text, sender=sender)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        with serving(simulator, folder) as commands:
            done = commands.run("doctor", SMSPVA_API_KEY=key)
    assert key not in done.out + done.err
    (path,) = folder.glob("smspva-doctor-*.json")
    report = json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False)
    assert [value for value in private if value in report] == []


def test_the_report_fits_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with examining(account(), tmp_path, monkeypatch) as commands:
        for width in (60, 120):
            screen = commands.on_terminal(width, "doctor", "--output", str(tmp_path / f"{width}.json"))
            assert any(
                line.split() == ["Rate", "limit:", "no", "request", "refused,", "0.01", "s", "between", "requests"]
                for line in screen
            )


# -- the guide -------------------------------------------------------------------------------------------------------


def test_the_guide_shows_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = account()
    simulator.change = lambda method, payload: (
        {**payload, "data": [{**row, "until": "in a week"} for row in payload["data"]]}
        if method == "orders"
        else payload
    )
    with examining(simulator, tmp_path, monkeypatch) as commands:
        done = commands.run("doctor")

    def unchanging(text: str) -> list[str]:
        return [re.sub(r"\d+\.\d+|\d{4}-\d\d-\d\d-\d{6}", "…", line) for line in text.strip().splitlines()]

    assert [re.sub(" +…", " …", line) for line in unchanging(done.out)] == [
        re.sub(" +…", " …", line) for line in unchanging(block("doctor report").code)
    ]
