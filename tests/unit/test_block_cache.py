"""The block cache: bounded, shared, and never in the way."""

from __future__ import annotations

import threading
import tracemalloc

from journalkit.snapshot.cache import (
    OBJECT_BYTES,
    PATIENCE,
    SLOT_BYTES,
    BlockCache,
    CacheStatistics,
    decoded_bytes,
    raw_bytes,
)


def test_a_block_comes_back_under_its_table_and_offset_only() -> None:
    """Tables share the cache: another table's block at the same offset is a wrong value."""
    cache = BlockCache(1000)
    first, second = cache.register(), cache.register()
    block = {b"key": b"value"}
    cache.put(first, 52, block, 100)
    assert cache.get(first, 52) is block
    assert cache.get(second, 52) is None
    assert cache.get(first, 53) is None


def test_the_budget_holds_whatever_comes() -> None:
    """State may exceed memory; the cache is where that is kept true."""
    cache = BlockCache(1000)
    table = cache.register()
    for offset_bytes in range(200):
        cache.put(table, offset_bytes, offset_bytes, 1 + offset_bytes % 250)
        assert cache.statistics().size_bytes <= 1000
    assert cache.statistics().block_count == len(cache.slots) > 1


def test_a_block_that_is_read_outlives_a_scan() -> None:
    """One pass over a large table must not push out what every request reads."""
    cache = BlockCache(1000)
    table = cache.register()
    cache.put(table, 1, "hot", 100)
    for offset_bytes in range(2, 100):
        assert cache.get(table, 1) == "hot"
        cache.put(table, offset_bytes, "cold", 100)
    assert cache.get(table, 2) is None


def test_a_block_that_nobody_reads_any_more_goes() -> None:
    """A second chance is one: yesterday's reads don't hold memory for ever."""
    cache = BlockCache(1000)
    table = cache.register()
    cache.put(table, 1, "hot once", 100)
    assert cache.get(table, 1) == "hot once"
    for offset_bytes in range(2, 40):
        cache.put(table, offset_bytes, "cold", 100)
    assert cache.get(table, 1) is None


def test_room_is_made_even_if_every_block_is_being_read() -> None:
    """Readers set flags without a lock; the clock's hand still stops."""
    cache = BlockCache(400)
    table = cache.register()
    for offset_bytes in range(4):
        cache.put(table, offset_bytes, "busy", 100)

    class AlwaysRead:
        size_bytes = 100
        block = "busy"

        @property
        def read_since(self) -> bool:
            return True

        @read_since.setter
        def read_since(self, value: bool) -> None:
            """Be read again at once."""

    for key in list(cache.slots):
        cache.slots[key] = AlwaysRead()  # type: ignore[assignment]
    cache.put(table, 9, "new", 100)
    assert cache.get(table, 9) == "new"
    assert cache.statistics().size_bytes == 400


def test_a_block_too_large_for_the_cache_is_not_kept() -> None:
    """One 256 MiB value must not empty the cache of everything else."""
    cache = BlockCache(1000)
    table = cache.register()
    cache.put(table, 1, "small", 250)
    cache.put(table, 2, "large", 251)
    assert cache.get(table, 1) == "small"
    assert cache.get(table, 2) is None


def test_a_cache_without_a_budget_keeps_nothing() -> None:
    """0 is a choice, not an error."""
    cache = BlockCache(0)
    table = cache.register()
    cache.put(table, 1, "block", 1)
    assert cache.get(table, 1) is None


def test_a_block_put_twice_counts_once() -> None:
    """Two threads may miss the same block and both bring it."""
    cache = BlockCache(1000)
    table = cache.register()
    cache.put(table, 1, "first", 100)
    cache.put(table, 1, "second", 120)
    assert cache.get(table, 1) == "second"
    assert cache.statistics() == CacheStatistics(hits=1, misses=2, block_count=1, size_bytes=120, budget_bytes=1000)


def test_a_forgotten_table_leaves_nothing_and_brings_nothing() -> None:
    """A closed table's blocks are memory that nobody can reach; a late reader must not bring them back."""
    cache = BlockCache(1000)
    closed, other = cache.register(), cache.register()
    cache.put(closed, 1, "mine", 100)
    cache.put(other, 1, "yours", 100)
    cache.forget(closed)
    assert cache.get(closed, 1) is None
    assert cache.statistics().size_bytes == 100
    cache.put(closed, 2, "late", 100)
    assert cache.get(closed, 2) is None
    assert cache.get(other, 1) == "yours"


def test_forgetting_never_waits_for_the_lock() -> None:
    """The garbage collector may drop a table inside a `put` of the same thread: waiting would be for ever."""
    cache = BlockCache(1000)
    closed, other = cache.register(), cache.register()
    cache.put(closed, 1, "mine", 100)
    with cache._lock:
        cache.forget(closed)
        assert cache.statistics().size_bytes == 100
    cache.put(other, 1, "yours", 100)
    assert cache.get(closed, 1) is None
    assert cache.statistics().size_bytes == 100


def test_threads_keep_the_accounts_right() -> None:
    """Reads take no lock; sizes are still exact when all is done."""
    cache = BlockCache(5000)
    tables = [cache.register() for _ in range(4)]

    def work(table: int) -> None:
        for turn in range(1500):
            offset_bytes = turn * 7 % 40
            found = cache.get(table, offset_bytes)
            assert found in (None, (table, offset_bytes))
            if found is None:
                cache.put(table, offset_bytes, (table, offset_bytes), 90 + offset_bytes)

    threads = [threading.Thread(target=work, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statistics = cache.statistics()
    assert statistics.size_bytes == sum(slot.size_bytes for slot in cache.slots.values()) <= 5000
    assert statistics.misses >= 160


def test_a_block_weighs_what_python_takes_for_it() -> None:
    """A budget in bytes of the file would be less than what the process grows by."""
    assert raw_bytes(1000) == 1000 + OBJECT_BYTES + SLOT_BYTES
    assert decoded_bytes(1000, objects=10, container_bytes=500) == 1500 + 10 * OBJECT_BYTES + SLOT_BYTES


def test_a_budget_of_small_blocks_is_not_exceeded_by_what_python_adds() -> None:
    """Many small blocks are mostly overhead: the account has to be right for them too."""
    cache = BlockCache(1 << 22)
    table = cache.register()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for offset_bytes in range(1000, 5000):
            cache.put(table, offset_bytes, bytes(300), raw_bytes(300))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 < grown / cache.statistics().size_bytes < 1.1


def test_a_full_cache_takes_in_some_of_the_blocks_that_single_keys_need() -> None:
    """Reads here and there push out less; each is a miss all the same, and what is asked for again gets in."""
    cache = BlockCache(10 * 100)
    table_id = cache.register()
    for number in range(10):
        cache.offer(table_id, number, b"", 100)
    assert [cache.get(table_id, number) for number in range(10)] == [b""] * 10
    before = cache.statistics().misses
    for number in range(100, 100 + 4 * PATIENCE):
        cache.offer(table_id, number, b"", 100)
    assert sum(cache.get(table_id, number) is not None for number in range(100, 100 + 4 * PATIENCE)) == 4
    assert cache.statistics().misses == before + 4 * PATIENCE
    for _ in range(PATIENCE):
        cache.offer(table_id, 999, b"", 100)
    assert cache.get(table_id, 999) is not None
