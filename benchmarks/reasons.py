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
}
