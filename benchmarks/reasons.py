"""Reasons for goals that aren't reached, by the name of the row; shown only while the goal isn't reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REASONS"]

REASONS: Mapping[str, str] = {
    "a poll, 10,000 orders, every `lastonline` changed": (
        "each of the 10,000 rows is decoded into a model and compared, and decoding alone takes most of the time; no "
        "server is known that changes every row at every poll"
    ),
    "opening a ledger of 10,000 purchases": "each purchase is decoded and its checksum is verified",
    "import and first client: `from smspva_async import SmspvaClient; SmspvaClient('key')`": (
        "in addition to httpx it imports attrs, cattrs and asyncio, and defines some fifty attrs classes"
    ),
    "10,000 orders, longest hold of the event loop of a process that joins": (
        "Python's garbage collector looks at all objects once meanwhile; otherwise the longest hold is some 10 ms"
    ),
    "CPU time of a watch in one process, 100 orders, for a request": (
        "a request comes with some five commands to Redis, for the pace, the journal, its news and the lease, and each "
        "takes about a millisecond in coredis; at the default gap that is less than 1 % of a core"
    ),
}
