"""The test kit, in test suites of its users: with pytest-asyncio in both modes, and with anyio's plugin."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smspva_async import pytest_plugin
from tests.docs.test_readme import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., pytest.RunResult]

pytest_plugins = ["pytester"]

SETTINGS = """
[pytest]
filterwarnings = error
addopts = --strict-config --strict-markers -p smspva_async.pytest_plugin
"""

FOR_ASYNCIO = "asyncio_default_fixture_loop_scope = function"

WORLD = """
import asyncio
import time

import anyio
import anyio.to_thread
import pytest

from smspva_async import ClientClosed, Watcher
from smspva_async.simulator import Simulator, VirtualTimeLoop

HOUR = 3600.0
virtual_time = pytest.mark.usefixtures("smspva_virtual_time")


async def an_hour_of_watching(sim, watcher):
    order = sim.add_order()
    async with watcher.activated(order.id) as number:
        began = anyio.current_time()
        await anyio.sleep(HOUR)
        sim.deliver(order.id, "Your code: 671 094")
        assert (await number.next_sms()).code == "671094"
        assert HOUR < anyio.current_time() - began < HOUR + 60
    assert sim.violations == []
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run a test suite of one module, and others by name, in a process of its own."""

    def run(code: str, *arguments: str, **modules: str) -> pytest.RunResult:
        alone = "no:asyncio" in arguments
        pytester.makefile(".ini", pytest=SETTINGS if alone else f"{SETTINGS}{FOR_ASYNCIO}")
        pytester.makepyfile(world=WORLD, test_suite=f"from world import *\n{code}", **modules)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=60)

    return run


ASYNCIO = """
{mark}
@virtual_time
class TestInVirtualTime:
    async def test_a_client(self, smspva_simulator, smspva_client):
        order = smspva_simulator.add_order()
        assert [listed.id for listed in await smspva_client.orders()] == [order.id]

    async def test_a_watcher(self, smspva_simulator, smspva_watcher):
        await an_hour_of_watching(smspva_simulator, smspva_watcher)

    async def test_everything_is_closed_after_a_test(self, request, smspva_client, smspva_watcher):
        others = asyncio.all_tasks() - {{asyncio.current_task()}}
        request.node.session.leftovers = [*others, smspva_client]
        assert others

    async def test_now_it_is(self, request):
        *tasks, client = request.node.session.leftovers
        assert all(task.done() for task in tasks)
        with pytest.raises(ClientClosed):
            await client.orders()


{mark}
async def test_real_time_where_virtual_time_was_not_asked_for(smspva_simulator, smspva_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    assert await smspva_client.orders() == []


@pytest.mark.asyncio(loop_scope="module")
async def test_the_wider_loop_of_a_test(smspva_watcher, smspva_virtual_time, smspva_simulator):
    await an_hour_of_watching(smspva_simulator, smspva_watcher)


{fixture}
async def order(smspva_virtual_time, smspva_simulator, smspva_watcher):
    events = smspva_watcher.events()
    smspva_simulator.add_order()
    yield (await anext(events)).order


{mark}
async def test_a_fixture_of_the_users(order, smspva_watcher):
    assert smspva_watcher.orders == {{order.id: order}}
"""
STRICT = "import pytest_asyncio\n" + ASYNCIO.format(mark="@pytest.mark.asyncio", fixture="@pytest_asyncio.fixture")
AUTO = ASYNCIO.format(mark="", fixture="@pytest.fixture")


@pytest.mark.parametrize("others", [[], ["-p", "no:anyio"]], ids=["anyio's plugin as well", "alone"])
@pytest.mark.parametrize(("mode", "code"), [("strict", STRICT), ("auto", AUTO)], ids=["strict", "auto"])
def test_with_pytest_asyncio(run: Run, mode: str, code: str, others: list[str]) -> None:
    run(code, f"--asyncio-mode={mode}", *others).assert_outcomes(passed=7)


ANYIO = """
@pytest.mark.anyio
@virtual_time
class TestInVirtualTime:
    async def test_a_client(self, smspva_simulator, smspva_client):
        order = smspva_simulator.add_order()
        assert [listed.id for listed in await smspva_client.orders()] == [order.id]

    async def test_a_watcher(self, smspva_simulator, smspva_watcher):
        await an_hour_of_watching(smspva_simulator, smspva_watcher)

    async def test_the_clock_stands_still_while_a_thread_works(self):
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, HOUR)
            tasks.start_soon(anyio.to_thread.run_sync, time.sleep, 0.01)
            await anyio.to_thread.run_sync(time.sleep, 0.03)
            assert anyio.current_time() - began < 1
        assert anyio.current_time() - began >= HOUR


