"""The package as a whole. Its layers are held by import-linter, see `pyproject.toml`."""

from __future__ import annotations

import subprocess
import sys

import smspva_async


def test_importing_the_package_does_not_import_the_simulator() -> None:
    code = "import sys; from smspva_async import Watcher; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)  # noqa: S603
    loaded = result.stdout.split()
    assert "smspva_async.watcher" in loaded
    assert "smspva_async.simulator" not in loaded


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert list(smspva_async.__all__) == sorted(
        smspva_async.__all__, key=lambda name: (not name.isupper(), name.islower(), name)
    )
    assert all(hasattr(smspva_async, name) for name in smspva_async.__all__)
