"""The test kit: fixtures for pytest, there by themselves where this package is installed.

- `smspva_simulator`: the provider in memory, a `smspva_async.simulator.Simulator`.
- `smspva_client`: an open `SmspvaClient` of it.
- `smspva_watcher`: a `Watcher` of that client, already entered.
- `smspva_virtual_time`: the event loop's clock jumps instead of waiting, on asyncio and trio.

They work in async tests of pytest-asyncio (1.4 or later, in either mode) and of anyio's pytest plugin. A fixture of the
same name overrides one of them: `smspva_simulator` to return `Simulator(dialect="live")`, for instance, or
`smspva_virtual_time` to do nothing, so that some tests of a suite in virtual time keep real time.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

# Nothing else at the top: pytest imports this in every run of whoever has the package installed.
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from anyio.abc import TestRunner
    from trio.testing import MockClock

    from smspva_async import SmspvaClient, Watcher
    from smspva_async.simulator import Simulator, VirtualTimeLoop

__all__ = ["smspva_client", "smspva_simulator", "smspva_virtual_time", "smspva_watcher"]

_VIRTUAL_TIME = "smspva_virtual_time"
_LOOPS_HOOK = "pytest_asyncio_loop_factories"

Create = TypeVar("Create", bound="Callable[..., AbstractAsyncContextManager[Any]]")

_to_enter: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {}


def _entered(create: Create) -> Create:
    """Let what a fixture returns be entered on the event loop of its test, and left after it."""
    _to_enter[create.__name__] = create
    return create


@pytest.fixture
def smspva_simulator() -> Simulator:
    """Return the provider in memory: a test adds orders to it, delivers messages and lets calls fail.

    It has the rental page's dialect and the seed 1, so that each run draws the same.
    """
    from smspva_async.simulator import Simulator

    return Simulator(seed=1)


@pytest.fixture
@_entered
def smspva_client(smspva_simulator: Simulator) -> SmspvaClient:
    """Return an open client of `smspva_simulator`. It keeps the pace of 1.5 seconds, as in production.

    In virtual time that costs nothing.
    """
    from smspva_async import SmspvaClient

    return SmspvaClient("any key", transport=smspva_simulator.transport())


@pytest.fixture
@_entered
def smspva_watcher(smspva_client: SmspvaClient) -> Watcher:
    """Return a watcher of `smspva_client`, entered: it has made its first poll before the test begins.

    It polls every 30 seconds and keeps its events in memory.

    A watch that has ended with an error, such as `InvalidKey`, raises it once more when the fixture is left.
    """
    from smspva_async import Watcher

    return Watcher(smspva_client)


@pytest.fixture
def smspva_virtual_time(request: pytest.FixtureRequest) -> Generator[None]:
    """Let the clock of an async test's event loop jump to the next timer instead of waiting for it.

    An hour of watching takes a moment. The clock stands still while a thread works. Sockets and processes aren't waited
    for while a timer is due, so what talks to them needs real time.
    """
    with pytest.MonkeyPatch.context() as patch:
        if _is_run_by_anyio(request):
            _let_anyio_start_virtual_loops(patch)
        _hold_time_while_a_thread_works(patch)
        yield


# -- the event loop of a test ------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Enter what is to be entered: show the plugin that runs the test an async fixture in place of ours."""
    create = _to_enter.get(fixturedef.argname)
    if create is None or fixturedef.func is not create:
        return (yield)
    shall_be_virtual = _is_in_virtual_time(request.node) and not _has_chosen_its_loop(request)

    async def entered(**fixtures: object) -> AsyncGenerator[object]:
        if shall_be_virtual and not (_virtual_loop() or _mock_clock()):
            raise RuntimeError(f"a fixture of a wider scope has started the event loop before {_VIRTUAL_TIME}")
        async with create(**fixtures) as usable:
            yield usable

    asyncio_mark = _asyncio_mark(request.node)
    if asyncio_mark is not None:
        import pytest_asyncio

        named = asyncio_mark.kwargs
        scope = (
            named.get("loop_scope") or named.get("scope") or request.config.getini("asyncio_default_test_loop_scope")
        )
        # It marks the function as one for its hook, and for the loop that the test itself runs on.
        pytest_asyncio.fixture(entered, loop_scope=scope)
    elif not _is_run_by_anyio(request):
        pytest.fail(
            f"{fixturedef.argname} needs an event loop: let the test be an `async def`, marked with "
            "`pytest.mark.asyncio` (pytest-asyncio) or `pytest.mark.anyio` (anyio)",
            pytrace=False,
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", entered)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make time virtual before any fixture starts the event loop."""
    if _is_in_virtual_time(item):
        names: list[str] = getattr(item, "fixturenames", [])
        names.remove(_VIRTUAL_TIME)
        names.insert(0, _VIRTUAL_TIME)


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, object, object]:
    """Let pytest-asyncio make virtual loops, for the tests that ask for them alone."""
    plugins = metafunc.config.pluginmanager
    if not _is_in_virtual_time(metafunc.definition) or not hasattr(metafunc.config.hook, _LOOPS_HOOK):
        return (yield)
    # Not a hook of this module: as soon as there is one, pytest-asyncio asks it for the loops of every test.
    loops = _VirtualLoops()
    plugins.register(loops)
    try:
        return (yield)
    finally:
        plugins.unregister(loops)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have pytest-asyncio look at each test's loop first, so that no wide fixture stays behind on another's."""
    # That is what it does where the hook is there; it asks for no loops from now on.
    if any(_is_in_virtual_time(item) and _asyncio_mark(item) for item in session.items):
        session.config.pluginmanager.register(_VirtualLoops())


class _VirtualLoops:
    def pytest_asyncio_loop_factories(self) -> Mapping[str, Callable[[], AbstractEventLoop]]:
        from smspva_async.simulator import VirtualTimeLoop

        return {"virtual": VirtualTimeLoop}


def _is_in_virtual_time(item: pytest.Item) -> bool:
    """Tell whether a test asks for virtual time, and no fixture of its own overrides that."""
    if _VIRTUAL_TIME not in getattr(item, "fixturenames", ()):
        return False
    info = getattr(item, "_fixtureinfo", None)
    definitions: Sequence[pytest.FixtureDef[Any]] = info.name2fixturedefs.get(_VIRTUAL_TIME, ()) if info else ()
    for definition in reversed(definitions):
        if definition.func.__module__ == __name__:
            return True
        if _VIRTUAL_TIME not in definition.argnames:  # it does without the one that it overrides
            return False
    return False


def _asyncio_mark(item: pytest.Item) -> pytest.Mark | None:
    """Return the mark of a test that pytest-asyncio runs; in its auto mode it sets it itself."""
    if not item.config.pluginmanager.hasplugin("asyncio"):
        return None
    mark = item.get_closest_marker("asyncio")
    if mark is not None and not hasattr(item.config.hook, _LOOPS_HOOK):
        raise pytest.UsageError("the fixtures of smspva_async need pytest-asyncio 1.4 or later")
    return mark


def _is_run_by_anyio(request: pytest.FixtureRequest) -> bool:
    return "anyio_backend" in request.fixturenames


def _has_chosen_its_loop(request: pytest.FixtureRequest) -> bool:
    """Tell whether a test's `anyio_backend` names the loop or the clock by itself."""
    if not _is_run_by_anyio(request):
        return False
    backend: str | tuple[str, dict[str, Any]] = request.getfixturevalue("anyio_backend")
    return not isinstance(backend, str) and not backend[1].keys().isdisjoint({"loop_factory", "clock"})


