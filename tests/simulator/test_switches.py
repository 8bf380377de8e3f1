"""Every switch of the simulator: what isn't known of the real server."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest

from smspva_async.simulator import SimulatedOrder, Simulator

pytestmark = pytest.mark.anyio

URL = "https://smspva.com/api/rent.php"


async def get(sim: Simulator, method: str, /, **params: str | int) -> httpx.Response:
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        return await client.get(URL, params={"method": method, "apikey": "key", **params})


async def rows(sim: Simulator, method: str = "orders", /, **params: str | int) -> Any:
    return (await get(sim, method, **params)).json()["data"]


async def flags(sim: Simulator) -> list[bool]:
    return [row["hasnewsms"] for row in await rows(sim)]


async def texts(sim: Simulator, order: SimulatedOrder) -> list[str]:
    return [row["text"] for row in await rows(sim, "sms", id=order.id)]


async def test_reading_may_leave_the_flag_up() -> None:
    sim = Simulator()
    order = sim.add_order()
    sim.deliver(order.id, "x")
    sim.switches.read_clears_flag = False
    await rows(sim, "sms", id=order.id)
    assert await flags(sim) == [True]
    sim.switches.read_clears_flag = True
    await rows(sim, "sms", id=order.id)
    assert await flags(sim) == [False]


async def test_the_flag_may_never_rise() -> None:
    sim = Simulator()
    sim.switches.flag_rises = False
    sim.deliver(sim.add_order().id, "x")
    assert await flags(sim) == [False]


async def test_something_else_may_clear_the_flag() -> None:
    sim = Simulator()
    sim.switches.flag_lifetime = 30
    sim.deliver(sim.add_order().id, "x")
    assert await flags(sim) == [True]
    await anyio.sleep(29)
    assert await flags(sim) == [True]
    await anyio.sleep(1)
    assert await flags(sim) == [False]


async def test_the_order_of_messages() -> None:
    sim = Simulator()
    order = sim.add_order()
    for text in "abcdef":
        sim.deliver(order.id, text)
    assert await texts(sim, order) == list("abcdef")
    sim.switches.sms_order = "newest"
    assert await texts(sim, order) == list("fedcba")
    sim.switches.sms_order = "shuffled"
    shuffled = [await texts(sim, order) for _ in range(5)]
    assert all(sorted(each) == list("abcdef") for each in shuffled)
    assert len({"".join(each) for each in shuffled}) > 1


@pytest.mark.parametrize(("keep", "left"), [(None, "abc"), (5, "abc"), (2, "bc"), (0, "")])
async def test_old_messages_may_be_dropped(keep: int | None, left: str) -> None:
    sim = Simulator()
    order = sim.add_order()
    for text in "abc":
        sim.deliver(order.id, text)
    sim.switches.sms_keep = keep
    assert await texts(sim, order) == list(left)
    sim.switches.sms_keep = None
    assert await texts(sim, order) == list("abc")


async def test_orders_may_flap_but_are_back_in_the_next_answer() -> None:
    sim = Simulator()
    ids = {sim.add_order().id for _ in range(20)}
    sim.switches.flapping = 0.3
    missing = [ids - {row["id"] for row in await rows(sim)} for _ in range(30)]
    assert any(missing)
    for one, following in pairwise(missing):
        assert not one & following
    sim.switches.flapping = 0
    assert len(await rows(sim)) == 20


async def test_purchases_may_be_listed_late() -> None:
    sim = Simulator()
    sim.switches.listing_delay = 45
    seeded = sim.add_order()
    rent: dict[str, str | int] = {"country": "RU", "service": "opt6", "dtype": "week", "dcount": 1}
    bought = (await get(sim, "create", **rent)).json()["data"]
    await anyio.sleep(44)
    assert [row["id"] for row in await rows(sim)] == [seeded.id]
    assert await rows(sim, "sms", id=bought["id"]) == []
    await anyio.sleep(1)
    assert [row["id"] for row in await rows(sim)] == [seeded.id, bought["id"]]


async def test_requests_may_come_too_soon() -> None:
    sim = Simulator()
    sim.switches.rate_limit = 1.5
    assert (await get(sim, "orders")).json()["status"] == 1
    await anyio.sleep(1.4)
    assert (await get(sim, "orders")).json() == {"status": 0, "msg": "TOO MANY REQUESTS"}
    await anyio.sleep(1.4)
    sim.switches.rate_limit_answer = "text"
    response = await get(sim, "orders")
    assert (response.status_code, response.text) == (200, "TOO MANY REQUESTS")
    await anyio.sleep(1.4)
    sim.switches.rate_limit_answer = "http_429"
    response = await get(sim, "orders")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    await anyio.sleep(1.5)
    assert (await get(sim, "orders")).json()["status"] == 1
    sim.switches.rate_limit = None
    assert (await get(sim, "orders")).json()["status"] == 1


async def test_too_many_requests_do_nothing() -> None:
    sim = Simulator()
    sim.switches.rate_limit = 1
    await get(sim, "getcountries")
    await get(sim, "create", country="RU", service="opt6", dtype="week", dcount=1)
    assert sim.orders == []


@pytest.mark.parametrize("dialect", ["page", "live"])
async def test_prolonging_may_answer_zero_although_it_was_done(dialect: Any) -> None:
    sim = Simulator(dialect=dialect)
    order = sim.add_order()
    until = order.until
    sim.switches.prolong_status_zero = True
    answer = (await get(sim, "prolong", id=order.id, dtype="week", dcount=1)).json()
    assert int(answer["status"]) == 0
    assert "msg" not in answer
    assert "data" in answer
    assert order.until > until


async def test_some_activations_take_much_longer() -> None:
    sim = Simulator(seed=1, activation=(100, 100))
    sim.switches.slow_activation = 0.3
    waits = [order.active_from for order in (sim.add_order(state=2) for _ in range(100))]
    slow = [wait for wait in waits if wait is not None and wait > 100]
    assert 15 < len(slow) < 45
    assert min(slow) >= 200
    assert max(slow) <= 600


async def test_times_can_be_changed_on_the_way() -> None:
    sim = Simulator()
    sim.switches.activation = (5, 5)
    sim.switches.active = (7, 7)
    order = sim.add_order(state=2)
    assert (order.active_from, order.active_until) == (5, 12)


@pytest.mark.parametrize(
    ("switch", "value", "allowed"),
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
def test_wrong_values_are_refused_with_what_is_allowed(switch: str, value: object, allowed: str) -> None:
    switches = Simulator().switches
    before = getattr(switches, switch)
    with pytest.raises(ValueError, match=allowed) as caught:
        setattr(switches, switch, value)
    assert switch in str(caught.value)
    assert getattr(switches, switch) == before


def test_a_switch_that_does_not_exist_cannot_be_set() -> None:
    switches: Any = Simulator().switches
    with pytest.raises(AttributeError):
        switches.read_clears_flags = False
