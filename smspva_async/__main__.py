"""`python -m smspva_async` is `smspva`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what it takes."""
    try:
        from smspva_async import cli  # noqa: PLC0415 - may be missing what it needs
    except ModuleNotFoundError as missing:
        if missing.name not in {"click", "rich"}:
            raise
        sys.exit(f"smspva: {missing.name} is missing; pip install 'smspva-async[cli]' brings it")
    cli.main()


if __name__ == "__main__":
    main()
