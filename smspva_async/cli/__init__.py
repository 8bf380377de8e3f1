"""The command line, `smspva`. It needs the extra `cli`.

Exit codes: 0 done; 1 refused by the provider, above `--max-price`, or a wait that timed out; 2 wrong usage, or a ledger
or journal that can't be used; 3 outcome unknown; 4 network; 130 after Ctrl-C or a "no"; 143 after SIGTERM. A closed
pipe ends a command with 0: its reader has read enough. A purchase that can't be written to standard output is printed
on standard error, and the exit code is 3 unless a closed pipe is the reason. A call that `unsettled` can't print stays
unsettled, and the exit code is 3 for any reason.
"""

from __future__ import annotations

from smspva_async.cli._main import main

__all__ = ["main"]
