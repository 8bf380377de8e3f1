"""On which event loop an `anyio` test runs, where it isn't for both in virtual time."""

from __future__ import annotations

import pytest

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""On asyncio alone, in virtual time."""

on_a_real_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""Where sockets are waited for: on asyncio, in real time."""
