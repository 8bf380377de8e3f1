"""The commands: their usage, and as programs of their own."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from smspva_async import (
    cli,
)
from smspva_async.cli._lines import Lines
from smspva_async.simulator import Simulator
from tests.terminal import KEY, columns

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the command line here and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["smspva", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return exited.value.code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["watch"], "there is no API key in the environment variable SMSPVA_API_KEY"),
        (["watch", "--api-key-file", "nowhere"], "the API key can't be read from nowhere: No such file or directory"),
        (["watch", "--api-key-file", "empty"], "there is no API key in empty"),
        (["watch", "--api-key-file", "binary"], "the API key can't be read from binary: it is no text"),
        (["watch", "--api-key-file", "two-lines"], "no usable API key"),
        (["watch", "--api-key-file", "good", "--base-url", "http://example.com"], "https is needed"),
        (["watch", "--api-key-file", "good", "--interval", "0"], "the interval is in seconds, more than 0"),
        (["watch", "--api-key-file", "good", "--interval", "nan"], "the interval is in seconds, more than 0"),
        (["watch", "--api-key-file", "good", "--interval", "soon"], "'soon' is not a valid float"),
        (["watch", "--api-key", KEY], "No such option"),
        (["wach"], "No such command 'wach'"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SMSPVA_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, content in {"empty": b"\n", "binary": b"\xff\xfe", "two-lines": b"a\nb\n", "good": b"key\n"}.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(anyio, "run", None)  # nothing is begun
    assert run(*arguments, monkeypatch=monkeypatch) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("smspva: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert KEY not in captured.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["demo", "--help"], ["watch", "--help"]])
def test_help_has_an_example(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    assert f"\n  Example:\n    smspva {' '.join(arguments[:-1]) or 'demo'}" in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("", True), ("1", False)])
def test_colour_is_for_a_terminal_that_wants_it(
    no_color: str | None, *, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    Lines(cli._Output()).say("well", "bold green")
    assert ("\x1b" in terminal.getvalue()) is coloured


def test_what_is_no_terminal_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", pipe := io.StringIO())
    Lines(cli._Output()).say("word " * 99, "bold green")
    assert pipe.getvalue() == " ".join(["word"] * 99) + "\n"


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import runpy, sys; sys.modules['click'] = None; runpy.run_module('smspva_async', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 1
    assert done.stderr == "smspva: click is missing; pip install 'smspva-async[cli]' brings it\n"


# -- programs of their own ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(sim: Simulator) -> AsyncIterator[str]:
    """Serve a simulator on a socket of this machine and yield its address."""

    answering: set[asyncio.Task[Any]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                writer.write(f"HTTP/1.1 {message['status']} -\r\nConnection: close\r\n".encode())
                writer.writelines(b"%b: %b\r\n" % header for header in message["headers"])
                writer.write(b"\r\n")
            else:
                writer.write(message["body"])

        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            path, _, query = target.partition("?")
            scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
            await sim(scope, receive, send)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/rent.php"
        finally:
            for task in answering:
                task.cancel()
            await asyncio.gather(*answering, return_exceptions=True)


@asynccontextmanager
async def watching(sim: Simulator, *arguments: str, key: str = KEY) -> AsyncIterator[Process]:
    """Run `smspva watch` against a simulator."""
    environment = {
        **os.environ,
        # Neither may get an escape code into a pipe, nor an odd letter stop the watch.
        "TERM": "xterm-256color",
        "FORCE_COLOR": "1",
        "PYTHONIOENCODING": "ascii",
        "SMSPVA_API_KEY": key,
    }
    async with served(sim) as url:
        command = [sys.executable, "-W", "error", "-m", "smspva_async", "watch", "--base-url", url, *arguments]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            async with asyncio.timeout(10):
                yield child
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()


async def next_line(child: Process) -> str:
    assert child.stdout is not None
    return (await child.stdout.readline()).decode().rstrip("\n")


async def ended(child: Process) -> tuple[int, str, str]:
    """Wait for the end of a program; return its exit code and the rest of what it wrote."""
    out, err = await child.communicate()
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


def test_watch_as_a_program_with_the_key_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    sim = Simulator(start=datetime.now(UTC), api_key=KEY)
    order = sim.add_order(phone="+79096068511")

    async def story() -> None:
        async with watching(sim, "--api-key-file", str(tmp_path / "key"), key="not-this-one") as child:
            assert re.fullmatch(r"Watching http://127\S+ every 30 s\. Ctrl-C ends it\.", await next_line(child))
            assert columns(await next_line(child))[1:4] == ["+79096068511", "Instagram", "listed"]
            sim.deliver(order.id, "Code Instagram ✓: 671 094.", sender="Instagram")
            assert columns(await next_line(child))[1:] == [
                "+79096068511",
                "Instagram",
                "message",
                "671094",
                r"Code Instagram \u2713: 671 094.",
            ]
            asked = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert await ended(child) == (130, "", "\n")
            assert time.monotonic() - asked < 1

    asyncio.run(story())
    assert sim.violations == []
    assert [request.method for request in sim.requests] == ["orders", "sms"]


def test_sigterm_ends_it_as_well_also_while_no_answer_comes() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.faults.always("orders", "latency", seconds=60)

    async def story() -> None:
        async with watching(sim) as child:
            await next_line(child)
            while not sim.requests:  # noqa: ASYNC110 - the simulator has no such event
                await asyncio.sleep(0.01)
            asked = time.monotonic()
            child.send_signal(signal.SIGTERM)
            code, out, err = await ended(child)
            assert (code, out, err.strip()) == (143, "", "")
            assert time.monotonic() - asked < 1

    asyncio.run(story())


def test_a_warning_of_the_library_is_an_event_and_nothing_else() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.add_order()
    sim.add_order()
    sim.faults.next("orders", "bad_row")

    async def story() -> None:
        async with watching(sim) as child:
            lines = [await next_line(child) for _ in range(3)]
            assert sum("a row of an answer can't be read" in line for line in lines) == 1
            child.send_signal(signal.SIGINT)
            assert await ended(child) == (130, "", "\n")

    asyncio.run(story())


def test_a_refused_key_ends_it_with_1() -> None:
    sim = Simulator(start=datetime.now(UTC), api_key="another")

    async def story() -> None:
        async with watching(sim) as child:
            await next_line(child)
            code, out, err = await ended(child)
            assert (code, out) == (1, "")
            assert re.fullmatch(r"smspva: orders: [^\n]*(?i:key)[^\n]*\n", err)
            assert KEY not in err

    asyncio.run(story())


def test_a_closed_pipe_is_no_error() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.add_order()
    sim.faults.next("orders", "latency", seconds=0.3)

    async def story() -> None:
        async with watching(sim) as child:
            await next_line(child)
            child._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined] # as `head -1` does
            assert child.stderr is not None
            assert await child.stderr.read() == b""
            assert await child.wait() == 0

    asyncio.run(story())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "smspva_async", "demo"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)  # noqa: S603
    assert (done.returncode, done.stderr) == (1, "smspva: No space left on device\n")
