"""Retries, Retry-After and the timeout of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Retry
from smspva_async.errors import ApiError, ConnectionFailed, RateLimited, RequestTimeout, UnexpectedResponse
from tests.support.fake_server import never_answer
from tests.support.samples import NOTHING, REPEATABLE, Call, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

pytestmark = pytest.mark.anyio


# -- retries -------------------------------------------------------------------------------------------------------

PASSING = {
    "connection refused": httpx.ConnectError("refused"),
    "lost answer": httpx.ReadError("lost"),
    "cut body": httpx.RemoteProtocolError("cut"),
    "no answer in time": never_answer,
    "HTTP 500": httpx.Response(500),
    "HTTP 503 with a message": httpx.Response(503, json={"status": 0, "msg": "later"}),
    "HTML": "<html>",
    "half JSON": '{"status": 1, "da',
    "HTTP 429": httpx.Response(429),
    "too many requests": {"status": 0, "msg": "TOO MANY REQUESTS"},
}


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("call", REPEATABLE, ids=name_of)
async def test_a_temporary_failure_is_retried(
    call: Call, failure: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, failure, failure, failure, call.sample)
    assert await call.make(client) == call.expected
    assert fake_server.methods == [call.method] * 4


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError("refused"), ConnectionFailed),
        (httpx.ReadError("lost"), ConnectionFailed),
        (never_answer, RequestTimeout),
        (httpx.Response(502), UnexpectedResponse),
        (httpx.Response(429), RateLimited),
    ],
    ids=["refused", "lost", "silent", "HTTP 502", "HTTP 429"],
)
async def test_a_lasting_failure_is_raised_after_all_attempts(
    failure: Any, kind: type[Exception], client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", failure)
    with pytest.raises(kind, match="; tried 4 times"):
        await client.orders()
    assert len(fake_server.queries) == 4


LASTING = {
    "refusal": {"status": 0, "msg": "Incorrect method"},
    "unknown key": {"status": 0, "msg": "API KEY NOT FOUND!"},
    "unknown form": {"status": 2, "data": "?"},
    "redirect": httpx.Response(302, headers={"Location": "https://elsewhere.example/"}),
    "HTTP 404": httpx.Response(404, text="no such page"),
}


@pytest.mark.parametrize("failure", LASTING.values(), ids=LASTING)
@pytest.mark.parametrize("call", REPEATABLE, ids=name_of)
async def test_a_permanent_failure_is_raised_at_once(
    call: Call, failure: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, failure, call.sample)
    with pytest.raises((ApiError, UnexpectedResponse)):
        await call.make(client)
    assert len(fake_server.queries) == 1


async def test_delays_double_up_to_a_cap_with_jitter_in_the_upper_half(fake_server: FakeServer) -> None:
    fake_server.on("orders", httpx.Response(500))
    async with fake_server.client(retry=Retry(attempts=9, first=1, cap=10)) as client:
        for _ in range(3):
            with pytest.raises(UnexpectedResponse):
                await client.orders()
    runs = [fake_server.gaps[start : start + 8] for start in (0, 9, 18)]
    for run in runs:
        for delay, most in zip(run, [1, 2, 4, 8, 10, 10, 10, 10], strict=True):
            assert most / 2 <= delay <= most + 0.001
    assert runs[0] != runs[1] != runs[2]


async def test_one_attempt_means_no_retry(fake_server: FakeServer) -> None:
    fake_server.on("orders", httpx.Response(500))
    async with fake_server.client(retry=Retry(attempts=1)) as client:
        with pytest.raises(UnexpectedResponse):
            await client.orders()
    assert len(fake_server.queries) == 1


# -- Retry-After ---------------------------------------------------------------------------------------------------

DATE = "Wed, 15 Apr 2020 10:55:00 GMT"
BUSY: dict[str, tuple[int, str]] = {
    "HTTP 429": (429, ""),
    "HTTP 503": (503, "<html>"),
    "the message": (200, '{"status": 0, "msg": "TOO MANY REQUESTS"}'),
    "the message as text": (200, "too many requests"),
}


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("120", 120), ("Wed, 15 Apr 2020 10:55:40 GMT", 40), (" 7 ", 7)],
)
@pytest.mark.parametrize(("status", "body"), BUSY.values(), ids=BUSY)
async def test_retry_after_is_respected(
    status: int, body: str, retry_after: str, seconds: float, client: SmspvaClient, fake_server: FakeServer
) -> None:
    headers = {"Retry-After": retry_after, "Date": DATE}
    fake_server.on("orders", httpx.Response(status, text=body, headers=headers), NOTHING)
    assert await client.orders() == []
    assert fake_server.gaps == [pytest.approx(seconds)]


@pytest.mark.parametrize("retry_after", ["121", "9" * 400, "Wed, 15 Apr 2020 10:58:00 GMT"], ids=lambda text: text[:20])
@pytest.mark.parametrize(("status", "body"), BUSY.values(), ids=BUSY)
async def test_a_retry_after_above_two_minutes_is_raised(
    status: int, body: str, retry_after: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    headers = {"Retry-After": retry_after, "Date": DATE}
    fake_server.on("orders", httpx.Response(status, text=body, headers=headers), NOTHING)
    with pytest.raises((RateLimited, UnexpectedResponse)) as failed:
        await client.orders()
    assert vars(failed.value)["retry_after"] > 120
    assert len(fake_server.queries) == 1


@pytest.mark.parametrize("retry_after", ["", "soon", "-5", "Wed, 15 Apr 2020 10:54:00 GMT", "Wed, 15 Apr 9999 99:99"])
async def test_an_invalid_retry_after_is_ignored(
    retry_after: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", httpx.Response(503, headers={"Retry-After": retry_after, "Date": DATE}), NOTHING)
    assert await client.orders() == []
    assert 0.25 <= fake_server.gaps[0] <= 0.501


# -- the timeout ---------------------------------------------------------------------------------------------------


async def test_an_attempt_is_bounded_by_the_timeout(fake_server: FakeServer) -> None:
    fake_server.on("orders", never_answer)
    async with fake_server.client(timeout=5, retry=Retry(attempts=1)) as client:
        with pytest.raises(RequestTimeout, match=r"^orders: no answer within 5 s \[after 5.0 s\]$") as failed:
            await client.orders()
    assert failed.value.elapsed == pytest.approx(5)
    assert isinstance(failed.value, TimeoutError)


async def test_the_timeout_bounds_an_answer_that_trickles_in(fake_server: FakeServer) -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await anyio.sleep(1)

    async def answer(_: httpx.Request) -> httpx.Response:
        await anyio.sleep(3)
        return httpx.Response(200, stream=Trickle())

    async with fake_server.client(timeout=5, retry=Retry(attempts=1), transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(RequestTimeout) as failed:
            await client.orders()
    assert failed.value.elapsed == pytest.approx(5)


async def test_each_attempt_has_its_own_timeout(fake_server: FakeServer) -> None:
    fake_server.on("orders", never_answer, never_answer, NOTHING)
    async with fake_server.client(timeout=5, retry=Retry(first=0)) as client:
        assert await client.orders() == []
    assert fake_server.gaps == pytest.approx([5, 5])
