"""`to_dict`: every model and every event as JSON, for instance in a web service's response."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import attrs
import pytest
from attrs import evolve
from hypothesis import given, strategies as st

import smspva_async
from smspva_async import (
    Country,
    CountryOffer,
    Event,
    Offer,
    Order,
    OrderAdded,
    OrderState,
    PastOrder,
    Period,
    PollRecovered,
    Purchase,
    Reconciliation,
    Rental,
    RestoreQuote,
    Rows,
    Service,
    SkippedRow,
    Sms,
    SmsReceived,
    Stock,
    event_from_dict,
    event_to_dict,
    to_dict,
)
from smspva_async.models import WEEK
from tests.support.event_forms import AT, FORMS, ORDER, ORDER_DICT, SMS
from tests.support.strategies import any_event, any_json, dates, extras, messages, numbers, orders, texts

SMS_DICT = {
    "text": "Code: 671 094",
    "sender": "FACEBOOK",
    "received": "2026-11-23T19:48:13.999999+00:00",
    "other": False,
    "extra": {"cost": 0.5},
    "code": "671094",
}
FORM_BY_MODEL: list[tuple[object, dict[str, Any]]] = [
    (ORDER, ORDER_DICT),
    (SMS, SMS_DICT),
    (
        Country("Россия", "RU", "FAST", extra={"url_country_name": "russia"}),
        {"name": "Россия", "code": "RU", "switch_type": "FAST", "extra": {"url_country_name": "russia"}},
    ),
    (
        Service("opt16", "Instagram", Decimal("0.10")),
        {"service": "opt16", "name": "Instagram", "price_day": "0.10", "extra": {}},
    ),
    (
        CountryOffer("RU", "Russia", Decimal("2.4"), 7),
        {"country": "RU", "name": "Russia", "price": "2.4", "count": 7, "extra": {}},
    ),
    (
        Offer("Instagram", "opt16", None, 12, {"north": 5, "south": 7}),
        {
            "name": "Instagram",
            "service": "opt16",
            "price_day": None,
            "count": 12,
            "by_provider": {"north": 5, "south": 7},
            "extra": {},
        },
    ),
    (Stock(12, {"north": 12}), {"total": 12, "by_provider": {"north": 12}}),
    (
        Rental(7, "+79090000001", ("opt16", "opt29"), AT),
        {
            "id": 7,
            "phone": "+79090000001",
            "services": ["opt16", "opt29"],
            "until": "2026-11-23T19:48:14+00:00",
            "extra": {},
        },
    ),
    (Rental(7), {"id": 7, "phone": "", "services": [], "until": None, "extra": {}}),
    (
        PastOrder(7, "opt59", "+79020831944", None, 7, "RU", AT, AT + timedelta(days=7), None),
        {
            "order_id": 7,
            "service": "opt59",
            "phone": "+79020831944",
            "had_sms": None,
            "days": 7,
            "country": "RU",
            "begin": "2026-11-23T19:48:14+00:00",
            "end": "2026-11-30T19:48:14+00:00",
            "closed": None,
            "restorable": None,
            "extra": {},
        },
    ),
    (
        RestoreQuote(7, "RU", "opt59", "Avito", "+79929831844", Decimal("12.50"), 3),
        {
            "order_id": 7,
            "country": "RU",
            "service": "opt59",
            "service_name": "Avito",
            "phone": "+79929831844",
            "price": "12.50",
            "overdue_days": 3,
            "prolong_days": None,
            "extra": {},
        },
    ),
    (
        Purchase("prolong", {"id": "5"}, datetime(2026, 11, 23, 19, 48, 14, tzinfo=UTC), "done", (5,)),
        {
            "method": "prolong",
            "params": {"id": "5"},
            "started_at": "2026-11-23T19:48:14+00:00",
            "outcome": "done",
            "order_ids": [5],
        },
    ),
    (Reconciliation("done", (ORDER,)), {"verdict": "done", "candidates": [ORDER_DICT]}),
    (
        SkippedRow("no id", {"pnumber": [1, None]}, 5),
        {"reason": "no id", "raw": {"pnumber": [1, None]}, "order_id": 5},
    ),
    (WEEK, {"kind": "week", "count": 1}),
]
PUBLIC = (getattr(smspva_async, name) for name in smspva_async.__all__)
MODELS = {it for it in PUBLIC if isinstance(it, type) and attrs.has(it) and it.__module__ == "smspva_async.models"}


def sent(value: object) -> Any:
    """Return a value as a client of a web service gets it."""
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize(("model", "form"), FORM_BY_MODEL, ids=lambda value: type(value).__name__)
def test_the_documented_form_of_each_model(model: object, form: dict[str, Any]) -> None:
    assert to_dict(model) == form
    assert sent(to_dict(model)) == form


def test_every_model_is_covered() -> None:
    assert {type(model) for model, _ in FORM_BY_MODEL} == MODELS


@pytest.mark.parametrize(("event", "form"), FORMS, ids=lambda value: value.get("type") if type(value) is dict else "")
def test_an_event_has_its_journal_form_and_a_message_its_code(event: Event, form: dict[str, Any]) -> None:
    expected = {**form, "sms": SMS_DICT} if isinstance(event, SmsReceived) else form
    assert to_dict(event) == expected
    assert sent(to_dict(event)) == expected
    assert "code" not in event_to_dict(event).get("sms", {}), (
        "a journal keeps no code, because its extraction may improve"
    )
    assert event_from_dict(sent(to_dict(event))) == event


def test_every_event_class_is_covered() -> None:
    assert {type(event) for event, _ in FORMS} == {*get_args(Event)}


@pytest.mark.parametrize(("text", "code"), [("Your code: 0042", "0042"), ("Hello", None), ("", None)])
def test_a_message_has_its_code_or_none(text: str, code: str | None) -> None:
    sms = Sms(text)
    event = SmsReceived(ORDER, sms, seq=1, id="1", at=AT)
    assert to_dict(sms)["code"] == sms.code == code
    assert to_dict(event)["sms"] == to_dict(sms)


# -- any values ------------------------------------------------------------------------------------------------------

prices = st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2)
stocks = st.dictionaries(texts, st.integers(), max_size=2)
maybe_dates = st.none() | dates
counts = st.none() | st.integers()
any_model: st.SearchStrategy[object] = st.one_of(
    orders,
    messages,
    st.builds(Country, texts, texts, st.none() | texts | st.integers(), extra=extras),
    st.builds(Service, texts, texts, prices, extra=extras),
    st.builds(CountryOffer, texts, texts, prices, counts, extra=extras),
    st.builds(Offer, texts, texts, prices, counts, stocks, extra=extras),
    st.builds(Stock, st.integers(), stocks),
    st.builds(Rental, numbers, texts, st.lists(texts, max_size=2).map(tuple), maybe_dates, extra=extras),
    st.builds(
        PastOrder,
        *(numbers, texts, texts, st.none() | st.booleans(), counts, texts, maybe_dates, maybe_dates, maybe_dates),
        st.none() | st.booleans(),
        extra=extras,
    ),
    st.builds(RestoreQuote, numbers, *[texts] * 4, prices.filter(bool), counts, counts, extra=extras),
    st.builds(Reconciliation, st.sampled_from(["done", "not_done", "open"]), st.lists(orders, max_size=2).map(tuple)),
    st.builds(SkippedRow, texts, any_json, st.none() | numbers),
    st.builds(Period.weeks, st.integers(1, 12)),
    st.builds(Period.months, st.integers(1, 3)),
)


@given(any_model | any_event)
def test_a_round_trip_through_json_changes_nothing(model: Any) -> None:
    form = to_dict(model)
    assert sent(form) == form
    names = {field.name for field in attrs.fields(type(model))}
    more = {Sms: {"code"}}.get(type(model), {"type"} if hasattr(model, "seq") else set())
    assert form.keys() == names | more
    if isinstance(model, Sms):
        assert form["code"] == model.code


@given(any_event)
def test_an_event_can_be_restored_from_the_response_of_a_web_service(event: Event) -> None:
    again = event_from_dict(sent(to_dict(event)))
    assert again == event
    assert type(again) is type(event)
    assert to_dict(again) == to_dict(event), "also fields that equality ignores"


# -- odd values ------------------------------------------------------------------------------------------------------


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "odd",
    [
        math.nan,
        -math.inf,
        Decimal("NaN"),
        Decimal("0.1"),
        {1: (2, {3})},
        b"bytes",
        AT,
        Odd(),
        10**5000,
        OrderState.ACTIVE,
    ],
    ids=lambda odd: type(odd).__name__,
)
def test_odd_extra_values_become_json_too(odd: object) -> None:
    extra = {"odd": odd, "plain": 5}
    given: list[Any] = [*(model for model, _ in FORM_BY_MODEL), *(event for event, _ in FORMS)]
    models = [SkippedRow("?", extra)]
    models += [evolve(model, extra=extra) for model in given if hasattr(model, "extra")]
    models += [evolve(model, order=evolve(ORDER, extra=extra)) for model in given if hasattr(model, "order")]
    for model in models:
        form = sent(to_dict(model))
        assert form == to_dict(model)
        written = form.get("extra") or form.get("raw") or form["order"]["extra"]
        assert written.keys() == {"odd", "plain"}
        assert written["plain"] == 5


@pytest.mark.parametrize(
    ("model", "name", "form"),
    [
        (Service("opt1", "Google", Decimal("NaN")), "price_day", "NaN"),
        (Service("opt1", "Google", Decimal("1E+2")), "price_day", "1E+2"),
        (evolve(ORDER, raw_state="7"), "raw_state", "7"),
        (evolve(ORDER, state=OrderState.UNKNOWN, raw_state=None), "state", -99),
    ],
)
def test_values_keep_their_form(model: object, name: str, form: object) -> None:
    assert sent(to_dict(model))[name] == form


@pytest.mark.parametrize("raw_state", [7, "7", "", None])
def test_a_raw_state_given_as_text_stays_text(raw_state: int | str | None) -> None:
    event = OrderAdded(evolve(ORDER, raw_state=raw_state), seq=1, id="1", at=AT)
    again = event_from_dict(sent(to_dict(event)))
    assert repr(again) == repr(event)


@pytest.mark.parametrize(
    "value",
    [None, 5, "text", {"id": 1}, [ORDER], Rows([ORDER]), (), Order, SmsReceived, OrderState.ACTIVE, AT],
    ids=lambda value: type(value).__name__,
)
def test_other_objects_raise_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="expected a model or an event, got "):
        to_dict(value)


def test_changing_the_dict_does_not_change_the_model() -> None:
    event = PollRecovered(1.5, seq=1, id="1", at=AT)
    to_dict(event).clear()
    order = evolve(ORDER, extra={"list": [1]})
    to_dict(order)["extra"]["list"].append(2)
    assert order.extra == {"list": [1]}
