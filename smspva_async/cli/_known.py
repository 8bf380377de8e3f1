"""The services, countries and orders of a server's last answers, in a small file of the user's cache folder.

Shells complete words from it, because a request could be slow, and `history` takes names from it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["services", "countries", "orders", "past"]
"""The kinds of entries. The keys are codes or order ids, the values are names."""


def server_suffix(base_url: str) -> str:
    """Return the part of a file's name for a server on this machine, such as a simulator; "" for the provider."""
    address = urlsplit(base_url)
    return f"-{address.netloc.replace(':', '-')}" if address.scheme == "http" else ""


def remember(base_url: str, kind: Kind, entries: Mapping[str, str], *, replace: bool = False) -> None:
    """Store entries, in addition to the known ones or instead of them. A failure is ignored."""
    known = _read(base_url)
    before = known.get(kind, {})
    after = dict(entries) if replace else {**before, **entries}
    if after == before:
        return
    with suppress(OSError, RuntimeError):
        path = _path(base_url)
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        descriptor, name = mkstemp(dir=path.parent)  # mode 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({**known, kind: after}, file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def recall(base_url: str, kind: Kind) -> dict[str, str]:
    """Return the known entries."""
    return _read(base_url).get(kind, {})


def _read(base_url: str) -> dict[str, dict[str, str]]:
    with suppress(OSError, RuntimeError, ValueError, AttributeError):
        stored = json.loads(_path(base_url).read_text(encoding="utf-8"))
        return {kind: {str(key): str(name) for key, name in entries.items()} for kind, entries in stored.items()}
    return {}


def _path(base_url: str) -> Path:
    """Return the path of the file. Raises `RuntimeError` if there is no home folder."""
    folder = platformdirs.user_cache_path("smspva", appauthor=False)
    if not folder.is_absolute():
        raise RuntimeError("no home folder")
    return folder / f"known{server_suffix(base_url)}.json"
