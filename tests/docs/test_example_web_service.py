"""The example web service, over real HTTP."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from examples.web_service import service
from smspva_async import MemoryJournal, Pace, SmspvaClient, Watcher, to_dict
from smspva_async.simulator import Simulator
from tests.support import PATIENCE
from tests.support.backends import on_a_real_loop
from tests.support.processes import Program, until
from tests.support.web_service import Reader, served, streamed, watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smspva_async import Event

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


async def deliver(simulator: Simulator, text: str) -> None:
    simulator.deliver(simulator.orders[0].id, text)
    await anyio.sleep(0.01)


# -- streams ------------------------------------------------------------------------------------------


@on_a_real_loop
async def test_a_stream_is_a_snapshot_and_then_events() -> None:
    simulator = Simulator()
    order = simulator.add_order("RU", "opt16")
    async with served(watched(simulator)) as web:
        await deliver(simulator, "Code Instagram: 671 094.")
        reader = web.reader()
        await reader.read(until=lambda reader: "Code Instagram: 671 094." in reader.texts)
        late = web.reader()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(late.read(until=lambda late: len(late.sent) > 2))
            await until(lambda: bool(late.sent))
            simulator.deliver(order.id, "Your code is 305 871", sender="FB")
            await until(lambda: len(late.sent) > 1)
            simulator.set_state(order.id, 1)
        await reader.read(until=lambda reader: len(reader.texts) > 1)
    known, *came = late.sent
    assert known.name == "snapshot"
    (row,) = known.data["orders"]
    assert (row["id"], row["state"], row["phone"]) == (order.id, 0, order.phone)
    assert row["service_name"] == "Instagram"
    assert row["until"] == (simulator.order(order.id).until).isoformat()
    (message,) = known.data["messages"]
    assert (message["sms"]["text"], message["sms"]["code"]) == ("Code Instagram: 671 094.", "671094")
    assert known.data["failing"] is None
    assert [(sent.name, sent.data["type"]) for sent in came] == [
        ("message", "SmsReceived"),
        ("message", "StateChanged"),
    ]
    assert (came[0].data["sms"]["sender"], came[0].data["sms"]["code"]) == ("FB", "305871")
    assert came[1].data["order"]["state"] == 1
    assert reader.texts == late.texts == ["Code Instagram: 671 094.", "Your code is 305 871"]


@on_a_real_loop
async def test_an_empty_account_gives_an_empty_snapshot_and_later_events() -> None:
    simulator = Simulator()
    async with served(watched(simulator)) as web:
        reader = web.reader()
        await reader.read(until=lambda reader: len(reader.sent) == 1)
        assert reader.sent[0].data == {
            "orders": [],
            "messages": [],
            "failing": None,
            "names": {},
            "limit": 100,
            "heartbeat": 15.0,
        }
        simulator.add_order()
        await reader.read(until=lambda reader: len(reader.sent) > 1)
    assert reader.sent[1].data["type"] == "OrderAdded"


@on_a_real_loop
async def test_an_outage_and_its_end_are_shown() -> None:
    simulator = Simulator()
    simulator.add_order()
    async with served(watched(simulator)) as web:
        early = web.reader()
        await early.read(until=lambda early: bool(early.sent))
        simulator.faults.always("orders", "refused")
        await early.read(until=lambda early: early.sent[-1].name == "message")
        late = web.reader()
        await late.read(until=lambda late: bool(late.sent))
        simulator.faults.clear()
        await early.read(until=lambda early: early.sent[-1].data["type"] == "PollRecovered")
        after = web.reader()
        await after.read(until=lambda after: bool(after.sent))
    assert early.sent[1].data["type"] == "PollFailed"
    assert late.sent[0].data["failing"] == early.sent[1].data
    assert "no connection" in late.sent[0].data["failing"]["message"]
    assert len(late.sent[0].data["orders"]) == 1, "a failed poll isn't an empty list"
    assert after.sent[0].data["failing"] is None


@on_a_real_loop
async def test_the_live_watch_only_reads() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    simulator.deliver(order.id, "was there before")
    client = SmspvaClient("key-of-the-tests", transport=simulator.transport(), pace=Pace(gap=0))
    async with served(service.live(client)) as web:
        reader = web.reader()
        await reader.read(until=lambda reader: reader.texts == ["was there before"])
    assert {request.method for request in simulator.requests} == {"orders", "sms", "get_default_services"}
    assert simulator.violations == []


# -- reconnecting ---------------------------------------------------------------------------------------------------


@on_a_real_loop
@pytest.mark.parametrize("seed", [0, 1, *[pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4)]])
async def test_a_page_that_reconnects_often_gets_each_event_once(seed: int) -> None:
    simulator = Simulator()
    simulator.add_order()
    texts = [f"message {number}" for number in range(25)]
    cuts = Random(seed)

    async def burst() -> None:
        for text in texts:
            await deliver(simulator, text)

    connections = 0
    async with served(watched(simulator)) as web:
        steady, cut = web.reader(), web.reader()
        for reader in (steady, cut):
            await reader.read(until=lambda reader: bool(reader.sent))
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(burst())
            tasks.create_task(steady.read(until=lambda steady: len(steady.texts) == len(texts)))
            while len(cut.texts) < len(texts):
                # The connection can end at any byte, even within an event.
                await cut.read(until=lambda cut: len(cut.texts) == len(texts), limit=cuts.randrange(1, 3000))
                connections += 1
    assert connections > 5
    assert cut.texts == steady.texts == texts
    assert [sent.name for sent in cut.sent] == ["snapshot"] + ["message"] * (len(cut.sent) - 1)
    assert [sent.seq for sent in cut.sent[1:]] == [*range(cut.sent[0].seq + 1, cut.sent[-1].seq + 1)]
    expected = {sent.id: sent for sent in steady.sent[1:]}
    assert all(sent == expected[sent.id] for sent in cut.sent[1:])


@on_a_real_loop
async def test_an_unknown_event_id_gives_a_snapshot() -> None:
    simulator = Simulator()
    simulator.add_order()
    async with served(watched(simulator, keep=3)) as web:
        reader = web.reader()
        await reader.read(until=lambda reader: bool(reader.sent))
        run, _, seq = reader.last_id.partition("-")
        texts = [f"message {number}" for number in range(6)]
        for text in texts:  # each in a poll of its own, because the journal keeps a whole poll
            await deliver(simulator, text)
            await reader.read(until=lambda reader: reader.texts[-1:] == [text])  # noqa: B023
        newest = reader.sent[-1].seq
        for last_id in (
            f"{run}-{int(seq)}",  # too old
            f"{run}-0",
            f"{run}-{newest + 1}",  # too new
            f"{run}-{'9' * 18}",
            f"{run}-{'9' * 6000}",
            f"{run}--1",
            f"{run}-{newest}x",
            f"{run}-",
            f"00000000-{newest}",  # of another run
            str(newest),
            "-",
            "nonsense",
        ):
            lost = web.reader()
            lost.last_id = last_id
            await lost.read(until=lambda lost: bool(lost.sent))
            assert (lost.sent[0].name, lost.sent[0].id) == ("snapshot", f"{run}-{newest}"), last_id
            assert lost.texts == texts[-3:], "those that the journal keeps"
        at_the_end = web.reader()
        at_the_end.last_id = f"{run}-{newest}"
        simulator.deliver(simulator.orders[0].id, "one more")
        await at_the_end.read(until=lambda end: bool(end.sent))
    assert [sent.data["sms"]["text"] for sent in at_the_end.sent] == ["one more"]


@on_a_real_loop
async def test_an_event_id_of_an_earlier_run_gives_a_snapshot() -> None:
    before, now = Simulator(), Simulator()
    before.add_order()
    order = now.add_order("LT", "opt20")
    async with served(watched(before)) as web:
        reader = web.reader()
        await reader.read(until=lambda reader: bool(reader.sent))
    async with served(watched(now), port=web.port) as web:
        await reader.read(until=lambda reader: len(reader.sent) > 1)
    assert [sent.seq for sent in reader.sent] == [1, 1]
    assert reader.sent[1].name == "snapshot"
    assert [row["phone"] for row in reader.sent[1].data["orders"]] == [order.phone]


class CountingJournal(MemoryJournal):
    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.kept = keep
        self.reads = 0

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        self.reads += 1
        return await super().read(after, limit)


@pytest.mark.parametrize("size", [10, pytest.param(service.MESSAGES, marks=pytest.mark.slow)])
async def test_a_snapshot_only_reads_new_events(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MESSAGES", size)
    simulator = Simulator()
    order = simulator.add_order()
    journal = CountingJournal(keep=max(3, size * 3 // 10))
    client = SmspvaClient("key-of-the-tests", transport=simulator.transport(), pace=Pace(gap=0))
    texts = [f"message {number}" for number in range(3 * size)]

    async def shown() -> list[str]:
        _, known = await board.snapshot()
        return [message["sms"]["text"] for message in known["messages"]]

    async with client, Watcher(client, journal=journal) as watcher:
        board = service.Board(client, watcher)
        assert await shown() == []
        for number in range(2, len(texts), 2):  # never more than the journal keeps
            for text in texts[number - 2 : number]:
                simulator.deliver(order.id, text)
            await anyio.sleep(60)
            assert (await shown())[-2:] == texts[number - 2 : number]
        assert await shown() == texts[:number][-size:]
        journal.reads = 0
        await shown()
        assert journal.reads == 0
        for text in (unseen := [f"unseen {number}" for number in range(max(4, size * 4 // 10))]):
            simulator.deliver(order.id, text)
            await anyio.sleep(60)
        kept = unseen[-journal.kept :]
        assert (await shown())[-len(kept) :] == kept, "messages that the journal no longer keeps are skipped"


async def test_a_snapshot_has_the_newest_messages_by_their_times_and_each_number_s_newest_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "MESSAGES", 3)
    simulator = Simulator()
    began = int(simulator.now.timestamp())
    early, late, removed = simulator.add_order(), simulator.add_order(), simulator.add_order()
    async with watched(simulator, interval=60.0) as (client, watcher):
        board = service.Board(client, watcher)
        for order, text, second in (
            (late, "without a code", 9),
            (late, "Your code is 1008", 8),
            (late, "Your code is 1007", 7),
            (early, "Your code is 1002", 2),
            (early, "Your code is 1001", 1),
            (late, "Your code is 1006", 6),
            (removed, "Your code is 1000", 0),
        ):
            simulator.deliver(order.id, text, date=began + second)
            await anyio.sleep(60)
        _, data = await board.snapshot()
        assert [message["sms"]["code"] for message in data["messages"]] == ["1000", "1002", "1007", "1008", None]
        simulator.remove_order(removed.id)
        await anyio.sleep(3600)
        _, data = await board.snapshot()
    assert [message["sms"]["code"] for message in data["messages"]] == ["1002", "1007", "1008", None]


async def test_a_snapshot_has_the_names_of_services_and_does_not_wait_long_for_them() -> None:
    simulator = Simulator(dialect="contract")
    simulator.add_order("RU", ["opt29", "opt16"])
    simulator.faults.next("services", "hang")
    async with watched(simulator, interval=60.0) as (client, watcher):
        board = service.Board(client, watcher)
        began = anyio.current_time()
        _, data = await board.snapshot()
        assert (len(data["orders"]), data["names"], anyio.current_time() - began) == (1, {}, 5)
        for _ in range(2):
            _, data = await board.snapshot()
            assert (data["names"]["opt29"], data["names"]["opt16"]) == ("Telegram", "Instagram")
        simulator.faults.always("orders", "refused")
        await anyio.sleep(600)
        unnamed = service.Board(client, watcher)
        _, data = await unnamed.snapshot()
        assert (data["failing"]["type"], data["names"]) == ("PollFailed", {}), "not asked for during an outage"
    assert [request.method for request in simulator.requests].count("get_default_services") == 2


async def test_a_server_without_names_is_asked_for_them_once() -> None:
    simulator = Simulator()
    async with watched(simulator, interval=60.0) as (client, watcher):
        board = service.Board(client, watcher)
        for _ in range(3):
            _, data = await board.snapshot()
            assert data["names"] == {}
    assert [request.method for request in simulator.requests].count("get_default_services") == 1


# -- the archive ------------------------------------------------------------------------------------------------------


@on_a_real_loop
async def test_the_archive_answers_errors_as_json_and_is_never_stored() -> None:
    simulator = Simulator()
    past = simulator.add_order(until=simulator.now - timedelta(days=1))
    refused = simulator.add_order(until=simulator.now - timedelta(days=1), restore_refusal="NOAVAILDAYS")
    async with served(watched(simulator)) as web, httpx.AsyncClient(trust_env=False, base_url=web.url) as client:
        paths = ["/archive", f"/archive/{past.id}/price", f"/archive/{refused.id}/price", "/archive?skip=-1"]
        orders, price, refusal, wrong = [await client.get(path) for path in paths]
        simulator.faults.always("history", "refused")
        outage = await client.get("/archive")
    assert {order["order_id"] for order in orders.json()["orders"]} == {past.id, refused.id}
    assert orders.json()["next"] is None
    assert float(price.json()["price"]) > 0
    assert (refusal.status_code, outage.status_code, wrong.status_code) == (409, 502, 400)
    assert "NOAVAILDAYS" in refusal.json()["error"]
    assert "no connection" in outage.json()["error"]
    assert {answer.headers["cache-control"] for answer in (orders, price, refusal, outage)} == {"no-store"}


# -- the connection ------------------------------------------------------------------------------------------------


async def test_a_heartbeat_every_15_seconds_without_an_event() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    app = service.create_app(watched(simulator, interval=1.0))
    sent = await streamed(app, 80, lambda: simulator.deliver(order.id, "something"))
    (news,) = [at for at, text in sent if "something" in text]
    beats = [at for at, text in sent if text.startswith("event: heartbeat\n")]
    assert [round(at) for at in beats if at < news] == [15, 30]
    assert [round(at - news) for at in beats if at > news] == [15, 30], "counted from the last event"


async def test_a_watch_that_stopped_reports_the_reason() -> None:
    simulator = Simulator(api_key="key-of-the-tests")
    simulator.add_order()
    app = service.create_app(service.live(SmspvaClient("key-of-the-tests", transport=simulator.transport())))
    sent = await streamed(app, 200, lambda: setattr(simulator, "api_key", "another"))
    ended = sent[-1][1]
    assert ended.startswith('event: ended\ndata: "')
    assert "check the API key" in ended
    assert "id:" not in ended, "a reconnect would be useless"


@on_a_real_loop
async def test_closed_pages_leave_no_tasks() -> None:
    simulator = Simulator()
    async with served(watched(simulator, interval=30.0)) as web:
        before = len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as tasks:
            readers = [web.reader() for _ in range(10)]
            reading = [tasks.create_task(reader.read()) for reader in readers]
            await until(lambda: all(reader.sent for reader in readers))
            during = len(asyncio.all_tasks()) - len(reading)
            for task in reading:
                task.cancel()
        await until(lambda: len(asyncio.all_tasks()) <= before)
    assert during >= before + len(readers), "each open stream uses a task"


@on_a_real_loop
async def test_other_host_names_are_refused_and_the_policy_is_strict() -> None:
    async with served(watched(Simulator())) as web, httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(web.url)
        other_host = {"Host": f"rebound.example:{web.port}"}
        refused = [await client.get(web.url + path, headers=other_host) for path in ("/", "/events")]
        local = await client.get(web.url, headers={"Host": f"localhost:{web.port}"})
    assert [answer.status_code for answer in refused] == [400, 400]
    assert local.status_code == page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; connect-src 'self'; ")
    assert "unsafe" not in policy
    assert not re.search(r"(?i)https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write", page.text)


@on_a_real_loop
async def test_a_page_that_does_not_read_does_not_delay_others() -> None:
    simulator = Simulator()
    order = simulator.add_order()
    async with served(watched(simulator, interval=0.2)) as web:  # each poll reads the large message
        other = web.reader()
        await other.read(until=lambda other: bool(other.sent))
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", web.port))
        stalled.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        simulator.deliver(order.id, "Hello", sender="x" * 8_000_000)
        await until(lambda: web.unsent > 0)
        simulator.behavior.sms_keep = 0  # stop reading the large message, which is slow
        other.last_id = other.last_id.replace("-1", "-2")
        simulator.add_order("LT", "opt20")
        await other.read(until=lambda other: len(other.sent) > 1)
        assert web.unsent > 0
    assert other.sent[1].data["type"] == "OrderAdded"
    stalled.close()


# -- the program ---------------------------------------------------------------------------------------------------


async def address(program: Program) -> str:
    """Wait for the address that the program prints, and return it."""

    def printed() -> str | None:
        found = re.search(r"running on (http://127\.0\.0\.1:\d+) ", program.stderr)
        return None if found is None else found[1]

    await until(lambda: printed() is not None, program)
    return printed() or ""


@on_a_real_loop
@pytest.mark.parametrize("end", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
async def test_a_signal_ends_the_program_with_three_pages_open(end: signal.Signals) -> None:
    with Program(sys.executable, str(ROOT / "examples" / "web_service" / "service.py"), "--port", "0") as program:
        url = await address(program)
        readers = [Reader(f"{url}/events") for _ in range(3)]
        async with asyncio.TaskGroup() as tasks:
            for reader in readers:
                tasks.create_task(reader.read())  # raises if a stream is cut off
            await until(lambda: all(reader.sent for reader in readers), program)
            program.send_signal(end)
            await until(lambda: program.exit_code is not None)
        code, log = program.exit_code, program.stderr
    assert code == 0
    assert "Finished server process" in log
    assert not re.search("ERROR|WARNING|Traceback|Error", log)


def test_live_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SMSPVA_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["service.py", "--live"])
    with pytest.raises(SystemExit) as ended:
        service.main()
    assert ended.value.code == 2
    assert "SMSPVA_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_an_invalid_port_is_refused(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["service.py", "--port", port])
    with pytest.raises(SystemExit) as ended:
        service.main()
    assert ended.value.code == 2
    assert f"expected a port from 0 to 65535, got {port}" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "busy"), [(60, 1), pytest.param(240, 3, marks=pytest.mark.slow)])
async def test_the_simulation_continues(seconds: float, busy: int) -> None:
    states: dict[str, set[int]] = {}
    messages: list[float] = []
    async with service.simulated() as (_, watcher):
        began = anyio.current_time()
        async for event in watcher.events(after=0):
            fields = to_dict(event)
            if "order" in fields:
                states.setdefault(fields["order"]["phone"], set()).add(fields["order"]["state"])
            if fields["type"] == "SmsReceived":
                assert fields["sms"]["code"] is not None
                messages.append(anyio.current_time() - began)
            if anyio.current_time() - began > seconds:
                break
    assert len(states) == 5
    assert sum(seen == {0, 1, 2} for seen in states.values()) >= busy
    assert messages[0] < 15, "the first message comes soon"
    assert max(later - sooner for sooner, later in pairwise(messages)) < 20
