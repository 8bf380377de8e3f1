"""The key stays secret with unusual transport errors and unusual echoes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal

import anyio
import httpx
import pytest

from smspva_async import Pace, Retry, SmspvaClient
from smspva_async.errors import ConnectionFailed, OutcomeUnknown, SmspvaError
from smspva_async.models import Period
from smspva_async.simulator import Simulator
from tests.support.keys import HEAD, KEY, dump, dump_log, mocked_client
from tests.support.samples import CALLS, Call, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("log_everything")

# -- unusual errors -----------------------------------------------------------------------------------------------


class CustomError(httpx.TransportError):
    def __init__(self, code: int, request: httpx.Request) -> None:
        super().__init__(f"code {code} at {request.url}")
        self.request = request


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError(KEY)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [CustomError, UnprintableError])
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_the_key_is_removed_from_unusual_errors(
    call: Call, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise CustomError(7, request) if kind is CustomError else UnprintableError(str(request.url))

    async with mocked_client(answer) as client:
        with pytest.raises((ConnectionFailed, OutcomeUnknown), match=kind.__name__) as failed:
            await call.make(client)
    assert HEAD not in dump(failed.value) + dump_log(caplog)


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_a_cancellation_while_reading_the_body_does_not_contain_the_key(call: Call) -> None:
    texts: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        yield KEY.encode()
        await anyio.sleep_forever()

    async with mocked_client(lambda _: httpx.Response(200, content=body())) as client:
        with anyio.move_on_after(1):
            try:
                await call.make(client)
            except anyio.get_cancelled_exc_class() as error:
                texts.append(dump(error))
                raise
        texts += [dump(error) for error in client.unsettled]
    assert texts
    assert HEAD not in "".join(texts)


class TaskGroupTransport(httpx.AsyncBaseTransport):
    """A transport with several tasks, one of which fails when it is cancelled."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def fail() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError(f"no answer from {request.url}")

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fail)
                await anyio.sleep_forever()
        except BaseException as error:
            error.add_note(str(request.url))
            raise
        raise AssertionError("not cancelled")


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_errors_in_the_group_of_a_cancellation_do_not_contain_the_key(call: Call) -> None:
    texts: list[str] = []
    async with SmspvaClient(KEY, transport=TaskGroupTransport(), retry=Retry(attempts=1)) as client:
        # On asyncio the error replaces the cancellation.
        with contextlib.suppress(SmspvaError), anyio.move_on_after(1):
            try:
                await call.make(client)
            except BaseException as error:
                texts.append(dump(error))
                raise
        texts += [dump(error) for error in client.unsettled]
    assert texts
    assert HEAD not in "".join(texts)


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_the_key_is_removed_from_the_arguments_of_a_cancellation(call: Call) -> None:
    texts: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        raise asyncio.CancelledError(f"cancelled while sending {request.url}", request, 7)

    async with mocked_client(answer) as client:
        try:
            await call.make(client)
        except asyncio.CancelledError as error:
            texts.append(dump(error) + repr(error.args))
        texts += [dump(error) for error in client.unsettled]
    assert texts
    assert HEAD not in "".join(texts)


# -- JSON escapes, and a key that equals data ----------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("body", ['{"status": 0, "msg": "no: %s"}', '{"status": 1, "data": {"%s', "Notice {'%s'}"])
async def test_a_key_with_phps_json_escapes_is_masked(body: str, caplog: pytest.LogCaptureFixture) -> None:
    echoed = KEY.replace("/", r"\/").replace("&", r"\u0026")  # json_encode with JSON_HEX_AMP
    async with mocked_client(lambda _: httpx.Response(200, text=body % echoed)) as client:
        for method in ("orders", "create"):
            with pytest.raises(SmspvaError) as failed:
                await CALLS[method].make(client)
            # Without the frames, since this one contains the key.
            text = "".join(f"{error}{vars(error)}" for error in (failed.value, failed.value.__cause__ or ValueError()))
            assert "[key]" in text
            assert HEAD not in text
            assert echoed not in text.replace(2 * "\\", "\\")
    assert HEAD not in dump_log(caplog)


@pytest.mark.anyio
@pytest.mark.parametrize("dialect", ["page", "live"])
@pytest.mark.parametrize("key", ["1", "0", "7", "id", "status", "data", "09603710"])
async def test_a_key_that_equals_data_does_not_change_the_data(key: str, dialect: Literal["page", "live"]) -> None:
    simulator = Simulator(dialect=dialect, api_key=key)
    given = simulator.add_order(phone="+79096037108", ccode="+7", state=1)
    simulator.deliver(given.id, "Code 671 094")
    async with SmspvaClient(key, pace=Pace(gap=0), transport=simulator.transport()) as client:
        rental = await client.rent("RU", "opt16", Period.weeks(1))
        for _ in range(20):  # the live dialect varies
            orders = {order.id: order.phone for order in await client.orders()}
            assert orders == {given.id: given.phone, rental.id: rental.phone}
            assert [message.text for message in await client.sms(given.id)] == ["Code 671 094"]
    assert simulator.violations == []


@pytest.mark.anyio
async def test_a_truncated_key_is_masked() -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield f'{{"status": 1, "data": {{"id": 40370, "for": "{KEY[:12]}'.encode()
            raise httpx.ReadError("connection reset")

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Broken()))
    async with SmspvaClient(KEY, transport=transport) as client:
        with pytest.raises(OutcomeUnknown) as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
    assert failed.value.data == '{"status": 1, "data": {"id": 40370, "for": "[key]'
