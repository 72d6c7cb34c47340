"""Memtables: the newest entries, in memory, at the speed of a dict.

Writes don't sort. Once a memtable is frozen nothing changes it, and its keys
are sorted when something scans it for the first time. It is not locked: who
writes holds the lock of the layers it belongs to.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator

from journalkit.compiled import MemTableFields
from journalkit.format.columns import Columns
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches, ColumnsBatch, entries_of, sizes


class MemTable(MemTableFields):
    """Entries up to `last_lsn`: encoded key to encoded value, None for a deletion.

    `payload_bytes` is about what the entries weigh. `folding` marks one that a
    fold is working on: it isn't merged with newer ones meanwhile.
    """

    __slots__ = ("_keys", "_sorting", "folding")

    def __init__(self, entries: dict[bytes, bytes | None], last_lsn: int, payload_bytes: int) -> None:
        self.entries = entries
        self.last_lsn = last_lsn
        self.payload_bytes = payload_bytes
        self.folding = False
        self._keys: list[bytes] | None = None
        self._sorting = threading.Lock()

    def scan(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield entries with start <= key < stop in key order, or in reverse: `batches` in ones."""
        return entries_of(self.batches(start, stop, reverse=reverse), reverse=reverse)

    def batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        """Yield the entries with start <= key < stop in batches, from the end if in reverse. Of a frozen memtable only.

        Complexity:
            The first scan sorts the keys, O(n log n); later ones are O(log n) and O(1) an entry.
        """
        value_of, order = self.entries.__getitem__, self._sorted()
        low = 0 if start is None else bisect_left(order, start)
        high = len(order) if stop is None else bisect_left(order, stop)
        size_of = sizes(first_entries)
        while low < high:
            size = next(size_of)
            if reverse:
                keys = order[max(low, high - size) : high]
                high -= size
            else:
                keys = order[low : min(low + size, high)]
                low += size
            yield ColumnsBatch(Columns(keys, list(map(value_of, keys))))

    def _sorted(self) -> list[bytes]:
        with self._sorting:
            if self._keys is None:
                self._keys = sorted(self.entries)
            return self._keys

    def merged_over(self, older: MemTable) -> MemTable:
        """Return one memtable that says what this one says, and below it what `older` does. O(both)."""
        return MemTable({**older.entries, **self.entries}, self.last_lsn, self.payload_bytes + older.payload_bytes)
