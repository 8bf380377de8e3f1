"""Libraries that record httpx requests: OpenTelemetry's instrumentation, and the logs of an aliased httpx2."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from tests.support.keys import HEAD, KEY
from tests.support.loopback import Loopback, http
from tests.support.processes import run_program, run_worker
from tests.support.three_calls import (
    RESULTS,
    body_for,
    carries_key,
    client_of,
    dump_three_calls,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.usefixtures("plain_environment")


def success(target: str) -> bytes:
    return http(body_for(target))


REPLIES: dict[str, Callable[[str], bytes]] = {
    "success": success,
    "error": lambda target: http(f"{target} {KEY}", f"500 no luck with {KEY}", X_Echo=KEY),
    "redirect": lambda target: http("", "302 Found", Location=f"https://elsewhere.example{target}?key={KEY}"),
    "empty": lambda _: b"",
    "not HTTP": lambda target: f"SMTP/1.1 {target} {KEY}\r\n\r\n".encode(),
    "malformed header": lambda target: f"HTTP/1.1 200 OK\r\n{target} {KEY}\r\n\r\n".encode(),
}

# -- OpenTelemetry ---------------------------------------------------------------------------------------------------


def trace(conventions: str, reply: str, sender: Connection) -> None:
    """Send the spans of three calls as JSON, and the number of requests with the key."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = conventions
    # Imported here, because its first use sets the conventions of the whole process.
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def make_calls() -> int:
        async with Loopback(REPLIES.get(reply, success)) as server:
            url = server.url()
            if reply != "refused":
                async with client_of(url) as client:
                    await dump_three_calls(client)
        if reply == "refused":
            async with client_of(url) as client:
                await dump_three_calls(client)
        return sum(map(carries_key, server.heads))

    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        keyed = anyio.run(make_calls)
    finally:
        instrumentor.uninstrument()
    sender.send(([span.to_json() for span in exporter.get_finished_spans()], keyed))


@pytest.mark.parametrize(("conventions", "url_name"), [("", "http.url"), ("http", "url.full")], ids=["old", "new"])
@pytest.mark.parametrize("reply", [*REPLIES, "refused"])
def test_opentelemetry_spans_do_not_contain_the_key(reply: str, conventions: str, url_name: str) -> None:
    spans, keyed = run_worker(trace, conventions, reply)
    assert keyed == (0 if reply == "refused" else 3), "the server must get the key"
    attributes = [json.loads(span)["attributes"] for span in spans]
    paths = [httpx.URL(each[url_name]).raw_path.decode() for each in attributes]
    assert paths == [
        "/api/rent.php?method=orders",
        "/api/rent.php?method=create&country=RU&service=opt6&dtype=week&dcount=1",
        "/activation/balance",
    ]
    assert HEAD not in "".join(spans)
    failed = ["ERROR" in json.loads(span)["status"]["status_code"] for span in spans]
    assert failed == [reply not in ("success", "redirect")] * 3


# -- httpx2 instead of httpx -----------------------------------------------------------------------------------------


def log_calls() -> None:
    """Print the results of the calls for each reply, and all log records, as JSON."""
    records: list[tuple[str, str]] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append((record.name, f"{record.getMessage()} {vars(record)}"))

    logging.basicConfig(level=logging.DEBUG, handlers=[Recorder()])

    async def make_calls(reply: Callable[[str], bytes]) -> dict[str, Any]:
        async with Loopback(reply) as server, client_of(server.url()) as client:
            results = await dump_three_calls(client)
        return {"results": results, "keyed": sum(map(carries_key, server.heads))}

    answers = {name: anyio.run(make_calls, reply) for name, reply in REPLIES.items()}
    print(json.dumps({"library": httpx.__name__, "answers": answers, "records": records}))  # noqa: T201


def test_logs_of_an_aliased_httpx2_do_not_contain_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    program = (
        "import httpx2; httpx2.alias_httpx(); from tests.client.test_other_libraries import log_calls; log_calls()"
    )
    output = run_program(sys.executable, "-c", program)
    result = json.loads(output)
    assert result["library"] == "httpx2"
    assert result["answers"]["success"]["results"] == list(map(repr, RESULTS))
    assert [answer["keyed"] for answer in result["answers"].values()] == [3] * len(REPLIES), (
        "the server must get the key"
    )
    records = result["records"]
    assert {"httpcore2.connection", "httpcore2.http11"} <= {name for name, _ in records}
    assert any("elsewhere.example" in text for _, text in records), "the redirect must be logged"
    assert HEAD not in output
