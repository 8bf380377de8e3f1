"""The code blocks of the README and of the pages in `docs`. Standard library only: `noxfile.py` imports it too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["ROOT", "Block", "block", "blocks", "documents"]

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(
    r"(?:^ *<!-- name: (?P<name>.+?) -->\n)?"
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        file: The document, relative to the repository.
        line: The line number of the opening fence.
        language: The text after the opening fence.
        name: The name in the comment above the fence, `<!-- name: first program -->`, or "".
        code: The content, without indentation.

    """

    file: str
    line: int
    language: str
    name: str
    code: str

    def __str__(self) -> str:
        """Return the place of the block and its name."""
        return f"{self.file}:{self.line} {self.language} {self.name!r}"

    def compiled(self) -> CodeType:
        """Compile a Python block. Tracebacks show its lines in the document."""
        return compile("\n" * self.line + self.code, str(ROOT / self.file), "exec")


def documents() -> list[Path]:
    """Return the README and every page of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def blocks() -> list[Block]:
    """Return every fenced block of every document, in order."""
    return [block for path in documents() for block in _read(path)]


def block(name: str) -> Block:
    """Return the block with this name. A test that calls this with a literal name claims the block."""
    found = [block for block in blocks() if block.name == name]
    if len(found) != 1:
        raise LookupError(f"expected one block named {name!r}, found {len(found)}")
    return found[0]


def _read(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            file=path.relative_to(ROOT).as_posix(),
            line=text.count("\n", 0, found.start("fence")) + 1,
            language=found["language"].strip(),
            name=found["name"] or "",
            code=re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE),
        )
        for found in _FENCE.finditer(text)
    ]
