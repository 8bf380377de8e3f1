"""Events as lines for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from rich.cells import cell_len

from smspva_async import (
    Event,
    Order,
    OrderAdded,
    OrderExpiring,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    Sms,
    SmsReceived,
    StateChanged,
)
from smspva_async.cli import _tables
from smspva_async.cli._event_lines import EventLines
from tests.support.terminal import ESCAPE, columns, console, plain, printed

UNTIL = datetime(2030, 1, 8, 12, tzinfo=UTC)
ORDER = Order(
    id=40300,
    services=("opt16",),
    service_name="Instagram",
    state=OrderState.INACTIVE,
    phone="+79096068511",
    country="RU",
    has_new_sms=False,
    until=UNTIL,
)
WEEK_BEFORE = UNTIL - timedelta(days=7)
BASE: dict[str, Any] = {"seq": 1, "id": "1", "at": datetime(2026, 1, 1, 12, tzinfo=UTC), "order_id": 40300}


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the date to the day of the events."""
    monkeypatch.setattr("smspva_async.cli._event_lines.datetime", SimpleNamespace(now=lambda: BASE["at"]))


NOW = f"{BASE['at'].astimezone():%H:%M:%S}"


def local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def line(event: Event) -> str:
    """Return the line of an event in a pipe."""
    shown = console()
    EventLines(shown).show(event)
    (text,) = printed(shown)
    return text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (OrderAdded(ORDER, **BASE), "listed   #40300, inactive, until 2030-01-08"),
        (
            StateChanged(
                evolve(ORDER, state=OrderState.ACTIVATING, raw_state=2),
                OrderState.INACTIVE,
                OrderState.ACTIVATING,
                **BASE,
            ),
            "0 -> 2   waiting in queue",
        ),
        (
            StateChanged(
                evolve(ORDER, state=OrderState.UNKNOWN, raw_state=7), OrderState.ACTIVE, OrderState.UNKNOWN, **BASE
            ),
            "1 -> 7   unknown state",
        ),
        (
            StateChanged(
                evolve(ORDER, state=OrderState.ACTIVE, raw_state=1), OrderState.UNKNOWN, OrderState.ACTIVE, **BASE
            ),
            "? -> 1   can receive SMS",
        ),
        (
            StateChanged(
                evolve(ORDER, state=OrderState.ABSENT, raw_state=-1), OrderState.INACTIVE, OrderState.ABSENT, **BASE
            ),
            "0 -> -1  not in the provider's system",
        ),
        (SmsReceived(ORDER, Sms("Code 671 094", "Instagram"), **BASE), "message  671094  Code 671 094"),
        (SmsReceived(ORDER, Sms("Code 671 094", "INFO"), **BASE), "message  671094  INFO: Code 671 094"),
        (SmsReceived(ORDER, Sms("Welcome!"), **BASE), "message  Welcome!"),
        (
            OrderUpdated(evolve(ORDER, can_prolong=False), evolve(ORDER, until=WEEK_BEFORE, can_prolong=True), **BASE),
            f"changed  until {local(UNTIL)}, was {local(WEEK_BEFORE)}; can no longer be prolonged",
        ),
        (
            OrderUpdated(evolve(ORDER, until=None, country=""), evolve(ORDER, can_prolong=True), **BASE),
            (f"changed  country unknown, was RU; until unknown, was {local(UNTIL)}; unknown if it can be prolonged"),
        ),
        (
            OrderUpdated(ORDER, evolve(ORDER, phone="+1", service_name="Avito", country="KZ"), **BASE),
            "changed  number +79096068511, was +1; service Instagram, was Avito; country RU, was KZ",
        ),
        (
            OrderUpdated(ORDER, evolve(ORDER, services=("opt16", "opt29")), **BASE),
            "changed  service Instagram, was Instagram (opt16, opt29)",
        ),
        (OrderUpdated(ORDER, evolve(ORDER, can_prolong_days=3), **BASE), "changed  the limits for prolonging"),
        (OrderExpiring(ORDER, timedelta(hours=23), **BASE), f"expires  #40300, on {local(UNTIL)}"),
        (OrderRemoved(ORDER, expired=True, **BASE), "removed  #40300, expired"),
        (OrderRemoved(ORDER, expired=False, **BASE), "removed  #40300, no longer listed"),
    ],
)
def test_the_line_of_an_event_of_an_order(event: Event, text: str) -> None:
    assert line(event) == f"{NOW}  +79096068511  Instagram  {text}"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (PollFailed("RequestTimeout", "no answer within 30 s", **BASE), "polling fails: no answer within 30 s"),
        (PollRecovered(61.4, **BASE), "polling works again after 61 s"),
        (RowSkipped("no id", {}, **BASE), "skipped a row that can't be read: no id"),
    ],
)
def test_the_line_of_an_event_without_an_order(event: Event, text: str) -> None:
    assert line(event) == f"{NOW}  {text}"


