"""The pytest fixtures in test suites with pytest-asyncio in both modes, and with anyio's plugin."""

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
from tests.support import PATIENCE
from tests.support.documents import block

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., pytest.RunResult]

pytest_plugins = ["pytester"]

SETTINGS = """
[pytest]
filterwarnings = error
addopts = --strict-config --strict-markers
asyncio_default_fixture_loop_scope = function
"""

REAL_TIME = "import asyncio\ndef pytest_asyncio_loop_factories(): return {'real': asyncio.new_event_loop}"
LOW_LIMIT = "import smspva_async.pytest_plugin as plugin\nplugin._SLOW = 0.01\n"
HIGH_LIMIT = LOW_LIMIT.replace("0.01", "1e9")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test suite of one module and a `conftest.py`, in this process."""
    monkeypatch.setattr(pytest_plugin, "_SLOW", pytest_plugin._SLOW)  # the test suite can change it

    def run(code: str, *arguments: str, **modules: str) -> pytest.RunResult:
        pytester.makefile(".ini", pytest=SETTINGS)
        pytester.makepyfile(test_suite=code, **modules)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    return run


AN_HOUR = """
import anyio, pytest
from smspva_async import Watcher

{mark}
async def test_an_hour_of_watching(smspva_simulator, smspva_client):
    order = smspva_simulator.add_order()
    async with smspva_client as client, Watcher(client) as watcher:
        async with watcher.activated(order.id) as number:
            started = anyio.current_time()
            await anyio.sleep(3600)
            smspva_simulator.deliver(order.id, "Your code: 671 094")
            assert (await number.next_sms()).code == "671094"
            assert 3600 <= anyio.current_time() - started < 3660
    assert smspva_simulator.violations == []
"""


@pytest.mark.parametrize("options", [[], ["-p", "no:anyio"]], ids=["with anyio's plugin", "alone"])
@pytest.mark.parametrize(("mode", "mark"), [("strict", "@pytest.mark.asyncio"), ("auto", "")], ids=["strict", "auto"])
def test_the_fixtures_work_with_pytest_asyncio(run: Run, mode: str, mark: str, options: list[str]) -> None:
    conftest = block("own conftest").code
    run(AN_HOUR.format(mark=mark), f"--asyncio-mode={mode}", *options, conftest=conftest).assert_outcomes(passed=1)


def test_the_fixtures_work_with_anyios_plugin(run: Run) -> None:
    result = run(AN_HOUR.format(mark="@pytest.mark.anyio"), "-v", conftest=block("own anyio conftest").code)
    result.assert_outcomes(passed=2)
    assert [sum(f"[{backend}]" in line for line in result.outlines) for backend in ("asyncio", "trio")] == [1, 1]


def test_the_fixtures_work_in_a_test_that_starts_its_own_event_loop(run: Run) -> None:
    code = """
import asyncio

def test_a_client(smspva_simulator, smspva_client):
    order = smspva_simulator.add_order()

    async def main():
        async with smspva_client as client:
            return await client.orders()

    assert [listed.id for listed in asyncio.run(main())] == [order.id]
"""
    run(code).assert_outcomes(passed=1)


def test_the_fixtures_work_with_both_plugins_in_one_suite(run: Run) -> None:
    modules = {"conftest": block("own conftest").code + block("own anyio conftest").code}
    other = AN_HOUR.format(mark="@pytest.mark.anyio")
    result = run(AN_HOUR.format(mark="@pytest.mark.asyncio"), "test_suite.py", "other.py", other=other, **modules)
    result.assert_outcomes(passed=3)


def test_the_fixtures_work_when_another_plugin_or_unittest_runs_the_tests(run: Run) -> None:
    code = """
import asyncio, unittest
import pytest
from smspva_async import SmspvaClient

async def test_a_client(smspva_client):
    async with smspva_client as client:
        assert await client.orders() == []

