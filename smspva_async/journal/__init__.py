"""The log of a watch: what its memory has to do, a memory in memory, and one in a file."""

from smspva_async.journal._memory import MemoryJournal
from smspva_async.journal._protocol import Journal
from smspva_async.journal._sqlite import SqliteJournal

__all__ = ["Journal", "MemoryJournal", "SqliteJournal"]
