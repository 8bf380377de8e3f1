"""The command line: the demo and events as lines in virtual time, the commands as programs of their own."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve
from rich.cells import cell_len
from rich.console import Console

from smspva_async import (
    Event,
    Order,
    OrderAdded,
    OrderRemoved,
    OrderState,
    OrderUpdated,
    PollFailed,
    PollRecovered,
    RowSkipped,
    Sms,
    SmspvaClient,
    SmsReceived,
    StateChanged,
    Watcher,
    cli,
)
from smspva_async._demo import demo
from smspva_async._lines import Lines
from smspva_async.simulator import Simulator, VirtualTimeLoop

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

KEY = "key-of-the-command-line"
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


def console(width: int | None = None) -> Console:
    """Return what prints into memory: a terminal if it has a width, otherwise a file."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=width is not None,
        color_system=None if width is None else "standard",
        highlight=False,
        legacy_windows=False,
        _environ={},
    )


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def plain(lines: list[str]) -> list[str]:
    return [ESCAPE.sub("", line) for line in lines]


def in_virtual_time(main: Coroutine[Any, Any, None]) -> float:
    """Run a coroutine and return the seconds that it takes by the loop's clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)
        return runner.get_loop().time()


# -- the demo ----------------------------------------------------------------------------------------------------------


def shown_demo(width: int | None = None) -> list[str]:
    """Run the demo and return its lines."""
    shown = console(width)

    async def tell() -> None:
        with anyio.fail_after(16):
            await demo(Lines(shown))

    assert in_virtual_time(tell()) > 10
    return printed(shown)


def columns(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def test_the_demo_tells_its_whole_story() -> None:
    lines = shown_demo()
    story, summary = lines[: lines.index("Summary")], lines[lines.index("Summary") :]
    events = [columns(line) for line in story if re.match(r"\d\d:\d\d:\d\d ", line)]
    numbers = list(dict.fromkeys(event[1] for event in events if event[1].startswith("+")))
    told = {number: [event[2:] for event in events if event[1] == number] for number in numbers}

    assert [(number[:3], told[number][0][0]) for number in numbers] == [
        ("+79", "Instagram"),
        ("+37", "WhatsApp"),
        ("+48", "Telegram"),
    ]
    once = ["0 -> 2", "2 -> 1"]
    steps = {number: [what for _, what, *_ in told[number] if "->" in what] for number in numbers}
    assert list(steps.values()) == [[*once, "1 -> 0", *once], once, once]

    messages = {number: [rest for _, what, *rest in told[number] if what == "message"] for number in numbers}
    assert list(messages.values()) == [
        [["671094", "Code Instagram: 671 094."], ["305871", "Your code is 305 871."]],
        [["417205", "WhatsApp code 417-205"]],
        [["53821", "Twój kod Telegram: 53821"], ["86420", "Telegram login code: 86420"]],
    ]
    (failed,) = [place for place, event in enumerate(events) if event[1].startswith("polling fails: ")]
    assert events[failed + 1][1] == "polling works again after 3 s"
    assert events[failed + 2][-1] == "Telegram login code: 86420"

    told_again = [columns(line) for line in summary]
    chains = {number: " -> ".join(["0", *(step[-1] for step in steps[number])]) for number in numbers}
    assert [row[1:] for row in told_again if row[0] == "number"] == [[number, chains[number]] for number in numbers]
    (row,) = [row for row in told_again if row[0] == "messages"]
    codes = [event[4] for event in events if event[3:4] == ["message"]]
    assert row[1] == f"{len(codes)}, with the codes {', '.join(codes)}"
    (row,) = [row for row in told_again if row[0] == "outage"]
    assert row[1].startswith("of 3 s, survived")


def test_the_demo_counts_its_requests_and_its_money(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Simulator] = []

    def make(**settings: Any) -> Simulator:
        made.append(Simulator(**settings))
        return made[0]

    monkeypatch.setattr("smspva_async._demo.Simulator", make)
    summary = {row[0]: row[1] for row in map(columns, shown_demo()) if len(row) == 2}
    (sim,) = made
    assert sim.violations == []
    failed = [request for request in sim.requests if request.fault]
    assert {request.method for request in failed} == {"orders", "sms"}
    assert summary["requests"] == f"{len(sim.requests)}, of which {len(failed)} failed in the outage"
    prices = sum(sim.catalogue[order.country].offers[order.service].price_day * 7 for order in sim.orders)
    assert summary["spent"].startswith(f"${prices} ")


def test_the_demo_is_the_same_each_time() -> None:
    def without_times_and_counts() -> list[str]:
        return [re.sub(r"^\d\d:\d\d:\d\d|^  requests .*", "", line) for line in shown_demo()]

    first = without_times_and_counts()
    for chance in range(10):
        random.seed(chance)  # the watcher's phase is drawn from it
        assert without_times_and_counts() == first


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_demo_fits_the_terminal_and_says_there_what_it_says_in_a_pipe(width: int) -> None:
    lines = shown_demo(width)
    assert any(ESCAPE.search(line) for line in lines)
    assert max(map(cell_len, plain(lines))) <= width

    def words(lines: list[str]) -> list[str]:
        return [word for word in " ".join(plain(lines)).split() if not re.fullmatch(r"\d\d:\d\d:\d\d", word)]

    piped = shown_demo()
    assert words(lines) == words(piped)
    assert not any(ESCAPE.search(line) for line in piped)


def test_only_an_outage_is_too_long_for_80_columns() -> None:
    assert [line for line in shown_demo() if len(line) > 80 and "polling fails" not in line] == []
    assert sum(line.startswith(" " * 10 + "attempts failed") for line in plain(shown_demo(80))) == 1


# -- events as lines ---------------------------------------------------------------------------------------------------

ORDER = Order(
    id=40300,
    service="opt16",
    service_name="Instagram",
    state=OrderState.INACTIVE,
    phone="+79096068511",
    country="RU",
    has_new_sms=False,
    until=datetime(2030, 1, 8, 12, tzinfo=UTC),
)
WEEK_BEFORE = ORDER.until - timedelta(days=7)
BASE: dict[str, Any] = {"seq": 1, "id": "1", "at": datetime.now(UTC), "order_id": 40300}
NOW = f"{BASE['at'].astimezone():%H:%M:%S}"


def local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def line(event: Event) -> str:
    """Return an event as a pipe gets it."""
    shown = console()
    Lines(shown).show(event)
    (only,) = printed(shown)
    return only


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (OrderAdded(ORDER, **BASE), "listed   #40300, inactive, until 2030-01-08"),
        (
            StateChanged(ORDER, OrderState.INACTIVE, OrderState.ACTIVATING, **BASE),
            "0 -> 0   waiting in queue",
        ),
        (
            StateChanged(
                evolve(ORDER, state=OrderState.UNKNOWN, raw_state=7), OrderState.ACTIVE, OrderState.UNKNOWN, **BASE
            ),
            "1 -> 7   in the unknown state 7",
        ),
        (
            StateChanged(evolve(ORDER, raw_state=1), OrderState.UNKNOWN, OrderState.ACTIVE, **BASE),
            "? -> 1   can receive SMS",
        ),
        (
            StateChanged(evolve(ORDER, raw_state=-1), OrderState.INACTIVE, OrderState.ABSENT, **BASE),
            "0 -> -1  not in the provider's system",
        ),
        (SmsReceived(ORDER, Sms("Code 671 094", "Instagram"), **BASE), "message  671094  Code 671 094"),
        (SmsReceived(ORDER, Sms("Code 671 094", "INFO"), **BASE), "message  671094  INFO: Code 671 094"),
        (SmsReceived(ORDER, Sms("Welcome!"), **BASE), "message  Welcome!"),
        (
            OrderUpdated(ORDER, evolve(ORDER, until=WEEK_BEFORE, can_prolong=True), **BASE),
            f"changed  until {local(ORDER.until)}, was {local(WEEK_BEFORE)}; can't be prolonged any more",
        ),
        (
            OrderUpdated(ORDER, evolve(ORDER, phone="+1", service_name="Avito", country="KZ"), **BASE),
            "changed  number +79096068511, was +1; service Instagram, was Avito; country RU, was KZ",
        ),
        (OrderUpdated(ORDER, evolve(ORDER, can_prolong_days=3), **BASE), "changed  how far it can be prolonged"),
        (OrderRemoved(ORDER, expired=True, **BASE), "gone     #40300, expired"),
        (OrderRemoved(ORDER, expired=False, **BASE), "gone     #40300, no longer listed"),
    ],
)
def test_an_order_s_event(event: Event, told: str) -> None:
    assert line(event) == f"{NOW}  +79096068511  Instagram  {told}"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (PollFailed("RequestTimeout", "no answer within 30 s", **BASE), "polling fails: no answer within 30 s"),
        (PollRecovered(61.4, **BASE), "polling works again after 61 s"),
        (RowSkipped("no id", {}, **BASE), "a row of an answer can't be read: no id"),
    ],
)
def test_an_event_of_the_whole_watch(event: Event, told: str) -> None:
    assert line(event) == f"{NOW}  {told}"


def test_an_event_of_the_whole_watch_that_is_about_an_order_names_its_number() -> None:
    shown = console()
    lines = Lines(shown)
    lines.fit([ORDER])
    lines.show(PollFailed("RequestTimeout", "no answer", **BASE))
    assert printed(shown) == [f"{NOW}  +79096068511  Instagram  failing  polling fails: no answer"]


def test_a_message_can_t_steer_the_terminal() -> None:
    hostile = "a\x1b[2J\x1b]0;title\x07b\r\nc\x9b31m\u202ed\u2066 [bold red]e[/] :smile: \ud800"
    shown = console(120)
    Lines(shown).show(SmsReceived(ORDER, Sms(hostile, "\x1b[1mS"), **BASE))
    (only,) = printed(shown)
    told = r"\x1b[1mS: a\x1b[2J\x1b]0;title\x07b c\x9b31md [bold red]e[/] :smile: \ud800"
    assert plain([only]) == [f"{NOW}  +79096068511  Instagram  message  {told}"]
    # Nothing but our own colours.
    assert set(ESCAPE.findall(only)) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}


@pytest.mark.parametrize("name", ["service_name", "service", "phone", "country"])
def test_nor_can_an_order(name: str) -> None:
    changes: dict[str, Any] = {"service_name": "", name: "\x1b[2J"}
    hostile = evolve(ORDER, **changes)
    assert "\x1b" not in line(OrderAdded(hostile, **BASE)) + line(OrderUpdated(ORDER, hostile, **BASE))


def test_a_long_message_is_cut() -> None:
    text = line(SmsReceived(ORDER, Sms("word " * 20_000), **BASE))
    assert text.endswith("word …")
    assert len(text) < 700


def test_a_wide_message_is_wrapped_under_itself() -> None:
    shown = console(80)
    Lines(shown).show(SmsReceived(ORDER, Sms("验证码" * 12), **BASE))
    first, *others = plain(printed(shown))
    indent = first.index("验")
    assert all(line[:indent].isspace() and line[indent] in "验证码" for line in others)
    assert "".join(line[indent:] for line in [first, *others]) == "验证码" * 12
    assert all(cell_len(line) <= 80 for line in [first, *others])


def test_columns_are_as_wide_as_the_orders_need() -> None:
    long = evolve(ORDER, id=1, phone="+447700900123", service_name="Microsoft Azure Cloud")
    shown = console()
    lines = Lines(shown)
    lines.fit([ORDER, long])
    for order in (ORDER, long):
        lines.show(OrderAdded(order, **BASE))
    assert printed(shown) == [
        f"{NOW}  +79096068511   Instagram         listed   #40300, inactive, until 2030-01-08",
        f"{NOW}  +447700900123  Microsoft Azure…  listed   #1, inactive, until 2030-01-08",
    ]


def test_a_new_day_is_said_once() -> None:
    shown = console()
    lines = Lines(shown)
    tomorrow = {**BASE, "at": BASE["at"] + timedelta(days=1)}
    for base in (BASE, tomorrow, tomorrow):
        lines.show(PollRecovered(1.0, **base))
    assert [line for line in printed(shown) if "polling" not in line] == [f"{tomorrow['at'].astimezone():%Y-%m-%d}"]


# -- watching, in virtual time -----------------------------------------------------------------------------------------


def shown_watch(sim: Simulator, seconds: float) -> list[str]:
    """Watch for a while and return the lines."""
    shown = console()

    async def watch() -> None:
        client = SmspvaClient(KEY, transport=sim.transport())
        with anyio.move_on_after(seconds):
            await cli._show(client, Watcher(client), Lines(shown))

    in_virtual_time(watch())
    return printed(shown)


def test_watch_begins_with_what_there_is() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.deliver(sim.add_order(phone="+79096068511").id, "Old code 111222", date=1)
    sim.add_order(country="UK", service="opt29", phone="+447700900123")
    until = f"until {sim.orders[0].until.astimezone():%Y-%m-%d}"
    assert [line.partition("  ")[2] for line in shown_watch(sim, 300)] == [
        f"+79096068511   Instagram  listed   #40300, inactive, {until}",
        f"+447700900123  Telegram   listed   #40301, active, {until}",
    ]


def test_watch_says_that_there_is_nothing() -> None:
    assert shown_watch(Simulator(), 300) == ["No number is rented yet."]


def test_watch_shows_an_outage_that_was_there_before() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.add_order()
    sim.faults.next("orders", "refused", count=4)
    failed, recovered, listed = shown_watch(sim, 300)
    assert "polling fails: orders: no connection" in failed
    assert "polling works again after" in recovered
    assert "listed" in listed


def test_a_key_that_is_refused_once_ends_nothing() -> None:
    sim = Simulator(start=datetime.now(UTC))
    sim.faults.next("orders", "refusal", msg="Invalid apikey")
    failed, recovered = shown_watch(sim, 300)
    assert "polling fails: orders: refused: Invalid apikey" in failed
    assert "polling works again after" in recovered


# -- wrong usage -------------------------------------------------------------------------------------------------------


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
        (["watch", "--api-key-file", "good", "--interval", "0"], "intervals are in seconds, more than 0"),
        (["watch", "--api-key-file", "good", "--interval", "nan"], "intervals are in seconds, more than 0"),
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
