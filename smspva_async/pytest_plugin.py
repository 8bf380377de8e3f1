"""Fixtures for pytest, available wherever this package is installed.

- `smspva_simulator`: the provider in memory, a `smspva_async.simulator.Simulator`.
- `smspva_client`: a `SmspvaClient` of it, which the test enters: ``async with smspva_client as client``.

Both are plain fixtures, for pytest-asyncio (either mode), anyio's plugin, and tests that start an event loop of their
own. A fixture of the same name overrides one of them, for instance to return `Simulator(dialect="live")`.

Time is virtual where the test's event loop is. In `conftest.py`, for pytest-asyncio 1.4 or later::

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

# The simulator is imported by the fixtures: pytest imports this module in every run of every project that has it.
if TYPE_CHECKING:
    from collections.abc import Generator

    from smspva_async import SmspvaClient
    from smspva_async.simulator import Simulator

__all__ = ["smspva_client", "smspva_simulator"]

_LONG = 5.0
"""Seconds of real time after which a test is worth a hint."""
_REQUESTS = 2
"""Requests that tell whether the simulator's clock kept to real time."""


@pytest.fixture
def smspva_simulator() -> Simulator:
    """Return the provider in memory. The test adds orders to it, delivers messages and makes calls fail.

    It speaks the rental page's dialect and has the seed 1, so that every run draws the same.
    """
    from smspva_async.simulator import Simulator

    return Simulator(seed=1)


@pytest.fixture
def smspva_client(smspva_simulator: Simulator) -> SmspvaClient:
    """Return a client of `smspva_simulator`, which the test enters: ``async with smspva_client as client``.

    It keeps the pace of 1.5 seconds, as in production. In virtual time that costs nothing.
    """
    from smspva_async import SmspvaClient

    return SmspvaClient("any key", transport=smspva_simulator.transport())


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Say what an async test needs that no plugin has run so far."""
    if "smspva_simulator" in pyfuncitem.fixturenames and inspect.iscoroutinefunction(pyfuncitem.obj):
        pytest.fail(
            f"{pyfuncitem.name} needs an event loop: mark it with `pytest.mark.asyncio` (pytest-asyncio)"
            " or `pytest.mark.anyio` (anyio)",
            pytrace=False,
        )


@pytest.hookimpl(specname="pytest_pyfunc_call", wrapper=True)
def pytest_hint_at_virtual_time(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Warn of a test that took long in real time."""
    simulator: Simulator | None = pyfuncitem.funcargs.get("smspva_simulator")  # type: ignore[assignment]
    began = monotonic()
    try:
        return (yield)
    finally:
        took = monotonic() - began
        if simulator is not None and took > _LONG and _is_in_real_time(simulator, took):
            with warnings.catch_warnings():
                warnings.simplefilter("always")  # a hint, also where warnings are errors
                pyfuncitem.warn(
                    pytest.PytestWarning(
                        f"{pyfuncitem.nodeid} took {took:.0f} s of real time. To make its time virtual, let its event"
                        " loop be a smspva_async.simulator.VirtualTimeLoop: return {'virtual': VirtualTimeLoop} from"
                        " pytest_asyncio_loop_factories in conftest.py (pytest-asyncio), or ('asyncio',"
                        " {'loop_factory': VirtualTimeLoop}) from a fixture anyio_backend (anyio)"
                    )
                )


def _is_in_real_time(simulator: Simulator, seconds: float) -> bool:
    """Return whether no more time has passed for the simulator than on the real clock."""
    times = [request.time for request in simulator.requests]
    return len(times) >= _REQUESTS and times[-1] - times[0] <= seconds
