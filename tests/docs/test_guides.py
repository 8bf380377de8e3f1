"""The programs of the guides, run as a user would paste them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import signal
import sqlite3
import sys
import tomllib
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import opentelemetry.sdk.metrics
import prometheus_client
import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from smspva_async import NoNumbers, SmspvaClient
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.backends import on_a_real_loop
from tests.support.commands import run
from tests.support.documents import ROOT, block
from tests.support.loopback import Served
from tests.support.processes import Program, until
from tests.support.programs import run_program
from tests.support.selection import slow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from tests.support.documents import Block

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -- pipelines -------------------------------------------------------------------------------------------------------


async def deliver_when_active(simulator: Simulator, *texts: str) -> None:
    """Deliver messages to the first number once it is active."""
    while not simulator.orders or simulator.orders[0].state != 1:  # noqa: ASYNC110 - it is the simulator that acts
        await anyio.sleep(60)
    for text in texts:
        assert simulator.deliver(simulator.orders[0].id, text, sender="FB", network=True)
    await anyio.sleep(120)


def test_one_number_goes_from_rent_to_code(simulator: Simulator, capsys: Printed) -> None:
    run_program(block("one number"), deliver_when_active(simulator, "Code Instagram: 671 094."))
    assert capsys.readouterr().out == f"ready: {simulator.orders[0].phone}\ncode: 671094\n"
    assert simulator.violations == []


@pytest.mark.parametrize("count", [10, slow(100)])
def test_many_numbers_are_used_at_once(count: int, simulator: Simulator, capsys: Printed) -> None:
    for _ in range(count):
        simulator.add_order()
    waiting = {order.id: order for order in simulator.orders}

    async def meanwhile() -> None:
        while waiting:
            await asyncio.sleep(30)
            for order in [order for order in waiting.values() if order.state == 1]:
                assert simulator.deliver(order.id, "Welcome!", network=True)
                assert simulator.deliver(order.id, f"Your code: {order.id}", network=True)
                del waiting[order.id]
        await asyncio.sleep(600)

    run_program(block("hundred"), meanwhile())
    printed = capsys.readouterr().out.splitlines()
    orders = simulator.orders
    assert sorted(line for line in printed if "ready" in line) == sorted(f"ready: {order.phone}" for order in orders)
    codes = sorted(f"code: {order.phone} {order.id}" for order in orders)
    assert sorted(line for line in printed if "ready" not in line) == codes
    assert [request.method for request in simulator.requests].count("activate") == count
    assert simulator.violations == []


def test_a_pipeline_that_fails_leaves_the_others_running(simulator: Simulator, capsys: Printed) -> None:
    first, second = simulator.add_order(), simulator.add_order()

    async def meanwhile() -> None:
        await asyncio.sleep(10)
        simulator.remove_order(second.id)
        await deliver_when_active(simulator, "Your code: 1234")

    run_program(block("hundred"), meanwhile())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"failed: {second.id} order {second.id} ({second.phone}")
    assert lines[1:] == [f"ready: {first.phone}", f"code: {first.phone} 1234"]


def test_the_program_waits_again_after_a_timeout(simulator: Simulator, capsys: Printed) -> None:
    order = simulator.add_order(state=1)

    async def meanwhile() -> None:
        await asyncio.sleep(200)
        simulator.deliver(order.id, "Your code: 1234")
        await asyncio.sleep(60)

    run_program(block("time limits"), meanwhile())
    assert capsys.readouterr().out.splitlines() == [
        f"enter this number on the website: {order.phone}",
        "no code yet: let the website send it again",
        "code: 1234",
    ]


def test_state_and_message_can_be_waited_for(simulator: Simulator, capsys: Printed) -> None:
    order = simulator.add_order()

    async def meanwhile() -> None:
        await asyncio.sleep(100)
        simulator.set_state(order.id, 1)
        await deliver_when_active(simulator, "Hello")

    run_program(block("waits"), meanwhile())
    lines = [f"enter this number on the website: {order.phone}", "FB Hello"]
    assert capsys.readouterr().out.splitlines() == lines
    assert "activate" not in {request.method for request in simulator.requests}


def test_pipelines_run_on_trio(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    order = simulator.add_order()
    run = trio.run

    def run_both(main: Callable[[], Awaitable[object]]) -> None:
        async def both() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deliver_when_active, simulator, "Your code: 1234")
                nursery.start_soon(main)

        run(both, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", run_both)
    exec(block("trio").compiled(), {"__name__": "__main__"})  # noqa: S102 - the program is from this repository
    assert capsys.readouterr().out == f"code: {order.phone} 1234\n"


# -- web services ----------------------------------------------------------------------------------------------------


@frozen
class Response:
    status: int
    headers: Mapping[bytes, bytes]
    body: str

    @property
    def events(self) -> list[tuple[int, str]]:
        """The id and the type of each server-sent event."""
        fields = [dict(line.split(": ", 1) for line in text.splitlines()) for text in self.body.split("\n\n")[:-1]]
        return [(int(event["id"]), json.loads(event["data"])["type"]) for event in fields]


class Service:
    """An ASGI app inside its lifespan, called without sockets, so that time may be virtual."""

    def __init__(self, app: Any, state: Any) -> None:
        self._app = app
        self._state = state

    async def get(self, path: str, *, seconds: float = 1e9, last_event_id: str | None = None) -> Response:
        """Send a request; disconnect after some seconds."""
        messages: list[Any] = []
        requests = iter([{"type": "http.request", "body": b""}])

        async def receive() -> dict[str, Any]:
            for request in requests:
                return request
            await anyio.sleep(seconds)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            messages.append(message)

        headers = [(b"host", b"localhost")]
        headers += [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "query_string": b""}
        scope |= {"headers": headers, "state": dict(self._state)}
        await self._app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Response(messages[0]["status"], dict(messages[0]["headers"]), body.decode())


def serve(app: Any, use: Callable[[Service], Awaitable[None]]) -> None:
    """Use a service in virtual time."""

    async def run() -> None:
        async with app.router.lifespan_context(app) as state:
            await use(Service(app, state))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


def app_of(program: Block) -> Any:
    """Return the app that a program defines."""
    names: dict[str, Any] = {"__name__": "app"}
    exec(program.compiled(), names)  # noqa: S102 - the program is from this repository
    return names["app"]


@pytest.mark.parametrize("program", [block("fastapi"), block("web")], ids=["FastAPI", "Starlette"])
def test_a_stream_continues_after_the_last_event_even_after_a_restart(program: Block, simulator: Simulator) -> None:
    order = simulator.add_order()

    async def first_run(service: Service) -> None:
        simulator.deliver(order.id, "one")
        response = await service.get("/events", seconds=60)
        assert response.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert response.events == [(1, "OrderAdded"), (2, "SmsReceived")]
        simulator.deliver(order.id, "two")
        assert (await service.get("/events", seconds=60, last_event_id="2")).events == [(3, "SmsReceived")]

    async def second_run(service: Service) -> None:
        simulator.deliver(order.id, "three")
        assert (await service.get("/events", seconds=60, last_event_id="3")).events == [(4, "SmsReceived")]
        assert [seq for seq, _ in (await service.get("/events", seconds=60)).events] == [1, 2, 3, 4]
        assert (await service.get("/events", seconds=60, last_event_id="99")).events == []

    for use in (first_run, second_run):
        serve(app_of(program), use)
    assert simulator.violations == []


def test_fastapi_returns_orders_and_codes(simulator: Simulator) -> None:
    order = simulator.add_order()

    async def use(service: Service) -> None:
        listed = json.loads((await service.get("/orders")).body)
        assert [(row["id"], row["phone"], row["state"]) for row in listed] == [(order.id, order.phone, 0)]
        path = f"/orders/{order.id}/code"
        async with asyncio.TaskGroup() as tasks:
            requests = [tasks.create_task(service.get(path)) for _ in range(3)]
            await asyncio.sleep(10)
            simulator.deliver(order.id, "Your code: 1234")
        assert {request.result().body for request in requests} == {f'{{"phone":"{order.phone}","code":"1234"}}'}
        assert (await service.get("/orders/1/code")).status == 404
        assert (await service.get(path)).status == 504
        assert (await service.get("/events", last_event_id="x")).status == 422
        simulator.remove_order(order.id)
        while (response := await service.get(path)).status == 504:
            pass
        assert response.status == 410

    serve(app_of(block("fastapi")), use)
    assert simulator.violations == []


def test_fastapi_returns_the_archive_and_prices(simulator: Simulator) -> None:
    past = simulator.add_order(until=simulator.now - timedelta(days=2))
    refused = simulator.add_order(until=simulator.now - timedelta(days=3), restore_refusal="NOAVAILDAYS")

    async def use(service: Service) -> None:
        listed = json.loads((await service.get("/archive")).body)
        assert [row["order_id"] for row in listed] == [past.id, refused.id]
        quote = json.loads((await service.get(f"/archive/{past.id}/price")).body)
        assert (quote["order_id"], quote["phone"]) == (past.id, past.phone)
        refusal = await service.get(f"/archive/{refused.id}/price")
        assert refusal.status == 409
        assert "NOAVAILDAYS" in json.loads(refusal.body)["error"]
        simulator.faults.always("history", "refused")
        outage = await service.get("/archive")
        assert outage.status == 502
        assert "no connection" in json.loads(outage.body)["error"]
        assert (await service.get("/archive/0/price")).status == 422

    serve(app_of(block("fastapi")), use)
    assert simulator.violations == []


@pytest.mark.anyio
@on_a_real_loop
async def test_the_service_starts_and_stops_with_an_open_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "guides" / "web-services.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"`uvicorn (app:app .+?)`", guide)
    Path("app.py").write_text(block("fastapi").code, encoding="utf-8")
    simulator = Simulator()
    simulator.add_order()
    async with Served(simulator) as provider:
        monkeypatch.setenv("SMSPVA_API_KEY", "any key")
        monkeypatch.setenv("SMSPVA_BASE_URL", provider.url)
        with Program(sys.executable, "-m", "uvicorn", *command.split(), "--port", "0") as service:
            await until(lambda: "running on http" in service.stderr, service)
            port = re.findall(r"running on http://127\.0\.0\.1:(\d+)", service.stderr)[0]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b'"type": "OrderAdded"')
            service.send_signal(signal.SIGTERM)
            await until(lambda: service.exit_code is not None)
            assert service.exit_code in (0, -signal.SIGTERM)  # by uvicorn's version
            assert "Finished server process" in service.stderr
            writer.close()


# -- restarts --------------------------------------------------------------------------------------------------------


def test_events_without_an_acknowledgement_come_again(simulator: Simulator, capsys: Printed) -> None:
    order = simulator.add_order()

    async def meanwhile(text: str) -> None:
        await asyncio.sleep(60)
        simulator.deliver(order.id, text, sender="FB")
        await asyncio.sleep(120)

    texts: list[str] = []
    for text in ("one", "two"):
        run_program(block("journal"), meanwhile(text))
        texts += [line.split(" ", 2)[2] for line in capsys.readouterr().out.splitlines()]
    assert texts == ["one", "two"]
    # As if the program had been killed before the last `ack` was in the file:
    with closing(sqlite3.connect("smspva.db", isolation_level=None)) as journal:
        journal.execute("UPDATE cursors SET place = place - 1")
    run_program(block("journal"), asyncio.sleep(60))
    assert capsys.readouterr().out.splitlines()[0].endswith(" two")


def test_a_program_resumes_at_its_own_position(simulator: Simulator, capsys: Printed) -> None:
    order = simulator.add_order()
    printed: list[list[str]] = []
    for text in ("one", "two"):
        simulator.deliver(order.id, text)
        run_program(block("own position"), asyncio.sleep(120))
        printed.append(capsys.readouterr().out.splitlines())
    assert printed == [["1 OrderAdded", "2 SmsReceived"], ["3 SmsReceived"]]


def test_a_program_continues_after_a_position_that_does_not_exist(simulator: Simulator, capsys: Printed) -> None:
    order = simulator.add_order()

    async def meanwhile() -> None:
        await asyncio.sleep(10)
        simulator.deliver(order.id, "Hello")
        await asyncio.sleep(120)

    Path("position.txt").write_text("99", encoding="ascii")
    run_program(block("own position"), meanwhile())
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("events were dropped: event 99 hasn't happened")
    assert rest == ["2 SmsReceived"]


def test_another_program_reads_the_journal(simulator: Simulator, capsys: Printed) -> None:
    order = simulator.add_order()

    def read_messages() -> str:
        exec(block("journal file").compiled(), {"__name__": "__main__"})  # noqa: S102 - from this repository
        return capsys.readouterr().out

    async def meanwhile() -> None:
        simulator.deliver(order.id, "Hello")
        await asyncio.sleep(60)
        capsys.readouterr()
        assert read_messages() == f"2 {order.phone} Hello\n", "while it is being watched"

    run_program(block("journal"), meanwhile())
    assert read_messages() == f"2 {order.phone} Hello\n", "afterwards"


# -- purchases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "shown"), [("0.30", "rented: "), ("0.40", "too expensive: 5.6\n")])
def test_the_price_is_limited(price: str, shown: str, simulator: Simulator, capsys: Printed) -> None:
    simulator.set_offer("RU", "opt16", price_day=price)
    run_program(block("price limit"))
    assert capsys.readouterr().out == (shown + simulator.orders[0].phone + "\n" if simulator.orders else shown)


def test_without_a_number_nothing_is_bought(simulator: Simulator, capsys: Printed) -> None:
    simulator.set_offer("RU", "opt16", price_day="0.30", count=0)
    run_program(block("price limit"))
    assert capsys.readouterr().out == "no number is available\n"


@pytest.mark.usefixtures("wall_clock")
def test_a_purchase_is_found_again(simulator: Simulator, capsys: Printed) -> None:
    simulator.faults.next("create", "lost")
    for _ in range(2):
        run_program(block("ledger"))
    (lost,) = simulator.orders
    assert capsys.readouterr().out.splitlines() == [
        f"create done {lost.phone}",
        *2 * [f"use what was bought: {lost.id}"],
    ]
    assert simulator.violations == []


@pytest.mark.usefixtures("wall_clock")
def test_a_purchase_that_stays_open_is_left_to_a_person(simulator: Simulator, capsys: Printed) -> None:
    simulator.faults.next("create", "hang", done=False)
    began = simulator.now
    run_program(block("ledger"))
    assert timedelta(hours=1) < simulator.now - began < timedelta(hours=1.2)
    began = simulator.now
    for _ in range(2):
        run_program(block("ledger"))
    assert simulator.now - began < timedelta(minutes=1)
    advice = "a person must decide: smspva unsettled --ledger smspva-ledger.sqlite"
    assert capsys.readouterr().out.splitlines() == 3 * [advice]
    assert [request.method for request in simulator.requests].count("create") == 1


@pytest.mark.usefixtures("wall_clock")
def test_a_purchase_that_a_person_settled_is_not_made_again(simulator: Simulator, capsys: Printed) -> None:
    simulator.behavior.listing_delay = 7200  # longer than the program waits
    simulator.faults.next("create", "lost")
    run_program(block("ledger"))
    assert capsys.readouterr().out == "a person must decide: smspva unsettled --ledger smspva-ledger.sqlite\n"
    (error,) = SmspvaClient(ledger="smspva-ledger.sqlite").unsettled
    settle = ("unsettled", "--ledger", "smspva-ledger.sqlite", "--settle", error.call, "--yes")
    assert run(*settle, SMSPVA_API_KEY=os.environ["SMSPVA_API_KEY"]).code == 0
    for _ in range(2):
        run_program(block("ledger"))
    advice = "a person settled this purchase: see the provider's page for its order"
    assert capsys.readouterr().out.splitlines() == 2 * [advice]
    assert [request.method for request in simulator.requests].count("create") == 1


def test_a_refused_purchase_is_tried_again(simulator: Simulator, capsys: Printed) -> None:
    simulator.set_offer("RU", "opt16", count=0)
    with pytest.raises(NoNumbers):
        run_program(block("ledger"))
    simulator.set_offer("RU", "opt16", count=1)
    run_program(block("ledger"))
    assert capsys.readouterr().out == f"use what was bought: {simulator.orders[0].id}\n"


def test_purchases_of_a_program_that_ended_early_are_listed(simulator: Simulator, capsys: Printed) -> None:
    async def end_early() -> None:
        async with SmspvaClient(ledger="smspva-ledger.sqlite") as client:
            renting = asyncio.gather(*(client.rent("PL", "opt29") for _ in range(3)))
            while len(simulator.orders) < 2:  # noqa: ASYNC110 - it is the simulator that acts
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
            renting.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(end_early())
    first, second = simulator.orders
    run_program(block("ledger"))
    assert capsys.readouterr().out.splitlines() == [f"use what was bought: {order.id}" for order in (first, second)]
    assert simulator.orders == [first, second]


# -- testing ---------------------------------------------------------------------------------------------------------


def test_the_simulator_runs_in_virtual_time(capsys: Printed) -> None:
    exec(block("simulator").compiled(), {"__name__": "__main__"})  # noqa: S102 - from this repository
    assert capsys.readouterr().out == "671094\n"


def test_faults_and_behavior_can_be_chosen(capsys: Printed) -> None:
    exec(block("faults").compiled(), {"__name__": "__main__"})  # noqa: S102 - from this repository
    first, second, balance = capsys.readouterr().out.splitlines()
    assert [first, second] == ["open", "done"]
    assert re.fullmatch(r"balance: 9\d\d\.\d\d", balance)


# -- observability ---------------------------------------------------------------------------------------------------


async def an_outage(simulator: Simulator) -> None:
    await asyncio.sleep(20)
    simulator.faults.always("orders", "http_503")
    await asyncio.sleep(60)
    simulator.faults.clear()
    await asyncio.sleep(60)


def logged_by(program: Block, meanwhile: Coroutine[Any, Any, None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a program that configures logging prints on standard error."""
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", printed)
    root, library = logging.getLogger(), logging.getLogger("smspva_async")
    handlers, level = root.handlers[:], library.level
    try:
        root.handlers.clear()  # pytest's, with which `basicConfig` would do nothing
        run_program(program, meanwhile)
    finally:
        root.handlers[:] = handlers
        library.setLevel(level)
    return printed.getvalue()


