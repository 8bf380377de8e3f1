"""The guide for several processes, with a real Redis and several clients."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
from textwrap import indent
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from examples.web_service import service
from smspva_async import Pace, SmspvaClient, SmsReceived, Watcher, event_from_dict
from smspva_async.fleet import RedisFleet
from tests.support import PATIENCE
from tests.support.backends import on_a_real_loop
from tests.support.documents import ROOT, block
from tests.support.redis_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smspva_async.simulator import Simulator
    from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """Return the Redis of the environment's fleet. Clients and watchers don't wait long between requests."""
    assert SmspvaClient.__init__.__kwdefaults__ is not None
    assert Watcher.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(SmspvaClient.__init__.__kwdefaults__, "pace", Pace(gap=0.002))
    monkeypatch.setitem(Watcher.__init__.__kwdefaults__, "interval", 0.05)
    monkeypatch.setitem(Watcher.__init__.__kwdefaults__, "eager_interval", 0.02)
    _, _, options = block("fleet redis").code.strip().partition(" redis-server ")
    for server in running(*shlex.split(options)):
        monkeypatch.setenv("SMSPVA_FLEET", server.url)
        yield server
    assert simulator.violations == []


def names_of(name: str, code: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": name}
    exec(code, names)  # noqa: S102 - the program is from this repository
    return names


@on_a_real_loop
async def test_the_settings_of_redis_give_no_warning(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with SmspvaClient(fleet=RedisFleet(redis.url)):
        pass
    assert [it for it in caplog.records if it.levelno >= logging.WARNING] == []
    with_cli = [redis.cli("CONFIG", "GET", name).split() for name in ("appendonly", "appendfsync", "maxmemory-policy")]
    assert with_cli == [["appendonly", "yes"], ["appendfsync", "always"], ["maxmemory-policy", "noeviction"]]


@pytest.mark.usefixtures("redis")
@on_a_real_loop
async def test_every_process_prints_every_message(
    simulator: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = simulator.add_order(state=1)
    mains: list[Any] = []
    monkeypatch.setattr(asyncio, "run", mains.append)
    for _ in range(2):
        names_of("__main__", block("fleet program").compiled())
    printed = ""
    async with asyncio.TaskGroup() as tasks:
        programs = [tasks.create_task(main) for main in mains]
        with anyio.fail_after(PATIENCE):
            while printed.count(" polls") < 2:
                await asyncio.sleep(0.01)
                printed += capsys.readouterr().out
            simulator.deliver(order.id, "Your code: 1234")
            while printed.count("Your code") < 2:
                await asyncio.sleep(0.01)
                printed += capsys.readouterr().out
        for program in programs:
            program.cancel()
    lines = printed.splitlines()
    assert sorted(lines[:2]) == ["another process polls", "this process polls"]
    assert lines[2] == lines[3] == f"2 {order.phone} Your code: 1234"


@pytest.mark.usefixtures("redis")
@on_a_real_loop
async def test_any_worker_answers_any_request(simulator: Simulator) -> None:
    order = simulator.add_order(state=1)
    apps = [names_of("app", block("fleet web").compiled())["app"] for _ in range(2)]
    async with apps[0].router.lifespan_context(apps[0]) as one, apps[1].router.lifespan_context(apps[1]) as two:
        assert (one["watcher"].leads, two["watcher"].leads) == (True, False)

        async def ask(app: Any, state: dict[str, Any]) -> Any:
            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, "state": {**state}}, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
                return (await browser.get(f"/orders/{order.id}/code", timeout=PATIENCE)).json()

        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(ask(app, state)) for app, state in ((apps[0], one), (apps[1], two))]
            await asyncio.sleep(0.05)
            simulator.deliver(order.id, "Your code: 1234")
        assert [answer.result() for answer in answers] == [{"code": "1234"}] * 2


def test_the_command_starts_workers_of_the_app_with_the_environment() -> None:
    variable, command, app, *options = shlex.split(block("fleet web, started").code)[1:]
    assert variable == "SMSPVA_FLEET=redis://localhost"
    assert (command, app, options[:2]) == ("uvicorn", "app:app", ["--workers", "2"])


@on_a_real_loop
async def test_a_task_gets_its_code_and_never_leads(redis: RedisServer, simulator: Simulator) -> None:
    order = simulator.add_order(state=1)
    names = names_of("tasks", block("fleet task").compiled())
    async with SmspvaClient(fleet=RedisFleet(redis.url)) as client, Watcher(client) as watcher:
        waiting = asyncio.create_task(asyncio.to_thread(names["task"], order.id))
        with anyio.fail_after(PATIENCE):
            while redis.cli("HLEN", "smspva:{main}:demand").strip() == "0":  # noqa: ASYNC110 - Redis decides
                await asyncio.sleep(0.01)
        simulator.deliver(order.id, "Your code: 1234")
        assert await waiting == "1234"
        assert watcher.leads


@on_a_real_loop
async def test_another_program_can_read_the_stream(redis: RedisServer, simulator: Simulator) -> None:
    order = simulator.add_order(state=1)
    async with SmspvaClient(fleet=RedisFleet(redis.url)) as client, Watcher(client) as watcher:
        simulator.deliver(order.id, "Your code: 1234")
        event = await watcher.wait_for_sms(order.id, after=0, timeout=PATIENCE)
        command = shlex.split(block("fleet stream").code)[2:]
        assert command[-1] == "41-0"
        shown = redis.cli("--json", *command[:-1], f"{event.seq - 1}-0")
    ((_, ((entry, fields),)),) = json.loads(shown).items()
    assert entry == f"{event.seq}-0"
    sent = dict(zip(fields[::2], fields[1::2], strict=True))
    assert sent.keys() == {"event", "at"}
    assert event_from_dict(json.loads(sent["event"])) == event
    assert isinstance(event, SmsReceived)


@on_a_real_loop
async def test_the_example_joins_the_fleet_of_the_environment(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service.live(SmspvaClient(fleet=service.fleet())) as (_, watcher):
        assert watcher.leads
        assert redis.cli("HGET", "smspva:{main}:meta", "form").strip() == "1"
    monkeypatch.delenv("SMSPVA_FLEET")
    assert service.fleet() is None


@on_a_real_loop
async def test_the_line_of_the_readme_is_an_async_with(redis: RedisServer) -> None:
    code = block("fleet line").code.replace("redis://localhost", redis.url).replace("...", "return watcher.leads")
    names: dict[str, Any] = {"SmspvaClient": SmspvaClient, "RedisFleet": RedisFleet, "Watcher": Watcher}
    exec(f"async def main():\n{indent(code, '    ')}", names)  # noqa: S102 - the program is from this repository
    assert await names["main"]()


def test_the_guide_s_keys_and_figures_are_those_of_the_code() -> None:
    guide = (ROOT / "docs" / "guides" / "fleet.md").read_text(encoding="utf-8")
    fleet = RedisFleet("redis://localhost")
    assert re.findall(r"All keys begin with `(.+?)`", guide) == [fleet._link.prefix]
    assert fleet._link.lease == 10
    assert "after ten seconds" in guide
