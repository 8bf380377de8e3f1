"""The settings in `Simulator.behavior`, for the unknown behavior of the real server."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from smspva_async.simulator import SimulatedOrder, Simulator
from tests.support.raw_http import get, rows

pytestmark = pytest.mark.anyio


async def flags(sim: Simulator) -> list[bool]:
    return [row["hasnewsms"] for row in await rows(sim)]


async def texts(sim: Simulator, order: SimulatedOrder) -> list[str]:
    return [row["text"] for row in await rows(sim, "sms", id=order.id)]


async def test_reading_can_leave_the_flag_set() -> None:
    sim = Simulator()
    order = sim.add_order()
    sim.deliver(order.id, "x")
    sim.behavior.read_clears_flag = False
    await rows(sim, "sms", id=order.id)
    assert await flags(sim) == [True]
    sim.behavior.read_clears_flag = True
    await rows(sim, "sms", id=order.id)
    assert await flags(sim) == [False]


async def test_the_flag_can_stay_down() -> None:
    sim = Simulator()
    sim.behavior.flag_rises = False
    sim.deliver(sim.add_order().id, "x")
    assert await flags(sim) == [False]


async def test_the_flag_can_have_a_lifetime() -> None:
    sim = Simulator()
    sim.behavior.flag_lifetime = 30
    sim.deliver(sim.add_order().id, "x")
    assert await flags(sim) == [True]
    await anyio.sleep(29)
    assert await flags(sim) == [True]
    await anyio.sleep(1)
    assert await flags(sim) == [False]


async def test_messages_can_have_different_orders() -> None:
    sim = Simulator()
    order = sim.add_order()
    for text in "abcdef":
        sim.deliver(order.id, text)
    assert await texts(sim, order) == list("abcdef")
    sim.behavior.sms_order = "newest"
    assert await texts(sim, order) == list("fedcba")
    sim.behavior.sms_order = "shuffled"
    shuffled = [await texts(sim, order) for _ in range(5)]
    assert all(sorted(each) == list("abcdef") for each in shuffled)
    assert len({"".join(each) for each in shuffled}) > 1


@pytest.mark.parametrize(("keep", "listed"), [(None, "abc"), (5, "abc"), (2, "bc"), (0, "")])
async def test_old_messages_can_be_left_out(keep: int | None, listed: str) -> None:
    sim = Simulator()
    order = sim.add_order()
    for text in "abc":
        sim.deliver(order.id, text)
    sim.behavior.sms_keep = keep
    assert await texts(sim, order) == list(listed)
    sim.behavior.sms_keep = None
    assert await texts(sim, order) == list("abc")


async def test_orders_can_flap_but_the_next_answer_lists_them_again() -> None:
    sim = Simulator()
    ids = {sim.add_order().id for _ in range(20)}
    sim.behavior.flapping = 0.3
    missing = [ids - {row["id"] for row in await rows(sim)} for _ in range(30)]
    assert any(missing)
    for first, second in pairwise(missing):
        assert not first & second
    sim.behavior.flapping = 0
    assert len(await rows(sim)) == 20


async def test_purchases_can_be_listed_late() -> None:
    sim = Simulator()
    sim.behavior.listing_delay = 45
    earlier = sim.add_order()
    rent: dict[str, str | int] = {"country": "RU", "service": "opt6", "dtype": "week", "dcount": 1}
    rental = (await get(sim, "create", **rent)).json()["data"]
    await anyio.sleep(44)
    assert [row["id"] for row in await rows(sim)] == [earlier.id]
    assert await rows(sim, "sms", id=rental["id"]) == []
    await anyio.sleep(1)
    assert [row["id"] for row in await rows(sim)] == [earlier.id, rental["id"]]


async def test_requests_above_the_rate_limit_are_refused() -> None:
    sim = Simulator()
    sim.behavior.rate_limit = 1.5
    assert (await get(sim, "orders")).json()["status"] == 1
    await anyio.sleep(1.4)
    assert (await get(sim, "orders")).json() == {"status": 0, "msg": "TOO MANY REQUESTS"}
    await anyio.sleep(1.4)
    sim.behavior.rate_limit_answer = "text"
    response = await get(sim, "orders")
    assert (response.status_code, response.text) == (200, "TOO MANY REQUESTS")
    await anyio.sleep(1.4)
    sim.behavior.rate_limit_answer = "http_429"
    response = await get(sim, "orders")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    await anyio.sleep(1.5)
    assert (await get(sim, "orders")).json()["status"] == 1
    sim.behavior.rate_limit = None
    assert (await get(sim, "orders")).json()["status"] == 1


async def test_requests_above_the_rate_limit_have_no_side_effect() -> None:
    sim = Simulator()
    sim.behavior.rate_limit = 1
    await get(sim, "getcountries")
    await get(sim, "create", country="RU", service="opt6", dtype="week", dcount=1)
    assert sim.orders == []


@pytest.mark.parametrize("dialect", ["page", "live"])
async def test_a_successful_prolong_can_answer_status_zero(dialect: Any) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order()
    until = order.until
    sim.behavior.prolong_status_zero = True
    answer = (await get(sim, "prolong", id=order.id, dtype="week", dcount=1)).json()
    assert int(answer["status"]) == 0
    assert "msg" not in answer
    assert "data" in answer
    assert order.until > until


async def test_activations_can_take_much_longer() -> None:
    sim = Simulator(seed=1, activation=(100, 100))
    sim.behavior.slow_activation = 0.3
    delays = [order.active_from for order in (sim.add_order(state=2) for _ in range(100))]
    slow = [wait for wait in delays if wait is not None and wait > 100]
    assert 15 < len(slow) < 45
    assert min(slow) >= 200
    assert max(slow) <= 600


async def test_activation_times_can_change() -> None:
    sim = Simulator()
    sim.behavior.activation = (5, 5)
    sim.behavior.active = (7, 7)
    order = sim.add_order(state=2)
    assert (order.active_from, order.active_until) == (5, 12)


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("read_clears_flag", "no", "True, False"),
        ("flag_rises", None, "True, False"),
        ("banned", 2, "True, False"),
        ("prolong_status_zero", "0", "True, False"),
        ("flag_lifetime", -1, ">= 0"),
        ("sms_order", "random", "'oldest', 'newest', 'shuffled'"),
        ("sms_keep", -1, ">= 0"),
        ("flapping", 1.5, "<= 1"),
        ("slow_activation", -0.5, ">= 0"),
        ("listing_delay", -3, ">= 0"),
        ("rate_limit", -1, ">= 0"),
        ("rate_limit_answer", "xml", "'json', 'text', 'http_429'"),
        ("page_calls_only", "no", "True, False"),
        ("multi_orders", "rows", "'own_ids', 'joined', 'row_per_service', 'one_row'"),
        ("until_text", "us", "'unix', 'datetime', 'iso'"),
        ("getcount_is_total", 2, "True, False"),
        ("refusal_form", "text", "'msg', 'error_msg', 'message', 'error', 'error_object'"),
        ("balance_is_number", "yes", "True, False"),
        ("account_errors_as_200", 200, "True, False"),
        ("activation", (5, 1), "lowest, highest"),
        ("active", (-1, 1), "lowest, highest"),
    ],
)
def test_wrong_values_raise_errors_that_list_the_allowed_values(setting: str, value: object, allowed: str) -> None:
    behavior = Simulator().behavior
    before = getattr(behavior, setting)
    with pytest.raises(ValueError, match=allowed) as caught:
        setattr(behavior, setting, value)
    assert setting in str(caught.value)
    assert getattr(behavior, setting) == before


def test_an_unknown_setting_cannot_be_set() -> None:
    behavior: Any = Simulator().behavior
    with pytest.raises(AttributeError):
        behavior.read_clears_flags = False
