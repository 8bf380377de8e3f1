"""Parts of help texts."""

from __future__ import annotations


def examples(*commands: str) -> str:
    """Return the end of a help text: the examples. A line of more than 56 characters doesn't fit 60 columns."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
