"""The exit codes of the command line."""

from __future__ import annotations

REFUSED, WRONG_USAGE, UNKNOWN, FAILED = 1, 2, 3, 4
MEANINGS = [
    ("0", "success, or the reader of a pipe closed it"),
    (
        f"{REFUSED}",
        "refused or sure to be refused, above --max-price or --max-total, a wait timed out, or doctor found drift",
    ),
    (f"{WRONG_USAGE}", "wrong usage, an unknown name or code, or a ledger or journal that can't be used"),
    (f"{UNKNOWN}", "the outcome of a purchase is unknown, or its result can't be printed"),
    (f"{FAILED}", "network or server failure"),
    ("130", 'interrupted with Ctrl-C, or answered "no"'),
    ("143", "terminated by SIGTERM"),
]
"""The codes and their meanings for help texts."""
