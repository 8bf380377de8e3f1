"""Limits of an answer: the largest body, redirects, and headers beyond ASCII."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from smspva_async import Retry
from smspva_async.errors import OutcomeUnknown, RequestTimeout, UnexpectedResponse
from smspva_async.models import Period
from tests.support.backends import on_a_real_loop
from tests.support.clients import EMPTY, client_of
from tests.support.loopback import Loopback, http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plain_environment")]

MIB = 2**20
LARGEST = json.dumps({"status": 1, "data": [], "x": ""}).encode()
LARGEST = LARGEST[:-2] + b"x" * (16 * MIB - len(LARGEST)) + LARGEST[-2:]
LARGE = {
    "plain": http,
    "compressed": lambda body: http(gzip.compress(body, 1), Content_Encoding="gzip"),
}


@on_a_real_loop
@pytest.mark.parametrize("sent", LARGE.values(), ids=LARGE)
async def test_an_answer_of_16_mib_is_read_and_a_larger_one_refused(sent: Callable[[bytes], bytes]) -> None:
    async with Loopback(lambda _: sent(LARGEST)) as server, client_of(server.url()) as client:
        assert await client.orders() == []
    async with Loopback(lambda _: sent(LARGEST + b" ")) as server, client_of(server.url()) as client:
        with pytest.raises(UnexpectedResponse, match="larger than 16 MiB") as refused:
            await client.orders()
        with pytest.raises(OutcomeUnknown, match="larger than 16 MiB") as failed:
            await client.rent("RU", "opt16", Period.weeks(1))
        assert failed.value.data == LARGEST[: 64 * 1024].decode()
        assert len(server.targets) == 2
    assert (refused.value.status, refused.value.content_type) == (200, "application/json")


BOMB = gzip.compress(bytes(170 * MIB))


@on_a_real_loop
@pytest.mark.parametrize(
    ("encodings", "reason"),
    [("gzip", "larger than 16 MiB"), ("gzip, gzip", r"compressed more than once \(gzip, gzip\)")],
)
async def test_a_decompression_bomb_is_refused_in_little_memory(encodings: str, reason: str) -> None:
    answer = http(gzip.compress(BOMB) if "," in encodings else BOMB, Content_Encoding=encodings)
    async with Loopback(lambda _: answer) as server, client_of(server.url()) as client:
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedResponse, match=reason):
                await client.orders()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 48 * MIB


@on_a_real_loop
async def test_an_answer_that_cannot_be_decompressed_is_retried_and_leaves_a_purchase_unknown() -> None:
    async with (
        Loopback(lambda _: http(EMPTY, Content_Encoding="gzip")) as server,
        client_of(server.url(), retry=Retry(attempts=2, first=0)) as client,
    ):
        with pytest.raises(UnexpectedResponse, match="can't be decompressed"):
            await client.orders()
        with pytest.raises(OutcomeUnknown, match="can't be decompressed"):
            await client.rent("RU", "opt16", Period.weeks(1))
    assert len(server.targets) == 3


@on_a_real_loop
@pytest.mark.parametrize("encoding", ["none", "utf-8", "binary", "identity", "br"])
async def test_an_unknown_content_encoding_is_ignored(encoding: str) -> None:
    paid = '{"status": 1, "data": {"id": 7}}'
    async with Loopback(lambda _: http(paid, Content_Encoding=encoding)) as server, client_of(server.url()) as client:
        assert (await client.rent("RU", "opt16", Period.weeks(1))).id == 7


@on_a_real_loop
async def test_the_timeout_bounds_a_compressed_answer_that_trickles_in() -> None:
    packed = gzip.compress(EMPTY.encode())

    async def drip() -> AsyncIterator[bytes]:
        for byte in packed:
            yield bytes([byte])
            await anyio.sleep(0.01)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=drip())

    async with client_of(transport=httpx.MockTransport(answer), timeout=0.05) as client:
        with pytest.raises(RequestTimeout):
            await client.orders()


@on_a_real_loop
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity, gzip", "deflate"])
async def test_a_compressed_answer_is_read(encoding: str) -> None:
    compress = zlib.compress if encoding == "deflate" else gzip.compress
    answer = http(compress(EMPTY.encode()), Content_Encoding=encoding)
    async with Loopback(lambda _: answer) as server, client_of(server.url()) as client:
        assert await client.orders() == []


MEMBERS = {
    "an empty one first": gzip.compress(b"") + gzip.compress(EMPTY.encode()),
    "an answer in two": gzip.compress(EMPTY[:9].encode()) + gzip.compress(EMPTY[9:].encode()),
    "something else after it": gzip.compress(EMPTY.encode()) + b"something else",
}


@on_a_real_loop
@pytest.mark.parametrize("body", MEMBERS.values(), ids=MEMBERS)
async def test_a_compressed_answer_of_several_members_is_read(body: bytes) -> None:
    async with (
        Loopback(lambda _: http(body, Content_Encoding="gzip")) as server,
        client_of(server.url()) as client,
    ):
        assert await client.orders() == []


@on_a_real_loop
async def test_data_after_a_compressed_answer_counts_towards_its_size() -> None:
    body = gzip.compress(EMPTY.encode()) + bytes(17 * MIB)
    async with (
        Loopback(lambda _: http(body, Content_Encoding="gzip")) as server,
        client_of(server.url()) as client,
    ):
        with pytest.raises(UnexpectedResponse, match="larger than 16 MiB"):
            await client.orders()


async def test_an_answer_is_kept_if_closing_the_response_fails() -> None:
    class FailsToClose(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"status": 1, "data": {"id": 7}}'

        async def aclose(self) -> None:
            raise OSError("can't close")

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=FailsToClose()))
    async with client_of(transport=transport) as client:
        assert (await client.rent("RU", "opt16", Period.weeks(1))).id == 7


@on_a_real_loop
async def test_a_truncated_compressed_answer_is_retried() -> None:
    whole = gzip.compress(EMPTY.encode())
    answers = iter([whole[:-9], whole])
    async with (
        Loopback(lambda _: http(next(answers), Content_Encoding="gzip")) as server,
        client_of(server.url(), retry=Retry(attempts=2, first=0)) as client,
    ):
        assert await client.orders() == []
    assert len(server.targets) == 2


@on_a_real_loop
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with (
        Loopback(lambda target: http("", f"{status} Moved", Location=target)) as server,
        client_of(server.url(), retry=Retry(first=0)) as client,
    ):
        with pytest.raises(UnexpectedResponse, match=f"HTTP {status}.*redirects to /api/rent.php"):
            await client.orders()
    assert len(server.targets) == 1


async def test_headers_can_contain_other_characters_than_ascii(fake_server: FakeServer, client: SmspvaClient) -> None:
    headers = {b"Content-Type": "text/html; charset=кои-8".encode()}
    fake_server.on("orders", httpx.Response(404, headers=headers))
    with pytest.raises(UnexpectedResponse) as unexpected:
        await client.orders()
    assert unexpected.value.content_type == "text/html; charset=кои-8"
