"""The provider's own SDK with the simulator: all answers have the types that the SDK declares.

The tests need the extra `sdk`. Without it they are skipped, or fail if the environment variable CI is `true`.
"""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from smspva_async.simulator import Simulator

pytestmark = pytest.mark.anyio

KEY = "0123456789abcdef"
PERIOD: dict[str, Any] = {"dtype": "week", "dcount": 1}


@pytest.fixture
def sdk() -> Any:
    if find_spec("smspva") is None and os.environ.get("CI") != "true":
        pytest.skip("the extra sdk is not installed")
    return importlib.import_module("smspva")


def mismatches(value: Any, hint: Any, where: str) -> list[str]:
    """Return the differences between a value and a type. A success has all keys of a TypedDict except `msg`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return []
    if hasattr(hint, "__required_keys__"):
        return _typed_dict_mismatches(value, hint, where)
    if origin in {Union, UnionType}:
        each = [mismatches(value, argument, where) for argument in arguments]
        return [] if [] in each else min(each, key=len)
    if origin is Literal:
        matches = any(type(value) is type(argument) and value == argument for argument in arguments)
    elif origin is list and isinstance(value, list):
        return [
            text for index, item in enumerate(value) for text in mismatches(item, arguments[0], f"{where}[{index}]")
        ]
    elif origin is dict and isinstance(value, dict):
        return [text for key, item in value.items() for text in mismatches(item, arguments[1], f"{where}.{key}")]
    elif hint is float:
        matches = type(value) in {int, float}
    else:
        matches = type(value) is hint
    return [] if matches else [f"{where}: {value!r} is not {hint}"]


def _typed_dict_mismatches(value: Any, hint: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is not {hint.__name__}"]
    hints = get_type_hints(hint)
    missing = hints.keys() - value.keys() - ({"msg"} - hint.__required_keys__)
    return [
        *(f"{where}.{key}: missing" for key in sorted(missing)),
        *(f"{where}.{key}: unknown" for key in value.keys() - hints.keys()),
        *(text for key in value.keys() & hints.keys() for text in mismatches(value[key], hints[key], f"{where}.{key}")),
    ]


BEHAVIORS: dict[str, dict[str, Any]] = {
    "default": {},
    "one order, joined": {"multi_orders": "joined", "until_text": "datetime", "getcount_is_total": True},
    "one order, a row per service": {"multi_orders": "row_per_service", "until_text": "iso"},
    "one order, one row": {"multi_orders": "one_row"},
}


@pytest.mark.parametrize("behavior", BEHAVIORS.values(), ids=BEHAVIORS)
@pytest.mark.on_both_backends
async def test_answers_to_all_rental_calls_have_the_types_of_the_sdk(sdk: Any, behavior: dict[str, Any]) -> None:
    sim = Simulator(dialect="contract", api_key=KEY)
    for name, value in behavior.items():
        setattr(sim.behavior, name, value)
    order, past = sim.add_order(), sim.add_order(until=sim.now)
    sim.deliver(order.id, "Code Instagram: 671 094.", sender="Instagram")
    sim.deliver(order.id, "Hello", other=True)
    country: dict[str, Any] = {"country": "CA"}
    calls: dict[str, list[dict[str, Any]]] = {
        "get_countries": [{}],
        "get_default_services": [{}],
        "get_countries_by_service": [{"service": "opt20", "dtype": "week"}, {"service": "opt20", **PERIOD}],
        "get_data": [country, {**country, "dtype": "month", "dcount": 1, "extend": "1"}],
        "get_data_with_providers": [country, {**country, **PERIOD, "extend": "1"}],
        "get_count": [country, {**country, **PERIOD}],
        "get_count_with_providers": [country, {**country, **PERIOD}],
        "get_multi_service_count": [{**country, "services": "opt1,opt2", **PERIOD}],
        "get_canada_paypal_days": [{}],
        "get_minimum_paypal_days": [{**country, "service": "opt83"}, {**country, "service": "opt1"}],
        "create": [{**country, "service": "opt1", **PERIOD, "provider": "A", "partner_key": "partner"}],
        "create_multi": [{**country, "services": "opt1,opt2", **PERIOD}],
        "add_service_to_order": [
            {"id": order.id, "service": "opt1", "pnumber": order.phone.removeprefix("+"), "rent_days": 7}
        ],
        "activate": [{"id": order.id}],
        "get_orders": [{}],
        "get_sms": [{"id": order.id}],
        "prolong_by_days": [{"id": order.id, "dtype": "day", "dcount": 5}],
        "prolong": [{"id": sim.add_order().id, **PERIOD}],
        "delete_order": [{"id": order.id}],
        "get_history": [{}, {"skip": 0, "take": 10}],
        "get_restore_cost": [{"id": past.id}],
        "restore": [{"id": past.id}],
    }
    found: list[str] = []
    async with sdk.AsyncSMSPVA(KEY, transport=sim.transport()) as client:
        rental = client.rental
        assert calls.keys() == {name for name in dir(rental) if not name.startswith("_")}
        for name, arguments in calls.items():
            method = getattr(rental, name)
            for each in arguments:
                found += mismatches(await method(**each), get_type_hints(method)["return"], name)
        get_balance = client.activation.get_balance
        found += mismatches(await get_balance(), get_type_hints(get_balance)["return"], "get_balance")
    assert found == []
    assert sim.violations == []
    assert len({request.method for request in sim.requests}) == 22 + 1


async def test_refusals_raise_errors_of_the_sdk(sdk: Any) -> None:
    sim = Simulator(dialect="contract", api_key=KEY)
    async with sdk.AsyncSMSPVA("another key", transport=sim.transport()) as client:
        with pytest.raises(sdk.ApiError) as caught:
            await client.rental.get_orders()
        assert caught.value.response == {"status": 0, "msg": "Wrong apikey"}
        for sim.behavior.account_errors_as_200 in (False, True):
            with pytest.raises(sdk.ApiError) as caught:
                await client.activation.get_balance()
            assert caught.value.code == "WRONG_APIKEY"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (1, bool),
        ("1", int),
        (1, str),
        (1.5, int),
        ("1", float),
        (True, float),
        (2, Literal[1]),
        (True, Literal[1]),
        ([1, "2"], list[int]),
        ({"a": "1"}, dict[str, int]),
        ({"a": 1}, list[int]),
        ("1", dict[str, int] | int),
    ],
)
def test_the_type_check_is_strict(value: Any, hint: Any) -> None:
    assert len(mismatches(value, hint, "answer")) == 1


def test_the_type_check_accepts_matching_values() -> None:
    for value, hint in ((1, float), (1, Literal[1]), ([1], list[int]), ({"a": 1}, dict[str, int] | int), (1, int)):
        assert mismatches(value, hint, "answer") == []
