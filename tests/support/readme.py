"""The README: its text, and its Python blocks by name."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(
    zip(
        [
            *("quick start", "hundred", "events", "web", "journal", "simulator"),
            *("own code", "own conftest", "own test", "own anyio conftest", "ledger"),
        ],
        re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL),
        strict=True,
    )
)
