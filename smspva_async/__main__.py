"""`python -m smspva_async` is `smspva`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what it takes."""
    try:
        # Here, as it may be missing what it needs, and takes long enough for a Ctrl-C.
        from smspva_async import cli  # noqa: PLC0415

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("\n")  # as after every Ctrl-C
        sys.exit(128 + signal.SIGINT)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in {"click", "platformdirs", "rich"}:
            raise
        sys.exit(f"smspva: {package} is missing; pip install 'smspva-async[cli]' brings it")


if __name__ == "__main__":
    main()
