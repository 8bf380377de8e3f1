"""A server that sends the key back in another form: escaped, in an odd charset, cut off."""

from __future__ import annotations

import io
import json
import logging
import pickle
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from hypothesis import example, given, strategies as st

from smspva_async import Pace, Retry, SmspvaClient, SqliteJournal, Watcher
from smspva_async.errors import ApiError, OutcomeUnknown, SmspvaError, UnexpectedResponse
from smspva_async.models import Period
from tests.support.backends import virtual_time
from tests.support.keys import HEAD, KEY, dump_log, mocked_client
from tests.support.samples import CALLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ORDER_ROW = CALLS["orders"].sample["data"][0]
ESCAPED = KEY.replace("+", r"\u002B").replace("/", r"\/").replace("=", r"\u003d")
WHOLLY_ESCAPED = "".join(rf"\u{ord(character):04x}" for character in KEY)


@st.composite
def escaped_keys(draw: st.DrawFn) -> tuple[str, str]:
    """Return a key, and the key with any of its characters escaped for JSON."""
    key = "Zq" + draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=5, max_size=30)) + "7k"
    escapes = [rf"\u{ord(character):04x}" for character in key]
    forms = [
        ([] if character in '\\"' else [character])
        + [escape, escape[:2] + escape[2:].upper()]
        + (["\\" + character] if character in '\\"/' else [])
        for character, escape in zip(key, escapes, strict=True)
    ]
    return key, "".join(draw(st.tuples(*map(st.sampled_from, forms))))


def exposed(error: SmspvaError) -> str:
    linked = [it for it in (error.__cause__, error.__context__) if isinstance(it, SmspvaError)]
    texts = [str(error), repr(vars(error)), pickle.dumps(error).decode("latin-1"), *map(exposed, linked)]
    return "\n".join([*texts, *(text for text in vars(error).values() if isinstance(text, str))])


@contextmanager
def log_of_everything() -> Iterator[io.StringIO]:
    log, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(log), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


async def everything_exposed(key: str, echo: str, folder: Path) -> str:
    """Return all texts that a program may see if each answer contains an echo of the key."""
    row = json.dumps({**ORDER_ROW, "state": 1, "hasnewsms": True})[:-1]
    pages = {
        "orders": [
            f'{{"status": 0, "msg": "no such key: {echo}"}}',
            f'{{"status": 1, "data": [{row}, "note": ["{echo}"]}}, {{"id": "{echo}"}}], "{echo}": "{echo}"}}',
            f'<b>Notice</b> {{"status": 0, "msg": "no such key: {echo}\n"}}',
            f'{"[" * 3000}"{echo}"{"]" * 3000}',
            f"<p>{echo}</p>",
        ],
        "sms": ['{"status": 1, "data": []}', f'{{"status": 1, "data": [{{"text": "{echo}", "date": 1586948100}}]}}'],
        "create": [
            f'{{"trace": "{echo}", "{echo}": 1}}',
            f'{{"status": 1, "data": {{"for": "{echo}"',
            f'{{"status": 1, "data": {{"id": "{echo}"}}}}',
        ],
    }

    def answer(request: httpx.Request) -> httpx.Response:
        waiting = pages[request.url.params["method"]]
        page = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        headers = {"Content-Type": f"text/html; key={echo}", "Location": f"/{echo}", "Date": echo, "Retry-After": echo}
        return httpx.Response(200, content=page.encode(), headers=headers)

    texts: list[str] = []
    transport = httpx.MockTransport(answer)
    async with SmspvaClient(
        key, transport=transport, pace=Pace(gap=0), retry=Retry(attempts=1), ledger=folder / "ledger"
    ) as client:
        for method in ["orders"] * 5 + ["create"] * 3:
            try:
                rows: Any = await CALLS[method].make(client)
                texts += [repr(rows), repr([it.extra for it in (rows, *rows)]), repr([it.raw for it in rows.skipped])]
            except SmspvaError as error:
                texts.append(exposed(error))
        texts += [exposed(error) for error in client.unsettled]
        pages["orders"][:] = [f'{{"status": 0, "msg": "{echo}"}}', f'{{"status": 1, "data": [{row}}}, ["{echo}"]]}}']
        async with Watcher(client, interval=5, journal=SqliteJournal(folder / "journal")) as watcher:
            await anyio.sleep(60)
            with anyio.move_on_after(1):
                async for event in watcher.events(after=0):
                    texts.append(repr(event))
    contents = [file.read_bytes().decode("latin-1") for file in folder.iterdir()]
    return "\n".join(texts + contents)