def test_an_outage_is_logged_as_the_guide_shows(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_times(text: str) -> str:
        return re.sub(r"\d+(\.\d)? s\b", "... s", text)

    logged = logged_by(block("logging"), an_outage(simulator), monkeypatch)
    assert without_times(logged) == without_times(block("logged outage").code)


def test_logs_can_be_json(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = map(json.loads, logged_by(block("json logs"), an_outage(simulator), monkeypatch).splitlines())
    assert (began["level"], began["method"], began["kind"]) == ("WARNING", "orders", "UnexpectedResponse")
    shown = json.loads(block("json logged outage").code)
    assert list(ended) == list(shown)
    assert [ended[name] for name in ended if name not in ("message", "seconds")] == [
        shown[name] for name in shown if name not in ("message", "seconds")
    ]


def test_spans_are_printed_as_the_guide_shows(capsys: Printed) -> None:
    run_program(block("spans"))
    printed = capsys.readouterr().out.splitlines()
    shown = block("spans, printed").code.splitlines()
    assert sorted(printed) == sorted(printed[:1] + shown[1:]), "polls may come in another order"


@pytest.fixture
def metrics_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Let a program serve its metrics at a free port. The list gets the server, which ends afterwards."""
    servers: list[Any] = []
    providers: list[opentelemetry.sdk.metrics.MeterProvider] = []
    start, provider = prometheus_client.start_http_server, opentelemetry.sdk.metrics.MeterProvider

    def start_anywhere(_: int, address: str) -> None:
        servers.append(start(0, address)[0])

    def new_provider(readers: Any) -> opentelemetry.sdk.metrics.MeterProvider:
        providers.append(provider(readers))
        return providers[-1]

    monkeypatch.setattr(prometheus_client, "start_http_server", start_anywhere)
    monkeypatch.setattr(opentelemetry.sdk.metrics, "MeterProvider", new_provider)
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()
    for made in providers:
        made.shutdown()


def test_prometheus_reads_the_metrics(simulator: Simulator, metrics_server: list[Any], capsys: Printed) -> None:
    order = simulator.add_order(state=1)
    pages: list[str] = []

    def fetch() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_server[0].server_port}/metrics") as page:
            return str(page.read().decode())

    async def meanwhile() -> None:
        await asyncio.sleep(10)
        simulator.deliver(order.id, "Your code: 671 094")
        await asyncio.sleep(60)
        pages.append(await asyncio.to_thread(fetch))

    run_program(block("prometheus"), meanwhile())
    assert capsys.readouterr().out == f"a message to {order.phone}\n"
    (page,) = pages
    served = set(re.findall(r"^(smspva_\w+)[{ ]", page, re.MULTILINE))
    labels = set(re.findall(r"\b((?:smspva_|error_)\w+)=", page)) | {"smspva_wait_kind", "error_type"}
    assert re.search(r'^smspva_watcher_events_total{.*smspva_event="SmsReceived"} 1.0$', page, re.MULTILINE)
    assert re.search(r'^smspva_watcher_orders{.*smspva_order_state="ACTIVE"} 1.0$', page, re.MULTILINE)
    assert order.phone.lstrip("+") not in page
    assert "671 094" not in page
    guide = (ROOT / "docs" / "guides" / "observability.md").read_text(encoding="utf-8")
    queries = block("smspva-rules.yml").code + guide.partition("| question | query |")[2].partition("\n\n")[0]
    named = set(re.findall(r"\b(?:smspva|error)_\w+", queries))
    waits = {"smspva_watcher_wait_duration_seconds_bucket"}  # this program doesn't wait
    assert named - labels - waits <= served


def test_the_packages_for_prometheus_and_its_port_are_those_of_the_program() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = block("prometheus install").code.split()[5:]
    assert set(packages) <= {requirement.partition(">=")[0] for requirement in extra["test"]}
    (port,) = re.findall(r"start_http_server\((\d+),", block("prometheus").code)
    assert f'"localhost:{port}"' in block("prometheus.yml").code
