"""Run `smspva` as `python -m smspva_async`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say which package is missing."""
    try:
        # Imported here, because packages may be missing, and because Ctrl-C may interrupt the import.
        from smspva_async.cli import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        with suppress(AttributeError, OSError):  # standard error may be closed or full
            sys.stderr.write("\n")  # end the line with ^C
        sys.exit(128 + signal.SIGINT)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in {"click", "platformdirs", "rich"}:
            raise
        with suppress(AttributeError, OSError):
            sys.stderr.write(f"smspva: {package} is not installed; run: pip install 'smspva-async[cli]'\n")
        sys.exit(1)
    finally:
        _discard_unwritten_output()


def _discard_unwritten_output() -> None:
    """Empty the buffers of streams that can't be written: if Python fails to flush them at exit, it exits with 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)


if __name__ == "__main__":
    main()