@pytest.mark.usefixtures("cheap_fingerprints")
@given(escaped_keys())
@example((KEY, ESCAPED))
@example((KEY, WHOLLY_ESCAPED))
@example(("Zq\\\\\\/\"'7k", r"Zq\\\u005c\\\/\"'7k"))
def test_nothing_contains_the_key_however_json_escapes_it(key_and_echo: tuple[str, str]) -> None:
    key, echo = key_and_echo
    with TemporaryDirectory() as folder, log_of_everything() as log:
        options = virtual_time("asyncio")
        text = anyio.run(everything_exposed, key, echo, Path(folder), backend="asyncio", backend_options=options)
        text += log.getvalue()
    for event in ("PollFailed", "PollRecovered", "RowSkipped", "SmsReceived", "OutcomeUnknown", "no such key: [key]"):
        assert event in text
    for form in (key, repr(key)[1:-1], json.dumps(key)[1:-1], repr(repr(key))[2:-2]):
        assert form not in text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("charset", "head"), [("unicode_escape", rb"\x53entinel"), ("iso2022_jp_2", b"Senti\x1b(Bnel")]
)
async def test_a_charset_does_not_form_the_key(charset: str, head: bytes) -> None:
    content = b"\xe4\xe4 " + head + KEY.removeprefix(HEAD).encode()
    headers = {"Content-Type": f"text/plain; charset={charset}"}
    async with mocked_client(lambda _: httpx.Response(200, content=content, headers=headers)) as client:
        with pytest.raises(UnexpectedResponse) as unexpected:
            await client.orders()
    assert KEY not in exposed(unexpected.value)


@pytest.mark.anyio
async def test_a_body_is_decoded_from_utf_16_only_once() -> None:
    twice = json.dumps({"status": 0, "msg": KEY}).encode("utf-16-le").decode().encode("utf-16")
    async with mocked_client(lambda _: httpx.Response(200, content=twice)) as client:
        with pytest.raises(UnexpectedResponse) as unexpected:
            await client.orders()
    assert KEY not in exposed(unexpected.value)


@pytest.mark.anyio
async def test_a_key_of_digits_is_masked_in_a_number() -> None:
    answer = {"status": 0, "msg": "no such key", "data": {"key": 1234567890, "phone": 912345678901}}
    async with mocked_client(lambda _: httpx.Response(200, json=answer), "1234567890") as client:
        with pytest.raises(ApiError) as refused:
            await client.orders()
    assert refused.value.data == {"key": "[key]", "phone": 912345678901}


@pytest.mark.anyio
@pytest.mark.usefixtures("log_everything")
@pytest.mark.parametrize(
    ("echo", "certain"),
    [
        (ESCAPED, "Sent"),
        (WHOLLY_ESCAPED, WHOLLY_ESCAPED[: 4 * len(r"\u0000")]),
        ("Sentinel%2f4f%2B9c%3De%267", "Sent"),
        ("Sentinel&#x2f;4f&#43;9c=e&amp;7", "Sent"),
    ],
)
async def test_an_escaped_key_is_masked_wherever_it_is_cut_off(
    echo: str, certain: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield f'{{"status": 1, "data": {{"id": 40370, "for": "{echo[:length]}'.encode()
            raise httpx.ReadError("connection reset")

    for length in range(len(certain), len(echo) + 1):
        async with mocked_client(lambda _: httpx.Response(200, stream=Broken())) as client:
            with pytest.raises(OutcomeUnknown) as failed:
                await client.rent("RU", "opt16", Period.weeks(1))
        assert failed.value.data == '{"status": 1, "data": {"id": 40370, "for": "[key]', echo[:length]
    assert HEAD not in dump_log(caplog)
