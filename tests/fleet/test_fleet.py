"""A `RedisFleet`: its arguments, its secrets, and clients and watchers that share it."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import subprocess
import sys
import threading
import traceback
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Event, JournalError, OrderState, Pace, SmspvaClient, SmsReceived, WaitTimeout, Watcher
from smspva_async.fleet import RedisFleet
from smspva_async.simulator import Simulator
from tests.support import PATIENCE
from tests.support.network import Network
from tests.support.processes import until
from tests.support.watching import so_far, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio

on_real_loops = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop}), ("trio", {})], ids=["asyncio", "trio"]
)
URL = "redis://user:secret-word@localhost:6379/0"


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def client_of(fleet: RedisFleet, simulator: Simulator) -> SmspvaClient:
    return SmspvaClient("any key", transport=simulator.transport(), pace=Pace(gap=0.001), fleet=fleet)


# -- arguments and secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"url": "http://user:secret-word@localhost"}, "the URL of Redis must look like"),
        ({"url": "redis://user:secret-word@localhost/first"}, "must be a number"),
        ({"url": "redis://user:1234#secret-word@localhost/0"}, "must be written as %23"),
        ({"url": None}, "the URL of Redis must look like"),
        ({"name": ""}, "the fleet's name must be"),
        ({"name": "a}b"}, "the fleet's name must be"),
        ({"name": 5}, "the fleet's name must be"),
        ({"lease": 0}, "the lease must be"),
        ({"lease": float("inf")}, "the lease must be"),
        ({"lease": "10"}, "the lease must be"),
        ({"keep": 0}, "the number of events to keep must be"),
        ({"keep": (5, timedelta(0))}, "the time to keep events must be"),
        ({"keep": (5,)}, "keep must be"),
        ({"may_lead": 1}, "may_lead must be"),
    ],
)
def test_an_invalid_argument_is_refused_without_the_password(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        RedisFleet(**{"url": URL, **arguments})
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    own_frame = shown.stack.pop(0)
    assert "secret-word" not in "".join(shown.format())
    assert own_frame.name.startswith("test_")


def test_nothing_shows_the_password() -> None:
    fleet = RedisFleet(URL, name="other")
    assert repr(fleet) == "<RedisFleet the fleet 'other' at localhost:6379>"
    parts = [fleet, fleet.journal, fleet.ledger, fleet.attach(lambda: "account", 1.5)]
    assert "secret-word" not in "".join(f"{part!r} {vars(part)}" for part in [*parts, fleet._link])
    for function in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a RedisFleet can't be pickled or copied"):
            function(fleet)


@on_real_loops
async def test_an_error_of_the_connection_does_not_show_the_password() -> None:
    fleet = RedisFleet("redis://user:secret-word@127.0.0.1:1")
    with pytest.raises(JournalError) as raised:
        async with client_of(fleet, Simulator()):
            pass
    shown = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert "secret-word" not in shown.replace('secret-word@127.0.0.1:1")', "")
    assert b"secret-word" not in pickle.dumps(raised.value)


def test_a_fleet_belongs_to_one_client() -> None:
    fleet, simulator = RedisFleet(URL), Simulator()
    client_of(fleet, simulator)
    with pytest.raises(ValueError, match="another client uses this RedisFleet"):
        client_of(fleet, simulator)


@on_real_loops
async def test_a_fleet_without_a_client_says_so(redis_server: RedisServer) -> None:
    with pytest.raises(JournalError, match="no client uses this RedisFleet"):
        await RedisFleet(redis_server.url).journal.forget("name")


def test_without_the_extra_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['coredis'] = None; from smspva_async.fleet import RedisFleet"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.stderr.splitlines()[-1] == (
        'ImportError: RedisFleet needs the package coredis: pip install "smspva-async[redis]"'
    )
    assert "During handling" not in done.stderr


# -- clients ---------------------------------------------------------------------------------------------------------


@on_real_loops
async def test_two_clients_share_events_and_the_ledger(redis_server: RedisServer) -> None:
    simulator = Simulator()
    order = simulator.add_order(state=1)
    first = client_of(RedisFleet(redis_server.url), simulator)
    second = client_of(RedisFleet(redis_server.url, may_lead=False), simulator)
    async with first, second, Watcher(first, interval=0.05) as leader, Watcher(second, interval=0.05) as follower:
        assert (leader.leads, follower.leads) == (True, False)
        simulator.deliver(order.id, "Your code: 1234")
        one = await leader.wait_for_sms(order.id, after=0, timeout=30)
        other = await follower.wait_for_sms(order.id, after=0, timeout=30)
        assert isinstance(one, SmsReceived)
        assert (one.id, one.seq) == (other.id, other.seq)
        rental = await second.rent("RU", "opt16")
        await first.orders()
    async with first:
        assert [purchase.order_ids for purchase in first.purchases()] == [(rental.id,)]
    assert len(redis_server.cli("CLIENT", "LIST").splitlines()) == 1
    assert not [it for it in threading.enumerate() if it.name.startswith("smspva")]


@on_real_loops
async def test_a_client_that_is_entered_again_stays_connected(redis_server: RedisServer) -> None:
    simulator = Simulator()
    client = client_of(RedisFleet(redis_server.url), simulator)
    for _ in range(2):
        async with client:
            await client.orders()
            assert len(redis_server.cli("CLIENT", "LIST").splitlines()) > 1
        assert len(redis_server.cli("CLIENT", "LIST").splitlines()) == 1


@on_real_loops
async def test_entering_that_fails_leaves_nothing(redis_server: RedisServer) -> None:
    client = client_of(RedisFleet(redis_server.url), Simulator())
    redis_server.cli("HSET", "smspva:{main}:meta", "form", "7")
    with pytest.raises(JournalError, match="newer version"):
        async with client:
            pass
    assert len(redis_server.cli("CLIENT", "LIST").splitlines()) == 1
    assert redis_server.cli("KEYS", "*").split() == ["smspva:{main}:meta"]


# -- a watch while Redis fails -----------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(url: str, simulator: Simulator, lease: float = 0.3) -> AsyncIterator[tuple[Watcher, RedisFleet]]:
    """Watch as a member of a fleet, with another connection than that of other members."""
    fleet = RedisFleet(url, lease=lease)
    async with (
        client_of(fleet, simulator) as client,
        Watcher(client, interval=0.05, eager_interval=0.05) as watcher,
    ):
        yield watcher, fleet


async def wait_for_texts(watcher: Watcher, count: int) -> Sequence[str]:
    """Wait until the events contain some messages, and return the texts of all."""
    events: list[Event] = []
    with anyio.fail_after(PATIENCE):
        async for event in watcher.events(after=0):
            events.append(event)
            if len(texts(events)) == count:
                break
    return texts(events)


@on_real_loops
async def test_waits_time_out_while_redis_is_down(redis_server: RedisServer) -> None:
    simulator = Simulator()
    order_id = simulator.add_order(state=1).id
    async with (
        watching(redis_server.url, simulator) as (leader, leaders_fleet),
        watching(redis_server.url, simulator) as (follower, followers_fleet),
        leader.activated(order_id) as leaders_number,
        follower.activated(order_id) as followers_number,
    ):
        redis_server.kill()
        for fleet in (leaders_fleet, followers_fleet):
            await until(lambda fleet=fleet: fleet.journal.failure is not None)  # type: ignore[misc]
        for watcher, number in ((leader, leaders_number), (follower, followers_number)):
            waits = (
                watcher.wait_for_sms(order_id, timeout=0.01),
                watcher.wait_for_state(order_id, OrderState.INACTIVE, timeout=0.01),
                number.next_sms(timeout=0.01),
            )
            for wait in waits:
                with pytest.raises(WaitTimeout, match="last failure: "), anyio.fail_after(PATIENCE):
                    await wait
        redis_server.start()
        simulator.deliver(order_id, "afterwards")
        for watcher in (leader, follower):
            assert (await watcher.wait_for_sms(order_id, after=0, timeout=PATIENCE)).sms.text == "afterwards"


@on_real_loops
async def test_a_full_memory_is_one_warning_and_one_info_although_events_are_read(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "smspva_async")
    simulator = Simulator()
    order_id = simulator.add_order(state=1).id
    async with watching(redis_server.url, simulator) as (watcher, fleet):
        simulator.deliver(order_id, "before")
        await wait_for_texts(watcher, 1)
        caplog.clear()
        await anyio.to_thread.run_sync(redis_server.cli, "CONFIG", "SET", "maxmemory", "1")
        simulator.deliver(order_id, "during the outage")
        await until(lambda: fleet.journal.failure is not None)
        for _ in range(10):
            await fleet.journal.places()  # Redis still answers this
            assert fleet.journal.failure is not None
        await until(lambda: not watcher.leads)
        assert texts(await so_far(watcher)) == ["before"]
        await anyio.to_thread.run_sync(redis_server.cli, "CONFIG", "SET", "maxmemory", "0")
        await wait_for_texts(watcher, 2)
        await until(lambda: fleet.journal.failure is None)
        simulator.deliver(order_id, "afterwards")
        assert await wait_for_texts(watcher, 3) == ["before", "during the outage", "afterwards"]
    assert [(it.levelname, "OOM" in it.getMessage()) for it in caplog.records] == [("WARNING", True), ("INFO", False)]


@on_real_loops
async def test_closing_a_consumer_ends_while_redis_is_down(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smspva_async._watch.journal_io._LAST_WRITE", 0.05)
    simulator = Simulator()
    order_id = simulator.add_order(state=1).id
    async with watching(redis_server.url, simulator) as (watcher, _):
        for text in ("one", "two"):
            simulator.deliver(order_id, text)
        await wait_for_texts(watcher, 2)
        consumer = watcher.consumer("billing", after=0)
        await anext(consumer)
        redis_server.kill()
        second = await anext(consumer)  # now the first event is done, which Redis doesn't have
        with anyio.fail_after(PATIENCE):
            await consumer.aclose()
        redis_server.start()
        assert await anext(watcher.consumer("billing")) == second


def transport_of(simulator: Simulator, attacks: list[Callable[[], object]]) -> httpx.MockTransport:
    """Return a transport that makes each attack once, while a poll of the orders is answered."""
    provider = simulator.transport()

    async def respond(request: httpx.Request) -> httpx.Response:
        if attacks and request.url.params["method"] == "orders":
            attacks.pop()()
        return await provider.handle_async_request(request)

    return httpx.MockTransport(respond)


@pytest.mark.parametrize("attack", ["deposed", "cut off"])
@pytest.mark.parametrize("poll", ["first", "later"])
@on_real_loops
async def test_a_leader_that_can_not_write_what_it_polled_leads_again_later(
    redis_server: RedisServer, attack: str, poll: str
) -> None:
    simulator = Simulator()
    order_id = simulator.add_order(state=1).id
    attacks: list[Callable[[], object]] = []
    fleet = RedisFleet(redis_server.url, lease=0.3)
    client = SmspvaClient("any key", transport=transport_of(simulator, attacks), pace=Pace(gap=0.001), fleet=fleet)
    watcher = Watcher(client, interval=0.05, eager_interval=0.05)

    def depose() -> None:
        simulator.set_state(order_id, 0)
        redis_server.cli("SET", "smspva:{main}:lease", "another member", "PX", "300")

    def cut_off() -> None:
        simulator.set_state(order_id, 0)
        redis_server.kill()
        tasks.start_soon(repair)

    async def repair() -> None:
        await until(lambda: not watcher.leads)
        await anyio.to_thread.run_sync(redis_server.start)

    make = depose if attack == "deposed" else cut_off
    async with anyio.create_task_group() as tasks, client:
        if poll == "first":
            attacks.append(make)
        async with watcher:
            if poll == "later":
                attacks.append(make)
            await until(lambda: not attacks)
            simulator.deliver(order_id, "afterwards")
            assert await wait_for_texts(watcher, 1) == ["afterwards"]
            await until(lambda: watcher.leads)


@on_real_loops
async def test_a_leader_that_is_cut_off_becomes_a_follower(redis_server: RedisServer) -> None:
    simulator = Simulator()
    order_id = simulator.add_order(state=1).id
    async with anyio.create_task_group() as tasks:
        network = Network(redis_server, tasks)
        await network.repair()
        async with (
            watching(network.url, simulator, lease=1.0) as (old, old_fleet),
            watching(redis_server.url, simulator, lease=1.0) as (new, _),
        ):
            assert (old.leads, new.leads) == (True, False)
            network.cut()
            simulator.deliver(order_id, "meanwhile")
            assert await wait_for_texts(new, 1) == ["meanwhile"]
            await until(lambda: not old.leads)
            assert old_fleet.journal.failure is not None
            await network.repair()
            simulator.deliver(order_id, "afterwards")
            for watcher in (old, new):
                assert await wait_for_texts(watcher, 2) == ["meanwhile", "afterwards"]
            assert await so_far(old) == (await so_far(new))[: old.cursor]
            await until(lambda: old.leads != new.leads)
        tasks.cancel_scope.cancel()
