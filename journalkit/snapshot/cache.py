"""The block cache: blocks of many tables under one budget of memory.

Eviction is second chance (CLOCK): a block goes when it comes round unread
since it last came round. So a hit is one dict lookup and one flag, without a
lock, and a long scan, which reads each block once, pushes out only blocks that
nobody reads.

Data blocks are kept as they were read, index blocks decoded. What one weighs is
what Python takes for it, as far as that can be told: `raw_bytes`, `decoded_bytes`.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import starmap
from typing import Any

OBJECT_BYTES = 33
"""What CPython adds to the bytes of a `bytes` object."""

SLOT_BYTES = 240
"""About what a place in the cache takes: the slot, its key, their numbers and the entry in an ordered dict."""

LARGEST_SHARE = 4
"""A block larger than this part of the budget isn't kept: it would push out everything else."""


PATIENCE = 4
"""When the cache is full it takes in one of so many blocks that were read for a single key."""


RAW_BYTES = OBJECT_BYTES + SLOT_BYTES
"""What a block that is kept as it was read takes more than its bytes."""


def raw_bytes(length_bytes: int) -> int:
    """Return about what a block of `length_bytes` takes that is kept as it was read."""
    return length_bytes + RAW_BYTES


def decoded_bytes(length_bytes: int, *, objects: int, container_bytes: int) -> int:
    """Return about what a decoded block of `length_bytes` on disk takes, split into `objects` bytes objects."""
    return length_bytes + objects * OBJECT_BYTES + container_bytes + SLOT_BYTES


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Lookups answered from memory and blocks read since the cache was made, and what it holds now."""

    hits: int
    misses: int
    block_count: int
    size_bytes: int
    budget_bytes: int


class Slot:
    """A block in the cache; who reads it sets `read_since`, and who found that its keys ascend `is_ordered`."""

    __slots__ = ("block", "is_ordered", "read_since", "size_bytes")

    def __init__(self, block: Any, size_bytes: int) -> None:
        self.block = block
        self.size_bytes = size_bytes
        self.read_since = False
        self.is_ordered = False


class BlockCache:
    """Blocks, shared by the tables that were opened with it. Any thread may call anything.

    `slots` and `hits` are there for `Table.get`, which does what `get` does
    without the call.
    """

    def __init__(self, budget_bytes: int) -> None:
        """Make a cache that holds about `budget_bytes`; 0 keeps nothing."""
        self._budget_bytes = budget_bytes
        self.slots: OrderedDict[tuple[int, int], Slot] = OrderedDict()
        self.hits = 0
        self._size_bytes = 0
        self._misses = 0
        self._table_ids = itertools.count(1)
        self._live: set[int] = set()
        self._forgotten: deque[int] = deque()
        self._lock = threading.Lock()

    def register(self) -> int:
        """Return an id for a table that was opened, never given before by this cache."""
        table_id = next(self._table_ids)
        self._live.add(table_id)
        return table_id

    def forget(self, table_id: int) -> None:
        """Drop a table's blocks, now or with the next `put`; nothing of it is taken from now on.

        Never waits: it also runs when the garbage collector drops a table,
        which may happen in the middle of a `put` of the same thread.
        """
        self._forgotten.append(table_id)
        held: list[bool] = []
        try:
            # One C call takes the lock and notes it: interrupted in between, nobody would give it back.
            held.extend(starmap(self._lock.acquire, ((False,),)))
            if held == [True]:
                self._sweep()
        finally:
            if held == [True]:
                self._lock.release()

    def get(self, table_id: int, offset_bytes: int) -> Any:
        """Return the block at that offset of the table, None if it isn't here. O(1), no lock."""
        slot = self.slots.get((table_id, offset_bytes))
        if slot is None:
            return None
        slot.read_since = True
        self.hits += 1
        return slot.block

    def put(self, table_id: int, offset_bytes: int, block: Any, size_bytes: int) -> None:
        """Keep a block that had to be read and takes about `size_bytes`. O(1) amortized.

        The block is shared from now on: nobody changes it.
        """
        key = (table_id, offset_bytes)
        with self._lock:
            self._misses += 1
            if self._forgotten:
                self._sweep()
            if table_id not in self._live or size_bytes > self._budget_bytes // LARGEST_SHARE:
                return
            if key in self.slots:
                self._drop(key)
            if self._size_bytes + size_bytes > self._budget_bytes:
                self._make_room(size_bytes)
            self.slots[key] = Slot(block, size_bytes)
            self._size_bytes += size_bytes

    def offer(self, table_id: int, offset_bytes: int, block: Any, size_bytes: int) -> None:
        """`put` a block that was read for a single key: when the cache is full, one in `PATIENCE` of them.

        Keys that are read here and there cost less so, and push out less; a block that is wanted comes soon enough.
        """
        if self.wants(size_bytes):
            self.put(table_id, offset_bytes, block, size_bytes)

    def wants(self, size_bytes: int) -> bool:
        """Whether a block that was read for a single key, and takes so much, is to be `put`; if not it is counted."""
        if self._size_bytes + size_bytes > self._budget_bytes:
            self._misses += 1
            if self._misses % PATIENCE:
                return False
            self._misses -= 1
        return True

    def statistics(self) -> CacheStatistics:
        """Return counts and sizes; hits and misses may be a few short when threads race."""
        return CacheStatistics(self.hits, self._misses, len(self.slots), self._size_bytes, self._budget_bytes)

    def _make_room(self, size_bytes: int) -> None:
        # Readers set the flag without the lock: without a bound they could turn the clock for ever.
        chances = len(self.slots)
        while self._size_bytes + size_bytes > self._budget_bytes:
            key, slot = self.slots.popitem(last=False)
            if slot.read_since and chances:
                chances -= 1
                slot.read_since = False
                self.slots[key] = slot
            else:
                self._size_bytes -= slot.size_bytes

    def _sweep(self) -> None:
        while self._forgotten:
            table_id = self._forgotten.popleft()
            self._live.discard(table_id)
            for key in [key for key in self.slots if key[0] == table_id]:
                self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        self._size_bytes -= self.slots.pop(key).size_bytes
