"""One client in several event loops: in succession, in several threads, and after a fork."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import httpx
import pytest
import trio

from smspva_async import ClientClosed, ClientInUse, Pace, Retry, SmspvaClient, SmspvaError, Watcher
from smspva_async.models import Period
from tests.support import PATIENCE
from tests.support.fake_server import KEY
from tests.support.loopback import ThreadedServer, threaded_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

pytestmark = [
    pytest.mark.usefixtures("plain_environment"),
    # The garbage collector closes the open connections of a loop that has ended, with warnings.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RUNS: dict[str, Callable[[Callable[[], Awaitable[Any]]], Any]] = {
    "asyncio": lambda main: asyncio.run(main()),  # type: ignore[arg-type]
    "trio": trio.run,
}


class Wrapper(httpx.AsyncBaseTransport):
    """Passes requests on to the network, like transports that cache or retry."""

    def __init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        await self._network.aclose()


@pytest.fixture
def server() -> Generator[ThreadedServer]:
    with threaded_server() as server:
        yield server
    gc.collect()  # here, because the warnings are ignored until the test ends


@pytest.fixture
def client(server: ThreadedServer) -> SmspvaClient:
    return client_of(server)


def client_of(server: ThreadedServer, **settings: Any) -> SmspvaClient:
    return SmspvaClient(KEY, base_url=server.url, pace=Pace(gap=0), retry=Retry(attempts=1), **settings)


async def rent(client: SmspvaClient) -> int:
    return (await client.rent("RU", "opt16", Period.weeks(1))).id


@pytest.mark.parametrize("second", RUNS)
@pytest.mark.parametrize("first", RUNS)
def test_a_client_works_in_one_event_loop_after_another(
    first: str, second: str, client: SmspvaClient, server: ThreadedServer
) -> None:
    async def main() -> None:
        assert await client.orders() == []
        assert await rent(client) == 40000 + len(server.methods)
        assert await client.orders() == []

    for name in (first, second, first):
        RUNS[name](main)
    RUNS[second](client.aclose)
    assert server.methods == ["orders", "create", "orders"] * 3
    assert client.unsettled == ()


@pytest.mark.parametrize("second", RUNS)
@pytest.mark.parametrize("first", RUNS)
def test_a_client_with_a_ledger_works_in_one_event_loop_after_another(
    first: str, second: str, server: ThreadedServer, tmp_path: Path
) -> None:
    client = client_of(server, ledger=tmp_path / "ledger")

    async def main() -> None:
        await rent(client)

    RUNS[first](main)
    RUNS[second](main)
    RUNS[first](client.aclose)
    assert server.methods == ["create", "create"]
    assert client.unsettled == ()


def test_a_client_can_be_entered_again_in_the_next_event_loop(client: SmspvaClient, server: ThreadedServer) -> None:
    async def main() -> None:
        async with client:
            await rent(client)

    for run in RUNS.values():
        run(main)
    assert server.methods == ["create", "create"]


@contextmanager
def used_elsewhere(backend: str, client: SmspvaClient) -> Generator[BlockingPortal]:
    """Use a client in an event loop of another thread."""
    with anyio.from_thread.start_blocking_portal(backend) as portal:
        portal.call(client.orders)
        yield portal


@pytest.mark.parametrize("here", RUNS)
@pytest.mark.parametrize("elsewhere", RUNS)
def test_a_second_event_loop_is_refused_while_the_first_has_not_ended(
    here: str, elsewhere: str, client: SmspvaClient, server: ThreadedServer
) -> None:
    async def refused() -> None:
        for call in (client.orders, lambda: rent(client), client.__aenter__):
            with pytest.raises(ClientInUse, match=r"another event loop.*nothing was sent.*aclose") as error:
                await call()
            assert len(str(error.value).splitlines()) == 1

    with used_elsewhere(elsewhere, client) as portal:
        RUNS[here](refused)
        portal.call(client.orders)  # still works in the first loop
    assert server.methods == ["orders", "orders"]
    RUNS[here](client.orders)
    RUNS[here](client.aclose)
    assert client.unsettled == ()


@pytest.mark.parametrize("here", RUNS)
@pytest.mark.parametrize("elsewhere", RUNS)
def test_a_client_can_be_closed_in_another_event_loop(
    here: str, elsewhere: str, client: SmspvaClient, server: ThreadedServer
) -> None:
    async def take_over() -> None:
        await client.aclose()
        async with client:
            await rent(client)

    with used_elsewhere(elsewhere, client):
        RUNS[here](take_over)
    assert server.methods == ["orders", "create"]


def test_closing_elsewhere_closes_the_connections_of_the_first_event_loop(client: SmspvaClient) -> None:
    async def sockets() -> int:
        loop: Any = asyncio.get_running_loop()
        return sum(not transport.is_closing() for transport in loop._transports.values())

    with used_elsewhere("asyncio", client) as portal:
        assert portal.call(sockets) == 1
        asyncio.run(client.aclose())
        portal.call(asyncio.sleep, 0.01)
        assert portal.call(sockets) == 0


@pytest.mark.parametrize("here", RUNS)
def test_waiting_calls_fail_after_another_event_loop_took_over(here: str, server: ThreadedServer) -> None:
    client = SmspvaClient(KEY, base_url=server.url, pace=Pace(gap=0.02), retry=Retry(attempts=1))

    async def take_over() -> None:
        await client.aclose()
        async with client:
            await rent(client)
            await rent(client)

    with used_elsewhere("asyncio", client) as portal:
        waiting = [portal.start_task_soon(client.orders) for _ in range(5)]
        RUNS[here](take_over)
        for call in waiting:
            failure = call.exception(PATIENCE)
            assert failure is None or isinstance(failure, SmspvaError)
    assert server.methods.count("create") == 2


@pytest.mark.parametrize("here", RUNS)
def test_an_entered_client_is_refused_until_its_event_loop_has_ended(
    here: str, client: SmspvaClient, server: ThreadedServer
) -> None:
    async def refused() -> None:
        with pytest.raises(ClientInUse):
            await client.__aenter__()

    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(client.__aenter__)
        RUNS[here](refused)
        portal.call(client.orders)

        async def refused_twice() -> None:
            with pytest.raises(RuntimeError, match="already open"):
                await client.__aenter__()

        portal.call(refused_twice)

    async def enter() -> None:
        async with client:  # works, although the first block was never left
            await rent(client)

    RUNS[here](enter)
    assert server.methods == ["orders", "create"]


@pytest.mark.parametrize("injected", [httpx.AsyncHTTPTransport, Wrapper])
def test_an_injected_transport_that_was_closed_elsewhere_is_refused(
    injected: Callable[[], httpx.AsyncBaseTransport], server: ThreadedServer
) -> None:
    client = client_of(server, transport=injected())

    async def take_over() -> None:
        await client.aclose()
        with pytest.raises(ClientInUse, match=r"injected.*nothing was sent"):
            await client.__aenter__()

    with used_elsewhere("asyncio", client):
        asyncio.run(take_over())
    assert server.methods == ["orders"]


def test_a_client_that_is_closed_while_certificates_are_read_sends_nothing(
    client: SmspvaClient, server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(
        "SSLKEYLOGFILE", str(tmp_path / "keys")
    )  # a new setting, so that no cached certificates are used
    may_load = threading.Event()
    load = httpx.create_ssl_context
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: may_load.wait(PATIENCE) and load())

    async def main() -> None:
        renting = asyncio.ensure_future(rent(client))
        await asyncio.sleep(0.02)
        await client.aclose()
        may_load.set()
        with pytest.raises(ClientClosed, match="nothing was sent"):
            await renting

    asyncio.run(main())
    assert server.methods == []
    assert client.unsettled == ()


def test_two_event_loops_cannot_begin_with_one_client_at_once(client: SmspvaClient, server: ThreadedServer) -> None:
    barrier, leave = threading.Barrier(2, timeout=PATIENCE), threading.Event()
    outcomes: list[str] = []

    async def main() -> None:
        barrier.wait()
        try:
            await rent(client)
            outcomes.append("rented")
        except ClientInUse:
            outcomes.append("refused")
            leave.set()
        await anyio.to_thread.run_sync(leave.wait, PATIENCE)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(outcomes) == ["refused", "rented"]
    assert server.methods == ["create"]


def test_a_watcher_of_a_client_in_use_elsewhere_cannot_be_entered(client: SmspvaClient) -> None:
    async def watch() -> None:
        with pytest.raises(ClientInUse):
            await Watcher(client).__aenter__()

    with used_elsewhere("asyncio", client):
        asyncio.run(watch())
    asyncio.run(client.aclose())


@pytest.mark.parametrize("second", RUNS)
@pytest.mark.parametrize("injected", [httpx.AsyncHTTPTransport, Wrapper])
def test_an_injected_transport_is_refused_in_a_second_event_loop(
    injected: Callable[[], httpx.AsyncBaseTransport], second: str, server: ThreadedServer
) -> None:
    client = client_of(server, transport=injected())

    async def refused() -> None:
        with pytest.raises(ClientInUse, match=r"injected.*nothing was sent.*new transport"):
            await rent(client)

    asyncio.run(client.orders())
    RUNS[second](refused)
    RUNS[second](client.aclose)
    assert server.methods == ["orders"]
    assert client.unsettled == ()


def test_an_injected_mock_works_in_one_event_loop_after_another(server: ThreadedServer) -> None:
    mock = httpx.MockTransport(lambda _: httpx.Response(200, json={"status": 1, "data": {"id": 7}}))
    client = client_of(server, transport=mock)

    async def main() -> None:
        assert await rent(client) == 7

    for run in RUNS.values():
        run(main)
    asyncio.run(client.aclose())


@pytest.mark.parametrize("with_ledger", [False, True])
def test_a_purchase_whose_event_loop_ended_before_the_answer_is_unsettled(
    server: ThreadedServer, tmp_path: Path, *, with_ledger: bool
) -> None:
    client = client_of(server, ledger=tmp_path / "ledger" if with_ledger else None)
    server.delay = 0.2

    async def leave_behind() -> asyncio.Task[int]:
        renting = asyncio.ensure_future(rent(client))
        while not server.methods:  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.01)
        return renting

    loop = asyncio.new_event_loop()
    renting = loop.run_until_complete(leave_behind())
    loop.close()
    (error,) = client.unsettled
    assert "its event loop ended before the answer" in str(error)
    client.settle(error)
    del renting
    gc.collect()
    asyncio.run(client.orders())
    assert client.unsettled == ()
    assert [purchase.outcome for purchase in client.purchases()] == ["settled"]
    asyncio.run(client.aclose())
    assert server.methods == ["create", "orders"]


FORK = """
import asyncio, os, sys, warnings
from smspva_async import Pace, SmspvaClient
from smspva_async.models import Period

