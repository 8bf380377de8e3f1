"""The command line, `smspva`. It needs the extra `cli`.

Exit codes:

- 0: success, or the reader of a pipe closed it.
- 1: refused by the provider, above `--max-price` or `--max-total`, or a wait timed out.
- 2: wrong usage, or a ledger or journal that can't be used.
- 3: the outcome of a purchase is unknown, or its result can't be printed. A purchase whose result can't be written to
  standard output is printed on standard error; the code is 3 unless the reader closed the pipe. If `unsettled` can't
  print its verdict on a call, the call stays unsettled; the code is 3 even if the reader closed the pipe.
- 4: the network or the server failed.
- 130: interrupted with Ctrl-C, or the answer to a question was no.
- 143: terminated by SIGTERM.
"""

from __future__ import annotations

from smspva_async.cli._main import main

__all__ = ["main"]
