"""The guide for forwarding: its command, its receiver and its program."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import MemoryJournal, Watcher, forward
from tests.support.commands import run
from tests.support.consumers import account_with
from tests.support.documents import ROOT, block
from tests.support.programs import run_program
from tests.support.webhooks import SECRET, Receiver, forwarded

if TYPE_CHECKING:
    from pathlib import Path

    from smspva_async.simulator import Simulator

URL = "https://example.com/webhook"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSPVA_WEBHOOK_SECRET", SECRET)


def test_the_command_has_a_secret_of_the_right_form(tmp_path: Path) -> None:
    export, command = [line.removeprefix("$ ") for line in block("forward command").code.splitlines()]
    shown = subprocess.run(["sh", "-c", f"{export}; echo $SMSPVA_WEBHOOK_SECRET"], capture_output=True, check=True)  # noqa: S603, S607
    name, *arguments = shlex.split(command)
    assert name == "smspva"
    unreachable = "http://127.0.0.1:1/api/rent.php"
    variables = {"SMSPVA_WEBHOOK_SECRET": shown.stdout.decode().strip(), "SMSPVA_API_KEY": "any", "HOME": str(tmp_path)}
    (tmp_path / "smspva.db").write_text("not a journal")  # so that the command ends after it has read its arguments
    done = run(*arguments, "--base-url", unreachable, **variables)
    assert done.code == 2
    assert "smspva.db" in done.err
    assert done.out == "Forwarding events to example.com. Press Ctrl-C to stop.\n"


@pytest.mark.anyio
async def test_the_receiver_verifies_signatures_and_drops_repetitions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "app"}
    exec(block("forward receiver").compiled(), names)  # noqa: S102 - the program is from this repository
    app = httpx.ASGITransport(names["app"])
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: app)
    async with Watcher(account_with(1), journal=MemoryJournal(), start="replay") as watcher:
        for name in ("one", "two"):
            assert await forwarded(watcher, 2, url=URL, name=name) == [(1, None), (2, None)]
        assert capsys.readouterr().out == "+79090000001 None 2\n"
        other = SECRET.replace("whsec_", "whsec_AAAA")
        reasons: list[str | None] = []
        with anyio.move_on_after(0.4):
            await forward(watcher, URL, secret=other, name="3", on_attempt=lambda _, reason: reasons.append(reason))
    assert reasons == ['HTTP 401: {"detail":"the signature is invalid"}']


def test_the_program_forwards_messages(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, provider = Receiver(), simulator.transport()
    receiver.answers = [503]

    class Network(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await (receiver if request.url == URL else provider).handle_async_request(request)

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: Network())
    order = simulator.add_order(state=1)

    async def meanwhile() -> None:
        simulator.deliver(order.id, "Your code: 1234")
        await anyio.sleep(120)

    run_program(block("forward program"), meanwhile())
    assert receiver.seqs == [1, 1, 2]
    assert '"code": "1234"' in receiver.deliveries[-1].body
    assert simulator.violations == []


def test_the_guide_s_figures_are_those_of_the_code() -> None:
    guide = (ROOT / "docs" / "guides" / "forwarding.md").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"doesn't answer within (\d+) seconds", guide)
    defaults = forward.__kwdefaults__
    assert defaults is not None
    assert (defaults["timeout"], defaults["give_up_after"]) == (int(seconds), 24 * 60 * 60)
