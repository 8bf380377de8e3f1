"""The public API as text. `python -m tests.support.public_api` writes it to `public_api.txt`."""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import smspva_async
import smspva_async.fleet
import smspva_async.otel
import smspva_async.simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

PINNED = Path(__file__).with_name("public_api.txt")
MODULES = [smspva_async, smspva_async.fleet, smspva_async.otel, smspva_async.simulator]
MADE_BY_THE_WATCHER = {"ActiveNumber", "Consumer", "Subscription", "WatchState"}
"""Classes that users don't create. Their constructors and fields are left out."""
PROTOCOLS = {"__init__", "__call__", "__aenter__", "__aexit__", "__aiter__", "__anext__"}
"""Special methods that are part of the public API."""


def describe() -> str:
    """Return all public names, one per line, each followed by its members."""
    return "\n".join(line for module in MODULES for line in _module(module))


def _module(module: Any) -> Iterator[str]:
    yield f"# {module.__name__}\n"
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            bases = ", ".join(_text(base) for base in _bases(value))
            yield f"class {name}({bases}):" if bases else f"class {name}:"
            yield from (f"    {line}" for line in _members(value))
        elif inspect.isfunction(value):
            yield _function(name, value)
        else:
            yield f"{name} = {value!r}"
        yield ""


def _bases(cls: type) -> list[Any]:
    return [base for base in getattr(cls, "__orig_bases__", cls.__bases__) if base is not object]


def _members(cls: type) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield from (f"{member.name} = {member.value!r}" for member in cls)
        return
    fields = attrs.fields(cls) if attrs.has(cls) and cls.__name__ not in MADE_BY_THE_WATCHER else ()
    yield from (_field(cls, field) for field in fields if not field.name.startswith("_"))
    found: dict[str, str] = {}
    # The members of a private base belong to the class. A public base is listed by itself.
    for base in cls.__mro__:
        if base is not cls and not (_is_ours(base) and base.__name__.startswith("_")):
            continue
        if not fields:
            found = {**_attributes(base), **found}
        for name, member in vars(base).items():
            if name in PROTOCOLS or not name.startswith("_"):
                found.setdefault(name, _member(name, member))
    if fields or getattr(cls, "_is_protocol", False) or cls.__name__ in MADE_BY_THE_WATCHER:
        found.pop("__init__", None)
    for field in fields:
        found.pop(field.name, None)
    yield from (line for _, line in sorted(found.items()) if line)


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "smspva_async"


def _field(cls: type, field: attrs.Attribute[Any]) -> str:
    # Not `field.type`: cattrs replaces its text by the type.
    annotations = [inspect.get_annotations(base) for base in cls.__mro__]
    annotation = next(found[field.name] for found in annotations if field.name in found)
    default = "" if field.default is attrs.NOTHING else f" = {_default(field.default)}"
    return f"{field.name}: {_text(annotation)}{default}{'  # by keyword' if field.kw_only else ''}"


def _attributes(cls: type) -> dict[str, str]:
    """Return the public attributes that a constructor sets, with their types."""
    constructor = vars(cls).get("__init__")
    if constructor is None:
        return {}
    given = {name: _text(given.annotation) for name, given in inspect.signature(constructor).parameters.items()}
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(constructor)))):
        match node:
            case ast.AnnAssign(ast.Attribute(ast.Name("self"), name), annotation):
                found[name] = f"{name}: {ast.unparse(annotation)}"
            case ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Name(parameter)) if parameter in given:
                found[name] = f"{name}: {given[parameter]}"
            case ast.Assign([ast.Attribute(ast.Name("self"), name)]):
                found[name] = f"{name}: {_text(vars(cls).get('__annotations__', {}).get(name, '?'))}"
            case _:
                pass
    return {name: line for name, line in found.items() if not name.startswith("_")}


def _member(name: str, member: Any) -> str:
    """Return a line for a member of a class, or "" if it isn't part of the public API."""
    match member:
        case property():
            returned = _text(inspect.signature(member.fget).return_annotation) if member.fget else "?"
            return f"{name}: {returned}  # {'may be set' if member.fset else 'read only'}"
        case classmethod() | staticmethod():
            return f"@{type(member).__name__} {_function(name, member.__func__)}"
        case _ if inspect.isfunction(member):
            return _function(name, member)
        case _:
            return ""


def _function(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parts: list[str] = []
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        annotation = "" if parameter.annotation is parameter.empty else f": {_text(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        parts.append(f"{star}{parameter.name}{annotation}{default}")
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        parts.insert(kinds.count(inspect.Parameter.POSITIONAL_ONLY), "/")
    returned = "" if signature.return_annotation is signature.empty else f" -> {_text(signature.return_annotation)}"
    kind = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{kind} {name}({', '.join(parts)}){returned}"


def _default(value: object) -> str:
    """Return the text of a default; `...` for a factory."""
    return "..." if type(value).__name__ == "Factory" or value is attrs.NOTHING else repr(value)


def _text(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if inspect.isclass(annotation) else repr(annotation).replace("~", "")


if __name__ == "__main__":
    PINNED.write_text(describe(), encoding="utf-8")
