"""`python -m smspva_async` is `smspva`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what it takes."""
    try:
        # Here, as it may be missing what it needs, and takes long enough for a Ctrl-C.
        from smspva_async import cli  # noqa: PLC0415

        cli.main()
    except KeyboardInterrupt:
        with suppress(AttributeError, OSError):  # standard error may be closed or full
            sys.stderr.write("\n")  # as after every Ctrl-C
        sys.exit(128 + signal.SIGINT)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in {"click", "platformdirs", "rich"}:
            raise
        with suppress(AttributeError, OSError):
            sys.stderr.write(f"smspva: {package} is missing; pip install 'smspva-async[cli]' brings it\n")
        sys.exit(1)
    finally:
        _discard_unwritten_output()


def _discard_unwritten_output() -> None:
    """Empty the buffers of streams that can't be written: if Python fails to flush them at exit, it exits with 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


if __name__ == "__main__":
    main()