def test_a_failure_that_concerns_one_order_names_its_number() -> None:
    shown = console()
    lines = EventLines(shown)
    lines.fit_columns([ORDER])
    lines.show(PollFailed("RequestTimeout", "no answer", **BASE))
    assert printed(shown) == [f"{NOW}  +79096068511  Instagram  failing  polling fails: no answer"]


def test_a_message_cannot_control_the_terminal() -> None:
    hostile = "a\x1b[2J\x1b]0;title\x07b\r\nc\x9b31m\u202ed\u2066 [bold red]e[/] :smile: \ud800"
    shown = console(120)
    EventLines(shown).show(SmsReceived(ORDER, Sms(hostile, "\x1b[1mS"), **BASE))
    (text,) = printed(shown)
    expected = r"\x1b[1mS: a\x1b[2J\x1b]0;title\x07b c\x9b31md [bold red]e[/] :smile: \ud800"
    assert plain([text]) == [f"{NOW}  +79096068511  Instagram  message  {expected}"]
    # Only the colors of the command line itself.
    assert set(ESCAPE.findall(text)) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}


@pytest.mark.parametrize("name", ["service_name", "services", "phone", "country", "raw_state"])
def test_an_order_cannot_control_the_terminal(name: str) -> None:
    hostile: Any = ("\x1b[2J",) if name == "services" else "\x1b[2J"
    changes: dict[str, Any] = {"service_name": "", "state": OrderState.UNKNOWN, name: hostile}
    order = evolve(ORDER, **changes)
    events: list[Event] = [
        OrderAdded(order, **BASE),
        OrderUpdated(ORDER, order, **BASE),
        StateChanged(order, OrderState.INACTIVE, OrderState.UNKNOWN, **BASE),
    ]
    assert not any("\x1b" in line(event) for event in events)
    shown = console(200)
    shown.print(_tables.orders([order]))
    assert not any("\x1b[2J" in row for row in printed(shown))


def test_an_order_without_details_has_a_line_and_a_row() -> None:
    bare = evolve(ORDER, services=(), service_name="", phone="", until=None, state=OrderState.UNKNOWN, raw_state=None)
    assert line(OrderAdded(bare, **BASE)).split("  ", 1)[1] == (
        "unknown number  unknown service  listed   #40300, state ?, until unknown"
    )
    shown = console(120)
    shown.print(_tables.orders([bare]))
    assert columns(plain(printed(shown))[1]) == ["40300", "state ?", "?", "unknown service", "unknown"]


def test_a_long_message_is_cut_off() -> None:
    text = line(SmsReceived(ORDER, Sms("word " * 20_000), **BASE))
    assert text.endswith("word …")
    assert len(text) < 700


def test_a_wide_message_is_wrapped_and_indented() -> None:
    shown = console(80)
    EventLines(shown).show(SmsReceived(ORDER, Sms("验证码" * 12), **BASE))
    first, *others = plain(printed(shown))
    indent = first.index("验")
    assert all(line[:indent].isspace() and line[indent] in "验证码" for line in others)
    assert "".join(line[indent:] for line in [first, *others]) == "验证码" * 12
    assert all(cell_len(line) <= 80 for line in [first, *others])


def test_columns_are_wide_enough_for_the_orders() -> None:
    long = evolve(ORDER, id=1, phone="+447700900123", service_name="Microsoft Azure Cloud")
    shown = console()
    lines = EventLines(shown)
    lines.fit_columns([ORDER, long])
    for order in (ORDER, long):
        lines.show(OrderAdded(order, **BASE))
    assert printed(shown) == [
        f"{NOW}  +79096068511   Instagram         listed   #40300, inactive, until 2030-01-08",
        f"{NOW}  +447700900123  Microsoft Azure…  listed   #1, inactive, until 2030-01-08",
    ]


def test_a_new_date_is_printed_once() -> None:
    shown = console()
    lines = EventLines(shown)
    tomorrow = {**BASE, "at": BASE["at"] + timedelta(days=1)}
    for base in (BASE, tomorrow, tomorrow):
        lines.show(PollRecovered(1.0, **base))
    assert [line for line in printed(shown) if "polling" not in line] == [f"{tomorrow['at'].astimezone():%Y-%m-%d}"]


def test_the_last_date_of_the_calendar_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        shown = line(OrderAdded(evolve(ORDER, until=datetime.max.replace(tzinfo=UTC)), **BASE))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown.endswith("until 9999-12-31")
