"""Every public name has a docstring, and so has each of its parameters, methods and fields."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import smspva_async
import smspva_async.fleet
import smspva_async.simulator
from smspva_async import OutcomeUnknown, Period, SmspvaClient, SmspvaError
from smspva_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = [smspva_async, smspva_async.fleet, smspva_async.simulator]
PUBLIC = {f"{it.__name__}.{name}": getattr(it, name) for it in MODULES for name in it.__all__}
CLASSES = [pytest.param(value, id=name) for name, value in PUBLIC.items() if inspect.isclass(value)]
FUNCTIONS = [pytest.param(value, id=name) for name, value in PUBLIC.items() if inspect.isfunction(value)]
ALIASES = [name for name, value in PUBLIC.items() if not (inspect.isclass(value) or inspect.isfunction(value))]
CALLS = [name for name, value in vars(SmspvaClient).items() if not name.startswith("_") and inspect.isfunction(value)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_docstring(function: Any) -> None:
    assert function.__doc__


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_has_a_docstring(name: str) -> None:
    package, _, alias = name.rpartition(".")
    bodies = [tree(module).body for module in {*sys.modules} if module.startswith(package)]
    assert [names[alias] for names in map(assigned, bodies) if alias in names] == [True]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_and_its_methods_and_properties_have_docstrings(cls: type) -> None:
    assert cls.__doc__
    assert [name for name, function in members(cls) if not function.__doc__] == []


@pytest.mark.parametrize("cls", CLASSES)
def test_a_methods_docstring_has_its_parameters(cls: type) -> None:
    of_class = section("Args", cls)
    for name, function in members(cls):
        given = parameters(function)
        assert section("Args", function) - given == set(), f"{name} has no such parameter"
        if not is_foreign(cls, name):
            assert given - of_class - documented_parameters(function) == set(), name


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_docstring_has_all_parameters_of_the_constructor_or_none(cls: type) -> None:
    documented = section("Args", cls)
    assert not documented or documented == parameters(cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_each_field_is_documented(cls: type) -> None:
    documented = {name for base in own_bases(cls) for name in section("Attributes", base)}
    documented |= {name for base in own_bases(cls) for name, has_docstring in fields(base).items() if has_docstring}
    assert {name for base in own_bases(cls) for name in fields(base)} - documented == set()


ARGUMENTS: dict[str, Any] = {
    "country": "RU",
    "service": "opt6",
    "services": ["opt6", "opt7"],
    "period": Period.weeks(1),
    "order_id": 1,
    "days": 3,
    "phone": "+79096068511",
    "error": OutcomeUnknown("", method="delete", params={"id": "2"}, started_at=datetime.now(UTC)),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", CALLS)
async def test_a_calls_docstring_names_the_providers_methods_that_it_uses(name: str) -> None:
    sim = Simulator()
    sim.add_order(order_id=1, phone=ARGUMENTS["phone"])
    async with SmspvaClient("any key", transport=sim.transport()) as client:
        call = getattr(client, name)
        needed = {it.name for it in inspect.signature(call).parameters.values() if it.default is it.empty}
        with suppress(SmspvaError):
            running = call(**{parameter: ARGUMENTS[parameter] for parameter in needed})
            if inspect.isasyncgen(running):
                assert [order async for order in running] == []
            elif inspect.iscoroutine(running):
                await running
    assert {request.method for request in sim.requests} - set(re.findall(r"`(\w+)`", call.__doc__ or "")) == set()


# -- docstrings ------------------------------------------------------------------------------------------------------


def section(title: str, of: Any) -> set[str]:
    """Return the names that a docstring lists under a title."""
    found = re.search(rf"^{title}:\n((?: +.*\n?|\n)*)", inspect.cleandoc(of.__doc__ or ""), re.MULTILINE)
    return set(re.findall(r"^    \*{0,2}(\w+): ", found[1], re.MULTILINE)) if found else set()


def documented_parameters(function: Any) -> set[str]:
    """Return the parameters in a docstring, and in the docstring of a public method that it refers to with `see`."""
    others = re.findall(r"see `(\w+)\.(\w+)`", function.__doc__ or "")
    documented = [section("Args", getattr(PUBLIC[f"smspva_async.{cls}"], method)) for cls, method in others]
    return section("Args", function).union(*documented)


# -- classes ---------------------------------------------------------------------------------------------------------


def own_bases(cls: type) -> list[type]:
    """Return a class and its bases, without classes of other packages."""
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "smspva_async"]


def is_foreign(cls: type, name: str) -> bool:
    """Return True if a method overrides one of another package, which documents the parameters."""
    return any(hasattr(base, name) for base in cls.__mro__ if base not in own_bases(cls))


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the functions of a class's public methods and properties, without those of public bases."""
    bases = [base for base in own_bases(cls) if base is cls or base.__name__.startswith("_")]
    for name, member in ((name, member) for base in bases for name, member in vars(base).items()):
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def parameters(function: Any) -> set[str]:
    return {*inspect.signature(function).parameters} - {"self", "cls"}


# -- fields and aliases: Python keeps no docstrings for them, so they are read from the source -------------------------


@cache
def tree(module: str) -> ast.Module:
    # `inspect.getsource` fails for an empty file.
    return ast.parse(Path(sys.modules[module].__file__ or "").read_text(encoding="utf-8"))


def fields(cls: type) -> dict[str, bool]:
    """Return the public attributes that a class or its constructor assigns, and whether a docstring follows each."""
    (found,) = (it for it in ast.walk(tree(cls.__module__)) if isinstance(it, ast.ClassDef) and it.name == cls.__name__)
    names = assigned(found.body)
    for constructor in (it for it in found.body if isinstance(it, ast.FunctionDef) and it.name == "__init__"):
        names = assigned(constructor.body, "self.") | names
    return names


def assigned(body: list[ast.stmt], prefix: str = "") -> dict[str, bool]:
    """Return the public names that statements assign or annotate, and whether a docstring follows each."""
    names: dict[str, bool] = {}
    for statement, after in zip_longest(body, body[1:]):
        for target in targets(statement):
            name = re.fullmatch(rf"{re.escape(prefix)}([^\W_]\w*)", ast.unparse(target))
            if name:
                names[name[1]] = is_docstring(after)
    return names


def is_docstring(statement: ast.stmt | None) -> bool:
    match statement:
        case ast.Expr(ast.Constant(str(text))):
            return text != ""
        case _:
            return False


def targets(statement: ast.stmt) -> list[ast.expr]:
    match statement:
        case ast.AnnAssign(target=target):
            return [target]
        case ast.Assign(targets=targets):
            return targets
        case _:
            return []