warnings.simplefilter("ignore")
url, ledger, when = sys.argv[1:]
client = SmspvaClient("key", base_url=url, pace=Pace(gap=0), ledger=ledger)

async def rent():
    await client.rent("RU", "opt16", Period.weeks(1))

def child():
    try:
        asyncio.run(rent())
        asyncio.run(client.aclose())
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)

async def main():
    await rent()
    if when == "while the loop runs":
        fork()
    await rent()

def fork():
    process = os.fork()
    if not process:
        child()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status == 0, status

asyncio.run(main())
if when == "after it":
    fork()
asyncio.run(rent())
asyncio.run(client.aclose())
"""


@pytest.mark.parametrize("when", ["while the loop runs", "after it"])
def test_a_forked_child_can_use_the_ledger_of_its_parent(when: str, server: ThreadedServer, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", FORK, server.url, str(tmp_path / "ledger"), when],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert server.methods == ["create"] * 4


FORK_IN_FLIGHT = """
import asyncio, os, sys, warnings
from smspva_async import Pace, Retry, SmspvaClient

warnings.simplefilter("ignore")
client = SmspvaClient("key", base_url=sys.argv[1], pace=Pace(gap=0), retry=Retry(attempts=1), timeout=5)

async def main():
    await client.orders()
    read = asyncio.create_task(client.orders())
    await asyncio.sleep(0.05)  # until the request is sent
    process = os.fork()
    if not process:
        asyncio.run(client.aclose())
        os._exit(0)
    os.waitpid(process, 0)
    await read

asyncio.run(main())
"""


def test_a_forked_child_that_closes_the_client_leaves_the_parents_calls_alone(server: ThreadedServer) -> None:
    server.delay = 0.2
    command = [sys.executable, "-c", FORK_IN_FLIGHT, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")


def test_a_purchase_does_not_reuse_an_idle_connection(server: ThreadedServer) -> None:
    server.requests_per_connection = 1

    async def main() -> None:
        async with client_of(server) as client:
            await client.orders()
            await rent(client)
            await client.delete(5)
            assert client.unsettled == ()

    asyncio.run(main())
    assert server.methods == ["orders", "create", "delete"]
    assert len(set(server.connections)) == 3
