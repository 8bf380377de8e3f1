"""The content of SQLite files and of their folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def sql(path: Path, statement: str) -> list[Any]:
    """Execute a statement and return the rows of its result."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def folder_content(path: Path) -> set[str]:
    """Return the names of all files in the folder of a file."""
    return {found.name for found in path.parent.iterdir()}
