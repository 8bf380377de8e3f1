"""`smspva forward`, with a receiver on this machine."""

from __future__ import annotations

import json
import signal
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trustme
from anyio.from_thread import start_blocking_portal

from smspva_async import SmspvaClient, event_from_dict
from smspva_async.simulator import Simulator
from tests.support.command_processes import Result
from tests.support.commands import KEY, Commands, run, serving
from tests.support.redis_server import RedisServer, running
from tests.support.webhooks import SECRET, Port, Server, deliveries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = {"SMSPVA_WEBHOOK_SECRET": SECRET}
QUICK = ("--interval", "0.2")
ENDED = "Forwarding ended; the next run begins with the first event that isn't delivered.\n"


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    sim = Simulator(start=datetime.now(UTC), api_key=KEY)
    sim.add_order("PL", "opt16", order_id=40300, state=1)
    with serving(sim, tmp_path) as commands:
        yield commands
    assert sim.violations == []


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report"


@pytest.fixture
def receiver(report: Path) -> Iterator[str]:
    """Serve a receiver in another thread, and return its URL."""
    server = Server(report)
    with start_blocking_portal() as portal:
        yield f"http://127.0.0.1:{portal.call(server.listen)}/webhook"
        portal.call(server.aclose)


def test_events_are_forwarded_and_shown_and_continue_after_a_restart(
    commands: Commands, receiver: str, report: Path
) -> None:
    journal = ("--journal", str(commands.folder / "smspva.db"), *QUICK)
    with commands.start("forward", receiver, *journal, variables=ENVIRONMENT) as child:
        assert child.line() == "Forwarding events to 127.0.0.1. Press Ctrl-C to stop."
        assert "listed" in child.line()
        assert [event.seq for event in deliveries(report)] == [1]
        child.send_signal(signal.SIGTERM)
        assert child.result() == Result(143, "", ENDED)
    (commands.folder / "secret").write_text(f"{SECRET}\n")
    arguments = ("--secret-file", str(commands.folder / "secret"), "--json", *journal)
    with commands.start("forward", receiver, *arguments) as child:
        commands.on_server(commands.simulator.deliver, 40300, "Your code: 1234")
        shown = json.loads(child.line())
        assert shown["sms"]["code"] == "1234"
        child.send_signal(signal.SIGINT)
        assert child.result() == Result(130, "", ENDED)
    assert deliveries(report)[1:] == [event_from_dict(shown)]


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    yield from running()


def test_a_fleet_keeps_the_position(commands: Commands, receiver: str, report: Path, redis_server: RedisServer) -> None:
    fleet = {"SMSPVA_FLEET": redis_server.url, **ENVIRONMENT}
    for text in ("one", "two"):
        with commands.start("forward", receiver, "--json", *QUICK, variables=fleet) as child:
            child.wait_until(lambda: "leader" in commands.run("fleet", **fleet).out)
            commands.on_server(commands.simulator.deliver, 40300, text)
            assert json.loads(child.line())["sms"]["text"] == text
            child.send_signal(signal.SIGINT)
            assert child.result().code == 130
    assert [event.seq for event in deliveries(report)] == [2, 3]


def test_https_verifies_the_receiver_s_certificate(commands: Commands, report: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(commands.folder / "ca.pem"))
    server = Server(report, tls=context)
    arguments = ("--json", "--give-up-after", "0.01", "--journal", str(commands.folder / "smspva.db"))
    with start_blocking_portal() as portal:
        url = f"https://localhost:{portal.call(server.listen)}/"
        with commands.start("forward", url, *arguments, variables=ENVIRONMENT) as child:
            refused = child.result()
        assert (refused.code, refused.out) == (4, "")
        assert "certificate verify failed" in refused.err
        trusting = {"SSL_CERT_FILE": str(commands.folder / "ca.pem"), **ENVIRONMENT}
        with commands.start("forward", url, *arguments, variables=trusting) as child:
            assert json.loads(child.line())["type"] == "OrderAdded"
        portal.call(server.aclose)
    assert [event.seq for event in deliveries(report)] == [1]


def test_a_receiver_that_is_down_is_reported_and_ends_with_exit_code_4(commands: Commands, report: Path) -> None:
    arguments = ("--give-up-after", "0.01", "--journal", str(commands.folder / "smspva.db"))
    with Port() as port:
        url = f"http://127.0.0.1:{port}/secret-path"
        with commands.start("forward", url, *arguments, variables=ENVIRONMENT) as child:
            assert child.line() == "Forwarding events to 127.0.0.1. Press Ctrl-C to stop."
            done = child.result()
    assert done.code == 4
    first, *_, last = done.err.splitlines()
    assert first == "smspva: event 1 was not delivered: ConnectError: All connection attempts failed"
    assert last.startswith(
        f"smspva: event 1 (OrderAdded) was not delivered to http://127.0.0.1:{port}: ConnectError: All connection "
        "attempts failed; attempts: 2; its position stays, so forwarding again begins with it; nothing was bought "
    )
    assert "secret-path" not in done.err
    assert not report.exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], ENVIRONMENT, "use either --journal or --fleet"),
        (["--journal", "j", "--fleet", "redis://localhost"], ENVIRONMENT, "use either --journal or --fleet"),
        (
            ["--journal", "j"],
            {},
            "there is no webhook's secret in the environment variable SMSPVA_WEBHOOK_SECRET; set it or use --secret",
        ),
        (["--journal", "j"], {"SMSPVA_WEBHOOK_SECRET": "sesame"}, "the webhook's secret must be whsec_ and 24 to 64"),
        (["--journal", "j", "--secret-file", "nowhere"], {}, "can't read the webhook's secret from nowhere: No such"),
        (["--journal", "j", "--secret-file", "binary"], {}, "can't read the webhook's secret from binary: it isn't a"),
        (["--journal", "j", "--secret", SECRET], {}, "No such option"),
        (["--journal", "j", "--give-up-after", "0"], ENVIRONMENT, "expected a number of seconds above 0"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_is_sent(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    monkeypatch.setattr(SmspvaClient, "__aenter__", None)  # no client is opened
    done = run("forward", "http://localhost/", *arguments, HOME=str(tmp_path), SMSPVA_API_KEY=KEY, **environment)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert "sesame" not in done.err
    assert SECRET not in done.err


def test_http_to_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SmspvaClient, "__aenter__", None)
    done = run(
        "forward", "http://receiver.example/sesame", "--journal", "j", HOME="/", SMSPVA_API_KEY=KEY, **ENVIRONMENT
    )
    assert (done.code, done.out) == (2, "")
    assert "(host receiver.example) must use https" in done.err
    assert "sesame" not in done.err
