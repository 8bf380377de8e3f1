"""The spans of calls, polls and waits."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from smspva_async import OrderNotFound, OrderState, Pace, SmspvaClient, SmspvaError, WaitTimeout, Watcher
from smspva_async.otel import Telemetry
from smspva_async.simulator import FaultName, Simulator
from tests.support.accounts import ORDERS, OUTAGE, Account, order, sms
from tests.support.activation import Numbers
from tests.support.backends import on_both_backends
from tests.support.keys import HEAD, KEY
from tests.support.watching import polls

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.support.fake_server import FakeServer
    from tests.support.telemetry import Recorded

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]

NOTHING: dict[str, Any] = {"status": 1, "data": []}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes without the prefix."""
    return {name.removeprefix("smspva."): value for name, value in (span.attributes or {}).items()}


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def identity(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


class Broken(SpanProcessor):
    """Raises an error at the start or at the end of each span."""

    def __init__(self, *, at_start: bool) -> None:
        self._at_start = at_start

    def on_start(self, *_: object, **__: object) -> None:
        if self._at_start:
            raise RuntimeError("the processor is broken")

    def on_end(self, *_: object) -> None:
        if not self._at_start:
            raise RuntimeError("the processor is broken")


@pytest.mark.parametrize("at_start", [True, False])
async def test_an_error_of_opentelemetry_reaches_no_call_and_no_watch(
    caplog: pytest.LogCaptureFixture, *, at_start: bool
) -> None:
    provider, sim = TracerProvider(), Simulator()
    provider.add_span_processor(Broken(at_start=at_start))
    telemetry = Telemetry(tracer_provider=provider)
    async with telemetry.observe(SmspvaClient("any-key", transport=sim.transport())) as client:
        rental = await client.rent("PL", "opt29")
        with pytest.raises(OrderNotFound):
            await client.sms(1)
        async with telemetry.observe(Watcher(client)) as watcher:
            await polls(2)
            assert [*watcher.orders] == [rental.id]
    assert [record.levelname for record in caplog.records if record.name == "smspva_async.otel"] == ["ERROR"]


# -- calls -----------------------------------------------------------------------------------------------------------


async def test_a_call_is_a_span(recorded: Recorded, fake_server: FakeServer) -> None:
    fake_server.on("sms", NOTHING, id="40300")
    async with recorded.telemetry.observe(fake_server.client()) as client:
        await client.sms(40300)
    span = recorded.span("smspva sms")
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    assert attributes(span) == {
        "method": "sms",
        "order.id": 40300,
        "pace.wait.duration": 0,
        "http.response.status_code": 200,
    }


async def test_a_call_belongs_to_the_trace_of_its_caller(recorded: Recorded, fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    async with recorded.telemetry.observe(fake_server.client()) as client:
        with recorded.tracer.start_as_current_span("program"):
            await client.orders()
    assert parent(recorded.span("smspva orders")) == identity(recorded.span("program"))


async def test_a_call_shows_its_retries_and_its_waits_for_the_pace(recorded: Recorded, fake_server: FakeServer) -> None:
    fake_server.on("orders", httpx.Response(503), httpx.ConnectError("down"), NOTHING)
    async with recorded.telemetry.observe(fake_server.client(pace=Pace(gap=10))) as client:
        await client.orders()
        await client.orders()
    first, second = map(attributes, recorded.spans("smspva orders"))
    assert (first["http.request.resend_count"], first["http.response.status_code"]) == (2, 200)
    assert 10 < first["pace.wait.duration"] < 20, "without the backoff"
    assert second["pace.wait.duration"] == pytest.approx(10)
    assert "http.request.resend_count" not in second


async def test_a_refusal_is_an_error_without_a_text(recorded: Recorded, fake_server: FakeServer) -> None:
    fake_server.on("delete", {"status": 0, "msg": "Order not found"}, id="7")
    async with recorded.telemetry.observe(fake_server.client()) as client:
        with pytest.raises(OrderNotFound):
            await client.delete(7)
    span = recorded.span("smspva delete")
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert attributes(span)["error.type"] == "OrderNotFound"


async def test_a_failure_without_an_answer_has_no_status(recorded: Recorded, fake_server: FakeServer) -> None:
    fake_server.on("orders", httpx.Response(503), httpx.ReadError("reset"))
    async with recorded.telemetry.observe(fake_server.client()) as client:
        with pytest.raises(SmspvaError):
            await client.orders()
    found = attributes(recorded.span("smspva orders"))
    assert (found["error.type"], found["http.request.resend_count"]) == ("ConnectionFailed", 3)
    assert "http.response.status_code" not in found


async def test_a_cancelled_call_is_no_error(recorded: Recorded, fake_server: FakeServer) -> None:
    async def never() -> None:
        await anyio.sleep_forever()

    fake_server.on("orders", never)
    async with recorded.telemetry.observe(fake_server.client()) as client:
        with anyio.move_on_after(1):
            await client.orders()
    span = recorded.span("smspva orders")
    assert (span.status.status_code, attributes(span)["error.type"]) == (StatusCode.UNSET, "cancelled")


# -- polls -----------------------------------------------------------------------------------------------------------


async def test_each_poll_is_a_trace_with_its_call(recorded: Recorded, sim: Simulator) -> None:
    order_id = sim.add_order().id
    client = recorded.telemetry.observe(SmspvaClient("any-key", transport=sim.transport()))
    with recorded.tracer.start_as_current_span("program"):
        async with client, recorded.telemetry.observe(Watcher(client)):
            await polls(2)
    for method, expected in (("orders", {}), ("sms", {"order.id": order_id})):
        made, calls = recorded.spans(f"smspva poll {method}"), recorded.spans(f"smspva {method}")
        assert len(made) == len(calls) > 1
        assert [parent(call) for call in calls] == [identity(poll) for poll in made]
        assert {parent(poll) for poll in made} == {None}
        assert [attributes(poll) for poll in made] == [{"method": method, **expected}] * len(made)
        assert {poll.kind for poll in made} == {SpanKind.INTERNAL}


async def test_a_poll_that_fails_is_an_error(recorded: Recorded) -> None:
    account = Account(order())
    async with recorded.telemetry.observe(Watcher(account)):
        account.failures[ORDERS] = OUTAGE
        await polls(1)
    good, failed = recorded.spans("smspva poll orders")
    assert good.status.status_code is StatusCode.UNSET
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert attributes(failed) == {"method": "orders", "error.type": "ConnectionFailed"}


# -- waits -----------------------------------------------------------------------------------------------------------


async def wait_for_state(watcher: Watcher, timeout: float) -> None:
    await watcher.wait_for_state(1, OrderState.ACTIVE, timeout=timeout)


async def wait_for_message(watcher: Watcher, timeout: float) -> None:
    await watcher.wait_for_sms(1, timeout=timeout)


async def wait_for_activation(watcher: Watcher, timeout: float) -> None:
    async with watcher.activated(1, timeout=timeout):
        pass


WAITS = {"state": wait_for_state, "message": wait_for_message, "activation": wait_for_activation}


@pytest.mark.parametrize("kind", WAITS)
async def test_a_wait_is_a_span_in_the_trace_of_its_caller(kind: str, recorded: Recorded) -> None:
    account = Numbers(order())
    async with recorded.telemetry.observe(Watcher(account)) as watcher, anyio.create_task_group() as tasks:
        with recorded.tracer.start_as_current_span("program"):
            tasks.start_soon(WAITS[kind], watcher, 300)
        await anyio.sleep(10)
        account.change(1, state=OrderState.ACTIVE)
        account.messages[1] = [sms("hello")]
    span = recorded.span(f"smspva wait {kind}")
    assert parent(span) == identity(recorded.span("program"))
    assert attributes(span) == {"wait.kind": kind, "order.id": 1}
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("kind", WAITS)
async def test_a_wait_that_times_out_is_an_error(kind: str, recorded: Recorded) -> None:
    async with recorded.telemetry.observe(Watcher(Numbers(order(), becomes=OrderState.ACTIVATING))) as watcher:
        with pytest.raises(WaitTimeout):
            await WAITS[kind](watcher, 60)
    span = recorded.span(f"smspva wait {kind}")
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert attributes(span)["error.type"] == "WaitTimeout"


async def test_the_next_message_of_an_active_number_is_waited_for(recorded: Recorded) -> None:
    account = Account(order(state=OrderState.ACTIVE))
    async with recorded.telemetry.observe(Watcher(account)) as watcher, watcher.activated(1) as number:
        account.messages[1] = [sms("hello")]
        await number.next_sms()
    assert attributes(recorded.span("smspva wait message")) == {"wait.kind": "message", "order.id": 1}


# -- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "echo", "html", "text", "refusal", "too_many", "bad_row", "half", "reset"])
async def test_nothing_has_the_key_a_phone_number_or_a_message(fault: FaultName | None, recorded: Recorded) -> None:
    sim = Simulator(activation=(20, 20), active=(600, 600))
    order_id, text = sim.add_order().id, "Code Instagram: 671 094."
    client = recorded.telemetry.observe(SmspvaClient(KEY, transport=sim.transport(), pace=Pace(gap=0.5)))
    async with client, recorded.telemetry.observe(Watcher(client)) as watcher:
        async with watcher.activated(order_id) as number:
            sim.deliver(order_id, text)
            assert (await number.next_sms()).text == text
        rental = await client.rent("RU", "opt16")
        if fault is not None:
            sim.faults.always("*", fault, msg=f"{KEY} {text} {rental.phone}" if fault == "refusal" else None)
        for call in (client.orders, partial(client.sms, order_id), partial(client.rent, "RU", "opt16"), client.balance):
            try:
                await call()
            except SmspvaError:
                assert fault is not None
        await polls(2)
    everything = recorded.everything()
    assert all(f'"{name}"' in everything for name in ("smspva create", "smspva poll sms", "smspva wait message"))
    secrets = [HEAD, "671 094", "Instagram", rental.phone, *(listed.phone for listed in sim.orders)]
    assert [secret for secret in secrets if secret.lstrip("+") in everything] == []


# -- settings --------------------------------------------------------------------------------------------------------


async def test_without_an_sdk_everything_works(fake_server: FakeServer) -> None:
    fake_server.on("orders", NOTHING)
    telemetry = Telemetry()
    async with telemetry.observe(fake_server.client()) as client, telemetry.observe(Watcher(client)) as watcher:
        assert watcher.orders == {}


@pytest.mark.parametrize("target", [Watcher, None, "client"])
async def test_only_clients_and_watchers_are_observed(target: Any) -> None:
    with pytest.raises(ValueError, match="expected a SmspvaClient or a Watcher, got"):
        Telemetry().observe(target)


def test_without_the_extra_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; from smspva_async.otel import Telemetry"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.stderr.splitlines()[-1] == (
        'ImportError: Telemetry needs the package opentelemetry-api: pip install "smspva-async[otel]"'
    )
