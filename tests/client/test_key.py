"""The key is sent to the server and appears nowhere else: in no log, error, pickle or echoed answer."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import anyio
import httpx
import pytest

from smspva_async import Pace, Retry, SmspvaClient, errors
from smspva_async.errors import ApiError, ConnectionFailed, OutcomeUnknown, UnexpectedResponse
from tests.support.backends import on_a_real_loop
from tests.support.fake_server import KEYLESS
from tests.support.keys import ENCODINGS, HEAD, KEY, dump, dump_log, dump_result, mocked_client
from tests.support.loopback import Loopback, http
from tests.support.processes import until
from tests.support.samples import CALLS, Call, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("log_everything")

# -- over real sockets, where httpx and httpcore write logs --------------------------------------------------------


def sample(target: str) -> dict[str, Any]:
    return CALLS[parse_qs(urlsplit(target).query)["method"][0]].sample


def echo(text: str) -> str:
    return json.dumps({"status": 0, "msg": f"Invalid apikey: {text}", "data": {text: [text]}}).replace(r"\\/", r"\/")


def always(body: str) -> Callable[[str], bytes]:
    return lambda _: http(body)


REPLIES: dict[str, Callable[[str], bytes]] = {
    "success": lambda target: http(json.dumps(sample(target)), X_Echo=KEY, Set_Cookie=f"key={KEY}"),
    "success with echo": lambda target: http(
        json.dumps({**sample(target), "data": {"id": KEY, "text": KEY, "name": [target]}})
    ),
    "content type": lambda _: http("<html>", Content_Type=f"text/html; key={KEY}", Date=KEY, Retry_After=KEY),
    "page with echo": lambda target: http(f"<html>{target} {escape(target)}</html>", "404 Not Found"),
    "redirect": lambda target: http("", "302 Found", Location=f"https://elsewhere.example{target}"),
    "relative redirect": lambda _: http("", "301 Moved", Location=f"/login?key={KEY}"),
    "malformed redirect": lambda _: http("", "302 Found", Location=f"http://[{KEY}"),
    "reason": lambda target: http("", f"500 no luck with {KEY} {target}"),
    "not HTTP": lambda target: f"SMTP/1.1 hello {KEY} {target}\r\n\r\n".encode(),
    "malformed header": lambda _: f"HTTP/1.1 200 OK\r\n{KEY}\x01: 1\r\n\r\n".encode(),
    "truncated body": lambda target: http(target, Content_Length="9999"),
    "broken gzip": lambda target: http(target, Content_Encoding="gzip"),
    "empty": lambda _: b"",
    **{f"echo, {name}": always(echo(text)) for name, text in ENCODINGS.items()},
}


@on_a_real_loop
@pytest.mark.anyio
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_the_key_never_appears_over_a_real_connection(
    reply: Callable[[str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Loopback(reply) as server,
        SmspvaClient(KEY, base_url=server.url(), pace=Pace(gap=0), retry=Retry(attempts=2, first=0)) as client,
    ):
        text = "".join([await dump_result(call, client) for call in CALLS.values()])
        text += repr(client) + repr(vars(client)) + repr(client.unsettled) + repr([e.params for e in client.unsettled])
    assert HEAD not in text
    assert HEAD not in dump_log(caplog)
    queries = [parse_qs(urlsplit(target).query) for target in server.targets]
    assert {query["method"][0] for query in queries} == set(CALLS)
    for query in queries:  # the server did get it
        assert query.get("apikey", []) == ([] if query["method"][0] in KEYLESS else [KEY])
    assert {"httpcore.http11", "httpcore.connection"} <= {record.name for record in caplog.records}


@on_a_real_loop
@pytest.mark.anyio
async def test_the_key_never_appears_when_the_connection_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with Loopback(lambda _: b"") as server:
        url = server.url()
    async with SmspvaClient(KEY, base_url=url, pace=Pace(gap=0), retry=Retry(attempts=1)) as client:
        text = "".join([await dump_result(call, client) for call in CALLS.values()])
    assert "ConnectError" in text
    assert HEAD not in text + dump_log(caplog)


def test_logs_are_not_redacted_after_the_client_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    client: SmspvaClient | None = SmspvaClient(KEY)
    logging.getLogger("httpcore.http11").debug("while a client is there: %s", KEY)
    del client
    gc.collect()
    logging.getLogger("httpcore.http11").debug("after that: %s", KEY)
    assert [record.getMessage() for record in caplog.records] == [
        "while a client is there: [key]",
        f"after that: {KEY}",
    ]


# -- in process ----------------------------------------------------------------------------------------------------


def fails_with(kind: type[Exception]) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        cause = OSError(f"cause: {request.url}")
        raise kind(f"can't send {request.url}\nwith {KEY} and {quote(KEY, safe='')}") from cause

    return answer


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind", [httpx.ConnectError, httpx.ProxyError, httpx.ReadError, httpx.DecodingError, RuntimeError, KeyError]
)
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_the_key_is_removed_from_a_transports_error(
    call: Call, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    async with mocked_client(fails_with(kind)) as client:
        text = await dump_result(call, client)
    assert "can't send" in text
    assert HEAD not in text + dump_log(caplog)


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_a_timeout_does_not_contain_the_key(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with mocked_client(answer) as client:
        text = await dump_result(call, client)
    assert "no answer within 30 s" in text
    assert HEAD not in text + dump_log(caplog)


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_a_cancellation_does_not_contain_the_key(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    texts: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        try:
            return fails_with(httpx.ConnectError)(request)
        except httpx.ConnectError:
            await anyio.sleep_forever()  # the error becomes the cancellation's context
        raise AssertionError

    async with mocked_client(answer) as client:
        with anyio.move_on_after(1):
            try:
                await call.make(client)
            except anyio.get_cancelled_exc_class() as error:
                texts.append(dump(error))
                raise
    assert len(texts) == 1
    assert HEAD not in texts[0] + dump_log(caplog)


@on_a_real_loop
@pytest.mark.anyio
async def test_the_cancellation_of_a_task_does_not_contain_the_key(caplog: pytest.LogCaptureFixture) -> None:
    arrived = asyncio.Event()

    async def answer(_: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with mocked_client(answer) as client:
        task = asyncio.ensure_future(client.delete(5))
        await until(arrived.is_set, task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        (unsettled,) = client.unsettled
    assert HEAD not in dump(cancelled.value) + dump(unsettled) + dump_log(caplog)


@pytest.mark.anyio
async def test_an_echoed_key_is_masked_in_place() -> None:
    row = {**CALLS["orders"].sample["data"][0], "sname": f"by {KEY}", "note": [KEY]}
    async with mocked_client(lambda _: httpx.Response(200, json={"status": 1, "data": [row]})) as client:
        (order,) = await client.orders()
    assert order.service_name == "by [key]"
    assert order.extra == {"note": ["[key]"]}


@pytest.mark.anyio
async def test_an_echoed_key_is_masked_every_time() -> None:
    names = iter(["nobody", KEY, KEY, "nobody", "nobody"])
    row = CALLS["orders"].sample["data"][0]

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": 1, "data": [{**row, "sname": next(names)}]})

    async with mocked_client(answer) as client:
        service_names = [(await client.orders())[0].service_name for _ in range(5)]
    assert service_names == ["nobody", "[key]", "[key]", "nobody", "nobody"]


@pytest.mark.anyio
async def test_the_parameters_of_an_unknown_outcome_do_not_contain_the_key() -> None:
    async with mocked_client(lambda request: httpx.Response(500, text=str(request.url))) as client:
        with pytest.raises(OutcomeUnknown, match=r"apikey=\[key\]") as failed:
            await client.delete(5)
    assert failed.value.params == {"id": "5"}


@on_a_real_loop
@pytest.mark.anyio
async def test_a_key_with_spaces_is_masked_in_encoded_form() -> None:
    key = "abcd efgh ijkl"
    async with (
        Loopback(lambda target: http("", "302 Found", Location=f"https://elsewhere.example{target}")) as server,
        SmspvaClient(key, base_url=server.url(), pace=Pace(gap=0)) as client,
    ):
        with pytest.raises(UnexpectedResponse, match=r"apikey=\[key\]"):
            await client.orders()


@pytest.mark.anyio
async def test_the_key_is_masked_in_the_address_of_a_redirect() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": str(request.url)})

    async with mocked_client(answer) as client:
        with pytest.raises(UnexpectedResponse, match=r"redirects to https://smspva\.com/.*apikey=\[key\]"):
            await client.orders()


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["abc", "12345", "a-b"])
async def test_a_short_key_is_masked_as_a_whole_word_only(key: str) -> None:
    message = f"{key} is no key, but {key}x, x{key} and {key}{key} are words: ({key})"
    async with mocked_client(lambda _: httpx.Response(200, json={"status": 0, "msg": message}), key) as client:
        with pytest.raises(ApiError) as refused:
            await client.orders()
    assert refused.value.msg == message.replace(f"{key} is", "[key] is").replace(f"({key})", "([key])")


@pytest.mark.anyio
async def test_a_key_of_eight_characters_is_masked_within_words() -> None:
    async with mocked_client(lambda _: httpx.Response(200, text="x12345678x"), "12345678") as client:
        with pytest.raises(UnexpectedResponse) as unexpected:
            await client.orders()
    assert unexpected.value.excerpt == "x[key]x"


@pytest.mark.anyio
async def test_the_key_is_masked_in_a_binary_body() -> None:
    async with mocked_client(lambda _: httpx.Response(404, content=b"\xff" + KEY.encode() + b"\xfe")) as client:
        with pytest.raises(UnexpectedResponse) as unexpected:
            await client.orders()
    assert "[key]" in unexpected.value.excerpt
    assert HEAD not in dump(unexpected.value)


def test_a_failed_import_of_httpx_does_not_contain_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smspva_async._http.transport", None)
    with pytest.raises(ImportError) as failed:
        SmspvaClient(KEY)
    assert KEY not in dump(failed.value)


def test_the_error_for_an_invalid_setting_does_not_contain_the_key() -> None:
    settings: dict[str, Any]
    for settings in ({"timeout": 0}, {"base_url": "http://smspva.com/"}):
        with pytest.raises(ValueError, match=r"timeout|https") as refused:
            SmspvaClient(KEY, **settings)
        assert HEAD not in dump(refused.value)


def test_a_connection_failure_names_the_underlying_error() -> None:
    async def main() -> ConnectionFailed:
        async with mocked_client(fails_with(httpx.ConnectError)) as client:
            with pytest.raises(ConnectionFailed) as failed:
                await client.orders()
        return failed.value

    failure = anyio.run(main)
    assert failure.message.startswith(
        "no connection (ConnectError: can't send https://smspva.com/api/rent.php?method=orders&apikey=[key]"
        " with [key] and [key]); nothing was sent"
    )
    assert failure.__cause__ is failure.__context__ is None


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037"])
async def test_the_key_is_found_in_other_encodings(encoding: str) -> None:
    body = json.dumps({"status": 0, "msg": f"no such key: {KEY}"}).encode(encoding)
    answer = httpx.Response(200, content=body, headers={"Content-Type": f"text/x; charset={encoding}"})
    transport = httpx.MockTransport(lambda _: answer)
    async with SmspvaClient(KEY, pace=Pace(gap=0), retry=Retry(attempts=1), transport=transport) as client:
        with pytest.raises(errors.SmspvaError) as refused:
            await client.orders()
    text = f"{refused.value} {refused.value.__dict__}"
    assert KEY not in text
    assert KEY not in text.replace(" ", "")
