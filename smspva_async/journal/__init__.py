"""The log of a watch: what its memory has to do, and a memory in memory."""

from smspva_async.journal._memory import MemoryJournal
from smspva_async.journal._protocol import Journal

__all__ = ["Journal", "MemoryJournal"]