@pytest.mark.anyio
async def test_real_time_where_virtual_time_was_not_asked_for(anyio_backend_name, smspva_client):
    if anyio_backend_name == "asyncio":
        assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    else:
        from trio.lowlevel import current_clock
        from trio.testing import MockClock

        assert not isinstance(current_clock(), MockClock)
    assert await smspva_client.orders() == []


@pytest.fixture
async def order(smspva_simulator, smspva_watcher):
    events = smspva_watcher.events()
    smspva_simulator.add_order()
    yield (await anext(events)).order


@pytest.mark.anyio
async def test_time_is_virtual_before_a_fixture_starts_the_loop(order, smspva_watcher, smspva_virtual_time):
    await anyio.sleep(HOUR)
    assert smspva_watcher.orders.keys() == {order.id}


@virtual_time
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": asyncio.new_event_loop})])
async def test_a_loop_that_a_test_has_chosen(smspva_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    assert await smspva_client.orders() == []
"""


@pytest.mark.parametrize("others", [[], ["-p", "no:asyncio"]], ids=["pytest-asyncio as well", "alone"])
def test_with_anyios_plugin(run: Run, others: list[str]) -> None:
    ran = run(ANYIO, "-v", *others)
    ran.assert_outcomes(passed=11)
    assert [sum(f"[{backend}]" in line for line in ran.outlines) for backend in ("asyncio", "trio")] == [5, 5]


def test_with_both_in_one_suite(run: Run) -> None:
    code = """
pytestmark = virtual_time

@pytest.mark.asyncio
async def test_one(smspva_simulator, smspva_watcher):
    await an_hour_of_watching(smspva_simulator, smspva_watcher)

@pytest.mark.anyio
async def test_other(smspva_simulator, smspva_watcher):
    await an_hour_of_watching(smspva_simulator, smspva_watcher)
"""
    run(code, "-p", "smspva_async.pytest_plugin").assert_outcomes(passed=3)


def test_a_whole_suite_in_virtual_time(run: Run) -> None:
    code = """
@pytest.fixture
def anyio_backend():
    return "trio"

@pytest.mark.anyio
async def test_on_trio():
    await anyio.sleep(HOUR)

@pytest.mark.asyncio
async def test_on_asyncio():
    await asyncio.sleep(HOUR)
"""
    run(code, "-o", "usefixtures=smspva_virtual_time").assert_outcomes(passed=2)


def test_a_fixture_of_the_same_name_overrides(run: Run) -> None:
    code = """
import pytest_asyncio

pytestmark = [pytest.mark.asyncio, virtual_time]

@pytest.fixture
def smspva_simulator():
    return Simulator(dialect="live")

@pytest_asyncio.fixture
async def smspva_client(smspva_client, smspva_simulator):
    smspva_simulator.add_order()
    assert await smspva_client.orders()
    yield smspva_client

async def test_both(smspva_simulator, smspva_watcher):
    assert smspva_simulator.dialect == "live"
    assert smspva_watcher.orders
"""
    run(code).assert_outcomes(passed=1)


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_an_empty_fixture_gives_some_tests_of_a_suite_real_time(run: Run, plugin: str) -> None:
    code = f"""
@pytest.fixture
def smspva_virtual_time():
    pass

@pytest.mark.{plugin}
async def test_real_time(smspva_client):
    began = time.monotonic()
    await anyio.sleep(0.02)
    assert time.monotonic() - began >= 0.02
    assert await smspva_client.orders() == []
"""
    virtual = f"""
import anyio, pytest

@pytest.fixture
def smspva_virtual_time(smspva_virtual_time):
    return "built on the one that it overrides"

@pytest.mark.{plugin}
async def test_virtual_time(smspva_client, smspva_virtual_time):
    await anyio.sleep(3600)
    assert smspva_virtual_time
"""
    ran = run(code, "-o", "usefixtures=smspva_virtual_time", "test_suite.py", "virtual.py", virtual=virtual)
    ran.assert_outcomes(passed=2 if plugin == "asyncio" else 4)


def test_a_wide_fixture_is_made_anew_for_another_loop(run: Run) -> None:
    code = """
import pytest_asyncio

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wide():
    return asyncio.get_running_loop()

pytestmark = pytest.mark.asyncio(loop_scope="module")

async def test_first(wide, smspva_client):
    assert wide is asyncio.get_running_loop()

async def test_then(wide, smspva_client, smspva_virtual_time):
    assert wide is asyncio.get_running_loop()
    assert isinstance(wide, VirtualTimeLoop)

async def test_at_last(wide, smspva_client):
    assert wide is asyncio.get_running_loop()
    assert not isinstance(wide, VirtualTimeLoop)
"""
    run(code).assert_outcomes(passed=3)


def test_a_pytest_asyncio_that_is_too_old_is_told_where_it_runs_the_test(run: Run) -> None:
    old = """
def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: as an old pytest-asyncio has it")
    config.pluginmanager.unblock("asyncio")
    config.pluginmanager.register(object(), "asyncio")
"""
    others = """
@pytest.mark.anyio
@virtual_time
async def test_other(smspva_client):
    await anyio.sleep(HOUR)
"""
    run(others, "-p", "no:asyncio", conftest=old).assert_outcomes(passed=2)
    ran = run(others.replace("anyio", "asyncio"), "-p", "no:asyncio", conftest=old)
    assert "ERROR: the fixtures of smspva_async need pytest-asyncio 1.4 or later" in ran.errlines


def test_a_fixture_that_asks_for_virtual_time_may_be_given_by_a_parameter_instead(run: Run) -> None:
    code = """
@pytest.fixture
def quick(smspva_virtual_time):
    return 0

def pytest_generate_tests(metafunc):
    metafunc.parametrize("quick", [1])

def test_one(quick):
    assert quick == 1
"""
    run(code).assert_outcomes(passed=1)


@pytest.mark.parametrize("name", ["smspva_client", "smspva_watcher"])
def test_without_an_event_loop_it_says_what_is_missing(run: Run, name: str) -> None:
    ran = run(f"def test_sync({name}): pass")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*needs an event loop: let the test be an `async def`, marked with*"])


def test_a_loop_that_was_started_before_is_no_virtual_one(run: Run) -> None:
    code = """
pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
async def wide():
    return 1

async def test_first(wide):
    pass

async def test_then(wide, smspva_virtual_time, smspva_client):
    pass
"""
    ran = run(code)
    ran.assert_outcomes(passed=2, errors=2)
    ran.stdout.fnmatch_lines(["*RuntimeError: a fixture of a wider scope has started the event loop before*"])


def test_the_example_of_the_readme(run: Run) -> None:
    run(BLOCKS["own test"], pipeline=BLOCKS["own code"]).assert_outcomes(passed=1)


def test_the_example_of_the_readme_with_anyios_plugin(run: Run) -> None:
    code = BLOCKS["own test"].replace("pytest.mark.asyncio", "pytest.mark.anyio")
    run(code, "-p", "no:asyncio", pipeline=BLOCKS["own code"]).assert_outcomes(passed=2)


def test_importing_the_plugin_imports_nothing_else() -> None:
    code = "import sys, pytest; had = {*sys.modules}; import smspva_async.pytest_plugin; print(*{*sys.modules} - had)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    assert {*loaded} == {"smspva_async", "smspva_async.pytest_plugin"}


def test_nothing_else_is_imported_before_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest=f"{SETTINGS}{FOR_ASYNCIO}")
    pytester.makepyfile("""
import sys

import pytest

def ours():
    return {name for name in sys.modules if name.startswith("smspva_async")}

@pytest.mark.asyncio
async def test_one():
    assert ours() == {"smspva_async", "smspva_async.pytest_plugin"}

def test_other(smspva_simulator):
    assert "smspva_async.simulator" in ours()
""")
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_pytest_finds_the_plugin_by_itself() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, module),) = project["entry-points"]["pytest11"].items()
    assert EntryPoint(name, module, "pytest11").load() is pytest_plugin
    # Under another name, asking for it with `-p` as well would register it twice, which pytest refuses.
    assert name == pytest_plugin.__name__


def test_the_fixtures_are_shown_with_what_they_are(run: Run) -> None:
    shown = run("", "--fixtures").stdout.str()
    assert re.findall(r"^(smspva_\w+) -- .*\n +\w", shown, re.MULTILINE) == [
        "smspva_simulator",
        "smspva_client",
        "smspva_watcher",
        "smspva_virtual_time",
    ]
