"""Hot entries: single values that were read from tables a short while ago.

A block of a table holds a hundred entries, of which a program may want one.
Keeping that one makes the next read as quick as one from a memtable.

Two generations bound the cache without a list to reorder: what is read goes
into the young one; when that is full it becomes the old one, and what the old
one held and nobody read again is gone. A cache belongs to one set of tables:
new tables come with a new cache, so it is never stale.
"""

from __future__ import annotations

from typing import Final

from journalkit.types import Absent

ENTRY_OVERHEAD_BYTES: Final = 150
"""About what two bytes objects and a dict's slot take beside the bytes themselves."""


class HotEntries:
    """Encoded values by encoded key, ABSENT for a key that isn't there; about `budget_bytes` of them.

    Any thread may use it. A race may lose an entry, which is read again, and
    never gives one key another's value.
    """

    __slots__ = ("_generation_bytes", "_old", "_young_bytes", "young")

    def __init__(self, budget_bytes: int) -> None:
        self._generation_bytes = budget_bytes // 2
        self.young: dict[bytes, bytes | Absent] = {}
        self._old: dict[bytes, bytes | Absent] = {}
        self._young_bytes = 0

    def get_old(self, key: bytes) -> bytes | Absent | None:
        """Return what the old generation knows, and keep it: for a key that `young` doesn't hold. None: nothing."""
        value = self._old.get(key)
        if value is not None:
            self.keep(key, value)
        return value

    def keep(self, key: bytes, value: bytes | Absent) -> None:
        """Remember what was read. O(1). An entry larger than a generation isn't kept."""
        weight = ENTRY_OVERHEAD_BYTES + len(key) + (len(value) if isinstance(value, bytes) else 0)
        if weight > self._generation_bytes:
            return
        if self._young_bytes + weight > self._generation_bytes:
            self._old, self.young, self._young_bytes = self.young, {}, 0
        self.young[key] = value
        self._young_bytes += weight
