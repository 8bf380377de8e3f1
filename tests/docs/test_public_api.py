"""The public names, their signatures and their types."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_never, assert_type, get_args

import pytest

import smspva_async
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
    Rows,
    RowSkipped,
    Sms,
    SmspvaClient,
    SmsReceived,
    StateChanged,
    Watcher,
)
from tests.support.event_forms import FORMS
from tests.support.public_api import PINNED, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_the_public_names_and_signatures_are_unchanged() -> None:
    # After an intended change run `python -m tests.support.public_api`, and name what breaks in CHANGELOG.md.
    assert describe().splitlines() == PINNED.read_text(encoding="utf-8").splitlines()


def test_dir_lists_each_public_name_once() -> None:
    names = dir(smspva_async)
    assert {*smspva_async.__all__, "__version__"} <= {*names}
    assert len(names) == len({*names})


def test_signatures_are_the_same_after_cattrs_has_resolved_types() -> None:
    # cattrs replaces the text of a field's annotation by the type, once it has read such a model.
    code = "import attrs, smspva_async; {} from tests.support.public_api import describe; print(describe())"
    models = "(it for it in vars(smspva_async.models).values() if isinstance(it, type) and attrs.has(it))"
    resolved = f"[attrs.resolve_types(it) for it in {models}];"
    assert in_a_new_interpreter(code.format(resolved)) == in_a_new_interpreter(code.format(""))


def subject(event: Event) -> Order | str:  # noqa: PLR0911 - one per event
    """Return the subject of an event. mypy and pyright reject this function if a case is missing."""
    match event:
        case OrderAdded(order) | OrderRemoved(order):
            return order
        case OrderExpiring(order, left):
            assert_type(left, timedelta)
            return order
        case OrderUpdated(order, previous):
            assert_type(previous, Order)
            return order
        case StateChanged(order, before, now):
            assert_type(before, OrderState)
            assert_type(now, OrderState)
            return order
        case SmsReceived(order, sms):
            assert_type(sms, Sms)
            assert_type(sms.code, str | None)
            return order
        case PollFailed(kind, message):
            return f"{kind}: {message}"
        case PollRecovered(downtime):
            return f"{downtime}"
        case RowSkipped(reason):
            return reason
        case _:
            assert_never(event)


async def typed(client: SmspvaClient, watcher: Watcher) -> AsyncIterator[Event]:
    """Check the types that a program gets from a client and a watcher."""
    assert_type(await client.orders(), Rows[Order])
    assert_type([sms.text for sms in await client.sms(1)], list[str])
    async with watcher.activated(1) as number:
        assert_type(await number.next_sms(), Sms)
    async for event in watcher.events():
        yield assert_type(event, Event)


@pytest.mark.parametrize("event", [event for event, _ in FORMS], ids=lambda event: type(event).__name__)
def test_a_match_with_every_event_is_exhaustive(event: Any) -> None:
    assert subject(event)


def test_the_events_above_are_all_events() -> None:
    assert {type(event) for event, _ in FORMS} == {*get_args(Event)}


def test_an_unknown_name_is_an_error_at_run_time_and_for_type_checkers() -> None:
    with pytest.raises(AttributeError, match="module 'smspva_async' has no attribute 'Watchers'"):
        smspva_async.Watchers  # type: ignore[attr-defined]  # noqa: B018 - mypy reports an unused ignore


def in_a_new_interpreter(code: str) -> list[str]:
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)  # noqa: S603
    return result.stdout.split()


def test_a_public_name_loads_neither_the_simulator_nor_the_packages_of_extras() -> None:
    code = "import sys; had = {*sys.modules}; from smspva_async import Order; print(*{*sys.modules} - had)"
    loaded = in_a_new_interpreter(code)
    assert {"smspva_async.client", "smspva_async.watcher"} <= {*loaded}
    ours = {f"smspva_async.{name}" for name in ("cli", "simulator", "pytest_plugin")}
    of_extras = {"click", "coredis", "platformdirs", "rich", "trio", "uvicorn"}
    assert (ours | of_extras) & {*loaded} == set()


def test_without_a_public_name_nothing_is_loaded() -> None:
    code = "import importlib, sys, typing; had = {*sys.modules}; import smspva_async; print(*{*sys.modules} - had)"
    assert in_a_new_interpreter(code) == ["smspva_async"]


@pytest.mark.parametrize(
    "code",
    [
        "import smspva_async as it; print(*{*it.__all__} - {*dir(it)})",
        "from smspva_async import *; import smspva_async as it; print(*{*it.__all__} - {*globals()})",
        "import smspva_async.events, smspva_async as it; print(*{*it.__all__} - {*vars(it._public)})",
    ],
)
def test_every_public_name_is_found(code: str) -> None:
    assert in_a_new_interpreter(code) == []


@pytest.mark.parametrize("module", ["_public", "client", "events", "fleet", "journal", "models", "watcher", "__main__"])
def test_every_module_can_be_imported_first(module: str) -> None:
    assert in_a_new_interpreter(f"import smspva_async.{module}") == []


def test_public_modules_are_attributes_of_the_package() -> None:
    modules = ["client", "errors", "events", "journal", "models", "watcher"]
    code = "import smspva_async as it; print(*(getattr(it, name).__name__ for name in {}))"
    assert in_a_new_interpreter(code.format(modules)) == [f"smspva_async.{name}" for name in modules]
