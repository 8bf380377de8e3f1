"""The command line, `smspva`. It needs the extra `cli`. Its help text lists the exit codes."""

from __future__ import annotations

from smspva_async.cli._main import main

__all__ = ["main"]
