"""Single keys of a table on the compiled path, where there is one; and what a table notes of its reads.

`journalkit/native/finder.c` does what `Table.get` does, as long as that takes
the cache and at most one read; else it says UNSET, and `Table.get` does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from journalkit.compiled import speed
from journalkit.format.checksum import SEED_MASK
from journalkit.format.table import TableInfo
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.source import TableSource
from journalkit.types import ABSENT, UNSET, Absent, Unset


class Finder(Protocol):
    """Finds keys, or leaves them to others. For so many `filtered_reads` the filter is asked before a block is read."""

    filtered_reads: int

    def find(self, key: bytes, /) -> bytes | Absent | Unset | None:
        """Return what the table says of a key, UNSET if that takes more than this."""


class PlainFinder:
    """Leaves every key to others."""

    __slots__ = ("filtered_reads",)

    def __init__(self, *_parts: object) -> None:
        self.filtered_reads = 0

    def find(self, _key: bytes, /) -> Unset:
        """Return UNSET."""
        return UNSET


_MAKE: Final[Callable[..., Finder]] = PlainFinder if speed is None else speed.Finder


def finder_of(source: TableSource, info: TableInfo, cache: BlockCache, table_id: int) -> Finder:
    """Return what finds keys in a table that was opened."""
    given = source.root, cache.slots, table_id, cache, source, ABSENT, UNSET, info.salt & SEED_MASK
    finder: Finder = _MAKE(*given, not source.is_compressed, source.is_filtered)
    return finder
