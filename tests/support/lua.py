"""Changes of the fleet's scripts, for tests of what depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coredis.commands import Script

from smspva_async.fleet import _link

if TYPE_CHECKING:
    import pytest


def replace(monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str) -> None:
    """Replace a part of the text of a script."""
    script_of = _link.script_of
    text = str(script_of(script).script)
    assert old in text
    changed = Script[str](script=text.replace(old, new))
    monkeypatch.setattr(_link, "script_of", lambda name: changed if name == script else script_of(name))
