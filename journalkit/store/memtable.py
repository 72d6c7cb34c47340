"""Memtables: the newest entries, in memory, at the speed of a dict.

Writes don't sort. Once a memtable is frozen nothing changes it, and its keys
are sorted when something scans it for the first time. It is not locked: who
writes holds the lock of the layers it belongs to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from sortedcontainers import SortedList


class MemTable:
    """Entries up to `last_lsn`: encoded key to encoded value, None for a deletion.

    `payload_bytes` is about what the entries weigh. `folding` marks one that a
    fold is working on: it isn't merged with newer ones meanwhile.
    """

    __slots__ = ("_keys", "_sorting", "entries", "folding", "last_lsn", "payload_bytes")

    def __init__(self, entries: dict[bytes, bytes | None], last_lsn: int, payload_bytes: int) -> None:
        self.entries = entries
        self.last_lsn = last_lsn
        self.payload_bytes = payload_bytes
        self.folding = False
        self._keys: SortedList | None = None
        self._sorting = threading.Lock()

    def scan(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield entries with start <= key < stop in key order, or in reverse. Of a frozen memtable only.

        Complexity:
            The first scan sorts the keys, O(n log n); later ones are O(log n) and O(1) an entry.
        """
        entries = self.entries
        for key in self._sorted().irange(start, stop, inclusive=(True, False), reverse=reverse):
            yield key, entries[key]

    def _sorted(self) -> SortedList:
        with self._sorting:
            if self._keys is None:
                self._keys = SortedList(self.entries)
            return self._keys

    def merged_over(self, older: MemTable) -> MemTable:
        """Return one memtable that says what this one says, and below it what `older` does. O(both)."""
        return MemTable({**older.entries, **self.entries}, self.last_lsn, self.payload_bytes + older.payload_bytes)