# -- virtual time ------------------------------------------------------------------------------------------------------


def _let_anyio_start_virtual_loops(patch: pytest.MonkeyPatch) -> None:
    """Give the event loop of a test a clock that jumps, unless its `anyio_backend` names one itself."""
    from anyio import pytest_plugin as anyio_plugin

    start = anyio_plugin.get_runner

    def start_virtual(backend: str, options: dict[str, Any]) -> AbstractContextManager[TestRunner]:
        return start(backend, {**_virtual_options(backend), **options})

    patch.setattr(anyio_plugin, "get_runner", start_virtual)


def _virtual_options(backend: str) -> dict[str, Any]:
    if backend == "trio":
        from trio.testing import MockClock

        return {"clock": MockClock(autojump_threshold=0)}
    from smspva_async.simulator import VirtualTimeLoop

    return {"loop_factory": VirtualTimeLoop}


def _hold_time_while_a_thread_works(patch: pytest.MonkeyPatch) -> None:
    """Do for anyio's threads what `VirtualTimeLoop` does for asyncio's by itself."""
    from anyio import to_thread

    run_sync = to_thread.run_sync
    at_work = 0

    @contextmanager
    def held(clock: MockClock) -> Generator[None]:
        nonlocal at_work
        at_work += 1
        clock.autojump_threshold = math.inf
        try:
            yield
        finally:
            at_work -= 1
            clock.autojump_threshold = math.inf if at_work else 0

    async def run_held(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the function is called
        loop, clock = _virtual_loop(), _mock_clock()
        with loop.held() if loop else held(clock) if clock else nullcontext():
            return await run_sync(*arguments, **options)

    patch.setattr(to_thread, "run_sync", run_held)


def _virtual_loop() -> VirtualTimeLoop | None:
    """Return the running event loop of asyncio if its clock jumps."""
    import asyncio

    from smspva_async._background import on_asyncio
    from smspva_async.simulator import VirtualTimeLoop

    loop = asyncio.get_running_loop() if on_asyncio() else None
    return loop if isinstance(loop, VirtualTimeLoop) else None


def _mock_clock() -> MockClock | None:
    """Return the clock of trio's running event loop if it jumps."""
    from smspva_async._background import on_asyncio

    if on_asyncio():
        return None
    from trio.lowlevel import current_clock
    from trio.testing import MockClock

    clock = current_clock()
    return clock if isinstance(clock, MockClock) else None
