"""Pytest fixtures, available wherever this package is installed.

- `smspva_simulator`: the provider in memory, a `smspva_async.simulator.Simulator`.
- `smspva_client`: a `SmspvaClient` for it, which the test enters: ``async with smspva_client as client``.

Both are synchronous fixtures. They work with pytest-asyncio (both modes), with anyio's plugin, and in tests that start
their own event loop. Define a fixture with the same name to override one, for example to return
`Simulator(dialect="live")`.

For virtual time, run the tests on a virtual-time event loop. In `conftest.py`, for pytest-asyncio 1.4 or later::

    def pytest_asyncio_loop_factories():
        return {"virtual": VirtualTimeLoop}  # from smspva_async.simulator

and for anyio's plugin::

    @pytest.fixture
    def anyio_backend():
        return "asyncio", {"loop_factory": VirtualTimeLoop}
"""

from __future__ import annotations

import inspect
import warnings
from time import monotonic
from typing import TYPE_CHECKING

import pytest

# Only the fixtures import the simulator: pytest imports this module in every run, even in projects that don't use it.
if TYPE_CHECKING:
    from collections.abc import Generator

    from smspva_async import SmspvaClient
    from smspva_async.simulator import Simulator

__all__ = ["smspva_client", "smspva_simulator"]

_SLOW = 5.0
"""Seconds of real time after which a test gets a hint about virtual time."""
_MIN_REQUESTS = 2
"""The number of requests needed to compare the simulator's clock with real time."""


@pytest.fixture
def smspva_simulator() -> Simulator:
    """Return the provider in memory. The test adds orders to it, delivers messages and scripts faults.

    It has the dialect `page` and a fixed seed, so all runs are the same.
    """
    from smspva_async.simulator import Simulator

    return Simulator(seed=1)


@pytest.fixture
def smspva_client(smspva_simulator: Simulator) -> SmspvaClient:
    """Return a client for `smspva_simulator`, which the test enters: ``async with smspva_client as client``.

    It has the default pace of 1.5 seconds between requests, which takes no real time in virtual time.
    """
    from smspva_async import SmspvaClient

    return SmspvaClient("any key", transport=smspva_simulator.transport())


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Fail an async test that no plugin runs, and explain what it needs."""
    if "smspva_simulator" in pyfuncitem.fixturenames and inspect.iscoroutinefunction(pyfuncitem.obj):
        pytest.fail(
            f"{pyfuncitem.name} needs an event loop: mark it with `pytest.mark.asyncio` (pytest-asyncio)"
            " or `pytest.mark.anyio` (anyio)",
            pytrace=False,
        )


@pytest.hookimpl(specname="pytest_pyfunc_call", wrapper=True)
def pytest_hint_at_virtual_time(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Warn about a test that is slow because it runs in real time."""
    simulator: Simulator | None = pyfuncitem.funcargs.get("smspva_simulator")  # type: ignore[assignment]
    started = monotonic()
    try:
        return (yield)
    finally:
        duration = monotonic() - started
        if simulator is not None and duration > _SLOW and _is_in_real_time(simulator, duration):
            with warnings.catch_warnings():
                warnings.simplefilter("always")  # only a hint, even if warnings are errors
                pyfuncitem.warn(
                    pytest.PytestWarning(
                        f"{pyfuncitem.nodeid} took {duration:.0f} s of real time. To run it in virtual time, use"
                        " smspva_async.simulator.VirtualTimeLoop as its event loop: return {'virtual': VirtualTimeLoop}"
                        " from pytest_asyncio_loop_factories in conftest.py (pytest-asyncio), or ('asyncio',"
                        " {'loop_factory': VirtualTimeLoop}) from a fixture anyio_backend (anyio)"
                    )
                )


def _is_in_real_time(simulator: Simulator, seconds: float) -> bool:
    """Return whether the simulator's clock is not ahead of the real clock."""
    times = [request.time for request in simulator.requests]
    return len(times) >= _MIN_REQUESTS and times[-1] - times[0] <= seconds
