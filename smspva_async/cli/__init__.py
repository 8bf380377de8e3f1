"""The command line, `smspva`. It needs the extra `cli`.

Exit codes: 0 done, 1 refused by the provider or not come in time, 2 wrong usage or a ledger or journal that can't be
used, 3 outcome unknown, 4 network; 130 after Ctrl-C or a "no", 143 after SIGTERM. A closed pipe ends a command with 0:
whoever read it has read enough. What was paid and can't be written to standard output is told on standard error, and
ends with 3 unless a closed pipe is why. What `unsettled` can't print stays unsettled, and is 3 whatever the reason.
"""

from __future__ import annotations

from smspva_async.cli._main import main

__all__ = ["main"]
