"""The connection to Redis: entering, outages, forks, event loops and the password."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
import trustme

from smspva_async.errors import JournalError
from smspva_async.fleet import _connection, _link
from smspva_async.fleet._connection import url_problem
from smspva_async.fleet._link import Link
from tests.support import PATIENCE
from tests.support.backends import on_a_real_loop
from tests.support.logs import fields
from tests.support.processes import until
from tests.support.redis_server import RedisServer, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

on_real_loops = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop}), ("trio", {})], ids=["asyncio", "trio"]
)
ACCOUNT = "0123456789abcdef"


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def link_to(server: RedisServer | str, *, lease: float = 10.0, account: str = ACCOUNT) -> Link:
    return Link(server if isinstance(server, str) else server.url, "main", lease, lambda: account)


@asynccontextmanager
async def opened(server: RedisServer | str, **settings: Any) -> AsyncIterator[Link]:
    link = link_to(server, **settings)
    try:
        yield link
    finally:
        await link.aclose()


async def ping(link: Link, within: float = PATIENCE) -> str:
    return str(await link.do(lambda redis: redis.echo("hello"), within=within))


def clients(server: RedisServer) -> int:
    """Return the number of connections to the server, without the one that asks."""
    return len(server.cli("CLIENT", "LIST").splitlines()) - 1


def logged(caplog: pytest.LogCaptureFixture, *, but: str = "appendfsync") -> list[tuple[str, str]]:
    return [(it.levelname, it.getMessage()) for it in caplog.records if but not in it.getMessage()]


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


# -- entering --------------------------------------------------------------------------------------------------------


async def problem_of(server: RedisServer | str, **settings: Any) -> str:
    async with opened(server, **settings) as link:
        with pytest.raises(JournalError) as raised:
            await ping(link)
    text = str(raised.value)
    assert "\n" not in text
    assert text.startswith("the fleet 'main' at ")
    assert text.endswith("; nothing was changed")
    return text.partition("can't be used: ")[2].removesuffix("; nothing was changed")


@on_real_loops
async def test_a_process_joins_and_leaves(redis_server: RedisServer) -> None:
    async with opened(redis_server) as link:
        assert await ping(link) == "hello"
        assert redis_server.cli("ZRANGE", "smspva:{main}:members", "0", "-1").split() == [link.member]
        assert redis_server.cli("HGET", "smspva:{main}:meta", "account").strip() == ACCOUNT
    assert redis_server.cli("ZRANGE", "smspva:{main}:members", "0", "-1").split() == []
    assert clients(redis_server) == 0


@on_real_loops
async def test_heartbeats_keep_a_member_alive(redis_server: RedisServer) -> None:
    async with opened(redis_server, lease=0.03) as link:
        await ping(link)
        redis_server.cli("DEL", "smspva:{main}:members")
        await until(lambda: redis_server.cli("ZRANGE", "smspva:{main}:members", "0", "-1").split() == [link.member])


@on_real_loops
async def test_redis_that_can_not_be_reached_is_one_line(tmp_path: Path) -> None:
    assert "No such file" in await problem_of(f"unix://{tmp_path}/none")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    text = await problem_of(f"redis://user:secret-word@127.0.0.1:{port}")
    assert "secret-word" not in text
    assert text


@on_real_loops
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail.example.com ESMTP\r\n", b"\x00\xff", b""]
)
async def test_another_kind_of_server_is_one_line(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "REPLY_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert await problem_of(f"redis://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


@on_real_loops
async def test_a_wrong_password_is_one_line_without_the_password() -> None:
    for server in running("--requirepass", "right#word"):
        url = f"unix://:wrong-word@{server.socket}"
        text = await problem_of(url)
        assert "WRONGPASS" in text or "invalid username-password" in text
        assert "wrong-word" not in text
        assert await problem_of(server) == "it needs a password: redis://user:password@host"
        async with opened(f"unix://:right%23word@{server.socket}") as link:
            assert await ping(link) == "hello"


@on_real_loops
async def test_tls_is_verified(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = ["--tls-cert-file", f"{tmp_path}/cert.pem", "--tls-key-file", f"{tmp_path}/key.pem"]
    for _ in running(
        "--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", f"{tmp_path}/ca.pem", *files
    ):
        async with opened(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/ca.pem") as link:
            assert await ping(link) == "hello"
        assert "certificate" in await problem_of(f"rediss://localhost:{port}")
        assert "127.0.0.1" in await problem_of(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca.pem")


@on_real_loops
async def test_an_old_redis_is_refused(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_link, "_OLDEST_REDIS", 1000)
    assert "must be 1000 or newer" in await problem_of(redis_server)
    assert redis_server.cli("KEYS", "*").split() == []


@on_real_loops
async def test_a_redis_that_drops_keys_is_refused() -> None:
    for server in running("--maxmemory-policy", "allkeys-lru"):
        assert "set maxmemory-policy to noeviction, not allkeys-lru" in await problem_of(server)
        assert server.cli("KEYS", "*").split() == []


@on_real_loops
async def test_the_keys_of_another_account_or_a_newer_form_are_refused(redis_server: RedisServer) -> None:
    async with opened(redis_server) as link:
        await ping(link)
    before = redis_server.cli("HGETALL", "smspva:{main}:meta")
    text = await problem_of(redis_server, account="another account")
    assert "belongs to another account (01234567, yours is another )" in text
    assert "HDEL smspva:{main}:meta account" in text
    redis_server.cli("HSET", "smspva:{main}:meta", "form", "7")
    assert "newer version of smspva_async (form 7" in await problem_of(redis_server)
    redis_server.cli("HSET", "smspva:{main}:meta", "form", "1")
    assert redis_server.cli("HGETALL", "smspva:{main}:meta") == before
    assert redis_server.cli("KEYS", "*").split() == ["smspva:{main}:meta"]


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (["--appendfsync", "always"], ""),
        (["--appendfsync", "everysec"], "set appendfsync to always, not everysec"),
        (["--appendonly", "no"], "set appendonly to yes"),
        (["--appendfsync", "everysec", "--rename-command", "CONFIG", ""], ""),
    ],
)
@on_real_loops
async def test_settings_that_can_lose_data_are_warned_of_once(
    options: list[str], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for server in running(*options):
        link = link_to(server)
        for _ in range(2):
            await ping(link)
            await link.aclose()
    assert [(it.levelname, warning in it.getMessage()) for it in caplog.records] == (
        [("WARNING", True)] if warning else []
    )


# -- outages ---------------------------------------------------------------------------------------------------------


@on_real_loops
async def test_an_outage_is_one_warning_and_one_info(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    done: list[str] = []

    async def call() -> None:
        done.append(await ping(link))

    async with opened(redis_server) as link:
        await ping(link)
        redis_server.kill()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(call)
            await until(lambda: link.failure is not None)
            with pytest.raises(JournalError, match=r"can't be reached for 0\.1 s: "):
                await ping(link, within=0.1)
            assert done == []
            await anyio.to_thread.run_sync(redis_server.start)
        assert done == ["hello"] * 3
        assert link.failure is None
        assert [level for level, _ in logged(caplog)] == ["WARNING", "INFO"]
        assert "can't be reached; calls wait until it is back: " in logged(caplog)[0][1]
        assert logged(caplog)[1][1].endswith(" is back")
        assert [(it.name, fields(it)) for it in caplog.records if "appendfsync" not in it.msg] == [
            ("smspva_async.fleet", {"fleet": "main"})
        ] * 2


@on_real_loops
async def test_a_redis_that_hangs_is_an_outage(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(_connection, "REPLY_TIMEOUT", 0.5)
    async with opened(redis_server) as link:
        await ping(link)
        async with anyio.create_task_group() as tasks:
            with stopped(redis_server):
                tasks.start_soon(ping, link)
                await until(lambda: link.failure is not None)
        # On a slow machine there may be another outage.
        levels = [level for level, _ in logged(caplog)]
        assert levels == ["WARNING", "INFO"] * (len(levels) // 2)
        with stopped(redis_server):
            await link.aclose()  # doesn't wait for it
    with stopped(redis_server):
        assert await problem_of(redis_server)


@on_real_loops
async def test_a_connection_that_is_lost_in_use_does_not_count_for_ever(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_MAX_CONNECTIONS", 2)
    async with opened(redis_server) as link:
        for _ in range(4):
            with anyio.move_on_after(0.02):
                await link.do(lambda redis: redis.xread({"stream": "0-0"}, block=10_000))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.do, lambda redis: redis.xread({"stream": "0-0"}, block=20))
                await until(lambda: "cmd=xread" in redis_server.cli("CLIENT", "LIST"))
                redis_server.cli("CLIENT", "KILL", "TYPE", "normal")
            with anyio.fail_after(PATIENCE):
                assert await ping(link) == "hello"


@on_real_loops
async def test_a_living_process_is_not_taken_for_dead_after_an_outage(redis_server: RedisServer) -> None:
    async with opened(redis_server, lease=0.6) as link:
        await ping(link)
        redis_server.kill()
        await until(lambda: link.failure is not None)  # a heartbeat has failed
        redis_server.start()
        redis_server.cli("DEL", "smspva:{main}:members")
        await until(lambda: redis_server.cli("ZRANGE", "smspva:{main}:members", "0", "-1").split() == [link.member])


@on_real_loops
async def test_a_full_memory_is_an_outage(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(redis_server) as link:
        await ping(link)
        redis_server.cli("CONFIG", "SET", "maxmemory", "1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.do, lambda redis: redis.set("key", "value"))
            await until(lambda: link.failure is not None)
            redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    assert redis_server.cli("GET", "key").strip() == "value"
    assert "OOM" in logged(caplog)[0][1]


@on_real_loops
async def test_a_full_memory_is_an_outage_also_for_a_transaction(redis_server: RedisServer) -> None:
    async def read(redis: Any) -> tuple[Any, ...]:
        async with redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall("hash")
        return tuple(pipeline.results)

    async with opened(redis_server) as link:
        await ping(link)
        redis_server.cli("CONFIG", "SET", "maxmemory", "1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.do, read)
            await until(lambda: link.failure is not None)
            redis_server.cli("CONFIG", "SET", "maxmemory", "0")


@on_real_loops
async def test_a_mistake_is_no_outage(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(redis_server) as link:
        await link.do(lambda redis: redis.set("text", "value"))
        with pytest.raises(JournalError, match=r"^the fleet 'main' at .* failed: .*wrong kind of value"):
            await link.do(lambda redis: redis.lpop("text"))
    assert logged(caplog) == []


@on_real_loops
async def test_scripts_are_loaded_again_without_a_log(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with opened(redis_server) as link:
        for _ in range(2):
            assert await link.run("beat", link.member, link.lease) == 1
            redis_server.cli("SCRIPT", "FLUSH")
    assert logged(caplog) == []


# -- closing, event loops and processes ------------------------------------------------------------------------------


@on_real_loops
async def test_two_tasks_open_one_connection(redis_server: RedisServer) -> None:
    accounts: list[str] = []

    def account() -> str:
        accounts.append(ACCOUNT)
        return ACCOUNT

    link = Link(redis_server.url, "main", 10.0, account)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ping, link)
    assert len(accounts) == 1
    assert redis_server.cli("ZCARD", "smspva:{main}:members").strip() == "1"
    await link.aclose()
    assert clients(redis_server) == 0


@on_real_loops
async def test_a_use_after_closing_connects_for_the_moment(redis_server: RedisServer) -> None:
    link = link_to(redis_server)
    await ping(link)
    first = link.member
    await link.aclose()
    assert await ping(link) == "hello"
    assert clients(redis_server) == 0
    assert redis_server.cli("EXISTS", "smspva:{main}:members").strip() == "0"
    link.open()
    assert await ping(link) == "hello"
    assert clients(redis_server) == 1
    assert link.member != first
    await link.aclose()
    assert clients(redis_server) == 0


@on_real_loops
async def test_a_use_that_waits_while_the_link_is_closed_leaves_no_connection(redis_server: RedisServer) -> None:
    link = link_to(redis_server)
    await ping(link)
    redis_server.kill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ping, link)
        await until(lambda: link.failure is not None)
        redis_server.start()
        await link.aclose()
    assert clients(redis_server) == 0
    assert redis_server.cli("ZCARD", "smspva:{main}:members").strip() == "0"


@on_real_loops
async def test_a_call_that_is_cancelled_while_connecting_leaves_nothing(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    link = link_to(redis_server)
    threads = {*threading.enumerate()}
    with stopped(redis_server):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ping, link)
            await anyio.sleep(0.03)
            tasks.cancel_scope.cancel()
    await until(lambda: clients(redis_server) == 0)
    assert {it for it in threading.enumerate() if "smspva" in it.name} - threads == set()
    assert await ping(link) == "hello"
    await link.aclose()
    assert clients(redis_server) == 0
    assert logged(caplog) == []


@on_real_loops
async def test_cancelling_calls_that_need_another_connection_is_no_outage(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(redis_server) as link:
        await ping(link)
        with stopped(redis_server):
            for _ in range(4):  # the first one takes the connection that is open
                with anyio.move_on_after(0.02):
                    await link.do(lambda redis: redis.xread({"stream": "0-0"}, block=10_000))
        assert await ping(link) == "hello"
    assert logged(caplog) == []


@on_a_real_loop
async def test_a_task_of_asyncio_that_is_cancelled_while_connecting_leaves_nothing(redis_server: RedisServer) -> None:
    link = link_to(redis_server)
    tasks = asyncio.all_tasks()
    with stopped(redis_server):
        task = asyncio.create_task(ping(link))
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == tasks
    await until(lambda: clients(redis_server) == 0)


@on_a_real_loop
async def test_no_task_is_left_after_closing(redis_server: RedisServer) -> None:
    tasks = asyncio.all_tasks()
    link = link_to(redis_server)
    await ping(link)
    assert asyncio.all_tasks() != tasks
    await link.aclose()
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_another_event_loop_may_follow(backend: str, redis_server: RedisServer) -> None:
    link = link_to(redis_server)
    for _ in range(2):  # without closing
        assert anyio.run(ping, link, backend=backend) == "hello"
    for other in ("asyncio", "trio"):
        anyio.run(link.aclose, backend=other)
        assert anyio.run(ping, link, backend=other) == "hello"
    assert clients(redis_server) == 0


@on_a_real_loop
async def test_two_event_loops_at_once_are_refused(redis_server: RedisServer) -> None:
    async with opened(redis_server) as link:
        await ping(link)
        with pytest.raises(JournalError, match="is used by another event loop"):
            await anyio.to_thread.run_sync(lambda: trio.run(ping, link))


@on_a_real_loop
async def test_closing_from_another_event_loop_closes_the_connection(redis_server: RedisServer) -> None:
    link = link_to(redis_server)
    await ping(link)
    await anyio.to_thread.run_sync(lambda: trio.run(link.aclose))
    await until(lambda: clients(redis_server) == 0)


def test_a_fork_is_a_member_of_its_own(redis_server: RedisServer) -> None:
    # In a thread without an event loop, so that the child can run one.
    link = link_to(redis_server)
    reading, writing = os.pipe()

    async def parent() -> tuple[str, str]:
        await ping(link)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(ping(link))
                os.write(writing, link.member.encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it ends soon
        await ping(link)
        member = link.member
        await link.aclose()
        return member, os.read(reading, 100).decode()

    mine, its = asyncio.run(parent())
    os.close(reading)
    assert len(mine) == len(its) == 12
    assert mine != its
    assert redis_server.cli("ZRANGE", "smspva:{main}:members", "0", "-1").split() == [its]


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://host",
        "redis://",
        "redis://:secret-word@",
        "redis://:secret-word@host:port",
        "redis://:secret-word@host:99999",
        "redis://:secret-word@host/first",
        "redis://:secret-word@host?decode_responses=0",
        "unix://",
        "unix:///socket?db=x",
        "redis://[::1",
        b"redis://host",
        None,
    ],
)
def test_an_invalid_address_has_one_line_without_the_password(url: Any) -> None:
    text = url_problem(url)
    assert text
    assert "\n" not in text
    assert "secret-word" not in text


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://user:word@host:6380/3",
        "rediss://:word@[::1]:6380?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock",
        "unix://:word@/run/redis.sock?db=2",
    ],
)
def test_a_valid_address_has_no_problem(url: str) -> None:
    assert url_problem(url) == ""
    assert "word" not in Link(url, "main", 1.0, str).where