class TestCase(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _client(self, smspva_client):
        self.client = smspva_client

    async def test_a_client(self):
        async with self.client as client:
            assert await client.orders() == []
"""
    conftest = """
import asyncio, inspect

def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
        return True
"""
    run(code, conftest=conftest).assert_outcomes(passed=2)


def test_a_fixture_with_the_same_name_overrides(run: Run) -> None:
    code = """
import pytest
from smspva_async.simulator import Simulator

@pytest.fixture
def smspva_simulator():
    return Simulator(dialect="live")

@pytest.mark.asyncio
async def test_a_client(smspva_simulator, smspva_client):
    async with smspva_client as client:
        assert await client.countries()
    assert [request.method for request in smspva_simulator.requests] == ["getcountries"]
    assert smspva_simulator.dialect == "live"
"""
    run(code).assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [[], ["-p", "no:anyio"]], ids=["both plugins", "pytest-asyncio"])
def test_every_unmarked_async_test_fails_with_an_explanation(run: Run, options: list[str]) -> None:
    code = """
import pytest
from smspva_async.simulator import Simulator

async def test_first(smspva_client): pass
async def test_second(smspva_simulator): pass
class TestThird:
    @pytest.fixture
    def smspva_simulator(self): return Simulator(dialect="live")

    async def test_third(self, smspva_client): pass
"""
    result = run(code, *options)
    result.assert_outcomes(failed=3)
    message = r"^(test_\w+) needs an event loop: mark it with `pytest.mark.asyncio` .* or `pytest.mark.anyio`"
    needs = re.findall(message, result.stdout.str(), re.MULTILINE)
    assert needs == ["test_first", "test_second", "test_third"]


SLEEPS = """
import asyncio, pytest
from smspva_async import Pace, SmspvaClient

@pytest.mark.asyncio
async def test_sleeps(smspva_simulator):
    async with SmspvaClient("key", transport=smspva_simulator.transport(), pace=Pace(gap=0)) as client:
        await client.orders()
        await asyncio.sleep(0.02)
        await client.orders()
"""


def test_a_slow_test_in_real_time_gets_a_hint_about_virtual_time(run: Run) -> None:
    result = run(SLEEPS, conftest=LOW_LIMIT + REAL_TIME)
    result.assert_outcomes(passed=1, warnings=1)  # although the suite turns warnings into errors
    output = " ".join(result.stdout.str().split())
    assert re.search(r"test_suite.py::test_sleeps took \d+ s of real time. To run it in virtual time, use", output)
    assert "pytest_asyncio_loop_factories in conftest.py (pytest-asyncio)" in output
    assert "anyio_backend (anyio)" in output


def test_an_interrupted_test_gets_the_hint_too(pytester: pytest.Pytester) -> None:
    pytester.makeini(SETTINGS.replace("filterwarnings", "# filterwarnings"))
    pytester.makeconftest(LOW_LIMIT + REAL_TIME)
    pytester.makepyfile(f"{SLEEPS}        raise KeyboardInterrupt\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=PATIENCE)
    assert re.search(r"test_sleeps took \d+ s of real time", result.stdout.str())


@pytest.mark.parametrize(
    ("conftest", "seconds"),
    [(f"{HIGH_LIMIT}{REAL_TIME}", "0.02"), (LOW_LIMIT + block("own conftest").code, "3600); time.sleep(0.02")],
    ids=["short", "virtual"],
)
def test_a_fast_test_and_one_in_virtual_time_get_no_hint(run: Run, conftest: str, seconds: str) -> None:
    run(f"import time\n{SLEEPS.replace('0.02', seconds)}", conftest=conftest).assert_outcomes(passed=1, warnings=0)


def test_a_test_with_one_request_gets_no_hint(run: Run) -> None:
    code = SLEEPS.replace("await client.orders()", "pass", 1)
    run(code, conftest=LOW_LIMIT + REAL_TIME).assert_outcomes(passed=1, warnings=0)


def test_the_guides_example_works(run: Run) -> None:
    modules = {"pipeline": block("own code").code, "conftest": block("own conftest").code}
    run(block("own test").code, **modules).assert_outcomes(passed=1)


def test_the_guides_example_works_with_anyios_plugin(run: Run) -> None:
    modules = {"pipeline": block("own code").code, "conftest": block("own anyio conftest").code}
    run(block("own test").code.replace("pytest.mark.asyncio", "pytest.mark.anyio"), **modules).assert_outcomes(passed=2)


def test_importing_the_plugin_imports_neither_the_simulator_nor_httpx() -> None:
    code = "import sys, pytest; had = {*sys.modules}; import smspva_async.pytest_plugin; print(*{*sys.modules} - had)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603
    loaded = {*done.stdout.split()}
    assert "smspva_async.pytest_plugin" in loaded
    assert {"smspva_async.simulator", "click", "httpx", "rich"} & loaded == set()


def test_the_plugin_has_an_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, module),) = project["entry-points"]["pytest11"].items()
    assert EntryPoint(name, module, "pytest11").load() is pytest_plugin
    # Under another name, `-p smspva_async.pytest_plugin` would register the plugin twice, which pytest refuses.
    assert name == pytest_plugin.__name__


def test_pytest_lists_the_fixtures_with_their_descriptions(run: Run) -> None:
    shown = run("", "--fixtures").stdout.str()
    assert re.findall(r"^(smspva_\w+) -- .*\n +\w", shown, re.MULTILINE) == ["smspva_simulator", "smspva_client"]
