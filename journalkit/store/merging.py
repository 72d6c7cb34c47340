"""The merge policy: which tables a fold takes in. Pure; `journalkit.store.folding` does it.

A snapshot is a base, which holds the whole state, and deltas on it, newest
first. A fold writes the memtables as one more delta and takes in the tables
below that are no larger than everything above them together. So each table
left is larger than all newer ones together: their number grows with the
logarithm of the state's size, and a byte that is written again comes into a
table of at least twice the size, which bounds how often that happens.

The base is merged by a ratio of its own, counted in bytes and in entries:
a tombstone is small, and hides an entry that may be large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SMALL_PART = 16
"""A table of less than this part of what makes a fold due isn't worth being kept apart."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What the policy knows of a table, or of the memtables on top."""

    size_bytes: int
    entry_count: int


def tables_to_merge(changes: Layer, tables: Sequence[Layer], *, fold_bytes_min: int, base_ratio: float) -> int:
    """Return how many tables, from the newest on, go into the fold's table; all of them: it is the new base.

    Args:
        changes: What is new.
        tables: The snapshot's tables, newest first, the base last; none for the first fold.
        fold_bytes_min: So many bytes of log make a fold due. A sixteenth of it is small.
        base_ratio: The base is merged once the deltas reach this many times its bytes, or its entries.

    Complexity:
        O(tables).
    """
    if not tables:
        return 0
    small_bytes = fold_bytes_min // SMALL_PART
    *deltas, base = tables
    above_bytes, above_entries, taken = changes.size_bytes, changes.entry_count, 0
    for place, delta in enumerate(deltas):
        if delta.size_bytes <= max(above_bytes, small_bytes):
            taken = place + 1
        above_bytes += delta.size_bytes
        above_entries += delta.entry_count
    is_base_due = above_bytes >= base_ratio * base.size_bytes or above_entries >= base_ratio * base.entry_count
    return len(tables) if is_base_due or base.size_bytes <= small_bytes else taken
