"""Tables of the documentation, compared with the code that they describe."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

import smspva_async
from smspva_async import ClientClosed, Pace, Retry, SmspvaClient, SmspvaError, Watcher
from smspva_async.simulator import Behavior, Simulator
from tests.support.commands import run
from tests.support.documents import ROOT
from tests.support.logs import fields
from tests.support.telemetry import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.anyio


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its header."""
    _, found, rest = text.partition(heading)
    assert found, heading
    lines = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert lines is not None, heading
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in lines[0].splitlines()[2:]]


def names(cell: str) -> list[str]:
    """Return the texts in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def all_names(cells: Iterable[str]) -> list[str]:
    return [name for cell in cells for name in names(cell)]


# -- promises --------------------------------------------------------------------------------------------------------


def test_every_error_is_explained() -> None:
    rows = table(page("promises.md"), "## Errors")
    public = {
        name
        for name in smspva_async.__all__
        if isinstance(getattr(smspva_async, name), type) and issubclass(getattr(smspva_async, name), SmspvaError)
    }
    assert sorted(all_names(row[0] for row in rows)) == sorted(public - {"SmspvaError"})


@pytest.mark.parametrize(
    ("row", "of", "flags"),
    [
        ("the only order", "1 of 1 order", ["works", "is never up", "stays up"]),
        ("one of many orders", "1 of 100 orders", ["works", "is never up", "stays up"]),
        ("two orders", "2 of 100 orders", ["works", "is never up", "stays up"]),
        ("three orders", "3 of 100 orders", ["is never up", "stays up"]),
        ("ten orders, if the flag `hasnewsms` works", "10 of 1,000 orders", ["works"]),
        ("ten orders, if it doesn't", "10 of 1,000 orders", ["is never up", "stays up"]),
    ],
)
def test_delays_are_those_that_the_benchmarks_measure(row: str, of: str, flags: list[str]) -> None:
    promised = {cells[0]: cells[1:] for cells in table(page("promises.md"), "**Delays are known.**")}
    rows = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))["rows"]
    goals = {entry["name"]: (entry["goal"]["limit"], entry["reached"]) for entry in rows}
    for flag in flags:
        limits = [goals[f"{of} waited for, `hasnewsms` {flag}: {what}"] for what in ("median", "99 %")]
        assert [f"{limit:.1f} s".replace("15.0", "15").replace("29.0", "29") for limit, _ in limits] == promised[row]
        assert all(reached for _, reached in limits)


# -- reference -------------------------------------------------------------------------------------------------------


def test_the_defaults_of_behavior_are_listed() -> None:
    listed = [tuple(all_names(row)) for row in table(page("reference/simulator.md"), "The defaults:")]
    assert listed == [(field.name, repr(field.default).replace("'", '"')) for field in attrs.fields(Behavior)]


# -- command line ----------------------------------------------------------------------------------------------------


def test_every_command_is_listed() -> None:
    listed = [
        name.split()[0] for name in all_names(row[0] for row in table(page("guides/command-line.md"), "## Commands"))
    ]
    helped = re.findall(
        r"^  ([a-z-]+) ", run("--help").out.partition("Commands:\n")[2].partition("Example:")[0], re.MULTILINE
    )
    assert sorted(listed) == sorted(helped)


def test_every_exit_code_is_listed() -> None:
    listed = [row[0] for row in table(page("guides/command-line.md"), "Errors are one line on standard error.")]
    helped = run("--help").out.partition("Exit codes:\n")[2]
    assert set(listed) == {*re.findall(r"^  (\d+) ", helped, re.MULTILINE)}


# -- observability ---------------------------------------------------------------------------------------------------


async def test_warnings_begin_as_the_guide_says(caplog: pytest.LogCaptureFixture) -> None:
    simulator = Simulator()
    for _ in range(2):
        simulator.add_order()
    caplog.set_level(logging.INFO, "smspva_async")
    client = SmspvaClient("any key", transport=simulator.transport(), pace=Pace(gap=0))
    async with client:
        simulator.faults.next("orders", "nameless_row")
        await client.orders()
        simulator.faults.next("rent", "hang")
        with anyio.move_on_after(1):
            await client.rent("RU", "opt16")
    rows = {names(row[1])[0]: row for row in table(page("guides/observability.md"), "## What is logged")}
    for record in caplog.records:
        (template,) = [it for it in rows if re.match(re.escape(it).replace(r"\.\.\.", ".*"), record.getMessage())]
        level, _, _, logger, listed = rows[template]
        assert (level, names(logger), names(listed)) == (record.levelname, [record.name], list(fields(record)))
    assert len(caplog.records) == 2


def test_every_log_line_is_listed() -> None:
    package = Path(smspva_async.__file__).parent  # it may be installed
    nodes = [node for path in package.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    levels = {"debug", "info", "warning", "error", "exception", "critical"}
    logged = {
        ("ERROR" if node.func.attr == "exception" else node.func.attr.upper(), str(ast.literal_eval(node.args[0])))
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels
        if ast.unparse(node.func.value).endswith("log")
    }
    listed: set[tuple[str, str]] = set()
    for row in table(page("guides/observability.md"), "## What is logged"):
        text = names(row[1])[0]
        fitting = [it for _, it in logged if re.fullmatch(re.sub(r"%\S*?[sdf]", ".+", re.escape(it)), text)]
        listed.add((row[0], max(fitting, key=len)))  # the template "%s" fits every message
    assert listed == logged


async def test_every_metric_is_listed_with_its_attributes() -> None:
    recorded, simulator = Recorded(), Simulator()
    order = simulator.add_order()
    client = recorded.telemetry.observe(SmspvaClient("any key", transport=simulator.transport()))
    async with client, recorded.telemetry.observe(Watcher(client)) as watcher:
        simulator.faults.always("orders", "http_500")
        await anyio.sleep(60)
        with pytest.raises(SmspvaError):
            await watcher.wait_for_sms(order.id, timeout=1)
        reported = recorded.attributes()
    rows = table(page("guides/observability.md"), "### Metrics")
    assert {names(row[0])[0]: {it for it in names(row[2]) if "." in it} for row in rows} == reported


# -- architecture ----------------------------------------------------------------------------------------------------


def test_every_module_is_in_the_table_of_modules() -> None:
    package = Path(smspva_async.__file__).parent  # it may be installed
    listed = all_names(cell for row in table(page("architecture.md"), "## Modules") for cell in row[:2])
    listed = [name for name in listed if re.fullmatch(r"[\w/]+(\.py|/)", name)]
    folder = ""
    for name in listed:
        folder = name if name.endswith("/") else folder
        assert (package / name).exists() or (package / folder / name).exists(), name
    described = {(package / name) for name in listed}
    missing = [
        path
        for path in package.rglob("*.py")
        if not {path, *path.parents} & described and path.name not in ("__init__.py", "__main__.py")
    ]
    assert missing == []


def test_the_layers_are_those_of_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    listed = [sorted(names(row[1])) for row in table(page("architecture.md"), "## Layers")]
    assert listed == [sorted(set(layer.split(" : ")) - {"__main__"}) for layer in layers]


# -- the provider ----------------------------------------------------------------------------------------------------


async def test_every_method_of_the_client_is_listed_with_its_call() -> None:
    client = SmspvaClient("any key", transport=Simulator().transport(), pace=Pace(gap=0))
    await client.aclose()
    samples: dict[str, Any] = {
        "country": "RU",
        "service": "opt16",
        "services": ["opt16", "opt20"],
        "order_id": 1,
        "days": 3,
    }
    calls: dict[str, str] = {}
    for name, method in inspect.getmembers(client, inspect.iscoroutinefunction):
        if name.startswith("_") or name in ("aclose", "reconcile"):
            continue
        arguments = {it: samples[it] for it in inspect.signature(method).parameters if it in samples}
        with pytest.raises(ClientClosed) as closed:
            await method(**arguments, **({"phone": "+79096068511"} if name == "add_service" else {}))
        calls[name] = str(closed.value.method)
    listed: dict[str, list[str]] = {}
    for row in table(page("provider.md"), "## Calls"):
        for name in names(row[0]):
            listed[name] = [name] if row[1] == "the same" else [wire.rpartition("/")[2] for wire in names(row[1])]
    assert {name: wires[0] for name, wires in listed.items()} == calls


@pytest.mark.parametrize("row", table(page("provider.md"), "## Refusals"), ids=lambda row: names(row[1])[0])
async def test_each_refusal_raises_the_error_that_the_page_names(row: list[str]) -> None:
    simulator = Simulator()
    client = SmspvaClient(
        "any key", transport=simulator.transport(), pace=Pace(gap=0), retry=Retry(attempts=1, first=0.0)
    )
    error: type[SmspvaError] = getattr(smspva_async, names(row[1])[0])
    async with client:
        for message in [message for message in names(row[0]) if "HTTP" not in message] or ["Something else"]:
            for text in (message, message.lower(), f"{message}: for a reason"):
                simulator.faults.next("restore_quote", "refusal", msg=text)
                with pytest.raises(SmspvaError) as raised:
                    await client.restore_quote(1)
                assert type(raised.value) is error, text


def test_the_page_names_the_sdk_s_version_that_is_tested() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (requirement,) = pyproject["project"]["optional-dependencies"]["sdk"]
    (row,) = [row for row in table(page("provider.md"), "## Sources") if row[0] == "contract"]
    assert f"[`{requirement.partition('==')[0]}`]" in row[2]
    assert row[3].startswith(f"{requirement.partition('==')[2]},")


def test_every_unknown_has_a_setting_of_the_simulator() -> None:
    unknown = table(page("provider.md"), "## What isn't known")
    simulator = Simulator()
    listed: set[str] = set()
    for name in all_names(row[1] for row in unknown):
        owner, _, setting = name.removesuffix("()").rpartition(".")
        holder = getattr(simulator, owner) if owner else simulator
        assert hasattr(holder, setting), name
        if owner:
            settings = {name for name in dir(holder) if not name.startswith("_")}
            listed.add(setting)
    assert settings - listed == {"banned"}, "a refusal, which is no unknown"
