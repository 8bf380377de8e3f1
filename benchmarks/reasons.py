"""Why a row isn't reached, by its name; shown beside its figure as long as it isn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REASONS"]

REASONS: Mapping[str, str] = {
    "a tick, 10,000 orders, every `lastonline` changed": (
        "each of the 10,000 rows is decoded into a model and compared, and decoding alone takes most of it; a server "
        "that changes every row at every poll was not seen"
    ),
    "opening a ledger of 10,000 purchases": "each purchase is decoded and its checksum checked",
    "`from smspva_async import SmspvaClient, Watcher`": (
        "beside `httpx` it needs attrs, cattrs and asyncio, and it defines some fifty attrs classes; to load parts "
        "of it at their first use would put the time off, not save it"
    ),
}
