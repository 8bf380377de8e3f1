"""The layers: imports run downward only, and httpx stays in the transport."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import smspva_async

PACKAGE = Path(smspva_async.__file__).parent

# From the bottom up: a unit may import units of the layers before its own, and nothing else of the package.
LAYERS = [
    ["errors", "_codes", "_concurrency", "_http.redaction"],
    ["models", "statistics"],
    ["_api.rows", "_serialization"],
    ["events", "_api.methods"],
    ["_api.decoding", "_api.validation"],
    ["_http.rate_limiter", "_http.retry", "_http.transport"],
    ["_sqlite"],
    ["_purchases.reconcile", "_purchases.store"],
    ["_purchases.tracker"],
    ["journal"],
    ["_http.executor"],
    ["_watch.clock", "_watch.diff", "_watch.reader", "_watch.source", "_watch.subscription", "_watch.waits"],
    ["client", "_watch.consumers", "_watch.scheduler", "_watch.store", "_watch.waiters"],
    ["_watch.activation", "_watch.poll_loop"],
    ["watcher"],
    [""],
    ["simulator"],
    ["pytest_plugin"],
    ["cli"],
    ["__main__"],
]
LAYER = {unit: number for number, units in enumerate(LAYERS) for unit in units}
SPLIT = {unit.partition(".")[0] for unit in LAYER if "." in unit}
"""Packages whose modules are units of their own; any other package is one unit."""
PACKAGES = {"smspva_async", *(f"smspva_async.{package}" for package in SPLIT)}
"""Packages from which modules are imported by name."""


def unit_of(names: list[str]) -> str:
    """Return the unit of a module, by its path within the package; `""` is the package's own `__init__`."""
    return ".".join(names[: 2 if names and names[0] in SPLIT else 1])


def units() -> dict[Path, str]:
    """Return each file of the package and its unit. The `__init__` of a split package imports nothing and has none."""
    found: dict[Path, str] = {}
    for path in PACKAGE.rglob("*.py"):
        names = [*path.relative_to(PACKAGE).with_suffix("").parts]
        if names[-1] == "__init__":
            names.pop()
        if ".".join(names) not in SPLIT:
            found[path] = unit_of(names)
    return found


@cache
def imports(path: Path) -> set[str]:
    """Return the modules that a file imports when it runs; what is imported for types alone builds no dependency."""
    found: set[str] = set()
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in PACKAGES:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import doesn't say where it leads"
            found.add(node.module or "")
    return found


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        nodes += [child, *runtime_nodes(child)]
    return nodes


def test_imports_run_downward_only() -> None:
    upward: list[str] = []
    for path, unit in units().items():
        for module in imports(path):
            package, *names = module.split(".")
            target = unit_of(names)
            if package != "smspva_async" or target == unit:
                continue
            # A public name belongs to the package's `__init__`.
            target = target if target in LAYER else ""
            if LAYER[target] >= LAYER[unit]:
                upward.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert upward == []


def users_of(*packages: str) -> set[str]:
    """Return the units that import one of these packages."""
    return {unit for path, unit in units().items() for module in imports(path) if module.split(".")[0] in packages}


def test_only_the_transport_and_the_simulator_import_httpx() -> None:
    assert users_of("httpx") == {"_http.transport", "simulator"}


def test_only_the_command_line_imports_what_it_alone_needs() -> None:
    # Not asked of the running interpreter: httpx itself imports both where they are installed.
    assert users_of("click", "rich", "platformdirs", "uvicorn") == {"cli"}


def test_the_simulator_shares_no_table_with_the_client() -> None:
    shared = {
        module
        for path, unit in units().items()
        for module in imports(path)
        if unit == "simulator" and module.startswith("smspva_async") and not module.startswith("smspva_async.simulator")
    }
    assert shared == set()


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
